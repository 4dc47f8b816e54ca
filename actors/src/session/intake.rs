//! Intake: from the bytes of a message to a request on its way.
//!
//! The order of the tests is that of the original: form, identity (401), verb (405), permission
//! (403), path (404).

use std::collections::HashMap;
use std::sync::Arc;

use super::familiar::Familiar;
use super::{Session, Stuck, WrongRequests};
use crate::access::Identity;
use crate::directory::Task;
use crate::protocol::{
    NIL, Path, Refusal, Rnum, SplitRequest, Value, Verb, decode_auth, decode_class, decode_path,
    decode_source, decode_verb, is_non_recursive, split,
};
use crate::resource::{Busy, Entry};
use crate::state::{Reid, Responder};
use crate::verbs::{Data, Structural};

/// Paths that a session remembers, and the encoded size up to which it does; when there are more it
/// begins again.
const PATHS_MAX: usize = 256;
const PATH_BYTES_KEPT: usize = 256;

/// The request has to wait for others in flight.
pub(super) struct NotNow;

/// What the session remembers so as not to decode it again for each request.
#[derive(Default)]
pub(super) struct Known {
    /// The last AUTH that proved somebody; `None` until then.
    auth: Option<KnownAuth>,
    /// The first path: most sessions have only one.
    first: Option<(Box<[u8]>, Place)>,
    /// More paths, by their encoded bytes.
    #[expect(
        clippy::box_collection,
        reason = "few sessions have any: a pointer, not an empty map"
    )]
    more: Option<Box<HashMap<Box<[u8]>, Place>>>,
    /// The last request for a value.
    familiar: Option<Box<Familiar>>,
    /// Requests that were not like it, since one was.
    unfamiliar: u8,
}

/// An AUTH that proved somebody.
struct KnownAuth {
    /// As it came; `None` if it was absent.
    field: Option<Box<[u8]>>,
    identity: Arc<Identity>,
}

/// A path that was decoded, and the resource that was there. Nothing but its entry lives on of a
/// resource that was deleted.
struct Place {
    path: Path,
    entry: Arc<Entry>,
}

