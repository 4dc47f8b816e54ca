//! The doors without frames, tcp and unix, and the encrypted WebSocket door.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests fail loudly"
)]

#[path = "streams/socket_file.rs"]
mod socket_file;
mod support;
#[path = "streams/tls.rs"]
mod tls;

use std::thread;

use rustix::process::Signal;
use support::{Answer, Request, Server, StreamClient, bin, int, nil};

/// Settings with both doors open. The socket lies in the folder of the server.
const BOTH: &str = "tcp.enabled = true\ntcp.port = 0\nunix.path = \"fanal.sock\"\n";

const NO_MAP: &str = "400 nil: what came was no request: one is a MessagePack map";
const UNUSED: &str = "400 nil: a message had the byte c1, which MessagePack does not use";
const TOO_BIG: &str = "413 nil: the message is over limits.message_bytes_max";
const STOPPING: &str = "503 nil: the server is stopping; connect again in a moment";

#[derive(Clone, Copy, Debug)]
enum Door {
    Tcp,
    Unix,
}

const DOORS: [Door; 2] = [Door::Tcp, Door::Unix];

fn start(settings: &str) -> Server {
    Server::start_with(&format!("{BOTH}{settings}"))
}

fn connect(server: &Server, door: Door) -> StreamClient {
    match door {
        Door::Tcp => StreamClient::tcp(server.tcp_port()),
        Door::Unix => StreamClient::unix(&server.folder().join("fanal.sock")),
    }
}

/// Writes these pieces on each door, says that this was all, and compares what comes until the end.
#[track_caller]
fn check<S: AsRef<str>>(server: &Server, pieces: &[&[u8]], expected: &[S]) {
    let expected: Vec<&str> = expected.iter().map(AsRef::as_ref).collect();
    for door in DOORS {
        assert_eq!(exchange(server, door, pieces), expected, "{door:?}");
    }
}

fn exchange(server: &Server, door: Door, pieces: &[&[u8]]) -> Vec<String> {
    let mut client = connect(server, door);
    let mut writer = client.writer();
    thread::scope(|scope| {
        scope.spawn(move || {
            // The server may have seen enough.
            if pieces.iter().all(|piece| writer.write_all(piece).is_ok()) {
                writer.finish_sending();
            }
        });
        lines(&client.rest())
    })
}

fn lines(answers: &[Answer]) -> Vec<String> {
    answers.iter().map(line).collect()
}

/// A message in words: RNUM, REID, value, warnings.
fn line(answer: &Answer) -> String {
    let reid = rmpv::decode::read_value(&mut answer.reid.as_slice()).unwrap();
    let value = match answer.value() {
        rmpv::Value::Nil => String::new(),
        rmpv::Value::Binary(bytes) if bytes == pattern(bytes.len()) => {
            format!(", {} good bytes", bytes.len())
        }
        other => format!(", {other}"),
    };
    // What the warnings of ordinary answers say is not for the doors.
    let warning = if reid.is_nil() { answer.warnings.join("; ") } else { String::new() };
    let warning = if warning.is_empty() { warning } else { format!(": {warning}") };
    format!("{} {reid}{value}{warning}", answer.rnum)
}

/// Bytes in which a piece that is lost or doubled shows.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// A request for something that is not there.
fn get(reid: i64) -> Vec<u8> {
    Request::new("GET", &["missing"]).reid(int(reid)).encode()
}

fn post(reid: i64) -> Vec<u8> {
    Request::new("POST", &["a"]).reid(int(reid)).encode()
}

fn put(reid: i64, value_bytes: usize) -> Vec<u8> {
    Request::new("PUT", &["a"]).reid(int(reid)).payl(bin(&pattern(value_bytes))).encode()
}

fn get_a(reid: i64) -> Vec<u8> {
    Request::new("GET", &["a"]).reid(int(reid)).encode()
}

/// A request that is this long in all.
fn message_of(reid: i64, message_bytes: usize) -> Vec<u8> {
    let most = message_bytes - put(reid, 0).len();
    let mut fitting = (most.saturating_sub(8)..=most).map(|value_bytes| put(reid, value_bytes));
    fitting.find(|message| message.len() == message_bytes).expect("a request may be this long")
}

// ---- messages

#[test]
fn requests_are_answered_in_their_order() {
    let server = start("");
    check(&server, &[&get(1)], &["404 1"]);
    check(&server, &[&get(1), &get(2), &get(3)], &["404 1", "404 2", "404 3"]);
    check(&server, &[], &[] as &[&str]);
    // More than a session has in flight, in one write.
    let many: Vec<u8> = (0..5000).flat_map(get).collect();
    let expected: Vec<String> = (0..5000).map(|reid| format!("404 {reid}")).collect();
    check(&server, &[&many], &expected);
}

