//! The splitter under every message there may be: made up, broken, and recorded from real clients.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod check;
mod messages;

use std::fs;
use std::path::Path;

use fanal_actors::{Fault, SplitError};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use check::{KEYS, LIMITS, hex, split_and_check};
use messages::{nested, request, soup};

/// A message with nothing but this payload.
fn with_payload(payload: &[u8]) -> Vec<u8> {
    [b"\x81\xa4PAYL", payload].concat()
}

/// Splits a message and returns by how much the memory in use grew: at the most, and in all.
fn allocated_bytes(message: &[u8]) -> (u64, u64) {
    let measured = allocation_counter::measure(|| {
        // The optimiser must not know that nobody looks at what comes of it.
        let _ = std::hint::black_box(fanal_actors::split(message, &LIMITS));
    });
    (measured.bytes_max, measured.bytes_total)
}

/// A container that is open takes eight bytes, in a vector that doubles, and for a moment has its
/// old contents and its new ones. Each field that nests deeply has such a vector of its own.
fn check_memory(message: &[u8]) {
    let (at_once, in_all) = allocated_bytes(message);
    let bytes = message.len() as u64;
    let depth_max = LIMITS.payload_depth_max as u64;
    assert!(at_once <= 24 * depth_max.min(bytes), "{at_once} bytes at once: {}", hex(message));
    assert!(in_all <= 24 * bytes, "{in_all} bytes in all: {}", hex(message));
}

proptest! {
    #[test]
    fn random_bytes_neither_panic_nor_become_what_they_are_not(
        message in vec(any::<u8>(), 0..300),
    ) {
        let _ = split_and_check(&message);
        check_memory(&message);
    }

    #[test]
    fn pieces_of_messages_neither_panic_nor_become_what_they_are_not(message in soup()) {
        let _ = split_and_check(&message);
        check_memory(&message);
    }

    #[test]
    fn every_field_of_a_request_is_the_bytes_that_came(message in request()) {
        let split = split_and_check(&message.bytes);
        let fields = split.expect("a request is a request");
        prop_assert_eq!(fields.map(|field| field.map(<[u8]>::to_vec)), message.fields);
        check_memory(&message.bytes);
    }

    #[test]
    fn a_request_with_one_byte_changed_is_another_request_or_none(
        message in request(), place in any::<Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = message.bytes;
        *place.get_mut(&mut bytes) = byte;
        let _ = split_and_check(&bytes);
        check_memory(&bytes);
    }

    #[test]
    fn a_request_with_one_byte_more_is_another_request_or_none(
        message in request(), place in any::<Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = message.bytes;
        bytes.insert(place.index(bytes.len() + 1), byte);
        let _ = split_and_check(&bytes);
        check_memory(&bytes);
    }

    #[test]
    fn a_request_with_one_byte_less_is_another_request_or_none(
        message in request(), place in any::<Index>(),
    ) {
        let mut bytes = message.bytes;
        bytes.remove(place.index(bytes.len()));
        let _ = split_and_check(&bytes);
        check_memory(&bytes);
    }

    #[test]
    fn a_request_that_ends_early_is_refused(message in request(), end in any::<Index>()) {
        let bytes = &message.bytes[..end.index(message.bytes.len())];
        let error = split_and_check(bytes).expect_err("a part of a request is none");
        prop_assert_eq!(error.fault, Fault::Truncated);
    }

    #[test]
    fn a_field_may_nest_up_to_the_limit(payload in nested(LIMITS.payload_depth_max)) {
        let message = with_payload(&payload);
        let fields = split_and_check(&message).expect("the limit is allowed");
        prop_assert_eq!(fields[5], Some(&payload[..]));
        check_memory(&message);
    }

    #[test]
    fn a_field_may_not_nest_beyond_the_limit(payload in nested(LIMITS.payload_depth_max + 1)) {
        let message = with_payload(&payload);
        let refused = split_and_check(&message);
        prop_assert_eq!(refused, Err(SplitError { reid: &[0xc0], fault: Fault::TooDeep }));
        check_memory(&message);
    }
}

#[test]
fn megabytes_of_openings_and_claims_take_no_memory() {
    const BYTES: usize = 2 * 1024 * 1024;
    const FORMATS: &[u8] =
        &[0x81, 0x91, 0xc4, 0xc5, 0xc6, 0xc9, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf];
    for format in FORMATS {
        let bare = vec![*format; BYTES];
        for message in [with_payload(&bare), bare] {
            assert!(fanal_actors::split(&message, &LIMITS).is_err(), "{format:02x}");
            let (at_once, in_all) = allocated_bytes(&message);
            let most = 24 * LIMITS.payload_depth_max as u64;
            assert!(at_once <= most && in_all <= most, "{format:02x}: {at_once}, {in_all}");
        }
    }
}

#[test]
fn many_deep_fields_take_the_memory_of_one() {
    let field = [vec![0xa0], vec![0x91; LIMITS.payload_depth_max], vec![0xc0]].concat();
    let message = [b"\xde\xff\xff".to_vec(), field.repeat(0xffff)].concat();
    assert_eq!(fanal_actors::split(&message, &LIMITS).map(|request| request.reid), Ok(None));
    check_memory(&message);
}

#[test]
fn claims_of_four_billion_take_no_memory() {
    for format in [0xc6, 0xc9, 0xdb, 0xdd, 0xdf] {
        let claim = [format, 0xff, 0xff, 0xff, 0xff];
        for message in [&claim[..], &with_payload(&claim), &[&claim, &b"\xa4REID\x01"[..]].concat()]
        {
            assert!(split_and_check(message).is_err(), "{}", hex(message));
            assert_eq!(allocated_bytes(message), (0, 0), "{}", hex(message));
        }
    }
}

#[test]
fn a_million_values_side_by_side_take_no_memory() {
    const VALUES: u32 = 1 << 20;
    let payload = [&[0xdd], &VALUES.to_be_bytes()[..], &[0xc0; VALUES as usize]].concat();
    let message = with_payload(&payload);
    assert_eq!(split_and_check(&message).map(|fields| fields[5]), Ok(Some(&payload[..])));
    assert_eq!(allocated_bytes(&message), (0, 0));
}

#[test]
fn what_real_clients_send_takes_no_memory() {
    let picture = [&b"\xc5\x04\x98"[..], &[7; 1176]].concat();
    let values: [&[u8]; 6] = [
        b"\x01",
        b"\x82\xa4USER\xa3ann\xa5TOKEN\xa1t",
        b"\xa3PUT",
        b"\x93\xa4user\xa3ann\xa5model",
        b"\x80",
        &picture,
    ];
    let mut message = vec![0x86];
    for (key, value) in KEYS.iter().zip(values) {
        message.extend([&[0xa4], *key, value].concat());
    }
    assert_eq!(split_and_check(&message).unwrap(), values.map(Some));
    assert_eq!(allocated_bytes(&message), (0, 0));
}

#[test]
fn the_seeds_of_the_fuzz_target_are_split_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/splitter");
    let (mut split, mut refused) = (0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let message = fs::read(entry.unwrap().path()).unwrap();
        let count = if split_and_check(&message).is_ok() { &mut split } else { &mut refused };
        *count += 1;
        check_memory(&message);
    }
    // They are taken from the recorded scenarios, most of which send what is right.
    assert!(split > refused && refused > 0, "{split} split and {refused} refused");
}
