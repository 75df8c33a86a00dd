//! Limits over HTTP: checks, and whoever manages them.
//!
//! ```text
//! ask       what a check is asked with: whose request, what it costs
//! answer    what it is answered with
//! check     one check, and several in one request
//! manage    what is done to counts besides checking them
//! overrides limits that are others for a time
//! stats     what became of requests
//! events    what happens, as it happens
//! service   the guard of a server, from its start to its end
//! classes   what there is to check against
//! ```

pub(super) mod answer;
pub(super) mod ask;
pub(super) mod check;
pub(super) mod classes;
pub(super) mod events;
pub(super) mod manage;
pub(super) mod overrides;
pub(super) mod service;
pub(super) mod stats;

use hyper::Method;
use hyper::StatusCode;
use sangam::limit::{GuardError, LimitError};

use super::principal::Scope;
use super::problem::Problem;
use super::routes::{Need, Routes};

/// The routes of limits.
pub(super) fn routes(routes: Routes) -> Routes {
    let check = Need::Scope(Scope::LimitsCheck);
    let read = Need::Scope(Scope::LimitsRead);
    let change = Need::Scope(Scope::LimitsManage);
    routes
        .add(Method::GET, "/v1/limits", read, classes::list)
        .add(Method::POST, "/v1/limits/check", Need::Caller, check::batch)
        .add(
            Method::POST,
            "/v1/limits/{class}/check",
            check,
            check::check,
        )
        .add(Method::POST, "/v1/limits/{class}/peek", read, check::peek)
        .add(
            Method::POST,
            "/v1/limits/{class}/refund",
            change,
            manage::refund,
        )
        .add(
            Method::POST,
            "/v1/limits/{class}/release",
            check,
            manage::release,
        )
        .add(
            Method::POST,
            "/v1/limits/{class}/penalize",
            change,
            manage::penalize,
        )
        .add(
            Method::POST,
            "/v1/limits/{class}/block",
            change,
            manage::block,
        )
        .add(
            Method::POST,
            "/v1/limits/{class}/unblock",
            change,
            manage::unblock,
        )
        .add(
            Method::POST,
            "/v1/limits/{class}/reset",
            change,
            manage::reset,
        )
        .add(
            Method::GET,
            "/v1/limits/{class}/overrides",
            read,
            overrides::list,
        )
        .add(
            Method::PUT,
            "/v1/limits/{class}/overrides",
            change,
            overrides::set,
        )
        .add(
            Method::DELETE,
            "/v1/limits/{class}/overrides",
            change,
            overrides::clear,
        )
        .add(Method::GET, "/v1/limits/{class}/stats", read, stats::stats)
        .add(Method::GET, "/v1/limits/events", read, events::stream)
}

impl From<GuardError> for Problem {
    fn from(error: GuardError) -> Self {
        let status = match &error {
            GuardError::Class(_) => StatusCode::NOT_FOUND,
            GuardError::Limit(LimitError::Store(_)) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        Problem::new(status, error.to_string())
    }
}
