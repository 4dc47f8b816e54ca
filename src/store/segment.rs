//! The bytes of one journal segment: a list of records, each with its length and checksum.
//!
//! One append is one record, so that what a power cut leaves of an append is one bad record at the
//! end. A good record after a bad one therefore means that the disk changed what it had confirmed.

use std::io;

use fanal_actors::ports::Change;

use super::codec::{Reader, write_change};
use super::msgpack::{
    Decoder, Fault, UINT_32, write_array, write_number, write_number_of_four_bytes, write_text,
};

/// The first value in a segment's first record.
const MAGIC: &str = "fanal journal";
/// The newest format that this code reads, and the one it writes.
pub(super) const FORMAT: u64 = 2;
/// Length and checksum, each a MessagePack integer of five bytes.
const HEAD_BYTES: usize = 10;
/// The search for good records after a bad one computes checksums over at most this much: a value
/// that looks like many records must not keep the broker from starting.
const SEARCH_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The record that every segment begins with.
pub(super) fn header() -> io::Result<Vec<u8>> {
    let mut payload = Vec::new();
    write_array(&mut payload, 2)?;
    write_text(&mut payload, MAGIC)?;
    write_number(&mut payload, FORMAT);
    record(&payload)
}

/// The record of one append.
pub(super) fn changes_record(changes: &[Change]) -> io::Result<Vec<u8>> {
    let mut payload = Vec::new();
    write_array(&mut payload, changes.len())?;
    changes.iter().try_for_each(|change| write_change(&mut payload, change))?;
    record(&payload)
}

fn record(payload: &[u8]) -> io::Result<Vec<u8>> {
    let Ok(length) = u32::try_from(payload.len()) else {
        let text = format!("{} bytes are more than one record can hold", payload.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    };
    let mut bytes = Vec::with_capacity(HEAD_BYTES + payload.len());
    write_number_of_four_bytes(&mut bytes, length);
    write_number_of_four_bytes(&mut bytes, checksum(length, payload));
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

fn checksum(length: u32, payload: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&length.to_be_bytes());
    checksum.update(payload);
    checksum.finalize()
}

/// What is in a segment.
#[derive(Debug)]
pub(super) struct Contents {
    /// The changes of the good records before the first bad one.
    pub(super) changes: Vec<Change>,
    /// How many bytes those records take, the header included.
    pub(super) good_bytes: usize,
    /// What follows them.
    pub(super) end: End,
}

/// What follows the good records of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing.
    Clean,
    /// A bad record, and no good one after it: an append that did not finish.
    Torn,
    /// A bad record, and good ones after it: data that was durable has changed.
    Damaged,
    /// Records of a format that this code does not know.
    Newer {
        /// The format.
        format: u64,
    },
}

/// Reads a segment.
pub(super) fn read(bytes: &[u8]) -> Contents {
    let mut contents = Contents { changes: Vec::new(), good_bytes: 0, end: End::Clean };
    let mut rest = bytes;
    while !rest.is_empty() {
        let is_first = contents.good_bytes == 0;
        let Some(taken) = take_record(rest).and_then(|(payload, after)| {
            if is_first {
                return header_format(payload).map(|format| (Taken::Header { format }, after));
            }
            changes_of(payload).ok().map(|changes| (Taken::Changes(changes), after))
        }) else {
            let is_damaged = holds_record(rest.get(1..).unwrap_or_default());
            contents.end = if is_damaged { End::Damaged } else { End::Torn };
            break;
        };
        rest = match taken {
            (Taken::Header { format }, _) if format > FORMAT => {
                contents.end = End::Newer { format };
                break;
            }
            (Taken::Header { .. }, after) => after,
            (Taken::Changes(mut changes), after) => {
                contents.changes.append(&mut changes);
                after
            }
        };
        contents.good_bytes = bytes.len() - rest.len();
    }
    contents
}

/// A record that was understood.
enum Taken {
    Header { format: u64 },
    Changes(Vec<Change>),
}

/// The payload of the record that these bytes begin with, and the bytes after it.
fn take_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let [UINT_32, length @ .., UINT_32, s0, s1, s2, s3] = head else { return None };
    let length = u32::from_be_bytes(*length.first_chunk()?);
    let (payload, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let expected = u32::from_be_bytes([*s0, *s1, *s2, *s3]);
    (!payload.is_empty() && checksum(length, payload) == expected).then_some((payload, after))
}

fn header_format(payload: &[u8]) -> Option<u64> {
    let mut input = Decoder::new(payload, u64::try_from(payload.len()).ok()?);
    let is_ours = input.array().ok()? >= 2 && input.text().ok()? == MAGIC;
    if is_ours { input.number().ok().filter(|format| *format > 0) } else { None }
}

fn changes_of(payload: &[u8]) -> Result<Vec<Change>, Fault> {
    let mut reader = Reader::new(payload, u64::try_from(payload.len()).unwrap_or(u64::MAX));
    let mut changes = Vec::new();
    for _ in 0..reader.input.array()? {
        changes.push(reader.change()?);
    }
    match reader.input.left_bytes() {
        0 => Ok(changes),
        left => Err(Fault::damaged(format!("{left} bytes follow the changes of a record"))),
    }
}

