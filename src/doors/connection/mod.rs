//! Connections: the actor of one connection that drives its socket itself, whatever the framing.
//!
//! Each poll of the actor is one [`Connection::drive`]: write what the socket did not take before,
//! read what the session has room for, let it work, say what it has. Reading goes through memory
//! of the thread, and so does writing, so a quiet connection owns no buffer. One turn reads and
//! writes a bounded number of bytes; then others on the thread have theirs. What connections have
//! to say is sent in rounds (`output`), by a task of the thread that is woken behind them.

pub mod deadlines;
mod output;
mod rounds;
mod wire;

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix::{Actor, ActorContext, ActorState};
use actix_web::rt::time::{Sleep, sleep};
use fanal_actors::{Bare, Session, guarded};
use tokio::io::ReadBuf;

use super::Door;
use super::admission::Admission;
use super::close::CloseReason;
use super::framing::{Framing, Incoming};
use super::transport::Transport;
use crate::clock::{Clock, Instant, Moment};
use deadlines::{Deadlines, Due, Look};
use output::Output;
use rounds::{SCRATCH, Scratch};
use wire::Wire;

/// Pause before a request that found a full mailbox is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(1);

/// How often a closing connection is looked at, and how long it has to be quiet to be ended.
const LINGER_TICK: Duration = Duration::from_millis(50);
const LINGER_QUIET: Duration = Duration::from_millis(250);

/// User names in the log are cut here.
const LOGGED_USER_CHARS: usize = 64;

/// The actor of one connection.
pub struct Connection<T, F> {
    wire: Rc<RefCell<Wire<T>>>,
    framing: F,
    session: Session,
    door: Arc<Door>,
    admission: Admission,
    opened: Moment,
    /// Bytes that were read and for which the session had no room.
    unread: Box<[u8]>,
    /// Reading ended for want of room. What there is to read wakes nobody then, so whoever finds
    /// room again has to.
    held_back: bool,
    /// A pong waits on the wire; nothing is read until it is gone, or pongs would pile up.
    pong_waits: bool,
    deadlines: Deadlines,
    retry: Option<Pin<Box<Sleep>>>,
    state: State,
}

enum State {
    Open,
    /// Nothing more is read, for this reason; what came before is still to be carried out.
    Leaving(Box<Ending>),
    /// Nothing more is said after what is on its way; the end follows once the peer knows.
    Closing(Box<Ending>),
    Ended(Box<CloseReason>),
}

struct Ending {
    reason: CloseReason,
    began: Instant,
    /// When anything came the last time.
    heard: Instant,
}

/// What a socket gave.
enum Read {
    Nothing,
    End,
    Bytes(usize),
}

impl<T: Transport, F: Framing> Connection<T, F> {
    /// Starts the actor of a connection on this thread. `received` came with what opened it.
    pub fn launch(
        io: T,
        framing: F,
        session: Session,
        door: &Arc<Door>,
        admission: Admission,
        received: &[u8],
    ) {
        let connection = Connection {
            wire: Rc::new(RefCell::new(Wire::new(io))),
            framing,
            session,
            door: Arc::clone(door),
            admission,
            opened: Moment::now(),
            unread: Box::from(received),
            held_back: false,
            pong_waits: false,
            deadlines: Deadlines::new(&door.settings, F::PINGS),
            retry: None,
            state: State::Open,
        };
        let context = Bare::new();
        rounds::provide_sender();
        actix_web::rt::spawn(Run { connection, context });
    }

    /// One poll. Returns whether the connection has ended.
    fn drive(&mut self, scratch: &mut Scratch, task: &mut Context<'_>) -> bool {
        self.write_unsent();
        if matches!(self.state, State::Open) {
            self.read(scratch, task);
        }
        if matches!(self.state, State::Open | State::Leaving(_)) {
            self.turn(&mut scratch.output, task);
        }
        self.meet_deadlines(&mut scratch.output, task);
        if matches!(self.state, State::Closing(_)) {
            self.linger(scratch, task);
        }
        matches!(self.state, State::Ended(_))
    }

