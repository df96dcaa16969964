//! Clients that show who they are with a certificate.

use sublog_tests::Seen;
use sublog_tests::client::CONNECT;

use crate::support::{Authority, Issued, Secure, TLS12, TLS13, connect, forgetful};

/// Whether a client with this certificate is let in. With version 1.3 it learns that it is not with its first words.
fn welcome(secure: &Secure, client: Option<&Issued>, connect_line: &str) -> bool {
    let both = [TLS12, TLS13].map(|versions| {
        let config = forgetful(secure.config_of(versions, client));
        connect(secure.address(), config).and_then(|mut client| client.try_hello(connect_line)).is_ok()
    });
    assert_eq!(both[0], both[1]);
    both[0]
}

#[test]
fn only_clients_of_the_authority() {
    let secure = Secure::start("ca_file: 'DIR/ca.pem'\n verify: true", "http: '127.0.0.1:-1'");
    assert_eq!(secure.server.raw().info["tls_verify"], true);
    assert_eq!(secure.server.monitor("/varz")["tls_verify"], true);
    assert!(welcome(&secure, Some(&secure.authority.client("known", |_| {})), CONNECT));
    assert!(!welcome(&secure, None, CONNECT));
    let stranger = Authority::new("authority").client("known", |_| {});
    assert!(!welcome(&secure, Some(&stranger), CONNECT));
    let late = secure.authority.client("late", |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    assert!(!welcome(&secure, Some(&late), CONNECT));
    let server = secure.authority.server(&["client"]);
    assert!(!welcome(&secure, Some(&server), CONNECT), "a certificate of a server is none of a client");
}

#[test]
fn verify_by_flags() {
    let secure = Secure::start("", "");
    let at = |name: &str| secure.folder.path().join(name).display().to_string();
    let flags = ["--tls", "--tlscert", &at("server.pem"), "--tlskey", &at("server.key"), "--tlsverify", "--tlscacert"];
    let ca = at("ca.pem");
    let mut args = flags.to_vec();
    args.push(&ca);
    let server = sublog_tests::TestServer::start(env!("CARGO_BIN_EXE_sublog-under-test"), &args);
    let known = secure.authority.client("known", |_| {});
    connect(server.address(), secure.config_of(TLS12, Some(&known))).unwrap().hello(CONNECT);
    assert!(connect(server.address(), secure.config_of(TLS12, None)).is_err());
}

#[test]
fn pinned_certificates() {
    let authority = Authority::new("clients");
    let (pinned, other) = (authority.client("a", |_| {}), authority.client("b", |_| {}));
    let folder = tempfile::TempDir::new().unwrap();
    let ca = folder.path().join("clients.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let block =
        format!("ca_file: '{}'\n verify: true\n pinned_certs: [\"{}\"]", ca.display(), pinned.pin().to_uppercase());
    let secure = Secure::start(&block, "");
    assert!(welcome(&secure, Some(&pinned), CONNECT));
    assert!(!welcome(&secure, Some(&other), CONNECT));
    assert!(secure.server.log_has(&format!("its key {} is none of the pinned ones", other.pin())).is_some());
}

#[test]
fn one_user_has_a_password_whatever_its_certificate_says() {
    // As nats-server: certificates are mapped to users of a list.
    let secure = Secure::start(
        "ca_file: 'DIR/ca.pem'\n verify_and_map: true",
        "authorization { user: alice, password: secret }",
    );
    let alice = secure.authority.client("alice", |_| {});
    let right = r#"{"verbose":false,"user":"alice","pass":"secret"}"#;
    assert!(welcome(&secure, Some(&alice), right));
    assert!(!welcome(&secure, Some(&alice), CONNECT));
    assert!(!welcome(&secure, None, right));
}

/// Who the server takes the client for, `None` if it is refused.
fn known_as(secure: &Secure, client: Option<&Issued>, connect_line: &str) -> Option<String> {
    let config = forgetful(secure.config_of(TLS13, client));
    let mut client = connect(secure.address(), config).ok()?;
    client.try_hello(connect_line).ok()?;
    let shown = secure.server.monitor("/connz?auth=1&sort=cid");
    Some(shown["connections"].as_array()?.last()?["authorized_user"].as_str()?.to_owned())
}

const MAPPED: &str = "ca_file: 'DIR/ca.pem'\n verify_and_map: true";

#[test]
fn certificates_name_users_of_a_list() {
    let users = r#"authorization { users: [
        { user: "CN=alice", permissions: { publish: "a.>", subscribe: "a.>" } }
        { user: "bob.example", password: "bp" }
        { user: "web.example", allowed_connection_types: ["WEBSOCKET"] }
    ] }
    no_auth_user: "bob.example"
    http: '127.0.0.1:-1'"#;
    let secure = Secure::start(MAPPED, users);
    let named = |name: &str| {
        secure.authority.client("some", |params| {
            params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
        })
    };
    let alice = secure.authority.client("alice", |_| {});
    assert_eq!(known_as(&secure, Some(&alice), CONNECT).as_deref(), Some("CN=alice"));
    assert_eq!(known_as(&secure, Some(&named("bob.example")), CONNECT).as_deref(), Some("bob.example"));
    // What else is said does not count, neither for nor against it.
    let as_bob = r#"{"verbose":false,"user":"bob.example","pass":"bp"}"#;
    assert_eq!(known_as(&secure, Some(&alice), as_bob).as_deref(), Some("CN=alice"));
    for name in ["carol.example", "web.example", "BOB.example"] {
        assert_eq!(known_as(&secure, Some(&named(name)), CONNECT), None, "{name}");
        assert_eq!(known_as(&secure, Some(&named(name)), as_bob), None, "{name}");
    }
    assert_eq!(known_as(&secure, None, as_bob), None);
    // Nobody is the user for those who say nothing before having been looked at.
    let config = forgetful(secure.config_of(TLS13, Some(&named("carol.example"))));
    let mut carol = connect(secure.address(), config).unwrap();
    carol.send("PING\r\n");
    carol.expect_err("Authorization Violation");

    let config = forgetful(secure.config_of(TLS13, Some(&alice)));
    let mut held_back = connect(secure.address(), config).unwrap();
    held_back.hello(CONNECT);
    held_back.send("SUB b 1\r\nSUB a.b 2\r\nPUB a.b 1\r\nx\r\nPING\r\n");
    assert!(matches!(held_back.next(), Seen::Err(text) if text.contains("Permissions Violation for Subscription")));
    assert!(matches!(held_back.next(), Seen::Message(_)));
}
