//! The outbox: what a connection has yet to receive.
//!
//! Shared by the session and by every resource that it streams. Answers are lossless and leave in
//! the order of their requests; updates wait in one ring per stream and the oldest are dropped for
//! a client that is behind. The lock is held for the time of a push, never across a call out, and
//! at most one wake-up is in flight.

mod contents;
mod seen;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::task::{Wake, Waker};

use parking_lot::Mutex;

use super::reid::Reid;
use super::reply::Outgoing;
use super::stream::{Opened, Pushed, Ring, SkipReason, StreamId, reserve_frugally};
use crate::protocol::{Rnum, Value};
use crate::tunable::Tunable;
use contents::{Answer, Contents, Slot, Turn};
pub use contents::{Effect, Tally};
pub use seen::{OutboxSeen, StreamSeen};

/// Bounds of an outbox, from the configuration.
#[derive(Clone, Debug)]
pub struct OutboxLimits {
    /// Streams that a session may have.
    pub streams_max: Tunable<usize>,
    /// Newest values kept for each stream.
    pub stream_buffer: Tunable<usize>,
    /// Bytes of values kept for each stream; the newest value is always kept.
    pub stream_buffer_bytes: Tunable<usize>,
    /// Bytes of updates of all streams together beyond which each keeps its newest value only.
    pub updates_bytes_max: Tunable<usize>,
}

/// Why a connection is to be closed by the broker's own wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The broker stops or restarts.
    ShuttingDown,
    /// Who operates the broker wants it.
    Kicked,
}

/// What one turn of draining left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// More is waiting: take another turn soon.
    pub more: bool,
    /// Close the connection, for this reason, once nothing more is waiting.
    pub ending: Option<Ending>,
    /// What became of the requests, at the moment of the draining: an answer that comes right
    /// behind it was not drained.
    pub tally: Tally,
}

/// See the module's text.
pub struct Outbox {
    /// One for all sessions.
    limits: Arc<OutboxLimits>,
    contents: Mutex<Contents>,
}

impl Outbox {
    /// An empty outbox.
    pub fn new(limits: impl Into<Arc<OutboxLimits>>) -> Self {
        Outbox { limits: limits.into(), contents: Mutex::new(Contents::default()) }
    }

    /// What became of the requests so far.
    pub fn tally(&self) -> Tally {
        self.contents.lock().tally
    }

    /// Updates that streams of this session did not get because the client was behind.
    pub fn skipped(&self) -> u64 {
        self.contents.lock().skipped
    }

    /// Streams that are open.
    pub fn streams(&self) -> usize {
        self.contents.lock().attached.len()
    }

    /// Takes the answer to request `number`, a message of `request_bytes`.
    pub(super) fn answer(
        &self,
        number: u64,
        request_bytes: usize,
        message: Outgoing,
        effect: Effect,
    ) {
        let size = message.size_bytes();
        let mut guard = self.contents.lock();
        let contents = &mut *guard;
        contents.tally.answered += 1;
        contents.tally.answered_bytes += request_bytes as u64;
        if !contents.closed
            && let Some(position) = number.checked_sub(contents.first)
            && let Ok(position) = usize::try_from(position)
        {
            let answer = Some(Answer { message, effect });
            if position == contents.answers.len() {
                contents.answers.push_back(answer);
            } else {
                while contents.answers.len() <= position {
                    contents.answers.push_back(None);
                }
                if let Some(place) = contents.answers.get_mut(position) {
                    *place = answer;
                }
            }
            contents.tally.replies_bytes += size;
        }
        let waker = contents.waker.take();
        drop(guard);
        wake(waker);
    }

    /// Opens a stream of a resource. Its updates are kept, and sent after the answer to STREAM.
    pub fn open_stream(&self, resource: u64, reid: &Reid) -> Opened {
        let mut contents = self.contents.lock();
        if contents.closed {
            return Opened::Gone;
        }
        if let Some(stream) = contents.find(resource, reid) {
            contents.begin_again(stream);
            return Opened::Already(stream);
        }
        // Streams that have ended count as long as they have something to send.
        if contents.slots.len() - contents.free.len() >= self.limits.streams_max.get() {
            return Opened::TooMany;
        }
        let index = match contents.free.pop() {
            Some(index) => index,
            None => {
                reserve_frugally(&mut contents.slots);
                contents.slots.push(Slot::default());
                contents.slots.len() - 1
            }
        };
        let Some(slot) = contents.slots.get_mut(index) else { return Opened::Gone };
        slot.generation += 1;
        slot.ring = Some(Ring::new(resource, reid.clone()));
        let stream = StreamId { index, generation: slot.generation };
        contents.attach(resource, index);
        Opened::New(stream)
    }

