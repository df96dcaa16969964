//! Other claims, and time that runs out, while clients are there.

use nkeys::KeyPair;
use serde_json::{Value, json};
use sublog_tests::{Configured, RawClient, Seen, jwt};

use crate::{ended_with, is_refused, log_in, other_program, start, try_in, until, user_in};

/// A server whose account `A` may change.
struct Changing {
    configured: Configured,
    folder: std::path::PathBuf,
    system: RawClient,
    _folder: tempfile::TempDir,
}

impl Changing {
    fn new(claims: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwt");
        let text = format!(
            "operator: {}\nresolver {{ type: full, dir: {:?} }}\nresolver_preload {{ {}: {} }}\n",
            jwt::operator_token(json!({})),
            path.to_str().unwrap(),
            jwt::account("SYS").public_key(),
            jwt::account_token("SYS", json!({})),
        );
        let configured = start(&text);
        let system = crate::system(&configured.server);
        let mut changing = Self { configured, folder: path, system, _folder: folder };
        changing.push("A", claims);
        changing
    }

    fn push(&mut self, name: &str, claims: Value) {
        self.push_token(&jwt::account_token(name, claims));
    }

    fn push_token(&mut self, token: &str) {
        let answer = crate::asked(&mut self.system, "$SYS.REQ.CLAIMS.UPDATE", token);
        assert_eq!(answer["data"]["message"], "jwt updated", "{answer}");
    }

    fn user(&self, name: &str, more: Value) -> RawClient {
        user_in(&self.configured.server, "A", name, more)
    }
}

/// The connection is over, without a word.
fn ended_silently(client: &mut RawClient) {
    client.expect_closed();
}

#[test]
fn who_is_revoked_is_cut_off() {
    let mut changing = Changing::new(json!({}));
    let (mut u, mut v) = (changing.user("u", json!({})), changing.user("v", json!({})));
    let key = jwt::user("u").public_key();
    changing.push("A", json!({"nats": {"revocations": { key.as_str(): jwt::now() }}}));
    assert_eq!(ended_with(&mut u), "User Authentication Revoked");
    v.sync();
    let old = jwt::user_token("A", "u", json!({"iat": jwt::now() - 10}));
    assert!(is_refused(&changing.configured.server, &old, &jwt::user("u")));
    let new = jwt::user_token("A", "u", json!({"iat": jwt::now() + 10}));
    let _back = log_in(&changing.configured.server, &new, &jwt::user("u"));
    changing.push("A", json!({"nats": {"revocations": { "*": jwt::now() + 5 }}}));
    assert_eq!(ended_with(&mut v), "User Authentication Revoked");
}

#[test]
fn bounds_and_defaults_change() {
    let mut changing = Changing::new(json!({}));
    let mut first = changing.user("u", json!({}));
    let mut second = changing.user("v", json!({}));
    let rights = json!({"default_permissions": {"pub": {"deny": ["a"]}, "sub": {"deny": ["s"]}}});
    first.send("SUB s 1\r\nSUB t 2\r\n");
    first.sync();
    changing.push("A", json!({"nats": rights}));
    // What is no longer allowed ends, as in a reload.
    first.expect_err("Permissions Violation for Subscription to \"s\" (sid \"1\")");
    first.send("PUB a 0\r\n\r\n");
    first.expect_err("Permissions Violation for Publish to \"a\"");
    changing.push("A", json!({"nats": {"limits": {"payload": 10}}}));
    until("the new bound", || {
        let mut probe = changing.user("w", json!({}));
        probe.send("PUB a 11\r\n01234567890\r\nPING\r\n");
        matches!(probe.next(), Seen::Err(text) if text == "Maximum Payload Violation")
    });
    second.send("PUB a 11\r\n01234567890\r\n");
    assert_eq!(ended_with(&mut second), "Maximum Payload Violation");
    first.send("PUB a 0\r\n\r\n");
    first.sync();
    changing.push("A", json!({"nats": {"limits": {"subs": 0}}}));
    assert_eq!(ended_with(&mut first), "maximum subscriptions exceeded");
}

#[test]
fn those_that_came_last_go_where_there_are_too_many() {
    let mut changing = Changing::new(json!({}));
    let mut all: Vec<RawClient> = ["u", "v", "w"].map(|name| changing.user(name, json!({}))).into();
    changing.push("A", json!({"nats": {"limits": {"conn": 1}}}));
    for client in &mut all[1..] {
        assert_eq!(ended_with(client), "maximum account active connections exceeded");
    }
    all[0].sync();
    let (_, seen) = try_in(&changing.configured.server, &jwt::user_token("A", "u", json!({})), &jwt::user("u"));
    assert_eq!(seen, Seen::Err("maximum account active connections exceeded".into()));
}

