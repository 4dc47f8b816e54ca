//! Clients that want to do harm: whatever bytes they send, nobody else notices.
//!
//! Every test is an attack under the eyes of a witness: two other connections, one of which streams
//! what the other writes. Their stream goes on at the height of the attack and after it, the most
//! memory that the process ever had stays within bounds, nothing in it fails, and it is the same
//! process in the end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod support;

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::websocket::{BINARY, CONTINUATION, PING, TEXT};
use support::{Answer, Client, ClientOptions, Frame, Request, Server, WireFrame, Witness};
use support::{array, bin, nil, text};

/// What an attack may add to the process's memory, in KiB. The largest message is 2 MiB here, and
/// it is in three buffers at a time on its way in.
const GROWTH_KB_MAX: u64 = 16 * 1024;

const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

const REID: &[u8] = &[7];

/// Runs an attack under the eyes of a witness.
fn check(attack: impl FnOnce(&Server, &mut Witness)) {
    let server = Server::start();
    let mut witness = Witness::of(&server);
    witness.sees_updates();
    let (pid, before) = (server.pid(), server.peak_rss_kb());
    attack(&server, &mut witness);
    witness.sees_updates();
    // The memory of a process that ended cannot be read.
    let grown = server.peak_rss_kb() - before;
    eprintln!("GROWN {grown} KiB");
    assert!(grown < GROWTH_KB_MAX, "the process has grown by {grown} KiB");
    assert_eq!(server.pid(), pid);
    let output = server.output();
    for word in ["panicked", "ERROR", "fault of the server"] {
        assert!(!output.contains(word), "the server says {word:?}:\n{output}");
    }
}

/// Sends one message over a connection that sends a good request after it: the first gets this
/// answer, and the connection goes on.
#[track_caller]
fn check_message(client: &mut Client, message: &[u8], rnum: i64, reid: &[u8]) {
    client.send_message(message);
    let answer = client.next_answer();
    assert_eq!((answer.rnum, answer.reid.as_slice()), (rnum, reid), "{answer:?}");
    assert!(answer.rnum < 400 || !answer.warnings.is_empty(), "{answer:?}");
    client.expect("GET", &["witness"], nil(), 200);
}

/// A good request, with every field present.
fn good_request() -> Request {
    Request::new("PUT", &["a", "b"]).reid(REID).payl(bin(b"abc"))
}

/// The bytes of a value that claims four billion elements or bytes and has none.
const CLAIMS: &[[u8; 5]] = &[
    [0xdf, 0xff, 0xff, 0xff, 0xff],
    [0xdd, 0xff, 0xff, 0xff, 0xff],
    [0xdb, 0xff, 0xff, 0xff, 0xff],
    [0xc6, 0xff, 0xff, 0xff, 0xff],
    [0xc9, 0xff, 0xff, 0xff, 0xff],
];

/// The request with other bytes in the place of each of its fields but REID.
fn in_every_field(bytes: &[u8]) -> [Vec<u8>; 5] {
    let bytes = Some(bytes.to_vec());
    let good = good_request();
    [
        Request { auth: bytes.clone(), ..good.clone() },
        Request { verb: bytes.clone(), ..good.clone() },
        Request { path: bytes.clone(), ..good.clone() },
        Request { meta: bytes.clone(), ..good.clone() },
        Request { payl: bytes, ..good },
    ]
    .map(|request| request.encode())
}

// ---- messages

#[test]
fn a_claimed_count_of_four_billion_in_any_place_is_answered_400() {
    check(|server, witness| {
        let mut client = server.client();
        for claim in CLAIMS {
            // The value itself, and one inside an array, a map's key and a map's value.
            for around in [&b""[..], b"\x91", b"\x81", b"\x81\xa4USER", b"\x81\xa0"] {
                for message in in_every_field(&[around, claim].concat()) {
                    check_message(&mut client, &message, 400, REID);
                }
            }
            let as_reid = good_request().reid(*claim).encode();
            check_message(&mut client, &as_reid, 400, &nil());
            check_message(&mut client, &[&b"\x81"[..], claim].concat(), 400, &nil());
            check_message(&mut client, claim, 400, &nil());
        }
        let four_billion_fields = [&CLAIMS[0][..], &good_request().encode()[1..]].concat();
        check_message(&mut client, &four_billion_fields, 400, REID);
        witness.sees_updates();
    });
}

