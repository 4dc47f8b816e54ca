//! `session.wrong_requests_max` and `session.wrong_requests_timeout`: a client that sends nothing
//! but requests that are malformed or not permitted.

use std::time::{Duration, Instant};

use crate::support::websocket::{BINARY, PONG};
use crate::support::{Client, Frame, Request, Server, StreamClient, WireFrame, int, nil};
use crate::{SLACK, frames_for, malformed, missing};

const MAX: usize = 5;
const TIMEOUT: Duration = Duration::from_millis(500);
const USERS: &str = "auth.mode = \"users\"\nauth.users = [\
    { name = \"u\", token = \"t\", admin = true }, { name = \"ann\", token = \"t\" }]";
const LINE: &str = "closed: only malformed or forbidden requests came (1008)";

/// A server with users that minds only how many wrong requests come in a row.
fn counting() -> Server {
    Server::start_with(&format!(
        "{USERS}\nsession.wrong_requests_max = {MAX}\nsession.wrong_requests_timeout = \"0s\""
    ))
}

/// A server with users that minds only for how long only wrong requests come.
fn timing() -> Server {
    Server::start_with(&format!(
        "{USERS}\nsession.wrong_requests_max = 0\nsession.wrong_requests_timeout = \"500ms\""
    ))
}

/// What is malformed or not permitted, and the answer to it.
fn wrong_ones() -> [(Request, i64); 5] {
    [
        (malformed(), 400),
        (Request { verb: Some(int(1)), ..missing() }, 400),
        (missing().user("u", "wrong"), 401),
        (missing().user("ann", "t"), 403),
        (good("NONSENSE"), 405),
    ]
}

/// A good request for something that may be there or not.
fn good(verb: &str) -> Request {
    Request::new(verb, &["a"])
}

/// Sends these requests in one write and expects these answers, in order.
#[track_caller]
fn exchange(client: &mut Client, requests: &[(Request, i64)]) {
    client.send_all(requests.iter().map(|(request, _)| request));
    for (request, rnum) in requests {
        assert_eq!(client.next_answer().rnum, *rnum, "{request:?}");
    }
}

#[test]
fn so_many_in_a_row_are_answered_and_then_the_connection_is_closed() {
    for (request, rnum) in wrong_ones() {
        let mut server = counting();
        let mut client = server.client();
        for _ in 0..MAX {
            exchange(&mut client, &[(request.clone(), rnum)]);
        }
        assert_eq!(client.wait_for_close(), Some(1008), "{request:?}");
        server.wait_for_line(LINE);
        assert_eq!(server.stop_and_count(["connections_closed_wrong"]), [1], "{request:?}");
    }
}

#[test]
fn all_that_came_at_once_are_answered_before_the_close() {
    for count in [MAX, MAX + 1, 4 * MAX, 12 * MAX] {
        let server = counting();
        let mut client = server.client();
        let requests: Vec<_> = wrong_ones().into_iter().cycle().take(count).collect();
        exchange(&mut client, &requests);
        assert_eq!(client.wait_for_close(), Some(1008), "{count}");
    }
}

#[test]
fn one_less_is_nothing() {
    let server = counting();
    let mut client = server.client();
    exchange(&mut client, &wrong_ones()[..MAX - 1]);
    assert_eq!(frames_for(&mut client, TIMEOUT), []);
    exchange(&mut client, &wrong_ones()[..1]);
    assert_eq!(client.wait_for_close(), Some(1008));
}

#[test]
fn a_good_request_in_between_begins_the_count_again() {
    let mut server = counting();
    let mut client = server.client();
    let mut goods = vec![(good("GET"), 404), (good("STREAM"), 404), (good("LIST"), 404)];
    goods.extend([(good("POST"), 201), (good("POST"), 200), (good("GET"), 200)]);
    for good in goods {
        exchange(&mut client, &wrong_ones()[..MAX - 1]);
        exchange(&mut client, &[good]);
    }
    assert_eq!(server.stop_and_count(["connections_closed_wrong"]), [0]);
}

#[test]
fn what_is_not_there_is_not_wrong() {
    let mut server = counting();
    let mut client = server.client();
    for verb in ["GET", "PUT", "STREAM", "STOP", "LIST", "DELETE"] {
        exchange(&mut client, &vec![(good(verb), 404); 3 * MAX]);
    }
    exchange(&mut client, &[(good("POST"), 201), (good("GET"), 200)]);
    assert_eq!(server.stop_and_count(["connections_closed_wrong"]), [0]);
}

