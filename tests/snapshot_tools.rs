//! `fanal snapshot`: looking at what is saved, carrying it elsewhere, bringing it in.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Server, array, bin, int, nil};

/// Runs `fanal snapshot` on the data of a server, or in a folder of its own: exit code, standard
/// output, standard error.
fn snapshot(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanal"));
    command.arg("snapshot").args(args).current_dir(folder);
    if folder.join("fanal.toml").exists() {
        command.args(["--config", "fanal.toml"]);
    } else {
        command.args(["--data", "data"]);
    }
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[track_caller]
fn check(folder: &Path, args: &[&str], code: i32, part: &str) {
    let (found, out, err) = snapshot(folder, args);
    assert!(found == code && (out.clone() + &err).contains(part), "{args:?}: {found}\n{out}{err}");
}

/// A server with something of everything.
fn filled(settings: &str) -> Server {
    let server = Server::start_with(settings);
    let mut client = server.client();
    client.expect("POST", &["a", "number"], int(7), 201);
    client.expect("POST", &["a", "picture"], bin(&[1, 2, 3]), 201);
    client.expect("POST", &["a", "odd"], [0xcc, 0x05], 201);
    client.expect("POST", &["a", "numbered"], [0x81, 0x01, 0x02], 201);
    client.expect("POST", &["a", "nil"], nil(), 201);
    client.expect("POST", &["a", "deep"], [[0x91; 200].as_slice(), &[0xc0]].concat(), 201);
    client.expect("MKDIR", &["empty"], nil(), 201);
    client.expect("CREATE", &["b"], nil(), 201);
    client.expect("LINK", &["b"], array(&["a", "number"]), 200);
    client.expect("PUT", &["a", "number"], int(8), 200);
    client.expect("DELETE", &["a", "nil"], nil(), 200);
    client.expect("CREATE", &["a", "nil"], nil(), 201);
    server
}

/// What a filled server has is also here, on the data in this folder.
fn check_filled(folder: &Path) {
    let mut server = Server::prepare("");
    let data = format!("store.directory = {:?}", folder.join("data"));
    server.configure(&data);
    server.start_again();
    let mut client = server.client();
    for (name, value) in [
        ("number", int(8)),
        ("picture", bin(&[1, 2, 3])),
        ("odd", vec![0xcc, 0x05]),
        ("numbered", vec![0x81, 0x01, 0x02]),
        ("nil", nil()),
        ("deep", [[0x91; 200].as_slice(), &[0xc0]].concat()),
    ] {
        assert_eq!(client.expect("GET", &["a", name], nil(), 200).payl, value, "{name}");
    }
    client.expect("MKDIR", &["empty"], nil(), 400);
    client.expect("PUT", &["a", "number"], int(9), 200);
    assert_eq!(client.expect("GET", &["b"], nil(), 200).number(), 9);
    server.stop();
}

#[test]
fn what_is_exported_from_a_running_server_is_imported_elsewhere_without_a_loss() {
    // It is not on the disk, and all the same in the export.
    let server = filled("snapshot.interval = \"1h\"");
    let elsewhere = tempfile::tempdir().unwrap();
    for name in ["show.json", "show.fanal"] {
        let file = elsewhere.path().join(name);
        let file = file.to_str().unwrap();
        check(server.folder(), &["export", file], 0, "wrote 7 resources, 2 directories and 1");
        let _ = fs::remove_dir_all(elsewhere.path().join("data"));
        check(elsewhere.path(), &["import", file], 0, "made 10, changed 0, there already 0");
        let (_, json, _) = snapshot(elsewhere.path(), &["export", "again.json"]);
        assert!(json.contains("wrote 7"), "{json}");
        check_filled(elsewhere.path());
    }
}

#[test]
fn a_merge_lets_the_file_win_and_a_replacement_forgets_the_rest() {
    let mut server = filled("");
    server.stop();
    let folder = server.folder();
    let json = r#"{"fanal": 1, "resources": [
        {"path": ["a", "number"], "value": 80}, {"path": ["c", "d"], "value": null}]}"#;
    fs::write(folder.join("new.json"), json).unwrap();
    let dry = ["import", "new.json", "--dry-run"];
    check(folder, &dry, 0, "this is what would be:\nmade 2, changed 1, there already 1");
    check(folder, &["info"], 0, "resources    7\n");
    check(folder, &["import", "new.json"], 0, "made 2, changed 1, there already 1");
    check(folder, &["import", "new.json"], 0, "made 0, changed 0, there already 4");
    check(folder, &["info"], 0, "resources    8\n");
    check(
        folder,
        &["import", "new.json", "--replace"],
        0,
        "before: resources 8, directories 3, links 1\nmade 4",
    );
    check(folder, &["info"], 0, "resources    2\n");
    // The backup has it too.
    fs::remove_file(server.data().join("fanal.redb")).unwrap();
    server.start_again();
    let mut client = server.client();
    assert_eq!(client.expect("GET", &["a", "number"], nil(), 200).number(), 80);
    client.expect("GET", &["a", "picture"], nil(), 404);
    client.expect("POST", &["a", "later"], int(1), 201);
    server.kill();
    server.start_again();
    server.client().expect("GET", &["a", "later"], nil(), 200);
}

