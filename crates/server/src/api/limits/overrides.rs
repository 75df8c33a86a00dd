//! Limits that are changed while the app runs, of a class, a tier or one identifier.

use axum::extract::State;
use sangam::limit::class::By;
use sangam::limit::{GuardError, Override};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ask::{Whose, refused};
use super::manage::Changed;
use crate::api::App;
use crate::api::body::Json;
use crate::api::path::Path;
use crate::api::problem::Problem;

/// Whose limit: of all where neither is named.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// The tier; all of the class where none is named.
    #[schema(example = "user")]
    tier: Option<String>,
    /// The user whose limit it is.
    #[schema(example = "ann")]
    user: Option<String>,
    /// The address whose limit it is.
    address: Option<String>,
}

/// Another limit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Other {
    /// The tier; all of the class where none is named.
    #[schema(example = "user")]
    tier: Option<String>,
    /// The user whose limit it is; of all where neither user nor address is named.
    #[schema(example = "ann")]
    user: Option<String>,
    /// The address whose limit it is.
    address: Option<String>,
    /// How much in a window.
    #[schema(example = 1000, minimum = 1)]
    limit: u64,
    /// How much at once, for buckets.
    burst: Option<u64>,
    /// For how long, in milliseconds: at most 366 days.
    #[schema(example = 3_600_000, minimum = 1)]
    for_ms: u64,
}

/// The overrides of a class.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Overrides {
    overrides: Vec<Known>,
}

/// A limit that is another one for a time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Known {
    /// The tier; null for all of the class.
    tier: Option<String>,
    /// Whom it is for, `u:` and a user or `a:` and an address; null for all.
    id: Option<String>,
    /// How much in a window.
    limit: u64,
    /// How much at once, where that is said.
    burst: Option<u64>,
    /// Until when, in milliseconds since the epoch.
    until_ms: u64,
}

impl From<Override> for Known {
    fn from(it: Override) -> Self {
        Known {
            tier: it.tier,
            id: it.id,
            limit: it.limit,
            burst: it.burst,
            until_ms: it.until_ms,
        }
    }
}

/// The identifier as it is counted; none for all. Nobody is not everybody: an empty
/// name is refused, lest a session that has none changes the limit of all.
fn id(user: Option<&str>, address: Option<&str>) -> Result<Option<String>, Problem> {
    if user.is_some_and(|user| user.trim().is_empty()) {
        return Err(refused(
            "`user` is empty, which is nobody: leave it out to mean everybody",
        ));
    }
    if user.is_some() && address.is_some() {
        return Err(refused("name a `user` or an `address`, one of them"));
    }
    let subject = Whose::new(user, address)?.subject();
    let by = match user {
        Some(_) => By::User,
        None => By::Address,
    };
    Ok(subject.id(by))
}

fn tier(name: Option<&str>) -> Result<(), Problem> {
    if name.is_some_and(|name| name.trim().is_empty()) {
        return Err(refused(
            "`tier` is empty: leave it out to mean all of the class",
        ));
    }
    Ok(())
}

/// That there is such a class.
fn known(app: &App, class: &str) -> Result<(), Problem> {
    match app.guard.classes().get(class) {
        Some(_) => Ok(()),
        None => Err(GuardError::Class(class.to_owned()).into()),
    }
}

/// Changes a limit for a time, on all instances: at once here, elsewhere within a
/// second, or half a minute over a store that bills.
#[utoipa::path(
    put,
    path = "/v1/limits/{class}/overrides",
    operation_id = "setLimitOverride",
    tag = "limits",
    params(("class" = String, Path, description = "The class", example = "api")),
    request_body = Other,
    responses(
        (status = 200, body = Known), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 503, body = Problem),
    ),
    security(("bearer" = ["limits:manage"]))
)]
pub(crate) async fn set(
    State(app): State<App>,
    Path(class): Path<String>,
    Json(other): Json<Other>,
) -> Result<axum::Json<Known>, Problem> {
    tier(other.tier.as_deref())?;
    let id = id(other.user.as_deref(), other.address.as_deref())?;
    let now_ms = app.guard.limiter().store().now() / 1000;
    let it = Override {
        class,
        tier: other.tier,
        id,
        limit: other.limit,
        burst: other.burst,
        until_ms: now_ms.saturating_add(other.for_ms),
    };
    app.guard.set_override(&it).await?;
    Ok(axum::Json(it.into()))
}

/// Takes a change back; the class's own limit holds again.
#[utoipa::path(
    delete,
    path = "/v1/limits/{class}/overrides",
    operation_id = "clearLimitOverride",
    tag = "limits",
    params(("class" = String, Path, description = "The class", example = "api")),
    request_body = Which,
    responses(
        (status = 200, body = Changed), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 503, body = Problem),
    ),
    security(("bearer" = ["limits:manage"]))
)]
pub(crate) async fn clear(
    State(app): State<App>,
    Path(class): Path<String>,
    Json(which): Json<Which>,
) -> Result<axum::Json<Changed>, Problem> {
    known(&app, &class)?;
    tier(which.tier.as_deref())?;
    let id = id(which.user.as_deref(), which.address.as_deref())?;
    let guard = &app.guard;
    let tier = which.tier.as_deref();
    let cleared = guard.clear_override(&class, tier, id.as_deref()).await?;
    Ok(axum::Json(Changed { changed: cleared }))
}

/// The limits of a class that are others for a time.
#[utoipa::path(
    get,
    path = "/v1/limits/{class}/overrides",
    operation_id = "listLimitOverrides",
    tag = "limits",
    params(("class" = String, Path, description = "The class", example = "api")),
    responses(
        (status = 200, body = Overrides), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 503, body = Problem),
    ),
    security(("bearer" = ["limits:read"]))
)]
pub(crate) async fn list(
    State(app): State<App>,
    Path(class): Path<String>,
) -> Result<axum::Json<Overrides>, Problem> {
    known(&app, &class)?;
    let found = app.guard.overrides(&class).await?;
    let overrides = found.into_iter().map(Known::from).collect();
    Ok(axum::Json(Overrides { overrides }))
}
