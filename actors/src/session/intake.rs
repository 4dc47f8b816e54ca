//! Intake: from the bytes of a message to a request on its way.
//!
//! The order of the tests is that of the original: form, identity (401), verb (405), permission
//! (403), path (404).

use std::collections::HashMap;
use std::sync::Arc;

use super::access::Looked;
use super::familiar::Familiar;
use super::{Session, Stuck, WrongRequests};
use crate::access::{Identity, View, is_special};
use crate::directory::Task;
use crate::protocol::{
    NIL, Path, Refusal, Rnum, SplitRequest, Value, Verb, decode_class, decode_path, decode_source,
    decode_verb, is_non_recursive, split,
};
use crate::resource::{Busy, Entry};
use crate::state::{Reid, Reply, Responder};
use crate::verbs::{Data, Structural};

/// Paths that a session remembers, and the encoded size up to which it does; when there are more it
/// begins again.
const PATHS_MAX: usize = 256;
const PATH_BYTES_KEPT: usize = 256;

/// The request has to wait, for others in flight or until it is known who asks.
pub(super) struct NotNow;

/// Why a request does not go on.
pub(super) enum Stop {
    /// It is answered so.
    Refuse(Refusal),
    /// It is not known yet who asks.
    Wait,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refuse(refusal)
    }
}

/// Whether a request came within the bounds on requests per second. Asked once, however often the
/// request is tried.
#[derive(Clone, Copy)]
pub(super) struct Admitted {
    /// Within that of the connection.
    pub connection: bool,
    /// Within that of the user; `None` until it is known who that is.
    pub user: Option<bool>,
}

/// What the session remembers so as not to decode it again for each request.
#[derive(Default)]
pub(super) struct Known {
    /// The first path: most sessions have only one.
    first: Option<(Box<[u8]>, Place)>,
    /// More paths, by their encoded bytes.
    #[expect(
        clippy::box_collection,
        reason = "few sessions have any: a pointer, not an empty map"
    )]
    more: Option<Box<HashMap<Box<[u8]>, Place>>>,
    /// The last request for a value.
    pub(super) familiar: Option<Box<Familiar>>,
    /// Requests that were not like it, since one was.
    unfamiliar: u8,
}

/// A path that was decoded, and the resource that was there. Nothing but its entry lives on of a
/// resource that was deleted.
struct Place {
    path: Path,
    entry: Arc<Entry>,
    looked: Looked,
}

impl Known {
    /// The resource at a path that was seen before, if it is still there.
    fn place(&mut self, field: &[u8]) -> Option<&mut Place> {
        let place = match &mut self.first {
            Some((first, place)) if **first == *field => place,
            _ => self.more.as_mut()?.get_mut(field)?,
        };
        if place.entry.is_gone() { None } else { Some(place) }
    }

    fn remember(&mut self, field: &[u8], place: Place) {
        let field = Box::from(field);
        match &self.first {
            Some((first, there)) if *first != field && !there.entry.is_gone() => {
                let more = self.more.get_or_insert_default();
                if more.len() >= PATHS_MAX {
                    more.clear();
                }
                more.insert(field, place);
            }
            _ => self.first = Some((field, place)),
        }
    }

    /// Whether to keep this request as the familiar one: not for each of a client that never sends
    /// the same twice.
    fn is_worth_keeping(&mut self) -> bool {
        const TRIES: u8 = 4;
        self.unfamiliar = self.unfamiliar.wrapping_add(1);
        self.unfamiliar % 32 <= TRIES
    }
}

/// What a request is about, once it is known to be allowed.
enum Subject {
    /// A resource that is there.
    Resource(Arc<Entry>),
    /// One that is to be streamed, and where it is.
    Streamed(Arc<Entry>, Path),
    /// One that belongs to the broker itself and is to be written. Each time is told of, so that
    /// no such request may become familiar.
    Special(Arc<Entry>),
    /// A setting of the broker that is to be written.
    Setting(Path),
    /// Anything else, by its path.
    Path(Path),
}

