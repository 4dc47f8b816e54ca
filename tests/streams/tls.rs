//! The encrypted WebSocket door.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustix::process::Signal;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use super::pattern;
use super::support::message::hex;
use super::support::websocket::{BINARY, CLOSE, RawFrame, take_frame};
use super::support::{Answer, PATIENCE, Request, Server, WireFrame, bin, int};

const FILES: &str = "tls.certificate = \"certificate.pem\"\ntls.key = \"key.pem\"\n";

/// A certificate of its own for each server, and what a client needs to trust it.
struct Encrypted {
    server: Server,
    certificate: CertificateDer<'static>,
}

fn prepare(settings: &str) -> Encrypted {
    let server = Server::prepare(&format!("{FILES}{settings}"));
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(server.folder().join("certificate.pem"), cert.pem()).unwrap();
    fs::write(server.folder().join("key.pem"), signing_key.serialize_pem()).unwrap();
    Encrypted { server, certificate: cert.der().clone() }
}

fn start(settings: &str) -> Encrypted {
    let mut encrypted = prepare(settings);
    encrypted.server.start_again();
    encrypted
}

/// A WebSocket connection through TLS.
struct TlsClient {
    stream: StreamOwned<ClientConnection, TcpStream>,
    received: Vec<u8>,
}

impl Encrypted {
    /// A connection through TLS, before anything of HTTP.
    fn connect(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(("127.0.0.1", self.server.port())).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        StreamOwned::new(connection, socket)
    }

    fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> TlsClient {
        let mut stream = self.connect(versions);
        let request = "GET /websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let head = read_head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        TlsClient { stream, received: Vec::new() }
    }
}

/// The head of an HTTP answer, byte by byte so that nothing behind it is lost.
fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

impl TlsClient {
    fn send(&mut self, frame: &WireFrame) {
        self.stream.write_all(&frame.encode()).unwrap();
    }

    fn request(&mut self, request: &Request) -> Answer {
        self.send(&WireFrame::new(BINARY, request.encode()));
        self.next_answer()
    }

    fn next_answer(&mut self) -> Answer {
        let frame = self.next().expect("a message");
        assert_eq!(frame.opcode, BINARY);
        Answer::parse(&frame.payload)
    }

    /// The next frame, or `None` at the end, which TLS has to announce.
    fn next(&mut self) -> Option<RawFrame> {
        loop {
            if let Some(frame) = take_frame(&mut self.received) {
                return Some(frame);
            }
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer).expect("more, or an end that is announced") {
                0 => {
                    assert!(self.received.is_empty(), "{}", hex(&self.received));
                    return None;
                }
                count => self.received.extend(&buffer[..count]),
            }
        }
    }

    /// Reads the close frame and the end.
    #[track_caller]
    fn expect_close(&mut self, code: u16) {
        let frame = self.next().expect("a close frame");
        assert_eq!((frame.opcode, &frame.payload[..2]), (CLOSE, &code.to_be_bytes()[..]));
        assert!(self.next().is_none());
    }
}

#[test]
fn requests_pass_through_tls() {
    let encrypted = start("");
    encrypted.server.wait_for_line("wss://127.0.0.1:");
    for versions in [&[&TLS13][..], &[&TLS12]] {
        let (mut writer, mut reader) = (encrypted.client(versions), encrypted.client(versions));
        let a = |verb: &str| Request::new(verb, &["a"]);
        assert!(writer.request(&a("POST").payl(int(0))).rnum < 300);
        assert_eq!(reader.request(&a("STREAM").reid(int(7))).number(), 0);
        for number in 1..100 {
            assert_eq!(writer.request(&a("PUT").payl(int(number))).rnum, 200);
            let update = reader.next_answer();
            assert_eq!((update.number(), update.reid), (number, int(7)));
        }
        // More than a record of TLS, and more than the socket takes at once.
        let large = bin(&pattern(2_000_000));
        assert_eq!(writer.request(&a("PUT").payl(large.clone())).rnum, 200);
        assert_eq!(reader.next_answer().payl, large);
        writer.send(&WireFrame::new(CLOSE, 1000_u16.to_be_bytes()));
        writer.expect_close(1000);
        reader.send(&WireFrame::new(BINARY, *b"").unmasked());
        reader.expect_close(1002);
    }
}

#[test]
fn the_server_says_through_tls_that_it_stops() {
    let mut encrypted = start("");
    let mut client = encrypted.client(&[&TLS13]);
    assert_eq!(client.request(&Request::new("GET", &["missing"])).rnum, 404);
    encrypted.server.signal(Signal::TERM);
    client.expect_close(1001);
    drop(client);
    assert!(encrypted.server.wait().success());
}

#[test]
fn pages_come_through_tls() {
    let encrypted = start("");
    let mut stream = encrypted.connect(&[&TLS13]);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("Fanal"), "{page}");
}

#[test]
fn what_is_not_encrypted_does_no_harm() {
    let encrypted = start("");
    let mut before = encrypted.client(&[&TLS13]);
    let http = b"GET /websocket HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for garbage in [&http[..], b"\x80", b"\x16\x03\x01", &[0; 70_000], &[0xff; 70_000]] {
        let mut stream = TcpStream::connect(("127.0.0.1", encrypted.server.port())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The server may end the connection before it has taken all of it.
        drop(stream.write_all(garbage));
        drop(stream.shutdown(std::net::Shutdown::Write));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
    }
    let missing = Request::new("GET", &["missing"]);
    assert_eq!(before.request(&missing).rnum, 404);
    assert_eq!(encrypted.client(&[&TLS13]).request(&missing).rnum, 404);
}

/// Without good files the server does not start, and says so in one sentence with these parts.
#[track_caller]
fn check_refusal(spoil: impl FnOnce(&Encrypted), parts: &[&str]) {
    let encrypted = prepare("");
    spoil(&encrypted);
    let (status, output) = encrypted.server.run_to_end();
    assert!(!status.success(), "{output}");
    let lines: Vec<&str> = output.lines().collect();
    let [sentence] = lines[..] else { panic!("not one sentence:\n{output}") };
    for part in parts {
        assert!(sentence.contains(part), "no {part:?} in: {sentence}");
    }
}

#[test]
fn without_a_good_pair_of_files_the_server_does_not_start() {
    let write = |name: &'static str, text: String| {
        move |encrypted: &Encrypted| {
            fs::write(encrypted.server.folder().join(name), text).unwrap();
        }
    };
    let remove = |name: &'static str| {
        move |encrypted: &Encrypted| {
            fs::remove_file(encrypted.server.folder().join(name)).unwrap();
        }
    };
    let another_key = KeyPair::generate().unwrap().serialize_pem();
    let pair = ["tls.key: the key in key.pem is not that of certificate.pem"];
    check_refusal(write("key.pem", another_key.clone()), &pair);
    let key = ["tls.key: cannot read a private key from key.pem"];
    check_refusal(remove("key.pem"), &key);
    check_refusal(write("key.pem", String::new()), &key);
    check_refusal(write("key.pem", "no key".to_owned()), &key);
    check_refusal(remove("certificate.pem"), &["tls.certificate: cannot read certificates from"]);
    let none = ["tls.certificate: certificate.pem has no certificate in PEM"];
    check_refusal(write("certificate.pem", String::new()), &none);
    check_refusal(write("certificate.pem", another_key), &none);
}
