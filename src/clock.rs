//! The clock: the one place that asks for the time.

pub use std::time::Instant;

/// Where the time comes from.
pub struct Clock;

impl Clock {
    /// The time on a clock that never goes back.
    #[expect(clippy::disallowed_methods, reason = "this is the place that asks")]
    pub fn now() -> Instant {
        Instant::now()
    }
}
