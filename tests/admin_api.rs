//! The API of who operates the server: everything that its description says, over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::{Client, ClientOptions, Server, array, bin, int, nil};

const USERS: &str = "\
auth.mode = \"users\"
auth.users = [\
    { name = \"root\", token = \"root-token\", admin = true }, \
    { name = \"ann\", token = \"ann-token\", roles = [\"student\"] }]
auth.rules = [{ allow = [\"READ\"], paths = [\"wall\", \"user/**\"] }]
snapshot.interval = \"1h\"
";

/// A server with a few resources, a link, and the one who made them.
fn server(settings: &str) -> (Server, Client) {
    let server = Server::start_with(&format!("{USERS}{settings}"));
    let mut root = server.client_as("root", "root-token");
    for path in [&["user", "ann", "model"][..], &["user", "ann", "input"], &["wall"], &["floor"]] {
        root.expect("CREATE", path, nil(), 201);
    }
    root.expect("PUT", &["wall"], bin(&[7; 5000]), 200);
    root.expect("LINK", &["floor"], array(&["wall"]), 200);
    (server, root)
}

/// Status and answer of the API; nil for what is no JSON.
fn api(server: &Server, method: &str, what: &str) -> (u16, Value) {
    let (status, body) = server.api(method, what);
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

fn get(server: &Server, what: &str) -> Value {
    let (status, answer) = api(server, "GET", what);
    assert_eq!(status, 200, "{what}: {answer}");
    answer
}

/// What `field` is in each of a list.
fn each(list: &Value, field: &str) -> Vec<Value> {
    list.as_array().unwrap().iter().map(|item| item[field].clone()).collect()
}

/// Everything that the description has, and what to ask to get each answer that it names.
const ASKED: &[(&str, &str, &str, u16)] = &[
    ("get", "/v1/status", "status", 200),
    ("post", "/v1/reload", "reload", 200),
    ("get", "/v1/snapshot", "snapshot", 200),
    ("post", "/v1/snapshot", "snapshot", 200),
    ("get", "/v1/log", "log", 200),
    ("put", "/v1/log", "log?level=debug", 200),
    ("put", "/v1/log", "log?level=loud", 400),
    ("put", "/v1/log", "log", 400),
    ("post", "/v1/drain", "drain?over=soon", 400),
    ("post", "/v1/drain", "drain?over=2h", 400),
    ("get", "/v1/auth/explain", "auth/explain?user=ann&verb=GET&path=wall", 200),
    ("get", "/v1/auth/explain", "auth/explain?verb=FLY&path=wall", 400),
    ("get", "/v1/tunables", "tunables", 200),
    ("put", "/v1/tunables", "tunables?key=stream.buffer&value=32", 200),
    ("put", "/v1/tunables", "tunables?key=stream.buffer&value=many", 400),
    ("put", "/v1/tunables", "tunables?key=server.port&value=1", 404),
    ("put", "/v1/tunables", "tunables?key=stream.buffer", 400),
    ("delete", "/v1/tunables", "tunables?key=stream.buffer", 200),
    ("delete", "/v1/tunables", "tunables?key=colour", 404),
    ("get", "/v1/tree", "tree", 200),
    ("get", "/v1/resources", "resources", 200),
    ("get", "/v1/resources", "resources?by=streams&below=user/ann&top=3", 200),
    ("get", "/v1/resources", "resources?by=rate", 200),
    ("get", "/v1/resources", "resources?by=colour", 400),
    ("get", "/v1/resources", "resources?top=-1", 400),
    ("get", "/v1/resources", "resources?unknown=1", 400),
    ("get", "/v1/resource", "resource?path=wall", 200),
    ("get", "/v1/resource", "resource?path=user/ann", 404),
    ("get", "/v1/resource", "resource?path=", 404),
    ("get", "/v1/links", "links", 200),
    ("get", "/v1/links", "links?path=floor", 200),
    ("get", "/v1/links", "links?of=floor", 400),
    ("get", "/v1/streams/slow", "streams/slow?top=2", 200),
    ("get", "/v1/streams/slow", "streams/slow?top=many", 400),
    ("get", "/v1/sessions", "sessions?user=ann&after=0&limit=5", 200),
    ("get", "/v1/sessions", "sessions?limit=few", 400),
    ("get", "/v1/sessions/{number}", "sessions/1", 200),
    ("get", "/v1/sessions/{number}", "sessions/9999", 404),
    ("delete", "/v1/sessions/{number}", "sessions/9999", 404),
    ("delete", "/v1/sessions/{number}", "sessions/1", 200),
    ("post", "/v1/drain", "drain?over=1s", 200),
];

#[test]
fn the_description_is_what_is_answered() {
    let (server, mut root) = server("");
    root.expect("STREAM", &["wall"], nil(), 200);
    let document = get(&server, "openapi.json");
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (method.clone(), path.clone()))
        })
        .collect();
    let asked: BTreeSet<(String, String)> =
        ASKED.iter().map(|(method, path, ..)| ((*method).into(), (*path).into())).collect();
    assert_eq!(described, asked, "each is asked for here, and each that is asked for described");
    for (method, path, what, expected) in ASKED {
        let (status, answer) = api(&server, &method.to_uppercase(), what);
        assert_eq!(status, *expected, "{method} {what}: {answer}");
        let content = &document["paths"][path][method]["responses"][status.to_string()]["content"];
        let Some(schema) = content.get("application/json").map(|json| &json["schema"]) else {
            assert!(content.get("application/vnd.fanal.snapshot").is_some(), "{method} {path}");
            continue;
        };
        let mut schema = schema.clone();
        schema["components"] = document["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let faults: Vec<String> =
            validator.iter_errors(&answer).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{method} {what}: {faults:?} in {answer}");
    }
}

#[test]
fn what_is_not_there_is_said_so() {
    let (server, _root) = server("");
    for (method, what) in [
        ("GET", ""),
        ("GET", "nothing"),
        ("DELETE", "status"),
        ("PUT", "sessions/1"),
        ("GET", "sessions/x"),
        ("GET", "sessions/99999999999999999999999"),
        ("GET", "sessions/-1"),
        ("GET", "../healthz/.."),
    ] {
        let (status, answer) = api(&server, method, what);
        assert_eq!(status, 404, "{method} {what}: {answer}");
    }
}

#[test]
fn the_port_wants_the_token_for_all_of_it() {
    let with = "admin.enabled = true\nadmin.port = 0\nadmin.token = \"open-sesame\"\n";
    let without = "admin.enabled = true\nadmin.port = 0\n";
    let (with, _one) = server(with);
    let (without, _other) = server(without);
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    for (server, lines, expected) in [
        (&with, bearer("open-sesame"), 200),
        (&with, bearer("open-sesam"), 401),
        (&with, bearer("open-sesamee"), 401),
        (&with, bearer(""), 401),
        (&with, String::new(), 401),
        (&with, "Authorization: Basic open-sesame\r\n".into(), 401),
        (&without, bearer(""), 401),
        (&without, bearer("open-sesame"), 401),
        (&without, String::new(), 401),
    ] {
        for path in ["/v1/status", "/v1/sessions", "/v1/openapi.json", "/v1/nothing"] {
            let (status, body) = server.admin_with(path, &lines);
            let expected = if expected == 200 && path == "/v1/nothing" { 404 } else { expected };
            assert_eq!(status, expected, "{path} with {lines:?}: {body}");
            assert!(status == 200 || body.contains("\"error\""), "{body}");
        }
        assert_eq!(server.admin_with("/healthz", &lines).0, 200);
        assert_eq!(server.admin_with("/metrics", &lines).0, 200);
    }
    assert!(without.admin("/v1/status").1.contains("admin.token is not set"));
    assert!(!with.output().contains("open-sesame"), "the token is in the log");
}

#[test]
fn connections_are_listed_and_ended() {
    let (server, _root) = server("");
    let mut ann = server.client_as("ann", "ann-token");
    let _silent = server.client();
    ann.expect("STREAM", &["user", "ann", "model"], nil(), 200);
    ann.expect("STREAM", &["wall"], nil(), 200);
    server.wait_for_lines("opened from", 3);
    let all = get(&server, "sessions");
    assert_eq!(each(&all, "user"), [json!("root"), json!("ann"), json!(null)]);
    assert_eq!(each(&all, "number"), [json!(1), json!(2), json!(3)]);
    assert_eq!(each(&all, "streams"), [json!(0), json!(2), json!(0)]);
    assert_eq!(each(&all, "requests"), [json!(6), json!(2), json!(0)]);
    assert!(each(&all, "address").iter().all(|address| address == "127.0.0.1"), "{all}");
    assert_eq!(each(&get(&server, "sessions?user=ann"), "number"), [json!(2)]);
    assert_eq!(each(&get(&server, "sessions?after=1&limit=1"), "number"), [json!(2)]);
    let one = get(&server, "sessions/2");
    assert_eq!(one["session"], all[1]);
    let mut paths = each(&one["streams"], "path");
    paths.sort_by_key(Value::to_string);
    assert_eq!(paths, [json!("user/ann/model"), json!("wall")]);
    assert_eq!(api(&server, "DELETE", "sessions/2").0, 200);
    assert_eq!(ann.wait_for_close(), Some(1008));
    server.wait_for_line("an operator ended it");
    assert_eq!(api(&server, "DELETE", "sessions/2").0, 404);
    assert_eq!(each(&get(&server, "sessions"), "number"), [json!(1), json!(3)]);
}

#[test]
fn resources_come_by_what_they_have() {
    let (server, mut root) = server("");
    let mut ann = server.client_as("ann", "ann-token");
    ann.expect("STREAM", &["user", "ann", "input"], nil(), 200);
    for value in 0..5 {
        root.expect("PUT", &["user", "ann", "model"], int(value), 200);
    }
    let first = |by: &str| get(&server, &format!("resources?by={by}&top=1"))[0].clone();
    assert_eq!(first("bytes")["path"], "wall");
    assert_eq!(first("bytes")["bytes"], 5003);
    assert_eq!(first("streams")["path"], "user/ann/input");
    assert_eq!(first("streams")["streams"], 1);
    assert_eq!(first("updates")["path"], "user/ann/model");
    assert_eq!(first("updates")["updates"], 5);
    let below = get(&server, "resources?below=user/ann");
    assert_eq!(each(&below, "path"), [json!("user/ann/input"), json!("user/ann/model")]);
    assert_eq!(get(&server, "resources?below=user/an"), json!([]));
    assert_eq!(get(&server, "resources?top=0"), json!([]));
    let wall = get(&server, "resource?path=/wall/");
    assert_eq!(wall["resource"]["activity"], "active");
    assert_eq!(wall["resource"]["class"], "state");
    assert_eq!(wall["links"], json!([{ "destination": "floor", "source": "wall" }]));
    assert_eq!(get(&server, "links?path=user/ann/model"), json!([]));
    let input = get(&server, "resource?path=user/ann/input");
    assert_eq!(input["resource"]["activity"], "passive");
    assert_eq!(each(&input["streams"], "session"), [json!(2)]);
    let tree = get(&server, "tree");
    let numbers = ["directories", "resources", "depth", "links", "streams"].map(|n| &tree[n]);
    assert_eq!(numbers.map(|n| n.as_u64().unwrap()), [2, 4, 3, 1, 1]);
}

#[test]
fn rates_are_of_what_is_written_now() {
    let (server, mut root) = server("");
    root.expect("PUT", &["floor"], int(1), 200);
    let asking = std::thread::scope(|scope| {
        let asked = scope.spawn(|| get(&server, "resources?by=rate"));
        let mut value = 0;
        while !asked.is_finished() {
            root.expect("PUT", &["user", "ann", "model"], int(value % 100), 200);
            value += 1;
        }
        asked.join().unwrap()
    });
    assert_eq!(each(&asking, "path"), [json!("user/ann/model")], "the others took nothing");
    assert!(asking[0]["updates_per_second"].as_f64().unwrap() > 1.0, "{asking}");
}

#[test]
fn slow_streams_come_by_what_they_lost() {
    let (server, mut root) = server("stream.buffer = 1\n");
    let options = ClientOptions::default().user("ann", "ann-token").receive_buffer_bytes(4096);
    let mut slow = server.client_with(options);
    slow.expect("STREAM", &["wall"], nil(), 200);
    assert_eq!(get(&server, "streams/slow"), json!([]));
    let mut last = 0;
    while get(&server, "streams/slow") == json!([]) {
        for _ in 0..50 {
            root.expect("PUT", &["wall"], bin(&[1; 60_000]), 200);
        }
        last += 1;
        assert!(last < 200, "nothing was ever lost");
    }
    let found = get(&server, "streams/slow");
    assert_eq!(each(&found, "path"), [json!("wall")]);
    assert_eq!(each(&found, "session"), [json!(2)]);
    assert!(found[0]["skipped"].as_u64().unwrap() > 0);
}

#[test]
fn what_has_changed_is_saved_when_that_is_wanted() {
    let (server, mut root) = server("");
    let save = || api(&server, "POST", "snapshot").1["resources"].as_u64().unwrap();
    assert!(save() > 0);
    assert_eq!(save(), 0, "everything was saved already");
    root.expect("PUT", &["user", "ann", "model"], int(5), 200);
    assert_eq!(save(), 1);
}

#[test]
fn a_reload_that_fails_says_why() {
    let (server, _root) = server("auth.recheck_interval = \"0s\"\n");
    server.configure("auth.mode = \"users\"\n");
    let (status, answer) = api(&server, "POST", "reload");
    assert_eq!(status, 409, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("there are no users"), "{answer}");
    server.configure(USERS);
    let (status, answer) = api(&server, "POST", "reload");
    assert_eq!(status, 200, "{answer}");
}
