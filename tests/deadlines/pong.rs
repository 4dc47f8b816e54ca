//! `websocket.pong_timeout`: a client that does not answer pings.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::websocket::{BINARY, CONTINUATION, PING, PONG};
use crate::support::{ClientOptions, Frame, Server, WireFrame, int, nil};
use crate::{assert_closed, assert_quiet, frames_for, large, malformed, missing, small};

const INTERVAL: Duration = Duration::from_millis(200);
const TIMEOUT: Duration = Duration::from_secs(1);
const SETTINGS: &str = "websocket.ping_interval = \"200ms\"\nwebsocket.pong_timeout = \"1s\"";

/// A client answers no ping but sends these bytes at each, again and again: it lives on.
#[track_caller]
fn check_life(what: &str, bytes: &[Vec<u8>]) {
    let mut server = Server::start_with(SETTINGS);
    let mut client = server.client_with(ClientOptions::default().ignore_pings());
    let mut bytes = bytes.iter().cycle();
    let began = Instant::now();
    while began.elapsed() < 3 * (INTERVAL + TIMEOUT) {
        match client.next_frame() {
            Frame::Ping(_) => client.send_raw(bytes.next().unwrap()),
            Frame::Closed { code, .. } => panic!("{what} is no life: closed with {code:?}"),
            _ => {}
        }
    }
    assert_eq!(server.stop_and_count(["connections_closed_unresponsive"]), [0], "{what}");
}

#[test]
fn whatever_comes_is_a_sign_of_life() {
    let request = WireFrame::new(BINARY, missing().encode()).encode();
    let fragment = |opcode| WireFrame::new(opcode, *b"x").unfinished().encode();
    let first = fragment(BINARY);
    let next = vec![fragment(CONTINUATION); 1000];
    let bytes: Vec<Vec<u8>> = request.iter().map(|byte| vec![*byte]).collect();
    let wrong = WireFrame::new(BINARY, malformed().encode()).encode();
    let signs = [
        ("a request", vec![request]),
        ("a wrong request", vec![wrong]),
        ("a ping", vec![WireFrame::new(PING, *b"x").encode()]),
        ("a pong that answers nothing", vec![WireFrame::new(PONG, *b"x").encode()]),
        ("a fragment", [vec![first], next].concat()),
        ("a byte of a request", bytes),
    ];
    thread::scope(|scope| {
        for (what, bytes) in &signs {
            scope.spawn(|| check_life(what, bytes));
        }
    });
}

#[test]
fn who_answers_nothing_is_closed_a_timeout_after_the_first_ping() {
    let mut server = Server::start_with(SETTINGS);
    for with_stream in [false, true] {
        let opened = Instant::now();
        let mut client = server.client_with(ClientOptions::default().ignore_pings());
        if with_stream {
            client.expect("POST", &["a"], int(0), 201);
            client.expect("STREAM", &["a"], nil(), 200);
        }
        let due = INTERVAL + TIMEOUT;
        assert_closed(&mut client, 4408, opened, due, 3 * due);
    }
    server.wait_for_lines("a ping was not answered (4408)", 2);
    assert_eq!(server.stop_and_count(["connections_closed_unresponsive"]), [2]);
}

#[test]
fn a_silence_shorter_than_the_timeout_is_nothing() {
    let server = Server::start_with(
        "websocket.ping_interval = \"50ms\"\nwebsocket.pong_timeout = \"1500ms\"",
    );
    let mut client = server.client_with(ClientOptions::default().ignore_pings());
    for _ in 0..5 {
        assert_quiet(&mut client, Duration::from_millis(500), "a client that is silent for long");
        client.expect("GET", &["missing"], nil(), 404);
    }
}

#[test]
fn without_a_timeout_nobody_has_to_answer_pings() {
    let server =
        Server::start_with("websocket.ping_interval = \"50ms\"\nwebsocket.pong_timeout = \"0s\"");
    let mut client = server.client_with(ClientOptions::default().ignore_pings());
    assert_quiet(&mut client, Duration::from_secs(1), "a client that answers no ping");
    client.expect("GET", &["missing"], nil(), 404);
}

/// The first ping comes due while the connection takes nothing, so it cannot be written.
#[test]
fn the_clock_starts_when_the_ping_is_written() {
    let server =
        Server::start_with("websocket.ping_interval = \"1s\"\nwebsocket.pong_timeout = \"800ms\"");
    let (mut writer, mut slow) = (server.client(), server.client_with(small()));
    writer.expect("POST", &["a"], large(0), 201);
    slow.send("STREAM", &["a"], nil());
    let began = Instant::now();
    let mut number = 0;
    // The witness of this test answers its pings in the meantime.
    while began.elapsed() < Duration::from_secs(3) {
        number += 1;
        writer.expect("PUT", &["a"], large(number), 200);
        assert_eq!(frames_for(&mut writer, Duration::from_millis(100)), []);
    }
    while slow.next_answer().payl != large(number) {}
    slow.expect("GET", &["missing"], nil(), 404);
    // From here on it is pinged, and answers.
    assert_quiet(&mut slow, Duration::from_secs(2), "a client that reads again");
    assert!(!server.output().contains("4408"), "{}", server.output());
}
