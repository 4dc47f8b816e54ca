//! The keyring: the keys that are believed now, and the task that reads them again and again.
//!
//! A token that names a key which is not here has the source read at once, for keys are replaced
//! without notice, but not more often than each [`SEEK_PAUSE`]: anybody can make up names. Who
//! asked waits for that read. A key that is gone with the newest set, or that was sought in vain,
//! is not sought again for as long.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use actix_web::rt::time::sleep;
use jsonwebtoken::Algorithm;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::keys::{Key, from_set};
use super::source::Source;
use crate::auth::provider::Outcome;
use crate::clock::{Clock, Instant};

/// How long nobody seeks a key again.
pub const SEEK_PAUSE: Duration = Duration::from_secs(10);

/// The waits after failures: the first one, doubled each time, and the longest.
const RETRY_WAIT_MIN: Duration = Duration::from_secs(1);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(60);

/// Names of keys that are sought at once, and those that are known to be missing.
const SOUGHT_MAX: usize = 1000;

/// Connections that may wait for keys.
const WAITERS_MAX: usize = 10_000;

/// Keys of a token's algorithm that are tried for it.
const TRIED_MAX: usize = 16;

/// The keys of one time.
pub struct View {
    /// Rises with each change.
    pub generation: u64,
    keys: Vec<Key>,
}

impl View {
    /// The keys that a token may be signed with, those that bear its name first.
    pub fn fitting(&self, algorithm: Algorithm, id: Option<&str>) -> impl Iterator<Item = &Key> {
        let fits = move |key: &&Key| key.algorithm == algorithm;
        let named = move |key: &&Key| id.is_some() && key.id.as_deref() == id;
        // A token without a name may be of any key, and a key without one may be any token's.
        let nameless = move |key: &&Key| id.is_none() || key.id.is_none();
        let keys = self.keys.iter();
        keys.clone().filter(named).chain(keys.filter(nameless)).filter(fits).take(TRIED_MAX)
    }

    fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(id))
    }
}

/// See the module's text.
pub struct Keyring {
    /// Those that are always there.
    fixed: Vec<Key>,
    allowed: Vec<Algorithm>,
    state: Mutex<State>,
    /// Told when keys are sought.
    seeking: Notify,
}

struct State {
    view: Arc<View>,
    progress: Progress,
    /// A set was read at some time.
    was_read: bool,
    sought: HashSet<String>,
    /// Names that no key has, and until when that is not looked up again.
    missing: HashMap<String, Instant>,
    waiters: Vec<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// There is nothing to read.
    Fixed,
    /// It is read for the first time.
    First,
    /// The last read was good.
    Good,
    /// The last read failed.
    Failed,
}

impl Keyring {
    /// With keys that are always there. `read` are those of a source, if it was read already;
    /// without a source there is no more.
    pub fn new(
        fixed: Vec<Key>,
        allowed: Vec<Algorithm>,
        has_source: bool,
        read: Option<Vec<Key>>,
    ) -> Self {
        let progress = match (has_source, &read) {
            (false, _) => Progress::Fixed,
            (true, None) => Progress::First,
            (true, Some(_)) => Progress::Good,
        };
        let was_read = read.is_some();
        let keys = fixed.iter().cloned().chain(read.into_iter().flatten()).collect();
        let state = State {
            view: Arc::new(View { generation: 0, keys }),
            progress,
            was_read,
            sought: HashSet::new(),
            missing: HashMap::new(),
            waiters: Vec::new(),
        };
        Keyring { fixed, allowed, state: Mutex::new(state), seeking: Notify::new() }
    }

