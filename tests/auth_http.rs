//! The provider `http`: users whom a service knows, over real sockets on both sides.
//!
//! Time-outs are short here. A test that something is not asked again waits for something else that
//! happens after it would have been.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly, and they measure the time themselves"
)]

#[path = "auth_http/faults.rs"]
mod faults;
#[path = "auth_http/feed.rs"]
mod feed;
#[path = "auth_http/heimdall.rs"]
mod heimdall;
mod support;

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use heimdall::{Fault, Heimdall};
use support::{Client, PATIENCE, Request, Server, int, nil};

/// A server that asks the service, with further settings.
fn serve(heimdall: &Heimdall, settings: &str) -> Server {
    Server::start_with(&format!("{}\n{settings}", settings_for(heimdall)))
}

fn settings_for(heimdall: &Heimdall) -> String {
    format!(
        "auth.mode = \"users\"\nauth.providers = [\"http\"]\nauth.recheck_interval = \"50ms\"\n\
         session.wrong_requests_max = 0\n\
         auth_http.url = \"{}\"\nauth_http.retry_wait_max = \"100ms\"",
        heimdall.url("/auth")
    )
}

/// A service with `root`, who may do everything, and `ann`.
fn heimdall() -> Heimdall {
    let heimdall = Heimdall::start();
    heimdall.set("root", "ROOT-TOKEN", &["admin"]);
    heimdall.set("ann", "ANN-TOKEN", &[]);
    heimdall
}

/// Makes resources with the value 1.
fn make(server: &Server, paths: &[&[&str]]) {
    let mut root = server.client_as("root", "ROOT-TOKEN");
    for path in paths {
        root.expect("POST", path, int(1), 201);
    }
}

const MODEL: &[&str] = &["user", "ann", "model"];

/// RNUM of a GET of the model of ann with these credentials, over a connection of its own.
fn get(server: &Server, user: &str, token: &str) -> i64 {
    server.client_as(user, token).request("GET", MODEL, nil()).rnum
}

/// Asks until the answer is this one.
#[track_caller]
fn get_until(server: &Server, user: &str, token: &str, rnum: i64) {
    let mut client = server.client_as(user, token);
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = client.request("GET", MODEL, nil());
        if answer.rnum == rnum {
            return;
        }
        assert!(Instant::now() < until, "awaited {rnum} in vain: {answer:?}");
        thread::yield_now();
    }
}

/// A time from now, as RFC 3339 has it.
fn in_millis(millis: u64) -> String {
    let time = SystemTime::now() + Duration::from_millis(millis);
    humantime::format_rfc3339_millis(time).to_string()
}

#[test]
fn the_service_says_who_a_user_is_and_what_its_roles_are() {
    let heimdall = heimdall();
    let server = serve(&heimdall, "");
    make(&server, &[MODEL]);
    assert_eq!(get(&server, "ann", "ANN-TOKEN"), 200);
    assert_eq!(get(&server, "ann", "ROOT-TOKEN"), 401);
    assert_eq!(get(&server, "bob", "BOB-TOKEN"), 401);
    let mut ann = server.client_as("ann", "ANN-TOKEN");
    ann.expect("PUT", MODEL, int(2), 200);
    ann.expect("POST", &["elsewhere"], int(2), 403);
}

#[test]
fn a_name_is_one_segment_of_the_url_and_a_token_one_header() {
    let heimdall = heimdall();
    let server = serve(&heimdall, "auth.failures_max = 0");
    for (user, target) in [("a b", "/auth/a%20b"), ("a?b#c%2f", "/auth/a%3Fb%23c%252f")] {
        assert_eq!(get(&server, user, "raw TOKEN~"), 401, "{user}");
        assert_eq!(heimdall.requests(target), 1, "{user}");
    }
    assert!(heimdall.heads().to_lowercase().contains("authorization: raw token~\r\n"));
    let before = heimdall.heads();
    let long = "x".repeat(257);
    for (user, token) in [
        ("", "t"),
        (".", "t"),
        ("..", "t"),
        ("../users", "t"),
        ("a/b", "t"),
        (&long, "t"),
        ("ann", ""),
        ("ann", "t\r\nX-Injected: 1"),
        ("ann", "ANN-TOKEN "),
    ] {
        assert_eq!(get(&server, user, token), 401, "{user:?} {token:?}");
    }
    assert_eq!(heimdall.heads(), before, "nothing of it is asked");
}

