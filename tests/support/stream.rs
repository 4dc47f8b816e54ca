//! A client of the doors without frames: messages back to back on a stream of bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::PATIENCE;
use super::message::{Answer, Request, hex, int};

/// A connected socket, of whatever kind.
pub trait Socket: Read + Write + Send {
    /// Says that nothing more will be sent. No matter if the server was faster and has ended the
    /// connection.
    fn finish_sending(&mut self);

    /// Another handle of it, to write while another thread reads.
    fn another(&self) -> Box<dyn Socket>;
}

impl Socket for TcpStream {
    fn finish_sending(&mut self) {
        drop(self.shutdown(Shutdown::Write));
    }

    fn another(&self) -> Box<dyn Socket> {
        Box::new(self.try_clone().expect("a socket can have a second handle"))
    }
}

impl Socket for UnixStream {
    fn finish_sending(&mut self) {
        drop(self.shutdown(Shutdown::Write));
    }

    fn another(&self) -> Box<dyn Socket> {
        Box::new(self.try_clone().expect("a socket can have a second handle"))
    }
}

/// A connection on which messages stand back to back. It reads only when asked.
pub struct StreamClient {
    socket: Box<dyn Socket>,
    received: Vec<u8>,
    next_reid: i64,
}

impl StreamClient {
    pub fn tcp(port: u16) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).expect("the tcp door is open");
        socket.set_nodelay(true).expect("a socket option can be set");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        socket.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Self::new(Box::new(socket))
    }

    pub fn unix(path: &Path) -> Self {
        Self::try_unix(path).expect("the unix door is open")
    }

    /// Connects if there is a server.
    pub fn try_unix(path: &Path) -> Option<Self> {
        let socket = UnixStream::connect(path).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        socket.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Some(Self::new(Box::new(socket)))
    }

    fn new(socket: Box<dyn Socket>) -> Self {
        StreamClient { socket, received: Vec::new(), next_reid: 1 }
    }

    /// Another handle of the socket, to write while another thread reads.
    pub fn writer(&self) -> Box<dyn Socket> {
        self.socket.another()
    }

    /// Sends bytes. Panics if the server does not take them in time.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let sent = self.socket.write_all(bytes);
        sent.unwrap_or_else(|error| panic!("sending {} failed: {error}", hex(bytes)));
    }

    pub fn send(&mut self, request: &Request) {
        self.send_raw(&request.encode());
    }

    /// Sends a request and waits for its answer, which has to have this RNUM.
    #[track_caller]
    pub fn expect(
        &mut self,
        verb: &str,
        path: &[&str],
        payl: impl Into<Vec<u8>>,
        rnum: i64,
    ) -> Answer {
        let reid = int(self.next_reid);
        self.next_reid += 1;
        let request = Request::new(verb, path).reid(reid.clone()).payl(payl);
        self.send_raw(&request.encode());
        let answer = self.next_answer();
        assert_eq!((answer.rnum, &answer.reid), (rnum, &reid), "{verb} {path:?}: {answer:?}");
        answer
    }

    /// Sends a request and waits for its answer; `None` if the connection ends first, in whatever
    /// way the end of a server looks like.
    pub fn try_request(
        &mut self,
        verb: &str,
        path: &[&str],
        payl: impl Into<Vec<u8>>,
    ) -> Option<Answer> {
        let request = Request::new(verb, path).reid(int(self.next_reid)).payl(payl);
        self.next_reid += 1;
        self.socket.write_all(&request.encode()).ok()?;
        self.try_next()
    }

    /// The next message; `None` if the connection ends first, in whatever way.
    pub fn try_next(&mut self) -> Option<Answer> {
        loop {
            if let Some(message) = take_message(&mut self.received) {
                return Some(Answer::parse(&message));
            }
            let mut buffer = [0; 64 * 1024];
            match self.socket.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.received.extend(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("nothing comes"),
                Err(_) => return None,
            }
        }
    }

    /// Says that nothing more will be sent; reading goes on.
    pub fn finish_sending(&mut self) {
        self.socket.finish_sending();
    }

    /// The next message. Panics at the end.
    #[track_caller]
    pub fn next_answer(&mut self) -> Answer {
        self.next_message().unwrap_or_else(|| panic!("awaited a message, but the connection ended"))
    }

    /// All messages until the end, which has to be behind a whole one.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.next_message() {
            answers.push(answer);
        }
        answers
    }

    /// The next message, or `None` at the end, which has to be behind a whole one.
    #[track_caller]
    pub fn next_message(&mut self) -> Option<Answer> {
        loop {
            if let Some(message) = take_message(&mut self.received) {
                return Some(Answer::parse(&message));
            }
            let mut buffer = [0; 64 * 1024];
            match self.socket.read(&mut buffer) {
                Ok(0) => {
                    assert!(self.received.is_empty(), "half a message: {}", hex(&self.received));
                    return None;
                }
                Ok(count) => self.received.extend(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("awaited a message: {error}; {}", hex(&self.received)),
            }
        }
    }
}

/// Takes the first message off the bytes that have come, if it is complete.
fn take_message(received: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut rest = received.as_slice();
    if let Err(error) = rmpv::decode::read_value(&mut rest) {
        let cut = error.kind() == ErrorKind::UnexpectedEof;
        assert!(cut, "the server sent no MessagePack: {error}: {}", hex(received));
        return None;
    }
    let length = received.len() - rest.len();
    Some(received.drain(..length).collect())
}