impl Session {
    /// Begins the request in a message: it is on its way, or answered, or has to wait.
    /// One that came too often is answered 429.
    pub(super) fn begin(&mut self, message: &[u8], admitted: &mut Admitted) -> Result<(), NotNow> {
        let held = self.barrier || self.through_links.is_some();
        if held || self.in_flight() >= self.shared.settings.requests_max.get() {
            self.look();
            if self.in_flight() == 0 {
                self.barrier = false;
                self.through_links = None;
            }
            if self.barrier || self.in_flight() >= self.shared.settings.requests_max.get() {
                return Err(NotNow);
            }
        }
        self.keep_current();
        let depth_max = self.shared.settings.limits.payload_depth_max;
        if admitted.connection
            && let Some(familiar) = &self.known.familiar
            && let Some((verb, entry, request)) = familiar.recognise(message, depth_max)
            && *admitted.user.get_or_insert_with(|| self.is_within_rate(message.len()))
            && self.is_within_allowance(verb, request.payload_bytes(), message.len())
        {
            let subject = Subject::Resource(Arc::clone(entry));
            self.note_wrong(None);
            self.known.unfamiliar = 0;
            let begun = self.begin_checked(verb, subject, &request, message.len());
            return self.refuse_or(begun, Some(verb), &request, message);
        }
        let request = match split(message, &self.shared.settings.limits) {
            Ok(request) => request,
            Err(error) => {
                self.shared.counters.malformed_messages.add(1);
                self.wrong.in_a_row = self.wrong.in_a_row.saturating_add(1);
                let refusal = Refusal::new(Rnum::BadRequest, error.fault.to_string());
                self.responder(error.reid, message.len(), None).answer(refusal);
                return Ok(());
            }
        };
        if !admitted.connection {
            self.shared.counters.requests_throttled.add(1);
            let text = "too many requests in a second (session.requests_per_second_max)";
            let refusal = Refusal::new(Rnum::TooManyRequests, text);
            let verb = decode_verb(request.verb).ok().flatten();
            self.responder(request.reid_or_nil(), message.len(), verb).answer(refusal);
            return Ok(());
        }
        let checked = match self.check(&request, message.len(), admitted) {
            Ok(checked) => Ok(checked),
            Err(Stop::Refuse(refusal)) => Err(refusal),
            Err(Stop::Wait) => return Err(NotNow),
        };
        self.note_wrong(checked.as_ref().err());
        let outcome = checked.and_then(|(verb, subject)| {
            if let Subject::Resource(entry) = &subject
                && self.known.is_worth_keeping()
            {
                self.known.familiar = Familiar::of(message, &request, verb, entry).map(Box::new);
            }
            self.begin_checked(verb, subject, &request, message.len())
        });
        let verb = outcome.as_ref().err().and_then(|_| decode_verb(request.verb).ok().flatten());
        self.refuse_or(outcome, verb, &request, message)
    }

    fn refuse_or(
        &mut self,
        outcome: Result<Result<(), NotNow>, Refusal>,
        verb: Option<Verb>,
        request: &SplitRequest<'_>,
        message: &[u8],
    ) -> Result<(), NotNow> {
        outcome.unwrap_or_else(|refusal| {
            self.responder(request.reid_or_nil(), message.len(), verb).answer(refusal);
            Ok(())
        })
    }

    /// Counts requests that were malformed or not permitted, up to the next one that was neither.
    fn note_wrong(&mut self, refusal: Option<&Refusal>) {
        self.wrong = match refusal.map(|refusal| refusal.rnum) {
            None | Some(Rnum::NotFound) => {
                WrongRequests { in_a_row: 0, row: self.wrong.row.wrapping_add(1) }
            }
            // What came too often, or could not be judged, says nothing of what it was.
            Some(Rnum::TooManyRequests | Rnum::ServiceUnavailable) => self.wrong,
            Some(_) => {
                WrongRequests { in_a_row: self.wrong.in_a_row.saturating_add(1), ..self.wrong }
            }
        };
    }

    fn responder(&mut self, reid: &[u8], bytes: usize, verb: Option<Verb>) -> Responder {
        let number = self.begun;
        self.begun += 1;
        self.begun_bytes += bytes as u64;
        let outbox = Arc::clone(&self.outbox);
        Responder::new(outbox, number, Reid::copy_from(reid), bytes).for_verb(verb)
    }

    /// Who asks, for what, and about what; refuses what is not allowed.
    fn check(
        &mut self,
        request: &SplitRequest<'_>,
        bytes: usize,
        admitted: &mut Admitted,
    ) -> Result<(Verb, Subject), Stop> {
        self.identify(request.auth)?;
        if !*admitted.user.get_or_insert_with(|| self.is_within_rate(bytes)) {
            self.shared.counters.quota_rate.add(1);
            let text = "this user asks for more in a second than it may";
            return Err(Refusal::new(Rnum::TooManyRequests, text).into());
        }
        let (verb, subject) = self.subject(request)?;
        self.check_allowance(verb, request.payload_bytes(), bytes)?;
        Ok((verb, subject))
    }

