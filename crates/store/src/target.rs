//! Which store: a URL and a token, from an argument or from the environment.
//!
//! A target remembers where it came from, so that an error can name the setting
//! to change, and never shows its secrets.

use std::env;
use std::fmt;

use crate::error::Error;

/// What a URL's scheme asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `memory:` or nothing: the engine in process.
    Embedded,
    /// `redis:`, `rediss:`; `redis-cluster:`, `rediss-cluster:` (also
    /// `redis+cluster:`); `redis+sentinel:`, `rediss+sentinel:`; `valkey` in place
    /// of `redis` in each; `unix:`.
    Redis,
    /// `http:`, `https:`: Upstash's REST API.
    Rest,
    /// `none:`: no store, by choice.
    Disabled,
}

/// A store's address, what opens it, and the settings that say so.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The URL as given; empty for the embedded engine.
    pub(crate) url: String,
    pub(crate) scheme: Scheme,
    /// The token of a REST endpoint.
    pub(crate) token: Option<String>,
    /// Name of the setting that held the URL, such as `REDIS_URL`.
    pub(crate) url_setting: &'static str,
    /// Name of the setting for the token.
    pub(crate) token_setting: &'static str,
}

/// Pairs of variables, in the order in which they are asked.
const VARIABLES: &[(&str, &str)] = &[
    ("SANGAM_STORE", "SANGAM_STORE_TOKEN"),
    ("REDIS_URL", ""),
    ("UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"),
    ("KV_REST_API_URL", "KV_REST_API_TOKEN"),
];

impl Target {
    /// Reads a URL that the setting `url_setting` gave, and the token that
    /// `token_setting` gave or would give.
    pub fn new(
        url: &str,
        token: Option<&str>,
        url_setting: &'static str,
        token_setting: &'static str,
    ) -> Result<Self, Error> {
        let url = url.trim();
        let scheme = scheme_of(url).ok_or_else(|| {
            Error::Setting(format!(
                "setting `{url_setting}`: {} is no store; write redis://host:port, rediss://…, \
                 redis-cluster://…, redis+sentinel://host:port/master, https://… or embedded",
                quoted(url)
            ))
        })?;
        let token = token.map(str::trim).filter(|token| !token.is_empty());
        if scheme == Scheme::Rest && token.is_none() {
            return Err(Error::Setting(format!(
                "setting `{url_setting}` names a REST endpoint, which needs a token: set \
                 `{token_setting}`"
            )));
        }
        Ok(Target {
            url: url.to_owned(),
            scheme,
            token: token.map(str::to_owned),
            url_setting,
            token_setting,
        })
    }

    /// The target that the environment names: `SANGAM_STORE` (with
    /// `SANGAM_STORE_TOKEN` for an `https` one), else `REDIS_URL`, else
    /// `UPSTASH_REDIS_REST_URL` and `_TOKEN`, else `KV_REST_API_URL` and
    /// `_TOKEN`; none of them, or empty ones, is the embedded engine.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_variables(|name| env::var(name).ok())
    }

    pub(crate) fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        for (url_setting, token_setting) in VARIABLES {
            let Some(url) = get(url_setting).filter(|url| !url.trim().is_empty()) else {
                continue;
            };
            return Target::new(
                &url,
                get(token_setting).as_deref(),
                url_setting,
                token_setting,
            );
        }
        Target::new("", None, "SANGAM_STORE", "SANGAM_STORE_TOKEN")
    }

    /// What the URL asks for.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The address without user, password, path and query, for people to read.
    pub fn place(&self) -> String {
        match self.scheme {
            Scheme::Embedded => "embedded".to_owned(),
            Scheme::Disabled => "none".to_owned(),
            Scheme::Redis | Scheme::Rest => without_secrets(&self.url),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Target({} by {})", self.place(), self.url_setting)
    }
}

