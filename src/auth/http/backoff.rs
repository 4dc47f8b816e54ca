//! How long to wait before the next try: twice as long after each failure, up to a bound, and of
//! that a random part, so that the users of a service that went down do not come back in step.

use std::time::Duration;

/// The first wait is this part of the longest.
const STEPS: u32 = 100;

/// The shortest bound of a wait.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// Waits of at most so much.
#[derive(Clone, Copy)]
pub struct Backoff {
    max: Duration,
}

impl Backoff {
    /// Waits up to `max`.
    pub fn new(max: Duration) -> Self {
        Backoff { max }
    }

    /// The longest wait.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The wait after so many failures in a row.
    pub fn wait(&self, failures: u32) -> Duration {
        let bound = self.bound(failures);
        let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(fastrand::u64(0..=micros))
    }

    /// The longest that this wait may be.
    fn bound(&self, failures: u32) -> Duration {
        let first = (self.max / STEPS).max(WAIT_MIN);
        let doubled = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        first.saturating_mul(doubled).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(max: Duration, expected: &[(u32, u64)]) {
        let backoff = Backoff::new(max);
        for (failures, millis) in expected {
            let bound = Duration::from_millis(*millis);
            assert_eq!(backoff.bound(*failures), bound, "{failures}");
            assert!((0..100).all(|_| backoff.wait(*failures) <= bound), "{failures}");
        }
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let expected = [(0, 300), (1, 300), (2, 600), (3, 1200), (7, 19_200), (8, 30_000)];
        check(Duration::from_secs(30), &expected);
        check(Duration::from_secs(30), &[(32, 30_000), (33, 30_000), (u32::MAX, 30_000)]);
        check(Duration::from_millis(10), &[(1, 1), (2, 2), (5, 10)]);
    }

    #[test]
    fn waits_are_spread_over_all_of_it() {
        let backoff = Backoff::new(Duration::from_secs(30));
        let waits: Vec<Duration> = (0..1000).map(|_| backoff.wait(1)).collect();
        let first = Duration::from_millis(100);
        assert!(waits.iter().any(|wait| *wait < first) && waits.iter().any(|wait| *wait > first));
    }
}
