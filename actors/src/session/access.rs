//! Access: who asks, and what it may do.
//!
//! Credentials are judged when their bytes change, and again when the broker's epoch does. What
//! they allow at a path is kept with the path. Each stream remembers whose it is, so that it can be
//! ended when that user may no longer have it.

use std::sync::Arc;
use std::task::Waker;

use super::Session;
use super::intake::Stop;
use crate::access::{Allowance, Counted, Identity, Policy, Rights};
use crate::ports::{Peer, Presented, Verdict};
use crate::protocol::{AuthFields, Path, Refusal, Rnum, Verb, decode_auth};
use crate::resource::Entry;
use crate::state::Reid;

/// Epochs that may begin while credentials are judged; with more the request is answered 503.
const EPOCHS_MAX: usize = 8;

/// Streams up to which nobody looks which of them are over.
const STREAMS_FEW: usize = 8;

/// What a session knows of who asks.
pub(super) struct Known {
    /// The last credentials that proved somebody; `None` until then.
    proven: Option<Arc<Proven>>,
    /// They were judged in this epoch.
    fresh: bool,
    /// The epoch of what is below.
    epoch: u64,
    policy: Arc<Policy>,
    /// Rises whenever rights that were looked up before may be others now.
    grant: u32,
    /// Whose each stream is.
    #[expect(clippy::box_collection, reason = "most sessions have none: a pointer, not a list")]
    streams: Option<Box<Vec<Watched>>>,
    /// Streams have to be looked at again, for one that is no longer allowed was not there yet the
    /// last time, or not all verdicts were.
    unsettled: bool,
    /// Somebody was proven at some time.
    was_proven: bool,
}

/// Credentials that proved somebody.
struct Proven {
    /// AUTH as it came; `None` if it was absent.
    field: Option<Box<[u8]>>,
    identity: Arc<Identity>,
    /// The place of this connection among those of the user, if they are counted.
    place: Option<Arc<Counted>>,
}

/// A stream and whose it is.
struct Watched {
    resource: u64,
    reid: Reid,
    path: Path,
    proven: Arc<Proven>,
}

/// What a request has more of than it may, and how much that is.
enum Exceeded {
    Message(usize),
    Value(usize),
    Streams(usize),
}

/// The rights at a path, and when they were looked up.
#[derive(Clone, Copy)]
pub(super) struct Looked {
    rights: Rights,
    grant: u32,
}

impl Known {
    pub(super) fn new(policy: Arc<Policy>, epoch: u64) -> Self {
        Known {
            proven: None,
            fresh: false,
            epoch,
            policy,
            grant: 0,
            streams: None,
            unsettled: false,
            was_proven: false,
        }
    }

    pub(super) fn is_proven(&self) -> bool {
        self.was_proven
    }

    pub(super) fn user(&self) -> Option<&str> {
        self.proven.as_ref().map(|proven| proven.identity.user.as_str())
    }

    pub(super) fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    pub(super) fn identity(&self) -> Option<&Arc<Identity>> {
        self.proven.as_ref().map(|proven| &proven.identity)
    }

    /// How much the user may have, if that is bounded for it.
    pub(super) fn allowance(&self) -> Option<&Arc<Allowance>> {
        self.proven.as_ref()?.identity.allowance.as_ref()
    }

    /// What the user may do at a path.
    pub(super) fn look_up(&self, path: &Path) -> Looked {
        let rights = self.identity().map_or(Rights::NONE, |who| self.policy.rights(who, path));
        Looked { rights, grant: self.grant }
    }

    /// What the user may do at a path that was looked up before.
    pub(super) fn renew(&self, looked: &mut Looked, path: &Path) {
        if looked.grant != self.grant {
            *looked = self.look_up(path);
        }
    }

    /// Whether the user may do this there.
    pub(super) fn allows(&self, looked: Looked, verb: Verb, path: &Path) -> bool {
        looked.rights.include(Rights::needed(verb))
            && (verb != Verb::Delete
                || self.identity().is_some_and(|who| self.policy.may_delete_below(who, path)))
    }

    /// Whether the user may read what is at this path, to have another resource follow it.
    pub(super) fn may_follow(&self, source: &Path) -> bool {
        self.look_up(source).rights.include(Rights::GET)
    }

    /// Forgets who asks, and frees the place among the connections of the user.
    pub(super) fn forget(&mut self) {
        self.proven = None;
        self.streams = None;
    }

    fn has_streams(&self) -> bool {
        self.streams.is_some()
    }
}

impl Session {
    /// Forgets what was known before the present epoch.
    pub(super) fn keep_current(&mut self) {
        let epoch = self.shared.access.epoch();
        if self.who.epoch == epoch {
            return;
        }
        // The policy may be newer than the epoch, never older.
        self.who.epoch = epoch;
        self.who.policy = self.shared.access.policy();
        self.who.fresh = false;
        self.who.grant = self.who.grant.wrapping_add(1);
        self.who.unsettled = self.who.has_streams();
        self.known.familiar = None;
    }

