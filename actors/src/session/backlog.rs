//! The backlog: messages of a session that wait for requests in flight, or until it is known who
//! asks. A session without any has nothing but a pointer for it.

use std::collections::VecDeque;

use super::intake::Admitted;
use crate::metrics::Posted;

/// A message that waits.
pub(super) struct Waiting {
    pub message: Box<[u8]>,
    pub admitted: Admitted,
    pub posted: Posted,
}

/// Messages that wait, oldest first.
#[derive(Default)]
pub(super) struct Backlog(Option<Box<Messages>>);

#[derive(Default)]
struct Messages {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

impl Backlog {
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |messages| messages.waiting.len())
    }

    /// Bytes of all messages.
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |messages| messages.bytes)
    }

    pub fn push_back(&mut self, waiting: Waiting) {
        let messages = self.0.get_or_insert_default();
        messages.bytes += waiting.message.len();
        messages.waiting.push_back(waiting);
    }

    pub fn push_front(&mut self, waiting: Waiting) {
        let messages = self.0.get_or_insert_default();
        messages.bytes += waiting.message.len();
        messages.waiting.push_front(waiting);
    }

    pub fn pop_front(&mut self) -> Option<Waiting> {
        let messages = self.0.as_mut()?;
        let first = messages.waiting.pop_front();
        messages.bytes -= first.as_ref().map_or(0, |first| first.message.len());
        if messages.waiting.is_empty() {
            self.0 = None;
        }
        first
    }
}
