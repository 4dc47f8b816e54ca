//! Settings of the broker: every bound that it keeps. Values come from the configuration of the
//! server; nothing here has a default, so that there is one place for defaults.

use std::sync::Arc;
use std::time::Duration;

use crate::protocol::{Class, Limits, Pattern};
use crate::state::OutboxLimits;
use crate::tunable::Tunable;

/// What is on disk before a change is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Structural changes, and values.
    All,
    /// Structural changes; values are saved at an interval.
    Structure,
    /// Nothing; everything is saved at an interval.
    Interval,
}

/// Gives a class to the resources at some paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassRule {
    /// Which resources.
    pub pattern: Pattern,
    /// Their class.
    pub class: Class,
}

/// Everything that can be set. What is tunable may be changed while the broker runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bounds on the form of a request.
    pub limits: Limits,
    /// Resources and directories in all.
    pub nodes_max: Tunable<usize>,
    /// Bytes of all values together.
    pub values_bytes_max: Arc<Tunable<u64>>,
    /// Bytes of one listing.
    pub list_bytes_max: Tunable<usize>,
    /// Links in all.
    pub links_max: Tunable<usize>,
    /// Newest values kept by a link whose destination is behind.
    pub link_buffer: Tunable<usize>,
    /// Connections at a time.
    pub connections_max: usize,
    /// Requests of one connection in flight.
    pub requests_max: Tunable<usize>,
    /// Bytes of the requests of one connection in flight; one request always passes.
    pub requests_bytes_max: Tunable<usize>,
    /// Bytes of answers that wait for one connection before its requests are no longer read.
    pub replies_bytes_max: Tunable<usize>,
    /// Bounds of each outbox.
    pub outbox: Arc<OutboxLimits>,
    /// Time without use after which the actor of a resource ends, at most doubled.
    pub resource_idle_timeout: Tunable<Duration>,
    /// Messages that wait for the directory.
    pub mailbox_directory: usize,
    /// Messages that wait for a resource.
    pub mailbox_resource: Tunable<usize>,
    /// Messages that wait for the supervisor.
    pub mailbox_supervisor: usize,
    /// Time between saves of what has changed.
    pub snapshot_interval: Tunable<Duration>,
    /// Time between whole copies of what is saved.
    pub backup_interval: Tunable<Duration>,
    /// What is on disk before a change is answered.
    pub sync: Sync,
    /// The classes of resources that were made without one; the first rule that fits decides.
    pub classes: Vec<ClassRule>,
    /// Bytes of values in memory beyond which those that nobody uses leave it, if the store keeps
    /// them.
    pub resident_bytes_max: Tunable<u64>,
}
