//! The published Rust client `lighthouse-client` against the real server, as its users have it: by
//! its own interface, over its own WebSocket.
//!
//! All tests run on one thread. On several, the client may lose an answer that comes while it
//! prepares to receive it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod models;
mod structure;
#[path = "../../support/mod.rs"]
mod support;
mod users;

use std::fmt::Debug;
use std::panic::Location;

use futures::{Stream, StreamExt};
use lighthouse_client::protocol::{Authentication, Color, Frame, ServerMessage};
use lighthouse_client::{Error, Result, TokioWebSocket};

use support::{PATIENCE, Server};

type Lighthouse = lighthouse_client::Lighthouse<TokioWebSocket>;

/// Connects a user whose token is the name with `-token` behind it.
async fn connect(server: &Server, user: &str) -> Lighthouse {
    connect_with(server, user, &format!("{user}-token")).await
}

async fn connect_with(server: &Server, user: &str, token: &str) -> Lighthouse {
    let (url, authentication) = (server.url(), Authentication::new(user, token));
    let connecting = Lighthouse::connect_with_tokio_to(&url, authentication);
    soon(connecting).await.expect("the server accepts the client")
}

/// Waits, but not for ever: the client itself would.
#[track_caller]
fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let place = Location::caller();
    async move {
        let waited = tokio::time::timeout(PATIENCE, future).await;
        waited.unwrap_or_else(|_| panic!("{place}: awaited for {PATIENCE:?} in vain"))
    }
}

/// The next payload of a stream, or the error in place of one.
#[track_caller]
fn next<P>(
    stream: &mut (impl Stream<Item = Result<ServerMessage<P>>> + Unpin),
) -> impl Future<Output = Result<P>> {
    let awaited = soon(stream.next());
    async { awaited.await.expect("a stream of this client never ends").map(|m| m.payload) }
}

/// The code with which the server refused.
#[track_caller]
fn refusal<T: Debug>(result: Result<T>) -> i32 {
    match result {
        Err(Error::Server { code, .. }) => code,
        other => panic!("awaited a refusal of the server, got {other:?}"),
    }
}

/// Pictures that are different for different numbers.
fn picture(number: usize) -> Frame {
    let byte = |number: usize| u8::try_from(number % 256).expect("a remainder of 256 is a byte");
    Frame::generate(|x, y| Color::new(byte(number), byte(number / 256 + x), byte(y)))
}
