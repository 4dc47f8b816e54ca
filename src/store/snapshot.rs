//! One snapshot file: written as a stream, checked as a whole before anything in it is believed.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path as FilePath;

use fanal_actors::ports::{SaveReport, Snapshot, SnapshotItem};

use super::codec::{ITEM_END, Next, Reader, write_item};
use super::msgpack::{
    Decoder, Fault, UINT_32, write_array, write_number, write_number_of_four_bytes, write_text,
};

/// The first value in a snapshot's header.
pub(super) const MAGIC: &str = "fanal snapshot";
/// The newest format that this code reads, and the one it writes.
pub(super) const FORMAT: u64 = 2;
/// The oldest format that this code reads; it has no classes.
const FORMAT_OLDEST: u64 = 1;

/// The checksum at the end of a file, marker included.
const CHECKSUM_BYTES: usize = 5;
/// Written to the file in pieces of at least this size.
const BUFFER_BYTES: usize = 256 * 1024;
/// Handed to the disk at least this often: an append to the journal meanwhile waits for a few
/// megabytes, not for the whole snapshot.
const SYNC_BYTES: usize = 4 * 1024 * 1024;

/// Writes a snapshot to this file, durably but for the file's name.
pub(super) fn write(file: &FilePath, snapshot: Snapshot<'_>) -> io::Result<SaveReport> {
    write_to(File::create(file)?, snapshot)
}

/// Where a snapshot can be written to.
pub trait Sink: Write {
    /// Makes what was written durable; its metadata too if it is the end.
    ///
    /// # Errors
    /// If it may not be durable.
    fn sync(&mut self, is_end: bool) -> io::Result<()>;
}

impl Sink for File {
    fn sync(&mut self, is_end: bool) -> io::Result<()> {
        if is_end { self.sync_all() } else { self.sync_data() }
    }
}

/// Writes a snapshot.
///
/// # Errors
/// If it cannot be written as a whole.
pub fn write_to<S: Sink>(sink: S, snapshot: Snapshot<'_>) -> io::Result<SaveReport> {
    let mut out = Output::new(sink);
    write_array(&mut out.buffer, 3)?;
    write_text(&mut out.buffer, MAGIC)?;
    write_number(&mut out.buffer, FORMAT);
    write_number(&mut out.buffer, snapshot.sequence);
    let mut items: u64 = 0;
    let mut resources: u64 = 0;
    for item in snapshot.items {
        write_item(&mut out.buffer, &item)?;
        items += 1;
        resources += u64::from(matches!(item, SnapshotItem::Resource { .. }));
        out.flush_if_full()?;
    }
    write_array(&mut out.buffer, 3)?;
    write_number(&mut out.buffer, ITEM_END);
    write_number(&mut out.buffer, items);
    Ok(SaveReport { resources, bytes: out.finish()? })
}

/// A file that is written in large pieces, with a checksum over all of it.
struct Output<S> {
    sink: S,
    /// Encoded, not yet written.
    buffer: Vec<u8>,
    /// Over everything that has left the buffer.
    checksum: crc32fast::Hasher,
    written_bytes: u64,
    unsynced_bytes: usize,
}

impl<S: Sink> Output<S> {
    fn new(sink: S) -> Self {
        let checksum = crc32fast::Hasher::new();
        let buffer = Vec::with_capacity(2 * BUFFER_BYTES);
        Output { sink, buffer, checksum, written_bytes: 0, unsynced_bytes: 0 }
    }

    fn flush_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() < BUFFER_BYTES {
            return Ok(());
        }
        self.checksum.update(&self.buffer);
        self.write_buffer()?;
        if self.unsynced_bytes >= SYNC_BYTES {
            self.sink.sync(false)?;
            self.unsynced_bytes = 0;
        }
        Ok(())
    }

    /// Ends the file with the checksum, and returns the file's size.
    fn finish(mut self) -> io::Result<u64> {
        self.checksum.update(&self.buffer);
        let checksum = self.checksum.clone().finalize();
        write_number_of_four_bytes(&mut self.buffer, checksum);
        self.write_buffer()?;
        self.sink.sync(true)?;
        Ok(self.written_bytes)
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        self.sink.write_all(&self.buffer)?;
        self.unsynced_bytes += self.buffer.len();
        self.written_bytes += u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        self.buffer.clear();
        // One very large value must not keep its memory until the end.
        self.buffer.shrink_to(2 * BUFFER_BYTES);
        Ok(())
    }
}

/// What a snapshot file turned out to be.
#[derive(Debug)]
pub(super) enum Found {
    /// There is no such file.
    Missing,
    /// A good snapshot.
    Good {
        /// What it holds, in the order in which it was written.
        items: Vec<SnapshotItem>,
        /// The sequence of the last change that it contains.
        sequence: u64,
    },
    /// Intact, but of a format that this code does not know.
    Newer {
        /// The format.
        format: u64,
    },
    /// A snapshot of the original server, beacon.
    Beacon,
    /// Anything else; the text says what is wrong.
    Damaged(String),
}