    /// The keys as they are now.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.state.lock().view)
    }

    /// What to say of a token that none of these keys has signed, and that names this one.
    pub fn seek(&self, id: Option<&str>, view: &Arc<View>, waiter: &Waker) -> Outcome {
        let mut state = self.state.lock();
        if !Arc::ptr_eq(view, &state.view) {
            // There are others by now.
            drop(state);
            waiter.wake_by_ref();
            return Outcome::Pending;
        }
        let unknown = id.filter(|id| !view.has(id));
        match (state.progress, unknown) {
            (Progress::Fixed, _) => Outcome::Unknown,
            (Progress::First, _) => state.wait(waiter),
            (Progress::Failed, None) if state.was_read => Outcome::Unknown,
            (Progress::Failed, _) => Outcome::Unavailable,
            (Progress::Good, None) => Outcome::Unknown,
            (Progress::Good, Some(id)) => {
                let now = Clock::now();
                if state.missing.get(id).is_some_and(|until| *until > now) {
                    return Outcome::Unknown;
                }
                if !state.sought.contains(id) {
                    if state.sought.len() >= SOUGHT_MAX {
                        return Outcome::Unavailable;
                    }
                    state.sought.insert(id.to_owned());
                    self.seeking.notify_one();
                }
                state.wait(waiter)
            }
        }
    }

    /// Reads the source again and again. `changed` is told the generation of each new set.
    pub async fn keep(&self, source: Source, refresh: Duration, changed: impl Fn(u64)) {
        let mut failures = 0;
        let mut sought_last: Option<Instant> = None;
        if self.state.lock().progress != Progress::First {
            self.rest(refresh, &mut sought_last).await;
        }
        loop {
            let sought = std::mem::take(&mut self.state.lock().sought);
            let read = source.read().await;
            match read.and_then(|text| from_set(&text, &self.allowed)) {
                Ok(keys) => {
                    self.take(keys, sought, &source, &changed);
                    if failures > 0 {
                        log::info!("auth_jwt.keys: {source} can be read again");
                    }
                    failures = 0;
                    self.rest(refresh, &mut sought_last).await;
                }
                Err(reason) => {
                    let wait = RETRY_WAIT_MIN.saturating_mul(1 << failures.min(16));
                    let wait = wait.min(RETRY_WAIT_MAX).min(refresh);
                    self.fail();
                    log::warn!(
                        "auth_jwt.keys: {source} cannot be read: {reason}; the keys of before \
                         stay, and it is tried again in {} s",
                        wait.as_secs()
                    );
                    failures += 1;
                    sleep(wait).await;
                }
            }
        }
    }

    /// Waits until the source is to be read again.
    async fn rest(&self, refresh: Duration, sought_last: &mut Option<Instant>) {
        tokio::select! {
            () = sleep(refresh) => {}
            () = self.pause(sought_last) => {}
        }
    }

    /// Waits until a key is sought and the last time is long enough ago.
    async fn pause(&self, sought_last: &mut Option<Instant>) {
        self.seeking.notified().await;
        if let Some(last) = sought_last {
            let passed = Clock::now().saturating_duration_since(*last);
            sleep(SEEK_PAUSE.saturating_sub(passed)).await;
        }
        *sought_last = Some(Clock::now());
    }

    /// Takes a set that was read.
    fn take(
        &self,
        read: Vec<Key>,
        sought: HashSet<String>,
        source: &Source,
        changed: &impl Fn(u64),
    ) {
        if read.is_empty() {
            log::warn!("auth_jwt.keys: {source} has no key for auth_jwt.algorithms");
        }
        let count = read.len();
        let keys: Vec<Key> = self.fixed.iter().cloned().chain(read).collect();
        let mut state = self.state.lock();
        let before = Arc::clone(&state.view);
        let same = before.keys.len() == keys.len()
            && before.keys.iter().zip(&keys).all(|(old, new)| old.is_same(new));
        if !same {
            let generation = before.generation.saturating_add(1);
            state.view = Arc::new(View { generation, keys });
        }
        state.progress = Progress::Good;
        state.was_read = true;
        let gone = before.keys.iter().filter_map(|key| key.id.clone());
        state.note_missing(gone.chain(sought));
        let generation = state.view.generation;
        drop(state);
        if !same {
            log::info!("auth_jwt.keys: {count} keys from {source}");
            changed(generation);
        }
        self.wake();
    }

    fn fail(&self) {
        let mut state = self.state.lock();
        state.progress = Progress::Failed;
        state.sought.clear();
        drop(state);
        self.wake();
    }

    /// Has all who wait ask again.
    pub fn wake(&self) {
        let waiters = std::mem::take(&mut self.state.lock().waiters);
        waiters.into_iter().for_each(Waker::wake);
    }
}

impl State {
    fn wait(&mut self, waiter: &Waker) -> Outcome {
        if !self.waiters.iter().any(|known| known.will_wake(waiter)) {
            if self.waiters.len() >= WAITERS_MAX {
                return Outcome::Unavailable;
            }
            self.waiters.push(waiter.clone());
        }
        Outcome::Pending
    }

    fn note_missing(&mut self, names: impl Iterator<Item = String>) {
        let now = Clock::now();
        self.missing.retain(|_, until| *until > now);
        for name in names {
            if !self.view.has(&name) && self.missing.len() < 2 * SOUGHT_MAX {
                self.missing.insert(name, now + SEEK_PAUSE);
            }
        }
    }
}