#[test]
fn an_import_with_a_conflict_does_nothing() {
    let mut server = filled("");
    server.stop();
    let folder = server.folder();
    for (resources, sentence) in [
        (r#"{"path": ["a"], "value": 1}"#, "a is a directory, not a resource"),
        (r#"{"path": ["a", "nil", "x"], "value": 1}"#, "a/nil/x is below the resource a/nil"),
        (r#"{"path": [], "value": 1}"#, "the root is no resource"),
    ] {
        let json = format!(
            r#"{{"fanal": 1, "resources": [{{"path": ["new"], "value": 1}}, {resources}]}}"#
        );
        fs::write(folder.join("new.json"), json).unwrap();
        check(folder, &["import", "new.json"], 1, sentence);
        check(folder, &["info"], 0, "resources    7\n");
    }
    let circle = r#"{"fanal": 1, "links": [{"source": ["b"], "destination": ["a", "number"]}],
        "resources": [{"path": ["b"], "value": 1}, {"path": ["a", "number"], "value": 1}]}"#;
    fs::write(folder.join("new.json"), circle).unwrap();
    let sentence = "a/number cannot follow b: it would close a cycle";
    check(folder, &["import", "new.json"], 1, sentence);
    check(folder, &["import", "new.json"], 1, "nothing was imported, conflicts: 1");
}

#[test]
fn a_file_that_cannot_be_read_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (text, sentence) in [
        ("", "EOF while parsing"),
        ("{\"fanal\": 2}", "it has version 2, this fanal reads version 1"),
        ("{\"fanal\": 1, \"x\": 1}", "unknown field `x`"),
        ("{\"fanal\": 1, \"resources\": [{\"path\": [\"a\"]}]}", "either value or msgpack"),
        ("{\"fanal\": 1, \"resources\": [{\"path\": [\"a/b\"], \"value\": 1}]}", "no slash"),
        ("{\"fanal\": 1, \"resources\": [{\"path\": [\"a\"], \"msgpack\": \"wQ==\"}]}", "no Mess"),
        (
            "{\"fanal\": 1, \"resources\": [{\"path\": [\"a\"], \"msgpack\": \"AQE=\"}]}",
            "one value",
        ),
        (
            "{\"fanal\": 1, \"links\": [{\"source\": [\"a\"], \"destination\": [\"b\"]}]}",
            "b cannot follow a: there is no resource a",
        ),
    ] {
        fs::write(folder.join("f.json"), text).unwrap();
        check(folder, &["import", "f.json"], 1, sentence);
    }
    fs::write(folder.join("f"), "text").unwrap();
    check(folder, &["import", "f"], 1, "f is no snapshot of fanal or of the original server");
    check(folder, &["import", "missing"], 1, "there is no file missing");
    check(folder, &["info"], 1, "there is no store: no directory data");
    check(folder, &["export", "none/f.json"], 1, "there is no store");
}

#[test]
fn a_snapshot_of_the_original_server_is_imported() {
    let folder = tempfile::tempdir().unwrap();
    let beacon = b"\x83\xa3a/b\x01\xa1c\x82\xa1x\x01\xa1y\xc0\xa4a/ n\xc4\x02\x07\x08";
    fs::write(folder.path().join("beacon"), beacon).unwrap();
    check(folder.path(), &["import", "beacon"], 0, "made 4");
    let mut server = Server::prepare("");
    server.configure(&format!("store.directory = {:?}", folder.path().join("data")));
    server.start_again();
    let mut client = server.client();
    assert_eq!(client.expect("GET", &["a", "b"], nil(), 200).number(), 1);
    assert_eq!(client.expect("GET", &["c"], nil(), 200).payl, b"\x82\xa1x\x01\xa1y\xc0");
    assert_eq!(client.expect("GET", &["a", " n"], nil(), 200).payl, bin(&[7, 8]));
    for length in 1..beacon.len() {
        fs::write(folder.path().join("cut"), &beacon[..length]).unwrap();
        let (code, _, err) = snapshot(folder.path(), &["import", "cut", "--dry-run"]);
        assert!(code == 1 && err.starts_with("fanal: "), "{length}: {code} {err}");
    }
}

#[test]
fn a_running_server_keeps_imports_out_but_not_looks() {
    let server = filled("");
    let folder = server.folder();
    fs::write(folder.join("new.json"), r#"{"fanal": 1}"#).unwrap();
    let locked = format!("is locked by process {}: stop it", server.pid());
    check(folder, &["import", "new.json"], 1, &locked);
    check(folder, &["import", "new.json", "--dry-run"], 0, "made 0");
    check(folder, &["verify"], 0, "files are good");
    check(folder, &["info"], 0, "links        1\n");
}

#[test]
fn verify_names_what_is_damaged() {
    let file = ("store.engine = \"file\"", "fanal.snapshot", "its checksum does not match");
    for (settings, name, sentence) in [("", "fanal.redb", "is damaged"), file] {
        let mut server = filled(settings);
        server.stop();
        check(server.folder(), &["verify"], 0, "files are good");
        let path = server.data().join(name);
        let mut bytes = fs::read(&path).unwrap();
        // In the middle of a value, in each copy of it: an older one may be in the file too.
        let places: Vec<usize> =
            (0..bytes.len() - 200).filter(|at| bytes[*at..*at + 200] == [0x91; 200]).collect();
        assert!(!places.is_empty());
        places.iter().for_each(|at| bytes[at + 100] ^= 1);
        fs::write(&path, &bytes).unwrap();
        check(server.folder(), &["verify"], 1, &format!("BAD   {name} "));
        check(server.folder(), &["verify"], 1, sentence);
        assert_eq!(fs::read(&path).unwrap(), bytes, "a look changes nothing");
        fs::write(server.folder().join("new.json"), "{\"fanal\": 1}").unwrap();
        if settings.is_empty() {
            check(server.folder(), &["import", "new.json"], 1, sentence);
        }
    }
}

#[test]
fn a_file_store_is_exported_too_and_taken_over_by_the_embedded_one() {
    let mut server = filled("store.engine = \"file\"");
    server.stop();
    check(server.folder(), &["export", "show.json"], 0, "wrote 7 resources, 2 directories and 1");
    server.configure("");
    // A look at it needs no database.
    check(server.folder(), &["info"], 0, "resources    7\n");
    server.start_again();
    server.wait_for_line("has taken over what was in");
    let mut client = server.client();
    assert_eq!(client.expect("GET", &["a", "number"], nil(), 200).number(), 8);
    client.expect("PUT", &["a", "number"], int(9), 200);
    assert_eq!(client.expect("GET", &["b"], nil(), 200).number(), 9);
    server.restart();
    assert_eq!(server.client().expect("GET", &["b"], nil(), 200).number(), 9);
    assert!(!server.output().contains("has taken over"));
}

#[test]
fn nothing_is_saved_in_memory() {
    let server = filled("store.engine = \"memory\"");
    for args in [&["info"][..], &["verify"], &["export", "f.json"], &["import", "f.json"]] {
        fs::write(server.folder().join("f.json"), "{\"fanal\": 1}").unwrap();
        check(server.folder(), args, 1, "nothing is saved with store.engine = \"memory\"");
    }
}
