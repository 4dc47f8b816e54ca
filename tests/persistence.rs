//! What survives the end of the process, in order or not, and what a damaged disk does to a start.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly, and they measure the time themselves"
)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rmpv::Value;
use support::{Client, Request, Server};
use support::{array, bin, int, nil, text};

/// Saves only when it is asked to end.
const NO_SAVES: &str = "snapshot.interval = \"1h\"";

/// Keeps everything in one file.
const FILE: &str = "store.engine = \"file\"";

/// The engines that keep something.
const ENGINES: [&str; 2] = ["store.engine = \"embedded\"", FILE];

/// Saves nothing until it is asked to end.
const NEVER: &str = "store.sync = \"interval\"\nsnapshot.interval = \"1h\"";

/// Names that a file could not have, or that mean something in one.
const ODD_NAMES: &[&str] = &["", ".", "..", "\0", "line\nbreak", "gr\u{fc}n \u{1f5fc}"];

/// Makes something of every kind.
fn fill(server: &Server) {
    let mut client = server.client();
    client.expect("POST", &["a", "value"], bin(&[7; 1176]), 201);
    client.expect("POST", &["a", "overwritten"], text("first"), 201);
    client.expect("PUT", &["a", "overwritten"], text("second"), 200);
    client.expect("CREATE", &["a", "nothing"], nil(), 201);
    client.expect("MKDIR", &["empty"], nil(), 201);
    client.expect("MKDIR", &["below", "empty"], nil(), 201);
    for name in ODD_NAMES {
        client.expect("POST", &["odd", name], text(name), 201);
    }
    for name in ["source", "middle", "end", "unlinked", "deleted"] {
        client.expect("CREATE", &["link", name], nil(), 201);
    }
    for (source, destination) in [("source", "middle"), ("middle", "end"), ("source", "unlinked")] {
        client.expect("LINK", &["link", destination], array(&["link", source]), 200);
    }
    client.expect("UNLINK", &["link", "unlinked"], array(&["link", "source"]), 200);
    client.expect("DELETE", &["link", "deleted"], nil(), 200);
}

/// Finds what `fill` made, and nothing else.
#[track_caller]
fn assert_filled(server: &Server, overwritten: &str) {
    let mut client = server.client();
    client.expect("PUT", &["link", "source"], int(5), 200);
    for (path, value) in [
        (&["a", "value"][..], bin(&[7; 1176])),
        (&["a", "overwritten"], text(overwritten)),
        (&["a", "nothing"], nil()),
        (&["link", "middle"], int(5)),
        (&["link", "end"], int(5)),
        (&["link", "unlinked"], nil()),
    ] {
        assert_eq!(client.expect("GET", path, nil(), 200).payl, value, "{path:?}");
    }
    for name in ODD_NAMES {
        assert_eq!(client.expect("GET", &["odd", name], nil(), 200).payl, text(name), "{name:?}");
    }
    let names = |path: &[&str], client: &mut Client| {
        let mut names = names_in(&client.expect("LIST", path, nil(), 200).value());
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(&[], &mut client), "a below empty link odd");
    assert_eq!(names(&["a"], &mut client), "nothing overwritten value");
    assert_eq!(names(&["empty"], &mut client), "");
    assert_eq!(names(&["below", "empty"], &mut client), "");
    assert_eq!(names(&["link"], &mut client), "end middle source unlinked");
}

/// The names directly in a listed directory.
fn names_in(listing: &Value) -> Vec<String> {
    let entries = listing.as_map().expect("a listing is a map").iter();
    entries.map(|(name, _)| name.as_str().expect("a name is a string").to_owned()).collect()
}

// ---- the end of the process

#[test]
fn everything_survives_an_orderly_stop() {
    let settings = ["", NO_SAVES, "store.sync = \"all\"", "store.sync = \"interval\"", NEVER];
    for (engine, settings) in ENGINES.iter().flat_map(|engine| settings.map(|s| (engine, s))) {
        let mut server = Server::start_with(&format!("{engine}\n{settings}"));
        fill(&server);
        // And twice over, since the second time it was never in this process's hands.
        for _ in 0..2 {
            server.restart();
            assert_filled(&server, "second");
        }
    }
}

#[test]
fn the_structure_survives_a_kill_at_once() {
    for engine in ENGINES {
        let mut server = Server::start_with(&format!("{engine}\n{NO_SAVES}"));
        fill(&server);
        server.kill();
        server.start_again();
        assert_filled(&server, "first");
    }
}