    fn subject(&mut self, request: &SplitRequest<'_>) -> Result<(Verb, Subject), Refusal> {
        let verb = decode_verb(request.verb)?;
        let Some(verb) = verb else {
            let hears = |who: &Arc<Identity>| self.who.policy().may_hear_of_verbs(who);
            let known = self.who.identity().is_some_and(hears);
            let rnum = if known { Rnum::MethodNotAllowed } else { Rnum::Forbidden };
            return Err(Refusal::silent(rnum));
        };
        if let Some(field) = request.path
            && let Some(place) = self.known.place(field)
        {
            self.who.renew(&mut place.looked, &place.path);
            if !self.who.allows(place.looked, verb, &place.path) {
                return Err(self.forbidden());
            }
            let (path, entry) = (place.path.clone(), Arc::clone(&place.entry));
            let special = self.is_special_write(verb, &path);
            if special && self.is_setting(verb, &path) {
                return Ok((verb, Subject::Setting(path)));
            }
            if !verb.is_about_value() {
                return Ok((verb, Subject::Path(path)));
            }
            if verb == Verb::Stream {
                return Ok((verb, Subject::Streamed(entry, path)));
            }
            let subject = if special { Subject::Special } else { Subject::Resource };
            return Ok((verb, subject(entry)));
        }
        let path = decode_path(request.path, &self.shared.settings.limits)?;
        let looked = self.who.look_up(&path);
        if !self.who.allows(looked, verb, &path) {
            return Err(self.forbidden());
        }
        let special = self.is_special_write(verb, &path);
        if special && self.is_setting(verb, &path) {
            return Ok((verb, Subject::Setting(path)));
        }
        match self.shared.resource(&path).filter(|_| verb.is_about_value()) {
            None => Ok((verb, Subject::Path(path))),
            Some(entry) if verb == Verb::Stream => {
                // It is asked for once, so that the path is not remembered.
                Ok((verb, Subject::Streamed(entry, path)))
            }
            Some(entry) => {
                if let Some(field) = request.path.filter(|field| field.len() <= PATH_BYTES_KEPT) {
                    self.known.remember(field, Place { path, entry: Arc::clone(&entry), looked });
                }
                let subject = if special { Subject::Special } else { Subject::Resource };
                Ok((verb, subject(entry)))
            }
        }
    }

    /// Whether a request that is allowed writes what belongs to the broker itself; if so, who keeps
    /// to that is told.
    fn is_special_write(&self, verb: Verb, path: &Path) -> bool {
        let special = verb.is_writing() && is_special(path);
        if special {
            self.shared.access.note_special();
        }
        special
    }

    fn is_setting(&self, verb: Verb, path: &Path) -> bool {
        self.shared.steering.get().is_some_and(|steering| steering.owns(verb, path))
    }

    fn forbidden(&self) -> Refusal {
        self.shared.counters.requests_forbidden.add(1);
        Refusal::silent(Rnum::Forbidden)
    }

    /// Sends a request that is allowed on its way, unless it has to wait for others.
    fn begin_checked(
        &mut self,
        verb: Verb,
        subject: Subject,
        request: &SplitRequest<'_>,
        bytes: usize,
    ) -> Result<Result<(), NotNow>, Refusal> {
        match subject {
            Subject::Resource(entry) | Subject::Special(entry) => {
                self.begin_data(verb, entry, None, request, bytes)
            }
            Subject::Streamed(entry, path) => {
                self.begin_data(verb, entry, Some(path), request, bytes)
            }
            Subject::Setting(path) => self.steer(verb, &path, request, bytes),
            Subject::Path(path) => {
                let structural = self.structural(verb, path, request)?;
                self.look();
                if self.in_flight() > 0 {
                    return Ok(Err(NotNow));
                }
                let structural = structural();
                let responder = self.responder(request.reid_or_nil(), bytes, Some(verb));
                self.barrier = true;
                let posted = self.shared.metrics.post(&self.shared.metrics.directory);
                self.hand_over(Stuck::Directory(Task { structural, responder, posted }));
                Ok(Ok(()))
            }
        }
    }

