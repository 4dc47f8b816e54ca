//! Why a connection was closed: the reasons, their codes on the wire, and what a client should do.
//!
//! | WebSocket | RNUM | reason | what to do |
//! |---|---|---|---|
//! | 1000, or the client's own | - | the client closed | - |
//! | 1001 | 503 | the broker stops or restarts | connect again, with a pause |
//! | 1002 | 400 | the bytes were no frames, or no messages | mend the client |
//! | 1003 | 400 | a text message | send requests as binary messages |
//! | 1008 | 401 | no good request within `auth.first_request_timeout` | send one with credentials |
//! | 1008 | 403 | only malformed or forbidden requests (`session.wrong_requests_max`) | mend it |
//! | 1008 | 403 | an operator ended it (`fanal kick`) | ask the operator |
//! | 1009 | 413 | a message over `limits.message_bytes_max` | send less, or raise the limit |
//! | 1011 | 500 | a fault of the broker | report it |
//! | 4408 | - | a ping was not answered for `websocket.pong_timeout` | answer pings |
//! | 4409 | 408 | nothing was asked for `session.idle_timeout` | connect again when needed |
//! | none | none | nothing was taken for `outbox.stall_timeout` | read what comes |
//!
//! RNUM is that of a last message on doors without frames, with a nil REID. A connection that is
//! refused before the upgrade gets an HTTP status instead: 503 when there are as many as there may
//! be, of all, of one address or in a second, 403 for an Origin that is not let in, 426 without an
//! upgrade.

use std::borrow::Cow;

use fanal_actors::{Counters, Ending, Rnum};

/// Why a connection was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client sent a close frame, with this code if any.
    Client(Option<u16>),
    /// The connection broke or ended, without a close frame.
    Broken,
    /// The broker stops.
    ShuttingDown,
    /// The bytes were no frames, or no messages.
    ProtocolError(&'static str),
    /// A text message came.
    TextMessage,
    /// A message was announced that is over the limit.
    MessageTooBig,
    /// A ping was not answered.
    Unresponsive,
    /// There was no stream, and no request for too long.
    Idle,
    /// No request with good credentials came in time.
    Unproven,
    /// All that came was malformed or not permitted.
    OnlyWrong,
    /// An operator wanted it.
    Kicked,
    /// The client took nothing of what was sent.
    Stalled,
    /// A fault of the broker in the handling of this connection.
    InternalError,
}

impl CloseReason {
    /// Code and text of the close frame, or `None` to just end the connection. Without a code the
    /// frame is empty.
    pub fn code_and_text(&self) -> Option<(Option<u16>, Cow<'static, str>)> {
        let (code, text) = match self {
            CloseReason::Client(code) => return Some((*code, "".into())),
            CloseReason::Broken | CloseReason::Stalled => return None,
            CloseReason::ShuttingDown => {
                (1001, "the server is stopping; connect again in a moment")
            }
            CloseReason::ProtocolError(what) => (1002, *what),
            CloseReason::TextMessage => (1003, "requests are binary messages"),
            CloseReason::Unproven => {
                (1008, "no request with good credentials within auth.first_request_timeout")
            }
            CloseReason::OnlyWrong => {
                (1008, "only malformed or forbidden requests (session.wrong_requests_max)")
            }
            CloseReason::Kicked => (1008, "an operator ended this connection"),
            CloseReason::MessageTooBig => (1009, "the message is over limits.message_bytes_max"),
            CloseReason::InternalError => (1011, "a fault of the server; see its log"),
            CloseReason::Unresponsive => {
                (4408, "a ping was not answered for websocket.pong_timeout")
            }
            CloseReason::Idle => (4409, "no stream, and no request for session.idle_timeout"),
        };
        Some((Some(code), text.into()))
    }

    /// RNUM of the last message on a door without frames, if there is to be one.
    pub fn rnum(&self) -> Option<Rnum> {
        match self {
            CloseReason::Client(_)
            | CloseReason::Broken
            | CloseReason::Stalled
            | CloseReason::Unresponsive => None,
            CloseReason::ShuttingDown => Some(Rnum::ServiceUnavailable),
            CloseReason::ProtocolError(_) | CloseReason::TextMessage => Some(Rnum::BadRequest),
            CloseReason::Unproven => Some(Rnum::Unauthorized),
            CloseReason::OnlyWrong | CloseReason::Kicked => Some(Rnum::Forbidden),
            CloseReason::MessageTooBig => Some(Rnum::PayloadTooLarge),
            CloseReason::Idle => Some(Rnum::RequestTimeout),
            CloseReason::InternalError => Some(Rnum::InternalServerError),
        }
    }

    /// The reason as the log says it.
    pub fn describe(&self) -> Cow<'static, str> {
        match self {
            CloseReason::Client(Some(code)) => format!("the client closed it ({code})").into(),
            CloseReason::Client(None) => "the client closed it".into(),
            CloseReason::Broken => "the connection broke".into(),
            CloseReason::ShuttingDown => "the server stops (1001)".into(),
            CloseReason::ProtocolError(what) => format!("{what} (1002)").into(),
            CloseReason::TextMessage => "a text message came (1003)".into(),
            CloseReason::Unproven => "no good request came in time (1008)".into(),
            CloseReason::OnlyWrong => "only malformed or forbidden requests came (1008)".into(),
            CloseReason::Kicked => "an operator ended it (1008)".into(),
            CloseReason::MessageTooBig => "a message was too big (1009)".into(),
            CloseReason::InternalError => "a fault of the server (1011)".into(),
            CloseReason::Unresponsive => "a ping was not answered (4408)".into(),
            CloseReason::Idle => "nothing was asked for too long (4409)".into(),
            CloseReason::Stalled => "the client took nothing for too long".into(),
        }
    }

    /// Counts a connection that was closed for this reason.
    pub fn count(&self, counters: &Counters) {
        let counter = match self {
            CloseReason::Client(_) => &counters.connections_closed_client,
            CloseReason::Broken => &counters.connections_closed_broken,
            CloseReason::ShuttingDown => &counters.connections_closed_stopping,
            CloseReason::ProtocolError(_) => &counters.connections_closed_protocol,
            CloseReason::TextMessage => &counters.connections_closed_text,
            CloseReason::MessageTooBig => &counters.connections_closed_too_big,
            CloseReason::InternalError => &counters.connections_closed_fault,
            CloseReason::Unresponsive => &counters.connections_closed_unresponsive,
            CloseReason::Idle => &counters.connections_closed_idle,
            CloseReason::Unproven => &counters.connections_closed_unproven,
            CloseReason::OnlyWrong => &counters.connections_closed_wrong,
            CloseReason::Stalled => &counters.connections_closed_stalled,
            CloseReason::Kicked => &counters.connections_closed_kicked,
        };
        counter.add(1);
    }
}

impl From<Ending> for CloseReason {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::ShuttingDown => CloseReason::ShuttingDown,
            Ending::Kicked => CloseReason::Kicked,
        }
    }
}
