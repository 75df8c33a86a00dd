//! The layer around services: what passes, what is refused, what is given back.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use sangam::limit::class::{By, Class, Classes, Condition, Glob, List, Networks};
use sangam::limit::http::{LimitBody, LimitLayer, LimitService};
use sangam::limit::{Algorithm, Guard, Settings, Subject};
use tower_layer::Layer as _;
use tower_service::Service;

use crate::bench::{one, rule, still, tier};

/// A service that counts its requests and answers with the status that they ask for;
/// it has to be asked whether it is ready before each.
#[derive(Debug, Default)]
pub(crate) struct App {
    served: Arc<AtomicUsize>,
    ready: bool,
}

impl Clone for App {
    fn clone(&self) -> Self {
        App {
            served: self.served.clone(),
            ready: false,
        }
    }
}

impl Service<Request<&'static str>> for App {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<&'static str>) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called before it was ready"
        );
        self.served.fetch_add(1, Ordering::Relaxed);
        let status = request.headers().get("wanted-status");
        let status = status.map_or(StatusCode::OK, |it| {
            StatusCode::from_bytes(it.as_bytes()).unwrap()
        });
        let mut response = Response::new(Full::from(*request.body()));
        *response.status_mut() = status;
        std::future::ready(Ok(response))
    }
}

pub(crate) type Answer = Response<LimitBody<Full<Bytes>>>;

pub(crate) async fn send(app: &mut LimitService<App>, request: Request<&'static str>) -> Answer {
    std::future::poll_fn(|cx| app.poll_ready(cx)).await.unwrap();
    app.call(request).await.unwrap()
}

fn request(path: &str, user: Option<&str>) -> http::request::Builder {
    let peer: SocketAddr = "192.0.2.7:4711".parse().unwrap();
    let builder = Request::builder().uri(path).extension(peer);
    match user {
        Some(user) => builder.header("user", user),
        None => builder,
    }
}

pub(crate) fn get(path: &str, user: Option<&str>) -> Request<&'static str> {
    request(path, user).body("hello").unwrap()
}

pub(crate) fn layer(guard: &Guard) -> LimitLayer {
    LimitLayer::new(guard.clone())
        .user(|parts| Some(parts.headers.get("user")?.to_str().ok()?.to_owned()))
}

fn minute(limit: u64) -> sangam::limit::Rule {
    rule(Algorithm::SlidingWindow, limit, 60_000)
}

/// A class for paths like this.
fn at(path: &str, mut class: Class) -> Class {
    class.when = vec![Condition {
        paths: vec![Glob::path(path).unwrap()],
        ..Condition::default()
    }];
    class
}

