//! A look at a resource, for who operates the broker. It changes nothing, not even whether the
//! resource counts as used.

use super::entry::{Entry, Slot};

/// What a resource has besides its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Nothing: no actor, no streams and no links.
    Untouched,
    /// Streams or links, and no actor.
    Passive,
    /// An actor.
    Active,
    /// Its value is on its way from the store.
    Loading,
}

/// A resource at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// What it has besides its value.
    pub activity: Activity,
    /// Values that it took since it last had nothing but its value.
    pub updates: u64,
    /// Requests and values that wait for its actor.
    pub waiting: usize,
}

impl Entry {
    /// How it is now; `None` if it was deleted.
    pub fn look(&self) -> Option<Look> {
        let (activity, updates, waiting) = match &*self.slot.lock() {
            Slot::Untouched => (Activity::Untouched, 0, 0),
            Slot::Passive(state) => (Activity::Passive, state.version(), 0),
            Slot::Active(active) => (Activity::Active, active.updates(), active.waiting()),
            Slot::Loading(loading) => {
                (Activity::Loading, loading.state.version(), loading.waiting.len())
            }
            Slot::Gone => return None,
        };
        Some(Look { activity, updates, waiting })
    }
}