/// Reads a snapshot file.
pub(super) fn read(path: &FilePath) -> io::Result<Found> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
        Err(error) => return Err(error),
    };
    let length_bytes = file.metadata()?.len();
    match read_checked(file, length_bytes) {
        Ok(found) => Ok(found),
        Err(Fault::Damaged(text)) => Ok(Found::Damaged(text)),
        Err(Fault::Io(error)) => Err(error),
    }
}

/// Reads a snapshot that is in memory.
pub(super) fn read_bytes(bytes: &[u8]) -> Found {
    match read_checked(io::Cursor::new(bytes), bytes.len() as u64) {
        Ok(found) => found,
        Err(Fault::Damaged(text)) => Found::Damaged(text),
        Err(Fault::Io(error)) => Found::Damaged(error.to_string()),
    }
}

fn read_checked<F: Read + Seek>(mut file: F, length_bytes: u64) -> Result<Found, Fault> {
    if is_from_beacon(&mut file, length_bytes)? {
        return Ok(Found::Beacon);
    }
    file.rewind()?;
    check_sum(&mut file, length_bytes)?;
    file.rewind()?;
    let mut reader = Reader::new(BufReader::with_capacity(BUFFER_BYTES, file), length_bytes);
    let parts = reader.input.array()?;
    if parts != 3 || reader.input.text()? != MAGIC {
        return Err(Fault::damaged("it does not begin like a snapshot"));
    }
    let format = reader.input.number()?;
    if format > FORMAT {
        return Ok(Found::Newer { format });
    }
    if format < FORMAT_OLDEST {
        return Err(Fault::damaged(format!("there is no format {format}")));
    }
    let sequence = reader.input.number()?;
    let items = read_items(&mut reader)?;
    Ok(Found::Good { items, sequence })
}

fn read_items<R: Read>(reader: &mut Reader<R>) -> Result<Vec<SnapshotItem>, Fault> {
    let mut items = Vec::new();
    while let Next::Item(item) = reader.item()? {
        items.push(item);
    }
    let claimed = reader.input.number()?;
    if usize::try_from(claimed) != Ok(items.len()) {
        let found = items.len();
        return Err(Fault::damaged(format!("it holds {found} items and claims {claimed}")));
    }
    reader.input.number()?;
    match reader.input.left_bytes() {
        0 => Ok(items),
        left => Err(Fault::damaged(format!("{left} bytes follow its end"))),
    }
}

/// Compares the checksum that ends the file with the bytes before it.
fn check_sum<F: Read>(file: &mut F, length_bytes: u64) -> Result<(), Fault> {
    let trailer_bytes = u64::try_from(CHECKSUM_BYTES).unwrap_or(u64::MAX);
    let Some(body_bytes) = length_bytes.checked_sub(trailer_bytes) else {
        return Err(Fault::damaged(format!("it has only {length_bytes} bytes")));
    };
    let mut checksum = crc32fast::Hasher::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut body = file.by_ref().take(body_bytes);
    loop {
        let count = body.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        checksum.update(buffer.get(..count).unwrap_or_default());
    }
    if body.limit() > 0 {
        return Err(Fault::damaged("it ends too early"));
    }
    let mut trailer = [0; CHECKSUM_BYTES];
    file.read_exact(&mut trailer)?;
    let [marker, sum @ ..] = trailer;
    if marker == UINT_32 && u32::from_be_bytes(sum) == checksum.finalize() {
        Ok(())
    } else {
        Err(Fault::damaged("its checksum does not match, so it is cut short or changed"))
    }
}