#[tokio::test]
async fn a_request_takes_from_its_class_until_it_is_refused() {
    let login = Class::new("login", vec![tier(By::User, minute(2))]);
    let (clock, guard) = still(Classes::new([at("/login", login)]));
    let app = App::default();
    let served = app.served.clone();
    let mut app = layer(&guard).layer(app);
    for left in ["r=1", "r=0"] {
        let answer = send(&mut app, get("/login", Some("ann"))).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let limit = answer.headers()["ratelimit"].to_str().unwrap();
        assert!(limit.contains(left), "{limit}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "hello");
    }
    let refused = send(&mut app, get("/login", Some("ann"))).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        refused.headers()["content-type"],
        "application/problem+json"
    );
    let seconds = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .to_owned();
    let length = refused.headers()["content-length"].clone();
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(length, body.len().to_string().as_str());
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["violated-policies"][0], "login.user");
    assert_eq!(served.load(Ordering::Relaxed), 2);
    // Others are not concerned, nor are paths without a class.
    let other = send(&mut app, get("/login", Some("bob"))).await;
    assert_eq!(other.status(), StatusCode::OK);
    let free = send(&mut app, get("/free", Some("ann"))).await;
    assert_eq!(free.status(), StatusCode::OK);
    assert!(!free.headers().contains_key("ratelimit"));
    clock.advance_millis(seconds.parse::<u64>().unwrap() * 1000);
    let again = send(&mut app, get("/login", Some("ann"))).await;
    assert_eq!(again.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_fixed_class_and_a_cost_are_the_layers() {
    let (_, guard) = still(one(Class::new("api", vec![tier(By::Address, minute(10))])));
    let layer = layer(&guard)
        .class("api")
        .cost(|parts| if parts.uri.path() == "/dear" { 6 } else { 1 });
    let mut app = layer.layer(App::default());
    assert_eq!(send(&mut app, get("/dear", None)).await.status(), 200);
    assert_eq!(send(&mut app, get("/dear", None)).await.status(), 429);
    assert_eq!(send(&mut app, get("/cheap", None)).await.status(), 200);
    let mut none = self::layer(&guard).class("none").layer(App::default());
    assert_eq!(send(&mut none, get("/", None)).await.status(), 500);
}

#[tokio::test]
async fn without_anybody_to_count_nobody_is_served() {
    let (_, guard) = still(one(Class::new("api", vec![tier(By::Address, minute(10))])));
    let app = App::default();
    let served = app.served.clone();
    let mut app = layer(&guard).class("api").layer(app);
    let nobody = Request::builder().uri("/").body("").unwrap();
    assert_eq!(send(&mut app, nobody).await.status(), 500);
    assert_eq!(served.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn only_trusted_proxies_tell_the_address() {
    let class = Class::new("api", vec![tier(By::Address, minute(1))]);
    let mut settings = Settings::new(one(class));
    let (_, guard) = still(settings.clone());
    let mut app = layer(&guard).class("api").layer(App::default());
    let forged = |at: u8| {
        let from = format!("198.51.100.{at}");
        request("/", None)
            .header("x-forwarded-for", from)
            .body("")
            .unwrap()
    };
    assert_eq!(send(&mut app, forged(1)).await.status(), 200);
    assert_eq!(send(&mut app, forged(2)).await.status(), 429);
    settings.trusted_proxies = Networks::from_iter(["192.0.2.7".parse().unwrap()]);
    settings.legacy_headers = true;
    guard.replace(settings);
    let answer = send(&mut app, forged(3)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-ratelimit-remaining"], "0");
    let mut app = layer(&guard)
        .class("api")
        .peer(|_| Some(IpAddr::from([203, 0, 113, 9])))
        .layer(App::default());
    assert_eq!(send(&mut app, forged(4)).await.status(), 200);
    assert_eq!(send(&mut app, forged(5)).await.status(), 429);
}

/// What is left for ann, without touching it.
pub(crate) async fn left(guard: &Guard, class: &str) -> u64 {
    let ann = Subject {
        user: Some("ann"),
        ..Subject::default()
    };
    let verdict = guard.peek(class, &ann, 1).await.unwrap();
    verdict.tiers[0].outcome.remaining
}

/// Waits until so much is left.
pub(crate) async fn until_left(guard: &Guard, class: &str, wanted: u64) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while left(guard, class).await != wanted {
            tokio::task::yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "it was not given back");
}

#[tokio::test]
async fn a_failure_is_given_back_where_the_layer_says_so() {
    let (_, guard) = still(one(Class::new("api", vec![tier(By::User, minute(5))])));
    let failing = |status: &str| {
        let request = request("/", Some("ann")).header("wanted-status", status);
        request.body("").unwrap()
    };
    let mut kept = layer(&guard).class("api").layer(App::default());
    assert_eq!(send(&mut kept, failing("503")).await.status(), 503);
    assert_eq!(left(&guard, "api").await, 4);
    let refunding = layer(&guard).class("api").refund_failures();
    let mut given = refunding.layer(App::default());
    assert_eq!(send(&mut given, failing("404")).await.status(), 404);
    assert_eq!(left(&guard, "api").await, 3);
    assert_eq!(send(&mut given, failing("500")).await.status(), 500);
    until_left(&guard, "api", 3).await;
}

/// What is left for ann in each tier.
async fn left_in_each(guard: &Guard, class: &str) -> Vec<u64> {
    let ann = Subject {
        user: Some("ann"),
        address: Some(IpAddr::from([192, 0, 2, 7])),
        ..Subject::default()
    };
    let verdict = guard.peek(class, &ann, 1).await.unwrap();
    let left = verdict.tiers.iter().map(|it| it.outcome.remaining);
    left.collect()
}

fn failing(user: &str) -> Request<&'static str> {
    let request = request("/", Some(user)).header("wanted-status", "500");
    request.body("").unwrap()
}

#[tokio::test]
async fn a_failure_that_a_shadow_let_through_took_nothing() {
    let mut class = Class::new(
        "api",
        vec![tier(By::User, minute(1)), tier(By::Address, minute(5))],
    );
    class.shadow = true;
    let (_, guard) = still(one(class));
    let layer = layer(&guard).class("api").refund_failures();
    let mut app = layer.layer(App::default());
    assert_eq!(send(&mut app, get("/", Some("ann"))).await.status(), 200);
    assert_eq!(left_in_each(&guard, "api").await, [0, 4]);
    assert_eq!(send(&mut app, failing("ann")).await.status(), 500);
    // What bob took comes back, after what ann did not take.
    let before = guard.counts()["api"].shadowed;
    assert_eq!(before, 1, "it did not fit");
    assert_eq!(send(&mut app, failing("bob")).await.status(), 500);
    assert_eq!(left_in_each(&guard, "api").await, [0, 3]);
    let back = tokio::time::timeout(Duration::from_secs(10), async {
        while left_in_each(&guard, "api").await[1] == 3 {
            tokio::task::yield_now().await;
        }
    });
    assert!(back.await.is_ok(), "it was not given back");
    assert_eq!(left_in_each(&guard, "api").await, [0, 4]);
}

#[tokio::test]
async fn a_failure_is_given_back_to_the_tiers_that_it_was_taken_from() {
    let mut strict = tier(By::User, minute(1));
    strict.name = "strict".to_owned();
    strict.shadow = true;
    let mut watched = tier(By::Address, minute(7));
    watched.shadow = true;
    let class = Class::new("api", vec![strict, watched, tier(By::User, minute(5))]);
    let (_, guard) = still(one(class));
    let layer = layer(&guard).class("api").refund_failures();
    let mut app = layer.layer(App::default());
    assert_eq!(send(&mut app, get("/", Some("ann"))).await.status(), 200);
    assert_eq!(left_in_each(&guard, "api").await, [0, 6, 4]);
    assert_eq!(send(&mut app, failing("ann")).await.status(), 500);
    // In the order of the tiers: when the last one has it, the others do.
    let back = tokio::time::timeout(Duration::from_secs(10), async {
        while left_in_each(&guard, "api").await[2] != 4 {
            tokio::task::yield_now().await;
        }
    });
    assert!(back.await.is_ok(), "it was not given back");
    assert_eq!(left_in_each(&guard, "api").await, [0, 6, 4]);
}

#[tokio::test]
async fn a_permit_that_a_list_spared_is_not_returned() {
    let mut class = uploads();
    class.allow = List::new(["bob"], [], []).unwrap();
    let (_, guard) = still(one(class));
    let mut app = layer(&guard).class("upload").layer(App::default());
    let held = send(&mut app, get("/", Some("ann"))).await;
    for _ in 0..3 {
        let free = send(&mut app, get("/", Some("bob"))).await;
        assert_eq!(free.status(), StatusCode::OK);
    }
    assert_eq!(left(&guard, "upload").await, 1);
    drop(held);
    until_left(&guard, "upload", 2).await;
}

pub(crate) fn uploads() -> Class {
    let running = rule(Algorithm::Concurrency, 2, 30_000);
    Class::new("upload", vec![tier(By::User, running)])
}

#[tokio::test]
async fn a_permit_is_returned_when_the_body_has_ended_or_is_dropped() {
    let (_, guard) = still(one(uploads()));
    let mut app = layer(&guard).class("upload").layer(App::default());
    let first = send(&mut app, get("/", Some("ann"))).await;
    let second = send(&mut app, get("/", Some("ann"))).await;
    assert_eq!(left(&guard, "upload").await, 0);
    let third = send(&mut app, get("/", Some("ann"))).await;
    assert_eq!(third.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(third);
    assert_eq!(left(&guard, "upload").await, 0);
    drop(first);
    until_left(&guard, "upload", 1).await;
    let mut body = second.into_body();
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "hello");
    assert_eq!(left(&guard, "upload").await, 1);
    assert!(body.frame().await.is_none());
    until_left(&guard, "upload", 2).await;
}

#[tokio::test]
async fn a_permit_is_returned_when_nobody_waits_for_the_answer() {
    /// Never answers.
    #[derive(Clone)]
    struct Stuck;
    impl Service<Request<&'static str>> for Stuck {
        type Response = Response<Full<Bytes>>;
        type Error = Infallible;
        type Future = std::future::Pending<Result<Self::Response, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Request<&'static str>) -> Self::Future {
            std::future::pending()
        }
    }
    let (_, guard) = still(one(uploads()));
    let mut app = layer(&guard).class("upload").layer(Stuck);
    let mut answer = Box::pin(app.call(get("/", Some("ann"))));
    let waits = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut answer).poll(cx).is_pending()));
    assert!(waits.await);
    assert_eq!(left(&guard, "upload").await, 1);
    drop(answer);
    until_left(&guard, "upload", 2).await;
}

#[tokio::test]
async fn an_error_of_the_service_returns_the_permit() {
    #[derive(Clone)]
    struct Broken;
    impl Service<Request<&'static str>> for Broken {
        type Response = Response<Full<Bytes>>;
        type Error = &'static str;
        type Future = std::future::Ready<Result<Self::Response, &'static str>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Request<&'static str>) -> Self::Future {
            std::future::ready(Err("broken"))
        }
    }
    let (_, guard) = still(one(uploads()));
    let mut app = layer(&guard).class("upload").layer(Broken);
    assert_eq!(app.call(get("/", Some("ann"))).await.unwrap_err(), "broken");
    until_left(&guard, "upload", 2).await;
}
