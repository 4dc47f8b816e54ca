//! Messages made up by proptest: right ones in every encoding there is, and bytes that look like
//! parts of messages.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::check::KEYS;

/// A request, and what each field in it is.
#[derive(Clone, Debug)]
pub struct Message {
    pub bytes: Vec<u8>,
    pub fields: [Option<Vec<u8>>; 6],
}

/// Any valid request: any of the fields with any value each, other keys, in any order and encoding.
pub fn request() -> impl Strategy<Value = Message> {
    let known = KEYS.map(|key| (Just(key.to_vec()), proptest::option::of(value())));
    let unknown = vec((unknown_key(), value()), 0..4);
    let widths = (vec(any::<prop::sample::Index>(), 16), any::<prop::sample::Index>());
    (known, unknown, widths)
        .prop_flat_map(|(known, unknown, widths)| {
            let fields = known.clone().map(|(_, value)| value);
            let present = known.into_iter().filter_map(|(key, value)| Some((key, value?)));
            let entries: Vec<_> = present.chain(unknown).collect();
            (Just(fields), Just(entries).prop_shuffle(), Just(widths))
        })
        .prop_map(|(fields, entries, (key_widths, map_width))| {
            let mut bytes = pick(&heads(Kind::Map, entries.len()), map_width);
            for ((key, value), width) in entries.iter().zip(key_widths) {
                bytes.extend(pick(&heads(Kind::String, key.len()), width));
                bytes.extend(key);
                bytes.extend(value);
            }
            Message { bytes, fields }
        })
}

/// Any value: scalars, strings, extensions, and a few of them inside one another.
pub fn value() -> impl Strategy<Value = Vec<u8>> {
    scalar().prop_recursive(4, 24, 4, |inner| {
        let array = vec(inner.clone(), 0..5)
            .prop_flat_map(|values| container(Kind::Array, values.len(), values));
        let map = vec((inner.clone(), inner), 0..4).prop_flat_map(|entries| {
            let values = entries.iter().flat_map(|(key, value)| [key.clone(), value.clone()]);
            container(Kind::Map, entries.len(), values.collect())
        });
        prop_oneof![array, map]
    })
}

/// A value inside so many containers, at any place in each of them.
pub fn nested(levels: usize) -> impl Strategy<Value = Vec<u8>> {
    let level = (any::<bool>(), vec(scalar(), 0..2), vec(scalar(), 0..2), any::<[bool; 2]>());
    (scalar(), vec(level, levels)).prop_map(|(innermost, levels)| {
        levels.into_iter().fold(innermost, |inner, (is_map, before, after, [long, wide])| {
            let mut values = [before, vec![inner], after].concat();
            if is_map && values.len() % 2 == 1 {
                values.push(vec![0xc0]);
            }
            let (kind, count) =
                if is_map { (Kind::Map, values.len() / 2) } else { (Kind::Array, values.len()) };
            let heads = heads(kind, count);
            let head = &heads[usize::from(long) + usize::from(wide)];
            [head.clone(), values.concat()].concat()
        })
    })
}

/// Bytes of which many are parts of a message, so that they lead further into the splitter than
/// random ones would.
pub fn soup() -> impl Strategy<Value = Vec<u8>> {
    let key = select(&KEYS[..]).prop_map(|key| [&[0xa4], key].concat());
    let head = select(&[0x80, 0x81, 0x82, 0x86, 0x90, 0x91, 0x9f, 0xdc, 0xdd, 0xde, 0xdf][..]);
    let piece = prop_oneof![
        3 => key,
        2 => head.prop_map(|head| vec![head]),
        2 => value(),
        1 => vec(any::<u8>(), 0..6),
    ];
    (0x80..=0x8f_u8, vec(piece, 0..24)).prop_map(|(head, pieces)| {
        let mut bytes = pieces.concat();
        bytes.insert(0, head);
        bytes
    })
}

