//! Settings: a flag goes before an environment variable, that before the file,
//! that before the default.
//!
//! Every value is text until it is read here, with where it came from, so that
//! an error names the setting, and in a file the line.

mod caches;
mod service_keys;

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sangam_engine::config::{EvictionPolicy, Settings, parse_memory};
use sangam_engine::journal::Fsync;
use sangam_store::{Scheme, Target};
use serde::Deserialize;
use toml::Spanned;

use crate::api::ServiceKey;
use crate::cli::ServeArgs;

pub use caches::CacheSettings;

/// Why there is no RESP in front of a store.
const NO_RESP: &str = "RESP serves the embedded engine only, and `store` names another store: \
                       leave `resp` out, or set it to `off`";
/// Largest request of Upstash's smaller plans.
const MAX_REQUEST_SIZE: usize = 10 * 1024 * 1024;

/// Bytes of a prefix.
const PREFIX_MAX: usize = 64;

/// Everything that a server needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host:port` of the gateway; port 0 takes a free one.
    pub http: String,
    /// `host:port` of the RESP listener, if there is to be one.
    pub resp: Option<String>,
    /// A store that is not the embedded engine.
    pub store: Option<Target>,
    /// The data folder; `None` keeps everything in memory. With a store it keeps
    /// the token only.
    pub data: Option<PathBuf>,
    /// The token with full access; `None` makes one.
    pub token: Option<String>,
    /// The token that may only read.
    pub read_token: Option<String>,
    /// TLS on both listeners.
    pub tls: Option<TlsFiles>,
    /// When what was written is synced to the disk.
    pub fsync: Fsync,
    /// The engine's settings to start with.
    pub settings: Settings,
    /// Whether REST refuses what Upstash refuses.
    pub strict_upstash: bool,
    /// What begins every key of ours; the keys of apps are their own.
    pub prefix: String,
    /// The file with the settings, or where it would be: its limits and service keys
    /// are read again when it changes.
    pub file: Option<PathBuf>,
    /// Classes of limits, and what holds for all of them.
    pub limits: sangam::limit::Settings,
    /// How caches behave.
    pub caches: CacheSettings,
    /// Keys of services, with scopes.
    pub service_keys: Vec<ServiceKey>,
    /// Bytes of a REST request, and of a REST response.
    pub max_request_size: usize,
    /// Bounds on time.
    pub timing: Timing,
    /// What whoever starts the server should know of its settings, a line each.
    pub warnings: Vec<String>,
}

/// Where the certificate and its key are, both PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// How long the server waits for what.
#[derive(Debug, Clone)]
pub struct Timing {
    /// For a request's head, and for the next request on an idle HTTP
    /// connection: longer than the 60 s that proxies keep idle connections, so
    /// that they, and not we, close first.
    pub head: Duration,
    /// For a request's body.
    pub body: Duration,
    /// Between two signs of life on an event stream.
    pub event_keep_alive: Duration,
    /// For a client to take more of an HTTP answer or an event stream. What it
    /// was sent is kept in memory until then: half of what it may take to ask.
    pub write: Duration,
    /// For a TLS handshake.
    pub handshake: Duration,
    /// For a RESP client's token, from when it connected: a person who types AUTH
    /// makes it, and connections that nobody vouches for do not gather.
    pub authentication: Duration,
    /// For running requests when the server stops.
    pub shutdown: Duration,
    /// For the keyspace lock when readiness is asked; a store that answers later
    /// is slow.
    pub readiness: Duration,
    /// For a store's answer when readiness is asked.
    pub store_readiness: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            head: Duration::from_secs(75),
            body: Duration::from_mins(1),
            event_keep_alive: Duration::from_secs(15),
            write: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            authentication: Duration::from_secs(30),
            shutdown: Duration::from_secs(10),
            readiness: Duration::from_millis(250),
            store_readiness: Duration::from_secs(1),
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be read.
    #[error("cannot read {}: {error} (setting `config`: --config or SANGAM_CONFIG)", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file that is not TOML, or has a setting that does not exist. The line
    /// itself is not shown: it may hold a token.
    #[error("{} {place}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: Place,
        /// Why, in one line.
        reason: String,
    },
    /// A value that does not fit.
    #[error("setting `{name}` ({origin}): {reason}")]
    Value {
        /// The setting.
        name: &'static str,
        /// Where the value came from.
        origin: Origin,
        /// What it takes.
        reason: String,
    },
    /// A store that cannot be, in words that name the setting.
    #[error("{0}")]
    Store(String),
}

/// A place in a text, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

