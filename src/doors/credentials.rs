//! Credentials that come with the request for a connection: they count for requests whose AUTH says
//! nothing.

use std::net::IpAddr;
use std::time::UNIX_EPOCH;

use actix_http::RequestHead;
use actix_web::http::header::AUTHORIZATION;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fanal_actors::ports::{Peer, PeerCredentials};

use super::DoorSettings;
use super::certificate::Certified;
use crate::clock::Clock;

/// The longest header that is looked at, in bytes; a JSON Web Token may be long.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// The other end of a connection.
pub fn peer(address: Option<IpAddr>, credentials: Option<PeerCredentials>) -> Peer {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let opened = Clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Peer {
        address: address.map(octets),
        opened: u32::try_from(opened).unwrap_or(u32::MAX),
        credentials: credentials.map(Box::new),
    }
}

/// The credentials in the head of a request: `Authorization: Basic` with user and token,
/// `Authorization: Bearer` with a token, or the cookie of the settings with one; and with them whom
/// the certificate of the connection names.
pub fn of(
    head: &RequestHead,
    settings: &DoorSettings,
    certified: Option<&Certified>,
) -> Option<PeerCredentials> {
    let written = written(head, settings);
    let Some(certified) = certified else { return written };
    let mut credentials = written.unwrap_or_default();
    credentials.certified.clone_from(&certified.user);
    credentials.certified_until = Some(certified.until);
    Some(credentials)
}

fn written(head: &RequestHead, settings: &DoorSettings) -> Option<PeerCredentials> {
    let header = head.headers().get(AUTHORIZATION).filter(|value| value.len() <= HEADER_BYTES_MAX);
    match header {
        Some(value) => authorization(value.to_str().ok()?),
        None if settings.cookie.is_empty() => None,
        None => cookie(head, &settings.cookie),
    }
}

fn authorization(value: &str) -> Option<PeerCredentials> {
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(PeerCredentials { token: rest.to_owned(), ..PeerCredentials::default() });
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    let (user, token) = text.split_once(':')?;
    let (user, token) = (user.to_owned(), token.to_owned());
    Some(PeerCredentials { user, token, ..PeerCredentials::default() })
}

fn cookie(head: &RequestHead, name: &str) -> Option<PeerCredentials> {
    let lines = head.headers().get_all("cookie").filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| {
        let (found, value) = pair.trim().split_once('=')?;
        (found == name).then(|| value.trim_matches('"').to_owned())
    });
    let token = pairs.next().filter(|token| token.len() <= HEADER_BYTES_MAX)?;
    Some(PeerCredentials { token, ..PeerCredentials::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, expected: Option<(&str, &str)>) {
        let seen = authorization(header);
        let seen = seen.as_ref().map(|seen| (seen.user.as_str(), seen.token.as_str()));
        assert_eq!(seen, expected, "{header}");
    }

    #[test]
    fn the_header_has_a_token_or_a_user_and_a_token() {
        check("Bearer abc", Some(("", "abc")));
        check("bearer  abc ", Some(("", "abc")));
        check("Basic YW5uOmFiYw==", Some(("ann", "abc")));
        check("Basic YW5uOmE6Yg==", Some(("ann", "a:b")));
        check("Basic YW5u", None);
        check("Basic ###", None);
        check("Digest abc", None);
        check("abc", None);
        check("", None);
    }
}
