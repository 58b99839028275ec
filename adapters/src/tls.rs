//! TLS for feeds and senders: certificate, key and the authorities of the other side, from PEM files.
//!
//! TLS 1.2 and 1.3 (<https://www.rfc-editor.org/rfc/rfc8446>), by rustls. Keys and certificates are read once, when the
//! feed starts; pausing and resuming it reads them anew.
//!
//! Left out on purpose: lists of revoked certificates, and the system's own authorities. A feed names whom it trusts.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// The files of a feed that listens with TLS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServerFiles {
    /// PEM: the server's certificate, then those that signed it.
    pub certificate: PathBuf,
    /// PEM: the private key of the certificate.
    pub key: PathBuf,
    /// PEM: who signs the certificates of senders; with it a sender without one is refused.
    pub client_ca: Option<PathBuf>,
}

/// The files of a sender.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// PEM: who signs the certificate of the receiver.
    pub ca: PathBuf,
    /// PEM: the sender's own certificate and its key, when the receiver asks for one.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// Ready to accept connections.
#[derive(Clone)]
pub struct Acceptor(TlsAcceptor);

/// Ready to connect.
#[derive(Clone)]
pub struct Connector(TlsConnector);

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor")
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl Acceptor {
    /// Reads the files.
    ///
    /// # Errors
    /// A sentence naming the file.
    pub fn new(files: &ServerFiles) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?;
        let builder = match &files.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(roots(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .build()
                    .map_err(|e| named(path, &e))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let config = builder
            .with_single_cert(certificates(&files.certificate)?, key(&files.key)?)
            .map_err(|e| named(&files.key, &e))?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<server::TlsStream<TcpStream>> {
        self.0.accept(stream).await
    }
}

impl Connector {
    /// Reads the files.
    ///
    /// # Errors
    /// A sentence naming the file.
    pub fn new(files: &ClientFiles) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots(&files.ca)?);
        let config = match &files.own {
            None => builder.with_no_client_auth(),
            Some((certificate, private)) => builder
                .with_client_auth_cert(certificates(certificate)?, key(private)?)
                .map_err(|e| named(private, &e))?,
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "the host has no valid name")
        })?;
        self.0.connect(name, stream).await
    }
}

fn named(path: &Path, error: &dyn fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|e| named(path, &e))?
        .collect();
    let found = found.map_err(|e| named(path, &e))?;
    if found.is_empty() {
        return Err(named(path, &"no certificate in PEM form"));
    }
    Ok(found)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| named(path, &e))
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|e| named(path, &e))?;
    }
    Ok(roots)
}
