//! What an outbox looks like from outside, for who operates the broker.

use super::Outbox;

/// What a session has yet to receive, and what it did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxSeen {
    /// Requests that were answered.
    pub answered: u64,
    /// Streams that are open.
    pub streams: usize,
    /// Bytes of answers and updates that wait to be sent.
    pub waiting_bytes: usize,
    /// Updates that its streams did not get because it was behind.
    pub skipped: u64,
}

/// A stream of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSeen {
    /// The number of its resource.
    pub resource: u64,
    /// Values that wait to be sent.
    pub waiting: usize,
    /// Bytes of those.
    pub waiting_bytes: usize,
    /// Older values that were dropped because the session was behind.
    pub skipped: u64,
}

impl Outbox {
    /// How it is now.
    pub fn seen(&self) -> OutboxSeen {
        let contents = self.contents.lock();
        OutboxSeen {
            answered: contents.tally.answered,
            streams: contents.attached.len(),
            waiting_bytes: contents.tally.replies_bytes.saturating_add(contents.updates_bytes),
            skipped: contents.skipped,
        }
    }

    /// Its streams, by the numbers of their resources.
    pub fn streams_seen(&self) -> Vec<StreamSeen> {
        let contents = self.contents.lock();
        let ring = |index: &usize| contents.slots.get(*index)?.ring.as_ref();
        let seen = contents.attached.iter().filter_map(|(resource, index)| {
            let ring = ring(index)?;
            Some(StreamSeen {
                resource: *resource,
                waiting: ring.values.len(),
                waiting_bytes: ring.bytes,
                skipped: ring.skipped,
            })
        });
        seen.collect()
    }
}
