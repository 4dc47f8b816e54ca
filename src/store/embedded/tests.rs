//! The embedded store as a whole: what is kept, refused, taken over and repaired.

mod damage;
mod disk;
mod faults;
mod model;

use std::fs;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fanal_actors::ports::SnapshotItem;
use fanal_actors::{Class, Path};
use tempfile::TempDir;

use self::model::{Model, Values, path, value};
use super::super::FileStore;
use super::*;

fn settings(directory: &FilePath) -> EmbeddedSettings {
    EmbeddedSettings { directory: directory.to_owned(), cache_bytes_max: 1 << 20, strict: false }
}

fn store_in(directory: &FilePath) -> EmbeddedStore {
    EmbeddedStore::open(settings(directory)).unwrap()
}

fn load(store: &EmbeddedStore) -> Model {
    let mut model = Model::default();
    store.load(&mut model).unwrap();
    model
}

fn restored(directory: &FilePath) -> Model {
    load(&store_in(directory))
}

/// A store that is loaded, and what is in it.
fn loaded(directory: &FilePath) -> (EmbeddedStore, Model) {
    let store = store_in(directory);
    let model = load(&store);
    (store, model)
}

fn append(store: &EmbeddedStore, model: &mut Model, kinds: Vec<ChangeKind>) {
    let changes = model.change_all(kinds);
    store.append(&changes).unwrap();
}

fn create(names: &str, number: u64, value: Value) -> ChangeKind {
    ChangeKind::CreateResource { path: path(names), number, class: None, value }
}

fn link(source: &str, destination: &str) -> ChangeKind {
    ChangeKind::Link { source: path(source), destination: path(destination) }
}

fn delete(names: &str) -> ChangeKind {
    ChangeKind::Delete { path: path(names) }
}

/// Everything that a store can hold.
fn everything() -> Vec<ChangeKind> {
    let classed = |class: Class, number| ChangeKind::CreateResource {
        path: Path::new(["classes", class.name()]),
        number,
        class: Some(class),
        value: Value::nil(),
    };
    vec![
        create("user/ann/model", 1, value(1)),
        create("user/ann/input", 2, Value::nil()),
        create("live", 3, value(3)),
        classed(Class::State, 4),
        classed(Class::Live, 5),
        classed(Class::Event, 6),
        ChangeKind::CreateDirectory { path: path("empty//deep") },
        create("", 7, value(7)),
        create("a b", 8, value(8)),
        create("a/x", 9, Value::copy_from(&vec![7; 50_000])),
        link("user/ann/model", "live"),
        link("live", "a b"),
    ]
}

/// A directory with a store that holds a little of everything.
fn filled() -> (TempDir, Model) {
    let directory = tempfile::tempdir().unwrap();
    let (store, mut model) = loaded(directory.path());
    append(&store, &mut model, everything());
    (directory, model)
}

fn names(directory: &FilePath) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn count_named(directory: &FilePath, part: &str) -> usize {
    names(directory).iter().filter(|name| name.contains(part)).count()
}

/// What is on the disk at this moment, as a crash would leave it.
fn copy_of(directory: &FilePath) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in names(directory) {
        fs::copy(directory.join(&name), copy.path().join(name)).unwrap();
    }
    copy
}

#[test]
fn nothing_is_loaded_from_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("x/y");
    assert_eq!(restored(&deep), Model::default());
    assert_eq!(names(&deep), ["fanal.lock", "fanal.redb"]);
    assert_eq!(restored(&deep), Model::default());
}

#[test]
fn everything_that_was_appended_and_saved_is_there_after_a_start() {
    let (directory, mut model) = filled();
    let (store, found) = loaded(directory.path());
    assert_eq!(found, model);
    let saved = Values(vec![(1, value(100)), (2, value(200)), (3, Value::nil())]);
    let report = store.save(&saved).unwrap();
    let bytes = (value(100).size_bytes() + value(200).size_bytes() + 1) as u64;
    assert_eq!(report, SaveReport { resources: 3, bytes });
    model.save(&saved);
    drop(store);
    assert_eq!(restored(directory.path()), model);
}

#[test]
fn a_single_value_is_read_while_the_broker_runs() {
    let (directory, _) = filled();
    let (store, _) = loaded(directory.path());
    assert!(store.keeps_values());
    assert_eq!(store.read(1).unwrap(), Some(value(1)));
    assert_eq!(store.read(2).unwrap(), None, "a first nil has no row");
    assert_eq!(store.read(999).unwrap(), None);
    store.save(&Values(vec![(1, Value::nil())])).unwrap();
    assert_eq!(store.read(1).unwrap(), Some(Value::nil()));
}

#[test]
fn a_nil_that_is_saved_before_its_resource_is_made_wins_over_the_first_value() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = loaded(directory.path());
    store.save(&Values(vec![(7, Value::nil())])).unwrap();
    let kind =
        ChangeKind::CreateResource { path: path("a"), number: 7, class: None, value: value(1) };
    store.append(&[Change { sequence: 1, kind }]).unwrap();
    drop(store);
    let (_, model) = loaded(directory.path());
    assert_eq!(model.nodes[&path("a")].as_ref().unwrap().value, Value::nil());
}

