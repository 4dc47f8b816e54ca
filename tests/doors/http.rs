//! The HTTP around the WebSocket door: the page, the handshake, routes, origins, addresses.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::support::{self, Client, ClientOptions, PATIENCE, Server, nil};
use super::{close, ping};

/// Sends these lines and compares the status; the answer, in whatever case, has these parts.
#[track_caller]
fn check_http(server: &Server, lines: &[&str], status: u16, parts: &[&str]) {
    let port = server.port();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("{}\r\nHost: localhost:{port}\r\n\r\n", lines.join("\r\n"));
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !is_whole(&answer) {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).expect("an answer");
        assert_ne!(count, 0, "{lines:?}: the connection ended in the midst of an answer");
        answer.extend(&buffer[..count]);
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{lines:?}:\n{answer}");
    for part in parts {
        let is_there = answer.to_lowercase().contains(&part.to_lowercase());
        assert!(is_there, "{lines:?}: no {part:?} in\n{answer}");
    }
}

/// Whether the head is there, and as much of the body as it says there is.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| body.len() >= length.parse().unwrap())
}

/// The lines of a handshake, with the one that begins like this replaced, or left out for nothing.
fn handshake<'a>(first: &'a str, name: &str, line: &'a str) -> Vec<&'a str> {
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let good =
        [first, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", KEY];
    let replace = |good: &'a str| if good.starts_with(name) { line } else { good };
    good.map(replace).into_iter().filter(|line| !line.is_empty()).collect()
}

#[test]
fn a_plain_get_of_the_root_says_what_this_is() {
    let server = Server::start();
    let address = format!("ws://localhost:{}/websocket", server.port());
    check_http(&server, &["GET / HTTP/1.1"], 200, &["text/html", "Fanal", &address, "fanal watch"]);
    check_http(&server, &["GET /?q=1 HTTP/1.1"], 200, &["Fanal"]);
}

#[test]
fn the_page_shows_nothing_that_a_client_could_put_into_it() {
    let server = Server::start();
    let request =
        "GET / HTTP/1.1\r\nConnection: close\r\nHost: a\"><script>alert(1)</script>\r\n\r\n";
    let answer = support::http(server.port(), request);
    assert!(answer.starts_with("HTTP/1.1 ") && !answer.contains("<script"), "{answer}");
}

#[test]
fn a_request_that_is_no_upgrade_is_told_what_to_do() {
    let server = Server::start();
    let needs = ["Upgrade: websocket", "Sec-WebSocket-Version: 13"];
    check_http(&server, &["GET /websocket HTTP/1.1"], 426, &needs);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        for path in ["/", "/websocket"] {
            check_http(&server, &[&format!("{method} {path} HTTP/1.1")], 405, &[]);
        }
        check_http(&server, &[&format!("{method} /other HTTP/1.1")], 404, &[]);
    }
    check_http(&server, &["GET /other HTTP/1.1"], 404, &["/websocket"]);
    check_http(&server, &handshake("GET /other HTTP/1.1", "-", ""), 404, &[]);
    check_http(&server, &handshake("GET /websocket/ HTTP/1.1", "-", ""), 404, &[]);
}

#[test]
fn a_good_handshake_is_answered_by_the_book() {
    let server = Server::start();
    let get = "GET /websocket HTTP/1.1";
    let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    let good = handshake(get, "-", "");
    check_http(&server, &good, 101, &[accept, "Upgrade: websocket", "Connection: upgrade"]);
    for (name, line) in [
        ("GET", "GET /websocket?a=b HTTP/1.1"),
        ("Upgrade", "Upgrade: WebSocket"),
        ("Connection", "Connection: keep-alive, Upgrade"),
    ] {
        check_http(&server, &handshake(get, name, line), 101, &[accept]);
    }
    // An extension that the server took up would change the frames.
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
    let mut plain = server.client_with(ClientOptions::default().header(offer));
    plain.expect("GET", &["missing"], nil(), 404);
}

#[test]
fn a_bad_handshake_is_refused() {
    let server = Server::start();
    let check = |name: &str, line: &str, status| {
        let lines = handshake("GET /websocket HTTP/1.1", name, line);
        check_http(&server, &lines, status, &["Sec-WebSocket-Version: 13"]);
    };
    for key in ["", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ===", "dGhl", "not base64"] {
        check("Sec-WebSocket-Key", &format!("Sec-WebSocket-Key: {key}"), 400);
    }
    for name in ["Sec-WebSocket-Key", "Sec-WebSocket-Version", "Connection", "Upgrade"] {
        check(name, "", 400);
    }
    check("Connection", "Connection: keep-alive", 400);
    check("Upgrade", "Upgrade: h2c", 400);
    check("Sec-WebSocket-Version", "Sec-WebSocket-Version: 12", 426);
    check_http(&server, &handshake("POST /websocket HTTP/1.1", "-", ""), 405, &[]);
}

