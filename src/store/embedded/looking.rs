//! A look at an embedded store, with the help of the broker that runs on it if one does.

use std::fs;
use std::io::ErrorKind;
use std::path::Path as FilePath;

use fanal_actors::ports::StoreError;

use super::super::files::{When, failed};
use super::super::image::Image;
use super::super::inspect::{FileReport, Inspected, snapshot_report};
use super::super::snapshot::{self, Found};
use super::starting::file_store;
use super::{BACKUP, BACKUP_PREVIOUS, DATABASE, EmbeddedSettings, EmbeddedStore, FILE_STORE};

/// Looks at the store that these settings name. `live` is a snapshot that the broker on it has just
/// given, if there is one. Without, the store is locked meanwhile; nothing in it is changed but
/// what any opening repairs after a crash.
///
/// # Errors
/// If a file cannot be read, or a broker that gives no snapshot runs on the store.
pub fn inspect_embedded(
    settings: EmbeddedSettings,
    live: Option<&[u8]>,
) -> Result<Inspected, StoreError> {
    let directory = settings.directory.clone();
    if !directory.exists() {
        return Err(StoreError(format!(
            "there is no store: no directory {}; name the right one with --data or --config",
            directory.display()
        )));
    }
    let file = directory.join(DATABASE);
    let mut inspected = match (live, size(&file)?) {
        (Some(bytes), size) => from_broker(&file, bytes, size.unwrap_or(0))?,
        (None, Some(size)) => from_file(settings, &file, size)?,
        (None, None) if file_store(&directory)?.is_some() => {
            return super::super::inspect(directory.join(FILE_STORE));
        }
        (None, None) => Inspected { files: Vec::new(), image: Image::default() },
    };
    for name in [BACKUP, BACKUP_PREVIOUS] {
        let path = directory.join(name);
        let found =
            snapshot::read(&path).map_err(|error| failed("read", &path, &error, When::Starting))?;
        inspected.files.extend(snapshot_report(&path, &found));
    }
    Ok(inspected)
}

fn size(file: &FilePath) -> Result<Option<u64>, StoreError> {
    match fs::metadata(file) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", file, &error, When::Starting)),
    }
}

fn from_broker(file: &FilePath, bytes: &[u8], size: u64) -> Result<Inspected, StoreError> {
    let Found::Good { items, sequence } = snapshot::read_bytes(bytes) else {
        let text = "the snapshot that the running server sent is not whole: try again";
        return Err(StoreError(text.to_owned()));
    };
    let what = "database, open in a running server, which gave what is in it".to_owned();
    Ok(Inspected {
        files: vec![FileReport { path: file.to_owned(), bytes: size, what, is_good: true }],
        image: Image::new(items, sequence, Vec::new()),
    })
}

fn from_file(
    settings: EmbeddedSettings,
    file: &FilePath,
    bytes: u64,
) -> Result<Inspected, StoreError> {
    let store = EmbeddedStore::open(EmbeddedSettings { strict: true, ..settings })?;
    let (image, what, is_good) = match Image::of(&store) {
        Ok(image) => {
            let sequence = image.sequence();
            (image, format!("database, every page good, up to change {sequence}"), true)
        }
        Err(error) => (Image::default(), error.to_string(), false),
    };
    let report = FileReport { path: file.to_owned(), bytes, what, is_good };
    Ok(Inspected { files: vec![report], image })
}
