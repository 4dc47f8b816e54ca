//! The admin listener: is the server alive, is it ready, and what happened so far.
//!
//! It has an address of its own, because what it says is for who operates the server.

mod metrics;

use std::net::TcpListener;

use actix_web::dev::Server;
use actix_web::{App, HttpResponse, HttpServer, web};
use fanal_actors::Broker;

/// Requests that the listener has in work at a time.
const CONNECTIONS_MAX: usize = 64;

/// Answers on this socket, on a thread of its own, until the server is stopped.
///
/// | path | answer |
/// |---|---|
/// | `/healthz` | 200 while the process works |
/// | `/readyz` | 200, or 503 with the reason: the disk cannot be written, or the server stops |
/// | `/metrics` | counters and gauges in the text form of OpenMetrics |
///
/// # Errors
/// If the socket cannot be used.
pub fn serve(listener: TcpListener, broker: Broker) -> std::io::Result<Server> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(broker.clone()))
            .route("/healthz", web::get().to(healthz))
            .route("/readyz", web::get().to(readyz))
            .route("/metrics", web::get().to(metrics::answer))
    });
    let server = server.workers(1).max_connections(CONNECTIONS_MAX).disable_signals();
    Ok(server.shutdown_timeout(1).listen(listener)?.run())
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
