//! What is known of users: credentials that are kept up to date, answers that are remembered for a
//! while, and questions that are under way. It is synchronous, and asked by every thread.
//!
//! Tokens are here as their SHA-256 only. A wrong token of a user is remembered by itself, so that
//! it never stands in the way of the right one. Users and refusals are bounded apart, so that no
//! stranger with any number of names and tokens makes the broker forget a user.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::backoff::Backoff;
use super::record::Credential;
use crate::auth::provider::Proof;
use crate::auth::secrets::is_same;
use crate::clock::{Clock, Moment};

/// Questions that may be under way at a time; what is to be asked beyond that is answered 503.
pub const QUESTIONS_MAX: usize = 256;

/// Of those the ones about one user, so that tries of one name leave room for the others.
const QUESTIONS_PER_USER_MAX: usize = 16;

/// Connections that may wait for one question; further ones are answered 503.
const WAITERS_MAX: usize = 4096;

/// The shortest time for which an answer is remembered: those who waited for it come to take it.
const ANSWER_TIME_MIN: Duration = Duration::from_millis(250);

/// When there are as many users as there may be, this part of them is forgotten at a time.
const FORGOTTEN_PART: usize = 64;

/// The two clocks.
#[derive(Clone, Copy)]
pub struct Now {
    /// Never goes back.
    pub moment: Moment,
    /// What expiry is measured by.
    pub wall: SystemTime,
}

impl Now {
    /// What they say now.
    pub fn get() -> Self {
        Now { moment: Moment::now(), wall: Clock::wall() }
    }
}

/// How much is remembered, and for how long.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// Users, and apart from them answers.
    pub users_max: usize,
    /// How long a refusal is remembered.
    pub refusal_time: Duration,
    /// How long a user is kept that is not used.
    pub idle_timeout: Duration,
    /// How long a failure is remembered.
    pub backoff: Backoff,
}

/// A name and the SHA-256 of a token, as one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The hash goes first: it is as long as any other.
    pub fn new(user: &str, token: &[u8; 32]) -> Self {
        Key(Sha256::new().chain_update(token).chain_update(user.as_bytes()).finalize().into())
    }
}

/// What is known of a claim.
#[derive(Debug, PartialEq, Eq)]
pub enum Checked {
    /// It is true.
    Proven(Proof),
    /// It is wrong.
    Unknown,
    /// It cannot be found out now.
    Unavailable,
    /// It is being found out, and the waiter is kept.
    Pending,
    /// The same, and whoever gets this has to ask and to settle it.
    Ask(Key),
}

/// What the service says of a claim.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// No.
    Refused,
    /// Nothing, as it seems.
    Failed,
    /// What the user would have to present.
    Known(Credential),
}

/// A user's place in the cache, which is another one when the user comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u64);

/// A place, and what resolves when it is no longer wanted.
pub type Placed = (Place, oneshot::Receiver<()>);

/// What an update did.
#[derive(Debug, PartialEq, Eq)]
pub enum Update {
    /// Nothing is different.
    Same,
    /// Those who had the old credential have to be judged again.
    Changed,
    /// The place is no longer there.
    Gone,
}

/// See the module's text. Clones are the same cache.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    bounds: Bounds,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    users: HashMap<String, User>,
    answers: HashMap<Key, Answer>,
    questions: HashMap<Key, Question>,
    last_place: u64,
    /// A user was forgotten that may be in use.
    lost: bool,
}

struct User {
    credential: Credential,
    /// When a claim was last proven by it.
    used: Moment,
    /// It was unused for so long that everybody was asked whether it is in use.
    doubted: bool,
    place: Place,
    /// Dropped with the user, which ends what keeps it up to date.
    _open: oneshot::Sender<()>,
}

/// A refusal or a failure.
struct Answer {
    is_refusal: bool,
    failures: u32,
    until: Moment,
}

struct Question {
    user: String,
    waiters: Vec<Waker>,
    /// The user was removed since it was asked, so the answer may be old.
    outdated: bool,
}

