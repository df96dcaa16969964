//! Tokens that were made to do harm, by whoever has a key of their own and by whoever was trusted once.

use serde_json::{Value, json};
use sublog_tests::{Configured, RawClient, Seen, jwt};

use crate::BINARY;

fn with_accounts(accounts: &[(&str, String)]) -> Configured {
    Configured::start(BINARY, |_| String::new(), &jwt::in_memory(&jwt::operator_token(json!({})), accounts), &[])
}

fn one_account() -> Configured {
    with_accounts(&[("A", jwt::account_token("A", json!({})))])
}

/// What is answered to a token, whoever signed it: signed by `u`.
fn answer(configured: &Configured, token: &str) -> (RawClient, Seen) {
    let mut client = configured.server.raw();
    let connect = jwt::connect(&client.info, token, &jwt::user("u"));
    client.send(format!("CONNECT {connect}\r\nPING\r\n"));
    let seen = client.next();
    (client, seen)
}

fn is_refused(configured: &Configured, token: &str) -> bool {
    answer(configured, token).1 == Seen::Err("Authorization Violation".into())
}

fn serves(configured: &Configured) {
    assert_eq!(answer(configured, &jwt::user_token("A", "u", json!({}))).1, Seen::Pong);
}

/// Signed as they should be, by an account of the attacker's own or by nobody, with parts that are missing, empty or of other
/// kinds.
#[test]
fn crafted_tokens_end_nothing() {
    let configured = one_account();
    let own = jwt::account("attacker");
    let user = jwt::user("u").public_key();
    let base = jwt::claims("user", &user, &own, json!({"nats": {"subs": -1, "data": -1, "payload": -1}}));
    let fields = ["iss", "sub", "iat", "exp", "nbf", "jti", "aud", "name", "nats"];
    let inner = [
        "pub",
        "sub",
        "resp",
        "src",
        "times",
        "subs",
        "tags",
        "type",
        "version",
        "issuer_account",
        "allowed_connection_types",
    ];
    let values = [
        Value::Null,
        json!(""),
        json!([]),
        json!({}),
        json!(-1),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1.5),
        json!(true),
        json!([null]),
        json!({"allow": [null]}),
        json!([{"start": null}]),
        json!("A"),
        json!("x".repeat(200)),
        json!("\u{0}\u{ffff}"),
    ];
    let (mut tried, mut tokens) = (0, Vec::new());
    for value in &values {
        for field in fields {
            let mut claims = base.clone();
            claims[field] = value.clone();
            tokens.push(jwt::sign_with(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#, &claims, &own));
        }
        for field in inner {
            let mut claims = base.clone();
            claims["nats"][field] = value.clone();
            tokens.push(jwt::sign_with(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#, &claims, &own));
        }
    }
    for (at, _) in base.to_string().match_indices('"').step_by(3) {
        tokens.push(format!(
            "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.{}.",
            data_encoding::BASE64URL_NOPAD.encode(&base.to_string().as_bytes()[..at])
        ));
    }
    for token in &tokens {
        assert!(is_refused(&configured, token), "{token}");
        tried += 1;
    }
    assert!(tried > 250, "{tried}");
    serves(&configured);
}

/// A key that is cut short, or long, or of another kind, before anybody is known.
#[test]
fn keys_of_every_length_are_refused() {
    let configured = one_account();
    let account = jwt::account("A");
    let key = account.public_key();
    let mut issuers: Vec<String> = (0..key.len()).map(|length| key[..length].to_owned()).collect();
    issuers.extend([
        format!("{key}A"),
        key.to_lowercase(),
        key.replace('A', "="),
        "A".repeat(56),
        "ü".repeat(28),
        jwt::user("u").public_key(),
        jwt::operator("O").public_key(),
    ]);
    for issuer in issuers {
        for place in ["iss", "sub", "issuer_account"] {
            let mut claims = jwt::claims(
                "user",
                &jwt::user("u").public_key(),
                &account,
                json!({"nats": {"subs": -1, "data": -1, "payload": -1}}),
            );
            match place {
                "issuer_account" if issuer.is_empty() => continue,
                "issuer_account" => claims["nats"][place] = issuer.clone().into(),
                _ => claims[place] = issuer.clone().into(),
            }
            let token = jwt::sign_with(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#, &claims, &account);
            // The user's own key as its subject is what it should be.
            let fits = place == "sub" && issuer == jwt::user("u").public_key();
            assert_eq!(is_refused(&configured, &token), !fits, "{place} {issuer:?}");
        }
    }
    serves(&configured);
}

/// No algorithm but the one, and no token whose head says something else.
#[test]
fn algorithms_are_not_chosen_by_tokens() {
    let configured = one_account();
    let claims = jwt::claims(
        "user",
        &jwt::user("u").public_key(),
        &jwt::account("A"),
        json!({"nats": {"subs": -1, "data": -1, "payload": -1}}),
    );
    for head in [
        r#"{"typ":"JWT","alg":"none"}"#,
        r#"{"typ":"JWT","alg":"HS256"}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"ed25519-nkey"}"#,
        "{}",
        "[]",
        "",
        r#"{"typ":"JWT","alg":null}"#,
    ] {
        assert!(is_refused(&configured, &jwt::sign_with(head, &claims, &jwt::account("A"))), "{head}");
    }
    let whole = jwt::user_token("A", "u", json!({}));
    let (signed, _) = whole.rsplit_once('.').unwrap();
    assert!(is_refused(&configured, &format!("{signed}.")) && is_refused(&configured, signed));
    serves(&configured);
}

#[test]
fn expiry_and_revocation_are_looked_at() {
    let (u, now) = (jwt::user("u").public_key(), jwt::now());
    let revoked = |list: Value| jwt::account_token("A", json!({"nats": {"revocations": list}}));
    for (account, token) in [
        (jwt::account_token("A", json!({})), json!({"exp": now - 1})),
        (jwt::account_token("A", json!({})), json!({"nbf": now + 1000})),
        (jwt::account_token("A", json!({"exp": now - 1})), json!({})),
        (revoked(json!({ u.as_str(): now + 5 })), json!({})),
        (revoked(json!({ "*": now + 5 })), json!({})),
        (revoked(json!({ "*": now + 5, u.as_str(): 1 })), json!({})),
    ] {
        let configured = with_accounts(&[("A", account)]);
        assert!(is_refused(&configured, &jwt::user_token("A", "u", token.clone())), "{token}");
    }
}

/// A right to import is of use to nobody but the account it was given to, and for nothing but what it was given for.
#[test]
fn a_right_to_import_is_for_one_account_and_subject() {
    let e = jwt::account("E");
    let export = json!([{"subject": "p.>", "type": "stream", "token_req": true}]);
    let given = |to: &str, subject: &str| jwt::activation(&e, to, "stream", subject, json!({}));
    let import = |subject: &str, token: String| json!({"nats": {"imports": [{"account": e.public_key(), "subject": subject, "type": "stream", "token": token}]}});
    let accounts = [
        ("good", import("p.a", given("good", "p.a")), true),
        ("stolen", import("p.a", given("good", "p.a")), false),
        ("wider", import("p.>", given("wider", "p.a")), false),
        ("other", import("p.b", given("other", "p.a")), false),
    ];
    let mut all = vec![("E", jwt::account_token("E", json!({"nats": {"exports": export}})))];
    all.extend(accounts.iter().map(|(name, claims, _)| (*name, jwt::account_token(name, claims.clone()))));
    let configured = with_accounts(&all);
    for (name, _, may) in accounts {
        let (mut listener, seen) = answer(&configured, &jwt::user_token(name, "u", json!({})));
        if seen != Seen::Pong {
            assert!(!may, "{name}");
            continue;
        }
        listener.next();
        listener.send("SUB > 1\r\n");
        listener.sync();
        let (mut publisher, seen) = answer(&configured, &jwt::user_token("E", "u", json!({})));
        assert_eq!(seen, Seen::Pong);
        publisher.next();
        publisher.send("PUB p.a 0\r\n\r\nPUB p.b 0\r\n\r\n");
        publisher.sync();
        assert_eq!(listener.flush().len(), usize::from(may), "{name}");
    }
}

/// Whoever shows a token that is too long is cut off before it is whole.
#[test]
fn long_tokens_cost_no_memory() {
    let configured = one_account();
    let before = configured.server.resident_bytes();
    let clients: Vec<RawClient> = (0..100)
        .map(|_| {
            let mut client = configured.server.raw();
            let _ = client.try_send(format!("CONNECT {{\"jwt\":\"{}", "x".repeat(1 << 20)).as_bytes());
            client
        })
        .collect();
    let grown = configured.server.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown}");
    drop(clients);
    serves(&configured);
}
