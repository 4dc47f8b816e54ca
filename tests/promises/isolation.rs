//! Isolation: no client can slow, starve or crash another, by being slow, fast, broken or hostile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::websocket::{BINARY, PING, TEXT};
use crate::support::{Client, ClientOptions, Random, Request, Server, WireFrame};
use crate::support::{bin, http, int, nil};

/// How long each step of a healthy pair may take.
const IN_TIME: Duration = Duration::from_secs(2);

/// Round trips of the healthy pair; it goes on until the others are done.
const ROUNDS_MIN: i64 = 500;

/// Requests that a flooding client would like to send.
const FLOOD_BYTES_MAX: usize = 512 * 1024 * 1024;

/// A client that nothing was taken from for so long is not read any more.
const FLOOD_QUIET: Duration = Duration::from_secs(1);

/// What all the others together may add to the memory of the server, in KiB.
const GROWTH_KB_MAX: u64 = 32 * 1024;

/// A healthy pair beside a client that does not read its stream, one that floods and does not read
/// its answers, and many that send garbage.
#[track_caller]
fn check(settings: &str) {
    let server = Server::start_with(settings);
    let mut owner = server.client();
    owner.expect("POST", &["large"], bin(&vec![7; 1 << 20]), 201);
    owner.expect("POST", &["streamed"], int(0), 201);
    owner.expect("POST", &["healthy"], int(0), 201);
    let healthy = || server.client_with(ClientOptions::default().patience(IN_TIME));
    let (mut writer, mut reader) = (healthy(), healthy());
    let reid = reader.expect("STREAM", &["healthy"], nil(), 200).reid;
    let mut stalled = server.client_with(ClientOptions::default().receive_buffer_bytes(4096));
    stalled.expect("STREAM", &["streamed"], nil(), 200);
    let before = server.peak_rss_kb();
    thread::scope(|scope| {
        let others = [
            scope.spawn(|| write_much(owner)),
            scope.spawn(|| flood(server.client())),
            scope.spawn(|| send_garbage(&server)),
        ];
        let mut round = 0;
        while round < ROUNDS_MIN || !others.iter().all(|other| other.is_finished()) {
            round += 1;
            writer.expect("PUT", &["healthy"], int(round), 200);
            let update = reader.next_answer();
            assert_eq!((update.reid.as_slice(), update.number()), (reid.as_slice(), round));
        }
    });
    let grown = server.peak_rss_kb() - before;
    assert!(grown < GROWTH_KB_MAX, "the server has grown by {grown} KiB");
    assert!(!server.output().contains("panicked"), "{}", server.output());
}

/// So many clients at once that their requests do not all find room in the mailbox of the one
/// resource that they write, which has many streams and therefore takes its time.
#[track_caller]
fn check_crowd(settings: &str) {
    const CLIENTS: usize = 200;
    const REQUESTS: i64 = 64;
    const STREAMS: i64 = 100;
    let server = Server::start_with(settings);
    let mut watcher = server.client();
    watcher.expect("POST", &["x"], int(0), 201);
    let stream = |number| Request::new("STREAM", &["x"]).reid(int(number));
    watcher.send_all(&(0..STREAMS).map(stream).collect::<Vec<_>>());
    (0..STREAMS).for_each(|_| assert_eq!(watcher.next_answer().rnum, 200));
    let put = |number| Request::new("PUT", &["x"]).reid(int(number)).payl(int(number)).encode();
    let frame = |number| WireFrame::new(BINARY, put(number)).encode();
    let requests: Vec<u8> = (0..REQUESTS).flat_map(frame).collect();
    let mut crowd: Vec<Client> = (0..CLIENTS).map(|_| server.client()).collect();
    for client in &mut crowd {
        client.send_raw(&requests);
    }
    for client in &mut crowd {
        for number in 0..REQUESTS {
            let answer = client.next_answer();
            assert_eq!((answer.rnum, answer.reid), (200, int(number)));
        }
    }
}

/// What the stalled client does not read.
fn write_much(mut owner: Client) {
    for _ in 0..500 {
        owner.expect("PUT", &["streamed"], bin(&[7; 64 * 1024]), 200);
    }
}