impl Cache {
    /// A cache that knows nobody.
    pub fn new(bounds: Bounds) -> Self {
        Cache(Arc::new(Inner { bounds, state: Mutex::default() }))
    }

    /// What is known of a claim.
    pub fn check(&self, user: &str, token: &[u8; 32], waiter: &Waker, now: Now) -> Checked {
        let mut state = self.0.state.lock();
        if let Some(known) = state.users.get_mut(user)
            && is_same(&known.credential.token, token)
        {
            return known.prove(user, now);
        }
        let key = Key::new(user, token);
        if let Some(answer) = state.answers.get(&key)
            && now.moment < answer.until
        {
            return if answer.is_refusal { Checked::Unknown } else { Checked::Unavailable };
        }
        if let Some(question) = state.questions.get_mut(&key) {
            return question.wait(waiter);
        }
        let of_user = state.questions.values().filter(|question| question.user == user).count();
        if state.questions.len() >= QUESTIONS_MAX || of_user >= QUESTIONS_PER_USER_MAX {
            return Checked::Unavailable;
        }
        let waiters = vec![waiter.clone()];
        let question = Question { user: user.to_owned(), waiters, outdated: false };
        state.questions.insert(key, question);
        Checked::Ask(key)
    }

    /// Says what came of a question, and wakes who waits for it. The claim is good if the user has
    /// a place then, whose credential is from now on to be kept up to date by whoever asked.
    pub fn settle(&self, key: Key, token: &[u8; 32], verdict: Verdict, now: Now) -> Option<Placed> {
        let mut state = self.0.state.lock();
        let question = state.questions.remove(&key)?;
        let verdict = if question.outdated { Verdict::Failed } else { verdict };
        let place = match verdict {
            Verdict::Known(credential) if credential.proves(token, now) => {
                state.answers.remove(&key);
                Some(state.admit(&question.user, credential, self.0.bounds.users_max, now))
            }
            Verdict::Known(_) | Verdict::Refused => {
                state.remember_refusal(key, &self.0.bounds, now);
                None
            }
            Verdict::Failed => {
                state.remember_failure(key, &self.0.bounds, now);
                None
            }
        };
        // Who is woken asks at once.
        drop(state);
        question.waiters.into_iter().for_each(Waker::wake);
        place
    }

    /// Takes what the service says now of a user.
    pub fn update(&self, user: &str, place: Place, credential: Credential) -> Update {
        let mut state = self.0.state.lock();
        let key = Key::new(user, &credential.token);
        let known = state.users.get_mut(user).filter(|known| known.place == place);
        let Some(known) = known else { return Update::Gone };
        if known.credential == credential {
            return Update::Same;
        }
        known.credential = credential;
        state.answers.remove(&key);
        Update::Changed
    }

    /// The service refuses the token that a user has here: forgets the user. Returns whether it was
    /// still known.
    pub fn refuse(&self, user: &str, place: Place, now: Now) -> bool {
        let mut state = self.0.state.lock();
        if state.users.get(user).is_none_or(|known| known.place != place) {
            return false;
        }
        if let Some(known) = state.users.remove(user) {
            let key = Key::new(user, &known.credential.token);
            state.remember_refusal(key, &self.0.bounds, now);
        }
        true
    }

    /// There is no such user any more. Returns whether it was known.
    pub fn remove(&self, user: &str) -> bool {
        let mut state = self.0.state.lock();
        for question in state.questions.values_mut().filter(|question| question.user == user) {
            question.outdated = true;
        }
        state.users.remove(user).is_some()
    }

    /// Forgets users that nobody uses. A connection is not judged again without a reason, so before
    /// a user is forgotten this returns `true` once, for all credentials in use to be judged again.
    pub fn sweep(&self, now: Now) -> bool {
        let mut state = self.0.state.lock();
        let mut doubts = std::mem::take(&mut state.lost);
        let idle_timeout = self.0.bounds.idle_timeout;
        state.users.retain(|_, user| {
            if now.moment.since(user.used) < idle_timeout {
                return true;
            }
            doubts |= !user.doubted;
            !std::mem::replace(&mut user.doubted, true)
        });
        doubts
    }

