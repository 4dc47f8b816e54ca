//! Values that are in the store only: of resources that nobody uses, when the values in memory are
//! more than they may be. The first use brings a value back.
//!
//! Reading may wait for the disk, so it is done on a thread of its own. What is asked of the
//! resource meanwhile waits in its entry, in order; each connection has only so many requests in
//! flight.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entry::{Entry, Slot};
use crate::guard::guarded;
use crate::protocol::Value;
use crate::shared::Shared;
use crate::state::{Delivery, Effects, Link, ResourceState, Responder};
use crate::verbs::{Data, get, put, stop, stream};

/// A resource whose value is being read.
pub(super) struct Loading {
    pub state: ResourceState<Arc<Entry>>,
    pub waiting: Vec<Waiting>,
}

/// What was asked of it meanwhile.
pub(super) enum Waiting {
    /// A request.
    Request(Data, Responder),
    /// A link has values for it.
    Follow(Arc<Link<Arc<Entry>>>),
}

impl Entry {
    /// Has the value read; `first` is done then.
    pub(super) fn load(self: &Arc<Self>, slot: &mut Slot, shared: &Arc<Shared>, first: Waiting) {
        let state = match std::mem::replace(slot, Slot::Gone) {
            Slot::Untouched => self.new_state(),
            Slot::Passive(state) => *state,
            Slot::Loading(mut loading) => {
                loading.waiting.push(first);
                *slot = Slot::Loading(loading);
                return;
            }
            // An actor answers by itself, and nothing is read of what is gone.
            other => {
                *slot = other;
                return;
            }
        };
        *slot = Slot::Loading(Box::new(Loading { state, waiting: vec![first] }));
        let (entry, shared_there) = (Arc::clone(self), Arc::clone(shared));
        shared.reader.run(move || {
            guarded(&shared_there.counters, "reader", || entry.bring_back(&shared_there));
            guarded(&shared_there.counters, "reader", || entry.loaded(&shared_there));
        });
    }

    /// Reads the value and takes it into memory, unless there is a newer one. May wait for the
    /// disk.
    pub(super) fn bring_back(&self, shared: &Shared) {
        match shared.store.read(self.number()) {
            Ok(value) => {
                shared.counters.values_brought_back.add(1);
                shared.note_back(self.cell.bring_back(value.unwrap_or_else(Value::nil)));
            }
            Err(error) => {
                shared.counters.store_errors.add(1);
                log::error!("{error}");
            }
        }
    }

    /// Does what was asked meanwhile.
    fn loaded(self: &Arc<Self>, shared: &Arc<Shared>) {
        let mut effects = shared.effects();
        let mut delivery = Delivery::default();
        let mut links = Vec::new();
        {
            let mut slot = self.slot.lock();
            let Loading { mut state, waiting } = match std::mem::replace(&mut *slot, Slot::Gone) {
                Slot::Loading(loading) => *loading,
                other => {
                    *slot = other;
                    return;
                }
            };
            for waiting in waiting {
                match waiting {
                    Waiting::Request(data, responder) => {
                        delivery += self.apply(&mut state, shared, data, responder, &mut effects);
                    }
                    Waiting::Follow(link) => links.push(link),
                }
            }
            *slot = Slot::Passive(Box::new(state));
        }
        self.settle(shared, &delivery, &mut effects);
        for link in links {
            self.wake(&link, shared);
        }
    }

    /// Carries out a request.
    pub(super) fn apply(
        &self,
        state: &mut ResourceState<Arc<Entry>>,
        shared: &Shared,
        data: Data,
        responder: Responder,
        effects: &mut Effects<Arc<Entry>>,
    ) -> Delivery {
        match data {
            Data::Get => get::apply(state, &self.cell, responder),
            Data::Stream => stream::apply(state, &self.cell, responder),
            Data::Stop => stop::apply(state, responder),
            Data::Put(value) => {
                let budget = &shared.values;
                return put::apply(state, &self.cell, value, responder, budget, effects);
            }
        }
        Delivery::default()
    }

    /// Leaves the value to the store if nobody has used the resource since the last call; the bytes
    /// that are free then.
    pub fn leave_if_idle(&self) -> u64 {
        if self.used.swap(false, Ordering::Relaxed) {
            return 0;
        }
        let mut slot = self.slot.lock();
        match &*slot {
            Slot::Passive(state) if state.is_blank() => *slot = Slot::Untouched,
            Slot::Untouched | Slot::Passive(_) => {}
            Slot::Active(_) | Slot::Loading(_) | Slot::Gone => return 0,
        }
        self.cell.send_away().unwrap_or(0)
    }
}
