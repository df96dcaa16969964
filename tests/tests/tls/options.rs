//! Every option of the `tls` block but those about clients' certificates.

use std::io::Read as _;
use std::time::Duration;

use rustls::crypto::ring::{self, cipher_suite, kx_group};
use sublog_tests::client::CONNECT;
use sublog_tests::{TestServer, clock};

use crate::support::{Authority, Secure, TLS12, TLS13, connect, connect_first, forgetful, shown, write_pair};

#[test]
fn flags_alone() {
    let folder = tempfile::TempDir::new().unwrap();
    let authority = Authority::new("authority");
    write_pair(folder.path(), "server", &authority.server(&["127.0.0.1"]));
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (cert, key) = (path("server.pem"), path("server.key"));
    let server =
        TestServer::start(env!("CARGO_BIN_EXE_sublog-under-test"), &["--tls", "--tlscert", &cert, "--tlskey", &key]);
    assert_eq!(server.raw().info["tls_required"], true);
    assert!(server.log_has("TLS required for client connections").is_some());
    assert_eq!(shown(server.address(), "127.0.0.1"), authority_signed(&cert));
}

/// The certificate in a PEM file.
fn authority_signed(path: &str) -> rustls::pki_types::CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject as _;
    rustls::pki_types::CertificateDer::from_pem_file(path).unwrap()
}

#[test]
fn the_oldest_version() {
    let secure = Secure::start("min_version: '1.3'", "");
    assert!(connect(secure.address(), secure.config_of(TLS12, None)).is_err());
    connect(secure.address(), secure.config_of(TLS13, None)).unwrap().hello(CONNECT);
}

#[test]
fn cipher_suites_and_curves() {
    let secure = Secure::start(
        "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_RSA_WITH_AES_128_CBC_SHA]\n curve_preferences: [CurveP384]",
        "",
    );
    assert!(secure.server.log_has("TLS_RSA_WITH_AES_128_CBC_SHA is not spoken by this server").is_some());
    let provider = |suite, group| {
        let mut provider = ring::default_provider();
        (provider.cipher_suites, provider.kx_groups) = (vec![suite], vec![group]);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(secure.authority.der.clone()).unwrap();
        rustls::ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .or_else(|_| {
                let mut provider = ring::default_provider();
                (provider.cipher_suites, provider.kx_groups) = (vec![suite], vec![group]);
                let version = if suite.tls13().is_some() { TLS13 } else { TLS12 };
                rustls::ClientConfig::builder_with_provider(provider.into()).with_protocol_versions(version)
            })
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    };
    let works = |suite, group| connect(secure.address(), provider(suite, group)).is_ok();
    assert!(works(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, kx_group::SECP384R1));
    assert!(works(cipher_suite::TLS13_AES_256_GCM_SHA384, kx_group::SECP384R1));
    assert!(!works(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, kx_group::SECP384R1));
    assert!(!works(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, kx_group::X25519));
    assert!(!works(cipher_suite::TLS13_AES_256_GCM_SHA384, kx_group::X25519));
}

#[test]
fn several_certificates() {
    let authority = Authority::new("authority");
    let folder = tempfile::TempDir::new().unwrap();
    let (one, two) = (authority.server(&["one.example"]), authority.server(&["two.example", "127.0.0.1"]));
    write_pair(folder.path(), "one", &one);
    write_pair(folder.path(), "two", &two);
    let pair = |name: &str| {
        let at = folder.path().join(name).display().to_string();
        format!("{{ cert_file: '{at}.pem', key_file: '{at}.key' }}")
    };
    let secure = Secure::start(&format!("certs: [ {}, {} ]", pair("one"), pair("two")), "");
    for (name, der) in [
        ("one.example", &one.der),
        ("two.example", &two.der),
        // Nobody has this name, and an address is no name that is asked for.
        ("three.example", &one.der),
        ("127.0.0.1", &one.der),
    ] {
        assert_eq!(shown(secure.address(), name), *der, "{name}");
    }
}

