//! STOP: end a stream.
//!
//! 200 after the last update of the stream, none follows; 404 if this connection has no stream
//! with this REID and path.

use crate::state::{ResourceState, Responder};

/// Ends the stream that has the responder's REID.
pub fn apply<D>(state: &mut ResourceState<D>, responder: Responder) {
    state.stop(responder);
}
