//! The provider `sql`: users that a PostgreSQL database tells of.
//!
//! It is asked for all users again and again, and its last answer is kept in memory. So a request
//! never waits for the database, but for the first answer after the start, and while the database
//! is down everybody stays who was known, until the time at which each expires: a broker that
//! locked everybody out with its database would be worse than one that learns of a change later.

mod answer;
mod database;

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use actix_web::rt::time::sleep;
use parking_lot::RwLock;

use super::places::Places;
use super::provider::{Background, Claim, Outcome, Proof, Provider, Surroundings};
use super::secrets;
use crate::clock::Clock;
use crate::config::Config;
use answer::{Answer, Difference, Record};
use database::{Database, within};

/// Those who wait for the first answer; further ones are answered 503.
const WAITING_MAX: usize = 10_000;

/// The first wait after a question that failed; each further one is twice as long.
const RETRY_WAIT: Duration = Duration::from_millis(100);

/// The longest one is the interval, within these.
const RETRY_WAIT_MAX: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How often it is looked whether the broker is there, which it soon is.
const BROKER_LOOK: Duration = Duration::from_millis(10);

/// See the module's text.
pub struct Sql {
    known: Arc<Known>,
    _asking: Background,
}

/// What the database has said.
#[derive(Default)]
struct Known(RwLock<State>);

#[derive(Default)]
struct State {
    /// The last good answer.
    answer: Option<Arc<Answer>>,
    /// There is none, and a question has failed.
    failed: bool,
    waiting: Vec<Waker>,
}

impl Sql {
    /// Begins to ask the database.
    ///
    /// # Errors
    /// If the settings make no sense. A database that is not there is none.
    pub fn from_config(config: &Config, surroundings: &Surroundings) -> anyhow::Result<Self> {
        let settings = &config.auth_sql;
        let known = Arc::new(Known::default());
        let asking = Asking {
            database: Database::new(settings)?,
            known: Arc::clone(&known),
            places: Places::new(&config.auth.user_paths, config.limits.name_bytes_max),
            surroundings: surroundings.clone(),
            interval: settings.interval,
            timeout: settings.timeout,
            failures: 0,
            complaint: String::new(),
        };
        let asking = surroundings.spawn(move || asking.go_on());
        Ok(Sql { known, _asking: asking })
    }
}

impl Provider for Sql {
    fn name(&self) -> &'static str {
        "sql"
    }

    fn check(&self, claim: &Claim<'_>, waiter: &Waker) -> Outcome {
        if claim.token.is_empty() {
            return Outcome::Unknown;
        }
        match self.known.answer() {
            Some(answer) => judge(&answer, claim),
            None => self.known.wait(waiter),
        }
    }

    fn roles_of(&self, user: &str) -> Option<Vec<String>> {
        self.known.answer()?.user(user).map(|record| record.roles.clone())
    }
}

/// Judges a claim by an answer.
fn judge(answer: &Answer, claim: &Claim<'_>) -> Outcome {
    let hash = secrets::sha256(claim.token);
    let name = if claim.user.is_empty() && claim.by_connection {
        answer.name(&hash).unwrap_or_default()
    } else {
        claim.user
    };
    let Some(Record { token: Some(token), roles, expires }) = answer.user(name) else {
        return Outcome::Unknown;
    };
    if !secrets::is_same(token, &hash) || expires.is_some_and(|end| end <= Clock::wall()) {
        return Outcome::Unknown;
    }
    Outcome::Proven(Proof { user: name.to_owned(), roles: roles.clone(), expires: *expires })
}

impl Known {
    fn answer(&self) -> Option<Arc<Answer>> {
        self.0.read().answer.clone()
    }

    /// Waits for the first answer, unless it is not to be had.
    fn wait(&self, waiter: &Waker) -> Outcome {
        let mut state = self.0.write();
        if state.answer.is_none() && (state.failed || state.waiting.len() >= WAITING_MAX) {
            return Outcome::Unavailable;
        }
        if state.answer.is_some() {
            // It has come just now: whoever asks again is told.
            drop(state);
            waiter.wake_by_ref();
            return Outcome::Pending;
        }
        state.waiting.push(waiter.clone());
        Outcome::Pending
    }

    /// Takes a good answer in the place of the one before.
    fn put(&self, answer: Arc<Answer>) {
        self.change(|state| state.answer = Some(answer));
    }

