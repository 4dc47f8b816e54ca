//! The program as it is typed: its commands, its flags, and how it refuses.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::TWO_USERS;
use super::support::{Server, int, nil};

/// The binary, with nothing of the environment that is a setting.
fn fanal(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanal"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FANAL_") {
            command.env_remove(name);
        }
    }
    command.args(args).current_dir(folder).stdin(Stdio::null());
    command
}

/// Runs a command to its end: exit code, standard output, standard error.
fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("the binary can be started");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A folder with this text as its fanal.toml.
fn folder_with(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("fanal.toml"), config).unwrap();
    folder
}

const FAULTY: &str = "\
[server]
port = 70000
prot = 3000
[auth]
mode = \"users\"
[[auth.users]]
name = \"ann\"
token = 12345678
[[auth.users]]
name = \"ann\"
token = \"secret of ann\"
";

#[test]
fn help_lists_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    for flag in ["--help", "-h"] {
        let (code, help, _) = run(&mut fanal(folder.path(), &[flag]));
        assert_eq!(code, Some(0));
        for word in ["check-config", "print-config", "demo", "watch", "--port", "--config"] {
            assert!(help.contains(word), "no {word} in\n{help}");
        }
    }
    let (code, version, _) = run(&mut fanal(folder.path(), &["--version"]));
    assert_eq!((code, version.trim()), (Some(0), concat!("fanal ", env!("CARGO_PKG_VERSION"))));
    let (code, _, error) = run(&mut fanal(folder.path(), &["nonsense"]));
    assert_eq!(code, Some(2), "{error}");
}

#[test]
fn check_config_says_that_a_configuration_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, _) = run(&mut fanal(folder.path(), &["check-config"]));
    assert_eq!(code, Some(0));
    assert!(out.contains("the configuration is good"), "{out}");
    let folder = folder_with("[server]\nport = 4000\n");
    let (code, out, _) = run(&mut fanal(folder.path(), &["check-config"]));
    assert_eq!(code, Some(0));
    assert!(out.contains("fanal.toml"), "{out}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "it has made something");
}

#[test]
fn everything_wrong_is_said_at_once_with_its_line_by_every_command() {
    let folder = folder_with(FAULTY);
    for command in [&["check-config"][..], &["print-config"], &[]] {
        let mut command = fanal(folder.path(), command);
        let (code, out, error) = run(command.env("FANAL_SERVER_PROT", "1"));
        assert_eq!(code, Some(2), "{error}");
        assert_eq!(out, "");
        for start in [
            "fanal.toml:2: server.port = 70000: ",
            "fanal.toml:3: server.prot: ",
            "fanal.toml:8: auth.users",
            "fanal.toml:10: auth.users",
            "FANAL_SERVER_PROT: ",
        ] {
            assert!(error.lines().any(|line| line.starts_with(start)), "no {start:?} in\n{error}");
        }
        assert!(error.ends_with("5 problems in the configuration\n"), "{error}");
        assert!(!error.contains("12345678") && !error.contains("secret of ann"), "{error}");
    }
}

#[test]
fn print_config_shows_where_each_value_comes_from_and_no_token() {
    let folder = folder_with(TWO_USERS);
    let mut command = fanal(folder.path(), &["print-config", "--set", "stream.buffer=5"]);
    let (code, out, _) = run(command.env("FANAL_SERVER_PORT", "4000"));
    assert_eq!(code, Some(0));
    let origin_of = |setting: &str| {
        let line = out.lines().find(|line| line.starts_with(setting)).expect(setting);
        line.split_once("  #").expect(setting).1.trim().to_owned()
    };
    assert_eq!(origin_of("port = 4000"), "FANAL_SERVER_PORT");
    assert_eq!(origin_of("buffer = 5"), "--set");
    assert_eq!(origin_of("mode = \"users\""), "fanal.toml:1");
    assert_eq!(origin_of("backlog = 1024"), "default");
    assert!(out.contains("***") && out.contains("ann"), "{out}");
    assert!(!out.contains("secret of"), "{out}");
}

