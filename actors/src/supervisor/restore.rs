//! Restoring: makes the structure from what the store found.

use std::sync::Arc;

use crate::ports::{Change, ChangeKind, Restore, SnapshotItem, StoreError};
use crate::protocol::{Class, Path, Value};
use crate::resource::Entry;
use crate::shared::{Shared, Structure};
use crate::state::{Link, NotMade};
use crate::verbs::link::Linked;
use crate::verbs::{delete, link, unlink};

/// Puts what was saved into the structure. What was acknowledged before is kept even if the limits
/// have become smaller since.
///
/// # Errors
/// If the store cannot be used.
pub fn restore(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let mut structure = shared.structure.write();
    shared.store.load(&mut Restoring { shared, structure: &mut structure })
}

struct Restoring<'s> {
    shared: &'s Arc<Shared>,
    structure: &'s mut Structure,
}

impl Restore for Restoring<'_> {
    fn begin(&mut self) {
        for entry in self.structure.tree.leaves() {
            entry.end(self.shared, None);
        }
        *self.structure = Structure::default();
    }

    fn item(&mut self, item: SnapshotItem) {
        match item {
            SnapshotItem::Directory { path } => self.directory(&path),
            SnapshotItem::Resource { path, number, class, value } => {
                self.resource(&path, number, class, value);
            }
            SnapshotItem::Link { source, destination } => self.link(&source, &destination),
        }
    }

    fn sequence(&mut self, sequence: u64) {
        self.structure.sequence = sequence;
    }

    fn change(&mut self, change: Change) {
        self.replay(change.kind);
        self.structure.sequence = self.structure.sequence.max(change.sequence);
        self.shared.unsaved.note_change();
    }
}

impl Restoring<'_> {
    fn replay(&mut self, kind: ChangeKind) {
        match kind {
            ChangeKind::CreateResource { path, number, class, value } => {
                self.resource(&path, number, class, value);
            }
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

    fn resource(&mut self, path: &Path, number: u64, class: Option<Class>, value: Value) {
        let shared = self.shared;
        let number = if number == 0 { shared.next_resource() } else { number };
        shared.note_number(number);
        let size = value.size_bytes() as u64;
        let entry = Entry::new(number, value, shared.class(path, class));
        match self.structure.tree.make_leaf(path, Arc::clone(&entry), usize::MAX) {
            Ok(()) => shared.values.take_anyway(size),
            Err(NotMade::Exists) => return,
            Err(_) => {
                return log::error!(
                    "the resource {path} could not be restored: it is below another"
                );
            }
        }
        if shared.resident_bytes() > shared.settings.resident_bytes_max.get()
            && shared.store.keeps_values()
        {
            shared.note_away(entry.leave_if_idle());
        }
    }

    fn delete(&mut self, path: &Path) {
        let Some(node) = self.structure.tree.remove(path) else { return };
        let (entries, nodes) = delete::what_went(&node);
        self.structure.tree.uncount(nodes, entries.len());
        for entry in entries {
            self.structure.graph.remove_all(entry.number());
            entry.end(self.shared, None);
        }
    }

    fn link(&mut self, source: &Path, destination: &Path) {
        let Structure { tree, graph, .. } = &mut *self.structure;
        match link::apply(tree, graph, destination, source, usize::MAX) {
            Ok(Some(Linked { source, destination, ring })) => {
                source.add_link(Arc::new(Link { ring, destination }));
            }
            Ok(None) => {}
            Err(_) => log::warn!("the link from {source} to {destination} has lost an end"),
        }
    }
}
