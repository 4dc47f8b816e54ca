//! The PROXY protocol: whose a connection is, as a proxy in front of the server says it before the
//! first byte of the client (versions 1 and 2 of the specification by HAProxy).
//!
//! Only the proxies of `server.trusted_proxies` are heard, and from them nothing else is taken
//! first: who may leave the header out could also forge one.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use actix_web::rt::time::timeout;
use ppp::{HeaderResult, PartialResult, v1, v2};
use tokio::io::AsyncReadExt;

use super::Door;

/// The longest header that is taken, in bytes; version 2 may carry more about the connection, of
/// which only the addresses count here.
const HEADER_BYTES_MAX: usize = 4096;

/// The longest header of version 1, in bytes, as the specification has it.
const TEXT_BYTES_MAX: usize = 107;

/// How long a proxy has to send it.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// The connection is this client's.
    Client(SocketAddr),
    /// The connection is the proxy's own, or it does not know whose.
    Nothing,
}

/// What the bytes are that came so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// A header of so many bytes.
    Whole(Said, usize),
    /// The beginning of one.
    Part,
    /// None.
    None,
}

/// The client of a connection: the peer, or whom a proxy names that may.
///
/// # Errors
/// If there is no header where one has to be; that is counted and in the log.
pub async fn client(io: &mut TcpStream, door: &Door) -> io::Result<Option<SocketAddr>> {
    let peer = io.peer_addr().ok();
    let is_proxy = |peer: &SocketAddr| door.settings.trusts(peer.ip());
    let Some(proxy) = peer.filter(is_proxy).filter(|_| door.settings.proxy_protocol) else {
        return Ok(peer);
    };
    let fault = match timeout(HEADER_TIMEOUT, read(io)).await {
        Ok(Ok(Said::Client(client))) => return Ok(Some(client)),
        Ok(Ok(Said::Nothing)) => return Ok(peer),
        Ok(Err(error)) => error,
        Err(_) => io::Error::new(io::ErrorKind::TimedOut, "nothing came in time"),
    };
    door.broker.counters().connections_refused_proxy.add(1);
    door.warn_of_proxy(format_args!(
        "the proxy {proxy} began a connection without a PROXY protocol header, which \
         server.proxy_protocol demands: {fault}"
    ));
    Err(fault)
}

