//! What a URL says: where the servers are, how they belong together, how to log
//! in, and over what.
//!
//! ```text
//! redis[s]://[user:password@]host[:6379][/database]
//! unix:///path/to.sock[?db=n&user=…&password=…]
//! redis[s]-cluster://[user:password@]host[:port][,host[:port]…]
//! redis[s]+sentinel://[user:password@]host[:26379][,host…]/master[/database]
//! ```
//!
//! `valkey` may stand in place of `redis`, `+cluster` for `-cluster` and
//! `-sentinel` for `+sentinel`. User and password are percent-encoded. Options
//! follow `?`, joined by `&`: `protocol=resp2`; `ca`, `cert` and `key` (PEM
//! files); `sentinel-user` and `sentinel-password`, which sentinels are given.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::error::Error;
use crate::target::Target;

/// A server's place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Host {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Host {
    pub(super) fn tcp(host: &str, port: u16) -> Self {
        Host::Tcp {
            host: host.to_owned(),
            port,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Tcp { host, port } if host.contains(':') => write!(out, "[{host}]:{port}"),
            Host::Tcp { host, port } => write!(out, "{host}:{port}"),
            Host::Unix(path) => path.display().fmt(out),
        }
    }
}

/// How servers belong together.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Deployment {
    Single(Host),
    Cluster(Vec<Host>),
    Sentinel {
        sentinels: Vec<Host>,
        master: String,
        login: Login,
    },
}

/// What opens a server.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

/// Files of a TLS connection; none of them is the system's authorities and no
/// certificate of our own.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) ca: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

/// A URL, read.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) deployment: Deployment,
    pub(super) login: Login,
    pub(super) database: u64,
    pub(super) tls: Option<Files>,
    pub(super) resp2: bool,
    /// The setting that gave the URL.
    pub(super) setting: &'static str,
}

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

impl Address {
    pub(super) fn of(target: &Target) -> Result<Self, Error> {
        read(target).map_err(|text| {
            Error::Setting(format!(
                "setting `{}`: {}: {text}",
                target.url_setting,
                target.place()
            ))
        })
    }
}

fn read(target: &Target) -> Result<Address, String> {
    let url = target.url.as_str();
    let (scheme, rest) = url.split_once(':').ok_or("no scheme")?;
    let scheme = scheme.to_ascii_lowercase().replace("valkey", "redis");
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    if !fragment.is_empty() {
        return Err(format!(
            "`#{fragment}` is not understood; a certificate is always checked: name its authority \
             by `?ca=<PEM file>`"
        ));
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut options = Options::read(query)?;
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (read_login(login)?, hosts),
        None => (Login::default(), authority),
    };
    let kind = scheme
        .trim_start_matches("rediss")
        .trim_start_matches("redis");
    let encrypted = scheme.starts_with("rediss");
    let mut database = 0;
    let deployment = match kind.trim_start_matches(['-', '+']) {
        "unix" => {
            if !hosts.is_empty() || path.len() < 2 {
                return Err("a socket is written unix:///path/to.sock".to_owned());
            }
            database = options.database.take().unwrap_or(0);
            Deployment::Single(Host::Unix(decoded(path)?.into()))
        }
        "" => {
            database = read_database(path)?;
            let mut hosts = read_hosts(hosts, PORT)?;
            match (hosts.pop(), hosts.is_empty()) {
                (Some(host), true) => Deployment::Single(host),
                _ => {
                    return Err("several hosts: write redis-cluster://… or \
                                redis+sentinel://…/master"
                        .to_owned());
                }
            }
        }
        "cluster" => {
            if read_database(path)? != 0 {
                return Err("a cluster has database 0 only".to_owned());
            }
            Deployment::Cluster(read_hosts(hosts, PORT)?)
        }
        "sentinel" => {
            let path = path.trim_start_matches('/');
            let (master, rest) = path.split_once('/').unwrap_or((path, ""));
            if master.is_empty() {
                return Err(
                    "no master is named: write redis+sentinel://host:26379/master-name".to_owned(),
                );
            }
            database = read_database(rest)?;
            Deployment::Sentinel {
                sentinels: read_hosts(hosts, SENTINEL_PORT)?,
                master: decoded(master)?,
                login: Login {
                    user: options.sentinel_user.take(),
                    password: options.sentinel_password.take(),
                },
            }
        }
        _ => return Err(format!("`{scheme}` is no scheme of a store")),
    };
    options.finish(database, login, deployment, encrypted, target.url_setting)
}

