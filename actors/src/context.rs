//! The context of actors that are tasks of their own: no mailbox, only how far the actor has come.
//!
//! What such an actor waits for comes to it another way: a connection has its socket and its
//! outbox, a resource the letters in its entry.

use actix::{ActorContext, ActorState};

/// See the module's text.
pub struct Bare(ActorState);

impl Bare {
    /// That of an actor that has not begun.
    pub fn new() -> Self {
        Bare(ActorState::Started)
    }

    /// Says that the actor begins, if it has not yet; returns whether it had not.
    pub fn begin(&mut self) -> bool {
        let first = self.0 == ActorState::Started;
        if first {
            self.0 = ActorState::Running;
        }
        first
    }
}

impl Default for Bare {
    fn default() -> Self {
        Self::new()
    }
}

impl ActorContext for Bare {
    fn stop(&mut self) {
        if matches!(self.0, ActorState::Started | ActorState::Running) {
            self.0 = ActorState::Stopping;
        }
    }

    fn terminate(&mut self) {
        self.0 = ActorState::Stopped;
    }

    fn state(&self) -> ActorState {
        self.0
    }
}
