//! Classes of resources: what is kept of a value in memory, and what over a restart.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod support;

use std::fs;
use std::process::Command;

use rmpv::Value;
use support::{Client, Request, Server};
use support::{array, int, nil, text};

const ENGINES: [&str; 2] = ["store.engine = \"embedded\"", "store.engine = \"file\""];

const RULES: &str = "
    resource.live_paths = [\"rule/live/**\", \"rule/*/both\"]
    resource.event_paths = [\"rule/event/*\"]
";

/// Asks for a resource of a class.
fn make(client: &mut Client, verb: &str, path: &[&str], class: &Value, payl: Vec<u8>) -> i64 {
    let meta = Value::Map(vec![("CLASS".into(), class.clone())]);
    client.send_request(&Request::new(verb, path).meta(&meta).payl(payl));
    client.next_answer().rnum
}

/// What GET says before and after a restart, when 7 was written.
#[track_caller]
fn check(server: &mut Server, path: &[&str], before: Vec<u8>, after: Vec<u8>) {
    server.client().expect("PUT", path, int(7), 200);
    assert_eq!(server.client().expect("GET", path, nil(), 200).payl, before, "{path:?}");
    server.restart();
    assert_eq!(server.client().expect("GET", path, nil(), 200).payl, after, "{path:?}");
}

#[test]
fn a_class_says_what_is_kept_of_a_value() {
    for engine in ENGINES {
        let mut server = Server::start_with(&format!("{engine}{RULES}"));
        let mut client = server.client();
        for (verb, rnum) in [("CREATE", 201), ("POST", 201)] {
            for class in ["state", "live", "event"] {
                assert_eq!(make(&mut client, verb, &[verb, class], &class.into(), int(5)), rnum);
            }
        }
        for path in [&["rule", "live", "a", "b"][..], &["rule", "event", "a"], &["rule", "c"]] {
            client.expect("POST", path, int(5), 201);
        }
        drop(client);
        for verb in ["CREATE", "POST"] {
            check(&mut server, &[verb, "state"], int(7), int(7));
            check(&mut server, &[verb, "live"], int(7), nil());
            check(&mut server, &[verb, "event"], nil(), nil());
        }
        check(&mut server, &["rule", "live", "a", "b"], int(7), nil());
        check(&mut server, &["rule", "event", "a"], nil(), nil());
        check(&mut server, &["rule", "c"], int(7), int(7));
    }
}

#[test]
fn what_a_request_says_goes_before_the_rules_also_after_a_kill() {
    for engine in ENGINES {
        let mut server = Server::start_with(&format!("{engine}{RULES}"));
        let path = ["rule", "live", "saved"];
        assert_eq!(make(&mut server.client(), "CREATE", &path, &"state".into(), nil()), 201);
        server.kill();
        server.start_again();
        check(&mut server, &path, int(7), int(7));
    }
}

#[test]
fn an_event_reaches_streams_and_links_and_nobody_who_comes_later() {
    let server = Server::start_with(RULES);
    let mut client = server.client();
    client.expect("POST", &["rule", "event", "button"], int(1), 201);
    client.expect("CREATE", &["lamp"], nil(), 201);
    client.expect("LINK", &["lamp"], array(&["rule", "event", "button"]), 200);
    let mut early = server.client();
    assert_eq!(early.expect("STREAM", &["rule", "event", "button"], nil(), 200).payl, nil());
    client.expect("PUT", &["rule", "event", "button"], text("pressed"), 200);
    assert_eq!(early.next_answer().payl, text("pressed"));
    let mut late = server.client();
    assert_eq!(late.expect("STREAM", &["rule", "event", "button"], nil(), 200).payl, nil());
    assert_eq!(client.expect("GET", &["lamp"], nil(), 200).payl, text("pressed"));
}

#[test]
fn a_class_that_there_is_not_is_refused() {
    let server = Server::start();
    let mut client = server.client();
    for class in [Value::from("Live"), Value::Nil, Value::from(1)] {
        for verb in ["CREATE", "POST"] {
            assert_eq!(make(&mut client, verb, &["a"], &class, nil()), 400);
        }
    }
    client.expect("GET", &["a"], nil(), 404);
    // Where there is a resource, its class stays, and POST writes.
    client.expect("CREATE", &["a"], nil(), 201);
    assert_eq!(make(&mut client, "POST", &["a"], &"event".into(), int(3)), 200);
    assert_eq!(client.expect("GET", &["a"], nil(), 200).payl, int(3));
}

#[test]
fn a_class_is_declared_and_goes_along_with_an_export_and_an_import() {
    let settings = "[[preload.resources]]\npath = \"live\"\nclass = \"live\"\nvalue = 5";
    let mut server = Server::start_with(settings);
    assert_eq!(server.client().expect("GET", &["live"], nil(), 200).payl, int(5));
    let snapshot = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanal"));
        command.arg("snapshot").args(args).current_dir(server.folder());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    snapshot(&["export", "show.json", "--config", "fanal.toml"]);
    let json = fs::read_to_string(server.folder().join("show.json")).unwrap();
    assert!(json.contains("\"class\": \"live\""), "{json}");
    snapshot(&["import", "show.json", "--data", "elsewhere"]);
    let mut elsewhere = Server::prepare("");
    elsewhere.configure(&format!("store.directory = {:?}", server.folder().join("elsewhere")));
    elsewhere.start_again();
    for server in [&mut server, &mut elsewhere] {
        check(server, &["live"], int(7), nil());
    }
}
