//! The admin listener: health, readiness and metrics over HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod support;

use support::{Server, int, nil};

const SETTINGS: &str = "admin.enabled = true\nadmin.port = 0\nsnapshot.interval = \"20ms\"";

#[test]
fn a_server_says_whether_it_is_alive_and_ready() {
    let server = Server::start_with(SETTINGS);
    for (path, answer) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let (status, body) = server.admin(path);
        assert_eq!((status, &*body), (200, answer), "{path}");
    }
    assert_eq!(server.admin("/").0, 404);
}

#[test]
fn metrics_count_what_happens() {
    let server = Server::start_with(SETTINGS);
    let mut client = server.client();
    client.expect("POST", &["a", "b"], int(1), 201);
    for _ in 0..5 {
        client.expect("PUT", &["a", "b"], int(2), 200);
    }
    client.expect("STREAM", &["a", "b"], nil(), 200);
    let (status, text) = server.admin("/metrics");
    assert_eq!(status, 200);
    for line in [
        "fanal_updates_received_total 5",
        "fanal_connections_open 1",
        "fanal_directories 1",
        "fanal_resources{state=\"active\"} 1",
        "fanal_store_durable 1",
        "# TYPE fanal_updates_received_total counter",
        "# HELP fanal_values_bytes Bytes of all values, wherever they are",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}
