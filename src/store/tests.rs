//! The store as a whole: saves, appends and crashes in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fanal_actors::ports::ChangeKind;
use fanal_actors::{Path, Value};
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A tree without rules: enough to tell whether two stores hold the same structure.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    /// `None` for a directory.
    nodes: BTreeMap<Path, Option<Vec<u8>>>,
    links: BTreeSet<(Path, Path)>,
    sequence: u64,
}

impl Model {
    fn apply(&mut self, change: &Change) {
        self.sequence = change.sequence;
        match change.kind.clone() {
            ChangeKind::CreateResource { path, value, .. } => {
                self.nodes.insert(path, Some(value.as_bytes().to_vec()));
            }
            ChangeKind::CreateDirectory { path } => {
                self.nodes.insert(path, None);
            }
            ChangeKind::Delete { path } => {
                let stays = |other: &Path| !other.names().starts_with(path.names());
                self.nodes.retain(|node, _| stays(node));
                self.links.retain(|(source, destination)| stays(source) && stays(destination));
            }
            ChangeKind::Link { source, destination } => {
                self.links.insert((source, destination));
            }
            ChangeKind::Unlink { source, destination } => {
                self.links.remove(&(source, destination));
            }
        }
    }

    fn snapshot(&self) -> Snapshot<'static> {
        let node = |(path, value): (&Path, &Option<Vec<u8>>)| match value.clone() {
            None => SnapshotItem::Directory { path: path.clone() },
            Some(value) => SnapshotItem::Resource {
                path: path.clone(),
                number: 0,
                class: None,
                value: Value::copy_from(&value),
            },
        };
        let link = |(source, destination): &(Path, Path)| SnapshotItem::Link {
            source: source.clone(),
            destination: destination.clone(),
        };
        let items: Vec<SnapshotItem> =
            self.nodes.iter().map(node).chain(self.links.iter().map(link)).collect();
        Snapshot { sequence: self.sequence, items: Box::new(items.into_iter()) }
    }

    fn restored(loaded: Loaded) -> Model {
        let mut model = Model { sequence: loaded.sequence, ..Model::default() };
        for item in loaded.items {
            match item {
                SnapshotItem::Directory { path } => {
                    model.nodes.insert(path, None);
                }
                SnapshotItem::Resource { path, value, .. } => {
                    model.nodes.insert(path, Some(value.as_bytes().to_vec()));
                }
                SnapshotItem::Link { source, destination } => {
                    model.links.insert((source, destination));
                }
            }
        }
        for change in &loaded.changes {
            assert_eq!(change.sequence, model.sequence + 1, "changes follow without a gap");
            model.apply(change);
        }
        model
    }
}

fn store_in(directory: &FilePath) -> FileStore {
    FileStore::open(directory.join("s")).unwrap()
}

fn restored(directory: &FilePath) -> Model {
    Model::restored(store_in(directory).load_all().unwrap())
}

/// What is on the disk at this moment, as a crash would leave it.
fn crashed(directory: &FilePath) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn names(directory: &FilePath) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn create(sequence: u64, name: &str) -> Change {
    let value = Value::copy_from(&[7, 8]);
    let path = Path::new([name]);
    Change { sequence, kind: ChangeKind::CreateResource { path, number: 0, class: None, value } }
}

/// Appends the change and makes it part of the model.
fn change(store: &FileStore, model: &mut Model, name: &str) {
    let change = create(model.sequence + 1, name);
    model.apply(&change);
    store.append(&[change]).unwrap();
}

/// A directory with two saves and changes before, between and after them.
fn filled() -> (TempDir, Model) {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(directory.path());
    let mut model = Model::default();
    for name in ["a", "b"] {
        change(&store, &mut model, name);
        store.save_whole(&mut || model.snapshot()).unwrap();
    }
    change(&store, &mut model, "c");
    (directory, model)
}

#[test]
fn nothing_is_loaded_from_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::open(directory.path().join("x/y/s")).unwrap();
    assert_eq!(store.load_all().unwrap(), Loaded::default());
    assert_eq!(names(&directory.path().join("x/y")), ["s.lock"]);
}

#[test]
fn a_save_reports_what_it_wrote() {
    let (directory, model) = filled();
    let store = store_in(directory.path());
    let report = store.save_whole(&mut || model.snapshot()).unwrap();
    let bytes = fs::metadata(directory.path().join("s")).unwrap().len();
    assert_eq!(report, SaveReport { resources: 3, bytes });
}

#[test]
fn values_without_structural_changes_leave_no_segments() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(directory.path());
    for _ in 0..5 {
        store.save_whole(&mut || Model::default().snapshot()).unwrap();
    }
    assert_eq!(names(directory.path()), ["s", "s.lock", "s.previous"]);
}