fn scalar() -> impl Strategy<Value = Vec<u8>> {
    let number = |format: u8, width: usize| {
        vec(any::<u8>(), width).prop_map(move |bytes| [&[format], &bytes[..]].concat())
    };
    let sized = |kind: Kind| {
        let bytes = prop_oneof![9 => vec(any::<u8>(), 0..40), 1 => vec(any::<u8>(), 250..300)];
        bytes.prop_flat_map(move |bytes| {
            let data = if kind == Kind::Extension { bytes.get(1..).unwrap_or(&[]) } else { &bytes };
            let tag = if kind == Kind::Extension { &[0x85][..] } else { &[] };
            let data = [tag, data].concat();
            let size = data.len() - tag.len();
            select(heads(kind, size)).prop_map(move |head| [head, data.clone()].concat())
        })
    };
    let single = prop_oneof![0x00..=0x7f_u8, 0xe0..=0xff_u8, select(&[0xc0, 0xc2, 0xc3][..])];
    prop_oneof![
        4 => single.prop_map(|byte| vec![byte]),
        1 => number(0xca, 4),
        1 => number(0xcb, 8),
        1 => number(0xcc, 1),
        1 => number(0xcd, 2),
        1 => number(0xce, 4),
        1 => number(0xcf, 8),
        1 => number(0xd0, 1),
        1 => number(0xd1, 2),
        1 => number(0xd2, 4),
        1 => number(0xd3, 8),
        4 => sized(Kind::String),
        2 => sized(Kind::Binary),
        2 => sized(Kind::Extension),
    ]
}

fn container(kind: Kind, count: usize, values: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let values = values.concat();
    select(heads(kind, count)).prop_map(move |head| [head, values.clone()].concat())
}

/// A key that means nothing to the splitter, often one that nearly does.
fn unknown_key() -> impl Strategy<Value = Vec<u8>> {
    const NEAR: &[&[u8]] = &[b"reid", b"REI", b"REID\0", b" PAYL", b"", b"RNUM", b"verb"];
    let any = vec(any::<u8>(), 0..60).prop_filter("a known key", |key| !KEYS.contains(&&key[..]));
    prop_oneof![select(NEAR).prop_map(<[u8]>::to_vec), any]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    String,
    Binary,
    Extension,
    Array,
    Map,
}

/// Every way to write the head of such a value with so many bytes, values or entries, the shortest
/// first. The type of an extension is not part of it.
fn heads(kind: Kind, count: usize) -> Vec<Vec<u8>> {
    // The format that carries the count itself and the largest count, then those with 1, 2 and 4
    // bytes for it.
    let (fixed, fixed_max, wide): (u8, usize, [Option<u8>; 3]) = match kind {
        Kind::String => (0xa0, 31, [Some(0xd9), Some(0xda), Some(0xdb)]),
        Kind::Array => (0x90, 15, [None, Some(0xdc), Some(0xdd)]),
        Kind::Map => (0x80, 15, [None, Some(0xde), Some(0xdf)]),
        Kind::Binary => (0, 0, [Some(0xc4), Some(0xc5), Some(0xc6)]),
        Kind::Extension => (0, 0, [Some(0xc7), Some(0xc8), Some(0xc9)]),
    };
    let mut heads = Vec::new();
    if fixed != 0 && count <= fixed_max {
        heads.push(vec![fixed + u8::try_from(count).unwrap()]);
    }
    if kind == Kind::Extension && [1, 2, 4, 8, 16].contains(&count) {
        heads.push(vec![0xd4 + u8::try_from(count.trailing_zeros()).unwrap()]);
    }
    for (format, width) in wide.into_iter().zip([1, 2, 4]) {
        let number = u32::try_from(count).unwrap().to_be_bytes();
        let (cut, kept) = number.split_at(4 - width);
        if let Some(format) = format.filter(|_| cut.iter().all(|byte| *byte == 0)) {
            heads.push([&[format], kept].concat());
        }
    }
    heads
}

fn pick(heads: &[Vec<u8>], index: prop::sample::Index) -> Vec<u8> {
    index.get(heads).clone()
}