    /// Writes what the socket did not take before.
    fn write_unsent(&mut self) {
        let mut wire = self.wire.borrow_mut();
        let blocked = !wire.is_empty();
        let outcome = wire.write();
        let is_empty = wire.is_empty();
        drop(wire);
        match outcome {
            Err(_) => self.state = State::Ended(Box::new(self.reason_or(CloseReason::Broken))),
            Ok(_) if is_empty => {
                if blocked {
                    self.deadlines.unblocked();
                    self.pong_waits = false;
                }
            }
            Ok(progress) => self.deadlines.blocked(&self.door.settings, progress),
        }
    }

    /// Whether the socket took everything that was sent.
    fn is_sent(&self) -> bool {
        self.wire.borrow().is_empty()
    }

    /// Ends what this connection has to say. It is sent with what others say; at once where the
    /// connection is at its end, and so has to know what became of it.
    fn finish(&mut self, output: &mut Output) {
        let said = output.finish(&self.wire);
        if output.is_full() || (said && !matches!(self.state, State::Open)) {
            output.send();
        }
        if !matches!(self.state, State::Open | State::Ended(_)) {
            self.write_unsent();
        }
    }

    /// The reason for which the connection is ending already, else this one.
    fn reason_or(&self, reason: CloseReason) -> CloseReason {
        match &self.state {
            State::Closing(ending) => ending.reason.clone(),
            _ => reason,
        }
    }

    /// Reads while the session has room, up to a turn's worth of bytes.
    fn read(&mut self, scratch: &mut Scratch, task: &mut Context<'_>) {
        let Scratch { input, output } = scratch;
        let bytes_max = self.door.settings.read_buffer_bytes.get();
        input.resize(bytes_max.max(self.unread.len()), 0);
        let mut taken = 0;
        self.held_back = false;
        while matches!(self.state, State::Open) {
            if !self.may_read() {
                self.held_back = true;
                return;
            }
            if taken >= bytes_max {
                // There may be more; others have their turn first.
                return task.waker().wake_by_ref();
            }
            let count = match self.read_some(input, task) {
                Read::Nothing => return,
                Read::Bytes(count) => count,
                Read::End => return self.leave(CloseReason::Broken),
            };
            taken += count;
            self.deadlines.heard();
            self.take(input.get_mut(..count).unwrap_or_default(), output);
        }
    }

    /// Whether there is room for what a message would lead to.
    fn may_read(&mut self) -> bool {
        self.session.room() > 0 && (!self.pong_waits || self.is_sent())
    }

