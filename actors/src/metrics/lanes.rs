//! Lanes: a number that many threads add to, without a cache line that they would fight over.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// More threads than that share lanes, which is slower and as right.
pub(super) const LANES: usize = 16;

/// A number that only rises, as the sum of one for each thread.
#[derive(Debug, Default)]
pub struct Lanes([Lane; LANES]);

/// As long as the two cache lines that a processor fetches together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane(AtomicU64);

impl Lanes {
    /// Adds to the number.
    pub fn add(&self, more: u64) {
        if more > 0
            && let Some(Lane(count)) = self.0.get(lane())
        {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// What this thread, and others on its lane, have added.
    pub(super) fn own(&self) -> u64 {
        self.0.get(lane()).map_or(0, |Lane(count)| count.load(Ordering::Relaxed))
    }

    /// The number. What is added meanwhile may be in it or not.
    pub fn get(&self) -> u64 {
        self.0.iter().map(|Lane(count)| count.load(Ordering::Relaxed)).sum()
    }
}

/// The lane of this thread.
pub(super) fn lane() -> usize {
    static THREADS: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static LANE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    let known = LANE.get();
    if known != usize::MAX {
        return known % LANES;
    }
    let number = THREADS.fetch_add(1, Ordering::Relaxed) % (LANES as u64);
    let number = usize::try_from(number).unwrap_or(0);
    LANE.set(number);
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_of_what_many_threads_add() {
        let lanes = Lanes::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * LANES {
                scope.spawn(|| (0..10_000).for_each(|_| lanes.add(1)));
            }
        });
        assert_eq!(lanes.get(), 2 * LANES as u64 * 10_000);
    }
}
