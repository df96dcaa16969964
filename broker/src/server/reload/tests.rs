//! Every option must be told whether it can change while the server runs.

use std::time::Duration;

use sublog_storage::SyncMode;

use super::*;

fn operators() -> crate::config::operator::OperatorOptions {
    use crate::jwt::{Common, Encoded, Token, operator};
    let token =
        Token { claims: Common::default(), body: operator::Operator::default(), payload: serde_json::Value::Null };
    crate::config::operator::OperatorOptions {
        operators: vec![crate::config::operator::TrustedOperator { jwt: Encoded::new("j"), token }],
        trusted: ["O".to_owned()].into(),
        strict: Default::default(),
        resolver: crate::config::operator::ResolverOptions::Memory,
        preload: [("A".to_owned(), Encoded::new("p"))].into(),
        pinned: Some(Default::default()),
        system: None,
    }
}

/// Options of which every one differs from the default.
fn other() -> ServerOptions {
    let mut o = ServerOptions {
        host: "h".into(),
        port: 1,
        name: Some("n".into()),
        store_dir: "d".into(),
        domain: "d".into(),
        called: crate::config::Called::NatsServer,
        jetstream: false,
        monitor_port: Some(1),
        monitor_host: Some("h".into()),
        monitor_tls: true,
        allow_non_tls: true,
        websocket: Some(crate::config::WebSocketOptions {
            host: None,
            port: 1,
            tls: None,
            same_origin: false,
            allowed_origins: Vec::new(),
            handshake_timeout: Duration::ZERO,
            compression: false,
            user_cookie: None,
            pass_cookie: None,
            token_cookie: None,
            jwt_cookie: None,
            headers: Vec::new(),
            ping_interval: None,
        }),
        monitor_base_path: "/p".into(),
        closed_connections: 1,
        tags: vec!["t".into()],
        metadata: [("k".into(), "v".into())].into(),
        auth: Auth::Token("t".into()),
        accounts: Arc::new(crate::config::accounts::AccountsOptions {
            captured: "a".into(),
            system: None,
            ..Default::default()
        }),
        operator: Some(Arc::new(operators())),
        pid_file: Some("p".into()),
        ports_file_dir: Some("p".into()),
        trace: true,
        lame_duck_duration: Duration::from_secs(1),
        lame_duck_grace: Duration::from_secs(1),
        ..ServerOptions::default()
    };
    let l = &mut o.limits;
    (l.max_payload, l.max_control_line, l.max_pending, l.max_connections, l.max_subscriptions) = (1, 1, 1, 1, 1);
    (l.ping_interval, l.ping_max, l.write_deadline) = (Duration::ZERO, 1, Duration::ZERO);
    l.auth_timeout = Duration::ZERO;
    let c = &mut o.capture;
    (c.enabled, c.sync, c.max_age, c.max_bytes, c.compress) = (false, SyncMode::Os, None, Some(1), true);
    (c.disk_reserve_bytes, c.scrub_interval, c.scrub_bytes_per_s) = (1, None, 1);
    o
}

#[test]
fn every_option_is_looked_at() {
    let (one, two) = (ServerOptions::default(), other());
    for field in FIELDS {
        assert_ne!((field.show)(&one), (field.show)(&two), "{:?}", field.keys);
    }
    // As many as the options have: a new one must be told here whether it can change.
    let shown = format!("{one:?}");
    let options = shown.matches(": ").count()
        - shown.matches(": CaptureOptions").count()
        - shown.matches(": ClientLimits").count()
        - shown.matches(": AccountsOptions").count();
    let joined = ["monitor_host", "auth", "tls", "accounts", "called"].len();
    // Operators are one option, and several keys.
    let apart = ["trusted_keys", "resolver", "resolver_preload", "resolver_pinned_accounts"].len();
    assert_eq!(FIELDS.len() - apart + joined, options, "{shown}");
}
