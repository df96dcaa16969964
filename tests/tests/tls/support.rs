//! Authorities and certificates made for a test, a server that has them, and clients that encrypt.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData as _,
};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned};
use sublog_tests::client::{CONNECT, Carrier};
use sublog_tests::clock::PATIENCE;
use sublog_tests::{RawClient, TestServer};
use tempfile::TempDir;

pub(crate) const TLS12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
pub(crate) const TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// An authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    pub(crate) der: CertificateDer<'static>,
}

/// A certificate with its key.
pub(crate) struct Issued {
    pub(crate) pem: String,
    pub(crate) key_pem: String,
    pub(crate) der: CertificateDer<'static>,
    key: KeyPair,
}

impl Issued {
    pub(crate) fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    /// SHA-256 of its public key, as `pinned_certs` has it.
    pub(crate) fn pin(&self) -> String {
        let mut out = String::new();
        for byte in ring_sha256(&self.key.subject_public_key_info()) {
            write!(out, "{byte:02x}").unwrap();
        }
        out
    }
}

fn ring_sha256(bytes: &[u8]) -> Vec<u8> {
    // The provider's own, so that no other crate is needed.
    let suite = ring::default_provider().cipher_suites.into_iter().find_map(|suite| suite.tls13()).unwrap();
    let suite = match suite.common.hash_provider.algorithm() {
        rustls::crypto::hash::HashAlgorithm::SHA256 => suite,
        _ => ring::default_provider()
            .cipher_suites
            .into_iter()
            .filter_map(|suite| suite.tls13())
            .find(|suite| suite.common.hash_provider.algorithm() == rustls::crypto::hash::HashAlgorithm::SHA256)
            .unwrap(),
    };
    suite.common.hash_provider.hash(bytes).as_ref().to_vec()
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Self { issuer: Issuer::new(params, key), pem, der }
    }

    fn issue(&self, mut params: CertificateParams, common_name: &str, purpose: ExtendedKeyUsagePurpose) -> Issued {
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { pem: certificate.pem(), key_pem: key.serialize_pem(), der: certificate.der().clone(), key }
    }

    /// For a server of these names.
    pub(crate) fn server(&self, names: &[&str]) -> Issued {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let params = CertificateParams::new(names).unwrap();
        self.issue(params, "server", ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// For a client, with what `change` adds.
    pub(crate) fn client(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        self.issue(params, name, ExtendedKeyUsagePurpose::ClientAuth)
    }
}

/// A server that encrypts, with the folder of its files.
pub(crate) struct Secure {
    pub(crate) authority: Authority,
    pub(crate) folder: TempDir,
    pub(crate) server: TestServer,
    pub(crate) issued: Issued,
}

impl Secure {
    /// With `block` inside of its `tls` block, and `rest` beside it.
    pub(crate) fn start(block: &str, rest: &str) -> Self {
        Self::start_with(block, rest, &[])
    }

    pub(crate) fn start_with(block: &str, rest: &str, flags: &[&str]) -> Self {
        let authority = Authority::new("authority");
        let folder = TempDir::with_prefix("sublog-tls-").unwrap();
        let issued = authority.server(&["localhost", "127.0.0.1"]);
        write_pair(folder.path(), "server", &issued);
        std::fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
        let conf = write_conf(folder.path(), block, rest);
        let mut args = vec!["-c", conf.to_str().unwrap()];
        args.extend(flags);
        let server = TestServer::start(env!("CARGO_BIN_EXE_sublog-under-test"), &args);
        Self { authority, folder, server, issued }
    }

    /// Other text in the configuration file.
    pub(crate) fn configure(&self, block: &str, rest: &str) {
        write_conf(self.folder.path(), block, rest);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// A client's side with everything usual.
    pub(crate) fn config(&self) -> ClientConfig {
        self.config_of(rustls::ALL_VERSIONS, None)
    }

    pub(crate) fn config_of(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
        client: Option<&Issued>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        match client {
            None => builder.with_no_client_auth(),
            Some(issued) => builder.with_client_auth_cert(vec![issued.der.clone()], issued.key_der()).unwrap(),
        }
    }

    /// A client that has encrypted and said CONNECT.
    pub(crate) fn client(&self) -> RawClient {
        let mut client = connect(self.address(), self.config()).unwrap();
        client.hello(CONNECT);
        client
    }
}

pub(crate) fn write_pair(folder: &Path, name: &str, issued: &Issued) {
    std::fs::write(folder.join(format!("{name}.pem")), &issued.pem).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), &issued.key_pem).unwrap();
}

