//! The feed of users: their places in the tree are made and deleted.

use std::time::Instant;

use super::heimdall::{BROKER_TOKEN, Heimdall};
use super::support::{Client, PATIENCE, Server, int, nil};
use super::{heimdall, serve};

fn serve_with_feed(heimdall: &Heimdall) -> Server {
    let url = heimdall.url("/users");
    let settings = format!("auth_http.users_url = \"{url}\"\nauth_http.token = \"{BROKER_TOKEN}\"");
    serve(heimdall, &settings)
}

/// Asks until a place is there or not.
#[track_caller]
fn expect_place(root: &mut Client, path: &[&str], rnum: i64) {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = root.request("GET", path, nil());
        if answer.rnum == rnum {
            return;
        }
        assert!(Instant::now() < until, "awaited {rnum} of {path:?} in vain: {answer:?}");
    }
}

#[test]
fn each_user_gets_its_places_and_loses_them_with_itself() {
    let heimdall = heimdall();
    heimdall.feed("ann", false);
    heimdall.feed("bob", false);
    let server = serve_with_feed(&heimdall);
    let mut root = server.client_as("root", "ROOT-TOKEN");
    for user in ["ann", "bob"] {
        expect_place(&mut root, &["user", user, "model"], 200);
        expect_place(&mut root, &["user", user, "input"], 200);
    }
    heimdall.feed("eve", false);
    expect_place(&mut root, &["user", "eve", "input"], 200);
    root.expect("PUT", &["user", "ann", "model"], int(7), 200);
    heimdall.feed("bob", true);
    expect_place(&mut root, &["user", "bob", "model"], 404);
    expect_place(&mut root, &["user", "bob", "input"], 404);
    assert_eq!(root.expect("GET", &["user", "ann", "model"], nil(), 200).number(), 7);
    // There and back again in one breath ends as the last of it says.
    for removed in [false, true, false, true, false] {
        heimdall.feed("bob", removed);
    }
    heimdall.feed("last", false);
    expect_place(&mut root, &["user", "last", "input"], 200);
    expect_place(&mut root, &["user", "bob", "input"], 200);
    assert!(
        !server.output().contains("is not made") && !server.output().contains("is not deleted")
    );
}

#[test]
fn what_is_no_name_is_left_out() {
    let heimdall = heimdall();
    let long = "x".repeat(257);
    for name in ["../live", "", "..", "a/b", "\u{1b}[31m/", &long] {
        heimdall.feed(name, false);
        heimdall.feed(name, true);
    }
    heimdall.feed("ann", false);
    let server = serve_with_feed(&heimdall);
    let mut root = server.client_as("root", "ROOT-TOKEN");
    expect_place(&mut root, &["user", "ann", "input"], 200);
    let line = server.wait_for_line("is left out");
    assert!(line.contains("the user \"../live\" is left out"), "{line}");
    assert!(!server.output().contains('\u{1b}'), "{}", server.output());
    let list = root.expect("LIST", &["user"], nil(), 200).value().to_string();
    assert!(list.contains("ann") && !list.contains("live") && !list.contains('x'), "{list}");
}

#[test]
fn a_feed_that_was_cut_deletes_nobody() {
    let heimdall = heimdall();
    heimdall.feed("ann", false);
    heimdall.feed("bob", false);
    let server = serve_with_feed(&heimdall);
    let mut root = server.client_as("root", "ROOT-TOKEN");
    expect_place(&mut root, &["user", "bob", "input"], 200);
    root.expect("PUT", &["user", "bob", "input"], int(7), 200);
    for last_words in ["", "{\"username\":\"bob\",\"remo", "garbage\r\n"] {
        let before = heimdall.opened("/users");
        heimdall.clear_feed();
        heimdall.feed("eve", false);
        heimdall.cut("/users", last_words);
        heimdall.wait_until("the feed again", |heimdall| heimdall.opened("/users") > before);
    }
    heimdall.feed("last", false);
    expect_place(&mut root, &["user", "last", "input"], 200);
    assert_eq!(root.expect("GET", &["user", "bob", "input"], nil(), 200).number(), 7);
}

#[test]
fn a_user_who_is_removed_is_out_at_once() {
    let heimdall = heimdall();
    heimdall.feed("ann", false);
    let server = serve_with_feed(&heimdall);
    let mut root = server.client_as("root", "ROOT-TOKEN");
    root.expect("POST", &["live"], int(1), 201);
    expect_place(&mut root, &["user", "ann", "input"], 200);
    let mut ann = server.client_as("ann", "ANN-TOKEN");
    ann.expect("STREAM", &["live"], nil(), 200);
    heimdall.forget("ann");
    heimdall.feed("ann", true);
    ann.expect_end_of_stream(403);
    ann.expect("GET", &["live"], nil(), 401);
    heimdall.wait_until("its stream to close", |heimdall| heimdall.open("/auth/ann") == 0);
}