#[test]
fn segments_go_when_both_snapshots_have_their_changes() {
    let (directory, model) = filled();
    let segments =
        |count| names(directory.path()).iter().filter(|n| n.contains("journal")).count() == count;
    assert!(segments(2), "{:?}", names(directory.path()));
    let store = store_in(directory.path());
    store.load_all().unwrap();
    for left in [1, 0] {
        store.save_whole(&mut || model.snapshot()).unwrap();
        assert!(segments(left), "{left}: {:?}", names(directory.path()));
    }
}

#[test]
fn a_store_is_held_by_one_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = store_in(directory.path());
    let error = FileStore::open(directory.path().join("s")).unwrap_err().to_string();
    let expected = format!("s.lock is locked by process {}: stop it", std::process::id());
    assert!(error.contains(&expected), "{error}");
    drop(first);
    store_in(directory.path());
}

#[test]
fn a_store_below_a_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    for path in ["file/s", "file/deep/s"] {
        let error = FileStore::open(directory.path().join(path)).unwrap_err().to_string();
        assert!(error.contains("not a directory; move away"), "{error}");
    }
}

#[test]
fn a_leftover_of_an_interrupted_save_is_removed() {
    let (directory, model) = filled();
    fs::write(directory.path().join("s.new"), "half").unwrap();
    assert_eq!(restored(directory.path()), model);
    assert!(!directory.path().join("s.new").exists());
}

#[test]
fn every_truncation_and_every_changed_byte_of_the_newest_leads_to_the_same_tree() {
    let (directory, model) = filled();
    let bytes = fs::read(directory.path().join("s")).unwrap();
    let truncated = (0..bytes.len()).map(|length| bytes[..length].to_vec());
    let flipped = (0..bytes.len()).map(|position| {
        let mut bytes = bytes.clone();
        bytes[position] ^= 0x41;
        bytes
    });
    for bytes in truncated.chain(flipped) {
        let copy = crashed(directory.path());
        fs::write(copy.path().join("s"), &bytes).unwrap();
        assert_eq!(restored(copy.path()), model);
        let names = names(copy.path());
        assert!(names.iter().any(|name| name.starts_with("s.broken-2")), "{names:?}");
        // The next start finds the same without the damaged file.
        assert_eq!(restored(copy.path()), model);
    }
}

#[test]
fn every_truncation_of_the_last_segment_loses_at_most_its_changes() {
    let (directory, model) = filled();
    let store = store_in(directory.path());
    let before = Model::restored(store.load_all().unwrap());
    let mut after = before.clone();
    change(&store, &mut after, "d");
    drop(store);
    let last = names(directory.path()).into_iter().rfind(|name| name.contains("journal")).unwrap();
    let bytes = fs::read(directory.path().join(&last)).unwrap();
    for length in 0..bytes.len() {
        let copy = crashed(directory.path());
        fs::write(copy.path().join(&last), &bytes[..length]).unwrap();
        assert_eq!(restored(copy.path()), model);
    }
    assert_eq!(restored(directory.path()), after);
}

#[test]
fn a_crash_between_the_renames_of_a_save_loses_nothing() {
    let (directory, model) = filled();
    let path = |name: &str| directory.path().join(name);
    fs::copy(path("s"), path("s.new")).unwrap();
    fs::rename(path("s"), path("s.previous")).unwrap();
    assert_eq!(restored(directory.path()), model);
}

#[test]
fn with_both_snapshots_damaged_the_rest_of_the_journal_is_used() {
    let (directory, _) = filled();
    fs::write(directory.path().join("s"), "").unwrap();
    fs::write(directory.path().join("s.previous"), "text").unwrap();
    let loaded = store_in(directory.path()).load_all().unwrap();
    assert_eq!((loaded.items.len(), loaded.sequence), (0, 0));
    let sequences: Vec<u64> = loaded.changes.iter().map(|change| change.sequence).collect();
    assert_eq!(sequences, [2, 3]);
}

#[test]
fn the_first_snapshot_may_be_damaged_too() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(directory.path());
    let mut model = Model::default();
    change(&store, &mut model, "a");
    store.save_whole(&mut || model.snapshot()).unwrap();
    change(&store, &mut model, "b");
    drop(store);
    fs::write(directory.path().join("s"), "text").unwrap();
    assert_eq!(restored(directory.path()), model);
}

