//! A small blocking Lighthouse client, for the commands that look at a running server.
//!
//! One socket, one thread. A payload is any MessagePack value: a stream may carry anything, and
//! what this client does not understand it can still describe. None of it is the broker's protocol
//! code, so that a mistake in that one cannot hide behind the same mistake here.

pub mod failure;
pub mod messages;
pub mod target;
mod transport;
mod words;

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rmpv::Value;
use serde::{Deserialize, Deserializer, Serialize};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Bytes, Message, WebSocket};

use failure::{Failure, Kind};
use messages::Scan;
use target::Target;
pub use transport::Address;
use transport::Transport;
use words::{cannot_connect, close_reason, handshake_fault, unreachable};

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
/// An answer with so many arrays and maps inside one another is not read: a listing has a level for
/// each name of a path, of which a server takes 256. Each level takes up to 4 KiB of stack when
/// nothing is optimised, and the smallest stack in use is 2 MiB.
const DEPTH_MAX: usize = 288;

/// A connection to a Lighthouse server.
pub struct Client {
    wire: Wire,
    target: Target,
    /// The REID of the next request.
    next_reid: u64,
    /// When the server last sent anything, a pong included.
    heard: Instant,
    /// When it was last asked for a pong.
    pinged: Instant,
}

/// How messages travel.
enum Wire {
    WebSocket(Box<WebSocket<Transport>>),
    /// Back to back; the bytes of the next one that are there already, and how far they were looked
    /// at.
    Stream(Transport, Vec<u8>, Scan),
}

/// A request as it goes over the wire.
#[derive(Serialize)]
#[serde(rename_all = "UPPERCASE")]
struct Request<'a> {
    reid: u64,
    auth: Auth<'a>,
    verb: &'a str,
    path: Vec<&'a str>,
    meta: &'a Value,
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
pub const NO_META: Value = Value::Map(Vec::new());

