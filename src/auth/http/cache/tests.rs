//! What the cache answers, by made-up clocks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;
use std::time::UNIX_EPOCH;

use super::*;
use crate::auth::secrets::sha256;

/// Counts how often it is woken.
#[derive(Default)]
struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct World {
    cache: Cache,
    now: Now,
}

impl World {
    fn new(users_max: usize) -> Self {
        let bounds = Bounds {
            users_max,
            refusal_time: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(300),
            backoff: Backoff::new(Duration::from_millis(100)),
        };
        let now = Now { moment: Moment::now(), wall: UNIX_EPOCH + Duration::from_secs(1000) };
        World { cache: Cache::new(bounds), now }
    }

    fn pass(&mut self, seconds: u64) {
        let time = Duration::from_secs(seconds);
        self.now = Now { moment: self.now.moment.after(time), wall: self.now.wall + time };
    }

    fn check(&self, user: &str, token: &str) -> Checked {
        self.cache.check(user, &sha256(token), Waker::noop(), self.now)
    }

    /// A word for what is known, and for a question that is asked now.
    fn word(&self, user: &str, token: &str) -> &'static str {
        match self.check(user, token) {
            Checked::Proven(_) => "proven",
            Checked::Unknown => "unknown",
            Checked::Unavailable => "unavailable",
            Checked::Pending => "pending",
            Checked::Ask(_) => "ask",
        }
    }

    fn settle(&self, user: &str, token: &str, verdict: Verdict) -> Option<Placed> {
        let hash = sha256(token);
        self.cache.settle(Key::new(user, &hash), &hash, verdict, self.now)
    }

    /// Asks about a user, whose token it is.
    fn admit(&self, user: &str, token: &str) -> Placed {
        assert_eq!(self.word(user, token), "ask", "{user} {token}");
        self.settle(user, token, Verdict::Known(credential(token))).unwrap()
    }
}

fn credential(token: &str) -> Credential {
    Credential { token: sha256(token), roles: vec!["r".to_owned()], expires: None }
}

#[test]
fn one_question_answers_all_who_wait_for_it() {
    let world = World::new(10);
    assert_eq!(world.word("ann", "t"), "ask");
    let counted = Arc::new(Counted::default());
    for _ in 0..3 {
        // Who asks twice waits once.
        let waiter = Waker::from(Arc::clone(&counted));
        let checked = world.cache.check("ann", &sha256("t"), &waiter, world.now);
        assert_eq!(checked, Checked::Pending);
    }
    let mut place = world.settle("ann", "t", Verdict::Known(credential("t"))).unwrap();
    assert_eq!(counted.0.load(Ordering::Relaxed), 1);
    let proof = Proof { user: "ann".to_owned(), roles: vec!["r".to_owned()], expires: None };
    assert_eq!(world.check("ann", "t"), Checked::Proven(proof));
    assert_eq!(world.cache.roles_of("ann"), Some(vec!["r".to_owned()]));
    assert_eq!(place.1.try_recv(), Err(oneshot::error::TryRecvError::Empty));
}

#[test]
fn a_wrong_token_is_remembered_and_does_not_stand_in_the_way_of_the_right_one() {
    let mut world = World::new(10);
    assert_eq!(world.word("ann", "wrong"), "ask");
    assert_eq!(world.word("ann", "right"), "ask", "it does not wait for the other");
    assert!(world.settle("ann", "wrong", Verdict::Refused).is_none());
    assert_eq!(world.word("ann", "wrong"), "unknown");
    assert_eq!(world.word("bob", "wrong"), "ask", "another user");
    let _place = world.settle("ann", "right", Verdict::Known(credential("right")));
    assert_eq!((world.word("ann", "right"), world.word("ann", "wrong")), ("proven", "unknown"));
    world.pass(6);
    assert_eq!((world.word("ann", "right"), world.word("ann", "wrong")), ("proven", "ask"));
}

#[test]
fn a_good_answer_for_another_token_proves_nothing() {
    let world = World::new(10);
    assert_eq!(world.word("ann", "mine"), "ask");
    assert!(world.settle("ann", "mine", Verdict::Known(credential("another"))).is_none());
    assert_eq!((world.word("ann", "mine"), world.word("ann", "another")), ("unknown", "ask"));
}

