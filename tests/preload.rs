//! `[[preload.resources]]`: what is there when the server starts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod support;

use support::{Server, array, bin, int, nil};

/// Blocks after the settings with dotted keys, as TOML wants it.
fn blocks(text: &str) -> String {
    format!("\n{text}")
}

const SHOW: &str = "[[preload.resources]]
path = \"live\"
source = \"user/ann/model\"

[[preload.resources]]
path = \"user/ann/model\"
zero_bytes = 1176

[[preload.resources]]
path = \"wall/brightness\"
value = 80

[[preload.resources]]
path = \"wall/text\"
value = { words = [\"one\", 2.5, true] }

[[preload.resources]]
path = \"metrics\"
directory = true
";

#[test]
fn a_show_starts_from_a_known_patch() {
    let server = Server::start_with(&blocks(SHOW));
    server.wait_for_line("made 6 resources, directories and links that were missing");
    let mut client = server.client();
    assert_eq!(client.expect("GET", &["user", "ann", "model"], nil(), 200).payl, bin(&[0; 1176]));
    assert_eq!(client.expect("GET", &["live"], nil(), 200).payl, nil());
    assert_eq!(client.expect("GET", &["wall", "brightness"], nil(), 200).payl, int(80));
    let text = client.expect("GET", &["wall", "text"], nil(), 200).value();
    assert_eq!(text.to_string(), r#"{"words": ["one", 2.5, true]}"#);
    client.expect("CREATE", &["metrics", "a"], nil(), 201);
    client.expect("PUT", &["user", "ann", "model"], int(7), 200);
    assert_eq!(client.expect("GET", &["live"], nil(), 200).number(), 7);
}

#[test]
fn what_is_there_keeps_its_value_and_what_went_comes_back() {
    let mut server = Server::start_with(&blocks(SHOW));
    let mut client = server.client();
    client.expect("PUT", &["wall", "brightness"], int(5), 200);
    client.expect("UNLINK", &["live"], array(&["user", "ann", "model"]), 200);
    client.expect("DELETE", &["metrics"], nil(), 200);
    server.restart();
    server.wait_for_line("made 2 resources, directories and links that were missing");
    let mut client = server.client();
    assert_eq!(client.expect("GET", &["wall", "brightness"], nil(), 200).number(), 5);
    client.expect("PUT", &["user", "ann", "model"], int(8), 200);
    assert_eq!(client.expect("GET", &["live"], nil(), 200).number(), 8);
    client.expect("MKDIR", &["metrics"], nil(), 400);
}

#[test]
fn what_was_made_outlives_its_declaration_and_a_kill() {
    let slow = "snapshot.interval = \"1h\"\n";
    let mut server = Server::start_with(&(slow.to_owned() + SHOW));
    server.client().expect("CREATE", &["metrics", "a"], nil(), 201);
    server.kill();
    server.configure(slow);
    server.start_again();
    let mut client = server.client();
    assert_eq!(client.expect("GET", &["wall", "brightness"], nil(), 200).number(), 80);
    client.expect("GET", &["metrics", "a"], nil(), 200);
    client.expect("PUT", &["user", "ann", "model"], int(9), 200);
    assert_eq!(client.expect("GET", &["live"], nil(), 200).number(), 9);
}

#[test]
fn every_user_gets_a_place() {
    let server = Server::start_with(&blocks(
        "[auth]\nmode = \"users\"\n[[auth.users]]\nname = \"ann\"\ntoken = \"t\"\n\
         [[auth.users]]\nname = \"bob\"\ntoken = \"t\"\n\
         [[preload.resources]]\npath = \"user/{user}/model\"\nsource = \"user/{user}/input\"\n\
         [[preload.resources]]\npath = \"user/{user}/input\"\nvalue = 1\n",
    ));
    for name in ["ann", "bob"] {
        let mut client = server.client_as(name, "t");
        client.expect("PUT", &["user", name, "input"], int(3), 200);
        assert_eq!(client.expect("GET", &["user", name, "model"], nil(), 200).number(), 3);
    }
}

/// These blocks start a server that says this in its log, and has made `sound` all the same.
fn check_fault(declared: &str, expected: &str) {
    let sound = "[[preload.resources]]\npath = \"sound\"\n";
    let server = Server::start_with(&blocks(&format!("{declared}{sound}")));
    server.wait_for_line(&format!("preload.resources: {expected}"));
    server.client().expect("GET", &["sound"], nil(), 200);
}

#[test]
fn what_cannot_be_made_is_said_and_leaves_the_rest() {
    let block =
        |path: &str, rest: &str| format!("[[preload.resources]]\npath = \"{path}\"\n{rest}\n");
    let below = block("a", "") + &block("a/b", "");
    check_fault(&below, "a/b cannot be made: it is below a resource");
    let kind = block("a/b", "") + &block("a", "");
    check_fault(&kind, "a is to be a resource, but there is a directory");
    let kind = block("a", "") + &block("a", "directory = true");
    check_fault(&kind, "a is to be a directory, but there is a resource");
    let nothing = block("a", "source = \"b\"");
    check_fault(&nothing, "a cannot follow b: there is no resource b");
    let circle = block("a", "source = \"b\"") + &block("b", "source = \"a\"");
    check_fault(&circle, "b cannot follow a: this link would close a cycle");
    let large =
        format!("limits.values_bytes_max = 1048576\n{}", block("a", "zero_bytes = 2000000"));
    check_fault(&large, "there is no room for the value of a (limits.values_bytes_max)");
}
