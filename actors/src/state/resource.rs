//! A resource: its value, its order of updates, its subscribers and its outgoing links.

use std::sync::Arc;

use super::ack::{Ack, AckGuard};
use super::budget::Budget;
use super::cell::ValueCell;
use super::link::{Handed, Handover, LinkRing, Origin};
use super::outbox::Outbox;
use super::reply::Reply;
use super::responder::Responder;
use super::stream::{Opened, Pushed, SkipReason, StreamId, reserve_frugally};
use crate::protocol::{Class, Refusal, Rnum, Value};

/// Sources whose newest version a resource remembers, so that a value which comes by two ways is
/// taken once. Beyond that a value may be delivered twice, which is harmless.
const ORIGINS_MAX: usize = 64;

/// Subscribers below which a resource does not look for those that have gone.
const PRUNE_MIN: u32 = 32;

/// A stream that is told each value of the resource.
struct Subscriber {
    outbox: Arc<Outbox>,
    stream: StreamId,
}

/// A link to another resource, `D` being how to reach it.
pub struct Link<D> {
    /// Values on their way.
    pub ring: Arc<LinkRing>,
    /// Where they go.
    pub destination: D,
}

/// What happened to updates that could not be kept, for the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Values that the resource took.
    pub taken: u64,
    /// Values for which there was no room.
    pub refused: u64,
    /// Updates handed to streams.
    pub delivered: u64,
    /// Older updates that slow streams will not get, for want of `stream.buffer`.
    pub skipped_buffer: u64,
    /// The same for want of `stream.buffer_bytes`.
    pub skipped_buffer_bytes: u64,
    /// The same for want of `outbox.updates_bytes_max`.
    pub skipped_outbox_bytes: u64,
    /// Older updates that links will not hand over.
    pub link_skipped: u64,
    /// The value has to be saved, and the one before did not.
    pub newly_unsaved: bool,
    /// Bytes of values that were in the store only and now are not.
    pub away_bytes: u64,
}

impl Delivery {
    /// Older updates that slow streams will not get.
    pub fn skipped(&self) -> u64 {
        self.skipped_buffer + self.skipped_buffer_bytes + self.skipped_outbox_bytes
    }

    fn skip(&mut self, count: u64, reason: SkipReason) {
        *match reason {
            SkipReason::Buffer => &mut self.skipped_buffer,
            SkipReason::BufferBytes => &mut self.skipped_buffer_bytes,
            SkipReason::OutboxBytes => &mut self.skipped_outbox_bytes,
        } += count;
    }
}

impl std::ops::AddAssign for Delivery {
    fn add_assign(&mut self, other: Self) {
        self.taken += other.taken;
        self.refused += other.refused;
        self.delivered += other.delivered;
        self.skipped_buffer += other.skipped_buffer;
        self.skipped_buffer_bytes += other.skipped_buffer_bytes;
        self.skipped_outbox_bytes += other.skipped_outbox_bytes;
        self.link_skipped += other.link_skipped;
        self.newly_unsaved |= other.newly_unsaved;
        self.away_bytes += other.away_bytes;
    }
}

/// What is still to be done when a resource has taken values.
pub struct Effects<D> {
    /// Links whose destination is to be woken.
    pub wake: Vec<Arc<Link<D>>>,
    /// Whether a PUT is answered when its value is saved, and not before.
    pub answer_when_saved: bool,
    /// Newest values that a link keeps while its destination is behind.
    pub link_buffer: usize,
    /// Answers that wait until what was taken is saved.
    pub answers: Vec<Ack>,
}

impl<D> Effects<D> {
    /// Nothing yet.
    pub fn new(answer_when_saved: bool, link_buffer: usize) -> Self {
        Effects { wake: Vec::new(), answer_when_saved, link_buffer, answers: Vec::new() }
    }

    /// Whether a PUT to this cell is answered when it is saved.
    fn waits(&self, cell: &ValueCell) -> bool {
        self.answer_when_saved && cell.class() == Class::State
    }
}

/// The state of one resource, without the actor around it.
pub struct ResourceState<D> {
    number: u64,
    version: u64,
    subscribers: Vec<Subscriber>,
    /// Set from the first link on, in either direction; nearly no resource has any.
    linked: Option<Box<Linked<D>>>,
    prune_at: u32,
    ended: bool,
}

