//! The provider `mtls`: users whom certificates name.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly, and dates are of the wall"
)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CertifiedKey, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType, date_time_ymd, generate_simple_self_signed,
};
use rmpv::Value as Packed;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};
use support::websocket::{BINARY, take_frame};
use support::{Answer, PATIENCE, Request, Server, WireFrame, int, to_bytes};

const MODE: &str = "tls.certificate = \"certificate.pem\"\ntls.key = \"key.pem\"\n\
    auth_mtls.authorities = \"authorities.pem\"\nauth.mode = \"users\"\n\
    auth.providers = [\"mtls\", \"users\"]\nauth.recheck_interval = \"100ms\"\n\
    auth.users = [{ name = \"bob\", token = \"t\" }]\nauth.failures_max = 0\n\
    preload.resources = [{ path = \"user/ann/model\" }, { path = \"user/bob/model\" }, \
    { path = \"user/somebody/model\" }, { path = \"user/device.example/model\" }]\n";

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

type Authority = CertifiedIssuer<'static, KeyPair>;

/// Who issues certificates.
fn authority(name: &str) -> Authority {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// What a client shows.
struct Shown {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

/// The parameters of a good certificate for a user.
fn parameters(user: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, user);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    parameters
}

fn issue(authority: &Authority, parameters: &CertificateParams) -> Shown {
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.signed_by(&key, authority).unwrap();
    Shown { certificate: certificate.der().clone(), key }
}

/// A server with a certificate of its own that believes an authority.
struct Encrypted {
    server: Server,
    certificate: CertificateDer<'static>,
    authority: Authority,
}

fn start(settings: &str) -> Encrypted {
    let server = Server::prepare(&format!("{MODE}{settings}"));
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let authority = authority("the school");
    for (name, text) in [
        ("certificate.pem", cert.pem()),
        ("key.pem", signing_key.serialize_pem()),
        ("authorities.pem", authority.pem()),
    ] {
        fs::write(server.folder().join(name), text).unwrap();
    }
    let mut encrypted = Encrypted { server, certificate: cert.der().clone(), authority };
    encrypted.server.start_again();
    encrypted
}

impl Encrypted {
    fn config(
        &self,
        version: &'static SupportedProtocolVersion,
        shown: Option<&Shown>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match shown {
            None => builder.with_no_client_auth(),
            Some(Shown { certificate, key }) => {
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                let key = ring::sign::any_supported_type(&key).unwrap();
                // Not checked: the key may be another one.
                let pair = rustls::sign::CertifiedKey::new(vec![certificate.clone()], key);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair)))
            }
        })
    }

    /// A connection with these lines in its request, or what went wrong with TLS.
    fn try_client(&self, config: &Arc<ClientConfig>, lines: &str) -> Result<TlsClient, String> {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        let socket = TcpStream::connect(("127.0.0.1", self.server.port())).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        let request = format!(
            "GET /websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
        );
        stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).map_err(|error| error.to_string())?;
            head.extend(byte);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        Ok(TlsClient { stream, received: Vec::new() })
    }

    fn client(&self, shown: Option<&Shown>) -> TlsClient {
        self.try_client(&self.config(&TLS13, shown), "").expect("TLS succeeds")
    }

    /// The connection is refused while it is made, with both versions of TLS.
    #[track_caller]
    fn check_refused(&self, shown: Option<&Shown>, part: &str) {
        for version in VERSIONS {
            match self.try_client(&self.config(version, shown), "") {
                Ok(_) => panic!("it was accepted"),
                Err(error) => assert!(error.contains(part), "{error} in place of {part}"),
            }
        }
    }
}

/// A WebSocket connection through TLS.
struct TlsClient {
    stream: StreamOwned<ClientConnection, TcpStream>,
    received: Vec<u8>,
}

impl TlsClient {
    fn request(&mut self, request: &Request) -> Answer {
        let frame = WireFrame::new(BINARY, request.encode());
        self.stream.write_all(&frame.encode()).unwrap();
        self.next_answer()
    }

