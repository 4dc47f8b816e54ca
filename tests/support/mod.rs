//! What the integration tests share: the real server as a process of its own, a client that can
//! also misbehave, and MessagePack by hand.
//!
//! Nothing here sleeps: a wait is for a line, a frame or the end of the process, and ends with a
//! panic that says what was awaited. Begin a test file with `mod support;`.

#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::as_conversions,
    clippy::disallowed_methods,
    reason = "each test file uses a part; tests fail loudly and measure the time themselves"
)]

pub mod client;
pub mod message;
mod program;
pub mod random;
pub mod server;
pub mod stream;
pub mod websocket;
pub mod witness;

use std::time::Duration;

pub use client::{Client, ClientOptions, http};
pub use message::{Answer, Request, array, bin, int, nil, text, to_bytes};
pub use random::Random;
pub use server::Server;
pub use stream::StreamClient;
pub use websocket::{Frame, WireFrame};
pub use witness::Witness;

/// How long an awaited thing may take. Generous: it only matters when a test fails.
pub const PATIENCE: Duration = Duration::from_secs(10);
