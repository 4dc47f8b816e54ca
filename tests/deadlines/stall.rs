//! `outbox.stall_timeout`: a client that takes nothing of what is sent to it.

use std::time::{Duration, Instant};

use crate::support::websocket::{BINARY, PING, PONG};
use crate::support::{Client, PATIENCE, Request, Server, WireFrame, Witness, nil};
use crate::{SLACK, large, small};

const STALL: Duration = Duration::from_millis(500);
const SETTINGS: &str = "outbox.stall_timeout = \"500ms\"";
const LINE: &str = "closed: the client took nothing for too long";

/// A client does something and reads nothing, while `meanwhile` goes on again and again: it is
/// ended, not before the time has passed, is counted, and a witness sees nothing of it.
#[track_caller]
fn check(start: impl FnOnce(&mut Client), mut meanwhile: impl FnMut(&mut Client)) {
    let mut server = Server::start_with(SETTINGS);
    let mut witness = Witness::of(&server);
    let mut writer = server.client();
    writer.expect("POST", &["a"], large(0), 201);
    // After the witness's two and the writer's this is session 4.
    let mut stalled = server.client_with(small());
    let began = Instant::now();
    start(&mut stalled);
    while !server.output().contains(LINE) {
        meanwhile(&mut writer);
        witness.sees_updates();
        assert!(began.elapsed() < PATIENCE, "the client is not ended");
    }
    let waited = began.elapsed();
    assert!(waited >= STALL && waited < STALL + SLACK, "ended after {waited:?}");
    assert!(server.wait_for_line(LINE).contains(&format!("session 4 {LINE}")));
    // What was on its way comes, and then the end, without a close frame.
    assert_eq!(stalled.wait_for_close(), None);
    witness.sees_updates();
    writer.expect("GET", &["a"], nil(), 200);
    assert_eq!(server.output().matches(LINE).count(), 1);
    assert_eq!(server.stop_and_count(["connections_closed_stalled"]), [1]);
}

#[test]
fn who_does_not_read_the_values_of_a_stream_is_ended() {
    let mut number = 0;
    check(
        |stalled| _ = stalled.send("STREAM", &["a"], nil()),
        |writer| {
            number += 1;
            writer.expect("PUT", &["a"], large(number), 200);
        },
    );
}

#[test]
fn who_does_not_read_one_large_answer_is_ended() {
    check(|stalled| _ = stalled.send("GET", &["a"], nil()), |_| {});
}

#[test]
fn who_asks_on_and_on_and_does_not_read_is_ended() {
    let gets = WireFrame::new(BINARY, Request::new("GET", &["a"]).encode()).encode();
    check(|stalled| stalled.send_raw(&gets.repeat(1000)), |_| {});
}

#[test]
fn who_pings_and_does_not_read_is_ended() {
    let pings = WireFrame::new(PING, [0; 125]).encode().repeat(1000);
    let quiet = Duration::from_millis(200);
    check(|stalled| assert!(stalled.send_until_blocked(&pings, 1 << 28, quiet) < 1 << 28), |_| {});
}

#[test]
fn what_a_client_sends_does_not_make_up_for_what_it_does_not_take() {
    let server = Server::start_with(SETTINGS);
    server.client().expect("POST", &["a"], large(0), 201);
    let mut stalled = server.client_with(small());
    stalled.send("GET", &["a"], nil());
    let pong = WireFrame::new(PONG, *b"").encode();
    let began = Instant::now();
    while !server.output().contains(LINE) {
        stalled.try_send_raw(&pong);
        assert!(began.elapsed() < PATIENCE, "the client is not ended");
    }
}

#[test]
fn who_reads_a_little_now_and_then_is_not_ended() {
    let mut server = Server::start_with("outbox.stall_timeout = \"1s\"");
    let (mut writer, mut slow) = (server.client(), server.client_with(small()));
    writer.expect("POST", &["a"], large(0), 201);
    slow.send("STREAM", &["a"], nil());
    let began = Instant::now();
    let (mut number, mut read) = (0, Instant::now());
    while began.elapsed() < Duration::from_secs(4) {
        number += 1;
        writer.expect("PUT", &["a"], large(number), 200);
        if read.elapsed() > Duration::from_millis(100) {
            read = Instant::now();
            let mut taken = 0;
            while taken < 64 * 1024 {
                let count = slow.take_within(PATIENCE, 64 * 1024 - taken).expect("more comes");
                assert_ne!(count, 0, "the server has ended the connection");
                taken += count;
            }
        }
    }
    while slow.next_answer().payl != large(number) {}
    assert_eq!(server.stop_and_count(["connections_closed_stalled"]), [0]);
}

#[test]
fn without_a_timeout_who_reads_nothing_stays_and_ends_on_the_last_value() {
    let mut server = Server::start_with("outbox.stall_timeout = \"0s\"");
    let (mut writer, mut stalled) = (server.client(), server.client_with(small()));
    writer.expect("POST", &["a"], large(0), 201);
    stalled.send("STREAM", &["a"], nil());
    let began = Instant::now();
    let mut number = 0;
    while began.elapsed() < 4 * STALL {
        number += 1;
        writer.expect("PUT", &["a"], large(number), 200);
    }
    while stalled.next_answer().payl != large(number) {}
    stalled.expect("GET", &["missing"], nil(), 404);
    assert_eq!(server.stop_and_count(["connections_closed_stalled"]), [0]);
}
