//! Whom an account lets sign.

use super::*;

#[test]
fn who_signs_users_of_an_account() {
    let mut body = Account::default();
    body.signing_keys.0.insert("SK".to_owned(), None);
    body.signing_keys.0.insert("SCOPED".to_owned(), Some(Scope::default()));
    let claims = Common { sub: "A".to_owned(), exp: 10, ..Common::default() };
    let loaded = |strict| Loaded {
        name: "A".into(),
        jwt: None,
        token: Token { claims: claims.clone(), body: body.clone(), payload: json!({}) },
        updated: SystemTime::UNIX_EPOCH,
        default_permissions: None,
        strict,
    };
    assert_eq!(loaded(false).signer("A"), Some(None));
    assert_eq!(loaded(true).signer("A"), None);
    assert_eq!(loaded(true).signer("SK"), Some(None));
    assert!(loaded(true).signer("SCOPED").unwrap().is_some());
    assert_eq!(loaded(false).signer("OTHER"), None);
    assert!(!loaded(true).has_expired(9) && loaded(true).has_expired(10));
}
