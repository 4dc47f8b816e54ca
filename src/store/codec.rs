//! How paths, snapshot items and changes are laid out in the store's files.

use std::io::{self, Read};
use std::sync::Arc;

use fanal_actors::ports::{Change, ChangeKind, SnapshotItem};
use fanal_actors::{Class, Path, Value};

use super::msgpack::{Decoder, Fault, write_array, write_binary, write_number, write_text};

const ITEM_DIRECTORY: u64 = 0;
const ITEM_RESOURCE: u64 = 1;
const ITEM_LINK: u64 = 2;
/// The array that ends a snapshot begins with this number in the place of an item's kind.
pub(super) const ITEM_END: u64 = 3;

const CHANGE_CREATE_RESOURCE: u64 = 1;
const CHANGE_CREATE_DIRECTORY: u64 = 2;
const CHANGE_DELETE: u64 = 3;
const CHANGE_LINK: u64 = 4;
const CHANGE_UNLINK: u64 = 5;

/// Appends one item of a snapshot.
pub(super) fn write_item(out: &mut Vec<u8>, item: &SnapshotItem) -> io::Result<()> {
    match item {
        SnapshotItem::Directory { path } => {
            write_array(out, 2)?;
            write_number(out, ITEM_DIRECTORY);
            write_path(out, path)
        }
        SnapshotItem::Resource { path, class, value, .. } => {
            write_array(out, 3 + usize::from(class.is_some()))?;
            write_number(out, ITEM_RESOURCE);
            write_path(out, path)?;
            write_binary(out, value.as_bytes())?;
            class.map_or(Ok(()), |class| write_text(out, class.name()))
        }
        SnapshotItem::Link { source, destination } => {
            write_array(out, 3)?;
            write_number(out, ITEM_LINK);
            write_path(out, source)?;
            write_path(out, destination)
        }
    }
}

/// Appends one change.
pub(super) fn write_change(out: &mut Vec<u8>, change: &Change) -> io::Result<()> {
    let (kind, length) = match &change.kind {
        ChangeKind::CreateResource { class, .. } => {
            (CHANGE_CREATE_RESOURCE, 4 + usize::from(class.is_some()))
        }
        ChangeKind::CreateDirectory { .. } => (CHANGE_CREATE_DIRECTORY, 3),
        ChangeKind::Delete { .. } => (CHANGE_DELETE, 3),
        ChangeKind::Link { .. } => (CHANGE_LINK, 4),
        ChangeKind::Unlink { .. } => (CHANGE_UNLINK, 4),
    };
    write_array(out, length)?;
    write_number(out, change.sequence);
    write_number(out, kind);
    match &change.kind {
        ChangeKind::CreateResource { path, class, value, .. } => {
            write_path(out, path)?;
            write_binary(out, value.as_bytes())?;
            class.map_or(Ok(()), |class| write_text(out, class.name()))
        }
        ChangeKind::CreateDirectory { path } | ChangeKind::Delete { path } => write_path(out, path),
        ChangeKind::Link { source, destination } | ChangeKind::Unlink { source, destination } => {
            write_path(out, source)?;
            write_path(out, destination)
        }
    }
}

fn write_path(out: &mut Vec<u8>, path: &Path) -> io::Result<()> {
    write_array(out, path.names().len())?;
    path.names().iter().try_for_each(|name| write_text(out, name))
}

/// What follows in the items of a snapshot.
pub(super) enum Next {
    /// An item.
    Item(SnapshotItem),
    /// The array that ends the snapshot; its kind has been read, the rest has not.
    End,
}

/// Reads items and changes, whose paths share the names that they have in common with the path
/// before: a snapshot lists parents before children, so most names are read from memory.
pub(super) struct Reader<R> {
    /// The MessagePack underneath.
    pub(super) input: Decoder<R>,
    /// For each depth, the name last seen there.
    names: Vec<Arc<str>>,
}

impl<R: Read> Reader<R> {
    /// Reads from this input, and not more than this many bytes of it.
    pub(super) fn new(input: R, length_bytes: u64) -> Self {
        Reader { input: Decoder::new(input, length_bytes), names: Vec::new() }
    }

    /// Reads the next item of a snapshot, or that there is none left.
    pub(super) fn item(&mut self) -> Result<Next, Fault> {
        let length = self.input.array()?;
        let item = match (self.input.number()?, length) {
            (ITEM_DIRECTORY, 2) => SnapshotItem::Directory { path: self.path()? },
            (ITEM_RESOURCE, 3 | 4) => SnapshotItem::Resource {
                path: self.path()?,
                number: 0,
                value: self.value()?,
                class: self.class(length == 4)?,
            },
            (ITEM_LINK, 3) => {
                SnapshotItem::Link { source: self.path()?, destination: self.path()? }
            }
            (ITEM_END, 3) => return Ok(Next::End),
            (kind, length) => {
                return Err(Fault::damaged(format!(
                    "no item is of kind {kind} with {length} parts"
                )));
            }
        };
        Ok(Next::Item(item))
    }

    /// Reads a change.
    pub(super) fn change(&mut self) -> Result<Change, Fault> {
        let length = self.input.array()?;
        let sequence = self.input.number()?;
        let kind = match (self.input.number()?, length) {
            (CHANGE_CREATE_RESOURCE, 4 | 5) => ChangeKind::CreateResource {
                path: self.path()?,
                number: 0,
                value: self.value()?,
                class: self.class(length == 5)?,
            },
            (CHANGE_CREATE_DIRECTORY, 3) => ChangeKind::CreateDirectory { path: self.path()? },
            (CHANGE_DELETE, 3) => ChangeKind::Delete { path: self.path()? },
            (CHANGE_LINK, 4) => {
                ChangeKind::Link { source: self.path()?, destination: self.path()? }
            }
            (CHANGE_UNLINK, 4) => {
                ChangeKind::Unlink { source: self.path()?, destination: self.path()? }
            }
            (kind, length) => {
                let what = format!("no change is of kind {kind} with {length} parts");
                return Err(Fault::damaged(what));
            }
        };
        Ok(Change { sequence, kind })
    }

    fn path(&mut self) -> Result<Path, Fault> {
        let mut depth = 0;
        for _ in 0..self.input.array()? {
            let name = self.input.text()?;
            match self.names.get_mut(depth) {
                Some(known) if **known == *name => {}
                Some(known) => *known = Arc::from(name),
                None => self.names.push(Arc::from(name)),
            }
            depth += 1;
        }
        Ok(Path::new(self.names.iter().take(depth).cloned()))
    }

    fn class(&mut self, is_there: bool) -> Result<Option<Class>, Fault> {
        if !is_there {
            return Ok(None);
        }
        let name = self.input.text()?;
        let class = Class::by_name(name);
        class.map(Some).ok_or_else(|| Fault::damaged("there is no such class".to_owned()))
    }

    fn value(&mut self) -> Result<Value, Fault> {
        Ok(Value::copy_from(self.input.binary()?))
    }
}
