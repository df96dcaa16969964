//! Who is let in.

use serde_json::json;
use sublog_tests::{Seen, TestServer, jwt};

use crate::{is_refused, log_in, other_program, start, try_in, user_in, with_accounts};

fn one_account() -> sublog_tests::Configured {
    with_accounts(&[("A", jwt::account_token("A", json!({})))])
}

#[test]
fn a_user_of_an_account_is_let_in_who_signs() {
    let configured = one_account();
    let server = &configured.server;
    let info = server.raw().info;
    assert!(info["auth_required"] == true && info["nonce"].as_str().is_some_and(|nonce| nonce.len() >= 15), "{info}");
    let client = user_in(server, "A", "u", json!({}));
    assert_eq!(client.info["remote_account"], jwt::account("A").public_key(), "{}", client.info);
    let good = jwt::user_token("A", "u", json!({}));
    // Somebody else's signature, none, no token, a token of another kind.
    assert!(is_refused(server, &good, &jwt::user("v")));
    let hello = |json: serde_json::Value| {
        let mut client = server.raw();
        client.send(format!("CONNECT {json}\r\nPING\r\n"));
        client.next()
    };
    let refused = || Seen::Err("Authorization Violation".into());
    assert_eq!(hello(json!({"jwt": good})), refused());
    assert_eq!(hello(json!({"jwt": good, "sig": ""})), refused());
    assert_eq!(hello(json!({"jwt": good, "sig": "x y"})), refused());
    assert_eq!(hello(json!({"user": "a", "pass": "b"})), refused());
    assert_eq!(hello(json!({"nkey": jwt::user("u").public_key()})), refused());
    assert_eq!(hello(json!({})), refused());
    assert!(is_refused(server, &jwt::account_token("A", json!({})), &jwt::account("A")));
    assert!(is_refused(server, "a.b.c", &jwt::user("u")));
    // What was signed for one connection is nothing for the next.
    let mut first = server.raw();
    let connect = jwt::connect(&first.info, &good, &jwt::user("u"));
    let mut second = server.raw();
    second.send(format!("CONNECT {connect}\r\nPING\r\n"));
    assert_eq!(second.next(), refused());
    first.send(format!("CONNECT {connect}\r\nPING\r\n"));
    assert_eq!(first.next(), Seen::Pong);
}

#[test]
fn nothing_is_done_before() {
    let configured = one_account();
    for line in ["SUB a 1\r\n", "PUB a 0\r\n\r\n", "PING\r\n"] {
        let mut client = configured.server.raw();
        client.send(line);
        client.expect_err("Authorization Violation");
        client.expect_closed();
    }
}

#[test]
fn both_alphabets_of_signatures_are_read() {
    let configured = one_account();
    let mut client = configured.server.raw();
    let nonce = client.info["nonce"].as_str().unwrap().to_owned();
    let signature = data_encoding::BASE64.encode(&jwt::user("u").sign(nonce.as_bytes()).unwrap());
    let hello = json!({"protocol": 0, "verbose": false, "jwt": jwt::user_token("A", "u", json!({})), "sig": signature});
    client.send(format!("CONNECT {hello}\r\nPING\r\n"));
    assert_eq!(client.next(), Seen::Pong);
}

