//! Histograms of times: how many took how long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Times by size, in buckets between fixed bounds.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds in nanoseconds, rising.
    bounds: &'static [u64],
    /// One for each bound, and one for what is beyond the last.
    buckets: Box<[AtomicU64]>,
    nanoseconds: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Upper bounds in seconds, the last of them infinite, and how many times lie in each bucket
    /// alone.
    pub buckets: Vec<(f64, u64)>,
    /// All times together, in seconds.
    pub sum: f64,
    /// How many there are.
    pub count: u64,
}

impl Histogram {
    /// Nothing yet, between these bounds in nanoseconds, which must rise.
    pub fn new(bounds: &'static [u64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds, buckets, nanoseconds: AtomicU64::new(0) }
    }

    /// Adds a time.
    pub fn observe(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bucket = self.bounds.partition_point(|bound| *bound < nanoseconds);
        if let Some(count) = self.buckets.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// How it is now.
    #[expect(clippy::cast_precision_loss, reason = "a time is no more exact than its clock")]
    pub fn read(&self) -> Reading {
        let bounds = self.bounds.iter().map(|bound| *bound as f64 / 1e9);
        let counts = self.buckets.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(counts).collect();
        // Of the same moment as the buckets, so that the two never contradict each other.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
        Reading { buckets, sum, count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lies_in_the_first_bucket_that_is_large_enough() {
        let histogram = Histogram::new(&[1000, 2000]);
        for nanoseconds in [0, 1000, 1001, 2000, 2001, u64::MAX / 2] {
            histogram.observe(Duration::from_nanos(nanoseconds));
        }
        let reading = histogram.read();
        assert_eq!(reading.buckets, [(1e-6, 2), (2e-6, 2), (f64::INFINITY, 2)]);
        assert_eq!(reading.count, 6);
        assert!(reading.sum > 9e9);
    }
}
