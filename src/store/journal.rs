//! The journal: structural changes since the last snapshots, in segments.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path as FilePath, PathBuf};

use fanal_actors::ports::{Change, StoreError};

use super::files::{Files, When, copy_aside, failed, sync_directory};
use super::segment::{self, Contents, End};

/// A segment that has reached this size is not appended to any more: at the start, a segment is
/// read into memory as a whole.
const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The journal of one store.
#[derive(Debug)]
pub(super) struct Journal {
    files: Files,
    /// The segment that appends go to; `None` until the first append after a switch.
    current: Option<OpenSegment>,
    /// Segments that are only read again at the next start, by rising number.
    closed: Vec<ClosedSegment>,
    /// The number of the next segment; never reused, so that a leftover file is never extended.
    next_number: u64,
}

#[derive(Debug)]
struct OpenSegment {
    path: PathBuf,
    file: File,
    /// Size of the file up to the end of the last append that succeeded.
    good_bytes: u64,
    last_sequence: u64,
}

#[derive(Debug)]
struct ClosedSegment {
    path: PathBuf,
    /// The highest sequence that may be in it; a snapshot at or past it makes the segment needless.
    last_sequence: u64,
}

impl Journal {
    /// Finds the segments that exist; they are kept whatever a save says until they are loaded.
    pub(super) fn open(files: Files) -> Result<Journal, StoreError> {
        let segments = files.segments()?;
        let next_number = segments.last().map_or(1, |(number, _)| number.saturating_add(1));
        let closed = segments
            .into_iter()
            .map(|(_, path)| ClosedSegment { path, last_sequence: u64::MAX })
            .collect();
        Ok(Journal { files, current: None, closed, next_number })
    }

    /// Reads all segments and returns the changes after this sequence, by rising sequence.
    pub(super) fn load(&mut self, after: u64) -> Result<Vec<Change>, StoreError> {
        let mut changes = Vec::new();
        let count = self.closed.len();
        for (position, closed) in self.closed.iter_mut().enumerate() {
            let mut found = load_segment(&closed.path, position + 1 == count)?;
            closed.last_sequence = found.iter().map(|change| change.sequence).max().unwrap_or(0);
            found.retain(|change| change.sequence > after);
            changes.append(&mut found);
        }
        Ok(in_order(changes, after))
    }

    /// Appends these changes as one record, durably.
    pub(super) fn append(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let Some(last_sequence) = changes.iter().map(|change| change.sequence).max() else {
            return Ok(());
        };
        if self.current.as_ref().is_some_and(|open| open.good_bytes >= SEGMENT_BYTES_MAX) {
            self.switch();
        }
        let path = match &self.current {
            Some(open) => open.path.clone(),
            None => self.files.segment(self.next_number),
        };
        let cannot = |error: &io::Error| failed("write", &path, error, When::Running);
        let record = segment::changes_record(changes).map_err(|error| cannot(&error))?;
        let appended = match &mut self.current {
            Some(open) => open.append(&record, last_sequence),
            None => self.begin(&path, &record, last_sequence),
        };
        if let Err(error) = &appended {
            self.give_up_current(last_sequence);
            return Err(cannot(error));
        }
        Ok(())
    }

    /// Lets the next append begin a new segment.
    pub(super) fn switch(&mut self) {
        if let Some(OpenSegment { path, last_sequence, .. }) = self.current.take() {
            self.closed.push(ClosedSegment { path, last_sequence });
        }
    }

    /// Takes out the closed segments whose changes are all in a snapshot of this sequence.
    pub(super) fn take_needless(&mut self, sequence: u64) -> Needless {
        Needless(self.closed.extract_if(.., |closed| closed.last_sequence <= sequence).collect())
    }

    /// Takes back segments that could not be removed, for a later try.
    pub(super) fn put_back(&mut self, mut needless: Needless) {
        self.closed.append(&mut needless.0);
    }

    /// Makes a segment that begins with this record.
    fn begin(&mut self, path: &FilePath, record: &[u8], last_sequence: u64) -> io::Result<()> {
        self.next_number = self.next_number.saturating_add(1);
        let mut bytes = segment::header()?;
        bytes.extend_from_slice(record);
        let file = File::options().append(true).create_new(true).open(path)?;
        let open = OpenSegment { path: path.to_owned(), file, good_bytes: 0, last_sequence: 0 };
        let open = self.current.insert(open);
        open.append(&bytes, last_sequence)?;
        sync_directory(&self.files.directory)
    }

    /// Cuts off what a failed append left, and lets the retry begin a new segment: after a failed
    /// sync, the operating system may hold pages for written that never reached the disk.
    fn give_up_current(&mut self, failed_sequence: u64) {
        let Some(open) = &mut self.current else { return };
        if open.good_bytes == 0 && fs::remove_file(&open.path).is_ok() {
            // Retries on a full disk must not leave a trail of empty files.
            self.current = None;
            return;
        }
        let cut = open.file.set_len(open.good_bytes).and_then(|()| open.file.sync_data());
        if let Err(error) = cut {
            let file = open.path.display();
            open.last_sequence = open.last_sequence.max(failed_sequence);
            log::warn!("cannot cut a failed append off {file}: {error}; the next start does it");
        }
        self.switch();
    }
}

