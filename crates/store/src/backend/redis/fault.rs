//! Why a server cannot be used, in one line that names what to change.
//!
//! [`Failure::Setting`] is for what no waiting heals; everything else is a server
//! that is down, and asked again.

use std::fmt;
use std::io;

use crate::backend::Failure;
use crate::error::Why;

/// Words of one server for one setting.
#[derive(Clone)]
pub(super) struct Faults {
    /// The address, without secrets.
    pub(super) place: String,
    pub(super) setting: &'static str,
    /// Who logs in.
    pub(super) user: String,
    pub(super) database: u64,
}

impl Faults {
    /// Something that does not heal by itself.
    pub(super) fn setting(&self, text: impl fmt::Display) -> Failure {
        Failure::Setting(format!("setting `{}`: {} {text}", self.setting, self.place))
    }

    /// It may be there in a moment.
    pub(super) fn unreachable(&self, reason: impl Into<String>) -> Failure {
        Failure::NotSent(Why::Connect {
            place: self.place.clone(),
            reason: reason.into(),
        })
    }

    /// A server's refusal of what a new connection says first.
    pub(super) fn refused(&self, command: &str, text: &[u8]) -> Failure {
        let text = String::from_utf8_lossy(text);
        let code = text.split(' ').next().unwrap_or_default();
        let says = |what: &str| self.setting(format!("{what} (it says: {text})"));
        match code {
            "WRONGPASS" => says("refuses the user or the password"),
            "NOAUTH" => says(
                "asks for a password and the URL has none: write redis://user:password@host, or \
                 redis://:password@host for the default user",
            ),
            "NOPERM" => says(&format!(
                "does not let user `{0}` run {command}: allow it with ACL SETUSER {0} +{1}",
                self.user,
                command.to_ascii_lowercase()
            )),
            "DENIED" => self.setting(
                "is in protected mode and takes no connections from other hosts: give it a \
                 password or `protected-mode no`",
            ),
            "LOADING" | "BUSY" | "MASTERDOWN" => Failure::NotSent(Why::Refusing(text.into_owned())),
            _ if text.contains("invalid password") => says("refuses the password"),
            _ if text.contains("without any password") || text.contains("no password is set") => {
                says("has no password, and the URL gives one: leave it out")
            }
            _ if command == "AUTH" && text.contains("wrong number of arguments") => {
                says("knows no users, only a password: write redis://:password@host")
            }
            _ if command == "SELECT" && text.contains("cluster") => self.cluster(),
            _ if command == "SELECT" => says(&format!("has no database {}", self.database)),
            _ => Failure::NotSent(Why::Refusing(text.into_owned())),
        }
    }

    /// A node of a cluster where a single server was meant.
    pub(super) fn cluster(&self) -> Failure {
        self.setting(
            "is a node of a cluster: write redis-cluster:// (or rediss-cluster://) in place of \
             redis://",
        )
    }

    /// Bytes that are no reply.
    pub(super) fn not_redis(&self, bytes: &[u8]) -> Failure {
        let start = bytes.get(..bytes.len().min(40)).unwrap_or_default();
        if start.starts_with(b"HTTP/") || start.starts_with(b"<") {
            return self.setting(
                "answers HTTP, not Redis' protocol: is the port right? A REST endpoint is written \
                 https://…",
            );
        }
        if is_tls(start) {
            return self.needs_tls();
        }
        self.setting(format!(
            "does not speak Redis' protocol: is the port right? (it answers \"{}\")",
            start.escape_ascii()
        ))
    }

    pub(super) fn needs_tls(&self) -> Failure {
        self.setting("speaks TLS: write rediss:// (or rediss-cluster://, rediss+sentinel://)")
    }

    pub(super) fn has_no_tls(&self) -> Failure {
        self.setting("does not speak TLS: write redis:// in place of rediss://")
    }

    /// A failed handshake, or a connection that TLS ended.
    pub(super) fn tls(&self, error: &io::Error) -> Failure {
        use rustls::{AlertDescription, CertificateError, Error};
        let inner = error.get_ref().and_then(|it| it.downcast_ref::<Error>());
        let Some(inner) = inner else {
            return self.unreachable(format!("TLS: {error}"));
        };
        match inner {
            Error::InvalidCertificate(CertificateError::UnknownIssuer) => self.setting(
                "has a certificate of an unknown authority: name the authority's file by \
                 `?ca=<PEM file>`",
            ),
            Error::InvalidCertificate(why) => {
                self.setting(format!("has a certificate that does not hold: {why}"))
            }
            Error::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnknownCA
                | AlertDescription::HandshakeFailure
                | AlertDescription::AccessDenied,
            ) => self.setting(format!(
                "refuses the TLS connection ({inner}): it may ask for a certificate of yours, \
                 `?cert=<PEM file>&key=<PEM file>`"
            )),
            Error::InvalidMessage(_) => self.has_no_tls(),
            other => self.unreachable(format!("TLS: {other}")),
        }
    }
}

/// Whether bytes are a record of TLS: an alert or a handshake.
pub(super) fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 0x03, ..])
}
