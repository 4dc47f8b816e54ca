//! The embedded door: WebSocket connections inside any actix-web application, on
//! `actix_web_actors::ws`.
//!
//! Where the application owns the sockets, a connection is driven by its HTTP dispatcher: that
//! polls the actor when the socket takes more, or something came, or a waker was called; each of
//! these is one [`WebsocketSession::drive`]. It costs more memory and time than the direct door,
//! and who takes nothing of what is sent freezes his own connection, which then ends by
//! TCP_USER_TIMEOUT. The session is the same for every door.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFuture, AsyncContext, StreamHandler};
use actix_web::error::PayloadError;
use actix_web::rt::time::{Sleep, sleep};
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse, web};
use actix_web_actors::ws;
use fanal_actors::{Session, encode_response, guarded};
use futures_core::Stream;

use super::admission::Admission;
use super::close::CloseReason;
use super::connection::deadlines::{Deadlines, Due, Look};
use super::connection::end;
use super::frames::Frames;
use super::framing::{Framing, Incoming};
use super::handshake::{admit, wants_upgrade};
use super::{Door, EVERY_PATH, pages};
use crate::clock::{Clock, Instant, Moment};

/// Pause before a request that found a full mailbox is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(1);

/// How often a closing connection is looked at, and how long it has to be quiet to be ended.
const LINGER_TICK: Duration = Duration::from_millis(50);
const LINGER_QUIET: Duration = Duration::from_millis(250);

/// Adds the door's routes to an actix-web application. A path outside them is the application's.
pub fn routes(door: &Arc<Door>, service: &mut web::ServiceConfig) {
    service.app_data(web::Data::from(Arc::clone(door)));
    for route in &door.settings.routes {
        if route == EVERY_PATH {
            service.default_service(web::to(enter));
        } else {
            service.route(route, web::route().to(enter));
        }
    }
}

/// Answers a request on a route of the door: an upgrade becomes a session.
async fn enter(request: HttpRequest, payload: Payload, door: web::Data<Door>) -> HttpResponse {
    if !wants_upgrade(request.head()) && request.path() == "/" {
        return pages::answer(request, door).await;
    }
    let (session, admission) = match admit(&door, request.head(), None, None) {
        Ok(admitted) => admitted,
        Err(refused) => return refused.response(),
    };
    door.broker.counters().connections_opened_embedded.add(1);
    let actor = WebsocketSession::new(&door.into_inner(), session, admission, payload);
    // The context's own reader would read ahead of the session, so it is given nothing.
    match ws::WsResponseBuilder::new(actor, &request, NothingToRead).start() {
        Ok(response) => response,
        Err(error) => error.error_response(),
    }
}

/// The actor of one WebSocket connection.
pub struct WebsocketSession {
    session: Session,
    door: Arc<Door>,
    admission: Admission,
    payload: Payload,
    frames: Frames,
    /// Bytes that came and for which the session had no room.
    unread: Vec<u8>,
    opened: Moment,
    deadlines: Deadlines,
    retry: Option<Pin<Box<Sleep>>>,
    /// Nothing more is read, for this reason; what came before is still to be carried out.
    leaving: Option<(CloseReason, Instant)>,
    /// Set once the connection is to end; nothing is written after the close frame.
    closing: Option<Closing>,
    /// What a message is encoded into.
    scratch: Vec<u8>,
}

/// A connection that is about to end.
struct Closing {
    reason: CloseReason,
    began: Instant,
    /// When anything came the last time.
    heard: Instant,
}

type SessionContext = ws::WebsocketContext<WebsocketSession>;

impl WebsocketSession {
    fn new(door: &Arc<Door>, session: Session, admission: Admission, payload: Payload) -> Self {
        WebsocketSession {
            session,
            door: Arc::clone(door),
            admission,
            payload,
            frames: Frames::new(door.settings.message_bytes_max),
            unread: Vec::new(),
            opened: Moment::now(),
            deadlines: Deadlines::new(&door.settings, true),
            retry: None,
            leaving: None,
            closing: None,
            scratch: Vec::new(),
        }
    }

    /// One poll: reads what the session has room for, lets it work, writes what it has.
    fn drive(&mut self, context: &mut SessionContext, task: &mut Context<'_>) {
        let mut held_back = false;
        if self.closing.is_none() && self.leaving.is_none() {
            held_back = self.read(context, task);
        }
        if self.closing.is_none() {
            let done = self.turn(context, task);
            if held_back && self.session.room() > 0 {
                task.waker().wake_by_ref();
            }
            let wrong = self.session.wrong();
            if self.deadlines.judge_wrong(&self.door.settings, wrong) && self.leaving.is_none() {
                self.leaving = Some((CloseReason::OnlyWrong, Clock::now()));
            }
            self.leave(done, context, task);
        }
        self.meet_deadlines(context, task);
        if self.closing.is_some() {
            self.linger(context, task);
        }
    }

    /// Ends the connection if the client wants to, once what it sent before is carried out and
    /// answered.
    fn leave(&mut self, done: bool, context: &mut SessionContext, task: &mut Context<'_>) {
        let Some((_, since)) = &self.leaving else { return };
        let waited = Clock::now().saturating_duration_since(*since);
        if !done && waited <= self.door.settings.close_timeout {
            self.deadlines.linger(LINGER_TICK);
        } else if let Some((reason, _)) = self.leaving.take() {
            self.close(reason, context, task);
        }
    }

