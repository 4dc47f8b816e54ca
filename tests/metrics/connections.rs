//! Connections: how they were opened, why they were refused, and how they ended.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::scrape::{Scrape, expect};
use super::support::websocket::{BINARY, TEXT};
use super::support::{Client, ClientOptions, PATIENCE, Server, StreamClient, WireFrame, int, nil};
use super::{ADMIN, server};

fn opened(door: &str) -> String {
    format!("fanal_connections_opened_total{{door=\"{door}\"}}")
}

fn refused(reason: &str) -> String {
    format!("fanal_connections_refused_total{{reason=\"{reason}\"}}")
}

fn closed(reason: &str) -> String {
    format!("fanal_connections_closed_total{{reason=\"{reason}\"}}")
}

#[test]
fn they_are_counted_by_door() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("fanal.sock");
    let server = server(&format!("tcp.enabled = true\ntcp.port = 0\nunix.path = {socket:?}"));
    let mut websocket = [server.client(), server.client()];
    websocket[1].expect("POST", &["a"], int(1), 201);
    let mut tcp = StreamClient::tcp(server.tcp_port());
    tcp.expect("GET", &["a"], nil(), 200);
    let mut unix: Vec<StreamClient> = (0..3).map(|_| StreamClient::unix(&socket)).collect();
    for client in &mut unix {
        client.expect("GET", &["a"], nil(), 200);
    }
    let scrape = Scrape::of(&server);
    assert_eq!(scrape.get(&opened("websocket")), 2.0);
    assert_eq!(scrape.get(&opened("tcp")), 1.0);
    assert_eq!(scrape.get(&opened("unix")), 3.0);
    assert_eq!(scrape.get("fanal_connections_open"), 6.0);
    drop((websocket, tcp, unix));
    let scrape = expect(&server, "fanal_connections_open", 0.0);
    assert_eq!(scrape.sum("fanal_connections_closed_total"), 6.0);
}

/// A server that refuses a connection for this reason.
#[track_caller]
fn check_refusal(settings: &str, reason: &str, connect: impl FnOnce(&Server)) {
    let server = server(settings);
    connect(&server);
    let scrape = expect(&server, &refused(reason), 1.0);
    assert_eq!(scrape.sum("fanal_connections_refused_total"), 1.0, "{reason}");
}

fn try_connect(server: &Server, options: ClientOptions) {
    assert!(Client::try_connect(server.port(), options).is_err());
}

#[test]
fn refusals_are_counted_by_reason() {
    check_refusal("server.connections_max = 1", "full", |server| {
        let _first = server.client();
        try_connect(server, ClientOptions::default());
    });
    check_refusal("server.connections_per_address_max = 1", "address", |server| {
        let _first = server.client();
        try_connect(server, ClientOptions::default());
    });
    check_refusal("server.connections_per_second_max = 1", "rate", |server| {
        let _first = server.client();
        try_connect(server, ClientOptions::default());
    });
    check_refusal("server.allowed_origins = [\"https://a.example\"]", "origin", |server| {
        let options = ClientOptions::default().header("Origin: https://b.example");
        try_connect(server, options);
    });
    check_refusal("", "handshake", |server| {
        let mut socket = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = "GET /websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
                    Connection: Upgrade\r\nSec-WebSocket-Version: 12\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        socket.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    });
}

#[test]
fn who_does_not_encrypt_is_counted() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let server = Server::prepare("");
    std::fs::write(server.folder().join("certificate.pem"), made.cert.pem()).unwrap();
    std::fs::write(server.folder().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let mut server = server;
    server
        .configure(&format!("{ADMIN}tls.certificate = \"certificate.pem\"\ntls.key = \"key.pem\""));
    server.start_again();
    try_connect(&server, ClientOptions::default());
    expect(&server, &refused("tls"), 1.0);
}

/// A connection that ends for this reason.
#[track_caller]
fn check_end(settings: &str, reason: &str, end: impl FnOnce(&Server, Client)) {
    let server = server(settings);
    let mut client = server.client();
    client.expect("GET", &["missing"], nil(), 404);
    end(&server, client);
    let scrape = expect(&server, &closed(reason), 1.0);
    assert_eq!(scrape.sum("fanal_connections_closed_total"), 1.0, "{reason}");
}

#[test]
fn ends_are_counted_by_reason() {
    check_end("", "client", |_, client| assert_eq!(client.close(1000), Some(1000)));
    check_end("", "broken", |_, client| client.reset());
    check_end("", "text", |_, mut client| {
        client.send_frame(&WireFrame::new(TEXT, "hello"));
        assert_eq!(client.wait_for_close(), Some(1003));
    });
    check_end("", "protocol", |_, mut client| {
        client.send_frame(&WireFrame::new(BINARY, nil()).unmasked());
        assert_eq!(client.wait_for_close(), Some(1002));
    });
    check_end("", "too_big", |_, mut client| {
        client.send_frame(&WireFrame::new(BINARY, nil()).announcing(1 << 40));
        assert_eq!(client.wait_for_close(), Some(1009));
    });
    check_end("", "kicked", |server, mut client| {
        assert_eq!(server.api("DELETE", "sessions/1").0, 200);
        assert_eq!(client.wait_for_close(), Some(1008));
    });
    check_end("session.idle_timeout = \"100ms\"", "idle", |_, mut client| {
        assert_eq!(client.wait_for_close(), Some(4409));
    });
    let quick = "websocket.ping_interval = \"50ms\"\nwebsocket.pong_timeout = \"50ms\"";
    check_end(quick, "unresponsive", |server, _client| {
        // The client reads nothing, and so answers no ping.
        expect(server, &closed("unresponsive"), 1.0);
    });
    check_end(
        "session.wrong_requests_max = 3\nsession.wrong_requests_timeout = \"1h\"",
        "wrong",
        |_, mut client| {
            (0..3).for_each(|_| client.send_message(&[0x80]));
            assert_eq!(client.wait_for_close(), Some(1008));
        },
    );
}
