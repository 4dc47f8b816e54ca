//! The provider `tree`: users and rules that another program keeps in the broker itself.
//!
//! `$fanal/auth/users/<name>` is a user and `$fanal/auth/rules/<name>` a rule, each a map in a
//! resource like any other: written over the protocol by who may do so, and kept over a restart.
//! They are read before a door opens, again whenever a request has written below `$fanal`, and now
//! and then, because links write there without a request.

mod entry;
mod known;

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use actix_web::rt::task::spawn_blocking;
use actix_web::rt::time::sleep_until;
use fanal_actors::{Broker, Path, Rule, Value};
use parking_lot::Mutex;

use super::provider::{Background, Claim, Outcome, Provider, Surroundings};
use crate::clock::Clock;
use crate::config::Auth;
use known::{Changes, Known, Read};

/// When to look after a request was about to write: what it writes may take a while to be there,
/// above all if it waits for others of its connection.
const LOOKS: &[Duration] = &[
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
];

/// See the module's text.
pub struct Tree {
    shared: Arc<Shared>,
    _looking: Background,
}

struct Shared {
    known: Mutex<Known>,
    /// Held while it is read, so that what was read first is taken first.
    turn: Mutex<()>,
    surroundings: Surroundings,
}

impl Tree {
    /// Reads what is there as soon as there is a broker, and goes on to do so.
    pub fn new(auth: &Auth, surroundings: &Surroundings) -> Self {
        let shared = Arc::new(Shared {
            known: Mutex::new(Known::new(&auth.admin_role)),
            turn: Mutex::new(()),
            surroundings: surroundings.clone(),
        });
        let first = Arc::clone(&shared);
        surroundings.when_connected(move |broker| first.look(broker));
        let looking = {
            let shared = Arc::clone(&shared);
            let interval = auth.recheck_interval;
            surroundings.spawn(move || shared.go_on(interval))
        };
        Tree { shared, _looking: looking }
    }
}

impl Provider for Tree {
    fn name(&self) -> &'static str {
        "tree"
    }

    fn check(&self, claim: &Claim<'_>, waiter: &Waker) -> Outcome {
        let users = self.shared.known.lock().users();
        match users {
            Some(users) => users.check(claim, waiter),
            None => Outcome::Unavailable,
        }
    }

    fn roles_of(&self, user: &str) -> Option<Vec<String>> {
        let users = self.shared.known.lock().users()?;
        users.roles_of(user)
    }

    fn rules(&self) -> Vec<Rule> {
        self.shared.known.lock().rules()
    }
}

impl Shared {
    /// Looks what is there, and says what has changed.
    fn look(&self, broker: &Broker) {
        let _turn = self.turn.lock();
        let below = |name| {
            let found = broker.values_below(&Path::new(["$fanal", "auth", name]));
            let or_broken = |value: Option<Value>| value.unwrap_or_else(unreadable);
            found.into_iter().map(|(names, value)| (names, or_broken(value))).collect()
        };
        let read = Read { users: below("users"), rules: below("rules") };
        let (changes, counts) = {
            let mut known = self.known.lock();
            (known.take(read), known.counts())
        };
        // The policy ends streams and has credentials judged again as well.
        if changes.rules {
            self.surroundings.rules_changed();
        } else if changes.users {
            self.surroundings.changed();
        }
        if changes != Changes::default() {
            let (users, rules) = counts;
            log::info!("auth: {users} users and {rules} rules in the tree");
        }
    }

    /// Looks after each request that is about to write, and each `interval` unless that is 0.
    async fn go_on(self: Arc<Self>, interval: Duration) {
        const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);
        let interval = if interval.is_zero() { NEVER } else { interval };
        let mut writes = self.surroundings.special_writes();
        let mut looks = 0_usize;
        let mut next = Clock::now() + interval;
        loop {
            tokio::select! {
                changed = writes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    looks = 0;
                    // A look that is near stays: who writes all the time does not put it off.
                    next = next.min(Clock::now() + first(LOOKS, interval));
                    continue;
                }
                () = sleep_until(next.into()) => {}
            }
            if let Some(broker) = self.surroundings.broker() {
                let (shared, broker) = (Arc::clone(&self), broker.clone());
                // It may wait for the disk.
                if spawn_blocking(move || shared.look(&broker)).await.is_err() {
                    log::error!("auth: users and rules in the tree could not be read");
                }
            }
            looks += 1;
            next = Clock::now() + first(LOOKS.get(looks..).unwrap_or_default(), interval);
        }
    }
}

/// What stands for a value that the store cannot read: no map, and so broken, which never opens
/// anything.
fn unreadable() -> Value {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    let _ = rmp::encode::write_str(&mut bytes, "this value cannot be read from the store");
    Value::copy_from(&bytes)
}

fn first(waits: &[Duration], or: Duration) -> Duration {
    waits.first().copied().unwrap_or(or)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_cannot_be_read_denies() {
        let seen = entry::rule(unreadable().as_bytes());
        assert!(matches!(seen, entry::Entry::BrokenDeny(..)), "{seen:?}");
        assert!(entry::user(unreadable().as_bytes(), "admin").is_err());
    }
}
