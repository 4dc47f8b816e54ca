//! The PROXY protocol: whose a connection is, said by a proxy that may.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly, and they measure the time themselves"
)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use support::{Client, ClientOptions, PATIENCE, Server, StreamClient, nil};

const BEHIND_A_PROXY: &str =
    "server.trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\nserver.proxy_protocol = true\n";

const TEXT: &[u8] = b"PROXY TCP4 203.0.113.9 127.0.0.1 5000 3000\r\n";

/// Version 2 of the same with this command, and something more in it than addresses.
fn binary(command: u8) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([0x20 | command, 0x11, 0, 19]);
    bytes.extend([203, 0, 113, 9, 127, 0, 0, 1, 0x13, 0x88, 0x0b, 0xb8]);
    bytes.extend([0x02, 0, 4, b'a', b'.', b'd', b'e']);
    bytes
}

/// What the log says of the first connection at a door, without the port of the peer.
fn origin_at(server: &Server, door: &str) -> String {
    let before = format!(" opened from {door}");
    let line = server.wait_for_line(&before);
    let (_, address) = line.split_once(&before).unwrap();
    match address.rsplit_once("127.0.0.1:") {
        Some((before, port)) => {
            let after = port.trim_start_matches(|character: char| character.is_ascii_digit());
            format!("{before}127.0.0.1{after}")
        }
        None => address.to_owned(),
    }
}

fn origin(server: &Server) -> String {
    origin_at(server, "")
}

/// A client behind these bytes is served, as one from there, at both doors.
#[track_caller]
fn check(preamble: &[u8], headers: &[&str], expected: &str) {
    let server = Server::start_with(&format!("{BEHIND_A_PROXY}tcp.enabled = true\ntcp.port = 0"));
    let options = ClientOptions::default().preamble(preamble);
    let options = headers.iter().fold(options, |options, line| options.header(line));
    server.client_with(options).expect("GET", &["missing"], nil(), 404);
    assert_eq!(origin(&server), expected, "{preamble:?}");
    if headers.is_empty() {
        let mut client = StreamClient::tcp(server.tcp_port());
        // A byte at a time, so that the server sees every part of the header.
        for byte in preamble {
            client.send_raw(&[*byte]);
        }
        client.expect("GET", &["missing"], nil(), 404);
        // There is nothing in which it could be forwarded.
        let expected = expected
            .strip_prefix("127.0.0.1 (through ")
            .map_or(expected, |rest| rest.trim_end_matches(')'));
        assert_eq!(origin_at(&server, "tcp "), expected, "{preamble:?}");
    }
}

#[test]
fn a_trusted_proxy_says_whose_a_connection_is() {
    let expected = "203.0.113.9:5000 (through 127.0.0.1)";
    check(TEXT, &[], expected);
    check(&binary(1), &[], expected);
    check(
        b"PROXY TCP6 2001:db8::1 ::1 5000 3000\r\n",
        &[],
        "[2001:db8::1]:5000 (through 127.0.0.1)",
    );
    // Health checks, and proxies that do not know either.
    for nobody in [&binary(0)[..], b"PROXY UNKNOWN\r\n"] {
        check(nobody, &[], "127.0.0.1 (through 127.0.0.1)");
    }
}

#[test]
fn a_proxy_behind_the_proxy_may_have_forwarded_it() {
    let chain = ["X-Forwarded-For: 192.0.2.1"];
    let inner = b"PROXY TCP4 10.1.1.1 127.0.0.1 5000 3000\r\n";
    check(inner, &chain, "192.0.2.1 (through 10.1.1.1:5000)");
    // This one is no proxy of ours.
    check(TEXT, &chain, "203.0.113.9:5000 (through 127.0.0.1)");
}

#[test]
fn the_bound_on_connections_is_that_of_the_client() {
    let settings = format!("{BEHIND_A_PROXY}server.connections_per_address_max = 1");
    let server = Server::start_with(&settings);
    let from = |address: &str| {
        let header = format!("PROXY TCP4 {address} 127.0.0.1 5000 3000\r\n");
        let options = ClientOptions::default().preamble(header.as_bytes());
        Client::try_connect(server.port(), options)
    };
    let _first = from("203.0.113.9").unwrap();
    let _other = from("203.0.113.10").unwrap();
    let answer = from("203.0.113.9").err().unwrap();
    assert!(answer.contains("server.connections_per_address_max"), "{answer}");
}

#[test]
fn a_proxy_that_says_nothing_is_refused() {
    let settings = format!("{BEHIND_A_PROXY}admin.enabled = true\nadmin.port = 0");
    let server = Server::start_with(&settings);
    let cases: [&[u8]; 4] =
        [b"", b"PROXY TCP4 nonsense\r\n", &[b'P'; 8000], b"\r\n\r\n\0\r\nQUIX\n"];
    for preamble in cases {
        let mut socket = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // The server may have seen enough.
        drop(socket.write_all(preamble));
        drop(socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert_eq!(String::from_utf8_lossy(&answer), "", "{preamble:?}");
    }
    let line = server.wait_for_line("without a PROXY protocol header");
    assert!(line.contains("the proxy 127.0.0.1:") && line.contains("WARN"), "{line}");
    assert_eq!(server.metric("fanal_connections_refused_total{reason=\"proxy\"}"), 4);
}

#[test]
fn nobody_else_may_say_it() {
    let settings = "server.trusted_proxies = [\"10.0.0.0/8\"]\nserver.proxy_protocol = true";
    let server = Server::start_with(settings);
    let options = ClientOptions::default().preamble(TEXT);
    let answer = Client::try_connect(server.port(), options).err().unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    server.client().expect("GET", &["missing"], nil(), 404);
    assert_eq!(origin(&server), "127.0.0.1");
}

#[test]
fn the_header_stands_before_tls() {
    let settings = format!("{BEHIND_A_PROXY}tls.certificate = \"c.pem\"\ntls.key = \"k.pem\"");
    let mut server = Server::prepare(&settings);
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let CertifiedKey { cert, signing_key } = made;
    fs::write(server.folder().join("c.pem"), cert.pem()).unwrap();
    fs::write(server.folder().join("k.pem"), signing_key.serialize_pem()).unwrap();
    server.start_again();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(&binary(1)).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    let request = "GET /websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                   Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    assert_eq!(origin(&server), "203.0.113.9:5000 (through 127.0.0.1)");
}