/// What a resource with links has besides. Where its links lead its versions may be remembered, so
/// it stays when the links are gone.
struct Linked<D> {
    links: Vec<Arc<Link<D>>>,
    /// The newest version seen of each source that writes here through links.
    origins: Vec<Origin>,
}

impl<D> Default for Linked<D> {
    fn default() -> Self {
        Linked { links: Vec::new(), origins: Vec::new() }
    }
}

/// The value of the resource is in a cell beside its state, which each function is given.
impl<D> ResourceState<D> {
    /// A resource without anything. `number` tells resources apart; no two ever have the same.
    pub fn new(number: u64) -> Self {
        ResourceState {
            number,
            version: 0,
            subscribers: Vec::new(),
            linked: None,
            prune_at: PRUNE_MIN,
            ended: false,
        }
    }

    /// Values that it took since it was made.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether there is nothing that a new state would not have as well.
    pub fn is_blank(&self) -> bool {
        self.subscribers.is_empty() && self.linked.is_none() && !self.ended
    }

    /// Exchanges the room of the current value for that of a value of `bytes`; `false` if there is
    /// no room for it. An event is not kept and needs none.
    pub fn reserve(&self, cell: &ValueCell, bytes: usize, budget: &Budget) -> bool {
        self.ended
            || cell.class() == Class::Event
            || budget.exchange(cell.size_bytes(), bytes as u64)
    }

    /// Gives the room of the value back, for good.
    pub fn release(&self, cell: &ValueCell, budget: &Budget) {
        if !self.ended {
            budget.give_back(cell.size_bytes());
        }
    }

    /// Answers with the value.
    pub fn get(&self, cell: &ValueCell, responder: Responder) {
        responder.answer(self.reply(cell));
    }

    fn reply(&self, cell: &ValueCell) -> Reply {
        if self.ended {
            return gone();
        }
        match cell.get() {
            Some(value) => Reply::value(value),
            None => unreadable(),
        }
    }

    /// Takes a value that a client wrote here. The client is answered at once or, if the resource
    /// has links, when every linked resource has the value or a newer one; and not before it is
    /// saved, if the effects say so.
    pub fn put(
        &mut self,
        cell: &ValueCell,
        value: Value,
        responder: Responder,
        effects: &mut Effects<D>,
    ) -> Delivery {
        if self.ended {
            responder.answer(gone());
            return Delivery::default();
        }
        self.version += 1;
        let version = self.version;
        let origin = Origin { resource: self.number, version };
        let has_links = self.linked.as_ref().is_some_and(|linked| !linked.links.is_empty());
        if !has_links && !effects.waits(cell) {
            let delivery = self.take(cell, value, origin, &[], effects);
            responder.answer(Reply::of(Rnum::Ok));
            return delivery;
        }
        let ack = AckGuard::new(responder, Reply::of(Rnum::Ok));
        self.take(cell, value, origin, &[ack], effects)
    }

    /// Takes a value that came through a link, unless it came by another way before.
    pub fn follow(
        &mut self,
        cell: &ValueCell,
        handover: Handover,
        budget: &Budget,
        effects: &mut Effects<D>,
    ) -> Delivery {
        if self.ended || !self.is_news(handover.origin) {
            return Delivery::default();
        }
        if !self.reserve(cell, handover.value.size_bytes(), budget) {
            for ack in &handover.acks {
                ack.amend(Refusal::new(
                    Rnum::InsufficientStorage,
                    "the value was written, but a linked resource has no room for it \
                     (limits.values_bytes_max)",
                ));
            }
            return Delivery { refused: 1, ..Delivery::default() };
        }
        self.take(cell, handover.value, handover.origin, &handover.acks, effects)
    }

    fn is_news(&mut self, origin: Origin) -> bool {
        let origins = &mut self.linked.get_or_insert_default().origins;
        if let Some(known) = origins.iter_mut().find(|o| o.resource == origin.resource) {
            let news = origin.version > known.version;
            known.version = known.version.max(origin.version);
            return news;
        }
        if origins.len() >= ORIGINS_MAX {
            origins.remove(0);
        }
        origins.push(origin);
        true
    }