    fn next_answer(&mut self) -> Answer {
        loop {
            if let Some(frame) = take_frame(&mut self.received) {
                assert_eq!(frame.opcode, BINARY);
                return Answer::parse(&frame.payload);
            }
            let mut buffer = [0; 16 * 1024];
            let count = self.stream.read(&mut buffer).unwrap();
            assert!(count > 0, "awaited an answer, but the connection ended");
            self.received.extend(&buffer[..count]);
        }
    }

    /// What a request is answered to have the model of a user, which only this user may.
    fn ask(&mut self, user: &str, auth: Auth<'_>) -> i64 {
        self.request(&request("PUT", user, auth)).rnum
    }

    /// Whether the connection is this user's without a word in AUTH.
    #[track_caller]
    fn check_is(&mut self, user: &str) {
        assert_eq!((self.ask(user, None), self.ask(user, Some(&[]))), (200, 200), "{user}");
        assert_eq!(self.ask("somebody", None), 403);
    }
}

/// Entries of AUTH; `None` for a request without it.
type Auth<'a> = Option<&'a [(&'a str, &'a str)]>;

fn request(verb: &str, user: &str, auth: Auth<'_>) -> Request {
    let pair = |(key, value): &(&str, &str)| (Packed::from(*key), Packed::from(*value));
    let mut request = Request::new(verb, &["user", user, "model"]);
    request.auth = auth.map(|auth| to_bytes(&Packed::Map(auth.iter().map(pair).collect())));
    request
}

#[test]
fn a_certificate_is_its_user() {
    let encrypted = start("");
    let ann = issue(&encrypted.authority, &parameters("ann"));
    for version in VERSIONS {
        let config = encrypted.config(version, Some(&ann));
        encrypted.try_client(&config, "").unwrap().check_is("ann");
    }
    let mut names = parameters("");
    names.distinguished_name.remove(DnType::CommonName);
    names.subject_alt_names = vec![SanType::DnsName("device.example".try_into().unwrap())];
    let device = issue(&encrypted.authority, &names);
    encrypted.client(Some(&device)).check_is("device.example");
}

#[test]
fn a_certificate_has_the_roles_of_the_configuration() {
    let encrypted = start("auth_mtls.roles = [\"admin\"]\n");
    let ann = issue(&encrypted.authority, &parameters("ann"));
    assert_eq!(encrypted.client(Some(&ann)).ask("somebody", None), 200);
}

#[test]
fn auth_of_another_user_is_for_other_providers() {
    let encrypted = start("");
    let ann = issue(&encrypted.authority, &parameters("ann"));
    let mut client = encrypted.client(Some(&ann));
    assert_eq!(client.ask("ann", Some(&[("USER", "ann"), ("TOKEN", "any")])), 200);
    assert_eq!(client.ask("bob", Some(&[("USER", "bob"), ("TOKEN", "t")])), 200);
    for wrong in [
        &[("USER", "bob"), ("TOKEN", "x")][..],
        &[("USER", "bob")],
        &[("USER", "carl"), ("TOKEN", "t")],
        &[("TOKEN", "x")],
        &[("JWT", "a.b.c")],
        &[("USER", "ann"), ("JWT", "a.b.c")],
    ] {
        assert_eq!(client.ask("ann", Some(wrong)), 401, "{wrong:?}");
    }
    // What comes in a header stands beside the certificate.
    let config = encrypted.config(&TLS13, Some(&ann));
    let basic = "Authorization: Basic Ym9iOnQ=\r\n";
    encrypted.try_client(&config, basic).unwrap().check_is("bob");
    let bearer = "Authorization: Bearer x\r\n";
    assert_eq!(encrypted.try_client(&config, bearer).unwrap().ask("ann", None), 401);
}

