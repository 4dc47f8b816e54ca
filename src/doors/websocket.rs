//! The WebSocket door: a session on `actix_web_actors::ws`.
//!
//! The actor of the connection is here, because its context is that of the transport; the session
//! that it drives is the same for every door. The HTTP dispatcher polls the actor when the socket
//! takes more, or something came, or a waker was called; each poll is one
//! [`WebsocketSession::drive`].

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFuture, AsyncContext, StreamHandler};
use actix_web::error::PayloadError;
use actix_web::rt::time::{Instant as TimerInstant, Interval, Sleep, interval, interval_at, sleep};
use actix_web::web::{Bytes, BytesMut, Payload};
use actix_web::{HttpRequest, HttpResponse};
use actix_web_actors::ws;
use fanal_actors::{Session, encode_response, guarded};
use futures_core::Stream;

use super::Door;
use super::close::CloseReason;
use super::frames::{FrameReader, Incoming};
use super::origin::client_address;
use crate::clock::{Clock, Instant};

/// Frames that are read before what they led to is written.
const FRAMES_PER_TURN: usize = 64;

/// Pause before a request that found a full mailbox is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(1);

/// How often a closing connection is looked at, and how long it has to be quiet to be ended.
const LINGER_TICK: Duration = Duration::from_millis(50);
const LINGER_QUIET: Duration = Duration::from_millis(250);

/// User names in the log are cut here.
const LOGGED_USER_CHARS: usize = 64;

