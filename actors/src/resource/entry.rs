//! Entries: what the tree holds for a resource, whether or not an actor runs for it.
//!
//! A resource that nobody has touched is *untouched*: a value and a name. One that is only read is
//! *passive*: its state lies in the entry and is used under a short lock by whoever asks. The first
//! write starts the actor, on the thread of the writer, because a message to an actor on the same
//! thread costs a hundredth of one to a thread that sleeps. What is asked on that thread while no
//! letter waits for the actor needs no message: it is done at once, which is the same order. An
//! actor that has had nothing to do for a while gives its state back to the entry and ends. The
//! value of a resource that nobody uses may be in the store only; `away.rs` brings it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::actor::{AddLink, End, Follow, Owned, Request, Resource, Rest};
use super::away::{Loading, Waiting};
use super::letters::{Active, Letter};
use crate::guard::guarded;
use crate::protocol::{Class, Refusal, Rnum, Value};
use crate::shared::Shared;
use crate::state::{Ack, Delivery, Effects, Link, Reply, ResourceState, Responder, ValueCell};
use crate::verbs::{Data, Leaf, get, put, stop, stream};

/// A resource as the tree knows it.
pub struct Entry {
    number: u64,
    pub(super) cell: ValueCell,
    linked: AtomicBool,
    gone: AtomicBool,
    /// Something was asked of it since the last look at who rests.
    pub(super) used: AtomicBool,
    /// It is among those that are looked at for who rests. Changed with the slot locked.
    listed: AtomicBool,
    pub(super) slot: Mutex<Slot>,
}

pub(super) enum Slot {
    /// No actor, and no state but the value.
    Untouched,
    /// No actor: the state is here.
    Passive(Box<ResourceState<Arc<Entry>>>),
    /// The actor that has the state.
    Active(Box<Active>),
    /// No actor: the value is being read from the store, and the state and what was asked
    /// meanwhile are here.
    Loading(Box<Loading>),
    /// The resource was deleted.
    Gone,
}

/// A request that could not be handed over because the resource's mailbox is full.
pub struct Busy {
    /// What to do.
    pub data: Data,
    /// Whom to answer.
    pub responder: Responder,
}

impl Leaf for Arc<Entry> {
    fn number(&self) -> u64 {
        self.number
    }
}

impl Entry {
    /// A passive resource with this number and value, which needs no saving.
    pub fn new(number: u64, value: Value, class: Class) -> Arc<Self> {
        Arc::new(Entry {
            number,
            cell: ValueCell::new(value, class),
            linked: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            used: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            slot: Mutex::new(Slot::Untouched),
        })
    }

    /// Tells this resource from every other that there ever was.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its value.
    pub fn cell(&self) -> &ValueCell {
        &self.cell
    }

    /// Whether the resource was deleted.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Whether its values go on to other resources.
    pub fn is_linked(&self) -> bool {
        self.linked.load(Ordering::Acquire)
    }

    /// Says whether its values go on to other resources.
    pub fn note_linked(&self, linked: bool) {
        self.linked.store(linked, Ordering::Release);
    }

    /// Hands a request to the resource, which answers it; `at_once` if it may be carried out before
    /// this returns, and so before other actors of this thread have their turn.
    ///
    /// # Errors
    /// If as many letters wait for the resource as may; the request comes back to be tried again.
    pub fn submit(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        data: Data,
        responder: Responder,
        at_once: bool,
    ) -> Result<(), Busy> {
        // A store only when it changes, so that readers on several threads share the cache line.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        let mut slot = self.slot.lock();
        if matches!(&*slot, Slot::Active(_)) || matches!(data, Data::Put(_)) {
            if let Slot::Loading(loading) = &mut *slot {
                loading.waiting.push(Waiting::Request(data, responder));
                return Ok(());
            }
            let Some(active) = self.active(&mut slot, shared) else {
                responder.answer(deleted());
                return Ok(());
            };
            if at_once && let Some(owned) = active.if_idle_here() {
                drop(slot);
                self.attend(&owned, shared, data, responder);
                return Ok(());
            }
            if active.waiting() >= shared.settings.mailbox_resource.get() {
                shared.counters.mailbox_full.add(1);
                return Err(Busy { data, responder });
            }
            active.send(Letter::Request(Request { data, responder }));
            return Ok(());
        }
        if matches!(data, Data::Get)
            && matches!(&*slot, Slot::Untouched)
            && let Some(value) = self.cell.get()
        {
            drop(slot);
            responder.answer(Reply::value(value));
            return Ok(());
        }
        self.read(&mut slot, shared, data, responder);
        Ok(())
    }

