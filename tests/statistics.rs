//! What the broker does, as resources that a client streams.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod support;

use rmpv::Value;
use support::{Client, ClientOptions, Server, bin, int, nil};

const SETTINGS: &str = "\
auth.mode = \"users\"
auth.users = [\
    { name = \"root\", token = \"root-token\", admin = true }, \
    { name = \"ann\", token = \"ann-token\", roles = [\"student\"] }, \
    { name = \"tim\", token = \"tim-token\", roles = [\"tutor\"] }]
auth.rules = [\
    { roles = [\"tutor\"], allow = [\"READ\"], paths = [\"$fanal/stats/**\", \"wall\"] }]
auth.recheck_interval = \"50ms\"
statistics.interval = \"50ms\"
";

fn client(server: &Server, user: &str) -> Client {
    server.client_as(user, &format!("{user}-token"))
}

/// A server whose statistics are there, and the admin.
fn server(settings: &str) -> (Server, Client) {
    let server = Server::start_with(&format!("{SETTINGS}{settings}"));
    let mut root = client(&server, "root");
    root.expect("CREATE", &["wall"], nil(), 201);
    while root.request("GET", &["$fanal", "stats", "events"], nil()).rnum != 200 {}
    (server, root)
}

/// Opens a stream of the statistics with this name.
fn stream(client: &mut Client, name: &str) {
    client.expect("STREAM", &["$fanal", "stats", name], nil(), 200);
}

/// The next value of the only stream.
fn next(client: &mut Client) -> Value {
    let answer = client.next_answer();
    assert_eq!(answer.rnum, 200, "{answer:?}");
    rmpv::decode::read_value(&mut &answer.payl[..]).unwrap()
}

/// The next value that is as wanted.
fn wait_for(client: &mut Client, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..1000 {
        let value = next(client);
        if is_it(&value) {
            return value;
        }
    }
    panic!("{what} was never told");
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("no {field} in {value}"))
}

#[test]
fn numbers_follow_what_happens() {
    let (server, mut root) = server("");
    let mut tim = client(&server, "tim");
    stream(&mut tim, "broker");
    let value = wait_for(&mut tim, "two connections", |value| number(value, "connections") == 2);
    assert!(value["durable"].as_bool().unwrap());
    let mut ann = client(&server, "ann");
    ann.expect("GET", &["user"], nil(), 403);
    wait_for(&mut tim, "three connections", |value| number(value, "connections") == 3);
    for value in 0..100 {
        root.expect("PUT", &["wall"], int(value), 200);
    }
    wait_for(&mut tim, "a rate", |value| number(value, "updates_in_per_second") > 0);
}

#[test]
fn who_watches_what_is_told_to_who_wants_to_know() {
    let (server, mut root) = server("");
    let mut tim = client(&server, "tim");
    stream(&mut tim, "watchers");
    wait_for(&mut tim, "the stream itself", |value| {
        number(value, "$fanal/stats/watchers") == 1 && value["wall"].is_nil()
    });
    root.expect("STREAM", &["wall"], nil(), 200);
    wait_for(&mut tim, "a stream of the wall", |value| value["wall"] == Value::from(1));
    root.close(1000);
    wait_for(&mut tim, "its end", |value| value["wall"].is_nil());
}

#[test]
fn slow_streams_are_told() {
    let (server, mut root) = server("stream.buffer = 1\n");
    let options = ClientOptions::default().user("tim", "tim-token").receive_buffer_bytes(4096);
    let mut behind = server.client_with(options);
    behind.expect("STREAM", &["wall"], nil(), 200);
    let mut tim = client(&server, "tim");
    stream(&mut tim, "slow");
    let lost = |value: &Value| value.as_array().is_some_and(|all| !all.is_empty());
    for round in 0.. {
        assert!(round < 200, "nothing was ever lost");
        for _ in 0..50 {
            root.expect("PUT", &["wall"], bin(&[1; 60_000]), 200);
        }
        let value = next(&mut tim);
        if lost(&value) {
            let first = &value.as_array().unwrap()[0];
            assert_eq!(first["path"], Value::from("wall"));
            assert!(number(first, "skipped") > 0);
            return;
        }
    }
}

#[test]
fn events_come_one_by_one() {
    let (server, _root) = server("");
    let mut tim = client(&server, "tim");
    stream(&mut tim, "events");
    let is = |event: &'static str| move |value: &Value| value["event"] == Value::from(event);
    let mut ann = client(&server, "ann");
    let is_ann = |value: &Value| is("connected")(value) && number(value, "session") == 3;
    let opened = wait_for(&mut tim, "a connection", is_ann);
    assert_eq!(opened["address"], Value::from("127.0.0.1"));
    ann.expect("GET", &["user"], nil(), 403);
    ann.close(1000);
    let closed = wait_for(&mut tim, "its end", is("disconnected"));
    assert_eq!(closed["session"], opened["session"]);
    assert_eq!((number(&closed, "requests"), &closed["user"]), (1, &Value::from("ann")));
    server.configure(&format!("{SETTINGS}link.buffer = 3\n"));
    wait_for(&mut tim, "a reload", is("reloaded"));
    server.configure("nonsense");
    wait_for(&mut tim, "a reload that failed", is("reload_failed"));
}

#[test]
fn they_are_for_who_may_read_them() {
    let (server, mut root) = server("");
    for name in ["broker", "watchers", "slow", "events"] {
        let path = ["$fanal", "stats", name];
        root.expect("GET", &path, nil(), 200);
        client(&server, "tim").expect("GET", &path, nil(), 200);
        client(&server, "tim").expect("PUT", &path, int(1), 403);
        client(&server, "ann").expect("GET", &path, nil(), 403);
        client(&server, "ann").expect("STREAM", &path, nil(), 403);
    }
    let listing = client(&server, "ann").request("LIST", &[], nil());
    assert!(!String::from_utf8_lossy(&listing.payl).contains("fanal"), "{listing:?}");
}

#[test]
fn without_an_interval_there_are_none_and_what_was_there_does_no_harm() {
    let (mut server, root) = server("");
    drop(root);
    server.configure(&SETTINGS.replace("50ms\"\n", "0s\"\n"));
    server.restart();
    let mut root = client(&server, "root");
    root.expect("GET", &["wall"], nil(), 200);
    root.expect("DELETE", &["$fanal", "stats"], nil(), 200);
    server.configure(SETTINGS);
    server.restart();
    let mut root = client(&server, "root");
    while root.request("GET", &["$fanal", "stats", "events"], nil()).rnum != 200 {}
    stream(&mut root, "broker");
    wait_for(&mut root, "numbers", |value| !value.is_nil());
}
