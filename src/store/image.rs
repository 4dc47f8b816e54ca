//! The whole state as a value: what the commands work on, without a broker.

use std::collections::{BTreeMap, BTreeSet};

use fanal_actors::ports::{Change, ChangeKind, Restore, Snapshot, SnapshotItem, Store, StoreError};
use fanal_actors::{Class, Path, Value};

/// A tree with its values and links.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// Everything but the root; `None` for a directory. What is below a directory follows it.
    nodes: BTreeMap<Path, Option<Leaf>>,
    /// Links as (source, destination).
    links: BTreeSet<(Path, Path)>,
    /// The sequence of the last change that is contained; 0 for none.
    pub(super) sequence: u64,
}

/// A resource.
#[derive(Clone, Debug, PartialEq)]
struct Leaf {
    /// The class that it was made with; `None` if the rules decide.
    class: Option<Class>,
    value: Value,
}

/// How many of everything there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Directories without the root.
    pub directories: u64,
    /// Resources.
    pub resources: u64,
    /// Links.
    pub links: u64,
    /// Bytes of all values.
    pub value_bytes: u64,
}

/// What a merge did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Directories, resources and links that were not there.
    pub made: u64,
    /// Resources that got another value.
    pub changed: u64,
    /// What was there as it is.
    pub same: u64,
    /// What cannot be put beside what is there, a sentence each.
    pub conflicts: Vec<String>,
}

impl Merged {
    fn note(&mut self, was: Result<Was, String>) {
        match was {
            Ok(Was::Missing) => self.made += 1,
            Ok(Was::Other) => self.changed += 1,
            Ok(Was::Same) => self.same += 1,
            Err(sentence) => self.conflicts.push(sentence),
        }
    }
}

impl Image {
    /// Nothing, after this change.
    pub fn empty(sequence: u64) -> Self {
        Image { sequence, ..Image::default() }
    }

    /// What a snapshot and the changes after it lead to.
    pub fn new(items: Vec<SnapshotItem>, sequence: u64, changes: Vec<Change>) -> Self {
        let mut image = Image::empty(sequence);
        // What does not fit is left out, as at a start of the broker.
        image.merge_items(items);
        for change in changes {
            image.apply(change);
        }
        image
    }

    /// What is in this store.
    ///
    /// # Errors
    /// If the store cannot be used.
    pub fn of(store: &dyn Store) -> Result<Self, StoreError> {
        let mut collected = Collected::default();
        store.load(&mut collected)?;
        Ok(Image::new(collected.items, collected.sequence, collected.changes))
    }

    fn apply(&mut self, change: Change) {
        self.sequence = self.sequence.max(change.sequence);
        match change.kind {
            ChangeKind::CreateResource { path, class, value, .. } => {
                if !self.nodes.contains_key(&path) {
                    drop(self.add_node(path, Some(Leaf { class, value })));
                }
            }
            ChangeKind::CreateDirectory { path } => drop(self.add_node(path, None)),
            ChangeKind::Delete { path } => {
                let gone = |other: &Path| other.names().starts_with(path.names());
                let below: Vec<Path> = self
                    .nodes
                    .range(path.clone()..)
                    .map(|(other, _)| other)
                    .take_while(|other| gone(other))
                    .cloned()
                    .collect();
                for other in below {
                    self.nodes.remove(&other);
                }
                self.links.retain(|(source, destination)| !gone(source) && !gone(destination));
            }
            ChangeKind::Link { source, destination } => {
                drop(self.add_link(source, destination));
            }
            ChangeKind::Unlink { source, destination } => {
                self.links.remove(&(source, destination));
            }
        }
    }

    fn is_resource(&self, path: &Path) -> bool {
        matches!(self.nodes.get(path), Some(Some(_)))
    }