#[test]
fn a_newer_snapshot_is_refused_and_left_alone() {
    let (directory, _) = filled();
    let file = directory.path().join("s");
    let mut bytes = fs::read(&file).unwrap();
    bytes[16] = 3;
    let body = bytes.len() - 4;
    let sum = crc32fast::hash(&bytes[..body - 1]);
    bytes[body..].copy_from_slice(&sum.to_be_bytes());
    fs::write(&file, &bytes).unwrap();
    let error = store_in(directory.path()).load_all().unwrap_err().to_string();
    assert!(error.contains("written by a newer fanal (format 3), this one reads"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[test]
fn a_snapshot_of_the_original_server_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let beacon = b"\x82\xa3a/b\x01\xa1c\x82\xa1x\x01\xa1y\xc0";
    fs::write(directory.path().join("s"), beacon).unwrap();
    let store = store_in(directory.path());
    assert_eq!(store.load_all().unwrap(), Loaded::default());
    let names = names(directory.path());
    assert!(names[0].starts_with("s.beacon-2"), "{names:?}");
    assert_eq!(fs::read(directory.path().join(&names[0])).unwrap(), beacon);
}

#[test]
fn a_failed_save_leaves_everything_as_it_was_and_can_be_repeated() {
    let (directory, mut model) = filled();
    let store = store_in(directory.path());
    store.load_all().unwrap();
    std::os::unix::fs::symlink("/dev/full", directory.path().join("s.new")).unwrap();
    let error = store.save_whole(&mut || model.snapshot()).unwrap_err().to_string();
    assert!(error.contains("s.new: no space left on device; free some space"), "{error}");
    change(&store, &mut model, "d");
    assert_eq!(restored(crashed(directory.path()).path()), model);

    fs::create_dir(directory.path().join("s.new")).unwrap();
    let error = store.save_whole(&mut || model.snapshot()).unwrap_err().to_string();
    assert!(error.contains("move away what is in its place"), "{error}");
    fs::remove_dir(directory.path().join("s.new")).unwrap();

    store.save_whole(&mut || model.snapshot()).unwrap();
    assert_eq!(restored(crashed(directory.path()).path()), model);
}

#[test]
fn a_save_that_fails_between_its_renames_is_repeated() {
    let (directory, mut model) = filled();
    let store = store_in(directory.path());
    store.load_all().unwrap();
    // A directory cannot be replaced by the file that is to be the previous snapshot.
    let previous = directory.path().join("s.previous");
    fs::remove_file(&previous).unwrap();
    fs::create_dir(&previous).unwrap();
    assert!(store.save_whole(&mut || model.snapshot()).is_err());
    change(&store, &mut model, "d");
    fs::remove_dir(&previous).unwrap();
    assert_eq!(restored(crashed(directory.path()).path()), model);
    store.save_whole(&mut || model.snapshot()).unwrap();
    assert_eq!(restored(crashed(directory.path()).path()), model);
    fs::remove_file(directory.path().join("s")).unwrap();
    assert_eq!(restored(crashed(directory.path()).path()), model);
}

#[test]
fn an_append_does_not_wait_for_a_save() {
    let (directory, model) = filled();
    let store = store_in(directory.path());
    let mut later = Model::restored(store.load_all().unwrap());
    let mut is_taken = false;
    store
        .save_whole(&mut || {
            assert!(!is_taken, "the picture is taken once");
            is_taken = true;
            // A save that held the journal would never come back from here.
            change(&store, &mut later, "d");
            model.snapshot()
        })
        .unwrap();
    drop(store);
    assert_eq!(restored(directory.path()), later);
    fs::remove_file(directory.path().join("s")).unwrap();
    assert_eq!(restored(directory.path()), later);
}

#[test]
fn appends_and_saves_on_two_threads_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(store_in(directory.path()));
    let model = Arc::new(Mutex::new(Model::default()));
    let is_done = Arc::new(AtomicBool::new(false));
    let saver = thread::spawn({
        let (store, model, is_done) = (store.clone(), model.clone(), is_done.clone());
        move || {
            let mut saves = 0;
            while !is_done.load(Ordering::Acquire) || saves < 3 {
                store.save_whole(&mut || model.lock().snapshot()).unwrap();
                saves += 1;
            }
        }
    });
    let mut acknowledged = 0;
    for round in 0..300 {
        let changes: Vec<Change> = (1..=3)
            .map(|offset| create(round * 3 + offset, &format!("{}", (round * 3 + offset) % 50)))
            .collect();
        // In the order of the broker: the tree changes first, then the change is made durable.
        for change in &changes {
            model.lock().apply(change);
        }
        store.append(&changes).unwrap();
        acknowledged = round * 3 + 3;
        if round % 60 == 59 {
            let copy = crashed_while_saving(directory.path());
            assert!(restored(copy.path()).sequence >= acknowledged);
        }
    }
    is_done.store(true, Ordering::Release);
    saver.join().unwrap();
    drop(store);
    let restored = restored(directory.path());
    assert_eq!(restored.sequence, acknowledged);
    assert_eq!(restored, *model.lock());
}

/// A copy made while files are renamed is not what one moment leaves, so it is repeated until no
/// name changed during the copy.
fn crashed_while_saving(directory: &FilePath) -> TempDir {
    let identity = || {
        let mut identity: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let meta = entry.metadata().ok()?;
                Some((entry.file_name(), std::os::unix::fs::MetadataExt::ino(&meta), meta.len()))
            })
            .filter(|(name, ..)| name != "s.new")
            .collect();
        identity.sort();
        identity
    };
    loop {
        let before = identity();
        let copy = tempfile::tempdir().unwrap();
        let is_copied = before
            .iter()
            .all(|(name, ..)| fs::copy(directory.join(name), copy.path().join(name)).is_ok());
        if is_copied && identity() == before {
            return copy;
        }
    }
}

