//! A blocking client on a bare socket. Comfortable for requests, free to misbehave below them.
//!
//! It reads only when asked: not to read is to be a slow client. Every wait ends after the client's
//! patience with a panic that says what was awaited.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::PATIENCE;
use super::message::{Answer, Request, hex, int};
use super::websocket::{
    BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT, WireFrame, has_frame, take_frame,
};

/// The nonce of RFC 6455's example, and what the server has to answer to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// How a client connects and who it is.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    pub user: String,
    pub token: String,
    pub path: String,
    /// Further header lines of the handshake, without line ends.
    pub headers: Vec<String>,
    /// Sent before the handshake, as a proxy does.
    pub preamble: Vec<u8>,
    /// Set before connecting, so that it bounds the window that the server sees.
    pub receive_buffer_bytes: Option<usize>,
    /// Whether `next_frame` answers pings by itself.
    pub answer_pings: bool,
    /// How long each wait may take.
    pub patience: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            user: "u".to_owned(),
            token: "t".to_owned(),
            path: "/websocket".to_owned(),
            headers: Vec::new(),
            preamble: Vec::new(),
            receive_buffer_bytes: None,
            answer_pings: true,
            patience: PATIENCE,
        }
    }
}

impl ClientOptions {
    pub fn user(mut self, user: &str, token: &str) -> Self {
        (self.user, self.token) = (user.to_owned(), token.to_owned());
        self
    }

    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    pub fn header(mut self, line: &str) -> Self {
        self.headers.push(line.to_owned());
        self
    }

    pub fn preamble(mut self, bytes: &[u8]) -> Self {
        bytes.clone_into(&mut self.preamble);
        self
    }

    pub fn receive_buffer_bytes(mut self, bytes: usize) -> Self {
        self.receive_buffer_bytes = Some(bytes);
        self
    }

    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    pub fn ignore_pings(mut self) -> Self {
        self.answer_pings = false;
        self
    }
}

/// A connection to the server.
pub struct Client {
    stream: TcpStream,
    options: ClientOptions,
    received: Vec<u8>,
    /// The fragments so far of a message that is not complete.
    fragments: Option<(u8, Vec<u8>)>,
    /// Answers read while another one was awaited.
    set_aside: VecDeque<Answer>,
    next_reid: i64,
    ended: bool,
}

impl Client {
    /// Connects; panics if the server does not upgrade.
    pub fn connect(port: u16, options: ClientOptions) -> Self {
        match Self::try_connect(port, options) {
            Ok(client) => client,
            Err(answer) => panic!("no upgrade, but:\n{answer}"),
        }
    }

    /// Connects, or returns the HTTP answer that came in place of the upgrade, headers and body;
    /// empty if the server just closed.
    pub fn try_connect(port: u16, options: ClientOptions) -> Result<Self, String> {
        let mut stream = open(port, options.receive_buffer_bytes, options.patience);
        let mut request = format!(
            "GET {} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n",
            options.path
        );
        for line in &options.headers {
            request += &format!("{line}\r\n");
        }
        stream.write_all(&options.preamble).expect("a preamble can be sent");
        stream.write_all(format!("{request}\r\n").as_bytes()).expect("the handshake can be sent");
        let mut received = Vec::new();
        let head_end = loop {
            if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if read_some(&mut stream, &mut received, "the answer to the handshake") == 0 {
                return Err(String::from_utf8_lossy(&received).into_owned());
            }
        };
        let head = String::from_utf8_lossy(&received[..head_end]).into_owned();
        if !head.starts_with("HTTP/1.1 101 ") {
            let whole = head_end + content_length(&head);
            let what = "the body of the answer to the handshake";
            while received.len() < whole && read_some(&mut stream, &mut received, what) > 0 {}
            return Err(String::from_utf8_lossy(&received).into_owned());
        }
        assert!(head.contains(ACCEPT), "no Sec-WebSocket-Accept in:\n{head}");
        received.drain(..head_end);
        Ok(Client {
            stream,
            options,
            received,
            fragments: None,
            set_aside: VecDeque::new(),
            next_reid: 1,
            ended: false,
        })
    }

    /// Sends a request and waits for its answer. What else comes is kept for `next_answer`.
    pub fn request(&mut self, verb: &str, path: &[&str], payl: impl Into<Vec<u8>>) -> Answer {
        let reid = self.send(verb, path, payl);
        let what = format!("the answer to {verb} {path:?}");
        loop {
            let answer = self.read_answer(&what);
            if answer.reid == reid {
                return answer;
            }
            self.set_aside.push_back(answer);
        }
    }

    /// Like `request`, and panics unless the answer has this RNUM.
    pub fn expect(
        &mut self,
        verb: &str,
        path: &[&str],
        payl: impl Into<Vec<u8>>,
        rnum: i64,
    ) -> Answer {
        let answer = self.request(verb, path, payl);
        assert_eq!(answer.rnum, rnum, "{verb} {path:?}: {answer:?}");
        answer
    }

