//! RFC 6455 by table: what the Autobahn suite asks of a server, as far as it applies to one that
//! takes binary messages only.
//!
//! The messages are requests, so that their answers prove what arrived. Each case sees all that
//! comes back until the end of the connection. `tests/doors.rs` has the stories around it: quiet
//! connections, limits, HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests fail loudly"
)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use support::message::hex;
use support::websocket::{
    BINARY, CLOSE, CONTINUATION, PING, PONG, RawFrame, TEXT, WireFrame, take_frame,
};
use support::{Answer, Request, Server, bin, int, nil};

/// REID of the request behind each case.
const LAST: i64 = 99;

const RESERVED_BIT: &str = "close 1002 a frame had a reserved bit set";
const RESERVED_OPCODE: &str = "close 1002 a frame had a reserved opcode";
const UNMASKED: &str = "close 1002 a frame was not masked";
const FRAGMENTED: &str = "close 1002 a control frame was fragmented";
const TOO_LONG: &str = "close 1002 a control frame was longer than 125 bytes";
const NO_START: &str = "close 1002 a fragment came without a first one";
const INSIDE: &str = "close 1002 a message began inside another one";
const HALF_CODE: &str = "close 1002 a close frame had half a code";
const WRONG_CODE: &str = "close 1002 a close frame had a code that may not be sent";
const NOT_UTF8: &str = "close 1002 the reason in a close frame was not UTF-8";
const NOT_SHORTEST: &str = "close 1002 a length took more bytes than it needs";
const IS_TEXT: &str = "close 1003 requests are binary messages";
const TOO_BIG: &str = "close 1009 the message is over limits.message_bytes_max";

/// Sends these frames, a last request and a close frame, once in one write and once byte by byte,
/// and compares all that comes back. What is expected either ends the connection or is followed by
/// the answers to what stands behind the frames.
#[track_caller]
fn check<S: AsRef<str>>(server: &Server, frames: &[WireFrame], expected: &[S]) {
    let bytes: Vec<u8> = frames.iter().flat_map(WireFrame::encode).collect();
    check_bytes(server, &bytes, expected);
}

#[track_caller]
fn check_bytes<S: AsRef<str>>(server: &Server, bytes: &[u8], expected: &[S]) {
    for bytewise in [true, false] {
        let all = [bytes, &last()].concat();
        let pieces = all.chunks(if bytewise { 1 } else { all.len() });
        assert_eq!(exchange(server, pieces), until_end(expected), "{}", hex(bytes));
    }
}

fn last() -> Vec<u8> {
    [get(LAST).encode(), close(1000, b"").encode()].concat()
}

fn until_end<S: AsRef<str>>(expected: &[S]) -> Vec<String> {
    let mut all: Vec<String> = expected.iter().map(|line| line.as_ref().to_owned()).collect();
    if !all.last().is_some_and(|line| line.starts_with("close")) {
        all.extend([format!("answer {LAST}: 404"), "close 1000".to_owned()]);
    }
    all
}

/// Writes these pieces over a connection of its own and returns what comes until it ends.
fn exchange<'b>(server: &Server, pieces: impl Iterator<Item = &'b [u8]> + Send) -> Vec<String> {
    let (stream, received) = server.client().into_stream();
    let mut writer = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            for piece in pieces {
                // The server may have seen enough.
                if writer.write_all(piece).is_err() {
                    break;
                }
            }
        });
        read_to_end(stream, received)
    })
}

/// All frames until the end, of which nothing may be left over or stand behind a close frame.
fn read_to_end(mut stream: TcpStream, mut received: Vec<u8>) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        while let Some(frame) = take_frame(&mut received) {
            if frame.opcode == CLOSE {
                // The server waits for our end after a fault, or it would reset the connection.
                drop(stream.shutdown(Shutdown::Write));
            }
            lines.push(line(&frame));
        }
        let mut buffer = [0; 64 * 1024];
        match stream.read(&mut buffer).expect("more, or an orderly end") {
            0 => break,
            count => received.extend(&buffer[..count]),
        }
    }
    assert!(received.is_empty(), "half a frame before the end: {}", hex(&received));
    lines
}

