//! What somebody may do who was let in.

use serde_json::{Value, json};
use sublog_tests::{RawClient, Seen, jwt};

use crate::{ended_with, is_refused, log_in, other_program, try_in, user_in, with_accounts};

fn errors(client: &mut RawClient, sent: &str) -> Vec<String> {
    client.send(sent);
    client.flush_with_errors().1
}

#[test]
fn permissions_of_a_user() {
    let configured = with_accounts(&[("A", jwt::account_token("A", json!({})))]);
    let rights = json!({"nats": {
        "pub": {"allow": ["a.>", "c"], "deny": ["a.x"]},
        "sub": {"allow": ["s.>", "g q"], "deny": ["s.x"]},
    }});
    let mut client = user_in(&configured.server, "A", "u", rights);
    assert_eq!(errors(&mut client, "PUB a.b 0\r\n\r\nPUB c 0\r\n\r\nSUB s.y 1\r\nSUB g q 2\r\n"), [""; 0]);
    assert_eq!(
        errors(&mut client, "PUB a.x 0\r\n\r\nPUB d 0\r\n\r\nSUB s.x 3\r\nSUB g 4\r\nSUB g r 5\r\n"),
        [
            "Permissions Violation for Publish to \"a.x\"",
            "Permissions Violation for Publish to \"d\"",
            "Permissions Violation for Subscription to \"s.x\"",
            "Permissions Violation for Subscription to \"g\"",
            "Permissions Violation for Subscription to \"g\" using queue \"r\"",
        ]
    );
}

#[test]
fn whoever_may_answer_may_answer() {
    let configured = with_accounts(&[("A", jwt::account_token("A", json!({})))]);
    let mut service = user_in(&configured.server, "A", "s", json!({"nats": {"resp": {"max": 1, "ttl": 0}}}));
    service.send("SUB q 1\r\n");
    service.sync();
    let mut client = user_in(&configured.server, "A", "u", json!({}));
    client.send("SUB r 1\r\nPUB q r 0\r\n\r\n");
    assert_eq!(service.message().reply.as_deref(), Some("r"));
    assert_eq!(errors(&mut service, "PUB r 0\r\n\r\n"), [""; 0]);
    assert_eq!(client.message().subject, "r");
    assert_eq!(errors(&mut service, "PUB r 0\r\n\r\n"), ["Permissions Violation for Publish to \"r\""]);
}

#[test]
fn defaults_of_the_account() {
    let defaults = json!({"nats": {"default_permissions": {"pub": {"allow": ["d"]}}}});
    let configured = with_accounts(&[("A", jwt::account_token("A", defaults))]);
    let mut plain = user_in(&configured.server, "A", "u", json!({}));
    assert_eq!(errors(&mut plain, "PUB d 0\r\n\r\nPUB o 0\r\n\r\n"), ["Permissions Violation for Publish to \"o\""]);
    let mut own = user_in(&configured.server, "A", "v", json!({"nats": {"pub": {"allow": ["o"]}}}));
    assert_eq!(errors(&mut own, "PUB o 0\r\n\r\nPUB d 0\r\n\r\n"), ["Permissions Violation for Publish to \"d\""]);
}

fn scoped(template: Value) -> (sublog_tests::Configured, nkeys::KeyPair) {
    let key = jwt::account("A-scoped");
    let scope = json!({"kind": "user_scope", "key": key.public_key(), "role": "r", "template": template});
    let claims = json!({"name": "acme", "nats": {"signing_keys": [scope], "tags": ["region:eu"]}});
    (with_accounts(&[("A", jwt::account_token("A", claims))]), key)
}

#[test]
fn scopes_say_what_their_users_may() {
    let (configured, key) = scoped(json!({
        "pub": {"allow": [
            "n.{{name()}}", "s.{{subject()}}", "a.{{account-name()}}", "as.{{account-subject()}}",
            "t.{{tag(team)}}.x", "r.{{account-tag(region)}}", "none.{{tag(missing)}}",
        ]},
        "sub": {"deny": ["secret.>"]},
        "subs": 2, "payload": 10,
    }));
    let token = jwt::scoped_token("A", &key, "u", json!({"nats": {"tags": ["team:one", "team:two"]}}));
    let mut client = log_in(&configured.server, &token, &jwt::user("u"));
    let (own, account) = (jwt::user("u").public_key(), jwt::account("A").public_key());
    let subjects = ["n.u", &format!("s.{own}"), "a.acme", &format!("as.{account}"), "t.one.x", "t.two.x", "r.eu"];
    for subject in subjects {
        assert_eq!(errors(&mut client, &format!("PUB {subject} 0\r\n\r\n")), [""; 0], "{subject}");
    }
    for subject in ["n.v", "t.three.x", "r.us", "none.x", "none."] {
        assert_eq!(errors(&mut client, &format!("PUB {subject} 0\r\n\r\n")).len(), 1, "{subject}");
    }
    assert_eq!(errors(&mut client, "SUB secret.a 1\r\nSUB a 2\r\nSUB b 3\r\nSUB c 4\r\n").len(), 2);
    client.send("PUB n.u 11\r\n");
    assert_eq!(ended_with(&mut client), "Maximum Payload Violation");
    // Such a user has nothing of its own.
    for own in [json!({"subs": -1}), json!({"pub": {"allow": [">"]}}), json!({"bearer_token": true})] {
        let token = jwt::scoped_token("A", &key, "u", json!({"nats": own}));
        assert!(is_refused(&configured.server, &token, &jwt::user("u")), "{own}");
    }
}

