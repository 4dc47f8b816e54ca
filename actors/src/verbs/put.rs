//! PUT: write the value of a resource that exists.
//!
//! 200 when the resource, and every resource linked to it, has the value or a newer one; 404 where
//! there is no resource; 507 if the values of the broker would take more memory than they may.

use std::sync::Arc;

use crate::protocol::{Refusal, Rnum, Value};
use crate::state::{Budget, Delivery, Link, ResourceState, Responder};

/// Writes the value and tells subscribers and links. Links to be woken are appended to `wake`.
pub fn apply<D>(
    state: &mut ResourceState<D>,
    value: Value,
    responder: Responder,
    budget: &Budget,
    wake: &mut Vec<Arc<Link<D>>>,
) -> Delivery {
    if !state.reserve(value.size_bytes(), budget) {
        responder.answer(no_room());
        return Delivery { refused: 1, ..Delivery::default() };
    }
    state.put(value, responder, wake)
}

/// The refusal of a value for which there is no room.
pub fn no_room() -> Refusal {
    Refusal::new(
        Rnum::InsufficientStorage,
        "the broker's values take all the memory that they may (limits.values_bytes_max)",
    )
}
