//! What one account takes from another.

use serde_json::{Value, json};
use sublog_tests::{Configured, RawClient, jwt};

use crate::{ask, user_in, with_accounts};

fn key(name: &str) -> String {
    jwt::account(name).public_key()
}

fn exporting(exports: Value) -> String {
    jwt::account_token("E", json!({"nats": {"exports": exports}}))
}

fn importing(name: &str, imports: Value) -> (&str, String) {
    (name, jwt::account_token(name, json!({"nats": {"imports": imports}})))
}

fn import(more: Value) -> Value {
    let mut import = json!({"account": key("E"), "type": "stream"});
    jwt::merge(&mut import, more);
    import
}

fn in_account(configured: &Configured, account: &str) -> RawClient {
    user_in(&configured.server, account, &format!("{account}-user"), json!({}))
}

/// What a listener of an account hears of a message of the other one.
fn heard(configured: &Configured, account: &str, published: &str) -> Vec<String> {
    let mut listener = in_account(configured, account);
    listener.send("SUB > 1\r\n");
    listener.sync();
    let mut publisher = in_account(configured, "E");
    publisher.publish(published, "x");
    publisher.sync();
    listener.flush().into_iter().map(|message| message.subject).collect()
}

#[test]
fn streams_come_under_their_names() {
    let configured = with_accounts(&[
        ("E", exporting(json!([{"subject": "s.>", "type": "stream"}]))),
        importing("A", json!([import(json!({"subject": "s.*"}))])),
        importing("B", json!([import(json!({"subject": "s.>", "to": "pre"}))])),
        importing("C", json!([import(json!({"subject": "s.*.*", "local_subject": "loc.$2.$1"}))])),
        importing("D", json!([import(json!({"subject": "other"}))])),
    ]);
    for (account, published, expected) in [
        ("A", "s.a", &["s.a"][..]),
        ("A", "s.a.b", &[]),
        ("B", "s.a.b", &["pre.s.a.b"]),
        ("C", "s.a.b", &["loc.b.a"]),
        ("D", "other", &[]),
        ("D", "s.a", &[]),
    ] {
        assert_eq!(heard(&configured, account, published), expected, "{account} {published}");
    }
}

#[test]
fn services_are_asked_under_their_names() {
    let service = |more: Value| {
        let mut import = import(json!({"type": "service"}));
        jwt::merge(&mut import, more);
        import
    };
    let configured = with_accounts(&[
        ("E", exporting(json!([{"subject": "svc.*", "type": "service"}]))),
        importing("A", json!([service(json!({"subject": "svc.one"}))])),
        importing("B", json!([service(json!({"subject": "svc.two", "local_subject": "mine"}))])),
        importing("C", json!([service(json!({"subject": "old", "to": "svc.three"}))])),
    ]);
    let mut answering = in_account(&configured, "E");
    answering.send("SUB svc.* 1\r\n");
    answering.sync();
    for (account, asked, there) in [("A", "svc.one", "svc.one"), ("B", "mine", "svc.two"), ("C", "old", "svc.three")] {
        let mut client = in_account(&configured, account);
        client.send(format!("SUB _INBOX.x 1\r\nPUB {asked} _INBOX.x 2\r\nhi\r\n"));
        let request = answering.message();
        assert_eq!(request.subject, there);
        answering.publish(&request.reply.unwrap(), "yes");
        assert_eq!(client.message().text(), "yes", "{account}");
    }
    let mut stranger = in_account(&configured, "A");
    assert_eq!(ask(&mut stranger, "svc.two", "").status(), Some(503));
}

