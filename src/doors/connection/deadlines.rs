//! Deadlines: the times by which a connection has to have done something.
//!
//! One timer serves them all. It is set to the next one and only looked at when it fires, so what
//! happens in between costs a store, not a look at the clock.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use actix_web::rt::time::{Instant as TimerInstant, Sleep, sleep_until};
use fanal_actors::WrongRequests;

use crate::clock::{Clock, Moment};
use crate::doors::DoorSettings;
use crate::doors::close::CloseReason;

/// When what is due, and the timer.
pub struct Deadlines {
    timer: Pin<Box<Sleep>>,
    /// The timer's time.
    wakes: Moment,
    /// The timer has to be polled before it can wake anybody.
    unpolled: bool,
    /// A deadline was added since the timer was set.
    added: bool,
    ping: Option<Moment>,
    /// An answer to the ping that was written, or anything else, has to come until then.
    pong: Option<Moment>,
    /// The socket has to take something until then.
    stall: Option<Moment>,
    /// A request with good credentials has to come until then.
    proof: Option<Moment>,
    idle: Option<Moment>,
    /// Requests at the last look.
    requests: u64,
    /// There were streams at the last look.
    had_streams: bool,
    /// Wrong requests at the last look.
    wrong: WrongRequests,
    /// Since when all requests were wrong.
    wrong_since: Option<Moment>,
    /// When a connection that is being closed is looked at again.
    linger: Option<Moment>,
}

/// What a connection looks like when something is due.
pub struct Look {
    /// A request with good credentials came.
    pub proven: bool,
    /// There are streams.
    pub has_streams: bool,
    /// Requests so far.
    pub requests: u64,
    /// The session has no room for more, so nothing is read.
    pub held_back: bool,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// Send a ping.
    Ping,
    /// Close the connection.
    Close(CloseReason),
}

/// A time after now; none for a zero duration, which switches a deadline off.
fn after(now: Moment, time: Duration) -> Option<Moment> {
    if time.is_zero() { None } else { Some(now.after(time)) }
}

impl Deadlines {
    /// The deadlines of a new connection.
    pub fn new(settings: &DoorSettings, pings: bool) -> Self {
        let now = Moment::now();
        let mut deadlines = Deadlines {
            timer: Box::pin(sleep_until(TimerInstant::from_std(Clock::now()))),
            wakes: now,
            unpolled: true,
            added: false,
            ping: if pings { after(now, settings.ping_interval.get()) } else { None },
            pong: None,
            stall: None,
            proof: after(now, settings.first_request_timeout),
            idle: after(now, settings.idle_timeout.get()),
            requests: 0,
            had_streams: false,
            wrong: WrongRequests::default(),
            wrong_since: None,
            linger: None,
        };
        deadlines.set_timer(now);
        deadlines
    }

    /// Something came from the client.
    pub fn heard(&mut self) {
        self.pong = None;
    }

    /// A ping was written.
    pub fn pinged(&mut self, settings: &DoorSettings) {
        if self.pong.is_none() {
            self.pong = after(Moment::now(), settings.pong_timeout.get());
            self.added = true;
        }
    }

    /// The socket takes nothing at the moment; `progress` if it just took something.
    pub fn blocked(&mut self, settings: &DoorSettings, progress: bool) {
        if progress || self.stall.is_none() {
            self.stall = after(Moment::now(), settings.stall_timeout.get());
            self.added = true;
        }
    }

    /// The socket took everything.
    pub fn unblocked(&mut self) {
        self.stall = None;
    }

    /// Whether all requests were wrong for too long or too often. Only a further wrong request is
    /// a reason: who sent some and has been quiet since is not judged again.
    pub fn judge_wrong(&mut self, settings: &DoorSettings, wrong: WrongRequests) -> bool {
        let before = std::mem::replace(&mut self.wrong, wrong);
        if wrong.row != before.row {
            self.wrong_since = None;
        }
        if wrong == before || wrong.in_a_row == 0 {
            return false;
        }
        let now = Moment::now();
        let since = *self.wrong_since.get_or_insert(now);
        let timeout = settings.wrong_requests_timeout.get();
        let lasted = now.since(since);
        (!timeout.is_zero() && lasted > timeout)
            || (settings.wrong_requests_max.get() > 0
                && wrong.in_a_row >= settings.wrong_requests_max.get())
    }

    /// Nothing but the end is due any more; it is looked at again after `time`.
    pub fn linger(&mut self, time: Duration) {
        (self.ping, self.pong, self.proof, self.idle) = (None, None, None, None);
        self.linger = after(Moment::now(), time);
        self.added = true;
    }

    /// What is due, if the timer has fired.
    pub fn poll(
        &mut self,
        settings: &DoorSettings,
        look: impl FnOnce() -> Look,
        task: &mut Context<'_>,
    ) -> Option<Due> {
        let mut due = None;
        if self.timer.is_elapsed() {
            let now = Moment::now();
            due = self.due(settings, now, &look());
            self.set_timer(now);
        } else if std::mem::take(&mut self.added)
            && self.next().is_some_and(|next| next < self.wakes)
        {
            self.set_timer(Moment::now());
        }
        if std::mem::take(&mut self.unpolled) && self.timer.as_mut().poll(task).is_ready() {
            // Its time came while it was set: looked at in the next turn.
            task.waker().wake_by_ref();
        }
        due
    }

    fn due(&mut self, settings: &DoorSettings, now: Moment, look: &Look) -> Option<Due> {
        let is_due = |deadline: Option<Moment>| deadline.is_some_and(|deadline| deadline <= now);
        let mut due = None;
        if is_due(self.linger) {
            self.linger = None;
        }
        if is_due(self.ping) {
            self.ping = after(now, settings.ping_interval.get());
            due = Some(Due::Ping);
        }
        if is_due(self.idle) {
            self.idle = after(now, settings.idle_timeout.get());
            // Streams that were there at the last look may have ended a moment ago.
            let had_streams = std::mem::replace(&mut self.had_streams, look.has_streams);
            if !look.has_streams && !had_streams && self.requests == look.requests {
                due = Some(Due::Close(CloseReason::Idle));
            }
            self.requests = look.requests;
        }
        if is_due(self.proof) {
            self.proof = None;
            if !look.proven {
                due = Some(Due::Close(CloseReason::Unproven));
            }
        }
        if is_due(self.pong) {
            // What is not read cannot be heard.
            self.pong = if look.held_back { after(now, settings.pong_timeout.get()) } else { None };
            if !look.held_back {
                due = Some(Due::Close(CloseReason::Unresponsive));
            }
        }
        if is_due(self.stall) {
            self.stall = None;
            due = Some(Due::Close(CloseReason::Stalled));
        }
        due
    }

    fn next(&self) -> Option<Moment> {
        let all = [self.ping, self.pong, self.stall, self.proof, self.idle, self.linger];
        all.into_iter().flatten().min()
    }

    /// Sets the timer to the next deadline, or far away.
    fn set_timer(&mut self, now: Moment) {
        const FAR: Duration = Duration::from_secs(24 * 3600);
        self.wakes = self.next().unwrap_or(now.after(FAR));
        self.timer.as_mut().reset(TimerInstant::from_std(self.wakes.instant()));
        self.unpolled = true;
    }
}