#[test]
fn a_depth_bomb_in_any_field_is_answered_400() {
    check(|server, witness| {
        let mut client = server.client();
        let room = MESSAGE_BYTES_MAX - 200;
        let bombs = [
            vec![0x91; room],
            b"\x81\xa0".repeat(room / 2),
            vec![0x81; room],
            b"\xdd\x00\x00\x00\x01".repeat(room / 5),
            [vec![0x91; room - 1], nil()].concat(),
        ];
        for bomb in &bombs {
            for message in in_every_field(bomb) {
                check_message(&mut client, &message, 400, REID);
            }
            check_message(&mut client, &good_request().reid(bomb.as_slice()).encode(), 400, &nil());
            check_message(&mut client, bomb, 400, &nil());
        }
        witness.sees_updates();
    });
}

#[test]
fn a_request_cut_off_anywhere_gets_one_answer() {
    check(|server, _| {
        let mut client = server.client();
        let request = good_request().encode();
        let reid_end = 1 + text("REID").len() + REID.len();
        for length in 0..request.len() {
            let reid = if length < reid_end { nil() } else { REID.to_vec() };
            check_message(&mut client, &request[..length], 400, &reid);
        }
    });
}

#[test]
fn a_request_with_any_byte_replaced_gets_one_answer() {
    check(|server, witness| {
        server.client().expect("POST", &["a", "b"], nil(), 201);
        let mut client = server.client();
        let request = good_request().encode();
        for position in 0..request.len() {
            let mut message = request.clone();
            for byte in 0..=255 {
                message[position] = byte;
                client.send_message(&message);
            }
            assert_answers(&mut client, 256, &format!("byte {position} replaced"));
        }
        witness.sees_updates();
    });
}

/// Sees so many answers come to what was sent, and no more.
#[track_caller]
fn assert_answers(client: &mut Client, count: usize, what: &str) -> Vec<Answer> {
    let last = text("the last one");
    client.send_request(&Request::new("GET", &["witness"]).reid(last.clone()));
    let mut answers = Vec::new();
    loop {
        let answer = client.next_answer();
        if answer.reid == last {
            assert_eq!(answers.len(), count, "{what}");
            return answers;
        }
        answers.push(answer);
    }
}

#[test]
fn a_message_that_is_not_exactly_one_request_is_answered_400() {
    check(|server, _| {
        let mut client = server.client();
        let good = good_request().encode();
        check_message(&mut client, b"", 400, &nil());
        check_message(&mut client, &[&good[..], &[0]].concat(), 400, REID);
        check_message(&mut client, &[&good[..], &[0; 1000]].concat(), 400, REID);
        check_message(&mut client, &[&good[..], &good].concat(), 400, REID);
        check_message(&mut client, &[&[0x92][..], &good, &good].concat(), 400, &nil());
        check_message(&mut client, &text("hello"), 400, &nil());
        check_message(&mut client, b"\xc1", 400, &nil());
        check_message(&mut client, b"GET / HTTP/1.1\r\n\r\n", 400, &nil());
    });
}

#[test]
fn any_bytes_as_a_message_get_one_answer() {
    check(|server, _| {
        let client = RefCell::new(server.client());
        let good = good_request().encode();
        let (length, mid) = (good.len(), good.len() / 2);
        // Pure noise rarely passes for a map, so some of it goes into the midst of a request.
        let noise = vec(any::<u8>(), 0..300).boxed();
        let map = noise.clone().prop_map(|noise| [&[0x83][..], &text("REID"), &noise].concat());
        let spliced = (noise.clone(), 0..length, 0..mid).prop_map(move |(noise, from, gone)| {
            let to = (from + gone).min(length);
            [&good[..from], &noise, &good[to..]].concat()
        });
        run(500, prop_oneof![noise, map, spliced], |message| {
            let mut client = client.borrow_mut();
            client.send_message(&message);
            assert_answers(&mut client, 1, "a message of any bytes");
        });
    });
}