#[test]
fn only_wrong_ones_for_so_long_are_answered_and_then_the_connection_is_closed() {
    for (request, rnum) in wrong_ones() {
        let mut server = timing();
        let mut client = server.client();
        let began = Instant::now();
        let frame = WireFrame::new(BINARY, request.encode()).encode();
        let closed = loop {
            // The server may close at any time.
            client.try_send_raw(&frame);
            match frames_for(&mut client, TIMEOUT / 10).pop() {
                Some(Frame::Closed { code, .. }) => break code,
                Some(Frame::Message(message)) => {
                    assert_eq!(crate::support::Answer::parse(&message).rnum, rnum);
                }
                // A busy machine answers later.
                None => assert!(began.elapsed() < TIMEOUT + SLACK, "{request:?} is let pass"),
                other => panic!("{request:?} was answered by {other:?}"),
            }
        };
        assert_eq!(closed, Some(1008), "{request:?}");
        let waited = began.elapsed();
        assert!(waited >= TIMEOUT, "closed after {waited:?}");
        assert!(waited < TIMEOUT + SLACK, "closed after {waited:?}");
        assert_eq!(server.stop_and_count(["connections_closed_wrong"]), [1], "{request:?}");
    }
}

#[test]
fn wrong_requests_that_wait_for_another_one_count_too() {
    let server = counting();
    let mut client = server.client();
    let first = (good("MKDIR"), 201);
    let wrong = wrong_ones().into_iter().cycle().take(MAX);
    exchange(&mut client, &std::iter::once(first).chain(wrong).collect::<Vec<_>>());
    assert_eq!(client.wait_for_close(), Some(1008));
}

/// A good request begins the time again, whether it comes alone or with wrong ones around it, which
/// the server then sees at once.
#[test]
fn a_good_request_in_between_begins_the_time_again() {
    let mut server = timing();
    let wrong = || wrong_ones()[0].clone();
    let good = || (good("GET"), 404);
    for batch in [
        vec![good()],
        vec![good(), wrong()],
        vec![wrong(), good(), wrong()],
        vec![wrong(), wrong(), good(), wrong(), wrong(), wrong()],
    ] {
        let mut client = server.client();
        let began = Instant::now();
        while began.elapsed() < 3 * TIMEOUT {
            exchange(&mut client, &[wrong()]);
            exchange(&mut client, &batch);
            assert_eq!(frames_for(&mut client, TIMEOUT / 10), [], "{batch:?}");
        }
    }
    assert_eq!(server.stop_and_count(["connections_closed_wrong"]), [0]);
}

#[test]
fn who_stops_after_wrong_requests_is_not_closed_for_them() {
    let mut server = timing();
    let mut client = server.client();
    exchange(&mut client, &wrong_ones());
    let began = Instant::now();
    while began.elapsed() < 3 * TIMEOUT {
        client.send_frame(&WireFrame::new(PONG, *b""));
        assert_eq!(frames_for(&mut client, TIMEOUT / 4), []);
    }
    exchange(&mut client, &[(good("GET"), 404)]);
    assert_eq!(server.stop_and_count(["connections_closed_wrong"]), [0]);
}

#[test]
fn without_bounds_everything_may_be_wrong() {
    let server = Server::start_with(&format!(
        "{USERS}\nsession.wrong_requests_max = 0\nsession.wrong_requests_timeout = \"0s\""
    ));
    let mut client = server.client();
    let began = Instant::now();
    while began.elapsed() < 2 * TIMEOUT {
        exchange(&mut client, &wrong_ones());
    }
    exchange(&mut client, &vec![wrong_ones()[0].clone(); 2000]);
}

#[test]
fn on_the_tcp_door_the_last_message_says_403() {
    let mut server = Server::start_with(&format!(
        "tcp.enabled = true\ntcp.port = 0\nsession.wrong_requests_max = {MAX}"
    ));
    let mut client = StreamClient::tcp(server.tcp_port());
    for _ in 0..MAX {
        client.send(&malformed());
        assert_eq!(client.next_answer().rnum, 400);
    }
    let last = client.next_answer();
    assert_eq!((last.rnum, last.reid), (403, nil()));
    assert_eq!(client.next_message(), None);
    assert_eq!(server.stop_and_count(["connections_closed_wrong"]), [1]);
}
