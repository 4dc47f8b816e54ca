//! The open database: closed after an error and opened again for the next call.
//!
//! After an error of the disk the library refuses everything until the database is opened again,
//! and opening it repeats or rolls back whatever was in flight. So a broker whose disk is back
//! needs no restart.

use std::fs::File;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use fanal_actors::{Counters, guarded};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, Durability, WriteTransaction};

use super::fault::Fault;

/// How a file becomes a database; tests put a disk with faults in between.
pub(super) type Opener =
    Arc<dyn Fn(&Builder, File) -> Result<Database, DatabaseError> + Send + Sync>;

/// The opener that everybody but tests uses.
pub(super) fn plain_opener() -> Opener {
    Arc::new(|builder, file| builder.create_with_backend(FileBackend::new(file)?))
}

/// A database file, and the database in it while it is open.
pub(super) struct Held {
    file: PathBuf,
    cache_bytes_max: usize,
    opener: Opener,
    slot: RwLock<Slot>,
}

/// What is open at the moment.
#[derive(Default)]
struct Slot {
    database: Option<Database>,
    /// Counts the closings, so that of two calls which fail on the same database one closes it.
    closed_count: u64,
}

impl Held {
    /// The database in this file, not yet open.
    pub(super) fn new(file: PathBuf, cache_bytes_max: usize, opener: Opener) -> Self {
        Held { file, cache_bytes_max, opener, slot: RwLock::default() }
    }

    /// The file.
    pub(super) fn file(&self) -> &FilePath {
        &self.file
    }

    /// Opens the file and checks every page of it. What `body` makes of it decides whether it stays
    /// open.
    pub(super) fn begin<T>(
        &self,
        body: impl FnOnce(&Database) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut slot = self.slot.write();
        close(&mut slot);
        let database = caught(|| self.open(true))?;
        let outcome = caught(|| body(slot.database.insert(database)));
        if outcome.is_err() {
            close(&mut slot);
        }
        outcome
    }

    /// Lets `body` work on the database, which is opened again if an error has closed it.
    pub(super) fn with<T>(
        &self,
        body: impl FnOnce(&Database) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let slot = self.opened()?;
        let Some(database) = &slot.database else {
            return Err(Fault::Io(io::Error::other("the database is closed")));
        };
        let closed_count = slot.closed_count;
        let outcome = caught(|| body(database));
        drop(slot);
        if outcome.as_ref().is_err_and(Fault::is_lasting) {
            let mut slot = self.slot.write();
            if slot.closed_count == closed_count {
                close(&mut slot);
            }
        }
        outcome
    }

    /// Waits for nothing but another thread that opens the file: whoever waits to close it waits
    /// for those who read, and must not keep a reader from what a writer asks for.
    fn opened(&self) -> Result<RwLockReadGuard<'_, Slot>, Fault> {
        let slot = self.slot.read_recursive();
        if slot.database.is_some() {
            return Ok(slot);
        }
        drop(slot);
        let mut slot = self.slot.write();
        if slot.database.is_none() {
            slot.database = Some(caught(|| self.open(false))?);
        }
        Ok(RwLockWriteGuard::downgrade(slot))
    }

    /// Closes the database; the next call opens what is in the file then.
    pub(super) fn close(&self) {
        close(&mut self.slot.write());
    }

    fn open(&self, checks_all: bool) -> Result<Database, Fault> {
        let file = File::options().read(true).write(true).open(&self.file)?;
        // The library would make a new database of it.
        if file.metadata()?.len() == 0 {
            return Err(Fault::wrong("it is empty"));
        }
        self.database(file, checks_all)
    }

    /// Makes a new database in this file, which must be empty.
    pub(super) fn make(&self, file: File) -> Result<Database, Fault> {
        self.database(file, false)
    }

    fn database(&self, file: File, checks_all: bool) -> Result<Database, Fault> {
        let mut builder = Builder::new();
        builder.set_cache_size(self.cache_bytes_max).set_check_integrity_on_open(checks_all);
        Ok((self.opener)(&builder, file)?)
    }
}

fn close(slot: &mut Slot) {
    if let Some(database) = slot.database.take() {
        slot.closed_count += 1;
        // What cannot be closed is repaired when it is opened.
        drop(caught(|| {
            drop(database);
            Ok(())
        }));
    }
}

/// Begins a transaction whose commit is on the disk when it returns.
///
/// The commit has two phases: all pages are on the disk before the header points to them. So a
/// sync that failed has either left the header as it was, or everything but the header is on the
/// disk and opening the file again writes that once more; and a damaged page is never taken for a
/// commit that did not finish, which would be rolled back without a word.
pub(super) fn begin_write(database: &Database) -> Result<WriteTransaction, Fault> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    transaction
        .set_durability(Durability::Immediate)
        .map_err(|error| Fault::Io(io::Error::other(error.to_string())))?;
    Ok(transaction)
}

/// Runs what calls the library, which panics on some damaged files.
pub(super) fn caught<T>(body: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let outcome = guarded(&Counters::default(), "store", body);
    outcome.unwrap_or_else(|| Err(Fault::Corrupt("the database library failed on it".into())))
}