/// Asks for a large value again and again, and never reads one.
fn flood(mut client: Client) {
    let get = WireFrame::new(BINARY, Request::new("GET", &["large"]).encode()).encode();
    let taken = client.send_until_blocked(&get.repeat(1000), FLOOD_BYTES_MAX, FLOOD_QUIET);
    assert!(taken < FLOOD_BYTES_MAX, "the server still reads after {taken} bytes");
}

/// Connections that break every rule, one after the other, and do not wait for what comes of it.
fn send_garbage(server: &Server) {
    let mut random = Random::new(1);
    let mut noise = |bytes: usize| -> Vec<u8> {
        (0..bytes).map(|_| u8::try_from(random.below(256)).expect("a byte")).collect()
    };
    for round in 0..30 {
        let frames = |frame: &WireFrame| frame.encode();
        let nested = [&[0x81, 0xa4][..], b"PAYL", &[0x91; 100_000]].concat();
        let claims = [&[0x82, 0xa4][..], b"REID", &[1, 0xa4], b"PATH", &[0xdd; 5]].concat();
        let attacks = [
            noise(5000),
            (0..200).flat_map(|_| frames(&WireFrame::new(BINARY, noise(50)))).collect(),
            frames(&WireFrame::new(BINARY, nested)),
            frames(&WireFrame::new(BINARY, claims)),
            frames(&WireFrame::new(BINARY, noise(100)).announcing(1 << 62)),
            frames(&WireFrame::new(BINARY, noise(100)).unfinished()).repeat(50),
            frames(&WireFrame::new(BINARY, noise(100)).unmasked()),
            frames(&WireFrame::new(PING, noise(125))).repeat(1000),
            frames(&WireFrame::new(TEXT, noise(100))),
        ];
        for attack in attacks {
            let mut client = server.client();
            client.try_send_raw(&attack);
            if round % 2 == 0 {
                client.reset();
            }
        }
        http(server.port(), "NOT HTTP AT ALL\r\n\r\n");
    }
}

#[test]
fn a_healthy_pair_is_served_in_time_beside_bad_clients_on_one_thread() {
    check("server.workers = 1");
}

#[test]
fn a_healthy_pair_is_served_in_time_beside_bad_clients_on_two_threads() {
    check("server.workers = 2");
}

#[test]
fn a_crowd_that_writes_one_resource_at_once_is_served_on_one_thread() {
    check_crowd("server.workers = 1");
}

#[test]
fn a_crowd_that_writes_one_resource_at_once_is_served_on_two_threads() {
    check_crowd("server.workers = 2");
}

#[test]
fn a_crowd_is_served_with_the_smallest_mailbox() {
    check_crowd("mailbox.resource = 16");
}

#[test]
fn a_resource_that_is_written_without_a_pause_does_not_keep_its_thread_from_others() {
    let server = Server::start_with("server.workers = 2");
    let mut watcher = server.client();
    // Each value has many ways to go, so that those who write can easily keep up.
    watcher.expect("POST", &["x"], int(0), 201);
    for reid in 0..100 {
        watcher.send_request(&Request::new("STREAM", &["x"]).reid(int(reid)));
        assert_eq!(watcher.next_answer().rnum, 200);
    }
    watcher.send("PUT", &["x"], int(1));
    let in_time = || server.client_with(ClientOptions::default().patience(IN_TIME));
    // Connections are dealt out to the threads in turn.
    let mut witnesses = [in_time(), in_time()];
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..8 {
            let (mut writer, done) = (server.client(), &done);
            scope.spawn(move || {
                let put = WireFrame::new(BINARY, Request::new("PUT", &["x"]).encode()).encode();
                writer.send_raw(&put.repeat(100));
                while !done.load(Ordering::Relaxed) {
                    writer.send_raw(&put.repeat(50));
                    (0..50).for_each(|_| assert_eq!(writer.next_answer().rnum, 200));
                }
            });
        }
        let done = SetOnDrop(&done);
        for round in 0..200 {
            for (number, witness) in witnesses.iter_mut().enumerate() {
                let name = number.to_string();
                witness.request("POST", &[&name], int(round));
                assert_eq!(witness.expect("GET", &[&name], nil(), 200).number(), round);
            }
        }
        drop(done);
    });
}

/// Tells others that this one has ended, however it ends.
struct SetOnDrop<'f>(&'f AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