    /// Bytes that are there already, or else from the socket.
    fn read_some(&mut self, input: &mut [u8], task: &mut Context<'_>) -> Read {
        if !self.unread.is_empty() {
            let unread = std::mem::take(&mut self.unread);
            if let Some(place) = input.get_mut(..unread.len()) {
                place.copy_from_slice(&unread);
            }
            return Read::Bytes(unread.len());
        }
        let mut buffer = ReadBuf::new(input);
        match Pin::new(self.wire.borrow_mut().io()).poll_read(task, &mut buffer) {
            Poll::Pending => Read::Nothing,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                Read::Bytes(buffer.filled().len())
            }
            Poll::Ready(_) => Read::End,
        }
    }

    /// Hands the messages in these bytes to the session while it has room.
    fn take(&mut self, bytes: &mut [u8], output: &mut Output) {
        let mut rest = bytes;
        loop {
            if !self.may_read() && !rest.is_empty() {
                self.unread = Box::from(&*rest);
                return;
            }
            let is_all = rest.is_empty();
            let (taken, incoming) = match self.framing.decode(rest) {
                Ok(decoded) => decoded,
                Err(fault) => return self.leave(fault),
            };
            match incoming {
                None if is_all => return,
                None | Some(Incoming::Pong) => {}
                Some(Incoming::Message(message)) => {
                    let session = &mut self.session;
                    let counters = self.door.broker.counters();
                    if guarded(counters, "session", || session.receive(message)).is_none() {
                        return self.leave(CloseReason::InternalError);
                    }
                }
                Some(Incoming::Ping(payload)) if self.wire.borrow().is_empty() => {
                    F::pong(payload, output.signs());
                }
                Some(Incoming::Ping(payload)) => {
                    let mut pong = Vec::new();
                    F::pong(payload, &mut pong);
                    self.wire.borrow_mut().push(&pong);
                    self.pong_waits = true;
                }
                Some(Incoming::Close(code)) => return self.leave(CloseReason::Client(code)),
            }
            rest = rest.get_mut(taken..).unwrap_or_default();
        }
    }

    fn leave(&mut self, reason: CloseReason) {
        let now = Clock::now();
        self.state = State::Leaving(Box::new(Ending { reason, began: now, heard: now }));
    }

    /// Lets the session begin what waits, and writes what it has.
    fn turn(&mut self, output: &mut Output, task: &mut Context<'_>) {
        let blocked = !self.is_sent();
        let budget = if blocked { 0 } else { self.door.settings.write_buffer_bytes.get() };
        let session = &mut self.session;
        let turn = guarded(self.door.broker.counters(), "session", || {
            session.turn(budget, task.waker(), |message| output.push::<F>(message))
        });
        let Some(turn) = turn else {
            output.forget();
            return self.close(CloseReason::InternalError, output);
        };
        self.finish(output);
        let more = turn.more && self.is_sent();
        if more || (self.held_back && self.may_read()) {
            task.waker().wake_by_ref();
        }
        self.retry = if turn.retry { Some(Box::pin(sleep(RETRY_PAUSE))) } else { None };
        if let Some(retry) = &mut self.retry
            && retry.as_mut().poll(task).is_ready()
        {
            task.waker().wake_by_ref();
        }
        let only_wrong = self.deadlines.judge_wrong(&self.door.settings, self.session.wrong());
        if only_wrong && matches!(self.state, State::Open) {
            self.leave(CloseReason::OnlyWrong);
        }
        if let State::Leaving(ending) = &self.state {
            // Whoever leaves gets the answers to what came before.
            let waited = Clock::now().saturating_duration_since(ending.began);
            if (turn.done && self.is_sent()) || waited > self.door.settings.close_timeout {
                let reason = ending.reason.clone();
                self.close(reason, output);
            } else {
                self.deadlines.linger(LINGER_TICK);
            }
        } else if let Some(ending) = turn.ending {
            self.close(ending.into(), output);
        }
    }

    fn meet_deadlines(&mut self, output: &mut Output, task: &mut Context<'_>) {
        let held_back = !self.may_read();
        let session = &self.session;
        let look = || Look {
            proven: session.is_proven(),
            has_streams: session.has_streams(),
            requests: session.requests(),
            held_back,
        };
        match self.deadlines.poll(&self.door.settings, look, task) {
            Some(Due::Ping) if self.is_sent() => {
                F::ping(output.signs());
                self.finish(output);
                self.deadlines.pinged(&self.door.settings);
            }
            Some(Due::Close(CloseReason::Stalled)) => {
                self.state = State::Ended(Box::new(self.reason_or(CloseReason::Stalled)));
            }
            Some(Due::Close(reason)) => self.close(reason, output),
            Some(Due::Ping) | None => {}
        }
    }

    /// Says why, and begins to wait for the peer to end the connection.
    fn close(&mut self, reason: CloseReason, output: &mut Output) {
        if matches!(self.state, State::Closing(_) | State::Ended(_)) {
            return;
        }
        let now = Clock::now();
        F::close(&reason, output.signs());
        self.state = State::Closing(Box::new(Ending { reason, began: now, heard: now }));
        if self.is_sent() {
            self.finish(output);
        } else {
            self.wire.borrow_mut().push(output.said());
            output.forget();
        }
    }

    /// Ends the connection once everything is sent and the peer has closed its side, or has been
    /// quiet for a while: what it had on the way has come, and cannot reset the connection under
    /// the last words any more.
    fn linger(&mut self, scratch: &mut Scratch, task: &mut Context<'_>) {
        let now = Clock::now();
        let mut gone = false;
        let mut heard = false;
        // What comes now is thrown away.
        for _ in 0..LINGER_READS {
            match self.read_some(&mut scratch.input, task) {
                Read::Nothing => break,
                Read::Bytes(_) => heard = true,
                Read::End => {
                    gone = true;
                    break;
                }
            }
        }
        let sent = self.is_sent();
        let State::Closing(ending) = &mut self.state else { return };
        if heard {
            ending.heard = now;
        }
        let by_client = matches!(ending.reason, CloseReason::Client(_) | CloseReason::Broken);
        let quiet = now.saturating_duration_since(ending.heard) > LINGER_QUIET;
        let late = now.saturating_duration_since(ending.began) > self.door.settings.close_timeout;
        if late || (gone && (sent || !by_client)) || (sent && (by_client || quiet)) {
            self.wire.borrow_mut().shut_down();
            self.state = State::Ended(Box::new(ending.reason.clone()));
        } else {
            self.deadlines.linger(LINGER_TICK);
            self.meet_deadlines(&mut scratch.output, task);
        }
    }
}

