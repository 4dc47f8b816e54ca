//! What holds for every message, whoever made it up. The fuzz target uses this file too.
//!
//! The splitter is compared with a reader that is simple where the splitter is careful: it
//! recurses, believes what is claimed until the bytes run out, and takes the formats from another
//! table.

use fanal_actors::{Limits, SplitError, SplitRequest, split};
use rmp::Marker;

/// Only the depth is the splitter's; the others are asked when a field is decoded.
pub const LIMITS: Limits = Limits {
    payload_depth_max: 64,
    path_depth_max: 32,
    name_bytes_max: 1024,
    path_bytes_max: 8192,
    auth_bytes_max: 4096,
    reid_bytes_max: 1024,
};

/// The keys that mean something, in the order of `Fields`.
pub const KEYS: [&[u8]; 6] = [b"REID", b"AUTH", b"VERB", b"PATH", b"META", b"PAYL"];

pub type Fields<'m> = [Option<&'m [u8]>; 6];

/// Splits a message. Panics if that is not what the simple reader makes of it, or if something in
/// it are not the bytes that came.
pub fn split_and_check(message: &[u8]) -> Result<Fields<'_>, SplitError<'_>> {
    let split = split(message, &LIMITS).map(|request| fields(&request));
    let read = read_request(message);
    match &split {
        Ok(fields) => {
            assert_eq!(Some(fields), read.as_ref(), "of {}", hex(message));
            for field in fields.iter().flatten() {
                assert!(is_part_of(field, message), "a copy of {}", hex(field));
            }
        }
        Err(error) => {
            assert_eq!(None, read, "{} in {}", error.fault, hex(message));
            // Nil stands for a REID that was not found.
            let known = error.reid == [0xc0] || is_part_of(error.reid, message);
            assert!(known, "REID {} is not of {}", hex(error.reid), hex(message));
        }
    }
    split
}

/// Bytes for people: the first ones, and how many there are.
pub fn hex(bytes: &[u8]) -> String {
    let first: String = bytes.iter().take(80).map(|byte| format!("{byte:02x}")).collect();
    format!("{first} ({} bytes)", bytes.len())
}

fn fields<'m>(request: &SplitRequest<'m>) -> Fields<'m> {
    [request.reid, request.auth, request.verb, request.path, request.meta, request.payload]
}

/// Whether a field lies within the message's own memory, rather than merely being equal to a part.
fn is_part_of(field: &[u8], message: &[u8]) -> bool {
    let (message, field) = (message.as_ptr_range(), field.as_ptr_range());
    field.start < field.end && message.start <= field.start && field.end <= message.end
}

fn read_request(message: &[u8]) -> Option<Fields<'_>> {
    let mut rest = message;
    let Extent::Map(entries) = read_extent(&mut rest)? else { return None };
    let mut fields = Fields::default();
    for _ in 0..entries {
        let Extent::String(bytes) = read_extent(&mut rest)? else { return None };
        let key = take(&mut rest, bytes)?;
        let value = read_value(&mut rest, LIMITS.payload_depth_max)?;
        if let Some(known) = KEYS.iter().position(|known| *known == key) {
            let twice = fields.get_mut(known)?.replace(value);
            if twice.is_some() {
                return None;
            }
        }
    }
    rest.is_empty().then_some(fields)
}

/// Takes a value in which `depth` containers may be open at a time; empty ones are never open.
fn read_value<'m>(rest: &mut &'m [u8], depth: usize) -> Option<&'m [u8]> {
    let before = *rest;
    let values = match read_extent(rest)? {
        Extent::String(bytes) | Extent::Opaque(bytes) => {
            take(rest, bytes)?;
            0
        }
        Extent::Array(values) => values,
        Extent::Map(entries) => 2 * entries,
    };
    for _ in 0..values {
        read_value(rest, depth.checked_sub(1)?)?;
    }
    before.get(..before.len() - rest.len())
}

/// What follows the head of a value: so many bytes, values or entries.
enum Extent {
    String(usize),
    Opaque(usize),
    Array(usize),
    Map(usize),
}

fn read_extent(rest: &mut &[u8]) -> Option<Extent> {
    let format = *take(rest, 1)?.first()?;
    let mut number = |width| {
        let bytes = take(rest, width)?;
        Some(bytes.iter().fold(0, |number: usize, byte| number << 8 | usize::from(*byte)))
    };
    Some(match Marker::from_u8(format) {
        Marker::Reserved => return None,
        Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => {
            Extent::Opaque(0)
        }
        Marker::U8 | Marker::I8 => Extent::Opaque(1),
        Marker::U16 | Marker::I16 => Extent::Opaque(2),
        Marker::U32 | Marker::I32 | Marker::F32 => Extent::Opaque(4),
        Marker::U64 | Marker::I64 | Marker::F64 => Extent::Opaque(8),
        Marker::FixStr(bytes) => Extent::String(bytes.into()),
        Marker::Str8 => Extent::String(number(1)?),
        Marker::Str16 => Extent::String(number(2)?),
        Marker::Str32 => Extent::String(number(4)?),
        Marker::Bin8 => Extent::Opaque(number(1)?),
        Marker::Bin16 => Extent::Opaque(number(2)?),
        Marker::Bin32 => Extent::Opaque(number(4)?),
        // An extension has a byte for its type in front of its data.
        Marker::FixExt1 => Extent::Opaque(1 + 1),
        Marker::FixExt2 => Extent::Opaque(1 + 2),
        Marker::FixExt4 => Extent::Opaque(1 + 4),
        Marker::FixExt8 => Extent::Opaque(1 + 8),
        Marker::FixExt16 => Extent::Opaque(1 + 16),
        Marker::Ext8 => Extent::Opaque(1 + number(1)?),
        Marker::Ext16 => Extent::Opaque(1 + number(2)?),
        Marker::Ext32 => Extent::Opaque(1 + number(4)?),
        Marker::FixArray(values) => Extent::Array(values.into()),
        Marker::Array16 => Extent::Array(number(2)?),
        Marker::Array32 => Extent::Array(number(4)?),
        Marker::FixMap(entries) => Extent::Map(entries.into()),
        Marker::Map16 => Extent::Map(number(2)?),
        Marker::Map32 => Extent::Map(number(4)?),
    })
}

fn take<'m>(rest: &mut &'m [u8], bytes: usize) -> Option<&'m [u8]> {
    let (taken, left) = rest.split_at_checked(bytes)?;
    *rest = left;
    Some(taken)
}
