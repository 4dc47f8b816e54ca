//! Preloading: makes what the operator wants to be there and is not.

use std::sync::Arc;

use crate::ports::{Change, ChangeKind};
use crate::protocol::{Class, Path, Value};
use crate::resource::Entry;
use crate::shared::{Shared, Structure};
use crate::state::{Found, Link, NotMade};
use crate::verbs::link::{self, Linked};

/// Makes what is missing of this, in this order, and returns what was made, for the journal. What
/// is there keeps its value. What cannot be made is told in the log; the rest is made all the same,
/// because a patch with a hole is better than no broker.
pub fn preload(shared: &Arc<Shared>, wanted: Vec<ChangeKind>) -> Vec<Change> {
    let mut structure = shared.structure.write();
    let mut made = Vec::new();
    for mut kind in wanted {
        match make(shared, &mut structure, &mut kind) {
            Ok(false) => {}
            Ok(true) => {
                structure.sequence += 1;
                made.push(Change { sequence: structure.sequence, kind });
            }
            Err(sentence) => log::error!("preload.resources: {sentence}"),
        }
    }
    if !made.is_empty() {
        shared.unsaved.note_change();
    }
    made
}

/// Returns whether it was missing, or a sentence that says why it cannot be made.
fn make(
    shared: &Arc<Shared>,
    structure: &mut Structure,
    kind: &mut ChangeKind,
) -> Result<bool, String> {
    match kind {
        ChangeKind::CreateResource { path, number, class, value } => {
            *number = shared.next_resource();
            resource(shared, structure, path, *number, *class, value)
        }
        ChangeKind::CreateDirectory { path } => directory(shared, structure, path),
        ChangeKind::Link { source, destination } => link(shared, structure, source, destination),
        // Nobody wants what is not there.
        ChangeKind::Delete { .. } | ChangeKind::Unlink { .. } => Ok(false),
    }
}

fn resource(
    shared: &Arc<Shared>,
    structure: &mut Structure,
    path: &Path,
    number: u64,
    class: Option<Class>,
    value: &mut Value,
) -> Result<bool, String> {
    match structure.tree.find(path.names()) {
        Found::Leaf(_) => return Ok(false),
        Found::Directory(_) => {
            return Err(format!("{path} is to be a resource, but there is a directory"));
        }
        Found::Missing | Found::BelowLeaf => {}
    }
    let class = shared.class(path, class);
    let first = if class == Class::Event { Value::nil() } else { value.clone() };
    if class != Class::State {
        // What is saved with the change.
        *value = Value::nil();
    }
    let size = first.size_bytes() as u64;
    if !shared.values.exchange(0, size) {
        return Err(format!("there is no room for the value of {path} (limits.values_bytes_max)"));
    }
    let entry = Entry::new(number, first, class);
    let outcome = structure.tree.make_leaf(path, entry, shared.settings.nodes_max.get());
    if outcome.is_err() {
        shared.values.give_back(size);
    }
    outcome.map(|()| true).map_err(|reason| not_made(path, reason))
}

fn directory(shared: &Arc<Shared>, structure: &mut Structure, path: &Path) -> Result<bool, String> {
    match structure.tree.find(path.names()) {
        Found::Directory(_) => return Ok(false),
        Found::Leaf(_) => {
            return Err(format!("{path} is to be a directory, but there is a resource"));
        }
        Found::Missing | Found::BelowLeaf => {}
    }
    let outcome = structure.tree.make_directory(path, shared.settings.nodes_max.get());
    outcome.map(|()| true).map_err(|reason| not_made(path, reason))
}

fn not_made(path: &Path, reason: NotMade) -> String {
    match reason {
        NotMade::Exists => format!("{path} is something else already"),
        NotMade::BelowLeaf => format!("{path} cannot be made: it is below a resource"),
        NotMade::TooMany => format!("there is no room for {path} (limits.nodes_max)"),
    }
}

fn link(
    shared: &Arc<Shared>,
    structure: &mut Structure,
    source: &Path,
    destination: &Path,
) -> Result<bool, String> {
    for end in [source, destination] {
        if !matches!(structure.tree.find(end.names()), Found::Leaf(_)) {
            return Err(format!(
                "{destination} cannot follow {source}: there is no resource {end}"
            ));
        }
    }
    let Structure { tree, graph, .. } = structure;
    match link::apply(tree, graph, destination, source, shared.settings.links_max.get()) {
        Ok(None) => Ok(false),
        Ok(Some(Linked { source, destination, ring })) => {
            source.add_link(Arc::new(Link { ring, destination }));
            Ok(true)
        }
        Err(refusal) => {
            let reason = refusal.warning.unwrap_or_default();
            Err(format!("{destination} cannot follow {source}: {reason}"))
        }
    }
}
