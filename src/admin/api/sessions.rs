//! Connections: who is there, and how to end one.

use actix_web::web;
use serde::Deserialize;
use utoipa::IntoParams;

use super::answers::{Done, Session, SessionAndStreams};
use super::{Admin, Failure, LIST_MAX};

/// Which connections.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Only those of this user.
    user: Option<String>,
    /// Only those with larger numbers, to go on where a list has ended.
    #[serde(default)]
    after: u64,
    /// At most so many, of 10,000; without, 1000.
    limit: Option<usize>,
}

/// The connections that are open, the oldest first.
#[utoipa::path(
    get, path = "/v1/sessions", params(Wanted),
    responses((status = 200, body = Vec<Session>), (status = 400, body = Failure))
)]
pub async fn sessions(
    admin: web::Data<Admin>,
    wanted: web::Query<Wanted>,
) -> Result<web::Json<Vec<Session>>, Failure> {
    let Wanted { user, after, limit } = wanted.into_inner();
    let limit = limit.unwrap_or(1000).min(LIST_MAX);
    let all = admin.find_out(|broker| broker.inspector().sessions()).await?;
    let fits = |session: &Session| user.is_none() || session.user == user;
    let newer = all.into_iter().filter(|view| view.number > after).map(Session::from);
    Ok(web::Json(newer.filter(fits).take(limit).collect()))
}

/// A connection and its streams.
#[utoipa::path(
    get, path = "/v1/sessions/{number}",
    params(("number" = u64, Path, description = "As in the log")),
    responses((status = 200, body = SessionAndStreams), (status = 404, body = Failure))
)]
pub async fn session(
    admin: web::Data<Admin>,
    number: web::Path<u64>,
) -> Result<web::Json<SessionAndStreams>, Failure> {
    let number = number.into_inner();
    let found = admin.find_out(move |broker| broker.inspector().session(number)).await?;
    let (session, streams) = found.ok_or_else(|| missing(number))?;
    let streams = streams.into_iter().take(LIST_MAX).map(Into::into).collect();
    Ok(web::Json(SessionAndStreams { session: session.into(), streams }))
}

/// Ends a connection; it may come back.
#[utoipa::path(
    delete, path = "/v1/sessions/{number}",
    params(("number" = u64, Path, description = "As in the log")),
    responses((status = 200, body = Done), (status = 404, body = Failure))
)]
pub async fn kick(
    admin: web::Data<Admin>,
    number: web::Path<u64>,
) -> Result<web::Json<Done>, Failure> {
    let number = number.into_inner();
    if !admin.broker().kick(number) {
        return Err(missing(number));
    }
    log::info!("session {number} is ended by an operator");
    Ok(web::Json(Done { done: format!("session {number} was told to end") }))
}

fn missing(number: u64) -> Failure {
    Failure::not_found(format!("there is no session {number}"))
}
