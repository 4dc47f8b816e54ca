//! Looks at sessions, streams, resources and links, for who operates the broker.
//!
//! Nothing here changes anything. Each look is a picture that was taken while the broker went on:
//! its parts may be of slightly different moments. What looks at every resource may take a second
//! for a million of them and belongs on a thread that has nothing else to do.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crate::access::Identity;
use crate::protocol::{Class, Path};
use crate::resource::{Activity, Entry};
use crate::shared::{Member, Shared};
use crate::state::{Node, OutboxSeen, StreamSeen, Tree};

/// Looks at a broker.
pub struct Inspector {
    shared: Arc<Shared>,
}

/// A connection.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// Its number, as in the log.
    pub number: u64,
    /// Whom it last proved to be; `None` until then.
    pub user: Option<Arc<Identity>>,
    /// Its IPv6 address, or an IPv4 address mapped into one; `None` through a socket file.
    pub address: Option<[u8; 16]>,
    /// When it was opened, in seconds since 1970.
    pub opened: u32,
    /// What it did and has yet to receive.
    pub outbox: OutboxSeen,
}

/// A stream of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamView {
    /// The number of its session.
    pub session: u64,
    /// The number of its resource.
    pub resource: u64,
    /// Where the resource is; `None` if that was not asked for, or it is gone.
    pub path: Option<Path>,
    /// Values that wait to be sent.
    pub waiting: usize,
    /// Bytes of those.
    pub waiting_bytes: usize,
    /// Older values that were dropped because the connection was behind.
    pub skipped: u64,
}

/// A resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceView {
    /// Where it is.
    pub path: Path,
    /// What tells it from every other that there ever was.
    pub number: u64,
    /// What is kept of it.
    pub class: Class,
    /// Bytes of its value.
    pub bytes: u64,
    /// Whether the value is in memory.
    pub is_resident: bool,
    /// What it has besides its value.
    pub activity: Activity,
    /// Values that it took since it last had nothing but its value.
    pub updates: u64,
    /// Requests and values that wait for its actor.
    pub waiting: usize,
    /// Streams of it.
    pub streams: usize,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkView {
    /// The resource that follows.
    pub destination: Path,
    /// The resource that is followed.
    pub source: Path,
}

/// Numbers of the tree as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeView {
    /// Directories, without the root.
    pub directories: u64,
    /// Resources that have nothing but their value.
    pub untouched: u64,
    /// Resources with streams or links, and no actor.
    pub passive: u64,
    /// Resources with an actor.
    pub active: u64,
    /// Resources whose value is on its way from the store.
    pub loading: u64,
    /// Resources whose value is in the store only.
    pub away: u64,
    /// Names of the longest path.
    pub depth: u64,
    /// Bytes of all values.
    pub values_bytes: u64,
    /// Links.
    pub links: u64,
    /// Streams.
    pub streams: u64,
}

/// Which resources come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those with the largest value.
    Bytes,
    /// Those with the most streams.
    Streams,
    /// Those that took the most values.
    Updates,
}

