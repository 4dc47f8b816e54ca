//! What all actors share: settings, counters, and the structure that the directory publishes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use actix::ArbiterHandle;
use parking_lot::{Mutex, RwLock};

use crate::access::{Identity, Policy};
use crate::counters::Counters;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::ports::{Credentials, Peer, Snapshot, SnapshotItem, Steering, Store, StoreError};
use crate::protocol::{Class, Name, Path, Value};
use crate::resource::Entry;
use crate::settings::{Settings, Sync};
use crate::state::{Budget, Effects, Ending, Found, LinkGraph, Node, Outbox, Tree};
use crate::unsaved::Unsaved;

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
    /// What is measured of it.
    pub metrics: Metrics,
    /// Bytes of all values, in memory or in the store only.
    pub values: Budget,
    /// Bytes of those that are in the store only.
    away_bytes: AtomicU64,
    /// What is to be saved.
    pub unsaved: Unsaved,
    /// Where it is saved.
    pub store: Arc<dyn Store>,
    /// Whether the store works.
    pub store_health: StoreHealth,
    /// The thread that reads values from the store.
    pub reader: Reader,
    /// The tree and the links.
    pub structure: RwLock<Structure>,
    /// What an identity may do.
    pub access: Access,
    /// What keeps the settings that clients may write, if they may.
    pub steering: OnceLock<Box<dyn Steering>>,
    /// Who a client is.
    pub credentials: Box<dyn Credentials>,
    /// The outboxes of the sessions that are open.
    pub sessions: Sessions,
    /// What has happened to them.
    pub events: Events,
    /// Resources whose actor was started, to be looked at for those that may rest.
    pub active: Mutex<Vec<Weak<Entry>>>,
    resources: AtomicU64,
}

impl Shared {
    /// Nothing yet.
    pub fn new(
        settings: Settings,
        policy: Policy,
        credentials: Box<dyn Credentials>,
        store: Arc<dyn Store>,
    ) -> Self {
        Shared {
            counters: Counters::default(),
            metrics: Metrics::default(),
            values: Budget::new(Arc::clone(&settings.values_bytes_max)),
            away_bytes: AtomicU64::new(0),
            unsaved: Unsaved::default(),
            store,
            store_health: StoreHealth::default(),
            reader: Reader::default(),
            structure: RwLock::new(Structure::default()),
            access: Access::new(policy),
            steering: OnceLock::new(),
            credentials,
            sessions: Sessions::new(settings.connections_max),
            events: Events::default(),
            active: Mutex::new(Vec::new()),
            resources: AtomicU64::new(0),
            settings,
        }
    }

