//! Bounded: what a client may take is bounded by configuration. A bound refuses what is beyond it,
//! and gives the room back.

use std::time::Duration;

use crate::support::websocket::BINARY;
use crate::support::{Client, ClientOptions, Request, Server, WireFrame};
use crate::support::{array, bin, int, nil, to_bytes};

/// Sends these requests, one after the other, and expects these codes: verb, path with slashes,
/// PAYL, RNUM. Every refusal says why.
#[track_caller]
fn check(settings: &str, steps: &[(&str, &str, Vec<u8>, i64)]) {
    let server = Server::start_with(settings);
    let mut client = server.client();
    for (number, (verb, path, payl, rnum)) in steps.iter().enumerate() {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        let answer = client.request(verb, &names, payl.clone());
        assert_eq!(answer.rnum, *rnum, "step {number}, {verb} {path}: {answer:?}");
        assert_eq!(answer.warnings.is_empty(), *rnum < 400, "step {number}: {answer:?}");
    }
}

/// How much memory the server takes, in KiB, while a client sends this message so many times, or
/// until it is not read any more, and reads no answer.
#[track_caller]
fn growth(server: &Server, request: &Request, count: usize) -> u64 {
    let message = WireFrame::new(BINARY, request.encode()).encode();
    let mut client = server.client_with(ClientOptions::default().receive_buffer_bytes(4096));
    let before = server.peak_rss_kb();
    client.send_until_blocked(&message, count * message.len(), Duration::from_secs(1));
    // The kernel's own count of the peak is not exact.
    server.peak_rss_kb().saturating_sub(before)
}

/// A value whose encoding has this many bytes, of which fewer than 256.
fn sized(bytes: usize) -> Vec<u8> {
    bin(&vec![7; bytes - 2])
}

/// A value of about so many KiB.
fn kib(count: usize) -> Vec<u8> {
    bin(&vec![7; count * 1024])
}

#[test]
fn streams_beyond_the_bound_are_refused_until_one_ends() {
    let server = Server::start_with("session.streams_max = 3");
    let mut client = server.client();
    for name in ["a", "b"] {
        client.expect("POST", &[name], int(0), 201);
    }
    let mut stream = |verb, name, reid| {
        client.send_request(&Request::new(verb, &[name]).reid(int(reid)));
        let answer = client.next_answer();
        (answer.rnum, answer.warnings.len())
    };
    assert_eq!(stream("STREAM", "a", 1), (200, 0));
    assert_eq!(stream("STREAM", "a", 2), (200, 0));
    assert_eq!(stream("STREAM", "b", 1), (200, 0));
    assert_eq!(stream("STREAM", "b", 2), (429, 1));
    assert_eq!(stream("STREAM", "b", 1), (200, 1), "one that is open already is no further one");
    assert_eq!(stream("STOP", "a", 2), (200, 0));
    assert_eq!(stream("STREAM", "b", 2), (200, 0));
    assert_eq!(stream("STREAM", "a", 2), (429, 1));
    let mut other = server.client();
    for reid in 1..=3 {
        other.send_request(&Request::new("STREAM", &["a"]).reid(int(reid)));
        assert_eq!(other.next_answer().rnum, 200, "the bound is one of each connection");
    }
    other.expect("DELETE", &["b"], nil(), 200);
    // The two streams of b end.
    assert_eq!([client.next_answer().rnum, client.next_answer().rnum], [404; 2]);
    for reid in 11..=12 {
        client.send_request(&Request::new("STREAM", &["a"]).reid(int(reid)));
        assert_eq!(client.next_answer().rnum, 200);
    }
}

#[test]
fn resources_and_directories_beyond_the_bound_are_refused_until_some_are_deleted() {
    check(
        "limits.nodes_max = 5",
        &[
            ("CREATE", "a/b/c", nil(), 201),
            ("POST", "a/b/d/e", int(1), 201),
            ("CREATE", "f", nil(), 507),
            ("MKDIR", "f", nil(), 507),
            ("POST", "f", int(1), 507),
            ("LIST", "f", nil(), 404),
            ("POST", "a/b/c", int(2), 200),
            ("DELETE", "a/b/c", nil(), 200),
            ("CREATE", "f/g", nil(), 507),
            ("LIST", "f", nil(), 404),
            ("CREATE", "f", nil(), 201),
            ("CREATE", "g", nil(), 507),
            ("DELETE", "a", nil(), 200),
            ("POST", "a/b/c/d", int(1), 201),
            ("CREATE", "g", nil(), 507),
        ],
    );
}

