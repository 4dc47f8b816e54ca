//! Ports: what the broker asks of the world outside this crate.
//!
//! The server crate implements these traits; nothing here knows a file, a socket or a clock on
//! the wall. Keep them small: a port is a question, not a framework.

use std::fmt;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::access::Identity;
use crate::protocol::{AuthFields, Class, Path, Refusal, Value, Verb};

/// A structural change of the tree or its links, in the order in which the directory made it.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Position in the order of all structural changes, from 1 up without gaps.
    pub sequence: u64,
    /// What changed.
    pub kind: ChangeKind,
}

/// What a structural change did. Replaying a change on a tree that lacks it repeats its effect.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeKind {
    /// A resource was made, and missing parent directories with it.
    CreateResource {
        /// Where.
        path: Path,
        /// Tells the resource from every other there ever was; 0 if the directory has not given it
        /// one yet.
        number: u64,
        /// The class that it was made with; `None` if the rules decide.
        class: Option<Class>,
        /// Its first value.
        value: Value,
    },
    /// A directory was made, and missing parent directories with it.
    CreateDirectory {
        /// Where.
        path: Path,
    },
    /// A resource or directory went, with all below it and every link from or to what went.
    Delete {
        /// What.
        path: Path,
    },
    /// Updates of `source` are from now on handed to `destination`.
    Link {
        /// The resource that is followed.
        source: Path,
        /// The resource that follows.
        destination: Path,
    },
    /// They no longer are.
    Unlink {
        /// The resource that was followed.
        source: Path,
        /// The resource that followed.
        destination: Path,
    },
}

/// One thing that a snapshot holds. Parents come before their children, links come last.
#[derive(Clone, Debug, PartialEq)]
pub enum SnapshotItem {
    /// A directory, empty or not.
    Directory {
        /// Where.
        path: Path,
    },
    /// A resource and its value.
    Resource {
        /// Where.
        path: Path,
        /// Its number; 0 if the store keeps none.
        number: u64,
        /// The class that it was made with; `None` if the rules decide.
        class: Option<Class>,
        /// Its last value, or nil if that is not kept.
        value: Value,
    },
    /// A link between two resources.
    Link {
        /// The resource that is followed.
        source: Path,
        /// The resource that follows.
        destination: Path,
    },
}

/// A consistent picture of the tree and its links, with each value as it is when it is read.
pub struct Snapshot<'s> {
    /// The sequence of the last structural change that the picture contains; 0 for none.
    pub sequence: u64,
    /// Everything there is.
    pub items: Box<dyn Iterator<Item = SnapshotItem> + 's>,
}

/// What has to be saved.
pub trait Unsaved {
    /// The whole state, for a store that always writes all of it.
    fn picture(&self) -> Snapshot<'_>;

    /// Numbers and values of the resources whose value changed since it was last asked for here.
    /// Whoever asks has to write them, and to report an error if that fails: they are then given
    /// again the next time. Resources that were deleted are left out; one may be in it whose
    /// creation has not been appended yet.
    fn values(&self) -> Box<dyn Iterator<Item = (u64, Value)> + '_>;
}

/// Takes what a store found at the start.
pub trait Restore {
    /// What follows is a new beginning: what was given before was damaged and is forgotten.
    fn begin(&mut self);

    /// One thing that was saved. Parents come before their children, links after their ends.
    fn item(&mut self, item: SnapshotItem);

    /// The sequence of the last change that the items contain.
    fn sequence(&mut self, sequence: u64);

    /// A structural change that was acknowledged after these items were saved, by rising sequence.
    fn change(&mut self, change: Change);
}

/// What a save did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveReport {
    /// Values written.
    pub resources: u64,
    /// Bytes written for them.
    pub bytes: u64,
}

