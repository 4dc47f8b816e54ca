//! A small blocking Lighthouse client, for the commands that look at a running server.
//!
//! One socket, one thread. A payload is any MessagePack value: a stream may carry anything, and
//! what this client does not understand it can still describe. None of it is the broker's protocol
//! code, so that a mistake in that one cannot hide behind the same mistake here.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rmpv::Value;
use serde::{Deserialize, Deserializer, Serialize};
use tungstenite::error::ProtocolError;
use tungstenite::handshake::HandshakeError;
use tungstenite::http::Uri;
use tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
use tungstenite::{Bytes, Message, WebSocket};

/// How long to wait for a connection, and for its handshake.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long to wait for the answer to one request.
pub const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long a wait may last before the caller looks whether it shall stop.
pub const STOP_POLL: Duration = Duration::from_millis(100);
/// A connection that was silent for this long is asked for a sign of life ...
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// ... and given up after this long.
const DEAD_AFTER: Duration = Duration::from_secs(25);
/// How long to wait for the server's side of a close.
const CLOSE_MAX: Duration = Duration::from_millis(500);
/// An answer with so many arrays and maps inside one another is not read. Each level takes up to
/// 4 KiB of stack when nothing is optimised, and the smallest stack in use is 1 MiB.
const DEPTH_MAX: usize = 128;

/// A connection to a Lighthouse server.
pub struct Client {
    socket: WebSocket<TcpStream>,
    url: String,
    user: String,
    token: String,
    /// The REID of the next request.
    next_reid: u64,
    /// When the server last sent anything, a pong included.
    heard: Instant,
    /// When it was last asked for a pong.
    pinged: Instant,
}

/// A request as it goes over the wire.
#[derive(Serialize)]
#[serde(rename_all = "UPPERCASE")]
struct Request<'a> {
    reid: u64,
    auth: Auth<'a>,
    verb: &'a str,
    path: Vec<&'a str>,
    meta: Meta,
    #[serde(rename = "PAYL")]
    payload: &'a Value,
}

#[derive(Serialize)]
#[serde(rename_all = "UPPERCASE")]
struct Auth<'a> {
    user: &'a str,
    token: &'a str,
}

/// No options, which is an empty map on the wire.
#[derive(Serialize)]
struct Meta {}

/// Says goodbye also after an error, so that the server does not log a broken connection.
impl Drop for Client {
    fn drop(&mut self) {
        if self.socket.can_write() {
            self.socket.close(None).ok();
            self.socket.flush().ok();
        }
    }
}

/// One message of the server.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "UPPERCASE", expecting = "a map")]
pub struct Answer {
    /// The REID of the request, if it is a number as all of this client's are.
    #[serde(default, deserialize_with = "number_if_it_is_one")]
    pub reid: Option<u64>,
    /// The status, as in HTTP.
    pub rnum: i64,
    /// The status in words.
    #[serde(default)]
    pub response: Option<String>,
    /// The payload.
    #[serde(rename = "PAYL", default = "nil")]
    pub payload: Value,
    /// What the server wants to be known besides.
    #[serde(default)]
    pub warnings: Option<Vec<String>>,
}

/// Others may use any value as a REID, and their messages are no fault.
fn number_if_it_is_one<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Value::deserialize(from).map(|value| value.as_u64())
}

fn nil() -> Value {
    Value::Nil
}

impl Answer {
    /// Whether the request was carried out.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.rnum)
    }

    /// The status as a number and in words, fit for a terminal.
    pub fn status(&self) -> String {
        match &self.response {
            Some(response) => format!("{} {}", self.rnum, printable(response)),
            None => self.rnum.to_string(),
        }
    }
}

