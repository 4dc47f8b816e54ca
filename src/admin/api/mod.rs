//! The API of who operates the server: JSON over HTTP, below `/v1`.
//!
//! `/v1/openapi.json` is made of what stands at the handlers, and `tests/admin_api.rs` asks for
//! everything in it.

pub mod answers;
mod export;
mod operations;
mod resources;
mod sessions;
mod tunables;

use std::fmt;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError, web};
use fanal_actors::{Broker, Path};
use serde::Serialize;
use tokio::sync::Semaphore;
use utoipa::{OpenApi, ToSchema};

use crate::auth::Authority;
use crate::clock::Moment;
use crate::reload::Reloader;
use crate::stopping::Stopper;

/// Bytes of a body that are read.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The most that a list has.
const LIST_MAX: usize = 10_000;

/// What the API has to do with. Clones are the same.
#[derive(Clone)]
pub struct Admin(Arc<Inner>);

struct Inner {
    broker: Broker,
    authority: Authority,
    reloader: Reloader,
    stopper: Stopper,
    /// One copy of everything at a time, which is enough work for a disk.
    exports: Arc<Semaphore>,
    started: Moment,
}

impl Admin {
    /// For this server.
    pub fn new(broker: Broker, authority: Authority, reloader: Reloader, stopper: Stopper) -> Self {
        let (exports, started) = (Arc::new(Semaphore::new(1)), Moment::now());
        Admin(Arc::new(Inner { broker, authority, reloader, stopper, exports, started }))
    }

    /// The broker.
    pub fn broker(&self) -> &Broker {
        &self.0.broker
    }

    /// What something finds out that looks at every resource, on a thread that may take its time.
    async fn find_out<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Broker) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let broker = self.0.broker.clone();
        let found = actix_web::rt::task::spawn_blocking(move || look(&broker)).await;
        found.map_err(|_| Failure::of(StatusCode::INTERNAL_SERVER_ERROR, "a fault of the server"))
    }
}

/// Why a request was not answered.
#[derive(Debug, Serialize, ToSchema)]
pub struct Failure {
    /// What is wrong, for people.
    error: String,
    #[serde(skip)]
    status: StatusCode,
}

impl Failure {
    /// Of a request that has no credentials.
    pub fn new(text: impl Into<String>) -> Self {
        Self::of(StatusCode::UNAUTHORIZED, text)
    }

    fn of(status: StatusCode, text: impl Into<String>) -> Self {
        Failure { error: text.into(), status }
    }

    fn not_found(text: impl Into<String>) -> Self {
        Self::of(StatusCode::NOT_FOUND, text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.error)
    }
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status).json(self)
    }
}

/// Answers what cannot be read in a URL as any other failure.
pub fn query_config() -> web::QueryConfig {
    web::QueryConfig::default()
        .error_handler(|error, _| Failure::of(StatusCode::BAD_REQUEST, error.to_string()).into())
}

/// Answers what cannot be read in a body as any other failure.
pub fn json_config() -> web::JsonConfig {
    web::JsonConfig::default()
        .limit(BODY_BYTES_MAX)
        .error_handler(|error, _| Failure::of(StatusCode::BAD_REQUEST, error.to_string()).into())
}

/// The description of all of it.
#[derive(OpenApi)]
#[openapi(
    info(title = "Fanal", description = "Looks at a running server and steers it."),
    paths(
        operations::status,
        operations::reload,
        operations::save,
        operations::drain,
        operations::log_level,
        operations::set_log_level,
        operations::explain,
        export::export,
        resources::tree,
        resources::resources,
        resources::resource,
        resources::links,
        resources::slow_streams,
        sessions::sessions,
        sessions::session,
        sessions::kick,
        tunables::tunables,
        tunables::tune,
        tunables::untune
    )
)]
struct Document;

/// The handlers, below `/v1`.
pub fn routes(api: &mut web::ServiceConfig) {
    api.route("/openapi.json", web::get().to(document))
        .route("/status", web::get().to(operations::status))
        .route("/reload", web::post().to(operations::reload))
        .route("/log", web::get().to(operations::log_level))
        .route("/log", web::put().to(operations::set_log_level))
        .route("/drain", web::post().to(operations::drain))
        .route("/snapshot", web::get().to(export::export))
        .route("/snapshot", web::post().to(operations::save))
        .route("/auth/explain", web::get().to(operations::explain))
        .route("/tree", web::get().to(resources::tree))
        .route("/resources", web::get().to(resources::resources))
        .route("/resource", web::get().to(resources::resource))
        .route("/links", web::get().to(resources::links))
        .route("/streams/slow", web::get().to(resources::slow_streams))
        .route("/sessions", web::get().to(sessions::sessions))
        .route("/sessions/{number}", web::get().to(sessions::session))
        .route("/sessions/{number}", web::delete().to(sessions::kick))
        .route("/tunables", web::get().to(tunables::tunables))
        .route("/tunables", web::put().to(tunables::tune))
        .route("/tunables", web::delete().to(tunables::untune))
        .default_service(web::to(nothing));
}

async fn document() -> HttpResponse {
    HttpResponse::Ok().json(Document::openapi())
}

async fn nothing() -> Result<HttpResponse, Failure> {
    Err(Failure::not_found("there is nothing here; see /v1/openapi.json"))
}

/// A path as it stands in a URL: names separated by slashes, `/` or nothing for the root.
fn to_path(text: &str) -> Path {
    Path::new(text.split('/').filter(|name| !name.is_empty()))
}
