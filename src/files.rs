//! Small files that are written as a whole or not at all.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Only the owner may read a new file.
const MODE: u32 = 0o600;

/// Puts a text in the place of a file, durably. The mode of a file that is there stays.
///
/// # Errors
/// If it cannot be written; the old file is as it was.
pub fn replace(file: &Path, text: &str) -> io::Result<()> {
    let mode = fs::metadata(file).map_or(MODE, |data| data.permissions().mode());
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = (|| {
        // One that a process of the same number left behind.
        let _ = fs::remove_file(&beside);
        let mut open = OpenOptions::new();
        let mut new = open.write(true).create_new(true).mode(MODE).open(&beside)?;
        new.write_all(text.as_bytes())?;
        new.set_permissions(Permissions::from_mode(mode))?;
        new.sync_all()?;
        fs::rename(&beside, file)?;
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_mode_or_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let mode = || fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        replace(&file, "one").unwrap();
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), mode()), ("one", 0o600));
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        replace(&file, "two").unwrap();
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), mode()), ("two", 0o640));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing lies beside it");
        assert!(replace(&folder.path().join("missing/file"), "three").is_err());
        // A directory in its place.
        assert!(replace(folder.path(), "three").is_err());
    }
}
