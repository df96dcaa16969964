//! Every way to say who one is, right and wrong.

use super::*;

fn user(name: &str, proof: Proof) -> User {
    User {
        name: name.to_owned(),
        proof,
        permissions: None,
        standard_connections: true,
        websocket_connections: true,
        account: "$G".into(),
        by_token: None,
    }
}

fn given(json: &str, nonce: &str) -> Credentials {
    Credentials::of(&ConnectOptions::parse(json.as_bytes()).unwrap(), Some(nonce))
}

/// `name`, `-` for a refusal, `name?` where a hash is to be checked.
fn shown(auth: &Auth, json: &str) -> String {
    match verdict(auth, &given(json, "abc")) {
        Verdict::Granted(grant) => grant.name.unwrap_or_default(),
        Verdict::Refused | Verdict::Token => "-".to_owned(),
        Verdict::Check(check) => format!("{}?", check.grant.name.unwrap_or_default()),
    }
}

fn users(no_auth_user: Option<&str>, certificates: bool) -> Auth {
    let off = User { standard_connections: false, ..user("web", Proof::Password("w".into())) };
    let all = vec![
        user("a", Proof::Password("pa".into())),
        user("h", Proof::Password("$2a$04$hash".into())),
        user("open", Proof::Nothing),
        off,
    ];
    Auth::Users(Arc::new(Users::new(all, no_auth_user.map(str::to_owned), certificates)))
}

