//! Tokens of operators, accounts and users, made and signed by the tests themselves with keys that are the same in every run.

use data_encoding::BASE64URL_NOPAD;
use nkeys::{KeyPair, KeyPairType};
use serde_json::{Value, json};

use crate::clock;

/// The key of somebody, by name.
///
/// # Panics
/// The name is longer than 30 bytes.
#[must_use]
pub fn key(kind: KeyPairType, name: &str) -> KeyPair {
    let mut seed = [0; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    seed[30] = match kind {
        KeyPairType::Operator => 1,
        KeyPairType::Account => 2,
        _ => 3,
    };
    KeyPair::new_from_raw(kind, seed).unwrap()
}

/// The key of an account.
#[must_use]
pub fn account(name: &str) -> KeyPair {
    key(KeyPairType::Account, name)
}

/// The key of a user.
#[must_use]
pub fn user(name: &str) -> KeyPair {
    key(KeyPairType::User, name)
}

/// The key of an operator.
#[must_use]
pub fn operator(name: &str) -> KeyPair {
    key(KeyPairType::Operator, name)
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    i64::try_from(clock::wall().as_secs()).unwrap()
}

/// Puts the fields of `more` over those of `into`, objects within objects too.
pub fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (name, value) in more {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn chunk(text: &str) -> String {
    BASE64URL_NOPAD.encode(text.as_bytes())
}

/// A token with this head and these claims, signed as version 2 has it.
#[must_use]
pub fn sign_with(head: &str, claims: &Value, by: &KeyPair) -> String {
    let text = format!("{}.{}", chunk(head), chunk(&claims.to_string()));
    let signature = BASE64URL_NOPAD.encode(&by.sign(text.as_bytes()).unwrap());
    format!("{text}.{signature}")
}

/// As version 1 had it: the kind stands beside the claims, and the head is not signed.
#[must_use]
pub fn sign_v1(claims: &Value, by: &KeyPair) -> String {
    let payload = chunk(&claims.to_string());
    let signature = BASE64URL_NOPAD.encode(&by.sign(payload.as_bytes()).unwrap());
    format!("{}.{payload}.{signature}", chunk(r#"{"typ":"jwt","alg":"ed25519"}"#))
}

/// Claims of a kind about somebody, by somebody, with `more` over them.
#[must_use]
pub fn claims(kind: &str, about: &str, by: &KeyPair, more: Value) -> Value {
    let mut claims = json!({
        "jti": format!("{kind}-{about}-{more}").len().to_string(),
        "iat": now(),
        "iss": by.public_key(),
        "sub": about,
        "nats": { "type": kind, "version": 2 },
    });
    merge(&mut claims, more);
    claims
}

/// The same as a token.
#[must_use]
pub fn token(kind: &str, about: &str, by: &KeyPair, more: Value) -> String {
    sign_with(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#, &claims(kind, about, by, more), by)
}

/// The token of the operator `O`, with the system account `SYS`.
#[must_use]
pub fn operator_token(more: Value) -> String {
    let key = operator("O");
    let mut all = json!({ "name": "O", "nats": { "system_account": account("SYS").public_key() } });
    merge(&mut all, more);
    token("operator", &key.public_key(), &key, all)
}

/// What an account may that nothing holds back.
#[must_use]
pub fn unlimited() -> Value {
    json!({ "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1 })
}

/// The token of an account, signed by the operator `O`, without bounds but those in `more`.
#[must_use]
pub fn account_token(name: &str, more: Value) -> String {
    account_token_by(&operator("O"), name, more)
}

/// The same, signed by somebody else.
#[must_use]
pub fn account_token_by(by: &KeyPair, name: &str, more: Value) -> String {
    let mut all = json!({ "name": name, "nats": { "limits": unlimited() } });
    merge(&mut all, more);
    token("account", &account(name).public_key(), by, all)
}

/// The token of a user, signed by the key of its account.
#[must_use]
pub fn user_token(of: &str, name: &str, more: Value) -> String {
    let mut all = json!({ "name": name, "nats": { "subs": -1, "data": -1, "payload": -1 } });
    merge(&mut all, more);
    token("user", &user(name).public_key(), &account(of), all)
}

/// The token of a user, signed by a signing key, which says all that there is to say of it.
#[must_use]
pub fn scoped_token(of: &str, by: &KeyPair, name: &str, more: Value) -> String {
    let mut all = json!({ "name": name, "nats": { "issuer_account": account(of).public_key() } });
    merge(&mut all, more);
    token("user", &user(name).public_key(), by, all)
}

/// The right of account `to` to import, given by `from`.
#[must_use]
pub fn activation(from: &KeyPair, to: &str, kind: &str, subject: &str, more: Value) -> String {
    let mut all = json!({ "nats": { "subject": subject, "kind": kind } });
    merge(&mut all, more);
    token("activation", &account(to).public_key(), from, all)
}

/// A configuration with these accounts in memory, and the system account `SYS`.
#[must_use]
pub fn in_memory(operator: &str, accounts: &[(&str, String)]) -> String {
    let preload = |name: &str, token: &str| format!("  {}: {token}\n", account(name).public_key());
    let mut text = format!("operator: {operator}\nresolver: MEMORY\nresolver_preload {{\n");
    if !accounts.iter().any(|(name, _)| *name == "SYS") {
        text.push_str(&preload("SYS", &account_token("SYS", json!({}))));
    }
    accounts.iter().for_each(|(name, token)| text.push_str(&preload(name, token)));
    text + "}\n"
}

/// The CONNECT of a client that shows a token and signs what it was given.
#[must_use]
pub fn connect(info: &Value, token: &str, key: &KeyPair) -> String {
    let nonce = info["nonce"].as_str().unwrap_or_default();
    let signature = BASE64URL_NOPAD.encode(&key.sign(nonce.as_bytes()).unwrap());
    json!({
        "verbose": false, "pedantic": false, "headers": true, "no_responders": true, "protocol": 1, "jwt": token, "sig": signature
    })
    .to_string()
}
