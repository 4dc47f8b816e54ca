//! Where a connection comes from: the peer's address behind proxies, and the Origin of a page.

use std::net::{IpAddr, SocketAddr};

use actix_http::RequestHead;
use actix_web::http::header;

use super::DoorSettings;

/// Addresses of X-Forwarded-For that are looked at; a client may send any number.
const FORWARDED_MAX: usize = 32;

/// The client's address, the peer's or what the trusted proxies before it say, and as the log says
/// it. `proxy` is the other end of the socket, if the peer is what that one says.
pub fn client_address(
    head: &RequestHead,
    settings: &DoorSettings,
    proxy: Option<SocketAddr>,
) -> (Option<IpAddr>, String) {
    let Some(peer) = head.peer_addr else { return (None, "an unknown address".into()) };
    if !settings.trusts(peer.ip()) {
        return (Some(peer.ip()), through(peer, proxy));
    }
    // A proxy may add to the last line or add a line: together they are one list.
    let lines = head.headers().get_all("x-forwarded-for");
    let forwarded: Vec<&str> = lines.filter_map(|value| value.to_str().ok()).collect();
    let forwarded = forwarded.join(",");
    // The last address was added by the nearest proxy; the first one that no proxy of ours added
    // is the client's.
    let mut client = peer.ip();
    for text in forwarded.rsplit(',').take(FORWARDED_MAX) {
        let Ok(address) = text.trim().parse::<IpAddr>() else { break };
        client = address;
        if !settings.trusts(address) {
            break;
        }
    }
    (Some(client), format!("{client} (through {peer})"))
}

/// How the log says whose a connection is.
pub fn through(client: SocketAddr, proxy: Option<SocketAddr>) -> String {
    match proxy.filter(|proxy| *proxy != client) {
        Some(proxy) => format!("{client} (through {proxy})"),
        None => client.to_string(),
    }
}

/// Whether a page of this Origin may connect. Clients that are no browsers send none.
pub fn is_allowed(head: &RequestHead, settings: &DoorSettings) -> bool {
    let Some(origin) = head.headers().get(header::ORIGIN) else { return true };
    settings.allowed_origins.is_empty()
        || settings.allowed_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
}