    /// Sends a request with a REID of its own, which it returns, and waits for nothing.
    pub fn send(&mut self, verb: &str, path: &[&str], payl: impl Into<Vec<u8>>) -> Vec<u8> {
        let reid = int(self.next_reid);
        self.next_reid += 1;
        let request = Request::new(verb, path).reid(reid.clone()).payl(payl);
        let request = request.user(&self.options.user, &self.options.token);
        self.send_message(&request.encode());
        reid
    }

    /// Sends a request as it is.
    pub fn send_request(&mut self, request: &Request) {
        self.send_message(&request.encode());
    }

    /// Sends these requests in one write.
    pub fn send_all<'r>(&mut self, requests: impl IntoIterator<Item = &'r Request>) {
        let mut bytes = Vec::new();
        for request in requests {
            bytes.extend(WireFrame::new(BINARY, request.encode()).encode());
        }
        self.send_raw(&bytes);
    }

    /// Sends these bytes as a binary message.
    pub fn send_message(&mut self, message: &[u8]) {
        self.send_frame(&WireFrame::new(BINARY, message));
    }

    pub fn send_frame(&mut self, frame: &WireFrame) {
        self.send_raw(&frame.encode());
    }

    /// Sends bytes that need not be a frame. Panics if the server does not take them in time.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let sent = self.stream.write_all(bytes);
        sent.unwrap_or_else(|error| panic!("sending {} failed: {error}", hex(bytes)));
    }

    /// Sends like `send_raw`, and returns whether the connection took it: a server that closes may
    /// do so at any time.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Writes these bytes again and again until nothing can be written for `quiet`, or until
    /// `bytes_max`; returns how many bytes were taken. A last repetition may be incomplete, so
    /// nothing sensible can be sent afterwards.
    pub fn send_until_blocked(&mut self, bytes: &[u8], bytes_max: usize, quiet: Duration) -> usize {
        self.stream.set_write_timeout(Some(quiet)).expect("a timeout can be set");
        let mut taken = 0;
        while taken < bytes_max {
            match self.stream.write(&bytes[taken % bytes.len()..]) {
                Ok(count) => taken += count,
                Err(error) if is_timeout(error.kind()) => break,
                Err(error) => panic!("sending failed after {taken} bytes: {error}"),
            }
        }
        self.stream.set_write_timeout(Some(self.options.patience)).expect("a timeout can be set");
        taken
    }

    /// The next answer or update, in the order in which they came.
    pub fn next_answer(&mut self) -> Answer {
        match self.set_aside.pop_front() {
            Some(answer) => answer,
            None => self.read_answer("an answer or an update"),
        }
    }

    /// Waits for the last message of a stream, after any updates, and panics unless it has this
    /// RNUM.
    #[track_caller]
    pub fn expect_end_of_stream(&mut self, rnum: i64) {
        loop {
            let answer = self.next_answer();
            if answer.rnum != 200 {
                assert_eq!(answer.rnum, rnum, "{answer:?}");
                return;
            }
        }
    }

    /// The next whole message, control frame or end, as it comes from the socket. Pings are
    /// answered unless the options say otherwise, and returned.
    pub fn next_frame(&mut self) -> Frame {
        self.read_frame("a frame")
    }

    /// The next frame, as `next_frame` returns it, if it comes within this time.
    pub fn frame_within(&mut self, time: Duration) -> Option<Frame> {
        let until = Instant::now() + time;
        while !has_frame(&self.received) {
            let left = until.saturating_duration_since(Instant::now());
            match self.take_within(left, 64 * 1024) {
                None => return None,
                Some(0) => break,
                Some(_) => {}
            }
        }
        Some(self.read_frame("a frame"))
    }

    /// Takes at most so many bytes off the socket if some come within this time, whatever they are
    /// a part of, and answers nothing. 0 is the end of the connection.
    pub fn take_within(&mut self, time: Duration, bytes_max: usize) -> Option<usize> {
        // No time at all would be read as any time.
        let time = time.max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(time)).expect("a timeout can be set");
        let mut buffer = vec![0; bytes_max];
        let outcome = self.stream.read(&mut buffer);
        self.stream.set_read_timeout(Some(self.options.patience)).expect("a timeout can be set");
        match outcome {
            Ok(count) => self.received.extend(&buffer[..count]),
            Err(error) if is_timeout(error.kind()) => return None,
            Err(_) => {}
        }
        Some(outcome.unwrap_or(0))
    }

    /// Reads until the connection ends and returns the close code, `None` without a close frame.
    pub fn wait_for_close(&mut self) -> Option<u16> {
        loop {
            if let Frame::Closed { code, .. } = self.read_frame("the end of the connection") {
                return code;
            }
        }
    }

    /// Sends a ping and waits for its pong. All that the server had to say to requests that it has
    /// read comes before it and is returned.
    pub fn barrier(&mut self) -> Vec<Answer> {
        self.send_frame(&WireFrame::new(PING, *b"barrier"));
        let mut before: Vec<Answer> = self.set_aside.drain(..).collect();
        loop {
            match self.read_frame("the pong of a barrier") {
                Frame::Pong(bytes) if bytes == b"barrier" => return before,
                Frame::Message(message) => before.push(Answer::parse(&message)),
                Frame::Ping(_) | Frame::Pong(_) => {}
                other => panic!("awaited the pong of a barrier, got {other:?}"),
            }
        }
    }

    /// The closing handshake from our side; returns the code that the server answers with.
    pub fn close(mut self, code: u16) -> Option<u16> {
        self.send_frame(&WireFrame::new(CLOSE, code.to_be_bytes()));
        self.wait_for_close()
    }

    /// Ends the connection with a reset in place of an orderly end.
    pub fn reset(self) {
        let socket = SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("a socket option can be set");
    }

    /// Says that nothing more will be sent; reading goes on. No matter if the server was faster and
    /// has ended the connection.
    pub fn finish_sending(&mut self) {
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// The bare socket behind the handshake, with what has come behind it.
    pub fn into_stream(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.received)
    }

    fn read_answer(&mut self, what: &str) -> Answer {
        loop {
            match self.read_frame(what) {
                Frame::Message(message) => return Answer::parse(&message),
                Frame::Ping(_) | Frame::Pong(_) => {}
                other => panic!("awaited {what}, got {other:?}"),
            }
        }
    }

    fn read_frame(&mut self, what: &str) -> Frame {
        assert!(!self.ended, "awaited {what} on a connection that has ended");
        loop {
            let Some(frame) = take_frame(&mut self.received) else {
                if read_some(&mut self.stream, &mut self.received, what) == 0 {
                    self.ended = true;
                    return Frame::Closed { code: None, reason: String::new() };
                }
                continue;
            };
            match frame.opcode {
                TEXT | BINARY => {
                    assert!(self.fragments.is_none(), "a message inside a fragmented one");
                    if frame.fin {
                        return whole(frame.opcode, frame.payload);
                    }
                    self.fragments = Some((frame.opcode, frame.payload));
                }
                CONTINUATION => {
                    let (opcode, mut message) =
                        self.fragments.take().expect("a continuation continues something");
                    message.extend(frame.payload);
                    if frame.fin {
                        return whole(opcode, message);
                    }
                    self.fragments = Some((opcode, message));
                }
                PING => {
                    if self.options.answer_pings {
                        self.send_frame(&WireFrame::new(PONG, frame.payload.clone()));
                    }
                    return Frame::Ping(frame.payload);
                }
                PONG => return Frame::Pong(frame.payload),
                CLOSE => return self.end(frame.payload),
                other => panic!("awaited {what}, got a frame with opcode {other}"),
            }
        }
    }

    /// A close frame came: echo it, as the server may wait for that, and see the connection end.
    fn end(&mut self, payload: Vec<u8>) -> Frame {
        self.ended = true;
        // The server may have closed already, or we may have sent the first close frame.
        self.try_send_raw(&WireFrame::new(CLOSE, payload.clone()).encode());
        while read_some(&mut self.stream, &mut self.received, "the end after a close frame") > 0 {}
        match payload.split_first_chunk() {
            Some((code, reason)) => Frame::Closed {
                code: Some(u16::from_be_bytes(*code)),
                reason: String::from_utf8(reason.to_vec()).expect("a close reason is UTF-8"),
            },
            None => Frame::Closed { code: Some(1005), reason: String::new() },
        }
    }
}

