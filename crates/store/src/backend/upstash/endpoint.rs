//! Where a REST endpoint is, what opens it, and a connection to it.
//!
//! `https` trusts what the machine trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` are
//! read), or the authorities in the PEM file that the URL's `?ca=` names and no
//! others. What no repeat heals, such as a certificate for another name, is a
//! [`Failure::Setting`] in one line that names the setting.

use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;
use percent_encoding::percent_decode_str;
use rustls::crypto::ring;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::connection::Connection;
use crate::backend::Failure;
use crate::error::{Error, Why};
use crate::target::Target;

/// A stream of bytes, in the clear or not.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// One endpoint.
pub(super) struct Endpoint {
    /// Scheme and host, for people.
    pub(super) place: String,
    /// Of the header `Host`.
    pub(super) authority: HeaderValue,
    pub(super) authorization: HeaderValue,
    /// What stands before every path; empty or `/…` without a slash behind.
    pub(super) base: String,
    pub(super) url_setting: &'static str,
    pub(super) token_setting: &'static str,
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    patience: Duration,
}

impl Endpoint {
    /// Reads a target; `patience` is for a connection with its handshake.
    pub(super) fn of(target: &Target, patience: Duration) -> Result<Self, Error> {
        let setting = target.url_setting;
        let place = target.place();
        let wrong =
            |reason: &str| Error::Setting(format!("setting `{setting}`: {place}: {reason}"));
        let uri: Uri = target
            .url
            .parse()
            .map_err(|error| wrong(&format!("no URL: {error}")))?;
        let authority = uri.authority().ok_or_else(|| wrong("there is no host"))?;
        let secure = uri.scheme_str() == Some("https");
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let shown = authority.as_str();
        let shown = shown.rsplit_once('@').map_or(shown, |(_, host)| host);
        let port = match authority.port_u16() {
            Some(port) => port,
            None if shown != authority.host() => return Err(wrong("there is no such port")),
            None if secure => 443,
            None => 80,
        };
        let mut ca = None;
        for pair in uri.query().unwrap_or_default().split('&') {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("", _) => {}
                ("ca", file) => ca = Some(percent_decode_str(file).decode_utf8_lossy()),
                (other, _) => {
                    let text = format!("`?{other}=` means nothing here; there is `?ca=<file>`");
                    return Err(wrong(&text));
                }
            }
        }
        let tls = if secure {
            let name = ServerName::try_from(host.clone())
                .map_err(|_| wrong("a certificate cannot be for that host"))?;
            let roots = roots(ca.as_deref()).map_err(|reason| wrong(&reason))?;
            Some((connector(roots).map_err(|error| wrong(&error))?, name))
        } else if ca.is_some() {
            return Err(wrong("`?ca=` goes with https://"));
        } else {
            None
        };
        let token = target.token.as_deref().unwrap_or_default();
        let mut authorization = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
            Error::Setting(format!(
                "setting `{}`: a token is one line of text",
                target.token_setting
            ))
        })?;
        authorization.set_sensitive(true);
        Ok(Endpoint {
            authority: HeaderValue::try_from(shown).map_err(|_| wrong("there is no host"))?,
            authorization,
            base: uri.path().trim_end_matches('/').to_owned(),
            url_setting: setting,
            token_setting: target.token_setting,
            host,
            port,
            tls,
            patience,
            place,
        })
    }

    /// A connection, with its handshake.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let outcome = tokio::time::timeout(self.patience, self.open()).await;
        outcome.unwrap_or_else(|_| {
            let waited = self.patience.as_millis();
            Err(self.unreached(&format!("no answer within {waited} ms")))
        })
    }

    async fn open(&self) -> Result<Connection, Failure> {
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| self.unreached(&error.to_string()))?;
        stream
            .set_nodelay(true)
            .map_err(|error| self.unreached(&error.to_string()))?;
        // A second handle, for a look that hyper does not offer.
        let socket = SockRef::from(&stream)
            .try_clone()
            .map_err(|error| self.unreached(&error.to_string()))?;
        let stream: Box<dyn Transport> = match &self.tls {
            None => Box::new(stream),
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                Box::new(stream.map_err(|error| self.no_tls(&error))?)
            }
        };
        Connection::over(stream, socket)
            .await
            .map_err(|error| self.unreached(&error.to_string()))
    }

    fn unreached(&self, reason: &str) -> Failure {
        Failure::NotSent(Why::Connect {
            place: self.place.clone(),
            reason: format!("{reason} (setting `{}`)", self.url_setting),
        })
    }

    /// Why there is no TLS.
    fn no_tls(&self, error: &std::io::Error) -> Failure {
        let inner = error.get_ref();
        let Some(error) = inner.and_then(|it| it.downcast_ref::<rustls::Error>()) else {
            return self.unreached(&format!("TLS: {error}"));
        };
        let text = match error {
            rustls::Error::InvalidMessage(_) => {
                "does not speak TLS: write http:// if it is meant to".to_owned()
            }
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                "has a certificate of an authority that this machine does not trust: name a file \
                 with that authority's by ?ca=<file>"
                    .to_owned()
            }
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => format!("has a certificate for another name than {}", self.host),
            rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => "has a certificate that has expired".to_owned(),
            other => format!("refuses TLS: {other}"),
        };
        self.setting(&text)
    }

    /// A failure that the URL's setting is to blame for.
    pub(super) fn setting(&self, text: &str) -> Failure {
        Failure::Setting(format!(
            "setting `{}`: {} {text}",
            self.url_setting, self.place
        ))
    }

    /// A failure of a connection that had been made.
    pub(super) fn broken(&self, reason: &str) -> Why {
        Why::Broken {
            place: self.place.clone(),
            reason: reason.to_owned(),
        }
    }

    /// Words for bytes that are no HTTP.
    pub(super) fn no_http(&self) -> String {
        let advice = if self.tls.is_some() {
            ""
        } else {
            ": write https:// if it speaks TLS"
        };
        format!("does not speak HTTP{advice}")
    }
}