#[test]
fn values_survive_a_kill_once_they_are_saved() {
    let settings = ["", "store.sync = \"interval\""];
    for (engine, settings) in ENGINES.iter().flat_map(|engine| settings.map(|s| (engine, s))) {
        let mut server = Server::start_with(&format!("{engine}\n{settings}"));
        fill(&server);
        wait_until_saved(&server, b"second");
        server.kill();
        server.start_again();
        assert_filled(&server, "second");
    }
}

#[test]
fn a_value_that_was_answered_survives_a_kill_at_once_if_all_is_synced() {
    for engine in ENGINES {
        let settings = format!("{engine}\n{NO_SAVES}\nstore.sync = \"all\"");
        let mut server = Server::start_with(&settings);
        fill(&server);
        for number in 0..5 {
            server.client().expect("PUT", &["a", "overwritten"], int(number), 200);
            // And one that comes through links.
            server.client().expect("PUT", &["link", "source"], int(number), 200);
            server.kill();
            server.start_again();
            let mut client = server.client();
            for path in [&["a", "overwritten"][..], &["link", "source"], &["link", "end"]] {
                assert_eq!(client.expect("GET", path, nil(), 200).payl, int(number), "{path:?}");
            }
        }
    }
}

#[test]
fn what_is_only_in_memory_is_gone_after_a_restart() {
    let mut server = Server::start_with("store.engine = \"memory\"");
    fill(&server);
    assert_filled(&server, "second");
    server.restart();
    server.client().expect("GET", &["a", "value"], nil(), 404);
    assert!(!server.data().exists(), "it writes nothing");
}

#[test]
fn a_kill_at_any_moment_of_many_saves_loses_no_structure() {
    for engine in ENGINES {
        check_kills(engine);
    }
}

fn check_kills(engine: &str) {
    let mut server = Server::start_with(&format!("{engine}\nsnapshot.interval = \"10ms\""));
    server.client().expect("POST", &["n"], int(0), 201);
    let mut created = 0;
    for round in 1..=10 {
        let mut client = server.client();
        // Each round ends at another place within a save.
        for _ in 0..round * 3 {
            created += 1;
            client.expect("POST", &["d", &created.to_string()], int(created), 201);
            client.expect("PUT", &["n"], int(created), 200);
        }
        server.kill();
        server.start_again();
        let mut client = server.client();
        let listed = names_in(&client.expect("LIST", &["d"], nil(), 200).value());
        assert_eq!(listed.len() as i64, created);
        let last = client.expect("GET", &["d", &created.to_string()], nil(), 200);
        assert_eq!(last.payl, int(created));
    }
}

/// Waits until these bytes are saved.
fn wait_until_saved(server: &Server, bytes: &[u8]) {
    loop {
        let saves = server.output().matches("] saved ").count();
        let file = server.data().join("fanal.redb");
        let file = if file.exists() { file } else { server.snapshot_path() };
        let saved = fs::read(file).unwrap_or_default();
        if saved.windows(bytes.len()).any(|window| window == bytes) {
            // They stand in the file before the save is complete; another one waits for it.
            assert_eq!(server.api("POST", "snapshot").0, 200);
            return;
        }
        server.wait_for_lines("] saved ", saves + 1);
    }
}

// ---- a damaged disk

/// Stops a server with a snapshot and one before it, in which a value is older, and damages the
/// newest one.
fn damaged(damage: impl FnOnce(&mut Vec<u8>)) -> (Server, Vec<u8>) {
    let mut server = Server::start_with(FILE);
    fill(&server);
    wait_until_saved(&server, b"second");
    server.client().expect("PUT", &["a", "overwritten"], text("third"), 200);
    wait_until_saved(&server, b"third");
    assert!(server.stop().success());
    let mut bytes = fs::read(server.snapshot_path()).unwrap();
    damage(&mut bytes);
    fs::write(server.snapshot_path(), &bytes).unwrap();
    (server, bytes)
}

/// The files beside the snapshot whose names go on like this.
fn beside(server: &Server, suffix: &str) -> Vec<PathBuf> {
    let start = format!("{}{suffix}", server.snapshot_path().display());
    let folder = fs::read_dir(server.snapshot_path().parent().unwrap()).unwrap();
    let paths = folder.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.display().to_string().starts_with(&start)).collect()
}

