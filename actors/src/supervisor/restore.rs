//! Restoring: makes the structure from what the store found.

use std::sync::Arc;

use crate::ports::{ChangeKind, Loaded, SnapshotItem};
use crate::protocol::{Path, Value};
use crate::resource::Entry;
use crate::shared::{Shared, Structure};
use crate::state::{Link, NotMade};
use crate::verbs::link::Linked;
use crate::verbs::{delete, link, unlink};

/// Puts what was saved into the empty structure. What was acknowledged before is kept even if the
/// limits have become smaller since.
pub fn restore(shared: &Arc<Shared>, loaded: Loaded) {
    let mut structure = shared.structure.write();
    let mut restoring = Restoring { shared, structure: &mut structure };
    for item in loaded.items {
        restoring.item(item);
    }
    restoring.structure.sequence = loaded.sequence;
    for change in loaded.changes {
        restoring.change(change.kind);
        restoring.structure.sequence = restoring.structure.sequence.max(change.sequence);
        shared.note_change();
    }
}

struct Restoring<'s> {
    shared: &'s Arc<Shared>,
    structure: &'s mut Structure,
}

impl Restoring<'_> {
    fn item(&mut self, item: SnapshotItem) {
        match item {
            SnapshotItem::Directory { path } => self.directory(&path),
            SnapshotItem::Resource { path, value } => self.resource(path, value),
            SnapshotItem::Link { source, destination } => self.link(&source, &destination),
        }
    }

    fn change(&mut self, kind: ChangeKind) {
        match kind {
            ChangeKind::CreateResource { path, value } => self.resource(path, value),
            ChangeKind::CreateDirectory { path } => self.directory(&path),
            ChangeKind::Delete { path } => self.delete(&path),
            ChangeKind::Link { source, destination } => self.link(&source, &destination),
            ChangeKind::Unlink { source, destination } => {
                let Structure { tree, graph, .. } = &mut *self.structure;
                if unlink::apply(tree, graph, &destination, &source).is_err() {
                    log::warn!("a link from {source} to {destination} was gone already");
                }
            }
        }
    }

    fn directory(&mut self, path: &Path) {
        match self.structure.tree.make_directory(path, usize::MAX) {
            Ok(()) | Err(NotMade::Exists) => {}
            Err(_) => {
                log::error!("the directory {path} could not be restored: it is below a resource")
            }
        }
    }

    fn resource(&mut self, path: Path, value: Value) {
        let size = value.size_bytes() as u64;
        let entry = Entry::new(self.shared, value);
        match self.structure.tree.make_leaf(&path, entry, usize::MAX) {
            Ok(()) => self.shared.values.take_anyway(size),
            Err(NotMade::Exists) => {}
            Err(_) => log::error!("the resource {path} could not be restored: it is below another"),
        }
    }

    fn delete(&mut self, path: &Path) {
        let Some(node) = self.structure.tree.remove(path) else { return };
        let (entries, nodes) = delete::what_went(&node);
        self.structure.tree.uncount(nodes);
        for entry in entries {
            self.structure.graph.remove_all(entry.number());
            entry.end(self.shared, None);
        }
    }

    fn link(&mut self, source: &Path, destination: &Path) {
        let Structure { tree, graph, .. } = &mut *self.structure;
        match link::apply(tree, graph, destination, source, usize::MAX) {
            Ok(Some(Linked { source, destination, ring })) => {
                source.add_link(self.shared, Arc::new(Link { ring, destination }));
            }
            Ok(None) => {}
            Err(_) => log::warn!("the link from {source} to {destination} has lost an end"),
        }
    }
}