/// A frame from the server in words. All that is in it is in the line, so equal lines are equal
/// frames, but for the texts of answers.
fn line(frame: &RawFrame) -> String {
    assert!(frame.fin, "the server sends each message in one frame");
    let payload = frame.payload.as_slice();
    match (frame.opcode, payload) {
        (BINARY, _) => {
            let answer = Answer::parse(payload);
            let reid = rmpv::decode::read_value(&mut answer.reid.as_slice()).unwrap();
            let value = match answer.value() {
                rmpv::Value::Nil => String::new(),
                rmpv::Value::Binary(bytes) if bytes == pattern(bytes.len()) => {
                    format!(" {} good bytes", bytes.len())
                }
                other => format!(" {other}"),
            };
            format!("answer {reid}: {}{value}", answer.rnum)
        }
        (PONG, _) => format!("pong {}", hex_of(payload)),
        (CLOSE, []) => "close".to_owned(),
        (CLOSE, [high, low, reason @ ..]) => {
            let code = u16::from_be_bytes([*high, *low]);
            let reason = std::str::from_utf8(reason).expect("a close reason is UTF-8");
            format!("close {code} {reason}").trim_end().to_owned()
        }
        (opcode, _) => panic!("the server sent a frame with opcode {opcode}: {}", hex(payload)),
    }
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pong(bytes: &[u8]) -> String {
    format!("pong {}", hex_of(bytes))
}

/// Bytes in which a piece that is lost, doubled or masked wrongly shows.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// A request for something that is not there.
fn message(reid: i64) -> Vec<u8> {
    Request::new("GET", &["missing"]).reid(int(reid)).encode()
}

fn get(reid: i64) -> WireFrame {
    WireFrame::new(BINARY, message(reid))
}

/// A request that PUTs as much to `a` as makes it this long in all, and how much that is.
fn put_of(reid: i64, message_bytes: usize) -> (Vec<u8>, usize) {
    let put = |bytes: usize| {
        Request::new("PUT", &["a"]).reid(int(reid)).payl(bin(&pattern(bytes))).encode()
    };
    let around = put(0).len();
    let longest = message_bytes - around;
    let bytes = (longest.saturating_sub(8)..=longest).find(|b| put(*b).len() == message_bytes);
    let bytes = bytes.expect("a message may have this length");
    (put(bytes), bytes)
}

fn ping(bytes: &[u8]) -> WireFrame {
    WireFrame::new(PING, bytes)
}

fn close(code: u16, reason: &[u8]) -> WireFrame {
    WireFrame::new(CLOSE, [&code.to_be_bytes()[..], reason].concat())
}

/// A message in as many fragments as there are pieces.
fn fragments<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Vec<WireFrame> {
    let mut frames: Vec<WireFrame> = Vec::new();
    for piece in pieces {
        let opcode = if frames.is_empty() { BINARY } else { CONTINUATION };
        frames.push(WireFrame::new(opcode, piece).unfinished());
    }
    frames.last_mut().expect("a message has a piece").fin = true;
    frames
}

/// The same, with this frame between each two.
fn interleaved(frames: &[WireFrame], between: &WireFrame) -> Vec<WireFrame> {
    let mut all: Vec<WireFrame> =
        frames.iter().flat_map(|frame| [frame.clone(), between.clone()]).collect();
    all.pop();
    all
}

fn server_with_a() -> Server {
    let server = Server::start();
    server.client().expect("POST", &["a"], nil(), 201);
    server
}

// ---- lengths

#[test]
fn a_message_of_any_length_arrives() {
    let server = server_with_a();
    for size in [125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, 1 << 20] {
        let (message, value) = put_of(1, size);
        assert_eq!(message.len(), size);
        let got = Request::new("GET", &["a"]).reid(int(2)).encode();
        let frames = [WireFrame::new(BINARY, message), WireFrame::new(BINARY, got)];
        let expected = ["answer 1: 200".to_owned(), format!("answer 2: 200 {value} good bytes")];
        if size < 1 << 20 {
            check(&server, &frames, &expected);
        }
        // In segments of a common size, and in odd ones.
        for segment in [1, 997, 1460].map(|segment| if size > 70_000 { 4096 } else { segment }) {
            let bytes: Vec<u8> = frames.iter().flat_map(WireFrame::encode).collect();
            let all = [bytes, last()].concat();
            assert_eq!(exchange(&server, all.chunks(segment)), until_end(&expected), "{size}");
        }
    }
}

#[test]
fn a_message_too_short_for_a_request_is_answered() {
    let server = Server::start();
    check(&server, &[WireFrame::new(BINARY, *b"")], &["answer nil: 400"]);
    check(&server, &[WireFrame::new(BINARY, *b"\x80")], &["answer nil: 405"]);
    check(
        &server,
        &[WireFrame::new(BINARY, *b"\xc0"), get(1)],
        &["answer nil: 400", "answer 1: 404"],
    );
}

#[test]
fn answers_of_any_length_have_the_shortest_header() {
    let server = server_with_a();
    let mut client = server.client();
    let mut frames = Vec::new();
    let mut expected = Vec::new();
    // An answer is longer than its value by something below 100: that covers both borders.
    for (reid, bytes) in (0..).zip((20..130).chain(65_430..65_540)) {
        let put = Request::new("PUT", &["a"]).reid(int(reid)).payl(bin(&pattern(bytes)));
        let got = Request::new("GET", &["a"]).reid(int(reid));
        frames.extend([&put, &got].map(|request| WireFrame::new(BINARY, request.encode())));
        expected.push(format!("answer {reid}: 200"));
        expected.push(format!("answer {reid}: 200 {bytes} good bytes"));
    }
    client.expect("GET", &["a"], nil(), 200);
    let bytes: Vec<u8> = frames.iter().flat_map(WireFrame::encode).chain(last()).collect();
    assert_eq!(exchange(&server, [bytes.as_slice()].into_iter()), until_end(&expected));
}

#[test]
fn the_limit_holds_for_every_form_of_length() {
    let limit = 70_000;
    for limit in [1024, limit] {
        let server = Server::start_with(&format!("limits.message_bytes_max = {limit}"));
        server.client().expect("POST", &["a"], nil(), 201);
        for size in [limit - 1, limit] {
            let (message, _) = put_of(1, size);
            check(&server, &[WireFrame::new(BINARY, message.as_slice())], &["answer 1: 200"]);
            let halves = message.split_at(size / 2);
            check(&server, &fragments([halves.0, halves.1]), &["answer 1: 200"]);
        }
        let (message, _) = put_of(1, limit + 1);
        check(
            &server,
            &[get(1), WireFrame::new(BINARY, message.as_slice())],
            &["answer 1: 404", TOO_BIG],
        );
        let (most, one) = message.split_at(limit);
        check(&server, &fragments([most, one]), &[TOO_BIG]);
        check(&server, &fragments([one, most]), &[TOO_BIG]);
        check(&server, &fragments([most, b"", one]), &[TOO_BIG]);
        // What is only announced is refused by its header.
        for bytes in [limit as u64 + 1, 1 << 16 | 1 << 20, 1 << 32, 1 << 62, u64::MAX] {
            let frame = WireFrame::new(BINARY, *b"").announcing(bytes);
            check(&server, &[frame], &[TOO_BIG]);
        }
    }
}

#[test]
fn a_length_takes_as_few_bytes_as_it_can() {
    let server = server_with_a();
    for (frame, forms) in [
        (get(1), &[2, 8][..]),
        (ping(b"p"), &[]),
        (WireFrame::new(BINARY, *b""), &[2, 8]),
        (WireFrame::new(BINARY, put_of(1, 125).0), &[2, 8]),
        (WireFrame::new(BINARY, put_of(1, 126).0), &[8]),
        (WireFrame::new(BINARY, put_of(1, 65_535).0), &[8]),
        (get(1).unfinished(), &[2, 8]),
    ] {
        for form in forms {
            check_bytes(&server, &frame.encode_with_length_in(*form), &[NOT_SHORTEST]);
        }
    }
    // In a control frame the longer forms are wrong by themselves.
    for form in [2, 8] {
        check_bytes(&server, &ping(b"p").encode_with_length_in(form), &[TOO_LONG]);
        check_bytes(&server, &close(1000, b"").encode_with_length_in(form), &[TOO_LONG]);
    }
}

// ---- cuts

#[test]
fn frames_may_be_cut_anywhere() {
    let server = server_with_a();
    let (message, value) = put_of(1, 130);
    let frames = [
        WireFrame::new(BINARY, message),
        ping(b"between"),
        get(2).unfinished(),
        WireFrame::new(PONG, *b"unasked"),
        WireFrame::new(CONTINUATION, *b""),
        WireFrame::new(BINARY, Request::new("GET", &["a"]).reid(int(3)).encode()),
    ];
    let bytes: Vec<u8> = frames.iter().flat_map(WireFrame::encode).collect();
    let answers = [
        "answer 1: 200".to_owned(),
        "answer 2: 404".to_owned(),
        format!("answer 3: 200 {value} good bytes"),
    ];
    for cut in 0..=bytes.len() {
        let (mut stream, mut received) = server.client().into_stream();
        stream.write_all(&[&ping(b"read").encode(), &bytes[..cut]].concat()).unwrap();
        // The pong says that the server has read what was written together with the ping.
        while !received.windows(6).any(|six| six == b"\x8a\x04read") {
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "the connection ended, cut at {cut}");
            received.extend(&buffer[..count]);
        }
        stream.write_all(&[&bytes[cut..], &last()].concat()).unwrap();
        let mut lines = read_to_end(stream, received);
        // A pong may overtake answers.
        let pongs: Vec<String> = lines.extract_if(.., |line| line.starts_with("pong")).collect();
        assert_eq!(pongs, [pong(b"read"), pong(b"between")], "cut at {cut}");
        assert_eq!(lines, until_end(&answers), "cut at {cut}");
    }
}