    /// Makes sure that the known user is that of AUTH.
    pub(super) fn identify(&mut self, auth: Option<&[u8]>) -> Result<(), Stop> {
        let same = self.who.proven.as_ref().filter(|proven| proven.field.as_deref() == auth);
        if self.who.fresh && same.is_some() {
            return Ok(());
        }
        let fields = decode_auth(auth, &self.shared.settings.limits)?;
        let again = same.is_some();
        match self.judge_in_one_epoch(fields, again) {
            Verdict::Known(identity) => self.accept(auth, identity).map_err(Stop::Refuse),
            Verdict::Pending => Err(Stop::Wait),
            verdict => {
                if again {
                    self.who.proven = None;
                    self.who.fresh = false;
                    self.who.grant = self.who.grant.wrapping_add(1);
                }
                Err(self.refusal(&verdict).into())
            }
        }
    }

    /// Judges credentials so that the verdict goes with the policy: who is believed under one
    /// configuration must not be let through by the rules of the one before.
    fn judge_in_one_epoch(&mut self, fields: AuthFields<'_>, again: bool) -> Verdict {
        for _ in 0..EPOCHS_MAX {
            let epoch = self.who.epoch;
            let verdict = self.judge(fields, again);
            self.keep_current();
            if self.who.epoch == epoch {
                return verdict;
            }
        }
        Verdict::Unavailable
    }

    fn judge(&self, fields: AuthFields<'_>, again: bool) -> Verdict {
        const UNKNOWN: Peer = Peer { address: None, opened: 0, credentials: None };
        let connection = self.peer.as_deref().unwrap_or(&UNKNOWN);
        let presented = Presented { fields, connection, again };
        let waiter = Waker::from(Arc::clone(&self.outbox));
        self.shared.credentials.identify(&presented, &waiter)
    }

    fn refusal(&self, verdict: &Verdict) -> Refusal {
        let counters = &self.shared.counters;
        match verdict {
            Verdict::Unavailable => {
                counters.credentials_unavailable.add(1);
                let text = "who you are cannot be checked now; try again";
                Refusal::new(Rnum::ServiceUnavailable, text)
            }
            Verdict::TooManyFailures => {
                counters.credentials_held_off.add(1);
                let text = "too many credentials from this address were wrong; try again later";
                Refusal::new(Rnum::TooManyRequests, text)
            }
            Verdict::Unknown | Verdict::Known(_) | Verdict::Pending => {
                counters.credentials_refused.add(1);
                Refusal::silent(Rnum::Unauthorized)
            }
        }
    }

    /// Takes a user as the one who asks from now on.
    fn accept(&mut self, auth: Option<&[u8]>, identity: Arc<Identity>) -> Result<(), Refusal> {
        self.who.was_proven = true;
        if let Some(proven) = &self.who.proven
            && proven.field.as_deref() == auth
            && *proven.identity == *identity
        {
            self.who.fresh = true;
            return Ok(());
        }
        let place = self.place_of(&identity)?;
        let proven = Proven { field: auth.map(Box::from), identity, place };
        let proven = Arc::new(proven);
        // Streams of the same user go on with its newer credentials.
        for watched in self.who.streams.iter_mut().flat_map(|streams| streams.iter_mut()) {
            if watched.proven.identity.user == proven.identity.user {
                watched.proven = Arc::clone(&proven);
            }
        }
        self.shared.sessions.note_user(self.number, Arc::clone(&proven.identity));
        self.who.proven = Some(proven);
        self.who.fresh = true;
        self.who.grant = self.who.grant.wrapping_add(1);
        self.known.familiar = None;
        Ok(())
    }

    /// The place of this connection among those of a user: the one that it has, or another one.
    fn place_of(&self, identity: &Identity) -> Result<Option<Arc<Counted>>, Refusal> {
        let Some(allowance) = &identity.allowance else { return Ok(None) };
        let streams = self.who.streams.iter().flat_map(|streams| streams.iter());
        let known = streams.map(|watched| &watched.proven).chain(&self.who.proven);
        let is_it = |proven: &&Arc<Proven>| {
            proven.identity.user == identity.user
                && proven.identity.allowance.as_ref().is_some_and(|own| Arc::ptr_eq(own, allowance))
        };
        if let Some(place) = { known }.find(is_it).and_then(|proven| proven.place.clone()) {
            return Ok(Some(place));
        }
        if let Some(place) = allowance.connect() {
            return Ok(Some(Arc::new(place)));
        }
        self.shared.counters.quota_connections.add(1);
        let max = allowance.allowed.connections_max;
        let text = format!("this user has {max} connections already, and may have no more");
        Err(Refusal::new(Rnum::TooManyRequests, text))
    }

    /// Whether a request of so many bytes is within what its user may ask in a second.
    pub(super) fn is_within_rate(&self, bytes: usize) -> bool {
        self.who.allowance().is_none_or(|allowance| allowance.admits(bytes))
    }

    /// Whether a request is within what its user may have.
    pub(super) fn is_within_allowance(
        &self,
        verb: Verb,
        payload_bytes: usize,
        message_bytes: usize,
    ) -> bool {
        self.exceeded(verb, payload_bytes, message_bytes).is_none()
    }