#[test]
fn names_and_passwords() {
    let auth = users(None, false);
    for (json, expected) in [
        (r#"{"user":"a","pass":"pa"}"#, "a"),
        (r#"{"user":"a","pass":"pb"}"#, "-"),
        (r#"{"user":"a"}"#, "-"),
        (r#"{"user":"A","pass":"pa"}"#, "-"),
        (r#"{"pass":"pa"}"#, "-"),
        (r#"{"auth_token":"pa"}"#, "-"),
        (r#"{"nkey":"a","pass":"pa"}"#, "-"),
        (r#"{"user":"h","pass":"x"}"#, "h?"),
        (r#"{"user":"h"}"#, "-"),
        (r#"{"user":"open"}"#, "open"),
        (r#"{"user":"open","pass":"x"}"#, "-"),
        (r#"{"user":"web","pass":"w"}"#, "-"),
        ("{}", "-"),
    ] {
        assert_eq!(shown(&auth, json), expected, "{json}");
    }
    // Where certificates name users, one without a password is not to be had for its name.
    assert_eq!(shown(&users(None, true), r#"{"user":"open"}"#), "-");
    assert_eq!(shown(&users(Some("open"), true), r#"{"user":"open"}"#), "open");
    assert_eq!(shown(&users(Some("a"), false), "{}"), "a");
    assert_eq!(shown(&users(Some("a"), false), r#"{"auth_token":"x"}"#), "-");
    assert_eq!(shown(&users(Some("a"), false), r#"{"user":"a"}"#), "-");
    assert_eq!(shown(&users(Some("web"), false), "{}"), "-");
}

#[test]
fn certificates_name_users() {
    let Auth::Users(all) = users(None, true) else { unreachable!() };
    let of = |name: &str| match verdict(&Auth::Users(all.clone()), &Credentials::default().certified(name)) {
        Verdict::Granted(grant) => grant.name,
        _ => None,
    };
    assert_eq!(of("open").as_deref(), Some("open"));
    assert_eq!(of("a").as_deref(), Some("a"));
    assert_eq!(of("web"), None);
    assert_eq!(of("nobody"), None);
}

#[test]
fn users_and_kinds_of_connections() {
    let web = User { standard_connections: false, ..user("web", Proof::Password("w".into())) };
    let plain = User { websocket_connections: false, ..user("plain", Proof::Password("p".into())) };
    let auth = Auth::Users(Arc::new(Users::new(vec![web, plain], Some("web".to_owned()), false)));
    let of = |json: &str, websocket: bool| match verdict(&auth, &given(json, "").over_websocket(websocket)) {
        Verdict::Granted(grant) => grant.name,
        _ => None,
    };
    for (json, standard, websocket) in [
        (r#"{"user":"web","pass":"w"}"#, None, Some("web")),
        (r#"{"user":"plain","pass":"p"}"#, Some("plain"), None),
        ("{}", None, Some("web")),
    ] {
        assert_eq!(of(json, false).as_deref(), standard, "{json}");
        assert_eq!(of(json, true).as_deref(), websocket, "{json}");
    }
    assert!(auth.asks(false) && !auth.asks(true));
}

#[test]
fn one_user_or_a_token() {
    let one = Auth::UserPassword { user: "u".into(), password: "p".into() };
    assert_eq!(shown(&one, r#"{"user":"u","pass":"p"}"#), "u");
    assert_eq!(shown(&one, r#"{"user":"v","pass":"p"}"#), "-");
    assert_eq!(shown(&one, r#"{"user":"u","pass":"q"}"#), "-");
    let hashed = Auth::UserPassword { user: "u".into(), password: "$2y$04$hash".into() };
    assert_eq!(shown(&hashed, r#"{"user":"u","pass":"p"}"#), "u?");
    assert_eq!(shown(&hashed, r#"{"user":"v","pass":"p"}"#), "-");
    assert_eq!(shown(&hashed, r#"{"user":"u","pass":"$2y$04$hash"}"#), "u?");
    let token = Auth::Token("t".into());
    assert_eq!(shown(&token, r#"{"auth_token":"t"}"#), "[REDACTED]");
    assert_eq!(shown(&token, r#"{"user":"t","pass":"t"}"#), "-");
    assert_eq!(shown(&Auth::None, r#"{"user":"x"}"#), "x");
}

#[test]
fn signatures() {
    let (key, other) = (nkeys::KeyPair::new_user(), nkeys::KeyPair::new_user());
    let auth = Auth::Users(Arc::new(Users::new(vec![user(&key.public_key(), Proof::Nkey)], None, false)));
    let signed = |by: &nkeys::KeyPair, nonce: &str| base64::encode_url(&by.sign(nonce.as_bytes()).unwrap());
    let json = |nkey: &str, sig: &str| format!(r#"{{"nkey":"{nkey}","sig":"{sig}"}}"#);
    let name = key.public_key();
    assert_eq!(shown(&auth, &json(&name, &signed(&key, "abc"))), name);
    let padded = signed(&key, "abc").replace('-', "+").replace('_', "/") + "==";
    assert_eq!(shown(&auth, &json(&name, &padded)), name);
    for sig in [signed(&other, "abc"), signed(&key, "abd"), String::new(), "A".repeat(10_000), "*".to_owned()] {
        assert_eq!(shown(&auth, &json(&name, &sig)), "-");
    }
    assert_eq!(shown(&auth, &json(&other.public_key(), &signed(&other, "abc"))), "-");
    assert_eq!(shown(&auth, &format!(r#"{{"user":"{name}","pass":""}}"#)), "-");
    let without = verdict(&auth, &Credentials { nonce: None, ..given(&json(&name, &signed(&key, "abc")), "abc") });
    assert!(matches!(without, Verdict::Refused));
}

#[test]
fn base64_is_read_as_it_is_written() {
    for len in 0..20_u8 {
        let bytes: Vec<u8> = (0..len).map(|i| i.wrapping_mul(77)).collect();
        assert_eq!(base64::decode(&base64::encode_url(&bytes)), Some(bytes));
    }
    assert_eq!(base64::decode("A"), None);
    let (one, two) = (nonce().unwrap(), nonce().unwrap());
    assert!(one != two && one.len() == 16);
}

#[test]
fn nothing_secret_is_shown() {
    let json = r#"{"user":"u","pass":"s3cret","auth_token":"s3cret","sig":"s3cret"}"#;
    let given = given(json, "s3cret");
    assert!(!format!("{given:?}{}", given.shown()).contains("s3cret"));
    assert!(!format!("{:?}", users(None, false)).contains("pa"));
}
