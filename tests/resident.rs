//! Values in memory have a bound: those that nobody uses are left to the store and come back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly, and they measure the time themselves"
)]

mod support;

use std::thread;
use std::time::{Duration, Instant};

use support::{Request, Server, StreamClient};
use support::{array, bin, int, nil};

const SETTINGS: &str = "
    admin.enabled = true
    admin.port = 0
    snapshot.interval = \"20ms\"
    resource.idle_timeout = \"50ms\"
    resource.resident_bytes_max = 65536
";
const RESOURCES: usize = 400;

/// A kilobyte that is that of this resource and version only.
fn value(number: usize, version: u8) -> Vec<u8> {
    let mut bytes = vec![version; 1000];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bin(&bytes)
}

fn name(number: usize) -> String {
    number.to_string()
}

/// A server with more values than may be in memory, of which most have left it.
fn filled() -> Server {
    let server = Server::start_with(SETTINGS);
    let mut client = server.client();
    for number in 0..RESOURCES {
        client.expect("POST", &["r", &name(number)], value(number, 0), 201);
    }
    wait_until_left(&server);
    server
}

/// Waits until the values in memory are within their bound.
fn wait_until_left(server: &Server) {
    let since = Instant::now();
    while server.metric("fanal_values_resident_bytes") > 65_536 {
        assert!(since.elapsed() < Duration::from_secs(30), "{}", server.admin("/metrics").1);
    }
}

#[test]
fn values_leave_memory_and_come_back_when_they_are_read() {
    let mut server = filled();
    assert!(server.metric("fanal_values_left_to_store_total") >= 300);
    assert!(server.metric("fanal_values_bytes") > 400_000, "they are counted wherever they are");
    for _ in 0..2 {
        let mut client = server.client();
        for number in 0..RESOURCES {
            let answer = client.expect("GET", &["r", &name(number)], nil(), 200);
            assert_eq!(answer.payl, value(number, 0), "{number}");
        }
        assert!(server.metric("fanal_values_brought_back_total") >= 300);
        // A start keeps no more in memory than it may, either.
        server.restart();
        assert!(server.metric("fanal_values_resident_bytes") <= 66_600);
    }
}

#[test]
fn a_value_that_has_left_is_streamed_overwritten_linked_and_deleted_like_any_other() {
    let server = filled();
    let mut client = server.client();
    let streamed = client.expect("STREAM", &["r", "1"], nil(), 200);
    assert_eq!(streamed.payl, value(1, 0));
    client.expect("PUT", &["r", "2"], value(2, 1), 200);
    assert_eq!(client.expect("GET", &["r", "2"], nil(), 200).payl, value(2, 1));
    client.expect("LINK", &["r", "4"], array(&["r", "3"]), 200);
    client.expect("PUT", &["r", "3"], value(3, 1), 200);
    assert_eq!(client.expect("GET", &["r", "4"], nil(), 200).payl, value(3, 1));
    client.expect("DELETE", &["r", "5"], nil(), 200);
    client.expect("GET", &["r", "5"], nil(), 404);
    client.expect("STOP", &["r", "6"], nil(), 404);
    assert_eq!(client.expect("GET", &["r", "6"], nil(), 200).payl, value(6, 0));
}

#[test]
fn requests_for_a_value_that_is_on_its_way_back_take_effect_in_their_order() {
    let server = filled();
    for round in 0..20 {
        wait_until_left(&server);
        let mut client = server.client();
        let number = RESOURCES - 1 - round;
        let path = ["r", &name(number)];
        let get = || Request::new("GET", &path).reid(int(1));
        let put = |version| Request::new("PUT", &path).reid(int(2)).payl(value(number, version));
        client.send_all(&[get(), put(1), get(), put(2), get()]);
        let answers: Vec<Vec<u8>> = (0..5).map(|_| client.next_answer().payl).collect();
        let expected = [value(number, 0), nil(), value(number, 1), nil(), value(number, 2)];
        assert!(answers == expected, "round {round}");
    }
}

#[test]
fn many_who_read_write_and_delete_what_has_left_see_what_they_should() {
    let mut server = Server::prepare("");
    server.configure(&format!("{SETTINGS}unix.path = \"fanal.sock\""));
    server.start_again();
    let socket = server.folder().join("fanal.sock");
    thread::scope(|scope| {
        for worker in 0..4_u64 {
            let socket = &socket;
            scope.spawn(move || {
                let mut client = StreamClient::unix(socket);
                let mut random = support::Random::new(worker);
                let mut versions = [0; 50];
                let path = |number| [format!("w{worker}"), name(number)];
                for number in 0..50 {
                    let [folder, leaf] = path(number);
                    client.expect("POST", &[&folder, &leaf], value(number, 0), 201);
                }
                for _ in 0..3000 {
                    let number = random.below(50);
                    let [folder, leaf] = path(number);
                    let path = [folder.as_str(), leaf.as_str()];
                    if random.below(3) > 0 {
                        let found = client.expect("GET", &path, nil(), 200).payl;
                        assert!(found == value(number, versions[number]), "{number}");
                    } else if random.below(10) > 0 {
                        versions[number] = versions[number].wrapping_add(1);
                        client.expect("PUT", &path, value(number, versions[number]), 200);
                    } else {
                        client.expect("DELETE", &path, nil(), 200);
                        client.expect("POST", &path, value(number, versions[number]), 201);
                    }
                }
            });
        }
    });
    assert!(server.metric("fanal_values_brought_back_total") > 100, "values did come and go");
    assert_eq!(server.metric("fanal_panics_total"), 0);
}