impl Client {
    /// Connects to `url` (`ws://host:port/path`); each request will carry `user` and `token`.
    pub fn connect(url: &str, user: &str, token: &str) -> Result<Self> {
        let (host, port) = host_and_port(url)?;
        let stream = open(&host, port).map_err(|error| cannot_connect(url, &error))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(CONNECT_MAX))?;
        stream.set_write_timeout(Some(CONNECT_MAX))?;
        let (socket, _) = tungstenite::client::client(url, stream)
            .map_err(|error| anyhow!("cannot connect to {url}: {}", handshake_fault(&error)))?;
        let now = now();
        Ok(Self {
            socket,
            url: url.to_owned(),
            user: user.to_owned(),
            token: token.to_owned(),
            next_reid: 0,
            heard: now,
            pinged: now,
        })
    }

    /// Sends a request and returns its REID.
    pub fn send(&mut self, verb: &str, path: &str, payload: &Value) -> Result<u64> {
        let reid = self.next_reid;
        self.next_reid += 1;
        let request = Request {
            reid,
            auth: Auth { user: &self.user, token: &self.token },
            verb,
            path: path.split('/').collect(),
            meta: Meta {},
            payload,
        };
        let request = rmp_serde::to_vec_named(&request)
            .with_context(|| format!("{verb} {}: cannot encode this", printable(path)))?;
        let sent = self.socket.send(Message::Binary(Bytes::from(request)));
        sent.map_err(|error| self.broken(error))?;
        Ok(reid)
    }

    /// Sends a request and waits for its answer; messages of other REIDs are passed over.
    pub fn call(&mut self, verb: &str, path: &str, payload: &Value) -> Result<Answer> {
        let reid = self.send(verb, path, payload)?;
        let deadline = now() + ANSWER_MAX;
        while let Some(wait) = deadline.checked_duration_since(now()) {
            if let Some(answer) = self.receive(wait)?
                && answer.reid == Some(reid)
            {
                return Ok(answer);
            }
        }
        Err(self.no_answer(verb, path))
    }

    /// The next message of the server, or none if there is none within `wait`, give or take the
    /// few milliseconds by which a socket wakes late.
    pub fn receive(&mut self, wait: Duration) -> Result<Option<Answer>> {
        // Zero would mean to wait for ever.
        let wait = wait.max(Duration::from_millis(1));
        self.socket.get_ref().set_read_timeout(Some(wait))?;
        let deadline = now() + wait;
        loop {
            let message = match self.socket.read() {
                Ok(message) => message,
                Err(tungstenite::Error::Io(error)) if is_timeout(&error) => return Ok(None),
                Err(error) => return Err(self.broken(error)),
            };
            self.heard = now();
            match message {
                Message::Binary(bytes) => {
                    return answer(&bytes).map(Some).with_context(|| {
                        format!("{} sent a message that cannot be read", self.url)
                    });
                }
                Message::Text(_) => bail!("{} sent text: it is no Lighthouse server", self.url),
                Message::Close(reason) => {
                    // The echo of the close frame is a courtesy and may come too late.
                    self.socket.flush().ok();
                    bail!("{} closed the connection{}", self.url, close_reason(reason.as_ref()));
                }
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
            if self.heard >= deadline {
                return Ok(None);
            }
        }
    }

    /// Asks a silent server for a sign of life, and fails when it gave none for too long.
    ///
    /// A picture that stands still looks the same as a cable that was pulled.
    pub fn check_alive(&mut self) -> Result<()> {
        let now = now();
        let silent = now.saturating_duration_since(self.heard);
        if silent > DEAD_AFTER {
            bail!("{} has been silent for {} s, pings included", self.url, silent.as_secs());
        }
        if silent > SILENCE_MAX && now.saturating_duration_since(self.pinged) > SILENCE_MAX {
            self.pinged = now;
            let sent = self.socket.send(Message::Ping(Bytes::new()));
            sent.map_err(|error| self.broken(error))?;
        }
        Ok(())
    }

    /// Says goodbye, and waits a moment for the server to do so too.
    pub fn close(mut self) {
        // The work is done: a server that does not close as it should is no error of ours.
        self.socket.get_ref().set_read_timeout(Some(CLOSE_MAX)).ok();
        self.socket.close(None).ok();
        let deadline = now() + CLOSE_MAX;
        while now() < deadline && self.socket.read().is_ok() {}
    }

    /// The error of a request that was not answered.
    pub fn no_answer(&self, verb: &str, path: &str) -> anyhow::Error {
        let (path, url, seconds) = (printable(path), &self.url, ANSWER_MAX.as_secs());
        anyhow!(
            "{verb} {path}: {url} did not answer within {seconds} s; is it a Lighthouse server?"
        )
    }

    /// The error of a request that was refused: what happened, where, and what to do.
    pub fn refusal(&self, verb: &str, path: &str, answer: &Answer) -> anyhow::Error {
        let said = said(answer);
        let (path, user) = (printable(path), printable(&self.user));
        match answer.rnum {
            401 => anyhow!(
                "{verb} {path}: {} does not accept user {user:?} with this token; \
                 name others with --user and --token ({said})",
                self.url
            ),
            403 => anyhow!(
                "{verb} {path}: user {user:?} may not do this; name a path of this user, \
                 as a rule user/{user}/model, or another user with --user and --token ({said})"
            ),
            404 if verb == "STREAM" => anyhow!(
                "{verb} {path}: there is no resource at this path; check its spelling, slashes \
                 included and none at the start, or make it with \
                 \"fanal demo --path {path}{}\" ({said})",
                self.url_option()
            ),
            404 => anyhow!(
                "{verb} {path}: this is no resource, but a directory, below a resource, or gone; \
                 name another path ({said})"
            ),
            _ => anyhow!("{verb} {path}: {} refused this ({said})", self.url),
        }
    }

    /// What a command has to be told to reach this server.
    fn url_option(&self) -> String {
        if self.url == super::URL { String::new() } else { format!(" --url {}", self.url) }
    }

    fn broken(&self, error: tungstenite::Error) -> anyhow::Error {
        match error {
            tungstenite::Error::Io(error) if is_timeout(&error) => {
                anyhow!("{} has stopped taking requests", self.url)
            }
            tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                anyhow!("{} went away without a goodbye; is it still running?", self.url)
            }
            error => anyhow!("the connection to {} broke: {error}", self.url),
        }
    }
}

