//! Numbers that may be changed while the broker runs.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a [`Tunable`] may hold.
pub trait Number: Copy {
    /// As bits.
    fn to_bits(self) -> u64;
    /// From the bits that it gave.
    fn from_bits(bits: u64) -> Self;
}

/// A number that every thread reads at no cost and that may be changed at any time. Who reads it
/// sees a change a moment later; nothing else is ordered by it.
pub struct Tunable<T>(AtomicU64, PhantomData<T>);

impl<T: Number> Tunable<T> {
    /// The number.
    pub fn get(&self) -> T {
        T::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// Changes it.
    pub fn set(&self, number: T) {
        self.0.store(number.to_bits(), Ordering::Relaxed);
    }
}

impl<T: Number> From<T> for Tunable<T> {
    fn from(number: T) -> Self {
        Tunable(AtomicU64::new(number.to_bits()), PhantomData)
    }
}

impl<T: Number> Clone for Tunable<T> {
    fn clone(&self) -> Self {
        self.get().into()
    }
}

impl<T: Number + fmt::Debug> fmt::Debug for Tunable<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(formatter)
    }
}

impl Number for usize {
    fn to_bits(self) -> u64 {
        self as u64
    }

    fn from_bits(bits: u64) -> Self {
        usize::try_from(bits).unwrap_or(usize::MAX)
    }
}

impl Number for u64 {
    fn to_bits(self) -> u64 {
        self
    }

    fn from_bits(bits: u64) -> Self {
        bits
    }
}

impl Number for u32 {
    fn to_bits(self) -> u64 {
        u64::from(self)
    }

    fn from_bits(bits: u64) -> Self {
        u32::try_from(bits).unwrap_or(u32::MAX)
    }
}

impl Number for bool {
    fn to_bits(self) -> u64 {
        u64::from(self)
    }

    fn from_bits(bits: u64) -> Self {
        bits != 0
    }
}

/// In nanoseconds, at most half a millennium.
impl Number for Duration {
    fn to_bits(self) -> u64 {
        u64::try_from(self.as_nanos()).unwrap_or(u64::MAX)
    }

    fn from_bits(bits: u64) -> Self {
        Duration::from_nanos(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: Number + PartialEq + fmt::Debug>(first: T, second: T) {
        let tunable = Tunable::from(first);
        assert_eq!(tunable.get(), first);
        tunable.set(second);
        assert_eq!(tunable.get(), second);
        assert_eq!(format!("{:?}", tunable.clone()), format!("{second:?}"));
    }

    #[test]
    fn a_tunable_is_what_it_was_set_to() {
        check(0_usize, usize::MAX);
        check(1_u64, u64::MAX);
        check(u32::MAX, 0_u32);
        check(true, false);
        check(Duration::from_millis(1), Duration::from_secs(604_800));
    }
}