#[test]
fn handshake_first() {
    let secure = Secure::start("handshake_first: true", "http: '127.0.0.1:-1'");
    let mut client = connect_first(secure.address(), secure.config()).unwrap();
    assert_eq!(client.info["tls_required"], true);
    client.hello(CONNECT);
    assert_eq!(secure.server.monitor("/connz")["connections"][0]["tls_first"], true);
}

#[test]
fn handshake_first_or_after_a_while() {
    for (value, least, most) in [("auto", 45, 5000), ("'300ms'", 290, 5000)] {
        let secure = Secure::start(&format!("handshake_first: {value}"), "");
        connect_first(secure.address(), secure.config()).unwrap().hello(CONNECT);
        let begin = clock::now();
        let mut client = connect(secure.address(), secure.config()).unwrap();
        let took = clock::now().duration_since(begin);
        assert!((least..most).contains(&took.as_millis()), "{took:?}");
        client.hello(CONNECT);
    }
}

#[test]
fn who_does_not_want_to_need_not() {
    let secure = Secure::start("timeout: 5", "allow_non_tls: true\nhttp: '127.0.0.1:-1'");
    let mut plain = secure.server.client();
    assert_eq!(plain.info["tls_available"], true);
    assert!(plain.info.get("tls_required").is_none());
    plain.subscribe("a", "1");
    plain.sync();
    let mut encrypted = secure.client();
    encrypted.publish("a", "x");
    assert_eq!(plain.message().text(), "x");
    assert!(secure.server.monitor("/varz").get("tls_required").is_none());
    // Here TLS comes first, and nothing else is served whatever the other key says.
    let strict = Secure::start("handshake_first: true", "allow_non_tls: true");
    assert_eq!(connect_first(strict.address(), strict.config()).unwrap().info["tls_required"], true);
}

#[test]
fn so_many_handshakes_a_second() {
    let secure = Secure::start("connection_rate_limit: 3\n timeout: 20", "");
    let mut streams: Vec<_> = (0..6).map(|_| crate::support::tcp(secure.address())).collect();
    let mut refused = 0;
    for stream in &mut streams {
        crate::support::read_info(stream);
        // Who may go on hears nothing more.
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        if !text.is_empty() {
            assert_eq!(text, "-ERR 'Connection throttling is active. Please try again later.'\r\n");
            refused += 1;
        }
    }
    // A second may have ended in between.
    assert!((1..=3).contains(&refused), "{refused} of 6 were refused");
    let config = forgetful(secure.config());
    clock::until("a handshake after the second", || connect(secure.address(), config.clone()).ok());
}

#[test]
fn what_cannot_be_is_refused_at_start() {
    let folder = tempfile::TempDir::new().unwrap();
    let authority = Authority::new("authority");
    write_pair(folder.path(), "one", &authority.server(&["one"]));
    write_pair(folder.path(), "two", &authority.server(&["two"]));
    std::fs::write(folder.path().join("none.pem"), "nothing").unwrap();
    std::fs::write(folder.path().join("broken.pem"), "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n")
        .unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (cert, key) = (at("one.pem"), at("one.key"));
    for (args, text) in [
        (vec!["--tls"], "--tls: tls needs cert_file and key_file"),
        (vec!["--tls", "--tlscert", &cert], "--tls: tls needs cert_file and key_file"),
        (vec!["--tlscert", &cert, "--tlskey", &at("two.key")], "is not that of the certificate in"),
        (vec!["--tlscert", &at("nowhere"), "--tlskey", &key], "cannot read "),
        (vec!["--tlscert", &at("none.pem"), "--tlskey", &key], "there is no certificate in "),
        (vec!["--tlscert", &at("broken.pem"), "--tlskey", &key], "cannot read "),
        (vec!["--tlscert", &cert, "--tlskey", &cert], "there is no private key in "),
        (vec!["--tlscert", &cert, "--tlskey", &key, "--tlsverify"], "verify needs ca_file"),
        (vec!["--tlscert", &cert, "--tlskey", &key, "--tlscacert", &key], "there is no certificate in "),
        (vec!["-ms", "-1"], "-ms: HTTPS needs the certificate"),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sublog-under-test"));
        let output = command.args(["-p", "-1", "-sd", &at("data")]).args(&args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(text), "{args:?}: {said}");
    }
}
