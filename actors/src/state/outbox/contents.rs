//! What is in an outbox, and how it is drained. Used under the outbox's lock.

use std::collections::VecDeque;
use std::task::Waker;

use super::Ending;
use crate::protocol::Refusal;
use crate::state::reid::Reid;
use crate::state::reply::{Occasion, Outgoing, Reply};
use crate::state::stream::{Ring, StreamId, reserve_frugally};

/// What an answer does to a stream at the moment at which it is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    None,
    /// Updates of the stream may follow.
    Opens(StreamId),
    /// What the stream still has goes first, and then the stream is forgotten.
    Closes(StreamId),
}

pub(super) struct Answer {
    pub(super) message: Outgoing,
    pub(super) effect: Effect,
}

#[derive(Default)]
pub(super) struct Slot {
    pub(super) generation: u64,
    pub(super) ring: Option<Ring>,
}

/// What became of the requests of a session so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests whose answer is there, sent or not.
    pub answered: u64,
    /// Bytes of the messages of those requests.
    pub answered_bytes: u64,
    /// Bytes of answers that wait to be sent.
    pub replies_bytes: usize,
}

#[derive(Default)]
pub(super) struct Contents {
    /// Answers by the order of their requests; `None` where the answer is not there yet.
    pub(super) answers: VecDeque<Option<Answer>>,
    /// The number of the request whose answer stands first.
    pub(super) first: u64,
    pub(super) slots: Vec<Slot>,
    pub(super) free: Vec<usize>,
    /// The attached streams as (resource, place in `slots`), in order. Most sessions have one.
    pub(super) attached: Vec<(u64, usize)>,
    pub(super) ready: VecDeque<usize>,
    /// Streams that their resource has ended and that have something to send.
    pub(super) ended: usize,
    pub(super) updates_bytes: usize,
    pub(super) skipped: u64,
    pub(super) tally: Tally,
    pub(super) waker: Option<Waker>,
    pub(super) ending: Option<Ending>,
    pub(super) closed: bool,
}

/// What one turn may still take.
pub(super) struct Turn<'o> {
    pub(super) left: usize,
    pub(super) out: &'o mut Vec<Outgoing>,
}

impl Turn<'_> {
    pub(super) fn is_over(&self) -> bool {
        self.left == 0
    }

    fn send(&mut self, message: Outgoing) {
        self.left = self.left.saturating_sub(message.size_bytes());
        self.out.push(message);
    }
}

impl Contents {
    /// The attached stream of a resource with this REID.
    pub(super) fn find(&self, resource: u64, reid: &Reid) -> Option<StreamId> {
        let start = self.attached.partition_point(|(number, _)| *number < resource);
        let attached = self.attached.get(start..).unwrap_or_default();
        attached.iter().take_while(|(number, _)| *number == resource).find_map(|(_, index)| {
            let slot = self.slots.get(*index)?;
            let is_it = slot.ring.as_ref().is_some_and(|ring| ring.key.1 == *reid);
            is_it.then_some(StreamId { index: *index, generation: slot.generation })
        })
    }

    pub(super) fn attach(&mut self, resource: u64, index: usize) {
        reserve_frugally(&mut self.attached);
        let place = self.attached.partition_point(|key| *key < (resource, index));
        self.attached.insert(place, (resource, index));
    }

    pub(super) fn unattach(&mut self, resource: u64, index: usize) {
        if let Ok(place) = self.attached.binary_search(&(resource, index)) {
            self.attached.remove(place);
        }
    }

    pub(super) fn ring(&mut self, stream: StreamId) -> Option<&mut Ring> {
        let slot = self.slots.get_mut(stream.index)?;
        if slot.generation == stream.generation { slot.ring.as_mut() } else { None }
    }

    pub(super) fn has_answer(&self) -> bool {
        self.answers.front().is_some_and(Option::is_some)
    }