// ---- pings and pongs

#[test]
fn a_ping_of_any_length_is_answered_with_its_bytes() {
    let server = Server::start();
    let payloads: Vec<Vec<u8>> = (0..=125).map(pattern).chain([vec![0xff; 125]]).collect();
    let pings: Vec<WireFrame> = payloads.iter().map(|bytes| ping(bytes)).collect();
    let pongs: Vec<String> = payloads.iter().map(|bytes| pong(bytes)).collect();
    check(&server, &pings, &pongs);
    for (ping, pong) in pings.iter().zip(&pongs) {
        check(&server, std::slice::from_ref(ping), std::slice::from_ref(pong));
    }
}

#[test]
fn pings_in_one_write_are_all_answered_in_order() {
    let server = Server::start();
    for count in [2, 10, 1000] {
        let payloads: Vec<Vec<u8>> = (0..count).map(|n: u16| n.to_be_bytes().to_vec()).collect();
        let pings: Vec<WireFrame> = payloads.iter().map(|bytes| ping(bytes)).collect();
        let pongs: Vec<String> = payloads.iter().map(|bytes| pong(bytes)).collect();
        check(&server, &pings, &pongs);
    }
}

#[test]
fn a_pong_that_nobody_asked_for_is_ignored() {
    let server = Server::start();
    let unasked = |bytes: &[u8]| WireFrame::new(PONG, bytes);
    for bytes in [&b""[..], b"unasked", &[0; 125]] {
        check(&server, &[unasked(bytes)], &[] as &[&str]);
        check(&server, &[unasked(bytes), ping(b"p"), unasked(bytes)], &[pong(b"p")]);
    }
}

