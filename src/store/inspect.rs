//! A look at the files of a store that changes nothing and needs no lock, so that a broker may run
//! on them meanwhile.

use std::fs;
use std::path::{Path as FilePath, PathBuf};

use fanal_actors::ports::StoreError;

use super::files::{Files, When, failed};
use super::image::Image;
use super::journal::in_order;
use super::segment::{self, Contents, End};
use super::snapshot::{self, Found};

/// What a look at a store found.
#[derive(Debug)]
pub struct Inspected {
    /// Each file that belongs to it.
    pub files: Vec<FileReport>,
    /// What a broker would start with.
    pub image: Image,
}

/// One file of a store.
#[derive(Debug)]
pub struct FileReport {
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// What is in it, or what is wrong with it.
    pub what: String,
    /// Whether it is as it should be.
    pub is_good: bool,
}

/// Looks at the store whose newest snapshot is at this path.
///
/// The journal is read before the snapshot: a snapshot that a running broker has put there since
/// contains what it has removed of the journal.
///
/// # Errors
/// If a file cannot be read.
pub fn inspect(path: PathBuf) -> Result<Inspected, StoreError> {
    let files = Files::new(path)?;
    if !files.directory.exists() {
        let directory = files.directory.display();
        return Err(StoreError(format!(
            "there is no store: no directory {directory}; name the right one with --data or \
             --config"
        )));
    }
    let mut reports = Vec::new();
    let mut changes = Vec::new();
    for (_, path) in files.segments()? {
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            // A running broker may have removed it just now.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed("read", &path, &error, When::Starting)),
        };
        let mut contents = segment::read(&bytes);
        reports.push(segment_report(path, bytes.len(), &contents));
        changes.append(&mut contents.changes);
    }
    let mut image = None;
    for path in [&files.snapshot, &files.previous] {
        let found =
            snapshot::read(path).map_err(|error| failed("read", path, &error, When::Starting))?;
        reports.extend(snapshot_report(path, &found));
        if let (Found::Good { items, sequence }, None) = (found, &image) {
            image = Some((items, sequence));
        }
    }
    let (items, sequence) = image.unwrap_or_default();
    changes.retain(|change| change.sequence > sequence);
    reports.reverse();
    Ok(Inspected {
        files: reports,
        image: Image::new(items, sequence, in_order(changes, sequence)),
    })
}

fn segment_report(path: PathBuf, bytes: usize, contents: &Contents) -> FileReport {
    let count = contents.changes.len();
    let good = contents.good_bytes;
    let (what, is_good) = match contents.end {
        End::Clean => (format!("journal, {count} changes"), true),
        End::Torn => (
            format!(
                "journal, {count} changes; the {} bytes behind them are an append that is being \
                 written, or was cut off",
                bytes - good
            ),
            true,
        ),
        End::Damaged => (format!("journal, {count} changes, then damaged at byte {good}"), false),
        End::Newer { format } => (format!("journal of a newer fanal, format {format}"), false),
    };
    FileReport { path, bytes: bytes as u64, what, is_good }
}

pub(super) fn snapshot_report(path: &FilePath, found: &Found) -> Option<FileReport> {
    let (what, is_good) = match found {
        Found::Missing => return None,
        Found::Good { items, sequence } => {
            (format!("snapshot, {} items up to change {sequence}", items.len()), true)
        }
        Found::Newer { format } => (format!("snapshot of a newer fanal, format {format}"), false),
        Found::Beacon => {
            ("snapshot of the original server; fanal snapshot import reads it".to_owned(), false)
        }
        Found::Damaged(reason) => (format!("damaged: {reason}"), false),
    };
    let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
    Some(FileReport { path: path.to_owned(), bytes, what, is_good })
}
