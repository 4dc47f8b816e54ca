//! Files that are not as they were written.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use redb::{ReadableDatabase, ReadableTable};

use super::super::tables::{LINKS, META, NODES};
use super::*;

/// A store with a backup, and changes and values since it.
struct Kept {
    directory: TempDir,
    model: Model,
    backup: Model,
}

impl Kept {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (store, mut model) = loaded(directory.path());
        append(&store, &mut model, everything());
        let many =
            (100..400).map(|number| create(&format!("many/{number}"), number, value(number)));
        append(&store, &mut model, many.collect());
        store.write_backup(model.snapshot()).unwrap();
        let backup = model.clone();
        let values = Values((100..400).map(|number| (number, value(number + 1000))).collect());
        store.save(&values).unwrap();
        model.save(&values);
        append(&store, &mut model, vec![create("after/backup", 1000, value(1))]);
        append(&store, &mut model, vec![link("many/100", "after/backup")]);
        Kept { directory, model, backup }
    }

    fn database(&self) -> Vec<u8> {
        fs::read(self.directory.path().join(DATABASE)).unwrap()
    }

    /// A copy of all files with these bytes as the database.
    fn with_database(&self, bytes: &[u8]) -> TempDir {
        let copy = copy_of(self.directory.path());
        fs::write(copy.path().join(DATABASE), bytes).unwrap();
        copy
    }

    /// Either everything is as it was, or it is what the backup has and the file is kept.
    fn check(&self, directory: &FilePath, what: &str) -> bool {
        let (store, found) = loaded(directory);
        let is_kept = count_named(directory, "fanal.redb.broken-2") == 1;
        if !is_kept {
            assert_eq!(found, self.model, "{what}");
            return false;
        }
        assert_eq!(found.plain(), self.backup.plain(), "{what}");
        let mut model = found;
        append(&store, &mut model, vec![create("going/on", 5000, value(5))]);
        drop(store);
        assert_eq!(restored(directory), model, "{what}");
        true
    }

    fn check_damaged(&self, bytes: &[u8], what: &str) {
        let copy = self.with_database(bytes);
        assert!(self.check(copy.path(), what), "{what}: the damage was not noticed");
        let broken = names(copy.path()).into_iter().find(|name| name.contains("broken")).unwrap();
        assert_eq!(fs::read(copy.path().join(broken)).unwrap().len(), bytes.len());
    }
}

/// Changes a byte at every 200th part of the file and in its header, and counts what was noticed.
fn flip_everywhere(kept: &Kept, bytes: &[u8], is_skipped: impl Fn(usize) -> bool) -> usize {
    let positions = (0..200).map(|part| bytes.len() * part / 200 + part % 61);
    let positions = positions.chain((0..320).step_by(3));
    let mut noticed = 0;
    for (position, bits) in positions.zip([0x41, 0x80, 0xff].into_iter().cycle()) {
        if is_skipped(position) {
            continue;
        }
        let mut changed = bytes.to_vec();
        changed[position] ^= bits;
        let copy = kept.with_database(&changed);
        noticed += usize::from(kept.check(copy.path(), &format!("{position} {bits:x}")));
    }
    noticed
}

#[test]
fn a_changed_byte_is_harmless_or_leads_to_the_backup() {
    let kept = Kept::new();
    let noticed = flip_everywhere(&kept, &kept.database(), |_| false);
    assert!(noticed > 20, "{noticed}");
}

#[test]
fn a_changed_byte_in_a_file_that_was_not_closed_is_harmless_or_leads_to_the_backup() {
    let kept = Kept::new();
    let store = store_in(kept.directory.path());
    let mut model = load(&store);
    append(&store, &mut model, vec![create("last", 2000, value(9))]);
    let bytes = kept.database();
    drop(store);
    let kept = Kept { model, ..kept };
    // The byte that says which of the two commits is the newer one.
    let noticed = flip_everywhere(&kept, &bytes, |position| position == 9);
    assert!(noticed > 20, "{noticed}");
}

#[test]
fn a_changed_byte_of_a_value_leads_to_the_backup() {
    let kept = Kept::new();
    let bytes = kept.database();
    for number in [7, 1100, 1399] {
        let (changed, count) = with_changed_value(&bytes, number);
        assert!(count > 0);
        kept.check_damaged(&changed, &number.to_string());
    }
}

/// Changes a byte of this value in each copy of it: an older one may still be in the file.
fn with_changed_value(bytes: &[u8], number: u64) -> (Vec<u8>, usize) {
    let needle = value(number);
    let mut changed = bytes.to_vec();
    let mut count = 0;
    for at in 0..bytes.len() - needle.size_bytes() {
        if bytes[at..].starts_with(needle.as_bytes()) {
            changed[at + 9] ^= 7;
            count += 1;
        }
    }
    (changed, count)
}

#[test]
fn a_file_that_was_cut_short_leads_to_the_backup() {
    let kept = Kept::new();
    let bytes = kept.database();
    for length in [bytes.len() / 2, bytes.len() - 1, bytes.len() - 4096, 4096, 320, 9, 1, 0] {
        kept.check_damaged(&bytes[..length], &format!("{length}"));
    }
}

