//! Configuration files and the server: every key reaches its option, and everything wrong is named with its place.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use sublog_broker::auth::users::Proof;
use sublog_broker::cli::serve::{self, Request, Serve};
use sublog_broker::conf::Source;
use sublog_broker::conf::settings::authorization::Login;
use sublog_broker::conf::settings::{ConfigError, Settings};
use sublog_broker::config::Auth;
use sublog_broker::logging::{LogFormat, Syslog};
use sublog_storage::SyncMode;

fn asked(text: &str, flags: &str) -> Result<Request, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.conf");
    std::fs::write(&path, text).unwrap();
    let mut args = vec![OsString::from("-c"), path.clone().into()];
    args.extend(flags.split_whitespace().map(OsString::from));
    let prefix = path.to_string_lossy().into_owned();
    serve::parse(&args).map_err(|error| error.to_string().replace(&prefix, "t.conf"))
}

fn served(text: &str, flags: &str) -> Serve {
    match asked(text, flags) {
        Ok(Request::Serve(serve)) => *serve,
        other => panic!("{text}: {other:?}"),
    }
}

fn refused(text: &str) -> String {
    match asked(text, "") {
        Err(text) => text,
        other => panic!("{text:?} must be refused: {other:?}"),
    }
}

fn settings(text: &str) -> Result<Settings, ConfigError> {
    let env = |name: &str| (name == "SERVER_NAME").then(|| "nats-1".to_owned());
    let source = Source { name: "t.conf", dir: Path::new("tests/conf_golden"), env: &env };
    Settings::new(source.parse(text.as_bytes())?)
}