fn scope(key: &KeyPair, template: Value) -> Value {
    json!({"kind": "user_scope", "key": key.public_key(), "role": "r", "template": template})
}

#[test]
fn keys_that_sign_no_more_or_other_things() {
    let (plain, scoped) = (jwt::account("A-plain"), jwt::account("A-scoped"));
    let keys = |template: Value| json!({"nats": {"signing_keys": [plain.public_key(), scope(&scoped, template)]}});
    let mut changing = Changing::new(keys(json!({})));
    let server = &changing.configured.server;
    let free = json!({"nats": {"subs": -1, "data": -1, "payload": -1}});
    let mut own = user_in(server, "A", "u", json!({}));
    let mut by_plain = log_in(server, &jwt::scoped_token("A", &plain, "v", free), &jwt::user("v"));
    let mut by_scoped = log_in(server, &jwt::scoped_token("A", &scoped, "w", json!({})), &jwt::user("w"));
    // Another template: its users have to come again.
    changing.push("A", keys(json!({"pub": {"allow": ["x"]}})));
    ended_silently(&mut by_scoped);
    by_plain.sync();
    let token = jwt::scoped_token("A", &scoped, "w", json!({}));
    let mut back = log_in(&changing.configured.server, &token, &jwt::user("w"));
    back.send("PUB y 0\r\n\r\n");
    back.expect_err("Permissions Violation for Publish to \"y\"");
    changing.push("A", json!({}));
    ended_silently(&mut by_plain);
    ended_silently(&mut back);
    own.sync();
    assert!(is_refused(&changing.configured.server, &token, &jwt::user("w")));
}

#[test]
fn bearers_that_are_no_longer_wanted() {
    let mut changing = Changing::new(json!({}));
    let mut bearer = changing.user("u", json!({"nats": {"bearer_token": true}}));
    let mut other = changing.user("v", json!({}));
    changing.push("A", json!({"nats": {"limits": {"disallow_bearer": true}}}));
    assert_eq!(ended_with(&mut bearer), "Authorization Violation");
    other.sync();
}

#[test]
fn users_and_accounts_whose_time_is_over() {
    let mut changing = Changing::new(json!({}));
    let mut short = changing.user("u", json!({"exp": jwt::now() + 4}));
    let mut long = changing.user("v", json!({"exp": jwt::now() + 1000}));
    let ranged = {
        let end = jwt::now() + 4;
        let clock = |at: i64| format!("{:02}:{:02}:{:02}", at / 3600 % 24, at / 60 % 60, at % 60);
        json!({"nats": {"times_location": "UTC", "times": [{"start": clock(end - 100), "end": clock(end)}]}})
    };
    let mut ranged = changing.user("w", ranged);
    assert_eq!(ended_with(&mut short), "User Authentication Expired");
    assert_eq!(ended_with(&mut ranged), "User Authentication Expired");
    long.sync();
    let closed = changing.configured.server.monitor("/connz?state=closed&auth=1");
    let reasons = closed["connections"].to_string();
    assert!(reasons.contains("Authentication Expired"), "{reasons}");
    changing.push("A", json!({"exp": jwt::now() + 4}));
    assert_eq!(ended_with(&mut long), "Account Authentication Expired");
    assert!(is_refused(&changing.configured.server, &jwt::user_token("A", "v", json!({})), &jwt::user("v")));
    // It has time again.
    changing.push("A", json!({}));
    changing.user("v", json!({})).sync();
}