#[test]
fn a_failure_is_no_access_and_takes_nothing_from_who_is_known() {
    let mut world = World::new(10);
    let _place = world.admit("ann", "t");
    assert_eq!(world.word("bob", "t"), "ask");
    assert!(world.settle("bob", "t", Verdict::Failed).is_none());
    assert_eq!((world.word("bob", "t"), world.word("ann", "t")), ("unavailable", "proven"));
    assert_eq!(world.word("ann", "newer"), "ask");
    assert!(world.settle("ann", "newer", Verdict::Failed).is_none());
    assert_eq!((world.word("ann", "newer"), world.word("ann", "t")), ("unavailable", "proven"));
    world.pass(1);
    assert_eq!(world.word("bob", "t"), "ask", "it is tried again");
}

#[test]
fn credentials_end_when_they_expire() {
    let mut world = World::new(10);
    let until = |world: &World, seconds| {
        let expires = Some(world.now.wall + Duration::from_secs(seconds));
        Credential { expires, ..credential("t") }
    };
    assert_eq!(world.word("ann", "t"), "ask");
    assert!(world.settle("ann", "t", Verdict::Known(until(&world, 0))).is_none());
    assert_eq!(world.word("ann", "t"), "unknown", "it came too late");
    world.pass(6);
    assert_eq!(world.word("ann", "t"), "ask");
    let (place, _closed) = world.settle("ann", "t", Verdict::Known(until(&world, 10))).unwrap();
    world.pass(9);
    assert_eq!(world.word("ann", "t"), "proven");
    world.pass(1);
    assert_eq!(world.word("ann", "t"), "unknown");
    let longer = until(&world, 10);
    assert_eq!(world.cache.update("ann", place, longer), Update::Changed);
    assert_eq!(world.word("ann", "t"), "proven");
}

#[test]
fn an_update_takes_the_place_of_what_was_known() {
    let world = World::new(10);
    let (place, _closed) = world.admit("ann", "old");
    assert_eq!(world.word("ann", "new"), "ask");
    assert!(world.settle("ann", "new", Verdict::Refused).is_none());
    assert_eq!(world.cache.update("ann", place, credential("old")), Update::Same);
    assert_eq!(world.cache.update("ann", place, credential("new")), Update::Changed);
    assert_eq!((world.word("ann", "new"), world.word("ann", "old")), ("proven", "ask"));
    let roles = Credential { roles: Vec::new(), ..credential("new") };
    assert_eq!(world.cache.update("ann", place, roles.clone()), Update::Changed);
    assert_eq!(world.cache.update("ann", place, roles), Update::Same);
    assert_eq!(world.cache.roles_of("ann"), Some(Vec::new()));
}