    /// A number that no resource has had.
    pub fn next_resource(&self) -> u64 {
        self.resources.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Says that a resource has this number, so that no other gets it.
    pub fn note_number(&self, number: u64) {
        self.resources.fetch_max(number, Ordering::Relaxed);
    }

    /// The class of a resource at this path that was made with `class`, or without one.
    pub fn class(&self, path: &Path, class: Option<Class>) -> Class {
        class.unwrap_or_else(|| {
            let fitting = self.settings.classes.iter().find(|rule| rule.pattern.matches(path));
            fitting.map_or_else(Class::default, |rule| rule.class)
        })
    }

    /// Effects of a resource that takes values, empty.
    pub fn effects(&self) -> Effects<Arc<Entry>> {
        Effects::new(self.settings.sync == Sync::All, self.settings.link_buffer.get())
    }

    /// Bytes of values in memory.
    pub fn resident_bytes(&self) -> u64 {
        self.values.used().saturating_sub(self.away_bytes.load(Ordering::Relaxed))
    }

    /// Says that a value of so many bytes is in the store only; none if there is no such value.
    pub fn note_away(&self, bytes: u64) {
        if bytes > 0 {
            self.metrics.went_away.add(1);
            self.away_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Says that a value of so many bytes no longer is in the store only.
    pub fn note_back(&self, bytes: u64) {
        if bytes > 0 {
            self.metrics.came_back.add(1);
            self.away_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Leaves values that nobody uses to the store until those in memory are well below their
    /// bound; how many left.
    pub fn leave_idle_values(&self) -> u64 {
        let target = self.settings.resident_bytes_max.get() / 10 * 9;
        let mut left = 0;
        let tree = self.structure.read().tree.clone();
        for entry in tree.leaves() {
            let bytes = entry.leave_if_idle();
            if bytes > 0 {
                left += 1;
                self.note_away(bytes);
                if self.resident_bytes() <= target {
                    break;
                }
            }
        }
        self.counters.values_left_to_store.add(left);
        left
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

    /// A picture of the structure as it is now, with each value as it is when the picture is read.
    pub fn picture(&self) -> Snapshot<'_> {
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
            Node::Leaf(entry) => {
                let class = self.explicit_class(&path, &entry);
                let value = self.saved_value(&path, &entry);
                SnapshotItem::Resource { path, number: entry.number(), class, value }
            }
        });
        Snapshot { sequence, items: Box::new(nodes.chain(links)) }
    }

    /// The resources below a directory with their values, by their names from there on; `None` for
    /// a value that cannot be read from the store.
    pub fn values_below(&self, directory: &Path) -> Vec<(Vec<Name>, Option<Value>)> {
        let tree = self.structure.read().tree.clone();
        let Found::Directory(root) = tree.find(directory.names()) else { return Vec::new() };
        let mut found = Vec::new();
        let mut open = vec![(Vec::new(), root)];
        while let Some((names, inner)) = open.pop() {
            for (name, node) in inner.iter() {
                let mut names: Vec<Name> = names.clone();
                names.push(name.clone());
                match node {
                    Node::Directory(inner) => open.push((names, inner)),
                    Node::Leaf(entry) => {
                        found.push((names, self.value(entry).ok()));
                    }
                }
            }
        }
        found
    }

    /// The class that a resource was made with, if the rules would give it another one.
    fn explicit_class(&self, path: &Path, entry: &Entry) -> Option<Class> {
        let class = entry.cell().class();
        if self.class(path, None) == class { None } else { Some(class) }
    }

    /// The value of a resource as it is to be saved, wherever it is.
    fn saved_value(&self, path: &Path, entry: &Entry) -> Value {
        if entry.cell().class() != Class::State {
            return Value::nil();
        }
        self.value(entry).unwrap_or_else(|error| {
            log::error!("the value of {path} is left out: {error}");
            Value::nil()
        })
    }

    /// The value of a resource, wherever it is.
    fn value(&self, entry: &Entry) -> Result<Value, StoreError> {
        if let Some(value) = entry.cell().get() {
            return Ok(value);
        }
        match self.store.read(entry.number()) {
            Ok(value) => Ok(value.unwrap_or_else(Value::nil)),
            // It may have been written meanwhile.
            Err(error) => entry.cell().get().ok_or(error),
        }
    }
}

/// What an identity may do, as it is now.
///
/// Whatever changes in it, or in who somebody is, begins another epoch. A session that sees another
/// epoch than its own forgets what it knew to be allowed, and whether its credentials were good.
pub struct Access {
    policy: RwLock<Arc<Policy>>,
    epoch: AtomicU64,
    special: OnceLock<Told>,
}

/// Called when something happens; must not block.
pub type Told = Box<dyn Fn() + Send + std::marker::Sync>;

impl Access {
    fn new(policy: Policy) -> Self {
        Access {
            policy: RwLock::new(Arc::new(policy)),
            epoch: AtomicU64::new(0),
            special: OnceLock::new(),
        }
    }

    /// Says who is told of requests to write what belongs to the broker itself.
    pub fn watch_special(&self, told: Told) {
        // There is one in the life of a broker.
        let _ = self.special.set(told);
    }

    /// Says that a request is about to write what belongs to the broker itself.
    pub fn note_special(&self) {
        if let Some(told) = self.special.get() {
            told();
        }
    }

    /// The epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The policy.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read())
    }

    /// Puts another policy in its place. An epoch has to begin after that.
    pub fn replace(&self, policy: Policy) {
        *self.policy.write() = Arc::new(policy);
    }

    /// Begins another epoch.
    pub fn begin_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::Release);
    }
}

/// Whether the store works, for each of the ways in which it is used: on a full disk a small append
/// may succeed between two saves that do not.
#[derive(Default)]
pub struct StoreHealth {
    /// The last append failed.
    pub append_failed: AtomicBool,
    /// The last save failed.
    pub save_failed: AtomicBool,
}

impl StoreHealth {
    /// Whether nothing failed the last time.
    pub fn is_good(&self) -> bool {
        !self.append_failed.load(Ordering::Relaxed) && !self.save_failed.load(Ordering::Relaxed)
    }
}

/// A thread on which values are read from the store.
#[derive(Default)]
pub struct Reader {
    thread: OnceLock<ArbiterHandle>,
}

impl Reader {
    /// Says which thread it is.
    pub fn connect(&self, thread: ArbiterHandle) {
        // There is one in the life of a broker.
        let _ = self.thread.set(thread);
    }

