//! Tokens, right and wrong, and bytes that are none.

use nkeys::{KeyPair, KeyPairType};
use proptest::prelude::*;
use serde_json::json;

use super::account::{Account, Activation, Kind, is_revoked};
use super::user::User;
use super::*;

fn key(kind: KeyPairType, seed: u8) -> KeyPair {
    KeyPair::new_from_raw(kind, [seed; 32]).unwrap()
}

fn signed(head: &str, payload: &Value, key: &KeyPair, version: u8) -> String {
    let chunk = |text: &str| BASE64.encode(text.as_bytes());
    let (head, payload) = (chunk(head), chunk(&payload.to_string()));
    let text = if version == 1 { payload.clone() } else { format!("{head}.{payload}") };
    format!("{head}.{payload}.{}", BASE64.encode(key.sign(text.as_bytes()).unwrap()))
}

const HEAD: &str = r#"{"typ":"JWT","alg":"ed25519-nkey"}"#;

fn user_payload(account: &KeyPair) -> Value {
    let user = key(KeyPairType::User, 9).public_key();
    json!({
        "jti": "X", "iat": 10, "iss": account.public_key(), "name": "u", "sub": user,
        "nats": { "pub": {"allow": ["a"]}, "sub": {}, "subs": -1, "data": -1, "payload": 5, "type": "user", "version": 2,
                  "src": "10.0.0.0/8, 192.0.2.0/24", "resp": null, "tags": ["x:y"] }
    })
}

#[test]
fn a_token_is_read() {
    let account = key(KeyPairType::Account, 1);
    let token = decode::<User>(&signed(HEAD, &user_payload(&account), &account, 2)).unwrap();
    assert_eq!((token.claims.iss.as_str(), token.claims.iat), (account.public_key().as_str(), 10));
    let bounds = &token.body.bounds;
    assert_eq!(
        (bounds.subs, bounds.payload, bounds.permissions.publish.allow.as_slice()),
        (-1, 5, &["a".to_owned()][..])
    );
    assert_eq!(
        (bounds.src.as_slice(), bounds.permissions.resp),
        (&["10.0.0.0/8".to_owned(), "192.0.2.0/24".to_owned()][..], None)
    );
    assert_eq!(token.body.tags, ["x:y"]);
    assert_eq!(token.payload["name"], "u");
    assert!(!token.issues(100).block(true));
    assert_eq!(format!("{:?}", Encoded::new("secret")), "JWT(…)");
}

