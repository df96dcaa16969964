//! Encryption of one listener, as it was asked for: files are named, not read.

use std::path::PathBuf;
use std::time::Duration;

pub use crate::conf::settings::tls::{HandshakeFirst, Pair};

/// How long a handshake may take, unless it is said.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOptions {
    /// Certificates with their keys; the first that a client can use serves it.
    pub certificates: Vec<Pair>,
    /// Authorities whose clients are known.
    pub ca_file: Option<PathBuf>,
    /// Clients must show a certificate of such an authority.
    pub verify: bool,
    /// Its subject names the user.
    pub verify_and_map: bool,
    /// How long a handshake may take.
    pub timeout: Duration,
    /// When it begins.
    pub first: HandshakeFirst,
    /// Nothing older than version 1.3 is spoken.
    pub only_1_3: bool,
    /// Names of the cipher suites of version 1.2 that are spoken; empty is all there are.
    pub cipher_suites: Vec<String>,
    /// Names of the groups for the key exchange; empty is all there are.
    pub curve_preferences: Vec<String>,
    /// Handshakes a second; `None` is any number.
    pub connection_rate_limit: Option<u64>,
    /// SHA-256 of the public keys that clients may have, in small hexadecimal digits; empty is any.
    pub pinned_certs: Vec<String>,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            certificates: Vec::new(),
            ca_file: None,
            verify: false,
            verify_and_map: false,
            timeout: HANDSHAKE_TIMEOUT,
            first: HandshakeFirst::No,
            only_1_3: false,
            cipher_suites: Vec::new(),
            curve_preferences: Vec::new(),
            connection_rate_limit: None,
            pinned_certs: Vec::new(),
        }
    }
}

impl From<crate::conf::settings::tls::Tls> for TlsOptions {
    fn from(tls: crate::conf::settings::tls::Tls) -> Self {
        Self {
            certificates: tls.certificates,
            ca_file: tls.ca_file,
            verify: tls.verify,
            verify_and_map: tls.verify_and_map,
            timeout: tls.timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(HANDSHAKE_TIMEOUT),
            first: tls.first,
            only_1_3: tls.min_version.as_deref() == Some("1.3"),
            cipher_suites: tls.cipher_suites,
            curve_preferences: tls.curve_preferences,
            connection_rate_limit: tls.connection_rate_limit,
            pinned_certs: tls.pinned_certs,
        }
    }
}
