//! TLS for connections to brokers: which certificates are trusted, and the one this side shows.
//!
//! RFC 8446 (<https://www.rfc-editor.org/rfc/rfc8446>). Left out on purpose: trusting the system's authorities. A broker
//! of measurements is one we know, so its authority is named.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// The settings of a connection: authorities from `ca`, and certificate and key to show when the broker asks.
///
/// # Errors
/// A file that cannot be read or holds no certificate or key; names the file.
pub fn tls(ca: &Path, own: Option<(&Path, &Path)>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots
            .add(certificate)
            .map_err(|e| format!("{}: {e}", ca.display()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let secret = PrivateKeyDer::from_pem_file(key)
                .map_err(|e| format!("{}: no private key: {e}", key.display()))?;
            builder
                .with_client_auth_cert(chain, secret)
                .map_err(|e| format!("{}: {e}", certificate.display()))?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed =
        |e: rustls::pki_types::pem::Error| format!("{}: no certificate: {e}", file.display());
    let found = CertificateDer::pem_file_iter(file)
        .map_err(failed)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    if found.is_empty() {
        return Err(format!("{}: no certificate in it", file.display()));
    }
    Ok(found)
}
