//! Certificates and options that change while the server runs.

use rustix::process::Signal;
use sublog_tests::client::CONNECT;

use crate::support::{Secure, TLS12, connect, shown, write_pair};

#[test]
fn another_certificate_without_losing_a_connection() {
    let mut secure = Secure::start("", "http: '127.0.0.1:-1'");
    let mut old = secure.client();
    old.subscribe("a", "1");
    old.sync();
    assert_eq!(shown(secure.address(), "localhost"), secure.issued.der);
    let end = secure.server.monitor("/varz")["tls_cert_not_after"].clone();
    assert!(end.as_str().unwrap().ends_with("T00:00:00Z"), "{end}");
    let fresh = secure.authority.server(&["localhost", "127.0.0.1"]);
    write_pair(secure.folder.path(), "server", &fresh);
    secure.server.signal(Signal::HUP);
    secure.server.log_line("Reloaded: tls");
    assert_eq!(shown(secure.address(), "localhost"), fresh.der);
    let mut new = secure.client();
    new.publish("a", "x");
    assert_eq!(old.message().text(), "x");
}

#[test]
fn a_bad_file_refuses_the_reload() {
    let mut secure = Secure::start("", "debug: false");
    let mut old = secure.client();
    std::fs::write(secure.folder.path().join("server.key"), &secure.authority.server(&["a"]).key_pem).unwrap();
    secure.configure("", "debug: true");
    secure.server.signal(Signal::HUP);
    let line = secure.server.log_line("Failed to reload server configuration");
    assert!(line.contains("is not that of the certificate in"), "{line}");
    secure.server.log_line("The configuration stays as it was");
    assert!(secure.server.log_has("Reloaded: logging").is_none());
    assert_eq!(shown(secure.address(), "localhost"), secure.issued.der);
    old.expect_nothing();
    secure.client().expect_nothing();
}

#[test]
fn options_change() {
    let mut secure = Secure::start("", "");
    connect(secure.address(), secure.config_of(TLS12, None)).unwrap().hello(CONNECT);
    secure.configure("min_version: '1.3'\n timeout: 7", "");
    secure.server.signal(Signal::HUP);
    secure.server.log_line("Reloaded: tls");
    assert!(connect(secure.address(), secure.config_of(TLS12, None)).is_err());
    secure.client().expect_nothing();
    // Without a block new connections are plain; those that are there stay.
    let mut old = secure.client();
    std::fs::write(secure.folder.path().join("server.conf"), "").unwrap();
    secure.server.signal(Signal::HUP);
    secure.server.log_line("Reloaded: authorization.timeout = 2s");
    let mut plain = secure.server.client();
    assert!(plain.info.get("tls_required").is_none());
    plain.subscribe("a", "1");
    plain.sync();
    old.publish("a", "x");
    assert_eq!(plain.message().text(), "x");
}
