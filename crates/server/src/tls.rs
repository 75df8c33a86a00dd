//! TLS by rustls: one certificate for both listeners.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read as PEM.
    #[error("cannot use {}: {reason} (setting `{name}`: --{name} or {variable})", path.display())]
    File {
        /// The setting.
        name: &'static str,
        /// Its variable.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A certificate and key that do not go together, or are not supported.
    #[error("the certificate and key cannot be used: {0} (settings `tls-cert` and `tls-key`)")]
    Pair(rustls::Error),
}

/// Acceptors for HTTP and for RESP.
pub(crate) fn acceptors(files: &TlsFiles) -> Result<(TlsAcceptor, TlsAcceptor), TlsError> {
    let cert_failed = |reason: String| TlsError::File {
        name: "tls-cert",
        variable: "SANGAM_TLS_CERT",
        path: files.cert.clone(),
        reason,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|error| cert_failed(error.to_string()))?;
    if chain.is_empty() {
        return Err(cert_failed("there is no certificate in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| TlsError::File {
        name: "tls-key",
        variable: "SANGAM_TLS_KEY",
        path: files.key.clone(),
        reason: error.to_string(),
    })?;
    let resp = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Pair)?;
    let mut http = resp.clone();
    http.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((
        TlsAcceptor::from(Arc::new(http)),
        TlsAcceptor::from(Arc::new(resp)),
    ))
}
