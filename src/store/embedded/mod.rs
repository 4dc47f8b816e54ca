//! The store in an embedded database: each change is written where it belongs.
//!
//! A save writes the values that changed, not everything there is, and a single value can be read
//! while the broker runs. The database is the library redb: a copy-on-write B-tree in one file. A
//! store belongs to one process; it is not shared, and backups are for a file that is damaged, not
//! for going back in time.
//!
//! # Files
//!
//! | file | what it is |
//! |---|---|
//! | `fanal.redb` | the database |
//! | `fanal.redb.new` | one that is being made at a start; a leftover is removed |
//! | `fanal.lock` | locked while a broker runs; contains its process id |
//! | `fanal.backup` | the newest backup, a snapshot as the file store writes it |
//! | `fanal.backup.previous` | the one before, read if the newest is damaged or missing |
//! | `fanal.backup.new` | a backup that is being written; a leftover is removed |
//! | `*.broken-20260131T235959Z` | a damaged file that was set aside; never read, never removed |
//! | `*.migrated-20260131T235959Z` | a file of a file store whose content is in the database now |
//!
//! # Tables
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `format`, `sequence`, and counts: `nodes`, `values`, `links` | a number |
//! | `nodes` | each name of the path with a slash before it | kind, class, number, CRC-32 |
//! | `values` | the number of a resource | its encoded value, CRC-32; without a row it is nil |
//! | `links` | numbers of source and destination | nothing |
//! | `links_back` | numbers of destination and source | nothing |
//!
//! A number belongs to one resource for ever, so a value that is saved late can never become the
//! value of another resource in the same place.
//!
//! # What is checked
//!
//! At a start the library compares the checksums of all pages, and then each record, value, count
//! and end of a link is looked at. What is damaged is set aside as a whole, and the broker goes on
//! from the newest good backup, because half a tree is worse than an older one.

mod fault;
mod held;
mod layout;
mod looking;
mod reading;
mod starting;
mod tables;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use fanal_actors::Value;
use fanal_actors::ports::{
    Change, ChangeKind, Restore, SaveReport, Snapshot, Store, StoreError, Unsaved,
};
use parking_lot::Mutex;
use redb::Database;

use self::fault::Fault;
use self::held::{Held, Opener, begin_write, plain_opener};
pub use self::looking::inspect_embedded;
use self::reading::{read_all, read_one};
use self::starting::{Backup, file_store, make_beside, put_in_place, remove_leftover, take_over};
use self::tables::Tables;
use super::files::{When, create_directory, failed, lock, set_aside, sync_directory};
use super::snapshot;
use crate::config::Config;

/// The newest format of the tables that this code reads, and the one it writes.
const FORMAT: u64 = 1;

/// The newest snapshot of a file store in the same directory.
const FILE_STORE: &str = super::SNAPSHOT_FILE;
const DATABASE: &str = "fanal.redb";
const DATABASE_NEW: &str = "fanal.redb.new";
const LOCK: &str = "fanal.lock";
const BACKUP: &str = "fanal.backup";
const BACKUP_PREVIOUS: &str = "fanal.backup.previous";
const BACKUP_NEW: &str = "fanal.backup.new";

/// What an embedded store has to know.
#[derive(Clone, Debug)]
pub struct EmbeddedSettings {
    /// The directory that holds its files.
    pub directory: PathBuf,
    /// Memory for pages of the database, read or not yet written, in bytes.
    pub cache_bytes_max: usize,
    /// Refuse to start on a damaged or missing database, instead of going on from a backup.
    pub strict: bool,
}

impl From<&Config> for EmbeddedSettings {
    fn from(config: &Config) -> Self {
        EmbeddedSettings {
            directory: config.store.directory.clone(),
            cache_bytes_max: config.store.cache_bytes_max,
            strict: config.store.strict,
        }
    }
}

/// Keeps the broker's state in an embedded database.
pub struct EmbeddedStore {
    directory: PathBuf,
    strict: bool,
    held: Held,
    /// Held for the duration of a backup.
    backing_up: Mutex<()>,
    /// Its lock keeps other processes away until the store is dropped.
    _lock: File,
}

impl EmbeddedStore {
    /// Opens the store whose files are, or will be, in this directory.
    ///
    /// Makes missing directories, and removes what was not finished. The database itself is opened
    /// when it is loaded.
    ///
    /// # Errors
    /// If another process holds the store, or its directory cannot be made, read or written.
    pub fn open(settings: EmbeddedSettings) -> Result<Self, StoreError> {
        Self::open_on(settings, plain_opener())
    }