#[test]
fn messages_may_be_cut_anywhere() {
    let server = start("");
    server.client().expect("POST", &["a"], nil(), 201);
    let all = [post(1), put(2, 300), get_a(3), get(4)].concat();
    for door in DOORS {
        let expected = ["200 1", "200 2", "200 3, 300 good bytes", "404 4"];
        let bytes: Vec<&[u8]> = all.chunks(1).collect();
        assert_eq!(exchange(&server, door, &bytes), expected, "{door:?}, byte by byte");
        for cut in 0..=all.len() {
            let mut client = connect(&server, door);
            // The answer says that the server has read what was written together with its request.
            client.send_raw(&[&get(0), &all[..cut]].concat());
            assert_eq!(line(&client.next_answer()), "404 0");
            client.send_raw(&all[cut..]);
            client.finish_sending();
            assert_eq!(lines(&client.rest()), expected, "{door:?}, cut at {cut}");
        }
    }
}

#[test]
fn large_messages_arrive_whole() {
    let server = start("limits.message_bytes_max = 4194304");
    server.client().expect("POST", &["a"], nil(), 201);
    for bytes in [65_535, 65_536, 1 << 20, 4_000_000] {
        let pieces = [put(1, bytes), get_a(2), put(3, 5), get_a(4)];
        let expected =
            ["200 1", &format!("200 2, {bytes} good bytes"), "200 3", "200 4, 5 good bytes"];
        check(&server, &pieces.each_ref().map(Vec::as_slice), &expected);
        let all = pieces.concat();
        check(&server, &all.chunks(10_007).collect::<Vec<_>>(), &expected);
    }
}

#[test]
fn a_message_over_the_limit_is_the_last_one() {
    let server = start("limits.message_bytes_max = 1024");
    server.client().expect("POST", &["a"], nil(), 201);
    for size in [1023, 1024] {
        let message = message_of(1, size);
        check(&server, &[&message, &get(2)], &["200 1", "404 2"]);
        check(&server, &[&message[..500], &message[500..], &get(2)], &["200 1", "404 2"]);
    }
    for size in [1025, 1026, 5000, 1 << 20] {
        let message = message_of(2, size);
        check(&server, &[&get(1), &message, &get(3)], &["404 1", TOO_BIG]);
        check(&server, &message.chunks(100).collect::<Vec<_>>(), &[TOO_BIG]);
    }
    // Many values instead of a long one.
    let many = [&[0xdf, 0xff, 0xff, 0xff, 0xff][..], &[0x01; 1020]].concat();
    check(&server, &[&many], &[TOO_BIG]);
    check(&server, &[&many[..1024]], &[] as &[&str]);
    // A client that does not say that this was all sees the end as well.
    for door in DOORS {
        let mut client = connect(&server, door);
        client.send_raw(&message_of(1, 1025));
        assert_eq!(lines(&client.rest()), [TOO_BIG], "{door:?}");
    }
}

#[test]
fn what_is_no_message_is_answered_once_and_ends_the_connection() {
    let server = start("");
    let http = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n";
    let tls = [&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc][..], &[7; 500]].concat();
    for garbage in [&http[..], &tls, b"\n", b"\0", b"{}", b"\xc0", b"\x93\x01\x02\x03", b"\xa1x"] {
        check(&server, &[garbage], &[NO_MAP]);
        check(&server, &[&get(1), garbage, &get(2)], &["404 1", NO_MAP]);
        check(&server, &[garbage, &[garbage; 3000].concat()], &[NO_MAP]);
        for door in DOORS {
            let mut client = connect(&server, door);
            client.send_raw(garbage);
            assert_eq!(lines(&client.rest()), [NO_MAP], "{door:?}");
        }
    }
    check(&server, &[b"\xc1"], &[UNUSED]);
    check(&server, &[b"\x81\xa4REID\xc1", &get(2)], &[UNUSED]);
}

#[test]
fn a_message_that_is_no_request_is_answered_and_the_connection_goes_on() {
    let server = start("");
    check(&server, &[b"\x80", &get(1)], &["405 nil", "404 1"]);
    for wrong in [&b"\x81\x01\x02"[..], b"\x81\xa4REID\x07", b"\x81\xa4AUTH\x07"] {
        let mut client = connect(&server, Door::Tcp);
        client.send_raw(wrong);
        assert!(client.next_answer().rnum >= 400);
        client.expect("GET", &["missing"], nil(), 404);
    }
}