    /// Sends the next answer, if it is there; `false` if it is not.
    pub(super) fn take_answer(&mut self, turn: &mut Turn<'_>, freed: &mut usize) -> bool {
        let Some(Some(answer)) = self.answers.front() else { return false };
        if let Effect::Closes(stream) = answer.effect {
            // The stream's last updates come before the answer to STOP, over several turns if
            // need be.
            if let Some(message) = self.pop_update(stream) {
                turn.send(message);
                return true;
            }
            self.forget(stream);
        } else if let Effect::Opens(stream) = answer.effect
            && let Some(message) = self.last_of_namesake(stream)
        {
            turn.send(message);
            return true;
        }
        let Some(Some(answer)) = self.answers.pop_front() else { return false };
        self.first += 1;
        *freed += answer.message.size_bytes();
        turn.send(answer.message);
        if let Effect::Opens(stream) = answer.effect
            && let Some(ring) = self.ring(stream)
        {
            ring.opened = true;
            if ring.is_ready() && !ring.queued {
                ring.queued = true;
                self.ready.push_back(stream.index);
            }
        }
        true
    }

    /// Drops what a stream has yet to send, because an answer with a newer value is about to go
    /// out; updates after that value wait for that answer.
    pub(super) fn begin_again(&mut self, stream: StreamId) {
        let Some(ring) = self.ring(stream) else { return };
        let (bytes, count) = (ring.bytes, ring.values.len() as u64);
        ring.values.clear();
        ring.bytes = 0;
        ring.opened = false;
        self.updates_bytes -= bytes;
        self.skipped += count;
    }

    /// The next message of a stream that has ended and had the REID of the one that is about to
    /// open, so that the client does not take it for the new one's.
    fn last_of_namesake(&mut self, opening: StreamId) -> Option<Outgoing> {
        if self.ended == 0 {
            return None;
        }
        let reid = self.ring(opening)?.key.1.clone();
        let is_namesake = |slot: &Slot| {
            slot.ring.as_ref().is_some_and(|ring| ring.ending.is_some() && ring.key.1 == reid)
        };
        let mut slots = self.slots.iter().enumerate();
        let (index, _) =
            slots.find(|(index, slot)| *index != opening.index && is_namesake(slot))?;
        let stream = StreamId { index, generation: self.slots.get(index)?.generation };
        self.pop_update(stream).or_else(|| self.pop_ending(stream))
    }

    /// Takes the last frame of a stream that its resource has ended, and forgets the stream.
    fn pop_ending(&mut self, stream: StreamId) -> Option<Outgoing> {
        let ring = self.ring(stream)?;
        let (rnum, reason) = ring.ending?;
        let reid = ring.key.1.clone();
        self.forget(stream);
        let reply = Reply::from(Refusal::new(rnum, reason));
        Some(Outgoing { occasion: Occasion::Stream, reid, reply })
    }

    /// Takes the oldest value of a stream as a message.
    fn pop_update(&mut self, stream: StreamId) -> Option<Outgoing> {
        let ring = self.ring(stream)?;
        let value = ring.pop()?;
        let reid = ring.key.1.clone();
        self.updates_bytes -= value.size_bytes();
        Some(Outgoing { occasion: Occasion::Stream, reid, reply: Reply::value(value) })
    }

    /// Sends one update of the stream whose turn it is, or several if it is the only one; `false`
    /// if none is waiting.
    pub(super) fn take_update(&mut self, turn: &mut Turn<'_>) -> bool {
        let Some(index) = self.ready.pop_front() else { return false };
        let Some(slot) = self.slots.get_mut(index) else { return true };
        let Some(ring) = slot.ring.as_mut() else { return true };
        ring.queued = false;
        if !ring.opened {
            // It was opened again and waits for its answer, which puts it into the queue.
            return true;
        }
        let mut sent = false;
        while let Some(value) = ring.pop() {
            self.updates_bytes -= value.size_bytes();
            let (occasion, reid) = (Occasion::Stream, ring.key.1.clone());
            turn.send(Outgoing { occasion, reid, reply: Reply::value(value) });
            sent = true;
            if turn.is_over() || !self.ready.is_empty() {
                break;
            }
        }
        if !sent {
            let stream = StreamId { index, generation: slot.generation };
            if let Some(message) = self.pop_ending(stream) {
                turn.send(message);
            }
        } else if ring.is_ready() {
            ring.queued = true;
            self.ready.push_back(index);
        }
        true
    }

    /// Frees the place of a stream.
    fn forget(&mut self, stream: StreamId) {
        let Some(slot) = self.slots.get_mut(stream.index) else { return };
        if slot.generation != stream.generation {
            return;
        }
        if let Some(ring) = slot.ring.take() {
            self.updates_bytes -= ring.bytes;
            self.ended -= usize::from(ring.ending.is_some());
            if ring.queued {
                self.ready.retain(|index| *index != stream.index);
            }
            self.free.push(stream.index);
        }
    }
}