#[test]
fn fifty_connections_of_a_user_are_one_request() {
    let heimdall = heimdall();
    let server = serve(&heimdall, "");
    make(&server, &[MODEL]);
    let mut clients: Vec<Client> = (0..50).map(|_| server.client_as("ann", "ANN-TOKEN")).collect();
    for client in &mut clients {
        client.send("GET", MODEL, nil());
    }
    for client in &mut clients {
        assert_eq!(client.next_answer().rnum, 200);
    }
    assert_eq!(heimdall.requests("/auth/ann"), 1);
    assert_eq!(heimdall.open("/auth/ann"), 1);
}

#[test]
fn a_wrong_token_is_asked_for_once_and_the_right_one_is_not_in_its_way() {
    let heimdall = heimdall();
    let server = serve(&heimdall, "auth_http.refusal_time = \"1h\"");
    make(&server, &[MODEL]);
    for _ in 0..10 {
        assert_eq!(get(&server, "ann", "WRONG-TOKEN"), 401);
    }
    assert_eq!(heimdall.requests("/auth/ann"), 1);
    assert_eq!(get(&server, "ann", "ANN-TOKEN"), 200);
    assert_eq!(get(&server, "ann", "WRONG-TOKEN"), 401);
    assert_eq!(heimdall.requests("/auth/ann"), 2);
}

#[test]
fn a_refusal_is_forgotten_after_its_time() {
    let heimdall = heimdall();
    let server = serve(&heimdall, "auth_http.refusal_time = \"300ms\"");
    make(&server, &[MODEL]);
    assert_eq!(get(&server, "bob", "BOB-TOKEN"), 401);
    heimdall.set("bob", "BOB-TOKEN", &[]);
    get_until(&server, "bob", "BOB-TOKEN", 200);
    assert_eq!(heimdall.requests("/auth/bob"), 2);
}

#[test]
fn a_new_token_takes_the_place_of_the_old_one_while_connections_are_open() {
    let heimdall = heimdall();
    let server = serve(&heimdall, "");
    make(&server, &[MODEL]);
    let mut ann = server.client_as("ann", "ANN-TOKEN");
    ann.expect("STREAM", MODEL, nil(), 200);
    heimdall.set("ann", "ANN-TOKEN-2", &[]);
    ann.expect_end_of_stream(403);
    ann.expect("GET", MODEL, nil(), 401);
    // The connection goes on with the new one.
    let request = Request::new("GET", MODEL).user("ann", "ANN-TOKEN-2");
    ann.send_request(&request);
    assert_eq!(ann.next_answer().rnum, 200);
    // One request to look, one for the old token: the new one came by itself.
    assert_eq!(heimdall.requests("/auth/ann"), 2);
    assert_eq!(heimdall.open("/auth/ann"), 1);
}

#[test]
fn roles_that_are_taken_away_end_what_they_allowed() {
    let heimdall = heimdall();
    heimdall.set("ann", "ANN-TOKEN", &["admin"]);
    let server = serve(&heimdall, "");
    make(&server, &[MODEL, &["secret"]]);
    let mut ann = server.client_as("ann", "ANN-TOKEN");
    ann.expect("STREAM", &["secret"], nil(), 200);
    ann.expect("STREAM", MODEL, nil(), 200);
    heimdall.set("ann", "ANN-TOKEN", &["student"]);
    ann.expect_end_of_stream(403);
    ann.expect("GET", &["secret"], nil(), 403);
    // What every user may do goes on.
    ann.expect("PUT", MODEL, int(7), 200);
    let update = ann.next_answer();
    assert_eq!((update.rnum, update.number()), (200, 7));
    heimdall.set("ann", "ANN-TOKEN", &["admin"]);
    let until = Instant::now() + PATIENCE;
    while ann.request("GET", &["secret"], nil()).rnum != 200 {
        assert!(Instant::now() < until, "the role does not come back");
    }
    assert_eq!(heimdall.requests("/auth/ann"), 1);
}

#[test]
fn a_token_is_good_until_it_expires() {
    let heimdall = heimdall();
    heimdall.set_until("ann", "ANN-TOKEN", &[], &in_millis(1500));
    heimdall.set_until("bob", "BOB-TOKEN", &[], "2020-01-01T00:00:00+01:00");
    let server = serve(&heimdall, "");
    make(&server, &[MODEL]);
    assert_eq!(get(&server, "bob", "BOB-TOKEN"), 401, "it had expired");
    let mut ann = server.client_as("ann", "ANN-TOKEN");
    ann.expect("STREAM", MODEL, nil(), 200);
    ann.expect_end_of_stream(403);
    ann.expect("GET", MODEL, nil(), 401);
    heimdall.set_until("ann", "ANN-TOKEN", &[], &in_millis(3_600_000));
    get_until(&server, "ann", "ANN-TOKEN", 200);
    assert_eq!(heimdall.requests("/auth/ann"), 1);
}