    fn take(
        &mut self,
        cell: &ValueCell,
        value: Value,
        origin: Origin,
        acks: &[Ack],
        effects: &mut Effects<D>,
    ) -> Delivery {
        let mut delivery = Delivery { taken: 1, ..Delivery::default() };
        if cell.class() != Class::Event {
            let replaced = cell.set(value.clone());
            delivery.newly_unsaved = replaced.newly_unsaved;
            delivery.away_bytes = replaced.away_bytes;
        }
        if effects.waits(cell) {
            effects.answers.extend_from_slice(acks);
        }
        self.subscribers.retain(|subscriber| {
            match subscriber.outbox.push_update(subscriber.stream, &value) {
                Pushed::Gone => return false,
                Pushed::Queued => {}
                Pushed::Skipped(count, reason) => delivery.skip(count, reason),
            }
            delivery.delivered += 1;
            true
        });
        if let Some(linked) = &mut self.linked {
            linked.links.retain(|link| {
                let acks = acks.to_vec();
                let handover = Handover { value: value.clone(), origin, acks };
                match link.ring.push(handover, effects.link_buffer) {
                    Handed::Closed => return false,
                    Handed::Over { wake: wanted, skipped } => {
                        delivery.link_skipped += skipped;
                        if wanted {
                            effects.wake.push(Arc::clone(link));
                        }
                    }
                }
                true
            });
        }
        delivery
    }

    /// Opens a stream for the session behind the responder and answers with the value; the updates
    /// after that value follow the answer, none missed and none twice.
    pub fn stream(&mut self, cell: &ValueCell, responder: Responder) {
        let reply = self.reply(cell);
        if reply.rnum != Rnum::Ok {
            responder.answer(reply);
            return;
        }
        let outbox = Arc::clone(responder.outbox());
        match outbox.open_stream(self.number, responder.reid()) {
            Opened::New(stream) => {
                self.prune();
                reserve_frugally(&mut self.subscribers);
                self.subscribers.push(Subscriber { outbox, stream });
                responder.answer_opening(stream, reply);
            }
            Opened::Already(stream) => {
                let warning = Some("this stream is open already; it goes on as one stream".into());
                let reply = Reply { warning, ..reply };
                responder.answer_opening(stream, reply);
            }
            Opened::TooMany => responder.answer(Refusal::new(
                Rnum::TooManyRequests,
                "this connection has as many streams as it may have (session.streams_max)",
            )),
            Opened::Gone => drop(responder),
        }
    }

    /// Ends the stream with the responder's REID. What it still has is sent before the answer, and
    /// nothing after it.
    pub fn stop(&mut self, responder: Responder) {
        match responder.outbox().detach_stream(self.number, responder.reid()) {
            Some(stream) => responder.answer_closing(stream, Reply::of(Rnum::Ok)),
            None => responder.answer(Refusal::new(
                Rnum::NotFound,
                "there is no stream of this connection with this REID and PATH",
            )),
        }
    }

    /// Forgets subscribers that have gone, whenever their number has doubled: so that a resource
    /// which is never written does not collect them.
    fn prune(&mut self) {
        if self.subscribers.len() >= self.prune_at as usize {
            self.subscribers.retain(|s| s.outbox.is_attached(s.stream));
            let left = u32::try_from(self.subscribers.len()).unwrap_or(u32::MAX);
            self.prune_at = PRUNE_MIN.max(left.saturating_mul(2));
        }
    }

    /// Adds an outgoing link.
    pub fn add_link(&mut self, link: Arc<Link<D>>) {
        let links = &mut self.linked.get_or_insert_default().links;
        links.retain(|link| !link.ring.is_closed());
        links.push(link);
    }

    /// Ends the resource: every stream gets what it still has and a last frame with 404, and every
    /// later request is answered 404. Returns the bytes that its value had in the store only.
    pub fn end(&mut self, cell: &ValueCell) -> u64 {
        self.ended = true;
        for subscriber in self.subscribers.drain(..) {
            subscriber.outbox.end_stream(
                subscriber.stream,
                Rnum::NotFound,
                "the resource was deleted; the stream has ended",
            );
        }
        if let Some(linked) = &mut self.linked {
            linked.links.clear();
        }
        // Sessions may remember the resource for a while; its value is not theirs to keep.
        cell.set(Value::nil()).away_bytes
    }
}

/// The answer if the value was to be in memory and is not.
fn unreadable() -> Reply {
    let text = "the value of this resource cannot be read from the store now; try again";
    Refusal::new(Rnum::InternalServerError, text).into()
}