#[test]
fn the_doors_lead_to_the_same_broker() {
    let server = start("");
    let (mut web, mut tcp, mut unix) =
        (server.client(), connect(&server, Door::Tcp), connect(&server, Door::Unix));
    web.expect("POST", &["a"], int(0), 201);
    tcp.expect("STREAM", &["a"], nil(), 200);
    unix.expect("STREAM", &["a"], nil(), 200);
    for number in 1..10 {
        web.expect("PUT", &["a"], int(number), 200);
        assert_eq!((tcp.next_answer().number(), unix.next_answer().number()), (number, number));
    }
    unix.send_raw(&Request::new("STOP", &["a"]).reid(int(1)).encode());
    assert_eq!(unix.next_answer().rnum, 200);
    unix.expect("PUT", &["a"], int(10), 200);
    assert_eq!(tcp.next_answer().number(), 10);
    assert_eq!(web.expect("GET", &["a"], nil(), 200).number(), 10);
}

// ---- ends

#[test]
fn a_client_that_says_it_is_done_gets_all_its_answers() {
    let server = start("");
    server.client().expect("POST", &["a"], nil(), 201);
    let pieces = [post(1), put(2, 1000), get_a(3), get(4)];
    let expected = ["200 1", "200 2", "200 3, 1000 good bytes", "404 4"];
    for _ in 0..50 {
        check(&server, &pieces.each_ref().map(Vec::as_slice), &expected);
    }
    // Answers that fill every buffer on the way.
    let large: Vec<Vec<u8>> = std::iter::once(put(0, 100_000)).chain((1..200).map(get_a)).collect();
    let mut expected = vec!["200 0".to_owned()];
    expected.extend((1..200).map(|reid| format!("200 {reid}, 100000 good bytes")));
    check(&server, &large.iter().map(Vec::as_slice).collect::<Vec<_>>(), &expected);
}

#[test]
fn half_a_message_before_the_end_is_forgotten() {
    let server = start("");
    let message = get(2);
    for cut in 0..message.len() {
        check(&server, &[&get(1), &message[..cut]], &["404 1"]);
    }
}

#[test]
fn the_server_says_that_it_stops() {
    let mut server = start("");
    let mut clients = DOORS.map(|door| connect(&server, door));
    clients[0].expect("POST", &["a"], int(1), 201);
    for client in &mut clients {
        client.expect("STREAM", &["a"], nil(), 200);
    }
    let mut quiet = DOORS.map(|door| connect(&server, door));
    for client in &mut quiet {
        client.expect("GET", &["missing"], nil(), 404);
    }
    server.signal(Signal::TERM);
    for client in clients.iter_mut().chain(&mut quiet) {
        assert_eq!(lines(&client.rest()), [STOPPING]);
        client.finish_sending();
    }
    assert!(server.wait().success());
}

/// A connection with these settings, on which these bytes are sent, ends with this line.
#[track_caller]
fn check_end(settings: &str, sent: &[u8], expected: &str) {
    let server = start(settings);
    for door in DOORS {
        let mut client = connect(&server, door);
        client.send_raw(sent);
        let last = client.rest().pop().expect("a last message");
        assert_eq!(line(&last), expected, "{door:?}");
    }
}

#[test]
fn the_last_message_says_why() {
    let idle = "session.idle_timeout = \"100ms\"";
    let idle_line = "408 nil: no stream, and no request for session.idle_timeout";
    check_end(idle, &get(1), idle_line);
    let unproven = "auth.first_request_timeout = \"100ms\"";
    let unproven_line = "401 nil: no request with good credentials within \
                         auth.first_request_timeout";
    check_end(unproven, b"", unproven_line);
    let wrong = "session.wrong_requests_max = 3";
    let wrong_line = "403 nil: only malformed or forbidden requests (session.wrong_requests_max)";
    check_end(wrong, &b"\x81\xa4REID\x01".repeat(3), wrong_line);
}

#[test]
fn a_connection_too_many_is_told_so() {
    let server = start("server.connections_max = 1");
    let mut first = connect(&server, Door::Tcp);
    first.expect("GET", &["missing"], nil(), 404);
    let full = "503 nil: there are as many connections as there may be (server.connections_max)";
    check(&server, &[&get(1)], &[full]);
    // One that does not say that this was all is ended as well.
    assert_eq!(lines(&connect(&server, Door::Unix).rest()), [full]);
    first.expect("GET", &["missing"], nil(), 404);
}