    /// Adds a node and the directories above it. Returns whether it was new, and the value that a
    /// resource had before.
    fn add_node(&mut self, path: Path, leaf: Option<Leaf>) -> Result<Was, String> {
        if path.is_root() {
            return if leaf.is_none() {
                Ok(Was::Same)
            } else {
                Err("the root is no resource".into())
            };
        }
        let names = path.names();
        let above = |depth: usize| Path::new(names.iter().take(depth).cloned());
        if let Some(blocking) = (1..names.len()).map(above).find(|path| self.is_resource(path)) {
            return Err(format!("{path} is below the resource {blocking}"));
        }
        match (self.nodes.get(&path), &leaf) {
            (Some(Some(_)), None) => return Err(format!("{path} is a resource, not a directory")),
            (Some(None), Some(_)) => return Err(format!("{path} is a directory, not a resource")),
            (Some(old), new) if old == new => return Ok(Was::Same),
            _ => {}
        }
        for depth in 1..names.len() {
            self.nodes.entry(above(depth)).or_insert(None);
        }
        Ok(if self.nodes.insert(path, leaf).is_some() { Was::Other } else { Was::Missing })
    }

    fn add_link(&mut self, source: Path, destination: Path) -> Result<Was, String> {
        for end in [&source, &destination] {
            if !self.is_resource(end) {
                return Err(format!(
                    "{destination} cannot follow {source}: there is no resource {end}"
                ));
            }
        }
        if self.follows(&source, &destination) {
            return Err(format!("{destination} cannot follow {source}: it would close a cycle"));
        }
        let is_new = self.links.insert((source, destination));
        Ok(if is_new { Was::Missing } else { Was::Same })
    }

    /// Whether updates of `source` come to `resource`, or they are one.
    fn follows(&self, resource: &Path, source: &Path) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![source.clone()];
        while let Some(path) = open.pop() {
            if path == *resource {
                return true;
            }
            if seen.insert(path.clone()) {
                let first = (path.clone(), Path::root());
                let links = self.links.range(first..).take_while(|(from, _)| *from == path);
                open.extend(links.map(|(_, to)| to.clone()));
            }
        }
        false
    }

    /// Puts the other image over this one: its values win. What is in conflict is left out.
    pub fn merge(&mut self, other: Image) -> Merged {
        let mut merged = Merged::default();
        for (path, leaf) in other.nodes {
            merged.note(self.add_node(path, leaf));
        }
        for (source, destination) in other.links {
            merged.note(self.add_link(source, destination));
        }
        merged
    }

    /// The same with items in any order.
    pub(super) fn merge_items(&mut self, items: Vec<SnapshotItem>) -> Merged {
        let mut merged = Merged::default();
        for item in items {
            merged.note(match item {
                SnapshotItem::Directory { path } => self.add_node(path, None),
                SnapshotItem::Resource { path, class, value, .. } => {
                    self.add_node(path, Some(Leaf { class, value }))
                }
                SnapshotItem::Link { source, destination } => self.add_link(source, destination),
            });
        }
        merged
    }

    /// The sequence of the last change that is contained; 0 for none.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How many of everything there are.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { links: self.links.len() as u64, ..Counts::default() };
        for leaf in self.nodes.values() {
            match leaf {
                None => counts.directories += 1,
                Some(Leaf { value, .. }) => {
                    counts.resources += 1;
                    counts.value_bytes += value.size_bytes() as u64;
                }
            }
        }
        counts
    }

    /// Everything, parents before their children and links last.
    pub fn items(&self) -> impl Iterator<Item = SnapshotItem> {
        let node = |(path, leaf): (&Path, &Option<Leaf>)| match leaf.clone() {
            None => SnapshotItem::Directory { path: path.clone() },
            Some(Leaf { class, value }) => {
                SnapshotItem::Resource { path: path.clone(), number: 0, class, value }
            }
        };
        let link = |(source, destination): &(Path, Path)| SnapshotItem::Link {
            source: source.clone(),
            destination: destination.clone(),
        };
        self.nodes.iter().map(node).chain(self.links.iter().map(link))
    }

    /// The same as a store takes it.
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot { sequence: self.sequence, items: Box::new(self.items()) }
    }
}

/// What a store gave.
#[derive(Default)]
struct Collected {
    items: Vec<SnapshotItem>,
    sequence: u64,
    changes: Vec<Change>,
}

impl Restore for Collected {
    fn begin(&mut self) {
        *self = Collected::default();
    }

    fn item(&mut self, item: SnapshotItem) {
        self.items.push(item);
    }

    fn sequence(&mut self, sequence: u64) {
        self.sequence = sequence;
    }

    fn change(&mut self, change: Change) {
        self.changes.push(change);
    }
}

/// What was in the place of something that was added.
enum Was {
    Missing,
    Other,
    Same,
}
