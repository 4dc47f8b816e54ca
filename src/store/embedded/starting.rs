//! What a start does when there is no good database: take over from the file store, or go on from
//! a backup.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path as FilePath, PathBuf};
use std::time::SystemTime;

use fanal_actors::ports::{Change, ChangeKind, Restore, SnapshotItem, Store, StoreError};

use super::super::files::{Files, When, failed, set_aside, sync_directory};
use super::super::snapshot::Found;
use super::super::{FileStore, read_snapshot};
use super::fault::Fault;
use super::held::{Held, begin_write, caught};
use super::tables::Tables;
use super::{BACKUP, BACKUP_PREVIOUS, DATABASE_NEW, FILE_STORE};

/// Makes a database beside, under another name, so that none is ever in its place half filled.
pub(super) fn make_beside(
    held: &Held,
    fill: impl FnOnce(&mut Filling<'_>) -> Result<(), Fault>,
) -> Result<(), StoreError> {
    let new = held.file().with_file_name(DATABASE_NEW);
    let made = caught(|| {
        let options = File::options().read(true).write(true).create(true).truncate(true).clone();
        let database = held.make(options.open(&new)?)?;
        let transaction = begin_write(&database)?;
        let mut filling = Filling { tables: Tables::open(&transaction)?, last: 0, fault: None };
        fill(&mut filling)?;
        filling.finish()?;
        transaction.commit()?;
        Ok(database.close()?)
    });
    made.map_err(|fault| {
        // What was written takes space that may be what is missing.
        let _ = fs::remove_file(&new);
        fault.sentence("make", &new, When::Starting)
    })
}

/// Puts the database that was made beside where it belongs.
pub(super) fn put_in_place(held: &Held) -> Result<(), StoreError> {
    let file = held.file();
    fs::rename(file.with_file_name(DATABASE_NEW), file)
        .and_then(|()| sync_directory(directory_of(held)))
        .map_err(|error| failed("make", file, &error, When::Starting))
}

fn directory_of(held: &Held) -> &FilePath {
    held.file().parent().unwrap_or(FilePath::new("."))
}

/// Writes what is restored into a new database, with numbers of its own.
pub(super) struct Filling<'t> {
    tables: Tables<'t>,
    /// The last number that was given to a resource.
    last: u64,
    /// What went wrong first; nothing is written after it.
    fault: Option<Fault>,
}

impl Filling<'_> {
    fn finish(self) -> Result<(), Fault> {
        match self.fault {
            Some(fault) => Err(fault),
            None => self.tables.seal(),
        }
    }

    fn attempt(&mut self, write: impl FnOnce(&mut Self) -> Result<(), Fault>) {
        if self.fault.is_none() {
            self.fault = write(self).err();
        }
    }

    fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

impl Restore for Filling<'_> {
    fn begin(&mut self) {
        self.last = 0;
        self.attempt(|filling| filling.tables.clear());
    }

    fn item(&mut self, item: SnapshotItem) {
        self.attempt(|filling| match item {
            SnapshotItem::Directory { path } => filling.tables.create_directory(&path),
            SnapshotItem::Resource { path, class, value, .. } => {
                let number = filling.next_number();
                filling.tables.create_resource(&path, number, class, &value)
            }
            SnapshotItem::Link { source, destination } => {
                filling.tables.link(&source, &destination)
            }
        });
    }

    fn sequence(&mut self, sequence: u64) {
        self.tables.set_sequence(sequence);
    }

    fn change(&mut self, mut change: Change) {
        if let ChangeKind::CreateResource { number, .. } = &mut change.kind {
            *number = self.next_number();
        }
        self.attempt(|filling| filling.tables.apply(&change).map(drop));
    }
}

/// A snapshot that was found good.
pub(super) struct Backup {
    file: PathBuf,
    items: Vec<SnapshotItem>,
    sequence: u64,
}

impl Backup {
    /// The newest good backup in this directory. A damaged one is set aside.
    pub(super) fn newest(directory: &FilePath) -> Result<Option<Self>, StoreError> {
        for name in [BACKUP, BACKUP_PREVIOUS] {
            let file = directory.join(name);
            if let Found::Good { items, sequence } = read_snapshot(&file)? {
                return Ok(Some(Backup { file, items, sequence }));
            }
        }
        Ok(None)
    }

    /// Whether there is one in this directory, good or not.
    pub(super) fn exists(directory: &FilePath) -> bool {
        [BACKUP, BACKUP_PREVIOUS].iter().any(|name| directory.join(name).exists())
    }

    /// When it was made, for people.
    pub(super) fn time(&self) -> String {
        modified(&self.file).map_or_else(
            || "an unknown time".to_owned(),
            |time| humantime::format_rfc3339_seconds(time).to_string(),
        )
    }

    /// Gives everything that is in it.
    pub(super) fn give(self, restore: &mut dyn Restore) {
        self.items.into_iter().for_each(|item| restore.item(item));
        restore.sequence(self.sequence);
    }
}

fn modified(file: &FilePath) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

/// The files of a file store in this directory, if they are newer than the backups: what was taken
/// over is renamed, so they are from a broker that ran on them since, or for the first time.
pub(super) fn file_store(directory: &FilePath) -> Result<Option<Vec<PathBuf>>, StoreError> {
    let files = Files::new(directory.join(FILE_STORE))?;
    let mut found: Vec<PathBuf> =
        files.segments()?.into_iter().map(|(_, segment)| segment).collect();
    found.extend([files.snapshot, files.previous].into_iter().filter(|file| file.exists()));
    let newest = found.iter().filter_map(|file| modified(file)).max();
    let backed_up = modified(&directory.join(BACKUP));
    Ok((!found.is_empty() && newest >= backed_up).then_some(found))
}

/// Takes over what a file store in this directory has, whose files these are.
pub(super) fn take_over(held: &Held, files: &[PathBuf]) -> Result<(), StoreError> {
    let store = FileStore::open(directory_of(held).join(FILE_STORE))?;
    make_beside(held, |filling| Ok(store.load(filling)?))?;
    put_in_place(held)?;
    log::info!(
        "{} has taken over what was in {}: the files of that store are kept, with `migrated` in \
         their names",
        held.file().display(),
        directory_of(held).join(FILE_STORE).display()
    );
    for file in files {
        // The load may have set a damaged one aside already.
        let renamed = if file.exists() { set_aside(file, "migrated").map(drop) } else { Ok(()) };
        if let Err(error) = renamed {
            log::warn!("{error}; it is no longer needed");
        }
    }
    Ok(())
}

/// Removes what an interrupted start or backup left.
pub(super) fn remove_leftover(file: &FilePath) -> Result<(), StoreError> {
    match fs::remove_file(file) {
        Ok(()) => log::info!("removed {}, which was not finished", file.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed("remove", file, &error, When::Starting)),
    }
    Ok(())
}
