//! Names of the store's files, and what is done to a file as a whole: lock, set aside, sync.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path as FilePath, PathBuf};
use std::time::SystemTime;

use fanal_actors::ports::StoreError;

/// When something went wrong: it decides what the operator is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Before the broker serves: it refuses to start.
    Starting,
    /// While it serves: it goes on from memory.
    Running,
}

/// The files of one store.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// The directory that holds all of them.
    pub(super) directory: PathBuf,
    /// The newest snapshot.
    pub(super) snapshot: PathBuf,
    /// The snapshot before it, kept in case the newest turns out damaged.
    pub(super) previous: PathBuf,
    /// The snapshot that is being written.
    pub(super) new: PathBuf,
    /// Held locked while the store is open; contains the holder's process id.
    pub(super) lock: PathBuf,
    /// What the names of the journal's segments begin with; their number follows.
    segment_prefix: OsString,
}

impl Files {
    /// The files of the store whose newest snapshot is at this path.
    pub(super) fn new(snapshot: PathBuf) -> Result<Files, StoreError> {
        let Some(name) = snapshot.file_name() else {
            let text = format!("{} does not end in the name of a file", snapshot.display());
            return Err(StoreError(text + ": set a path like data/fanal.snapshot"));
        };
        let mut segment_prefix = name.to_owned();
        segment_prefix.push(".journal.");
        let directory = match snapshot.parent() {
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(parent) => parent.to_owned(),
            None => PathBuf::from("."),
        };
        Ok(Files {
            directory,
            previous: with_suffix(&snapshot, ".previous"),
            new: with_suffix(&snapshot, ".new"),
            lock: with_suffix(&snapshot, ".lock"),
            snapshot,
            segment_prefix,
        })
    }

    /// The journal segment of this number.
    pub(super) fn segment(&self, number: u64) -> PathBuf {
        let mut name = self.segment_prefix.clone();
        name.push(format!("{number:010}"));
        self.snapshot.with_file_name(name)
    }

    /// The numbers and paths of the journal segments that exist, by rising number.
    pub(super) fn segments(&self) -> Result<Vec<(u64, PathBuf)>, StoreError> {
        let cannot = |error: &io::Error| failed("read", &self.directory, error, When::Starting);
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(|error| cannot(&error))? {
            let name = entry.map_err(|error| cannot(&error))?.file_name();
            if let Some(number) = self.segment_number(&name) {
                segments.push((number, self.snapshot.with_file_name(name)));
            }
        }
        segments.sort_unstable();
        Ok(segments)
    }

    fn segment_number(&self, name: &OsStr) -> Option<u64> {
        let prefix = self.segment_prefix.as_encoded_bytes();
        let digits = name.as_encoded_bytes().strip_prefix(prefix)?;
        let digits = str::from_utf8(digits).ok()?;
        if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
    }
}

fn with_suffix(path: &FilePath, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The sentence for an operation on a file that failed.
pub(super) fn failed(action: &str, file: &FilePath, error: &io::Error, when: When) -> StoreError {
    let remedy = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "free some space"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "allow the broker's user to write there"
        }
        ErrorKind::IsADirectory | ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "move away what is in its place"
        }
        ErrorKind::InvalidInput if when == When::Running => "make the resource's value smaller",
        _ => "check the disk",
    };
    let effect = match when {
        When::Starting => "start the broker again",
        When::Running => "the broker goes on from memory and tries again",
    };
    let file = file.display();
    StoreError(format!("cannot {action} {file}: {}; {remedy}, {effect}", describe(error)))
}

/// The operating system's words for an error, as a part of a sentence of ours.
fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut characters = text.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

/// Makes the directory and its missing parents, durably.
pub(super) fn create_directory(directory: &FilePath) -> Result<(), StoreError> {
    let cannot = |path: &FilePath, error: &io::Error| failed("create", path, error, When::Starting);
    let missing: Vec<&FilePath> = directory
        .ancestors()
        .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists())
        .collect();
    for path in missing.into_iter().rev() {
        fs::create_dir(path).map_err(|error| cannot(path, &error))?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => FilePath::new("."),
        };
        sync_directory(parent).map_err(|error| cannot(path, &error))?;
    }
    Ok(())
}

