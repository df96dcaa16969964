//! Encryption of a command's connection, and signatures: what a client shows, and whom it believes.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::net::TcpStream;

/// A PEM file or a seed larger than this is none.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Encrypted bytes read at a time.
const SEALED_BYTES: usize = 32 * 1024;
/// Plain bytes that wait to be encrypted, at most.
const OPEN_BYTES_MAX: usize = 256 * 1024;
/// Where systems keep the authorities that they trust.
const SYSTEM_AUTHORITIES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How a connection is to be encrypted.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsFiles {
    /// Authorities of the server; those of the system if there is none.
    pub(crate) ca: Option<PathBuf>,
    /// The client's own certificate, and its key.
    pub(crate) own: Option<(PathBuf, PathBuf)>,
    /// Before the server has said anything.
    pub(crate) first: bool,
}

impl TlsFiles {
    /// Whether somebody asked for encryption by any of this.
    pub(crate) fn asked(&self) -> bool {
        self.ca.is_some() || self.own.is_some() || self.first
    }

    /// Reads the files, for a server of this name.
    pub(crate) fn session(&self, host: &str) -> Result<Session, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no name for a certificate"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(self.authorities()?);
        let config = match &self.own {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let shown = |error: rustls::Error| format!("{} and {}: {error}", cert.display(), key.display());
                builder.with_client_auth_cert(certificates(cert)?, private_key(key)?).map_err(shown)?
            }
        };
        let mut session = ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
        session.set_buffer_limit(Some(OPEN_BYTES_MAX));
        Ok(Session(session))
    }

    fn authorities(&self) -> Result<RootCertStore, String> {
        let variable = || std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
        let system = || SYSTEM_AUTHORITIES.iter().map(PathBuf::from).find(|path| path.exists());
        let path = self.ca.clone().or_else(variable).or_else(system);
        let path = path.ok_or("no authorities are known here: name a file with --tlscacert")?;
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(certificates(&path)?);
        if added == 0 { Err(format!("there is no authority in {}", path.display())) } else { Ok(store) }
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| format!("cannot read {}: {error}", path.display());
    if std::fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(format!("{} is too large", path.display()));
    }
    std::fs::read(path).map_err(failed)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if found.is_empty() { Err(format!("there is no certificate in {}", path.display())) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    // The file's content is a secret, and so is what a parser says of it.
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_| format!("there is no private key in {}", path.display()))
}

/// A user's key, from a file that holds its seed, alone or among other lines.
pub(crate) fn nkey(path: &Path) -> Result<nkeys::KeyPair, String> {
    let bytes = read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let seed = text.lines().map(str::trim).find(|line| line.starts_with("SU"));
    let pair = seed.and_then(|seed| nkeys::KeyPair::from_seed(seed).ok());
    pair.ok_or_else(|| format!("there is no seed of a user's nkey in {}", path.display()))
}

/// One connection's encryption.
pub(crate) struct Session(ClientConnection);

impl Session {
    pub(crate) fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    pub(crate) fn wants_write(&self) -> bool {
        self.0.wants_write()
    }

    /// Reads what the socket has, and appends what it means to `out`; false at its end.
    pub(crate) fn read(&mut self, stream: &TcpStream, out: &mut Vec<u8>) -> io::Result<bool> {
        let mut sealed = vec![0; SEALED_BYTES];
        let read = stream.try_read(&mut sealed)?;
        let mut rest = sealed.get(..read).unwrap_or_default();
        if rest.is_empty() {
            return Ok(false);
        }
        while !rest.is_empty() {
            self.0.read_tls(&mut rest)?;
            let state = self.0.process_new_packets().map_err(io::Error::other)?;
            let mut open = vec![0; state.plaintext_bytes_to_read()];
            self.0.reader().read_exact(&mut open)?;
            out.extend_from_slice(&open);
        }
        Ok(true)
    }

    /// Takes of `open` what there is room for, and writes what the socket takes; how much of `open` was taken.
    pub(crate) fn write(&mut self, stream: &TcpStream, open: &[u8]) -> io::Result<usize> {
        let taken = if self.0.is_handshaking() { 0 } else { self.0.writer().write(open)? };
        while self.0.wants_write() {
            match self.0.write_tls(&mut Socket(stream)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }
}

/// A socket as what is written to without waiting.
struct Socket<'s>(&'s TcpStream);

impl io::Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
