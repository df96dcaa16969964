//! Clients that connect once for every message go on with the session of the time before.

use std::sync::Arc;

use rustls::client::Resumption;
use sublog_tests::client::CONNECT;

use crate::support::{Authority, Secure, TLS12, TLS13, connect_to, write_pair};

fn resumed(secure: &Secure) -> (u64, u64) {
    let varz = secure.server.monitor("/varz");
    let count = |name: &str| varz["sublog"][name].as_u64().unwrap();
    (count("tls_handshakes"), count("tls_resumed"))
}

#[test]
fn a_connection_for_each_message() {
    const COUNT: u64 = 50;
    let secure = Secure::start("", "http: '127.0.0.1:-1'");
    let mut reader = secure.client();
    reader.subscribe("m", "1");
    reader.sync();
    let mut expected = 0;
    for versions in [TLS12, TLS13] {
        let config = Arc::new(secure.config_of(versions, None));
        for n in 0..COUNT {
            let (mut client, is) = connect_to(secure.address(), config.clone(), "localhost").unwrap();
            client.hello(CONNECT);
            client.publish("m", n.to_string());
            client.sync();
            assert_eq!(is, n > 0, "{versions:?}, connection {n}");
            assert_eq!(reader.message().text(), n.to_string());
        }
        expected += COUNT - 1;
        assert_eq!(resumed(&secure).1, expected);
    }
    assert_eq!(resumed(&secure).0, 2 * COUNT + 1);
}

#[test]
fn without_tickets_a_session_goes_by_its_number() {
    let secure = Secure::start("", "http: '127.0.0.1:-1'");
    let mut config = secure.config_of(TLS12, None);
    config.resumption =
        Resumption::in_memory_sessions(8).tls12_resumption(rustls::client::Tls12Resumption::SessionIdOnly);
    let config = Arc::new(config);
    for n in 0..5 {
        let (mut client, is) = connect_to(secure.address(), config.clone(), "localhost").unwrap();
        client.hello(CONNECT);
        assert_eq!(is, n > 0);
    }
}

#[test]
fn a_session_of_one_listener_is_none_of_another() {
    // The same certificate, but other authorities of clients: what a client of the first was given must not let it into the second.
    let one = Secure::start("ca_file: 'DIR/ca.pem'\n verify: true", "");
    let two = Secure::start("", "");
    let known = one.authority.client("known", |_| {});
    for versions in [TLS12, TLS13] {
        // One store of sessions for both, under one name.
        let mut config = one.config_of(versions, Some(&known));
        config.resumption = Resumption::in_memory_sessions(8);
        let config = Arc::new(config);
        for n in 0..2 {
            let (mut client, is) = connect_to(one.address(), config.clone(), "localhost").unwrap();
            client.hello(CONNECT);
            assert_eq!(is, n > 0);
        }
        // The other has a certificate of its own authority, which this client does not know: a handshake fails, and only a
        // session that goes on would not look at it.
        assert!(connect_to(two.address(), config.clone(), "localhost").is_err(), "{versions:?}");
    }
}

#[test]
fn other_authorities_after_a_reload_end_all_sessions() {
    let secure = Secure::start("ca_file: 'DIR/ca.pem'\n verify: true", "http: '127.0.0.1:-1'");
    let known = secure.authority.client("known", |_| {});
    let config = Arc::new(secure.config_of(TLS13, Some(&known)));
    for n in 0..2 {
        let (mut client, is) = connect_to(secure.address(), config.clone(), "localhost").unwrap();
        client.hello(CONNECT);
        assert_eq!(is, n > 0);
    }
    let mut secure = secure;
    std::fs::write(secure.folder.path().join("ca.pem"), Authority::new("another").pem).unwrap();
    secure.server.signal(rustix::process::Signal::HUP);
    secure.server.log_line("Reloaded server configuration");
    let refused = connect_to(secure.address(), config.clone(), "localhost").and_then(|(mut client, is)| {
        assert!(!is, "the session went on");
        // With version 1.3 the client learns of it with its first words.
        client.try_hello(CONNECT)
    });
    assert!(refused.is_err());
    assert_eq!(resumed(&secure).1, 1);
}

#[test]
fn the_same_configuration_read_again_keeps_the_sessions() {
    let mut secure = Secure::start("", "");
    let config = Arc::new(secure.config());
    for n in 0..2 {
        let (mut client, is) = connect_to(secure.address(), config.clone(), "localhost").unwrap();
        client.hello(CONNECT);
        assert_eq!(is, n > 0);
        if n == 0 {
            secure.server.signal(rustix::process::Signal::HUP);
            secure.server.log_line("Reloaded server configuration");
        }
    }
    // With another certificate they are gone.
    write_pair(secure.folder.path(), "server", &secure.authority.server(&["localhost"]));
    secure.server.signal(rustix::process::Signal::HUP);
    secure.server.log_line("Reloaded: tls");
    let (_, is) = connect_to(secure.address(), config, "localhost").unwrap();
    assert!(!is);
}