#[test]
fn a_file_of_something_else_leads_to_the_backup() {
    let kept = Kept::new();
    let bytes = kept.database();
    kept.check_damaged(&vec![0; bytes.len()], "zeros");
    kept.check_damaged(b"[server]\nport = 3000\n", "a text file");
    kept.check_damaged(&vec![0xff; bytes.len()], "ones");
    let mut headless = bytes.clone();
    headless[..4096].fill(0);
    kept.check_damaged(&headless, "zeros in the place of the header");
    let mut longer = bytes.clone();
    longer.extend([0; 100]);
    let copy = kept.with_database(&longer);
    kept.check(copy.path(), "bytes behind the end");
}

#[test]
fn zeros_in_the_place_of_any_page_are_harmless_or_lead_to_the_backup() {
    let kept = Kept::new();
    let bytes = kept.database();
    let mut noticed = 0;
    for page in (0..bytes.len() / 4096).step_by(3) {
        let mut torn = bytes.clone();
        torn[page * 4096 + 2048..(page + 1) * 4096].fill(0);
        let copy = kept.with_database(&torn);
        noticed += usize::from(kept.check(copy.path(), &format!("page {page}")));
    }
    assert!(noticed > 3, "{noticed}");
}

#[test]
fn a_missing_file_leads_to_the_backup() {
    let kept = Kept::new();
    fs::remove_file(kept.directory.path().join(DATABASE)).unwrap();
    let found = restored(kept.directory.path());
    assert_eq!(found.plain(), kept.backup.plain());
    assert_eq!(count_named(kept.directory.path(), "broken"), 0);
    let numbers: Vec<u64> =
        found.nodes.values().flatten().map(|resource| resource.number).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "given anew");
}

#[test]
fn a_missing_file_without_a_good_backup_leads_to_an_empty_store() {
    let kept = Kept::new();
    fs::remove_file(kept.directory.path().join(DATABASE)).unwrap();
    fs::write(kept.directory.path().join(BACKUP), "text").unwrap();
    let copy = copy_of(kept.directory.path());
    let strict = EmbeddedSettings { strict: true, ..settings(copy.path()) };
    let strict = EmbeddedStore::open(strict).unwrap();
    let error = strict.load(&mut Model::default()).unwrap_err().to_string();
    assert!(error.contains("does not go on from nothing, for there is no good backup"), "{error}");
    assert_eq!(restored(kept.directory.path()), Model::default());
}

#[test]
fn a_damaged_file_stays_in_its_place_until_there_is_another() {
    let kept = Kept::new();
    let copy = kept.with_database(b"text");
    let store = store_in(copy.path());
    fs::create_dir(copy.path().join(DATABASE_NEW)).unwrap();
    let error = store.load(&mut Model::default()).unwrap_err().to_string();
    assert!(error.contains("cannot make") && error.contains("is a directory; move"), "{error}");
    assert_eq!(fs::read(copy.path().join(DATABASE)).unwrap(), b"text");
    fs::remove_dir(copy.path().join(DATABASE_NEW)).unwrap();
    drop(store);
    assert!(kept.check(copy.path(), "the second start"));
}

#[test]
fn without_a_good_newest_backup_the_one_before_is_taken() {
    let kept = Kept::new();
    let store = store_in(kept.directory.path());
    let mut newer = kept.backup.clone();
    newer.change_all(vec![create("newer", 3000, value(1))]);
    store.write_backup(newer.snapshot()).unwrap();
    drop(store);
    let damaged = |backups: &[&str]| {
        let copy = kept.with_database(b"");
        for backup in backups {
            fs::write(copy.path().join(backup), "text").unwrap();
        }
        let found = restored(copy.path());
        assert_eq!(count_named(copy.path(), "broken-2"), backups.len() + 1);
        found.plain()
    };
    assert_eq!(damaged(&[]), newer.plain());
    assert_eq!(damaged(&[BACKUP]), kept.backup.plain());
    assert_eq!(damaged(&[BACKUP, BACKUP_PREVIOUS]), Model::default());
}

#[test]
fn a_backup_of_a_newer_format_is_refused_and_nothing_is_set_aside() {
    let kept = Kept::new();
    let mut bytes = fs::read(kept.directory.path().join(BACKUP)).unwrap();
    bytes[16] = 9;
    let body = bytes.len() - 4;
    let sum = crc32fast::hash(&bytes[..body - 1]);
    bytes[body..].copy_from_slice(&sum.to_be_bytes());
    let copy = kept.with_database(b"text");
    fs::write(copy.path().join(BACKUP), bytes).unwrap();
    let error = store_in(copy.path()).load(&mut Model::default()).unwrap_err().to_string();
    assert!(error.contains("written by a newer fanal (format 9)"), "{error}");
    assert_eq!(fs::read(copy.path().join(DATABASE)).unwrap(), b"text");
}

