//! One check, and several in one request.

use axum::extract::State;
use axum::http::HeaderMap;
use futures_util::StreamExt as _;
use futures_util::stream;
use hyper::StatusCode;
use sangam::limit::Verdict;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::answer::Answer;
use super::ask::{Ask, BATCH_MAX, Batch, Item, refused};
use crate::api::App;
use crate::api::body::Json;
use crate::api::path::Path;
use crate::api::principal::Scope;
use crate::api::problem::Problem;

/// Checks of one request that are under way at a time.
const AT_A_TIME: usize = 16;

async fn run(app: &App, class: &str, ask: &Ask, peek: bool) -> Result<Verdict, Problem> {
    let (subject, cost) = (ask.subject()?, ask.cost()?);
    let verdict = match ask.permit() {
        _ if peek => app.guard.peek(class, &subject, cost).await?,
        Some(_) if cost != 1 => return Err(refused("a permit has a cost of 1")),
        Some(permit) => app.guard.acquire(class, &subject, permit).await?,
        None => app.guard.check(class, &subject, cost).await?,
    };
    Ok(verdict)
}

/// Takes from each rule of a class, or from none.
#[utoipa::path(
    post,
    path = "/v1/limits/{class}/check",
    operation_id = "checkLimit",
    tag = "limits",
    params(("class" = String, Path, description = "The class to check against", example = "auth")),
    request_body = Ask,
    responses(
        (status = 200, description = "It was checked: `allowed` says what comes of it", body = Answer),
        (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 503, description = "The store refuses what it is asked, which no policy answers", body = Problem),
    ),
    security(("bearer" = ["limits:check"]))
)]
pub(crate) async fn check(
    State(app): State<App>,
    Path(class): Path<String>,
    Json(ask): Json<Ask>,
) -> Result<Answer, Problem> {
    Ok(Answer::new(
        &app.guard,
        &run(&app, &class, &ask, false).await?,
    ))
}

/// What a check would answer; takes nothing.
#[utoipa::path(
    post,
    path = "/v1/limits/{class}/peek",
    operation_id = "peekLimit",
    tag = "limits",
    params(("class" = String, Path, description = "The class to look at", example = "auth")),
    request_body = Ask,
    responses(
        (status = 200, body = Answer), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem),
        (status = 503, description = "The store refuses what it is asked, which no policy answers", body = Problem),
    ),
    security(("bearer" = ["limits:read"]))
)]
pub(crate) async fn peek(
    State(app): State<App>,
    Path(class): Path<String>,
    Json(ask): Json<Ask>,
) -> Result<Answer, Problem> {
    Ok(Answer::new(
        &app.guard,
        &run(&app, &class, &ask, true).await?,
    ))
}

/// The answers to several checks, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Answers {
    answers: Vec<Each>,
}

/// An answer, or why there is none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Each {
    /// It was checked.
    Answer(Box<Answer>),
    /// It could not be.
    Problem(Problem),
}

/// Several checks, each on its own.
#[utoipa::path(
    post,
    path = "/v1/limits/check",
    operation_id = "checkLimits",
    tag = "limits",
    request_body = Batch,
    responses(
        (status = 200, body = Answers), (status = 400, body = Problem),
        (status = 401, body = Problem),
    ),
    security(("bearer" = ["limits:check"]))
)]
pub(crate) async fn batch(
    State(app): State<App>,
    headers: HeaderMap,
    Json(batch): Json<Batch>,
) -> Result<axum::Json<Answers>, Problem> {
    let count = batch.checks.count;
    if count == 0 || count > BATCH_MAX {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!("`checks` has 1 to {BATCH_MAX} of them, not {count}"),
        ));
    }
    let caller = app.keys.caller(&headers)?;
    let one = async |text: Box<RawValue>| -> Result<Answer, Problem> {
        let (class, ask) = Item::read(text.get())?;
        caller.may(Scope::LimitsCheck, Some(&class))?;
        Ok(Answer::new(
            &app.guard,
            &run(&app, &class, &ask, false).await?,
        ))
    };
    let answers = stream::iter(batch.checks.texts)
        .map(one)
        .buffered(AT_A_TIME)
        .map(|answer| match answer {
            Ok(answer) => Each::Answer(Box::new(answer)),
            Err(problem) => Each::Problem(problem),
        })
        .collect()
        .await;
    Ok(axum::Json(Answers { answers }))
}
