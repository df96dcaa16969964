//! The server's certificates, and which of them a client is shown.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use sha2::{Digest as _, Sha256};

use super::TlsError;
use super::x509::Certificate;
use crate::config::Pair;

/// A PEM file larger than this is none.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Certificates(Vec<Arc<CertifiedKey>>);

impl Certificates {
    /// Reads every pair of files.
    pub(super) fn load(pairs: &[Pair], fingerprint: &mut Sha256) -> Result<Self, TlsError> {
        let keys = pairs.iter().map(|pair| load(pair, fingerprint)).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(TlsError::Missing) } else { Ok(Self(keys)) }
    }

    /// When the first one ends, in seconds since the epoch.
    pub(super) fn not_after(&self) -> Option<i64> {
        let leaf = self.0.first()?.cert.first()?;
        Certificate::parse(leaf).map(|leaf| leaf.not_after)
    }
}

/// The bytes of a file, which are part of the fingerprint.
pub(super) fn read(path: &PathBuf, fingerprint: &mut Sha256) -> Result<Vec<u8>, TlsError> {
    let failed = |reason: String| TlsError::File { path: path.clone(), reason };
    let length = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(failed("it is too large for a PEM file".to_owned()));
    }
    let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    fingerprint.update((text.len() as u64).to_string());
    fingerprint.update(&text);
    Ok(text)
}

fn load(pair: &Pair, fingerprint: &mut Sha256) -> Result<Arc<CertifiedKey>, TlsError> {
    let text = read(&pair.cert_file, fingerprint)?;
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::File { path: pair.cert_file.clone(), reason: error.to_string() })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(pair.cert_file.clone()));
    }
    let text = read(&pair.key_file, fingerprint)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey(pair.key_file.clone()),
        error => TlsError::File { path: pair.key_file.clone(), reason: error.to_string() },
    })?;
    let key = ring::sign::any_supported_type(&key).map_err(|_| TlsError::KeyKind(pair.key_file.clone()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // A certificate of a form too old to be looked into is for its clients to judge.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown) | Error::InvalidCertificate(_)) => {
            Ok(Arc::new(certified))
        }
        Err(_) => Err(TlsError::Mismatch { cert: pair.cert_file.clone(), key: pair.key_file.clone() }),
    }
}

impl ResolvesServerCert for Certificates {
    /// The first that has the name which the client asks for, if it does, and that it can check; the first at all for
    /// clients that find none, so that they see whom they have reached.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let usable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let named = hello.server_name().and_then(|name| {
            let name = ServerName::try_from(name).ok()?;
            self.0.iter().filter(usable).find(|key| has_name(key, &name))
        });
        named.or_else(|| self.0.iter().find(usable)).or_else(|| self.0.first()).cloned()
    }
}

fn has_name(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let Some(leaf) = key.cert.first() else { return false };
    webpki::EndEntityCert::try_from(leaf).is_ok_and(|leaf| leaf.verify_is_valid_for_subject_name(name).is_ok())
}