#[test]
fn every_key_reaches_its_option() {
    type Check = fn(&Serve) -> bool;
    const S: Duration = Duration::from_secs(1);
    let cases: &[(&str, Check)] = &[
        ("port: 5", |s| s.server.port == 5),
        ("port: -1", |s| s.server.port == 0),
        ("listen: 127.0.0.1:5", |s| s.server.port == 5 && s.server.host == "127.0.0.1"),
        ("listen: '[::1]:5'", |s| s.server.host == "::1"),
        ("listen: -1", |s| s.server.port == 0),
        ("net: h", |s| s.server.host == "h"),
        ("server_name: n", |s| s.server.name.as_deref() == Some("n")),
        ("http_port: 8222", |s| s.server.monitor_port == Some(8222)),
        ("monitor_port: -1", |s| s.server.monitor_port == Some(0)),
        ("http: 'localhost:-1'", |s| {
            s.server.monitor_host.as_deref() == Some("localhost") && s.server.monitor_port == Some(0)
        }),
        ("http: 8222", |s| s.server.monitor_port == Some(8222) && s.server.monitor_host.is_none()),
        ("pidfile: /run/x", |s| s.server.pid_file == Some("/run/x".into())),
        ("ports_file_dir: /run", |s| s.server.ports_file_dir == Some("/run".into())),
        ("lame_duck_duration: 30s", |s| s.server.lame_duck_duration == 30 * S),
        ("lame_duck_grace_period: '5s'", |s| s.server.lame_duck_grace == 5 * S),
        ("debug: yes", |s| s.log.debug),
        ("trace: true", |s| s.server.trace && s.log.trace),
        ("trace_verbose: true, trace: false", |s| s.server.trace),
        ("logtime: off", |s| !s.log.time),
        ("logtime_utc: on", |s| s.log.utc),
        ("logfile: f", |s| s.log.file == Some("f".into())),
        ("log_size_limit: 1MB", |s| s.log.rotation.bytes_max == 1 << 20),
        ("logfile_max_num: 3", |s| s.log.rotation.files_max == 3),
        ("syslog: true", |s| s.log.syslog == Some(Syslog::Local)),
        ("remote_syslog: 'udp://h:514'\nsyslog: true", |s| s.log.syslog == Some(Syslog::Remote("udp://h:514".into()))),
        ("max_control_line: 1kb", |s| s.server.limits.max_control_line == 1024),
        ("max_payload: 8MB", |s| s.server.limits.max_payload == 8 << 20),
        ("max_payload: '8MB'", |s| s.server.limits.max_payload == 8 << 20),
        ("max_pending: 16MiB", |s| s.server.limits.max_pending == 16 << 20),
        ("max_conn: 10", |s| s.server.limits.max_connections == 10),
        ("max_connections: -1", |s| s.server.limits.max_connections == 4_294_967_295),
        ("max_subs: 11", |s| s.server.limits.max_subscriptions == 11),
        ("ping_interval: '20s'", |s| s.server.limits.ping_interval == 20 * S),
        ("ping_interval: 20", |s| s.server.limits.ping_interval == 20 * S),
        ("ping_interval: 0.5", |s| s.server.limits.ping_interval == S / 2),
        ("ping_max: 3", |s| s.server.limits.ping_max == 3),
        ("write_deadline: 2s", |s| s.server.limits.write_deadline == 2 * S),
        ("authorization { timeout: 0.5 }", |s| s.server.limits.auth_timeout == S / 2),
        ("authorization { token: t }", |s| matches!(&s.server.auth, Auth::Token(t) if t == "t")),
        (
            "authorization: { user: u, password: \"pä ss\" }",
            |s| matches!(&s.server.auth, Auth::UserPassword { user, password } if user == "u" && password == "pä ss"),
        ),
        ("store_dir: d", |s| s.server.store_dir.as_os_str() == "d"),
        ("jetstream { store_dir: d }", |s| s.server.store_dir.as_os_str() == "d" && s.server.jetstream),
        ("sublog { store_dir: d }", |s| s.server.store_dir.as_os_str() == "d"),
        ("jetstream: false", |s| !s.server.jetstream),
        ("jetstream: disabled", |s| !s.server.jetstream),
        ("jetstream { enabled: false, store_dir: d }", |s| !s.server.jetstream),
        ("sublog { data_dir: d }", |s| s.server.store_dir.as_os_str() == "d"),
        ("sublog { capture: off }", |s| !s.server.capture.enabled),
        ("accounts { A {} }, sublog { capture_account: A }", |s| &*s.server.accounts.captured == "A"),
        ("mappings { a: b }", |s| s.server.accounts.all.contains_key("$G")),
        ("accounts { A {} }, system: A", |s| s.server.accounts.system.as_deref() == Some("A")),
        ("no_system_account: true", |s| s.server.accounts.system.is_none()),
        ("sublog { sync: os }", |s| s.server.capture.sync == SyncMode::Os),
        ("sublog { sync: 'interval:250ms' }", |s| s.server.capture.sync == SyncMode::Interval(S / 4)),
        ("sublog { sync_interval: 250ms, sync: interval }", |s| s.server.capture.sync == SyncMode::Interval(S / 4)),
        ("sublog { compress: on }", |s| s.server.capture.compress),
        ("sublog { max-age: 36h }", |s| s.server.capture.max_age == Some(36 * 3600 * S)),
        ("sublog { retention { max_age: off } }", |s| s.server.capture.max_age.is_none()),
        ("sublog { retention { max_bytes: 10GiB } }", |s| s.server.capture.max_bytes == Some(10 << 30)),
        ("sublog { retention { disk_reserve: 5g } }", |s| s.server.capture.disk_reserve_bytes == 5_000_000_000),
        ("sublog { scrub { interval: 6h } }", |s| s.server.capture.scrub_interval == Some(6 * 3600 * S)),
        ("sublog { scrub_interval: off }", |s| s.server.capture.scrub_interval.is_none()),
        ("sublog { scrub { rate: 50M } }", |s| s.server.capture.scrub_bytes_per_s == 50_000_000),
        ("sublog { log_format: json }", |s| s.log.format == LogFormat::Json),
    ];
    for (text, check) in cases {
        let serve = served(text, "");
        assert!(check(&serve), "{text}: {serve:?}");
        // The key made the difference, or the case would prove nothing.
        assert!(!check(&served("# nothing", "")), "{text}");
    }
}

