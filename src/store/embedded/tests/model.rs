//! A store in memory that is simple enough to be right, and random runs against it.

use std::collections::{BTreeMap, BTreeSet};

use fanal_actors::ports::SnapshotItem;
use fanal_actors::{Class, Path};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A tree as a store keeps it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    /// `None` for a directory.
    pub(super) nodes: BTreeMap<Path, Option<Resource>>,
    pub(super) links: BTreeSet<(Path, Path)>,
    pub(super) sequence: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Resource {
    pub(super) number: u64,
    class: Option<Class>,
    pub(super) value: Value,
}

/// Names between slashes; the empty text is one empty name.
pub(super) fn path(names: &str) -> Path {
    Path::new(names.split('/'))
}

/// A value that tells its number, long enough to be found in a file.
pub(super) fn value(number: u64) -> Value {
    Value::copy_from(format!("\u{7f}value {number:09} of the test").as_bytes())
}

/// Values to save.
pub(super) struct Values(pub(super) Vec<(u64, Value)>);

impl Unsaved for Values {
    fn picture(&self) -> Snapshot<'_> {
        panic!("a store that writes single values needs no picture")
    }

    fn values(&self) -> Box<dyn Iterator<Item = (u64, Value)> + '_> {
        Box::new(self.0.iter().cloned())
    }
}

impl Unsaved for Model {
    fn picture(&self) -> Snapshot<'_> {
        self.snapshot()
    }

    fn values(&self) -> Box<dyn Iterator<Item = (u64, Value)> + '_> {
        let resources = self.nodes.values().flatten();
        Box::new(resources.map(|resource| (resource.number, resource.value.clone())))
    }
}

impl Model {
    /// Makes these changes, with the next sequences, and returns them.
    pub(super) fn change_all(&mut self, kinds: Vec<ChangeKind>) -> Vec<Change> {
        let first = self.sequence + 1;
        let changes: Vec<Change> =
            (first..).zip(kinds).map(|(sequence, kind)| Change { sequence, kind }).collect();
        changes.iter().for_each(|change| self.apply(change));
        changes
    }

    fn apply(&mut self, change: &Change) {
        self.sequence = change.sequence;
        match change.kind.clone() {
            ChangeKind::CreateResource { path, number, class, value } => {
                self.create(path, Some(Resource { number, class, value }));
            }
            ChangeKind::CreateDirectory { path } => self.create(path, None),
            ChangeKind::Delete { path } => {
                let stays = |other: &Path| !other.names().starts_with(path.names());
                self.nodes.retain(|node, _| stays(node));
                self.links.retain(|(source, destination)| stays(source) && stays(destination));
            }
            ChangeKind::Link { source, destination } => {
                if self.is_resource(&source) && self.is_resource(&destination) {
                    self.links.insert((source, destination));
                }
            }
            ChangeKind::Unlink { source, destination } => {
                self.links.remove(&(source, destination));
            }
        }
    }

    fn is_resource(&self, path: &Path) -> bool {
        matches!(self.nodes.get(path), Some(Some(_)))
    }

    fn create(&mut self, path: Path, node: Option<Resource>) {
        let above = |depth: usize| Path::new(path.names().iter().take(depth).cloned());
        let is_below_resource =
            (1..path.names().len()).any(|depth| self.is_resource(&above(depth)));
        if path.is_root() || is_below_resource || self.nodes.contains_key(&path) {
            return;
        }
        for depth in 1..path.names().len() {
            self.nodes.entry(above(depth)).or_insert(None);
        }
        self.nodes.insert(path, node);
    }

    /// Takes these values.
    pub(super) fn save(&mut self, values: &Values) {
        for (number, value) in values.values() {
            let known = self.nodes.values_mut().flatten().find(|known| known.number == number);
            known.unwrap().value = value;
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot<'_> {
        let node = |(path, resource): (&Path, &Option<Resource>)| match resource.clone() {
            None => SnapshotItem::Directory { path: path.clone() },
            Some(Resource { number, class, value }) => {
                SnapshotItem::Resource { path: path.clone(), number, class, value }
            }
        };
        let link = |(source, destination): &(Path, Path)| SnapshotItem::Link {
            source: source.clone(),
            destination: destination.clone(),
        };
        let items: Vec<SnapshotItem> =
            self.nodes.iter().map(node).chain(self.links.iter().map(link)).collect();
        Snapshot { sequence: self.sequence, items: Box::new(items.into_iter()) }
    }

    /// The same but for numbers, which a snapshot does not keep.
    pub(super) fn plain(&self) -> Self {
        let mut model = self.clone();
        for resource in model.nodes.values_mut().flatten() {
            resource.number = 0;
        }
        model
    }
}

impl Restore for Model {
    fn begin(&mut self) {
        *self = Model::default();
    }

