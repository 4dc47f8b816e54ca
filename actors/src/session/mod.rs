//! Sessions: one for each connection, whatever door it came through.
//!
//! The session is written once, as a synchronous structure: it takes whole messages, forwards the
//! requests in them, and hands out the messages that its outbox has. The door's actor owns it,
//! feeds it and drives the socket; what the two say to each other is in this file.
//!
//! Order: requests take effect and are answered in the order in which they came. Requests to
//! resources may be in flight together, up to a bound; a structural request waits until those
//! before it are done, and those after it wait for it.

mod access;
mod backlog;
mod familiar;
mod intake;
mod measure;

use std::cell::RefCell;
use std::sync::Arc;
use std::task::Waker;

use crate::access::Policy;
use crate::directory::{Directory, Task};
use crate::events::Event;
use crate::ports::{Peer, Throttle};
use crate::resource::{Busy, Entry};
use crate::shared::Shared;
use crate::state::{Ending, Outbox, Outgoing, Tally};
use access::Known as Who;
use actix::Addr;
use backlog::{Backlog, Waiting};
use intake::{Admitted, Known};
use measure::Measure;

/// Requests after which a session looks again what became of them.
const REQUESTS_BETWEEN_LOOKS: u64 = 16;

/// Requests of one turn that may be carried out on the spot. Those beyond it go through mailboxes,
/// so that other sessions and actors of the thread have their turn.
const REQUESTS_AT_ONCE: u64 = 64;

thread_local! {
    /// Messages of one turn; empty between turns, kept for its memory.
    static OUTGOING: RefCell<Vec<Outgoing>> = const { RefCell::new(Vec::new()) };
}

/// A connection's part of the broker.
pub struct Session {
    shared: Arc<Shared>,
    directory: Arc<Addr<Directory>>,
    outbox: Arc<Outbox>,
    number: u64,
    /// Requests that were begun: the number of the next one.
    begun: u64,
    /// Bytes of their messages.
    begun_bytes: u64,
    /// What became of them at the last look; looking takes a lock.
    tally: Tally,
    /// Requests that the counters know of.
    counted: u64,
    /// The request in flight is structural: nothing else may begin.
    barrier: bool,
    /// A PUT through links is in flight: only requests to the same resource may begin, so that a
    /// later request sees what went through the links.
    through_links: Option<u64>,
    /// Messages that wait for requests in flight, oldest first.
    backlog: Backlog,
    /// A request that found a full mailbox and is tried again.
    stuck: Option<Box<Stuck>>,
    known: Known,
    who: Who,
    /// What is known of the other end, where that says who it is or how often it may be wrong.
    peer: Option<Box<Peer>>,
    wrong: WrongRequests,
    throttle: Option<Box<dyn Throttle>>,
    measure: Measure,
}

enum Stuck {
    Resource { entry: Arc<Entry>, request: Busy },
    Directory(Task),
}

/// What a turn left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// More can be written at once: take another turn soon.
    pub more: bool,
    /// A request found a full mailbox: take another turn in a millisecond or so.
    pub retry: bool,
    /// Every request that came has its answer, and all of them were passed to `write`.
    pub done: bool,
    /// Close the connection for this reason; nothing more is waiting.
    pub ending: Option<Ending>,
}

/// Requests that were malformed or not permitted, since the last good one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WrongRequests {
    /// How many there are in a row.
    pub in_a_row: u32,
    /// Which row it is, wrapping: each good request begins another one.
    pub row: u32,
}

/// What a session did, for the line in the log when it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionSummary {
    /// The last user that it proved to be; `None` if it never did.
    pub user: Option<String>,
    /// Requests that were begun.
    pub requests: u64,
    /// Streams that are open.
    pub streams: usize,
    /// Updates that its streams did not get because it was behind.
    pub skipped: u64,
}

