//! What all actors share: settings, counters, and the structure that the directory publishes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};

use crate::access::Policy;
use crate::counters::Counters;
use crate::ports::{Credentials, Snapshot, SnapshotItem};
use crate::protocol::Path;
use crate::resource::Entry;
use crate::settings::Settings;
use crate::state::{Budget, Ending, Found, LinkGraph, Node, Outbox, Tree};

/// The tree and the links. The directory actor alone writes them, for microseconds at a time;
/// sessions look resources up in them and the supervisor saves a clone.
#[derive(Default)]
pub struct Structure {
    /// The tree of names.
    pub tree: Tree<Arc<Entry>>,
    /// The links between resources.
    pub graph: LinkGraph,
    /// Number of the last structural change; 0 for none.
    pub sequence: u64,
}

/// See the module's text.
pub struct Shared {
    /// The broker's bounds.
    pub settings: Settings,
    /// What happened so far.
    pub counters: Counters,
    /// Bytes of all values.
    pub values: Budget,
    /// Whether anything changed since the last snapshot was begun.
    pub changed: AtomicBool,
    /// The tree and the links.
    pub structure: RwLock<Structure>,
    /// What an identity may do.
    pub policy: Policy,
    /// Who a client is.
    pub credentials: Box<dyn Credentials>,
    /// The outboxes of the sessions that are open.
    pub sessions: Sessions,
    /// Resources whose actor was started, to be looked at for those that may rest.
    pub active: Mutex<Vec<Weak<Entry>>>,
    resources: AtomicU64,
}

impl Shared {
    /// Nothing yet.
    pub fn new(settings: Settings, policy: Policy, credentials: Box<dyn Credentials>) -> Self {
        Shared {
            counters: Counters::default(),
            values: Budget::new(settings.values_bytes_max),
            changed: AtomicBool::new(false),
            structure: RwLock::new(Structure::default()),
            policy,
            credentials,
            sessions: Sessions::new(settings.connections_max),
            active: Mutex::new(Vec::new()),
            resources: AtomicU64::new(0),
            settings,
        }
    }

    /// A number that no resource of this process has had.
    pub fn next_resource(&self) -> u64 {
        self.resources.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Asks the actors that were not used since the last call to rest.
    pub fn rest_idle_resources(&self) {
        let mut active = std::mem::take(&mut *self.active.lock());
        active.retain(|entry| entry.upgrade().is_some_and(|entry| entry.rest_if_idle()));
        self.active.lock().append(&mut active);
    }

    /// The resource at this path.
    pub fn resource(&self, path: &Path) -> Option<Arc<Entry>> {
        match self.structure.read().tree.find(path.names()) {
            Found::Leaf(entry) => Some(Arc::clone(entry)),
            _ => None,
        }
    }

    /// Notes that there is something to save. A store only when it changes, so that writers on
    /// several threads do not fight over the cache line.
    pub fn note_change(&self) {
        if !self.changed.load(Ordering::Relaxed) {
            self.changed.store(true, Ordering::Release);
        }
    }

    /// A picture of the structure as it is now, with each value as it is when the picture is read.
    pub fn picture(&self) -> Snapshot {
        let structure = self.structure.read();
        let tree = structure.tree.clone();
        let sequence = structure.sequence;
        let links: Vec<SnapshotItem> = structure
            .graph
            .pairs()
            .map(|(source, destination)| SnapshotItem::Link {
                source: source.clone(),
                destination: destination.clone(),
            })
            .collect();
        drop(structure);
        let nodes = tree.walk().map(|(path, node)| match node {
            Node::Directory(_) => SnapshotItem::Directory { path },
            Node::Leaf(entry) => SnapshotItem::Resource { path, value: entry.value() },
        });
        Snapshot { sequence, items: Box::new(nodes.chain(links)) }
    }
}

/// The sessions that are open, so that they can be counted and asked to end.
pub struct Sessions {
    open: Mutex<Open>,
    max: usize,
}

#[derive(Default)]
struct Open {
    outboxes: HashMap<u64, Weak<Outbox>>,
    last: u64,
    ending: Option<Ending>,
}

impl Sessions {
    fn new(max: usize) -> Self {
        Sessions { open: Mutex::new(Open::default()), max }
    }

    /// Admits a session and returns its number, or `None` if there are as many as there may be or
    /// the broker is stopping.
    pub fn admit(&self, outbox: &Arc<Outbox>) -> Option<u64> {
        let mut open = self.open.lock();
        if open.outboxes.len() >= self.max || open.ending.is_some() {
            return None;
        }
        open.last += 1;
        let number = open.last;
        open.outboxes.insert(number, Arc::downgrade(outbox));
        Some(number)
    }

    /// Forgets a session.
    pub fn leave(&self, number: u64) {
        self.open.lock().outboxes.remove(&number);
    }

    /// Sessions that are open.
    pub fn count(&self) -> usize {
        self.open.lock().outboxes.len()
    }

    /// Asks every session to end, and admits no more.
    pub fn end_all(&self, ending: Ending) {
        let outboxes: Vec<_> = {
            let mut open = self.open.lock();
            open.ending = Some(ending);
            open.outboxes.values().filter_map(Weak::upgrade).collect()
        };
        for outbox in outboxes {
            outbox.request_end(ending);
        }
    }
}

#[cfg(test)]
pub mod tests {
    use std::time::Duration;

    use super::*;
    use crate::access::Identity;
    use crate::protocol::{AuthFields, Limits};
    use crate::settings::Sync;
    use crate::state::OutboxLimits;

    struct Anybody;

    impl Credentials for Anybody {
        fn identify(&self, credentials: &AuthFields<'_>) -> Option<Arc<Identity>> {
            Some(Arc::new(Identity { user: credentials.user.into(), admin: true }))
        }
    }

    /// A broker's shared part with small bounds.
    pub fn shared() -> Shared {
        let settings = Settings {
            limits: Limits {
                payload_depth_max: 32,
                path_depth_max: 8,
                name_bytes_max: 64,
                path_bytes_max: 512,
                auth_bytes_max: 512,
                reid_bytes_max: 64,
            },
            nodes_max: 100,
            values_bytes_max: 1000,
            list_bytes_max: 1000,
            links_max: 10,
            link_buffer: 4,
            connections_max: 2,
            requests_max: 8,
            requests_bytes_max: 1000,
            replies_bytes_max: 1000,
            outbox: OutboxLimits {
                streams_max: 4,
                stream_buffer: 4,
                stream_buffer_bytes: 100,
                updates_bytes_max: 100,
            },
            mailbox_directory: 16,
            resource_idle_timeout: Duration::from_secs(1),
            mailbox_resource: 16,
            mailbox_supervisor: 16,
            snapshot_interval: Duration::from_secs(1),
            sync: Sync::Interval,
        };
        Shared::new(settings, Policy::AllowAll, Box::new(Anybody))
    }

    #[test]
    fn sessions_are_admitted_up_to_the_bound_and_none_after_the_end() {
        let shared = shared();
        let outbox = || Arc::new(Outbox::new(shared.settings.outbox));
        let (one, two) = (outbox(), outbox());
        let first = shared.sessions.admit(&one).unwrap();
        assert!(shared.sessions.admit(&two).is_some());
        assert!(shared.sessions.admit(&two).is_none());
        shared.sessions.leave(first);
        assert!(shared.sessions.admit(&two).is_some_and(|number| number != first));
        shared.sessions.end_all(Ending::ShuttingDown);
        shared.sessions.leave(first + 1);
        assert!(shared.sessions.admit(&one).is_none());
    }
}