    fn open_on(settings: EmbeddedSettings, opener: Opener) -> Result<Self, StoreError> {
        let EmbeddedSettings { directory, cache_bytes_max, strict } = settings;
        create_directory(&directory)?;
        let lock = lock(&directory.join(LOCK))?;
        for leftover in [DATABASE_NEW, BACKUP_NEW] {
            remove_leftover(&directory.join(leftover))?;
        }
        let held = Held::new(directory.join(DATABASE), cache_bytes_max, opener);
        Ok(EmbeddedStore { directory, strict, held, backing_up: Mutex::new(()), _lock: lock })
    }

    /// Puts what is in this snapshot in the place of everything that is stored, and writes it as
    /// the newest backup too, so that a damage found later leads back to it. Not while a broker
    /// runs on the store.
    ///
    /// # Errors
    /// If it may not be durable; what was stored before stays valid.
    pub fn replace<'s>(&self, take: impl Fn() -> Snapshot<'s>) -> Result<SaveReport, StoreError> {
        make_beside(&self.held, |filling| {
            let Snapshot { sequence, items } = take();
            items.for_each(|item| filling.item(item));
            filling.sequence(sequence);
            Ok(())
        })?;
        self.held.close();
        put_in_place(&self.held)?;
        self.write_backup(take())
    }

    /// Writes this snapshot as the newest backup; the one before is kept beside it.
    ///
    /// # Errors
    /// If it may not be durable; the backups before stay as they were.
    pub fn write_backup(&self, snapshot: Snapshot<'_>) -> Result<SaveReport, StoreError> {
        let _one_at_a_time = self.backing_up.lock();
        let [new, backup, previous] =
            [BACKUP_NEW, BACKUP, BACKUP_PREVIOUS].map(|name| self.directory.join(name));
        let cannot = |action, file, error: &io::Error| failed(action, file, error, When::Running);
        let report = snapshot::write(&new, snapshot).map_err(|error| {
            // What was written takes space that may be what is missing.
            let _ = fs::remove_file(&new);
            cannot("write", &new, &error)
        })?;
        match fs::rename(&backup, &previous) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(cannot("replace", &previous, &error));
            }
            _ => {}
        }
        fs::rename(&new, &backup).map_err(|error| cannot("replace", &backup, &error))?;
        sync_directory(&self.directory).map_err(|error| cannot("sync", &self.directory, &error))?;
        Ok(report)
    }

    /// How long ago the newest backup was written; `None` if there is none.
    fn backup_age(&self) -> Option<Duration> {
        let modified = fs::metadata(self.directory.join(BACKUP)).and_then(|meta| meta.modified());
        // A clock that was put back makes it new, not unknown.
        modified.ok().map(|time| time.elapsed().unwrap_or_default())
    }

    /// Reads the database that is there.
    fn load_database(&self, restore: &mut dyn Restore) -> Result<(), Fault> {
        let mut watched = Watched { restore, is_inside: false };
        let outcome = self.held.begin(|database| read_all(database, &mut watched));
        if watched.is_inside {
            // A panic outside the library says nothing about the file.
            return Err(Fault::Refused(StoreError(format!(
                "the broker failed while it took in what is in {}: look for the panic in the log",
                self.held.file().display()
            ))));
        }
        outcome
    }

    /// Makes a database where there is none: from a file store, from a backup, or an empty one.
    fn make_missing(&self) -> Result<(), StoreError> {
        if let Some(files) = file_store(&self.directory)? {
            return take_over(&self.held, &files);
        }
        if Backup::exists(&self.directory) {
            return self.go_on_from(Backup::newest(&self.directory)?, None);
        }
        make_beside(&self.held, |_| Ok(()))?;
        put_in_place(&self.held)
    }

    /// Puts a database with what is in the backup in the place of the one that is missing or
    /// damaged in this way.
    fn go_on_from(&self, backup: Option<Backup>, damage: Option<&str>) -> Result<(), StoreError> {
        let file = self.held.file();
        let name = file.display();
        let (from, lost) = match &backup {
            Some(backup) => (format!("the backup of {}", backup.time()), "changes since then are"),
            None => ("nothing, for there is no good backup".to_owned(), "what was in it is"),
        };
        let what = match damage {
            Some(what) => format!("{name} is damaged ({what})"),
            None => format!("{name} is missing"),
        };
        if self.strict {
            return Err(StoreError(format!(
                "{what}, and a strict store does not go on from {from}: put a good copy in its \
                 place, or start with store.strict = false"
            )));
        }
        make_beside(&self.held, |filling| {
            if let Some(backup) = backup {
                backup.give(filling);
            }
            Ok(())
        })?;
        let kept = match damage {
            Some(_) => format!("; it is kept as {}", set_aside(file, "broken")?.display()),
            None => String::new(),
        };
        put_in_place(&self.held)?;
        log::error!("{what}{kept}; going on from {from}: {lost} lost");
        Ok(())
    }

    fn sentence(&self, action: &str, fault: Fault, when: When) -> StoreError {
        fault.sentence(action, self.held.file(), when)
    }
}

