//! A tower layer: checks each request, adds the fields to its answer, answers what is
//! refused.
//!
//! A request of no class passes unasked. One that cannot be checked (there is no such
//! class, or nobody to count) is answered with 500: it is for the app's author to see.
//! The cost on top of the check is one allocation for it and the texts of the fields.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::{fmt, mem};

use bytes::Bytes;
use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::address::{ForwardedBy, client_address};
use super::body::LimitBody;
use super::fields::Fields;
use super::permit::{Asked, Names, Permit, give_back};
use super::problem::Problem;
use crate::limit::class;
use crate::limit::decision::Ruled;
use crate::limit::guard::{Guard, GuardError, Verdict};
use crate::limit::rule::Algorithm;

/// Reads something in a request.
type Reader<T> = Arc<dyn Fn(&Parts) -> T + Send + Sync>;

/// Puts limits before a service: `LimitLayer::new(guard)` chooses the class by the
/// classes' conditions.
///
/// The proxies that are trusted, and whether answers carry `X-RateLimit-*`, are the
/// guard's settings.
#[derive(Clone)]
pub struct LimitLayer(Arc<How>);

#[derive(Clone)]
struct How {
    guard: Guard,
    class: Option<String>,
    user: Option<Reader<Option<String>>>,
    peer: Reader<Option<std::net::IpAddr>>,
    cost: Option<Reader<u64>>,
    forwarded: ForwardedBy,
    refunds: bool,
    names: Arc<Names>,
}

impl fmt::Debug for LimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitLayer")
            .field("class", &self.0.class)
            .finish_non_exhaustive()
    }
}

impl LimitLayer {
    /// A layer that checks requests with this guard.
    pub fn new(guard: Guard) -> Self {
        LimitLayer(Arc::new(How {
            guard,
            class: None,
            user: None,
            peer: Arc::new(|parts| Some(parts.extensions.get::<std::net::SocketAddr>()?.ip())),
            cost: None,
            forwarded: ForwardedBy::default(),
            refunds: false,
            names: Arc::new(Names::new()),
        }))
    }

    /// Checks all requests against this class, whatever its conditions say.
    #[must_use]
    pub fn class(mut self, name: &str) -> Self {
        self.how().class = Some(name.to_owned());
        self
    }

    /// Who is signed in: an id that the client cannot choose, such as what a layer
    /// outside of this one found out and put into the request's extensions.
    #[must_use]
    pub fn user(mut self, user: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        self.how().user = Some(Arc::new(user));
        self
    }

    /// From which address the connection came; unless said, the request's extension
    /// of type [`SocketAddr`](std::net::SocketAddr). For axum:
    /// `|parts| Some(parts.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip())`.
    #[must_use]
    pub fn peer(
        mut self,
        peer: impl Fn(&Parts) -> Option<std::net::IpAddr> + Send + Sync + 'static,
    ) -> Self {
        self.how().peer = Arc::new(peer);
        self
    }

    /// What a request takes; 1 unless said.
    #[must_use]
    pub fn cost(mut self, cost: impl Fn(&Parts) -> u64 + Send + Sync + 'static) -> Self {
        self.how().cost = Some(Arc::new(cost));
        self
    }

    /// In which field trusted proxies say who came to them.
    #[must_use]
    pub fn forwarded_by(mut self, field: ForwardedBy) -> Self {
        self.how().forwarded = field;
        self
    }

    /// Gives back what a request took that the service answers with 5xx.
    #[must_use]
    pub fn refund_failures(mut self) -> Self {
        self.how().refunds = true;
        self
    }

    fn how(&mut self) -> &mut How {
        Arc::make_mut(&mut self.0)
    }
}

impl How {
    /// What is asked for a request; `None` where nothing is.
    fn asked(&self, parts: &Parts) -> Result<Option<Asked>, GuardError> {
        let class = match &self.class {
            Some(name) => {
                let classes = self.guard.classes();
                let class = classes.get(name).cloned();
                class.ok_or_else(|| GuardError::Class(name.clone()))?
            }
            None => match self.guard.classify(&class::Request {
                method: parts.method.as_str(),
                path: parts.uri.path(),
                header: &|name| parts.headers.get(name)?.to_str().ok(),
            }) {
                Some(class) => class,
                None => return Ok(None),
            },
        };
        let settings = self.guard.settings();
        let trusted = &settings.trusted_proxies;
        let client = |peer| client_address(trusted, self.forwarded, peer, &parts.headers);
        Ok(Some(Asked {
            guard: self.guard.clone(),
            class,
            user: self.user.as_ref().and_then(|user| user(parts)),
            address: (self.peer)(parts).map(client),
        }))
    }

