//! Resources, links and streams.

use std::collections::HashMap;
use std::time::Duration;

use actix_web::rt::time::sleep;
use actix_web::web;
use fanal_actors::{Broker, ResourceView, Wanted};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::answers::{Link, Resource, ResourceAndStreams, Stream, Tree};
use super::{Admin, Failure, LIST_MAX, to_path};
use crate::clock::Clock;

/// How long the values are counted that resources take in a second.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// Resources that are counted for it, those that took the most before.
const RATED_MAX: usize = 100_000;

/// What resources are ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The size of the value.
    #[default]
    Bytes,
    /// The number of streams.
    Streams,
    /// Values taken since the resource last had nothing but its value.
    Updates,
    /// Values taken in a second; the answer takes a second.
    Rate,
}

/// Which resources.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct First {
    /// What they are ordered by.
    #[serde(default)]
    #[param(inline)]
    by: By,
    /// Only those at this path and below, as names separated by slashes.
    #[serde(default)]
    below: String,
    /// How many, of at most 10,000.
    #[serde(default = "ten")]
    top: usize,
}

fn ten() -> usize {
    10
}

/// One place.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct At {
    /// Names separated by slashes.
    path: String,
}

/// One place, or all.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Of {
    /// Names separated by slashes.
    path: Option<String>,
}

/// How many.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Top {
    /// How many, of at most 10,000.
    #[serde(default = "ten")]
    top: usize,
}

/// Numbers of the whole tree.
#[utoipa::path(get, path = "/v1/tree", responses((status = 200, body = Tree)))]
pub async fn tree(admin: web::Data<Admin>) -> Result<web::Json<Tree>, Failure> {
    let view = admin.find_out(|broker| broker.inspector().tree_view()).await?;
    Ok(web::Json(view.into()))
}

/// The resources that are the largest, or have the most of something.
#[utoipa::path(
    get, path = "/v1/resources", params(First),
    responses((status = 200, body = Vec<Resource>), (status = 400, body = Failure))
)]
pub async fn resources(
    admin: web::Data<Admin>,
    first: web::Query<First>,
) -> Result<web::Json<Vec<Resource>>, Failure> {
    let First { by, below, top } = first.into_inner();
    let below = to_path(&below);
    let top = top.min(LIST_MAX);
    let wanted = match by {
        By::Bytes => Wanted::Bytes,
        By::Streams => Wanted::Streams,
        By::Updates => Wanted::Updates,
        By::Rate => {
            let look = || {
                let (admin, below) = (admin.clone(), below.clone());
                async move {
                    let look = move |broker: &Broker| {
                        broker.inspector().first_resources(Wanted::Updates, &below, RATED_MAX)
                    };
                    admin.find_out(look).await
                }
            };
            let (before, begun) = (look().await?, Clock::now());
            sleep(RATE_WINDOW).await;
            let after = look().await?;
            let seconds = Clock::now().saturating_duration_since(begun).as_secs_f64();
            return Ok(web::Json(rated(&before, after, seconds, top)));
        }
    };
    let found = admin
        .find_out(move |broker| broker.inspector().first_resources(wanted, &below, top))
        .await?;
    Ok(web::Json(found.into_iter().map(Into::into).collect()))
}

/// The resources that took the most values between two looks.
fn rated(
    before: &[ResourceView],
    after: Vec<ResourceView>,
    seconds: f64,
    top: usize,
) -> Vec<Resource> {
    let known: HashMap<u64, u64> = before.iter().map(|view| (view.number, view.updates)).collect();
    let mut rated: Vec<(u64, ResourceView)> = after
        .into_iter()
        .map(|view| {
            let before = known.get(&view.number).copied().unwrap_or_default();
            // A resource that rested meanwhile counts anew.
            (view.updates.checked_sub(before).unwrap_or(view.updates), view)
        })
        .filter(|(updates, _)| *updates > 0)
        .collect();
    rated.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.path.cmp(&other.path)));
    rated.truncate(top);
    let to_answer = |(updates, view): (u64, ResourceView)| Resource {
        // A rate needs no more digits.
        updates_per_second: Some((updates as f64 / seconds.max(0.001) * 10.0).round() / 10.0),
        ..Resource::from(view)
    };
    rated.into_iter().map(to_answer).collect()
}

/// A resource, its streams and its links.
#[utoipa::path(
    get, path = "/v1/resource", params(At),
    responses((status = 200, body = ResourceAndStreams), (status = 404, body = Failure))
)]
pub async fn resource(
    admin: web::Data<Admin>,
    at: web::Query<At>,
) -> Result<web::Json<ResourceAndStreams>, Failure> {
    let path = to_path(&at.path);
    let found = admin
        .find_out(move |broker| {
            let inspector = broker.inspector();
            let (resource, streams) = inspector.resource(&path)?;
            Some((resource, streams, inspector.links(Some(&path))))
        })
        .await?;
    let Some((resource, streams, links)) = found else {
        return Err(Failure::not_found(format!("there is no resource at {}", at.path)));
    };
    Ok(web::Json(ResourceAndStreams {
        resource: resource.into(),
        streams: streams.into_iter().take(LIST_MAX).map(Into::into).collect(),
        links: links.into_iter().take(LIST_MAX).map(Into::into).collect(),
    }))
}

/// The links, or those from and to a resource.
#[utoipa::path(
    get, path = "/v1/links", params(Of),
    responses((status = 200, body = Vec<Link>), (status = 400, body = Failure))
)]
pub async fn links(
    admin: web::Data<Admin>,
    of: web::Query<Of>,
) -> Result<web::Json<Vec<Link>>, Failure> {
    let path = of.into_inner().path.map(|path| to_path(&path));
    let links = admin.find_out(move |broker| broker.inspector().links(path.as_ref())).await?;
    Ok(web::Json(links.into_iter().take(LIST_MAX).map(Into::into).collect()))
}

/// The streams that lost the most values because their connection was behind.
#[utoipa::path(
    get, path = "/v1/streams/slow", params(Top),
    responses((status = 200, body = Vec<Stream>), (status = 400, body = Failure))
)]
pub async fn slow_streams(
    admin: web::Data<Admin>,
    top: web::Query<Top>,
) -> Result<web::Json<Vec<Stream>>, Failure> {
    let top = top.into_inner().top.min(LIST_MAX);
    let found = admin.find_out(move |broker| broker.inspector().slowest_streams(top)).await?;
    Ok(web::Json(found.into_iter().map(Into::into).collect()))
}
