//! The tables of the database, and what a structural change does to them.

use fanal_actors::ports::{Change, ChangeKind};
use fanal_actors::{Class, Path, Value};
use redb::{ReadableTable, ReadableTableMetadata, Table, TableDefinition, WriteTransaction};

use super::fault::Fault;
use super::layout::{Node, below, key, keys_above, write_value};

/// Numbers about the whole: the format, the sequence, and how many rows the other tables have.
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// The key of each node to its record.
pub(super) const NODES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("nodes");
/// The number of each resource that has a value to it.
pub(super) const VALUES: TableDefinition<u64, &[u8]> = TableDefinition::new("values");
/// Numbers of source and destination.
pub(super) const LINKS: TableDefinition<(u64, u64), ()> = TableDefinition::new("links");
/// Numbers of destination and source: the same links by their other end.
pub(super) const LINKS_BACK: TableDefinition<(u64, u64), ()> = TableDefinition::new("links_back");

/// In the table of numbers, the format that the rows have.
pub(super) const META_FORMAT: &str = "format";
/// The sequence of the last change that is contained.
pub(super) const META_SEQUENCE: &str = "sequence";
/// How many nodes there are.
pub(super) const META_NODES: &str = "nodes";
/// How many values there are.
pub(super) const META_VALUES: &str = "values";
/// How many links there are.
pub(super) const META_LINKS: &str = "links";

/// All tables, open in one transaction.
pub(super) struct Tables<'t> {
    meta: Table<'t, &'static str, u64>,
    nodes: Table<'t, &'static [u8], &'static [u8]>,
    values: Table<'t, u64, &'static [u8]>,
    links: Table<'t, (u64, u64), ()>,
    links_back: Table<'t, (u64, u64), ()>,
    /// The sequence of the last change that is contained.
    sequence: u64,
    /// The row that is being written; kept for its memory.
    row: Vec<u8>,
}

impl<'t> Tables<'t> {
    /// Opens the tables; those that are missing are made.
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, Fault> {
        let meta = transaction.open_table(META)?;
        let sequence = meta.get(META_SEQUENCE)?.map_or(0, |sequence| sequence.value());
        Ok(Tables {
            meta,
            nodes: transaction.open_table(NODES)?,
            values: transaction.open_table(VALUES)?,
            links: transaction.open_table(LINKS)?,
            links_back: transaction.open_table(LINKS_BACK)?,
            sequence,
            row: Vec::new(),
        })
    }

    /// Removes every row.
    pub(super) fn clear(&mut self) -> Result<(), Fault> {
        self.nodes.retain(|_, _| false)?;
        self.values.retain(|_, _| false)?;
        self.links.retain(|_, ()| false)?;
        self.links_back.retain(|_, ()| false)?;
        self.sequence = 0;
        Ok(())
    }

    /// Says what the sequence of the last change is.
    pub(super) fn set_sequence(&mut self, sequence: u64) {
        self.sequence = sequence;
    }

    /// Writes the numbers about the whole; the last thing to do before a commit.
    pub(super) fn seal(mut self) -> Result<(), Fault> {
        self.meta.insert(META_FORMAT, super::FORMAT)?;
        self.meta.insert(META_SEQUENCE, self.sequence)?;
        self.meta.insert(META_NODES, self.nodes.len()?)?;
        self.meta.insert(META_VALUES, self.values.len()?)?;
        self.meta.insert(META_LINKS, self.links.len()?)?;
        Ok(())
    }

    /// Makes the change, and returns whether it was one: an append may be repeated, and what is
    /// contained already is left as it is.
    ///
    /// What does not fit is left out, as at a start of the broker.
    pub(super) fn apply(&mut self, change: &Change) -> Result<bool, Fault> {
        if change.sequence <= self.sequence {
            return Ok(false);
        }
        match &change.kind {
            ChangeKind::CreateResource { path, number, class, value } => {
                self.create_resource(path, *number, *class, value)?;
            }
            ChangeKind::CreateDirectory { path } => self.create_directory(path)?,
            ChangeKind::Delete { path } => self.delete(path)?,
            ChangeKind::Link { source, destination } => self.link(source, destination)?,
            ChangeKind::Unlink { source, destination } => self.unlink(source, destination)?,
        }
        self.sequence = change.sequence;
        Ok(true)
    }