/// One step of a run.
#[derive(Clone, Debug)]
enum Step {
    /// Appends these changes at once.
    Append(Vec<ChangeKind>),
    /// Saves, with these changes appended after the picture was taken.
    Save(Vec<ChangeKind>),
    /// Stops without notice and starts again.
    Restart,
}

fn any_path() -> impl Strategy<Value = Path> {
    let name = prop_oneof![4 => "[ab]", 1 => any::<String>()];
    vec(name, 0..4).prop_map(Path::new)
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![9 => vec(any::<u8>(), 1..40), 1 => vec(any::<u8>(), 200..70_000)]
        .prop_map(|bytes| Value::copy_from(&bytes))
}

fn any_kind() -> impl Strategy<Value = ChangeKind> {
    prop_oneof![
        (any_path(), any_value()).prop_map(|(path, value)| ChangeKind::CreateResource {
            path,
            number: 0,
            class: None,
            value,
        }),
        any_path().prop_map(|path| ChangeKind::CreateDirectory { path }),
        any_path().prop_map(|path| ChangeKind::Delete { path }),
        (any_path(), any_path())
            .prop_map(|(source, destination)| ChangeKind::Link { source, destination }),
        (any_path(), any_path())
            .prop_map(|(source, destination)| ChangeKind::Unlink { source, destination }),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => vec(any_kind(), 0..5).prop_map(Step::Append),
        2 => vec(any_kind(), 0..3).prop_map(Step::Save),
        1 => Just(Step::Restart),
    ]
}

fn append(store: &FileStore, model: &mut Model, kinds: &[ChangeKind]) {
    let first = model.sequence + 1;
    let changes: Vec<Change> = (first..)
        .zip(kinds)
        .map(|(sequence, kind)| Change { sequence, kind: kind.clone() })
        .collect();
    for change in &changes {
        model.apply(change);
    }
    store.append(&changes).unwrap();
}

/// A crash at this moment keeps everything, even if the newest snapshot turns out damaged.
fn check_crash(directory: &FilePath, model: &Model) {
    let copy = crashed(directory);
    assert_eq!(&restored(copy.path()), model);
    let newest = copy.path().join("s");
    if let Ok(mut bytes) = fs::read(&newest) {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&newest, bytes).unwrap();
        assert_eq!(&restored(copy.path()), model);
    }
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_crash_at_any_moment_gives_exactly_what_was_acknowledged(steps in vec(any_step(), 1..12)) {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store_in(directory.path());
        store.load_all().unwrap();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Append(kinds) => append(&store, &mut model, &kinds),
                Step::Save(kinds) => {
                    store.save_whole(&mut || {
                        check_crash(directory.path(), &model);
                        let picture = model.snapshot();
                        append(&store, &mut model, &kinds);
                        let acknowledged = model.clone();
                        let path = directory.path().to_owned();
                        let crash = std::iter::once_with(move || check_crash(&path, &acknowledged));
                        let crash = crash.filter_map(|()| None);
                        Snapshot { items: Box::new(picture.items.chain(crash)), ..picture }
                    }).unwrap();
                }
                Step::Restart => {
                    drop(store);
                    store = store_in(directory.path());
                    prop_assert_eq!(&Model::restored(store.load_all().unwrap()), &model);
                }
            }
            check_crash(directory.path(), &model);
        }
    }

    #[test]
    fn any_bytes_in_place_of_the_files_are_no_reason_to_panic(
        newest in vec(any::<u8>(), 0..200),
        previous in vec(any::<u8>(), 0..200),
        segment in vec(any::<u8>(), 0..200),
    ) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("s"), newest).unwrap();
        fs::write(directory.path().join("s.previous"), previous).unwrap();
        fs::write(directory.path().join("s.journal.1"), segment).unwrap();
        prop_assert_eq!(store_in(directory.path()).load_all().unwrap(), Loaded::default());
    }
}