impl Store for EmbeddedStore {
    fn load(&self, restore: &mut dyn Restore) -> Result<(), StoreError> {
        let file = self.held.file();
        match fs::symlink_metadata(file) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => self.make_missing()?,
            Err(error) => return Err(failed("read", file, &error, When::Starting)),
        }
        let Err(fault) = self.load_database(restore) else { return Ok(()) };
        let Some(what) = fault.damage() else {
            return Err(self.sentence("read", fault, When::Starting));
        };
        // Before anything is set aside: a backup that cannot be read now may be readable later.
        let backup = Backup::newest(&self.directory)?;
        self.go_on_from(backup, Some(what))?;
        self.load_database(restore).map_err(|fault| self.sentence("read", fault, When::Starting))
    }

    fn append(&self, changes: &[Change]) -> Result<(), StoreError> {
        let appended = self.held.with(|database| append(database, changes));
        appended.map_err(|fault| self.sentence("write", fault, When::Running))
    }

    fn save(&self, unsaved: &dyn Unsaved) -> Result<SaveReport, StoreError> {
        let saved = self.held.with(|database| save(database, unsaved));
        saved.map_err(|fault| self.sentence("write", fault, When::Running))
    }

    fn read(&self, number: u64) -> Result<Option<Value>, StoreError> {
        let read = self.held.with(|database| read_one(database, number));
        read.map_err(|fault| self.sentence("read", fault, When::Running))
    }

    fn back_up<'s>(
        &self,
        age: Duration,
        take: &mut dyn FnMut() -> Snapshot<'s>,
    ) -> Result<Option<SaveReport>, StoreError> {
        if self.backup_age().is_some_and(|newest| newest < age) {
            return Ok(None);
        }
        self.write_backup(take()).map(Some)
    }

    fn keeps_values(&self) -> bool {
        true
    }
}

fn append(database: &Database, changes: &[Change]) -> Result<(), Fault> {
    let transaction = begin_write(database)?;
    let mut tables = Tables::open(&transaction)?;
    let mut is_changed = false;
    for change in changes {
        if let Change { sequence, kind: ChangeKind::CreateResource { number: 0, .. } } = change {
            return Err(Fault::Refused(StoreError(format!(
                "cannot append change {sequence}: it makes a resource without a number"
            ))));
        }
        is_changed |= tables.apply(change)?;
    }
    if !is_changed {
        // An earlier append that failed at its very end: opening the file again has finished it.
        return Ok(());
    }
    tables.seal()?;
    Ok(transaction.commit()?)
}

fn save(database: &Database, unsaved: &dyn Unsaved) -> Result<SaveReport, Fault> {
    let transaction = begin_write(database)?;
    let mut tables = Tables::open(&transaction)?;
    let mut report = SaveReport { resources: 0, bytes: 0 };
    for (number, value) in unsaved.values() {
        tables.put_value(number, &value)?;
        report.resources += 1;
        report.bytes += value.size_bytes() as u64;
    }
    if report.resources > 0 {
        tables.seal()?;
        transaction.commit()?;
    }
    Ok(report)
}

/// Knows whether what it watches is being asked: a panic in there is none of the library.
struct Watched<'r> {
    restore: &'r mut dyn Restore,
    is_inside: bool,
}

impl Watched<'_> {
    fn ask(&mut self, question: impl FnOnce(&mut dyn Restore)) {
        self.is_inside = true;
        question(self.restore);
        self.is_inside = false;
    }
}

impl Restore for Watched<'_> {
    fn begin(&mut self) {
        self.ask(|restore| restore.begin());
    }

    fn item(&mut self, item: fanal_actors::ports::SnapshotItem) {
        self.ask(|restore| restore.item(item));
    }

    fn sequence(&mut self, sequence: u64) {
        self.ask(|restore| restore.sequence(sequence));
    }

    fn change(&mut self, change: Change) {
        self.ask(|restore| restore.change(change));
    }
}