thread_local! {
    /// Memory that messages are encoded into, handed out piece by piece.
    static SCRATCH: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// The actor of one WebSocket connection.
pub struct WebsocketSession {
    session: Session,
    door: Door,
    reader: FrameReader<Payload>,
    address: String,
    opened: Instant,
    /// When anything came, or could have come, the last time.
    heard: Instant,
    /// When the actor was polled the last time, and whether it wrote then.
    polled: Instant,
    wrote: bool,
    ping: Interval,
    retry: Option<Pin<Box<Sleep>>>,
    /// Nothing more is read, for this reason; what came before is still to be carried out.
    leaving: Option<(CloseReason, Instant)>,
    /// Set once the connection is to end; nothing is written after the close frame.
    closing: Option<Closing>,
}

/// A connection that is about to end.
struct Closing {
    reason: CloseReason,
    began: Instant,
    look: Interval,
}

type SessionContext = ws::WebsocketContext<WebsocketSession>;

impl WebsocketSession {
    /// Answers the upgrade of a request and starts the session.
    ///
    /// # Errors
    /// If the request is no good upgrade.
    pub fn start(
        door: &Door,
        session: Session,
        request: &HttpRequest,
        payload: Payload,
    ) -> Result<HttpResponse, actix_web::Error> {
        let settings = &door.settings;
        let now = Clock::now();
        let period = settings.ping_interval;
        let actor = WebsocketSession {
            session,
            door: door.clone(),
            reader: FrameReader::new(payload, settings.message_bytes_max),
            address: client_address(request, settings),
            opened: now,
            heard: now,
            polled: now,
            wrote: false,
            ping: interval_at(TimerInstant::now() + period, period),
            retry: None,
            leaving: None,
            closing: None,
        };
        // The context's own reader would read ahead of the session, so it is given nothing.
        ws::WsResponseBuilder::new(actor, request, NothingToRead).start()
    }

    /// One poll: reads what the session has room for, lets it work, writes what it has.
    fn drive(&mut self, context: &mut SessionContext, task: &mut Context<'_>) {
        let now = Clock::now();
        self.excuse_silence(now);
        if self.closing.is_none() && self.leaving.is_none() {
            self.read(now, context, task);
        }
        if self.closing.is_none() {
            let held_back = self.session.room() == 0;
            if held_back {
                self.heard = now;
            }
            let more = self.turn(context, task);
            if held_back && self.session.room() > 0 {
                task.waker().wake_by_ref();
            }
            self.leave(now, more, context, task);
        }
        if self.closing.is_none() && self.ping.poll_tick(task).is_ready() {
            task.waker().wake_by_ref();
            self.ping(now, context, task);
        }
        if self.closing.is_some() {
            self.linger(now, context, task);
        }
    }

    /// Does not count a silence against the client that was not the client's: nothing is read while
    /// the socket takes nothing, or while this thread has no time.
    fn excuse_silence(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.polled);
        let waited = if self.wrote { Duration::ZERO } else { self.door.settings.ping_interval };
        self.heard = now.min(self.heard + gap.saturating_sub(waited));
        self.polled = now;
        self.wrote = false;
    }

    /// Ends the connection if the client wants to, once what it sent before is carried out and
    /// answered.
    fn leave(
        &mut self,
        now: Instant,
        more: bool,
        context: &mut SessionContext,
        task: &mut Context<'_>,
    ) {
        let Some((_, since)) = &self.leaving else { return };
        let waited = now.saturating_duration_since(*since);
        let done = !more && self.session.is_idle();
        if (done || waited > self.door.settings.close_timeout)
            && let Some((reason, _)) = self.leaving.take()
        {
            self.close(reason, context, task);
        }
    }

    /// Reads messages while the session has room for them.
    fn read(&mut self, now: Instant, context: &mut SessionContext, task: &mut Context<'_>) {
        let mut taken_bytes = 0;
        for _ in 0..FRAMES_PER_TURN {
            if self.session.room() == 0 || self.closing.is_some() {
                return;
            }
            if taken_bytes > self.door.settings.read_buffer_bytes {
                break;
            }
            let incoming = self.reader.poll_next(task, &mut taken_bytes);
            if taken_bytes > 0 || incoming.is_ready() {
                self.heard = now;
            }
            let reason = match incoming {
                Poll::Pending => return,
                Poll::Ready(Incoming::Message(message)) => {
                    self.receive(message, context, task);
                    continue;
                }
                Poll::Ready(Incoming::Ping(bytes)) => {
                    context.pong(&bytes);
                    self.wrote = true;
                    continue;
                }
                Poll::Ready(Incoming::Pong) => continue,
                Poll::Ready(Incoming::Close(code)) => CloseReason::Client(code),
                Poll::Ready(Incoming::Fault(fault)) => fault,
                Poll::Ready(Incoming::End) => CloseReason::Broken,
            };
            self.leaving = Some((reason, now));
            return;
        }
        // There may be more; others have their turn first.
        task.waker().wake_by_ref();
    }

    fn receive(&mut self, message: Bytes, context: &mut SessionContext, task: &mut Context<'_>) {
        let session = &mut self.session;
        let counters = self.door.broker.counters();
        if guarded(counters, "session", || session.receive(message)).is_none() {
            self.close(CloseReason::InternalError, context, task);
        }
    }

    /// Lets the session begin what waits, and writes what it has. Returns whether it has more.
    fn turn(&mut self, context: &mut SessionContext, task: &mut Context<'_>) -> bool {
        let session = &mut self.session;
        let mut wrote = false;
        let turn = guarded(self.door.broker.counters(), "session", || {
            session.turn(task.waker(), |response| {
                let bytes = SCRATCH.with_borrow_mut(|scratch| {
                    encode_response(response, scratch);
                    scratch.split().freeze()
                });
                context.binary(bytes);
                wrote = true;
            })
        });
        self.wrote |= wrote;
        let Some(turn) = turn else {
            self.close(CloseReason::InternalError, context, task);
            return false;
        };
        if turn.more {
            task.waker().wake_by_ref();
        }
        self.retry = if turn.retry { Some(Box::pin(sleep(RETRY_PAUSE))) } else { None };
        if let Some(retry) = &mut self.retry
            && retry.as_mut().poll(task).is_ready()
        {
            task.waker().wake_by_ref();
        }
        if let Some(ending) = turn.ending {
            self.close(ending.into(), context, task);
        }
        turn.more
    }

    fn ping(&mut self, now: Instant, context: &mut SessionContext, task: &mut Context<'_>) {
        if now.saturating_duration_since(self.heard) > self.door.settings.idle_timeout {
            self.close(CloseReason::Idle, context, task);
        } else {
            context.ping(b"");
            self.wrote = true;
        }
    }

    /// Begins to end the connection: answers that are there go out, then the close frame.
    fn close(&mut self, reason: CloseReason, context: &mut SessionContext, task: &mut Context<'_>) {
        if self.closing.is_some() {
            return;
        }
        let session_is_sound = reason != CloseReason::InternalError;
        let frame = reason.frame().filter(|_| reason != CloseReason::Client(None));
        let says_so = reason != CloseReason::Broken;
        let began = Clock::now();
        self.closing = Some(Closing { reason, began, look: interval(LINGER_TICK) });
        if session_is_sound {
            self.turn(context, task);
        }
        if says_so {
            context.close(frame);
            self.wrote = true;
        }
    }

    /// Ends the connection once the peer has closed its side, or has been quiet for a while after
    /// the close frame: what it had on the way has come, and cannot reset the connection under the
    /// frame any more.
    fn linger(&mut self, now: Instant, context: &mut SessionContext, task: &mut Context<'_>) {
        let Some(closing) = &mut self.closing else { return };
        if matches!(closing.reason, CloseReason::Client(_) | CloseReason::Broken) {
            return context.stop();
        }
        let mut taken_bytes = 0;
        while taken_bytes <= self.door.settings.read_buffer_bytes {
            match self.reader.poll_next(task, &mut taken_bytes) {
                Poll::Ready(Incoming::Close(_) | Incoming::End) => return context.stop(),
                Poll::Ready(_) => {}
                Poll::Pending => break,
            }
        }
        if taken_bytes > 0 {
            self.heard = now;
        }
        while closing.look.poll_tick(task).is_ready() {}
        let quiet = now.saturating_duration_since(self.heard.max(closing.began));
        let lasted = now.saturating_duration_since(closing.began);
        if quiet > LINGER_QUIET || lasted > self.door.settings.close_timeout {
            context.stop();
        }
    }
}

