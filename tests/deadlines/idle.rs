//! `session.idle_timeout`: a connection that asks for nothing.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::websocket::{BINARY, PING, PONG};
use crate::support::{ClientOptions, Request, Server, StreamClient, WireFrame, int, nil};
use crate::{assert_closed, assert_quiet, malformed};

const IDLE: Duration = Duration::from_millis(800);
const SETTINGS: &str = "session.idle_timeout = \"800ms\"\nwebsocket.ping_interval = \"50ms\"";

#[test]
fn who_asks_for_nothing_is_closed_though_it_answers_pings() {
    let mut server = Server::start_with(SETTINGS);
    let opened = Instant::now();
    assert_closed(&mut server.client(), 4409, opened, IDLE, 2 * IDLE);
    server.wait_for_line("closed: nothing was asked for too long (4409)");
    assert_eq!(server.stop_and_count(["connections_closed_idle"]), [1]);
}

#[test]
fn signs_that_are_no_requests_do_not_keep_a_connection() {
    let half = WireFrame::new(BINARY, malformed().encode()).encode()[..5].to_vec();
    for bytes in [
        WireFrame::new(PING, *b"").encode(),
        WireFrame::new(PONG, *b"").encode(),
        WireFrame::new(BINARY, *b"").unfinished().encode(),
        half,
    ] {
        let server = Server::start_with(SETTINGS);
        let opened = Instant::now();
        // A pong behind half a frame would be taken for its rest.
        let mut client = server.client_with(ClientOptions::default().ignore_pings());
        client.send_raw(&bytes);
        assert_closed(&mut client, 4409, opened, IDLE, 2 * IDLE);
    }
}

#[test]
fn a_request_keeps_a_connection() {
    let mut server = Server::start_with(SETTINGS);
    let mut client = server.client();
    let mut asked = Instant::now();
    for _ in 0..10 {
        assert_quiet(&mut client, IDLE / 2, "a client that asks now and then");
        asked = Instant::now();
        client.expect("GET", &["missing"], nil(), 404);
    }
    assert_closed(&mut client, 4409, asked, IDLE, 2 * IDLE);
    assert_eq!(server.stop_and_count(["connections_closed_idle"]), [1]);
}

#[test]
fn a_stream_keeps_a_connection() {
    let server = Server::start_with(SETTINGS);
    let mut client = server.client();
    client.expect("POST", &["a"], int(0), 201);
    client.expect("STREAM", &["a"], nil(), 200);
    assert_quiet(&mut client, 4 * IDLE, "a client with a stream");
}

/// The end of a stream comes at various moments between two looks of the server.
#[test]
fn the_time_begins_with_the_end_of_the_last_stream() {
    let server = Server::start_with(SETTINGS);
    let check = |phase: u32| {
        let name = phase.to_string();
        server.client().expect("POST", &[&name], int(0), 201);
        let mut client = server.client();
        client.expect("STREAM", &[&name], nil(), 200);
        assert_quiet(&mut client, IDLE + IDLE * phase / 6, "a client with a stream");
        let ended = Instant::now();
        server.client().expect("DELETE", &[&name], nil(), 200);
        assert_eq!(client.next_answer().rnum, 404);
        assert_closed(&mut client, 4409, ended, IDLE, 3 * IDLE);
    };
    thread::scope(|scope| {
        for phase in 0..6 {
            scope.spawn(move || check(phase));
        }
    });
}

#[test]
fn without_a_timeout_a_connection_may_be_idle() {
    let server = Server::start_with("websocket.ping_interval = \"50ms\"");
    assert_quiet(&mut server.client(), 4 * IDLE, "a client that asks for nothing");
}

#[test]
fn on_the_tcp_door_the_last_message_says_408() {
    let settings = "tcp.enabled = true\ntcp.port = 0\nsession.idle_timeout = \"800ms\"";
    let mut server = Server::start_with(settings);
    let opened = Instant::now();
    let mut client = StreamClient::tcp(server.tcp_port());
    client.send(&Request::new("GET", &["missing"]));
    assert_eq!(client.next_answer().rnum, 404);
    let last = client.next_answer();
    assert_eq!((last.rnum, last.reid), (408, nil()));
    assert_eq!(client.next_message(), None);
    assert!(opened.elapsed() >= IDLE);
    assert_eq!(server.stop_and_count(["connections_closed_idle"]), [1]);
}