#[test]
fn what_is_wrong_is_refused() {
    let (account, other) = (key(KeyPairType::Account, 1), key(KeyPairType::Account, 2));
    let payload = user_payload(&account);
    let good = signed(HEAD, &payload, &account, 2);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut payload = payload.clone();
        change(&mut payload);
        signed(HEAD, &payload, &account, 2)
    };
    let operator = key(KeyPairType::Operator, 3);
    let by_operator = signed(
        HEAD,
        &{
            let mut p = payload.clone();
            p["iss"] = operator.public_key().into();
            p
        },
        &operator,
        2,
    );
    for (token, expected) in [
        (String::new(), JwtError::Chunks),
        ("a.b".to_owned(), JwtError::Chunks),
        (format!("{good}.x"), JwtError::Chunks),
        ("a".repeat(TOKEN_BYTES_MAX + 1), JwtError::TooLarge(TOKEN_BYTES_MAX + 1)),
        (good.replacen('.', "=.", 1), JwtError::Base64("the header")),
        (signed("{}", &payload, &account, 2), JwtError::Header),
        (signed(r#"{"typ":"JWT","alg":"none"}"#, &payload, &account, 2), JwtError::Header),
        (signed(r#"{"typ":"JWT","alg":"HS256"}"#, &payload, &account, 2), JwtError::Header),
        (signed(HEAD, &payload, &other, 2), JwtError::Signature(2)),
        // The signature of version 1 is about something else.
        (signed(HEAD, &payload, &account, 1), JwtError::Signature(2)),
        (with(&|p| p["nats"]["version"] = 3.into()), JwtError::Newer),
        (with(&|p| p["nats"]["version"] = 0.into()), JwtError::Version),
        (with(&|p| p["nats"]["version"] = (-1).into()), JwtError::Version),
        (with(&|p| p["nats"]["type"] = "account".into()), JwtError::Kind("user")),
        (with(&|p| p["nats"]["subs"] = "x".into()), JwtError::Json("the payload")),
        // Keys that are cut short, of the wrong length, of nobody.
        (with(&|p| p["iss"] = "A".into()), JwtError::Signature(2)),
        (with(&|p| p["iss"] = account.public_key()[..55].into()), JwtError::Signature(2)),
        (with(&|p| p["iss"] = "ü".repeat(28).into()), JwtError::Signature(2)),
        (with(&|p| drop(p.as_object_mut().unwrap().remove("iss"))), JwtError::Signature(2)),
        (by_operator, JwtError::Issuer("user")),
    ] {
        let error = decode::<User>(&token).unwrap_err();
        assert_eq!(error, expected, "{}", token.get(..200).unwrap_or(&token));
    }
}

#[test]
fn tokens_of_version_1_are_still_read() {
    let account = key(KeyPairType::Account, 1);
    let mut payload = user_payload(&account);
    let head = r#"{"typ":"jwt","alg":"ed25519"}"#;
    let nats = payload["nats"].as_object_mut().unwrap();
    nats.retain(|name, _| ["pub", "src"].contains(&name.as_str()));
    payload["type"] = "user".into();
    payload["tags"] = json!(["a:b"]);
    payload["issuer_account"] = "AX".into();
    let token = decode::<User>(&signed(head, &payload, &account, 1)).unwrap();
    assert_eq!((token.body.bounds.subs, token.body.bounds.payload), (-1, -1));
    assert_eq!((token.body.tags.as_slice(), token.body.issuer_account.as_str()), (&["a:b".to_owned()][..], "AX"));
    assert_eq!(decode::<User>(&signed(head, &payload, &account, 2)).unwrap_err(), JwtError::Signature(1));
    let operator = key(KeyPairType::Operator, 3);
    let old = json!({"iss": operator.public_key(), "sub": account.public_key(), "type": "account",
        "nats": {"limits": {"subs": 5, "conn": -1, "mem_storage": -1}, "signing_keys": [account.public_key()]}});
    let token = decode::<Account>(&signed(head, &old, &operator, 1)).unwrap();
    assert_eq!((token.body.limits.subs, token.body.limits.jetstream.mem_storage), (5, 0));
    assert_eq!(token.body.signing_keys.0.len(), 1);
}

#[test]
fn scopes_of_signing_keys() {
    let (operator, account) = (key(KeyPairType::Operator, 3), key(KeyPairType::Account, 1));
    let signer = key(KeyPairType::Account, 4).public_key();
    let payload = |keys: Value| {
        json!({"iss": operator.public_key(), "sub": account.public_key(),
            "nats": {"type": "account", "version": 2, "signing_keys": keys, "limits": {"subs": -1}}})
    };
    let read = |keys: Value| decode::<Account>(&signed(HEAD, &payload(keys), &operator, 2));
    let scope = json!({"kind": "user_scope", "key": signer, "role": "r", "template": {"payload": 7}});
    let token = read(json!([account.public_key(), scope])).unwrap();
    let found = token.body.signing_keys.0.get(&signer).unwrap().as_ref().unwrap();
    assert_eq!((found.template.payload, found.template.subs), (7, -1));
    assert_eq!(token.body.signing_keys.0.get(&account.public_key()), Some(&None));
    for wrong in [json!([{"kind": "other", "key": signer}]), json!([5]), json!("x"), json!([null])] {
        assert_eq!(read(wrong.clone()).unwrap_err(), JwtError::Json("the payload"), "{wrong}");
    }
}

#[test]
fn claims_of_accounts_are_validated() {
    let (operator, account) = (key(KeyPairType::Operator, 3), key(KeyPairType::Account, 1));
    let issues = |nats: Value| {
        let mut payload = json!({"iss": operator.public_key(), "sub": account.public_key(), "nats": nats});
        payload["nats"]["type"] = "account".into();
        payload["nats"]["version"] = 2.into();
        decode::<Account>(&signed(HEAD, &payload, &operator, 2)).unwrap().issues(0)
    };
    let open = json!({"imports": -1, "exports": -1, "wildcards": true});
    assert!(!issues(json!({"limits": open})).block(true));
    for (nats, word) in [
        (
            json!({"limits": {"imports": 0}, "imports": [{"subject": "a", "account": "A", "type": "stream"}]}),
            "more imports",
        ),
        (
            json!({"limits": {"exports": 0, "wildcards": true}, "exports": [{"subject": "a", "type": "stream"}]}),
            "more exports",
        ),
        (json!({"limits": {"exports": 1}, "exports": [{"subject": "a.*", "type": "stream"}]}), "wildcard exports"),
        (json!({"limits": open, "exports": [{"subject": "a"}]}), "invalid export type"),
        (json!({"limits": open, "exports": [{"subject": "", "type": "stream"}]}), "subject cannot be empty"),
        (
            json!({"limits": open, "exports": [{"subject": "a", "type": "stream"}, {"subject": "a", "type": "stream"}]}),
            "already exports",
        ),
        (
            json!({"limits": open, "exports": [{"subject": "a.*", "type": "service", "account_token_position": 9}]}),
            "Token Position",
        ),
        (
            json!({"limits": open, "imports": [{"subject": "a", "account": "A", "type": "stream", "token": "x"}]}),
            "invalid activation token",
        ),
        (
            json!({"limits": open, "imports": [{"subject": "a.*", "account": "A", "type": "stream", "local_subject": "b.$2"}]}),
            "do not exist",
        ),
        (json!({"limits": open, "signing_keys": ["A"]}), "not a valid account signing key"),
        (
            json!({"limits": open, "mappings": {"a": [{"subject": "b", "weight": 60}, {"subject": "c", "weight": 60}]}}),
            "exceeds 100%",
        ),
        (json!({"limits": open, "default_permissions": {"pub": {"allow": ["a q"]}}}), "not allowed to contain queue"),
        (json!({"limits": open, "authorization": {"allowed_accounts": ["*"]}}), "without users"),
    ] {
        let found = issues(nats.clone());
        assert!(found.block(false) && found.text().contains(word), "{nats}: {found:?}");
    }
    for (exp, nbf, now, blocks) in
        [(0, 0, 50, false), (50, 0, 50, false), (50, 0, 51, true), (0, 51, 50, true), (0, 50, 50, false)]
    {
        let mut token = Token { claims: Common::default(), body: Activation::default(), payload: Value::Null };
        (token.claims.exp, token.claims.nbf) = (exp, nbf);
        (token.body.kind, token.body.subject) = (Some(Kind::Stream), "a".to_owned());
        assert_eq!(token.issues(now).block(true), blocks, "{exp} {nbf} {now}");
        assert!(!token.issues(now).block(false));
    }
}

#[test]
fn revocations() {
    let of = |pairs: &[(&str, i64)]| pairs.iter().map(|(key, at)| ((*key).to_owned(), *at)).collect();
    assert!(!is_revoked(&of(&[]), "U", 0));
    assert!(is_revoked(&of(&[("U", 5)]), "U", 5) && !is_revoked(&of(&[("U", 5)]), "U", 6));
    assert!(is_revoked(&of(&[("*", 5)]), "U", 4) && !is_revoked(&of(&[("*", 5)]), "U", 6));
    assert!(is_revoked(&of(&[("*", 5), ("U", 9)]), "U", 8));
}

#[test]
fn what_stands_around_a_token() {
    let file = "-----BEGIN NATS OPERATOR JWT-----\r\neyJ.x.y\r\n------END NATS OPERATOR JWT------\r\n";
    assert_eq!(undecorated(file), "eyJ.x.y");
    assert_eq!(undecorated(" eyJ.x.y\n"), "eyJ.x.y");
    assert_eq!(undecorated(""), "");
    assert_eq!(undecorated("------"), "------");
}

proptest! {
    #[test]
    fn nothing_makes_it_fall_over(text in "\\PC{0,200}", at in 0_usize..900, with in 0_u8..=255) {
        let _ = decode::<User>(&text);
        let _ = decode::<Generic>(&text);
        let account = key(KeyPairType::Account, 1);
        let mut token = signed(HEAD, &user_payload(&account), &account, 2).into_bytes();
        let at = at % token.len();
        let changed = token[at] != with;
        token[at] = with;
        let token = String::from_utf8_lossy(&token).into_owned();
        let same = decode::<User>(&token);
        let _ = decode::<Account>(&token);
        // Whatever is changed, but for bits that no byte is made of, is noticed.
        let last = at + 1 == token.len();
        prop_assert!(!changed || last || same.is_err() || token.trim_ascii().len() != token.len());
    }
}
