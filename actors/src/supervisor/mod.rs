//! The supervisor actor: loads what was saved, saves what has changed.
//!
//! It runs on a thread of its own and may wait for the disk there. Structural changes are appended
//! in groups: all that are waiting go to disk with one flush. Values are saved, and copies written,
//! by helper threads, so that a long save delays no request.

mod preload;
mod restore;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use parking_lot::Mutex;

pub use preload::preload;
pub use restore::restore;

use crate::guard::guarded;
use crate::metrics::Posted;
use crate::periodic::each;
use crate::ports::{Change, SaveReport, Store, StoreError};
use crate::protocol::{Refusal, Rnum};
use crate::shared::Shared;
use crate::state::{Ack, Reply};

/// How often it is asked whether the newest copy is too old, at most.
const BACKUP_CHECK: Duration = Duration::from_secs(60);

/// See the module's text.
pub struct Supervisor {
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    /// One save at a time.
    save_lock: Arc<Mutex<()>>,
    saving: bool,
    /// A copy is being written.
    backing_up: bool,
    /// Values are being left to the store.
    leaving: bool,
    /// Changes to be appended, with the answers that wait for them.
    waiting: Vec<Append>,
    /// Changes that could not be appended; their answers have been given as failures.
    unwritten: Vec<Change>,
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
    /// When it was sent.
    pub posted: Posted,
}

/// Append what is waiting. Sent by the supervisor to itself, behind what is in its mailbox.
#[derive(Message)]
#[rtype(result = "()")]
struct Flush;

/// Answers wait for a save, or there are many changes: begin as soon as no save is running.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SaveNow;

/// Save what has changed, now, and tell how it went; also the last message in the life of a broker.
#[derive(Message)]
#[rtype(result = "Result<Option<SaveReport>, StoreError>")]
pub struct Save;

impl Supervisor {
    /// Over this store.
    pub fn new(shared: Arc<Shared>, store: Arc<dyn Store>) -> Self {
        Supervisor {
            shared,
            store,
            save_lock: Arc::new(Mutex::new(())),
            saving: false,
            backing_up: false,
            leaving: false,
            waiting: Vec::new(),
            unwritten: Vec::new(),
        }
    }

    fn flush_guarded(&mut self) {
        let shared = Arc::clone(&self.shared);
        guarded(&shared.counters, "supervisor", || self.flush());
    }

    fn flush(&mut self) {
        let mut changes = std::mem::take(&mut self.unwritten);
        changes.append(&mut self.shared.unsaved.take_changes());
        let waiting = std::mem::take(&mut self.waiting);
        let mut answers = Vec::with_capacity(waiting.len());
        for Append { change, ack, reply, .. } in waiting {
            changes.push(change);
            answers.push((ack, reply));
        }
        let Some(last) = changes.last().map(|change| change.sequence) else { return };
        let outcome = self.store.append(&changes);
        if outcome.is_ok() {
            self.shared.unsaved.note_appended(last);
            for (ack, reply) in answers {
                ack.amend(reply);
            }
        } else {
            self.unwritten = changes;
        }
        self.shared.unsaved.note_unwritten(&self.unwritten);
        let failed = &self.shared.store_health.append_failed;
        note_outcome(&self.shared, failed, outcome.as_ref().err());
    }

    fn save_in_background(&mut self, context: &mut Context<Self>) {
        let unsaved = &self.shared.unsaved;
        if self.saving || !(unsaved.is_changed() || unsaved.has_answers()) {
            return;
        }
        self.saving = true;
        let shared = Arc::clone(&self.shared);
        let store = Arc::clone(&self.store);
        let lock = Arc::clone(&self.save_lock);
        let save = actix_rt::task::spawn_blocking(move || save(&shared, &*store, &lock));
        let done = save.into_actor(self).map(|outcome, supervisor, context| {
            supervisor.saving = false;
            let outcome = outcome.unwrap_or_else(|error| {
                Err(StoreError(format!("what has changed could not be saved: {error}")))
            });
            note_saved(&supervisor.shared, &outcome);
            // After an error the interval is the time to try again.
            if outcome.is_ok() && supervisor.shared.unsaved.has_answers() {
                supervisor.save_in_background(context);
            }
        });
        context.spawn(done);
    }

    /// Leaves values that nobody uses to the store if those in memory are too many.
    fn leave_in_background(&mut self, context: &mut Context<Self>) {
        let shared = &self.shared;
        if self.leaving
            || !self.store.keeps_values()
            || shared.resident_bytes() <= shared.settings.resident_bytes_max.get()
        {
            return;
        }
        self.leaving = true;
        let shared = Arc::clone(shared);
        let lock = Arc::clone(&self.save_lock);
        let leave = actix_rt::task::spawn_blocking(move || {
            // What is being saved is not in the store yet.
            let _no_save = lock.lock();
            shared.leave_idle_values()
        });
        let done = leave.into_actor(self).map(|left, supervisor, _| {
            supervisor.leaving = false;
            log::debug!("left {} values to the store", left.unwrap_or(0));
        });
        context.spawn(done);
    }

