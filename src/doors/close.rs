//! Why a connection was closed: the reasons, their codes on the wire, and what a client should do.
//!
//! | code | reason | what to do |
//! |---|---|---|
//! | 1000, or the client's own | the client closed | - |
//! | 1001 | the broker stops or restarts | connect again, with a pause |
//! | 1002 | the bytes were no WebSocket frames | mend the client |
//! | 1003 | a text message | send requests as binary messages |
//! | 1009 | a message over `websocket.message_bytes_max` | send less, or raise the limit |
//! | 1011 | a fault of the broker | report it |
//! | 4408 | nothing came for `websocket.idle_timeout` | answer pings |
//!
//! A connection that is refused before the upgrade gets an HTTP status instead: 503 when there are
//! as many as there may be, 403 for an Origin that is not let in, 426 without an upgrade.

use actix_web_actors::ws;
use fanal_actors::Ending;

/// Why a connection was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client sent a close frame, with this code if any.
    Client(Option<u16>),
    /// The connection broke, without a close frame.
    Broken,
    /// The broker stops.
    ShuttingDown,
    /// The bytes were no WebSocket frames.
    ProtocolError(&'static str),
    /// A text message came.
    TextMessage,
    /// A message was announced that is over the limit.
    MessageTooBig,
    /// Nothing came for too long.
    Idle,
    /// A fault of the broker in the handling of this connection.
    InternalError,
}

impl CloseReason {
    /// The close frame to send, or `None` to just end the connection.
    pub fn frame(&self) -> Option<ws::CloseReason> {
        let (code, text) = match self {
            CloseReason::Client(None) => (ws::CloseCode::Normal, String::new()),
            CloseReason::Client(Some(code)) => (ws::CloseCode::from(*code), String::new()),
            CloseReason::Broken => return None,
            CloseReason::ShuttingDown => {
                (ws::CloseCode::Away, "the server is stopping; connect again in a moment".into())
            }
            CloseReason::ProtocolError(what) => (ws::CloseCode::Protocol, (*what).into()),
            CloseReason::TextMessage => {
                (ws::CloseCode::Unsupported, "requests are binary messages".into())
            }
            CloseReason::MessageTooBig => {
                (ws::CloseCode::Size, "the message is over websocket.message_bytes_max".into())
            }
            CloseReason::Idle => (
                ws::CloseCode::Other(4408),
                "nothing came for websocket.idle_timeout, not even pongs".into(),
            ),
            CloseReason::InternalError => {
                (ws::CloseCode::Error, "a fault of the server; see its log".into())
            }
        };
        let description = if text.is_empty() { None } else { Some(text) };
        Some(ws::CloseReason { code, description })
    }

    /// The reason as the log says it.
    pub fn describe(&self) -> String {
        match self {
            CloseReason::Client(Some(code)) => format!("the client closed it ({code})"),
            CloseReason::Client(None) => "the client closed it".into(),
            CloseReason::Broken => "the connection broke".into(),
            CloseReason::ShuttingDown => "the server stops (1001)".into(),
            CloseReason::ProtocolError(what) => format!("{what} (1002)"),
            CloseReason::TextMessage => "a text message came (1003)".into(),
            CloseReason::MessageTooBig => "a message was too big (1009)".into(),
            CloseReason::Idle => "nothing came for too long (4408)".into(),
            CloseReason::InternalError => "a fault of the server (1011)".into(),
        }
    }
}

impl From<Ending> for CloseReason {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::ShuttingDown => CloseReason::ShuttingDown,
        }
    }
}