// ---- control frames

#[test]
fn a_control_frame_is_whole_and_short() {
    let server = Server::start();
    for opcode in [CLOSE, PING, PONG] {
        for bytes in [&b""[..], b"\x03\xe8", &[0; 125]] {
            let frame = WireFrame::new(opcode, bytes).unfinished();
            check(&server, std::slice::from_ref(&frame), &[FRAGMENTED]);
            let rest = WireFrame::new(CONTINUATION, *b"");
            check(&server, &[get(1), frame, rest], &["answer 1: 404", FRAGMENTED]);
        }
        for bytes in [126, 127, 65_535, 65_536] {
            let frame = WireFrame::new(opcode, vec![b'x'; bytes]);
            let header = frame.encode()[..2].to_vec();
            assert_eq!(exchange(&server, [frame.encode().as_slice()].into_iter()), [TOO_LONG]);
            // Two bytes are enough to know.
            assert_eq!(exchange(&server, [header.as_slice()].into_iter()), [TOO_LONG]);
        }
    }
}

// ---- reserved bits and opcodes

#[test]
fn a_reserved_bit_is_a_protocol_error_in_every_frame() {
    let server = Server::start();
    for rsv in 1..=7 {
        for opcode in [CONTINUATION, BINARY, CLOSE, PING, PONG] {
            for payload in [&b""[..], b"\x03\xe8"] {
                let frame = WireFrame { rsv, ..WireFrame::new(opcode, payload) };
                check(&server, std::slice::from_ref(&frame), &[RESERVED_BIT]);
                check(&server, &[get(1), frame, ping(b"p")], &["answer 1: 404", RESERVED_BIT]);
            }
        }
        let inside = WireFrame { rsv, ..WireFrame::new(CONTINUATION, *b"") };
        check(&server, &[get(1).unfinished(), inside], &[RESERVED_BIT]);
    }
}

