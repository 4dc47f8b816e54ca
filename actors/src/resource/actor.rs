//! The resource actor: one for each resource that is written. A thin shell around
//! [`ResourceState`], which does the work.
//!
//! Its context is its own, for the sake of memory and time: letters wait in the entry, under the
//! lock that whoever sends one holds anyway, and who asks something on the actor's own thread
//! while no letter waits gets it done at once (see `entry.rs`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix::{Actor, ActorContext, ActorState, Handler, Message};
use parking_lot::Mutex;

use super::entry::Entry;
use super::letters::{Active, Letter, Next};
use crate::context::Bare;
use crate::guard::guarded;
use crate::shared::Shared;
use crate::state::{Ack, Delivery, Effects, Link, ResourceState, Responder};
use crate::verbs::Data;

/// Letters that a resource handles before other actors on its thread have their turn: from another
/// thread there may always be one more.
const LETTERS_PER_TURN: u32 = 256;

/// The actor of one resource.
pub struct Resource {
    entry: Arc<Entry>,
    owned: Arc<Owned>,
}

/// What the actor owns. A task takes 128 bytes or 256, so it is not in there.
pub(super) struct Owned {
    shared: Arc<Shared>,
    /// Only the actor's thread ever takes the lock, so nobody waits for it.
    pub kept: Mutex<Kept>,
}

impl Owned {
    pub fn shared(&self) -> &Shared {
        &self.shared
    }
}

pub(super) struct Kept {
    pub state: ResourceState<Arc<Entry>>,
    /// The value may be in the store only: the write that started the actor may have been refused.
    pub may_be_away: bool,
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
}

impl Resource {
    /// Starts the actor on this thread.
    pub(super) fn launch(
        entry: Arc<Entry>,
        state: ResourceState<Arc<Entry>>,
        shared: &Arc<Shared>,
    ) -> Active {
        let may_be_away = entry.cell().is_away();
        let kept = Mutex::new(Kept { state, may_be_away });
        let owned = Arc::new(Owned { shared: Arc::clone(shared), kept });
        let active = Active::new(Arc::clone(&owned));
        shared.metrics.actors_started.add(1);
        let resource = Resource { entry, owned };
        let context = Bare::new();
        actix_rt::spawn(Attend { resource, context });
        active
    }

    /// Runs the body of a handler, then counts what it did and wakes the links that it filled.
    fn handle_guarded(
        &self,
        body: impl FnOnce(&Self, &mut Kept, &mut Effects<Arc<Entry>>) -> Delivery,
    ) {
        let shared = &self.owned.shared;
        guarded(&shared.counters, "resource", || {
            let mut effects = shared.effects();
            let delivery = body(self, &mut self.owned.kept.lock(), &mut effects);
            self.entry.settle(shared, &delivery, &mut effects);
        });
    }
}

impl Drop for Resource {
    /// The actor has come to its end, or its thread has.
    fn drop(&mut self) {
        self.owned.shared.metrics.actors_ended.add(1);
        self.entry.note_end_of_actor(&self.owned, &self.owned.shared);
    }
}

impl Actor for Resource {
    type Context = Bare;
}

/// A resource as a task of its thread.
struct Attend {
    resource: Resource,
    context: Bare,
}

impl Future for Attend {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        let Attend { resource, context } = self.get_mut();
        if context.begin() {
            resource.started(context);
        }
        for _ in 0..LETTERS_PER_TURN {
            match resource.entry.next_letter(&resource.owned, task.waker()) {
                Next::Letter(letter) => resource.open(letter, context),
                Next::None => return Poll::Pending,
                Next::NeverAgain => context.stop(),
            }
            if context.state() != ActorState::Running {
                context.terminate();
                resource.stopped(context);
                return Poll::Ready(());
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Resource {
    fn open(&mut self, letter: Letter, context: &mut Bare) {
        match letter {
            Letter::Request(request) => self.handle(request, context),
            Letter::Follow(follow) => self.handle(follow, context),
            Letter::AddLink(add) => self.handle(add, context),
            Letter::Rest(rest) => self.handle(rest, context),
            Letter::End(end) => self.handle(end, context),
        }
    }
}

impl Handler<Request> for Resource {
    type Result = ();

    fn handle(&mut self, Request { data, responder }: Request, _: &mut Self::Context) {
        self.entry.attend(&self.owned, &self.owned.shared, data, responder);
    }
}

impl Handler<Follow> for Resource {
    type Result = ();

    fn handle(&mut self, Follow { link }: Follow, _: &mut Self::Context) {
        self.handle_guarded(|resource, kept, effects| {
            let mut delivery = Delivery::default();
            for handover in link.ring.take() {
                let (cell, budget) = (resource.entry.cell(), &resource.owned.shared.values);
                delivery += kept.state.follow(cell, handover, budget, effects);
            }
            delivery
        });
    }
}

impl Handler<AddLink> for Resource {
    type Result = ();

    fn handle(&mut self, AddLink { link }: AddLink, _: &mut Self::Context) {
        self.handle_guarded(|_, kept, _| {
            kept.state.add_link(link);
            Delivery::default()
        });
    }
}

impl Handler<Rest> for Resource {
    type Result = ();

    fn handle(&mut self, Rest: Rest, context: &mut Self::Context) {
        if self.entry.take_back(&self.owned) {
            context.stop();
        }
    }
}

impl Handler<End> for Resource {
    type Result = ();

    fn handle(&mut self, End { ack }: End, context: &mut Self::Context) {
        self.handle_guarded(|resource, kept, _| {
            resource.entry.end_state(&mut kept.state, &resource.owned.shared);
            Delivery::default()
        });
        drop(ack);
        context.stop();
    }
}