#[test]
fn a_save_of_nothing_writes_nothing() {
    let (directory, _) = filled();
    let (store, _) = loaded(directory.path());
    let before = fs::read(directory.path().join("fanal.redb")).unwrap();
    let report = store.save(&Values(Vec::new())).unwrap();
    assert_eq!(report, SaveReport { resources: 0, bytes: 0 });
    assert_eq!(fs::read(directory.path().join("fanal.redb")).unwrap(), before);
}

#[test]
fn an_append_may_be_repeated() {
    let (directory, mut model) = filled();
    let (store, _) = loaded(directory.path());
    let saved = Values(vec![(1, value(100))]);
    store.save(&saved).unwrap();
    model.save(&saved);
    let changes: Vec<Change> =
        (1..).zip(everything()).map(|(sequence, kind)| Change { sequence, kind }).collect();
    store.append(&changes).unwrap();
    let more = model.change_all(vec![create("new", 50, value(50)), delete("a")]);
    store.append(&more[..1]).unwrap();
    store.append(&more).unwrap();
    store.append(&more).unwrap();
    drop(store);
    assert_eq!(restored(directory.path()), model);
}

#[test]
fn a_save_that_is_faster_than_the_creation_is_not_undone_by_it() {
    let directory = tempfile::tempdir().unwrap();
    let (store, mut model) = loaded(directory.path());
    store.save(&Values(vec![(1, value(2))])).unwrap();
    append(&store, &mut model, vec![create("a", 1, value(1))]);
    assert_eq!(store.read(1).unwrap(), Some(value(2)));
}

#[test]
fn a_value_that_is_saved_after_the_deletion_is_gone_after_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let (store, mut model) = loaded(directory.path());
    append(&store, &mut model, vec![create("a", 1, value(1)), create("b", 2, value(2))]);
    append(&store, &mut model, vec![delete("a")]);
    store.save(&Values(vec![(1, value(9))])).unwrap();
    assert_eq!(store.read(1).unwrap(), Some(value(9)));
    drop(store);
    let (store, found) = loaded(directory.path());
    assert_eq!(found, model);
    assert_eq!(store.read(1).unwrap(), None, "a new resource may get this number");
    assert_eq!(store.read(2).unwrap(), Some(value(2)));
}

#[test]
fn a_deletion_takes_what_is_below_and_nothing_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let (store, mut model) = loaded(directory.path());
    let all = ["a/b", "a/b c", "a/", "a//", "a b", "a0", "a.b/c", "b/a", "/x", "//y"];
    let creations = (1..).zip(all).map(|(number, name)| create(name, number, value(number)));
    append(&store, &mut model, creations.collect());
    append(&store, &mut model, vec![link("a/b", "b/a"), link("b/a", "a b"), link("a b", "a/b c")]);
    append(&store, &mut model, vec![delete("a")]);
    assert_eq!(model.links.len(), 1);
    for (number, name) in (1..).zip(all) {
        let is_gone = name.starts_with("a/");
        assert_eq!(store.read(number).unwrap().is_none(), is_gone, "{name}");
    }
    drop(store);
    assert_eq!(restored(directory.path()), model);
    let (store, _) = loaded(directory.path());
    append(&store, &mut model, vec![delete("")]);
    assert!(model.nodes.contains_key(&path("a b")) && !model.nodes.contains_key(&path("/x")));
    append(&store, &mut model, vec![ChangeKind::Delete { path: Path::root() }]);
    assert!(model.nodes.is_empty());
    drop(store);
    assert_eq!(restored(directory.path()), model);
}

#[test]
fn a_resource_without_a_number_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (store, mut model) = loaded(directory.path());
    let changes = model.clone().change_all(vec![create("a", 0, value(1))]);
    let error = store.append(&changes).unwrap_err().to_string();
    assert!(error.contains("change 1: it makes a resource without a number"), "{error}");
    append(&store, &mut model, vec![create("a", 1, value(1))]);
}

#[test]
fn a_store_is_held_by_one_at_a_time() {
    let (directory, model) = filled();
    let first = store_in(directory.path());
    let error = EmbeddedStore::open(settings(directory.path())).err().unwrap().to_string();
    let expected = format!("fanal.lock is locked by process {}: stop it", std::process::id());
    assert!(error.contains(&expected), "{error}");
    drop(first);
    assert_eq!(restored(directory.path()), model);
}

#[test]
fn what_was_not_finished_is_removed() {
    let (directory, model) = filled();
    for name in [DATABASE_NEW, BACKUP_NEW] {
        fs::write(directory.path().join(name), "half").unwrap();
    }
    assert_eq!(restored(directory.path()), model);
    assert_eq!(names(directory.path()), ["fanal.lock", "fanal.redb"]);
}