#[test]
fn without_a_certificate_others_are_asked_or_nobody_connects() {
    let encrypted = start("");
    for version in VERSIONS {
        let mut client = encrypted.try_client(&encrypted.config(version, None), "").unwrap();
        assert_eq!(client.ask("ann", None), 401);
        assert_eq!(client.ask("ann", Some(&[("USER", "ann")])), 401);
        assert_eq!(client.ask("bob", Some(&[("USER", "bob"), ("TOKEN", "t")])), 200);
    }
    let encrypted = start("auth_mtls.required = true\n");
    encrypted.check_refused(None, "CertificateRequired");
    let ann = issue(&encrypted.authority, &parameters("ann"));
    encrypted.client(Some(&ann)).check_is("ann");
}

#[test]
fn certificates_that_are_not_good_are_refused() {
    for settings in ["", "auth_mtls.required = true\n"] {
        let encrypted = start(settings);
        let ann = parameters("ann");
        let another = issue(&authority("the school"), &ann);
        encrypted.check_refused(Some(&another), "DecryptError");
        let stranger = issue(&authority("another school"), &ann);
        encrypted.check_refused(Some(&stranger), "UnknownCA");
        let key = KeyPair::generate().unwrap();
        let certificate = ann.self_signed(&key).unwrap().der().clone();
        encrypted.check_refused(Some(&Shown { certificate, key }), "UnknownCA");
        let dated = |from: i32, to: i32| {
            let mut dated = parameters("ann");
            dated.not_before = date_time_ymd(from, 1, 1);
            dated.not_after = date_time_ymd(to, 1, 1);
            issue(&encrypted.authority, &dated)
        };
        encrypted.check_refused(Some(&dated(2000, 2001)), "CertificateExpired");
        encrypted.check_refused(Some(&dated(4000, 4001)), "");
        let mut server_only = parameters("ann");
        server_only.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        encrypted.check_refused(Some(&issue(&encrypted.authority, &server_only)), "");
        // The certificate of somebody else, whose key is not there.
        let theirs = issue(&encrypted.authority, &ann);
        let stolen = Shown { key: KeyPair::generate().unwrap(), ..theirs };
        encrypted.check_refused(Some(&stolen), "DecryptError");
    }
}

#[test]
fn a_connection_ends_with_its_certificate() {
    let encrypted = start("");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut soon = parameters("ann");
    soon.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(now + 4);
    let soon = issue(&encrypted.authority, &soon);
    let mut client = encrypted.client(Some(&soon));
    client.check_is("ann");
    let opened = client.request(&request("STREAM", "ann", None).reid(int(5)));
    assert_eq!(opened.rnum, 200, "{opened:?}");
    let last = client.next_answer();
    assert_eq!((last.rnum, last.reid), (403, int(5)));
    assert_eq!(client.ask("ann", None), 401);
}

#[test]
fn every_connection_shows_its_certificate() {
    let encrypted = start("");
    let ann = issue(&encrypted.authority, &parameters("ann"));
    for version in VERSIONS {
        let config = encrypted.config(version, Some(&ann));
        for _ in 0..3 {
            let mut client = encrypted.try_client(&config, "").unwrap();
            client.check_is("ann");
            assert_eq!(client.stream.conn.handshake_kind(), Some(HandshakeKind::Full));
        }
    }
}

/// With these settings the server does not start, and says so in one sentence with this part.
#[track_caller]
fn check_refusal(settings: &str, part: &str) {
    let (status, output) = Server::prepare(settings).run_to_end();
    assert!(!status.success() && output.contains(part), "no {part:?} in:\n{output}");
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let mode = "auth.mode = \"users\"\nauth.providers = [\"mtls\"]\n";
    check_refusal(mode, "mtls takes auth_mtls.authorities");
    check_refusal(mode, "mtls takes tls.certificate");
    let files = "tls.certificate = \"a.pem\"\ntls.key = \"b.pem\"\n";
    check_refusal(&format!("{mode}{files}"), "mtls takes auth_mtls.authorities");
    check_refusal("auth_mtls.required = true\n", "expected auth_mtls.authorities");
    check_refusal("auth_mtls.authorities = \"a.pem\"\n", "expected tls.certificate");
    let encrypted = start("");
    fs::write(encrypted.server.folder().join("authorities.pem"), "none").unwrap();
    let (status, output) = encrypted.server.run_to_end();
    let part = "auth_mtls.authorities: authorities.pem has no certificate in PEM";
    assert!(!status.success() && output.contains(part), "{output}");
}

