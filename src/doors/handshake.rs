//! The handshake: which requests become a connection, and what the others are told.

use std::net::SocketAddr;

use actix_http::RequestHead;
use actix_http::ws::{HandshakeError, verify_handshake};
use actix_web::HttpResponse;
use actix_web::http::{Method, StatusCode, header};
use fanal_actors::Session;

use super::admission::{Admission, Turned};
use super::certificate::Certified;
use super::credentials::{self, peer};
use super::origin::{client_address, is_allowed};
use super::{Door, EVERY_PATH};

/// Why a request did not become a connection.
pub struct Refused {
    status: StatusCode,
    text: &'static str,
}

impl Refused {
    fn new(status: StatusCode, text: &'static str) -> Self {
        Refused { status, text }
    }

    /// The answer.
    pub fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((header::SEC_WEBSOCKET_VERSION, "13"));
        response.content_type("text/plain; charset=utf-8");
        match self.status {
            StatusCode::UPGRADE_REQUIRED => {
                response.insert_header((header::UPGRADE, "websocket"));
                response.insert_header((header::CONNECTION, "upgrade"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                response.insert_header((header::RETRY_AFTER, "5"));
            }
            _ => {}
        }
        response.body(self.text)
    }
}

impl From<Turned> for Refused {
    fn from(turned: Turned) -> Self {
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, turned.0)
    }
}

/// Whether a request asks for a connection, well or not.
pub fn wants_upgrade(head: &RequestHead) -> bool {
    let headers = head.headers();
    headers.contains_key(header::UPGRADE) || headers.contains_key(header::SEC_WEBSOCKET_KEY)
}

/// Whether connections are taken at the path of a request.
pub fn is_route(door: &Door, path: &str) -> bool {
    door.settings.routes.iter().any(|route| route == path || route == EVERY_PATH)
}

/// Opens a session for a request that is a good upgrade and passes every bound. `certified` is whom
/// the certificate of the client names, if it has one; `proxy` is the other end of the socket, if
/// the peer in the head is what that one says.
///
/// # Errors
/// What to answer instead.
pub fn admit(
    door: &Door,
    head: &RequestHead,
    certified: Option<&Certified>,
    proxy: Option<SocketAddr>,
) -> Result<(Session, Admission), Refused> {
    let counters = door.broker.counters();
    judge(head).inspect_err(|_| counters.connections_refused_handshake.add(1))?;
    if !is_allowed(head, &door.settings) {
        counters.connections_refused_origin.add(1);
        let text = "this Origin may not connect (server.allowed_origins)\n";
        return Err(Refused::new(StatusCode::FORBIDDEN, text));
    }
    let (address, from) = client_address(head, &door.settings, proxy);
    let admission = door.gate.admit(counters, address, from)?;
    let peer = peer(address, credentials::of(head, &door.settings, certified));
    let session = door.broker.open_session(peer, door.gate.throttle()).ok_or_else(|| {
        let text = "there are as many connections as there may be (server.connections_max)\n";
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, text)
    })?;
    Ok((session, admission))
}

fn judge(head: &RequestHead) -> Result<(), Refused> {
    let wrong = |status, text| Err(Refused::new(status, text));
    if head.method == Method::GET && !wants_upgrade(head) {
        let text = "this is a WebSocket: connect with a Lighthouse client\n";
        return wrong(StatusCode::UPGRADE_REQUIRED, text);
    }
    match verify_handshake(head) {
        Ok(()) => Ok(()),
        Err(HandshakeError::GetMethodRequired) => {
            wrong(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket begins with GET\n")
        }
        Err(HandshakeError::BadWebsocketKey) => {
            wrong(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key has to be 16 bytes in base64\n")
        }
        Err(HandshakeError::NoVersionHeader) => {
            wrong(StatusCode::BAD_REQUEST, "Sec-WebSocket-Version has to be 13\n")
        }
        Err(HandshakeError::UnsupportedVersion) => {
            wrong(StatusCode::UPGRADE_REQUIRED, "Sec-WebSocket-Version has to be 13\n")
        }
        Err(_) => wrong(
            StatusCode::BAD_REQUEST,
            "an upgrade has the headers Connection: Upgrade and Upgrade: websocket\n",
        ),
    }
}