/// Rights to import: each is for one account, one subject and one time.
#[test]
fn private_streams_need_a_right() {
    let now = jwt::now();
    let (e, signing, stranger) = (jwt::account("E"), jwt::account("E-signs"), jwt::account("stranger"));
    let of =
        |by: &nkeys::KeyPair, to: &str, subject: &str, more: Value| jwt::activation(by, to, "stream", subject, more);
    let for_e = json!({"nats": {"issuer_account": key("E")}});
    let tokens = [
        ("good", of(&e, "good", "p.>", json!({})), true),
        ("signed", of(&signing, "signed", "p.>", for_e.clone()), true),
        ("narrow", of(&e, "narrow", "p.a", json!({})), true),
        ("none", String::new(), false),
        ("stolen", of(&e, "good", "p.>", json!({})), false),
        ("elsewhere", of(&e, "elsewhere", "q.>", json!({})), false),
        ("stranger-signed", of(&stranger, "stranger-signed", "p.>", for_e), false),
        ("strangers", of(&stranger, "strangers", "p.>", json!({})), false),
        ("expired", of(&e, "expired", "p.>", json!({"exp": now - 5})), false),
        ("early", of(&e, "early", "p.>", json!({"nbf": now + 500})), false),
        ("service", jwt::activation(&e, "service", "service", "p.>", json!({})), false),
        ("revoked", of(&e, "revoked", "p.>", json!({"iat": now - 100})), false),
        ("renewed", of(&e, "renewed", "p.>", json!({"iat": now + 5})), true),
    ];
    let exporting = jwt::account_token(
        "E",
        json!({"nats": {
            "signing_keys": [signing.public_key()],
            "exports": [{"subject": "p.>", "type": "stream", "token_req": true,
                         "revocations": { key("revoked"): now, key("renewed"): now }}],
        }}),
    );
    let mut accounts = vec![("E", exporting)];
    accounts.extend(
        tokens
            .iter()
            .map(|(name, token, _)| importing(name, json!([import(json!({"subject": "p.a", "token": token}))]))),
    );
    let configured = with_accounts(&accounts);
    for (name, _, may) in &tokens {
        let (token, user) = (jwt::user_token(name, "u", json!({})), jwt::user("u"));
        let (mut listener, seen) = crate::try_in(&configured.server, &token, &user);
        if seen != sublog_tests::Seen::Pong {
            // An account whose import is forged has no claims that count.
            assert!(!may, "{name}: {seen:?}");
            continue;
        }
        // The INFO that follows the first PONG.
        listener.next();
        listener.send("SUB > 1\r\n");
        listener.sync();
        let mut publisher = in_account(&configured, "E");
        publisher.publish("p.a", "x");
        publisher.sync();
        assert_eq!(listener.flush().len(), usize::from(*may), "{name}");
    }
}

#[test]
fn a_right_ends_with_its_time() {
    let token = jwt::activation(&jwt::account("E"), "A", "stream", "p", json!({"exp": jwt::now() + 10}));
    let configured = with_accounts(&[
        ("E", exporting(json!([{"subject": "p", "type": "stream", "token_req": true}]))),
        importing("A", json!([import(json!({"subject": "p", "token": token}))])),
    ]);
    let mut listener = in_account(&configured, "A");
    listener.send("SUB p 1\r\n");
    listener.sync();
    let mut publisher = in_account(&configured, "E");
    publisher.publish("p", "x");
    assert_eq!(listener.message().subject, "p");
    crate::until("the end of the right", || {
        publisher.publish("p", "y");
        publisher.sync();
        listener.flush().is_empty()
    });
}

#[test]
fn subjects_that_name_who_imports() {
    let (a, b) = (key("A"), key("B"));
    let configured = with_accounts(&[
        ("E", exporting(json!([{"subject": "for.*.>", "type": "stream", "account_token_position": 2}]))),
        importing("A", json!([import(json!({"subject": format!("for.{a}.x")}))])),
        importing("B", json!([import(json!({"subject": format!("for.{a}.x")}))])),
    ]);
    assert_eq!(heard(&configured, "A", &format!("for.{a}.x")).len(), 1);
    assert_eq!(heard(&configured, "B", &format!("for.{a}.x")).len(), 0);
    assert_eq!(heard(&configured, "B", &format!("for.{b}.x")).len(), 0);
}

