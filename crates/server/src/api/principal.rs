//! Who calls: the server's two tokens, and service keys with scopes.
//!
//! Keys are known by their hash alone. A presented one is hashed and compared with
//! each in constant time, so that neither time nor memory tells of them.

use std::fmt;
use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use parking_lot::RwLock;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::problem::Problem;

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Checks, takes and returns.
    LimitsCheck,
    /// Looks at classes, counts and events; takes nothing.
    LimitsRead,
    /// Blocks, resets, overrides.
    LimitsManage,
    /// Looks at cached values, and at what caches did.
    CacheRead,
    /// Puts, deletes and invalidates cached values.
    CacheWrite,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 5] = [
        Scope::LimitsCheck,
        Scope::LimitsRead,
        Scope::LimitsManage,
        Scope::CacheRead,
        Scope::CacheWrite,
    ];

    /// Its name, such as `limits:check`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::LimitsCheck => "limits:check",
            Scope::LimitsRead => "limits:read",
            Scope::LimitsManage => "limits:manage",
            Scope::CacheRead => "cache:read",
            Scope::CacheWrite => "cache:write",
        }
    }

    /// Whether the server's read-only token will do.
    pub const fn only_reads(self) -> bool {
        matches!(self, Scope::LimitsRead | Scope::CacheRead)
    }
}

/// A scope that a key has, on everything or on one class of limits, or one cache.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Granted {
    scope: Scope,
    class: Option<String>,
}

impl Granted {
    /// `limits:check`, or `limits:check:auth` for one class or cache.
    fn parse(text: &str) -> Option<Self> {
        let scope = |name| Scope::ALL.into_iter().find(|it| it.as_str() == name);
        if let Some(scope) = scope(text) {
            return Some(Granted { scope, class: None });
        }
        let (name, class) = text.rsplit_once(':')?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let class = Some(class).filter(|it| !it.is_empty() && it.bytes().all(is_plain))?;
        Some(Granted {
            scope: scope(name)?,
            class: Some(class.to_owned()),
        })
    }
}

/// A key that may do what its scopes say.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceKey {
    name: String,
    hash: [u8; 32],
    scopes: Vec<Granted>,
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceKey")
            .field("name", &self.name)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

impl ServiceKey {
    /// A key by its SHA-256 hash; the error is the scope that is none.
    pub fn new(name: &str, hash: [u8; 32], scopes: &[String]) -> Result<Self, String> {
        let scopes = scopes
            .iter()
            .map(|text| Granted::parse(text).ok_or_else(|| text.clone()))
            .collect::<Result<_, _>>()?;
        Ok(ServiceKey {
            name: name.to_owned(),
            hash,
            scopes,
        })
    }

    /// What it is called in the settings.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn has(&self, scope: Scope, class: Option<&str>) -> bool {
        self.scopes.iter().any(|granted| {
            granted.scope == scope && (granted.class.is_none() || granted.class.as_deref() == class)
        })
    }
}

/// The SHA-256 hash by which a key is known.
pub(crate) fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// Whoever may call. Clones share the keys of services.
#[derive(Debug, Clone)]
pub struct Keys {
    admin: Secret,
    read: Option<Secret>,
    services: Arc<RwLock<Arc<[Arc<ServiceKey>]>>>,
}

#[derive(Clone)]
struct Secret([u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Keys {
    /// The server's tokens and its service keys.
    pub fn new(admin: &str, read: Option<&str>, services: Vec<ServiceKey>) -> Self {
        Keys {
            admin: Secret(hash(admin.as_bytes())),
            read: read.map(|token| Secret(hash(token.as_bytes()))),
            services: Arc::new(RwLock::new(shared(services))),
        }
    }

    /// Puts other keys of services in the place of those there are: what is under way
    /// ends, the next request is asked for the new ones.
    pub(super) fn replace(&self, services: Vec<ServiceKey>) {
        *self.services.write() = shared(services);
    }

    /// Whether a request's key has a scope. The class or cache that its path names
    /// narrows what is asked for.
    pub(super) fn allow(
        &self,
        headers: &HeaderMap,
        scope: Scope,
        path: &str,
    ) -> Result<(), Problem> {
        let rest = path.strip_prefix("/v1/limits/");
        let class = rest
            .or_else(|| path.strip_prefix("/v1/cache/"))
            .and_then(|rest| rest.split_once('/'))
            .map(|(class, _)| class);
        self.caller(headers)?.may(scope, class)
    }

    /// Who calls.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let key = bearer(headers).ok_or_else(|| {
            Problem::new(
                StatusCode::UNAUTHORIZED,
                "send a token or a service key: `Authorization: Bearer …`",
            )
        })?;
        let given = hash(key);
        let same = |known: &[u8; 32]| bool::from(known.ct_eq(&given));
        if same(&self.admin.0) {
            return Ok(Caller::Admin);
        }
        if self.read.as_ref().is_some_and(|token| same(&token.0)) {
            return Ok(Caller::Reader);
        }
        let services = self.services.read().clone();
        services
            .iter()
            .find(|key| same(&key.hash))
            .map(|key| Caller::Service(key.clone()))
            .ok_or_else(|| {
                Problem::new(
                    StatusCode::UNAUTHORIZED,
                    "this token is not one of the server's",
                )
            })
    }
}

/// Who calls.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    Admin,
    Reader,
    Service(Arc<ServiceKey>),
}

fn shared(services: Vec<ServiceKey>) -> Arc<[Arc<ServiceKey>]> {
    services.into_iter().map(Arc::new).collect()
}

impl Caller {
    /// Whether it has a scope on a class or cache, or on all where none is named.
    pub(super) fn may(&self, scope: Scope, class: Option<&str>) -> Result<(), Problem> {
        let may = match self {
            Caller::Admin => true,
            Caller::Reader => scope.only_reads(),
            Caller::Service(key) => key.has(scope, class),
        };
        if may {
            return Ok(());
        }
        let scope = scope.as_str();
        let on = class.map_or_else(String::new, |class| format!(" or `{scope}:{class}`"));
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!("this needs a service key with the scope `{scope}`{on}, or the token"),
        ))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes)?;
    let (scheme, key) = value.split_at_checked(7)?;
    let key = key.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !key.is_empty() && key.len() <= 4096).then_some(key)
}
