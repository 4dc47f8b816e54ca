//! The admin listener: is the server alive, is it ready, and what happened so far.
//!
//! It has an address of its own, because what it says is for who operates the server.

mod metrics;

use std::net::TcpListener;

use actix_web::dev::Server;
use actix_web::{App, HttpResponse, HttpServer, web};
use fanal_actors::Broker;
use serde::Deserialize;

use crate::auth::{self, Authority, Question};

/// Requests that the listener has in work at a time.
const CONNECTIONS_MAX: usize = 64;

/// Answers on this socket, on a thread of its own, until the server is stopped.
///
/// | path | answer |
/// |---|---|
/// | `/healthz` | 200 while the process works |
/// | `/readyz` | 200, or 503 with the reason: the disk cannot be written, or the server stops |
/// | `/metrics` | counters and gauges in the text form of OpenMetrics |
/// | `/v1/auth/explain?user=&verb=&path=` | which provider and rule decide what, in JSON |
///
/// # Errors
/// If the socket cannot be used.
pub fn serve(
    listener: TcpListener,
    broker: Broker,
    authority: Authority,
) -> std::io::Result<Server> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(broker.clone()))
            .app_data(web::Data::new(authority.clone()))
            .route("/v1/auth/explain", web::get().to(explain))
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

/// Answers a question about who may do what.
async fn explain(
    question: web::Query<Asked>,
    broker: web::Data<Broker>,
    authority: web::Data<Authority>,
) -> HttpResponse {
    let Asked { user, role, verb, path, source } = question.into_inner();
    let roles = role.map(|roles| roles.split(',').map(str::to_owned).collect());
    let question = Question { user, roles, verb, path, source };
    match auth::explain(&question, &authority, &broker.policy()) {
        Ok(answer) => HttpResponse::Ok().json(answer),
        Err(text) => HttpResponse::BadRequest().json(serde_json::json!({ "error": text })),
    }
}

/// A question as it stands in a URL; roles are separated by commas.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    user: String,
    role: Option<String>,
    verb: String,
    path: String,
    source: Option<String>,
}