#[test]
fn who_is_not_used_is_forgotten_and_who_is_stays() {
    let heimdall = heimdall();
    heimdall.set("bob", "BOB-TOKEN", &[]);
    let server = serve(&heimdall, "auth_http.idle_timeout = \"400ms\"");
    make(&server, &[MODEL]);
    let mut ann = server.client_as("ann", "ANN-TOKEN");
    ann.expect("STREAM", MODEL, nil(), 200);
    // Ann's connection is quiet, but it is there.
    for round in 1..=3 {
        assert_eq!(get(&server, "bob", "BOB-TOKEN"), 200);
        heimdall.wait_until("bob to be forgotten", |heimdall| heimdall.open("/auth/bob") == 0);
        assert_eq!(heimdall.requests("/auth/bob"), round);
    }
    assert_eq!((heimdall.requests("/auth/ann"), heimdall.open("/auth/ann")), (1, 1));
    drop(ann);
    heimdall.wait_until("ann to be forgotten", |heimdall| heimdall.open("/auth/ann") == 0);
}

#[test]
fn there_are_no_more_users_than_there_may_be() {
    let heimdall = heimdall();
    heimdall.set("bob", "BOB-TOKEN", &[]);
    let server = serve(&heimdall, "auth_http.users_max = 1");
    make(&server, &[MODEL]);
    for round in 1..=3 {
        for (user, token) in [("ann", "ANN-TOKEN"), ("bob", "BOB-TOKEN")] {
            assert_eq!(get(&server, user, token), 200);
            assert_eq!(heimdall.requests(&format!("/auth/{user}")), round);
        }
    }
    heimdall.wait_until("one stream to be open", |heimdall| {
        heimdall.open("/auth/ann") + heimdall.open("/auth/bob") + heimdall.open("/auth/root") == 1
    });
}

#[test]
fn the_log_has_no_token() {
    let heimdall = heimdall();
    let server = serve(
        &heimdall,
        &format!(
            "log.level = \"trace\"\nauth_http.users_url = \"{}\"\nauth_http.token = \"{}\"",
            heimdall.url("/users"),
            heimdall::BROKER_TOKEN
        ),
    );
    server.wait_for_line("following the users");
    make(&server, &[MODEL]);
    assert_eq!(get(&server, "ann", "ANN-TOKEN"), 200);
    assert_eq!(get(&server, "ann", "WRONG-TOKEN"), 401);
    heimdall.cut("/auth/ann", "{\"api_token\":\"ANN-TOKEN-2\"}\r\n");
    server.wait_for_line("sent a line that is not the JSON it should be");
    heimdall.fail(Fault::Status(500));
    assert_eq!(get(&server, "bob", "BOB-TOKEN"), 503);
    let output = server.output();
    for token in ["ANN-TOKEN", "ROOT-TOKEN", "WRONG-TOKEN", "BOB-TOKEN", heimdall::BROKER_TOKEN] {
        assert!(!output.contains(token), "{token} is in\n{output}");
    }
}

#[test]
fn the_provider_needs_a_url() {
    for (url, says) in [
        ("", "auth_http.url = \"\""),
        ("example.org/x", "expected an https or http URL"),
        ("ftp://example.org", "expected an https or http URL"),
        ("http://example.org/x?y", "expected an https or http URL"),
    ] {
        let settings = "auth.mode = \"users\"\nauth.providers = [\"http\"]";
        let server = Server::prepare(&format!("{settings}\nauth_http.url = \"{url}\""));
        let (status, output) = server.run_to_end();
        assert!(!status.success() && output.contains(says), "{url}: {output}");
    }
}

#[test]
fn a_service_elsewhere_without_encryption_is_warned_of() {
    let heimdall = heimdall();
    let server = serve(&heimdall, "auth_http.users_url = \"http://192.0.2.1/users\"");
    server.wait_for_line("auth_http.users_url: http://192.0.2.1/users is not encrypted");
    assert!(!server.output().contains("auth_http.url: http://127.0.0.1"));
}
