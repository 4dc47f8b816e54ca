//! Ten thousand connections that do nothing, half of them without having ended their handshake:
//! each is ended by its deadline, they cost little, and a healthy pair is served as usual.
//!
//! Memory is bounded as the growth of the most that was ever resident (VmHWM), over that of the
//! server with the healthy pair, for each connection. The kernel's part is not in it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{Server, Witness};

const CONNECTIONS: usize = 10_000;

/// About twice what was measured; a buffer of any useful size for each of them is beyond it.
const KB_PER_CONNECTION_MAX: u64 = 12;

/// The deadline of those that ended the handshake.
const TIMEOUT: Duration = Duration::from_secs(3);

/// That of the others is a constant of the WebSocket door.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How much longer than by itself an update may take while the crowd comes and goes.
const USUAL_FACTOR_MAX: u32 = 20;
const USUAL_MORE: Duration = Duration::from_millis(5);

const HANDSHAKE: &str = "GET /websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn ten_thousand_that_do_nothing_are_ended_and_cost_little() {
    raise_descriptor_limit();
    let mut server = Server::start_with(
        "auth.first_request_timeout = \"3s\"\nserver.connections_max = 11000\n\
         log.level = \"info\"",
    );
    let mut witness = Witness::of(&server);
    let (usual, before) = (witness.usual_time(), server.peak_rss_kb());
    let began = Instant::now();
    let mut crowd = Vec::with_capacity(CONNECTIONS);
    let mut slowest = Duration::ZERO;
    while crowd.len() < CONNECTIONS {
        crowd.push(newcomer(&server, HANDSHAKE.as_bytes()));
        crowd.push(newcomer(&server, &HANDSHAKE.as_bytes()[..60]));
        if crowd.len() % 100 == 0 {
            slowest = slowest.max(witness.sees_update());
        }
    }
    let came = began.elapsed();
    let meanwhile = witness.usual_time();
    for (place, stream) in crowd.iter_mut().enumerate() {
        let is_open = place % 2 == 0;
        let answer = read_to_end(stream);
        let expected: &[u8] = if is_open { b"HTTP/1.1 101 " } else { b"HTTP/1.1 408 " };
        assert!(answer.starts_with(expected), "{place}: {}", String::from_utf8_lossy(&answer));
        let code = [&[0x88][..], &1008_u16.to_be_bytes()];
        let is_told = answer.windows(4).any(|four| four[0] == code[0][0] && four[2..] == *code[1]);
        assert_eq!(is_told, is_open, "{place}");
        if place % 100 == 0 {
            slowest = slowest.max(witness.sees_update());
        }
    }
    let ended = began.elapsed();
    let grown = server.peak_rss_kb() - before;
    eprintln!(
        "{CONNECTIONS} came in {came:?} and were ended after {ended:?}; the server grew by {grown} \
         KiB, {:.1} for each; an update took {usual:?} before, {meanwhile:?} meanwhile, at most \
         {slowest:?}",
        grown as f64 / CONNECTIONS as f64
    );
    assert!(grown < CONNECTIONS as u64 * KB_PER_CONNECTION_MAX, "grown by {grown} KiB");
    assert!(ended >= TIMEOUT.max(REQUEST_TIMEOUT), "ended after {ended:?}");
    assert!(ended < came + REQUEST_TIMEOUT + 2 * crate::SLACK, "ended after {ended:?}");
    assert!(meanwhile < usual * USUAL_FACTOR_MAX + USUAL_MORE, "{usual:?}, then {meanwhile:?}");
    server.wait_for_lines("no good request came in time (1008)", CONNECTIONS / 2);
    witness.sees_updates();
    let unproven = u64::try_from(CONNECTIONS / 2).unwrap();
    assert_eq!(server.stop_and_count(["connections_closed_unproven"]), [unproven]);
}

fn newcomer(server: &Server, head: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(REQUEST_TIMEOUT + 2 * crate::SLACK)).unwrap();
    stream.write_all(head).unwrap();
    stream
}

fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let outcome = stream.read_to_end(&mut answer);
    outcome.unwrap_or_else(|error| panic!("not ended: {error}; {} bytes came", answer.len()));
    answer
}

/// As the server does for itself.
fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(CONNECTIONS).unwrap() + 1000;
    if current.is_none_or(|current| current >= wanted) {
        return;
    }
    let limit = Rlimit { current: Some(wanted), maximum };
    setrlimit(Resource::Nofile, limit)
        .unwrap_or_else(|error| panic!("this test needs {wanted} descriptors: {error}"));
}
