//! A budget: an amount that many threads take from and that never goes over its bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::tunable::Tunable;

/// Counts what is in use of a bounded good, such as bytes of values.
#[derive(Debug)]
pub struct Budget {
    used: AtomicU64,
    max: Arc<Tunable<u64>>,
}

impl Budget {
    /// A budget of `max` units, none in use. With a smaller one later, what is in use stays so.
    pub fn new(max: Arc<Tunable<u64>>) -> Self {
        Budget { used: AtomicU64::new(0), max }
    }

    /// Exchanges `old` units for `new` ones; `false`, and nothing changes, if that would pass the
    /// bound. Giving back always succeeds.
    #[must_use]
    pub fn exchange(&self, old: u64, new: u64) -> bool {
        if new <= old {
            if new < old {
                self.used.fetch_sub(old - new, Ordering::Relaxed);
            }
            return true;
        }
        let more = new - old;
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(more).filter(|sum| *sum <= self.max.get())
            })
            .is_ok()
    }

    /// Units in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Gives units back.
    pub fn give_back(&self, units: u64) {
        self.used.fetch_sub(units, Ordering::Relaxed);
    }

    /// Takes units although that may pass the bound: for what was acknowledged before a restart.
    pub fn take_anyway(&self, units: u64) {
        self.used.fetch_add(units, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_exchanged_up_to_its_bound_and_never_over_it() {
        let budget = Budget::new(Arc::new(10.into()));
        assert!(budget.exchange(0, 10));
        assert!(!budget.exchange(0, 1));
        assert!(budget.exchange(10, 4));
        assert_eq!(budget.used(), 4);
        assert!(!budget.exchange(2, 9));
        assert!(budget.exchange(2, 8));
        assert_eq!(budget.used(), 10);
        budget.take_anyway(5);
        assert!(!budget.exchange(1, 2));
        assert!(budget.exchange(15, 0));
        assert_eq!(budget.used(), 0);
    }
}