#[test]
fn flags_count_more_than_the_file() {
    let file = "port: 5, debug: true, store_dir: d, http_port: 9, authorization { user: u, password: p }";
    let serve = served(file, "-p 6 -D=false --store_dir e");
    assert_eq!((serve.server.port, serve.server.monitor_port, serve.log.debug), (6, Some(9), false));
    assert_eq!(serve.server.store_dir.as_os_str(), "e");
    assert!(matches!(&serve.server.auth, Auth::UserPassword { user, .. } if user == "u"));
    assert!(matches!(&served(file, "--auth t").server.auth, Auth::Token(token) if token == "t"));
    assert!(
        matches!(&served(file, "--pass q").server.auth, Auth::UserPassword { user, password } if user == "u" && password == "q")
    );
    let token = "authorization { token: t }";
    assert!(matches!(&served(token, "--user u --pass p").server.auth, Auth::UserPassword { .. }));
    // Before the flag that names the file or after it.
    assert!(matches!(asked("port: 5", "-t"), Ok(Request::Checked(_))));
    // What only several keys together get wrong is found by a check as well.
    for flags in ["", "-t"] {
        let error = asked("max_payload: 2MiB, max_pending: 1MiB", flags).unwrap_err();
        assert!(error.contains("max_payload: must not be more than --max_pending"), "{error}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (text, message) in [
        ("prot: 4222", "t.conf:1:1: expected a key of a configuration, found \"prot\" (did you mean port?)"),
        ("\n  port: abc", "t.conf:2:9: port: expected a port from 1 to 65535, or -1 for a free one, found text"),
        ("port: 70000", "t.conf:1:7: port: expected a port from 1 to 65535, or -1 for a free one, found 70000"),
        ("debug: enabled", "t.conf:1:8: debug: expected true or false, found text"),
        ("server_name: 5", "t.conf:1:14: server_name: expected text (put it into quotes), found 5"),
        ("server_name: 'a b'", "t.conf:1:14: server_name: \"a b\" has blanks in it"),
        (
            "ping_interval: [1]",
            "t.conf:1:16: ping_interval: expected a duration like \"250ms\", \"10s\" or \"2m\", found a list",
        ),
        (
            "ping_interval: '5 s'",
            "t.conf:1:16: ping_interval: expected a duration like \"250ms\", \"10s\" or \"2m\", found text",
        ),
        (
            "ping_interval: 2m",
            "t.conf:1:16: ping_interval: expected a duration (with minutes in quotes, as \"2m\": without them, m is a million), found 2000000",
        ),
        ("max_payload: 65MiB", "t.conf:1:14: max_payload: \"68157440\" is not between 1 B and 64.0 MiB"),
        ("max_payload: -1", "t.conf:1:14: max_payload: \"-1\" is not a size (like 500M, 1.5GiB or 1073741824)"),
        ("listen: host", "t.conf:1:9: listen: expected a port or \"host:port\", found text"),
        ("authorization { user: u, token: t }", "t.conf:1:26: a token excludes user and password"),
        (
            "authorization { usr: u }",
            "t.conf:1:17: expected a key of authorization, found \"usr\" (did you mean user?)",
        ),
        ("authorization: x", "t.conf:1:16: authorization: expected a block, found text"),
        (
            "authorization { timeout: 0 }",
            "t.conf:1:26: authorization.timeout: the time to say who one is must be more than 0",
        ),
        (
            "sublog { sync: sometimes }",
            "t.conf:1:16: sublog.sync: \"sometimes\" is none of always, interval, interval:<duration>, os",
        ),
        ("sublog { sync: os, sync_interval: 1s }", "t.conf:1:20: sublog.sync_interval: needs sync: interval"),
        ("sublog { retention { max_age: true } }", "t.conf:1:31: sublog.retention.max_age: true does not say how much"),
        ("sublog { keep: 1 }", "t.conf:1:10: expected a key of sublog, found \"keep\""),
        (
            "store_dir: a\njetstream { store_dir: b }",
            "t.conf:2:13: jetstream.store_dir says the same as store_dir at t.conf:1:1: keep one of them",
        ),
        ("cluster { port: x }", "t.conf:1:17: port: expected a port from 1 to 65535, or -1 for a free one, found text"),
        ("server_metadata { a: 1 }", "t.conf:1:22: \"a\": expected text (put it into quotes), found 1"),
        (
            "port: 1\nzzz: 1\nxxx: 2",
            "t.conf:2:1: expected a key of a configuration, found \"zzz\"\nt.conf:3:1: expected a key of a configuration, found \"xxx\"",
        ),
    ] {
        assert_eq!(refused(text), message, "{text}");
    }
}

#[test]
fn what_would_be_unsafe_without_effect_is_refused() {
    for text in [
        "authorization { auth_callout { issuer: a } }",
        "authorization { users: [ { user: a, password: b, proxy_required: true } ] }",
        "tls { cert_file: a, key_file: b, ocsp_peer: true }",
        "accounts { A { msg_trace { dest: a } } }",
        "ocsp { mode: always }",
        "proxy_protocol: true",
        "jetstream { key: x }",
    ] {
        let error = refused(text);
        assert!(error.contains("is not supported: ") && error.starts_with("t.conf:1:"), "{text}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    for text in
        ["allow_non_tls: false", "proxy_protocol: false", "jetstream: disabled", "accounts {}", "jetstream: false"]
    {
        assert!(served(text, "").warnings.is_empty(), "{text}");
    }
}

#[test]
fn what_is_safe_without_effect_is_warned_of() {
    for (text, name) in [
        ("cluster { port: 6222, routes: ['nats://a:6222'] }", "cluster has no effect: "),
        ("leafnodes { listen: '127.0.0.1:-1' }", "leafnodes has no effect: "),
        ("mqtt { port: -1 }", "mqtt has no effect: "),
        ("max_traced_msg_len: 10", "max_traced_msg_len has no effect: "),
        ("ping_interval: 10", "a bare number is read as seconds"),
        ("port: 1\nport: 2", "\"port\" was given at "),
        ("port: 1\nPORT: 2", "PORT stands for the same as port at "),
    ] {
        let warnings: Vec<String> = served(text, "").warnings.iter().map(ToString::to_string).collect();
        assert!(warnings.len() == 1 && warnings[0].contains(name), "{text}: {warnings:?}");
    }
    assert_eq!(served("port: 1\nPORT: 2", "").server.port, 2);
    // What only a variable uses is no unknown key.
    assert!(served("MINE: 5\nport: $MINE", "").warnings.is_empty());
}

/// As nats-operator writes it, a comma too many and all.
const OPERATOR: &str = r#"{
  "port": 4222,
  "http_port": 8222,
  "cluster": { "port": 6222, "routes": ["nats://nats-1.nats-mgmt.nats.svc:6222"] },
  "tls": { "ca_file": "/etc/ca.pem", "cert_file": "/etc/server.pem", "key_file": "/etc/key.pem", "timeout": 5 },
  include "included/advertise.conf",
  "server_name": $SERVER_NAME,
  "authorization": {
    "timeout": 2,
    "users": [
      {
        "username": "pub",
        "password": "secret",
        "permissions": { "publish": ["cms.>"], "subscribe": ["_INBOX.>", "work.* group.*"], },
      },
      { "username": "sub", "password": "$2a$11$V1qrpBt7", "permissions": { "subscribe": { "deny": "x.>" }, "allow_responses": true } },
    ],
    "default_permissions": { "subscribe": ["PUBLIC.>"] },
  },
}
"#;

#[test]
fn the_operators_file_is_read_whole() {
    let settings = settings(OPERATOR).unwrap();
    let authorization = settings.authorization().unwrap();
    let names: Vec<&str> = authorization.users.iter().map(|user| user.login.name()).collect();
    assert_eq!(names, ["pub", "sub"]);
    assert_eq!(authorization.timeout, Some(Duration::from_secs(2)));
    assert!(authorization.default_permissions.is_some());
    let permissions = authorization.users[0].permissions.as_ref().unwrap();
    assert_eq!(permissions.publish.allow.as_ref().unwrap()[0].subject, "cms.>");
    let queued = &permissions.subscribe.allow.as_ref().unwrap()[1];
    assert_eq!((queued.subject.as_str(), queued.queue.as_deref(), queued.at.line), ("work.*", Some("group.*"), 14));
    let permissions = authorization.users[1].permissions.as_ref().unwrap();
    assert!(permissions.subscribe.allow.is_none() && permissions.subscribe.deny[0].subject == "x.>");
    assert!(permissions.responses.is_some() && permissions.publish.allow.as_ref().unwrap().is_empty());
    assert!(
        matches!(&authorization.users[1].login, Login::Password { password: Some(password), .. } if *password == "$2a$11$V1qrpBt7".into())
    );
    assert!(!format!("{authorization:?}").contains("secret"));
    let tls = settings.tls().unwrap();
    assert_eq!((tls.timeout, tls.certificates.len()), (Some(Duration::from_secs(5)), 1));
    // Encryption is all that keeps this file from being served.
    let refusals: Vec<String> = settings.refusals.iter().map(ToString::to_string).collect();
    assert!(refusals.iter().all(|text| text.contains("tls")), "{refusals:?}");
}

#[test]
fn users_are_taken_over() {
    let serve = served(
        r#"no_auth_user: a, authorization { default_permissions { subscribe: "d.>" }, users: [
            { user: a, password: b, permissions { publish: "x.>", allow_responses { max: -1, expires: "1m" } } }
            { user: w, password: "$2a$04$x", connection_types: [websocket] }
            { nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4, clients: [MQTT, standard] }
        ] }"#,
        "",
    );
    let Auth::Users(users) = &serve.server.auth else { panic!("{:?}", serve.server.auth) };
    let (a, w) = (users.get("a").unwrap(), users.get("w").unwrap());
    let permissions = a.permissions.as_ref().unwrap();
    assert!(permissions.may_publish(b"x.y") && !permissions.may_publish(b"y") && permissions.may_subscribe(b">", None));
    let responses = permissions.responses.unwrap();
    assert_eq!((responses.max, responses.expires), (None, Some(Duration::from_secs(60))));
    assert!(!w.standard_connections && matches!(&w.proof, Proof::Password(hash) if hash.is_bcrypt()));
    let permissions = w.permissions.as_ref().unwrap();
    assert!(permissions.may_subscribe(b"d.x", None) && !permissions.may_subscribe(b"x", None));
    let signs = users.get("UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4").unwrap();
    assert!(signs.standard_connections && signs.proof == Proof::Nkey && users.sign());
    assert_eq!(users.without_credentials(false).map(|user| user.name.as_str()), Some("a"));
    // A list that lets nobody in is not a server for everybody.
    assert!(served("authorization { users: [] }", "").server.auth.asks(false));
    for (text, message) in [
        ("authorization { users: [ {user: a} ] }\nno_auth_user: b", "2:15: no_auth_user: there is no user \"b\""),
        ("no_auth_user: b", "1:15: no_auth_user: there is no user \"b\""),
        (
            "authorization { users: [ {user: a, clients: [SMOKE] } ] }",
            "1:26: allowed_connection_types: there is no kind of connection \"SMOKE\"",
        ),
    ] {
        assert_eq!(refused(text), format!("t.conf:{message}"), "{text}");
    }
    let hashed =
        "authorization { user: u, password: \"$2a$11$V1qrpBt7/SLfEBr4NJq4T.2mg8chx8.MTblUiTBOLV3MKDeAy.f7u\" }";
    assert!(matches!(&served(hashed, "").server.auth, Auth::UserPassword { .. }));
}