fn decoded(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(Into::into)
        .map_err(|_| "a part of it is not UTF-8 once decoded".to_owned())
}

fn read_login(text: &str) -> Result<Login, String> {
    let Some((user, password)) = text.split_once(':') else {
        return Err(
            "a user without a password: write redis://user:password@host, or \
             redis://:password@host for the default user"
                .to_owned(),
        );
    };
    let filled = |text: &str| -> Result<Option<String>, String> {
        Ok(Some(decoded(text)?).filter(|text| !text.is_empty()))
    };
    Ok(Login {
        user: filled(user)?,
        password: filled(password)?,
    })
}

fn read_hosts(text: &str, port: u16) -> Result<Vec<Host>, String> {
    text.split(',').map(|host| read_host(host, port)).collect()
}

fn read_host(text: &str, default: u16) -> Result<Host, String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest
                .split_once(']')
                .ok_or_else(|| format!("`{text}` is no host: `]` is missing"))?;
            (host, rest.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None | Some("") => default,
        Some(port) => match port.parse() {
            Ok(port @ 1..) => port,
            // Anything else may be a part of a password.
            _ if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(format!("`{port}` is no port (1 to 65535)"));
            }
            _ => return Err("what follows the host's `:` is no port".to_owned()),
        },
    };
    if host.is_empty() {
        return Err("no host is named".to_owned());
    }
    Ok(Host::tcp(&decoded(host)?, port))
}

fn read_database(path: &str) -> Result<u64, String> {
    let number = path.trim_matches('/');
    if number.is_empty() {
        return Ok(0);
    }
    number.parse().map_err(|_| {
        format!("`{number}` is no database: after the host comes a number, such as /0")
    })
}

/// What stands after `?`.
#[derive(Default)]
struct Options {
    resp2: bool,
    files: Files,
    sentinel_user: Option<String>,
    sentinel_password: Option<String>,
    user: Option<String>,
    password: Option<String>,
    database: Option<u64>,
}