    /// Runs this there.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        if let Some(thread) = self.thread.get() {
            // It ends with the broker only, and nobody waits then.
            let _sent = thread.spawn_fn(job);
        }
    }
}

/// A session as others know it.
#[derive(Clone)]
pub struct Member {
    /// What it has yet to receive.
    pub outbox: Weak<Outbox>,
    /// The last user that it proved to be; `None` until then.
    pub user: Option<Arc<Identity>>,
    /// The address of the other end, as in [`Peer`].
    pub address: Option<[u8; 16]>,
    /// When it was opened, in seconds since 1970.
    pub opened: u32,
}

/// The sessions that are open, so that they can be counted, looked at and asked to end.
pub struct Sessions {
    open: Mutex<Open>,
    max: usize,
}

#[derive(Default)]
struct Open {
    members: HashMap<u64, Member>,
    last: u64,
    ending: Option<Ending>,
}

impl Sessions {
    fn new(max: usize) -> Self {
        Sessions { open: Mutex::new(Open::default()), max }
    }

    /// Admits a session and returns its number, or `None` if there are as many as there may be or
    /// the broker is stopping.
    pub fn admit(&self, outbox: &Arc<Outbox>, peer: &Peer) -> Option<u64> {
        let mut open = self.open.lock();
        if open.members.len() >= self.max || open.ending.is_some() {
            return None;
        }
        open.last += 1;
        let number = open.last;
        let member = Member {
            outbox: Arc::downgrade(outbox),
            user: None,
            address: peer.address,
            opened: peer.opened,
        };
        open.members.insert(number, member);
        Some(number)
    }

    /// Says who a session is now.
    pub fn note_user(&self, number: u64, user: Arc<Identity>) {
        if let Some(member) = self.open.lock().members.get_mut(&number) {
            member.user = Some(user);
        }
    }

    /// The sessions that are open, in the order in which they were opened.
    pub fn all(&self) -> Vec<(u64, Member)> {
        let mut all: Vec<_> = {
            let open = self.open.lock();
            open.members.iter().map(|(number, member)| (*number, member.clone())).collect()
        };
        all.sort_unstable_by_key(|(number, _)| *number);
        all
    }

    /// The session of this number.
    pub fn one(&self, number: u64) -> Option<Member> {
        self.open.lock().members.get(&number).cloned()
    }

    /// Asks one session to end; `false` if there is none of this number.
    pub fn end_one(&self, number: u64, ending: Ending) -> bool {
        let Some(outbox) = self.one(number).and_then(|member| member.outbox.upgrade()) else {
            return false;
        };
        outbox.request_end(ending);
        true
    }

    /// Forgets a session.
    pub fn leave(&self, number: u64) {
        self.open.lock().members.remove(&number);
    }

    /// Sessions that are open.
    pub fn count(&self) -> usize {
        self.open.lock().members.len()
    }

    /// Their streams, and the bytes that wait for them, together.
    pub fn streams_and_bytes(&self) -> [u64; 2] {
        let outboxes: Vec<_> = {
            let open = self.open.lock();
            open.members.values().map(|member| Weak::clone(&member.outbox)).collect()
        };
        outboxes.iter().filter_map(Weak::upgrade).map(|outbox| outbox.seen()).fold(
            [0, 0],
            |[streams, bytes], seen| {
                [streams + seen.streams as u64, bytes + seen.waiting_bytes as u64]
            },
        )
    }

    /// Whether sessions are asked to end.
    pub fn are_ending(&self) -> bool {
        self.open.lock().ending.is_some()
    }

    /// Has every session take a turn.
    pub fn wake_all(&self) {
        let outboxes: Vec<_> = {
            let open = self.open.lock();
            open.members.values().filter_map(|member| member.outbox.upgrade()).collect()
        };
        for outbox in outboxes {
            outbox.wake();
        }
    }

    /// Admits no more, for this reason; the numbers of those that are open, the oldest first.
    pub fn admit_no_more(&self, ending: Ending) -> Vec<u64> {
        let mut open = self.open.lock();
        open.ending = Some(ending);
        let mut numbers: Vec<u64> = open.members.keys().copied().collect();
        drop(open);
        numbers.sort_unstable();
        numbers
    }

    /// Asks these sessions to end.
    pub fn end(&self, numbers: &[u64], ending: Ending) {
        for number in numbers {
            self.end_one(*number, ending);
        }
    }
}

