//! Deadlines and bounds of a connection: who does not do his part in time is ended, for the reason
//! and with the code that the table in `src/doors/close.rs` says, is counted, and nobody else
//! notices.
//!
//! Deadlines are short here. A test that nothing happens waits for it for several deadlines, and
//! one that something happens compares the time only with the lower bound, or with one that a busy
//! machine keeps too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly, and they measure the time themselves"
)]

#[path = "deadlines/admission.rs"]
mod admission;
#[path = "deadlines/crowd.rs"]
mod crowd;
#[path = "deadlines/half_open.rs"]
mod half_open;
#[path = "deadlines/idle.rs"]
mod idle;
#[path = "deadlines/pong.rs"]
mod pong;
#[path = "deadlines/proof.rs"]
mod proof;
#[path = "deadlines/slow.rs"]
mod slow;
#[path = "deadlines/stall.rs"]
mod stall;
mod support;
#[path = "deadlines/throttle.rs"]
mod throttle;
#[path = "deadlines/wrong.rs"]
mod wrong;

use std::time::{Duration, Instant};

use support::{Client, ClientOptions, Frame, Request, bin};

/// What a busy machine may add to a deadline.
const SLACK: Duration = Duration::from_secs(4);

/// Answers pings for this time, and returns what else came, which may be nothing at all.
fn frames_for(client: &mut Client, time: Duration) -> Vec<Frame> {
    let until = Instant::now() + time;
    let mut frames = Vec::new();
    while let left = until.saturating_duration_since(Instant::now())
        && !left.is_zero()
    {
        match client.frame_within(left) {
            None => return frames,
            Some(Frame::Ping(_)) => {}
            Some(end @ Frame::Closed { .. }) => {
                frames.push(end);
                return frames;
            }
            Some(frame) => frames.push(frame),
        }
    }
    frames
}

/// The connection goes on for this time and nothing comes but pings.
#[track_caller]
fn assert_quiet(client: &mut Client, time: Duration, what: &str) {
    assert_eq!(frames_for(client, time), [], "{what}");
}

/// Sees the connection end with this code, not before `min` has passed since `since` and not much
/// later than `max`.
#[track_caller]
fn assert_closed(client: &mut Client, code: u16, since: Instant, min: Duration, max: Duration) {
    assert_eq!(client.wait_for_close(), Some(code));
    let waited = since.elapsed();
    assert!(waited >= min, "closed with {code} after {waited:?} already, not {min:?}");
    assert!(waited < max + SLACK, "closed with {code} only after {waited:?}, not {max:?}");
}

/// A client whose side of the connection holds little.
fn small() -> ClientOptions {
    ClientOptions::default().receive_buffer_bytes(4096)
}

/// A value much larger than what the kernel holds for a client that is small and does not read.
fn large(number: u32) -> Vec<u8> {
    bin(&[&number.to_be_bytes()[..], &[0; 400_000]].concat())
}

/// A request for something that is not there.
fn missing() -> Request {
    Request::new("GET", &["missing"])
}

/// A request that is malformed.
fn malformed() -> Request {
    Request { path: None, ..missing() }
}