    fn item(&mut self, item: SnapshotItem) {
        let (path, node) = match item {
            SnapshotItem::Directory { path } => (path, None),
            SnapshotItem::Resource { path, number, class, value } => {
                (path, Some(Resource { number, class, value }))
            }
            SnapshotItem::Link { source, destination } => {
                assert!(self.is_resource(&source) && self.is_resource(&destination));
                assert!(self.links.insert((source, destination)));
                return;
            }
        };
        assert!(self.links.is_empty(), "links come last");
        let parent = Path::new(path.names()[..path.names().len() - 1].iter().cloned());
        let is_in_directory = parent.is_root() || self.nodes.get(&parent) == Some(&None);
        assert!(is_in_directory, "parents come first: {path}");
        assert!(self.nodes.insert(path, node).is_none());
    }

    fn sequence(&mut self, sequence: u64) {
        self.sequence = sequence;
    }

    fn change(&mut self, change: Change) {
        self.apply(&change);
    }
}

/// One step of a run.
#[derive(Clone, Debug)]
enum Step {
    Append(Vec<ChangeKind>),
    /// Saves this value for each resource whose position among all divides by the second.
    Save(Value, usize),
    Restart,
    /// Goes on with a copy of the files, as after a kill.
    Crash,
}

/// Around the slash in the order of bytes.
const NAMES: [&str; 7] = ["", "a", "b", "a b", "a0", "a.", "."];

fn any_path() -> impl Strategy<Value = Path> {
    let name = prop_oneof![
        6 => prop::sample::select(&NAMES[..]).prop_map(String::from),
        1 => any::<String>().prop_map(|name| name.replace('/', "")),
    ];
    vec(name, 0..4).prop_map(Path::new)
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::nil()),
        8 => vec(any::<u8>(), 1..40).prop_map(|bytes| Value::copy_from(&bytes)),
        1 => vec(any::<u8>(), 200..20_000).prop_map(|bytes| Value::copy_from(&bytes)),
    ]
}

fn any_class() -> impl Strategy<Value = Option<Class>> {
    prop_oneof![Just(None), prop::sample::select(&Class::ALL[..]).prop_map(Some)]
}

/// A change; a resource gets its number when it is made.
fn any_kind() -> impl Strategy<Value = ChangeKind> {
    prop_oneof![
        6 => (any_path(), any_class(), any_value()).prop_map(|(path, class, value)| {
            ChangeKind::CreateResource { path, number: 0, class, value }
        }),
        2 => any_path().prop_map(|path| ChangeKind::CreateDirectory { path }),
        1 => any_path().prop_map(|path| ChangeKind::Delete { path }),
        4 => (any_path(), any_path())
            .prop_map(|(source, destination)| ChangeKind::Link { source, destination }),
        1 => (any_path(), any_path())
            .prop_map(|(source, destination)| ChangeKind::Unlink { source, destination }),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => vec(any_kind(), 0..12).prop_map(Step::Append),
        3 => (any_value(), 1..4_usize).prop_map(|(value, every)| Step::Save(value, every)),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_run_leaves_what_the_model_has(steps in vec(any_step(), 1..12)) {
        let mut directory = tempfile::tempdir().unwrap();
        let (mut store, mut model) = loaded(directory.path());
        let mut last_number = 0;
        for step in steps {
            match step {
                Step::Append(mut kinds) => {
                    for kind in &mut kinds {
                        if let ChangeKind::CreateResource { number, .. } = kind {
                            last_number += 1;
                            *number = last_number;
                        }
                    }
                    append(&store, &mut model, kinds);
                }
                Step::Save(value, every) => {
                    let numbers = model.nodes.values().flatten().map(|resource| resource.number);
                    let values = numbers.step_by(every).map(|number| (number, value.clone()));
                    let values = Values(values.collect());
                    store.save(&values).unwrap();
                    model.save(&values);
                }
                Step::Restart => {
                    drop(store);
                    store = store_in(directory.path());
                    prop_assert_eq!(&load(&store), &model);
                }
                Step::Crash => {
                    let copy = copy_of(directory.path());
                    drop(store);
                    directory = copy;
                    store = store_in(directory.path());
                    prop_assert_eq!(&load(&store), &model);
                }
            }
            for resource in model.nodes.values().flatten() {
                let read = store.read(resource.number).unwrap().unwrap_or_else(Value::nil);
                prop_assert_eq!(read, resource.value.clone());
            }
        }
        drop(store);
        prop_assert_eq!(restored(directory.path()), model);
    }
}
