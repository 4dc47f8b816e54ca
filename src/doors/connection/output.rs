//! Output: messages are encoded into memory of the thread, and sent once everybody who had
//! something to say has said it.
//!
//! Sends that follow each other closely are cheaper than sends with work in between: the kernel's
//! code and data stay in the caches, and a receiver that is awake need not be woken. So the
//! thread's [`Output`] takes what its connections have to write in this round, and a task of the
//! thread, which was woken behind them all, sends it. A round is cut where it would outgrow the
//! caches.
//!
//! Small values are copied behind their prefix, so that many messages leave with one send. Large
//! ones are handed to the kernel where they lie, whoever else they go to.

use std::rc::Rc;
use std::task::Waker;

use fanal_actors::{Outgoing, Value, encode_after_payload, encode_before_payload};

use super::wire::{Lane, Part};
use crate::doors::framing::Framing;

/// Values of at least so many bytes are not copied.
const LARGE_BYTES: usize = 8 * 1024;

/// Bytes of a round: what is encoded should still be in the caches when it is sent. 64 KiB and
/// 256 KiB measured alike.
const ROUND_BYTES: usize = 128 * 1024;

/// Memory that is kept by a thread between rounds; what a round needed beyond it is given back.
const KEPT_BYTES: usize = 1024 * 1024;

/// What is to be sent in this round, in order.
#[derive(Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// Large values, each with where in `bytes` it belongs.
    large: Vec<(usize, Value)>,
    large_bytes: usize,
    entries: Vec<Entry>,
    /// Where what the connection at work has to say begins in `bytes` and in `large`.
    begun: (usize, usize),
    /// Wakes the task that sends.
    sender: Option<Waker>,
}

/// What one connection has to say: up to these places in `bytes` and `large`, from where the entry
/// before it ended.
struct Entry {
    lane: Rc<dyn Lane>,
    end: (usize, usize),
}

impl Output {
    /// For what is no message: signs of the framing.
    pub fn signs(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Adds a message of the connection at work.
    pub fn push<F: Framing>(&mut self, message: &Outgoing) {
        let response = message.as_response();
        let size = response.encoded_bytes();
        self.bytes.reserve(size.min(LARGE_BYTES) + 256);
        F::begin_message(size, &mut self.bytes);
        encode_before_payload(&response, &mut self.bytes);
        match message.value() {
            Some(value) if value.size_bytes() >= LARGE_BYTES => {
                self.large.push((self.bytes.len(), value.clone()));
                self.large_bytes += value.size_bytes();
            }
            _ => self.bytes.extend_from_slice(response.payload.unwrap_or(&[0xc0])),
        }
        encode_after_payload(&response, &mut self.bytes);
    }

    /// Ends what the connection at work has to say. Returns whether it said anything.
    pub fn finish<L: Lane + 'static>(&mut self, lane: &Rc<L>) -> bool {
        let end = (self.bytes.len(), self.large.len());
        if end == self.begun {
            return false;
        }
        if self.entries.is_empty()
            && let Some(sender) = &self.sender
        {
            sender.wake_by_ref();
        }
        self.begun = end;
        self.entries.push(Entry { lane: Rc::clone(lane) as Rc<dyn Lane>, end });
        true
    }

    /// Takes back what the connection at work has said since its last `finish`.
    pub fn forget(&mut self) {
        self.bytes.truncate(self.begun.0);
        self.large.truncate(self.begun.1);
    }

    /// What the connection at work has said since its last `finish`, if it was nothing but signs.
    pub fn said(&self) -> &[u8] {
        self.bytes.get(self.begun.0..).unwrap_or_default()
    }

    /// Whether the round is long enough to be sent now.
    pub fn is_full(&self) -> bool {
        self.bytes.len() + self.large_bytes >= ROUND_BYTES
    }

    /// The task that is woken when there is something to send.
    pub fn set_sender(&mut self, waker: Option<Waker>) {
        self.sender = waker;
    }

    /// Whether a task was set that sends.
    pub fn has_sender(&self) -> bool {
        self.sender.is_some()
    }

    /// Sends everything that connections have finished. Lanes keep what a socket does not take.
    pub fn send(&mut self) {
        let mut start = (0, 0);
        for Entry { lane, end } in self.entries.drain(..) {
            let part = Part {
                bytes: self.bytes.get(start.0..end.0).unwrap_or_default(),
                large: self.large.get(start.1..end.1).unwrap_or_default(),
                offset: start.0,
            };
            lane.send(&part);
            start = end;
        }
        self.large.clear();
        self.large_bytes = 0;
        self.bytes.clear();
        self.begun = (0, 0);
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
    }
}