impl OpenSegment {
    fn append(&mut self, bytes: &[u8], last_sequence: u64) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.sync_data()?;
        self.last_sequence = self.last_sequence.max(last_sequence);
        self.good_bytes = self.good_bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(0));
        Ok(())
    }
}

/// Segments that no snapshot needs any more.
#[derive(Debug)]
pub(super) struct Needless(Vec<ClosedSegment>);

impl Needless {
    /// Removes the files; those that could not be removed are left in `self`.
    pub(super) fn remove(&mut self) {
        self.0.retain(|closed| match fs::remove_file(&closed.path) {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                let file = closed.path.display();
                log::warn!("cannot remove {file}: {error}; it is no longer needed");
                true
            }
        });
    }
}

/// Reads one segment, and brings its file into a state in which it is good to its end.
fn load_segment(path: &FilePath, is_last: bool) -> Result<Vec<Change>, StoreError> {
    let cannot = |action: &str, error: &io::Error| failed(action, path, error, When::Starting);
    let bytes = fs::read(path).map_err(|error| cannot("read", &error))?;
    let Contents { changes, good_bytes, end } = segment::read(&bytes);
    let file = path.display();
    let bad_bytes = bytes.len() - good_bytes;
    match end {
        End::Clean => return Ok(changes),
        End::Newer { format } => {
            let known = segment::FORMAT;
            return Err(StoreError(format!(
                "{file} was written by a newer fanal (format {format}), this one reads format \
                 {known}: start the newer fanal, or move the store's files away"
            )));
        }
        End::Torn if is_last => log::warn!(
            "{file} ended in {bad_bytes} bytes of an append that did not finish, as after a power \
             cut: they are cut off"
        ),
        End::Torn | End::Damaged => {
            let aside = copy_aside(path, "broken")?;
            log::error!(
                "{file} is damaged at byte {good_bytes}: the changes before it are used, the \
                 {bad_bytes} bytes from there on are lost; the whole file is kept as {}",
                aside.display()
            );
        }
    }
    let good_bytes = u64::try_from(good_bytes).unwrap_or(u64::MAX);
    let cut = File::options().write(true).open(path).and_then(|file| {
        file.set_len(good_bytes)?;
        file.sync_all()
    });
    cut.map_err(|error| cannot("cut the end off", &error))?;
    Ok(changes)
}