#[test]
fn a_reserved_opcode_is_a_protocol_error() {
    let server = Server::start();
    for opcode in (3..=7).chain(11..=15) {
        for payload in [&b""[..], b"x", &[0; 126]] {
            let frame = WireFrame::new(opcode, payload);
            check(&server, std::slice::from_ref(&frame), &[RESERVED_OPCODE]);
            check(&server, &[frame.clone().unfinished()], &[RESERVED_OPCODE]);
            check(&server, &[get(1), frame.clone()], &["answer 1: 404", RESERVED_OPCODE]);
            check(&server, &[get(1).unfinished(), frame], &[RESERVED_OPCODE]);
        }
    }
}

#[test]
fn a_text_message_is_refused_whatever_it_says() {
    let server = Server::start();
    for text in [&b""[..], b"x", "grün".as_bytes(), b"\xff", &message(1), &[b'x'; 70_000]] {
        check(&server, &[WireFrame::new(TEXT, text)], &[IS_TEXT]);
        check(&server, &[get(1), WireFrame::new(TEXT, text)], &["answer 1: 404", IS_TEXT]);
    }
    check(&server, &[WireFrame::new(TEXT, *b"x").unfinished()], &[IS_TEXT]);
}

#[test]
fn a_frame_without_a_mask_is_a_protocol_error() {
    let server = Server::start();
    let rest = WireFrame::new(CONTINUATION, *b"");
    for frame in [get(1), ping(b""), ping(b"p"), WireFrame::new(PONG, *b""), close(1000, b"")] {
        check(&server, &[frame.clone().unmasked()], &[UNMASKED]);
        check(&server, &[get(1), frame.unmasked()], &["answer 1: 404", UNMASKED]);
    }
    check(&server, &[get(1).unfinished(), rest.unmasked()], &[UNMASKED]);
    for mask in [[0; 4], [0xff; 4], [0, 0, 0, 1], [0x80, 0, 0, 0], [1, 2, 3, 4]] {
        let masked = |frame: WireFrame| WireFrame { mask: Some(mask), ..frame };
        let expected = [pong(b"p"), "answer 1: 404".to_owned()];
        check(&server, &[masked(ping(b"p")), masked(get(1))], &expected);
    }
}

// ---- fragments

#[test]
fn a_message_may_be_split_anywhere() {
    let server = Server::start();
    let bytes = message(0).len();
    // Every two and three fragments, empty ones among them, each message with its own number.
    let splits = (0..=bytes).flat_map(|first| (first..=bytes).map(move |second| (first, second)));
    let mut all = Vec::new();
    let mut expected = Vec::new();
    for (number, (first, second)) in splits.enumerate() {
        // As long as the others, whatever the number.
        let number = 100 + number as i64 % 28;
        let message = message(number);
        let three = [&message[..first], &message[first..second], &message[second..]];
        all.extend(fragments(three));
        all.extend(fragments([three[0], &message[first..]]));
        expected.extend([format!("answer {number}: 404"), format!("answer {number}: 404")]);
    }
    let bytes: Vec<u8> = all.iter().flat_map(WireFrame::encode).chain(last()).collect();
    for segment in [7, 1460, bytes.len()] {
        assert_eq!(exchange(&server, bytes.chunks(segment)), until_end(&expected));
    }
}

