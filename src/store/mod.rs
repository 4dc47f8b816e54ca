//! The store on files: snapshots, and a journal of the structural changes since them.
//!
//! A start reads the newest good snapshot and replays the journal's later changes, so an
//! acknowledged structural change is never lost, and a value is as old as the last snapshot at
//! most. A store belongs to one process; it is not shared, not replicated and not a log of values.
//!
//! # Files
//!
//! For a snapshot path `fanal.snapshot`, side by side:
//!
//! | file | what it is |
//! |---|---|
//! | `fanal.snapshot` | the newest snapshot |
//! | `fanal.snapshot.previous` | the one before, read if the newest is damaged or missing |
//! | `fanal.snapshot.new` | a snapshot being written; a leftover is removed at the start |
//! | `fanal.snapshot.journal.0000000001` | a segment of the journal; the highest is the newest |
//! | `fanal.snapshot.lock` | locked while a broker runs; contains its process id |
//! | `*.broken-20260131T235959Z` | a damaged file that was set aside; never read, never removed |
//! | `*.beacon-20260131T235959Z` | a snapshot of the original server, set aside likewise |
//!
//! # Layout of a snapshot
//!
//! A list of MessagePack values, one after the other; any MessagePack tool prints it.
//!
//! | value | |
//! |---|---|
//! | `["fanal snapshot", 2, sequence]` | format 2, and the last change that is contained |
//! | `[0, path]` | a directory; a path is an array of strings |
//! | `[1, path, value]` | a resource; the value's encoded bytes as binary |
//! | `[1, path, value, class]` | one that was made with this class, as text; since format 2 |
//! | `[2, source, destination]` | a link between two paths |
//! | `[3, count, checksum]` | the end: how many items came before, CRC-32 of all bytes before it |
//!
//! The checksum is the file's last four bytes, big-endian, behind the marker `0xce`; it covers all
//! but these five bytes. Header and checksum stay where they are in every format, so that an older
//! fanal can tell a newer file from a damaged one.
//!
//! # Layout of a journal segment
//!
//! A list of records, each of three MessagePack values: the payload's length and a CRC-32 of that
//! length (as four bytes, big-endian) and the payload, both as integers of five bytes, then the
//! payload. The first payload is `["fanal journal", 2]`, every other one is an array with the
//! changes of one append:
//!
//! | value | |
//! |---|---|
//! | `[sequence, 1, path, value]` | a resource was created; with a class behind the value, if any |
//! | `[sequence, 2, path]` | a directory was created |
//! | `[sequence, 3, path]` | a resource or directory was deleted |
//! | `[sequence, 4, source, destination]` | a link was made |
//! | `[sequence, 5, source, destination]` | a link was removed |
//!
//! # Which segments are kept
//!
//! A save lets appends go on in a new segment before it takes its picture. A segment is removed
//! when both the newest snapshot and the previous one contain its last change; as long as there is
//! no previous one, none is removed. So each of the two, and at first the journal alone, leads to
//! the same tree.

mod codec;
mod embedded;
mod exchange;
mod files;
mod image;
mod inspect;
mod journal;
mod measured;
mod memory;
mod msgpack;
mod segment;
mod snapshot;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use fanal_actors::Value;
use fanal_actors::ports::{
    Change, Restore, SaveReport, Snapshot, SnapshotItem, Store, StoreError, Unsaved,
};
use parking_lot::Mutex;

use crate::config::{Config, StoreEngine};

pub use self::embedded::{EmbeddedSettings, EmbeddedStore, inspect_embedded};
pub use self::exchange::{read_file, write_file};
use self::files::{Files, When, create_directory, failed, lock, set_aside, sync_directory};
pub use self::image::{Counts, Image, Merged};
pub use self::inspect::{FileReport, Inspected, inspect};
use self::journal::Journal;
pub use self::measured::{Operation, StoreMetrics, measure};
pub use self::memory::MemoryStore;
use self::snapshot::Found;
pub use self::snapshot::{Sink, write_to};

/// Opens the store that the configuration names.
///
/// # Errors
/// If it is used by another process, or its directory cannot be used.
pub fn open(config: &Config) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match config.store.engine {
        StoreEngine::Embedded => Arc::new(EmbeddedStore::open(EmbeddedSettings::from(config))?),
        StoreEngine::File => Arc::new(FileStore::open(config.store.directory.join(SNAPSHOT_FILE))?),
        StoreEngine::Memory => Arc::new(MemoryStore),
    })
}

/// The name of the newest snapshot in the directory of a store.
pub const SNAPSHOT_FILE: &str = "fanal.snapshot";

/// Keeps the broker's state in files next to each other.
#[derive(Debug)]
pub struct FileStore {
    files: Files,
    /// Held for the duration of an append, and by a save only to switch segments.
    journal: Mutex<Journal>,
    /// Held for the duration of a load or save.
    kept: Mutex<Kept>,
    /// Its lock keeps other processes away until the store is dropped.
    _lock: File,
}

/// The sequences of the snapshots on the disk; `None` where there is none that is known good.
#[derive(Debug, Default)]
struct Kept {
    newest: Option<u64>,
    previous: Option<u64>,
}

impl FileStore {
    /// Opens the store whose newest snapshot is, or will be, at this path.
    ///
    /// Makes missing directories, and removes what an interrupted save left.
    ///
    /// # Errors
    /// If another process holds the store, or its directory cannot be made, read or written.
    pub fn open(path: PathBuf) -> Result<FileStore, StoreError> {
        let files = Files::new(path)?;
        create_directory(&files.directory)?;
        let lock = lock(&files.lock)?;
        match fs::remove_file(&files.new) {
            Ok(()) => {
                log::info!("removed {}, left by a save that was interrupted", files.new.display())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed("remove", &files.new, &error, When::Starting)),
        }
        let journal = Mutex::new(Journal::open(files.clone())?);
        Ok(FileStore { files, journal, kept: Mutex::default(), _lock: lock })
    }