/// Whom to trust.
fn roots(file: Option<&str>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = file {
        let read: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
        let found = read.map_err(|error| format!("`?ca={file}`: {error}"))?;
        for certificate in found {
            roots
                .add(certificate)
                .map_err(|error| format!("`?ca={file}`: {error}"))?;
        }
        if roots.is_empty() {
            return Err(format!("`?ca={file}`: there is no certificate in it"));
        }
        return Ok(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(ToString::to_string);
        let why = why.unwrap_or_else(|| "there are none".to_owned());
        return Err(format!(
            "cannot read the certificate authorities of this machine ({why}): install them \
             (package ca-certificates) or name a file by `?ca=`"
        ));
    }
    Ok(roots)
}

fn connector(roots: RootCertStore) -> Result<TlsConnector, String> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Endpoint, String> {
        let target = Target::new(url, Some("t"), "SANGAM_STORE", "SANGAM_STORE_TOKEN").unwrap();
        Endpoint::of(&target, Duration::from_secs(1)).map_err(|error| error.to_string())
    }

    #[test]
    fn urls() {
        let endpoint = read("http://u:p@[::1]:8080/a/b/").unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("::1", 8080));
        assert_eq!(endpoint.base, "/a/b");
        assert_eq!(endpoint.authority, "[::1]:8080");
        assert_eq!(endpoint.place, "http://[::1]:8080");
        assert_eq!(read("http://h").unwrap().port, 80);
    }

    #[test]
    fn wrong_urls_name_the_setting() {
        for (url, expected) in [
            ("http://h?cb=x", "`?cb=` means nothing here"),
            ("http://h?ca=x", "goes with https://"),
            ("https://h?ca=/no/such", "`?ca=/no/such`"),
            ("http://h:99999999", "no such port"),
        ] {
            let text = read(url).err().unwrap();
            assert!(text.starts_with("setting `SANGAM_STORE`: "), "{text}");
            assert!(text.contains(expected), "{text}");
        }
    }
}