impl Inspector {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Inspector { shared }
    }

    /// Every connection, the oldest first.
    pub fn sessions(&self) -> Vec<SessionView> {
        let all = self.shared.sessions.all().into_iter();
        all.filter_map(|(number, member)| session(number, member)).collect()
    }

    /// A connection and its streams; `None` if there is none of this number.
    pub fn session(&self, number: u64) -> Option<(SessionView, Vec<StreamView>)> {
        let member = self.shared.sessions.one(number)?;
        let seen = member.outbox.upgrade()?.streams_seen();
        let mut streams: Vec<_> = seen.into_iter().map(|seen| stream(number, seen)).collect();
        self.find_paths(&mut streams);
        Some((session(number, member)?, streams))
    }

    /// The `count` streams that lost the most values, those without any left out.
    pub fn slowest_streams(&self, count: usize) -> Vec<StreamView> {
        let mut all = self.streams();
        all.retain(|stream| stream.skipped > 0);
        all.sort_by_key(|stream| std::cmp::Reverse(stream.skipped));
        all.truncate(count);
        self.find_paths(&mut all);
        all
    }

    /// A resource and its streams; `None` if there is none at this path.
    pub fn resource(&self, path: &Path) -> Option<(ResourceView, Vec<StreamView>)> {
        let entry = self.shared.resource(path)?;
        let mut streams = self.streams();
        streams.retain(|stream| stream.resource == entry.number());
        for stream in &mut streams {
            stream.path = Some(path.clone());
        }
        Some((resource(path.clone(), &entry, streams.len())?, streams))
    }

    /// The `count` resources that come first, of those at `below` and under it.
    pub fn first_resources(&self, wanted: Wanted, below: &Path, count: usize) -> Vec<ResourceView> {
        let mut streams: HashMap<u64, usize> = HashMap::new();
        for stream in self.streams() {
            *streams.entry(stream.resource).or_default() += 1;
        }
        let rank = |view: &ResourceView| match wanted {
            Wanted::Bytes => view.bytes,
            Wanted::Streams => view.streams as u64,
            Wanted::Updates => view.updates,
        };
        let is_first = |a: &ResourceView, b: &ResourceView| {
            rank(b).cmp(&rank(a)).then_with(|| a.path.names().cmp(b.path.names()))
        };
        let mut first: Vec<ResourceView> = Vec::new();
        for (path, entry) in leaves(&self.tree()) {
            if !path.names().starts_with(below.names()) {
                continue;
            }
            let watchers = streams.get(&entry.number()).copied().unwrap_or_default();
            first.extend(resource(path, &entry, watchers));
            // Twice as many at most, so that each costs little.
            if first.len() >= count.saturating_mul(2).max(64) {
                first.sort_by(is_first);
                first.truncate(count);
            }
        }
        first.sort_by(is_first);
        first.truncate(count);
        first
    }

    /// Every link, or those from and to a resource.
    pub fn links(&self, of: Option<&Path>) -> Vec<LinkView> {
        let structure = self.shared.structure.read();
        let pairs = structure.graph.pairs();
        let is_end = |(source, destination): &(&Path, &Path)| {
            of.is_none_or(|path| *source == path || *destination == path)
        };
        let mut links: Vec<LinkView> = pairs
            .filter(is_end)
            .map(|(source, destination)| LinkView {
                destination: destination.clone(),
                source: source.clone(),
            })
            .collect();
        drop(structure);
        links.sort();
        links
    }

    /// Numbers of the whole tree.
    pub fn tree_view(&self) -> TreeView {
        let mut view = TreeView {
            values_bytes: self.shared.values.used(),
            links: self.links(None).len() as u64,
            streams: self.streams().len() as u64,
            ..TreeView::default()
        };
        for (path, node) in self.tree().walk() {
            view.depth = view.depth.max(path.names().len() as u64);
            let Node::Leaf(entry) = node else {
                view.directories += 1;
                continue;
            };
            let Some(look) = entry.look() else { continue };
            view.away += u64::from(entry.cell().is_away());
            *match look.activity {
                Activity::Untouched => &mut view.untouched,
                Activity::Passive => &mut view.passive,
                Activity::Active => &mut view.active,
                Activity::Loading => &mut view.loading,
            } += 1;
        }
        view
    }

    fn tree(&self) -> Tree<Arc<Entry>> {
        self.shared.structure.read().tree.clone()
    }

    /// Every stream, without its path.
    fn streams(&self) -> Vec<StreamView> {
        let mut all = Vec::new();
        for (number, member) in self.shared.sessions.all() {
            let Some(outbox) = member.outbox.upgrade() else { continue };
            all.extend(outbox.streams_seen().into_iter().map(|seen| stream(number, seen)));
        }
        all
    }

    /// Finds out where the resources of these streams are.
    fn find_paths(&self, streams: &mut [StreamView]) {
        let mut wanted: HashMap<u64, Option<Path>> =
            streams.iter().map(|stream| (stream.resource, None)).collect();
        let mut missing = wanted.len();
        for (path, entry) in leaves(&self.tree()) {
            if missing == 0 {
                break;
            }
            if let Some(place) = wanted.get_mut(&entry.number()) {
                *place = Some(path);
                missing -= 1;
            }
        }
        for stream in streams {
            stream.path = wanted.get(&stream.resource).cloned().flatten();
        }
    }
}

fn leaves(tree: &Tree<Arc<Entry>>) -> impl Iterator<Item = (Path, Arc<Entry>)> + use<> {
    tree.walk().filter_map(|(path, node)| match node {
        Node::Leaf(entry) => Some((path, entry)),
        Node::Directory(_) => None,
    })
}

fn session(number: u64, member: Member) -> Option<SessionView> {
    let Member { outbox, user, address, opened } = member;
    let outbox = Weak::upgrade(&outbox)?.seen();
    Some(SessionView { number, user, address, opened, outbox })
}

fn stream(session: u64, seen: StreamSeen) -> StreamView {
    let StreamSeen { resource, waiting, waiting_bytes, skipped } = seen;
    StreamView { session, resource, path: None, waiting, waiting_bytes, skipped }
}

fn resource(path: Path, entry: &Entry, streams: usize) -> Option<ResourceView> {
    let look = entry.look()?;
    let cell = entry.cell();
    Some(ResourceView {
        path,
        number: entry.number(),
        class: cell.class(),
        bytes: cell.size_bytes(),
        is_resident: !cell.is_away(),
        activity: look.activity,
        updates: look.updates,
        waiting: look.waiting,
        streams,
    })
}