impl Place {
    /// Of what stands `at` bytes behind the beginning.
    fn of(text: &str, at: usize) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Place {
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// What the parser says of a text, without the values in it.
fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let mut reason = error.message().replace(['\r', '\n'], " ");
    if reason.starts_with("invalid ")
        && let (Some(from), Some(to)) = (reason.find(['`', '"']), reason.rfind(", expected "))
        && from < to
    {
        let kind = reason.get(..from).unwrap_or_default().trim_end();
        let expected = reason.get(to..).unwrap_or_default();
        reason = format!("{kind}{expected}");
    }
    ConfigError::Syntax {
        path: path.to_owned(),
        place: Place::of(text, error.span().map_or(0, |span| span.start)),
        reason,
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The command line or the environment; the name of the variable.
    Command(&'static str),
    /// A line of a file.
    File(PathBuf, usize),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Command(variable) => write!(f, "its flag, or {variable}"),
            Origin::File(path, line) => write!(f, "{} line {line}", path.display()),
        }
    }
}

/// The file, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct FileSettings {
    http: Option<Spanned<String>>,
    resp: Option<Spanned<String>>,
    store: Option<Spanned<String>>,
    store_token: Option<Spanned<String>>,
    data: Option<Spanned<String>>,
    token: Option<Spanned<String>>,
    read_token: Option<Spanned<String>>,
    tls_cert: Option<Spanned<String>>,
    tls_key: Option<Spanned<String>>,
    fsync: Option<Spanned<String>>,
    maxmemory: Option<Spanned<Amount>>,
    maxmemory_policy: Option<Spanned<String>>,
    max_request_size: Option<Spanned<Amount>>,
    enable_debug_command: Option<Spanned<String>>,
    strict_upstash: Option<Spanned<String>>,
    prefix: Option<Spanned<String>>,
    service_keys: Vec<Spanned<service_keys::Entry>>,
    /// Read by itself, and again whenever it changes.
    limits: serde::de::IgnoredAny,
    caches: caches::Entries,
}

/// Bytes, as a number or with a unit.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Amount {
    Number(u64),
    Text(String),
}

impl From<Amount> for String {
    fn from(amount: Amount) -> Self {
        match amount {
            Amount::Number(number) => number.to_string(),
            Amount::Text(text) => text,
        }
    }
}

/// A value and where it came from.
struct Setting {
    name: &'static str,
    text: String,
    origin: Origin,
}

impl Setting {
    fn refuse(&self, reason: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            name: self.name,
            origin: self.origin.clone(),
            reason: reason.into(),
        }
    }

    /// What is said of a setting of the engine where there is none.
    fn without_effect(&self, why: &str) -> String {
        let Setting { name, origin, .. } = self;
        format!("setting `{name}` ({origin}) has no effect: {why}")
    }

    fn yes_or_no(&self) -> Result<bool, ConfigError> {
        match self.text.trim() {
            "yes" => Ok(true),
            "no" => Ok(false),
            other => Err(self.refuse(format!("{other:?} is neither yes nor no"))),
        }
    }

    fn bytes(&self) -> Result<usize, ConfigError> {
        parse_memory(self.text.trim()).ok_or_else(|| {
            let text = &self.text;
            self.refuse(format!(
                "{text:?} is no amount of memory; write bytes, or a unit as in 100mb"
            ))
        })
    }
}

/// Finds settings by precedence.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    /// The line that holds what stands `at` bytes behind the beginning.
    fn origin(&self, at: usize) -> Origin {
        Origin::File(self.path.to_owned(), Place::of(self.text, at).line)
    }

    fn pick<T: Into<String>>(
        &self,
        name: &'static str,
        variable: &'static str,
        command: Option<&String>,
        file: Option<Spanned<T>>,
    ) -> Option<Setting> {
        if let Some(text) = command {
            let origin = Origin::Command(variable);
            return Some(Setting {
                name,
                text: text.clone(),
                origin,
            });
        }
        let spanned = file?;
        let origin = self.origin(spanned.span().start);
        Some(Setting {
            name,
            text: spanned.into_inner().into(),
            origin,
        })
    }
}

impl Config {
    /// A server for tests: in memory, on free ports of the loopback interface.
    pub fn in_memory(token: &str) -> Self {
        Config {
            http: "127.0.0.1:0".to_owned(),
            resp: Some("127.0.0.1:0".to_owned()),
            store: None,
            data: None,
            token: Some(token.to_owned()),
            read_token: None,
            tls: None,
            fsync: Fsync::default(),
            settings: Settings::default(),
            strict_upstash: false,
            prefix: String::new(),
            file: None,
            limits: sangam::limit::Settings::default(),
            caches: CacheSettings::default(),
            service_keys: Vec::new(),
            max_request_size: MAX_REQUEST_SIZE,
            timing: Timing::default(),
            warnings: Vec::new(),
        }
    }

