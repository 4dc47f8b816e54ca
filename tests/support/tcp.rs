//! A blocking client of the tcp door, where messages stand back to back.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::PATIENCE;
use super::message::{Answer, Request};

/// A connection to the tcp door.
pub struct TcpClient {
    stream: TcpStream,
    received: Vec<u8>,
}

impl TcpClient {
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.set_nodelay(true).expect("a socket option can be set");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        TcpClient { stream, received: Vec::new() }
    }

    pub fn send(&mut self, request: &Request) {
        self.send_raw(&request.encode());
    }

    /// Sends bytes that need not be a message.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes what is sent");
    }

    /// The next message, or `None` if the connection has ended.
    pub fn next_answer(&mut self) -> Option<Answer> {
        loop {
            let mut rest = self.received.as_slice();
            // What is not whole yet cannot be read.
            if rmpv::decode::read_value(&mut rest).is_ok() {
                let size = self.received.len() - rest.len();
                let message: Vec<u8> = self.received.drain(..size).collect();
                return Some(Answer::parse(&message));
            }
            let mut buffer = [0; 64 * 1024];
            match self.stream.read(&mut buffer).expect("a message or the end") {
                0 => return None,
                count => self.received.extend(&buffer[..count]),
            }
        }
    }
}
