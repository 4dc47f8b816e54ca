//! Responders: the duty to answer, which cannot be forgotten.

use std::sync::Arc;

use super::outbox::{Effect, Outbox};
use super::reid::Reid;
use super::reply::{Occasion, Outgoing, Reply};
use super::stream::StreamId;
use crate::protocol::{Refusal, Rnum, Verb};

/// The duty to answer one request. Dropped without an answer, it answers 500 itself, so that every
/// request gets exactly one answer whatever happens on the way.
pub struct Responder {
    outbox: Arc<Outbox>,
    number: u64,
    reid: Reid,
    request_bytes: usize,
    verb: Option<Verb>,
    answered: bool,
}

impl Responder {
    /// The duty to answer request `number` (counted from 0) of this outbox, a message of
    /// `request_bytes`.
    pub fn new(outbox: Arc<Outbox>, number: u64, reid: Reid, request_bytes: usize) -> Self {
        Responder { outbox, number, reid, request_bytes, verb: None, answered: false }
    }

    /// The same, of a request for this verb.
    pub fn for_verb(mut self, verb: Option<Verb>) -> Self {
        self.verb = verb;
        self
    }

    /// The outbox that the answer goes to.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// REID of the request.
    pub fn reid(&self) -> &Reid {
        &self.reid
    }

    /// Gives the answer.
    pub fn answer(self, reply: impl Into<Reply>) {
        self.answer_with(reply.into(), Effect::None);
    }

    /// Gives the answer to STREAM; updates of the stream follow it.
    pub fn answer_opening(self, stream: StreamId, reply: Reply) {
        self.answer_with(reply, Effect::Opens(stream));
    }

    /// Gives the answer to STOP, after what the stream still has.
    pub fn answer_closing(self, stream: StreamId, reply: Reply) {
        self.answer_with(reply, Effect::Closes(stream));
    }

    fn answer_with(mut self, reply: Reply, effect: Effect) {
        self.give(reply, effect);
    }

    fn give(&mut self, reply: Reply, effect: Effect) {
        self.answered = true;
        let occasion = Occasion::Request(self.verb);
        let message = Outgoing { occasion, reid: self.reid.clone(), reply };
        self.outbox.answer(self.number, self.request_bytes, message, effect);
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.answered {
            let refusal = Refusal::new(
                Rnum::InternalServerError,
                "a fault in the broker; the request may or may not have taken effect",
            );
            self.give(refusal.into(), Effect::None);
        }
    }
}