#[test]
fn who_signs_accounts_and_users() {
    let (second, strangers) = (jwt::operator("O2"), jwt::operator("strangers"));
    let operator = |strict: bool| {
        jwt::operator_token(
            json!({"nats": {"signing_keys": [second.public_key()], "strict_signing_key_usage": strict}}),
        )
    };
    let signing = jwt::account("A-signs");
    let keys = json!({"nats": {"signing_keys": [signing.public_key()]}});
    let by = |key: &nkeys::KeyPair, name: &str| jwt::account_token_by(key, name, keys.clone());
    let accounts = [
        ("SYS", by(&second, "SYS")),
        ("A", by(&jwt::operator("O"), "A")),
        ("B", by(&second, "B")),
        ("C", by(&strangers, "C")),
        // An account that says of itself what it may.
        ("D", jwt::account_token_by(&jwt::account("D"), "D", keys.clone())),
    ];
    let own = |account: &str| jwt::user_token(account, "u", json!({}));
    let signed = |account: &str| {
        jwt::scoped_token(account, &signing, "u", json!({"nats": {"subs": -1, "data": -1, "payload": -1}}))
    };
    for (strict, expected) in [(false, "AaBb"), (true, "b")] {
        let configured = start(&jwt::in_memory(&operator(strict), &accounts));
        let mut let_in = String::new();
        for account in ["A", "B", "C", "D"] {
            for (token, letter) in [(own(account), account.to_owned()), (signed(account), account.to_lowercase())] {
                if !is_refused(&configured.server, &token, &jwt::user("u")) {
                    let_in.push_str(&letter);
                }
            }
        }
        assert_eq!(let_in, expected, "strict: {strict}");
        // A signing key of one account signs none of another, and none without the account's name.
        let server = &configured.server;
        let elsewhere = jwt::scoped_token("SYS", &jwt::account("B"), "u", json!({}));
        assert!(is_refused(server, &elsewhere, &jwt::user("u")));
        let nameless = jwt::token("user", &jwt::user("u").public_key(), &signing, json!({}));
        assert!(is_refused(server, &nameless, &jwt::user("u")));
    }
}

#[test]
fn trusted_keys_without_an_operator() {
    let preload = format!("{}: {}", jwt::account("A").public_key(), jwt::account_token("A", json!({})));
    let text = format!(
        "trusted_keys: [{}]\nresolver: MEMORY\nresolver_preload {{ {preload} }}\n",
        jwt::operator("O").public_key()
    );
    let configured = start(&text);
    user_in(&configured.server, "A", "u", json!({}));
    assert!(is_refused(&configured.server, &jwt::user_token("B", "u", json!({})), &jwt::user("u")));
}

#[test]
fn bearers_sign_nothing() {
    let closed = json!({"nats": {"limits": {"disallow_bearer": true}}});
    let configured =
        with_accounts(&[("A", jwt::account_token("A", json!({}))), ("B", jwt::account_token("B", closed))]);
    let hello = |account: &str| {
        let token = jwt::user_token(account, "u", json!({"nats": {"bearer_token": true}}));
        let mut client = configured.server.raw();
        client.send(format!("CONNECT {}\r\nPING\r\n", json!({"jwt": token, "verbose": false, "protocol": 0})));
        client.next()
    };
    assert_eq!(hello("A"), Seen::Pong);
    assert_eq!(hello("B"), Seen::Err("Authorization Violation".into()));
}