#[test]
fn values_beyond_the_bound_are_refused_until_there_is_room() {
    check(
        "limits.values_bytes_max = 1024",
        &[
            ("POST", "a", sized(200), 201),
            ("POST", "b", sized(200), 201),
            ("POST", "d/c", sized(200), 201),
            ("POST", "d/e", sized(200), 201),
            ("POST", "f", sized(200), 201),
            ("POST", "g", sized(25), 507),
            ("GET", "g", nil(), 404),
            ("PUT", "a", sized(224), 200),
            ("PUT", "b", sized(201), 507),
            ("CREATE", "g", nil(), 507),
            ("GET", "b", nil(), 200),
            ("PUT", "a", sized(100), 200),
            ("PUT", "b", sized(250), 200),
            ("POST", "b", sized(250), 200),
            ("PUT", "f", sized(250), 200),
            ("POST", "g", sized(25), 507),
            ("DELETE", "d", nil(), 200),
            ("POST", "d/c", sized(250), 201),
            ("POST", "g", sized(150), 201),
            ("POST", "h", sized(25), 507),
        ],
    );
}

#[test]
fn what_is_refused_for_another_bound_takes_no_room_for_values() {
    let mut steps = vec![("POST", "a", sized(10), 201)];
    for _ in 0..20 {
        steps.push(("POST", "b", sized(200), 507));
        steps.push(("POST", "a/b", sized(200), 404));
    }
    steps.push(("PUT", "a", sized(200), 200));
    check("limits.values_bytes_max = 1024\nlimits.nodes_max = 1", &steps);
}

#[test]
fn values_keep_their_room_over_a_restart() {
    let mut server = Server::start_with("limits.values_bytes_max = 1024");
    for name in ["a", "b", "c", "d", "e"] {
        server.client().expect("POST", &[name], sized(200), 201);
    }
    server.restart();
    let mut client = server.client();
    client.expect("PUT", &["a"], sized(225), 507);
    client.expect("PUT", &["a"], sized(224), 200);
    client.expect("DELETE", &["b"], nil(), 200);
    client.expect("PUT", &["a"], sized(250), 200);
}

#[test]
fn a_listing_beyond_the_bound_is_refused_and_smaller_ones_are_not() {
    let long = "x".repeat(1000);
    let deep = format!("d/{long}/{}", "y".repeat(100));
    check(
        "limits.list_bytes_max = 1024",
        &[
            ("CREATE", &deep, nil(), 201),
            ("LIST", "", nil(), 507),
            ("LIST", "d", nil(), 507),
            ("LIST", &format!("d/{long}"), nil(), 200),
            ("DELETE", &deep, nil(), 200),
            ("LIST", "", nil(), 200),
        ],
    );
}

#[test]
fn connections_beyond_the_bound_are_told_so_until_one_ends() {
    let server = Server::start_with("server.connections_max = 3");
    let connect = || Client::try_connect(server.port(), ClientOptions::default());
    let mut clients: Vec<Client> = (0..3).map(|_| server.client()).collect();
    let refused = connect().err().expect("there are as many as there may be");
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert_eq!(clients.remove(0).close(1000), Some(1000));
    // The room is given back a moment after the close frame, so it may take a few attempts.
    clients.push((0..10_000).find_map(|_| connect().ok()).expect("there is room again"));
    assert!(connect().is_err());
    for client in &mut clients {
        client.expect("LIST", &[], nil(), 200);
    }
}