    fn back_up_in_background(&mut self, context: &mut Context<Self>) {
        if std::mem::replace(&mut self.backing_up, true) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let store = Arc::clone(&self.store);
        let age = shared.settings.backup_interval.get();
        let backup =
            actix_rt::task::spawn_blocking(move || store.back_up(age, &mut || shared.picture()));
        let done = backup.into_actor(self).map(|outcome, supervisor, _| {
            supervisor.backing_up = false;
            match outcome {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(report))) => {
                    supervisor.shared.counters.backups_saved.add(1);
                    log::debug!(
                        "backed up {} resources in {} bytes",
                        report.resources,
                        report.bytes
                    );
                }
                // What is acknowledged is on the disk all the same.
                Ok(Err(error)) => {
                    supervisor.shared.counters.store_errors.add(1);
                    log::error!("no backup: {error}");
                }
                Err(error) => log::error!("the backup could not be written: {error}"),
            }
        });
        context.spawn(done);
    }
}

/// Keeps in mind whether the store works in this way, and says it when that changes for the whole.
fn note_outcome(shared: &Shared, failed: &AtomicBool, error: Option<&StoreError>) {
    let was_good = shared.store_health.is_good();
    failed.store(error.is_some(), Ordering::Relaxed);
    match error {
        None if !was_good && shared.store_health.is_good() => {
            log::info!("the disk is back: everything that was acknowledged is on it again");
        }
        None => {}
        Some(error) => {
            shared.counters.store_errors.add(1);
            if was_good {
                log::error!("{error}");
            }
        }
    }
}

fn note_saved(shared: &Shared, outcome: &Result<Option<SaveReport>, StoreError>) {
    let failed = &shared.store_health.save_failed;
    match outcome {
        Ok(Some(report)) => {
            shared.counters.snapshots_saved.add(1);
            note_outcome(shared, failed, None);
            log::debug!("saved {} resources in {} bytes", report.resources, report.bytes);
        }
        Ok(None) => {}
        Err(error) => note_outcome(shared, failed, Some(error)),
    }
}

/// Saves if anything changed since the last save was begun, and gives the answers that wait for it.
fn save(
    shared: &Shared,
    store: &dyn Store,
    lock: &Mutex<()>,
) -> Result<Option<SaveReport>, StoreError> {
    let _one_at_a_time = lock.lock();
    // Taken before the values are: each of them is in this save, or was in one before.
    let answers = shared.unsaved.take_answers();
    let Some(saving) = shared.unsaved.begin(shared) else { return Ok(None) };
    let outcome = guarded(&shared.counters, "store", || store.save(&saving));
    let outcome = outcome.unwrap_or_else(|| Err(StoreError("the store has failed".to_owned())));
    let outcome = outcome.map(Some);
    if outcome.is_err() {
        shared.unsaved.failed(saving);
        for answer in answers {
            answer.amend(Refusal::new(
                Rnum::InternalServerError,
                "the value was written, but it is not on disk; the broker tries to save it",
            ));
        }
    }
    outcome
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(self.shared.settings.mailbox_supervisor);
        each(
            self,
            context,
            |supervisor| supervisor.shared.settings.snapshot_interval.get(),
            |supervisor, context| {
                supervisor.flush_guarded();
                supervisor.save_in_background(context);
            },
        );
        // A value leaves after one to two of these.
        each(
            self,
            context,
            |supervisor| supervisor.shared.settings.resource_idle_timeout.get() / 2,
            Self::leave_in_background,
        );
        each(
            self,
            context,
            |supervisor| BACKUP_CHECK.min(supervisor.shared.settings.backup_interval.get()),
            Self::back_up_in_background,
        );
    }
}

impl Handler<Append> for Supervisor {
    type Result = ();

    fn handle(&mut self, append: Append, context: &mut Self::Context) {
        let metrics = &self.shared.metrics;
        metrics.take(&metrics.supervisor, append.posted);
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

impl Handler<SaveNow> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: SaveNow, context: &mut Self::Context) {
        self.flush_guarded();
        self.save_in_background(context);
    }
}

impl Handler<Save> for Supervisor {
    type Result = Result<Option<SaveReport>, StoreError>;

    fn handle(&mut self, _: Save, _: &mut Self::Context) -> Self::Result {
        self.flush_guarded();
        let outcome = save(&self.shared, &*self.store, &self.save_lock);
        note_saved(&self.shared, &outcome);
        outcome
    }
}