/// Makes what was created, renamed or removed in this directory durable.
pub(super) fn sync_directory(directory: &FilePath) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Locks the store against a second process; the lock lasts until the file is closed.
pub(super) fn lock(path: &FilePath) -> Result<File, StoreError> {
    let cannot = |error: &io::Error| failed("lock", path, error, When::Starting);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| cannot(&error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(cannot(&error)),
        Err(TryLockError::WouldBlock) => return Err(held(path, file)),
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|error| cannot(&error))?;
    Ok(file)
}

fn held(path: &FilePath, file: File) -> StoreError {
    let mut holder = String::new();
    // The text is only for the message, and no process id is longer than this.
    let read = file.take(20).read_to_string(&mut holder);
    let holder = match (read, holder.trim()) {
        (Ok(_), pid) if pid.parse::<u32>().is_ok() => format!("process {pid}"),
        _ => "another process".to_owned(),
    };
    StoreError(format!(
        "{} is locked by {holder}: stop it, or give this broker a data directory of its own",
        path.display()
    ))
}

/// Renames a file out of the way, as `<file>.<why>-<UTC time>`, and returns the new name.
pub(super) fn set_aside(file: &FilePath, why: &str) -> Result<PathBuf, StoreError> {
    let aside = dated(file, why);
    fs::rename(file, &aside).map_err(|error| failed("set aside", file, &error, When::Starting))?;
    Ok(aside)
}

/// Copies a file, durably, to `<file>.<why>-<UTC time>`, and returns the new name.
pub(super) fn copy_aside(file: &FilePath, why: &str) -> Result<PathBuf, StoreError> {
    let aside = dated(file, why);
    fs::copy(file, &aside)
        .and_then(|_| File::open(&aside)?.sync_all())
        .map_err(|error| failed("copy", file, &error, When::Starting))?;
    Ok(aside)
}

/// A name for a file that is set aside, which no file has yet.
#[expect(clippy::disallowed_methods, reason = "the time is for the reader of a name, once a start")]
fn dated(file: &FilePath, why: &str) -> PathBuf {
    // Colons would make the name hard to copy between systems.
    let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let suffix = format!(".{why}-{}", time.replace([':', '-'], ""));
    let first = with_suffix(file, &suffix);
    if !first.exists() {
        return first;
    }
    (2..1000)
        .map(|count: u32| with_suffix(file, &format!("{suffix}-{count}")))
        .find(|candidate| !candidate.exists())
        .unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_one_sentence_that_says_what_to_do() {
        let full = io::Error::from_raw_os_error(28);
        let path = FilePath::new("data/fanal.snapshot.new");
        assert_eq!(
            failed("write", path, &full, When::Running).to_string(),
            "cannot write data/fanal.snapshot.new: no space left on device; free some space, \
             the broker goes on from memory and tries again"
        );
    }

    #[test]
    fn only_names_that_end_in_digits_are_segments() {
        let files = Files::new(PathBuf::from("data/fanal.snapshot")).unwrap();
        let number = |name: &str| files.segment_number(OsStr::new(name));
        assert_eq!(number("fanal.snapshot.journal.0000000012"), Some(12));
        assert_eq!(number("fanal.snapshot.journal."), None);
        assert_eq!(number("fanal.snapshot.journal.+1"), None);
        assert_eq!(number("fanal.snapshot.journal.0000000012.broken-20260101T000000Z"), None);
        assert_eq!(number("other.journal.1"), None);
        assert_eq!(files.segment(12), FilePath::new("data/fanal.snapshot.journal.0000000012"));
    }

    #[test]
    fn files_set_aside_in_the_same_second_do_not_replace_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("fanal.snapshot");
        let names: Vec<PathBuf> = ["a", "b", "c"]
            .map(|text| {
                fs::write(&file, text).unwrap();
                set_aside(&file, "broken").unwrap()
            })
            .into();
        let texts: Vec<String> =
            names.iter().map(|name| fs::read_to_string(name).unwrap()).collect();
        assert_eq!(texts, ["a", "b", "c"]);
    }

    #[test]
    fn a_path_without_a_file_name_is_refused() {
        assert!(Files::new(PathBuf::from("/")).is_err());
        assert!(Files::new(PathBuf::from("data/..")).is_err());
    }
}