fn write_conf(folder: &Path, block: &str, rest: &str) -> PathBuf {
    let (cert, key) = (folder.join("server.pem"), folder.join("server.key"));
    let files = if block.starts_with("certs:") {
        String::new()
    } else {
        format!("cert_file: '{}'\n key_file: '{}'", cert.display(), key.display())
    };
    let block = block.replace("DIR", &folder.display().to_string());
    let path = folder.join("server.conf");
    std::fs::write(&path, format!("{rest}\ntls {{\n {files}\n {block}\n}}\n")).unwrap();
    path
}

/// An encrypted connection.
pub(crate) struct Encrypted(pub(crate) StreamOwned<ClientConnection, TcpStream>);

impl std::fmt::Debug for Encrypted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encrypted")
    }
}

impl Read for Encrypted {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(out) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(0),
            other => other,
        }
    }
}

impl Write for Encrypted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Carrier for Encrypted {
    fn socket(&self) -> &TcpStream {
        &self.0.sock
    }
}

pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// INFO in clear, byte by byte, so that nothing of what follows is taken.
pub(crate) fn read_info(stream: &mut TcpStream) -> serde_json::Value {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "the end instead of INFO");
        line.push(byte[0]);
    }
    let text = std::str::from_utf8(&line).unwrap();
    serde_json::from_str(text.strip_prefix("INFO ").expect("INFO").trim()).unwrap()
}

/// Encrypts what is connected, up to the end of the handshake.
pub(crate) fn encrypt(stream: TcpStream, config: Arc<ClientConfig>, name: &str) -> std::io::Result<Encrypted> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let session = ClientConnection::new(config, name).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(session, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(Encrypted(stream))
}

/// A client that has encrypted, as old ones do: after INFO, and without a server name (an address is none).
pub(crate) fn connect(address: SocketAddr, config: impl Into<Arc<ClientConfig>>) -> std::io::Result<RawClient> {
    connect_to(address, config, "127.0.0.1").map(|(client, _)| client)
}

/// The same to a name, and whether an earlier session went on.
pub(crate) fn connect_to(
    address: SocketAddr,
    config: impl Into<Arc<ClientConfig>>,
    name: &str,
) -> std::io::Result<(RawClient, bool)> {
    let mut stream = tcp(address);
    let info = read_info(&mut stream);
    let stream = encrypt(stream, config.into(), name)?;
    let resumed = stream.0.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    Ok((RawClient::speaking(Box::new(stream), info), resumed))
}

/// A client that begins with the handshake; INFO comes encrypted.
pub(crate) fn connect_first(address: SocketAddr, config: ClientConfig) -> std::io::Result<RawClient> {
    let stream = encrypt(tcp(address), Arc::new(config), "localhost")?;
    RawClient::over(Box::new(stream))
}

/// No session is remembered.
pub(crate) fn forgetful(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config
}

/// Takes every certificate, and tells which one it was.
#[derive(Debug)]
pub(crate) struct TakesAll(pub(crate) Arc<CryptoProvider>);

impl ServerCertVerifier for TakesAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The certificate that a server shows to who asks for `name`.
pub(crate) fn shown(address: SocketAddr, name: &str) -> CertificateDer<'static> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakesAll(provider)))
        .with_no_client_auth();
    let mut stream = tcp(address);
    read_info(&mut stream);
    let stream = encrypt(stream, Arc::new(config), name).unwrap();
    stream.0.conn.peer_certificates().unwrap()[0].clone().into_owned()
}