    fn exceeded(&self, verb: Verb, payload: usize, message: usize) -> Option<Exceeded> {
        let allowed = &self.who.allowance()?.allowed;
        let writes = matches!(verb, Verb::Put | Verb::Post);
        if message > allowed.message_bytes_max {
            Some(Exceeded::Message(allowed.message_bytes_max))
        } else if writes && payload > allowed.value_bytes_max {
            Some(Exceeded::Value(allowed.value_bytes_max))
        } else if verb == Verb::Stream && self.outbox.streams() >= allowed.streams_max {
            Some(Exceeded::Streams(allowed.streams_max))
        } else {
            None
        }
    }

    /// Refuses what is more than the user may have.
    pub(super) fn check_allowance(
        &self,
        verb: Verb,
        payload_bytes: usize,
        message_bytes: usize,
    ) -> Result<(), Refusal> {
        let counters = &self.shared.counters;
        let (counter, rnum, text) = match self.exceeded(verb, payload_bytes, message_bytes) {
            None => return Ok(()),
            Some(Exceeded::Message(max)) => (
                &counters.quota_message_bytes,
                Rnum::PayloadTooLarge,
                format!("a request of this user has at most {max} bytes"),
            ),
            Some(Exceeded::Value(max)) => (
                &counters.quota_value_bytes,
                Rnum::PayloadTooLarge,
                format!("a value of this user has at most {max} bytes"),
            ),
            Some(Exceeded::Streams(max)) => (
                &counters.quota_streams,
                Rnum::TooManyRequests,
                format!("a connection of this user has at most {max} streams"),
            ),
        };
        counter.add(1);
        Err(Refusal::new(rnum, text))
    }

    /// Remembers whose a stream is that is about to be opened.
    pub(super) fn watch(&mut self, entry: &Entry, path: Path, reid: Reid) {
        let Some(proven) = self.who.proven.clone() else { return };
        // Most have one stream, and a list begins with room for four.
        let streams = self.who.streams.get_or_insert_with(|| Box::new(Vec::with_capacity(1)));
        // Those that are over are forgotten whenever there may be twice as many as are open.
        if streams.len() > STREAMS_FEW
            && streams.len() / 2 > self.outbox.streams() + self.shared.settings.requests_max.get()
        {
            streams.retain(|watched| self.outbox.has_stream(watched.resource, &watched.reid));
        }
        streams.push(Watched { resource: entry.number(), reid, path, proven });
    }

    /// Ends the streams that their users may no longer have, if that is yet to be found out.
    pub(super) fn settle_streams(&mut self) {
        self.keep_current();
        if !self.who.unsettled {
            return;
        }
        let Some(mut streams) = self.who.streams.take() else {
            self.who.unsettled = false;
            return;
        };
        // A stream that is about to be opened is not there yet.
        let opening = self.in_flight() > 0;
        let mut unsettled = false;
        let mut judged: Option<(Arc<Proven>, Option<Arc<Identity>>)> = None;
        streams.retain(|watched| {
            let known = judged.as_ref().filter(|(proven, _)| Arc::ptr_eq(proven, &watched.proven));
            let identity = if let Some((_, identity)) = known {
                identity.clone()
            } else {
                let (identity, is_final) = self.judge_again(&watched.proven);
                unsettled |= !is_final;
                judged = Some((Arc::clone(&watched.proven), identity.clone()));
                identity
            };
            let reason = match &identity {
                None => "these credentials are no longer good",
                Some(who) if !self.who.policy.allows(who, Verb::Stream, &watched.path) => {
                    "this is no longer allowed; the stream has ended"
                }
                Some(_) => return true,
            };
            let (resource, reid) = (watched.resource, &watched.reid);
            if self.outbox.end_stream_of(resource, reid, Rnum::Forbidden, reason) {
                self.shared.counters.streams_revoked.add(1);
                return false;
            }
            unsettled |= opening;
            opening
        });
        self.who.unsettled = unsettled;
        self.who.streams = Some(streams).filter(|streams| !streams.is_empty());
    }

    /// Who credentials prove now that were good before, and whether that is all there is to say.
    /// While it is not, they count as good.
    fn judge_again(&self, proven: &Proven) -> (Option<Arc<Identity>>, bool) {
        let current = self
            .who
            .proven
            .as_ref()
            .filter(|current| self.who.fresh && current.identity.user == proven.identity.user);
        if let Some(current) = current {
            return (Some(Arc::clone(&current.identity)), true);
        }
        let fields = decode_auth(proven.field.as_deref(), &self.shared.settings.limits);
        match fields.map(|fields| self.judge(fields, true)) {
            Ok(Verdict::Known(identity)) => (Some(identity), true),
            Ok(Verdict::Pending) => (Some(Arc::clone(&proven.identity)), false),
            Ok(Verdict::Unavailable | Verdict::TooManyFailures) => {
                (Some(Arc::clone(&proven.identity)), true)
            }
            Ok(Verdict::Unknown) | Err(_) => (None, true),
        }
    }
}
