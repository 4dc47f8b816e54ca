//! The resource actor: one for each resource that is written. A thin shell around
//! [`ResourceState`], which does the work.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use actix::{Actor, ActorContext, ActorFuture, Addr, AsyncContext, Context, Handler, Message};

use super::entry::Entry;
use crate::guard::guarded;
use crate::protocol::Value;
use crate::shared::Shared;
use crate::state::{Ack, Delivery, Effects, Link, ResourceState, Responder};
use crate::verbs::{Data, get, put, stop, stream};

/// Messages that a resource handles before other actors on its thread have their turn: actix goes
/// on as long as there are any, and from another thread there may always be one more.
const MESSAGES_PER_TURN: u32 = 256;

/// The actor of one resource.
pub struct Resource {
    entry: Arc<Entry>,
    state: ResourceState<Arc<Entry>>,
    shared: Arc<Shared>,
    /// Messages handled, wrapping.
    handled: u32,
    /// The value may be in the store only: the write that started the actor may have been refused.
    may_be_away: bool,
    /// What is to be done after a message; empty between messages, kept for its memory.
    effects: Effects<Arc<Entry>>,
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
pub struct Rest;

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
    pub(super) fn launch(
        entry: Arc<Entry>,
        state: ResourceState<Arc<Entry>>,
        shared: &Arc<Shared>,
    ) -> Addr<Self> {
        let shared = Arc::clone(shared);
        Resource::create(|context| {
            context.set_mailbox_capacity(shared.settings.mailbox_resource);
            let effects = shared.effects();
            let may_be_away = entry.cell().is_away();
            Resource { entry, state, shared, handled: 0, may_be_away, effects }
        })
    }

    /// Runs the body of a handler, then counts what it did and wakes the links that it filled.
    fn handle_guarded(
        &mut self,
        context: &mut Context<Self>,
        body: impl FnOnce(&mut Self) -> Delivery,
    ) {
        self.handled = self.handled.wrapping_add(1);
        if self.handled.is_multiple_of(MESSAGES_PER_TURN) {
            context.wait(GiveWay { given: false });
        }
        // The guard needs it beside `self`.
        let shared = Arc::clone(&self.shared);
        guarded(&shared.counters, "resource", || {
            let delivery = body(self);
            self.entry.settle(&self.shared, &delivery, &mut self.effects);
        });
    }

    fn put(&mut self, value: Value, responder: Responder) -> Delivery {
        let (cell, budget) = (self.entry.cell(), &self.shared.values);
        put::apply(&mut self.state, cell, value, responder, budget, &mut self.effects)
    }

    /// Brings the value back if it is in the store only, which is rare here.
    fn bring_back(&mut self) {
        if self.may_be_away {
            self.may_be_away = false;
            if self.entry.cell().is_away() {
                self.entry.bring_back(&self.shared);
            }
        }
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
                Data::Get => {
                    resource.bring_back();
                    get::apply(&resource.state, resource.entry.cell(), responder);
                }
                Data::Stream => {
                    resource.bring_back();
                    stream::apply(&mut resource.state, resource.entry.cell(), responder);
                }
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
                let (cell, budget) = (resource.entry.cell(), &resource.shared.values);
                delivery += resource.state.follow(cell, handover, budget, &mut resource.effects);
            }
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

    fn handle(&mut self, Rest: Rest, context: &mut Self::Context) {
        self.handled = self.handled.wrapping_add(1);
        if self.entry.take_back(self.handled, &mut self.state) {
            context.stop();
        }
    }
}

impl Handler<End> for Resource {
    type Result = ();

    fn handle(&mut self, End { ack, address }: End, context: &mut Self::Context) {
        self.handle_guarded(context, |resource| {
            resource.entry.end_state(&mut resource.state, &resource.shared);
            drop((ack, address));
            Delivery::default()
        });
    }
}