fn scheme_of(url: &str) -> Option<Scheme> {
    match url {
        "" | "embedded" | "memory" => return Some(Scheme::Embedded),
        "none" | "off" => return Some(Scheme::Disabled),
        _ => {}
    }
    let (scheme, rest) = url.split_once(':')?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme == "unix" && rest.len() > 1 {
        return Some(Scheme::Redis);
    }
    let place = rest.strip_prefix("//")?;
    if without_user(place).trim_start_matches('/').is_empty() && !scheme.ends_with("unix") {
        return None;
    }
    let plain = scheme.replace("valkey", "redis");
    match plain.as_str() {
        "http" | "https" => Some(Scheme::Rest),
        "redis" | "rediss" | "redis-cluster" | "rediss-cluster" | "redis+cluster"
        | "rediss+cluster" | "redis+sentinel" | "rediss+sentinel" | "redis-sentinel"
        | "rediss-sentinel" | "redis+unix" => Some(Scheme::Redis),
        _ => None,
    }
}

/// What follows the last `@`: a password may hold any byte, also one that ends a
/// host.
fn without_user(place: &str) -> &str {
    place.rsplit_once('@').map_or(place, |(_, host)| host)
}

fn without_secrets(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => match url.split_once(':') {
            // A path: what follows it may be a password.
            Some((scheme, rest)) if rest.starts_with('/') => (format!("{scheme}:"), rest),
            _ => (String::new(), url),
        },
    };
    let place = without_user(rest);
    let ends: &[char] = if scheme.contains("unix") {
        &['?', '#']
    } else {
        &['/', '?', '#']
    };
    let end = place.find(ends).unwrap_or(place.len());
    format!("{scheme}{}", place.get(..end).unwrap_or_default())
}

/// The text in quotes, without what may be a secret.
fn quoted(url: &str) -> String {
    format!("{:?}", without_secrets(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Target, Error> {
        Target::from_variables(|name| {
            let found = pairs.iter().find(|(it, _)| *it == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_is_asked_in_order() {
        assert_eq!(from(&[]).unwrap().scheme(), Scheme::Embedded);
        let both = from(&[("REDIS_URL", "redis://h:1"), ("SANGAM_STORE", "embedded")]).unwrap();
        assert_eq!(both.scheme(), Scheme::Embedded);
        let redis = from(&[("REDIS_URL", "rediss://u:p@h:1/0"), ("SANGAM_STORE", " ")]).unwrap();
        assert_eq!(
            (redis.scheme(), redis.url_setting),
            (Scheme::Redis, "REDIS_URL")
        );
        let kv = from(&[("KV_REST_API_URL", "https://a"), ("KV_REST_API_TOKEN", "t")]).unwrap();
        assert_eq!(kv.token.as_deref(), Some("t"));
    }

    #[test]
    fn errors_name_the_setting_and_no_secret() {
        let text = |pairs: &[(&str, &str)]| from(pairs).unwrap_err().to_string();
        let missing = text(&[("UPSTASH_REDIS_REST_URL", "https://a")]);
        assert!(
            missing.contains("set `UPSTASH_REDIS_REST_TOKEN`"),
            "{missing}"
        );
        let wrong = text(&[("REDIS_URL", "redid://u:hidden@h:1")]);
        assert!(
            wrong.starts_with("setting `REDIS_URL`: \"redid://h:1\""),
            "{wrong}"
        );
        assert!(text(&[("SANGAM_STORE", "redis://")]).contains("SANGAM_STORE"));
        assert!(text(&[("SANGAM_STORE", "localhost:6379")]).contains("redis://host:port"));
    }

    #[test]
    fn a_place_has_no_secret() {
        let target = Target::new("rediss://u:p%40@h:1/2?x=y", None, "a", "b").unwrap();
        assert_eq!(target.place(), "rediss://h:1");
        assert_eq!(format!("{target:?}"), "Target(rediss://h:1 by a)");
        for (url, place) in [
            ("redis://:ab/cd?e#f@h:2/0", "redis://h:2"),
            (
                "unix:/run/redis.sock?password=hidden",
                "unix:/run/redis.sock",
            ),
            (
                "redis+unix:///run/redis.sock?password=hidden",
                "redis+unix:///run/redis.sock",
            ),
        ] {
            assert_eq!(Target::new(url, None, "a", "b").unwrap().place(), place);
        }
        for url in [
            "default:hidden@host:6379",
            "nothing://u:hid/den@h",
            "hidden@host",
        ] {
            let error = Target::new(url, None, "a", "b").unwrap_err().to_string();
            assert!(!error.contains("hid"), "{error}");
        }
    }
}