#[test]
fn a_newer_place_closes_the_older_one() {
    let world = World::new(10);
    let (older, mut closed) = world.admit("ann", "old");
    let (newer, _closed) = world.admit("ann", "new");
    assert_eq!(closed.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    assert_eq!(world.cache.update("ann", older, credential("old")), Update::Gone);
    assert!(!world.cache.refuse("ann", older, world.now));
    assert_eq!(world.word("ann", "new"), "proven");
    assert!(world.cache.refuse("ann", newer, world.now));
    assert_eq!(world.word("ann", "new"), "unknown");
}

#[test]
fn a_user_that_was_removed_is_asked_for_again() {
    let mut world = World::new(10);
    let (_, mut closed) = world.admit("ann", "t");
    assert_eq!(world.word("ann", "other"), "ask");
    assert!(world.cache.remove("ann"));
    assert_eq!(closed.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    assert!(world.settle("ann", "other", Verdict::Known(credential("other"))).is_none());
    assert_eq!(world.word("ann", "other"), "unavailable", "that answer was from before");
    world.pass(1);
    assert_eq!((world.word("ann", "other"), world.word("ann", "t")), ("ask", "ask"));
    assert!(!world.cache.remove("ann"));
}

#[test]
fn a_user_is_forgotten_only_after_everybody_was_asked() {
    let mut world = World::new(10);
    let _ann = world.admit("ann", "t");
    let (_, mut bob) = world.admit("bob", "t");
    world.pass(299);
    assert!(!world.cache.sweep(world.now));
    world.pass(1);
    assert!(world.cache.sweep(world.now), "who uses them?");
    assert_eq!(world.word("ann", "t"), "proven");
    assert!(!world.cache.sweep(world.now));
    assert_eq!(bob.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    assert_eq!((world.word("ann", "t"), world.word("bob", "t")), ("proven", "ask"));
    world.pass(300);
    assert!(world.cache.sweep(world.now), "ann is doubted like at first");
    assert!(!world.cache.sweep(world.now));
    assert_eq!(world.word("ann", "t"), "ask");
}

#[test]
fn wrong_tokens_keep_nobody_in_use() {
    let mut world = World::new(10);
    let _ann = world.admit("ann", "t");
    world.pass(300);
    assert_eq!(world.word("ann", "wrong"), "ask");
    assert!(world.cache.sweep(world.now));
    assert_eq!(world.word("ann", "wrong"), "pending");
    assert!(!world.cache.sweep(world.now));
    assert_eq!(world.cache.roles_of("ann"), None);
}

#[test]
fn the_longest_unused_user_makes_room_for_another() {
    let mut world = World::new(2);
    let (_, mut ann) = world.admit("ann", "t");
    world.pass(1);
    let _bob = world.admit("bob", "t");
    world.pass(1);
    assert_eq!(world.word("ann", "t"), "proven");
    let _eve = world.admit("eve", "t");
    assert_eq!((world.word("ann", "t"), world.word("bob", "t")), ("proven", "ask"));
    assert_eq!(ann.try_recv(), Err(oneshot::error::TryRecvError::Empty));
    assert!(world.cache.sweep(world.now), "bob may have been in use");
    assert!(!world.cache.sweep(world.now));
}

#[test]
fn users_and_refusals_are_bounded_apart() {
    let mut world = World::new(100);
    let _places: Vec<Placed> = (0..100).map(|n| world.admit(&format!("u{n}"), "t")).collect();
    for number in 0..1000 {
        let name = format!("stranger{number}");
        assert_eq!(world.word(&name, "t"), "ask");
        assert!(world.settle(&name, "t", Verdict::Refused).is_none());
        assert!(world.cache.0.state.lock().answers.len() <= 100);
    }
    assert!((0..100).all(|number| world.word(&format!("u{number}"), "t") == "proven"));
    world.pass(1);
    let _more: Vec<Placed> = (0..1000).map(|n| world.admit(&format!("v{n}"), "t")).collect();
    assert!(world.cache.0.state.lock().users.len() <= 100);
}

#[test]
fn questions_are_bounded_in_all_and_for_each_user() {
    let world = World::new(10);
    for number in 0..QUESTIONS_PER_USER_MAX {
        assert_eq!(world.word("ann", &number.to_string()), "ask");
    }
    assert_eq!(world.word("ann", "more"), "unavailable");
    assert_eq!(world.word("ann", "0"), "pending");
    for number in QUESTIONS_PER_USER_MAX..QUESTIONS_MAX {
        assert_eq!(world.word(&number.to_string(), "t"), "ask");
    }
    assert_eq!(world.word("bob", "t"), "unavailable");
    assert!(world.settle("ann", "0", Verdict::Refused).is_none());
    assert_eq!(world.word("bob", "t"), "ask");
}

#[test]
fn who_waits_for_one_question_is_bounded() {
    let world = World::new(10);
    let wait = || {
        let waiter = Waker::from(Arc::new(Counted::default()));
        world.cache.check("ann", &sha256("t"), &waiter, world.now)
    };
    assert!(matches!(wait(), Checked::Ask(_)));
    assert!((1..WAITERS_MAX).all(|_| wait() == Checked::Pending));
    assert_eq!(wait(), Checked::Unavailable);
}

#[test]
fn a_key_is_of_the_user_and_the_token() {
    let key = |user: &str, token: &str| Key::new(user, &sha256(token));
    assert_eq!(key("ann", "t"), key("ann", "t"));
    assert!(key("ann", "t") != key("ann", "u") && key("ann", "t") != key("bob", "t"));
    assert!(key("an", "nt") != key("ann", "t"));
}
