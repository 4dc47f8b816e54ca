//! Rounds: the memory of a thread that its connections read into and encode into, and the task that
//! sends what they said.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use super::output::Output;

thread_local! {
    /// One connection of a thread uses it at a time.
    pub static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

/// See the module's text.
#[derive(Default)]
pub struct Scratch {
    pub input: Vec<u8>,
    pub output: Output,
}

/// Starts this thread's task that sends, if there is none.
pub fn provide_sender() {
    SCRATCH.with_borrow_mut(|scratch| {
        if !scratch.output.has_sender() {
            // It says who it is when it runs for the first time.
            scratch.output.set_sender(Some(Waker::noop().clone()));
            actix_web::rt::spawn(send_rounds());
        }
    });
}

/// Sends what the connections of this thread have to say, round by round. The first of a round
/// wakes this task, so all that were awake by then come before it.
async fn send_rounds() {
    /// Lets the next connection start another task, should this one end with its runtime.
    struct Sender;
    impl Drop for Sender {
        fn drop(&mut self) {
            // The thread's memory may be gone before its tasks.
            let _ = SCRATCH.try_with(|scratch| scratch.borrow_mut().output.set_sender(None));
        }
    }
    let _sender = Sender;
    poll_fn(|task| {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.output.set_sender(Some(task.waker().clone()));
            scratch.output.send();
        });
        Poll::<()>::Pending
    })
    .await;
}