#[test]
fn an_account_that_is_deleted_is_left_by_all() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "operator: {}\nresolver {{ type: full, dir: {:?}, allow_delete: true }}\nresolver_preload {{ {}: {} }}\n",
        jwt::operator_token(json!({})),
        folder.path().to_str().unwrap(),
        jwt::account("SYS").public_key(),
        jwt::account_token("SYS", json!({})),
    );
    let configured = start(&text);
    let mut system = crate::system(&configured.server);
    crate::asked(&mut system, "$SYS.REQ.CLAIMS.UPDATE", &jwt::account_token("A", json!({})));
    let mut user = user_in(&configured.server, "A", "u", json!({}));
    let (a, sys) = (jwt::account("A").public_key(), jwt::account("SYS").public_key());
    let operator = jwt::operator("O");
    let request = |by: &KeyPair, about: &KeyPair, names: Value| {
        jwt::token("generic", &about.public_key(), by, json!({"nats": {"accounts": names}}))
    };
    let stranger = jwt::operator("stranger");
    for (token, why) in [
        (request(&stranger, &stranger, json!([a])), "not trusted"),
        (request(&operator, &stranger, json!([a])), "not self signed"),
        (request(&operator, &operator, json!(["x"])), "malformed request"),
        (request(&operator, &operator, json!("x")), "malformed request"),
        (request(&operator, &operator, json!([sys])), "not allowed to delete system account"),
        ("x".to_owned(), "expected 3 chunks"),
    ] {
        let answer = crate::asked(&mut system, "$SYS.REQ.CLAIMS.DELETE", &token);
        let text = answer["error"]["description"].as_str().unwrap();
        assert!(text.contains(why), "{why}: {answer}");
    }
    user.sync();
    let answer = crate::asked(&mut system, "$SYS.REQ.CLAIMS.DELETE", &request(&operator, &operator, json!([a])));
    assert_eq!(answer["data"]["message"], "deleted 1 accounts", "{answer}");
    assert_eq!(ended_with(&mut user), "Account Authentication Expired");
    assert!(is_refused(&configured.server, &jwt::user_token("A", "u", json!({})), &jwt::user("u")));
    assert!(folder.path().join(format!("{a}.jwt.deleted")).exists());
    assert_eq!(crate::asked(&mut system, "$SYS.REQ.CLAIMS.LIST", "")["data"], json!([sys]));
}

#[test]
fn a_reload_reads_tokens_again() {
    let mut changing = Changing::new(json!({}));
    let mut user = changing.user("u", json!({}));
    let a = jwt::account("A").public_key();
    let other = jwt::account_token("A", json!({"nats": {"revocations": {"*": jwt::now()}}}));
    std::fs::write(changing.folder.join(format!("{a}.jwt")), other).unwrap();
    let text = std::fs::read_to_string(&changing.configured.path).unwrap();
    changing.configured.reload(&text);
    if other_program() {
        // It goes on with the tokens that it knows.
        return;
    }
    assert_eq!(ended_with(&mut user), "User Authentication Revoked");
    // Another operator needs a restart.
    let stranger = jwt::operator("stranger");
    let operator = jwt::token("operator", &stranger.public_key(), &stranger, json!({}));
    let changed = text.replace(
        text.lines().next().unwrap(),
        &format!("operator: {operator}\nsystem_account: {}", jwt::account("SYS").public_key()),
    );
    changing.configured.reload_until(&changed, "operator cannot change from ");
    let log = changing.configured.server.log().join("\n");
    assert!(!log.contains("eyJ"), "{log}");
}

#[test]
fn tokens_in_the_configuration_change_by_a_reload() {
    let text = |more: Value| {
        jwt::in_memory(
            &jwt::operator_token(json!({"iat": 5})),
            &[("SYS", jwt::account_token("SYS", json!({"iat": 5}))), ("A", jwt::account_token("A", more))],
        )
    };
    let mut configured = start(&text(json!({})));
    let mut user = user_in(&configured.server, "A", "u", json!({}));
    configured.reload(&text(json!({"nats": {"revocations": {"*": jwt::now()}}})));
    assert_eq!(ended_with(&mut user), "User Authentication Revoked");
}

/// However logins and a revocation meet: nobody stays who was revoked.
#[test]
fn nobody_slips_in_while_claims_change() {
    let mut changing = Changing::new(json!({}));
    let address = changing.configured.server.address();
    for round in 0..3_i64 {
        let token = jwt::user_token("A", "u", json!({"iat": jwt::now() + round}));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let token = token.clone();
                std::thread::spawn(move || {
                    let (mut inside, mut client) = (Vec::new(), None);
                    for _ in 0..500 {
                        let mut next = client.take().unwrap_or_else(|| RawClient::connect(address));
                        let connect = jwt::connect(&next.info, &token, &jwt::user("u"));
                        next.send(format!("CONNECT {connect}\r\nPING\r\n"));
                        match next.next() {
                            Seen::Pong => inside.push(next),
                            // Revoked, before or after it was let in.
                            Seen::Err(_) => break,
                            other => panic!("{other:?}"),
                        }
                    }
                    inside
                })
            })
            .collect();
        let connections = |configured: &Configured| configured.server.monitor("/connz")["num_connections"].as_u64();
        until("somebody inside", || connections(&changing.configured) > Some(8));
        changing.push("A", json!({"nats": {"revocations": {"*": jwt::now() + round}}}));
        let mut inside = 0;
        for client in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
            let mut client = client;
            assert_eq!(ended_with(&mut client), "User Authentication Revoked");
            inside += 1;
        }
        assert!(inside > 0, "round {round}");
        // The system account's client alone is there.
        until("the end of all others", || connections(&changing.configured) == Some(1));
    }
}