    /// Reads flags, environment and file.
    pub fn load(args: &ServeArgs) -> Result<Self, ConfigError> {
        let path = PathBuf::from(args.config.as_deref().unwrap_or("sangam.toml"));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && args.config.is_none() => {
                String::new()
            }
            Err(error) => return Err(ConfigError::File { path, error }),
        };
        Config::resolve(args, &path, &text)
    }

    fn resolve(args: &ServeArgs, path: &Path, text: &str) -> Result<Self, ConfigError> {
        let file: FileSettings =
            toml::from_str(text).map_err(|error| syntax(path, text, &error))?;
        let reader = Reader { path, text };
        let http = reader.pick("http", "SANGAM_HTTP", args.http.as_ref(), file.http);
        let resp = reader.pick("resp", "SANGAM_RESP", args.resp.as_ref(), file.resp);
        let store = reader.pick("store", "SANGAM_STORE", args.store.as_ref(), file.store);
        let store_token = reader.pick(
            "store-token",
            "SANGAM_STORE_TOKEN",
            args.store_token.as_ref(),
            file.store_token,
        );
        let data = reader.pick("data", "SANGAM_DATA", args.data.as_ref(), file.data);
        let token = reader.pick("token", "SANGAM_TOKEN", args.token.as_ref(), file.token);
        let read_token = reader.pick(
            "read-token",
            "SANGAM_READ_TOKEN",
            args.read_token.as_ref(),
            file.read_token,
        );
        let cert = reader.pick(
            "tls-cert",
            "SANGAM_TLS_CERT",
            args.tls_cert.as_ref(),
            file.tls_cert,
        );
        let key = reader.pick(
            "tls-key",
            "SANGAM_TLS_KEY",
            args.tls_key.as_ref(),
            file.tls_key,
        );
        let fsync = reader.pick("fsync", "SANGAM_FSYNC", args.fsync.as_ref(), file.fsync);
        let maxmemory = reader.pick(
            "maxmemory",
            "SANGAM_MAXMEMORY",
            args.maxmemory.as_ref(),
            file.maxmemory,
        );
        let policy = reader.pick(
            "maxmemory-policy",
            "SANGAM_MAXMEMORY_POLICY",
            args.maxmemory_policy.as_ref(),
            file.maxmemory_policy,
        );
        let request_size = reader.pick(
            "max-request-size",
            "SANGAM_MAX_REQUEST_SIZE",
            args.max_request_size.as_ref(),
            file.max_request_size,
        );
        let debug_command = reader.pick(
            "enable-debug-command",
            "SANGAM_ENABLE_DEBUG_COMMAND",
            args.enable_debug_command.as_ref(),
            file.enable_debug_command,
        );
        let strict_upstash = reader.pick(
            "strict-upstash",
            "SANGAM_STRICT_UPSTASH",
            args.strict_upstash.as_ref(),
            file.strict_upstash,
        );

        let prefix = reader.pick("prefix", "SANGAM_PREFIX", args.prefix.as_ref(), file.prefix);
        let limits = limits(path, text)?;
        let service_keys = service_keys::read(&reader, file.service_keys)?;

        let store = target(store.as_ref(), store_token.as_ref())?;
        let mut warnings = Vec::new();
        let is_rest = store
            .as_ref()
            .is_some_and(|store| store.scheme() == Scheme::Rest);
        if let Some(setting) = store_token.filter(|setting| !is_rest && !setting.text.is_empty()) {
            warnings.push(setting.without_effect("only a store by https:// has a token"));
        }
        if store.is_some() {
            let of_the_engine = [&fsync, &maxmemory, &policy, &debug_command];
            for setting in of_the_engine.into_iter().flatten() {
                warnings.push(setting.without_effect("the data is in the store"));
            }
        }
        let token = token.map(check_token).transpose()?;
        let read_token = match read_token {
            Some(setting) if token.as_ref() == Some(&setting.text) => {
                return Err(
                    setting.refuse("is the same as `token`, which may write; choose another")
                );
            }
            Some(setting) => Some(check_token(setting)?),
            None => None,
        };
        let tls = match (cert, key) {
            (Some(cert), Some(key)) => Some(TlsFiles {
                cert: cert.text.into(),
                key: key.text.into(),
            }),
            (None, None) => None,
            (Some(cert), None) => return Err(cert.refuse("needs `tls-key` too (SANGAM_TLS_KEY)")),
            (None, Some(key)) => return Err(key.refuse("needs `tls-cert` too (SANGAM_TLS_CERT)")),
        };
        let mut settings = Settings::default();
        if let Some(maxmemory) = maxmemory {
            settings.maxmemory = maxmemory.bytes()?;
        }
        if let Some(policy) = policy {
            settings
                .set("maxmemory-policy", policy.text.trim())
                .map_err(|_| {
                    let names = EvictionPolicy::NAMES.map(|(_, name)| name);
                    policy.refuse(format!("{:?} is none of {}", policy.text, names.join(", ")))
                })?;
        }
        if let Some(setting) = debug_command {
            settings.debug_command = setting.yes_or_no()?;
        }
        let fsync = match fsync {
            None => Fsync::default(),
            Some(setting) => match Fsync::of(setting.text.trim()) {
                Some(fsync) => fsync,
                None => {
                    return Err(setting.refuse(format!(
                        "{:?} is neither always, everysec nor no",
                        setting.text
                    )));
                }
            },
        };
        let max_request_size = match request_size {
            None => MAX_REQUEST_SIZE,
            Some(setting) => match setting.bytes()? {
                0 => return Err(setting.refuse("has to be at least 1")),
                bytes => bytes,
            },
        };
        let caches = caches::read(&reader, &file.caches, max_request_size)?;
        Ok(Config {
            http: http.map_or_else(
                || Ok("127.0.0.1:8585".to_owned()),
                |setting| address(&setting),
            )?,
            resp: match resp {
                Some(setting) if setting.text.trim() == "off" => None,
                None if store.is_some() => None,
                Some(setting) if store.is_some() => return Err(setting.refuse(NO_RESP)),
                None => Some("127.0.0.1:6380".to_owned()),
                Some(setting) => Some(address(&setting)?),
            },
            store,
            data: match data {
                None => Some(PathBuf::from("sangam-data")),
                Some(setting) if setting.text == "memory" => None,
                Some(setting) if setting.text.is_empty() => {
                    return Err(setting.refuse("is empty; name a folder, or `memory` for none"));
                }
                Some(setting) => Some(setting.text.into()),
            },
            token,
            read_token,
            tls,
            fsync,
            settings,
            strict_upstash: strict_upstash.map_or(Ok(false), |setting| setting.yes_or_no())?,
            prefix: prefix.map_or_else(|| Ok(String::new()), check_prefix)?,
            file: Some(path.to_owned()),
            limits,
            caches,
            service_keys,
            max_request_size,
            timing: Timing::default(),
            warnings,
        })
    }
}

