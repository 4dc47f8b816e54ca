//! The commands around users and rules: `token`, `reload`, `auth explain`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::support::{Server, nil};
use super::{USERS, client, make, server};

/// Runs a command in a folder: exit code, standard output, standard error.
fn fanal(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanal"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FANAL_") {
            command.env_remove(name);
        }
    }
    let output = command.args(args).current_dir(folder).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A server with a file of users that is not there yet.
fn with_file() -> Server {
    let server = Server::prepare(&format!(
        "{USERS}auth.users_file = \"users.toml\"\nauth.rules = \
         [{{ roles = [\"press\"], allow = [\"READ\"], paths = [\"news\"] }}]\n"
    ));
    fs::write(server.folder().join("users.toml"), "# The people of the press.\n").unwrap();
    server
}

#[test]
fn a_token_is_printed_once_and_its_hash_lets_its_user_in() {
    let mut server = with_file();
    let folder = server.folder().to_owned();
    server.start_again();
    make(&server, &[&["news"]]);
    let (code, out, error) = fanal(&folder, &["token", "new", "zoe", "--role", "press"]);
    assert_eq!(code, Some(0), "{error}");
    let token = out.trim().to_owned();
    assert!(token.starts_with("fanal_") && token.len() > 40, "{out}");
    let file = fs::read_to_string(folder.join("users.toml")).unwrap();
    assert!(!file.contains(&token) && file.contains("# The people of the press."), "{file}");
    server.wait_for_line("reloaded: ");
    let mut zoe = server.client_as("zoe", &token);
    zoe.expect("GET", &["news"], nil(), 200);
    // Its places in the tree are made in the background.
    server.wait_for_line("the places of users are as they should be");
    zoe.expect("PUT", &["user", "zoe", "model"], nil(), 200);
    zoe.expect("PUT", &["user", "zoe", "input"], nil(), 200);
    zoe.expect("STREAM", &["news"], nil(), 200);
    // Another one takes its place only if that is said.
    let (code, _, error) = fanal(&folder, &["token", "new", "zoe"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("--replace"), "{error}");
    let (code, out, _) = fanal(&folder, &["token", "new", "zoe", "--replace"]);
    assert_eq!(code, Some(0));
    assert_eq!(zoe.next_answer().rnum, 403, "the stream ends with the token");
    let second = out.trim();
    server.client_as("zoe", second).expect("GET", &["news"], nil(), 200);
    server.client_as("zoe", &token).expect("GET", &["news"], nil(), 401);
    let (code, out, _) = fanal(&folder, &["token", "list"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("zoe") && out.contains("press") && !out.contains(second), "{out}");
    let (code, _, _) = fanal(&folder, &["token", "revoke", "zoe"]);
    assert_eq!(code, Some(0));
    let (code, _, _) = fanal(&folder, &["reload"]);
    assert_eq!(code, Some(0));
    server.client_as("zoe", second).expect("GET", &["news"], nil(), 401);
    let (code, _, error) = fanal(&folder, &["token", "revoke", "zoe"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("has no user \"zoe\""), "{error}");
}

#[test]
fn a_token_says_what_is_wrong_with_its_command() {
    let folder = tempfile::tempdir().unwrap();
    for (args, expected) in [
        (&["token", "new", "zoe"][..], "auth.users_file"),
        (&["token", "new", "a/b", "--file", "u.toml"], "slash"),
        (&["token", "new", "", "--file", "u.toml"], "not empty"),
        (&["token", "new", "zoe", "--file", "u.toml", "--expires", "soon"], "such as 30d"),
        (
            &["token", "new", "zoe", "--file", "u.toml", "--expires", "2001-01-01T00:00:00Z"],
            "is over",
        ),
        (&["token", "new", "zoe", "--file", "u.toml", "--password"], "at least 8"),
        (&["token", "new", "zoe", "--file", "no/such/folder"], "cannot write"),
        (&["token", "revoke", "zoe", "--file", "u.toml"], "has no user"),
    ] {
        let (code, out, error) = fanal(folder.path(), args);
        assert_eq!((code, &*out), (Some(1), ""), "{args:?}: {error}");
        assert!(error.contains(expected), "{args:?}: {error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{args:?} left a file");
    }
    let (code, _, error) =
        fanal(folder.path(), &["token", "new", "zoe", "--file", "u.toml", "--expires", "30d"]);
    assert_eq!(code, Some(0), "{error}");
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(folder.path().join("u.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_faulty_file_of_users_is_no_start() {
    let server = with_file();
    for (text, expected) in [
        ("[[users]]\nname = \"zoe\"\n", "\"zoe\": expected one of token"),
        ("[[users]]\nname = \"ann\"\ntoken = \"x\"\n", "\"ann\" is given twice"),
        ("[[users]]\nname = \"zoe\"\ntoken_sha256 = \"12\"\n", "64 hexadecimal digits"),
        ("[[users]]\ntoken = \"x\"\n", "has no name"),
        ("[[users]]\nname = \"zoe\"\ntokn = \"topsecret\"\n", "line 3"),
        ("[[user]]\n", "line 1"),
        ("users = 3\n", "line 1"),
        ("[[users]\n", "line 1"),
    ] {
        fs::write(server.folder().join("users.toml"), text).unwrap();
        let (status, output) = server.run_to_end();
        assert!(!status.success());
        assert!(output.contains("users.toml") && output.contains(expected), "{text}: {output}");
        assert!(!output.contains("topsecret"), "{output}");
    }
}

#[test]
fn reload_says_what_is_wrong_and_changes_nothing() {
    let server = server("");
    make(&server, &[&["live"]]);
    let folder = server.folder();
    let (code, out, error) = fanal(folder, &["reload"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("as the configuration says"), "{out}");
    // A file that is not the server's own, on the same data: the command reads where the data is.
    let args = ["reload", "--set", &format!("store.directory={}", server.data().display())];
    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(fanal(elsewhere.path(), &args).0, Some(0));
    fs::write(folder.join("users.toml"), "nonsense").unwrap();
    server.configure(&format!("{USERS}auth.users_file = \"users.toml\"\n"));
    let (code, _, error) = fanal(folder, &["reload"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("users.toml") && error.contains("nothing has changed"), "{error}");
    client(&server, "ann").expect("GET", &["live"], nil(), 200);
    let (code, _, error) = fanal(elsewhere.path(), &["reload"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("no server runs"), "{error}");
}

#[test]
fn explain_names_the_provider_and_the_rule() {
    let mut server = server(
        "admin.enabled = true\nadmin.port = 0\nauth.rules = [\
         { name = \"open house\", allow = [\"WRITE\"], paths = [\"wall\"] }, \
         { users = [\"bob\"], deny = [\"WRITE\"], paths = [\"wall\"] }]\n",
    );
    for running in [true, false] {
        if !running {
            server.stop();
        }
        for (args, code, expected) in [
            (&["--user", "ann", "--verb", "put", "wall"][..], 0, "allowed by \"open house\""),
            (&["--user", "bob", "--verb", "PUT", "wall"], 3, "denied by rule 2"),
            (&["--user", "bob", "--verb", "PUT", "wall"], 3, "student"),
            (
                &["--user", "root", "--verb", "DELETE", "wall"],
                0,
                "the role admin may do everything",
            ),
            (&["--user", "ann", "--verb", "DELETE", "wall"], 3, "no rule allows DELETE"),
            (&["--user", "ann", "--verb", "PUT", "user/ann/model"], 0, "lighthouse: write the own"),
            (&["--user", "ann", "--verb", "PUT", "user/ann/model"], 0, "known to users"),
            (&["--user", "eve", "--verb", "GET", "live"], 0, "not known by name"),
            (&["--user", "eve", "--role", "admin", "--verb", "GET", "x"], 0, "roles as given"),
            (&["--verb", "GET", "live"], 3, "no rule allows GET"),
        ] {
            let all: Vec<&str> = ["auth", "explain"].iter().chain(args).copied().collect();
            let (seen, out, error) = fanal(server.folder(), &all);
            assert_eq!(seen, Some(code), "{args:?} {out} {error}");
            assert!(out.contains(expected), "{args:?}: {out}");
            assert_eq!(out.contains("the running server"), running, "{out}");
        }
        let (code, _, error) =
            fanal(server.folder(), &["auth", "explain", "--verb", "FLY", "wall"]);
        assert_eq!(code, Some(1));
        assert!(error.contains("FLY is no verb"), "{error}");
    }
}

#[test]
fn the_api_explains_too() {
    let server = server("");
    let (status, answer) = server.api("GET", "auth/explain?user=ann&verb=PUT&path=user/ann/model");
    assert_eq!(status, 200, "{answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["allowed"], true);
    assert_eq!(answer["provider"], "users");
    assert_eq!(answer["roles"], serde_json::json!(["student"]));
    assert!(answer["reason"].as_str().unwrap().contains("write the own"), "{answer}");
    assert_eq!(server.api("GET", "auth/explain?user=ann&verb=FLY&path=a").0, 400);
    assert_eq!(server.api("GET", "auth/explain?user=ann").0, 400);
}
