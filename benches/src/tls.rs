//! The certificate of a run: made once, in the run's folder, shown by both servers and trusted by every client here.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::error::{BenchError, During as _, Result};

/// What servers and clients of this process agree on.
#[derive(Debug)]
struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    config: Arc<ClientConfig>,
}

static IDENTITY: OnceLock<Identity> = OnceLock::new();

/// Makes the certificate (ECDSA P-256, self-signed) and writes it with its key into `folder`.
///
/// # Errors
/// The files cannot be written.
pub(crate) fn prepare(folder: &Path) -> Result<()> {
    let odd = |error: &dyn std::fmt::Display| BenchError::Setup(format!("making a certificate: {error}"));
    let key = KeyPair::generate().map_err(|error| odd(&error))?;
    let params = CertificateParams::new(vec!["localhost".to_owned()]).map_err(|error| odd(&error))?;
    let own = params.self_signed(&key).map_err(|error| odd(&error))?;
    let (certificate_file, key_file) = (folder.join("certificate.pem"), folder.join("key.pem"));
    fs::write(&certificate_file, own.pem()).during("writing a certificate")?;
    fs::write(&key_file, key.serialize_pem()).during("writing a key")?;
    let mut roots = RootCertStore::empty();
    roots.add(own.der().clone()).map_err(|error| odd(&error))?;
    let config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| odd(&error))?
        .with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    // Each connection stands for a process of its own: none of them has a ticket.
    config.resumption = Resumption::disabled();
    let identity = Identity { certificate: certificate_file, key: key_file, config: config.into() };
    IDENTITY.set(identity).map_err(|_| BenchError::Setup("a second certificate in one run".into()))
}

/// What a server is started with to encrypt.
///
/// # Errors
/// There is no certificate yet.
pub(crate) fn server_arguments() -> Result<Vec<String>> {
    let identity = identity()?;
    let file = |path: &PathBuf| path.display().to_string();
    let (certificate, key) = (file(&identity.certificate), file(&identity.key));
    Ok(vec!["--tls".into(), "--tlscert".into(), certificate, "--tlskey".into(), key])
}

/// A client's side that has yet to shake hands.
///
/// # Errors
/// There is no certificate yet.
pub(crate) fn session() -> Result<ClientConnection> {
    let odd = |error: &dyn std::fmt::Display| BenchError::Setup(format!("beginning TLS: {error}"));
    let name = ServerName::try_from("localhost").map_err(|error| odd(&error))?;
    ClientConnection::new(Arc::clone(&identity()?.config), name).map_err(|error| odd(&error))
}

fn identity() -> Result<&'static Identity> {
    IDENTITY.get().ok_or_else(|| BenchError::Setup("there is no certificate for TLS".into()))
}
