//! The commands that are clients of a running server, on the real binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use clap::CommandFactory;
use fanal::cli::Cli;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::{Pid, Signal, kill_process};
use support::{Client, Server, bin, int, nil, text};

const USERS: &str = "\
auth.mode = \"users\"
auth.users = [\
    { name = \"root\", token = \"root-token\", admin = true }, \
    { name = \"ann\", token = \"ann-token\", roles = [\"student\"] }]
";

/// `fanal` in a folder of its own, with nothing of the environment that it looks at.
fn fanal(server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanal"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FANAL_") {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .current_dir(server.folder())
        .env("XDG_CONFIG_HOME", server.folder())
        .env("FANAL_URL", server.url())
        .stdin(Stdio::null());
    command
}

/// Runs it to its end, with this on its standard input: exit code, output, errors.
fn run(command: &mut Command, input: &[u8]) -> (i32, Vec<u8>, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that wants no input may have ended before it could be given any.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let code = output.status.code().expect("an exit code");
    (code, output.stdout, String::from_utf8(output.stderr).unwrap())
}

/// Expects that it succeeds and prints exactly this.
#[track_caller]
fn check(server: &Server, arguments: &[&str], expected: &str) {
    let (code, out, error) = run(&mut fanal(server, arguments), b"");
    assert_eq!(code, 0, "{arguments:?}: {error}");
    assert_eq!(String::from_utf8_lossy(&out), expected, "{arguments:?}");
    assert_eq!(error, "", "{arguments:?}");
}

/// Expects that it fails so, says this, and prints nothing.
#[track_caller]
fn check_refused(server: &Server, arguments: &[&str], code: i32, expected: &str) {
    let (found, out, error) = run(&mut fanal(server, arguments), b"");
    assert_eq!(found, code, "{arguments:?}: {error}");
    assert!(error.contains(expected), "{arguments:?}: {expected:?} is not in\n{error}");
    assert!(out.is_empty() && !error.contains("panicked"), "{arguments:?}: {error}");
}

/// A stream that goes on, and its lines.
struct Streaming {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Streaming {
    fn start(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Streaming { child, lines }
    }

    #[track_caller]
    fn next(&mut self, expected: &str) {
        assert_eq!(self.lines.next().expect("a line").unwrap(), expected);
    }

    /// Its exit code and what it said.
    fn end(mut self) -> (i32, String) {
        let mut error = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        (self.child.wait().unwrap().code().expect("an exit code"), error)
    }
}

fn server() -> (Server, Client) {
    let server = Server::start();
    let client = server.client();
    (server, client)
}

#[test]
fn values_are_written_and_read_in_every_form() {
    let (server, mut client) = server();
    let mut value = |expected: Vec<u8>| {
        assert_eq!(client.expect("GET", &["wall"], nil(), 200).payl, expected);
    };
    check(&server, &["create", "wall"], "");
    check(&server, &["get", "wall"], "null\n");
    check(&server, &["put", "wall", "7"], "");
    value(int(7));
    check(&server, &["get", "wall"], "7\n");
    check(&server, &["put", "wall", "-7"], "");
    check(&server, &["get", "wall"], "-7\n");
    check(&server, &["put", "wall", "{\"r\": [1, 2.5, null, true]}"], "");
    check(&server, &["get", "wall"], "{\"r\":[1,2.5,null,true]}\n");
    check(&server, &["put", "wall", "--text", "on \u{1b}[2J"], "");
    value(text("on \u{1b}[2J"));
    check(&server, &["get", "wall"], "\"on \\u001b[2J\"\n");
    check(&server, &["get", "wall", "--raw"], "on \u{1b}[2J");
    check(&server, &["put", "wall", "--hex", "ff00 80"], "");
    value(bin(&[255, 0, 128]));
    check(&server, &["get", "wall"], "\"hex:ff0080\"\n");
    check(&server, &["get", "wall", "--hex"], "ff0080\n");
    fs::write(server.folder().join("frame"), [9; 1176]).unwrap();
    check(&server, &["put", "wall", "--file", "frame"], "");
    value(bin(&[9; 1176]));
    let (code, out, _) = run(&mut fanal(&server, &["get", "wall", "--raw"]), b"");
    assert_eq!((code, out), (0, vec![9; 1176]));
    let (code, out, _) = run(&mut fanal(&server, &["get", "wall", "--msgpack"]), b"");
    assert_eq!((code, &out), (0, &bin(&[9; 1176])));
    for (arguments, input, expected) in [
        (&["put", "wall", "-"][..], &b"\x00\xff"[..], bin(&[0, 255])),
        (&["put", "wall", "-", "--json"], b"[1]\n", vec![0x91, 1]),
        (&["put", "wall", "-", "--text"], b"a\n", text("a\n")),
        (&["put", "wall", "-", "--hex"], b"00 ff\n", bin(&[0, 255])),
        (&["put", "wall", "-", "--msgpack"], b"\xc3", vec![0xc3]),
    ] {
        let (code, _, error) = run(&mut fanal(&server, arguments), input);
        assert_eq!(code, 0, "{arguments:?}: {error}");
        value(expected);
    }
    check(&server, &["post", "new/lamp", "1"], "");
    check(&server, &["get", "new/lamp"], "1\n");
}

#[test]
fn names_are_made_listed_linked_and_removed() {
    let (server, mut client) = server();
    check(&server, &["create", "user/ann/model", "wall", "live"], "");
    check(&server, &["create", "button", "--class", "event"], "");
    client.expect("PUT", &["button"], int(1), 200);
    check(&server, &["get", "button"], "null\n");
    check(&server, &["mkdir", "scenes", "scenes/old"], "");
    check(&server, &["ls"], "button\nlive\nscenes/\nuser/\nwall\n");
    check(&server, &["ls", "user/ann"], "model\n");
    check(&server, &["ls", "/user/"], "ann/\n");
    check(&server, &["link", "wall", "user/ann/model"], "");
    client.expect("PUT", &["user", "ann", "model"], int(3), 200);
    check(&server, &["get", "wall"], "3\n");
    client.expect("STREAM", &["wall"], nil(), 200);
    let drawn = "\
/
├── button
├── live
├── scenes/
│   └── old/
├── user/
│   └── ann/
│       └── model
└── wall";
    let data = server.data().display().to_string();
    let noted = format!("{drawn} -> user/ann/model  [1 watcher]\n\n4 directories, 4 resources\n");
    check(&server, &["tree", "--data", &data], &noted);
    check(&server, &["tree", "--plain"], &format!("{drawn}\n\n4 directories, 4 resources\n"));
    check(
        &server,
        &["tree", "user", "--depth", "1"],
        "user\n└── ann/\n\n1 directory, 0 resources\n",
    );
    check(&server, &["tree", "scenes/old"], "scenes/old\n\n0 directories, 0 resources\n");
    check(&server, &["unlink", "wall", "user/ann/model"], "");
    client.expect("PUT", &["user", "ann", "model"], int(4), 200);
    check(&server, &["get", "wall"], "3\n");
    check(&server, &["rm", "scenes", "live", "button"], "");
    check(&server, &["ls", "/"], "user/\nwall\n");
}

#[test]
fn what_fails_has_a_code_and_says_what_to_do() {
    let server = Server::start_with(USERS);
    server.client_as("root", "root-token").expect("CREATE", &["wall"], nil(), 201);
    let token = server.folder().join("token");
    fs::write(&token, "root-token\n").unwrap();
    let root = ["--user", "root", "--token-file", token.to_str().unwrap()];
    let with = |words: &[&'static str]| [words, &root[..]].concat();
    check(&server, &with(&["put", "wall", "1"]), "");
    check_refused(&server, &with(&["get", "missing"]), 4, "name another path");
    check_refused(&server, &with(&["put", "missing", "1"]), 4, "`fanal post`");
    check_refused(&server, &with(&["ls", "wall"]), 4, "no directory");
    check_refused(&server, &with(&["rm", "missing"]), 4, "nothing at this path");
    check_refused(&server, &with(&["stream", "missing"]), 4, "fanal create missing");
    check_refused(&server, &with(&["link", "wall", "missing"]), 4, "no resource");
    check_refused(&server, &with(&["create", "wall"]), 1, "400");
    check_refused(&server, &with(&["link", "wall", "wall"]), 1, "409");
    check_refused(&server, &with(&["create", "a", "--class", "new"]), 1, "\"live\"");
    check_refused(&server, &["get", "wall"], 3, "401");
    fs::write(&token, "ann-token").unwrap();
    let ann = ["--user", "ann", "--token-file", token.to_str().unwrap()];
    check_refused(&server, &[&["put", "wall", "1"], &ann[..]].concat(), 3, "may not do this");
    for (arguments, expected) in [
        (&["put", "wall"][..], "no value is given"),
        (&["put", "wall", "on"], "on is no JSON"),
        (&["put", "wall", "--hex", "0x"], "two digits"),
        (&["put", "wall", "--file", "/nowhere"], "/nowhere cannot be read"),
        (&["put", "wall", "1", "--file", "x"], "cannot be used with"),
        (&["put", "wall", "1", "--text", "--hex"], "cannot be used with"),
        (&["get"], "<PATH>"),
        (&["get", "wall", "--url", "http://x"], "does not begin with ws://"),
        (&["get", "wall", "--token-file", "/nowhere"], "the token file /nowhere"),
        (&["get", "wall", "--profile", "x"], "profiles.toml"),
        (&["get", "wall", "--cert", "x"], "--key"),
        (&["get", "wall", "--token", "x"], "--token"),
        (&["bench", "--url", "ws://10.0.0.1/"], "--yes"),
        (&["tree", "--depth", "0"], "--depth"),
        (&["stream", "wall", "--for", "soon"], "--for"),
    ] {
        check_refused(&server, arguments, 2, expected);
    }
    for url in ["ws://127.0.0.1:1/", "wss://127.0.0.1:1/", "tcp://127.0.0.1:1", "unix:///nowhere"] {
        check_refused(&server, &["get", "wall", "--url", url], 5, "cannot connect to");
    }
    let other = server.url().replace("/websocket", "/other");
    check_refused(&server, &["get", "wall", "--url", &other], 5, "usually /websocket");
}

#[test]
fn every_way_to_a_server_is_taken() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("fanal.sock");
    let mut server = Server::prepare(&format!(
        "tls.certificate = \"certificate.pem\"\ntls.key = \"key.pem\"\ntcp.enabled = true\n\
         tcp.port = 0\nunix.path = {socket:?}\n"
    ));
    fs::write(server.folder().join("certificate.pem"), cert.pem()).unwrap();
    fs::write(server.folder().join("key.pem"), signing_key.serialize_pem()).unwrap();
    server.start_again();
    let (tcp, unix) = (format!("tcp://127.0.0.1:{}", server.tcp_port()), socket.display());
    let unix = format!("unix://{unix}");
    let wss = format!("wss://localhost:{}/websocket", server.port());
    let ca = ["--ca", "certificate.pem"];
    let frame = server.folder().join("frame");
    fs::write(&frame, vec![7; 300_000]).unwrap();
    for (url, more) in [(&tcp, &[][..]), (&unix, &[]), (&wss, &ca)] {
        let path = format!("by/{}", url.split(':').next().unwrap());
        let with = |words: &[&str]| {
            let words = [words, &["--url", url], more].concat();
            words.into_iter().map(str::to_owned).collect::<Vec<String>>()
        };
        let check = |words: &[&str], expected: &str| {
            let words = with(words);
            check(&server, &words.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        };
        check(&["post", &path, "[1]"], "");
        check(&["get", &path], "[1]\n");
        check(&["put", &path, "--file", "frame"], "");
        check(&["stream", &path, "--hex", "--count", "1"], &format!("{}\n", "07".repeat(300_000)));
        let words = with(&["stream", &path]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut streaming = Streaming::start(&mut fanal(&server, &words));
        streaming.next(&format!("\"hex:{}\"", "07".repeat(300_000)));
        check(&["put", &path, "8"], "");
        streaming.next("8");
        check(&["rm", &path], "");
        let (code, error) = streaming.end();
        assert_eq!(code, 4, "{error}");
        assert!(error.contains("was deleted"), "{error}");
    }
    check_refused(&server, &["ls", "--url", &wss], 5, "certificate");
    let by_address = format!("wss://127.0.0.1:{}/websocket", server.port());
    let named = ["ls", "--url", &by_address, "--ca", "certificate.pem"];
    check_refused(&server, &named, 5, "certificate");
    let nothing = ["ls", "--url", &wss, "--ca", "key.pem"];
    check_refused(&server, &nothing, 2, "no certificate in it");
    check_refused(
        &server,
        &["ls", "--url", &wss, "--ca", "/nowhere"],
        2,
        "/nowhere cannot be read",
    );
}

#[test]
fn a_server_that_sends_byte_by_byte_holds_nobody_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let (server, _client) = server();
    let (here, connected) = mpsc::sync_channel(1);
    let slow = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        here.send(()).unwrap();
        // An array that is announced and never whole, until the command has gone.
        let mut bytes = vec![0xdd, 0xff, 0xff, 0xff, 0xff];
        while stream.write_all(&bytes).is_ok() {
            bytes = vec![0xc0];
            thread::yield_now();
        }
    });
    let mut stream = Streaming::start(&mut fanal(&server, &["stream", "a", "--url", &url]));
    connected.recv().unwrap();
    kill_process(Pid::from_child(&stream.child), Signal::INT).unwrap();
    let mut error = String::new();
    stream.child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!(stream.child.wait().unwrap().code(), Some(130), "{error}");
    slow.join().unwrap();
}

#[test]
fn a_stream_is_one_line_for_each_value() {
    let (mut server, mut client) = server();
    client.expect("POST", &["a"], int(1), 201);
    client.expect("POST", &["b"], text("x"), 201);
    let mut one = Streaming::start(&mut fanal(&server, &["stream", "a", "--count", "3"]));
    one.next("1");
    client.expect("PUT", &["a"], int(2), 200);
    one.next("2");
    client.expect("PUT", &["a"], bin(&[3]), 200);
    one.next("\"hex:03\"");
    assert_eq!(one.end(), (0, String::new()));

    let mut both = Streaming::start(&mut fanal(&server, &["stream", "a", "b"]));
    both.next("a  \"hex:03\"");
    both.next("b  \"x\"");
    client.expect("PUT", &["b"], int(5), 200);
    both.next("b  5");
    client.expect("DELETE", &["b"], nil(), 200);
    client.expect("PUT", &["a"], int(6), 200);
    both.next("a  6");
    kill_process(Pid::from_child(&both.child), Signal::INT).unwrap();
    let (code, error) = both.end();
    assert_eq!(
        (code, &*error),
        (130, "fanal: b was deleted; start again when there is a new one\n")
    );

    let (code, out, _) = run(&mut fanal(&server, &["stream", "a", "--raw", "--count", "1"]), b"");
    assert_eq!((code, &out[..]), (0, &b"6"[..]));
    check(&server, &["stream", "a", "--for", "200ms"], "6\n");
    let timed = &["stream", "a", "--rate", "--for", "1100ms"];
    let (code, out, _) = run(&mut fanal(&server, timed), b"");
    let out = String::from_utf8(out).unwrap();
    assert_eq!(code, 0);
    assert!(out.lines().next().unwrap().ends_with("1 B/s"), "{out}");
    assert!(out.contains(" a  ") && out.contains(" values/s"), "{out}");

    let mut last = Streaming::start(&mut fanal(&server, &["stream", "a"]));
    last.next("6");
    server.stop();
    let (code, error) = last.end();
    assert_eq!(code, 5, "{error}");
    assert!(error.contains("the server is stopping"), "{error}");
}

#[test]
fn a_stream_comes_back_with_its_server() {
    let socket = tempfile::tempdir().unwrap();
    let path = socket.path().join("fanal.sock");
    let mut server = Server::start_with(&format!("unix.path = {path:?}\n"));
    server.client().expect("POST", &["a"], int(1), 201);
    let url = format!("unix://{}", path.display());
    let words = ["stream", "a", "--reconnect", "--url", &url];
    let mut streaming = Streaming::start(&mut fanal(&server, &words));
    streaming.next("1");
    server.restart();
    streaming.next("1");
    server.client().expect("PUT", &["a"], int(2), 200);
    streaming.next("2");
    kill_process(Pid::from_child(&streaming.child), Signal::INT).unwrap();
    let (code, error) = streaming.end();
    assert_eq!(code, 130);
    assert!(error.contains("again in 1 s"), "{error}");
}

#[test]
fn an_output_that_is_closed_ends_a_stream_without_a_word() {
    let (server, mut client) = server();
    client.expect("POST", &["a"], int(1), 201);
    let mut streaming = Streaming::start(&mut fanal(&server, &["stream", "a"]));
    streaming.next("1");
    client.expect("PUT", &["a"], bin(&[7; 100_000]), 200);
    for arguments in [&["get", "a", "--msgpack"][..], &["get", "a"], &["ls"], &["tree"]] {
        let mut command = fanal(&server, arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut error = String::new();
        child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        assert_eq!((child.wait().unwrap().code(), &*error), (Some(0), ""), "{arguments:?}");
    }
    let Streaming { mut child, lines } = streaming;
    // Nothing is written any more: it has to notice all the same.
    drop(lines);
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!((child.wait().unwrap().code(), &*error), (Some(0), ""));
}

#[test]
fn profiles_say_which_server_and_who() {
    let server = Server::start_with(USERS);
    server.client_as("root", "root-token").expect("POST", &["wall"], int(1), 201);
    fs::create_dir(server.folder().join("fanal")).unwrap();
    let file = server.folder().join("fanal/profiles.toml");
    let profiles = format!(
        "[default]\nuser = \"root\"\ntoken = \"root-token\"\n\
         [ann]\nurl = {:?}\nuser = \"ann\"\ntoken_file = \"../token\"\n",
        server.url()
    );
    fs::write(&file, &profiles).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(server.folder().join("token"), "ann-token").unwrap();
    check(&server, &["get", "wall"], "1\n");
    check_refused(&server, &["get", "wall", "--profile", "ann"], 3, "user \"ann\" may not");
    let mut nowhere = fanal(&server, &["get", "wall", "--profile", "ann"]);
    let (code, _, error) = run(nowhere.env("FANAL_URL", "ws://127.0.0.1:1/"), b"");
    assert_eq!(code, 3, "a profile that is named wins over the environment: {error}");
    let mut by_variable = fanal(&server, &["get", "wall"]);
    by_variable.env("FANAL_PROFILE", "ann");
    assert_eq!(run(&mut by_variable, b"").0, 3);
    by_variable.env("FANAL_USER", "root").env("FANAL_TOKEN", "root-token");
    assert_eq!(run(&mut by_variable, b"").0, 0);
    fs::write(&file, format!("{profiles}colour = 1\n")).unwrap();
    check_refused(&server, &["get", "wall"], 2, "fanal/profiles.toml:8: unknown field `colour`");
}

#[test]
fn a_token_can_be_given_in_no_way_that_others_see() {
    let mut rest = vec![Cli::command()];
    while let Some(command) = rest.pop() {
        for argument in command.get_arguments() {
            let long = argument.get_long().unwrap_or_default();
            assert!(
                !["token", "password-is", "secret"].contains(&long),
                "{}: --{long}",
                command.get_name()
            );
        }
        rest.extend(command.get_subcommands().cloned());
    }
}

#[test]
fn a_load_is_put_on_and_taken_away() {
    let (server, mut client) = server();
    let words = ["bench", "--seconds", "1", "--publishers", "3", "--watchers", "6", "--rate", "50"];
    let (code, out, error) = run(&mut fanal(&server, &words), b"");
    assert_eq!(code, 0, "{error}");
    let out = String::from_utf8(out).unwrap();
    let numbers = |name: &str| -> Vec<f64> {
        let line = out.lines().find(|line| line.starts_with(name)).expect("a line");
        line.split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect()
    };
    let (written, delivered) = (numbers("written"), numbers("delivered"));
    assert!((100.0..=153.0).contains(&written[0]), "{out}");
    assert!(delivered[0] + delivered[7] >= written[0] * 2.0 - 6.0, "{out}");
    assert!(delivered[3] > 0.0 && delivered[3] <= delivered[6], "{out}");
    // Nothing is left, and nothing that was there is touched.
    check(&server, &["ls"], "");
    client.expect("POST", &["bench", "mine"], int(1), 201);
    check_refused(&server, &words, 2, "bench is there already");
    assert_eq!(client.expect("GET", &["bench", "mine"], nil(), 200).payl, int(1));
    client.expect("POST", &["wall"], int(2), 201);
    check_refused(
        &server,
        &["bench", "--path", "wall", "--seconds", "1"],
        2,
        "--path names another",
    );
    check_refused(
        &server,
        &["bench", "--path", "wall/x", "--seconds", "1"],
        2,
        "--path names another",
    );
    assert_eq!(client.expect("GET", &["wall"], nil(), 200).payl, int(2));
    client.expect("DELETE", &["wall"], nil(), 200);
    let full = ["bench", "--seconds", "1", "--path", "other", "--rate", "0", "--watchers", "0"];
    let (code, out, error) = run(&mut fanal(&server, &full), b"");
    assert_eq!(code, 0, "{error}");
    assert!(String::from_utf8(out).unwrap().contains("10 publishers, 0 watchers"));
    check(&server, &["ls"], "bench/\n");
}

#[test]
fn every_command_has_help_with_an_example_a_page_and_completions() {
    let (server, _client) = server();
    check(&server, &["man", "--directory", "man"], &format!("{} pages in man\n", count()));
    let (_, completions, _) = run(&mut fanal(&server, &["completions", "bash"]), b"");
    let completions = String::from_utf8(completions).unwrap();
    for shell in ["zsh", "fish"] {
        let (code, out, _) = run(&mut fanal(&server, &["completions", shell]), b"");
        assert!(code == 0 && String::from_utf8(out).unwrap().contains("unlink"), "{shell}");
    }
    check_refused(&server, &["completions", "abacus"], 2, "possible values");
    let (code, page, _) = run(&mut fanal(&server, &["man"]), b"");
    assert!(code == 0 && String::from_utf8(page).unwrap().contains(".TH fanal 1"));
    for command in fanal::cli::command().get_subcommands() {
        let name = command.get_name();
        assert!(completions.contains(name), "{name}");
        let page = fs::read_to_string(server.folder().join(format!("man/fanal-{name}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{name}");
        let (code, help, _) = run(&mut fanal(&server, &[name, "--help"]), b"");
        let help = String::from_utf8(help).unwrap();
        assert_eq!(code, 0, "{name}");
        assert!(help.contains("Example") || command.has_subcommands(), "{name}: {help}");
        assert!(help.lines().all(|line| line.chars().count() <= 120), "{name}: {help}");
    }
}

fn count() -> usize {
    let mut rest = vec![Cli::command()];
    let mut count = 0;
    while let Some(command) = rest.pop() {
        count += 1;
        rest.extend(command.get_subcommands().cloned());
    }
    count
}