    /// Detaches the stream of a resource with this REID, if there is one, so that nothing more is
    /// pushed into it. What it has is sent before the answer that closes it.
    pub fn detach_stream(&self, resource: u64, reid: &Reid) -> Option<StreamId> {
        let mut contents = self.contents.lock();
        let stream = contents.find(resource, reid)?;
        contents.unattach(resource, stream.index);
        contents.ring(stream)?.detached = true;
        Some(stream)
    }

    /// Hands a value to a stream.
    pub fn push_update(&self, stream: StreamId, value: &Value) -> Pushed {
        let limits = &self.limits;
        let mut guard = self.contents.lock();
        let contents = &mut *guard;
        let crowded = contents.updates_bytes > limits.updates_bytes_max.get();
        let Some(ring) = contents.ring(stream).filter(|ring| !ring.detached) else {
            return Pushed::Gone;
        };
        let before = ring.bytes;
        let values_max = if crowded { 1 } else { limits.stream_buffer.get() };
        let reason = if crowded {
            SkipReason::OutboxBytes
        } else if ring.values.len() >= values_max {
            SkipReason::Buffer
        } else {
            SkipReason::BufferBytes
        };
        let dropped = ring.push(value.clone(), values_max, limits.stream_buffer_bytes.get());
        let after = ring.bytes;
        let becomes_ready = ring.opened && !ring.queued;
        ring.queued |= ring.opened;
        contents.updates_bytes = contents.updates_bytes + after - before;
        contents.skipped += dropped;
        let waker = if becomes_ready {
            contents.ready.push_back(stream.index);
            contents.waker.take()
        } else {
            None
        };
        drop(guard);
        wake(waker);
        if dropped > 0 { Pushed::Skipped(dropped, reason) } else { Pushed::Queued }
    }

    /// Ends a stream from the side of its resource: what it has is sent, then a last frame with
    /// this code.
    pub fn end_stream(&self, stream: StreamId, rnum: Rnum, reason: &'static str) {
        let mut guard = self.contents.lock();
        let contents = &mut *guard;
        let Some(ring) = contents.ring(stream).filter(|ring| !ring.detached) else { return };
        ring.detached = true;
        ring.ending = Some((rnum, reason));
        let becomes_ready = ring.opened && !ring.queued;
        ring.queued |= ring.opened;
        let resource = ring.key.0;
        contents.unattach(resource, stream.index);
        contents.ended += 1;
        if becomes_ready {
            contents.ready.push_back(stream.index);
        }
        let waker = contents.waker.take();
        drop(guard);
        wake(waker);
    }

    /// Whether a resource may still push into this stream.
    pub fn is_attached(&self, stream: StreamId) -> bool {
        self.contents.lock().ring(stream).is_some_and(|ring| !ring.detached)
    }

    /// Has the session take a turn.
    pub fn wake(&self) {
        let waker = self.contents.lock().waker.take();
        wake(waker);
    }

    /// Whether there is a stream of this resource with this REID.
    pub fn has_stream(&self, resource: u64, reid: &Reid) -> bool {
        self.contents.lock().find(resource, reid).is_some()
    }

    /// Ends the stream of a resource with this REID from the side of the broker: what it has is
    /// sent, then a last frame with this code. Returns whether there was one.
    pub fn end_stream_of(
        &self,
        resource: u64,
        reid: &Reid,
        rnum: Rnum,
        reason: &'static str,
    ) -> bool {
        let stream = self.contents.lock().find(resource, reid);
        stream.is_some_and(|stream| {
            self.end_stream(stream, rnum, reason);
            true
        })
    }

    /// Asks for the connection to be closed after what is waiting has been sent.
    pub fn request_end(&self, ending: Ending) {
        let mut contents = self.contents.lock();
        contents.ending = contents.ending.or(Some(ending));
        let waker = contents.waker.take();
        drop(contents);
        wake(waker);
    }