#[test]
fn a_backup_is_kept_beside_the_one_before() {
    let (directory, model) = filled();
    let (store, _) = loaded(directory.path());
    assert_eq!(store.backup_age(), None);
    let report = store.write_backup(model.snapshot()).unwrap();
    let first = fs::read(directory.path().join(BACKUP)).unwrap();
    assert_eq!(report, SaveReport { resources: 9, bytes: first.len() as u64 });
    assert!(store.backup_age().unwrap() < Duration::from_secs(60));
    store.write_backup(Model::default().snapshot()).unwrap();
    assert_eq!(fs::read(directory.path().join(BACKUP_PREVIOUS)).unwrap(), first);
    assert_eq!(count_named(directory.path(), "backup"), 2);
}

#[test]
fn a_backup_that_fails_leaves_the_ones_before() {
    let (directory, model) = filled();
    let (store, _) = loaded(directory.path());
    store.write_backup(model.snapshot()).unwrap();
    std::os::unix::fs::symlink("/dev/full", directory.path().join(BACKUP_NEW)).unwrap();
    let error = store.write_backup(model.snapshot()).unwrap_err().to_string();
    assert!(error.contains("fanal.backup.new: no space left on device; free"), "{error}");
    assert_eq!(names(directory.path()), ["fanal.backup", "fanal.lock", "fanal.redb"]);
}

#[test]
fn a_file_store_in_the_same_directory_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let mut model = Model::default();
    let files = FileStore::open(directory.path().join("fanal.snapshot")).unwrap();
    files.load(&mut Model::default()).unwrap();
    for number in 1..4 {
        let name = number.to_string();
        let changes = model.change_all(vec![create(&name, number, value(number))]);
        files.append(&changes).unwrap();
        if number < 3 {
            files.save(&model).unwrap();
        }
    }
    drop(files);
    let (store, found) = loaded(directory.path());
    assert_eq!(found.plain(), model.plain());
    assert_eq!(found.sequence, 3);
    append(&store, &mut model, vec![create("later", 99, value(99))]);
    drop(store);
    assert_eq!(restored(directory.path()).plain(), model.plain());
    let left: Vec<String> =
        names(directory.path()).into_iter().filter(|name| !name.contains(".migrated-2")).collect();
    assert_eq!(left, ["fanal.lock", "fanal.redb", "fanal.snapshot.lock"]);
    assert!(count_named(directory.path(), "fanal.snapshot.journal.") > 0);
    assert_eq!(count_named(directory.path(), "fanal.snapshot.previous.migrated-2"), 1);
}

#[test]
fn a_file_store_that_a_broker_runs_on_is_not_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let files = FileStore::open(directory.path().join("fanal.snapshot")).unwrap();
    files.save(&Model::default()).unwrap();
    let error = store_in(directory.path()).load(&mut Model::default()).unwrap_err().to_string();
    assert!(error.contains("fanal.snapshot.lock is locked by process"), "{error}");
    drop(files);
    assert_eq!(restored(directory.path()), Model::default());
}

#[test]
fn appends_saves_and_reads_on_three_threads_lose_nothing() {
    const RESOURCES: u64 = 200;
    let directory = tempfile::tempdir().unwrap();
    let (store, mut model) = loaded(directory.path());
    let store = Arc::new(store);
    let is_done = Arc::new(AtomicBool::new(false));
    let saver = thread::spawn({
        let (store, is_done) = (Arc::clone(&store), Arc::clone(&is_done));
        move || {
            while !is_done.load(Ordering::Acquire) {
                let values = (1..=RESOURCES).map(|number| (number, value(number))).collect();
                store.save(&Values(values)).unwrap();
            }
        }
    });
    let reader = thread::spawn({
        let (store, is_done) = (Arc::clone(&store), Arc::clone(&is_done));
        move || {
            while !is_done.load(Ordering::Acquire) {
                for number in 1..=RESOURCES {
                    let found = store.read(number).unwrap();
                    assert!(found.is_none() || found == Some(value(number)));
                }
            }
        }
    });
    for number in 1..=RESOURCES {
        append(&store, &mut model, vec![create(&number.to_string(), number, value(number))]);
    }
    is_done.store(true, Ordering::Release);
    saver.join().unwrap();
    reader.join().unwrap();
    drop(store);
    assert_eq!(restored(directory.path()), model);
}

#[test]
fn a_panic_of_the_broker_is_no_damage() {
    struct Panicking;
    impl Restore for Panicking {
        fn begin(&mut self) {}
        fn item(&mut self, _: SnapshotItem) {
            panic!("for the test");
        }
        fn sequence(&mut self, _: u64) {}
        fn change(&mut self, _: Change) {}
    }
    let (directory, model) = filled();
    let error = store_in(directory.path()).load(&mut Panicking).unwrap_err().to_string();
    assert!(error.contains("the broker failed while it took in"), "{error}");
    assert_eq!(restored(directory.path()), model);
    assert_eq!(names(directory.path()), ["fanal.lock", "fanal.redb"]);
}