#[test]
fn a_strict_store_refuses_and_leaves_everything_as_it_is() {
    let kept = Kept::new();
    let mut bytes = kept.database();
    bytes.truncate(4096);
    let copy = kept.with_database(&bytes);
    let before = names(copy.path());
    let strict = EmbeddedSettings { strict: true, ..settings(copy.path()) };
    let open = || EmbeddedStore::open(strict.clone()).unwrap();
    let error = open().load(&mut Model::default()).unwrap_err().to_string();
    assert!(error.contains("fanal.redb is damaged ("), "{error}");
    assert!(error.contains("strict store does not go on from the backup of 2"), "{error}");
    assert_eq!(names(copy.path()), before);
    assert_eq!(fs::read(copy.path().join(DATABASE)).unwrap(), bytes);

    fs::remove_file(copy.path().join(DATABASE)).unwrap();
    let error = open().load(&mut Model::default()).unwrap_err().to_string();
    assert!(error.contains("fanal.redb is missing, and a strict store"), "{error}");

    fs::remove_file(copy.path().join(BACKUP)).unwrap();
    open().load(&mut Model::default()).unwrap();
}

/// Changes a table behind the store's back, with good checksums of the library.
fn tamper(directory: &FilePath, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = Database::open(directory.join(DATABASE)).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let kept = Kept::new();
    tamper(kept.directory.path(), |transaction| {
        transaction.open_table(META).unwrap().insert("format", 2).unwrap();
    });
    let before = names(kept.directory.path());
    let store = store_in(kept.directory.path());
    let error = store.load(&mut Model::default()).unwrap_err().to_string();
    assert!(error.contains("written by a newer fanal (format 2), this one reads format 1"));
    drop(store);
    assert_eq!(names(kept.directory.path()), before);
    let database = Database::open(kept.directory.path().join(DATABASE)).unwrap();
    let meta = database.begin_read().unwrap().open_table(META).unwrap();
    assert_eq!(meta.get("format").unwrap().unwrap().value(), 2);
}

#[test]
fn contents_that_cannot_be_lead_to_the_backup() {
    type Change = fn(&redb::WriteTransaction);
    let changes: [(&str, Change); 7] = [
        ("a node is lost", |transaction| {
            transaction.open_table(NODES).unwrap().remove(&b"/many/150"[..]).unwrap();
        }),
        ("a directory is lost", |transaction| {
            transaction.open_table(NODES).unwrap().remove(&b"/many"[..]).unwrap();
            transaction.open_table(META).unwrap().insert("nodes", 316).unwrap();
        }),
        ("a record is another", |transaction| {
            let mut nodes = transaction.open_table(NODES).unwrap();
            let record = nodes.get(&b"/many"[..]).unwrap().unwrap().value().to_vec();
            nodes.insert(&b"/many/150"[..], &*record).unwrap();
        }),
        ("a value is lost", |transaction| {
            transaction.open_table(tables::VALUES).unwrap().remove(150).unwrap();
        }),
        ("a value is another", |transaction| {
            let mut values = transaction.open_table(tables::VALUES).unwrap();
            let row = values.get(151).unwrap().unwrap().value().to_vec();
            values.insert(150, &*row).unwrap();
        }),
        ("a link leads nowhere", |transaction| {
            let mut links = transaction.open_table(LINKS).unwrap();
            links.remove((1, 3)).unwrap();
            links.insert((1, 77), ()).unwrap();
        }),
        ("there is no format", |transaction| {
            transaction.open_table(META).unwrap().remove("format").unwrap();
        }),
    ];
    let kept = Kept::new();
    for (what, change) in changes {
        let copy = copy_of(kept.directory.path());
        tamper(copy.path(), change);
        assert!(kept.check(copy.path(), what), "{what} was not noticed");
    }
}

#[test]
fn a_value_that_changes_on_the_disk_while_the_broker_runs_is_an_error_and_never_wrong() {
    let kept = Kept::new();
    let without_cache = EmbeddedSettings { cache_bytes_max: 0, ..settings(kept.directory.path()) };
    let store = EmbeddedStore::open(without_cache).unwrap();
    store.load(&mut Model::default()).unwrap();
    let (changed, _) = with_changed_value(&kept.database(), 1200);
    let file = File::options().write(true).open(kept.directory.path().join(DATABASE));
    file.unwrap().write_all(&changed).unwrap();
    let error = store.read(200).unwrap_err().to_string();
    assert!(error.contains("fanal.redb: it is damaged (the checksum of value 200"), "{error}");
    assert_eq!(store.read(201).unwrap(), Some(value(1201)));
}

#[test]
fn a_file_that_must_not_be_read_is_not_set_aside() {
    let kept = Kept::new();
    let file = kept.directory.path().join(DATABASE);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let store = store_in(kept.directory.path());
    // Root may read everything.
    if fs::read(&file).is_err() {
        let error = store.load(&mut Model::default()).unwrap_err().to_string();
        assert!(error.contains("fanal.redb: permission denied; allow"), "{error}");
    }
    drop(store);
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let store = store_in(kept.directory.path());
    let error = store.load(&mut Model::default()).unwrap_err().to_string();
    assert!(error.contains("is a directory; move away what is in its place"), "{error}");
    assert_eq!(count_named(kept.directory.path(), "broken"), 0);
}
