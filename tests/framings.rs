//! The framings under every cut: what comes of a stream of bytes does not depend on the pieces in
//! which the network delivers it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

#[path = "framings/check.rs"]
mod check;
mod support;

use fanal::doors::close::CloseReason;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use check::{Outcome, Seen, check_boundary, check_frames, check_messages, in_pieces};
use support::WireFrame;
use support::websocket::{BINARY, CLOSE, CONTINUATION, PING, PONG};

/// The bytes cut at these places.
fn cut<'b>(bytes: &'b [u8], cuts: &[Index]) -> Vec<&'b [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
}

fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..12)
}

// ---- WebSocket

/// What a client may do, and what the server has to see of it.
#[derive(Clone, Debug)]
enum Act {
    Message { pieces: Vec<Vec<u8>>, between: Vec<Act> },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn control() -> impl Strategy<Value = Act> {
    let payload = || vec(any::<u8>(), 0..=125);
    prop_oneof![payload().prop_map(Act::Ping), payload().prop_map(Act::Pong)]
}

fn act() -> impl Strategy<Value = Act> {
    let pieces = vec(vec(any::<u8>(), 0..=100), 1..=3);
    let message = (pieces, vec(control(), 0..3))
        .prop_map(|(pieces, between)| Act::Message { pieces, between });
    prop_oneof![message, control()]
}

impl Act {
    fn play(&self, mask: [u8; 4], bytes: &mut Vec<u8>, seen: &mut Vec<Seen>) {
        let mut send = |frame: WireFrame| {
            bytes.extend(WireFrame { mask: Some(mask), ..frame }.encode());
        };
        match self {
            Act::Ping(payload) => {
                send(WireFrame::new(PING, payload.as_slice()));
                seen.push(Seen::Ping(payload.clone()));
            }
            Act::Pong(payload) => {
                send(WireFrame::new(PONG, payload.as_slice()));
                seen.push(Seen::Pong);
            }
            Act::Message { pieces, between } => {
                for (position, piece) in pieces.iter().enumerate() {
                    let opcode = if position == 0 { BINARY } else { CONTINUATION };
                    let frame = WireFrame::new(opcode, piece.as_slice());
                    if position + 1 == pieces.len() {
                        bytes.extend(WireFrame { mask: Some(mask), ..frame }.encode());
                    } else {
                        let frame = frame.unfinished();
                        bytes.extend(WireFrame { mask: Some(mask), ..frame }.encode());
                        between.iter().for_each(|act| act.play(mask, bytes, seen));
                    }
                }
                seen.push(Seen::Message(pieces.concat()));
            }
        }
    }
}

/// Frames that are right or wrong, as a fuzzer would not often hit on them.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![6 => Just(BINARY), 3 => Just(CONTINUATION), 2 => Just(PING),
        1 => Just(PONG), 1 => Just(CLOSE), 1 => 0..16_u8];
    let rsv = prop_oneof![20 => Just(0), 1 => 1..8_u8];
    let mask = prop_oneof![20 => any::<[u8; 4]>().prop_map(Some), 1 => Just(None)];
    let announced = prop_oneof![20 => Just(None), 1 => any::<u64>().prop_map(Some)];
    let payload = prop_oneof![vec(any::<u8>(), 0..130), vec(any::<u8>(), 290..310)];
    (any::<bool>(), rsv, opcode, mask, announced, payload).prop_map(
        |(fin, rsv, opcode, mask, announced_bytes, payload)| {
            WireFrame { fin, rsv, opcode, mask, announced_bytes, payload }.encode()
        },
    )
}

#[test]
fn the_pieces_of_a_fuzzer_are_its_stream() {
    for input in [&b""[..], b"\x01", b"abc\x00", b"abc\x02", b"abc\xff"] {
        let (bytes, pieces) = in_pieces(input);
        assert_eq!((bytes.len(), pieces.concat()), (input.len().max(1) - 1, bytes.to_vec()));
    }
}

proptest! {
    #[test]
    fn good_frames_come_as_they_were_meant(
        acts in vec(act(), 0..8),
        mask: [u8; 4],
        cuts in cuts(),
    ) {
        let (mut bytes, mut seen) = (Vec::new(), Vec::new());
        acts.iter().for_each(|act| act.play(mask, &mut bytes, &mut seen));
        bytes.extend(WireFrame::new(CLOSE, [3, 232]).encode());
        seen.push(Seen::Close(Some(1000)));
        prop_assert_eq!(check_frames(&bytes, &cut(&bytes, &cuts)), (seen, None));
    }

    #[test]
    fn frames_of_any_kind_come_alike_in_any_cut(
        frames in vec(any_frame(), 0..8),
        cuts in cuts(),
    ) {
        let bytes = frames.concat();
        check_frames(&bytes, &cut(&bytes, &cuts));
        check_frames(&bytes, &bytes.chunks(1).collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_come_alike_in_any_cut(bytes in vec(any::<u8>(), 0..400), cuts in cuts()) {
        check_frames(&bytes, &cut(&bytes, &cuts));
        check_messages(&bytes, &cut(&bytes, &cuts));
    }
}

// ---- messages back to back

fn value() -> impl Strategy<Value = rmpv::Value> {
    use rmpv::Value;
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-40..140_i64).prop_map(Value::from),
        any::<f32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        vec(any::<u8>(), 0..300).prop_map(Value::from),
        (any::<i8>(), vec(any::<u8>(), 0..20)).prop_map(|(kind, data)| Value::Ext(kind, data)),
    ];
    leaf.prop_recursive(4, 40, 20, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(Value::Array),
            vec((inner.clone(), inner), 0..20).prop_map(Value::Map),
        ]
    })
}

fn map() -> impl Strategy<Value = Vec<u8>> {
    vec((value(), value()), 0..4).prop_map(|pairs| support::to_bytes(&rmpv::Value::Map(pairs)))
}

/// What has to come of these maps: all of them, up to one that is too big.
fn expected(maps: &[Vec<u8>]) -> Outcome {
    let fits = |map: &&Vec<u8>| map.len() <= check::MESSAGE_BYTES_MAX;
    let seen: Vec<Seen> =
        maps.iter().take_while(fits).map(|map| Seen::Message(map.clone())).collect();
    let all = seen.len() == maps.len();
    (seen, if all { None } else { Some(CloseReason::MessageTooBig) })
}

proptest! {
    #[test]
    fn messages_come_as_they_were_sent(maps in vec(map(), 0..6), cuts in cuts()) {
        let bytes = maps.concat();
        prop_assert_eq!(check_messages(&bytes, &cut(&bytes, &cuts)), expected(&maps));
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(check_messages(&bytes, &single), expected(&maps));
    }

    #[test]
    fn messages_come_alike_in_any_cut_whatever_follows(
        maps in vec(map(), 0..3),
        behind in vec(any::<u8>(), 0..20),
        spoilt: Index,
        cuts in cuts(),
    ) {
        let mut bytes = [maps.concat(), behind].concat();
        if !bytes.is_empty() {
            let place = spoilt.index(bytes.len());
            bytes[place] = 0xc1;
        }
        check_messages(&bytes, &cut(&bytes, &cuts));
    }

    #[test]
    fn a_message_ends_where_its_value_does(
        map in map(),
        behind in vec(any::<u8>(), 0..20),
        cuts in cuts(),
    ) {
        let bytes = [map, behind].concat();
        check_boundary(&bytes, &cut(&bytes, &cuts));
    }
}
