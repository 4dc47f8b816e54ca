//! What the operator sees and does: the banner, the log, signals, the commands around the server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly, and they measure the time themselves"
)]

#[path = "operation/commands.rs"]
mod commands;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::websocket::{BINARY, TEXT};
use support::{Client, ClientOptions, Frame, PATIENCE, Request, Server, WireFrame};
use support::{bin, int, nil, text};

const TWO_USERS: &str = "auth.mode = \"users\"\n\
    auth.users = [{ name = \"ann\", token = \"secret of ann\" },\
    { name = \"root\", token = \"secret of root\", admin = true }]";

// ---- the start

#[track_caller]
fn check_banner(settings: &str, expected: &[&str]) {
    let server = Server::start_with(settings);
    server.wait_for_line("fanal watch user/demo/model");
    let banner = server.output();
    for part in expected {
        assert!(banner.contains(part), "no {part:?} in\n{banner}");
    }
    let port = server.port();
    assert!(banner.contains(&format!("listening  ws://127.0.0.1:{port}/")), "{banner}");
    assert!(banner.contains(&format!("config     {}", server.config_path().display())), "{banner}");
    assert!(banner.contains(&format!("data       {}", server.data().display())));
    assert!(banner.contains(&format!("try        fanal demo --url ws://127.0.0.1:{port}/")));
}

#[test]
fn the_banner_says_where_and_what_and_who_and_how() {
    check_banner("", &["everybody may do everything", "saved every 100ms", "/websocket"]);
    check_banner("auth.mode = \"allow_none\"", &["nobody may do anything"]);
    check_banner(TWO_USERS, &["2 users, 1 of them admins"]);
    check_banner("server.routes = [\"/live\"]", &["/live  ", "--url ws://127.0.0.1:"]);
}

#[test]
fn the_banner_counts_what_was_loaded() {
    let mut server = Server::start();
    server.client().expect("POST", &["a", "b"], nil(), 201);
    server.restart();
    server.wait_for_line("2 resources and directories loaded");
}

// ---- the end

/// A client that always has requests in flight, until the connection ends; then the close code.
fn keep_busy(mut client: Client) -> Option<u16> {
    let put = Request::new("PUT", &["busy"]).payl(int(1));
    let frame = WireFrame::new(BINARY, put.encode()).encode();
    client.send_raw(&frame.repeat(16));
    loop {
        match client.next_frame() {
            Frame::Message(_) => drop(client.try_send_raw(&frame)),
            Frame::Closed { code, .. } => return code,
            other => panic!("{other:?}"),
        }
    }
}

#[track_caller]
fn check_stop(signal: Signal, line: &str) {
    let mut server = Server::start_with("shutdown.drain = \"2s\"");
    server.client().expect("CREATE", &["busy"], nil(), 201);
    let mut clients: Vec<Client> = (0..50).map(|_| server.client()).collect();
    clients[0].expect("POST", &["saved"], int(1), 201);
    let busy = server.client();
    let asked = Instant::now();
    thread::scope(|scope| {
        let busy = scope.spawn(|| keep_busy(busy));
        clients[0].expect("PUT", &["saved"], int(2), 200);
        server.signal(signal);
        for client in &mut clients {
            match client.next_frame() {
                Frame::Closed { code: Some(1001), reason } => assert!(!reason.is_empty()),
                other => panic!("awaited a close frame, got {other:?}"),
            }
        }
        assert_eq!(busy.join().unwrap(), Some(1001), "the client with requests in flight");
    });
    server.wait_for_line(line);
    let status = server.wait();
    assert_eq!(status.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(4), "it took {:?}", asked.elapsed());
    server.start_again();
    assert_eq!(server.client().expect("GET", &["saved"], nil(), 200).payl, int(2));
}

#[test]
fn sigterm_closes_every_connection_with_a_reason_and_saves() {
    check_stop(Signal::TERM, "SIGTERM: stopping");
}

#[test]
fn sigint_does_the_same() {
    check_stop(Signal::INT, "SIGINT: stopping");
}