/// Accounts whose claims go round and round: the server serves, and nothing goes round.
#[test]
fn cycles_are_left_out() {
    let ring = |kind: &str, count: usize| -> Vec<(String, String)> {
        let name = |i: usize| format!("R{}", i % count);
        let one = |i: usize| {
            let from = key(&name(i + 1));
            let claims = json!({"nats": {
                "exports": [{"subject": "r.>", "type": kind}],
                "imports": [{"subject": "r.>", "account": from, "type": kind}],
            }});
            (name(i), jwt::account_token(&name(i), claims))
        };
        (0..count).map(one).collect()
    };
    for (kind, count) in [("stream", 1), ("stream", 2), ("stream", 5), ("service", 1), ("service", 2), ("service", 4)] {
        let accounts = ring(kind, count);
        let borrowed: Vec<(&str, String)> =
            accounts.iter().map(|(name, token)| (name.as_str(), token.clone())).collect();
        let configured = with_accounts(&borrowed);
        let mut client = user_in(&configured.server, "R0", "u", json!({}));
        client.send("SUB r.a 1\r\nPUB r.a 1\r\nx\r\n");
        assert!(!client.flush().is_empty(), "{kind} {count}");
        client.send("PUB r.b _INBOX.a 1\r\nx\r\n");
        client.sync();
    }
}

#[test]
fn mappings_of_an_account() {
    let claims = json!({"nats": {"mappings": {
        "from.*": [{"subject": "to.$1"}],
        "lost": [{"subject": "lost", "weight": 1}, {"subject": "won", "weight": 99}],
    }}});
    let configured = with_accounts(&[("A", jwt::account_token("A", claims))]);
    let mut client = in_account(&configured, "A");
    client.send("SUB > 1\r\nPUB from.x 0\r\n\r\nPUB plain 0\r\n\r\n");
    let heard: Vec<String> = client.messages(2).into_iter().map(|message| message.subject).collect();
    assert_eq!(heard, ["to.x", "plain"]);
    for _ in 0..200 {
        client.send("PUB lost 0\r\n\r\n");
    }
    let heard: Vec<String> = client.messages(200).into_iter().map(|message| message.subject).collect();
    let won = heard.iter().filter(|subject| *subject == "won").count();
    assert!(won > 150, "{won}");
}

/// Whoever exports may be described later.
#[test]
fn an_exporter_that_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "operator: {}\nresolver {{ type: full, dir: {:?} }}\n",
        jwt::operator_token(json!({})),
        folder.path().to_str().unwrap()
    );
    let configured = crate::start(&text);
    let mut system = crate::system(&configured.server);
    let mut push = |token: &str| {
        let answer = crate::asked(&mut system, "$SYS.REQ.CLAIMS.UPDATE", token);
        assert_eq!(answer["data"]["code"], 200, "{answer}");
    };
    push(&importing("A", json!([import(json!({"subject": "s"}))])).1);
    let mut listener = in_account(&configured, "A");
    listener.send("SUB s 1\r\n");
    listener.sync();
    push(&exporting(json!([{"subject": "s", "type": "stream"}])));
    let mut publisher = in_account(&configured, "E");
    crate::until("the link", || {
        publisher.publish("s", "x");
        publisher.sync();
        !listener.flush().is_empty()
    });
    // And no longer exports it.
    push(&exporting(json!([])));
    crate::until("the end of the link", || {
        publisher.publish("s", "x");
        publisher.sync();
        listener.flush().is_empty()
    });
}

/// As `nsc` makes a system account: each account may ask about itself.
#[test]
fn what_the_server_answers_can_be_imported() {
    let exports = json!([{"subject": "$SYS.REQ.ACCOUNT.*.*", "type": "service", "account_token_position": 4}]);
    let import = |of: &str| {
        let subject = format!("$SYS.REQ.ACCOUNT.{}.CONNZ", key(of));
        json!([{"subject": subject, "account": key("SYS"), "type": "service", "local_subject": "my.connections"}])
    };
    let configured = with_accounts(&[
        ("SYS", jwt::account_token("SYS", json!({"nats": {"exports": exports}}))),
        importing("A", import("A")),
        importing("B", import("A")),
    ]);
    let mut client = in_account(&configured, "A");
    let answer = crate::asked(&mut client, "my.connections", "");
    assert_eq!(answer["data"]["num_connections"], 1, "{answer}");
    let mut other = in_account(&configured, "B");
    assert_eq!(ask(&mut other, "my.connections", "").status(), Some(503));
}
