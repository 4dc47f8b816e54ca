//! How paths, nodes and values are laid out in the rows of the database.
//!
//! A key is each name of the path with a slash before it. No name contains a slash, so parents sort
//! before what is below them, and what is below `/a` lies between `/a/` and `/a0`, the zero being
//! what follows the slash.

use std::sync::Arc;

use fanal_actors::{Class, Path, Value};

use super::fault::Fault;

const KIND_DIRECTORY: u8 = 1;
const KIND_RESOURCE: u8 = 2;

const SLASH: u8 = b'/';
const AFTER_SLASH: u8 = SLASH + 1;

const CHECKSUM_BYTES: usize = 4;
/// Kind, class, number and checksum.
const RECORD_BYTES: usize = 2 + 8 + CHECKSUM_BYTES;

/// The key of the node at this path; empty for the root, which has no record.
pub(super) fn key(path: &Path) -> Vec<u8> {
    let mut key = Vec::with_capacity(path.names().iter().map(|name| name.len() + 1).sum());
    for name in path.names() {
        key.push(SLASH);
        key.extend_from_slice(name.as_bytes());
    }
    key
}

/// The keys of the directories above this one, from the root down and without it.
pub(super) fn keys_above(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = key.iter().enumerate().skip(1).filter(|(_, byte)| **byte == SLASH);
    slashes.filter_map(|(position, _)| key.get(..position))
}

/// The key of the directory that this one is in.
pub(super) fn key_of_parent(key: &[u8]) -> &[u8] {
    let last = key.iter().rposition(|byte| *byte == SLASH).unwrap_or(0);
    key.get(..last).unwrap_or_default()
}

/// The range of the keys below this one: the first that may be in it, and the first that is not.
pub(super) fn below(key: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let followed_by = |byte: u8| [key, &[byte]].concat();
    (followed_by(SLASH), followed_by(AFTER_SLASH))
}

/// Reads paths from keys in order, so that most names are shared with the path before.
#[derive(Default)]
pub(super) struct Paths {
    /// For each depth, the name last seen there.
    names: Vec<Arc<str>>,
}

impl Paths {
    /// The path of this key.
    pub(super) fn path(&mut self, key: &[u8]) -> Result<Path, Fault> {
        let Some(names) = str::from_utf8(key).ok().and_then(|key| key.strip_prefix('/')) else {
            return Err(Fault::wrong("a key is no path"));
        };
        let mut depth = 0;
        for name in names.split('/') {
            match self.names.get_mut(depth) {
                Some(known) if **known == *name => {}
                Some(known) => *known = Arc::from(name),
                None => self.names.push(Arc::from(name)),
            }
            depth += 1;
        }
        Ok(Path::new(self.names.iter().take(depth).cloned()))
    }
}

/// What the database says about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// A directory.
    Directory,
    /// A resource.
    Resource {
        /// Its number.
        number: u64,
        /// The class that it was made with; `None` if the rules decide.
        class: Option<Class>,
    },
}

impl Node {
    /// The record of the node with this key.
    pub(super) fn record(self, key: &[u8]) -> [u8; RECORD_BYTES] {
        let (kind, class, number) = match self {
            Node::Directory => (KIND_DIRECTORY, None, 0),
            Node::Resource { number, class } => (KIND_RESOURCE, class, number),
        };
        let [n0, n1, n2, n3, n4, n5, n6, n7] = number.to_le_bytes();
        let body = [kind, class_code(class), n0, n1, n2, n3, n4, n5, n6, n7];
        let [b0, b1, ..] = body;
        let [s0, s1, s2, s3] = checksum(key, &body);
        [b0, b1, n0, n1, n2, n3, n4, n5, n6, n7, s0, s1, s2, s3]
    }

    /// Reads the record of the node with this key.
    pub(super) fn read(key: &[u8], record: &[u8]) -> Result<Self, Fault> {
        let Some((body, sum)) = record.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Err(Fault::wrong("the record of a node is too short"));
        };
        if checksum(key, body) != *sum {
            return Err(Fault::wrong("the checksum of a node does not match"));
        }
        match *body {
            [KIND_DIRECTORY, 0, ..] => Ok(Node::Directory),
            [KIND_RESOURCE, code, n0, n1, n2, n3, n4, n5, n6, n7] => {
                let number = u64::from_le_bytes([n0, n1, n2, n3, n4, n5, n6, n7]);
                Ok(Node::Resource { number, class: class_of(code)? })
            }
            _ => Err(Fault::wrong("the record of a node is of no known kind")),
        }
    }
}

