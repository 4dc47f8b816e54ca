//! Reading everything that is in the database, and checking it on the way.

use std::collections::{HashMap, HashSet};

use fanal_actors::ports::{Restore, SnapshotItem};
use fanal_actors::{Class, Path, Value};
use redb::{
    Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata,
};

use super::fault::Fault;
use super::held::begin_write;
use super::layout::{Node, Paths, key_of_parent, read_value};
use super::tables::{
    LINKS, LINKS_BACK, META, META_FORMAT, META_LINKS, META_NODES, META_SEQUENCE, META_VALUES,
    NODES, Tables, VALUES,
};

/// Gives everything to `restore`, and removes values that belong to nothing.
pub(super) fn read_all(database: &Database, restore: &mut dyn Restore) -> Result<(), Fault> {
    let transaction = database.begin_read()?;
    let meta = Meta::read(&transaction)?;
    if meta.format < super::FORMAT {
        return migrate(meta.format);
    }
    restore.begin();
    let mut reading = Reading::new(&transaction)?;
    let values_found = reading.nodes(&meta, restore)?;
    reading.links(&meta, restore)?;
    restore.sequence(meta.sequence);
    if values_found < meta.values {
        remove_needless_values(database, &transaction)?;
    }
    Ok(())
}

/// Brings a database of an older format to this one. There is none yet.
fn migrate(format: u64) -> Result<(), Fault> {
    Err(Fault::wrong(format!("there is no format {format}")))
}

/// The value of the resource with this number.
pub(super) fn read_one(database: &Database, number: u64) -> Result<Option<Value>, Fault> {
    let values = database.begin_read()?.open_table(VALUES)?;
    values.get(number)?.map(|row| read_value(number, row.value())).transpose()
}

/// The numbers about the whole.
struct Meta {
    format: u64,
    sequence: u64,
    nodes: u64,
    values: u64,
    links: u64,
}

impl Meta {
    fn read(transaction: &ReadTransaction) -> Result<Self, Fault> {
        let table = transaction.open_table(META)?;
        let number = |name: &str| match table.get(name)? {
            Some(number) => Ok(number.value()),
            None => Err(Fault::wrong(format!("it does not say its {name}"))),
        };
        let format = number(META_FORMAT)?;
        if format > super::FORMAT {
            return Err(Fault::Newer { format });
        }
        Ok(Meta {
            format,
            sequence: number(META_SEQUENCE)?,
            nodes: number(META_NODES)?,
            values: number(META_VALUES)?,
            links: number(META_LINKS)?,
        })
    }
}

struct Reading {
    nodes: ReadOnlyTable<&'static [u8], &'static [u8]>,
    values: ReadOnlyTable<u64, &'static [u8]>,
    links: ReadOnlyTable<(u64, u64), ()>,
    links_back: ReadOnlyTable<(u64, u64), ()>,
    /// Links as (source, destination).
    linked: Vec<(u64, u64)>,
    /// The ends of links, and their paths as far as they have been read.
    ends: HashMap<u64, Option<Path>>,
    /// The key of the directory that was last found to be one.
    parent: Vec<u8>,
}

impl Reading {
    fn new(transaction: &ReadTransaction) -> Result<Self, Fault> {
        let links = transaction.open_table(LINKS)?;
        let mut linked = Vec::new();
        let mut ends = HashMap::new();
        for row in links.iter()? {
            let (source, destination) = row?.0.value();
            linked.push((source, destination));
            ends.insert(source, None);
            ends.insert(destination, None);
        }
        Ok(Reading {
            nodes: transaction.open_table(NODES)?,
            values: transaction.open_table(VALUES)?,
            links_back: transaction.open_table(LINKS_BACK)?,
            links,
            linked,
            ends,
            parent: Vec::new(),
        })
    }

    /// Gives all nodes, and returns how many values they have.
    fn nodes(&mut self, meta: &Meta, restore: &mut dyn Restore) -> Result<u64, Fault> {
        let mut paths = Paths::default();
        let mut nodes_found: u64 = 0;
        let mut values_found: u64 = 0;
        for row in self.nodes.range::<&[u8]>(..)? {
            let (key, record) = row?;
            let key = key.value();
            let node = Node::read(key, record.value())?;
            let path = paths.path(key)?;
            self.check_parent(key)?;
            nodes_found += 1;
            restore.item(match node {
                Node::Directory => SnapshotItem::Directory { path },
                Node::Resource { number, class } => {
                    let value = self.value(number)?;
                    values_found += u64::from(value.is_some());
                    self.resource(path, number, class, value)
                }
            });
        }
        check_count("nodes", nodes_found, meta.nodes)?;
        // Garbage is counted too; what is missing would be taken for nil.
        check_count("values", self.values.len()?, meta.values)?;
        Ok(values_found)
    }

    fn check_parent(&mut self, key: &[u8]) -> Result<(), Fault> {
        let parent = key_of_parent(key);
        if parent == self.parent {
            return Ok(());
        }
        let record = self.nodes.get(parent)?;
        match record.map(|record| Node::read(parent, record.value())).transpose()? {
            Some(Node::Directory) => {}
            // The root has no record.
            None if parent.is_empty() => {}
            _ => return Err(Fault::wrong("a node is in no directory")),
        }
        self.parent.clear();
        self.parent.extend_from_slice(parent);
        Ok(())
    }

    fn value(&self, number: u64) -> Result<Option<Value>, Fault> {
        self.values.get(number)?.map(|row| read_value(number, row.value())).transpose()
    }

    fn resource(
        &mut self,
        path: Path,
        number: u64,
        class: Option<Class>,
        value: Option<Value>,
    ) -> SnapshotItem {
        if let Some(end) = self.ends.get_mut(&number) {
            *end = Some(path.clone());
        }
        SnapshotItem::Resource { path, number, class, value: value.unwrap_or_else(Value::nil) }
    }

    /// Gives all links.
    fn links(&self, meta: &Meta, restore: &mut dyn Restore) -> Result<(), Fault> {
        check_count("links", self.links.len()?, meta.links)?;
        check_count("links by destination", self.links_back.len()?, meta.links)?;
        let path = |number| self.ends.get(number).cloned().flatten();
        for (source, destination) in &self.linked {
            let is_both_ways = self.links_back.get((*destination, *source))?.is_some();
            match (path(source), path(destination)) {
                (Some(source), Some(destination)) if is_both_ways => {
                    restore.item(SnapshotItem::Link { source, destination });
                }
                _ => return Err(Fault::wrong("a link has lost an end")),
            }
        }
        Ok(())
    }
}

fn check_count(what: &str, found: u64, claimed: u64) -> Result<(), Fault> {
    if found == claimed {
        return Ok(());
    }
    Err(Fault::wrong(format!("it holds {found} {what} and claims {claimed}")))
}

/// Removes values without a resource: a save may write one whose resource has just been deleted.
/// They must not wait until a new resource has the same number.
fn remove_needless_values(database: &Database, transaction: &ReadTransaction) -> Result<(), Fault> {
    let mut numbers = HashSet::new();
    for row in transaction.open_table(NODES)?.iter()? {
        let (key, record) = row?;
        if let Node::Resource { number, .. } = Node::read(key.value(), record.value())? {
            numbers.insert(number);
        }
    }
    let transaction = begin_write(database)?;
    let mut tables = Tables::open(&transaction)?;
    tables.remove_values(|number| !numbers.contains(&number))?;
    tables.seal()?;
    Ok(transaction.commit()?)
}
