//! A service that is slow, broken or away: who is known goes on, who is not gets 503.

use std::time::Instant;

use super::heimdall::Fault;
use super::support::{Client, PATIENCE, int, nil};
use super::{MODEL, get, get_until, heimdall, make, serve};

#[track_caller]
fn check(fault: Fault) {
    let heimdall = heimdall();
    heimdall.set("bob", "BOB-TOKEN", &[]);
    let server = serve(&heimdall, "auth_http.timeout = \"500ms\"");
    make(&server, &[MODEL]);
    let mut ann = server.client_as("ann", "ANN-TOKEN");
    ann.expect("PUT", MODEL, int(2), 200);
    heimdall.fail(fault);
    let begin = Instant::now();
    assert_eq!(get(&server, "bob", "BOB-TOKEN"), 503);
    assert!(begin.elapsed() < PATIENCE / 2, "{:?}", begin.elapsed());
    assert_eq!(get(&server, "bob", "WRONG-TOKEN"), 503);
    // What is known of ann is good, with and without a stream that is open.
    heimdall.cut("/auth/ann", "{\"username\":\"an");
    heimdall
        .wait_until("the stream to be opened again", |heimdall| heimdall.requests("/auth/ann") > 1);
    ann.expect("PUT", MODEL, int(3), 200);
    assert_eq!(get(&server, "ann", "ANN-TOKEN"), 200);
    assert_eq!(get(&server, "ann", "WRONG-TOKEN"), 503);
    heimdall.fail(Fault::None);
    get_until(&server, "bob", "BOB-TOKEN", 200);
    get_until(&server, "ann", "WRONG-TOKEN", 401);
    assert_eq!(heimdall.requests("/elsewhere"), 0);
    heimdall.wait_until("the stream of ann", |heimdall| heimdall.open("/auth/ann") == 1);
    server.wait_for_line("auth_http.url: the service answers again");
}

#[test]
fn no_answer_in_time_is_503() {
    check(Fault::SlowHead);
}

#[test]
fn no_line_in_time_is_503() {
    check(Fault::SlowLine);
}

#[test]
fn signs_of_life_are_no_credentials() {
    check(Fault::OnlyAlive);
}

#[test]
fn a_cut_line_is_503() {
    check(Fault::CutLine);
    check(Fault::HalfLine);
}

#[test]
fn an_error_of_the_service_is_503() {
    check(Fault::Status(500));
    check(Fault::Status(429));
    check(Fault::Status(204));
}

#[test]
fn a_redirect_is_not_followed() {
    check(Fault::Redirect);
}

#[test]
fn garbage_is_503() {
    check(Fault::Garbage);
    check(Fault::NoHttp);
}

#[test]
fn a_line_without_an_end_is_503() {
    check(Fault::Endless);
    check(Fault::EndlessHead);
}

#[test]
fn the_credentials_of_another_user_are_503() {
    check(Fault::AnotherUser);
}

#[test]
fn signs_of_life_keep_a_stream_open() {
    let heimdall = heimdall();
    let server = serve(&heimdall, "auth_http.timeout = \"400ms\"");
    make(&server, &[MODEL]);
    assert_eq!(get(&server, "ann", "ANN-TOKEN"), 200);
    // Those of two streams, over three times the time-out.
    let before = heimdall.signs_of_life();
    heimdall.wait_until("signs of life", |heimdall| heimdall.signs_of_life() > before + 120);
    assert_eq!((heimdall.requests("/auth/ann"), heimdall.open("/auth/ann")), (1, 1));
}

#[test]
fn a_silent_stream_is_opened_again() {
    let heimdall = heimdall();
    let server = serve(&heimdall, "auth_http.timeout = \"300ms\"");
    make(&server, &[MODEL]);
    heimdall.fail(Fault::Silent);
    assert_eq!(get(&server, "ann", "ANN-TOKEN"), 200);
    heimdall.wait_until("three tries", |heimdall| heimdall.requests("/auth/ann") >= 3);
    assert_eq!(get(&server, "ann", "ANN-TOKEN"), 200);
    server.wait_for_line("gave no sign of life within 300ms");
}