    fn load_snapshot(&self, kept: &mut Kept) -> Result<(Vec<SnapshotItem>, u64), StoreError> {
        let Files { snapshot, previous, .. } = &self.files;
        let newest_found = read_snapshot(snapshot)?;
        if let Found::Good { items, sequence } = newest_found {
            kept.newest = Some(sequence);
            return Ok((items, sequence));
        }
        let previous_found = read_snapshot(previous)?;
        let is_newest_missing = matches!(newest_found, Found::Missing);
        let is_previous_missing = matches!(previous_found, Found::Missing);
        if let Found::Good { items, sequence } = previous_found {
            kept.previous = Some(sequence);
            let file = previous.display();
            log::warn!(
                "going on from the previous snapshot {file} and the journal: the tree and its \
                 links are complete, values may be one snapshot older"
            );
            return Ok((items, sequence));
        }
        if !(is_newest_missing && is_previous_missing) {
            let file = snapshot.display();
            log::error!(
                "there is no usable snapshot at {file}: starting from nothing but the journal"
            );
        }
        Ok((Vec::new(), 0))
    }

    /// Puts the snapshot that was just written in the place of the newest, and that one in the
    /// place of the previous one. A crash in between leaves no newest, and is no loss.
    fn replace_newest(&self, kept: &mut Kept, sequence: u64) -> Result<(), StoreError> {
        let Files { directory, snapshot, previous, new, .. } = &self.files;
        let cannot = |action, file, error: &io::Error| failed(action, file, error, When::Running);
        match fs::rename(snapshot, previous) {
            Ok(()) => kept.previous = kept.newest.take(),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(cannot("replace", previous, &error)),
        }
        fs::rename(new, snapshot).map_err(|error| cannot("replace", snapshot, &error))?;
        kept.newest = Some(sequence);
        sync_directory(directory).map_err(|error| cannot("sync", directory, &error))
    }
}

/// Reads a snapshot; what is not a snapshot is reported and set aside.
fn read_snapshot(path: &FilePath) -> Result<Found, StoreError> {
    let found =
        snapshot::read(path).map_err(|error| failed("read", path, &error, When::Starting))?;
    let file = path.display();
    match &found {
        Found::Good { .. } | Found::Missing => {}
        Found::Newer { format } => {
            let known = snapshot::FORMAT;
            return Err(StoreError(format!(
                "{file} was written by a newer fanal (format {format}), this one reads format \
                 {known}: start the newer fanal, or move the store's files away"
            )));
        }
        Found::Beacon => {
            let aside = set_aside(path, "beacon")?;
            log::error!(
                "{file} is a snapshot of the original server beacon: it is kept as {}, and \
                 `fanal snapshot import` reads it",
                aside.display()
            );
        }
        Found::Damaged(what) => {
            let aside = set_aside(path, "broken")?;
            log::error!("{file} is damaged: {what}; it is kept as {}", aside.display());
        }
    }
    Ok(found)
}

/// What the files hold.
#[derive(Debug, Default, PartialEq)]
struct Loaded {
    /// The items of the newest good snapshot, in the order in which they were saved.
    items: Vec<SnapshotItem>,
    /// The sequence of that snapshot; 0 if there was none.
    sequence: u64,
    /// Acknowledged structural changes after that snapshot, by rising sequence.
    changes: Vec<Change>,
}

impl FileStore {
    fn load_all(&self) -> Result<Loaded, StoreError> {
        let mut kept = self.kept.lock();
        *kept = Kept::default();
        let (items, sequence) = self.load_snapshot(&mut kept)?;
        let changes = self.journal.lock().load(sequence)?;
        Ok(Loaded { items, sequence, changes })
    }

    /// Replaces what is stored by the snapshot that `take` returns, atomically and durably.
    ///
    /// `take` is called once. Every change appended before it is called is part of its snapshot;
    /// changes appended later may or may not be.
    ///
    /// # Errors
    /// If the snapshot may not be durable; what was stored before stays valid.
    pub fn save_whole<'s>(
        &self,
        take: &mut dyn FnMut() -> Snapshot<'s>,
    ) -> Result<SaveReport, StoreError> {
        let mut kept = self.kept.lock();
        self.journal.lock().switch();
        let snapshot = take();
        let sequence = snapshot.sequence;
        let new = &self.files.new;
        let report = snapshot::write(new, snapshot).map_err(|error| {
            // What was written takes space that may be what is missing.
            let _ = fs::remove_file(new);
            failed("write", new, &error, When::Running)
        })?;
        self.replace_newest(&mut kept, sequence)?;
        let mut needless = self.journal.lock().take_needless(kept.previous.unwrap_or(0));
        needless.remove();
        self.journal.lock().put_back(needless);
        Ok(report)
    }
}

impl Store for FileStore {
    fn load(&self, restore: &mut dyn Restore) -> Result<(), StoreError> {
        let Loaded { items, sequence, changes } = self.load_all()?;
        restore.begin();
        for item in items {
            restore.item(item);
        }
        restore.sequence(sequence);
        for change in changes {
            restore.change(change);
        }
        Ok(())
    }

    fn append(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.journal.lock().append(changes)
    }

    fn save(&self, unsaved: &dyn Unsaved) -> Result<SaveReport, StoreError> {
        self.save_whole(&mut || unsaved.picture())
    }

    fn read(&self, _: u64) -> Result<Option<Value>, StoreError> {
        Err(StoreError("a snapshot file is read as a whole only".to_owned()))
    }

    fn keeps_values(&self) -> bool {
        false
    }
}