/// Why a store could not do what it was asked. The text is one sentence for the operator that
/// names the file and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// Keeps the state of the broker over a restart.
///
/// `append` is called by one thread and `save` by another, possibly at the same time, and `read` by
/// any.
pub trait Store: Send + Sync + 'static {
    /// Gives the newest good state to `restore`. Called once, before anything else.
    ///
    /// Damaged files are set aside and reported in the log.
    ///
    /// # Errors
    /// If the store cannot be used at all; the broker then refuses to start.
    fn load(&self, restore: &mut dyn Restore) -> Result<(), StoreError>;

    /// Makes these changes durable before it returns.
    ///
    /// # Errors
    /// If any of them may not be durable; the same changes may be appended again, and what is there
    /// already is left as it is.
    fn append(&self, changes: &[Change]) -> Result<(), StoreError>;

    /// Makes everything that is unsaved durable, atomically.
    ///
    /// # Errors
    /// If any of it may not be durable; what was stored before stays valid.
    fn save(&self, unsaved: &dyn Unsaved) -> Result<SaveReport, StoreError>;

    /// The saved value of the resource with this number; `None` if it has none. Only asked of a
    /// store that [keeps values to be read](Store::keeps_values).
    ///
    /// # Errors
    /// If it cannot be read.
    fn read(&self, number: u64) -> Result<Option<Value>, StoreError>;

    /// Writes a whole copy beside what is stored, if the newest is older than `age`, for the day on
    /// which what is stored is damaged; `None` if there is nothing to do.
    ///
    /// # Errors
    /// If the copy may not be durable; the one before stays valid.
    fn back_up<'s>(
        &self,
        age: Duration,
        take: &mut dyn FnMut() -> Snapshot<'s>,
    ) -> Result<Option<SaveReport>, StoreError> {
        let _ = (age, take);
        Ok(None)
    }

    /// Whether single values can be read while the broker runs, so that they need not stay in
    /// memory.
    fn keeps_values(&self) -> bool;
}

/// What a client presents to prove who it is. Tokens are secrets: they must not reach a log.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// AUTH of the request.
    pub fields: AuthFields<'a>,
    /// What came with the connection; it counts where AUTH says nothing.
    pub connection: &'a Peer,
    /// These credentials were good before on this connection, and it is asked whether they still
    /// are.
    pub again: bool,
}

/// What is known of the other end of a connection from the moment at which it was made.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Its IPv6 address, or an IPv4 address mapped into one, if it has any.
    pub address: Option<[u8; 16]>,
    /// When it connected, in seconds since 1970.
    pub opened: u32,
    /// Credentials that came with it, if any did.
    pub credentials: Option<Box<PeerCredentials>>,
}

/// Credentials that came with a connection.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PeerCredentials {
    /// The name of the user, empty if it was not given.
    pub user: String,
    /// A token or password, empty if none was given.
    pub token: String,
    /// The user whom a certificate names that was checked already, empty if there was none.
    pub certified: String,
    /// When that certificate expires, in seconds since 1970.
    pub certified_until: Option<u64>,
}

/// Without what is secret.
impl fmt::Debug for PeerCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PeerCredentials")
            .field("user", &self.user)
            .field("certified", &self.certified)
            .finish_non_exhaustive()
    }
}

/// Who a client is.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// This user.
    Known(Arc<Identity>),
    /// Nobody: the request is answered 401.
    Unknown,
    /// It has to be found out first; the waiter is woken when it is worth while to ask again,
    /// which is at the latest when some time-out has passed.
    Pending,
    /// It cannot be found out now: the request is answered 503.
    Unavailable,
    /// Too many attempts failed: the request is answered 429.
    TooManyFailures,
}

/// Says who a client is.
pub trait Credentials: Send + Sync + 'static {
    /// Who proves to be what with these credentials.
    ///
    /// Called when a connection's credentials differ from the last ones that it sent, and again
    /// for those that were good whenever [`Broker::recheck`](crate::Broker::recheck) was called,
    /// not for every request. It must not block: what takes long is done elsewhere, and is
    /// `Pending` until then. With a verdict of `Pending` the waiter is kept, to be woken.
    fn identify(&self, presented: &Presented<'_>, waiter: &Waker) -> Verdict;
}

/// Bounds how often a connection may ask.
pub trait Throttle: 'static {
    /// Whether one more request may begin now; if not, it is answered 429.
    fn admit(&self) -> bool;
}

/// Keeps what clients may write of the settings of the broker.
pub trait Steering: Send + Sync {
    /// Whether a request that writes there is about a setting, or about where they are.
    fn owns(&self, verb: Verb, path: &Path) -> bool;

    /// Takes a value for a setting; must not block.
    fn put(&self, path: &Path, value: Value, answer: Steered);
}

/// Called with the outcome, a remark or a refusal; dropped, it answers 500.
pub type Steered = Box<dyn FnOnce(Result<Option<String>, Refusal>) + Send>;
