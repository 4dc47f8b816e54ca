//! The HTTP side of the WebSocket door: routes, the upgrade, and a page for people.

use std::any::Any;
use std::time::Duration;

use actix_web::http::{Method, StatusCode, header};
use actix_web::rt::net::TcpStream;
use actix_web::{HttpRequest, HttpResponse, web};
use socket2::SockRef;

use super::origin::is_allowed;
use super::websocket::WebsocketSession;
use super::{Door, DoorSettings};

/// The route that stands for every path.
const EVERY_PATH: &str = "*";

/// Adds the door's routes to an actix-web application that has a [`Door`] as its data.
pub fn routes(settings: &DoorSettings, service: &mut web::ServiceConfig) {
    let every_path = settings.routes.iter().any(|route| route == EVERY_PATH);
    for route in settings.routes.iter().filter(|route| *route != EVERY_PATH) {
        service.route(route, web::route().to(enter));
    }
    if !settings.routes.iter().any(|route| route == "/") && !every_path {
        service.route("/", web::get().to(page));
    }
    service.default_service(if every_path { web::to(enter) } else { web::to(no_such_path) });
}

/// Answers a request on a route of the door: an upgrade becomes a session, a plain GET of `/` gets
/// the page.
async fn enter(request: HttpRequest, payload: web::Payload, door: web::Data<Door>) -> HttpResponse {
    let wants_upgrade = request.headers().contains_key(header::UPGRADE)
        || request.headers().contains_key(header::SEC_WEBSOCKET_KEY);
    if !wants_upgrade && request.method() == Method::GET && request.path() == "/" {
        return page(request, door).await;
    }
    if request.method() == Method::GET && !wants_upgrade {
        return needs_upgrade();
    }
    if let Some(problem) = upgrade_problem(&request) {
        return refuse(problem.0, problem.1);
    }
    if !is_allowed(&request, &door.settings) {
        let text = "this Origin may not connect (server.allowed_origins)\n";
        return refuse(StatusCode::FORBIDDEN, text);
    }
    let Some(session) = door.broker.open_session() else {
        return HttpResponse::ServiceUnavailable()
            .insert_header((header::RETRY_AFTER, "5"))
            .body("there are as many connections as there may be (server.connections_max)\n");
    };
    match WebsocketSession::start(&door, session, &request, payload) {
        Ok(response) => response,
        Err(error) => refuse(error.error_response().status(), "no good upgrade\n"),
    }
}

/// What is wrong with an upgrade besides what `actix_web_actors::ws` looks at.
fn upgrade_problem(request: &HttpRequest) -> Option<(StatusCode, &'static str)> {
    if request.method() != Method::GET {
        return Some((StatusCode::METHOD_NOT_ALLOWED, "a WebSocket begins with GET\n"));
    }
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY)?;
    // 16 bytes in base64 (RFC 6455, 4.1).
    let key = key.as_bytes();
    let good = key.len() == 24
        && key.ends_with(b"==")
        && key.iter().take(22).all(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/'));
    let text = "Sec-WebSocket-Key has to be 16 bytes in base64\n";
    if good { None } else { Some((StatusCode::BAD_REQUEST, text)) }
}

fn refuse(status: StatusCode, text: &'static str) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::SEC_WEBSOCKET_VERSION, "13"))
        .content_type("text/plain; charset=utf-8")
        .body(text)
}

fn needs_upgrade() -> HttpResponse {
    HttpResponse::UpgradeRequired()
        .insert_header((header::UPGRADE, "websocket"))
        .insert_header((header::CONNECTION, "upgrade"))
        .insert_header((header::SEC_WEBSOCKET_VERSION, "13"))
        .content_type("text/plain; charset=utf-8")
        .body("this is a WebSocket: connect with a Lighthouse client\n")
}

async fn no_such_path(door: web::Data<Door>) -> HttpResponse {
    let route = main_route(&door.settings);
    HttpResponse::NotFound()
        .content_type("text/plain; charset=utf-8")
        .body(format!("there is nothing here; Lighthouse clients connect to {route}\n"))
}

/// The route that clients are told of.
fn main_route(settings: &DoorSettings) -> &str {
    let usual = settings.routes.iter().find(|route| *route == "/websocket" || *route == EVERY_PATH);
    match usual.or(settings.routes.first()).map(String::as_str) {
        None | Some(EVERY_PATH) => "/websocket",
        Some(route) => route,
    }
}

/// The page that says what this is.
async fn page(request: HttpRequest, door: web::Data<Door>) -> HttpResponse {
    let route = main_route(&door.settings);
    let host = request.connection_info().host().to_owned();
    // The Host header comes from the client and goes into a page.
    let host: String =
        host.chars().filter(|c| c.is_ascii_alphanumeric() || "-.:[]_".contains(*c)).collect();
    let version = env!("CARGO_PKG_VERSION");
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Fanal</title>\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <style>body{{font:1.1em/1.5 system-ui,sans-serif;max-width:40em;margin:3em auto;\
         padding:0 1em}}code{{background:#8882;padding:.1em .3em}}</style>\
         <h1>Fanal {version}</h1>\
         <p>A live-state broker: a tree of resources, each with a last value and live updates.</p>\
         <p>Lighthouse clients connect to <code>ws://{host}{route}</code>.</p>\
         <p>To look at it: <code>fanal demo --url ws://{host}{route}</code>, and in another \
         terminal <code>fanal watch user/demo/model --url ws://{host}{route}</code>.</p>\
         </html>\n"
    ))
}

/// Sets the socket options of a new connection: for `HttpServer::on_connect`.
pub fn prepare_socket(connection: &dyn Any, user_timeout: Duration) {
    let Some(stream) = connection.downcast_ref::<TcpStream>() else { return };
    let socket = SockRef::from(stream);
    if let Err(error) = socket.set_tcp_user_timeout(Some(user_timeout)) {
        log::debug!("TCP_USER_TIMEOUT could not be set: {error}");
    }
}

/// Opens the listening socket, so that an address in use is an error before anything starts.
///
/// # Errors
/// If the address cannot be bound.
pub fn listen(
    address: std::net::SocketAddr,
    backlog: i32,
) -> std::io::Result<std::net::TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}