#[test]
fn control_frames_pass_between_fragments() {
    let server = Server::start();
    let message = message(1);
    let unasked = WireFrame::new(PONG, *b"unasked");
    for pieces in [message.len(), 9, 2, 1] {
        let frames = fragments(message.chunks(pieces));
        let pings = vec![pong(b"p"); frames.len() - 1];
        let expected = [pings, vec!["answer 1: 404".to_owned()]].concat();
        check(&server, &interleaved(&frames, &ping(b"p")), &expected);
        check(&server, &interleaved(&frames, &unasked), &["answer 1: 404"]);
    }
    let [first, rest] = &fragments([&message[..9], &message[9..]])[..] else { panic!("two") };
    for (between, expected) in [
        (close(1000, b"bye"), "close 1000"),
        (get(2), INSIDE),
        (get(2).unfinished(), INSIDE),
        (WireFrame::new(BINARY, *b""), INSIDE),
        (WireFrame::new(TEXT, *b""), IS_TEXT),
        (ping(b"p").unfinished(), FRAGMENTED),
        (ping(b"p").unmasked(), UNMASKED),
    ] {
        check(&server, &[first.clone(), between, rest.clone()], &[expected]);
    }
}

#[test]
fn a_continuation_continues_something() {
    let server = Server::start();
    let continued = |bytes: &[u8]| WireFrame::new(CONTINUATION, bytes);
    for payload in [&b""[..], b"x", &message(2), &[0; 70_000]] {
        check(&server, &[continued(payload)], &[NO_START]);
        check(&server, &[continued(payload).unfinished(), get(2)], &[NO_START]);
        check(&server, &[get(1), continued(payload)], &["answer 1: 404", NO_START]);
    }
    let two = fragments([&message(1)[..9], &message(1)[9..]]);
    let once_more = [&two[..], &[continued(b"")]].concat();
    check(&server, &once_more, &["answer 1: 404", NO_START]);
}

#[test]
fn a_long_message_may_come_in_many_fragments() {
    let server = server_with_a();
    for (bytes, piece) in [(65_536, 1300), (1 << 20, 64), (1 << 20, 4096), (1 << 20, 1 << 18)] {
        let (message, value) = put_of(1, bytes);
        let got = Request::new("GET", &["a"]).reid(int(2)).encode();
        let mut frames = interleaved(&fragments(message.chunks(piece)), &ping(b""));
        let pings = vec![pong(b""); bytes.div_ceil(piece) - 1];
        frames.push(WireFrame::new(BINARY, got));
        let answers = ["answer 1: 200".to_owned(), format!("answer 2: 200 {value} good bytes")];
        let expected = [&pings[..], &answers].concat();
        let all: Vec<u8> = frames.iter().flat_map(WireFrame::encode).chain(last()).collect();
        assert_eq!(exchange(&server, all.chunks(50_000)), until_end(&expected), "{bytes} {piece}");
    }
}

// ---- close frames

#[test]
fn a_close_frame_is_answered_with_its_code_alone() {
    let server = Server::start();
    check(&server, &[WireFrame::new(CLOSE, *b"")], &["close"]);
    let codes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
    for code in codes.into_iter().chain([3000, 3001, 3999, 4000, 4001, 4999]) {
        for reason in [&b""[..], b"x", "grün".as_bytes(), &[b'x'; 123]] {
            check(&server, &[close(code, reason)], &[format!("close {code}")]);
            let before = ["answer 1: 404".to_owned(), format!("close {code}")];
            check(&server, &[get(1), close(code, reason)], &before);
        }
    }
}

#[test]
fn a_code_that_may_not_be_sent_is_a_protocol_error() {
    let server = Server::start();
    let below = [0, 1, 100, 999];
    let reserved = [1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999];
    for code in below.into_iter().chain(reserved).chain([5000, 5001, 32_768, 65_535]) {
        for reason in [&b""[..], b"x", &[b'x'; 123]] {
            check(&server, &[close(code, reason)], &[WRONG_CODE]);
        }
    }
}

#[test]
fn a_close_frame_has_a_whole_code_and_a_short_reason() {
    let server = Server::start();
    for half in [0, 3, 0xff] {
        check(&server, &[WireFrame::new(CLOSE, [half])], &[HALF_CODE]);
    }
    check(&server, &[close(1000, &[b'x'; 123])], &["close 1000"]);
    check(&server, &[close(1000, &[b'x'; 124])], &[TOO_LONG]);
}

