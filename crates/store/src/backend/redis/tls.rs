//! TLS towards a server: whom to trust, and who we are.

use std::path::Path;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::address::Files;

/// Trusts the authority in the file `ca`, or those of the system.
pub(super) fn config(files: &Files) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &files.ca {
        for certificate in certificates(path)? {
            roots
                .add(certificate)
                .map_err(|error| format!("`ca`: {}: {error}", path.display()))?;
        }
    } else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(
                "this system has no certificate authorities: install them (ca-certificates), or \
                 name the server's own by `?ca=<PEM file>`"
                    .to_owned(),
            );
        }
    }
    let builder = builder()?.with_root_certificates(roots);
    match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => {
            let secret = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| format!("`key`: {}: {error}", key.display()))?;
            builder
                .with_client_auth_cert(certificates(cert)?, secret)
                .map_err(|error| format!("`cert` and `key`: {error}"))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

/// Trusts nobody: to find out whether a server speaks TLS at all.
pub(super) fn strict() -> Result<ClientConfig, String> {
    let builder = builder()?.with_root_certificates(RootCertStore::empty());
    Ok(builder.with_no_client_auth())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, String> {
    let provider = rustls::crypto::ring::default_provider();
    ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let all: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| failed(&error))?;
    if all.is_empty() {
        return Err(failed(&"no certificate in it"));
    }
    Ok(all)
}