/// Sends these bytes and returns all that comes until the server closes; for plain HTTP, whose
/// request should ask for `Connection: close`.
pub fn http(port: u16, request: &str) -> String {
    let mut stream = open(port, None, PATIENCE);
    stream.write_all(request.as_bytes()).expect("the request can be sent");
    let mut received = Vec::new();
    while read_some(&mut stream, &mut received, "the end of the HTTP answer") > 0 {}
    String::from_utf8_lossy(&received).into_owned()
}

fn content_length(head: &str) -> usize {
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.map_or(0, |length| length.parse().expect("a length is a number"))
}

fn whole(opcode: u8, message: Vec<u8>) -> Frame {
    if opcode == TEXT { Frame::Text(message) } else { Frame::Message(message) }
}

fn open(port: u16, receive_buffer_bytes: Option<usize>, patience: Duration) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
    if let Some(bytes) = receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes).expect("a socket option can be set");
    }
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    socket.connect_timeout(&address.into(), PATIENCE).expect("the server accepts connections");
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).expect("a socket option can be set");
    stream.set_read_timeout(Some(patience)).expect("a timeout can be set");
    stream.set_write_timeout(Some(patience)).expect("a timeout can be set");
    stream
}

/// Reads what there is, at least a byte; 0 is the end of the connection, orderly or not.
fn read_some(stream: &mut TcpStream, received: &mut Vec<u8>, what: &str) -> usize {
    let mut buffer = [0; 64 * 1024];
    match stream.read(&mut buffer) {
        Ok(count) => {
            received.extend(&buffer[..count]);
            count
        }
        Err(error) if is_timeout(error.kind()) => {
            let patience = stream.read_timeout().ok().flatten().unwrap_or(PATIENCE);
            panic!("awaited {what} for {patience:?} in vain; unread: {}", hex(received))
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => read_some(stream, received, what),
        Err(_) => 0,
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