#[test]
fn an_open_door_is_refused_unless_it_is_meant() {
    let folder = tempfile::tempdir().unwrap();
    for address in ["0.0.0.0", "::", "192.0.2.1"] {
        let args = ["--bind", address, "--port", "0"];
        let (code, _, error) = run(&mut fanal(folder.path(), &args));
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains("auth.insecure = true if that is meant"), "{error}");
        let meant = [&["check-config"], &args[..], &["--set", "auth.insecure=true"]].concat();
        assert_eq!(run(&mut fanal(folder.path(), &meant)).0, Some(0));
    }
    let loopback = ["check-config", "--bind", "::1"];
    assert_eq!(run(&mut fanal(folder.path(), &loopback)).0, Some(0));
}

#[test]
fn a_port_in_use_is_one_clear_sentence() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let port = server.port().to_string();
    let (code, out, error) = run(&mut fanal(folder.path(), &["--port", &port]));
    assert_eq!((code, out.as_str()), (Some(1), ""), "{error}");
    let expected = format!("fanal: cannot listen on 127.0.0.1:{port}; is another server running?");
    assert!(error.starts_with(&expected), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    server.client().expect("GET", &["missing"], nil(), 404);
}

#[test]
fn without_any_settings_the_server_starts_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = fanal(folder.path(), &["--port", "0"]);
    let mut server = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
    let banner: Vec<String> = lines.take(7).collect();
    server.kill().unwrap();
    server.wait().unwrap();
    let banner = banner.join("\n");
    assert!(banner.contains("config     built-in defaults"), "{banner}");
    assert!(banner.contains("everybody may do everything"), "{banner}");
    assert!(folder.path().join("data").is_dir());
}

#[test]
fn a_demo_can_be_watched() {
    let server = Server::start();
    let url = server.url();
    let folder = tempfile::tempdir().unwrap();
    let mut command = fanal(folder.path(), &["demo", "--seconds", "1", "--url", &url]);
    let mut demo = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let first = lines.next().expect("a first line").unwrap();
    assert!(first.contains("fanal watch user/demo/model --url"), "{first}");
    let args = ["watch", "user/demo/model", "--frames", "3", "--url", &url];
    let (code, out, error) = run(&mut fanal(folder.path(), &args));
    assert_eq!(code, Some(0), "{error}");
    let updates: Vec<&str> = out.lines().collect();
    assert_eq!(updates.len(), 3, "{out}");
    for (number, update) in (1..).zip(updates) {
        assert!(update.starts_with(&format!("update {number}: 1176 bytes, ")), "{out}");
    }
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(demo.wait().unwrap().success(), "{rest:?}");
    assert!(!rest.is_empty(), "no summary");
}

#[test]
fn a_command_that_is_refused_says_why_and_fails() {
    let server = Server::start_with(TWO_USERS);
    let folder = tempfile::tempdir().unwrap();
    let check = |args: &[&str], token: &str, code: i32, expected: &str| {
        let mut command = fanal(folder.path(), args);
        let (found, _, error) = run(command.env("FANAL_TOKEN", token));
        assert_eq!(found, Some(code), "{args:?}: {error}");
        assert!(error.starts_with("fanal: ") && error.contains(expected), "{args:?}: {error}");
        assert!(!error.contains("panicked") && !error.contains("secret of"), "{error}");
    };
    let url = server.url();
    let ann = ["--url", &url, "--user", "ann"];
    check(&[&["watch", "a"], &ann[..]].concat(), "secret of eve", 3, "401");
    check(&[&["watch", "a"], &ann[..]].concat(), "secret of ann", 3, "403");
    check(&[&["demo"], &ann[..]].concat(), "secret of ann", 3, "403");
    let root = ["watch", "missing", "--url", &url, "--user", "root"];
    check(&root, "secret of root", 4, "404");
    check(&["watch", "a", "--url", "ws://127.0.0.1:1/websocket"], "x", 5, "127.0.0.1:1");
    check(&["watch", "a", "--url", &url.replace("/websocket", "/other")], "x", 5, "404");
}

#[test]
fn a_watch_ends_with_its_server() {
    let mut server = Server::start();
    server.client().expect("POST", &["a"], int(1), 201);
    let folder = tempfile::tempdir().unwrap();
    let mut command = fanal(folder.path(), &["watch", "a", "--url", &server.url()]);
    let mut watch = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert!(lines.next().expect("the value").unwrap().starts_with("update 1: "));
    assert!(server.stop().success());
    assert_eq!(watch.wait().unwrap().code(), Some(5));
}