impl Options {
    fn read(query: &str) -> Result<Self, String> {
        let mut options = Options::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value)?;
            match name {
                "protocol" => {
                    options.resp2 = match value.as_str() {
                        "resp2" | "2" => true,
                        "resp3" | "3" => false,
                        _ => return Err("`protocol` is resp2 or resp3".to_owned()),
                    }
                }
                "ca" => options.files.ca = Some(value.into()),
                "cert" => options.files.cert = Some(value.into()),
                "key" => options.files.key = Some(value.into()),
                "sentinel-user" => options.sentinel_user = Some(value),
                "sentinel-password" => options.sentinel_password = Some(value),
                "user" => options.user = Some(value),
                "password" | "pass" => options.password = Some(value),
                "db" => options.database = Some(read_database(&value)?),
                _ => {
                    return Err(format!(
                        "the option `{name}` is not known; known are protocol, ca, cert, key, \
                         sentinel-user and sentinel-password"
                    ));
                }
            }
        }
        Ok(options)
    }

    fn finish(
        self,
        database: u64,
        login: Login,
        deployment: Deployment,
        encrypted: bool,
        setting: &'static str,
    ) -> Result<Address, String> {
        let unix = matches!(deployment, Deployment::Single(Host::Unix(_)));
        if !unix && (self.user.is_some() || self.password.is_some() || self.database.is_some()) {
            return Err(
                "user, password and database stand before and after the host, not among the \
                 options: redis://user:password@host:port/0"
                    .to_owned(),
            );
        }
        if self.sentinel_user.is_some() || self.sentinel_password.is_some() {
            return Err("sentinel-user and sentinel-password are for redis+sentinel://".to_owned());
        }
        if !encrypted && self.files != Files::default() {
            return Err("ca, cert and key are for TLS: write rediss://".to_owned());
        }
        if self.files.cert.is_some() != self.files.key.is_some() {
            return Err("`cert` and `key` belong together".to_owned());
        }
        Ok(Address {
            deployment,
            login: Login {
                user: login.user.or(self.user),
                password: login.password.or(self.password),
            },
            database,
            tls: encrypted.then_some(self.files),
            resp2: self.resp2,
            setting,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, String> {
        let target = Target::new(url, None, "REDIS_URL", "").unwrap();
        Address::of(&target).map_err(|error| error.to_string())
    }

    fn address(url: &str) -> Address {
        parse(url).unwrap_or_else(|text| panic!("{url}: {text}"))
    }

    #[test]
    fn a_single_server() {
        let it = address("rediss://a%40b:p%3A%2F@[::1]:7000/3?protocol=resp2&ca=/c%20a.pem");
        assert!(it.deployment == Deployment::Single(Host::tcp("::1", 7000)));
        assert_eq!(it.login.user.as_deref(), Some("a@b"));
        assert_eq!(it.login.password.as_deref(), Some("p:/"));
        assert_eq!((it.database, it.resp2), (3, true));
        assert_eq!(it.tls.unwrap().ca, Some("/c a.pem".into()));
        let it = address("valkey://:x@h");
        assert!(it.deployment == Deployment::Single(Host::tcp("h", 6379)));
        assert_eq!((it.login.user, it.tls.is_some()), (None, false));
        assert!(address("valkeys://h").tls.is_some());
        for url in [
            "unix:///a/b.sock?db=2&password=p",
            "redis+unix:///a/b.sock?db=2&pass=p",
        ] {
            let it = address(url);
            assert!(it.deployment == Deployment::Single(Host::Unix("/a/b.sock".into())));
            assert_eq!((it.database, it.login.password.as_deref()), (2, Some("p")));
        }
        assert!(
            address("unix:/a.sock").deployment == Deployment::Single(Host::Unix("/a.sock".into()))
        );
    }

    #[test]
    fn several_servers() {
        for url in ["redis-cluster://u:p@a:1,b", "redis+cluster://u:p@a:1,b/0"] {
            let nodes = vec![Host::tcp("a", 1), Host::tcp("b", 6379)];
            assert!(address(url).deployment == Deployment::Cluster(nodes));
        }
        for url in [
            "rediss+sentinel://u:p@a,b:1/my%2Dmaster/2?sentinel-password=s",
            "rediss-sentinel://u:p@a,b:1/my-master/2?sentinel-password=s",
        ] {
            let it = address(url);
            let Deployment::Sentinel {
                sentinels,
                master,
                login,
            } = it.deployment
            else {
                panic!("no sentinels");
            };
            assert_eq!(sentinels, [Host::tcp("a", 26379), Host::tcp("b", 1)]);
            assert_eq!((master.as_str(), it.database), ("my-master", 2));
            assert_eq!(login.password.as_deref(), Some("s"));
            assert_eq!(it.login.password.as_deref(), Some("p"));
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line_without_secrets() {
        for (url, text) in [
            ("redis://h:0", "`0` is no port"),
            ("redis://h:99999", "`99999` is no port"),
            ("redis://u:secret@h/x", "`x` is no database"),
            ("redis://u@h", "without a password"),
            ("redis://a,b", "redis-cluster://"),
            ("redis-cluster://a/1", "database 0 only"),
            ("redis+sentinel://a", "no master is named"),
            ("redis://u:secret@h?password=secret", "stand before"),
            ("redis://h?timeout=3", "`timeout` is not known"),
            ("redis://h?ca=x", "write rediss://"),
            ("rediss://h?cert=x", "belong together"),
            ("rediss://h#insecure", "?ca="),
            ("redis://h?sentinel-password=secret", "redis+sentinel://"),
            ("redis://[::1", "`]` is missing"),
            ("redis://:%ff@h", "not UTF-8"),
        ] {
            let error = parse(url)
                .err()
                .unwrap_or_else(|| panic!("{url} was taken"));
            assert!(error.contains(text), "{url}: {error}");
            assert!(error.starts_with("setting `REDIS_URL`: "), "{error}");
            assert!(
                !error.contains("secret") || url.contains("sentinel"),
                "{error}"
            );
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
