//! The resource actor: one for each resource that is written. A thin shell around
//! [`ResourceState`], which does the work.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use actix::{Actor, ActorContext, ActorFuture, Addr, AsyncContext, Context, Handler, Message};

use super::entry::{Entry, end};
use crate::guard::guarded;
use crate::protocol::Value;
use crate::shared::Shared;
use crate::state::{Ack, Delivery, Link, ResourceState, Responder};
use crate::verbs::{Data, get, put, stop, stream};

/// Messages that a resource handles before other actors on its thread have their turn: actix goes
/// on as long as there are any, and from another thread there may always be one more.
const MESSAGES_PER_TURN: u64 = 256;

/// The actor of one resource.
pub struct Resource {
    state: ResourceState<Arc<Entry>>,
    shared: Arc<Shared>,
    /// Messages handled.
    handled: u64,
    /// Links whose destination is to be woken; empty between messages, kept for its memory.
    wake: Vec<Arc<Link<Arc<Entry>>>>,
}

/// A request of a session. The session bounds how many it has in flight.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Request {
    /// What to do.
    pub data: Data,
    /// Whom to answer.
    pub responder: Responder,
}

/// A link has values for this resource.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Follow {
    /// The link.
    pub link: Arc<Link<Arc<Entry>>>,
}

/// The resource has one more outgoing link.
#[derive(Message)]
#[rtype(result = "()")]
pub struct AddLink {
    /// The link.
    pub link: Arc<Link<Arc<Entry>>>,
}

/// The resource was not used for a while.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Rest {
    /// Where its state goes.
    pub entry: Arc<Entry>,
}

/// The resource was deleted.
#[derive(Message)]
#[rtype(result = "()")]
pub struct End {
    /// Held until every stream has its last frame.
    pub ack: Option<Ack>,
    /// Holds the mailbox open: an actor whose last address is dropped may stop before it has
    /// handled what was sent a moment ago.
    pub address: Addr<Resource>,
}

impl Resource {
    /// Starts the actor on this thread.
    pub(super) fn launch(state: ResourceState<Arc<Entry>>, shared: &Arc<Shared>) -> Addr<Self> {
        let shared = Arc::clone(shared);
        Resource::create(|context| {
            context.set_mailbox_capacity(shared.settings.mailbox_resource);
            Resource { state, shared, handled: 0, wake: Vec::new() }
        })
    }

    /// Runs the body of a handler, then counts what it did and wakes the links that it filled.
    fn handle_guarded(
        &mut self,
        context: &mut Context<Self>,
        body: impl FnOnce(&mut Self) -> Delivery,
    ) {
        self.handled += 1;
        if self.handled.is_multiple_of(MESSAGES_PER_TURN) {
            context.wait(GiveWay { given: false });
        }
        // The guard needs it beside `self`.
        let shared = Arc::clone(&self.shared);
        guarded(&shared.counters, "resource", || {
            let delivery = body(self);
            let counters = &self.shared.counters;
            counters.updates_in.add(delivery.taken);
            counters.values_refused.add(delivery.refused);
            counters.updates_delivered.add(delivery.delivered);
            counters.updates_skipped.add(delivery.skipped);
            counters.link_updates_skipped.add(delivery.link_skipped);
            for link in self.wake.drain(..) {
                link.destination.wake(&link, &self.shared);
            }
        });
    }

    fn put(&mut self, value: Value, responder: Responder) -> Delivery {
        let budget = &self.shared.values;
        let delivery = put::apply(&mut self.state, value, responder, budget, &mut self.wake);
        self.shared.note_change();
        delivery
    }
}

/// Lets other actors of the thread have a turn before the next message.
struct GiveWay {
    given: bool,
}

impl ActorFuture<Resource> for GiveWay {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        _: &mut Resource,
        _: &mut Context<Resource>,
        task: &mut task::Context<'_>,
    ) -> Poll<()> {
        if std::mem::replace(&mut self.given, true) {
            return Poll::Ready(());
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Actor for Resource {
    type Context = Context<Self>;
}

impl Handler<Request> for Resource {
    type Result = ();

    fn handle(&mut self, Request { data, responder }: Request, context: &mut Self::Context) {
        self.handle_guarded(context, |resource| {
            match data {
                Data::Put(value) => return resource.put(value, responder),
                Data::Get => get::apply(&resource.state, responder),
                Data::Stream => stream::apply(&mut resource.state, responder),
                Data::Stop => stop::apply(&mut resource.state, responder),
            }
            Delivery::default()
        });
    }
}

impl Handler<Follow> for Resource {
    type Result = ();

    fn handle(&mut self, Follow { link }: Follow, context: &mut Self::Context) {
        self.handle_guarded(context, |resource| {
            let mut delivery = Delivery::default();
            for handover in link.ring.take() {
                let budget = &resource.shared.values;
                delivery += resource.state.follow(handover, budget, &mut resource.wake);
            }
            resource.shared.note_change();
            delivery
        });
    }
}

impl Handler<AddLink> for Resource {
    type Result = ();

    fn handle(&mut self, AddLink { link }: AddLink, context: &mut Self::Context) {
        self.handle_guarded(context, |resource| {
            resource.state.add_link(link);
            Delivery::default()
        });
    }
}

impl Handler<Rest> for Resource {
    type Result = ();

    fn handle(&mut self, Rest { entry }: Rest, context: &mut Self::Context) {
        self.handled += 1;
        if entry.take_back(self.handled, &mut self.state) {
            context.stop();
        }
    }
}

impl Handler<End> for Resource {
    type Result = ();

    fn handle(&mut self, End { ack, address }: End, context: &mut Self::Context) {
        self.handle_guarded(context, |resource| {
            end(&mut resource.state, &resource.shared);
            drop((ack, address));
            Delivery::default()
        });
    }
}
