//! Failures: an address whose credentials are wrong too often has to wait, for longer each time.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::{Clock, Instant};

/// Addresses that are remembered; beyond that those are forgotten that failed the least.
const ADDRESSES_MAX: usize = 10_000;

/// The first wait; each further failure doubles it.
const WAIT_MIN: Duration = Duration::from_millis(100);

/// How long it takes until one failure is forgotten.
const FORGIVENESS: Duration = Duration::from_secs(1);

/// Wrong credentials of an address that are remembered.
const RECENT: usize = 8;

/// The part of an IPv6 address that names a network, which one person can have all of.
const NETWORK_BYTES: usize = 8;

/// Counts failures by address.
pub struct Failures {
    max: u32,
    wait_max: Duration,
    addresses: Mutex<HashMap<[u8; 16], Record>>,
    hasher: RandomState,
}

#[derive(Clone, Copy)]
struct Record {
    count: u32,
    last: Instant,
    /// The last wrong credentials, hashed, of which none is counted again: who sends the same
    /// again and again does not guess.
    recent: [u64; RECENT],
}

impl Failures {
    /// Counts beyond `max` lead to a wait of at most `wait_max`; a `max` of 0 to none.
    pub fn new(max: u32, wait_max: Duration) -> Self {
        let hasher = RandomState::new();
        Failures { max, wait_max, addresses: Mutex::default(), hasher }
    }

    /// Whether credentials from this address are to be judged now.
    pub fn admits(&self, address: Option<[u8; 16]>) -> bool {
        let Some(network) = address.map(network).filter(|_| self.max > 0) else { return true };
        let now = Clock::now();
        let addresses = self.addresses.lock();
        let Some(record) = addresses.get(&network) else { return true };
        let over = record.now(now).count.saturating_sub(self.max);
        if over == 0 {
            return true;
        }
        now.saturating_duration_since(record.last) >= self.wait(over)
    }

    /// How long to wait after so many failures beyond what is free.
    fn wait(&self, over: u32) -> Duration {
        WAIT_MIN.saturating_mul(1 << over.saturating_sub(1).min(20)).min(self.wait_max)
    }

    /// Notes that these credentials from this address were wrong.
    pub fn note(&self, address: Option<[u8; 16]>, credentials: impl Hash) {
        let Some(network) = address.map(network).filter(|_| self.max > 0) else { return };
        let now = Clock::now();
        let mut addresses = self.addresses.lock();
        if addresses.len() >= ADDRESSES_MAX && !addresses.contains_key(&network) {
            forget_half(&mut addresses, now);
        }
        let none = Record { count: 0, last: now, recent: [0; RECENT] };
        let record = addresses.entry(network).or_insert(none);
        let hash = self.hasher.hash_one(credentials);
        if record.recent.contains(&hash) {
            return;
        }
        record.recent.rotate_right(1);
        if let Some(first) = record.recent.first_mut() {
            *first = hash;
        }
        *record = record.now(now);
        // Beyond what makes the longest wait there is nothing to count.
        record.count = record.count.saturating_add(1).min(self.max.saturating_add(32));
        record.last = now;
    }
}

impl Record {
    /// What is left of it now.
    fn now(self, now: Instant) -> Record {
        let passed = now.saturating_duration_since(self.last).as_secs() / FORGIVENESS.as_secs();
        let forgiven = u32::try_from(passed).unwrap_or(u32::MAX);
        Record { count: self.count.saturating_sub(forgiven), ..self }
    }
}

fn network(mut address: [u8; 16]) -> [u8; 16] {
    let is_ipv4 = address.starts_with(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
    if !is_ipv4 {
        address.iter_mut().skip(NETWORK_BYTES).for_each(|byte| *byte = 0);
    }
    address
}

/// Forgets those with nothing left, and of the others those that failed the least.
fn forget_half(addresses: &mut HashMap<[u8; 16], Record>, now: Instant) {
    addresses.retain(|_, record| record.now(now).count > 0);
    if addresses.len() < ADDRESSES_MAX {
        return;
    }
    let mut counts: Vec<u32> = addresses.values().map(|record| record.now(now).count).collect();
    counts.sort_unstable();
    let median = counts.get(counts.len() / 2).copied().unwrap_or_default();
    let mut left = ADDRESSES_MAX / 2;
    addresses.retain(|_, record| {
        let stays = record.now(now).count > median || (left > ADDRESSES_MAX / 4);
        left = left.saturating_sub(1);
        stays
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Option<[u8; 16]> {
        Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, last])
    }

    #[test]
    fn an_address_with_too_many_failures_waits_and_others_do_not() {
        let failures = Failures::new(3, Duration::from_secs(10));
        for guess in 0..3 {
            for _ in 0..10 {
                assert!(failures.admits(address(1)), "the same again is no other guess");
                failures.note(address(1), guess);
            }
        }
        assert!(failures.admits(address(1)));
        failures.note(address(1), 3);
        assert!(!failures.admits(address(1)));
        assert!(failures.admits(address(2)) && failures.admits(None));
    }

    #[test]
    fn each_further_failure_doubles_the_wait_up_to_the_longest() {
        let failures = Failures::new(3, Duration::from_secs(1));
        let waits: Vec<u128> = (1..=6).map(|over| failures.wait(over).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(failures.wait(u32::MAX).as_millis(), 1000);
    }

    #[test]
    fn what_is_long_ago_is_forgiven() {
        let now = Clock::now();
        let record = Record { count: 9, last: now, recent: [0; RECENT] };
        let left = |seconds| record.now(now + Duration::from_secs(seconds)).count;
        assert_eq!([left(0), left(1), left(4), left(9), left(1000)], [9, 8, 5, 0, 0]);
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_none_are_counted_without_a_bound() {
        let failures = Failures::new(1, Duration::from_secs(10));
        let six = |host: u8| Some([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
        failures.note(six(1), 1);
        failures.note(six(2), 2);
        assert!(!failures.admits(six(3)));
        let none = Failures::new(0, Duration::from_secs(10));
        for guess in 0..100 {
            none.note(address(1), guess);
        }
        assert!(none.admits(address(1)));
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let failures = Failures::new(1, Duration::from_secs(10));
        for number in 0..2 * ADDRESSES_MAX {
            let [.., a, b, c, d] = number.to_be_bytes();
            failures.note(Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]), 1);
        }
        assert!(failures.addresses.lock().len() <= ADDRESSES_MAX);
    }
}
