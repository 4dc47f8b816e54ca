//! The client side of HTTP: opens an answer that is a stream of lines, and reads it.
//!
//! It follows no redirect, for a token is meant for the service that was named and no other; it
//! speaks HTTP/1.1, and each request has a connection of its own, which ends with the answer.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{AUTHORIZATION, HeaderValue};
use actix_web::rt::time::timeout;
use awc::{Client, ClientBuilder, ClientResponse, Connector};
use futures_core::Stream;
use rustls::ClientConfig;

use super::lines::{Lines, TooLong};
use super::record::Wrong;

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The service says that this token is not good, or that there is no such user.
    Refused,
    /// The service does not work as it should; how, for the log.
    Down(String),
}

/// Asks one service.
pub struct Service {
    client: Client,
    timeout: Duration,
}

impl Service {
    /// A client that waits at most so long for the head of an answer, and has as many connections
    /// as are asked for: those who ask have bounds.
    pub fn new(encryption: Option<Arc<ClientConfig>>, timeout: Duration) -> Self {
        let connector = Connector::new().limit(0).timeout(timeout).handshake_timeout(timeout);
        let connector = match encryption {
            Some(encryption) => connector.rustls_0_23(encryption),
            None => connector,
        };
        let client = ClientBuilder::new().connector(connector).disable_redirects();
        Service { client: client.disable_timeout().finish(), timeout }
    }

    /// How long may pass until something happens.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Opens the answer to GET with this token, or without one if it is empty.
    ///
    /// # Errors
    /// If the answer is another one than 200, or none.
    pub async fn open(&self, url: &str, token: &str) -> Result<Lined, Failure> {
        let mut request = self.client.get(url).force_close();
        if !token.is_empty() {
            let token = header(token).ok_or(Failure::Refused)?;
            request = request.insert_header((AUTHORIZATION, token));
        }
        let head = timeout(self.timeout, request.send()).await;
        let response = head
            .map_err(|_| down(format!("did not answer within {:?}", self.timeout)))?
            .map_err(|error| down(error.to_string()))?;
        match response.status().as_u16() {
            200 => Ok(Lined { response, lines: Lines::default() }),
            401 | 403 | 404 => Err(Failure::Refused),
            status => Err(down(format!("answered {status}"))),
        }
    }
}

/// A token as the value of a header; `None` if it has something that a header cannot have, or
/// blanks at its ends, which a header would lose.
pub fn header(token: &str) -> Option<HeaderValue> {
    if token.trim_ascii().len() != token.len() {
        return None;
    }
    let mut value = HeaderValue::from_str(token).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// An answer of lines.
pub struct Lined {
    response: ClientResponse,
    lines: Lines,
}

impl Lined {
    /// The next line, read as `read` does it. Nothing is lost if this is dropped before it has
    /// one.
    ///
    /// # Errors
    /// If the stream is over or a line is none.
    pub async fn next<T>(&mut self, read: fn(&[u8]) -> Result<T, Wrong>) -> Result<T, Failure> {
        loop {
            match self.lines.next() {
                Ok(Some(line)) => {
                    return read(&line).map_err(|wrong| down(format!("sent {wrong}")));
                }
                Ok(None) => {}
                Err(TooLong) => return Err(down("sent a line that is too long")),
            }
            match poll_fn(|task| Pin::new(&mut self.response).poll_next(task)).await {
                Some(Ok(chunk)) => self.lines.push(&chunk),
                Some(Err(error)) => return Err(down(format!("broke off: {error}"))),
                None if self.lines.is_cut() => return Err(down("ended in the middle of a line")),
                None => return Err(down("ended what it had to say")),
            }
        }
    }
}

/// The service does not work as it should.
pub fn down(how: impl Into<String>) -> Failure {
    Failure::Down(how.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_header_as_it_is_or_none() {
        for token in ["t", "API-TOK_0123", "a b", "~!@#$%^&*()", "\u{fc}"] {
            let value = header(token).unwrap();
            assert_eq!(value.as_bytes(), token.as_bytes());
            assert_eq!(format!("{value:?}"), "Sensitive");
        }
        for token in ["a\r\nX: y", "a\nb", "a\0", "\u{7f}", " t", "t ", "\tt"] {
            assert_eq!(header(token), None, "{token:?}");
        }
    }
}
