//! The WebSocket door: RFC 6455 frame by frame, the HTTP around it, and connections that are quiet.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly, and they measure the time themselves"
)]

#[path = "doors/http.rs"]
mod http;
mod support;

use std::thread;
use std::time::{Duration, Instant};

use support::websocket::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT};
use support::{Answer, ClientOptions, Frame, Request, Server, WireFrame};
use support::{bin, int, nil};

/// REID of the request that shows that the answers to all others have come.
const LAST: u8 = 99;

/// Sends these frames over a connection of its own, once in one piece and once byte by byte, and
/// compares all that comes back.
#[track_caller]
fn check(server: &Server, frames: &[WireFrame], expected: &[&str]) {
    for bytewise in [false, true] {
        assert_eq!(exchange(server, frames, bytewise), expected, "{frames:?}");
    }
}

/// Sends these frames and returns what comes until the connection ends, or until the answer to a
/// last request if it goes on.
fn exchange(server: &Server, frames: &[WireFrame], bytewise: bool) -> Vec<String> {
    let mut client = server.client();
    let mut bytes: Vec<u8> = frames.iter().flat_map(WireFrame::encode).collect();
    bytes.extend(request(LAST).encode());
    for piece in bytes.chunks(if bytewise { 1 } else { bytes.len() }) {
        // The server may have seen enough.
        client.try_send_raw(piece);
    }
    let mut replies = Vec::new();
    loop {
        let reply = match client.next_frame() {
            Frame::Message(message) => match Answer::parse(&message).reid[..] {
                [LAST] => return replies,
                [reid] => format!("answer {reid}"),
                _ => panic!("an answer to nothing: {message:?}"),
            },
            Frame::Pong(bytes) => format!("pong {}", String::from_utf8(bytes).unwrap()),
            Frame::Closed { code: Some(code), .. } => format!("close {code}"),
            other => format!("{other:?}"),
        };
        let is_last = !(reply.starts_with("answer") || reply.starts_with("pong"));
        replies.push(reply);
        if is_last {
            return replies;
        }
    }
}

/// A request for something that is not there.
fn message(reid: u8) -> Vec<u8> {
    Request::new("GET", &["missing"]).reid([reid]).encode()
}

fn request(reid: u8) -> WireFrame {
    WireFrame::new(BINARY, message(reid))
}

fn ping(text: &str) -> WireFrame {
    WireFrame::new(PING, text)
}

/// A close frame with this code, and with these bytes in the place of a reason.
fn close(code: u16, reason: &[u8]) -> WireFrame {
    WireFrame::new(CLOSE, [&code.to_be_bytes()[..], reason].concat())
}

/// A message in as many fragments as there are pieces, and maybe a frame between each two.
fn fragments(pieces: &[&[u8]], between: Option<&WireFrame>) -> Vec<WireFrame> {
    let mut frames = Vec::new();
    for (position, piece) in pieces.iter().enumerate() {
        let opcode = if position == 0 { BINARY } else { CONTINUATION };
        let frame = WireFrame::new(opcode, *piece);
        let is_last = position + 1 == pieces.len();
        frames.push(if is_last { frame } else { frame.unfinished() });
        frames.extend(between.filter(|_| !is_last).cloned());
    }
    frames
}

// ---- frames

#[test]
fn a_message_may_come_in_any_fragments() {
    let server = Server::start();
    let message = message(1);
    let (head, tail) = message.split_at(9);
    let bytes: Vec<&[u8]> = message.chunks(1).collect();
    let unasked = WireFrame::new(PONG, *b"unasked");
    check(&server, &[request(1), request(2)], &["answer 1", "answer 2"]);
    for pieces in
        [&[head, tail][..], &[b"", &message], &[&message, b""], &[head, b"", tail], &bytes]
    {
        check(&server, &fragments(pieces, None), &["answer 1"]);
        check(&server, &fragments(pieces, Some(&unasked)), &["answer 1"]);
    }
}

#[test]
fn control_frames_may_come_between_fragments() {
    let server = Server::start();
    let message = message(1);
    let (head, tail) = message.split_at(9);
    check(&server, &fragments(&[head, tail], Some(&ping("p"))), &["pong p", "answer 1"]);
    let three = fragments(&[head, b"", tail], Some(&ping("p")));
    check(&server, &three, &["pong p", "pong p", "answer 1"]);
    check(&server, &fragments(&[head, tail], Some(&close(1000, b""))), &["close 1000"]);
}

#[test]
fn fragments_out_of_turn_are_a_protocol_error() {
    let server = Server::start();
    let started = WireFrame::new(BINARY, message(1)).unfinished();
    let continued = WireFrame::new(CONTINUATION, message(1));
    for frames in [
        &[continued.clone()][..],
        &[continued.unfinished()],
        &[started.clone(), request(1)],
        &[started.clone(), started],
    ] {
        check(&server, frames, &["close 1002"]);
    }
}