/// Sorts the changes, drops repeated ones, and reports those that are missing.
pub(super) fn in_order(mut changes: Vec<Change>, after: u64) -> Vec<Change> {
    // Stable, so that of the same change in two segments the one in the newer segment is last.
    changes.sort_by_key(|change| change.sequence);
    let mut ordered: Vec<Change> = Vec::with_capacity(changes.len());
    let mut last = after;
    for change in changes {
        let sequence = change.sequence;
        if let Some(known) = ordered.last_mut().filter(|known| known.sequence == sequence) {
            if *known != change {
                log::error!("the journal holds two changes {sequence}: the newer one is used");
                *known = change;
            }
            continue;
        }
        if sequence > last.saturating_add(1) {
            let first = last.saturating_add(1);
            log::error!(
                "the journal lacks the changes {first} to {}: the tree is restored without them, \
                 look for files set aside next to the snapshot",
                sequence.saturating_sub(1)
            );
        }
        last = sequence;
        ordered.push(change);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use fanal_actors::Path;
    use fanal_actors::ports::ChangeKind;
    use tempfile::TempDir;

    use super::*;

    fn change(sequence: u64) -> Change {
        let path = Path::new([sequence.to_string()]);
        Change { sequence, kind: ChangeKind::CreateDirectory { path } }
    }

    fn journal(directory: &TempDir) -> Journal {
        Journal::open(Files::new(directory.path().join("s")).unwrap()).unwrap()
    }

    fn loaded(directory: &TempDir, after: u64) -> Vec<u64> {
        let changes = journal(directory).load(after).unwrap();
        changes.into_iter().map(|change| change.sequence).collect()
    }

    fn names(directory: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_failed_append_is_repeated_in_a_new_segment() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = journal(&directory);
        journal.append(&[change(1)]).unwrap();
        // From here on the segment's disk is full.
        let full = File::options().append(true).open("/dev/full").unwrap();
        journal.current.as_mut().unwrap().file = full;
        let error = journal.append(&[change(2)]).unwrap_err().to_string();
        assert_eq!(journal.closed[0].last_sequence, 2, "the end could not be cut off");
        assert!(error.contains("s.journal.0000000001: no space left on device; free"), "{error}");
        journal.append(&[change(2), change(3)]).unwrap();
        assert_eq!(loaded(&directory, 0), [1, 2, 3]);
        assert_eq!(names(&directory), ["s.journal.0000000001", "s.journal.0000000002"]);
    }

    #[test]
    fn what_a_failed_append_wrote_is_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = journal(&directory);
        journal.append(&[change(1)]).unwrap();
        let open = journal.current.as_mut().unwrap();
        open.file.write_all(&segment::changes_record(&[change(2)]).unwrap()[..9]).unwrap();
        journal.give_up_current(2);
        assert_eq!(journal.closed[0].last_sequence, 1);
        journal.append(&[change(2)]).unwrap();
        assert_eq!(loaded(&directory, 0), [1, 2]);
        assert_eq!(names(&directory), ["s.journal.0000000001", "s.journal.0000000002"]);
    }

    #[test]
    fn a_segment_that_cannot_be_made_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = journal(&directory);
        let obstacle = directory.path().join("s.journal.0000000001");
        fs::create_dir(&obstacle).unwrap();
        let error = journal.append(&[change(1)]).unwrap_err().to_string();
        assert!(error.contains("move away what is in its place, the broker goes on"), "{error}");
        journal.append(&[change(1)]).unwrap();
        fs::remove_dir(&obstacle).unwrap();
        assert_eq!(loaded(&directory, 0), [1]);
    }

    #[test]
    fn a_torn_tail_is_cut_off_without_a_copy() {
        let directory = tempfile::tempdir().unwrap();
        journal(&directory).append(&[change(1)]).unwrap();
        let segment = directory.path().join("s.journal.0000000001");
        let good = fs::read(&segment).unwrap();
        let next = segment::changes_record(&[change(2)]).unwrap();
        for length in 1..next.len() {
            fs::write(&segment, [&good[..], &next[..length]].concat()).unwrap();
            assert_eq!(loaded(&directory, 0), [1]);
            assert_eq!(fs::read(&segment).unwrap(), good);
        }
        assert_eq!(names(&directory), ["s.journal.0000000001"]);
    }

    #[test]
    fn a_damaged_middle_is_copied_and_the_records_before_it_are_used() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = journal(&directory);
        writer.append(&[change(1)]).unwrap();
        let good_bytes = writer.current.as_ref().unwrap().good_bytes;
        writer.append(&[change(2)]).unwrap();
        writer.append(&[change(3)]).unwrap();
        writer.switch();
        writer.append(&[change(4)]).unwrap();
        let segment = directory.path().join("s.journal.0000000001");
        let mut bytes = fs::read(&segment).unwrap();
        bytes[usize::try_from(good_bytes).unwrap() + 12] ^= 1;
        fs::write(&segment, &bytes).unwrap();
        assert_eq!(loaded(&directory, 0), [1, 4]);
        let [first, copy, _] = &names(&directory)[..] else { panic!("a copy is missing") };
        assert!(copy.starts_with(&format!("{first}.broken-2")), "{copy}");
        assert_eq!(fs::read(directory.path().join(copy)).unwrap(), bytes);
        assert_eq!(loaded(&directory, 0), [1, 4]);
        assert_eq!(names(&directory).len(), 3);
    }

    #[test]
    fn changes_come_sorted_once_each_and_after_the_snapshot() {
        let changes = [5, 3, 4, 4, 9].map(change).to_vec();
        let sequences: Vec<u64> =
            in_order(changes, 2).into_iter().map(|change| change.sequence).collect();
        assert_eq!(sequences, [3, 4, 5, 9]);
        let directory = tempfile::tempdir().unwrap();
        let mut writer = journal(&directory);
        (1..=6).for_each(|sequence| writer.append(&[change(sequence)]).unwrap());
        assert_eq!(loaded(&directory, 4), [5, 6]);
        assert_eq!(loaded(&directory, 6), [0; 0]);
    }

    #[test]
    fn a_segment_goes_when_its_last_change_is_in_the_snapshot() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = journal(&directory);
        writer.append(&[change(1), change(2)]).unwrap();
        writer.switch();
        writer.append(&[change(3)]).unwrap();
        writer.switch();
        for (sequence, left) in [(1, 2), (2, 1), (3, 0)] {
            writer.take_needless(sequence).remove();
            assert_eq!(names(&directory).len(), left);
        }
    }

    #[test]
    fn a_newer_segment_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let segment = directory.path().join("s.journal.0000000001");
        let payload = [&b"\x92\xad"[..], b"fanal journal", b"\x03"].concat();
        let mut bytes = vec![0xce, 0, 0, 0, 16, 0xce];
        let sum = crc32fast::hash(&[&[0, 0, 0, 16], &payload[..]].concat());
        bytes.extend(sum.to_be_bytes());
        bytes.extend(payload);
        fs::write(&segment, bytes).unwrap();
        let error = journal(&directory).load(0).unwrap_err().to_string();
        assert!(error.contains("newer fanal (format 3), this one reads format 2"), "{error}");
    }
}
