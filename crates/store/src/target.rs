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
        if let Some(text) = misplaced(url) {
            return Err(Error::Setting(format!(
                "setting `{url_setting}`: {}: {text}",
                without_secrets(url)
            )));
        }
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

/// What is wrong where user, password, host and port stand, so that none of them
/// is read as something else, which an error would show.
fn misplaced(url: &str) -> Option<&'static str> {
    const UNENCODED: &str = "a `/`, `#`, `?` or `@` in a user or a password has to be percent-encoded: write %2F, \
         %23, %3F, %40";
    const PORT: &str =
        "behind the host's `:` stands no port; write host:port, and user:password@ before it";
    let (scheme, rest) = url.split_once("://")?;
    if is_unix(scheme) {
        return None;
    }
    let (authority, tail) = parts(rest);
    let (path, _) = tail.split_at_checked(tail.find(['?', '#']).unwrap_or(tail.len()))?;
    let hosts = without_user(authority);
    let is_cut = tail.contains('@') && !authority.contains('@') && !is_hosts(hosts);
    let is_fragment = tail.split_once('#').is_some_and(|(_, it)| it.contains('@'));
    if is_cut || is_fragment || path.contains('@') {
        return Some(UNENCODED);
    }
    let mut places = hosts.split(',').filter(|place| !place.starts_with('['));
    let is_odd = places.any(|place| {
        let port = place.split_once(':').map_or("", |(_, port)| port);
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        !is_number || (port.len() > 5 && !scheme.starts_with("http"))
    });
    is_odd.then_some(PORT)
}

/// What ends the part of a URL that names user, password and host.
const ENDS: &[char] = &['/', '?', '#'];

/// User, password and host; and what is behind them.
fn parts(rest: &str) -> (&str, &str) {
    let at = rest.find(ENDS).unwrap_or(rest.len());
    rest.split_at_checked(at).unwrap_or((rest, ""))
}

/// The scheme, and the hosts where they look like some: anything else may be a
/// secret in the wrong place.
fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once(':').filter(|(it, _)| is_scheme(it)) else {
        return String::new();
    };
    let (mark, rest) = match rest.strip_prefix("//") {
        Some(rest) => ("://", rest),
        None => (":", rest),
    };
    if is_unix(scheme) {
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let path = Some(without_user(path)).filter(|path| path.starts_with('/'));
        return format!("{scheme}{mark}{}", path.unwrap_or_default());
    }
    let (authority, tail) = parts(rest);
    // Where the password may be cut, what stands before may be the half of it; an
    // option's value may hold an `@`.
    let is_whole = tail
        .split_once('@')
        .is_none_or(|(before, _)| before.contains('?') && before.contains('='));
    let hosts = Some(without_user(authority));
    let hosts = hosts.filter(|hosts| mark == "://" && is_whole && is_hosts(hosts));
    format!("{scheme}{mark}{}", hosts.unwrap_or_default())
}

fn is_unix(scheme: &str) -> bool {
    scheme.to_ascii_lowercase().ends_with("unix")
}

fn is_scheme(text: &str) -> bool {
    let is = |byte: u8| byte.is_ascii_alphabetic() || byte == b'+' || byte == b'-';
    !text.is_empty() && text.bytes().all(is)
}

/// No port, or a number that is one or close to it.
fn is_digits(port: &str) -> bool {
    port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a text reads as `host:port,host`, with names or addresses.
fn is_hosts(text: &str) -> bool {
    text.split(',').all(|place| {
        if let Some((address, port)) = place.strip_prefix('[').and_then(|it| it.split_once(']')) {
            let is = |byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
            let port = port.strip_prefix(':').unwrap_or(port);
            return address.bytes().all(is) && is_digits(port);
        }
        let (host, port) = place.split_once(':').unwrap_or((place, ""));
        let is = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        !host.is_empty() && host.bytes().all(is) && is_digits(port)
    })
}

/// The text in quotes, without what may be a secret.
fn quoted(url: &str) -> String {
    match without_secrets(url) {
        shown if shown.is_empty() => "what it says".to_owned(),
        shown => format!("{shown:?}"),
    }
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
            ("redis://u:p@[::1]:7/0?resp=2", "redis://[::1]:7"),
            (
                "redis-cluster://:p@a:1,b_c,10.0.0.1",
                "redis-cluster://a:1,b_c,10.0.0.1",
            ),
            (
                "redis+sentinel://a/m?sentinel-password=x@y",
                "redis+sentinel://a",
            ),
            (
                "redis+unix:///run/redis.sock?password=a@b",
                "redis+unix:///run/redis.sock",
            ),
            ("redis+unix://:hid?den@/run/redis.sock", "redis+unix://"),
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
            "redis:/:hidden@h",
            "redis//:hidden@h",
            ":hidden@h:7102",
            "redis://h:7102:hidden",
            "redis://h:hidden",
            "redis://default:hidden",
            "redis://default:47114711",
            "redis://h:1,g:hidden",
            "https://h:hidden",
        ] {
            let error = Target::new(url, Some("t"), "a", "b").unwrap_err();
            let error = error.to_string();
            assert!(!error.contains("hid"), "{url}: {error}");
            assert!(!error.contains("4711"), "{url}: {error}");
            assert!(error.contains("write "), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_that_is_not_encoded_is_told_and_not_shown() {
        for url in [
            "redis://:hid/den@h:2/0",
            "redis://u:hid#den@h",
            "rediss://:hid?den@h:2",
            "redis://u:12/hidden@h",
            "redis://:a@b/hidden@h",
            "redis://u:a#b@hidden@h",
            "redis+sentinel://u:hid/den@h/master",
            "https://u:hid/den@h",
        ] {
            let error = Target::new(url, Some("t"), "a", "b").unwrap_err();
            let error = error.to_string();
            assert!(error.contains("percent-encoded"), "{url}: {error}");
            assert!(!error.contains("hid"), "{url}: {error}");
        }
        for url in [
            "redis://u:a@b@h",
            "redis://:%2F%23%3F@h:1/2",
            "redis://[::1]:1",
        ] {
            assert!(Target::new(url, None, "a", "b").is_ok(), "{url}");
        }
    }
}
