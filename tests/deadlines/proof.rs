//! `auth.first_request_timeout`: a connection that never shows good credentials. What stops before
//! the end of the handshake falls under the HTTP server's own time, which `crowd` measures.

use std::time::{Duration, Instant};

use crate::support::websocket::{BINARY, PING};
use crate::support::{Frame, Request, Server, StreamClient, WireFrame, nil, text};
use crate::{assert_closed, assert_quiet, frames_for, malformed, missing};

const TIMEOUT: Duration = Duration::from_millis(600);
const SETTINGS: &str = "auth.first_request_timeout = \"600ms\"\nauth.mode = \"users\"\n\
    auth.users = [{ name = \"u\", token = \"t\" }]";

/// A client sends this now and then, by the number of the round, and none of it proves anything: it
/// is closed in time.
#[track_caller]
fn check(bytes: impl Fn(usize) -> Vec<u8>) {
    let mut server = Server::start_with(SETTINGS);
    let opened = Instant::now();
    let mut client = server.client();
    for round in 0.. {
        // The server may close at any time.
        client.try_send_raw(&bytes(round));
        if let Some(end) = frames_for(&mut client, TIMEOUT / 10).pop()
            && matches!(end, Frame::Closed { .. })
        {
            assert!(format!("{end:?}").contains("1008"), "{end:?}");
            break;
        }
    }
    let waited = opened.elapsed();
    assert!(waited >= TIMEOUT, "closed after {waited:?} already");
    assert!(waited < TIMEOUT + crate::SLACK, "closed only after {waited:?}");
    server.wait_for_line("closed: no good request came in time (1008)");
    assert_eq!(server.stop_and_count(["connections_closed_unproven"]), [1]);
}

#[test]
fn who_sends_nothing_is_closed() {
    check(|_| Vec::new());
}

#[test]
fn who_sends_a_byte_now_and_then_is_closed() {
    let frame = WireFrame::new(BINARY, missing().payl(text(&"x".repeat(500))).encode()).encode();
    check(|round| vec![frame[round]]);
}

#[test]
fn who_sends_half_a_request_is_closed() {
    let frame = WireFrame::new(BINARY, missing().encode()).encode();
    check(|round| if round == 0 { frame[..frame.len() / 2].to_vec() } else { Vec::new() });
}

#[test]
fn who_sends_pings_is_closed() {
    check(|_| WireFrame::new(PING, *b"").encode());
}

#[test]
fn who_sends_garbage_is_closed() {
    let garbage = WireFrame::new(BINARY, *b"garbage").encode();
    check(|_| garbage.clone());
    let nobody = WireFrame::new(BINARY, Request { auth: None, ..missing() }.encode()).encode();
    check(|_| nobody.clone());
}

#[test]
fn who_sends_wrong_credentials_is_closed() {
    for (user, token) in [("u", "wrong"), ("nobody", "t"), ("", "")] {
        let wrong = WireFrame::new(BINARY, missing().user(user, token).encode()).encode();
        check(|_| wrong.clone());
    }
}

#[test]
fn a_good_request_stops_the_clock() {
    let server = Server::start_with(SETTINGS);
    // Good are the credentials; what is asked for need not be.
    let own = Request::new("GET", &["user", "u", "model"]);
    for (request, rnum) in [(own, 404), (malformed(), 400), (missing(), 403)] {
        let mut client = server.client();
        client.send_request(&request);
        assert_eq!(client.next_answer().rnum, rnum, "{request:?}");
        assert_quiet(&mut client, 3 * TIMEOUT, "a client that has proven itself");
        client.send_request(&missing().user("u", "wrong"));
        assert_eq!(client.next_answer().rnum, 401);
        assert_quiet(&mut client, TIMEOUT, "a client that had proven itself");
    }
}

#[test]
fn a_good_request_among_wrong_ones_stops_the_clock() {
    let server = Server::start_with(SETTINGS);
    let mut client = server.client();
    let wrong = missing().user("u", "wrong");
    let good = Request::new("GET", &["user", "u", "model"]);
    client.send_all([&wrong, &good, &wrong]);
    assert_eq!([(); 3].map(|()| client.next_answer().rnum), [401, 404, 401]);
    assert_quiet(&mut client, 2 * TIMEOUT, "a client that has proven itself");
}

#[test]
fn without_a_timeout_nobody_has_to_ask() {
    let server = Server::start_with("auth.first_request_timeout = \"0s\"");
    assert_quiet(&mut server.client(), 2 * TIMEOUT, "a client that asks for nothing");
}

#[test]
fn on_the_tcp_door_the_last_message_says_401() {
    let mut server = Server::start_with(&format!("{SETTINGS}\ntcp.enabled = true\ntcp.port = 0"));
    let opened = Instant::now();
    let mut client = StreamClient::tcp(server.tcp_port());
    client.send_raw(&missing().encode()[..5]);
    let last = client.next_answer();
    assert_eq!((last.rnum, last.reid), (401, nil()));
    assert_eq!(client.next_message(), None);
    assert!(opened.elapsed() >= TIMEOUT);
    assert_eq!(server.stop_and_count(["connections_closed_unproven"]), [1]);
}

#[test]
fn a_client_that_is_closed_in_time_may_come_again() {
    let server = Server::start_with(SETTINGS);
    for _ in 0..2 {
        let opened = Instant::now();
        assert_closed(&mut server.client(), 1008, opened, TIMEOUT, TIMEOUT);
    }
}