fn run<T: std::fmt::Debug>(cases: u32, values: impl Strategy<Value = T>, case: impl Fn(T)) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&values, |value| {
        case(value);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

// ---- frames

/// Sends these bytes over a connection of its own, and nothing more; it is closed with this code.
#[track_caller]
fn check_closed(server: &Server, bytes: &[u8], code: u16) {
    let mut client = server.client();
    client.send_raw(bytes);
    assert_eq!(client.wait_for_close(), Some(code));
}

#[test]
fn a_text_frame_closes_its_connection() {
    check(|server, _| {
        check_closed(server, &WireFrame::new(TEXT, *b"hello").encode(), 1003);
        check_closed(server, &WireFrame::new(TEXT, good_request().encode()).encode(), 1003);
        check_closed(server, &WireFrame::new(TEXT, *b"hello").unfinished().encode(), 1003);
        check_closed(server, &WireFrame::new(TEXT, *b"").announcing(1 << 40).encode(), 1003);
    });
}

#[test]
fn a_frame_that_announces_too_much_closes_its_connection_before_its_bytes_come() {
    check(|server, witness| {
        for bytes in [MESSAGE_BYTES_MAX as u64 + 1, 1 << 30, i64::MAX as u64, u64::MAX] {
            let frame = WireFrame::new(BINARY, *b"").announcing(bytes);
            check_closed(server, &frame.encode(), 1009);
            check_closed(server, &frame.unfinished().encode(), 1009);
        }
        // Who sends the bytes nevertheless, and much of them, has them thrown away.
        let mut client = server.client();
        client.send_raw(&WireFrame::new(BINARY, *b"").announcing(1 << 30).encode());
        let mut sent = 0;
        while sent < 64 * MESSAGE_BYTES_MAX && client.try_send_raw(&[0x91; 64 * 1024]) {
            sent += 64 * 1024;
        }
        witness.sees_updates();
    });
}

#[test]
fn fragments_that_are_too_much_together_close_their_connection() {
    check(|server, witness| {
        let piece = MESSAGE_BYTES_MAX / 64;
        let mut bytes = WireFrame::new(BINARY, vec![0; piece]).unfinished().encode();
        let next = WireFrame::new(CONTINUATION, vec![0; piece]).unfinished().encode();
        bytes.extend(next.repeat(63));
        bytes.extend(WireFrame::new(CONTINUATION, *b"").announcing(1).encode());
        check_closed(server, &bytes, 1009);
        witness.sees_updates();
    });
}

#[test]
fn many_empty_fragments_are_one_message() {
    check(|server, witness| {
        let mut client = server.client();
        let empty = WireFrame::new(CONTINUATION, *b"").unfinished().encode();
        client.send_frame(&WireFrame::new(BINARY, *b"").unfinished());
        for _ in 0..20 {
            client.send_raw(&empty.repeat(1000));
        }
        witness.sees_updates();
        let request = Request::new("GET", &["witness"]).reid(REID);
        client.send_frame(&WireFrame::new(CONTINUATION, request.encode()));
        assert_eq!(client.next_answer().reid, REID);
    });
}

#[test]
fn any_bytes_as_frames_end_in_a_close() {
    check(|server, _| {
        let noise = vec(any::<u8>(), 1..300).boxed();
        // Noise behind a first byte that is a frame's gets further.
        let start = prop_oneof![Just(0x82), Just(0x02), Just(0x89), Just(0x88), Just(0x80)];
        let framed = (start, any::<u8>(), noise.clone())
            .prop_map(|(first, second, noise)| [&[first, second | 0x80][..], &noise].concat());
        run(200, prop_oneof![noise, framed], |bytes| {
            let mut client = server.client();
            if client.try_send_raw(&bytes) {
                client.finish_sending();
            }
            client.wait_for_close();
        });
    });
}

// ---- clients that do not do their part

#[test]
fn a_client_that_pings_and_does_not_read_is_not_read() {
    check(|server, witness| {
        let mut client = server.client_with(slow_reader());
        let pings = WireFrame::new(PING, [0; 125]).encode().repeat(1000);
        let bytes_max = 64 * MESSAGE_BYTES_MAX;
        let taken = client.send_until_blocked(&pings, bytes_max, Duration::from_secs(1));
        assert!(taken < bytes_max, "{taken} bytes of pings were taken and none of the pongs read");
        witness.sees_updates();
    });
}

#[test]
fn a_client_that_asks_and_does_not_read_is_not_read() {
    check(|server, witness| {
        let mut client = server.client_with(slow_reader());
        client.expect("POST", &["large"], bin(&[1; 100_000]), 201);
        let requests = Request::new("GET", &["large"]).encode();
        let requests = WireFrame::new(BINARY, requests).encode().repeat(1000);
        let bytes_max = 64 * MESSAGE_BYTES_MAX;
        let taken = client.send_until_blocked(&requests, bytes_max, Duration::from_secs(1));
        assert!(taken < bytes_max, "{taken} bytes of requests were taken, and no answer read");
        witness.sees_updates();
    });
}

/// A client whose side of the connection holds little.
fn slow_reader() -> ClientOptions {
    ClientOptions::default().receive_buffer_bytes(4096)
}

#[test]
fn connections_that_stop_in_the_midst_of_something_cost_little() {
    check(|server, witness| {
        let connect = || TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        let half_heads = (0..100).map(|_| {
            let mut stream = connect();
            stream.write_all(b"GET /websocket HTTP/1.1\r\nUpgrade: webso").unwrap();
            stream
        });
        let half_heads: Vec<TcpStream> = half_heads.collect();
        let message = WireFrame::new(BINARY, good_request().encode()).encode();
        let unfinished = WireFrame::new(BINARY, good_request().encode()).unfinished().encode();
        let cuts = [&message[..1], &message[..3], &message[..20], &unfinished];
        let half_frames = cuts.iter().cycle().take(100).map(|bytes| {
            let mut client = server.client();
            client.send_raw(bytes);
            client
        });
        let half_frames: Vec<Client> = half_frames.collect();
        witness.sees_updates();
        server.client().expect("GET", &["witness"], nil(), 200);
        drop((half_heads, half_frames));
        server.wait_for_lines("closed: the connection broke", 100);
    });
}

#[test]
fn a_connection_that_never_ends_its_head_is_given_up() {
    check(|server, witness| {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream.write_all(b"GET /websocket HTTP/1.1\r\nUpgrade: webso").unwrap();
        // Longer than the server's patience with a head.
        stream.set_read_timeout(Some(Duration::from_secs(25))).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server ends the connection");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        witness.sees_updates();
    });
}

#[test]
fn connections_that_come_and_go_in_the_midst_of_a_message_leave_nothing() {
    check(|server, witness| {
        let frame = WireFrame::new(BINARY, vec![0; 1000]).announcing(100_000).encode();
        for round in 0..300 {
            let mut client = server.client();
            client.send_raw(&frame);
            if round % 2 == 0 {
                client.reset();
            }
        }
        witness.sees_updates();
        server.wait_for_lines("closed: the connection broke", 300);
    });
}

#[test]
fn a_head_without_end_is_refused() {
    check(|server, witness| {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
        stream.write_all(b"GET /websocket HTTP/1.1\r\n").unwrap();
        let line = format!("X: {}\r\n", "x".repeat(1000));
        stream.write_all(line.repeat(500).as_bytes()).unwrap();
        let mut answer = Vec::new();
        // What was sent in vain may reset the connection behind the answer.
        let ended = stream.read_to_end(&mut answer);
        assert!(ended.is_ok() || ended.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset));
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
        witness.sees_updates();
    });
}