#[test]
fn a_frame_has_to_be_masked() {
    let server = Server::start();
    for mask in [[0; 4], [0xff; 4], [1, 2, 3, 4]] {
        check(&server, &[WireFrame { mask: Some(mask), ..request(1) }], &["answer 1"]);
    }
    for frame in [request(1), ping("p"), close(1000, b""), WireFrame::new(BINARY, *b"")] {
        check(&server, &[frame.unmasked()], &["close 1002"]);
    }
}

#[test]
fn reserved_bits_and_opcodes_are_a_protocol_error() {
    let server = Server::start();
    let opcodes = (3..=7).chain(11..=15).map(|opcode| WireFrame::new(opcode, *b"x"));
    let fragments = opcodes.clone().map(WireFrame::unfinished);
    let bits = (1..=7).flat_map(|rsv| [request(1), ping("p")].map(|f| WireFrame { rsv, ..f }));
    thread::scope(|scope| {
        for frame in opcodes.chain(fragments).chain(bits) {
            scope.spawn(|| check(&server, &[frame], &["close 1002"]));
        }
    });
}

#[test]
fn requests_are_binary_messages() {
    let server = Server::start();
    check(&server, &[WireFrame::new(TEXT, message(1))], &["close 1003"]);
    check(&server, &[WireFrame::new(TEXT, *b"").unfinished()], &["close 1003"]);
    check(&server, &[ping("p"), WireFrame::new(TEXT, *b"x")], &["pong p", "close 1003"]);
}

#[test]
fn a_ping_is_answered_with_its_bytes() {
    let server = Server::start();
    let longest = "x".repeat(125);
    let pong = format!("pong {longest}");
    check(&server, &[ping(""), ping("p"), ping(&longest)], &["pong ", "pong p", &pong]);
    check(&server, &[ping(&"x".repeat(126))], &["close 1002"]);
    check(&server, &[ping("").unfinished()], &["close 1002"]);
    check(&server, &[WireFrame::new(PONG, vec![0; 125])], &[]);
    check(&server, &[WireFrame::new(PONG, vec![0; 126])], &["close 1002"]);
}

#[test]
fn a_close_frame_is_answered_with_its_code() {
    let server = Server::start();
    check(&server, &[WireFrame::new(CLOSE, *b"")], &["close 1005"]);
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]) {
        let expected = format!("close {code}");
        check(&server, &[close(code, b"")], &[&expected]);
        check(&server, &[close(code, "grün".as_bytes())], &[&expected]);
    }
    check(&server, &[close(1000, &[b'x'; 123])], &["close 1000"]);
    check(&server, &[close(1000, b""), request(1), ping("p")], &["close 1000"]);
}

#[test]
fn a_close_frame_with_a_code_that_must_not_be_sent_is_a_protocol_error() {
    let server = Server::start();
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        assert_eq!(exchange(&server, &[close(code, b"")], false), ["close 1002"], "{code}");
    }
}

#[test]
fn a_malformed_close_frame_is_a_protocol_error() {
    let server = Server::start();
    check(&server, &[WireFrame::new(CLOSE, [3])], &["close 1002"]);
    check(&server, &[close(1000, &[b'x'; 124])], &["close 1002"]);
    check(&server, &[close(1000, b"").unfinished()], &["close 1002"]);
    for reason in [&b"\xff"[..], b"ok \xc3", b"\xed\xa0\x80"] {
        check(&server, &[close(1000, reason)], &["close 1002"]);
    }
}

#[test]
fn a_message_of_exactly_the_limit_passes() {
    let server = Server::start_with("limits.message_bytes_max = 1024");
    let padded = |bytes| Request::new("GET", &["missing"]).reid([1]).payl(bin(&vec![0; bytes]));
    let around = padded(500).encode().len() - 500;
    let [fits, over] = [1024, 1025].map(|bytes| padded(bytes - around).encode());
    assert_eq!((fits.len(), over.len()), (1024, 1025));
    check(&server, &[WireFrame::new(BINARY, fits.as_slice())], &["answer 1"]);
    check(&server, &[WireFrame::new(BINARY, over.as_slice())], &["close 1009"]);
    for piece_bytes in [1, 100, 1000] {
        let fits: Vec<&[u8]> = fits.chunks(piece_bytes).collect();
        let over: Vec<&[u8]> = over.chunks(piece_bytes).collect();
        check(&server, &fragments(&fits, None), &["answer 1"]);
        check(&server, &fragments(&over, Some(&WireFrame::new(PONG, *b"x"))), &["close 1009"]);
    }
}

#[test]
fn a_client_that_closes_sees_the_end_of_the_connection_at_once() {
    let server = Server::start();
    let mut client = server.client();
    let asked = Instant::now();
    assert_eq!(exchange(&server, &[close(1000, b"")], false), ["close 1000"]);
    let waited = asked.elapsed();
    assert!(waited < Duration::from_millis(500), "the end came after {waited:?}");
    // The answer of the client to a close frame of the server ends the connection likewise.
    let asked = Instant::now();
    client.send_frame(&WireFrame::new(TEXT, *b"x"));
    assert_eq!(client.wait_for_close(), Some(1003));
    let waited = asked.elapsed();
    assert!(waited < Duration::from_millis(500), "the end came after {waited:?}");
}

