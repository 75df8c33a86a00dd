//! The classes that there are.

use axum::Json;
use axum::extract::State;
use sangam::limit::Class;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::App;
use crate::api::problem::Problem;

/// The classes of this server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List {
    classes: Vec<Described>,
}

/// A class.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Described {
    /// Its name.
    #[schema(example = "auth")]
    name: String,
    /// What rules while the store is away: `open`, `closed` or `local`.
    policy: &'static str,
    /// What a check may cost: `exact` or `leased`.
    mode: &'static str,
    /// Whether it only counts.
    shadow: bool,
    /// Requests that were checked against it since the server began; 0 where nothing
    /// uses it.
    checked: u64,
    /// Its rules; a request has to fit all of them.
    tiers: Vec<Tier>,
}

/// A rule of a class.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tier {
    /// Its name in the class.
    name: String,
    /// Whom it counts: `user`, `address` or `all`.
    by: &'static str,
    /// How: `sliding-window` and the like.
    algorithm: &'static str,
    /// How much.
    limit: u64,
    /// In such a time, in milliseconds.
    window_ms: u64,
    /// How much at once.
    burst: u64,
    /// Whether it only counts.
    shadow: bool,
}

impl Described {
    fn new(class: &Class, checked: u64) -> Self {
        let tier = |tier: &sangam::limit::class::Tier| Tier {
            name: tier.name.clone(),
            by: tier.by.as_str(),
            algorithm: tier.rule.algorithm().as_str(),
            limit: tier.rule.limit(),
            window_ms: tier.rule.window().as_millis() as u64,
            burst: tier.rule.burst(),
            shadow: tier.shadow,
        };
        Described {
            name: class.name.clone(),
            policy: class.terms.policy.as_str(),
            mode: class.terms.mode.as_str(),
            shadow: class.shadow,
            checked,
            tiers: class.tiers.iter().map(tier).collect(),
        }
    }
}

/// The classes of limits and their rules.
#[utoipa::path(
    get,
    path = "/v1/limits",
    operation_id = "listLimitClasses",
    tag = "limits",
    responses((status = 200, body = List), (status = 401, body = Problem), (status = 403, body = Problem)),
    security(("bearer" = ["limits:read"]))
)]
pub(crate) async fn list(State(app): State<App>) -> Json<List> {
    let counts = app.guard.counts();
    let classes = app.guard.classes();
    let described = classes.iter().map(|class| {
        let counts = counts.get(&class.name).copied().unwrap_or_default();
        Described::new(class, counts.allowed + counts.refused)
    });
    Json(List {
        classes: described.collect(),
    })
}