    fn tell(&self, verdict: &Verdict, headers: &mut HeaderMap) {
        let mut fields = Fields::of(verdict);
        if self.guard.settings().legacy_headers {
            fields = fields.with_legacy(verdict, self.guard.limiter().store().now());
        }
        fields.add_to(headers);
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = LimitService<S>;

    fn layer(&self, inner: S) -> LimitService<S> {
        LimitService {
            inner,
            how: self.0.clone(),
        }
    }
}

/// A service behind limits.
#[derive(Clone)]
pub struct LimitService<S> {
    inner: S,
    how: Arc<How>,
}

impl<S: fmt::Debug> fmt::Debug for LimitService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for LimitService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body<Data = Bytes>,
{
    type Response = Response<LimitBody<R>>;
    type Error = S::Error;
    type Future = LimitFuture<S, B, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let how = self.how.clone();
        let state = match how.asked(&parts) {
            Ok(None) => State::Serving {
                answer: self.inner.call(Request::from_parts(parts, body)),
                admitted: None,
            },
            Ok(Some(asked)) => {
                let cost = how.cost.as_ref().map_or(1, |cost| cost(&parts));
                let agent = parts.headers.get(USER_AGENT);
                let agent = agent.and_then(|it| Some(it.to_str().ok()?.to_owned()));
                // The one that was polled ready serves; a clone takes its place.
                let clone = self.inner.clone();
                State::Checking {
                    check: Box::pin(check(asked, agent, cost, how.names.clone())),
                    service: mem::replace(&mut self.inner, clone),
                    request: Request::from_parts(parts, body),
                }
            }
            Err(error) => State::Failed { error },
        };
        LimitFuture { how, state }
    }
}

/// A request that passes.
#[derive(Debug)]
struct Admitted {
    asked: Asked,
    verdict: Verdict,
    cost: u64,
    permit: Option<Permit>,
}

type Checked = Result<Admitted, GuardError>;

async fn check(asked: Asked, agent: Option<String>, cost: u64, names: Arc<Names>) -> Checked {
    let subject = asked.subject(agent.as_deref());
    let name = &asked.class.name;
    let holds = |tier: &class::Tier| tier.rule.algorithm() == Algorithm::Concurrency;
    let mut permit = None;
    let verdict = if asked.class.tiers.iter().any(holds) {
        let ours = permit.insert(Permit::new(&asked, &names));
        asked.guard.acquire(name, &subject, ours.name()).await?
    } else {
        asked.guard.check(name, &subject, cost).await?
    };
    if !may_hold(&verdict)
        && let Some(permit) = permit.take()
    {
        permit.forget();
    }
    Ok(Admitted {
        asked,
        verdict,
        cost,
        permit,
    })
}

/// Whether the request's permit may be held anywhere: surely not where a list decided,
/// nor where it was refused. What a share decided may be held there, and without the
/// store nobody knows whether an ask that was not answered took effect.
fn may_hold(verdict: &Verdict) -> bool {
    match verdict.ruled {
        Ruled::Allowed | Ruled::Denied => false,
        Ruled::Local | Ruled::Open => true,
        Ruled::Store | Ruled::Lease | Ruled::Remembered | Ruled::Closed => verdict.is_taken(),
    }
}

pin_project! {
    /// The answer to a request behind limits.
    pub struct LimitFuture<S, B, F> {
        how: Arc<How>,
        #[pin]
        state: State<S, B, F>,
    }
}

pin_project! {
    #[project = StateProjected]
    #[project_replace = StateTaken]
    enum State<S, B, F> {
        Checking {
            check: Pin<Box<dyn Future<Output = Checked> + Send>>,
            service: S,
            request: Request<B>,
        },
        Serving {
            #[pin]
            answer: F,
            admitted: Option<Admitted>,
        },
        Failed {
            error: GuardError,
        },
        Done,
    }
}

impl<S, B, F> fmt::Debug for LimitFuture<S, B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitFuture").finish_non_exhaustive()
    }
}

impl<S, B, R> Future for LimitFuture<S, B, S::Future>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<LimitBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjected::Checking { check, .. } => {
                    let checked = ready!(check.as_mut().poll(cx));
                    let taken = this.state.as_mut().project_replace(State::Done);
                    let StateTaken::Checking {
                        mut service,
                        request,
                        ..
                    } = taken
                    else {
                        return Poll::Pending;
                    };
                    let admitted = match checked {
                        Ok(admitted) => admitted,
                        Err(error) => return Poll::Ready(Ok(failed(&error))),
                    };
                    if let Some(problem) = Problem::of(&admitted.verdict) {
                        let mut response = refusal(&problem);
                        this.how.tell(&admitted.verdict, response.headers_mut());
                        return Poll::Ready(Ok(response));
                    }
                    this.state.set(State::Serving {
                        answer: service.call(request),
                        admitted: Some(admitted),
                    });
                }
                StateProjected::Serving { answer, admitted } => {
                    let response = ready!(answer.poll(cx))?;
                    let (mut parts, body) = response.into_parts();
                    let mut permit = None;
                    if let Some(admitted) = admitted.take() {
                        this.how.tell(&admitted.verdict, &mut parts.headers);
                        if this.how.refunds
                            && parts.status.is_server_error()
                            && admitted.permit.is_none()
                        {
                            give_back(admitted.asked.guard, admitted.verdict, admitted.cost);
                        }
                        permit = admitted.permit;
                    }
                    let body = LimitBody::served(body, permit);
                    this.state.set(State::Done);
                    return Poll::Ready(Ok(Response::from_parts(parts, body)));
                }
                StateProjected::Failed { error } => {
                    let response = failed(error);
                    this.state.set(State::Done);
                    return Poll::Ready(Ok(response));
                }
                // Asked again after the answer: there is none.
                StateProjected::Done => return Poll::Pending,
            }
        }
    }
}

fn failed<B>(error: &GuardError) -> Response<LimitBody<B>> {
    refusal(&Problem::of_error(error))
}

fn refusal<B>(problem: &Problem) -> Response<LimitBody<B>> {
    let mut headers = HeaderMap::new();
    let body = problem.to_body(&mut headers);
    let mut response = Response::new(LimitBody::refused(body));
    *response.status_mut() = problem.status;
    *response.headers_mut() = headers;
    response
}
