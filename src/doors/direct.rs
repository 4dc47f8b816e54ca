//! The direct door: WebSocket connections whose actors drive their sockets themselves.
//!
//! HTTP is served by `actix_http`; a request to upgrade hands the socket over, and from then on
//! nothing of HTTP is left of the connection. Everything else on the port is an ordinary actix-web
//! application (`pages`).

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_codec::Framed;
use actix_http::body::{BodySize, MessageBody};
use actix_http::error::DispatchError;
use actix_http::h1::{Codec, ExpectHandler, H1Service, Message};
use actix_http::ws::handshake_response;
use actix_http::{Extensions, HttpService, Request, Response};
use actix_server::ServerBuilder;
use actix_service::boxed::{self, BoxServiceFactory};
use actix_service::{ServiceFactoryExt, fn_service, map_config};
use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, ServiceResponse};
use actix_web::rt::net::TcpStream;
use actix_web::rt::time::timeout;
use actix_web::{App, HttpResponse, web};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::certificate::{self, Certified};
use super::connection::Connection;
use super::frames::Frames;
use super::handshake::{admit, is_route};
use super::transport::Transport;
use super::{Door, pages, proxy, socket};

/// How long a client has to send the head of its HTTP request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client has for its TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a refused client has to take its answer.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves WebSocket and pages on a listening socket, with TLS if there is a configuration for it.
///
/// # Errors
/// If the socket cannot be used.
pub fn serve(
    server: ServerBuilder,
    listener: std::net::TcpListener,
    address: SocketAddr,
    door: Arc<Door>,
    tls: Option<ServerConfig>,
) -> std::io::Result<ServerBuilder> {
    match tls {
        None => server.listen("direct", listener, move || {
            door.lags.watch_this_thread();
            let settings = Arc::clone(&door.settings);
            let http =
                http(&door, address, move |io: &TcpStream, _| socket::prepare(io, &settings));
            let door = Arc::clone(&door);
            fn_service(move |mut io: TcpStream| {
                let door = Arc::clone(&door);
                async move {
                    let client = proxy::client(&mut io, &door).await?;
                    Ok::<_, DispatchError>((io, client))
                }
            })
            .and_then(http)
        }),
        Some(tls) => {
            let acceptor = TlsAcceptor::from(Arc::new(tls));
            server.listen("direct with TLS", listener, move || {
                door.lags.watch_this_thread();
                let settings = Arc::clone(&door.settings);
                let http = http(&door, address, move |io: &TlsStream<TcpStream>, data| {
                    let (socket, tls) = io.get_ref();
                    socket::prepare(socket, &settings);
                    if let Some(certified) = certificate::of(tls) {
                        data.insert(certified);
                    }
                });
                let (door, acceptor) = (Arc::clone(&door), acceptor.clone());
                fn_service(move |io: TcpStream| encrypt(io, Arc::clone(&door), acceptor.clone()))
                    .and_then(http)
            })
        }
    }
}

/// Has a client encrypt its connection; a proxy has its say before that.
async fn encrypt(
    mut io: TcpStream,
    door: Arc<Door>,
    acceptor: TlsAcceptor,
) -> Result<(TlsStream<TcpStream>, Option<SocketAddr>), DispatchError> {
    let client = proxy::client(&mut io, &door).await?;
    let refused = &door.broker.counters().connections_refused_tls;
    let Ok(accepted) = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(io)).await else {
        refused.add(1);
        return Err(DispatchError::SlowRequestTimeout);
    };
    let encrypted = accepted.inspect_err(|_| refused.add(1))?;
    Ok((TlsStream::from(encrypted), client))
}

type Pages = BoxServiceFactory<(), Request, ServiceResponse, actix_web::Error, ()>;
type Upgrades<T> = BoxServiceFactory<(), (Request, Framed<T, Codec>), (), actix_web::Error, ()>;

fn http<T: Transport>(
    door: &Arc<Door>,
    address: SocketAddr,
    prepare: impl Fn(&T, &mut Extensions) + 'static,
) -> H1Service<T, Pages, BoxBody, ExpectHandler, Upgrades<T>> {
    let data = web::Data::from(Arc::clone(door));
    let application = App::new().app_data(data).default_service(web::to(pages::answer));
    let application = map_config(application, |_| AppConfig::default());
    let door = Arc::clone(door);
    let upgrades = fn_service(move |(request, framed): (Request, Framed<T, Codec>)| {
        let door = Arc::clone(&door);
        async move {
            upgrade(door, request, framed).await;
            Ok::<(), actix_web::Error>(())
        }
    });
    HttpService::build()
        .client_request_timeout(REQUEST_TIMEOUT)
        .client_disconnect_timeout(Duration::ZERO)
        .local_addr(address)
        .on_connect_ext(move |io, data| prepare(io, data))
        .upgrade(boxed::factory(upgrades))
        .h1(boxed::factory(application))
}

/// Makes the connection of an upgrade, or answers why not.
async fn upgrade<T: Transport>(door: Arc<Door>, request: Request, mut framed: Framed<T, Codec>) {
    if !is_route(&door, request.path()) {
        return refuse(framed, pages::no_such_path(&door.settings)).await;
    }
    let certified = request.conn_data::<Certified>();
    let proxy = if door.settings.proxy_protocol { framed.io_ref().other_end() } else { None };
    let (session, admission) = match admit(&door, request.head(), certified, proxy) {
        Ok(admitted) => admitted,
        Err(refused) => return refuse(framed, refused.response()).await,
    };
    let switching = handshake_response(request.head()).finish().drop_body();
    drop(request);
    if send(&mut framed, Message::Item((switching, BodySize::None))).await.is_err() {
        return;
    }
    let parts = framed.into_parts();
    door.broker.counters().connections_opened_websocket.add(1);
    let frames = Frames::new(door.settings.message_bytes_max);
    Connection::launch(parts.io, frames, session, &door, admission, &parts.read_buf);
}

async fn send<T: Transport>(
    framed: &mut Framed<T, Codec>,
    message: Message<(Response<()>, BodySize)>,
) -> std::io::Result<()> {
    Pin::new(&mut *framed).write(message)?;
    poll_fn(|task| Pin::new(&mut *framed).flush(task)).await
}

/// Sends an answer and ends the connection, once the client has it.
async fn refuse<T: Transport>(mut framed: Framed<T, Codec>, response: HttpResponse) {
    let (response, body) = response.map_into_boxed_body().into_parts();
    let mut response: Response<()> = Response::from(response.set_body(())).map_body(|_, ()| ());
    response.head_mut().set_connection_type(actix_http::ConnectionType::Close);
    let Ok(body) = body.try_into_bytes() else { return };
    let head = Message::Item((response, BodySize::Sized(body.len() as u64)));
    let all = async {
        send(&mut framed, head).await?;
        send(&mut framed, Message::Chunk(Some(body))).await?;
        let mut io = framed.into_parts().io;
        io.shutdown().await?;
        // What the client still sends must not reset the connection under the answer.
        let mut rest = [0; 1024];
        while io.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    drop(timeout(REFUSAL_TIMEOUT, all).await);
}
