//! Providers: each knows users in its own way, and says who somebody is.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::SystemTime;

use actix::ArbiterHandle;
use fanal_actors::{Broker, Rule};
use parking_lot::Mutex;
use tokio::sync::watch;

/// What a client claims: AUTH of a request, or what came with its connection where AUTH says
/// nothing. What was not given is empty. Tokens are secrets: they must not reach a log.
#[derive(Clone, Copy, Default)]
pub struct Claim<'a> {
    /// The name of the user.
    pub user: &'a str,
    /// A token or a password.
    pub token: &'a str,
    /// A JSON Web Token; `token` may be one as well.
    pub jwt: &'a str,
    /// The user whom a client certificate names that was checked already.
    pub certified: &'a str,
    /// It came with the connection. A token of a list of users may be alone there, as in
    /// `Authorization: Bearer`; in AUTH it is not good without its user (recorded scenario
    /// `auth-no-user`).
    pub by_connection: bool,
    /// When that certificate expires.
    pub certified_until: Option<SystemTime>,
}

/// Who a user has proved to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The name, never empty.
    pub user: String,
    /// The roles, as the rules know them.
    pub roles: Vec<String>,
    /// Until when that is so; `None` for as long as the provider does not say otherwise.
    pub expires: Option<SystemTime>,
}

/// What a provider says of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is true.
    Proven(Proof),
    /// It is wrong, or nothing that this provider knows; another provider may know it.
    Unknown,
    /// It has to be found out; the waiter is woken then, which is after a time-out at the latest.
    Pending,
    /// It cannot be found out now.
    Unavailable,
}

/// Knows users in its own way.
pub trait Provider: Send + Sync + 'static {
    /// The word for it in `auth.providers`.
    fn name(&self) -> &'static str;

    /// Judges a claim. Never blocks and never takes long: what does is done in the background and
    /// `Pending` meanwhile, and the waiter is kept to be woken. A claim that was proven before is
    /// asked about again and again, so the answer to that is cheap.
    fn check(&self, claim: &Claim<'_>, waiter: &Waker) -> Outcome;

    /// The roles of a user by name alone, if this provider knows it, to explain what it may do.
    fn roles_of(&self, user: &str) -> Option<Vec<String>> {
        let _ = user;
        None
    }

    /// Says that the configuration that asked for this provider is in force from now on.
    fn begin(&self) {}

    /// Rules that this provider has, which count beside those of the configuration. When they are
    /// others it says so with [`Surroundings::rules_changed`].
    fn rules(&self) -> Vec<Rule> {
        Vec::new()
    }
}

/// What providers use of the server.
#[derive(Clone)]
pub struct Surroundings {
    broker: Arc<OnceLock<Broker>>,
    /// The thread for what providers do in the background; it may run actix's HTTP client, but
    /// must not be blocked.
    thread: ArbiterHandle,
    hooks: Arc<Hooks>,
}

type Connected = Box<dyn FnOnce(&Broker) + Send>;

/// Who is told of what.
#[derive(Default)]
struct Hooks {
    /// Called once, when there is a broker.
    connected: Mutex<Vec<Connected>>,
    /// Makes the policy again.
    rules_changed: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// Marked whenever a request is about to write below `$fanal`.
    special: watch::Sender<()>,
}

impl Surroundings {
    /// With a broker that is to be started yet.
    pub fn new(thread: ArbiterHandle) -> Self {
        Surroundings { broker: Arc::default(), thread, hooks: Arc::default() }
    }

    /// Says which broker it is. No door may be open before this has returned, because providers
    /// read in the broker what they deny.
    pub fn connect(&self, broker: Broker) {
        let hooks = Arc::clone(&self.hooks);
        broker.watch_special(Box::new(move || {
            hooks.special.send_replace(());
        }));
        // There is one.
        let _ = self.broker.set(broker.clone());
        let waiting = std::mem::take(&mut *self.hooks.connected.lock());
        for connected in waiting {
            connected(&broker);
        }
    }

    /// Calls this as soon as there is a broker, which may be at once.
    pub fn when_connected(&self, connected: impl FnOnce(&Broker) + Send + 'static) {
        let mut waiting = self.hooks.connected.lock();
        match self.broker() {
            None => waiting.push(Box::new(connected)),
            Some(broker) => {
                drop(waiting);
                connected(broker);
            }
        }
    }

    /// The broker, once it runs.
    pub fn broker(&self) -> Option<&Broker> {
        self.broker.get()
    }

    /// Says that something a provider said may no longer be so: a token was changed, a user is
    /// gone, roles are others. All credentials in use are then judged again.
    pub fn changed(&self) {
        if let Some(broker) = self.broker() {
            broker.recheck();
        }
    }

    /// Says that what [`Provider::rules`] gives is something else than before.
    pub fn rules_changed(&self) {
        if let Some(told) = self.hooks.rules_changed.get() {
            told();
        }
    }

    /// Says who makes the policy again when rules have changed.
    pub(super) fn watch_rules(&self, told: impl Fn() + Send + Sync + 'static) {
        // There is one authority.
        let _ = self.hooks.rules_changed.set(Box::new(told));
    }

    /// Is marked as changed whenever a request is about to write something below `$fanal`. What it
    /// writes is there a little later.
    pub fn special_writes(&self) -> watch::Receiver<()> {
        self.hooks.special.subscribe()
    }

    /// Runs a task in the background until it ends or what is returned is dropped.
    pub fn spawn<F>(&self, task: impl FnOnce() -> F + Send + 'static) -> Background
    where
        F: Future<Output = ()> + 'static,
    {
        let (alive, mut dropped) = watch::channel(());
        // If the thread is gone, so is the server.
        let _sent = self.thread.spawn_fn(move || {
            actix_web::rt::spawn(async move {
                tokio::select! {
                    () = task() => {}
                    // Nothing is ever sent: it returns when the other end is dropped.
                    _ = dropped.changed() => {}
                }
            });
        });
        Background { _alive: alive }
    }
}

/// A task in the background; dropping this ends it.
pub struct Background {
    _alive: watch::Sender<()>,
}
