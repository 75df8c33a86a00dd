//! Sangam's own API over HTTP, under `/v1`: what the gateway's commands are too low
//! a level for.
//!
//! ```text
//! routes       the table of routes: who may call each; a router made of it
//! principal    who calls: tokens, service keys and their scopes
//! body         JSON bodies, bounded in bytes and in time
//! problem      errors as application/problem+json
//! limits/      rate limits
//! openapi      the description of all of it
//! docs         the same as a page
//! ```
//!
//! It stands behind the gateway, which tells by a path's beginning that a request
//! is not for itself. Nothing here is reachable by a cookie or a token in a query.

mod body;
mod docs;
mod limits;
mod openapi;
mod principal;
mod problem;
mod routes;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::{Request, Response};
use sangam::limit::Guard;
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use crate::gateway::Page;

pub use limits::service::Limits;
pub(crate) use principal::hash;
pub use principal::{Keys, Scope, ServiceKey};
pub use routes::{Need, Route};

/// The API of one server.
#[derive(Debug, Clone)]
pub struct Api {
    router: Router,
    limits: Arc<Limits>,
}

/// What the handlers have.
#[derive(Debug)]
struct Shared {
    guard: Guard,
    keys: Keys,
    body_patience: Duration,
    stop: CancellationToken,
}

/// What handlers take as their state.
type App = Arc<Shared>;

impl Api {
    /// An API over a server's limits. `body_patience` is how long a body may take to come;
    /// streams end with `stop`.
    pub fn new(
        limits: Arc<Limits>,
        keys: Keys,
        body_patience: Duration,
        stop: CancellationToken,
    ) -> Self {
        let shared = Arc::new(Shared {
            guard: limits.guard().clone(),
            keys,
            body_patience,
            stop,
        });
        Api {
            router: routes::router(shared),
            limits,
        }
    }

    /// Whether a path is one of the API's.
    pub(crate) fn owns(path: &str) -> bool {
        path.strip_prefix("/v1")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Every route and what it takes to call it.
    pub fn table() -> Vec<Route> {
        routes::table()
    }

    pub(crate) fn metrics(&self, page: &mut Page) {
        self.limits.metrics(page);
    }

    pub(crate) async fn call(&self, request: Request<Incoming>) -> Response<Body> {
        let answer = self.router.clone().call(request.map(Body::new)).await;
        let Ok(answer) = answer;
        answer
    }
}