    /// Moves messages of about `budget_bytes` into `out`, answers before updates and one update of
    /// each stream in turn, and leaves `waker` to be called when more comes.
    pub fn drain(&self, budget_bytes: usize, out: &mut Vec<Outgoing>, waker: &Waker) -> Drained {
        let mut guard = self.contents.lock();
        let contents = &mut *guard;
        let mut left = Turn { left: budget_bytes, out };
        let mut freed = 0;
        while !left.is_over() && contents.take_answer(&mut left, &mut freed) {}
        while !left.is_over() && contents.take_update(&mut left) {}
        contents.tally.replies_bytes -= freed;
        if contents.answers.is_empty() {
            // A quiet session has no memory for answers.
            contents.answers = VecDeque::new();
        }
        let more = contents.has_answer() || !contents.ready.is_empty();
        if !contents.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            contents.waker = Some(waker.clone());
        }
        // Who is kicked out waits for nothing.
        let due = |ending: &Ending| !more || *ending == Ending::Kicked;
        Drained { more, ending: contents.ending.filter(due), tally: contents.tally }
    }

    /// Ends the outbox: the session is gone, whatever waits is dropped, and every resource is told
    /// so at its next push.
    pub fn close(&self) {
        let mut contents = self.contents.lock();
        let (skipped, tally) = (contents.skipped, contents.tally);
        let empty = Contents { closed: true, skipped, tally, ..Contents::default() };
        let dropped = mem::replace(&mut *contents, empty);
        drop(contents);
        // Values are freed outside the lock.
        drop(dropped);
    }
}

