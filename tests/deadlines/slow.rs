//! Slow clients and slow links: whoever reads slowly or not at all costs little, and ends on the
//! last value.
//!
//! On loopback a peer cannot vanish without a word short of a network namespace, which an ordinary
//! user may not make everywhere. What the server sees of one is a peer that takes nothing and
//! answers nothing; that is what is tried here.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use socket2::SockRef;

use crate::support::websocket::{BINARY, PING, take_frame};
use crate::support::{
    Answer, Client, ClientOptions, PATIENCE, Request, Server, WireFrame, Witness,
};
use crate::support::{int, nil};
use crate::{SLACK, frames_for, large, missing, small};

/// What a client that reads slowly or not at all may add to the server's memory, in KiB. Its
/// outbox is bounded by less in these tests.
const GROWTH_KB_MAX: u64 = 8 * 1024;

#[test]
fn who_pipelines_and_never_reads_is_not_read_and_ended() {
    let mut server = Server::start_with("outbox.stall_timeout = \"1s\"");
    let mut witness = Witness::of(&server);
    server.client().expect("POST", &["a"], large(0), 201);
    let usual = witness.usual_time();
    let before = server.peak_rss_kb();
    let gets = WireFrame::new(BINARY, Request::new("GET", &["a"]).encode()).encode().repeat(1000);
    let clients = (0..10).map(|_| {
        let mut client = server.client_with(small());
        let taken = client.send_until_blocked(&gets, 1 << 26, Duration::from_millis(50));
        assert!(taken < 1 << 26, "{taken} bytes of requests were taken");
        client
    });
    let clients: Vec<Client> = clients.collect();
    let meanwhile = witness.usual_time();
    assert!(meanwhile < usual * 20 + Duration::from_millis(5), "{usual:?}, then {meanwhile:?}");
    server.wait_for_lines("the client took nothing for too long", 10);
    let grown = server.peak_rss_kb() - before;
    assert!(grown < 10 * GROWTH_KB_MAX, "ten clients made the server grow by {grown} KiB");
    drop(clients);
    witness.sees_updates();
    assert_eq!(server.stop_and_count(["connections_closed_stalled"]), [10]);
}

#[test]
fn a_byte_now_and_then_is_a_request_in_the_end() {
    let server = Server::start();
    let mut witness = Witness::of(&server);
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = "GET /websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let frame = WireFrame::new(BINARY, missing().reid([7]).encode()).encode();
    for byte in head.as_bytes() {
        stream.write_all(&[*byte]).unwrap();
        witness.sees_update();
    }
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    while !received.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the server has ended the connection");
        received.extend(&buffer[..count]);
    }
    for byte in frame.iter().chain(&frame) {
        stream.write_all(&[*byte]).unwrap();
        witness.sees_update();
    }
    received.clear();
    for _ in 0..2 {
        let answer = loop {
            if let Some(frame) = take_frame(&mut received) {
                break Answer::parse(&frame.payload);
            }
            let count = stream.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "the server has ended the connection");
            received.extend(&buffer[..count]);
        };
        assert_eq!((answer.rnum, &answer.reid[..]), (404, &[7][..]));
    }
}

/// A peer that is gone without a word: its side takes nothing and answers nothing.
#[test]
fn a_peer_that_has_fallen_silent_is_ended_by_whichever_deadline_is_first() {
    let streaming = |settings: &str, line: &str, values: bool| {
        let server = Server::start_with(settings);
        let mut writer = server.client();
        writer.expect("POST", &["a"], int(0), 201);
        let mut silent = server.client_with(small().ignore_pings());
        silent.expect("STREAM", &["a"], nil(), 200);
        let began = Instant::now();
        let mut number = 0;
        while !server.output().contains(line) {
            number += 1;
            let value = if values { large(number) } else { int(number.into()) };
            writer.expect("PUT", &["a"], value, 200);
            drop(frames_for(&mut writer, Duration::from_millis(20)));
            assert!(began.elapsed() < 2 * SLACK, "{line:?} is awaited:\n{}", server.output());
        }
    };
    let pong = "websocket.ping_interval = \"200ms\"\nwebsocket.pong_timeout = \"300ms\"";
    let stall = "outbox.stall_timeout = \"500ms\"";
    streaming(&format!("{pong}\n{stall}"), "a ping was not answered (4408)", false);
    streaming(stall, "the client took nothing for too long", true);
    // With both deadlines off the kernel's is left.
    let kernel = "websocket.pong_timeout = \"0s\"\noutbox.stall_timeout = \"0s\"\n\
        socket.user_timeout = \"500ms\"";
    streaming(kernel, "the connection broke", true);
}

