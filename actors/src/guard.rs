//! Guards: a panic in a handler must not take the worker thread and every actor on it along.
//!
//! Nothing reachable from a socket is meant to panic; this is the second line. A request that was
//! in the handler's hands is answered 500 when its responder is dropped by the unwinding.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::counters::Counters;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is in the body of a guarded handler, so that a panic would be caught.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// Runs the body of a handler; a panic in it is logged and counted, and `None` comes back.
pub fn guarded<T>(counters: &Counters, actor: &'static str, body: impl FnOnce() -> T) -> Option<T> {
    let outer = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(body));
    GUARDED.set(outer);
    outcome
        .inspect_err(|_| {
            counters.panics.add(1);
            log::error!("a fault in the {actor} actor was caught; it goes on, the request failed");
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use super::*;
    use crate::state::{Outbox, OutboxLimits, Reid, Responder};

    #[test]
    fn a_panic_in_a_handler_is_counted_and_its_request_is_answered_500() {
        let limits = OutboxLimits {
            streams_max: 1.into(),
            stream_buffer: 1.into(),
            stream_buffer_bytes: 1.into(),
            updates_bytes_max: 1.into(),
        };
        let outbox = Arc::new(Outbox::new(limits));
        let responder = Responder::new(Arc::clone(&outbox), 0, Reid::copy_from(&[7]), 10);
        let counters = Counters::default();
        let outcome: Option<()> = guarded(&counters, "test", move || {
            assert!(is_guarded());
            let _in_hand = responder;
            panic!("for the test");
        });
        assert!(outcome.is_none() && !is_guarded());
        assert_eq!(counters.panics.get(), 1);
        let mut sent = Vec::new();
        outbox.drain(1000, &mut sent, Waker::noop());
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].as_response().rnum.number(), 500);
        assert_eq!(sent[0].as_response().reid, [7]);
    }
}