/// Who waits for something on behalf of a session wakes its outbox.
impl Wake for Outbox {
    fn wake(self: Arc<Self>) {
        Outbox::wake(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Outbox::wake(self);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::state::Reply;
    use crate::state::Responder;

    fn limits() -> OutboxLimits {
        OutboxLimits {
            streams_max: Tunable::from(2),
            stream_buffer: Tunable::from(3),
            stream_buffer_bytes: Tunable::from(1000),
            updates_bytes_max: Tunable::from(1000),
        }
    }

    /// An outbox with somebody who begins requests and reads what comes.
    struct Bench {
        outbox: Arc<Outbox>,
        begun: u64,
    }

    impl Bench {
        fn new() -> Self {
            Bench { outbox: Arc::new(Outbox::new(limits())), begun: 0 }
        }

        fn begin(&mut self, reid: u8) -> Responder {
            self.begun += 1;
            let outbox = Arc::clone(&self.outbox);
            Responder::new(outbox, self.begun - 1, Reid::copy_from(&[reid]), 10)
        }

        fn open(&mut self, resource: u64, reid: u8) -> StreamId {
            let Opened::New(stream) = self.outbox.open_stream(resource, &Reid::copy_from(&[reid]))
            else {
                panic!("the stream was not opened");
            };
            stream
        }

        fn push(&self, stream: StreamId, byte: u8) -> Pushed {
            self.outbox.push_update(stream, &Value::copy_from(&[byte]))
        }

        /// Reads all messages as `reid:code:value`.
        #[track_caller]
        fn check(&self, budget: usize, expected: &str) {
            let mut out = Vec::new();
            self.outbox.drain(budget, &mut out, Waker::noop());
            let seen: Vec<String> = out.iter().map(show).collect();
            assert_eq!(seen.join(" "), expected);
        }
    }

    fn show(message: &Outgoing) -> String {
        let response = message.as_response();
        let value = response.payload.map_or(String::new(), |value| format!(":{}", value[0]));
        format!("{}:{}{value}", response.reid[0], response.rnum.number())
    }

    fn ok() -> Reply {
        Reply::of(Rnum::Ok)
    }

    #[test]
    fn answers_leave_in_the_order_of_their_requests() {
        let mut bench = Bench::new();
        let [a, b, c] = [1, 2, 3].map(|reid| bench.begin(reid));
        c.answer(ok());
        b.answer(ok());
        bench.check(9999, "");
        assert_eq!(bench.outbox.tally().answered, 2);
        a.answer(Reply::of(Rnum::Created));
        bench.check(9999, "1:201 2:200 3:200");
        let tally = Tally { answered: 3, answered_bytes: 30, replies_bytes: 0 };
        assert_eq!(bench.outbox.tally(), tally);
    }

    #[test]
    fn a_responder_that_is_dropped_answers_500() {
        let mut bench = Bench::new();
        drop(bench.begin(1));
        bench.check(9999, "1:500");
    }

    #[test]
    fn updates_follow_the_answer_that_opens_their_stream_and_precede_the_one_that_closes_it() {
        let mut bench = Bench::new();
        let [before, stream_request, stop_request] = [1, 2, 2].map(|reid| bench.begin(reid));
        let stream = bench.open(7, 2);
        stream_request.answer_opening(stream, Reply::value(Value::copy_from(&[10])));
        assert_eq!(bench.push(stream, 11), Pushed::Queued);
        bench.check(9999, "");
        let detached = bench.outbox.detach_stream(7, &Reid::copy_from(&[2])).unwrap();
        stop_request.answer_closing(detached, ok());
        assert_eq!(bench.push(stream, 12), Pushed::Gone);
        before.answer(ok());
        bench.check(9999, "1:200 2:200:10 2:200:11 2:200");
        assert_eq!(bench.outbox.detach_stream(7, &Reid::copy_from(&[2])), None);
    }

    #[test]
    fn a_slow_stream_keeps_the_newest_values_and_the_skips_are_counted() {
        let mut bench = Bench::new();
        let responder = bench.begin(1);
        let stream = bench.open(7, 1);
        responder.answer_opening(stream, ok());
        let pushed: Vec<Pushed> = (0..5).map(|byte| bench.push(stream, byte)).collect();
        let skipped = Pushed::Skipped(1, SkipReason::Buffer);
        assert_eq!(pushed[2..], [Pushed::Queued, skipped, skipped]);
        bench.check(9999, "1:200 1:200:2 1:200:3 1:200:4");
        assert_eq!(bench.outbox.skipped(), 2);
    }

    #[test]
    fn streams_take_turns_and_a_budget_ends_a_turn() {
        let mut bench = Bench::new();
        for reid in [1, 2] {
            let responder = bench.begin(reid);
            let stream = bench.open(u64::from(reid), reid);
            responder.answer_opening(stream, ok());
            for byte in 0..3 {
                bench.push(stream, byte);
            }
        }
        bench.check(1, "1:200");
        bench.check(1, "2:200");
        bench.check(150, "1:200:0 2:200:0 1:200:1");
        bench.check(9999, "2:200:1 1:200:2 2:200:2");
    }

    #[test]
    fn all_streams_together_are_bounded_down_to_one_value_each() {
        let mut bench = Bench::new();
        let big = Value::copy_from(&[0; 600]);
        let responder = bench.begin(1);
        let streams = [bench.open(1, 1), bench.open(2, 2)];
        responder.answer_opening(streams[0], ok());
        bench.outbox.push_update(streams[0], &big);
        bench.outbox.push_update(streams[1], &big);
        let skipped = Pushed::Skipped(1, SkipReason::OutboxBytes);
        assert_eq!(bench.outbox.push_update(streams[1], &big), skipped);
        assert_eq!(bench.outbox.push_update(streams[1], &big), skipped);
        assert_eq!(bench.outbox.contents.lock().updates_bytes, 1200);
    }

    #[test]
    fn a_stream_is_bounded_in_bytes() {
        let mut bench = Bench::new();
        let stream = bench.open(1, 1);
        let big = Value::copy_from(&[0; 600]);
        assert_eq!(bench.outbox.push_update(stream, &big), Pushed::Queued);
        let skipped = Pushed::Skipped(1, SkipReason::BufferBytes);
        assert_eq!(bench.outbox.push_update(stream, &big), skipped);
    }

    #[test]
    fn a_stream_that_its_resource_ends_gets_its_values_and_a_last_frame() {
        let mut bench = Bench::new();
        let responder = bench.begin(1);
        let stream = bench.open(7, 1);
        bench.push(stream, 5);
        bench.outbox.end_stream(stream, Rnum::NotFound, "gone");
        assert!(!bench.outbox.is_attached(stream));
        responder.answer_opening(stream, ok());
        bench.check(9999, "1:200 1:200:5 1:404");
        let again = bench.open(7, 1);
        assert_ne!(again, stream);
        assert_eq!(bench.push(stream, 6), Pushed::Gone);
    }

    #[test]
    fn a_stream_that_has_ended_says_so_before_a_new_one_with_its_reid_begins() {
        let mut bench = Bench::new();
        let [old, new] = [1, 1].map(|reid| bench.begin(reid));
        let stream = bench.open(7, 1);
        old.answer_opening(stream, ok());
        bench.check(9999, "1:200");
        bench.push(stream, 5);
        bench.outbox.end_stream(stream, Rnum::NotFound, "gone");
        let stream = bench.open(8, 1);
        bench.push(stream, 6);
        new.answer_opening(stream, Reply::of(Rnum::Created));
        bench.check(9999, "1:200:5 1:404 1:201 1:200:6");
        assert_eq!(bench.outbox.contents.lock().ended, 0);
    }

    #[test]
    fn a_session_has_a_bounded_number_of_streams_and_each_only_once() {
        let mut bench = Bench::new();
        bench.open(7, 1);
        let again = bench.outbox.open_stream(7, &Reid::copy_from(&[1]));
        assert!(matches!(again, Opened::Already(_)));
        bench.open(7, 2);
        assert_eq!(bench.outbox.open_stream(8, &Reid::copy_from(&[3])), Opened::TooMany);
        bench.outbox.close();
        assert_eq!(bench.outbox.open_stream(8, &Reid::copy_from(&[3])), Opened::Gone);
    }

    #[test]
    fn a_stream_that_is_opened_again_goes_on_from_the_value_of_the_answer() {
        let mut bench = Bench::new();
        let [first, again] = [1, 1].map(|reid| bench.begin(reid));
        let stream = bench.open(7, 1);
        first.answer_opening(stream, Reply::value(Value::copy_from(&[1])));
        bench.check(9999, "1:200:1");
        bench.push(stream, 2);
        bench.push(stream, 3);
        let Opened::Already(stream) = bench.outbox.open_stream(7, &Reid::copy_from(&[1])) else {
            panic!("the stream was not known");
        };
        bench.push(stream, 4);
        again.answer_opening(stream, Reply::value(Value::copy_from(&[3])));
        bench.check(9999, "1:200:3 1:200:4");
        bench.push(stream, 5);
        bench.check(9999, "1:200:5");
        assert_eq!(bench.outbox.skipped(), 2);
    }

    #[test]
    fn a_stream_that_was_stopped_counts_until_its_values_are_sent() {
        let mut bench = Bench::new();
        let [open, stop] = [1, 1].map(|reid| bench.begin(reid));
        let stream = bench.open(7, 1);
        open.answer_opening(stream, ok());
        bench.open(7, 2);
        let detached = bench.outbox.detach_stream(7, &Reid::copy_from(&[1])).unwrap();
        stop.answer_closing(detached, ok());
        assert_eq!(bench.outbox.open_stream(8, &Reid::copy_from(&[3])), Opened::TooMany);
        bench.check(9999, "1:200 1:200");
        assert!(matches!(bench.outbox.open_stream(8, &Reid::copy_from(&[3])), Opened::New(_)));
    }

    #[test]
    fn an_answer_that_comes_behind_a_draining_is_not_counted_by_it() {
        let mut bench = Bench::new();
        let [a, b] = [1, 2].map(|reid| bench.begin(reid));
        let mut out = Vec::new();
        a.answer(ok());
        let drained = bench.outbox.drain(9999, &mut out, Waker::noop());
        b.answer(ok());
        assert_eq!((drained.tally.answered, drained.more, out.len()), (1, false, 1));
        let drained = bench.outbox.drain(9999, &mut out, Waker::noop());
        assert_eq!((drained.tally.answered, drained.more, out.len()), (2, false, 2));
    }

    #[test]
    fn one_wake_up_is_in_flight_and_none_is_lost() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let mut bench = Bench::new();
        let [a, b, c] = [1, 2, 3].map(|reid| bench.begin(reid));
        let mut out = Vec::new();
        bench.outbox.drain(9999, &mut out, &waker);
        a.answer(ok());
        b.answer(ok());
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        bench.outbox.drain(9999, &mut out, &waker);
        c.answer(ok());
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }
}