#[test]
fn answers_that_are_not_read_cost_little_memory() {
    let server = Server::start();
    let mut owner = server.client();
    owner.expect("POST", &["x"], kib(64), 201);
    for number in 0..1000 {
        owner.send("MKDIR", &["list", &format!("{number:0>60}")], nil());
    }
    for _ in 0..1000 {
        assert_eq!(owner.next_answer().rnum, 201);
    }
    let list = growth(&server, &Request::new("LIST", &["list"]), 10_000);
    let get = growth(&server, &Request::new("GET", &["x"]), 10_000);
    // All the answers together are 600 MiB each time.
    assert!(list < 24 * 1024 && get < 8 * 1024, "grown by {list} and {get} KiB");
}

#[test]
fn ten_thousand_requests_in_a_row_cost_little_memory() {
    // Requests that are all wrong would end the connection before long.
    let server = Server::start_with("session.wrong_requests_max = 0");
    server.client().expect("POST", &["x"], int(0), 201);
    let put = growth(&server, &Request::new("PUT", &["x"]).payl(kib(16)), 10_000);
    // All of them together are 156 MiB.
    assert!(put < 16 * 1024, "grown by {put} KiB");
    let refused = growth(&server, &Request::new("NONSENSE", &["x"]).payl(kib(16)), 10_000);
    assert!(refused < 16 * 1024, "grown by {refused} KiB");
}

#[test]
fn long_paths_cost_little_memory() {
    let server = Server::start();
    let mut client = server.client();
    let before = server.peak_rss_kb();
    // Not far below the limit of a path, each another one, and 29 MiB together.
    for number in 0..2000 {
        let mut names = vec!["n".repeat(1500); 10];
        names.push(number.to_string());
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        client.send_request(&Request::new("GET", &names));
        assert_eq!(client.next_answer().rnum, 404);
    }
    let grown = server.peak_rss_kb() - before;
    assert!(grown < 8 * 1024, "one connection makes the server grow by {grown} KiB");
}

#[test]
fn streams_with_long_reids_cost_little_memory() {
    let server = Server::start();
    let mut client = server.client();
    client.expect("POST", &["x"], int(0), 201);
    let before = server.peak_rss_kb();
    for number in 0..80 {
        let mut reid = vec![b'r'; 256 * 1024];
        reid.extend(int(number));
        let request = Request::new("STREAM", &["x"]).reid(to_bytes(&rmpv::Value::Binary(reid)));
        client.send_request(&request);
        // Whether it is refused is a matter of taste.
        client.next_answer();
    }
    let grown = server.peak_rss_kb() - before;
    assert!(grown < 8 * 1024, "one connection makes the server grow by {grown} KiB");
}

#[test]
fn links_that_are_made_and_ended_again_and_again_cost_nothing() {
    // Without a disk, behind which changes would wait for as long as it is slow.
    let server = Server::start_with("store.engine = \"memory\"");
    let mut client = server.client();
    for name in ["a", "b"] {
        client.expect("POST", &[name], int(0), 201);
    }
    let link = |verb| Request::new(verb, &["b"]).payl(array(&["a"]));
    let mut rounds = |count: usize| {
        for _ in 0..count {
            client.send_all(&[link("LINK"), link("UNLINK")]);
            assert_eq!([client.next_answer().rnum, client.next_answer().rnum], [200, 200]);
        }
    };
    // By then the allocator has the pages that it goes on with.
    rounds(10_000);
    let before = server.peak_rss_kb();
    rounds(20_000);
    let grown = server.peak_rss_kb() - before;
    assert!(grown < 1024, "grown by {grown} KiB");
}

#[test]
fn streams_that_are_opened_and_ended_again_and_again_cost_nothing() {
    let server = Server::start();
    let mut client = server.client();
    client.expect("POST", &["x"], int(0), 201);
    let requests: Vec<Request> = (0..500)
        .flat_map(|reid| ["STREAM", "STOP"].map(|v| Request::new(v, &["x"]).reid(int(reid))))
        .collect();
    let mut rounds = |count: usize| {
        for _ in 0..count {
            client.send_all(&requests);
            requests.iter().for_each(|_| assert_eq!(client.next_answer().rnum, 200));
        }
    };
    rounds(2);
    let before = server.peak_rss_kb();
    rounds(20);
    let grown = server.peak_rss_kb() - before;
    assert!(grown < 1024, "grown by {grown} KiB");
}