#[cfg(test)]
pub mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use super::*;
    use crate::access::Identity;
    use crate::ports::{Change, Presented, Restore, SaveReport, StoreError, Unsaved, Verdict};
    use crate::protocol::Limits;
    use crate::state::OutboxLimits;

    /// Keeps nothing.
    struct Nowhere;

    impl Store for Nowhere {
        fn load(&self, _: &mut dyn Restore) -> Result<(), StoreError> {
            Ok(())
        }

        fn append(&self, _: &[Change]) -> Result<(), StoreError> {
            Ok(())
        }

        fn save(&self, _: &dyn Unsaved) -> Result<SaveReport, StoreError> {
            Ok(SaveReport { resources: 0, bytes: 0 })
        }

        fn read(&self, _: u64) -> Result<Option<Value>, StoreError> {
            Ok(None)
        }

        fn keeps_values(&self) -> bool {
            false
        }
    }

    struct Anybody;

    impl Credentials for Anybody {
        fn identify(&self, presented: &Presented<'_>, _: &Waker) -> Verdict {
            let user = presented.fields.user.into();
            Verdict::Known(Arc::new(Identity { user, ..Identity::default() }))
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
            nodes_max: 100.into(),
            values_bytes_max: Arc::new(1000.into()),
            list_bytes_max: 1000.into(),
            links_max: 10.into(),
            link_buffer: 4.into(),
            connections_max: 2,
            requests_max: 8.into(),
            requests_bytes_max: 1000.into(),
            replies_bytes_max: 1000.into(),
            outbox: Arc::new(OutboxLimits {
                streams_max: 4.into(),
                stream_buffer: 4.into(),
                stream_buffer_bytes: 100.into(),
                updates_bytes_max: 100.into(),
            }),
            mailbox_directory: 16,
            resource_idle_timeout: Duration::from_secs(1).into(),
            mailbox_resource: 16.into(),
            mailbox_supervisor: 16,
            snapshot_interval: Duration::from_secs(1).into(),
            backup_interval: Duration::from_secs(3600).into(),
            sync: Sync::Interval,
            classes: Vec::new(),
            resident_bytes_max: u64::MAX.into(),
        };
        Shared::new(settings, Policy::AllowAll, Box::new(Anybody), Arc::new(Nowhere))
    }

    #[test]
    fn a_value_that_cannot_be_read_is_told_from_nil() {
        /// Reads nothing.
        struct Broken;

        impl Store for Broken {
            fn load(&self, _: &mut dyn Restore) -> Result<(), StoreError> {
                Ok(())
            }

            fn append(&self, _: &[Change]) -> Result<(), StoreError> {
                Ok(())
            }

            fn save(&self, _: &dyn Unsaved) -> Result<SaveReport, StoreError> {
                Ok(SaveReport { resources: 0, bytes: 0 })
            }

            fn read(&self, _: u64) -> Result<Option<Value>, StoreError> {
                Err(StoreError("it is broken".to_owned()))
            }

            fn keeps_values(&self) -> bool {
                true
            }
        }

        let shared = Shared { store: Arc::new(Broken), ..shared() };
        let entries = ["here", "away"].map(|name| {
            let entry = Entry::new(1, Value::copy_from(&[0xcc, 200]), Class::State);
            let path = Path::new(["a", name]);
            let tree = &mut shared.structure.write().tree;
            tree.make_leaf(&path, Arc::clone(&entry), 99).unwrap();
            entry
        });
        assert!(entries[1].cell().send_away().is_some());
        let mut seen = shared.values_below(&Path::new(["a"]));
        seen.sort_by(|one, other| one.0.cmp(&other.0));
        let seen: Vec<_> =
            seen.iter().map(|(names, value)| (&*names[0], value.is_some())).collect();
        assert_eq!(seen, [("away", false), ("here", true)]);
    }

    #[test]
    fn sessions_are_admitted_up_to_the_bound_and_none_after_the_end() {
        let shared = shared();
        let outbox = || Arc::new(Outbox::new(Arc::clone(&shared.settings.outbox)));
        let (one, two) = (outbox(), outbox());
        let peer = Peer::default();
        let admit = |outbox| shared.sessions.admit(outbox, &peer);
        let first = admit(&one).unwrap();
        assert!(admit(&two).is_some());
        assert!(admit(&two).is_none());
        shared.sessions.leave(first);
        assert!(admit(&two).is_some_and(|number| number != first));
        let open = shared.sessions.admit_no_more(Ending::ShuttingDown);
        assert_eq!(open, [first + 1, first + 2]);
        shared.sessions.leave(first + 1);
        assert!(admit(&one).is_none());
    }
}