#[test]
fn a_service_that_is_away_and_comes_back_finds_all_as_it_was() {
    let heimdall = heimdall();
    heimdall.set("bob", "BOB-TOKEN", &[]);
    let server = serve(&heimdall, "");
    make(&server, &[MODEL]);
    let mut ann = server.client_as("ann", "ANN-TOKEN");
    ann.expect("STREAM", MODEL, nil(), 200);
    heimdall.stop();
    server.wait_for_line("auth_http.url: the service ");
    assert_eq!(get(&server, "ann", "ANN-TOKEN"), 200);
    assert_eq!(get(&server, "bob", "BOB-TOKEN"), 503);
    heimdall.start_again();
    get_until(&server, "bob", "BOB-TOKEN", 200);
    heimdall.wait_until("the stream of ann", |heimdall| heimdall.open("/auth/ann") == 1);
    // Nobody was disturbed, and what changes is known again.
    assert!(ann.barrier().is_empty());
    heimdall.set("ann", "ANN-TOKEN-2", &[]);
    ann.expect_end_of_stream(403);
    assert_eq!(get(&server, "ann", "ANN-TOKEN-2"), 200);
}

#[test]
fn what_changed_while_the_service_was_away_is_known_when_it_is_back() {
    let heimdall = heimdall();
    heimdall.set("bob", "BOB-TOKEN", &["admin"]);
    let server = serve(&heimdall, "");
    make(&server, &[MODEL, &["secret"]]);
    let open = |user: &str, token: &str, path: &[&str]| -> Client {
        let mut client = server.client_as(user, token);
        client.expect("STREAM", path, nil(), 200);
        client
    };
    let (mut ann, mut bob) =
        (open("ann", "ANN-TOKEN", MODEL), open("bob", "BOB-TOKEN", &["secret"]));
    heimdall.stop();
    heimdall.set("ann", "ANN-TOKEN-2", &[]);
    heimdall.set("bob", "BOB-TOKEN", &[]);
    heimdall.start_again();
    ann.expect_end_of_stream(403);
    ann.expect("GET", MODEL, nil(), 401);
    bob.expect_end_of_stream(403);
    bob.expect("GET", MODEL, nil(), 200);
    assert_eq!(get(&server, "ann", "ANN-TOKEN-2"), 200);
}

#[test]
fn a_token_expires_while_the_service_is_away() {
    let heimdall = heimdall();
    heimdall.set_until("ann", "ANN-TOKEN", &[], &super::in_millis(2000));
    let server = serve(&heimdall, "");
    make(&server, &[MODEL]);
    let mut ann = server.client_as("ann", "ANN-TOKEN");
    ann.expect("STREAM", MODEL, nil(), 200);
    heimdall.stop();
    ann.expect("GET", MODEL, nil(), 200);
    ann.expect_end_of_stream(403);
    ann.expect("GET", MODEL, nil(), 401);
}

#[test]
fn a_server_starts_while_the_service_is_away() {
    let heimdall = heimdall();
    heimdall.stop();
    let server = serve(&heimdall, "");
    assert_eq!(get(&server, "root", "ROOT-TOKEN"), 503);
    heimdall.start_again();
    get_until(&server, "root", "ROOT-TOKEN", 404);
}

#[test]
fn a_user_who_is_refused_later_is_out() {
    let heimdall = heimdall();
    let server = serve(&heimdall, "");
    make(&server, &[MODEL]);
    let mut ann = server.client_as("ann", "ANN-TOKEN");
    ann.expect("STREAM", MODEL, nil(), 200);
    heimdall.forget("ann");
    heimdall.cut("/auth/ann", "");
    ann.expect_end_of_stream(403);
    ann.expect("GET", MODEL, nil(), 401);
}