#[test]
fn a_scope_that_cannot_be_filled_in_opens_nothing() {
    let (configured, key) = scoped(json!({"pub": {"allow": ["{{tag(none)}}"]}}));
    let token = jwt::scoped_token("A", &key, "u", json!({}));
    let mut client = log_in(&configured.server, &token, &jwt::user("u"));
    assert_eq!(errors(&mut client, "PUB a 0\r\n\r\n").len(), 1);
    for template in [json!({"pub": {"deny": ["x.{{tag(none)}}"]}}), json!({"sub": {"allow": ["{{what()}}"]}})] {
        let (configured, key) = scoped(template);
        assert!(is_refused(&configured.server, &jwt::scoped_token("A", &key, "u", json!({})), &jwt::user("u")));
    }
}

#[test]
fn a_scope_can_make_bearers() {
    let (configured, key) = scoped(json!({"bearer_token": true}));
    let mut client = configured.server.raw();
    let token = jwt::scoped_token("A", &key, "u", json!({}));
    client.send(format!("CONNECT {}\r\nPING\r\n", json!({"jwt": token, "verbose": false, "protocol": 0})));
    assert_eq!(client.next(), Seen::Pong);
}

#[test]
fn limits_of_users_and_accounts() {
    let limits = json!({"nats": {"limits": {"conn": 2, "subs": 3, "payload": 100}}});
    let configured = with_accounts(&[("A", jwt::account_token("A", limits))]);
    let server = &configured.server;
    let mut first = user_in(server, "A", "u", json!({"nats": {"subs": 1, "payload": 50}}));
    assert_eq!(first.info["max_payload"], 50, "{}", first.info);
    let mut second = user_in(server, "A", "v", json!({"nats": {"subs": 9, "payload": 500}}));
    assert_eq!(second.info["max_payload"], 100, "{}", second.info);
    let (mut third, seen) = try_in(server, &jwt::user_token("A", "w", json!({})), &jwt::user("w"));
    assert_eq!(seen, Seen::Err("maximum account active connections exceeded".into()));
    third.expect_closed();
    assert_eq!(errors(&mut first, "SUB a 1\r\nSUB b 2\r\n"), ["maximum subscriptions exceeded"]);
    assert_eq!(errors(&mut second, "SUB a 1\r\nSUB b 2\r\nSUB c 3\r\nSUB d 4\r\n"), ["maximum subscriptions exceeded"]);
    first.send("PUB a 51\r\n");
    assert_eq!(ended_with(&mut first), "Maximum Payload Violation");
    second.send("PUB a 101\r\n");
    assert_eq!(ended_with(&mut second), "Maximum Payload Violation");
}

/// What is not said is 0, and 0 allows nothing.
#[test]
fn what_is_not_said_is_not_allowed() {
    let nothing = json!({"name": "A", "nats": {}});
    let bare = jwt::token("account", &jwt::account("A").public_key(), &jwt::operator("O"), nothing);
    let configured = with_accounts(&[("A", bare), ("B", jwt::account_token("B", json!({})))]);
    let (_, seen) = try_in(&configured.server, &jwt::user_token("A", "u", json!({})), &jwt::user("u"));
    assert_eq!(seen, Seen::Err("maximum account active connections exceeded".into()));
    if other_program() {
        // It cuts off whoever may subscribe to nothing, before or after the first PONG.
        return;
    }
    let bare = jwt::token("user", &jwt::user("u").public_key(), &jwt::account("B"), json!({}));
    let mut client = log_in(&configured.server, &bare, &jwt::user("u"));
    client.send("SUB a 1\r\n");
    client.expect_err("maximum subscriptions exceeded");
    client.send("PUB a 1\r\nx\r\n");
    assert_eq!(ended_with(&mut client), "Maximum Payload Violation");
}
