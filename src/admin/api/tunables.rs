//! Settings that may be changed while the server runs.

use actix_web::http::StatusCode;
use actix_web::web;
use serde::Deserialize;
use utoipa::IntoParams;

use super::answers::{Tunable, Tuned};
use super::{Admin, Failure};
use crate::tunables::{Done, Refused, View, Wish};

/// All of them.
#[utoipa::path(get, path = "/v1/tunables", responses((status = 200, body = Vec<Tunable>)))]
pub async fn tunables(admin: web::Data<Admin>) -> web::Json<Vec<Tunable>> {
    let all = admin.0.reloader.tunables().list();
    web::Json(all.into_iter().map(Tunable::from).collect())
}

/// Another value for one.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Change {
    /// The setting, such as `stream.buffer`.
    key: String,
    /// Its value as `--set` takes it.
    value: String,
}

/// Changes one, durably.
#[utoipa::path(
    put, path = "/v1/tunables", params(Change),
    responses(
        (status = 200, body = Tuned), (status = 400, body = Failure),
        (status = 404, body = Failure), (status = 409, body = Failure),
        (status = 507, body = Failure)
    )
)]
pub async fn tune(
    admin: web::Data<Admin>,
    change: web::Query<Change>,
) -> Result<web::Json<Tuned>, Failure> {
    let Change { key, value } = change.into_inner();
    carry_out(&admin, key, Wish::Typed(value)).await
}

/// Which one.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Key {
    /// The setting, such as `stream.buffer`.
    key: String,
}

/// Gives one back the value that it has without.
#[utoipa::path(
    delete, path = "/v1/tunables", params(Key),
    responses(
        (status = 200, body = Tuned), (status = 400, body = Failure),
        (status = 404, body = Failure), (status = 409, body = Failure),
        (status = 507, body = Failure)
    )
)]
pub async fn untune(
    admin: web::Data<Admin>,
    key: web::Query<Key>,
) -> Result<web::Json<Tuned>, Failure> {
    carry_out(&admin, key.into_inner().key, Wish::Unset).await
}

async fn carry_out(admin: &Admin, key: String, wish: Wish) -> Result<web::Json<Tuned>, Failure> {
    let tunables = admin.0.reloader.tunables().clone();
    // It waits for the disk.
    let outcome = admin.find_out(move |_| tunables.change(&key, &wish)).await?;
    outcome.map(|done| web::Json(done.into())).map_err(|refused| {
        let status = match refused {
            Refused::Unknown(_) => StatusCode::NOT_FOUND,
            Refused::Invalid(_) => StatusCode::BAD_REQUEST,
            Refused::Held(_) => StatusCode::CONFLICT,
            Refused::Failed(_) => StatusCode::INSUFFICIENT_STORAGE,
        };
        Failure::of(status, refused.text())
    })
}

impl From<View> for Tunable {
    fn from(view: View) -> Self {
        Tunable {
            key: view.key.to_owned(),
            value: view.value,
            origin: view.origin,
            effect: view.effect.text().to_owned(),
            in_effect: view.in_effect,
            description: view.description,
        }
    }
}

impl From<Done> for Tuned {
    fn from(done: Done) -> Self {
        Tuned {
            key: done.key.to_owned(),
            value: done.value,
            effect: done.effect.text().to_owned(),
            remark: done.remark,
        }
    }
}