    /// Reads messages while the session has room for them. Returns whether it ended for want of
    /// room: what there is to read wakes nobody then.
    fn read(&mut self, context: &mut SessionContext, task: &mut Context<'_>) -> bool {
        let mut taken = 0;
        while self.leaving.is_none() {
            if self.session.room() == 0 {
                return true;
            }
            if taken > self.door.settings.read_buffer_bytes.get() {
                // There may be more; others have their turn first.
                task.waker().wake_by_ref();
                break;
            }
            if self.unread.is_empty() {
                match Pin::new(&mut self.payload).poll_next(task) {
                    Poll::Pending => break,
                    Poll::Ready(Some(Ok(chunk))) => self.unread = chunk.into(),
                    Poll::Ready(None | Some(Err(_))) => {
                        self.leaving = Some((CloseReason::Broken, Clock::now()));
                        break;
                    }
                }
            }
            self.deadlines.heard();
            taken += self.take(context);
        }
        false
    }

    /// Hands the messages that came to the session while it has room. Returns how many bytes that
    /// were.
    fn take(&mut self, context: &mut SessionContext) -> usize {
        let mut bytes = std::mem::take(&mut self.unread);
        let mut position = 0;
        let reason = loop {
            let rest = bytes.get_mut(position..).unwrap_or_default();
            if self.session.room() == 0 && !rest.is_empty() {
                self.unread = rest.to_vec();
                return position;
            }
            let is_all = rest.is_empty();
            let (taken, incoming) = match self.frames.decode(rest) {
                Ok(decoded) => decoded,
                Err(fault) => break fault,
            };
            position += taken;
            match incoming {
                None if is_all => return position,
                None | Some(Incoming::Pong) => {}
                Some(Incoming::Message(message)) => {
                    let session = &mut self.session;
                    let counters = self.door.broker.counters();
                    if guarded(counters, "session", || session.receive(message)).is_none() {
                        break CloseReason::InternalError;
                    }
                }
                Some(Incoming::Ping(payload)) => context.pong(payload),
                Some(Incoming::Close(code)) => break CloseReason::Client(code),
            }
        };
        self.leaving = Some((reason, Clock::now()));
        position
    }

    /// Lets the session begin what waits, and writes what it has. Returns whether that was all.
    fn turn(&mut self, context: &mut SessionContext, task: &mut Context<'_>) -> bool {
        let WebsocketSession { session, scratch, door, .. } = self;
        let budget = door.settings.write_buffer_bytes.get();
        let turn = guarded(door.broker.counters(), "session", || {
            session.turn(budget, task.waker(), |message| {
                scratch.clear();
                encode_response(&message.as_response(), scratch);
                context.binary(Bytes::copy_from_slice(scratch));
            })
        });
        self.scratch = Vec::new();
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
        turn.done
    }

    fn meet_deadlines(&mut self, context: &mut SessionContext, task: &mut Context<'_>) {
        let held_back = self.session.room() == 0;
        let session = &self.session;
        let look = || Look {
            proven: session.is_proven(),
            has_streams: session.has_streams(),
            requests: session.requests(),
            held_back,
        };
        match self.deadlines.poll(&self.door.settings, look, task) {
            Some(Due::Ping) => {
                context.ping(b"");
                self.deadlines.pinged(&self.door.settings);
                // The context looks for what it has to write when it is polled.
                task.waker().wake_by_ref();
            }
            Some(Due::Close(reason)) => self.close(reason, context, task),
            None => {}
        }
    }

    /// Begins to end the connection: answers that are there go out, then the close frame.
    fn close(&mut self, reason: CloseReason, context: &mut SessionContext, task: &mut Context<'_>) {
        if self.closing.is_some() {
            return;
        }
        let now = Clock::now();
        let is_sound = reason != CloseReason::InternalError;
        let frame = reason.code_and_text().map(|(code, text)| {
            let description = if text.is_empty() { None } else { Some(text.into_owned()) };
            code.map(|code| ws::CloseReason { code: code.into(), description })
        });
        self.closing = Some(Closing { reason, began: now, heard: now });
        if is_sound {
            self.turn(context, task);
        }
        if let Some(frame) = frame {
            context.close(frame);
        }
        task.waker().wake_by_ref();
    }

    /// Ends the connection once the peer has closed its side, or has been quiet for a while after
    /// the close frame: what it had on the way has come, and cannot reset the connection under the
    /// frame any more.
    fn linger(&mut self, context: &mut SessionContext, task: &mut Context<'_>) {
        let now = Clock::now();
        let Some(closing) = &mut self.closing else { return };
        if matches!(closing.reason, CloseReason::Client(_) | CloseReason::Broken) {
            return context.stop();
        }
        let mut taken = 0;
        while taken <= self.door.settings.read_buffer_bytes.get() {
            match Pin::new(&mut self.payload).poll_next(task) {
                Poll::Ready(Some(Ok(chunk))) => {
                    taken += chunk.len();
                    closing.heard = now;
                }
                Poll::Ready(None | Some(Err(_))) => return context.stop(),
                Poll::Pending => break,
            }
        }
        let quiet = now.saturating_duration_since(closing.heard);
        let lasted = now.saturating_duration_since(closing.began);
        if quiet > LINGER_QUIET || lasted > self.door.settings.close_timeout {
            return context.stop();
        }
        self.deadlines.linger(LINGER_TICK);
        self.meet_deadlines(context, task);
    }
}

impl Actor for WebsocketSession {
    type Context = SessionContext;

    fn started(&mut self, context: &mut Self::Context) {
        let session = self.session.number();
        log::info!(session; "session {session} opened from {}", self.admission);
        context.spawn(Drive);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let reason = self.closing.as_ref().map_or(&CloseReason::Broken, |closing| &closing.reason);
        reason.count(self.door.broker.counters());
        end(&mut self.session, reason, &mut self.admission, self.opened);
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