fn gone() -> Reply {
    Refusal::new(Rnum::NotFound, "the resource was deleted").into()
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::state::{OutboxLimits, Outgoing, Reid};

    /// A resource whose links lead to names, and a session that looks at what it is sent.
    struct Bench {
        state: ResourceState<&'static str>,
        cell: ValueCell,
        outbox: Arc<Outbox>,
        begun: u64,
        budget: Budget,
        effects: Effects<&'static str>,
    }

    fn value(byte: u8) -> Value {
        Value::copy_from(&[byte])
    }

    impl Bench {
        fn new(number: u64) -> Self {
            let limits = OutboxLimits {
                streams_max: 9.into(),
                stream_buffer: 9.into(),
                stream_buffer_bytes: 99.into(),
                updates_bytes_max: 99.into(),
            };
            let budget = Budget::new(Arc::new(10.into()));
            assert!(budget.exchange(0, 1));
            Bench {
                state: ResourceState::new(number),
                cell: ValueCell::new(value(0), Class::State),
                outbox: Arc::new(Outbox::new(limits)),
                begun: 0,
                budget,
                effects: Effects::new(false, 2),
            }
        }

        fn begin(&mut self, reid: u8) -> Responder {
            self.begun += 1;
            Responder::new(Arc::clone(&self.outbox), self.begun - 1, Reid::copy_from(&[reid]), 1)
        }

        fn put(&mut self, reid: u8, byte: u8) {
            let responder = self.begin(reid);
            self.state.put(&self.cell, value(byte), responder, &mut self.effects);
        }

        fn link(&mut self, destination: &'static str) -> Arc<LinkRing> {
            let ring = Arc::new(LinkRing::default());
            self.state.add_link(Arc::new(Link { ring: Arc::clone(&ring), destination }));
            ring
        }

        fn follow(&mut self, handover: Handover) -> u64 {
            self.state.follow(&self.cell, handover, &self.budget, &mut self.effects).delivered
        }

        #[track_caller]
        fn check(&self, expected: &str) {
            let mut out = Vec::new();
            self.outbox.drain(9999, &mut out, Waker::noop());
            let show = |message: &Outgoing| {
                let response = message.as_response();
                let value = response.payload.map_or(String::new(), |v| format!(":{}", v[0]));
                format!("{}:{}{value}", response.reid[0], response.rnum.number())
            };
            assert_eq!(out.iter().map(show).collect::<Vec<_>>().join(" "), expected);
        }
    }

    fn handover(resource: u64, version: u64, byte: u8) -> Handover {
        Handover { value: value(byte), origin: Origin { resource, version }, acks: Vec::new() }
    }

    #[test]
    fn a_stream_gets_the_value_and_then_each_update_until_it_is_stopped() {
        let mut bench = Bench::new(1);
        let responder = bench.begin(1);
        bench.state.stream(&bench.cell, responder);
        bench.put(2, 5);
        bench.put(3, 5);
        bench.check("1:200:0 2:200 3:200 1:200:5 1:200:5");
        let responder = bench.begin(1);
        bench.state.stop(responder);
        bench.put(4, 6);
        let responder = bench.begin(1);
        bench.state.stop(responder);
        bench.check("1:200 4:200 1:404");
    }

    #[test]
    fn a_put_through_links_is_answered_when_every_link_has_been_taken() {
        let mut bench = Bench::new(1);
        let [one, two] = ["one", "two"].map(|name| bench.link(name));
        bench.put(1, 5);
        assert_eq!(
            bench.effects.wake.iter().map(|link| link.destination).collect::<Vec<_>>(),
            ["one", "two"]
        );
        bench.check("");
        drop(one.take());
        bench.check("");
        drop(two.take());
        bench.check("1:200");
        bench.put(2, 6);
        one.close();
        drop(two.take());
        bench.check("2:200");
    }

    #[test]
    fn a_link_that_is_behind_keeps_the_newest_and_the_writers_of_the_older_wait_for_them() {
        let mut bench = Bench::new(1);
        let ring = bench.link("far");
        for number in 1..=4 {
            bench.put(number, number);
        }
        bench.check("");
        let mut handovers = ring.take();
        let newest = handovers.pop_back().unwrap();
        assert_eq!(handovers.pop_back().unwrap().value, value(3));
        bench.check("1:200 2:200 3:200");
        assert_eq!(newest.value, value(4));
        drop(newest);
        bench.check("4:200");
    }

    #[test]
    fn a_value_that_comes_by_two_ways_is_taken_once_and_never_after_a_newer_one() {
        let mut bench = Bench::new(9);
        let responder = bench.begin(1);
        bench.state.stream(&bench.cell, responder);
        let taken: Vec<u64> = [(1, 1), (1, 1), (1, 2), (1, 1), (2, 1), (1, 3)]
            .map(|(resource, version)| bench.follow(handover(resource, version, 7)))
            .into();
        assert_eq!(taken, [1, 0, 1, 0, 1, 1]);
    }

    #[test]
    fn a_followed_value_needs_room_like_any_other() {
        let mut bench = Bench::new(9);
        let big = Handover { value: Value::copy_from(&[1; 11]), ..handover(1, 1, 0) };
        bench.follow(big);
        assert_eq!(bench.cell.get(), Some(value(0)));
        bench.follow(Handover { value: Value::copy_from(&[1; 10]), ..handover(1, 2, 0) });
        assert_eq!(bench.cell.size_bytes(), 10);
    }

    #[test]
    fn an_event_goes_to_streams_and_is_not_kept() {
        let mut bench = Bench::new(1);
        bench.cell = ValueCell::new(Value::nil(), Class::Event);
        let responder = bench.begin(1);
        bench.state.stream(&bench.cell, responder);
        bench.put(2, 5);
        let responder = bench.begin(3);
        bench.state.get(&bench.cell, responder);
        bench.check("1:200:192 2:200 3:200:192 1:200:5");
    }

    #[test]
    fn an_answer_waits_for_a_save_if_that_is_wanted_and_the_value_is_saved_at_all() {
        for (class, waiting) in [(Class::State, 2), (Class::Live, 0), (Class::Event, 0)] {
            let mut bench = Bench::new(1);
            bench.cell = ValueCell::new(value(0), class);
            bench.effects.answer_when_saved = true;
            bench.put(1, 5);
            bench.put(2, 6);
            bench.check(if waiting > 0 { "" } else { "1:200 2:200" });
            assert_eq!(bench.effects.answers.len(), waiting);
            bench.effects.answers.clear();
            bench.check(if waiting > 0 { "1:200 2:200" } else { "" });
        }
    }

    #[test]
    fn a_value_that_comes_through_a_link_is_answered_when_it_is_saved_there_too() {
        let mut bench = Bench::new(9);
        bench.effects.answer_when_saved = true;
        let ack = AckGuard::new(bench.begin(1), Reply::of(Rnum::Ok));
        bench.follow(Handover { acks: vec![ack], ..handover(1, 1, 7) });
        bench.check("");
        bench.effects.answers.clear();
        bench.check("1:200");
    }

    #[test]
    fn a_value_that_is_in_the_store_only_is_not_taken_for_another() {
        let mut bench = Bench::new(1);
        bench.cell = ValueCell::new(Value::copy_from(&[0xc4, 0]), Class::State);
        assert!(bench.cell.send_away().is_some());
        let responder = bench.begin(1);
        bench.state.get(&bench.cell, responder);
        let responder = bench.begin(2);
        bench.state.stream(&bench.cell, responder);
        bench.check("1:500 2:500");
    }

    #[test]
    fn a_deleted_resource_ends_its_streams_and_refuses_what_comes_later() {
        let mut bench = Bench::new(1);
        let responder = bench.begin(1);
        bench.state.stream(&bench.cell, responder);
        bench.put(2, 5);
        bench.state.release(&bench.cell, &bench.budget);
        assert!(bench.budget.exchange(0, 10), "the room is there again");
        bench.state.end(&bench.cell);
        bench.put(3, 6);
        let responder = bench.begin(4);
        bench.state.get(&bench.cell, responder);
        bench.check("1:200:0 2:200 3:404 4:404 1:200:5 1:404");
        bench.state.release(&bench.cell, &bench.budget);
        assert!(!bench.budget.exchange(0, 1), "the room is given back once");
    }

    #[test]
    fn subscribers_that_have_gone_are_forgotten_without_a_write() {
        let mut bench = Bench::new(1);
        for _ in 0..1000 {
            let responder = bench.begin(1);
            bench.state.stream(&bench.cell, responder);
            let responder = bench.begin(1);
            bench.state.stop(responder);
        }
        assert!(bench.state.subscribers.len() <= PRUNE_MIN as usize + 1);
    }
}
