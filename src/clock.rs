//! The clock: the one place that asks for the time.

use std::num::NonZeroU64;
use std::sync::LazyLock;
pub use std::time::Instant;
use std::time::{Duration, SystemTime};

/// Where the time comes from.
pub struct Clock;

impl Clock {
    /// The time on a clock that never goes back.
    #[expect(clippy::disallowed_methods, reason = "this is the place that asks")]
    pub fn now() -> Instant {
        Instant::now()
    }

    /// How much time has passed since the first call.
    pub fn since_start() -> Duration {
        Self::now().saturating_duration_since(*START)
    }

    /// The time on the wall, which is for what others have dated; it may be set back.
    #[expect(clippy::disallowed_methods, reason = "this is the place that asks")]
    pub fn wall() -> SystemTime {
        SystemTime::now()
    }
}

/// A time to the millisecond, in half the memory of an [`Instant`]: a connection has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(NonZeroU64);

/// The moment 1.
static START: LazyLock<Instant> = LazyLock::new(Clock::now);

impl Moment {
    /// The last millisecond that is over.
    pub fn now() -> Self {
        let time = Clock::now().saturating_duration_since(*START);
        let millis = time.as_secs().saturating_mul(1000) + u64::from(time.subsec_millis());
        Moment(NonZeroU64::MIN.saturating_add(millis))
    }

    /// The first moment by which so much time is over.
    pub fn after(self, time: Duration) -> Self {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_add(millis).saturating_add(1))
    }

    /// How much time was between an earlier moment and this one.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_millis(self.0.get().saturating_sub(earlier.0.get()))
    }

    /// The same on the other clock; far away if it cannot be told.
    pub fn instant(self) -> Instant {
        const FAR: Duration = Duration::from_secs(24 * 3600);
        let since = Duration::from_millis(self.0.get() - 1);
        START.checked_add(since).unwrap_or_else(|| Clock::now() + FAR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_over_when_its_time_is() {
        let now = Moment::now();
        let later = now.after(Duration::from_millis(20));
        assert!(later > now && later.since(now) >= Duration::from_millis(20));
        assert_eq!(now.since(later), Duration::ZERO);
        assert!(later.instant() >= Clock::now() + Duration::from_millis(19));
    }
}