impl Known {
    /// The resource at a path that was seen before, if it is still there.
    fn place(&self, field: &[u8]) -> Option<&Place> {
        let place = match &self.first {
            Some((first, place)) if **first == *field => place,
            _ => self.more.as_ref()?.get(field)?,
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

    pub(super) fn is_proven(&self) -> bool {
        self.auth.is_some()
    }

    pub(super) fn user(&self) -> Option<String> {
        self.auth.as_ref().map(|known| known.identity.user.clone())
    }
}

/// What a request is about, once it is known to be allowed.
enum Subject {
    /// A resource that is there.
    Resource(Arc<Entry>),
    /// Anything else, by its path.
    Path(Path),
}

impl Session {
    /// Begins the request in a message: it is on its way, or answered, or has to wait.
    /// One that came too often is answered 429.
    pub(super) fn begin(&mut self, message: &[u8], admitted: bool) -> Result<(), NotNow> {
        let held = self.barrier || self.through_links.is_some();
        if held || self.in_flight() >= self.shared.settings.requests_max {
            self.look();
            if self.in_flight() == 0 {
                self.barrier = false;
                self.through_links = None;
            }
            if self.barrier || self.in_flight() >= self.shared.settings.requests_max {
                return Err(NotNow);
            }
        }
        let depth_max = self.shared.settings.limits.payload_depth_max;
        if admitted
            && let Some(familiar) = &self.known.familiar
            && let Some((verb, entry, request)) = familiar.recognise(message, depth_max)
        {
            let subject = Subject::Resource(Arc::clone(entry));
            self.note_wrong(None);
            self.known.unfamiliar = 0;
            let begun = self.begin_checked(verb, subject, &request, message.len());
            return self.refuse_or(begun, &request, message);
        }
        let request = match split(message, &self.shared.settings.limits) {
            Ok(request) => request,
            Err(error) => {
                self.shared.counters.malformed_messages.add(1);
                self.wrong.in_a_row = self.wrong.in_a_row.saturating_add(1);
                let refusal = Refusal::new(Rnum::BadRequest, error.fault.to_string());
                self.responder(error.reid, message.len()).answer(refusal);
                return Ok(());
            }
        };
        if !admitted {
            self.shared.counters.requests_throttled.add(1);
            let text = "too many requests in a second (session.requests_per_second_max)";
            let refusal = Refusal::new(Rnum::TooManyRequests, text);
            self.responder(request.reid_or_nil(), message.len()).answer(refusal);
            return Ok(());
        }
        let checked = self.check(&request);
        self.note_wrong(checked.as_ref().err());
        let outcome = checked.and_then(|(verb, subject)| {
            if let Subject::Resource(entry) = &subject
                && self.known.is_worth_keeping()
            {
                self.known.familiar = Familiar::of(message, &request, verb, entry).map(Box::new);
            }
            self.begin_checked(verb, subject, &request, message.len())
        });
        self.refuse_or(outcome, &request, message)
    }

    fn refuse_or(
        &mut self,
        outcome: Result<Result<(), NotNow>, Refusal>,
        request: &SplitRequest<'_>,
        message: &[u8],
    ) -> Result<(), NotNow> {
        outcome.unwrap_or_else(|refusal| {
            self.responder(request.reid_or_nil(), message.len()).answer(refusal);
            Ok(())
        })
    }

    /// Counts requests that were malformed or not permitted, up to the next one that was neither.
    fn note_wrong(&mut self, refusal: Option<&Refusal>) {
        self.wrong = match refusal.map(|refusal| refusal.rnum) {
            None | Some(Rnum::NotFound) => {
                WrongRequests { in_a_row: 0, row: self.wrong.row.wrapping_add(1) }
            }
            Some(_) => {
                WrongRequests { in_a_row: self.wrong.in_a_row.saturating_add(1), ..self.wrong }
            }
        };
    }

    fn responder(&mut self, reid: &[u8], bytes: usize) -> Responder {
        let number = self.begun;
        self.begun += 1;
        self.begun_bytes += bytes as u64;
        Responder::new(Arc::clone(&self.outbox), number, Reid::copy_from(reid), bytes)
    }

    /// Who asks, for what, and about what; refuses what is not allowed.
    fn check(&mut self, request: &SplitRequest<'_>) -> Result<(Verb, Subject), Refusal> {
        self.identify(request.auth)?;
        let verb = decode_verb(request.verb)?;
        let policy = self.shared.policy;
        let Some(KnownAuth { identity, .. }) = &self.known.auth else {
            return Err(Refusal::silent(Rnum::Unauthorized));
        };
        let Some(verb) = verb else {
            let known = policy.may_hear_of_verbs(identity);
            let rnum = if known { Rnum::MethodNotAllowed } else { Rnum::Forbidden };
            return Err(Refusal::silent(rnum));
        };
        if let Some(field) = request.path
            && let Some(place) = self.known.place(field)
        {
            return if !policy.allows(identity, verb, &place.path) {
                Err(Refusal::silent(Rnum::Forbidden))
            } else if verb.is_about_value() {
                Ok((verb, Subject::Resource(Arc::clone(&place.entry))))
            } else {
                Ok((verb, Subject::Path(place.path.clone())))
            };
        }
        let path = decode_path(request.path, &self.shared.settings.limits)?;
        if !policy.allows(identity, verb, &path) {
            return Err(Refusal::silent(Rnum::Forbidden));
        }
        match self.shared.resource(&path).filter(|_| verb.is_about_value()) {
            None => Ok((verb, Subject::Path(path))),
            Some(entry) => {
                // A stream is asked for once.
                if let Some(field) = request.path.filter(|field| field.len() <= PATH_BYTES_KEPT)
                    && verb != Verb::Stream
                {
                    self.known.remember(field, Place { path, entry: Arc::clone(&entry) });
                }
                Ok((verb, Subject::Resource(entry)))
            }
        }
    }

    /// Makes sure that the known identity is that of AUTH.
    fn identify(&mut self, auth: Option<&[u8]>) -> Result<(), Refusal> {
        if self.known.auth.as_ref().is_some_and(|known| known.field.as_deref() == auth) {
            return Ok(());
        }
        let fields = decode_auth(auth, &self.shared.settings.limits)?;
        let identity = self.shared.credentials.identify(&fields);
        let identity = identity.ok_or_else(|| Refusal::silent(Rnum::Unauthorized))?;
        self.known.familiar = None;
        self.known.auth = Some(KnownAuth { field: auth.map(Box::from), identity });
        Ok(())
    }

    /// Sends a request that is allowed on its way, unless it has to wait for others.
    fn begin_checked(
        &mut self,
        verb: Verb,
        subject: Subject,
        request: &SplitRequest<'_>,
        bytes: usize,
    ) -> Result<Result<(), NotNow>, Refusal> {
        let reid = request.reid_or_nil();
        match subject {
            Subject::Resource(entry) => {
                if self.through_links.is_some_and(|written| written != entry.number()) {
                    return Ok(Err(NotNow));
                }
                let data = self.data(verb, request)?;
                if entry.is_linked() && matches!(data, Data::Put(_)) {
                    self.through_links = Some(entry.number());
                }
                let responder = self.responder(reid, bytes);
                self.hand_over(Stuck::Resource { entry, request: Busy { data, responder } });
            }
            Subject::Path(path) => {
                let structural = self.structural(verb, path, request)?;
                self.look();
                if self.in_flight() > 0 {
                    return Ok(Err(NotNow));
                }
                let structural = structural();
                let responder = self.responder(reid, bytes);
                self.barrier = true;
                self.hand_over(Stuck::Directory(Task { structural, responder }));
            }
        }
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
                decode_source(request.payload, &self.shared.settings.limits)?
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
        Ok(move || match verb {
            Verb::Create => Structural::Create { path, class },
            Verb::Mkdir => Structural::Mkdir { path },
            Verb::Delete => Structural::Delete { path },
            Verb::List => Structural::List { path, non_recursive },
            Verb::Link => Structural::Link { destination: path, source },
            Verb::Unlink => Structural::Unlink { destination: path, source },
            _ => Structural::Post { path, value: value_of(request), class },
        })
    }
}

/// The value that a request brings; nil if it has none.
fn value_of(request: &SplitRequest<'_>) -> Value {
    Value::copy_from(request.payload.unwrap_or(&[NIL]))
}