/// Says goodbye also after an error, so that the server does not log a broken connection.
impl Drop for Client {
    fn drop(&mut self) {
        match &mut self.wire {
            Wire::WebSocket(socket) if socket.can_write() => {
                socket.close(None).ok();
                socket.flush().ok();
            }
            Wire::WebSocket(_) => {}
            Wire::Stream(transport, ..) => transport.finish(),
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
    /// Connects; each request will carry the user and the token.
    ///
    /// # Errors
    /// If that fails, with what to do.
    pub fn connect(target: &Target) -> Result<Self> {
        let address =
            Address::read(&target.url).map_err(|error| Failure::of(Kind::Usage, &error))?;
        let transport = Transport::open(&address, target)
            .map_err(|error| cannot_connect(&target.url, error))?;
        let wire = match address {
            Address::WebSocket { .. } => {
                let config = WebSocketConfig::default()
                    .max_frame_size(Some(messages::BYTES_MAX))
                    .max_message_size(Some(messages::BYTES_MAX));
                let shaken = tungstenite::client::client_with_config(
                    target.url.as_str(),
                    transport,
                    Some(config),
                );
                let (socket, _) = shaken.map_err(|error| {
                    let fault = handshake_fault(&error);
                    unreachable(format!("cannot connect to {}: {fault}", target.url))
                })?;
                Wire::WebSocket(Box::new(socket))
            }
            Address::Tcp { .. } | Address::Unix { .. } => {
                Wire::Stream(transport, Vec::new(), Scan::default())
            }
        };
        let now = now();
        Ok(Self { wire, target: target.clone(), next_reid: 0, heard: now, pinged: now })
    }

    /// Sends a request and returns its REID.
    ///
    /// # Errors
    /// If the connection is broken.
    pub fn send(&mut self, verb: &str, path: &str, payload: &Value) -> Result<u64> {
        self.send_with(verb, path, &NO_META, payload)
    }

    /// The same with options.
    ///
    /// # Errors
    /// If the connection is broken.
    pub fn send_with(
        &mut self,
        verb: &str,
        path: &str,
        meta: &Value,
        payload: &Value,
    ) -> Result<u64> {
        let reid = self.next_reid;
        self.next_reid += 1;
        let names = names(path);
        let auth = Auth { user: &self.target.user, token: &self.target.token };
        let request = Request { reid, auth, verb, path: names, meta, payload };
        let request = rmp_serde::to_vec_named(&request)
            .with_context(|| format!("{verb} {}: cannot encode this", printable(path)))?;
        let sent = match &mut self.wire {
            Wire::WebSocket(socket) => socket.send(Message::Binary(Bytes::from(request))),
            Wire::Stream(transport, ..) => transport.write_all(&request).map_err(Into::into),
        };
        sent.map_err(|error| self.broken(error))?;
        Ok(reid)
    }

    /// Sends a request and waits for its answer; messages of other REIDs are passed over.
    ///
    /// # Errors
    /// If the connection breaks, or there is no answer.
    pub fn call(&mut self, verb: &str, path: &str, payload: &Value) -> Result<Answer> {
        self.call_with(verb, path, &NO_META, payload)
    }

    /// The same with options.
    ///
    /// # Errors
    /// If the connection breaks, or there is no answer.
    pub fn call_with(
        &mut self,
        verb: &str,
        path: &str,
        meta: &Value,
        payload: &Value,
    ) -> Result<Answer> {
        let reid = self.send_with(verb, path, meta, payload)?;
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

    /// Sends a request and expects that it is carried out.
    ///
    /// # Errors
    /// If it is not, with what to do.
    pub fn carry_out(
        &mut self,
        verb: &str,
        path: &str,
        meta: &Value,
        payload: &Value,
    ) -> Result<Answer> {
        let answer = self.call_with(verb, path, meta, payload)?;
        if answer.is_success() { Ok(answer) } else { Err(self.refusal(verb, path, &answer)) }
    }

    /// The next message of the server, or none if there is none within `wait`, give or take the
    /// few milliseconds by which a socket wakes late.
    ///
    /// # Errors
    /// If the connection breaks, or what comes cannot be read.
    pub fn receive(&mut self, wait: Duration) -> Result<Option<Answer>> {
        // Zero would mean to wait for ever.
        let wait = wait.max(Duration::from_millis(1));
        let deadline = now() + wait;
        match &mut self.wire {
            Wire::WebSocket(socket) => socket.get_mut().set_read_timeout(wait)?,
            Wire::Stream(transport, ..) => transport.set_read_timeout(wait)?,
        }
        loop {
            let message = match &mut self.wire {
                Wire::WebSocket(socket) => socket.read(),
                Wire::Stream(transport, buffer, scan) => read_stream(transport, buffer, scan),
            };
            let message = match message {
                Ok(message) => message,
                Err(tungstenite::Error::Io(error)) if is_timeout(&error) => return Ok(None),
                Err(error) => return Err(self.broken(error)),
            };
            self.heard = now();
            let url = &self.target.url;
            match message {
                Message::Binary(bytes) => {
                    return answer(&bytes)
                        .map(Some)
                        .with_context(|| format!("{url} sent a message that cannot be read"));
                }
                Message::Text(_) => bail!("{url} sent text: it is no Lighthouse server"),
                Message::Close(reason) => {
                    let reason = close_reason(reason.as_ref());
                    let text = format!("{url} closed the connection{reason}");
                    if let Wire::WebSocket(socket) = &mut self.wire {
                        // The echo of the close frame is a courtesy and may come too late.
                        socket.flush().ok();
                    }
                    return Err(unreachable(text));
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
    /// A picture that stands still looks the same as a cable that was pulled. Only a WebSocket
    /// has a question that every server answers.
    ///
    /// # Errors
    /// If it is dead.
    pub fn check_alive(&mut self) -> Result<()> {
        let Wire::WebSocket(socket) = &mut self.wire else { return Ok(()) };
        let now = now();
        let silent = now.saturating_duration_since(self.heard);
        if silent > DEAD_AFTER {
            let (url, seconds) = (&self.target.url, silent.as_secs());
            return Err(unreachable(format!(
                "{url} has been silent for {seconds} s, pings included"
            )));
        }
        if silent > SILENCE_MAX && now.saturating_duration_since(self.pinged) > SILENCE_MAX {
            self.pinged = now;
            let sent = socket.send(Message::Ping(Bytes::new()));
            sent.map_err(|error| self.broken(error))?;
        }
        Ok(())
    }

    /// Says goodbye, and waits a moment for the server to do so too.
    pub fn close(mut self) {
        // The work is done: a server that does not close as it should is no error of ours.
        let Wire::WebSocket(socket) = &mut self.wire else { return };
        socket.get_mut().set_read_timeout(CLOSE_MAX).ok();
        socket.close(None).ok();
        let deadline = now() + CLOSE_MAX;
        while now() < deadline && socket.read().is_ok() {}
    }
}

/// The names of a path; a slash alone, or nothing, is the root.
fn names(path: &str) -> Vec<&str> {
    match path.trim_matches('/') {
        "" => Vec::new(),
        inner => inner.split('/').collect(),
    }
}

/// The next of the messages that come back to back.
fn read_stream(
    transport: &mut Transport,
    buffer: &mut Vec<u8>,
    scan: &mut Scan,
) -> Result<Message, tungstenite::Error> {
    let strange = |error: anyhow::Error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut chunk = vec![0; 64 * 1024];
    loop {
        if let Some(end) = scan.length(buffer).map_err(strange)? {
            *scan = Scan::default();
            let rest = buffer.split_off(end);
            return Ok(Message::Binary(std::mem::replace(buffer, rest).into()));
        }
        match transport.read(&mut chunk)? {
            0 => return Err(tungstenite::Error::ConnectionClosed),
            count => buffer.extend_from_slice(chunk.get(..count).unwrap_or_default()),
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

    use std::net::{TcpListener, TcpStream};
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
        pub target: Target,
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
            let (user, token) = ("demo".to_owned(), "token".to_owned());
            Self { target: Target { url, user, token, ..Target::default() }, requests }
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
        let target = Target { url: url.to_owned(), ..Target::default() };
        Client::connect(&target).err().unwrap().to_string()
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
                        .is_none_or(|error| error.starts_with("it nests arrays and maps 288 deep"))
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
    fn text_of_others_cannot_command_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\u{9b}c\nd"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
    }
}
