//! Who somebody is: rows 2, 3, 4, 5, 8 and 10.

use sublog_tests::{Configured, RawClient, Seen};

use crate::{start, start_with};

/// What an anonymous client hears that begins with these words.
fn first_words(configured: &Configured, words: &str) -> String {
    let mut client = configured.server.raw();
    client.send(words);
    loop {
        match client.next() {
            Seen::Err(text) => return text,
            Seen::Closed => return "closed".to_owned(),
            Seen::Pong => return "PONG".to_owned(),
            Seen::Info(_) | Seen::Ok => {}
            other => return format!("{other:?}"),
        }
    }
}

/// 3: however the blocks of who may connect are put together, a stranger does not get in.
#[test]
fn no_combination_of_blocks_lets_strangers_in() {
    let blocks = [
        "user: u, password: p",
        "token: t",
        "users: [ { user: u, password: p } ]",
        "users: [ { user: u, password: p } ], default_permissions: { publish: a }",
        "users: [ ]",
        "users: [ { nkey: UCNGL4W5QX66CFX6A6DCBVDH5VOHMI7B2UZZU7TXAUQQSI2JPHULCKBR } ]",
    ];
    let beside = [
        "",
        "accounts { A: { } }",
        "accounts { $SYS: { users: [ { user: s, password: sp } ] } }",
        "accounts { SYS: { users: [ { user: s, password: sp } ] } }\nsystem_account: SYS",
        "no_system_account: true",
        "no_auth_user: \"\"",
        "cluster { port: -1 }",
        "leafnodes { port: -1 }",
        "allow_non_tls: true",
    ];
    for block in blocks {
        // Users of accounts beside a single user or a token are refused as a whole.
        let lists = block.starts_with("users");
        for other in beside.into_iter().filter(|other| lists || !other.contains("users:")) {
            for order in
                [format!("authorization {{ {block} }}\n{other}\n"), format!("{other}\nauthorization {{ {block} }}\n")]
            {
                let configured = start_with(&order, &["--capture", "off"]);
                for words in [
                    "PING\r\n",
                    "CONNECT {}\r\nPING\r\n",
                    "CONNECT {\"user\":\"\",\"pass\":\"\"}\r\nPING\r\n",
                    "PUB a 1\r\nx\r\nPING\r\n",
                ] {
                    assert_eq!(first_words(&configured, words), "Authorization Violation", "{order} {words:?}");
                }
            }
        }
    }
}