    /// Makes a resource with this value, unless a save was faster with a newer one.
    pub(super) fn create_resource(
        &mut self,
        path: &Path,
        number: u64,
        class: Option<Class>,
        value: &Value,
    ) -> Result<(), Fault> {
        let node = Node::Resource { number, class };
        let is_made = self.create(path, node)?;
        if is_made && *value != Value::nil() && self.values.get(number)?.is_none() {
            self.put_value(number, value)?;
        }
        Ok(())
    }

    /// Makes a directory.
    pub(super) fn create_directory(&mut self, path: &Path) -> Result<(), Fault> {
        self.create(path, Node::Directory).map(drop)
    }

    /// Makes a node and the directories above it, and returns whether it is new.
    fn create(&mut self, path: &Path, node: Node) -> Result<bool, Fault> {
        let key = key(path);
        if path.is_root() || path.names().iter().any(|name| name.contains('/')) {
            log::error!("{path} is left out of the store: it cannot be the path of a node");
            return Ok(false);
        }
        if self.nodes.get(&*key)?.is_some() {
            return Ok(false);
        }
        for above in keys_above(&key) {
            let known = match self.nodes.get(above)? {
                Some(record) => Some(Node::read(above, record.value())?),
                None => None,
            };
            match known {
                Some(Node::Directory) => {}
                Some(Node::Resource { .. }) => {
                    log::error!("{path} is left out of the store: it is below a resource");
                    return Ok(false);
                }
                None => drop(self.nodes.insert(above, &Node::Directory.record(above)[..])?),
            }
        }
        self.nodes.insert(&*key, &node.record(&key)[..])?;
        Ok(true)
    }

    /// Puts a value in the place of the one that the resource with this number has. A nil has a row
    /// too: without one, the first value of a resource that is yet to be made would win over it.
    pub(super) fn put_value(&mut self, number: u64, value: &Value) -> Result<(), Fault> {
        write_value(&mut self.row, number, value);
        self.values.insert(number, &*self.row)?;
        Ok(())
    }

    /// Removes the values for which `is_needless` says so.
    pub(super) fn remove_values(&mut self, is_needless: impl Fn(u64) -> bool) -> Result<(), Fault> {
        Ok(self.values.retain(|number, _| !is_needless(number))?)
    }

    fn delete(&mut self, path: &Path) -> Result<(), Fault> {
        let key = key(path);
        let mut numbers = Vec::new();
        if let Some(record) = self.nodes.remove(&*key)? {
            numbers.extend(number_of(&key, record.value())?);
        }
        let (first, end) = below(&key);
        let gone = self.nodes.extract_from_if(&*first..&*end, |_, _| true)?;
        for row in gone {
            let (key, record) = row?;
            numbers.extend(number_of(key.value(), record.value())?);
        }
        for number in numbers {
            self.values.remove(number)?;
            self.remove_links(number)?;
        }
        Ok(())
    }

    /// Removes the links from and to a resource that went.
    fn remove_links(&mut self, number: u64) -> Result<(), Fault> {
        let ends = (number, u64::MIN)..=(number, u64::MAX);
        for row in self.links.extract_from_if(ends.clone(), |_, ()| true)? {
            let (source, destination) = row?.0.value();
            self.links_back.remove((destination, source))?;
        }
        for row in self.links_back.extract_from_if(ends, |_, ()| true)? {
            let (destination, source) = row?.0.value();
            self.links.remove((source, destination))?;
        }
        Ok(())
    }

    /// Makes a link between two resources.
    pub(super) fn link(&mut self, source: &Path, destination: &Path) -> Result<(), Fault> {
        if let (Some(source), Some(destination)) = (self.number(source)?, self.number(destination)?)
        {
            self.links.insert((source, destination), ())?;
            self.links_back.insert((destination, source), ())?;
        }
        Ok(())
    }

    fn unlink(&mut self, source: &Path, destination: &Path) -> Result<(), Fault> {
        if let (Some(source), Some(destination)) = (self.number(source)?, self.number(destination)?)
        {
            self.links.remove((source, destination))?;
            self.links_back.remove((destination, source))?;
        }
        Ok(())
    }

    /// The number of the resource at this path.
    fn number(&self, path: &Path) -> Result<Option<u64>, Fault> {
        let key = key(path);
        match self.nodes.get(&*key)? {
            Some(record) => number_of(&key, record.value()),
            None => Ok(None),
        }
    }
}

/// The number of the node, if it is a resource.
fn number_of(key: &[u8], record: &[u8]) -> Result<Option<u64>, Fault> {
    match Node::read(key, record)? {
        Node::Directory => Ok(None),
        Node::Resource { number, .. } => Ok(Some(number)),
    }
}
