//! What values must be in relation to each other.

use super::*;

const OPEN_DOOR: &str = "with auth.mode = \"allow_all\" everybody who reaches this address could \
    read and write everything: expected a loopback address such as 127.0.0.1 or auth.mode = \
    \"users\", or auth.insecure = true if that is meant";

#[test]
fn a_server_without_users_stays_on_this_machine_unless_told_otherwise() {
    for address in ["0.0.0.0", "::", "192.168.0.1", "::ffff:10.0.0.1"] {
        let line = format!("--bind: server.bind = \"{address}\": {OPEN_DOOR}");
        check("", &[], &["--bind", address], &[&line]);
    }
    check(
        "[server]\nbind = \"0.0.0.0\"",
        &[],
        &[],
        &[&format!("fanal.toml:2: server.bind = \"0.0.0.0\": {OPEN_DOOR}")],
    );
    check_accepted("server.bind", &["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]);
    let out = ["--bind=::", "--set=auth.insecure=true"];
    check("", &[], &out, &["server.bind = \"::\" # --bind", "auth.insecure = true # --set"]);
    assert!(resolve("", &[], &["--bind=::", "--set=auth.mode=allow_none"]).is_ok());
    let users = "[auth]\nmode = \"users\"\n[[auth.users]]\nname = \"a\"\ntoken = \"b\"";
    assert!(resolve(users, &[], &["--bind=::"]).is_ok());
}

#[test]
fn relations_to_a_faulty_value_are_not_judged() {
    check(
        "",
        &[],
        &["--bind=::", "--set=auth.mode=usres"],
        &["--set: auth.mode = \"usres\": expected one of \"allow_all\", \"allow_none\", \"users\""],
    );
    check(
        "[auth]\nmode = \"users\"\n[[auth.users]]\nname = \"a\"",
        &[],
        &[],
        &["fanal.toml:3: auth.users: this user has no token, which each needs"],
    );
}

#[test]
fn users_mode_needs_users() {
    let rest = "auth.mode = \"users\": there are no users, so nobody could do anything: expected \
                at least one block [[auth.users]] with name and token in the file, \
                auth.users_file, another provider in auth.providers, or another auth.mode";
    check_file("[auth]\nmode = \"users\"", &[&format!("fanal.toml:2: {rest}")]);
    check_file("[auth]\nmode = \"users\"\nusers = []", &[&format!("fanal.toml:2: {rest}")]);
    check_env("FANAL_AUTH_MODE", "users", &format!("FANAL_AUTH_MODE: {rest}"));
}

#[test]
fn encryption_takes_a_certificate_and_a_key() {
    check_set(
        "tls.certificate=a.pem",
        "--set: tls.certificate = \"a.pem\": expected tls.key as well, the file with the private \
         key of this certificate",
    );
    check_set(
        "tls.key=k.pem",
        "--set: tls.key = \"k.pem\": expected tls.certificate as well, the file with the \
         certificate of this key",
    );
}

#[test]
fn a_port_without_websocket_is_not_open_to_everybody_by_accident() {
    let reachable = &["--set", "tcp.bind=0.0.0.0", "--set", "tcp.enabled=true"];
    let problems = resolve("", &[], reachable).unwrap_err().to_string();
    assert!(
        problems.contains("tcp.bind = \"0.0.0.0\": with auth.mode = \"allow_all\""),
        "{problems}"
    );
    check_set("tcp.bind=0.0.0.0", "tcp.bind = \"0.0.0.0\" # --set");
}

#[test]
fn a_file_mode_is_octal() {
    check_set("unix.mode=0600", "unix.mode = \"0600\" # --set");
    let expected = "expected a file mode in octal such as \"0660\"";
    for wrong in ["", "66", "0680", "7777", "u=rw", "00600"] {
        check_set(
            &format!("unix.mode=\"{wrong}\""),
            &format!("--set: unix.mode = \"{wrong}\": {expected}"),
        );
    }
}