#[test]
fn users_and_encryption_are_checked() {
    for (text, message) in [
        ("authorization { users: [ { password: a } ] }", "1:26: a user needs user or nkey"),
        ("authorization { users: [ { user: a }, { user: a } ] }", "1:39: the user \"a\" stands at t.conf:1:26 already"),
        ("authorization { users: [ { nkey: U, user: a } ] }", "1:28: an nkey excludes user and password"),
        ("authorization { users: [ { nkey: UDXU } ] }", "1:34: nkey: expected a user's public key"),
        ("authorization { users: [ { user: a, permissions { publish: 'a b' } } ] }", "1:60: \"a b\" is no subject"),
        ("authorization { users: [ { user: a, permissions { publish: [a, 5 ] } } ] }", "1:60: publish: expected "),
        ("authorization { users: [ 5 ] }", "1:26: expected a block, found 5"),
        ("tls { cert_file: a }", "1:1: cert_file and key_file need each other"),
        ("tls { verify: true }", "1:1: tls needs cert_file and key_file"),
        ("tls { cert_file: a, key_file: b, min_version: 1.1 }", "1:47: min_version: expected \"1.2\" or \"1.3\""),
        ("tls { cert_file: a, key_file: b, handshake_first: perhaps }", "1:51: handshake_first: expected "),
        (
            "tls { certs: [ { cert_file: a, key_file: b } ], cert_file: a, key_file: b }",
            "1:7: certs cannot be combined",
        ),
        ("tls { cert_file: a, key_file: b, cipher_suites: [] }", "1:49: cipher_suites cannot be empty"),
        ("tls { cert_file: a, key_file: b, verify_cert_and_check_known_urls: true }", "1:34: verify_cert_and_check"),
        ("websocket { port: 80 }", "1:1: websocket needs a tls block with cert_file and key_file, or no_tls: true"),
        ("websocket { port: 80, no_tls: true, origins: 'x' }", "1:46: allowed_origins: \"x\" is no URL"),
        ("websocket { port: 80, no_tls: true, headers { Host: x } }", "1:47: headers: \"Host\" is said by the server"),
        (
            "accounts { A { imports: [ { stream { account: B, subject: x } } ] } }",
            "1:27: \"B\" account not defined for stream import",
        ),
        ("accounts { A { user: x } }", "1:16: expected a key of an account, found \"user\" (did you mean users?)"),
    ] {
        let error = settings(text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("t.conf:{message}")), "{text}: {error}");
    }
    let settings = settings("accounts { A { users: [ {user: a} ], exports: [ {stream: 'x.>'} ], jetstream: enabled, limits { max_conn: 5 } }, B: { imports: [ {stream {account: A, subject: x.y}, prefix: p} ] } }").unwrap();
    let accounts = settings.accounts();
    assert_eq!(
        (accounts[0].name.as_str(), accounts[0].limits.max_connections, accounts[0].jetstream.is_some()),
        ("A", Some(5), true)
    );
    assert_eq!((accounts[1].imports[0].account.as_str(), accounts[1].imports[0].prefix.as_deref()), ("A", Some("p")));
}

#[test]
fn a_file_that_includes_itself_is_refused() {
    // Cargo runs tests in the folder of their package.
    let error = settings("port: 1\ninclude 'included/cycle.conf'").unwrap_err().to_string();
    let path = "tests/conf_golden/included/cycle.conf";
    assert_eq!(error, format!("{path}:1:9: {path} includes itself"));
}
