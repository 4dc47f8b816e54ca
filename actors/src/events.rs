//! What has happened to connections, for who wants to be told: a bounded queue that nobody fills
//! while nobody wants it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::access::Identity;

/// Events that wait to be taken.
const WAITING_MAX: usize = 10_000;

/// Something that has happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A connection was opened.
    Opened {
        /// The number of its session.
        session: u64,
        /// Its IPv6 address, or an IPv4 address mapped into one, if it has any.
        address: Option<[u8; 16]>,
    },
    /// A connection is gone.
    Closed {
        /// The number of its session.
        session: u64,
        /// The last user that it proved to be.
        user: Option<Arc<Identity>>,
        /// Requests that it made.
        requests: u64,
    },
}

/// Events that wait to be taken.
#[derive(Default)]
pub struct Events {
    wanted: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    lost: u64,
}

impl Events {
    /// Says that somebody takes them from now on.
    pub fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Something has happened.
    pub fn note(&self, event: impl FnOnce() -> Event) {
        if !self.wanted.load(Ordering::Relaxed) {
            return;
        }
        let mut waiting = self.waiting.lock();
        if waiting.events.len() < WAITING_MAX {
            waiting.events.push_back(event());
        } else {
            waiting.lost += 1;
        }
    }

    /// What has happened since the last call, and how many more events there was no room for.
    pub fn take(&self) -> (Vec<Event>, u64) {
        let Waiting { events, lost } = std::mem::take(&mut *self.waiting.lock());
        (events.into(), lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_bounded_and_only_there_for_who_wants_them() {
        let events = Events::default();
        let opened = |session| move || Event::Opened { session, address: None };
        events.note(opened(1));
        assert_eq!(events.take().0.len(), 0);
        events.want();
        for session in 0..WAITING_MAX as u64 + 5 {
            events.note(opened(session));
        }
        let (taken, lost) = events.take();
        assert_eq!((taken.len(), lost), (WAITING_MAX, 5));
        assert!(matches!(taken.first(), Some(Event::Opened { session: 0, .. })));
        let (taken, lost) = events.take();
        assert_eq!((taken.len(), lost), (0, 0));
    }
}
