//! Sangam's own API over HTTP, under `/v1`: what the gateway's commands are too low
//! a level for.
//!
//! ```text
//! routes       the table of routes: who may call each; a router made of it
//! principal    who calls: tokens, service keys and their scopes
//! following    keys of services, as the settings' file has them now
//! body         JSON bodies, bounded in bytes and in time
//! path         names out of paths
//! problem      errors as application/problem+json
//! limits/      rate limits
//! cache/       caches
//! openapi      the description of all of it
//! docs         the same as a page
//! ```
//!
//! It stands behind the gateway, which tells by a path's beginning that a request
//! is not for itself. Nothing here is reachable by a cookie or a token in a query.

mod body;
mod cache;
mod docs;
mod following;
mod limits;
mod openapi;
mod path;
mod principal;
mod problem;
mod routes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::{Request, Response};
use parking_lot::Mutex;
use sangam::limit::Guard;
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use crate::gateway::Page;
use following::Followed;

pub use cache::service::Caching;
pub use limits::service::Limits;
pub(crate) use principal::hash;
pub use principal::{Keys, Scope, ServiceKey};
pub use routes::{Need, Route};

/// The API of one server.
#[derive(Debug, Clone)]
pub struct Api {
    router: Router,
    limits: Arc<Limits>,
    caching: Arc<Caching>,
    /// What became of changed keys, where a file is followed.
    followed: Option<Arc<Mutex<Followed>>>,
}

/// What the handlers have.
#[derive(Debug)]
struct Shared {
    guard: Guard,
    caching: Arc<Caching>,
    keys: Keys,
    body_patience: Duration,
    stop: CancellationToken,
    listeners: limits::events::Listeners,
}

/// What handlers take as their state.
type App = Arc<Shared>;

impl Api {
    /// An API over a server's limits and caches. `body_patience` is how long a body may take to come;
    /// streams end with `stop`. Service keys follow `file`, if there is one.
    pub fn new(
        limits: Arc<Limits>,
        caching: Arc<Caching>,
        keys: Keys,
        file: Option<PathBuf>,
        body_patience: Duration,
        stop: CancellationToken,
    ) -> Self {
        let followed = file.map(|file| {
            let followed = Arc::<Mutex<Followed>>::default();
            let following = following::follow(keys.clone(), file, followed.clone());
            let stop = stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(following).await });
            followed
        });
        let shared = Arc::new(Shared {
            guard: limits.guard().clone(),
            caching: caching.clone(),
            keys,
            body_patience,
            stop,
            listeners: limits::events::Listeners::default(),
        });
        Api {
            router: routes::router(shared),
            limits,
            caching,
            followed,
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

    /// Changes of caches that wait for the store.
    pub(crate) fn unsent(&self) -> u64 {
        self.caching.report().unsent
    }

    pub(crate) fn metrics(&self, page: &mut Page) {
        self.limits.metrics(page);
        self.caching.metrics(page);
        if let Some(followed) = &self.followed {
            let Followed { replaced, invalid } = *followed.lock();
            page.counter(
                "sangam_service_keys_replaced_total",
                "Times that the service keys of the settings' file were put in place.",
                &[],
                replaced,
            );
            page.gauge(
                "sangam_service_keys_invalid",
                "1 while the settings' file is wrong and former service keys stay.",
                &[],
                u8::from(invalid),
            );
        }
    }

    pub(crate) async fn call(&self, request: Request<Incoming>) -> Response<Body> {
        let answer = self.router.clone().call(request.map(Body::new)).await;
        let Ok(answer) = answer;
        answer
    }
}