/// The lines of the log that name this file and say this of it.
fn lines_about(server: &Server, file: &Path, words: &str) -> usize {
    let file = format!("{} ", file.display());
    let lines = server.output();
    lines.lines().filter(|line| line.contains(&file) && line.contains(words)).count()
}

#[track_caller]
fn check_damage(what: &str, damage: impl FnOnce(&mut Vec<u8>)) {
    let (mut server, bytes) = damaged(damage);
    server.start_again();
    assert_filled(&server, "second");
    let said = lines_about(&server, &server.snapshot_path(), "is damaged");
    assert_eq!(said, 1, "{what}: {}", server.output());
    let [aside] = &beside(&server, ".broken-")[..] else { panic!("{what}: nothing set aside") };
    assert!(server.output().contains(&aside.display().to_string()), "{what}");
    assert_eq!(fs::read(aside).unwrap(), bytes, "{what}");
    // And it goes on as if nothing had been.
    server.client().expect("PUT", &["a", "overwritten"], text("fourth"), 200);
    server.restart();
    assert_filled(&server, "fourth");
    assert_eq!(beside(&server, ".broken-").len(), 1, "{what}");
}

#[test]
fn a_damaged_snapshot_is_set_aside_for_the_one_before() {
    check_damage("torn in the middle", |bytes| bytes.truncate(bytes.len() / 2));
    check_damage("one byte short", |bytes| bytes.truncate(bytes.len() - 1));
    check_damage("empty", Vec::clear);
    check_damage("zeros", |bytes| bytes.fill(0));
    check_damage("a changed bit", |bytes| bytes[700] ^= 1);
    check_damage("a changed bit in the checksum", |bytes| *bytes.last_mut().unwrap() ^= 1);
    check_damage("bytes behind the end", |bytes| bytes.push(0xc0));
    check_damage("itself again behind the end", |bytes| bytes.extend_from_within(..));
    check_damage("a text", |bytes| *bytes = b"something else".to_vec());
}

#[test]
fn a_missing_snapshot_is_replaced_by_the_one_before() {
    let (mut server, _) = damaged(|_| {});
    fs::remove_file(server.snapshot_path()).unwrap();
    server.start_again();
    assert_filled(&server, "second");
}

#[test]
fn without_a_good_snapshot_the_server_starts_and_says_so() {
    let (mut server, _) = damaged(Vec::clear);
    let previous = &beside(&server, ".previous")[0];
    fs::write(previous, "something else").unwrap();
    server.start_again();
    assert_eq!(lines_about(&server, &server.snapshot_path(), "is damaged"), 1);
    assert_eq!(lines_about(&server, previous, "is damaged"), 1);
    server.wait_for_line("there is no usable snapshot");
    server.client().expect("POST", &["new"], nil(), 201);
    server.restart();
    server.client().expect("GET", &["new"], nil(), 200);
}

#[test]
fn a_snapshot_of_the_original_server_is_set_aside() {
    let mut server = Server::prepare(FILE);
    let beacon = b"\x82\xa3a/b\x01\xa1c\xc4\x01x";
    fs::create_dir_all(server.snapshot_path().parent().unwrap()).unwrap();
    fs::write(server.snapshot_path(), beacon).unwrap();
    server.start_again();
    assert_eq!(lines_about(&server, &server.snapshot_path(), "the original server beacon"), 1);
    assert_eq!(fs::read(&beside(&server, ".beacon-")[0]).unwrap(), beacon);
    server.client().expect("POST", &["a", "b"], nil(), 201);
    server.restart();
    server.client().expect("GET", &["a", "b"], nil(), 200);
}

/// Runs a server that cannot start, and returns the one line that it ends with.
#[track_caller]
fn refusal(server: &Server) -> String {
    let (status, output) = server.run_to_end();
    assert_eq!(status.code(), Some(1), "{output}");
    let refusals: Vec<&str> = output.lines().filter(|line| line.starts_with("fanal: ")).collect();
    let [refusal] = refusals[..] else { panic!("not one line:\n{output}") };
    assert!(!output.contains("listening"), "{output}");
    refusal.to_owned()
}