    /// Carries out a request on what the actor owns. To be called on the actor's thread.
    pub(super) fn attend(
        self: &Arc<Self>,
        owned: &Owned,
        shared: &Arc<Shared>,
        data: Data,
        responder: Responder,
    ) {
        guarded(&shared.counters, "resource", || {
            let mut kept = owned.kept.lock();
            if kept.may_be_away && matches!(data, Data::Get | Data::Stream) {
                // It is rare here.
                kept.may_be_away = false;
                if self.cell.is_away() {
                    self.bring_back(shared);
                }
            }
            let mut effects = shared.effects();
            let delivery = self.apply(&mut kept.state, shared, data, responder, &mut effects);
            drop(kept);
            self.settle(shared, &delivery, &mut effects);
        });
    }

    /// Carries out a request that changes no value where no actor runs.
    fn read(
        self: &Arc<Self>,
        slot: &mut Slot,
        shared: &Arc<Shared>,
        data: Data,
        responder: Responder,
    ) {
        if matches!(data, Data::Get | Data::Stream) && self.cell.is_away() {
            return self.load(slot, shared, Waiting::Request(data, responder));
        }
        if let Slot::Loading(loading) = slot {
            loading.waiting.push(Waiting::Request(data, responder));
            return;
        }
        let Some(state) = self.passive(slot) else {
            return responder.answer(deleted());
        };
        match data {
            Data::Get => get::apply(state, &self.cell, responder),
            Data::Stream => stream::apply(state, &self.cell, responder),
            Data::Stop => stop::apply(state, responder),
            // It is sent to the actor.
            Data::Put(_) => {}
        }
    }

    /// Writes a value from a thread on which the resource's actor should not start.
    ///
    /// # Errors
    /// As [`Entry::submit`].
    pub fn put_in_place(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        value: Value,
        responder: Responder,
    ) -> Result<(), Busy> {
        let mut slot = self.slot.lock();
        let Some(state) = self.passive(&mut slot) else {
            drop(slot);
            return self.submit(shared, Data::Put(value), responder, false);
        };
        let mut effects = shared.effects();
        let budget = &shared.values;
        let delivery = put::apply(state, &self.cell, value, responder, budget, &mut effects);
        drop(slot);
        self.settle(shared, &delivery, &mut effects);
        Ok(())
    }

    /// Does what is to be done when the resource has taken values. No lock may be held.
    pub(super) fn settle(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        delivery: &Delivery,
        effects: &mut Effects<Arc<Entry>>,
    ) {
        if delivery.newly_unsaved {
            shared.unsaved.add_value(Arc::clone(self));
        }
        if delivery.away_bytes > 0 {
            shared.note_back(delivery.away_bytes);
        }
        if !effects.answers.is_empty() {
            shared.unsaved.add_answers(&mut effects.answers);
        }
        let counters = &shared.counters;
        counters.updates_in.add(delivery.taken);
        counters.values_refused.add(delivery.refused);
        counters.updates_delivered.add(delivery.delivered);
        let skipped = delivery.skipped();
        if skipped > 0 {
            counters.updates_skipped.add(skipped);
            counters.updates_skipped_buffer.add(delivery.skipped_buffer);
            counters.updates_skipped_buffer_bytes.add(delivery.skipped_buffer_bytes);
            counters.updates_skipped_outbox_bytes.add(delivery.skipped_outbox_bytes);
        }
        counters.link_updates_skipped.add(delivery.link_skipped);
        for link in effects.wake.drain(..) {
            link.destination.wake(&link, shared);
        }
    }