/// Whether a good record begins anywhere in these bytes.
fn holds_record(bytes: &[u8]) -> bool {
    let mut search_bytes = 0;
    let mut rest = bytes;
    while let (Some(head), Some((_, after))) =
        (rest.first_chunk::<HEAD_BYTES>(), rest.split_first())
    {
        let [first, a, b, c, d, second, ..] = *head;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let is_candidate = first == UINT_32 && second == UINT_32 && length <= rest.len();
        if is_candidate && take_record(rest).is_some() {
            return true;
        }
        if is_candidate {
            search_bytes += length;
        }
        if search_bytes > SEARCH_BYTES_MAX {
            log::warn!("the search for good records behind a bad one was given up");
            return false;
        }
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use fanal_actors::ports::ChangeKind;
    use fanal_actors::{Class, Path, Value};

    use super::*;

    fn change(sequence: u64) -> Change {
        let path = Path::new(["a", "b"]);
        let source = Path::new(["c"]);
        let kind = match sequence % 5 {
            0 => ChangeKind::CreateResource {
                path,
                number: 0,
                class: sequence.is_multiple_of(2).then_some(Class::Live),
                value: Value::copy_from(&[1, 2, 3]),
            },
            1 => ChangeKind::CreateDirectory { path },
            2 => ChangeKind::Delete { path },
            3 => ChangeKind::Link { source, destination: path },
            _ => ChangeKind::Unlink { source, destination: path },
        };
        Change { sequence, kind }
    }

    /// A segment of three appends, and where each of its records ends.
    fn segment() -> (Vec<u8>, Vec<usize>, Vec<Change>) {
        let changes: Vec<Change> = (1..=6).map(change).collect();
        let mut bytes = header().unwrap();
        let mut ends = vec![bytes.len()];
        for batch in [&changes[..1], &changes[1..5], &changes[5..]] {
            bytes.extend(changes_record(batch).unwrap());
            ends.push(bytes.len());
        }
        (bytes, ends, changes)
    }

    /// The changes in the first this many records, the header counted.
    fn changes_in(records: usize) -> usize {
        [0, 0, 1, 5, 6][records]
    }

    #[test]
    fn a_segment_reads_back() {
        let (bytes, _, changes) = segment();
        let contents = read(&bytes);
        assert_eq!(contents.changes, changes);
        assert_eq!((contents.good_bytes, contents.end), (bytes.len(), End::Clean));
    }

    #[test]
    fn every_truncation_keeps_the_records_before_it() {
        let (bytes, ends, changes) = segment();
        for length in 0..bytes.len() {
            let contents = read(&bytes[..length]);
            let records = ends.iter().filter(|end| **end <= length).count();
            assert_eq!(contents.changes, changes[..changes_in(records)], "{length}");
            let is_clean = length == 0 || ends.contains(&length);
            assert_eq!(contents.end, if is_clean { End::Clean } else { End::Torn }, "{length}");
        }
    }

    #[test]
    fn every_changed_byte_keeps_the_records_before_it() {
        let (bytes, ends, changes) = segment();
        for position in 0..bytes.len() {
            for bits in 1..=255 {
                let mut changed = bytes.clone();
                changed[position] ^= bits;
                let contents = read(&changed);
                let records = ends.iter().filter(|end| **end <= position).count();
                assert_eq!(contents.changes, changes[..changes_in(records)], "{position}");
                let is_last = records + 1 == ends.len();
                let end = if is_last { End::Torn } else { End::Damaged };
                assert_eq!(contents.end, end, "{position} {bits}");
            }
        }
    }

    #[test]
    fn zeros_after_the_records_are_a_torn_tail() {
        let (mut bytes, _, changes) = segment();
        let good_bytes = bytes.len();
        bytes.extend([0; 4096]);
        let contents = read(&bytes);
        assert_eq!(contents.changes, changes);
        assert_eq!((contents.good_bytes, contents.end), (good_bytes, End::Torn));
    }

    #[test]
    fn a_record_inside_a_value_is_never_taken_for_a_record() {
        let inner = changes_record(&[change(99)]).unwrap();
        let path = Path::new(["x"]);
        let kind = ChangeKind::CreateResource {
            path,
            number: 0,
            class: None,
            value: Value::copy_from(&inner),
        };
        let mut bytes = header().unwrap();
        bytes.extend(changes_record(&[Change { sequence: 1, kind }]).unwrap());
        bytes.pop();
        bytes.push(0);
        bytes.extend([0; 20]);
        assert_eq!(read(&bytes).changes, []);
    }

    #[test]
    fn a_newer_format_is_told_apart_from_damage() {
        let mut payload = Vec::new();
        write_array(&mut payload, 3).unwrap();
        write_text(&mut payload, MAGIC).unwrap();
        write_number(&mut payload, 3);
        write_number(&mut payload, 5);
        let bytes = record(&payload).unwrap();
        assert_eq!(read(&bytes).end, End::Newer { format: 3 });
    }

    #[test]
    fn a_record_that_does_not_decode_is_bad_though_its_checksum_matches() {
        let mut bytes = header().unwrap();
        bytes.extend(record(&[0xdd, 0xff, 0xff, 0xff, 0xff]).unwrap());
        let contents = read(&bytes);
        assert_eq!((contents.changes.len(), contents.end), (0, End::Torn));
    }

    #[test]
    fn many_bytes_that_look_like_records_are_searched_in_bounded_time() {
        let mut bytes = header().unwrap();
        for _ in 0..200_000 {
            bytes.extend([UINT_32, 0, 0x10, 0, 0, UINT_32, 1, 2, 3, 4]);
        }
        assert_eq!(read(&bytes).end, End::Torn);
    }
}