#[test]
fn a_snapshot_of_a_newer_fanal_is_refused_and_left_alone() {
    let (server, mut bytes) = damaged(|_| {});
    // The format follows the name at the beginning, the checksum ends the file.
    assert_eq!(bytes[..17], *b"\x93\xaefanal snapshot\x02");
    bytes[16] = 3;
    let body = bytes.len() - 5;
    let sum = crc32fast::hash(&bytes[..body]);
    bytes[body + 1..].copy_from_slice(&sum.to_be_bytes());
    fs::write(server.snapshot_path(), &bytes).unwrap();
    let refusal = refusal(&server);
    assert!(refusal.contains(&server.snapshot_path().display().to_string()), "{refusal}");
    assert!(refusal.contains("written by a newer fanal (format 3)"), "{refusal}");
    assert_eq!(fs::read(server.snapshot_path()).unwrap(), bytes);
    assert!(beside(&server, ".broken-").is_empty());
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let server = Server::start();
    fill(&server);
    let refusal = refusal(&server);
    assert!(refusal.contains(&format!("process {}", server.pid())), "{refusal}");
    assert_filled(&server, "second");
}

#[test]
fn data_that_cannot_be_written_is_refused() {
    let server = Server::prepare("store.directory = \"file/data\"");
    fs::write(server.folder().join("file"), "in the way").unwrap();
    let line = refusal(&server);
    assert!(line.contains("cannot create file/data: not a directory"), "{line}");

    for (engine, name) in ENGINES.into_iter().zip(["fanal.redb", "fanal.snapshot"]) {
        let server = Server::prepare(&format!("{engine}\nstore.directory = \"data\""));
        fs::create_dir_all(server.data().join(name)).unwrap();
        let line = refusal(&server);
        assert!(line.contains(&format!("data/{name}: is a directory")), "{line}");
    }
}

#[test]
fn a_full_disk_stops_nothing_and_is_told_once() {
    let server = Server::start_with(FILE);
    server.client().expect("POST", &["a"], int(1), 201);
    wait_until_saved(&server, b"\xc4\x01\x01");
    symlink("/dev/full", format!("{}.new", server.snapshot_path().display())).unwrap();
    server.client().expect("PUT", &["a"], int(2), 200);
    server.wait_for_line("no space left on device");
    assert_eq!(server.client().expect("GET", &["a"], nil(), 200).payl, int(2));
    server.wait_for_line("the disk is back");
    wait_until_saved(&server, b"\xc4\x01\x02");
    assert_eq!(server.output().matches("no space left").count(), 1);
}

// ---- saves and requests

#[test]
fn a_save_of_many_resources_holds_up_no_request() {
    const CLIENTS: usize = 4;
    const RESOURCES: usize = 100_000;
    let settings = "store.sync = \"interval\"\nsnapshot.interval = \"50ms\"";
    let server = Server::start_with(settings);
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let server = &server;
            scope.spawn(move || create_many(server, number, RESOURCES / CLIENTS));
        }
    });
    let mut client = server.client();
    client.expect("POST", &["n"], int(0), 201);
    let saved = || server.output().matches("] saved ").count();
    let before = saved();
    let mut times = Vec::new();
    let started = Instant::now();
    for number in 0.. {
        let asked = Instant::now();
        // Long enough for two saves, however busy the machine.
        let lasted = started.elapsed();
        if lasted > Duration::from_secs(30)
            || (lasted > Duration::from_secs(2) && number % 256 == 0 && saved() >= before + 2)
        {
            break;
        }
        match number % 2 {
            0 => client.expect("PUT", &["n"], int(number), 200),
            _ => client.expect("GET", &["n"], nil(), 200),
        };
        times.push(asked.elapsed());
    }
    let saves = saved() - before;
    times.sort_unstable();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    let late = times[times.len() * 99 / 100];
    println!("{} requests, {saves} saves: {median:?} {late:?} {longest:?}", times.len());
    assert!(saves >= 2, "{saves} saves");
    assert!(median < Duration::from_millis(5), "half of the requests took {median:?}");
    assert!(longest < Duration::from_millis(250), "a request took {longest:?}");
}

fn create_many(server: &Server, number: usize, count: usize) {
    let mut client = server.client();
    let folder = number.to_string();
    for batch in (0..count).collect::<Vec<_>>().chunks(500) {
        let name = |resource: &usize| resource.to_string();
        let request = |resource| Request::new("POST", &["many", &folder, &name(resource)]);
        let requests: Vec<Request> =
            batch.iter().map(|resource| request(resource).payl(bin(&[7; 100]))).collect();
        client.send_all(&requests);
        for _ in batch {
            assert_eq!(client.next_answer().rnum, 201);
        }
    }
}
