//! Pages: what a person with a browser sees, and what everybody gets who asks for no WebSocket.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};

use super::handshake::{admit, is_route, wants_upgrade};
use super::{Door, DoorSettings, EVERY_PATH};

/// Answers a request that is no connection: the page at `/`, what is wrong with it on a route for
/// connections, that there is nothing elsewhere.
pub async fn answer(request: HttpRequest, door: web::Data<Door>) -> HttpResponse {
    let plain = request.method() == Method::GET && !wants_upgrade(request.head());
    if plain && request.path() == "/" {
        return page(&request, &door);
    }
    if !is_route(&door, request.path()) {
        return no_such_path(&door.settings);
    }
    match admit(&door, request.head(), None, None) {
        Err(refused) => refused.response(),
        // A good upgrade does not come here.
        Ok(_) => HttpResponse::BadRequest().body("a WebSocket begins with an empty body\n"),
    }
}

/// Says that there is nothing here, and where there is something.
pub fn no_such_path(settings: &DoorSettings) -> HttpResponse {
    let route = main_route(settings);
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
pub fn page(request: &HttpRequest, door: &Door) -> HttpResponse {
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
