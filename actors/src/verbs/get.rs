//! GET: read the value of a resource.
//!
//! 200 with the value; 404 where there is no resource.

use crate::state::{ResourceState, Responder, ValueCell};

/// Answers with the value.
pub fn apply<D>(state: &ResourceState<D>, cell: &ValueCell, responder: Responder) {
    state.get(cell, responder);
}