#[test]
fn times_sources_and_kinds_of_connections() {
    let configured = one_account();
    let server = &configured.server;
    let now = jwt::now();
    let may = |more: serde_json::Value| !is_refused(server, &jwt::user_token("A", "u", more), &jwt::user("u"));
    for (more, expected) in [
        (json!({"exp": now + 100}), true),
        (json!({"exp": now - 1}), false),
        (json!({"nbf": now - 10}), true),
        (json!({"nbf": now + 100}), false),
        (json!({"nats": {"src": ["127.0.0.0/8"]}}), true),
        (json!({"nats": {"src": ["192.0.2.0/24", "127.0.0.1/32"]}}), true),
        (json!({"nats": {"src": ["192.0.2.0/24"]}}), false),
        (json!({"nats": {"src": "192.0.2.0/24,127.0.0.1/32"}}), true),
        (json!({"nats": {"src": ["127.0.0.1"]}}), false),
        (json!({"nats": {"allowed_connection_types": ["STANDARD"]}}), true),
        (json!({"nats": {"allowed_connection_types": ["websocket", "standard"]}}), true),
        (json!({"nats": {"allowed_connection_types": ["WEBSOCKET"]}}), false),
        (json!({"nats": {"allowed_connection_types": ["SOMETHING", "STANDARD"]}}), true),
        (json!({"nats": {"allowed_connection_types": ["SOMETHING"]}}), false),
        (json!({"nats": {"times": [{"start": "00:00:00", "end": "23:59:59"}], "times_location": "UTC"}}), true),
        (json!({"nats": {"times": [{"start": "99:00:00", "end": "23:59:59"}]}}), false),
        (
            json!({"nats": {"times": [{"start": "00:00:00", "end": "23:59:59"}], "times_location": "Nowhere/None"}}),
            false,
        ),
        (json!({"nats": {"proxy_required": true}}), false),
        (json!({"nats": {"pub": {"allow": ["a b c"]}}}), false),
        (json!({"nats": {"version": 3}}), false),
    ] {
        assert_eq!(may(more.clone()), expected, "{more}");
    }
    // Two hours from now, or two hours ago.
    let clock = |seconds: i64| {
        let day = seconds.rem_euclid(86_400);
        format!("{:02}:{:02}:{:02}", day / 3600, day / 60 % 60, day % 60)
    };
    let range = |from: i64, to: i64| json!({"nats": {"times_location": "UTC", "times": [{"start": clock(from), "end": clock(to)}]}});
    assert!(may(range(now - 3600, now + 3600)));
    assert!(!may(range(now + 3600, now + 7200)));
}

#[test]
fn accounts_have_their_time_too() {
    let now = jwt::now();
    let configured = with_accounts(&[
        ("A", jwt::account_token("A", json!({"exp": now - 10}))),
        ("B", jwt::account_token("B", json!({"nbf": now + 100}))),
        ("C", jwt::account_token("C", json!({"exp": now + 100}))),
    ]);
    let refused =
        |account: &str| is_refused(&configured.server, &jwt::user_token(account, "u", json!({})), &jwt::user("u"));
    assert!(refused("A") && refused("B") && !refused("C"));
}

#[test]
fn what_was_revoked_is_refused() {
    let (u, now) = (jwt::user("u").public_key(), jwt::now());
    let account =
        |name: &str, list: serde_json::Value| jwt::account_token(name, json!({"nats": {"revocations": list}}));
    let configured = with_accounts(&[
        ("A", account("A", json!({ u.as_str(): now - 50 }))),
        ("B", account("B", json!({ "*": now - 50 }))),
    ]);
    let refused = |account: &str, name: &str, age: i64| {
        let token = jwt::user_token(account, name, json!({"iat": now - age}));
        is_refused(&configured.server, &token, &jwt::user(name))
    };
    assert!(refused("A", "u", 60) && refused("A", "u", 50) && !refused("A", "u", 49));
    assert!(!refused("A", "v", 60));
    assert!(refused("B", "v", 60) && !refused("B", "v", 40));
}

#[test]
fn only_pinned_accounts_connect() {
    let text = jwt::in_memory(
        &jwt::operator_token(json!({})),
        &[("A", jwt::account_token("A", json!({}))), ("B", jwt::account_token("B", json!({})))],
    );
    let configured = start(&format!("{text}\nresolver_pinned_accounts: [{}]\n", jwt::account("A").public_key()));
    user_in(&configured.server, "A", "u", json!({}));
    user_in(&configured.server, "SYS", "sys", json!({}));
    assert!(is_refused(&configured.server, &jwt::user_token("B", "u", json!({})), &jwt::user("u")));
}

