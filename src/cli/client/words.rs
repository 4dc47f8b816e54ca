//! What is told of requests that fail: what happened, where, and what to do.

use std::io;

use tungstenite::error::ProtocolError;
use tungstenite::handshake::HandshakeError;
use tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

use super::failure::{Failure, Kind};
use super::transport::CONNECT_MAX;
use super::{ANSWER_MAX, Answer, Client, is_timeout, printable, target};

impl Client {
    /// The error of a request that was not answered.
    pub fn no_answer(&self, verb: &str, path: &str) -> anyhow::Error {
        let (path, url, seconds) = (printable(path), &self.target.url, ANSWER_MAX.as_secs());
        unreachable(format!(
            "{verb} {path}: {url} did not answer within {seconds} s; is it a Lighthouse server?"
        ))
    }

    /// The error of a request that was refused: what happened, where, and what to do.
    pub fn refusal(&self, verb: &str, path: &str, answer: &Answer) -> anyhow::Error {
        let said = said(answer);
        let (path, user) = (printable(path), printable(&self.target.user));
        let url = &self.target.url;
        let (kind, text) = match answer.rnum {
            401 => (
                Kind::Denied,
                format!(
                    "{verb} {path}: {url} does not accept user {user:?} with this token; name \
                     another user with --user, and its token with --token-file, FANAL_TOKEN or \
                     --profile ({said})"
                ),
            ),
            403 => (
                Kind::Denied,
                format!(
                    "{verb} {path}: user {user:?} may not do this; name a path of this user, as a \
                     rule user/{user}/model, or another user with --user and its token ({said})"
                ),
            ),
            404 if verb == "STREAM" => (
                Kind::NotFound,
                format!(
                    "{verb} {path}: there is no resource at this path; check its spelling, slashes \
                     included and none at the start, or make it with \
                     \"fanal create {path}{}\" ({said})",
                    self.url_option()
                ),
            ),
            404 => (Kind::NotFound, format!("{verb} {path}: {} ({said})", missing(verb))),
            _ => (Kind::Refused, format!("{verb} {path}: {url} refused this ({said})")),
        };
        Failure::error(kind, text)
    }

    /// What a command has to be told to reach this server.
    fn url_option(&self) -> String {
        let url = &self.target.url;
        if url == target::URL { String::new() } else { format!(" --url {url}") }
    }

    /// The error of a stream that the server has ended.
    pub fn end_of_stream(path: &str, answer: &Answer) -> anyhow::Error {
        let path = printable(path);
        let (kind, text) = match answer.rnum {
            404 | 410 => {
                (Kind::NotFound, format!("{path} was deleted; start again when there is a new one"))
            }
            401 | 403 => (Kind::Denied, format!("{path}: this user may no longer look at it")),
            _ => {
                let status = answer.status();
                (Kind::Refused, format!("{path}: the server ended the stream ({status})"))
            }
        };
        Failure::error(kind, text)
    }

    /// The error of a connection that is no more.
    pub(super) fn broken(&self, error: tungstenite::Error) -> anyhow::Error {
        let url = &self.target.url;
        unreachable(match error {
            tungstenite::Error::Io(error) if is_timeout(&error) => {
                format!("{url} has stopped taking requests")
            }
            tungstenite::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                format!("{url} sent {error}; is it a Lighthouse server?")
            }
            tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
            | tungstenite::Error::ConnectionClosed => {
                format!("{url} went away without a goodbye; is it still running?")
            }
            error => format!("the connection to {url} broke: {error}"),
        })
    }
}

/// A server that cannot be reached, or went away.
pub(super) fn unreachable(text: String) -> anyhow::Error {
    Failure::error(Kind::Unreachable, text)
}

/// What a path that is not there means to a request.
fn missing(verb: &str) -> &'static str {
    match verb {
        "LIST" => "there is no directory at this path; `fanal ls` shows what there is",
        "DELETE" => "there is nothing at this path",
        "LINK" | "UNLINK" => "one of the two is no resource, or there is no such link",
        "PUT" => {
            "there is no resource at this path; name another, or make it with `fanal post` or \
             `fanal create`"
        }
        _ => "this is no resource, but a directory, below a resource, or gone; name another path",
    }
}

fn said(answer: &Answer) -> String {
    let mut text = format!("the server said: {}", answer.status());
    for warning in answer.warnings.iter().flatten() {
        text.push_str("; ");
        text.push_str(&printable(warning));
    }
    text
}

/// Why there is no connection.
pub(super) fn cannot_connect(url: &str, error: anyhow::Error) -> anyhow::Error {
    if error.is::<Failure>() {
        return error;
    }
    // The kind of a system's error reads well without its number.
    let of_system = error.downcast_ref::<io::Error>().filter(|it| it.raw_os_error().is_some());
    let cause = of_system.map_or_else(|| format!("{error:#}"), |it| it.kind().to_string());
    unreachable(format!(
        "cannot connect to {url}: {cause}; start the server with \"fanal\" or name another with \
         --url"
    ))
}

/// Why a handshake failed.
pub(super) fn handshake_fault<R: tungstenite::handshake::HandshakeRole>(
    error: &HandshakeError<R>,
) -> String {
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

/// What a close frame says.
pub(super) fn close_reason(reason: Option<&CloseFrame>) -> String {
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