fn class_code(class: Option<Class>) -> u8 {
    match class {
        None => 0,
        Some(Class::State) => 1,
        Some(Class::Live) => 2,
        Some(Class::Event) => 3,
    }
}

fn class_of(code: u8) -> Result<Option<Class>, Fault> {
    match code {
        0 => Ok(None),
        1 => Ok(Some(Class::State)),
        2 => Ok(Some(Class::Live)),
        3 => Ok(Some(Class::Event)),
        _ => Err(Fault::wrong(format!("there is no class {code}"))),
    }
}

/// Puts the row of a value in the place of what is in `row`.
pub(super) fn write_value(row: &mut Vec<u8>, number: u64, value: &Value) {
    row.clear();
    row.extend_from_slice(value.as_bytes());
    row.extend_from_slice(&checksum(&number.to_le_bytes(), value.as_bytes()));
}

/// Reads the row of the value with this number.
pub(super) fn read_value(number: u64, row: &[u8]) -> Result<Value, Fault> {
    match row.split_last_chunk::<CHECKSUM_BYTES>() {
        Some((value, sum))
            if !value.is_empty() && checksum(&number.to_le_bytes(), value) == *sum =>
        {
            Ok(Value::copy_from(value))
        }
        _ => Err(Fault::wrong(format!("the checksum of value {number} does not match"))),
    }
}

/// Over what a row is found by and what is in it, so that a good row in a wrong place is noticed.
fn checksum(key: &[u8], body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(key);
    checksum.update(body);
    checksum.finalize().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(names: &[&str]) -> Path {
        Path::new(names.iter().copied())
    }

    #[test]
    fn a_key_reads_back_as_its_path() {
        let mut paths = Paths::default();
        for names in [&["a"][..], &["a", ""], &["", "", "x"], &[""], &["ü", "a b", "."]] {
            assert_eq!(paths.path(&key(&path(names))).unwrap(), path(names));
        }
        assert_eq!(key(&Path::root()), b"");
        assert!(paths.path(b"").is_err());
        assert!(paths.path(b"/\xff").is_err());
    }

    #[test]
    fn what_is_below_a_path_is_a_range_of_keys() {
        let all = [&["a"][..], &["a", ""], &["a", "b"], &["a b"], &["a0"], &["a", "b", "c"], &[""]];
        for top in all {
            let (first, end) = below(&key(&path(top)));
            for other in all {
                let is_below = other.len() > top.len() && other.starts_with(top);
                let other_key = key(&path(other));
                assert_eq!(first <= other_key && other_key < end, is_below, "{top:?} {other:?}");
                assert!(!is_below || key(&path(top)) < other_key);
            }
        }
    }

    #[test]
    fn a_key_knows_what_is_above_it() {
        let above =
            |names: &[&str]| keys_above(&key(&path(names))).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(above(&["a", "", "b"]), [&b"/a"[..], b"/a/"]);
        assert_eq!(above(&["", "", ""]), [&b"/"[..], b"//"]);
        assert!(above(&["a"]).is_empty() && above(&[]).is_empty());
        assert_eq!(key_of_parent(b"/a/b"), b"/a");
        assert_eq!(key_of_parent(b"//"), b"/");
        assert_eq!(key_of_parent(b"/a"), b"");
    }

    #[test]
    fn every_changed_bit_of_a_record_or_its_key_is_noticed() {
        let classes = [None, Some(Class::State), Some(Class::Live), Some(Class::Event)];
        let resources = classes.map(|class| Node::Resource { number: u64::MAX - 5, class });
        for node in [&[Node::Directory][..], &resources].concat() {
            let record = node.record(b"/a");
            assert_eq!(Node::read(b"/a", &record).unwrap(), node);
            assert!(Node::read(b"/b", &record).is_err());
            for bit in 0..record.len() * 8 {
                let mut changed = record;
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(Node::read(b"/a", &changed).is_err());
            }
        }
        assert!(Node::read(b"/a", b"").is_err());
    }

    #[test]
    fn every_changed_bit_of_a_value_or_its_number_is_noticed() {
        let value = Value::copy_from(&[7, 8, 9]);
        let mut row = vec![1];
        write_value(&mut row, 5, &value);
        assert_eq!(read_value(5, &row).unwrap(), value);
        assert!(read_value(6, &row).is_err());
        for bit in 0..row.len() * 8 {
            let mut changed = row.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(read_value(5, &changed).is_err());
        }
        assert!(read_value(0, &[]).is_err() && read_value(0, &[0; 4]).is_err());
    }
}
