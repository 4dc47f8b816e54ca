//! What the server is told to do, and how it is.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web;
use serde::Deserialize;
use utoipa::IntoParams;

use super::answers::{Done, LogLevel, Saved, Status};
use super::{Admin, Failure};
use crate::auth::{self, Answer, Question};
use crate::clock::Moment;
use crate::config::is_log_filter;
use crate::logging;

/// The longest time over which connections are closed.
const DRAIN_MAX: Duration = Duration::from_secs(3600);

/// How the server is.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = Status)))]
pub async fn status(admin: web::Data<Admin>) -> web::Json<Status> {
    let broker = admin.broker();
    let (values_bytes, values_resident_bytes) = broker.value_bytes();
    let counters = broker.counters().all().into_iter();
    web::Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_seconds: Moment::now().since(admin.0.started).as_secs(),
        stopping: broker.is_stopping(),
        durable: broker.is_durable(),
        sessions: broker.sessions() as u64,
        nodes: broker.nodes() as u64,
        values_bytes,
        values_resident_bytes,
        counters: counters.map(|(name, _, count)| (name.to_owned(), count)).collect(),
    })
}

/// Reads anew who may do what. On any error nothing changes.
#[utoipa::path(
    post, path = "/v1/reload",
    responses((status = 200, body = Done), (status = 409, body = Failure))
)]
pub async fn reload(admin: web::Data<Admin>) -> Result<web::Json<Done>, Failure> {
    let reloader = admin.0.reloader.clone();
    match admin.find_out(move |_| reloader.reload()).await? {
        Ok(done) => Ok(web::Json(Done { done })),
        Err(problems) => Err(Failure::of(StatusCode::CONFLICT, problems)),
    }
}

/// Saves what has changed, now.
#[utoipa::path(
    post, path = "/v1/snapshot",
    responses((status = 200, body = Saved), (status = 507, body = Failure))
)]
pub async fn save(admin: web::Data<Admin>) -> Result<web::Json<Saved>, Failure> {
    match admin.broker().save().await {
        Ok(Some(report)) => {
            log::info!("saved {} resources because an operator wants it", report.resources);
            Ok(web::Json(Saved { resources: report.resources, bytes: report.bytes }))
        }
        Ok(None) => Ok(web::Json(Saved { resources: 0, bytes: 0 })),
        Err(error) => Err(Failure::of(StatusCode::INSUFFICIENT_STORAGE, error.to_string())),
    }
}

/// How long it may take.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Over {
    /// The time over which connections are closed, such as 30s; without, `shutdown.drain`.
    over: Option<String>,
}

/// Has the server stop: nobody is let in any more, connections are closed in batches, and what has
/// changed is saved.
#[utoipa::path(
    post, path = "/v1/drain", params(Over),
    responses(
        (status = 200, body = Done), (status = 400, body = Failure), (status = 409, body = Failure)
    )
)]
pub async fn drain(
    admin: web::Data<Admin>,
    over: web::Query<Over>,
) -> Result<web::Json<Done>, Failure> {
    let over = over.into_inner().over;
    let over = over.map(|text| humantime::parse_duration(&text)).transpose();
    let over = over.ok().filter(|over| over.is_none_or(|over| over <= DRAIN_MAX));
    let Some(over) = over else {
        let text = "over: expected a duration of at most 1h, such as 30s";
        return Err(Failure::of(StatusCode::BAD_REQUEST, text));
    };
    let over = over.unwrap_or(admin.0.reloader.tunables().drain());
    if !admin.0.stopper.stop(over) {
        return Err(Failure::of(StatusCode::CONFLICT, "the server is about to stop already"));
    }
    log::info!("an operator has the server stop");
    let (sessions, over) = (admin.broker().sessions(), humantime::format_duration(over));
    Ok(web::Json(Done { done: format!("stopping: {sessions} connections to close in {over}") }))
}

/// What is to be logged.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// The least important messages that are shown, as `log.level` has it.
    level: String,
}

/// What is logged.
#[utoipa::path(
    get, path = "/v1/log",
    responses((status = 200, body = LogLevel), (status = 501, body = Failure))
)]
pub async fn log_level() -> Result<web::Json<LogLevel>, Failure> {
    logging::level().map(|level| web::Json(LogLevel { level })).ok_or_else(no_logger)
}

/// Changes what is logged, until the next start.
#[utoipa::path(
    put, path = "/v1/log", params(Wanted),
    responses(
        (status = 200, body = LogLevel), (status = 400, body = Failure),
        (status = 501, body = Failure)
    )
)]
pub async fn set_log_level(wanted: web::Query<Wanted>) -> Result<web::Json<LogLevel>, Failure> {
    let Wanted { level } = wanted.into_inner();
    if !is_log_filter(&level) {
        let text = "level: expected error, warn, info, debug, trace, off, or a list as in \
                    info,fanal::doors=debug";
        return Err(Failure::of(StatusCode::BAD_REQUEST, text));
    }
    if !logging::set_level(&level) {
        return Err(no_logger());
    }
    log::info!("an operator has set the level of the log: {level}");
    Ok(web::Json(LogLevel { level }))
}

/// The server runs in an application that logs in its own way.
fn no_logger() -> Failure {
    Failure::of(StatusCode::NOT_IMPLEMENTED, "the log is not the server's own")
}

/// What is to be explained.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// The user; empty for who gives no credentials.
    #[serde(default)]
    user: String,
    /// Roles to take instead of those of the user, separated by commas.
    role: Option<String>,
    /// The verb.
    verb: String,
    /// Names separated by slashes.
    path: String,
    /// For LINK, the resource that is followed.
    source: Option<String>,
}

/// Which provider and which rule decide whether a user may do something.
#[utoipa::path(
    get, path = "/v1/auth/explain", params(Asked),
    responses((status = 200, body = Answer), (status = 400, body = Failure))
)]
pub async fn explain(
    admin: web::Data<Admin>,
    asked: web::Query<Asked>,
) -> Result<web::Json<Answer>, Failure> {
    let Asked { user, role, verb, path, source } = asked.into_inner();
    let roles = role.map(|roles| roles.split(',').map(str::to_owned).collect());
    let question = Question { user, roles, verb, path, source };
    auth::explain(&question, &admin.0.authority, &admin.broker().policy())
        .map(web::Json)
        .map_err(|text| Failure::of(StatusCode::BAD_REQUEST, text))
}
