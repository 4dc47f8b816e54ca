//! Letters: what waits for the actor of a resource. They lie in the resource's entry.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use super::actor::{AddLink, End, Follow, Owned, Request, Rest};
use super::entry::{Entry, Slot};
use crate::metrics::Posted;
use crate::shared::Shared;
use crate::state::ResourceState;

/// Letters for which an actor keeps memory when none waits.
const LETTERS_KEPT: usize = 16;

/// What an actor is sent.
pub(super) enum Letter {
    Request(Request),
    Follow(Follow),
    AddLink(AddLink),
    Rest(Rest),
    End(End),
}

/// What an actor finds in the entry.
pub(super) enum Next {
    /// A letter.
    Letter(Letter),
    /// Nothing yet.
    None,
    /// Nothing any more: the entry is another's.
    NeverAgain,
}

/// An actor as its entry knows it. Everything is used under the lock of the entry's slot.
pub(super) struct Active {
    owned: Arc<Owned>,
    /// The thread on which it runs.
    thread: u64,
    letters: VecDeque<(Letter, Posted)>,
    /// Wakes the actor; `None` before its first turn, which comes without being asked for.
    waker: Option<Waker>,
}

impl Active {
    /// An actor of this thread without letters.
    pub(super) fn new(owned: Arc<Owned>) -> Self {
        Active { owned, thread: this_thread(), letters: VecDeque::new(), waker: None }
    }

    /// Letters that wait.
    pub(super) fn waiting(&self) -> usize {
        self.letters.len()
    }

    /// Values that its resource took; see `look.rs`.
    pub(super) fn updates(&self) -> u64 {
        self.owned.kept.lock().state.version()
    }

    /// What the actor owns, if it runs on this thread and has nothing to do. It cannot begin before
    /// the caller has come to an end, so what the caller does with it comes before everything that
    /// is sent from now on.
    pub(super) fn if_idle_here(&self) -> Option<Arc<Owned>> {
        let is_so = self.letters.is_empty() && self.thread == this_thread();
        is_so.then(|| Arc::clone(&self.owned))
    }

    /// Sends it a letter.
    pub(super) fn send(&mut self, letter: Letter) {
        let posted = self.owned.shared().metrics.post_to_resource();
        self.letters.push_back((letter, posted));
        if self.letters.len() == 1
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }

    fn next(&mut self, waker: &Waker) -> Next {
        if let Some((letter, posted)) = self.letters.pop_front() {
            let metrics = &self.owned.shared().metrics;
            metrics.take(&metrics.resources, posted);
            return Next::Letter(letter);
        }
        if self.letters.capacity() > LETTERS_KEPT {
            self.letters = VecDeque::new();
        }
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
        Next::None
    }
}

impl Entry {
    /// The next letter for the actor that owns this, which is woken by the next one after that.
    pub(super) fn next_letter(&self, owned: &Arc<Owned>, waker: &Waker) -> Next {
        match &mut *self.slot.lock() {
            Slot::Active(active) if Arc::ptr_eq(&active.owned, owned) => active.next(waker),
            _ => Next::NeverAgain,
        }
    }

    /// Takes the state back from the actor unless letters wait for it. Returns whether it did.
    pub(super) fn take_back(&self, owned: &Arc<Owned>) -> bool {
        let mut slot = self.slot.lock();
        let idle = match &*slot {
            Slot::Active(active) => active.letters.is_empty() && Arc::ptr_eq(&active.owned, owned),
            _ => false,
        };
        if idle {
            *slot = self.passive_again(owned);
        }
        idle
    }

    fn passive_again(&self, owned: &Owned) -> Slot {
        let state = &mut owned.kept.lock().state;
        if state.is_blank() {
            return Slot::Untouched;
        }
        let empty = ResourceState::new(self.number());
        Slot::Passive(Box::new(std::mem::replace(state, empty)))
    }

    /// The actor that owned this is gone. If nobody else took its place, the state goes back to the
    /// entry, and what waited is given up: requests answer for themselves as they are dropped.
    pub(super) fn note_end_of_actor(&self, owned: &Arc<Owned>, shared: &Shared) {
        let mut slot = self.slot.lock();
        if !matches!(&*slot, Slot::Active(active) if Arc::ptr_eq(&active.owned, owned)) {
            return;
        }
        let next = if self.is_gone() { Slot::Gone } else { self.passive_again(owned) };
        let before = std::mem::replace(&mut *slot, next);
        drop(slot);
        let Slot::Active(active) = before else { return };
        shared.metrics.resources.drop_letters(active.letters.len() as u64);
        for (letter, _) in active.letters {
            match letter {
                Letter::Request(_) | Letter::Rest(_) => {}
                Letter::Follow(Follow { link }) => link.ring.close(),
                Letter::AddLink(AddLink { link }) => self.add_link(link),
                Letter::End(_) => self.end_state(&mut owned.kept.lock().state, shared),
            }
        }
    }
}

/// Tells this thread from every other that there ever was.
fn this_thread() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static NUMBER: u64 = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    }
    NUMBER.with(|number| *number)
}