// ---- changes while the server runs

impl Encrypted {
    /// Writes another certificate of the server, with its key, which ends in this year.
    fn renew(&mut self, year: i32) {
        let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        parameters.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        self.write("key.pem", &key.serialize_pem());
        self.write("certificate.pem", &certificate.pem());
        self.certificate = certificate.der().clone();
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.server.folder().join(name), text).unwrap();
    }
}

#[test]
fn another_certificate_is_for_new_connections_and_open_ones_stay() {
    let mut encrypted = start("");
    let ann = issue(&encrypted.authority, &parameters("ann"));
    let before = encrypted.config(&TLS13, Some(&ann));
    let mut open = encrypted.try_client(&before, "").unwrap();
    open.check_is("ann");
    encrypted.renew(4000);
    encrypted.server.wait_for_line("the certificate is another one now, until 4000-01-01");
    let Err(error) = encrypted.try_client(&before, "") else { panic!("it is the old one") };
    assert!(error.contains("invalid peer certificate"), "{error}");
    for version in VERSIONS {
        let config = encrypted.config(version, Some(&ann));
        encrypted.try_client(&config, "").unwrap().check_is("ann");
    }
    open.check_is("ann");
}

#[test]
fn a_faulty_certificate_changes_nothing() {
    let mut encrypted = start("");
    let ann = issue(&encrypted.authority, &parameters("ann"));
    let good = encrypted.config(&TLS13, Some(&ann));
    let key = KeyPair::generate().unwrap().serialize_pem();
    for (name, text, expected) in [
        ("key.pem", "nothing", "tls.key: cannot read a private key from key.pem"),
        ("key.pem", &*key, "tls.key: the key in key.pem is not that of certificate.pem"),
        ("certificate.pem", "", "tls.certificate: certificate.pem has no certificate in PEM"),
        ("authorities.pem", "", "auth_mtls.authorities: authorities.pem has no certificate"),
    ] {
        let before = fs::read_to_string(encrypted.server.folder().join(name)).unwrap();
        encrypted.write(name, text);
        encrypted.server.wait_for_line(expected);
        encrypted.try_client(&good, "").unwrap().check_is("ann");
        encrypted.write(name, &before);
        let reloaded = encrypted.server.output().matches("reloaded: ").count();
        encrypted.server.wait_for_lines("reloaded: ", reloaded.max(1));
    }
    encrypted.renew(4000);
    encrypted.server.wait_for_line("the certificate is another one now");
}

#[test]
fn other_authorities_are_believed_from_now_on() {
    let encrypted = start("");
    let another = authority("another school");
    let ann = issue(&another, &parameters("ann"));
    encrypted.check_refused(Some(&ann), "UnknownCA");
    encrypted.write("authorities.pem", &another.pem());
    encrypted.server.wait_for_line("reloaded: ");
    encrypted.client(Some(&ann)).check_is("ann");
    let old = issue(&encrypted.authority, &parameters("ann"));
    encrypted.check_refused(Some(&old), "UnknownCA");
}

#[test]
fn the_oldest_version_may_be_set() {
    let encrypted = start("tls.version_min = \"1.3\"\n");
    let config = encrypted.config(&TLS12, None);
    let Err(error) = encrypted.try_client(&config, "") else { panic!("1.2 is spoken") };
    assert!(error.contains("ProtocolVersion"), "{error}");
    encrypted.try_client(&encrypted.config(&TLS13, None), "").unwrap();
}

#[test]
fn a_certificate_that_has_expired_is_told() {
    let mut encrypted = start("");
    encrypted.renew(2001);
    encrypted.server.wait_for_line("tls.certificate: it has expired");
}
