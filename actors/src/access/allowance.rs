//! Allowances: how much one user may have and do, over all its connections.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bounds how often a user may ask, and with how many bytes, over all its connections.
pub trait Rate: Send + Sync + 'static {
    /// Whether a request of so many bytes may begin now; if not, it is answered 429.
    fn admit(&self, bytes: usize) -> bool;
}

/// What a user may have at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Connections at a time, of the user.
    pub connections_max: u64,
    /// Resources that the user made and that are still there, since the broker was started.
    pub resources_max: u64,
    /// Streams of one connection.
    pub streams_max: usize,
    /// Bytes of a value that is written, as it is encoded.
    pub value_bytes_max: usize,
    /// Bytes of a request.
    pub message_bytes_max: usize,
}

/// What a user may have at most, and what it has. Shared by all its connections.
pub struct Allowance {
    /// The bounds.
    pub allowed: Allowed,
    rate: Option<Box<dyn Rate>>,
    connections: AtomicU64,
    resources: AtomicU64,
}

/// A connection or resource that counts, until this is dropped.
pub struct Counted {
    allowance: Arc<Allowance>,
    of: fn(&Allowance) -> &AtomicU64,
}

impl Allowance {
    /// An allowance of which nothing is used.
    pub fn new(allowed: Allowed, rate: Option<Box<dyn Rate>>) -> Self {
        Allowance { allowed, rate, connections: AtomicU64::new(0), resources: AtomicU64::new(0) }
    }

    /// Whether a request of so many bytes may begin now; if not, it is answered 429.
    pub fn admits(&self, bytes: usize) -> bool {
        self.rate.as_ref().is_none_or(|rate| rate.admit(bytes))
    }

    /// Counts one more connection, if there may be one.
    pub fn connect(self: &Arc<Self>) -> Option<Counted> {
        self.count(|allowance| &allowance.connections, self.allowed.connections_max)
    }

    /// Counts one more resource, if there may be one.
    pub fn make(self: &Arc<Self>) -> Option<Counted> {
        self.count(|allowance| &allowance.resources, self.allowed.resources_max)
    }

    fn count(self: &Arc<Self>, of: fn(&Allowance) -> &AtomicU64, max: u64) -> Option<Counted> {
        let more = |count: u64| (count < max).then_some(count + 1);
        of(self).fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Counted { allowance: Arc::clone(self), of })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.of)(&self.allowance).fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Allowance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Allowance").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_comes_back() {
        let allowed = Allowed {
            connections_max: 2,
            resources_max: 1,
            streams_max: 0,
            value_bytes_max: 0,
            message_bytes_max: 0,
        };
        let allowance = Arc::new(Allowance::new(allowed, None));
        let one = allowance.connect();
        let two = allowance.connect();
        assert!(one.is_some() && two.is_some() && allowance.connect().is_none());
        assert!(allowance.make().is_some(), "what was dropped does not count");
        let made = allowance.make();
        assert!(made.is_some() && allowance.make().is_none());
        drop(one);
        assert!(allowance.connect().is_some());
    }
}
