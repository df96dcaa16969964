//! Encryption of connections: from files and names to what a handshake needs.
//!
//! [`Tls`] is one listener's. It is made anew by a reload that finds other options or other files, and connections keep
//! the one that they began with. Each has a key of its own for session tickets, so that what a client was given
//! by one listener is worth nothing to another, whose authorities may be others.

mod certificates;
pub mod handshake;
mod names;
mod rate;
pub mod x509;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};

use crate::config::TlsOptions;
use certificates::Certificates;
pub use names::{help, suite_name};
use rate::Rate;

/// Sessions of clients without tickets that a listener remembers; the oldest go.
const SESSIONS_MAX: usize = 1024;
/// More than one would be for clients that connect several times at once with what one connection was given.
const TICKETS_PER_CONNECTION: usize = 1;

/// Why connections cannot be encrypted as asked for.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum TlsError {
    #[error("cannot read {path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("there is no certificate in {0}")]
    NoCertificate(PathBuf),
    #[error("there is no private key in {0}")]
    NoKey(PathBuf),
    #[error("the private key in {0} is of a kind that cannot be used (RSA, P-256, P-384 and Ed25519 can)")]
    KeyKind(PathBuf),
    #[error("the private key in {key} is not that of the certificate in {cert}")]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("tls needs cert_file and key_file")]
    Missing,
    #[error("verify needs ca_file, the authorities of the clients")]
    NoAuthorities,
    #[error("{0}")]
    Names(String),
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// See the module.
pub struct Tls {
    /// What it was made from.
    pub options: TlsOptions,
    /// What a session is made from.
    pub config: Arc<ServerConfig>,
    /// The same for clients that show no certificate, as those of monitoring.
    pub anonymous: Arc<ServerConfig>,
    /// When the first certificate ends, in seconds since the epoch.
    pub not_after: Option<i64>,
    /// What was asked for and is left out.
    pub warnings: Vec<String>,
    /// Of all files, to see whether a reload finds others.
    fingerprint: [u8; 32],
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    rate: Option<Rate>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files and makes of them and the options what handshakes need.
    ///
    /// # Errors
    /// What cannot be done, with the name of its file.
    pub fn load(options: &TlsOptions) -> Result<Self, TlsError> {
        let mut fingerprint = Sha256::new();
        let certificates = Arc::new(Certificates::load(&options.certificates, &mut fingerprint)?);
        let mut provider = ring::default_provider();
        let mut warnings = Vec::new();
        names::choose(options, &mut provider, &mut warnings).map_err(TlsError::Names)?;
        let provider = Arc::new(provider);
        let verifier = match (&options.ca_file, options.verify) {
            (Some(path), true) => {
                let roots = Arc::new(authorities(path, &mut fingerprint)?);
                let built = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build();
                Some(built.map_err(|error| TlsError::Setup(error.to_string()))?)
            }
            (Some(path), false) => {
                // Without effect, but as wrong as it would be with one.
                authorities(path, &mut fingerprint)?;
                None
            }
            (None, true) => return Err(TlsError::NoAuthorities),
            (None, false) => None,
        };
        let make = |verifier: Option<Arc<dyn ClientCertVerifier>>| {
            let versions: &[_] = if options.only_1_3 { &[&rustls::version::TLS13] } else { rustls::ALL_VERSIONS };
            let builder = ServerConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(versions)
                .map_err(|error| TlsError::Setup(error.to_string()))?;
            let builder = match verifier {
                Some(verifier) => builder.with_client_cert_verifier(verifier),
                None => builder.with_no_client_auth(),
            };
            let mut config = builder.with_cert_resolver(certificates.clone());
            config.ticketer = ring::Ticketer::new().map_err(|error| TlsError::Setup(error.to_string()))?;
            config.send_tls13_tickets = TICKETS_PER_CONNECTION;
            config.ignore_client_order = true;
            config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
            Ok(Arc::new(config))
        };
        Ok(Self {
            config: make(verifier.clone())?,
            anonymous: make(None)?,
            not_after: certificates.not_after(),
            warnings,
            fingerprint: fingerprint.finalize().into(),
            rate: options.connection_rate_limit.map(Rate::new),
            verifier,
            options: options.clone(),
        })
    }

    /// Whether another one was made from the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.options == other.options && self.fingerprint == other.fingerprint
    }

    /// Whether one more handshake may begin now.
    #[must_use]
    pub fn admits(&self, now_ms: u64) -> bool {
        self.rate.as_ref().is_none_or(|rate| rate.allows(now_ms))
    }

    /// Whether a client with this certificate may be here, beyond what the handshake has looked at.
    ///
    /// # Errors
    /// Why it may not.
    pub fn approve(&self, peer: &[CertificateDer<'_>], resumed: bool) -> Result<(), String> {
        if let (true, Some(verifier), Some((leaf, rest))) = (resumed, &self.verifier, peer.split_first()) {
            // What was right when the session began may have ended since.
            verifier.verify_client_cert(leaf, rest, UnixTime::now()).map_err(|error| error.to_string())?;
        }
        if self.options.pinned_certs.is_empty() {
            return Ok(());
        }
        let Some(leaf) = peer.first() else { return Err("the client has no certificate, and some are pinned".into()) };
        let key = x509::Certificate::parse(leaf).map(|leaf| leaf.public_key).ok_or("its certificate is malformed")?;
        let hash: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
        if self.options.pinned_certs.contains(&hash) {
            Ok(())
        } else {
            Err(format!("its key {hash} is none of the pinned ones"))
        }
    }
}

/// The authorities in a PEM file.
fn authorities(path: &PathBuf, fingerprint: &mut Sha256) -> Result<RootCertStore, TlsError> {
    let text = certificates::read(path, fingerprint)?;
    let mut roots = RootCertStore::empty();
    for der in CertificateDer::pem_slice_iter(&text) {
        let failed = |reason: String| TlsError::File { path: path.clone(), reason };
        let der = der.map_err(|error| failed(error.to_string()))?;
        roots.add(der).map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() { Err(TlsError::NoCertificate(path.clone())) } else { Ok(roots) }
}