#[test]
fn many_connections_are_closed_in_batches() {
    let mut server = Server::start_with("shutdown.drain = \"2s\"");
    let mut clients: Vec<Client> = (0..350).map(|_| server.client()).collect();
    server.wait_for_lines("opened from", 350);
    server.signal(Signal::TERM);
    let closed: Vec<Instant> = clients
        .iter_mut()
        .map(|client| {
            assert_eq!(client.wait_for_close(), Some(1001));
            Instant::now()
        })
        .collect();
    // Four batches, the last of them after three pauses of three eighths of a second.
    let lasted = closed[349] - closed[0];
    assert!(lasted > Duration::from_millis(900), "all were closed within {lasted:?}");
    server.wait_for_line("connections are left");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn without_time_all_are_closed_at_once() {
    let mut server = Server::start_with("shutdown.drain = \"0s\"");
    let mut clients: Vec<Client> = (0..350).map(|_| server.client()).collect();
    clients[0].expect("POST", &["saved"], int(1), 201);
    server.wait_for_lines("opened from", 350);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    server.start_again();
    assert_eq!(server.client().expect("GET", &["saved"], nil(), 200).payl, int(1));
}

/// A client that has not read what is under way to it, and that does not read until it is told to.
fn stalled(server: &Server) -> Client {
    let mut stalled = server.client_with(ClientOptions::default().receive_buffer_bytes(4096));
    let mut writer = server.client();
    writer.expect("POST", &["large"], nil(), 201);
    stalled.expect("STREAM", &["large"], nil(), 200);
    for number in 0..20 {
        writer.expect("PUT", &["large"], bin(&[number; 500_000]), 200);
    }
    stalled
}

#[test]
fn a_stalled_client_does_not_hold_up_the_end() {
    let mut server = Server::start_with("shutdown.drain = \"1s\"");
    let stalled = stalled(&server);
    // Neither do connections that have asked for nothing yet.
    let silent = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let mut half = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    half.write_all(b"GET /websocket HTTP/1.1\r\n").unwrap();
    let asked = Instant::now();
    assert_eq!(server.stop().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(3), "it took {:?}", asked.elapsed());
    drop((stalled, silent, half));
}

#[test]
fn nobody_is_let_in_while_the_server_stops() {
    let mut server = Server::start_with("shutdown.drain = \"2s\"");
    let (mut client, _stalled) = (server.client(), stalled(&server));
    server.signal(Signal::TERM);
    assert_eq!(client.wait_for_close(), Some(1001));
    if let Ok(mut late) = TcpStream::connect(("127.0.0.1", server.port())) {
        let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        late.set_read_timeout(Some(PATIENCE)).unwrap();
        // The end may come before or after the request is taken.
        drop(late.write_all(request.as_bytes()));
        let mut answer = String::new();
        drop(late.read_to_string(&mut answer));
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT)] {
        let mut server = Server::start_with("shutdown.drain = \"1m\"");
        let (mut client, _stalled) = (server.client(), stalled(&server));
        server.signal(first);
        // Now the end has begun, and the stalled client holds it up.
        assert_eq!(client.wait_for_close(), Some(1001));
        let asked = Instant::now();
        server.signal(second);
        let status = server.wait();
        assert!(!status.success(), "{status}");
        assert!(asked.elapsed() < Duration::from_secs(2), "it took {:?}", asked.elapsed());
    }
}

// ---- the log

const TOKEN: &str = "tk-9f1c-do-not-log";
const PAYLOAD: &str = "pl-77aa-do-not-log";

/// Does all that could make a server talk, with a token and payloads that nobody else has, at the
/// level where it talks most, and returns all that it printed.
fn talkative(format: &str) -> String {
    let users = format!("auth.users = [{{ name = \"ann\", token = \"{TOKEN}\", admin = true }}]");
    let mut server = Server::start_with(&format!(
        "log.level = \"trace\"\nlog.format = \"{format}\"\nauth.mode = \"users\"\n{users}"
    ));
    let ann = ClientOptions::default().user("ann", TOKEN);
    // So does jighthouse.
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let mut client = server.client_with(ann.clone().header(&bearer));
    client.expect("POST", &["a"], text(PAYLOAD), 201);
    client.expect("STREAM", &["a"], nil(), 200);
    client.expect("PUT", &["a"], text(PAYLOAD), 200);
    client.expect("PUT", &["missing"], text(PAYLOAD), 404);
    client.expect("NONSENSE", &["a"], text(PAYLOAD), 405);
    client.expect("LINK", &["a"], text(PAYLOAD), 400);
    let malformed = Request::new("PUT", &["a"]).user("ann", TOKEN).payl(text(PAYLOAD)).encode();
    client.send_message(&malformed[..malformed.len() - 1]);
    client.send_message(&[&malformed[..], &[0]].concat());
    client.barrier();
    client.close(1000);
    for wrong in [format!("{TOKEN}!"), TOKEN.to_uppercase()] {
        server.client_as("ann", &wrong).expect("GET", &["a"], text(PAYLOAD), 401);
    }
    let mut texter = server.client_with(ann);
    texter.send_frame(&WireFrame::new(TEXT, malformed));
    texter.wait_for_close();
    let query = format!("GET /?token={TOKEN} HTTP/1.1\r\nConnection: close\r\n\r\n");
    support::http(server.port(), &query);
    server.wait_for_lines(" closed: ", 4);
    server.restart();
    server.client_as("ann", TOKEN).expect("GET", &["a"], nil(), 200);
    server.output()
}

#[test]
fn no_token_and_no_payload_gets_into_the_log() {
    for format in ["text", "json"] {
        let output = talkative(format).to_lowercase();
        for secret in [TOKEN, PAYLOAD] {
            assert!(!output.contains(&secret.to_lowercase()), "{secret} in\n{output}");
            // Nor as a list of bytes, as Debug shows it.
            let bytes = format!("{:?}", secret.as_bytes());
            assert!(!output.contains(bytes.trim_matches(['[', ']'])), "{secret} in\n{output}");
        }
    }
}

