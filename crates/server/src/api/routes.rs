//! The table of routes and of what each asks of its caller. A route that is not
//! here does not exist; one without a need cannot be written.

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, on};
use hyper::{Method, StatusCode};

use super::App;
use super::principal::Scope;
use super::problem::Problem;
use super::{cache, docs, limits, openapi};

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Public,
    /// A token, or any service key: the handler asks for the scope.
    Caller,
    /// A token, or a service key with this scope. The read-only token will do
    /// where the scope only reads.
    Scope(Scope),
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: Method,
    /// With `{class}`, `{name}`, `{key}` where a name stands.
    pub path: &'static str,
    /// What it asks of its caller.
    pub need: Need,
}

/// Routes on their way to a router.
pub(super) struct Routes {
    router: Router<App>,
    table: Vec<Route>,
    /// Whose keys they ask for; `None` where only the table is wanted.
    app: Option<App>,
}

impl Routes {
    /// Adds a route.
    pub(super) fn add<H, T>(
        self,
        method: Method,
        path: &'static str,
        need: Need,
        handler: H,
    ) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.add_at(method, path, &[path], need, handler)
    }

    /// The same where the router knows the path by other patterns.
    pub(super) fn add_at<H, T>(
        mut self,
        method: Method,
        path: &'static str,
        patterns: &[&str],
        need: Need,
        handler: H,
    ) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        if let (Some(app), Ok(filter)) = (&self.app, MethodFilter::try_from(method.clone())) {
            let mut methods = on(filter, handler);
            if need != Need::Public {
                let needed = (app.clone(), need);
                methods = methods.route_layer(from_fn_with_state(needed, ask));
            }
            for pattern in patterns {
                self.router = self.router.route(pattern, methods.clone());
            }
        }
        self.table.push(Route { method, path, need });
        self
    }
}

/// Lets a request through whose caller has what it needs.
async fn ask(State((app, need)): State<(App, Need)>, request: Request, next: Next) -> Response {
    let found = match need {
        Need::Public => Ok(()),
        Need::Caller => app.keys.caller(request.headers()).map(drop),
        Need::Scope(scope) => {
            let path = request.uri().path();
            app.keys.allow(request.headers(), scope, path)
        }
    };
    match found {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn all(app: Option<App>) -> Routes {
    let routes = Routes {
        router: Router::new(),
        table: Vec::new(),
        app,
    };
    let routes = routes
        .add(
            Method::GET,
            "/v1/openapi.json",
            Need::Public,
            openapi::document,
        )
        .add(Method::GET, "/v1/docs", Need::Public, docs::page);
    cache::routes(limits::routes(routes))
}

pub(super) fn table() -> Vec<Route> {
    all(None).table
}

pub(super) fn router(app: App) -> Router {
    all(Some(app.clone()))
        .router
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path has other methods: see Allow",
            )
        })
        .fallback(|request: Request| async move {
            let path: String = request.uri().path().chars().take(128).collect();
            Problem::new(
                StatusCode::NOT_FOUND,
                format!("{path} does not exist: /v1/docs lists what does"),
            )
        })
        .with_state(app)
}
