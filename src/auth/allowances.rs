//! Allowances: how much each user may have and do, by its roles.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use fanal_actors::{Allowance, Allowed, Rate};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;

use crate::clock::{Clock, Instant};
use crate::config::LimitBlock;

/// Users beyond which those are looked for that are gone.
const SWEEP_MIN: usize = 1000;

/// How long after the last use every bucket is full again.
const REFILLED: Duration = Duration::from_secs(2);

/// The allowances of users, kept beyond their last connection until nothing is left of what they
/// used, or who connects again and again would have no bound. Clones are the same.
#[derive(Clone)]
pub struct Allowances(Arc<Inner>);

struct Inner {
    blocks: Vec<LimitBlock>,
    users: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_user: HashMap<(String, Vec<String>), Kept>,
    sweep_at: usize,
}

/// An allowance, and when it was last asked for.
struct Kept {
    allowance: Arc<Allowance>,
    asked: Instant,
}

impl Kept {
    /// Whether nobody has it and a new one would be as good.
    fn is_spent(&self, now: Instant) -> bool {
        Arc::strong_count(&self.allowance) == 1
            && now.saturating_duration_since(self.asked) > REFILLED
    }
}

impl Allowances {
    /// What these blocks say.
    pub fn new(blocks: &[LimitBlock]) -> Self {
        Allowances(Arc::new(Inner { blocks: blocks.to_vec(), users: Mutex::default() }))
    }

    /// The allowance of a user, the same one for all that it has; `None` if no block is about it.
    pub fn of(&self, user: &str, roles: &[String]) -> Option<Arc<Allowance>> {
        let fits = |block: &&LimitBlock| {
            block.roles.is_empty() || block.roles.iter().any(|role| roles.contains(role))
        };
        let blocks: Vec<&LimitBlock> = self.0.blocks.iter().filter(fits).collect();
        if blocks.is_empty() {
            return None;
        }
        let now = Clock::now();
        let mut known = self.0.users.lock();
        let key = (user.to_owned(), roles.to_vec());
        if let Some(kept) = known.by_user.get_mut(&key) {
            kept.asked = now;
            return Some(Arc::clone(&kept.allowance));
        }
        if known.by_user.len() >= known.sweep_at.max(SWEEP_MIN) {
            known.by_user.retain(|_, kept| !kept.is_spent(now));
            known.sweep_at = known.by_user.len() * 2;
        }
        let allowance = Arc::new(make(&blocks));
        known.by_user.insert(key, Kept { allowance: Arc::clone(&allowance), asked: now });
        Some(allowance)
    }
}

/// The largest that any of the blocks says; without a bound if none says anything.
fn largest(blocks: &[&LimitBlock], of: fn(&LimitBlock) -> Option<u32>) -> Option<u32> {
    blocks.iter().filter_map(|block| of(block)).max()
}

fn make(blocks: &[&LimitBlock]) -> Allowance {
    let count = |of| largest(blocks, of).map_or(u64::MAX, u64::from);
    let size = |of| usize::try_from(count(of)).unwrap_or(usize::MAX);
    let allowed = Allowed {
        connections_max: count(|block| block.connections),
        resources_max: count(|block| block.resources),
        streams_max: size(|block| block.streams),
        value_bytes_max: size(|block| block.value_bytes),
        message_bytes_max: size(|block| block.message_bytes),
    };
    let limiter = |of| {
        let rate = NonZeroU32::new(largest(blocks, of)?)?;
        Some(RateLimiter::direct(Quota::per_second(rate)))
    };
    let requests = limiter(|block| block.requests_per_second);
    let bytes = limiter(|block| block.bytes_per_second);
    let rate = (requests.is_some() || bytes.is_some())
        .then(|| Box::new(Buckets { requests, bytes }) as Box<dyn Rate>);
    Allowance::new(allowed, rate)
}

/// Token buckets that hold as much as may be used in a second.
struct Buckets {
    requests: Option<DefaultDirectRateLimiter>,
    bytes: Option<DefaultDirectRateLimiter>,
}

impl Rate for Buckets {
    fn admit(&self, bytes: usize) -> bool {
        if self.requests.as_ref().is_some_and(|limiter| limiter.check().is_err()) {
            return false;
        }
        let Some(limiter) = &self.bytes else { return true };
        let bytes = NonZeroU32::new(u32::try_from(bytes).unwrap_or(u32::MAX));
        // A request that is larger than the bucket can never pass.
        bytes.is_none_or(|bytes| matches!(limiter.check_n(bytes), Ok(Ok(()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn allowances() -> Allowances {
        Allowances::new(&[
            LimitBlock {
                roles: roles(&["student"]),
                connections: Some(2),
                value_bytes: Some(10),
                ..LimitBlock::default()
            },
            LimitBlock {
                roles: roles(&["tutor"]),
                connections: Some(5),
                requests_per_second: Some(1),
                ..LimitBlock::default()
            },
        ])
    }

    #[test]
    fn the_largest_number_of_those_that_fit_counts() {
        let allowances = allowances();
        assert!(allowances.of("ann", &[]).is_none());
        let student = allowances.of("ann", &roles(&["student"])).unwrap();
        assert_eq!((student.allowed.connections_max, student.allowed.value_bytes_max), (2, 10));
        assert_eq!(student.allowed.resources_max, u64::MAX);
        let both = allowances.of("bob", &roles(&["student", "tutor"])).unwrap();
        assert_eq!((both.allowed.connections_max, both.allowed.value_bytes_max), (5, 10));
    }

    #[test]
    fn a_user_has_one_allowance_for_all_its_connections() {
        let allowances = allowances();
        let tutor = allowances.of("ann", &roles(&["tutor"])).unwrap();
        assert!(tutor.admits(1) && !tutor.admits(1));
        let again = allowances.of("ann", &roles(&["tutor"])).unwrap();
        assert!(Arc::ptr_eq(&tutor, &again) && !again.admits(1));
        assert!(allowances.of("bob", &roles(&["tutor"])).unwrap().admits(1));
        drop((tutor, again));
        let later = allowances.of("ann", &roles(&["tutor"])).unwrap();
        assert!(!later.admits(1), "who connects again has what was left");
        // Other credentials of the same user do not make it forget either.
        let both = allowances.of("ann", &roles(&["student", "tutor"])).unwrap();
        assert!(both.admits(1));
        assert!(!allowances.of("ann", &roles(&["tutor"])).unwrap().admits(1));
    }

    #[test]
    fn bytes_are_counted_too() {
        let block = LimitBlock { bytes_per_second: Some(100), ..LimitBlock::default() };
        let ann = Allowances::new(&[block]).of("ann", &[]).unwrap();
        assert!(!ann.admits(101), "it never fits");
        assert!(ann.admits(60) && !ann.admits(60) && ann.admits(40));
    }
}