/// Forwards what the server sends at so many bytes an interval, and the rest as it comes.
struct SlowLink {
    port: u16,
    bytes_per_tick: usize,
    ended: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

const TICK: Duration = Duration::from_millis(10);

impl SlowLink {
    /// A link for one connection.
    fn to(server: &Server, bytes_per_tick: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let (theirs, address) =
            (Arc::clone(&ended), SocketAddr::from(([127, 0, 0, 1], server.port())));
        let thread = thread::spawn(move || {
            let (near, _) = listener.accept().unwrap();
            let far = connect_narrowly(address);
            let (mut near_reads, mut far_writes) =
                (near.try_clone().unwrap(), far.try_clone().unwrap());
            let upwards = thread::spawn(move || {
                // Whichever side ends first ends the link.
                drop(std::io::copy(&mut near_reads, &mut far_writes));
                drop(far_writes.shutdown(Shutdown::Both));
            });
            forward(far, &near, bytes_per_tick, &theirs);
            drop(near.shutdown(Shutdown::Both));
            upwards.join().unwrap();
        });
        SlowLink { port, bytes_per_tick, ended, thread: Some(thread) }
    }

    /// How long so many bytes take.
    fn time_for(&self, bytes: usize) -> Duration {
        TICK * u32::try_from(bytes / self.bytes_per_tick + 1).unwrap()
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        *self.ended.0.lock() = true;
        self.ended.1.notify_all();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A connection whose receive window is small, so that the link holds little itself.
fn connect_narrowly(address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    SockRef::from(&socket).set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

fn forward(
    mut from: TcpStream,
    mut to: &TcpStream,
    bytes_per_tick: usize,
    ended: &(Mutex<bool>, Condvar),
) {
    let mut buffer = vec![0; bytes_per_tick];
    let mut is_ended = ended.0.lock();
    while !*is_ended {
        ended.1.wait_for(&mut is_ended, TICK);
        match from.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) if to.write_all(&buffer[..count]).is_err() => return,
            Ok(_) => {}
        }
    }
}

#[test]
fn a_reader_behind_a_slow_link_converges_on_the_last_value_and_costs_little() {
    // 400 KB a second, for values of which a second brings many times as much.
    let mut server = Server::start_with(
        "outbox.stall_timeout = \"2s\"\nwebsocket.ping_interval = \"200ms\"\n\
         websocket.pong_timeout = \"2s\"",
    );
    let mut witness = Witness::of(&server);
    let link = SlowLink::to(&server, 4000);
    let mut writer = server.client();
    writer.expect("POST", &["a"], value(0), 201);
    let mut slow = Client::connect(link.port, ClientOptions::default());
    slow.expect("STREAM", &["a"], nil(), 200);
    let usual = witness.usual_time();
    let before = server.peak_rss_kb();
    let reader = thread::spawn(move || {
        let mut seen = 0;
        while seen < LAST {
            let number = number_in(&slow.next_answer());
            assert!(number > seen, "{number} came after {seen}");
            seen = number;
        }
        (Instant::now(), slow)
    });
    for number in 1..=LAST {
        writer.expect("PUT", &["a"], value(number), 200);
        if number % 10 == 0 {
            witness.sees_update();
        }
    }
    let written = Instant::now();
    let meanwhile = witness.usual_time();
    let (converged, mut slow) = reader.join().unwrap();
    let lag = converged.saturating_duration_since(written);
    let grown = server.peak_rss_kb() - before;
    eprintln!("converged after {lag:?}, grown by {grown} KiB, {usual:?}, then {meanwhile:?}");
    // What the kernel and the stream hold of older values goes before: sixteen values, the bound
    // of a stream, and as much again.
    assert!(lag < link.time_for(2 * 16 * VALUE_BYTES) + SLACK, "converged after {lag:?}");
    assert!(grown < GROWTH_KB_MAX, "grown by {grown} KiB");
    assert!(meanwhile < usual * 20 + Duration::from_millis(5), "{usual:?}, then {meanwhile:?}");
    slow.send_frame(&WireFrame::new(PING, *b"still here"));
    slow.expect("GET", &["missing"], nil(), 404);
    let counters = ["connections_closed_stalled", "connections_closed_unresponsive"];
    assert_eq!(server.stop_and_count(counters), [0, 0]);
}

const LAST: u32 = 600;
const VALUE_BYTES: usize = 20_000;

fn value(number: u32) -> Vec<u8> {
    crate::support::bin(&[&number.to_be_bytes()[..], &vec![0; VALUE_BYTES]].concat())
}

fn number_in(answer: &Answer) -> u32 {
    let value = answer.value();
    let bytes = value.as_slice().expect("a value is bytes");
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}