/// Takes the header off a connection, and not a byte more.
async fn read(io: &mut TcpStream) -> io::Result<Said> {
    let mut seen = Vec::new();
    let mut piece = [0; 256];
    loop {
        let length = io.peek(&mut piece).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = seen.len();
        seen.extend_from_slice(piece.get(..length).unwrap_or_default());
        let (said, taken) = match look(&seen) {
            Seen::Whole(said, whole) => (Some(said), whole.saturating_sub(before)),
            Seen::Part if seen.len() < HEADER_BYTES_MAX => (None, length),
            Seen::Part | Seen::None => {
                let text = "what came is something else";
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        };
        // It was peeked at, so it is there.
        if let Some(taken) = piece.get_mut(..taken) {
            io.read_exact(taken).await?;
        }
        if let Some(said) = said {
            return Ok(said);
        }
    }
}

/// The length of the header at the beginning of these bytes; none if there is none, or its end is
/// not there yet.
pub fn header_length(bytes: &[u8]) -> Option<usize> {
    match look(bytes) {
        Seen::Whole(_, length) => Some(length),
        Seen::Part | Seen::None => None,
    }
}

fn look(bytes: &[u8]) -> Seen {
    // A line of text that was cut off may look as if it were wrong.
    let is_text = bytes.iter().zip(v1::PROTOCOL_PREFIX.as_bytes()).all(|(one, other)| one == other);
    if is_text && !bytes.windows(2).any(|two| two == b"\r\n") {
        return if bytes.len() < TEXT_BYTES_MAX { Seen::Part } else { Seen::None };
    }
    let result = HeaderResult::parse(bytes);
    if result.is_incomplete() {
        return Seen::Part;
    }
    match result {
        // The library takes any byte behind a CR for the end.
        HeaderResult::V1(Ok(header)) if !header.header.ends_with("\r\n") => Seen::None,
        HeaderResult::V1(Ok(header)) => {
            Seen::Whole(said_in_text(&header.addresses), header.header.len())
        }
        HeaderResult::V2(Ok(header)) => {
            let Cow::Borrowed(whole) = header.header else { return Seen::None };
            let said = match header.command {
                v2::Command::Proxy => said_in_bytes(&header.addresses),
                // A health check of the proxy.
                v2::Command::Local => Said::Nothing,
            };
            Seen::Whole(said, whole.len())
        }
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Seen::None,
    }
}

fn said_in_text(addresses: &v1::Addresses) -> Said {
    match addresses {
        v1::Addresses::Tcp4(pair) => client_at((pair.source_address, pair.source_port)),
        v1::Addresses::Tcp6(pair) => client_at((pair.source_address, pair.source_port)),
        v1::Addresses::Unknown => Said::Nothing,
    }
}

fn said_in_bytes(addresses: &v2::Addresses) -> Said {
    match addresses {
        v2::Addresses::IPv4(pair) => client_at((pair.source_address, pair.source_port)),
        v2::Addresses::IPv6(pair) => client_at((pair.source_address, pair.source_port)),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => Said::Nothing,
    }
}

fn client_at(address: impl Into<SocketAddr>) -> Said {
    Said::Client(address.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    fn client(text: &str) -> Said {
        Said::Client(text.parse().unwrap())
    }

    /// What is in these bytes, whole and by the byte; more may follow.
    #[track_caller]
    fn check(header: &[u8], expected: Said) {
        let mut bytes = header.to_vec();
        bytes.extend_from_slice(b"GET / HTTP/1.1\r\n");
        assert_eq!(look(&bytes), Seen::Whole(expected, header.len()), "{header:?}");
        for length in 0..header.len() {
            assert_eq!(look(&header[..length]), Seen::Part, "{:?}", &header[..length]);
        }
    }

    #[track_caller]
    fn check_none(bytes: &[u8]) {
        assert_eq!(look(bytes), Seen::None, "{bytes:?}");
    }

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = V2.to_vec();
        bytes.extend([0x20 | command, family]);
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    #[test]
    fn a_header_names_the_client() {
        check(b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n", client("192.0.2.7:56324"));
        check(b"PROXY TCP6 2001:db8::7 ::1 56324 443\r\n", client("[2001:db8::7]:56324"));
        check(b"PROXY UNKNOWN\r\n", Said::Nothing);
        check(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Said::Nothing);
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 0xdc, 0x04, 1, 0xbb];
        check(&version_2(1, 0x11, &four), client("192.0.2.7:56324"));
        check(&version_2(0, 0x11, &four), Said::Nothing);
        let mut more = four.to_vec();
        more.extend([0x04, 0, 3, 1, 2, 3]);
        check(&version_2(1, 0x11, &more), client("192.0.2.7:56324"));
        let mut six = [0; 36];
        six[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        six[15] = 7;
        six[32..].copy_from_slice(&[0xdc, 0x04, 1, 0xbb]);
        check(&version_2(1, 0x21, &six), client("[2001:db8::7]:56324"));
        check(&version_2(0, 0, &[]), Said::Nothing);
        check(&version_2(1, 0x31, &[0; 216]), Said::Nothing);
    }

    #[test]
    fn anything_else_is_no_header() {
        // Found by the fuzz target: a CR in the middle, and the end of the line behind it.
        check_none(b"PROXY UNKNOWN \n\r\x0f more\r\n");
        check_none(b"GET / HTTP/1.1\r\n\r\n");
        check_none(b"\x85\xa4REID\x01");
        check_none(b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 99999\r\n");
        check_none(b"PROXY TCP4 192.0.2.777 10.0.0.1 1 2\r\n");
        check_none(b"PROXY TCP5 192.0.2.7 10.0.0.1 1 2\r\n");
        check_none(&[b'P'; 300]);
        check_none(format!("PROXY TCP4 {}", "1".repeat(200)).as_bytes());
        check_none(&version_2(7, 0x11, &[0; 12]));
        check_none(&version_2(1, 0x11, &[0; 11]));
    }
}
