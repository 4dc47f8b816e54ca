//! Settings that are changed while the server runs: as resources, by the API and by command.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod support;

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};
use support::{Answer, Client, Request, Server, array, int, nil, text, to_bytes};

const SETTINGS: &str = "\
auth.mode = \"users\"
auth.users = [\
    { name = \"root\", token = \"root-token\", admin = true }, \
    { name = \"ann\", token = \"ann-token\", roles = [\"student\"] }, \
    { name = \"tim\", token = \"tim-token\", roles = [\"tutor\"] }]
auth.rules = [\
    { roles = [\"tutor\"], allow = [\"READ\", \"WRITE\"], paths = [\"$fanal/config/stream/*\"] }]
auth.recheck_interval = \"0s\"
tunables.enabled = true
";

fn client(server: &Server, user: &str) -> Client {
    server.client_as(user, &format!("{user}-token"))
}

/// A server whose settings are there, and the admin.
fn server(settings: &str) -> (Server, Client) {
    let server = Server::start_with(&format!("{SETTINGS}{settings}"));
    let root = client(&server, "root");
    (server, root)
}

/// Asks for something at a setting.
fn ask(client: &mut Client, verb: &str, key: &str, payl: Vec<u8>) -> Answer {
    let (section, name) = key.split_once('.').unwrap();
    client.request(verb, &["$fanal", "config", section, name], payl)
}

/// Writes a setting: status and the first warning, if there is one.
#[track_caller]
fn put(client: &mut Client, key: &str, value: Vec<u8>, expected: (i64, &str)) {
    let answer = ask(client, "PUT", key, value);
    let warning = answer.warnings.first().map_or("", String::as_str);
    assert_eq!(answer.rnum, expected.0, "{key}: {warning}");
    assert!(
        warning.contains(expected.1) && warning.is_empty() == expected.1.is_empty(),
        "{key}: {:?} is not in {warning:?}",
        expected.1
    );
}

#[track_caller]
fn check_value(client: &mut Client, key: &str, expected: Vec<u8>) {
    let answer = ask(client, "GET", key, nil());
    assert_eq!((answer.rnum, answer.payl), (200, expected), "{key}");
}

fn api(server: &Server, method: &str, what: &str) -> (u16, Value) {
    let (status, body) = server.api(method, what);
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

/// What the API says of a setting.
fn view(server: &Server, key: &str) -> Value {
    let (status, all) = api(server, "GET", "tunables");
    assert_eq!(status, 200);
    all.as_array().unwrap().iter().find(|one| one["key"] == key).unwrap().clone()
}

fn tunables_file(server: &Server) -> std::path::PathBuf {
    server.data().join("tunables.toml")
}

#[test]
fn every_setting_is_there_with_its_value() {
    let (server, mut root) = server("");
    let (_, all) = api(&server, "GET", "tunables");
    let all = all.as_array().unwrap();
    assert!(all.len() > 40, "{}", all.len());
    for one in all {
        let key = one["key"].as_str().unwrap();
        let found = ask(&mut root, "GET", key, nil());
        assert_eq!(found.rnum, 200, "{key}");
        let shown: toml::Table =
            toml::from_str(&format!("value = {}", one["value"].as_str().unwrap())).unwrap();
        let expected = rmp_serde::to_vec_named(&shown["value"]).unwrap();
        assert_eq!(found.payl, expected, "{key}");
        assert!(!one["description"].as_str().unwrap().is_empty(), "{key}");
    }
}

#[test]
fn a_limit_counts_from_the_answer_on() {
    let (_server, mut root) = server("");
    root.expect("CREATE", &["one"], nil(), 201);
    root.expect("CREATE", &["two"], nil(), 201);
    // Streams of a connection.
    put(&mut root, "session.streams_max", int(1), (200, ""));
    root.expect("STREAM", &["one"], nil(), 200);
    let refused = root.request("STREAM", &["two"], nil());
    assert!(!(200..300).contains(&refused.rnum), "{refused:?}");
    put(&mut root, "session.streams_max", int(2), (200, ""));
    root.expect("STREAM", &["two"], nil(), 200);
    // Resources and directories.
    put(&mut root, "limits.nodes_max", int(3), (200, ""));
    let refused = root.request("CREATE", &["three"], nil());
    assert!(!(200..300).contains(&refused.rnum), "{refused:?}");
    put(&mut root, "limits.nodes_max", int(1_000_000), (200, ""));
    root.expect("CREATE", &["three"], nil(), 201);
    // Bytes of all values.
    put(&mut root, "limits.values_bytes_max", int(65_536), (200, ""));
    let refused = root.request("PUT", &["three"], support::bin(&[0; 100_000]));
    assert!(!(200..300).contains(&refused.rnum), "{refused:?}");
    put(&mut root, "limits.values_bytes_max", nil(), (200, ""));
    root.expect("PUT", &["three"], support::bin(&[0; 100_000]), 200);
    // Links.
    put(&mut root, "link.links_max", int(1), (200, ""));
    root.expect("LINK", &["two"], array(&["one"]), 200);
    let refused = root.request("LINK", &["three"], array(&["one"]));
    assert!(!(200..300).contains(&refused.rnum), "{refused:?}");
}

#[test]
fn a_smaller_buffer_skips_more() {
    let (_server, mut root) = server("");
    root.expect("CREATE", &["wall"], nil(), 201);
    root.expect("STREAM", &["wall"], nil(), 200);
    // A burst that arrives at once is there as a whole before anything of it goes out.
    let burst: Vec<Request> = (0..100)
        .map(|value| Request::new("PUT", &["wall"]).user("root", "root-token").payl(int(value)))
        .collect();
    for (buffer, expected) in [(128, 100..=100), (1, 1..=50), (128, 100..=100)] {
        put(&mut root, "stream.buffer", int(buffer), (200, ""));
        root.send_all(&burst);
        let (mut replies, mut updates, mut last) = (0, 0, nil());
        while replies < 100 || last != int(99) {
            let answer = root.next_answer();
            if answer.payl == nil() {
                replies += 1;
            } else {
                updates += 1;
                last = answer.payl;
            }
        }
        assert!(expected.contains(&updates), "{buffer}: {updates}");
    }
}

#[test]
fn what_is_logged_and_when_changes_at_once() {
    let (server, mut root) = server("");
    put(&mut root, "log.summary_interval", text("1s"), (200, ""));
    server.wait_for_line("summary: 1 connections");
    put(&mut root, "log.level", text("warn,fanal::tunables=info"), (200, ""));
    assert_eq!(api(&server, "GET", "log").1, json!({ "level": "warn,fanal::tunables=info" }));
}

#[test]
fn statistics_come_as_often_as_is_said() {
    let (server, mut root) = server("statistics.interval = \"0s\"\n");
    assert_eq!(root.request("GET", &["$fanal", "stats", "broker"], nil()).rnum, 404);
    put(&mut root, "statistics.interval", text("50ms"), (200, ""));
    while root.request("GET", &["$fanal", "stats", "broker"], nil()).rnum != 200 {}
    let mut watcher = client(&server, "root");
    watcher.expect("STREAM", &["$fanal", "stats", "broker"], nil(), 200);
    watcher.next_answer();
    watcher.next_answer();
}

#[test]
fn what_is_no_good_changes_nothing() {
    let (server, mut root) = server("");
    let map = to_bytes(&rmpv::Value::Map(Vec::new()));
    for (key, value, expected) in [
        ("stream.buffer", int(0), (400, "stream.buffer = 0: expected a number from 1 to 65536")),
        ("stream.buffer", int(-1), (400, "expected a number")),
        ("stream.buffer", text("32"), (400, "expected a number")),
        ("stream.buffer", map, (400, "a setting is true or false, a number")),
        ("stream.buffer", to_bytes(&rmpv::Value::F64(1.5)), (400, "a setting is true or false")),
        ("websocket.ping_interval", text("soon"), (400, "expected a duration")),
        ("log.level", text("loud"), (400, "expected a level (error, warn, info")),
        ("socket.nodelay", int(1), (400, "expected true or false")),
        ("server.port", int(1), (404, "no setting here")),
        ("auth.mode", text("open"), (404, "no setting here")),
        ("stream.colour", int(1), (404, "no setting here")),
    ] {
        put(&mut root, key, value, expected);
    }
    for path in [&["$fanal", "config"][..], &["$fanal", "config", "stream"]] {
        assert_eq!(root.request("PUT", path, int(1)).rnum, 404, "{path:?}");
    }
    check_value(&mut root, "stream.buffer", int(16));
    assert!(!tunables_file(&server).exists());
}

#[test]
fn settings_are_written_and_nothing_else() {
    let (server, mut root) = server("");
    root.expect("CREATE", &["wall"], nil(), 201);
    for (verb, payl) in [("DELETE", nil()), ("CREATE", nil()), ("MKDIR", nil())] {
        let answer = ask(&mut root, verb, "stream.buffer", payl);
        assert_eq!(answer.rnum, 403, "{verb}: {answer:?}");
        assert!(answer.warnings[0].contains("read and written"), "{answer:?}");
    }
    let config = ["$fanal", "config"];
    for path in [&config[..], &["$fanal"], &["$fanal", "config", "stream"]] {
        assert_eq!(root.request("DELETE", path, nil()).rnum, 403, "{path:?}");
    }
    let other = ["$fanal", "config", "other"];
    assert_eq!(root.request("CREATE", &other, nil()).rnum, 403);
    assert_eq!(ask(&mut root, "LINK", "stream.buffer", array(&["wall"])).rnum, 403);
    // A value may be followed, and read as any other.
    let source = array(&["$fanal", "config", "stream", "buffer"]);
    root.expect("LINK", &["wall"], source, 200);
    put(&mut root, "stream.buffer", int(20), (200, ""));
    while root.expect("GET", &["wall"], nil(), 200).payl != int(20) {}
    assert_eq!(ask(&mut root, "POST", "stream.buffer", int(21)).rnum, 200);
    check_value(&mut root, "stream.buffer", int(21));
    drop(server);
}

#[test]
fn who_may_not_write_there_changes_nothing() {
    let (server, mut root) = server("");
    let mut ann = client(&server, "ann");
    put(&mut ann, "stream.buffer", int(32), (403, ""));
    assert_eq!(ask(&mut ann, "GET", "stream.buffer", nil()).rnum, 403);
    let mut tim = client(&server, "tim");
    put(&mut tim, "outbox.stall_timeout", text("5s"), (403, ""));
    check_value(&mut root, "stream.buffer", int(16));
    put(&mut tim, "stream.buffer", int(32), (200, ""));
    check_value(&mut root, "stream.buffer", int(32));
}

#[test]
fn who_streams_a_setting_is_told_of_every_change() {
    let (mut server, mut root) = server("");
    let mut tim = client(&server, "tim");
    let path = ["$fanal", "config", "stream", "buffer"];
    assert_eq!(tim.expect("STREAM", &path, nil(), 200).payl, int(16));
    put(&mut root, "stream.buffer", int(17), (200, ""));
    assert_eq!(tim.next_answer().payl, int(17));
    let (status, done) = api(&server, "PUT", "tunables?key=stream.buffer&value=18");
    assert_eq!(status, 200);
    let expected =
        json!({ "key": "stream.buffer", "value": "18", "effect": "now", "remark": null });
    assert_eq!(done, expected);
    assert_eq!(tim.next_answer().payl, int(18));
    assert_eq!(api(&server, "DELETE", "tunables?key=stream.buffer").0, 200);
    assert_eq!(tim.next_answer().payl, int(16));
    server.configure(&format!("{SETTINGS}stream.buffer = 19\n"));
    server.signal(Signal::HUP);
    assert_eq!(tim.next_answer().payl, int(19));
    server.wait_for_line("changed: stream.buffer");
    server.restart();
}

#[test]
fn a_change_survives_the_server() {
    let (mut server, mut root) = server("stream.buffer = 20\n");
    put(&mut root, "stream.buffer", int(32), (200, ""));
    put(&mut root, "session.idle_timeout", text("1h"), (200, "for connections that are opened"));
    let paths = to_bytes(&rmpv::Value::Array(vec!["sensor/*".into()]));
    put(&mut root, "resource.live_paths", paths.clone(), (200, "at the next start"));
    put(&mut root, "server.workers", int(1), (200, "at the next start"));
    let waiting = view(&server, "server.workers");
    assert_eq!((&waiting["value"], &waiting["in_effect"]), (&json!("1"), &json!("2")));
    let written = fs::read_to_string(tunables_file(&server)).unwrap();
    let lines: Vec<&str> = written.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        lines,
        [
            "resource.live_paths = [\"sensor/*\"]",
            "server.workers = 1",
            "session.idle_timeout = \"1h\"",
            "stream.buffer = 32",
        ]
    );
    server.kill();
    server.start_again();
    let mut root = client(&server, "root");
    check_value(&mut root, "stream.buffer", int(32));
    check_value(&mut root, "resource.live_paths", paths);
    let taken = view(&server, "server.workers");
    assert_eq!((&taken["value"], &taken["in_effect"]), (&json!("1"), &Value::Null));
    let origin = view(&server, "stream.buffer")["origin"].as_str().unwrap().to_owned();
    assert!(origin.contains("tunables.toml:"), "{origin}");
    // What it had without comes back with nil, and counts as well.
    put(&mut root, "stream.buffer", nil(), (200, ""));
    check_value(&mut root, "stream.buffer", int(20));
    server.restart();
    check_value(&mut client(&server, "root"), "stream.buffer", int(20));
}

#[test]
fn the_environment_and_flags_win() {
    let mut server = Server::prepare(SETTINGS);
    server.set_environment("FANAL_STREAM_BUFFER", "7");
    server.start_again();
    let mut root = client(&server, "root");
    put(&mut root, "stream.buffer", int(8), (409, "stream.buffer is set by FANAL_STREAM_BUFFER"));
    check_value(&mut root, "stream.buffer", int(7));
    let (status, failure) = api(&server, "PUT", "tunables?key=stream.buffer&value=8");
    assert_eq!(status, 409, "{failure}");
    assert!(!tunables_file(&server).exists());
}

#[test]
fn a_change_outlives_what_wins_over_it_for_a_while() {
    let (mut server, mut root) = server("");
    put(&mut root, "link.buffer", int(9), (200, ""));
    server.set_environment("FANAL_LINK_BUFFER", "7");
    server.restart();
    let mut root = client(&server, "root");
    check_value(&mut root, "link.buffer", int(7));
    put(&mut root, "stream.buffer", int(32), (200, ""));
    server.signal(Signal::HUP);
    server.wait_for_line("reloaded: ");
    put(&mut root, "stream.buffer", int(33), (200, ""));
    let kept = fs::read_to_string(tunables_file(&server)).unwrap();
    assert!(kept.ends_with("link.buffer = 9\nstream.buffer = 33\n"), "{kept}");
}

#[test]
fn another_place_for_the_data_is_for_the_next_start() {
    let (server, mut root) = server("");
    put(&mut root, "link.buffer", int(9), (200, ""));
    let elsewhere = server.folder().join("elsewhere");
    server.configure(&format!("{SETTINGS}store.directory = {elsewhere:?}\n"));
    server.signal(Signal::HUP);
    server.wait_for_line("at the next start only: store.directory");
    check_value(&mut root, "link.buffer", int(9));
    put(&mut root, "stream.buffer", int(33), (200, ""));
    let kept = fs::read_to_string(tunables_file(&server)).unwrap();
    assert!(kept.ends_with("link.buffer = 9\nstream.buffer = 33\n"), "{kept}");
    assert!(!elsewhere.exists());
}

#[test]
fn a_change_brings_in_nothing_else() {
    let (server, mut root) = server("");
    server.configure(&format!("{SETTINGS}link.buffer = 9\nstream.buffer = 0\n"));
    put(&mut root, "outbox.stall_timeout", text("5s"), (200, ""));
    check_value(&mut root, "link.buffer", int(64));
    server.configure(&format!("{SETTINGS}link.buffer = 9\n"));
    server.signal(Signal::HUP);
    server.wait_for_line("changed: link.buffer");
    while ask(&mut root, "GET", "link.buffer", nil()).payl != int(9) {}
    check_value(&mut root, "outbox.stall_timeout", text("5s"));
}

#[test]
fn without_a_disk_a_change_lasts_as_long_as_the_server() {
    let (mut server, mut root) = server("store.engine = \"memory\"\n");
    put(&mut root, "stream.buffer", int(32), (200, "kept until the server stops"));
    server.signal(Signal::HUP);
    server.wait_for_line("reloaded: ");
    check_value(&mut root, "stream.buffer", int(32));
    put(&mut root, "server.workers", int(1), (200, "has no effect"));
    server.restart();
    check_value(&mut client(&server, "root"), "stream.buffer", int(16));
}

#[test]
fn a_damaged_file_of_settings_is_named() {
    for (content, expected) in [
        ("stream.buffer = 0\n", "tunables.toml:1: stream.buffer = 0: expected a number"),
        ("stream.buffer = 2\nstream.colour = 1\n", "tunables.toml:2: "),
        ("stream.buffer = \n", "tunables.toml:1"),
        ("server.port = 1\n", "tunables.toml:1: server.port does not belong here"),
    ] {
        let server = Server::prepare("");
        fs::create_dir_all(server.data()).unwrap();
        fs::write(tunables_file(&server), content).unwrap();
        let (status, output) = server.run_to_end();
        assert_eq!(status.code(), Some(2), "{content}: {output}");
        assert!(output.contains(expected), "{content}: {expected:?} is not in {output}");
    }
}

#[test]
fn settings_are_no_resources_unless_that_is_wished_for() {
    let server = Server::start_with(&SETTINGS.replace("enabled = true", "enabled = false"));
    let mut root = client(&server, "root");
    let answer = ask(&mut root, "PUT", "stream.buffer", int(32));
    assert_eq!(answer.rnum, 404, "{answer:?}");
    // Who operates it changes them all the same.
    assert_eq!(api(&server, "PUT", "tunables?key=stream.buffer&value=32").0, 200);
    assert_eq!(view(&server, "stream.buffer")["value"], "32");
}

#[test]
fn settings_that_are_no_longer_resources_are_gone() {
    let (mut server, _root) = server("");
    server.configure(&SETTINGS.replace("enabled = true", "enabled = false"));
    server.restart();
    let answer = ask(&mut client(&server, "root"), "PUT", "stream.buffer", int(32));
    assert_eq!(answer.rnum, 404, "{answer:?}");
}

#[test]
fn many_who_write_at_once_end_on_one_value() {
    let (server, mut root) = server("");
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let mut client = client(&server, "tim");
            std::thread::spawn(move || {
                for round in 1..=20 {
                    let value = int(writer * 100 + round);
                    assert_eq!(ask(&mut client, "PUT", "stream.buffer", value).rnum, 200);
                }
            })
        })
        .collect();
    for _ in 0..10 {
        server.signal(Signal::HUP);
        drop(view(&server, "stream.buffer"));
    }
    for writer in writers {
        writer.join().unwrap();
    }
    server.wait_for_line("reloaded: ");
    let kept = fs::read_to_string(tunables_file(&server)).unwrap();
    let kept: toml::Table = toml::from_str(&kept).unwrap();
    let kept = kept["stream"]["buffer"].as_integer().unwrap();
    check_value(&mut root, "stream.buffer", int(kept));
    assert_eq!(view(&server, "stream.buffer")["value"], kept.to_string());
}