    /// Says that a question has failed.
    fn fail(&self) {
        self.change(|state| state.failed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.write();
        change(&mut state);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Asks the database again and again.
struct Asking {
    database: Database,
    known: Arc<Known>,
    places: Places,
    surroundings: Surroundings,
    interval: Duration,
    timeout: Duration,
    /// Questions in a row that failed.
    failures: u32,
    /// What was last complained of, so that it is not said each time.
    complaint: String,
}

impl Asking {
    async fn go_on(mut self) {
        loop {
            let wait = match within(self.timeout, self.database.ask()).await {
                Ok(answer) => {
                    self.take(answer);
                    self.interval
                }
                Err(error) => {
                    self.known.fail();
                    self.complain(&format!("{error:#}"));
                    retry_wait(self.failures, self.interval)
                }
            };
            self.places.try_again();
            self.spend(wait).await;
        }
    }

    /// Spends the time until the next question, at least until there is a broker, with the places
    /// of users.
    async fn spend(&mut self, wait: Duration) {
        let until = Clock::now() + wait;
        while !self.places.are_done() && Clock::now() < until {
            match self.surroundings.broker() {
                Some(broker) => self.places.work(broker).await,
                None => sleep(BROKER_LOOK).await,
            }
        }
        sleep(until.saturating_duration_since(Clock::now())).await;
    }

    fn take(&mut self, answer: Answer) {
        let before = self.known.answer();
        if self.failures > 0 {
            log::info!("auth_sql: the database answers again");
        }
        self.failures = 0;
        let wrong_hashes = answer.wrong_hashes;
        let answer = Arc::new(answer);
        match answer.difference(before.as_deref()) {
            Difference::None => {}
            Difference::Emptied => {
                let count = before.as_deref().map_or(0, Answer::len);
                self.warn(&format!(
                    "the answer is empty, which is more often a mistake than meant: the {count} \
                     users that were known stay; leave one in, or restart the server, if it is \
                     meant"
                ));
                return;
            }
            Difference::Some { appeared, gone } => {
                let (new, lost) = (appeared.len(), gone.len());
                self.known.put(Arc::clone(&answer));
                self.surroundings.changed();
                log::info!("auth_sql: {} users, {new} of them new, {lost} gone", answer.len());
                self.places.plan(&gone, &appeared);
            }
        }
        if wrong_hashes > 0 {
            self.warn(&format!(
                "{wrong_hashes} users have a token that begins with sha256: and is no hash, so \
                 that nothing proves them: expected 64 hexadecimal digits behind it"
            ));
        } else {
            self.complaint.clear();
        }
    }

    fn complain(&mut self, error: &str) {
        self.failures = self.failures.saturating_add(1);
        let rest = match self.known.answer() {
            Some(answer) => format!("the {} users that were known stay", answer.len()),
            None => "until it answers requests of its users are answered 503".to_owned(),
        };
        self.warn(&format!("the database does not answer as it should: {error}; {rest}"));
    }

    /// Says it, unless that was what was said before.
    fn warn(&mut self, complaint: &str) {
        if self.complaint != complaint {
            log::warn!("auth_sql: {complaint}");
            complaint.clone_into(&mut self.complaint);
        }
    }
}

/// How long to wait after so many failures: longer each time, and never the same for all servers
/// that lost the same database.
fn retry_wait(failures: u32, interval: Duration) -> Duration {
    let (least, most) = RETRY_WAIT_MAX;
    let factor = 1_u32 << failures.saturating_sub(1).min(16);
    let wait = RETRY_WAIT.saturating_mul(factor).min(interval.clamp(least, most));
    let random = getrandom::u32().unwrap_or(u32::MAX);
    wait / 2 + (wait / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::answer::Row;
    use super::*;
    use std::time::SystemTime;

    fn answer() -> Answer {
        let mut answer = Answer::default();
        for (name, token, expires) in [
            ("ann", Some("ann's"), None),
            ("old", Some("old's"), Some(SystemTime::UNIX_EPOCH)),
            ("nobody", None, None),
        ] {
            let row = Row { name: Some(name), token, roles: vec!["tutor".to_owned()], expires };
            answer.add(row, 10).unwrap();
        }
        answer
    }

    #[track_caller]
    fn check(user: &str, token: &str, expected: Option<&str>) {
        check_from(false, user, token, expected);
    }

    #[track_caller]
    fn check_from(by_connection: bool, user: &str, token: &str, expected: Option<&str>) {
        let claim = Claim { user, token, by_connection, ..Claim::default() };
        let seen = match judge(&answer(), &claim) {
            Outcome::Proven(proof) => Some(proof.user),
            Outcome::Unknown => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(seen.as_deref(), expected, "{user} {token}");
    }

    #[test]
    fn a_user_is_proven_by_its_token_until_it_expires() {
        check("ann", "ann's", Some("ann"));
        check("", "ann's", None);
        check_from(true, "ann", "ann's", Some("ann"));
        check_from(true, "", "ann's", Some("ann"));
        check_from(true, "", "old's", None);
        check_from(true, "", "x", None);
        for (user, token) in [
            ("ann", "ann"),
            ("Ann", "ann's"),
            ("old", "old's"),
            ("", "old's"),
            ("nobody", "x"),
            ("x", "x"),
        ] {
            check(user, token, None);
        }
    }

    #[test]
    fn before_the_first_answer_requests_wait_unless_it_is_not_to_be_had() {
        let known = Known::default();
        assert_eq!(known.wait(Waker::noop()), Outcome::Pending);
        known.fail();
        assert_eq!(known.wait(Waker::noop()), Outcome::Unavailable);
        known.put(Arc::new(answer()));
        known.fail();
        assert!(known.answer().is_some());
        let full = Known::default();
        for _ in 0..WAITING_MAX {
            assert_eq!(full.wait(Waker::noop()), Outcome::Pending);
        }
        assert_eq!(full.wait(Waker::noop()), Outcome::Unavailable);
    }

    #[test]
    fn waits_grow_up_to_the_interval() {
        let interval = Duration::from_secs(10);
        for (failures, most) in [(1, 100), (2, 200), (5, 1600), (20, 10_000), (u32::MAX, 10_000)] {
            let wait = retry_wait(failures, interval).as_millis();
            assert!((most / 2..=most).contains(&wait), "{failures}: {wait}");
        }
        assert!(retry_wait(9, Duration::from_millis(10)) <= Duration::from_secs(1));
        assert!(retry_wait(99, Duration::from_secs(3600)) <= Duration::from_secs(30));
    }
}