/// 2: what a client says beside its credentials is no credential, and chooses no account.
#[test]
fn nothing_in_connect_but_credentials_makes_somebody() {
    let configured = start(
        "authorization { users: [ { user: u, password: up }, { user: admin, password: adminp, permissions { publish: \">\" } } ] }",
    );
    for more in [
        r#""account":"$SYS""#,
        r#""account":"A","new_account":true"#,
        r#""account_name":"$SYS","is_system":true"#,
        r#""import_only":true,"remote_account":"$SYS""#,
        r#""cluster":"c","gateway":"g","server_id":"N","lnoc":true,"hub":true"#,
        r#""USER":"admin""#,
    ] {
        let connect = format!(r#"CONNECT {{"verbose":false,"user":"u","pass":"up",{more}}}"#);
        let mut client = configured.server.raw();
        client.send(format!("{connect}\r\nSUB in 1\r\nPUB $SYS.REQ.USER.INFO in 0\r\n\r\nPING\r\n"));
        match client.next() {
            Seen::Message(message) => {
                let info: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
                assert_eq!((&info["data"]["user"], &info["data"]["account"]), (&"u".into(), &"$G".into()), "{more}");
            }
            // Two names, and a password that fits one of them.
            Seen::Err(text) => assert_eq!(text, "Authorization Violation", "{more}"),
            other => panic!("{more}: {other:?}"),
        }
        // Without the password none of it helps.
        let connect = format!("CONNECT {{{more}}}\r\nPING\r\n");
        assert_eq!(first_words(&configured, &connect), "Authorization Violation", "{more}");
    }
}

/// 4 and 5: who says nothing of itself is `no_auth_user`, with that user's bounds, on every kind of port, whatever it says first.
#[test]
fn whoever_needs_no_connect_is_held_to_the_bounds_of_that_user() {
    let users = "{ user: guest, password: guestp, permissions { publish: \"open\", subscribe: \"open\" }, allowed_connection_types: [STANDARD] }, { user: u, password: up }";
    let configured = start(&format!(
        "authorization {{ users: [ {users} ] }}, no_auth_user: guest, websocket {{ listen: '127.0.0.1:-1', no_tls: true }}"
    ));
    for first in ["", "CONNECT {\"verbose\":false}\r\n"] {
        let mut client = configured.server.raw();
        client.send(format!("{first}PUB secret 1\r\nx\r\nSUB secret 1\r\nSUB $REPLAY.all.secret 2\r\nPING\r\n"));
        let mut told = Vec::new();
        while told.len() < 4 {
            match client.next() {
                Seen::Err(text) => told.push(text),
                Seen::Pong => break,
                Seen::Ok | Seen::Info(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(told.len(), 3, "{first:?}: {told:?}");
        assert!(told.iter().all(|text| text.starts_with("Permissions Violation")), "{told:?}");
    }
    // That user may not come by way of WebSockets, with or without words.
    let port = websocket_port(&configured);
    for first in ["PING\r\n", "CONNECT {}\r\nPING\r\n", "SUB open 1\r\nPING\r\n"] {
        let heard = over_websocket(port, first);
        assert!(heard.contains("Authorization Violation"), "{first:?}: {heard}");
    }
}

/// All that a WebSocket client hears that says these words in one frame.
fn over_websocket(port: u16, words: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(sublog_tests::clock::PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n").unwrap();
    let mut heard = Vec::new();
    let mut byte = [0];
    while !heard.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        heard.extend_from_slice(&byte);
    }
    let mut frame = vec![0x82, 0x80 | u8::try_from(words.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(words.as_bytes());
    stream.write_all(&frame).unwrap();
    // It is closed in the end; how does not matter.
    let _ = stream.read_to_end(&mut heard);
    String::from_utf8_lossy(&heard).into_owned()
}

/// 10: a user that a certificate stands for does not come in by its name, by any port, with or without a certificate.
#[test]
fn a_user_of_a_certificate_does_not_come_in_by_name() {
    let (folder, pair) = certificate();
    let ca = folder.path().join("c.pem");
    let configured = start(&format!(
        "authorization {{ users: [ {{ user: \"CN=alice\" }}, {{ user: u, password: up }} ] }}
         tls {{ {pair}, ca_file: '{}', verify_and_map: true }}, allow_non_tls: true
         websocket {{ listen: '127.0.0.1:-1', no_tls: true }}",
        ca.display()
    ));
    let port = websocket_port(&configured);
    for connect in
        [r#"{"user":"CN=alice"}"#, r#"{"user":"CN=alice","pass":""}"#, r#"{"user":"CN=alice","pass":"x"}"#, "{}"]
    {
        let words = format!("CONNECT {connect}\r\nPING\r\n");
        assert_eq!(first_words(&configured, &words), "Authorization Violation", "{connect}");
        let heard = over_websocket(port, &words);
        assert!(heard.contains("Authorization Violation"), "{connect}: {heard}");
    }
}

/// A certificate that is its own authority, and the two keys of a configuration that name its files.
fn certificate() -> (tempfile::TempDir, String) {
    let folder = tempfile::TempDir::with_prefix("sublog-advisories-").unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(folder.path().join("c.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.path().join("k.pem"), key.serialize_pem()).unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let pair = format!("cert_file: '{}', key_file: '{}'", path("c.pem"), path("k.pem"));
    (folder, pair)
}

fn websocket_port(configured: &Configured) -> u16 {
    let line = configured.server.log_has("Listening for websocket clients on").unwrap();
    line.rsplit(':').next().unwrap().trim().parse().unwrap()
}

/// 8: the same files by flag and by configuration give the same encryption.
#[test]
fn encryption_by_flag_is_that_of_the_file() {
    let (folder, pair) = certificate();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let block = "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256], min_version: \"1.3\", timeout: 7";
    let by_file = start_with(&format!("tls {{ {pair}, {block} }}, http: '127.0.0.1:-1'"), &[]);
    // The flags name the files, the rest of the block stays.
    let by_flag = start_with(
        &format!("tls {{ {pair}, {block} }}, http: '127.0.0.1:-1'"),
        &["--tls", "--tlscert", &path("c.pem"), "--tlskey", &path("k.pem")],
    );
    for configured in [&by_file, &by_flag] {
        let varz = configured.server.monitor("/varz");
        assert_eq!((&varz["tls_required"], &varz["tls_timeout"]), (&true.into(), &7.0.into()), "{varz}");
        assert!(!accepts_tls12(configured.server.address()), "the oldest version was lost");
    }
    // And it is not the files alone that keep that client out.
    let open = start_with("http: '127.0.0.1:-1'", &["--tls", "--tlscert", &path("c.pem"), "--tlskey", &path("k.pem")]);
    assert!(accepts_tls12(open.server.address()));
}

/// Whether a client of TLS 1.2 with any cipher suite gets a server's hello.
fn accepts_tls12(address: std::net::SocketAddr) -> bool {
    use std::sync::Arc;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(sublog_tests::clock::PATIENCE)).unwrap();
    let mut byte = [0];
    use std::io::Read as _;
    while stream.read(&mut byte).unwrap() == 1 && byte != *b"\n" {}
    let error = session.complete_io(&mut stream).unwrap_err();
    // A server that speaks 1.2 shows its certificate, of which this client knows no authority.
    error.to_string().contains("UnknownIssuer") || error.to_string().contains("certificate")
}

/// Not to be confused with what a client may be told before it is anybody.
#[test]
fn info_tells_strangers_nothing_of_users() {
    let configured = start("authorization { users: [ { user: c4nary, password: c4naryp } ] }");
    let client = RawClient::connect(configured.server.address());
    assert!(!client.info.to_string().contains("c4nary"));
    assert_eq!(client.info["auth_required"], true);
}
