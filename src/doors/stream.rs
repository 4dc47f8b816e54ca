//! The tcp and unix doors: messages back to back on a stream socket.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use actix_server::ServerBuilder;
use actix_service::fn_service;
use actix_web::rt::net::{TcpStream, UnixStream};
use fanal_actors::{Counter, Response, Rnum, encode_response};
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::time::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connection::Connection;
use super::credentials::peer;
use super::messages::Messages;
use super::origin::through;
use super::transport::Transport;
use super::{Door, proxy, socket};

/// How long a refused client has to take its answer.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves messages on a TCP socket that listens.
///
/// # Errors
/// If the socket cannot be used.
pub fn serve_tcp(
    server: ServerBuilder,
    listener: TcpListener,
    door: Arc<Door>,
) -> std::io::Result<ServerBuilder> {
    server.listen("tcp", listener, move || {
        door.lags.watch_this_thread();
        let door = Arc::clone(&door);
        fn_service(move |mut io: TcpStream| {
            let door = Arc::clone(&door);
            async move {
                let client = proxy::client(&mut io, &door).await?;
                socket::prepare(&io, &door.settings);
                socket::keep_alive(&io, &door.settings);
                let from = match client {
                    Some(client) => format!("tcp {}", through(client, io.peer_addr().ok())),
                    None => "an unknown address".into(),
                };
                let opened = &door.broker.counters().connections_opened_tcp;
                enter(&door, io, client.map(|client| client.ip()), from, opened).await;
                io::Result::Ok(())
            }
        })
    })
}

/// Serves messages on a socket in the file system.
///
/// # Errors
/// If the socket cannot be used.
pub fn serve_unix(
    server: ServerBuilder,
    listener: UnixListener,
    door: Arc<Door>,
) -> std::io::Result<ServerBuilder> {
    server.listen_uds("unix", listener, move || {
        door.lags.watch_this_thread();
        let door = Arc::clone(&door);
        fn_service(move |io: UnixStream| {
            let door = Arc::clone(&door);
            async move {
                let from = match io.peer_cred() {
                    Ok(peer) => format!("unix, user id {}", peer.uid()),
                    Err(_) => "unix".into(),
                };
                let opened = &door.broker.counters().connections_opened_unix;
                enter(&door, io, None, from, opened).await;
                Ok::<(), Infallible>(())
            }
        })
    })
}

/// Makes a connection, which is counted, or says why not.
async fn enter<T: Transport>(
    door: &Arc<Door>,
    io: T,
    address: Option<IpAddr>,
    from: String,
    opened: &Counter,
) {
    let admission = match door.gate.admit(door.broker.counters(), address, from) {
        Ok(admission) => admission,
        Err(turned) => return refuse(io, turned.0).await,
    };
    let Some(session) = door.broker.open_session(peer(address, None), door.gate.throttle()) else {
        let text = "there are as many connections as there may be (server.connections_max)";
        return refuse(io, text).await;
    };
    opened.add(1);
    let messages = Messages::new(door.settings.message_bytes_max);
    Connection::launch(io, messages, session, door, admission, &[]);
}

/// Sends a last message, 503, and ends the connection once the client has it.
async fn refuse<T: Transport>(mut io: T, text: &str) {
    let rnum = Rnum::ServiceUnavailable;
    let response = Response { reid: &[0xc0], rnum, payload: None, warning: Some(text.trim_end()) };
    let mut bytes = Vec::new();
    encode_response(&response, &mut bytes);
    let all = async {
        io.write_all(&bytes).await?;
        io.shutdown().await?;
        // What the client still sends must not reset the connection under the message.
        let mut rest = [0; 1024];
        while io.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    drop(timeout(REFUSAL_TIMEOUT, all).await);
}
