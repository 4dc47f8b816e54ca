//! Links: a ring that hands the values of one resource to another, conflating when the other is
//! behind.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::ack::Ack;
use crate::protocol::Value;

/// Where a value was first written: travels with it through links, so that a resource with two
/// ways to one source takes each value once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The resource that a client wrote to.
    pub resource: u64,
    /// Which of its updates this is; rising.
    pub version: u64,
}

/// A value on its way through a link.
pub struct Handover {
    /// The value.
    pub value: Value,
    /// Where it was first written.
    pub origin: Origin,
    /// Answers of writers that wait until it, or a newer one, has arrived.
    pub acks: Vec<Ack>,
}

/// What came of handing a value to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    /// It is on its way.
    Over {
        /// The destination has to be woken.
        wake: bool,
        /// Older values that will not arrive.
        skipped: u64,
    },
    /// The link has ended; the source should forget it.
    Closed,
}

/// The values that one link has yet to hand over, the newest `buffer` of them.
///
/// At most one wake-up of the destination is in flight for each link.
#[derive(Default)]
pub struct LinkRing {
    contents: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    values: VecDeque<Handover>,
    woken: bool,
    closed: bool,
}

impl LinkRing {
    /// Adds the newest value and drops the oldest beyond `buffer`; who waited for one of those
    /// waits for the one after it.
    pub fn push(&self, handover: Handover, buffer: usize) -> Handed {
        let mut contents = self.contents.lock();
        if contents.closed {
            return Handed::Closed;
        }
        contents.values.push_back(handover);
        let mut skipped = 0;
        while contents.values.len() > buffer.max(1)
            && let Some(oldest) = contents.values.pop_front()
            && let Some(next) = contents.values.front_mut()
        {
            next.acks.extend(oldest.acks);
            skipped += 1;
        }
        let wake = !contents.woken;
        contents.woken = true;
        Handed::Over { wake, skipped }
    }

    /// Everything that waits, oldest first. The next push wakes the destination again.
    pub fn take(&self) -> VecDeque<Handover> {
        let mut contents = self.contents.lock();
        contents.woken = false;
        std::mem::take(&mut contents.values)
    }

    /// Ends the link: what waits is dropped, and nothing passes any more.
    pub fn close(&self) {
        let mut contents = self.contents.lock();
        contents.closed = true;
        let dropped = std::mem::take(&mut contents.values);
        drop(contents);
        drop(dropped);
    }

    /// Whether the link has ended.
    pub fn is_closed(&self) -> bool {
        self.contents.lock().closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handover(byte: u8) -> Handover {
        let origin = Origin { resource: 1, version: u64::from(byte) };
        Handover { value: Value::copy_from(&[byte]), origin, acks: Vec::new() }
    }

    #[test]
    fn a_link_wakes_its_destination_once_and_keeps_the_newest_values() {
        let ring = LinkRing::default();
        assert_eq!(ring.push(handover(1), 2), Handed::Over { wake: true, skipped: 0 });
        assert_eq!(ring.push(handover(2), 2), Handed::Over { wake: false, skipped: 0 });
        assert_eq!(ring.push(handover(3), 2), Handed::Over { wake: false, skipped: 1 });
        let versions: Vec<u64> = ring.take().iter().map(|h| h.origin.version).collect();
        assert_eq!(versions, [2, 3]);
        assert_eq!(ring.push(handover(4), 2), Handed::Over { wake: true, skipped: 0 });
    }

    #[test]
    fn a_closed_link_passes_nothing() {
        let ring = LinkRing::default();
        ring.push(handover(1), 2);
        ring.close();
        assert!(ring.take().is_empty());
        assert_eq!(ring.push(handover(2), 2), Handed::Closed);
        assert!(ring.is_closed());
    }
}