    /// The roles of a user.
    pub fn roles_of(&self, user: &str) -> Option<Vec<String>> {
        self.0.state.lock().users.get(user).map(|known| known.credential.roles.clone())
    }
}

impl Credential {
    fn proves(&self, token: &[u8; 32], now: Now) -> bool {
        is_same(&self.token, token) && !self.has_expired(now)
    }

    fn has_expired(&self, now: Now) -> bool {
        self.expires.is_some_and(|expires| expires <= now.wall)
    }
}

impl User {
    fn prove(&mut self, user: &str, now: Now) -> Checked {
        // Nothing is asked: the service says by itself when it is good again.
        if self.credential.has_expired(now) {
            return Checked::Unknown;
        }
        (self.used, self.doubted) = (now.moment, false);
        Checked::Proven(Proof {
            user: user.to_owned(),
            roles: self.credential.roles.clone(),
            expires: self.credential.expires,
        })
    }
}

impl Question {
    fn wait(&mut self, waiter: &Waker) -> Checked {
        if !self.waiters.iter().any(|known| known.will_wake(waiter)) {
            if self.waiters.len() >= WAITERS_MAX {
                return Checked::Unavailable;
            }
            self.waiters.push(waiter.clone());
        }
        Checked::Pending
    }
}

impl State {
    /// Gives a user a place, if need be in that of one that was not used for the longest time. A
    /// place that the user had is closed: the newer one begins with what is newer.
    fn admit(&mut self, user: &str, credential: Credential, users_max: usize, now: Now) -> Placed {
        if self.users.len() >= users_max && !self.users.contains_key(user) {
            self.forget_unused(users_max / FORGOTTEN_PART + 1);
        }
        self.last_place = self.last_place.wrapping_add(1);
        let place = Place(self.last_place);
        let (open, closed) = oneshot::channel();
        let known = User { credential, used: now.moment, doubted: false, place, _open: open };
        self.users.insert(user.to_owned(), known);
        (place, closed)
    }

    /// Forgets so many of those that were not used for the longest time.
    fn forget_unused(&mut self, count: usize) {
        let mut used: Vec<Moment> = self.users.values().map(|known| known.used).collect();
        let last = count.min(used.len()).saturating_sub(1);
        if last >= used.len() {
            return;
        }
        let newest = *used.select_nth_unstable(last).1;
        let mut left = count;
        self.users.retain(|_, known| {
            let goes = left > 0 && known.used <= newest;
            left -= usize::from(goes);
            !goes
        });
        self.lost = true;
    }

    fn remember_refusal(&mut self, key: Key, bounds: &Bounds, now: Now) {
        let until = now.moment.after(bounds.refusal_time.max(ANSWER_TIME_MIN));
        self.remember(key, Answer { is_refusal: true, failures: 0, until }, bounds, now);
    }

    fn remember_failure(&mut self, key: Key, bounds: &Bounds, now: Now) {
        let before = self.answers.get(&key).map_or(0, |answer| answer.failures);
        let failures = before.saturating_add(1);
        let until = now.moment.after(bounds.backoff.wait(failures).max(ANSWER_TIME_MIN));
        self.remember(key, Answer { is_refusal: false, failures, until }, bounds, now);
    }

    fn remember(&mut self, key: Key, answer: Answer, bounds: &Bounds, now: Now) {
        if self.answers.len() >= bounds.users_max && !self.answers.contains_key(&key) {
            self.forget_answers(bounds.users_max, now);
        }
        self.answers.insert(key, answer);
    }

    /// Forgets what is over and, if that is too little, the half that is over first.
    fn forget_answers(&mut self, max: usize, now: Now) {
        self.answers.retain(|_, answer| now.moment < answer.until);
        if self.answers.len() < max {
            return;
        }
        let mut ends: Vec<Moment> = self.answers.values().map(|answer| answer.until).collect();
        ends.sort_unstable();
        let middle = ends.get(ends.len() / 2).copied().unwrap_or(now.moment);
        self.answers.retain(|_, answer| answer.until > middle);
    }
}

#[cfg(test)]
mod tests;