#[test]
fn the_reason_in_a_close_frame_is_utf8() {
    let server = Server::start();
    let long = |tail: &[u8]| [&vec![b'x'; 123 - tail.len()], tail].concat();
    for good in [
        &b"\x00"[..],
        b"\x7f",
        b"\xc2\x80",
        b"\xdf\xbf",
        b"\xe0\xa0\x80",
        b"\xed\x9f\xbf",
        b"\xee\x80\x80",
        b"\xef\xbb\xbf",
        b"\xef\xbf\xbe",
        b"\xef\xbf\xbf",
        b"\xf0\x90\x80\x80",
        b"\xf4\x8f\xbf\xbf",
        "κόσμε".as_bytes(),
    ] {
        check(&server, &[close(1000, good)], &["close 1000"]);
        check(&server, &[close(1000, &long(good))], &["close 1000"]);
    }
    let lone =
        [&b"\x80"[..], b"\xbf", b"\x80\xbf", b"x\x80", b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"];
    let cut = [&b"\xc3"[..], b"\xe2\x82", b"\xe2", b"\xf0\x9f\x98", b"\xf0\x9f", b"\xf0", b"\xc3x"];
    let overlong = [
        &b"\xc0\x80"[..],
        b"\xc0\xaf",
        b"\xc1\xbf",
        b"\xe0\x80\x80",
        b"\xe0\x80\xaf",
        b"\xe0\x9f\xbf",
        b"\xf0\x80\x80\x80",
        b"\xf0\x80\x80\xaf",
        b"\xf0\x8f\xbf\xbf",
    ];
    let surrogates = [
        &b"\xed\xa0\x80"[..],
        b"\xed\xad\xbf",
        b"\xed\xaf\xbf",
        b"\xed\xb0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xed\xaf\xbf\xed\xbf\xbf",
    ];
    let too_high = [
        &b"\xf4\x90\x80\x80"[..],
        b"\xf5\x80\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\xf8\x88\x80\x80\x80",
        b"\xfb\xbf\xbf\xbf\xbf",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xfd\xbf\xbf\xbf\xbf\xbf",
    ];
    for bad in [&lone[..], &cut, &overlong, &surrogates, &too_high].concat() {
        check(&server, &[close(1000, bad)], &[NOT_UTF8]);
        check(&server, &[close(1000, &long(bad))], &[NOT_UTF8]);
        check(&server, &[close(4999, &[b"ok ", bad, b" ok"].concat())], &[NOT_UTF8]);
    }
}

#[test]
fn what_follows_a_close_frame_is_ignored() {
    let server = server_with_a();
    let put = WireFrame::new(BINARY, put_of(2, 200).0);
    let large = WireFrame::new(BINARY, put_of(2, 1 << 18).0);
    for after in [
        vec![put.clone()],
        vec![large],
        vec![ping(b"p")],
        vec![close(1001, b"")],
        vec![close(1000, b""), close(1000, b"")],
        vec![put.clone().unfinished(), WireFrame::new(CONTINUATION, *b"")],
        vec![put.clone().unmasked()],
        vec![WireFrame { rsv: 7, ..put.clone() }],
        vec![WireFrame::new(TEXT, *b"x")],
    ] {
        for (end, expected) in [
            (close(1000, b""), "close 1000"),
            (WireFrame::new(CLOSE, *b""), "close"),
            (WireFrame::new(CLOSE, *b"\x03"), HALF_CODE),
            (get(1).unmasked(), UNMASKED),
            (WireFrame::new(TEXT, *b"x"), IS_TEXT),
        ] {
            check(&server, &[&[get(1), end], &after[..]].concat(), &["answer 1: 404", expected]);
        }
    }
    assert_eq!(server.client().expect("GET", &["a"], nil(), 200).payl, nil());
}

#[test]
fn the_server_ends_the_connection_after_the_closing_handshake() {
    let server = Server::start();
    for (bytes, expected) in [
        (close(1000, b"").encode(), &b"\x88\x02\x03\xe8"[..]),
        (close(4999, b"bye").encode(), b"\x88\x02\x13\x87"),
        (WireFrame::new(CLOSE, *b"").encode(), b"\x88\x00"),
        (get(1).unmasked().encode(), b"\x88\x18\x03\xeaa frame was not masked"),
    ] {
        // Nothing is closed from this side, and no close frame answered.
        let (mut stream, mut received) = server.client().into_stream();
        stream.write_all(&bytes).unwrap();
        stream.read_to_end(&mut received).expect("an orderly end");
        assert_eq!(received, expected, "{}", hex(&bytes));
    }
}
