//! Doors: the ways by which a connection reaches the broker.
//!
//! A door carries whole messages to a [`fanal_actors::Session`] and writes the messages that the
//! session hands out; it keeps the deadlines of its transport. What a request means is none of its
//! business. The direct, tcp and unix doors share `connection`, which drives a socket itself; what
//! differs is the `framing`. The embedded door is driven by somebody else's actix-web server.

mod admission;
#[doc(hidden)]
pub mod bench_support;
mod certificate;
pub mod close;
mod connection;
mod credentials;
mod direct;
mod embedded;
mod frames;
mod framing;
mod handshake;
mod messages;
mod origin;
mod pages;
mod proxy;
mod socket;
mod stream;
mod transport;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use fanal_actors::{Broker, Tunable};
use ipnet::IpNet;

use crate::lag::Lags;
use crate::sparing::Sparing;
use admission::Gate;
pub use direct::serve as serve_direct;
pub use embedded::{WebsocketSession, routes};
// The framings are for tests and fuzz targets alone.
#[doc(hidden)]
pub use frames::Frames;
#[doc(hidden)]
pub use framing::{Framing, Incoming};
#[doc(hidden)]
pub use messages::Messages;
pub use proxy::header_length as proxy_header_length;
pub use socket::{listen, listen_unix, prepare as prepare_socket};
pub use stream::{serve_tcp, serve_unix};

/// The route that stands for every path.
const EVERY_PATH: &str = "*";

/// What the doors need to know. What is tunable may be changed while they are open; what is set on
/// a socket is then set on new ones.
#[derive(Clone, Debug)]
pub struct DoorSettings {
    /// URL paths that accept the upgrade; `*` is every path.
    pub routes: Vec<String>,
    /// Values of the Origin header that are let in; empty for any.
    pub allowed_origins: Vec<String>,
    /// Peers whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether those say with the PROXY protocol whose a connection is.
    pub proxy_protocol: bool,
    /// The cookie with a token; empty for none.
    pub cookie: String,
    /// Connections of one address; 0 for any number.
    pub connections_per_address_max: usize,
    /// New connections in a second; 0 for any number.
    pub connections_per_second_max: u32,
    /// Requests of a connection in a second; 0 for any number.
    pub requests_per_second_max: u32,
    /// Largest request message in bytes, in however many fragments.
    pub message_bytes_max: usize,
    /// Bytes read from a connection before another one has its turn.
    pub read_buffer_bytes: Tunable<usize>,
    /// Bytes encoded for a connection before another one has its turn.
    pub write_buffer_bytes: Tunable<usize>,
    /// Time between pings.
    pub ping_interval: Tunable<Duration>,
    /// How long the answer to a ping may take; zero for any time.
    pub pong_timeout: Tunable<Duration>,
    /// How long a connection may have no stream and ask for nothing; zero for any time.
    pub idle_timeout: Tunable<Duration>,
    /// How long the first request with good credentials may take; zero for any time.
    pub first_request_timeout: Duration,
    /// How long a peer may take nothing of what is sent; zero for any time.
    pub stall_timeout: Tunable<Duration>,
    /// Malformed or forbidden requests in a row; 0 for any number.
    pub wrong_requests_max: Tunable<u32>,
    /// How long there may be only such requests; zero for any time.
    pub wrong_requests_timeout: Tunable<Duration>,
    /// How long the peer has to answer a close frame.
    pub close_timeout: Duration,
    /// Whether small segments are sent at once.
    pub nodelay: Tunable<bool>,
    /// Bytes that the kernel takes beyond what it has sent.
    pub notsent_lowat_bytes: Tunable<u32>,
    /// How long sent bytes may stay unacknowledged before the kernel drops the peer.
    pub user_timeout: Tunable<Duration>,
}

/// A broker and how it is reached: what all connections share.
pub struct Door {
    /// The broker.
    pub broker: Broker,
    /// The door's settings.
    pub settings: Arc<DoorSettings>,
    gate: Gate,
    proxy_warnings: Sparing,
    /// How late the workers are on which its connections are.
    pub lags: Lags,
}

impl Door {
    /// The door of a broker.
    pub fn new(broker: Broker, settings: Arc<DoorSettings>) -> Arc<Self> {
        let gate = Gate::new(&settings);
        let proxy_warnings = Sparing::default();
        Arc::new(Door { broker, settings, gate, proxy_warnings, lags: Lags::default() })
    }

    /// Warns of what a proxy does, now and then.
    fn warn_of_proxy(&self, text: impl fmt::Display) {
        self.proxy_warnings.warn(text);
    }
}

impl DoorSettings {
    /// Whether this peer's X-Forwarded-For is believed.
    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }
}