#[test]
fn the_json_log_is_one_object_a_line() {
    let server = Server::start_with("log.format = \"json\"\nlog.level = \"debug\"");
    server.client_as("ann \"\n", "t").expect("GET", &["missing"], nil(), 404);
    let line = server.wait_for_line(" closed: ");
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(object["level"], "info");
    for key in ["time", "target", "message"] {
        assert!(object[key].is_string(), "{line}");
    }
    assert_eq!(object["session"], 1, "{line}");
}

#[test]
fn the_level_may_be_changed_while_the_server_runs() {
    let server = Server::start_with("log.level = \"warn\"");
    let _before = server.client();
    assert_eq!(server.api("PUT", "log?level=info,fanal::doors=debug").0, 200);
    let _after = server.client();
    server.wait_for_line("session 2 opened");
    assert!(!server.output().contains("session 1 opened"), "{}", server.output());
    assert_eq!(server.api("PUT", "log?level=off").0, 200);
    let _unseen = server.client();
    assert_eq!(server.api("PUT", "log?level=info").0, 200);
    let _last = server.client();
    server.wait_for_line("session 4 opened");
    assert!(!server.output().contains("session 3 opened"), "{}", server.output());
}

#[test]
fn a_line_now_and_then_says_what_the_server_does() {
    let server = Server::start_with("log.summary_interval = \"100ms\"");
    let mut client = server.client();
    client.expect("POST", &["a"], bin(&[7; 2045]), 201);
    let line = server.wait_for_line("1 resources and directories with 2.00 KiB");
    assert!(line.contains("summary: 1 connections, "), "{line}");
    assert!(line.contains(" MiB of memory"), "{line}");
    let server = Server::start_with("log.summary_interval = \"0s\"\nlog.format = \"json\"");
    server.client().expect("GET", &["a"], nil(), 404);
    server.wait_for_line(" closed: ");
    assert!(!server.output().contains("summary"), "{}", server.output());
}

#[test]
fn a_connection_is_one_line_at_its_begin_and_one_at_its_end() {
    let server = Server::start_with(TWO_USERS);
    let mut client = server.client_as("ann", "secret of ann");
    client.expect("LIST", &[], nil(), 200);
    client.expect("GET", &["user", "ann", "model"], nil(), 404);
    client.expect("PUT", &["live"], nil(), 403);
    client.close(4000);
    let opened = server.wait_for_line(" opened from ");
    let (_, address) = opened.split_once(" session 1 opened from ").expect("the id comes first");
    assert!(address.starts_with("127.0.0.1:"), "{opened}");
    let closed = server.wait_for_line(" closed: ");
    let (_, rest) = closed.split_once(" session 1 closed: ").expect("the id comes first");
    let expected = format!(
        "the client closed it (4000); user ann from {address}, 3 requests, 0 streams, \
         0 updates skipped, "
    );
    assert!(rest.starts_with(&expected), "{closed}\nexpected {expected}");
    assert_eq!(server.output().matches(" session 1 ").count(), 2);
}

#[test]
fn what_a_client_calls_itself_forges_no_line() {
    let server = Server::start();
    let name = "ann\n[2026-01-01T00:00:00Z INFO ] session 9 opened\r\u{1b}[31m\u{202e}";
    server.client_as(name, "t").expect("GET", &["missing"], nil(), 404);
    let line = server.wait_for_line(" closed: ");
    assert!(line.contains("user ann\\n[2026"), "{line}");
    assert!(!server.output().contains(['\r', '\u{1b}', '\u{202e}']), "{line}");
    let endless = "x".repeat(8000);
    server.client_as(&endless, "t").expect("GET", &["missing"], nil(), 404);
    server.wait_for_lines(" closed: ", 2);
    assert!(server.output().lines().all(|line| line.len() < 1000));
}

#[test]
fn each_way_to_end_has_its_reason_in_the_log() {
    let mut server = Server::start_with("limits.message_bytes_max = 1024");
    let check = |act: &dyn Fn(&mut Client), reason: &str| {
        let mut client = server.client();
        act(&mut client);
        server.wait_for_line(&format!(" closed: {reason}; "));
    };
    let frame = |frame: WireFrame| move |client: &mut Client| client.send_frame(&frame);
    check(&frame(WireFrame::new(TEXT, *b"x")), "a text message came (1003)");
    check(&frame(WireFrame::new(BINARY, [0; 1025])), "a message was too big (1009)");
    check(&frame(WireFrame::new(BINARY, *b"").unmasked()), "a frame was not masked (1002)");
    check(&frame(WireFrame::new(8, *b"")), "the client closed it");
    check(&frame(WireFrame::new(8, [3, 233])), "the client closed it (1001)");
    check(&|client| client.finish_sending(), "the connection broke");
    let _client = server.client();
    server.signal(Signal::TERM);
    server.wait_for_line(" closed: the server stops (1001); ");
    assert!(server.wait().success());
}