/// Whether the file has the shape of the original server's: one map whose keys are paths.
fn is_from_beacon<F: Read + Seek>(file: &mut F, length_bytes: u64) -> Result<bool, Fault> {
    let mut start = [0; 5];
    let count = file.by_ref().take(5).read(&mut start)?;
    let (entries, head_bytes) = match start.get(..count).unwrap_or_default() {
        [marker @ 0x80..=0x8f, ..] => (u64::from(marker & 0x0f), 1),
        [0xde, a, b, ..] => (u64::from(u16::from_be_bytes([*a, *b])), 3),
        [0xdf, a, b, c, d] => (u64::from(u32::from_be_bytes([*a, *b, *c, *d])), 5),
        _ => return Ok(false),
    };
    if entries == 0 {
        return Ok(length_bytes == head_bytes);
    }
    file.seek(io::SeekFrom::Start(head_bytes))?;
    let mut first_key = Decoder::new(file, length_bytes - head_bytes);
    match first_key.text() {
        // One changed bit turns our own first byte, an array's, into a map's.
        Ok(key) => Ok(key != MAGIC),
        Err(Fault::Damaged(_)) => Ok(false),
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use fanal_actors::{Class, Path, Value};

    use super::*;

    fn items() -> Vec<SnapshotItem> {
        let ann = Path::new(["user", "ann"]);
        let model = Path::new(["user", "ann", "model"]);
        vec![
            SnapshotItem::Directory { path: Path::new(["user"]) },
            SnapshotItem::Directory { path: ann },
            SnapshotItem::Resource {
                path: model.clone(),
                number: 0,
                class: None,
                value: Value::copy_from(&[1]),
            },
            SnapshotItem::Resource {
                path: Path::new(["", "ü/"]),
                number: 0,
                class: Some(Class::Event),
                value: Value::nil(),
            },
            SnapshotItem::Link { source: model, destination: Path::new(["", "ü/"]) },
        ]
    }

    fn bytes_of(items: Vec<SnapshotItem>, sequence: u64) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("snapshot");
        let report = write(&file, Snapshot { sequence, items: Box::new(items.into_iter()) });
        let bytes = fs::read(&file).unwrap();
        assert_eq!(report.unwrap().bytes, bytes.len() as u64);
        bytes
    }

    /// Gives these bytes, except the last five, a checksum that matches.
    fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.truncate(bytes.len() - CHECKSUM_BYTES);
        let sum = crc32fast::hash(&bytes);
        write_number_of_four_bytes(&mut bytes, sum);
        bytes
    }

    #[test]
    fn a_snapshot_reads_back_as_it_was_written() {
        match read_bytes(&bytes_of(items(), 77)) {
            Found::Good { items: found, sequence: 77 } => assert_eq!(found, items()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_snapshot_of_many_buffers_reads_back() {
        let many: Vec<SnapshotItem> = (0..3000)
            .map(|number| SnapshotItem::Resource {
                number: 0,
                class: None,
                path: Path::new([number.to_string()]),
                value: Value::copy_from(&vec![7; if number == 5 { 3_000_000 } else { 3000 }]),
            })
            .collect();
        match read_bytes(&bytes_of(many.clone(), 1)) {
            Found::Good { items: found, sequence: 1 } => assert!(found == many),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_truncation_is_noticed() {
        let bytes = bytes_of(items(), 77);
        for length in 0..bytes.len() {
            let found = read_bytes(&bytes[..length]);
            assert!(matches!(found, Found::Damaged(_)), "{length}: {found:?}");
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let bytes = bytes_of(items(), 77);
        for position in 0..bytes.len() {
            for change in 1..=255 {
                let mut changed = bytes.clone();
                changed[position] ^= change;
                let found = read_bytes(&changed);
                assert!(matches!(found, Found::Damaged(_)), "{position} {change}: {found:?}");
            }
        }
    }

    #[test]
    fn a_changed_byte_under_a_checksum_that_matches_does_no_harm() {
        let bytes = bytes_of(items(), 77);
        for position in 0..bytes.len() - CHECKSUM_BYTES {
            for byte in 0..=255 {
                let mut changed = bytes.clone();
                changed[position] = byte;
                read_bytes(&resealed(changed));
            }
        }
    }

    #[test]
    fn trailing_bytes_are_noticed() {
        let mut bytes = bytes_of(items(), 77);
        bytes.push(0xc0);
        assert!(matches!(read_bytes(&bytes), Found::Damaged(_)));
        bytes.extend_from_slice(&[0; CHECKSUM_BYTES]);
        assert!(matches!(read_bytes(&resealed(bytes)), Found::Damaged(_)));
    }

    #[test]
    fn a_snapshot_of_the_format_before_is_read() {
        let old: Vec<SnapshotItem> = items()
            .into_iter()
            .map(|item| match item {
                SnapshotItem::Resource { path, number, value, .. } => {
                    SnapshotItem::Resource { path, number, class: None, value }
                }
                other => other,
            })
            .collect();
        let mut bytes = bytes_of(old.clone(), 77);
        bytes[16] = 1;
        let Found::Good { items, sequence: 77 } = read_bytes(&resealed(bytes)) else {
            panic!("it is not read");
        };
        assert_eq!(items, old);
    }

    #[test]
    fn a_newer_format_is_told_apart_from_damage() {
        let mut bytes = bytes_of(items(), 77);
        assert_eq!(bytes[16], 2);
        bytes[16] = 3;
        assert!(matches!(read_bytes(&resealed(bytes.clone())), Found::Newer { format: 3 }));
        bytes[16] = 0;
        assert!(matches!(read_bytes(&resealed(bytes)), Found::Damaged(_)));
    }

    #[test]
    fn the_original_servers_file_is_known_by_its_shape() {
        assert!(matches!(read_bytes(b"\x80"), Found::Beacon));
        assert!(matches!(read_bytes(b"\x81\xa3a/b\x01"), Found::Beacon));
        assert!(matches!(read_bytes(b"\xde\x00\x10\xa1a\x01"), Found::Beacon));
        assert!(matches!(read_bytes(b"\xdf\x00\x00\x00\x01\xa1a\xc0"), Found::Beacon));
        for bytes in [&b"\x80\xc0"[..], b"\x81\x01\x01", b"\xde\x00", b"\x81", b"", b"text"] {
            assert!(matches!(read_bytes(bytes), Found::Damaged(_)), "{bytes:?}");
        }
    }

    #[test]
    fn a_full_disk_is_an_error_of_the_save() {
        let items = Box::new(items().into_iter());
        let error = write(FilePath::new("/dev/full"), Snapshot { sequence: 1, items });
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
