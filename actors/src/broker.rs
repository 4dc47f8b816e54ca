//! The broker as the server sees it: start, open sessions, stop.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use actix::{Actor, Addr, Arbiter, ArbiterHandle};

use crate::access::Policy;
use crate::counters::Counters;
use crate::directory::{Directory, Task};
use crate::events::Events;
use crate::inspect::Inspector;
use crate::metrics::Metrics;
use crate::ports::{
    ChangeKind, Credentials, Peer, SaveReport, Snapshot, Steering, Store, StoreError, Throttle,
};
use crate::protocol::{Class, NIL, Name, Path, Rnum, Value};
use crate::session::Session;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::state::{Ending, Outbox, Reid, Responder};
use crate::supervisor::{Save, Supervisor, preload, restore};
use crate::verbs::{Data, Structural};

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What was saved cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Something that is to be there or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provision {
    /// A resource with the value nil, and its parents; of a class, or of that of its path.
    Create(Path, Option<Class>),
    /// Nothing at this path, nor below it.
    Delete(Path),
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amounts {
    /// Resources.
    pub resources: u64,
    /// Directories, without the root.
    pub directories: u64,
    /// Links.
    pub links: u64,
    /// Streams.
    pub streams: u64,
    /// Bytes of answers and updates that wait for connections.
    pub outbox_bytes: u64,
    /// Resources whose value has to be saved.
    pub unsaved: u64,
}

/// Connections that are closed at once when the broker stops: so many may come back together.
const DRAIN_BATCH_MIN: usize = 100;

/// Batches in which they are closed; with many connections a batch has more than that.
const DRAIN_BATCHES_MAX: usize = 100;

/// A running broker. Clones are the same broker.
#[derive(Clone)]
pub struct Broker {
    shared: Arc<Shared>,
    /// One for all sessions: each clone of an address is two allocations.
    directory: Arc<Addr<Directory>>,
    supervisor: Addr<Supervisor>,
    threads: Arc<[ArbiterHandle]>,
}

impl Broker {
    /// Loads what the store has, makes what is missing of the resources, directories and links that
    /// are `wanted`, durably, and starts the directory and the supervisor, each on a thread of its
    /// own. Must be called in an actix system.
    ///
    /// # Errors
    /// If the store cannot be used.
    pub fn start(
        settings: Settings,
        policy: Policy,
        credentials: Box<dyn Credentials>,
        store: Arc<dyn Store>,
        wanted: Vec<ChangeKind>,
    ) -> Result<Self, StartError> {
        let shared = Arc::new(Shared::new(settings, policy, credentials, Arc::clone(&store)));
        restore(&shared)?;
        let made = preload(&shared, wanted);
        if !made.is_empty() {
            store.append(&made)?;
            log::info!("made {} resources, directories and links that were missing", made.len());
        }
        shared.unsaved.note_appended(shared.structure.read().sequence);
        let store_thread = Arbiter::new();
        let supervisor = {
            let shared = Arc::clone(&shared);
            Supervisor::start_in_arbiter(&store_thread.handle(), move |_| {
                Supervisor::new(shared, store)
            })
        };
        shared.unsaved.connect(supervisor.clone().recipient());
        let reader = Arbiter::new().handle();
        shared.reader.connect(reader.clone());
        let lister = Arbiter::new().handle();
        let directory_thread = Arbiter::new();
        let directory = {
            let shared = Arc::clone(&shared);
            let supervisor = supervisor.clone();
            let lister = lister.clone();
            Directory::start_in_arbiter(&directory_thread.handle(), move |_| {
                Directory::new(shared, supervisor, lister)
            })
        };
        let threads = Arc::from([directory_thread.handle(), store_thread.handle(), lister, reader]);
        Ok(Broker { shared, directory: Arc::new(directory), supervisor, threads })
    }

    /// Opens a session for a new connection of this peer, whose requests pass `throttle` if there
    /// is one; `None` if there are as many as there may be, or the broker is stopping.
    pub fn open_session(&self, peer: Peer, throttle: Option<Box<dyn Throttle>>) -> Option<Session> {
        let (shared, directory) = (Arc::clone(&self.shared), Arc::clone(&self.directory));
        let session = Session::open(shared, directory, peer, throttle);
        if session.is_none() {
            let counters = &self.shared.counters;
            let stopping = self.is_stopping();
            let full = &counters.connections_refused;
            if stopping { &counters.connections_refused_stopping } else { full }.add(1);
        }
        session
    }

    /// Puts another policy in the place of the present one, from the next request of each session
    /// on, and ends the streams that it does not allow.
    pub fn set_policy(&self, policy: Policy) {
        self.shared.access.replace(policy);
        self.recheck();
    }

    /// What an identity may do.
    pub fn policy(&self) -> Arc<Policy> {
        self.shared.access.policy()
    }

    /// Says that who somebody is may have changed: every session has its credentials judged again
    /// before its next request, and at once if it has streams.
    pub fn recheck(&self) {
        self.shared.access.begin_epoch();
        self.shared.sessions.wake_all();
    }

    /// The broker's bounds; what is tunable in them may be changed.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Sessions that are open.
    pub fn sessions(&self) -> usize {
        self.shared.sessions.count()
    }

    /// Resources and directories.
    pub fn nodes(&self) -> usize {
        self.shared.structure.read().tree.nodes()
    }

    /// What looks at everything for who operates the broker.
    pub fn inspector(&self) -> Inspector {
        Inspector::new(Arc::clone(&self.shared))
    }

    /// Saves what has changed, now; `None` if everything was saved already.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn save(&self) -> Result<Option<SaveReport>, StoreError> {
        match self.supervisor.send(Save).await {
            Ok(outcome) => outcome,
            Err(error) => Err(StoreError(format!("the supervisor is gone: {error}"))),
        }
    }

    /// Ends a session; `false` if there is none of this number.
    pub fn kick(&self, session: u64) -> bool {
        self.shared.sessions.end_one(session, Ending::Kicked)
    }

    /// Whether what is acknowledged gets to the disk: `false` from an error of the store until it
    /// works again.
    pub fn is_durable(&self) -> bool {
        self.shared.store_health.is_good()
    }

    /// Whether the broker is asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.shared.sessions.are_ending()
    }

    /// The whole state as it is now, each value as it is when it is read.
    pub fn snapshot(&self) -> Snapshot<'_> {
        self.shared.picture()
    }

    /// Bytes of all values, and of those in memory.
    pub fn value_bytes(&self) -> (u64, u64) {
        (self.shared.values.used(), self.shared.resident_bytes())
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// What is measured.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// How much there is of everything, at about this moment.
    pub fn amounts(&self) -> Amounts {
        let shared = &self.shared;
        let (nodes, resources, links) = {
            let structure = shared.structure.read();
            (structure.tree.nodes(), structure.tree.leaf_count(), structure.graph.links())
        };
        let [streams, outbox_bytes] = shared.sessions.streams_and_bytes();
        Amounts {
            resources: resources as u64,
            directories: nodes.saturating_sub(resources) as u64,
            links: links as u64,
            streams,
            outbox_bytes,
            unsaved: shared.unsaved.count() as u64,
        }
    }

    /// Makes or removes something in the name of the broker itself, and waits until that is as
    /// durable as a request's would be. Making what is there, and removing what is not, is refused
    /// as a client's request would be.
    pub async fn provision(&self, wanted: Provision) -> Rnum {
        let structural = match wanted {
            Provision::Create(path, class) => Structural::Create { path, class, maker: None },
            Provision::Delete(path) => Structural::Delete { path },
        };
        let outbox = Arc::new(Outbox::new(Arc::clone(&self.shared.settings.outbox)));
        let responder = Responder::new(Arc::clone(&outbox), 0, Reid::copy_from(&[NIL]), 0);
        let metrics = &self.shared.metrics;
        let posted = metrics.post(&metrics.directory);
        if self.directory.send(Task { structural, responder, posted }).await.is_err() {
            return Rnum::InternalServerError;
        }
        only_answer(&outbox).await
    }

    /// Writes a value in the name of the broker itself; `false` if there is no such resource. Must
    /// be called on a thread that has actors.
    pub fn publish(&self, path: &Path, value: Value) -> bool {
        let Some(entry) = self.shared.resource(path) else { return false };
        let outbox = Arc::new(Outbox::new(Arc::clone(&self.shared.settings.outbox)));
        let responder = Responder::new(outbox, 0, Reid::copy_from(&[NIL]), 0);
        // With a full mailbox the next value has to do.
        entry.submit(&self.shared, Data::Put(value), responder, false).is_ok()
    }

    /// The same, and waits until it is there.
    pub async fn write(&self, path: &Path, value: Value) -> bool {
        let Some(entry) = self.shared.resource(path) else { return false };
        let outbox = Arc::new(Outbox::new(Arc::clone(&self.shared.settings.outbox)));
        let responder = Responder::new(Arc::clone(&outbox), 0, Reid::copy_from(&[NIL]), 0);
        if entry.submit(&self.shared, Data::Put(value), responder, false).is_err() {
            return false;
        }
        only_answer(&outbox).await == Rnum::Ok
    }

    /// Has requests about settings go to who keeps them; only the first one counts.
    pub fn steer(&self, steering: Box<dyn Steering>) {
        let _ = self.shared.steering.set(steering);
    }

    /// What happens to connections.
    pub fn events(&self) -> &Events {
        &self.shared.events
    }

    /// Has `told` called whenever a request is about to write something below `$fanal`: what it
    /// writes is there a little later. Links write there without a request. Only the first call
    /// counts; `told` must not block.
    pub fn watch_special(&self, told: Box<dyn Fn() + Send + Sync>) {
        self.shared.access.watch_special(told);
    }

    /// The resources below a directory with their values, by their names from there on; `None` for
    /// a value that cannot be read from the store.
    pub fn values_below(&self, directory: &Path) -> Vec<(Vec<Name>, Option<Value>)> {
        self.shared.values_below(directory)
    }

    /// Stops: asks every session to end, many of them in batches over three quarters of `drain`,
    /// waits for what is left of it until they have, saves, and ends the broker's threads.
    ///
    /// # Errors
    /// If the last changes could not be saved.
    pub async fn stop(self, drain: Duration) -> Result<Option<SaveReport>, StoreError> {
        let sessions = &self.shared.sessions;
        let all = sessions.admit_no_more(Ending::ShuttingDown);
        let all_ended = async {
            let batches = all.len().div_ceil(DRAIN_BATCH_MIN).clamp(1, DRAIN_BATCHES_MAX);
            let pause = drain * 3 / 4 / u32::try_from(batches).unwrap_or(u32::MAX);
            for (number, batch) in all.chunks(all.len().div_ceil(batches).max(1)).enumerate() {
                if number > 0 {
                    actix_rt::time::sleep(pause).await;
                }
                sessions.end(batch, Ending::ShuttingDown);
            }
            let mut ended = actix_rt::time::interval(Duration::from_millis(2));
            while sessions.count() > 0 {
                ended.tick().await;
            }
        };
        if actix_rt::time::timeout(drain, all_ended).await.is_err() {
            // Those whose turn has not come.
            sessions.end(&all, Ending::ShuttingDown);
            log::warn!("{} connections did not close in time", sessions.count());
        }
        let outcome = self.save().await;
        for thread in &*self.threads {
            thread.stop();
        }
        outcome
    }
}

/// Waits for the answer to the one request of this outbox.
async fn only_answer(outbox: &Outbox) -> Rnum {
    let mut answers = Vec::new();
    poll_fn(|task| {
        outbox.drain(1, &mut answers, task.waker());
        match answers.first() {
            Some(answer) => Poll::Ready(answer.as_response().rnum),
            None => Poll::Pending,
        }
    })
    .await
}
