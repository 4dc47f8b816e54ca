//! The admin listener: is the server alive, is it ready, what happened so far, and the API of who
//! operates it.
//!
//! It has an address of its own, because what it says is for who operates the server. The same is
//! at a socket in the data directory, where the commands of `fanal` find it.

mod api;
mod gate;

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, HttpServer, web};
use fanal_actors::Broker;

pub use api::{Admin, answers};
pub use gate::Gate;

use crate::metrics::{self, Metrics};

/// Requests that a listener has in work at a time.
const CONNECTIONS_MAX: usize = 64;

/// Where an admin listener is.
pub enum Place {
    /// At a port.
    Port(TcpListener),
    /// At a file.
    File(UnixListener),
}

/// Answers at this place, on a thread of its own, until the server is stopped.
///
/// | path | answer |
/// |---|---|
/// | `/healthz` | 200 while the process works |
/// | `/readyz` | 200, or 503 with the reason: the disk cannot be written, or the server stops |
/// | `/metrics` | what is measured, in the text form of Prometheus or of OpenMetrics |
/// | `/v1/...` | the API, which `/v1/openapi.json` describes, behind the gate |
///
/// # Errors
/// If the socket cannot be used.
pub fn serve(place: Place, admin: Admin, metrics: Metrics, gate: Gate) -> std::io::Result<Server> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(admin.broker().clone()))
            .app_data(web::Data::new(admin.clone()))
            .app_data(web::Data::new(metrics.clone()))
            .app_data(web::Data::new(gate.clone()))
            .app_data(api::query_config())
            .app_data(api::json_config())
            .route("/healthz", web::get().to(healthz))
            .route("/readyz", web::get().to(readyz))
            .route("/metrics", web::get().to(metrics::answer))
            .service(web::scope("/v1").wrap(from_fn(gate::check)).configure(api::routes))
    });
    let server = server.workers(1).max_connections(CONNECTIONS_MAX).disable_signals();
    let server = server.shutdown_timeout(1);
    Ok(match place {
        Place::Port(listener) => server.listen(listener)?,
        Place::File(listener) => server.listen_uds(listener)?,
    }
    .run())
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().body("ok\n")
}

async fn readyz(broker: web::Data<Broker>) -> HttpResponse {
    if broker.is_stopping() {
        return HttpResponse::ServiceUnavailable().body("stopping\n");
    }
    if !broker.is_durable() {
        let text =
            "the store cannot be written: what is acknowledged is in memory only; see the log\n";
        return HttpResponse::ServiceUnavailable().body(text);
    }
    HttpResponse::Ok().body("ready\n")
}