/// The time. The one place of these commands that asks for it.
#[expect(
    clippy::disallowed_methods,
    reason = "a command in a terminal lives in real time; the broker's clock is not its"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// Text of somebody else without what a terminal would take for a command.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn said(answer: &Answer) -> String {
    let mut text = format!("the server said: {}", answer.status());
    for warning in answer.warnings.iter().flatten() {
        text.push_str("; ");
        text.push_str(&printable(warning));
    }
    text
}

fn host_and_port(url: &str) -> Result<(String, u16)> {
    const EXAMPLE: &str = "ws://127.0.0.1:3000/websocket";
    let uri: Uri = url
        .parse()
        .with_context(|| format!("--url {url:?} is not an address; it looks like {EXAMPLE}"))?;
    match uri.scheme_str() {
        Some("ws") => {}
        Some("wss") => bail!(
            "--url {url}: this command speaks ws:// only, not TLS; \
             name the server behind the TLS proxy, such as {EXAMPLE}, or tunnel to it"
        ),
        _ => bail!("--url {url:?} does not begin with ws://; it looks like {EXAMPLE}"),
    }
    let host = uri.host().with_context(|| format!("--url {url:?} names no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), uri.port_u16().unwrap_or(80)))
}

fn open(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_MAX) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn cannot_connect(url: &str, error: &io::Error) -> anyhow::Error {
    // The kind of a system's error reads well without its number.
    let is_of_system = error.raw_os_error().is_some();
    let cause = if is_of_system { error.kind().to_string() } else { error.to_string() };
    anyhow!(
        "cannot connect to {url}: {cause}; start the server with \"fanal\" \
         or name another with --url"
    )
}

fn handshake_fault<R: tungstenite::handshake::HandshakeRole>(error: &HandshakeError<R>) -> String {
    match error {
        HandshakeError::Interrupted(_) => {
            format!("no answer to the handshake within {} s", CONNECT_MAX.as_secs())
        }
        HandshakeError::Failure(tungstenite::Error::Http(answer)) => format!(
            "it speaks HTTP, but answered {} instead of opening a WebSocket; \
             the path of the address is usually /websocket",
            answer.status()
        ),
        HandshakeError::Failure(error) => {
            format!("{error}; is there a Lighthouse server at this address?")
        }
    }
}

fn close_reason(reason: Option<&CloseFrame>) -> String {
    let Some(reason) = reason else { return String::new() };
    let code = u16::from(reason.code);
    let text = printable(&reason.reason);
    let colon = if text.is_empty() { "" } else { ": " };
    let advice = match reason.code {
        CloseCode::Away | CloseCode::Restart => {
            "; the server is stopping, start this command again when it is back"
        }
        _ => "",
    };
    format!(" (code {code}{colon}{text}){advice}")
}

fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

fn answer(bytes: &[u8]) -> Result<Answer> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    reader.set_max_depth(DEPTH_MAX);
    Answer::deserialize(&mut reader).map_err(|error| match error {
        rmp_serde::decode::Error::DepthLimitExceeded => {
            anyhow!("it nests arrays and maps {DEPTH_MAX} deep or deeper; this reads fewer levels")
        }
        error => error.into(),
    })
}

#[cfg(test)]
pub(super) mod fake_server {
    //! A server that follows a script, for the tests of the commands.

    use std::net::TcpListener;
    use std::sync::Arc;
    use std::thread;

    use parking_lot::Mutex;

    use super::*;

    /// How the server answers.
    #[derive(Clone)]
    pub struct Script {
        pub post: i64,
        pub put: i64,
        /// Status and payload of the answer to STREAM and of the updates that follow at once.
        pub stream: Vec<(i64, Value)>,
    }

    impl Default for Script {
        fn default() -> Self {
            Self { post: 201, put: 200, stream: Vec::new() }
        }
    }

    pub struct Request {
        pub reid: Value,
        pub auth: Value,
        pub verb: String,
        pub path: String,
        pub payload: Value,
    }

    pub struct FakeServer {
        pub url: String,
        pub requests: Arc<Mutex<Vec<Request>>>,
    }

    impl FakeServer {
        pub fn start(script: Script) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("ws://{}/websocket", listener.local_addr().unwrap());
            let requests = Arc::default();
            let seen = Arc::clone(&requests);
            thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    serve(tungstenite::accept(stream).unwrap(), &script, &seen);
                }
            });
            Self { url, requests }
        }
    }

    fn serve(mut socket: WebSocket<TcpStream>, script: &Script, seen: &Mutex<Vec<Request>>) {
        while let Ok(message) = socket.read() {
            let Message::Binary(bytes) = message else { continue };
            let request = read(&bytes);
            let answers = match request.verb.as_str() {
                "POST" => vec![(script.post, Value::Nil)],
                "PUT" => vec![(script.put, Value::Nil)],
                "STREAM" => script.stream.clone(),
                _ => vec![(405, Value::Nil)],
            };
            for (rnum, payload) in answers {
                let answer = write(request.reid.clone(), rnum, payload);
                // The client may have seen enough before the end of the script.
                socket.send(Message::Binary(answer.into())).ok();
            }
            seen.lock().push(request);
        }
    }

    /// Reads a request without serde, and with it every key that it must have.
    fn read(mut bytes: &[u8]) -> Request {
        let request = rmpv::decode::read_value(&mut bytes).unwrap();
        assert!(bytes.is_empty());
        let Value::Map(entries) = request else { panic!("{request} is no map") };
        let (keys, values): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        assert_eq!(keys, ["REID", "AUTH", "VERB", "PATH", "META", "PAYL"].map(Value::from));
        let [reid, auth, verb, path, meta, payload] = values.try_into().unwrap();
        assert_eq!(meta, Value::Map(Vec::new()));
        let names = path.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        let path = names.collect::<Vec<_>>().join("/");
        Request { reid, auth, verb: verb.as_str().unwrap().to_owned(), path, payload }
    }

    pub fn write(reid: Value, rnum: i64, payload: Value) -> Vec<u8> {
        let warnings = if rnum >= 400 { vec!["a warning".into()] } else { Vec::new() };
        let answer = map([
            ("REID", reid),
            ("RNUM", rnum.into()),
            ("RESPONSE", "as scripted".into()),
            ("PAYL", payload),
            ("WARNINGS", Value::Array(warnings)),
        ]);
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, &answer).unwrap();
        bytes
    }

    pub fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
        Value::Map(entries.map(|(key, value)| (key.into(), value)).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect_error(url: &str) -> String {
        Client::connect(url, "user", "token").err().unwrap().to_string()
    }

    /// An answer to request 7 whose payload is these bytes, whole or not.
    fn raw(payload: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x83\xa4REID\x07\xa4RNUM\xcc\xc8\xa4PAYL".to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        let payload = fake_server::map([("a", 256.into()), ("b", vec![0, 159, 146, 150].into())]);
        let bytes = fake_server::write(7.into(), 404, payload.clone());
        let expect = Answer {
            reid: Some(7),
            rnum: 404,
            response: Some("as scripted".to_owned()),
            payload,
            warnings: Some(vec!["a warning".to_owned()]),
        };
        assert_eq!(answer(&bytes).unwrap(), expect);
        for end in 0..bytes.len() {
            assert!(answer(&bytes[..end]).is_err(), "cut after {end} bytes");
        }
    }

    #[test]
    fn of_an_answer_only_the_status_is_required() {
        let answer_of = |bytes: &[u8]| answer(bytes).map_err(|error| error.to_string());
        let least =
            Answer { reid: None, rnum: 200, response: None, payload: Value::Nil, warnings: None };
        assert_eq!(answer_of(b"\x81\xa4RNUM\xcc\xc8").unwrap(), least);
        // A REID of somebody else's kind, nil where others leave a key out, and a new key.
        let other = b"\x85\xa4REID\xa1x\xa4RNUM\xcc\xc8\xa8RESPONSE\xc0\xa8WARNINGS\xc0\xa3NEW\x01";
        assert_eq!(answer_of(other).unwrap(), least);
        assert_eq!(answer_of(b"\x81\xa4REID\x07").unwrap_err(), "missing field `RNUM`");
        let error = answer_of(b"\x07").unwrap_err();
        assert_eq!(error, "invalid type: integer `7`, expected a map");
    }

    #[test]
    fn nesting_beyond_the_limit_is_an_error_and_not_the_end_of_the_stack() {
        // The message itself is the first of the levels.
        let check = |levels: usize, is_read: bool| {
            let payloads = [vec![0x91; levels - 1], [0x81, 0xc0].repeat(levels - 1)];
            // Maps that are keys of maps, each with nil as its value.
            let keys = [vec![0x81; levels - 1], vec![0xc0; levels - 1]].concat();
            for mut payload in payloads.into_iter().chain([keys]) {
                payload.push(0xc0);
                let error = answer(&raw(&payload)).err().map(|error| error.to_string());
                assert_eq!(error.is_none(), is_read, "{levels} levels: {error:?}");
                assert!(
                    error
                        .is_none_or(|error| error.starts_with("it nests arrays and maps 128 deep"))
                );
            }
        };
        check(DEPTH_MAX - 1, true);
        check(DEPTH_MAX, false);
        check(1_000_000, false);
        let unknown_key = [b"\x82\xa4RNUM\xcc\xc8\xa3NEW".as_slice(), &[0x91; 10_000]].concat();
        assert!(answer(&unknown_key).is_err());
    }

    #[test]
    fn a_claimed_size_costs_nothing() {
        for claim in [0xc6, 0xc9, 0xdb, 0xdd, 0xdf] {
            assert!(answer(&raw(&[claim, 0xff, 0xff, 0xff, 0xff, 0xc0])).is_err(), "{claim:#x}");
        }
    }

    #[test]
    fn a_refused_connection_says_how_to_get_a_server() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = format!("ws://{free}/websocket");
        let expect = format!(
            "cannot connect to {url}: connection refused; \
             start the server with \"fanal\" or name another with --url"
        );
        assert_eq!(connect_error(&url), expect);
    }

    #[test]
    fn addresses_that_cannot_work_are_explained() {
        let check = |url, expect: &str| {
            let error = connect_error(url);
            assert!(error.contains(expect), "{url}: {error}");
        };
        check("wss://lighthouse.example/websocket", "not TLS");
        check("http://127.0.0.1:3000", "does not begin with ws://");
        check("127.0.0.1:3000", "ws://127.0.0.1:3000/websocket");
        check("", "ws://127.0.0.1:3000/websocket");
        assert_eq!(host_and_port("ws://[::1]:3000/w").unwrap(), ("::1".to_owned(), 3000));
        assert_eq!(host_and_port("ws://house/w").unwrap(), ("house".to_owned(), 80));
    }

    #[test]
    fn text_of_others_cannot_command_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\u{9b}c\nd"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
    }
}
