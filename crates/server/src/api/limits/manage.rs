//! What is done to a subject's counts besides checking them.

use axum::extract::State;
use sangam::limit::Subject;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

use super::ask::{Whose, refused};
use crate::api::App;
use crate::api::body::Json;
use crate::api::path::Path;
use crate::api::problem::Problem;

/// What became of a change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Changed {
    /// Whether there was anything to change.
    pub(super) changed: bool,
}

type Answer = Result<axum::Json<Changed>, Problem>;

fn changed(changed: bool) -> Answer {
    Ok(axum::Json(Changed { changed }))
}

/// Whose counts, and how much of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Amount {
    /// The user whose counts these are.
    #[schema(example = "ann")]
    user: Option<String>,
    /// The address whose counts these are.
    #[schema(example = "192.0.2.7")]
    address: Option<String>,
    /// How much; 1 unless said.
    #[schema(minimum = 1)]
    cost: Option<u64>,
}

/// Who is blocked, and for how long.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Block {
    /// The user to refuse.
    #[schema(example = "ann")]
    user: Option<String>,
    /// The address to refuse, where no user is named.
    address: Option<String>,
    /// For how long, in milliseconds: at most a year.
    #[schema(example = 60_000, minimum = 1)]
    for_ms: u64,
}

/// A permit to return.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Release {
    /// The user who holds it.
    #[schema(example = "ann")]
    user: Option<String>,
    /// The address that holds it.
    #[schema(example = "192.0.2.7")]
    address: Option<String>,
    /// Its id.
    #[schema(example = "permit1")]
    permit: String,
}

fn cost(cost: Option<u64>) -> Result<u64, Problem> {
    match cost {
        Some(0) => Err(refused("`cost` is at least 1")),
        cost => Ok(cost.unwrap_or(1)),
    }
}

/// Longest block, in milliseconds.
const BLOCK_MAX: u64 = 366 * 24 * 60 * 60 * 1000;

/// Declares an operation on `/v1/limits/{class}/…` that answers whether anything
/// changed.
macro_rules! operation {
    ($(#[$doc:meta])* $name:ident, $path:literal, $scope:literal, $body:ty, |$app:ident, $class:ident, $subject:ident, $it:ident| $run:expr) => {
        $(#[$doc])*
        #[utoipa::path(
            post,
            path = $path,
            operation_id = concat!(stringify!($name), "Limit"),
            tag = "limits",
            params(("class" = String, Path, description = "The class", example = "auth")),
            request_body = $body,
            responses(
                (status = 200, body = Changed), (status = 400, body = Problem),
                (status = 401, body = Problem), (status = 403, body = Problem),
                (status = 404, body = Problem),
                (status = 503, description = "The store cannot be asked", body = Problem),
            ),
            security(("bearer" = [$scope]))
        )]
        pub(crate) async fn $name(
            State($app): State<App>,
            Path($class): Path<String>,
            Json($it): Json<$body>,
        ) -> Answer {
            let whose = Whose::new($it.user.as_deref(), $it.address.as_deref())?;
            let $subject: Subject<'_> = whose.subject();
            changed($run?)
        }
    };
}

operation!(
    /// Gives back what a request took: one that failed for another reason. Nobody
    /// looks whether it took that much, so this is for whoever may lift a limit.
    refund, "/v1/limits/{class}/refund", "limits:manage", Amount,
    |app, class, subject, it| app.guard.refund(&class, &subject, cost(it.cost)?).await
);
operation!(
    /// Counts without asking, at most until the limit is used up twice: for what cost
    /// more than was known, such as a wrong password.
    penalize, "/v1/limits/{class}/penalize", "limits:manage", Amount,
    |app, class, subject, it| app.guard.penalize(&class, &subject, cost(it.cost)?).await
);
operation!(
    /// Refuses a user, or an address, for a time.
    block, "/v1/limits/{class}/block", "limits:manage", Block,
    |app, class, subject, it| {
        if it.for_ms == 0 || it.for_ms > BLOCK_MAX {
            return Err(refused(&format!("`for_ms` is 1 to {BLOCK_MAX}, a year")));
        }
        app.guard.block(&class, &subject, Duration::from_millis(it.for_ms)).await
    }
);
operation!(
    /// Ends a block; the counts stay.
    unblock, "/v1/limits/{class}/unblock", "limits:manage", super::ask::Named,
    |app, class, subject, it| app.guard.unblock(&class, &subject).await
);
operation!(
    /// Forgets what is counted of a user or an address.
    reset, "/v1/limits/{class}/reset", "limits:manage", super::ask::Named,
    |app, class, subject, it| app.guard.reset(&class, &subject).await
);
operation!(
    /// Returns a permit of a class that counts what runs at one time.
    release, "/v1/limits/{class}/release", "limits:check", Release,
    |app, class, subject, it| app.guard.release(&class, &subject, &it.permit).await
);
