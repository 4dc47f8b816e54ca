//! The streams of one session: for each a ring of the newest values that are yet to be sent.
//!
//! A ring that is full loses its *oldest* value, so that every stream ends on the newest one; the
//! newest value is kept whatever its size, for it is the resource's own and costs nothing more.

use std::collections::VecDeque;

use super::reid::Reid;
use crate::protocol::{Rnum, Value};

/// Names a stream of a session; a number is used again only with another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId {
    pub(super) index: usize,
    pub(super) generation: u64,
}

/// What came of opening a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is open; its updates wait until the answer to STREAM has been sent.
    New(StreamId),
    /// A stream with this REID and path is open already. What it had yet to send is dropped, for
    /// the answer brings a newer value; updates after that follow the answer.
    Already(StreamId),
    /// The session has as many streams as it may have.
    TooMany,
    /// The session is gone.
    Gone,
}

/// What came of handing a value to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It will be sent.
    Queued,
    /// It will be sent, and so many older values will not be, for want of this.
    Skipped(u64, SkipReason),
    /// The stream is over; the resource should forget it.
    Gone,
}

/// Which bound had no place for an older value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// `stream.buffer`.
    Buffer,
    /// `stream.buffer_bytes`.
    BufferBytes,
    /// `outbox.updates_bytes_max`.
    OutboxBytes,
}

/// Values waiting for one stream.
#[derive(Debug)]
pub(super) struct Ring {
    /// Which resource and REID it is for.
    pub(super) key: (u64, Reid),
    pub(super) values: VecDeque<Value>,
    pub(super) bytes: usize,
    /// Values that were dropped because the client was behind.
    pub(super) skipped: u64,
    /// The answer to STREAM has been sent, so that updates may follow it.
    pub(super) opened: bool,
    /// It stands in the queue of streams that have something to send.
    pub(super) queued: bool,
    /// No resource may push into it any more.
    pub(super) detached: bool,
    /// The last frame to send before it is forgotten.
    pub(super) ending: Option<(Rnum, &'static str)>,
}

impl Ring {
    pub(super) fn new(resource: u64, reid: Reid) -> Self {
        Ring {
            key: (resource, reid),
            values: VecDeque::new(),
            bytes: 0,
            skipped: 0,
            opened: false,
            queued: false,
            detached: false,
            ending: None,
        }
    }

    /// Adds the newest value and drops the oldest beyond the bounds; returns the number dropped.
    pub(super) fn push(&mut self, value: Value, values_max: usize, bytes_max: usize) -> u64 {
        self.bytes += value.size_bytes();
        self.values.push_back(value);
        let mut dropped = 0;
        while self.values.len() > 1
            && (self.values.len() > values_max || self.bytes > bytes_max)
            && self.pop().is_some()
        {
            dropped += 1;
        }
        self.skipped += dropped;
        dropped
    }

    /// The oldest value.
    pub(super) fn pop(&mut self) -> Option<Value> {
        let value = self.values.pop_front()?;
        self.bytes -= value.size_bytes();
        Some(value)
    }

    /// Whether there is something to send now.
    pub(super) fn is_ready(&self) -> bool {
        self.opened && (!self.values.is_empty() || self.ending.is_some())
    }
}

/// Makes room for one more, and for few in advance while there are few.
pub(super) fn reserve_frugally<T>(items: &mut Vec<T>) {
    const FEW: usize = 8;
    if items.len() < FEW {
        items.reserve_exact(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_keeps_the_newest_values_and_always_one() {
        let value = |byte: u8, size: usize| Value::copy_from(&vec![byte; size]);
        let mut ring = Ring::new(1, Reid::copy_from(&[1]));
        assert_eq!(ring.push(value(1, 10), 2, 100), 0);
        assert_eq!(ring.push(value(2, 10), 2, 100), 0);
        assert_eq!(ring.push(value(3, 10), 2, 100), 1);
        assert_eq!(ring.push(value(4, 95), 2, 100), 2);
        assert_eq!(ring.values.len(), 1);
        assert_eq!(ring.push(value(5, 500), 2, 100), 1);
        assert_eq!((ring.values.len(), ring.bytes), (1, 500));
        assert_eq!(ring.pop(), Some(value(5, 500)));
        assert_eq!((ring.pop(), ring.bytes), (None, 0));
    }
}