/// Versions before NATS 2.2 wrote other tokens, which still count.
#[test]
fn tokens_of_version_1_count() {
    let (operator, account) = (jwt::operator("O"), jwt::account("A"));
    let old = json!({
        "iat": jwt::now(), "iss": operator.public_key(), "sub": account.public_key(), "type": "account",
        "nats": {"limits": jwt::unlimited()}
    });
    let configured = with_accounts(&[("A", jwt::sign_v1(&old, &operator))]);
    let user = json!({
        "iat": jwt::now(), "iss": account.public_key(), "sub": jwt::user("u").public_key(), "type": "user",
        "nats": {"pub": {"allow": ["a"]}}
    });
    let mut client = log_in(&configured.server, &jwt::sign_v1(&user, &account), &jwt::user("u"));
    client.send("PUB b 0\r\n\r\n");
    client.expect_err("Permissions Violation for Publish to \"b\"");
    // Signed as a version it is not.
    assert!(is_refused(
        &configured.server,
        &jwt::sign_with(r#"{"typ":"jwt","alg":"ed25519"}"#, &user, &account),
        &jwt::user("u")
    ));
}

#[test]
fn an_account_with_a_service_for_its_users_lets_in_nobody_else() {
    if other_program() {
        // It would ask the service.
        return;
    }
    let known = jwt::user("known").public_key();
    let claims = json!({"nats": {"authorization": {"auth_users": [known]}}});
    let configured = with_accounts(&[("A", jwt::account_token("A", claims))]);
    user_in(&configured.server, "A", "known", json!({}));
    assert!(is_refused(&configured.server, &jwt::user_token("A", "u", json!({})), &jwt::user("u")));
}

#[test]
fn the_log_has_no_tokens() {
    let text = jwt::in_memory(&jwt::operator_token(json!({})), &[("A", jwt::account_token("A", json!({})))]);
    // Nothing of nats-server's own is looked at here.
    let more = if other_program() { "-D" } else { "-DV" };
    let configured = sublog_tests::Configured::start(crate::BINARY, |_| String::new(), &text, &[more]);
    let server: &TestServer = &configured.server;
    let token = jwt::user_token("A", "u", json!({}));
    let _client = log_in(server, &token, &jwt::user("u"));
    let _ = try_in(server, &token, &jwt::user("v"));
    let of_account = jwt::account_token("A", json!({}));
    let log = server.log().join("\n");
    for secret in [token.rsplit('.').next().unwrap(), of_account.rsplit('.').next().unwrap(), "eyJ"] {
        assert!(!log.contains(secret), "{secret}");
    }
}

/// Commands of the program show what `nsc` makes.
#[test]
fn commands_take_credentials() {
    if other_program() {
        return;
    }
    let configured = one_account();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (token, seed) = (jwt::user_token("A", "u", json!({})), jwt::user("u").seed().unwrap());
    let rule = |name: &str, text: &str| format!("-----BEGIN {name}-----\n{text}\n------END {name}------\n\n");
    let good = write("u.creds", &(rule("NATS USER JWT", &token) + &rule("USER NKEY SEED", &seed)));
    let other = jwt::user("v").seed().unwrap();
    let stolen = write("stolen.creds", &(rule("NATS USER JWT", &token) + &rule("USER NKEY SEED", &other)));
    let bare = write("bare.creds", &seed);
    let run = |path: &std::path::Path| {
        let mut command = std::process::Command::new(crate::BINARY);
        command.args([
            "pub",
            "-s",
            &configured.server.address().to_string(),
            "--creds",
            path.to_str().unwrap(),
            "a",
            "hello",
        ]);
        let output = command.output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!said.contains("eyJ") && !said.contains(&seed) && !said.contains(&other), "{said}");
        (output.status.success(), said)
    };
    let mut listener = user_in(&configured.server, "A", "w", json!({}));
    listener.send("SUB a 1\r\n");
    listener.sync();
    let (success, said) = run(&good);
    assert!(success, "{said}");
    assert_eq!(listener.message().text(), "hello");
    let (success, said) = run(&stolen);
    assert!(!success && said.contains("refused the credentials"), "{said}");
    let (success, said) = run(&bare);
    assert!(!success && said.contains("there is no token in "), "{said}");
}