#[test]
fn what_comes_behind_a_fault_is_thrown_away() {
    check(|server, _| {
        let mut client = server.client();
        client.send_raw(&WireFrame::new(TEXT, *b"x").encode());
        client.try_send_raw(&WireFrame::new(BINARY, good_request().encode()).encode());
        match client.next_frame() {
            Frame::Closed { code, reason } => {
                assert_eq!(code, Some(1003));
                assert!(!reason.is_empty());
            }
            other => panic!("awaited a close, got {other:?}"),
        }
    });
}

#[test]
fn large_fields_are_answered_like_small_ones() {
    check(|server, witness| {
        let mut client = server.client();
        let names = vec!["a"; 100_000];
        let path = Request { path: Some(array(&names)), ..good_request() };
        check_message(&mut client, &path.encode(), 400, REID);
        let name = "a".repeat(MESSAGE_BYTES_MAX / 2);
        let path = Request { path: Some(array(&[&name])), ..good_request() };
        check_message(&mut client, &path.encode(), 400, REID);
        let auth = Request { auth: Some(text(&name)), ..good_request() };
        check_message(&mut client, &auth.encode(), 400, REID);
        let verb = Request { verb: Some(text(&name)), ..good_request() };
        client.send_request(&verb);
        assert_eq!(client.next_answer().rnum, 405);
        witness.sees_updates();
    });
}
