//! What the broker should do with one request after the other: a model for tests to compare with.
//!
//! It knows the tree, the values and the links. Streams are left to the test, which is told what
//! was written where and what went.

use std::collections::{BTreeMap, BTreeSet};

use rmpv::Value;

use crate::support::nil;

pub type Path = Vec<String>;

/// The state of a broker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// Everything but the root: the value of a resource, `None` for a directory.
    pub nodes: BTreeMap<Path, Option<Vec<u8>>>,
    /// Source and destination.
    pub links: BTreeSet<(Path, Path)>,
}

/// What a request does.
#[derive(Debug, Default)]
pub struct Outcome {
    pub rnum: i64,
    /// PAYL of the answer, except for LIST.
    pub payl: Vec<u8>,
    /// What LIST finds.
    pub listing: Option<Value>,
    /// Whether an answer that refuses nothing has a warning.
    pub remark: bool,
    /// Resources that have the value of this request now.
    pub written: Vec<Path>,
    /// Resources that were deleted.
    pub gone: Vec<Path>,
}

impl Outcome {
    fn of(rnum: i64) -> Self {
        Outcome { rnum, payl: nil(), ..Outcome::default() }
    }
}

impl Model {
    /// Carries out a request. PAYL of LINK and UNLINK is `source`, that of PUT and POST `value`.
    /// STREAM is answered as one that is new, STOP as one that stops something.
    pub fn apply(&mut self, verb: &str, path: &Path, source: &Path, value: &[u8]) -> Outcome {
        match verb {
            "GET" | "STREAM" => match self.value(path) {
                Some(value) => Outcome { payl: value.to_vec(), ..Outcome::of(200) },
                None => Outcome::of(404),
            },
            "STOP" => Outcome::of(if self.value(path).is_some() { 200 } else { 404 }),
            "PUT" => self.put(path, value),
            "POST" if self.value(path).is_some() => self.put(path, value),
            "POST" => self.make(path, Some(value.to_vec()), 404),
            "CREATE" => self.make(path, Some(nil()), 400),
            "MKDIR" => self.make(path, None, 400),
            "DELETE" => self.delete(path),
            "LIST" => match self.listing(path) {
                Some(listing) => Outcome { listing: Some(listing), ..Outcome::of(200) },
                None => Outcome::of(404),
            },
            "LINK" => self.link(source, path),
            "UNLINK" => {
                let was = self.links.remove(&(source.clone(), path.clone()));
                Outcome::of(if was { 200 } else { 404 })
            }
            other => panic!("{other} is no verb"),
        }
    }

    /// The value of the resource here.
    pub fn value(&self, path: &Path) -> Option<&[u8]> {
        self.nodes.get(path)?.as_deref()
    }

    /// What LIST of this directory has in PAYL.
    pub fn listing(&self, path: &Path) -> Option<Value> {
        if !path.is_empty() && self.nodes.get(path) != Some(&None) {
            return None;
        }
        let below = self
            .nodes
            .iter()
            .filter(|(name, _)| name.len() == path.len() + 1 && name.starts_with(path));
        let entry = |(name, _): (&Path, _)| {
            let inner = self.listing(name).unwrap_or(Value::Nil);
            (Value::from(name[path.len()].as_str()), inner)
        };
        Some(Value::Map(below.map(entry).collect()))
    }

    fn put(&mut self, path: &Path, value: &[u8]) -> Outcome {
        if self.value(path).is_none() {
            return Outcome::of(404);
        }
        let written = self.reached_from(path);
        for path in &written {
            self.nodes.insert(path.clone(), Some(value.to_vec()));
        }
        Outcome { written, ..Outcome::of(200) }
    }

    fn make(&mut self, path: &Path, node: Option<Vec<u8>>, refused: i64) -> Outcome {
        let on_the_way = || (1..path.len()).map(|length| path[..length].to_vec());
        let is_free = !path.is_empty() && !self.nodes.contains_key(path);
        if !is_free || on_the_way().any(|parent| self.value(&parent).is_some()) {
            return Outcome::of(refused);
        }
        for parent in on_the_way() {
            self.nodes.entry(parent).or_default();
        }
        self.nodes.insert(path.clone(), node);
        Outcome::of(201)
    }

    fn delete(&mut self, path: &Path) -> Outcome {
        if path.is_empty() || !self.nodes.contains_key(path) {
            return Outcome::of(404);
        }
        let went: BTreeMap<Path, _> =
            self.nodes.extract_if(.., |name, _| name.starts_with(path)).collect();
        self.links.retain(|(source, destination)| {
            !source.starts_with(path) && !destination.starts_with(path)
        });
        let gone = went.into_iter().filter(|(_, node)| node.is_some()).map(|(path, _)| path);
        Outcome { gone: gone.collect(), ..Outcome::of(200) }
    }

    fn link(&mut self, source: &Path, destination: &Path) -> Outcome {
        if self.value(source).is_none() || self.value(destination).is_none() {
            return Outcome::of(404);
        }
        let link = (source.clone(), destination.clone());
        if self.links.contains(&link) {
            return Outcome { remark: true, ..Outcome::of(200) };
        }
        if self.reached_from(destination).contains(source) {
            return Outcome::of(409);
        }
        self.links.insert(link);
        Outcome::of(200)
    }

    /// The resources that a value written here arrives at, this one first.
    fn reached_from(&self, path: &Path) -> Vec<Path> {
        let mut reached = vec![path.clone()];
        let mut next = 0;
        while next < reached.len() {
            let here = reached[next].clone();
            let links = self.links.iter().filter(|(source, _)| *source == here);
            for (_, destination) in links {
                if !reached.contains(destination) {
                    reached.push(destination.clone());
                }
            }
            next += 1;
        }
        reached
    }
}