    /// Sends a value for a setting to who keeps them; what follows waits for the answer.
    fn steer(
        &mut self,
        verb: Verb,
        path: &Path,
        request: &SplitRequest<'_>,
        bytes: usize,
    ) -> Result<Result<(), NotNow>, Refusal> {
        if !matches!(verb, Verb::Put | Verb::Post) {
            let text = "settings are read and written, and nothing else; nil gives one back the \
                        value that it has without";
            return Err(Refusal::new(Rnum::Forbidden, text));
        }
        self.look();
        if self.in_flight() > 0 {
            return Ok(Err(NotNow));
        }
        let responder = self.responder(request.reid_or_nil(), bytes, Some(verb));
        self.barrier = true;
        let answer = Box::new(move |outcome: Result<Option<String>, Refusal>| {
            responder.answer(match outcome {
                Ok(remark) => Reply { warning: remark.map(Into::into), ..Reply::of(Rnum::Ok) },
                Err(refusal) => refusal.into(),
            });
        });
        if let Some(steering) = self.shared.steering.get() {
            steering.put(path, value_of(request), answer);
        }
        Ok(Ok(()))
    }

    /// Sends a request to a resource; `streamed` is where that is, for a stream.
    fn begin_data(
        &mut self,
        verb: Verb,
        entry: Arc<Entry>,
        streamed: Option<Path>,
        request: &SplitRequest<'_>,
        bytes: usize,
    ) -> Result<Result<(), NotNow>, Refusal> {
        if self.through_links.is_some_and(|written| written != entry.number()) {
            return Ok(Err(NotNow));
        }
        let data = self.data(verb, request)?;
        if entry.is_linked() && matches!(data, Data::Put(_)) {
            self.through_links = Some(entry.number());
        }
        let responder = self.responder(request.reid_or_nil(), bytes, Some(verb));
        if let Some(path) = streamed {
            self.watch(&entry, path, responder.reid().clone());
        }
        self.hand_over(Stuck::Resource { entry, request: Busy { data, responder } });
        Ok(Ok(()))
    }

    fn data(&self, verb: Verb, request: &SplitRequest<'_>) -> Result<Data, Refusal> {
        let reid_bytes_max = self.shared.settings.limits.reid_bytes_max;
        match verb {
            Verb::Get => Ok(Data::Get),
            Verb::Stream if request.reid_or_nil().len() > reid_bytes_max => Err(Refusal::new(
                Rnum::BadRequest,
                format!(
                    "the REID of a stream has at most {reid_bytes_max} bytes here \
                     (limits.reid_bytes_max)"
                ),
            )),
            Verb::Stream => Ok(Data::Stream),
            Verb::Stop => Ok(Data::Stop),
            _ => Ok(Data::Put(value_of(request))),
        }
    }

    /// What the directory is asked for; made when it can begin, so that a value is not copied for a
    /// request that waits.
    fn structural<'r>(
        &self,
        verb: Verb,
        path: Path,
        request: &'r SplitRequest<'_>,
    ) -> Result<impl FnOnce() -> Structural + use<'r>, Refusal> {
        let source = match verb {
            Verb::Link | Verb::Unlink => {
                let source = decode_source(request.payload, &self.shared.settings.limits)?;
                if verb == Verb::Link && !self.who.may_follow(&source) {
                    return Err(self.forbidden());
                }
                source
            }
            Verb::Get | Verb::Put | Verb::Stream | Verb::Stop => {
                return Err(Refusal::new(Rnum::NotFound, "there is no resource here"));
            }
            _ => Path::root(),
        };
        let class = match verb {
            Verb::Create | Verb::Post => decode_class(request.meta)?,
            _ => None,
        };
        let non_recursive = verb == Verb::List && is_non_recursive(request.meta);
        let view = if verb == Verb::List { self.view(&path) } else { None };
        let maker = self.who.allowance().cloned();
        Ok(move || match verb {
            Verb::Create => Structural::Create { path, class, maker },
            Verb::Mkdir => Structural::Mkdir { path },
            Verb::Delete => Structural::Delete { path },
            Verb::List => Structural::List { path, non_recursive, view },
            Verb::Link => Structural::Link { destination: path, source },
            Verb::Unlink => Structural::Unlink { destination: path, source },
            _ => Structural::Post { path, value: value_of(request), class, maker },
        })
    }
}

impl Session {
    /// What the user sees of a listing, if that is not everything.
    fn view(&self, path: &Path) -> Option<View> {
        let identity = self.who.identity()?;
        let policy = self.who.policy();
        let all = policy.shows_all_below(identity, path);
        (!all).then(|| View { policy: Arc::clone(policy), identity: Arc::clone(identity) })
    }
}

/// The value that a request brings; nil if it has none.
fn value_of(request: &SplitRequest<'_>) -> Value {
    Value::copy_from(request.payload.unwrap_or(&[NIL]))
}
