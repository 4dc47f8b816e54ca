//! Metrics: what a broker measures of itself, kept so that measuring costs next to nothing.
//!
//! What each request moves is counted in [`Lanes`], one for each thread, and once for a run of
//! equal answers. What takes a clock is sampled, or belongs to work that takes microseconds anyway.
//! The clock is the world's and may be missing; then nothing is timed. Nothing here locks or
//! allocates after the start, and nothing here knows how a metric is written down.

mod histogram;
mod lanes;
mod mailbox;
mod requests;

use std::sync::OnceLock;
use std::time::Duration;

pub use histogram::{Histogram, Reading};
pub use lanes::Lanes;
pub use mailbox::{Mailbox, Posted};
pub use requests::Requests;

use crate::protocol::Verb;

/// One request in so many of a session has its time taken.
pub const REQUESTS_PER_SAMPLE: u64 = 64;

/// One letter in so many to resources has its wait taken.
pub const LETTERS_PER_SAMPLE: u64 = 64;

/// Bounds of the times of requests and of waits, in nanoseconds: from what is done at once to what
/// a client no longer waits for.
const TIMES: &[u64] = &[
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    100_000_000,
    500_000_000,
    2_500_000_000,
];

/// See the module's text.
pub struct Metrics {
    clock: OnceLock<fn() -> Duration>,
    /// Answers that were sent on their way.
    pub requests: Requests,
    /// From the arrival of a request to its answer being sent on its way, by verb.
    durations: Vec<Histogram>,
    /// Letters to the directory.
    pub directory: Mailbox,
    /// Letters to the supervisor.
    pub supervisor: Mailbox,
    /// Letters to resources.
    pub resources: Mailbox,
    /// Messages of sessions that wait for requests before them.
    pub sessions: Mailbox,
    /// Actors of resources that were started.
    pub actors_started: Lanes,
    /// Those of them that have ended.
    pub actors_ended: Lanes,
    /// Values that left memory for the store.
    pub went_away: Lanes,
    /// Those of them that are back, or are no more.
    pub came_back: Lanes,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            clock: OnceLock::new(),
            requests: Requests::default(),
            durations: (0..requests::VERBS).map(|_| Histogram::new(TIMES)).collect(),
            directory: Mailbox::new(TIMES),
            supervisor: Mailbox::new(TIMES),
            resources: Mailbox::new(TIMES),
            sessions: Mailbox::new(TIMES),
            actors_started: Lanes::default(),
            actors_ended: Lanes::default(),
            went_away: Lanes::default(),
            came_back: Lanes::default(),
        }
    }
}

impl Metrics {
    /// Says what tells the time: how much of it has passed since some moment, never less than
    /// before. Only the first call counts.
    pub fn time_by(&self, clock: fn() -> Duration) {
        let _ = self.clock.set(clock);
    }

    /// The time, if anything tells it.
    pub fn now(&self) -> Option<Duration> {
        self.clock.get().map(|clock| clock())
    }

    /// How long requests of a verb took; `None` for what asked for no verb that there is.
    pub fn duration(&self, verb: Option<Verb>) -> Option<&Histogram> {
        self.durations.get(requests::row(verb))
    }

    /// Puts a letter down for somebody, with the time.
    pub fn post(&self, mailbox: &Mailbox) -> Posted {
        mailbox.post(self.now())
    }

    /// Takes note of a letter to a resource; one in many has the time with it.
    pub fn post_to_resource(&self) -> Posted {
        let is_sample = self.resources.sent().is_multiple_of(LETTERS_PER_SAMPLE);
        let now = if is_sample { self.now() } else { None };
        self.resources.post(now)
    }

    /// Takes note that a letter is taken up.
    pub fn take(&self, mailbox: &Mailbox, posted: Posted) {
        mailbox.take(posted, || self.now());
    }

    /// Resources that have an actor.
    pub fn active_resources(&self) -> u64 {
        let started = self.actors_started.get();
        started.saturating_sub(self.actors_ended.get())
    }

    /// Resources whose value is in the store only.
    pub fn away_resources(&self) -> u64 {
        let away = self.went_away.get();
        away.saturating_sub(self.came_back.get())
    }
}