#[test]
fn requests_before_the_end_are_carried_out_and_answered() {
    for (end, expected) in [(close(1000, b""), "close 1000"), (ping("").unmasked(), "close 1002")] {
        let server = Server::start();
        let frames = [create(), put(), end];
        let replies = exchange(&server, &frames, false);
        assert_eq!(server.client().expect("GET", &["a"], nil(), 200).payl, int(5), "{expected}");
        assert_eq!(replies, ["answer 1", "answer 2", expected]);
    }
}

/// Those behind the first wait for it, and are answered as soon as they begin.
#[test]
fn requests_that_wait_when_the_end_comes_are_answered() {
    for (end, expected) in [(close(1000, b""), "close 1000"), (ping("").unmasked(), "close 1002")] {
        let server = Server::start();
        for _ in 0..3 {
            let frames = [create(), request(2), request(3), request(4), end.clone()];
            let replies = exchange(&server, &frames, false);
            assert_eq!(replies, ["answer 1", "answer 2", "answer 3", "answer 4", expected]);
        }
    }
}

#[test]
fn answers_from_another_thread_come_before_the_end() {
    let server = Server::start();
    // The first writer's thread keeps the resource; every second connection is on the other one.
    assert_eq!(exchange(&server, &[create(), put()], false), ["answer 1", "answer 2"]);
    for round in 0..1000 {
        // What is read meanwhile has the answer come at any moment of the last turn.
        let more = round % 8;
        let frames = [vec![put()], vec![request(1); more], vec![close(1000, b"")]].concat();
        let expected = [vec!["answer 2"], vec!["answer 1"; more], vec!["close 1000"]].concat();
        assert_eq!(exchange(&server, &frames, false), expected);
    }
}

#[test]
fn requests_before_the_client_is_gone_are_carried_out() {
    let server = Server::start();
    let mut client = server.client();
    client.send_raw(&[create().encode(), put().encode()].concat());
    client.finish_sending();
    client.wait_for_close();
    server.wait_for_line("session 1 closed");
    assert_eq!(server.client().expect("GET", &["a"], nil(), 200).payl, int(5));
}

fn create() -> WireFrame {
    WireFrame::new(BINARY, Request::new("CREATE", &["a"]).reid([1]).encode())
}

fn put() -> WireFrame {
    WireFrame::new(BINARY, Request::new("PUT", &["a"]).reid([2]).payl(int(5)).encode())
}

// ---- quiet connections

const QUICK: &str = "websocket.ping_interval = \"50ms\"\nwebsocket.pong_timeout = \"400ms\"";
const PONG_TIMEOUT: Duration = Duration::from_millis(400);

#[test]
fn a_client_that_answers_pings_lives_on() {
    let server = Server::start_with(QUICK);
    let mut client = server.client();
    let opened = Instant::now();
    while opened.elapsed() < 3 * PONG_TIMEOUT {
        assert_eq!(client.next_frame(), Frame::Ping(Vec::new()));
    }
    client.expect("GET", &["missing"], nil(), 404);
}

#[test]
fn a_client_that_sends_anything_lives_on() {
    let server = Server::start_with(QUICK);
    let mut client = server.client_with(ClientOptions::default().ignore_pings());
    let opened = Instant::now();
    while opened.elapsed() < 3 * PONG_TIMEOUT {
        assert_eq!(client.next_frame(), Frame::Ping(Vec::new()));
        client.expect("GET", &["missing"], nil(), 404);
    }
}

#[test]
fn a_client_that_sends_nothing_is_closed_after_the_pong_timeout() {
    let server = Server::start_with(QUICK);
    for sent in [&b""[..], &request(1).encode()[..1]] {
        let opened = Instant::now();
        let mut client = server.client_with(ClientOptions::default().ignore_pings());
        client.send_raw(sent);
        assert_eq!(client.wait_for_close(), Some(4408));
        let waited = opened.elapsed();
        assert!(waited >= PONG_TIMEOUT, "closed after {waited:?}");
        assert!(waited < 10 * PONG_TIMEOUT, "closed after {waited:?}");
    }
    server.wait_for_lines("a ping was not answered (4408)", 2);
}

#[test]
fn a_client_that_speaks_and_is_slow_to_read_is_not_idle() {
    let server = Server::start_with(QUICK);
    let options = ClientOptions::default().receive_buffer_bytes(4096).ignore_pings();
    let (mut writer, mut slow) = (server.client(), server.client_with(options));
    writer.expect("POST", &["a"], nil(), 201);
    slow.expect("STREAM", &["a"], nil(), 200);
    let value = |number: u32| bin(&[&number.to_be_bytes()[..], &[0; 200_000]].concat());
    let mut last = 0;
    let started = Instant::now();
    while started.elapsed() < 3 * PONG_TIMEOUT {
        last += 1;
        writer.expect("PUT", &["a"], value(last), 200);
        slow.send_frame(&WireFrame::new(PONG, *b""));
    }
    while slow.next_answer().payl != value(last) {}
}