impl Session {
    pub(crate) fn open(
        shared: Arc<Shared>,
        directory: Arc<Addr<Directory>>,
        peer: Peer,
        throttle: Option<Box<dyn Throttle>>,
    ) -> Option<Self> {
        let outbox = Arc::new(Outbox::new(Arc::clone(&shared.settings.outbox)));
        let number = shared.sessions.admit(&outbox, &peer)?;
        shared.counters.connections_opened.add(1);
        shared.events.note(|| Event::Opened { session: number, address: peer.address });
        // In this order: a policy that is newer than its epoch does no harm.
        let epoch = shared.access.epoch();
        let policy = shared.access.policy();
        let counts = matches!(*policy, Policy::Rules { .. }) || peer.credentials.is_some();
        let peer = counts.then(|| Box::new(peer));
        let who = Who::new(policy, epoch);
        Some(Session {
            shared,
            directory,
            outbox,
            number,
            begun: 0,
            begun_bytes: 0,
            tally: Tally::default(),
            counted: 0,
            barrier: false,
            through_links: None,
            backlog: Backlog::default(),
            stuck: None,
            known: Known::default(),
            who,
            peer,
            wrong: WrongRequests::default(),
            throttle,
            measure: Measure::default(),
        })
    }

    /// Number of the session, for the log. No two sessions of a process have the same.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What the session did so far.
    pub fn summary(&self) -> SessionSummary {
        SessionSummary {
            user: self.who.user().map(str::to_owned),
            requests: self.begun,
            streams: self.outbox.streams(),
            skipped: self.outbox.skipped(),
        }
    }

    /// Whether a request came whose credentials were good.
    pub fn is_proven(&self) -> bool {
        self.who.is_proven()
    }

    /// Whether the session has streams.
    pub fn has_streams(&self) -> bool {
        self.outbox.streams() > 0
    }

    /// Requests that were begun.
    pub fn requests(&self) -> u64 {
        self.begun
    }

    /// The last requests that were malformed or not permitted.
    pub fn wrong(&self) -> WrongRequests {
        self.wrong
    }

    /// How many more messages the session takes now. A door stops reading at 0 and asks again
    /// after the next turn.
    pub fn room(&mut self) -> usize {
        if self.tally.answered == self.begun
            && self.tally.replies_bytes == 0
            && self.backlog.is_empty()
            && self.stuck.is_none()
        {
            // Nothing is on its way, as nearly always for who only listens.
            return self.shared.settings.requests_max.get();
        }
        // The last look may be too old in either direction: requests may have been answered since,
        // and their answers wait to be sent.
        if self.begun - self.tally.answered >= REQUESTS_BETWEEN_LOOKS || self.known_room() == 0 {
            self.look();
        }
        self.known_room()
    }

    /// The room by the last look.
    fn known_room(&self) -> usize {
        let settings = &self.shared.settings;
        let busy = self.in_flight() > 0 || !self.backlog.is_empty();
        let requests_bytes = self.begun_bytes.saturating_sub(self.tally.answered_bytes);
        let waiting_bytes = requests_bytes.saturating_add(self.backlog.bytes() as u64);
        if self.stuck.is_some()
            || self.tally.replies_bytes > settings.replies_bytes_max.get()
            || (busy && waiting_bytes > settings.requests_bytes_max.get() as u64)
        {
            return 0;
        }
        let taken = self.in_flight() + self.backlog.len();
        settings.requests_max.get().saturating_sub(taken)
    }

    /// Whether every request that came has its answer, sent or not.
    fn is_idle(&self) -> bool {
        self.in_flight() == 0 && self.backlog.is_empty() && self.stuck.is_none()
    }

    /// Looks what became of the requests.
    fn look(&mut self) {
        self.tally = self.outbox.tally();
    }

    /// Requests without an answer, at the last look.
    fn in_flight(&self) -> usize {
        let open = self.begun.saturating_sub(self.tally.answered);
        usize::try_from(open).unwrap_or(usize::MAX)
    }

