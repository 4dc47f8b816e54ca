//! Doors: the ways by which a connection reaches the broker.
//!
//! A door carries whole messages to a [`fanal_actors::Session`] and writes the messages that the
//! session hands out; it keeps the deadlines of its transport. What a request means is none of its
//! business, so another door needs only: read a message, call `receive` while there is `room`;
//! call `turn` whenever the waker says so; end for one of the reasons in `close`.

pub mod close;
mod frames;
mod http;
mod origin;
mod websocket;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use fanal_actors::Broker;
use ipnet::IpNet;

pub use http::{listen, prepare_socket, routes};
pub use websocket::WebsocketSession;

/// What a WebSocket door needs to know.
#[derive(Clone, Debug)]
pub struct DoorSettings {
    /// URL paths that accept the upgrade; `*` is every path.
    pub routes: Vec<String>,
    /// Values of the Origin header that are let in; empty for any.
    pub allowed_origins: Vec<String>,
    /// Peers whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Largest request message in bytes, in however many fragments.
    pub message_bytes_max: usize,
    /// Bytes taken from a connection before another one has its turn.
    pub read_buffer_bytes: usize,
    /// Time between pings.
    pub ping_interval: Duration,
    /// A connection from which nothing came for so long is closed.
    pub idle_timeout: Duration,
    /// How long the peer has to answer a close frame.
    pub close_timeout: Duration,
    /// How long sent bytes may stay unacknowledged before the kernel drops the peer.
    pub user_timeout: Duration,
}

/// A broker and how it is reached: what each worker of the server holds.
#[derive(Clone)]
pub struct Door {
    /// The broker.
    pub broker: Broker,
    /// The door's settings.
    pub settings: Arc<DoorSettings>,
}

impl DoorSettings {
    /// Whether this peer's X-Forwarded-For is believed.
    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }
}