impl Actor for WebsocketSession {
    type Context = SessionContext;

    fn started(&mut self, context: &mut Self::Context) {
        log::info!("session {} opened from {}", self.session.number(), self.address);
        context.spawn(Drive);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let summary = self.session.summary();
        let lasted = Clock::now().saturating_duration_since(self.opened);
        let user: String = match &summary.user {
            None => "nobody".into(),
            Some(user) => {
                user.chars().take(LOGGED_USER_CHARS).flat_map(char::escape_debug).collect()
            }
        };
        let reason = self.closing.as_ref().map_or(&CloseReason::Broken, |closing| &closing.reason);
        log::info!(
            "session {} closed: {}; user {user} from {}, {} requests, {} streams, \
             {} updates skipped, {:.1} s",
            self.session.number(),
            reason.describe(),
            self.address,
            summary.requests,
            summary.streams,
            summary.skipped,
            lasted.as_secs_f64(),
        );
    }
}

/// The stream that the context's own reader is given.
struct NothingToRead;

impl Stream for NothingToRead {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Pending
    }
}

/// The context asks for it; nothing ever comes this way.
impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for WebsocketSession {
    fn handle(&mut self, _: Result<ws::Message, ws::ProtocolError>, _: &mut Self::Context) {}
}

/// Drives the session at each poll of the actor. It spawns nothing into the context, which would
/// poll it again at once, for ever.
struct Drive;

impl ActorFuture<WebsocketSession> for Drive {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut WebsocketSession,
        context: &mut SessionContext,
        task: &mut Context<'_>,
    ) -> Poll<()> {
        actor.drive(context, task);
        Poll::Pending
    }
}