    /// Wakes the resource to take what a link has for it: one letter in flight for each link.
    pub fn wake(self: &Arc<Self>, link: &Arc<Link<Arc<Entry>>>, shared: &Arc<Shared>) {
        self.used.store(true, Ordering::Relaxed);
        let mut slot = self.slot.lock();
        if let Slot::Loading(loading) = &mut *slot {
            loading.waiting.push(Waiting::Follow(Arc::clone(link)));
            return;
        }
        match self.active(&mut slot, shared) {
            Some(active) => active.send(Letter::Follow(Follow { link: Arc::clone(link) })),
            None => link.ring.close(),
        }
    }

    /// Adds an outgoing link.
    pub fn add_link(&self, link: Arc<Link<Arc<Entry>>>) {
        self.note_linked(true);
        let mut slot = self.slot.lock();
        if let Some(state) = self.passive(&mut slot) {
            return state.add_link(link);
        }
        match &mut *slot {
            Slot::Active(active) => active.send(Letter::AddLink(AddLink { link })),
            Slot::Loading(loading) => loading.state.add_link(link),
            _ => link.ring.close(),
        }
    }

    /// Ends the resource and its streams; `ack` is held until every stream has its last frame.
    pub fn end(&self, shared: &Shared, ack: Option<Ack>) {
        self.gone.store(true, Ordering::Release);
        let mut slot = self.slot.lock();
        if let Slot::Active(active) = &mut *slot {
            // It ends the entry too, after what was sent before.
            return active.send(Letter::End(End { ack }));
        }
        let before = std::mem::replace(&mut *slot, Slot::Gone);
        drop(slot);
        match before {
            Slot::Untouched => self.end_state(&mut self.new_state(), shared),
            Slot::Passive(mut state) => self.end_state(&mut state, shared),
            Slot::Loading(mut loading) => {
                self.end_state(&mut loading.state, shared);
                for waiting in loading.waiting {
                    match waiting {
                        Waiting::Request(_, responder) => responder.answer(deleted()),
                        Waiting::Follow(link) => link.ring.close(),
                    }
                }
            }
            Slot::Active(_) | Slot::Gone => {}
        }
    }

    /// Ends a resource's streams and gives the room of its value back.
    pub(super) fn end_state(&self, state: &mut ResourceState<Arc<Entry>>, shared: &Shared) {
        state.release(&self.cell, &shared.values);
        shared.note_back(state.end(&self.cell));
    }

    pub(super) fn new_state(&self) -> ResourceState<Arc<Entry>> {
        ResourceState::new(self.number)
    }

    /// The state of a resource for which no actor runs.
    pub(super) fn passive<'s>(
        &self,
        slot: &'s mut Slot,
    ) -> Option<&'s mut ResourceState<Arc<Entry>>> {
        if matches!(slot, Slot::Untouched) {
            *slot = Slot::Passive(Box::new(self.new_state()));
        }
        if let Slot::Passive(state) = slot { Some(state) } else { None }
    }

    /// The actor of the resource. It is started on this thread if none runs; `None` if the resource
    /// was deleted.
    fn active<'s>(
        self: &Arc<Self>,
        slot: &'s mut Slot,
        shared: &Arc<Shared>,
    ) -> Option<&'s mut Active> {
        if self.passive(slot).is_some()
            && let Slot::Passive(state) = std::mem::replace(slot, Slot::Gone)
        {
            let active = Resource::launch(Arc::clone(self), *state, shared);
            *slot = Slot::Active(Box::new(active));
            // An actor that rested is still listed until the next look.
            if !self.listed.swap(true, Ordering::Relaxed) {
                shared.active.lock().push(Arc::downgrade(self));
            }
        }
        match slot {
            // An actor that was sent its end takes nothing more.
            Slot::Active(active) if !self.is_gone() => Some(active),
            _ => None,
        }
    }

    /// Asks the actor to rest if it was not used since the last call. Returns whether there still
    /// is one; if not, it leaves the list of those that are asked.
    pub fn rest_if_idle(self: &Arc<Self>) -> bool {
        let used = self.used.swap(false, Ordering::Relaxed);
        let mut slot = self.slot.lock();
        match &mut *slot {
            Slot::Active(active) => {
                if !used {
                    active.send(Letter::Rest(Rest));
                }
                true
            }
            _ => {
                self.listed.store(false, Ordering::Relaxed);
                false
            }
        }
    }
}

pub(super) fn deleted() -> Refusal {
    Refusal::new(Rnum::NotFound, "the resource was deleted")
}

