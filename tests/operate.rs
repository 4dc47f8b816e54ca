//! The commands of who operates a server, on the real binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod support;

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use support::{Client, Server, array, bin, nil};

const SETTINGS: &str = "\
auth.mode = \"users\"
auth.users = [\
    { name = \"root\", token = \"root-token\", admin = true }, \
    { name = \"ann\", token = \"ann-token\", roles = [\"student\"] }]
admin.enabled = true
admin.port = 0
admin.token = \"open-sesame\"
snapshot.interval = \"1h\"
";

fn server() -> (Server, Client) {
    let server = Server::start_with(SETTINGS);
    let mut root = server.client_as("root", "root-token");
    for path in [&["user", "ann", "model"][..], &["wall"]] {
        root.expect("CREATE", path, nil(), 201);
    }
    root.expect("LINK", &["wall"], array(&["user", "ann", "model"]), 200);
    root.expect("PUT", &["user", "ann", "model"], bin(&[7; 2045]), 200);
    (server, root)
}

/// Runs `fanal` with these arguments: exit code, what it printed, and its errors.
fn fanal(arguments: &[&str], token: &str) -> (i32, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_fanal"))
        .args(arguments)
        .env("FANAL_ADMIN_TOKEN", token)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (done.status.code().unwrap(), text(&done.stdout), text(&done.stderr))
}

/// Runs it for the server with this data directory, and expects it to succeed.
fn check(server: &Server, arguments: &[&str], expected: &[&str]) {
    let data = server.data().display().to_string();
    let mut all = arguments.to_vec();
    all.extend(["--data", &data]);
    let (code, out, error) = fanal(&all, "");
    assert_eq!(code, 0, "{arguments:?}: {out}{error}");
    for part in expected {
        assert!(out.contains(part), "{arguments:?}: {part:?} is not in\n{out}");
    }
}

#[test]
fn each_command_does_what_it_says() {
    let (server, _root) = server();
    let mut ann = server.client_as("ann", "ann-token");
    ann.expect("STREAM", &["user", "ann", "model"], nil(), 200);
    check(
        &server,
        &["status"],
        &[
            "state                         ready\n",
            "connections                   2\n",
            "values                        4.00 KiB, 4.00 KiB in memory\n",
        ],
    );
    check(
        &server,
        &["sessions"],
        &[
            "number  user  address    opened                requests  streams  waiting  skipped\n",
            "     1  root  127.0.0.1",
            "     2  ann   127.0.0.1",
        ],
    );
    check(&server, &["sessions", "--of-user", "ann"], &["     2  ann   127.0.0.1"]);
    check(&server, &["links"], &["wall  follows  user/ann/model\n"]);
    check(&server, &["links", "wall"], &["wall  follows  user/ann/model\n"]);
    check(&server, &["links", "user"], &[""]);
    check(&server, &["log"], &["debug\n"]);
    check(&server, &["log", "warn,fanal::admin=info"], &["warn,fanal::admin=info\n"]);
    check(&server, &["log"], &["warn,fanal::admin=info\n"]);
    check(&server, &["save"], &["saved 2 resources in "]);
    check(&server, &["save"], &["everything was saved already\n"]);
    check(&server, &["kick", "2"], &["session 2 was told to end\n"]);
    assert_eq!(ann.wait_for_close(), Some(1008));
    let mut again = server.client_as("ann", "ann-token");
    again.expect("GET", &["user", "ann", "model"], nil(), 200);
    check(&server, &["kick", "--of-user", "ann"], &["session 3 was told to end\n"]);
    assert_eq!(again.wait_for_close(), Some(1008));
}

#[test]
fn settings_are_shown_and_changed() {
    let (server, mut root) = server();
    root.expect("CREATE", &["other"], nil(), 201);
    check(
        &server,
        &["tune"],
        &["setting ", "a change counts for  comes from\n", "stream.buffer ", "server.workers "],
    );
    check(&server, &["tune", "stream.buffer", "32"], &["stream.buffer = 32\n"]);
    check(
        &server,
        &["tune", "stream.buffer"],
        &["value                32\n", "tunables.toml:", "a change counts for  now\n"],
    );
    let set = ["tune", "server.workers", "1"];
    check(&server, &set, &["server.workers = 1, takes effect at the next start of the server\n"]);
    check(
        &server,
        &["tune", "--changed"],
        &["server.workers ", "next start; now 2", "stream.buffer "],
    );
    check(&server, &["tune", "session.streams_max", "1"], &["session.streams_max = 1\n"]);
    root.expect("STREAM", &["wall"], nil(), 200);
    assert_ne!(root.request("STREAM", &["other"], nil()).rnum, 200);
    check(&server, &["tune", "session.streams_max", "--unset"], &["session.streams_max = "]);
    root.expect("STREAM", &["other"], nil(), 200);
    let here = server.data().display().to_string();
    for (arguments, code, expected) in [
        (&["tune", "stream.buffer", "0"][..], 1, "expected a number from 1 to 65536"),
        (&["tune", "stream.buffer", "many"], 1, "expected a number"),
        (&["tune", "server.port", "1"], 1, "no setting that can be changed while it runs"),
        (&["tune", "colour"], 1, "`fanal tune` lists them"),
        (&["tune", "stream.buffer", "1", "--unset"], 2, "cannot be used with"),
        (&["tune", "--unset"], 2, "<SETTING>"),
    ] {
        let mut all = arguments.to_vec();
        all.extend(["--data", &here]);
        let (found, out, error) = fanal(&all, "");
        assert_eq!(found, code, "{arguments:?}: {out}{error}");
        assert!(error.contains(expected), "{arguments:?}: {expected:?} is not in\n{error}");
    }
}

#[test]
fn a_server_is_told_to_stop() {
    let (mut server, mut root) = server();
    let (code, out, error) =
        fanal(&["drain", "--over", "soon", "--data", &server.data().display().to_string()], "");
    assert_eq!((code, &*out), (1, ""));
    assert!(error.contains("expected a duration"), "{error}");
    root.expect("GET", &["wall"], nil(), 200);
    check(
        &server,
        &["drain", "--over", "1s"],
        &["stopping: 1 connections to close in 1s\n", "has stopped\n"],
    );
    assert_eq!(root.wait_for_close(), Some(1001));
    assert_eq!(server.wait().code(), Some(0));
    server.start_again();
    let mut root = server.client_as("root", "root-token");
    assert_eq!(root.expect("GET", &["wall"], nil(), 200).payl, bin(&[7; 2045]));
}

#[test]
fn a_server_elsewhere_is_asked_with_its_token() {
    let (server, _root) = server();
    let url = server.admin_url();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    for (token, code, expected) in
        [("open-sesame", 0, "ready"), ("open", 1, "admin.token"), ("", 1, "admin.token")]
    {
        let (found, out, error) = fanal(&["status", "--admin-url", &url, "--data", &data], token);
        assert_eq!(found, code, "{out}{error}");
        assert!(format!("{out}{error}").contains(expected), "{out}{error}");
    }
}

/// `script` gives the command a terminal, and passes on what is typed and drawn.
#[test]
fn a_running_server_is_watched_on_a_terminal() {
    let (server, _root) = server();
    let (program, data) = (env!("CARGO_BIN_EXE_fanal"), server.data());
    let command = format!("stty rows 30 cols 120; exec {program:?} top --data {data:?}");
    let mut top = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env("TERM", "xterm-256color")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of Debian's bsdutils, can be started");
    let mut drawn = Vec::new();
    let mut screen = top.stdout.take().unwrap();
    let mut see = |wanted: &str| {
        while !String::from_utf8_lossy(&drawn).contains(wanted) {
            let mut piece = [0; 4096];
            let count = screen.read(&mut piece).unwrap();
            assert!(count > 0, "{wanted:?} is not in\n{}", String::from_utf8_lossy(&drawn));
            drawn.extend_from_slice(&piece[..count]);
        }
    };
    let mut typed = top.stdin.take().unwrap();
    see("ready");
    // By rate nothing is to be seen of who does nothing; by bytes it is.
    typed.write_all(b"b").unwrap();
    see("user/ann/model");
    // Left by its key, with the terminal as it was.
    typed.write_all(b"q").unwrap();
    see("\u{1b}[?1049l");
    assert_eq!(top.wait().unwrap().code(), Some(0));
}

#[test]
fn what_cannot_be_done_is_said_with_what_to_do() {
    let (server, _root) = server();
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().display().to_string();
    let here = server.data().display().to_string();
    let url = "http://127.0.0.1:1";
    for (arguments, code, expected) in [
        (&["status", "--data", &nowhere][..], 1, "no server runs on"),
        (&["links", "--data", &nowhere], 1, "--admin-url one elsewhere"),
        (&["status", "--admin-url", url], 1, "http://127.0.0.1:1 does not answer"),
        (&["status", "--admin-url", "no url"], 1, "is no URL"),
        (&["kick", "99", "--data", &here], 1, "there is no session 99"),
        (&["kick", "--data", &here], 2, "<NUMBER>"),
        (&["kick", "--of-user", "bob", "--data", &here], 1, "user \"bob\" has no connection"),
        (&["kick", "x", "--data", &here], 2, "invalid value"),
        (&["log", "loud", "--data", &here], 1, "expected error, warn, info"),
        (&["top", "--data", &here], 1, "top needs a terminal"),
    ] {
        let (found, out, error) = fanal(arguments, "");
        assert_eq!(found, code, "{arguments:?}: {out}{error}");
        assert!(error.contains(expected), "{arguments:?}: {expected:?} is not in\n{error}");
        assert_eq!(out, "", "{arguments:?}");
    }
}

#[test]
fn names_of_others_do_no_harm_on_a_terminal() {
    let server = Server::start();
    let mut client = server.client_as("bad\u{1b}[2Jname", "x");
    client.expect("CREATE", &["a\u{7}b"], nil(), 201);
    client.expect("CREATE", &["c"], nil(), 201);
    client.expect("LINK", &["c"], array(&["a\u{7}b"]), 200);
    for command in ["sessions", "links"] {
        let data = server.data().display().to_string();
        let (code, out, _) = fanal(&[command, "--data", &data], "");
        assert_eq!(code, 0);
        assert!(!out.chars().any(|c| c.is_control() && c != '\n'), "{out:?}");
    }
}