#[test]
fn frames_may_come_with_the_handshake() {
    let server = Server::start();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = handshake("GET /websocket HTTP/1.1", "-", "").join("\r\n").into_bytes();
    bytes.extend(b"\r\nHost: localhost\r\n\r\n");
    bytes.extend(ping("early").encode());
    bytes.extend(close(1000, b"").encode());
    stream.write_all(&bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let tail = b"\r\n\r\n\x8a\x05early\x88\x02\x03\xe8";
    assert!(answer.ends_with(tail), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn the_routes_are_configurable() {
    let server = Server::start_with("server.routes = [\"/live\", \"/a/b\"]");
    for path in ["/live", "/a/b", "/live?x"] {
        let mut client = server.client_with(ClientOptions::default().path(path));
        client.expect("GET", &["missing"], nil(), 404);
    }
    for path in ["/websocket", "/a", "/a/b/c", "/LIVE"] {
        check_http(&server, &handshake(&format!("GET {path} HTTP/1.1"), "-", ""), 404, &[]);
    }
    check_http(&server, &["GET / HTTP/1.1"], 200, &["Fanal", "/live"]);
    check_http(&server, &["GET /other HTTP/1.1"], 404, &["/live"]);
}

#[test]
fn a_star_stands_for_every_route() {
    let server = Server::start_with("server.routes = [\"*\"]");
    for path in ["/", "/websocket", "/any/thing", "/%20", "/a//b?c=d"] {
        let mut client = server.client_with(ClientOptions::default().path(path));
        client.expect("GET", &["missing"], nil(), 404);
    }
    check_http(&server, &["GET / HTTP/1.1"], 200, &["Fanal"]);
    check_http(&server, &["GET /any HTTP/1.1"], 426, &[]);
}

#[test]
fn a_page_of_another_origin_may_not_connect() {
    let allowed = "server.allowed_origins = [\"https://example.org\", \"http://localhost:8080\"]";
    let server = Server::start_with(allowed);
    let connect = |server: &Server, origin: &str| {
        let options = ClientOptions::default().header(&format!("Origin: {origin}"));
        Client::try_connect(server.port(), options).map(drop)
    };
    drop(server.client());
    for origin in ["https://example.org", "http://localhost:8080"] {
        assert_eq!(connect(&server, origin), Ok(()));
    }
    for origin in ["https://evil.example", "null", "http://example.org", "https://example.org.evil"]
    {
        let answer = connect(&server, origin).expect_err(origin);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{origin}: {answer}");
    }
    assert_eq!(connect(&Server::start(), "https://evil.example"), Ok(()));
}

/// The address in the log line about a connection with these headers, without ports.
#[track_caller]
fn check_address(trusted: &str, headers: &[&str], expected: &str) {
    let server = Server::start_with(&format!("server.trusted_proxies = [{trusted}]"));
    let options =
        headers.iter().fold(ClientOptions::default(), |options, line| options.header(line));
    let _client = server.client_with(options);
    let line = server.wait_for_line(" opened from ");
    let (_, address) = line.split_once(" opened from ").unwrap();
    let (before, port) = address.split_once("127.0.0.1:").expect("the peer is always named");
    let after = port.trim_start_matches(|c: char| c.is_ascii_digit());
    assert_eq!(format!("{before}127.0.0.1{after}"), expected, "{headers:?}");
}

#[test]
fn a_forwarded_address_is_believed_from_trusted_proxies_only() {
    let one = ["X-Forwarded-For: 203.0.113.9"];
    check_address("", &one, "127.0.0.1");
    check_address("\"10.0.0.0/8\"", &one, "127.0.0.1");
    let us = "\"127.0.0.1\"";
    check_address(us, &[], "127.0.0.1 (through 127.0.0.1)");
    check_address(us, &one, "203.0.113.9 (through 127.0.0.1)");
    let forged = ["X-Forwarded-For: 192.0.2.1, 203.0.113.9"];
    check_address(us, &forged, "203.0.113.9 (through 127.0.0.1)");
    let both = "\"127.0.0.0/8\", \"10.0.0.0/8\"";
    let chain = ["X-Forwarded-For: 192.0.2.1, 203.0.113.9, 10.1.2.3"];
    check_address(both, &chain, "203.0.113.9 (through 127.0.0.1)");
    check_address(us, &["X-Forwarded-For: 2001:db8::1"], "2001:db8::1 (through 127.0.0.1)");
    check_address(us, &["X-Forwarded-For: \"><script>"], "127.0.0.1 (through 127.0.0.1)");
}

#[test]
fn a_proxy_may_add_the_address_in_a_line_of_its_own() {
    let lines = ["X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 203.0.113.9"];
    check_address("\"127.0.0.1\"", &lines, "203.0.113.9 (through 127.0.0.1)");
}

#[test]
fn connections_over_the_limit_are_told_so_until_there_is_room_again() {
    let server = Server::start_with("server.connections_max = 2");
    let (first, _second) = (server.client(), server.client());
    let answer = Client::try_connect(server.port(), ClientOptions::default()).err().unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.to_lowercase().contains("retry-after: "), "{answer}");
    first.close(1000);
    server.wait_for_line("the client closed it (1000)");
    server.client().expect("GET", &["missing"], nil(), 404);
}
