//! STREAM: get the value now and each update from now on.
//!
//! 200 with the value, then one message with the same REID for each update; 200 with a warning if
//! this connection streams this path with this REID already, without a second stream; 404 where
//! there is no resource; 429 if the connection has all the streams that it may have. When the
//! resource is deleted the stream ends with a last message with 404.

use crate::state::{ResourceState, Responder, ValueCell};

/// Opens the stream and answers with the value.
pub fn apply<D>(state: &mut ResourceState<D>, cell: &ValueCell, responder: Responder) {
    state.stream(cell, responder);
}