/// The service keys in a text that a settings' file has now. Its other settings have to
/// be ones that there are, as at the start.
pub(crate) fn reread_service_keys(path: &Path, text: &str) -> Result<Vec<ServiceKey>, ConfigError> {
    let file: FileSettings = toml::from_str(text).map_err(|error| syntax(path, text, &error))?;
    service_keys::read(&Reader { path, text }, file.service_keys)
}

/// The store that the settings name, unless it is the embedded engine. Values of
/// other programs' variables (`REDIS_URL`) mean nothing here: a server must not
/// call itself by the settings of its apps.
fn target(url: Option<&Setting>, token: Option<&Setting>) -> Result<Option<Target>, ConfigError> {
    let Some(url) = url else {
        return Ok(None);
    };
    let token = token.map(|setting| setting.text.as_str());
    let target = match &url.origin {
        Origin::Command(_) => Target::new(
            &url.text,
            token,
            "--store, SANGAM_STORE",
            "--store-token, SANGAM_STORE_TOKEN",
        ),
        Origin::File(..) => Target::new(&url.text, token, "store", "store-token"),
    };
    let target = target.map_err(|error| {
        let place = match &url.origin {
            Origin::Command(_) => String::new(),
            Origin::File(..) => format!("{}: ", url.origin),
        };
        ConfigError::Store(format!("{place}{error}"))
    })?;
    Ok((target.scheme() != Scheme::Embedded).then_some(target))
}

/// A token goes into a header and into URLs: visible ASCII only.
fn check_token(setting: Setting) -> Result<String, ConfigError> {
    if setting.text.is_empty() {
        return Err(setting.refuse(match setting.name {
            "token" => "is empty; leave it out to have one made",
            _ => "is empty; leave it out to have none",
        }));
    }
    if !setting.text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(setting.refuse("may only have visible ASCII characters"));
    }
    Ok(setting.text)
}

/// The table `[limits]` of the file.
fn limits(path: &Path, text: &str) -> Result<sangam::limit::Settings, ConfigError> {
    sangam::limit::Settings::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        place: Place {
            line: error.line,
            column: error.column,
        },
        reason: error.reason,
    })
}

/// A prefix stands before names in keys.
fn check_prefix(setting: Setting) -> Result<String, ConfigError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
    if setting.text.len() > PREFIX_MAX || !setting.text.bytes().all(is_plain) {
        return Err(setting.refuse(format!(
            "has at most {PREFIX_MAX} letters, digits, `-`, `_`, `.`, `:` or `/`"
        )));
    }
    Ok(setting.text)
}

fn address(setting: &Setting) -> Result<String, ConfigError> {
    let text = setting.text.trim();
    let port = text
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .map(|(_, port)| port);
    if port.is_none_or(|port| port.parse::<u16>().is_err()) {
        return Err(setting.refuse(format!("{text:?} is no address; write host:port")));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
