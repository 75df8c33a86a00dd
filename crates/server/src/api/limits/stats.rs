//! What became of a class's requests.

use axum::extract::State;
use hyper::{StatusCode, Uri};
use sangam::limit::analytics::{AnalyticsError, Counts, Ranking};
use serde::Serialize;
use utoipa::ToSchema;

use super::ask::refused;
use crate::api::App;
use crate::api::path::Path;
use crate::api::problem::Problem;

/// The range of an answer where none is asked for: an hour.
const RANGE: u64 = 3_600_000;

/// What became of a class's requests.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Stats {
    /// Each window of the range.
    points: Vec<Point>,
    /// Their sum.
    totals: Totals,
    /// Who came most.
    top: Top,
    /// Who was refused most.
    top_refused: Top,
    /// Most instances that have counted in one window.
    instances: usize,
}

/// A window.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Point {
    /// When it begins, in milliseconds since the epoch.
    at_ms: u64,
    #[serde(flatten)]
    counts: Totals,
}

/// Requests, by what became of them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Totals {
    /// Let through by the limits.
    allowed: u64,
    /// Refused by the limits.
    refused: u64,
    /// Let through by a list.
    exempt: u64,
    /// Refused by a list.
    denied: u64,
    /// Let through, and refused were there no shadow.
    shadowed: u64,
    /// Let through by a policy, while the store was away.
    degraded_allowed: u64,
    /// Refused by a policy, while the store was away.
    degraded_refused: u64,
}

impl From<Counts> for Totals {
    fn from(counts: Counts) -> Self {
        Totals {
            allowed: counts.allowed,
            refused: counts.refused,
            exempt: counts.exempt,
            denied: counts.denied,
            shadowed: counts.shadowed,
            degraded_allowed: counts.degraded_allowed,
            degraded_refused: counts.degraded_refused,
        }
    }
}

/// Who comes first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Top {
    entries: Vec<Entry>,
    /// Nobody else has more than this.
    others_at_most: u64,
}

/// How often an identifier came.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Entry {
    /// `u:` and a user, `a:` and an address.
    id: String,
    /// At least so often.
    at_least: u64,
    /// At most so often.
    at_most: u64,
}

impl From<Ranking> for Top {
    fn from(ranking: Ranking) -> Self {
        let entries = ranking.entries.into_iter().map(|it| Entry {
            id: String::from_utf8_lossy(&it.id).into_owned(),
            at_least: it.at_least,
            at_most: it.at_most,
        });
        Top {
            entries: entries.collect(),
            others_at_most: ranking.others_at_most,
        }
    }
}

/// Allowed and refused over time, and who came and was refused most.
#[utoipa::path(
    get,
    path = "/v1/limits/{class}/stats",
    operation_id = "limitStatistics",
    tag = "limits",
    params(
        ("class" = String, Path, description = "The class", example = "api"),
        ("from" = Option<u64>, Query, description = "Milliseconds since the epoch; an hour before `to` unless said"),
        ("to" = Option<u64>, Query, description = "Milliseconds since the epoch; now unless said"),
    ),
    responses(
        (status = 200, body = Stats), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 503, body = Problem),
    ),
    security(("bearer" = ["limits:read"]))
)]
pub(crate) async fn stats(
    State(app): State<App>,
    Path(class): Path<String>,
    uri: Uri,
) -> Result<axum::Json<Stats>, Problem> {
    if app.guard.classes().get(&class).is_none() {
        return Err(sangam::limit::GuardError::Class(class).into());
    }
    let analytics = app.guard.analytics().ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "this server keeps no statistics of limits",
        )
    })?;
    let query = uri.query().unwrap_or_default();
    let now = app.guard.limiter().store().now() / 1000;
    let to = moment(query, "to")?.unwrap_or(now);
    let from = moment(query, "from")?.unwrap_or(to.saturating_sub(RANGE));
    if from > to {
        return Err(refused("`from` is not after `to`"));
    }
    let report = analytics.read(&class, from, to).await?;
    let points = report.points.into_iter().map(|point| Point {
        at_ms: point.at_ms,
        counts: point.counts.into(),
    });
    Ok(axum::Json(Stats {
        points: points.collect(),
        totals: report.totals.into(),
        top: report.top.into(),
        top_refused: report.top_refused.into(),
        instances: report.instances,
    }))
}

impl From<AnalyticsError> for Problem {
    fn from(error: AnalyticsError) -> Self {
        let status = match &error {
            AnalyticsError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        Problem::new(status, error.to_string())
    }
}

/// A moment out of a query.
fn moment(query: &str, name: &str) -> Result<Option<u64>, Problem> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, text)) = pairs.into_iter().find(|(key, _)| *key == name) else {
        return Ok(None);
    };
    let moment = text
        .parse()
        .map_err(|_| refused(&format!("`{name}` is milliseconds since the epoch")))?;
    Ok(Some(moment))
}