    /// Takes one whole message. A message that cannot begin yet waits its turn.
    pub fn receive(&mut self, message: &[u8]) {
        // The number that the request will have.
        let number = self.begun + self.backlog.len() as u64;
        self.measure.begin(&self.shared.metrics, self.number, number);
        let connection = self.throttle.as_ref().is_none_or(|throttle| throttle.admit());
        let mut admitted = Admitted { connection, user: None };
        let waits = !self.backlog.is_empty() || self.stuck.is_some();
        if waits || self.begin(message, &mut admitted).is_err() {
            self.shared.counters.requests_held_back.add(1);
            let metrics = &self.shared.metrics;
            let posted = metrics.post(&metrics.sessions);
            self.backlog.push_back(Waiting { message: Box::from(message), admitted, posted });
        }
    }

    /// Begins what can begin, and passes messages of about `budget_bytes` to `write`; none if that
    /// is 0. `waker` is called when another turn is worth while.
    pub fn turn(
        &mut self,
        budget_bytes: usize,
        waker: &Waker,
        mut write: impl FnMut(&Outgoing),
    ) -> Turn {
        // The waker is in place before the look at what is answered, so that no answer is missed.
        let drained = OUTGOING.with_borrow_mut(|outgoing| {
            let drained = self.outbox.drain(budget_bytes, outgoing, waker);
            self.measure.note_sent(&self.shared.metrics, outgoing);
            for message in outgoing.drain(..) {
                write(&message);
            }
            drained
        });
        // As it was when the outbox was drained: what is answered after that is not written yet.
        self.tally = drained.tally;
        let done = self.is_idle() && !drained.more;
        self.shared.counters.requests.add(self.begun - self.counted);
        self.counted = self.begun;
        self.begin_waiting();
        self.settle_streams();
        Turn {
            more: drained.more,
            retry: self.stuck.is_some(),
            done,
            ending: drained.ending.filter(|_| done),
        }
    }

    fn begin_waiting(&mut self) {
        if let Some(stuck) = self.stuck.take() {
            self.hand_over(*stuck);
        }
        while self.stuck.is_none()
            && let Some(mut waiting) = self.backlog.pop_front()
        {
            if self.begin(&waiting.message, &mut waiting.admitted).is_err() {
                self.backlog.push_front(waiting);
                return;
            }
            let metrics = &self.shared.metrics;
            metrics.take(&metrics.sessions, waiting.posted);
        }
    }

    /// Hands a request over; if the mailbox is full, it is kept and tried again.
    fn hand_over(&mut self, stuck: Stuck) {
        match stuck {
            Stuck::Resource { entry, request: Busy { data, responder } } => {
                let at_once = self.begun - self.counted <= REQUESTS_AT_ONCE;
                if let Err(request) = entry.submit(&self.shared, data, responder, at_once) {
                    self.stuck = Some(Box::new(Stuck::Resource { entry, request }));
                }
            }
            Stuck::Directory(task) => match self.directory.try_send(task) {
                Err(actix::dev::SendError::Full(task)) => {
                    self.shared.counters.mailbox_full.add(1);
                    self.stuck = Some(Box::new(Stuck::Directory(task)));
                }
                // A closed mailbox drops the task, whose responder then answers 500.
                Ok(()) | Err(actix::dev::SendError::Closed(_)) => {}
            },
        }
    }
}

impl Session {
    /// Ends the session: its streams are gone and its place is free. Nothing else may be asked of
    /// it but what it did.
    pub fn end(&mut self) {
        self.shared.counters.requests.add(self.begun - self.counted);
        self.counted = self.begun;
        self.shared.events.note(|| Event::Closed {
            session: self.number,
            user: self.who.identity().cloned(),
            requests: self.begun,
        });
        self.who.forget();
        self.measure_the_rest();
        self.outbox.close();
        self.shared.sessions.leave(self.number);
    }
}

impl Session {
    /// Counts the answers that were given and will not be sent, and what nobody waits for any more.
    fn measure_the_rest(&mut self) {
        let metrics = &self.shared.metrics;
        let mut unsent = Vec::new();
        self.outbox.drain(usize::MAX, &mut unsent, Waker::noop());
        self.measure.note_sent(metrics, &unsent);
        metrics.sessions.drop_letters(self.backlog.len() as u64);
        self.backlog = Backlog::default();
        if let Some(Stuck::Directory(_)) = self.stuck.take().as_deref() {
            metrics.directory.drop_letters(1);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}