#[cfg(test)]
mod tests {
    use actix::{Arbiter, System};

    use super::*;
    use crate::shared::tests::shared;
    use crate::state::{Outbox, Reid};

    fn responder(shared: &Shared) -> Responder {
        let outbox = Arc::new(Outbox::new(Arc::clone(&shared.settings.outbox)));
        Responder::new(outbox, 0, Reid::copy_from(&[1]), 0)
    }

    fn is_running(entry: &Entry) -> bool {
        matches!(&*entry.slot.lock(), Slot::Active(_))
    }

    #[test]
    fn a_resource_gets_its_actor_from_the_first_write_and_on_the_thread_of_the_writer() {
        System::new().block_on(async {
            let shared = Arc::new(shared());
            let entry = Entry::new(1, Value::nil(), Class::State);
            for data in [Data::Get, Data::Stream, Data::Stop] {
                assert!(entry.submit(&shared, data, responder(&shared), true).is_ok());
                assert!(!is_running(&entry));
            }
            let writer = Arbiter::new();
            let (entry_there, shared_there) = (Arc::clone(&entry), Arc::clone(&shared));
            let put = move || {
                let put = Data::Put(Value::nil());
                let responder = responder(&shared_there);
                let outbox = Arc::clone(responder.outbox());
                assert!(entry_there.submit(&shared_there, put, responder, true).is_ok());
                outbox
            };
            let (sender, receiver) = tokio::sync::oneshot::channel();
            writer.spawn_fn(move || {
                let _ = sender.send(put());
            });
            let outbox = receiver.await.unwrap();
            while outbox.tally().answered == 0 {
                actix_rt::task::yield_now().await;
            }
            assert!(is_running(&entry));
            writer.stop();
            writer.join().unwrap();
            assert!(!is_running(&entry), "the actor lived on the thread of its writer");
        });
    }

    #[test]
    fn an_actor_without_work_gives_its_state_back_and_loses_nothing() {
        System::new().block_on(async {
            let shared = Arc::new(shared());
            let entry = Entry::new(1, Value::nil(), Class::State);
            let outbox = Arc::new(Outbox::new(Arc::clone(&shared.settings.outbox)));
            let begun = std::cell::Cell::new(0);
            let begin = |data| {
                let reid = Reid::copy_from(&[1]);
                let responder = Responder::new(Arc::clone(&outbox), begun.get(), reid, 0);
                begun.set(begun.get() + 1);
                assert!(entry.submit(&shared, data, responder, false).is_ok());
            };
            for round in 0..100 {
                begin(Data::Put(Value::copy_from(&[round])));
                assert!(entry.rest_if_idle(), "it was used just now");
                assert!(entry.rest_if_idle());
                if round % 2 == 0 {
                    // More work than the actor knows of when it is asked to rest.
                    begin(Data::Put(Value::copy_from(&[round, round])));
                }
                while outbox.tally().answered < begun.get() || is_running(&entry) {
                    entry.rest_if_idle();
                    actix_rt::task::yield_now().await;
                }
                let expected = if round % 2 == 0 { vec![round, round] } else { vec![round] };
                assert_eq!(entry.cell.get(), Some(Value::copy_from(&expected)));
                assert!(matches!(&*entry.slot.lock(), Slot::Untouched));
            }
        });
    }
    #[test]
    fn a_resource_that_rested_and_works_again_is_looked_at_once() {
        System::new().block_on(async {
            let shared = Arc::new(shared());
            let entry = Entry::new(1, Value::nil(), Class::State);
            let put = || {
                let put = Data::Put(Value::copy_from(&[1]));
                assert!(entry.submit(&shared, put, responder(&shared), true).is_ok());
            };
            for _ in 0..3 {
                put();
                assert!(is_running(&entry));
                shared.rest_idle_resources();
                shared.rest_idle_resources();
                while is_running(&entry) {
                    actix_rt::task::yield_now().await;
                }
            }
            put();
            assert_eq!(shared.active.lock().len(), 1);
            shared.rest_idle_resources();
            shared.rest_idle_resources();
            while is_running(&entry) {
                actix_rt::task::yield_now().await;
            }
            shared.rest_idle_resources();
            assert_eq!(shared.active.lock().len(), 0);
        });
    }
}
