//! Half-open connections: the network is cut, and nobody says goodbye.
//!
//! The test starts itself once more in a network of its own, where it may take the loopback down.
//! A machine that gives no such network (`unshare`, `ip`) says so, and the test ends there.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Server, StreamClient, int, nil};

/// The unix door goes on when the network does not, so it is where others are looked at.
const SETTINGS: &str = "unix.path = \"fanal.sock\"\n\
    tcp.enabled = true\n\
    tcp.port = 0\n\
    websocket.ping_interval = \"200ms\"\n\
    websocket.pong_timeout = \"1s\"\n\
    socket.user_timeout = \"1s\"";

/// A network of its own for a command, with a loopback.
fn isolated(command: &str) -> Command {
    let mut isolated = Command::new("unshare");
    let script = format!("ip link set lo up && exec {command}");
    isolated.args(["--user", "--map-root-user", "--net", "sh", "-c", &script]);
    isolated
}

#[test]
fn a_connection_whose_network_is_gone_is_ended_and_nobody_else_notices() {
    let may_isolate = isolated("true").output().is_ok_and(|output| output.status.success());
    if !may_isolate {
        eprintln!("not tested: this machine gives no network namespaces to tests");
        return;
    }
    let this = std::env::current_exe().unwrap();
    let inside = "half_open::inside_a_network_of_its_own";
    let output = isolated("\"$0\" --exact \"$1\" --ignored --nocapture")
        .args([this.as_os_str(), inside.as_ref()])
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn set_loopback(state: &str) {
    assert!(Command::new("ip").args(["link", "set", "lo", state]).status().unwrap().success());
}

#[test]
#[ignore = "takes the network down; the test above starts it where that harms nobody"]
fn inside_a_network_of_its_own() {
    let mut server = Server::start_with(SETTINGS);
    let mut other = StreamClient::unix(&server.folder().join("fanal.sock"));
    other.expect("POST", &["a"], int(0), 201);
    let mut watcher = server.client();
    watcher.expect("STREAM", &["a"], nil(), 200);
    let _idler = server.client();
    let mut device = StreamClient::tcp(server.tcp_port());
    device.expect("STREAM", &["a"], nil(), 200);

    set_loopback("down");
    let cut = Instant::now();
    // Who has nothing to get owes a pong; who has is not confirming it, and its socket is full
    // before the next ping.
    let mut number = 0;
    while server.output().matches(" closed: ").count() < 3 {
        number += 1;
        other.expect("PUT", &["a"], int(number), 200);
        assert!(cut.elapsed() < Duration::from_secs(20), "{}", server.output());
    }
    server.wait_for_line("a ping was not answered (4408)");
    server.wait_for_line("tcp 127.0.0.1");
    server.wait_for_line("the connection broke");
    assert!(cut.elapsed() >= Duration::from_secs(1), "a cut of less than a second is no cut");

    set_loopback("up");
    assert_eq!(server.client().expect("GET", &["a"], nil(), 200).number(), number);
    let [unresponsive] = server.stop_and_count(["connections_closed_unresponsive"]);
    assert!((1..=2).contains(&unresponsive), "{unresponsive} were ended for want of a pong");
}
