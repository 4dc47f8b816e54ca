//! PUT: write the value of a resource that exists.
//!
//! 200 when the resource, and every resource linked to it, has the value or a newer one, and with
//! `store.sync = "all"` when that is on disk; 404 where there is no resource; 507 if the values of
//! the broker would take more room than they may.

use crate::protocol::{Refusal, Rnum, Value};
use crate::state::{Budget, Delivery, Effects, ResourceState, Responder, ValueCell};

/// Writes the value and tells subscribers and links; what is to be done then is in the effects.
pub fn apply<D>(
    state: &mut ResourceState<D>,
    cell: &ValueCell,
    value: Value,
    responder: Responder,
    budget: &Budget,
    effects: &mut Effects<D>,
) -> Delivery {
    if !state.reserve(cell, value.size_bytes(), budget) {
        responder.answer(no_room());
        return Delivery { refused: 1, ..Delivery::default() };
    }
    state.put(cell, value, responder, effects)
}

/// The refusal of a value for which there is no room.
pub fn no_room() -> Refusal {
    Refusal::new(
        Rnum::InsufficientStorage,
        "the broker's values take all the memory that they may (limits.values_bytes_max)",
    )
}
