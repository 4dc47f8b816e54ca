//! Ports: what the broker asks of the world outside this crate.
//!
//! The server crate implements these traits; nothing here knows a file, a socket or a clock on
//! the wall. Keep them small: a port is a question, not a framework.

use std::sync::Arc;

use crate::access::Identity;
use crate::protocol::{AuthFields, Path, Value};

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
        /// Its last value.
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
pub struct Snapshot {
    /// The sequence of the last structural change that the picture contains; 0 for none.
    pub sequence: u64,
    /// Everything there is.
    pub items: Box<dyn Iterator<Item = SnapshotItem> + Send>,
}

/// What a store found at the start.
#[derive(Debug, Default, PartialEq)]
pub struct Loaded {
    /// The items of the newest good snapshot, in the order in which they were saved.
    pub items: Vec<SnapshotItem>,
    /// The sequence of that snapshot; 0 if there was none.
    pub sequence: u64,
    /// Acknowledged structural changes after that snapshot, by rising sequence.
    pub changes: Vec<Change>,
}

/// What a save did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveReport {
    /// Resources written.
    pub resources: u64,
    /// Size of the snapshot in bytes.
    pub bytes: u64,
}

/// Why a store could not do what it was asked. The text is one sentence for the operator that
/// names the file and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// Keeps the state of the broker over a restart.
///
/// `append` is called by one thread and `save` by another, possibly at the same time: a long save
/// must not delay an append.
pub trait Store: Send + Sync + 'static {
    /// Reads the newest good state. Called once, before anything else.
    ///
    /// Damaged files are set aside and reported in the log.
    ///
    /// # Errors
    /// If the store cannot be used at all; the broker then refuses to start.
    fn load(&self) -> Result<Loaded, StoreError>;

    /// Makes these changes durable before it returns.
    ///
    /// # Errors
    /// If any of them may not be durable; the same changes may be appended again.
    fn append(&self, changes: &[Change]) -> Result<(), StoreError>;

    /// Replaces what is stored by the snapshot that `take` returns, atomically and durably.
    ///
    /// `take` is called once. Every change appended before it is called is part of its snapshot;
    /// changes appended later may or may not be.
    ///
    /// # Errors
    /// If the snapshot may not be durable; what was stored before stays valid.
    fn save(&self, take: &mut dyn FnMut() -> Snapshot) -> Result<SaveReport, StoreError>;
}

/// Says who a client is.
pub trait Credentials: Send + Sync + 'static {
    /// The identity that these credentials prove, or `None`: the request is answered 401.
    ///
    /// Called when a connection's credentials differ from the last ones that it sent, not for
    /// every request, so it may hash. It must not block.
    fn identify(&self, credentials: &AuthFields<'_>) -> Option<Arc<Identity>>;
}

/// Bounds how often a connection may ask.
pub trait Throttle: 'static {
    /// Whether one more request may begin now; if not, it is answered 429.
    fn admit(&self) -> bool;
}
