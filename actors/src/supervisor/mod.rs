//! The supervisor actor: loads what was saved, saves what has changed.
//!
//! It runs on a thread of its own and may wait for the disk there. Structural changes are appended
//! in groups: all that are waiting go to disk with one flush. Snapshots are written by a helper
//! thread, so that a long one delays no append and no request.

mod preload;
mod restore;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use parking_lot::Mutex;

pub use preload::preload;
pub use restore::restore;

use crate::guard::guarded;
use crate::ports::{Change, SaveReport, Store, StoreError};
use crate::shared::Shared;
use crate::state::{Ack, Reply};

/// Changes that could not be written and wait for the disk to come back; a snapshot covers what is
/// beyond.
const UNWRITTEN_MAX: usize = 100_000;

/// See the module's text.
pub struct Supervisor {
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    /// One save at a time.
    save_lock: Arc<Mutex<()>>,
    saving: bool,
    /// Changes to be appended, with the answers that wait for them.
    waiting: Vec<Append>,
    /// Changes that could not be appended; their answers have been given as failures.
    unwritten: Vec<Change>,
    /// The store failed the last time, and that has been said.
    failing: bool,
}

/// A structural change that is to be made durable.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Append {
    /// What changed.
    pub change: Change,
    /// The answer that waits for it, a failure until it is durable.
    pub ack: Ack,
    /// The answer when it is.
    pub reply: Reply,
}

/// Append what is waiting. Sent by the supervisor to itself, behind what is in its mailbox.
#[derive(Message)]
#[rtype(result = "()")]
struct Flush;

/// Save what has changed, now, and tell how it went. The last message in the life of a broker.
#[derive(Message)]
#[rtype(result = "Result<Option<SaveReport>, StoreError>")]
pub struct Finish;

impl Supervisor {
    /// Over this store.
    pub fn new(shared: Arc<Shared>, store: Arc<dyn Store>) -> Self {
        Supervisor {
            shared,
            store,
            save_lock: Arc::new(Mutex::new(())),
            saving: false,
            waiting: Vec::new(),
            unwritten: Vec::new(),
            failing: false,
        }
    }

    fn flush_guarded(&mut self) {
        let shared = Arc::clone(&self.shared);
        guarded(&shared.counters, "supervisor", || self.flush());
    }

    fn flush(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let mut changes = std::mem::take(&mut self.unwritten);
        let mut answers = Vec::with_capacity(waiting.len());
        for Append { change, ack, reply } in waiting {
            changes.push(change);
            answers.push((ack, reply));
        }
        if changes.is_empty() {
            return;
        }
        match self.store.append(&changes) {
            Ok(()) => {
                for (ack, reply) in answers {
                    ack.amend(reply);
                }
                self.note_success();
            }
            Err(error) => {
                self.note_failure(&error);
                changes.truncate(UNWRITTEN_MAX);
                self.unwritten = changes;
            }
        }
    }

    fn note_success(&mut self) {
        if std::mem::take(&mut self.failing) {
            log::info!("the disk is back: everything that was acknowledged is on it again");
        }
    }

    fn note_failure(&mut self, error: &StoreError) {
        self.shared.counters.store_errors.add(1);
        self.shared.note_change();
        if !std::mem::replace(&mut self.failing, true) {
            log::error!("{error}; the broker goes on from memory and tries again");
        }
    }

    fn note_saved(&mut self, outcome: &Result<Option<SaveReport>, StoreError>) {
        match outcome {
            Ok(Some(report)) => {
                self.shared.counters.snapshots_saved.add(1);
                self.note_success();
                log::debug!("saved {} resources in {} bytes", report.resources, report.bytes);
            }
            Ok(None) => {}
            Err(error) => self.note_failure(error),
        }
    }

    fn save_in_background(&mut self, context: &mut Context<Self>) {
        if self.saving || !self.shared.changed.load(Ordering::Acquire) {
            return;
        }
        self.saving = true;
        let shared = Arc::clone(&self.shared);
        let store = Arc::clone(&self.store);
        let lock = Arc::clone(&self.save_lock);
        let save = actix_rt::task::spawn_blocking(move || save(&shared, &*store, &lock));
        let done = save.into_actor(self).map(|outcome, supervisor, _| {
            supervisor.saving = false;
            let outcome = outcome.unwrap_or_else(|error| {
                Err(StoreError(format!("the snapshot could not be written: {error}")))
            });
            supervisor.note_saved(&outcome);
        });
        context.spawn(done);
    }
}

/// Saves if anything changed since the last save was begun.
fn save(
    shared: &Shared,
    store: &dyn Store,
    lock: &Mutex<()>,
) -> Result<Option<SaveReport>, StoreError> {
    let _one_at_a_time = lock.lock();
    if !shared.changed.swap(false, Ordering::AcqRel) {
        return Ok(None);
    }
    let outcome = store.save(&mut || shared.picture()).map(Some);
    if outcome.is_err() {
        shared.note_change();
    }
    outcome
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(self.shared.settings.mailbox_supervisor);
        context.run_interval(self.shared.settings.snapshot_interval, |supervisor, context| {
            supervisor.flush_guarded();
            supervisor.save_in_background(context);
        });
    }
}

impl Handler<Append> for Supervisor {
    type Result = ();

    fn handle(&mut self, append: Append, context: &mut Self::Context) {
        if self.waiting.is_empty() {
            context.notify(Flush);
        }
        self.waiting.push(append);
    }
}

impl Handler<Flush> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: Flush, _: &mut Self::Context) {
        self.flush_guarded();
    }
}

impl Handler<Finish> for Supervisor {
    type Result = Result<Option<SaveReport>, StoreError>;

    fn handle(&mut self, _: Finish, _: &mut Self::Context) -> Self::Result {
        self.flush_guarded();
        let outcome = save(&self.shared, &*self.store, &self.save_lock);
        self.note_saved(&outcome);
        outcome
    }
}