/// Reads of one turn from a connection that is being closed.
const LINGER_READS: usize = 4;

impl<T: Transport, F: Framing> Actor for Connection<T, F> {
    type Context = Bare;

    fn started(&mut self, _: &mut Self::Context) {
        let session = self.session.number();
        log::info!(session; "session {session} opened from {}", self.admission);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let Self { state, session, admission, .. } = self;
        let reason = match &*state {
            State::Ended(reason) => reason.as_ref(),
            State::Leaving(ending) | State::Closing(ending) => &ending.reason,
            State::Open => &CloseReason::Broken,
        };
        reason.count(self.door.broker.counters());
        end(session, reason, admission, self.opened);
    }
}

/// Ends a session, frees its place, and then writes the line about it.
pub fn end(session: &mut Session, reason: &CloseReason, from: &mut Admission, opened: Moment) {
    let summary = session.summary();
    session.end();
    from.release();
    if !log::log_enabled!(log::Level::Info) {
        return;
    }
    let lasted = Moment::now().since(opened);
    let user: String = match &summary.user {
        None => "nobody".into(),
        Some(user) => user.chars().take(LOGGED_USER_CHARS).flat_map(char::escape_debug).collect(),
    };
    log::info!(
        session = session.number();
        "session {} closed: {}; user {user} from {from}, {} requests, {} streams, \
         {} updates skipped, {:.1} s",
        session.number(),
        reason.describe(),
        summary.requests,
        summary.streams,
        summary.skipped,
        lasted.as_secs_f64(),
    );
}

/// A connection as a task of its thread. Its context has no mailbox, because nothing is ever sent
/// to a connection: what it has to say to its client is in its outbox, and what it waits for is
/// the socket, the outbox or a deadline. That saves a fifth of our time for an update, and a
/// quarter of a KiB.
struct Run<T: Transport, F: Framing> {
    connection: Connection<T, F>,
    context: Bare,
}

impl<T: Transport, F: Framing> Future for Run<T, F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        let Run { connection, context } = self.get_mut();
        if context.begin() {
            connection.wire.borrow_mut().connect(task.waker());
            connection.started(context);
        }
        if SCRATCH.with_borrow_mut(|scratch| connection.drive(scratch, task)) {
            context.stop();
        }
        if context.state() == ActorState::Running {
            return Poll::Pending;
        }
        context.terminate();
        connection.stopped(context);
        Poll::Ready(())
    }
}
