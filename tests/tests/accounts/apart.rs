//! Subjects of one account are not those of another.

use sublog_tests::Configured;

use crate::{ask, is_nobody, start};

const TWO: &str = r#"
accounts {
  A { users: [ { user: a, password: a }, { user: a2, password: a2, permissions { publish: "only.>" } } ] }
  B { users: [ { user: b, password: b } ], default_permissions { subscribe: "may.>" } }
}
authorization { users: [ { user: g, password: g } ] }
"#;

#[test]
fn nothing_crosses() {
    let configured = start(TWO);
    let (mut a, mut b, mut g) = (configured.user("a"), configured.user("b"), configured.user("g"));
    let mut a2 = configured.user("a2");
    for client in [&mut a, &mut a2, &mut g] {
        client.send("SUB > 1\r\nSUB work q 2\r\n");
        client.sync();
    }
    b.send("SUB may.> 1\r\nSUB > 2\r\n");
    b.expect_err("Permissions Violation for Subscription to \">\"");
    b.sync();
    a.send("PUB may.x 1\r\n1\r\nPUB work 1\r\n2\r\n");
    let (own, others) = (a.flush(), a2.flush());
    let count = |messages: &[sublog_tests::Message], sid: &str| messages.iter().filter(|m| m.sid == sid).count();
    assert_eq!((count(&own, "1"), count(&others, "1")), (2, 2));
    // Of the group in this account, one member got it.
    assert_eq!(count(&own, "2") + count(&others, "2"), 1);
    assert!(b.flush().is_empty() && g.flush().is_empty());
    a2.send("PUB may.x 0\r\n\r\n");
    assert_eq!(a2.flush_with_errors().1, ["Permissions Violation for Publish to \"may.x\""]);
    g.send("PUB may.x 1\r\ng\r\n");
    assert_eq!(g.flush().len(), 1);
    assert!(b.flush().is_empty() && a.flush().is_empty());
}

#[test]
fn nobody_answers_from_another_account() {
    let configured = start(TWO);
    let (mut a, mut g) = (configured.user("a"), configured.user("g"));
    a.send("SUB svc 1\r\n");
    a.sync();
    assert!(is_nobody(&ask(&mut g, "svc", "")));
}

#[test]
fn users_learn_where_they_are() {
    let configured = start(&format!("{TWO}\nno_auth_user: a"));
    for (name, account) in [("a", "A"), ("b", "B"), ("g", "$G")] {
        let mut client = configured.user(name);
        if name != "b" {
            let info: serde_json::Value =
                serde_json::from_slice(&ask(&mut client, "$SYS.REQ.USER.INFO", "").payload).unwrap();
            assert_eq!(info["data"]["account"], account, "{info}");
        }
    }
    // Who says nothing is the user that is named for that.
    let mut anybody = configured.server.raw();
    anybody.send("CONNECT {\"verbose\":false}\r\nSUB here 1\r\n");
    anybody.sync();
    let mut a = configured.user("a");
    a.publish("here", "x");
    a.sync();
    assert_eq!(anybody.message().subject, "here");
}

/// Sublog's own: one account is recorded, and replayed to nobody else.
#[test]
fn a_replay_is_of_the_account_that_is_recorded() {
    if std::env::var_os("SUBLOG_BINARY").is_some() {
        return;
    }
    let in_a = format!("{TWO}\nsublog {{ capture_account: A }}");
    for (text, recorded, others) in [(TWO, "g", ["a", "b"]), (in_a.as_str(), "a", ["g", "b"])] {
        let mut configured = start(text);
        for name in [recorded, others[0]] {
            let mut client = configured.user(name);
            client.publish("may.x", format!("of {name}"));
            client.sync();
        }
        let replayed = |configured: &Configured| {
            let mut client = configured.user(recorded);
            client.send("SUB $REPLAY.all.> 1\r\n");
            let first = client.message();
            assert_eq!(first.text(), format!("of {recorded}"));
            assert!(client.flush().is_empty());
        };
        replayed(&configured);
        for name in others {
            let mut client = configured.user(name);
            client.send("SUB $REPLAY.all.may.x 1\r\nPING\r\n");
            assert!(matches!(client.next(), sublog_tests::Seen::Err(_)), "{name}");
        }
        // Nor after a start that records another account.
        configured.server.kill9();
        let other = if recorded == "a" { TWO.to_owned() } else { in_a.clone() };
        std::fs::write(&configured.path, &other).unwrap();
        configured.server.restart();
        let mut client = configured.user(if recorded == "a" { "g" } else { "a" });
        client.send("SUB $REPLAY.all.> 1\r\n");
        assert!(client.flush().is_empty());
        client.publish("may.y", "new");
        client.sync();
        assert_eq!(client.message().text(), "new");
    }
}

#[test]
fn whoever_picks_an_account_is_refused() {
    let configured = start(TWO);
    for picked in [r#""account":"B""#, r#""new_account":true"#] {
        let mut client = configured.server.raw();
        client.send(format!("CONNECT {{\"user\":\"a\",\"pass\":\"a\",{picked}}}\r\nPING\r\n"));
        client.expect_err("Authorization Violation");
    }
}

/// An account for the system alone shuts nobody out and lets nobody in who was out.
#[test]
fn a_system_account_does_not_open_what_was_closed() {
    let system = r#"accounts { $SYS { users: [ { user: sys, password: sys } ] } }"#;
    let open = start(system);
    let mut anybody = open.server.raw();
    anybody.send("CONNECT {\"verbose\":false}\r\n");
    anybody.sync();
    for auth in [
        r#"authorization { users: [ { user: u, password: u } ] }"#,
        r#"authorization { timeout: 5 }"#,
        r#"accounts { $SYS { users: [ { user: sys, password: sys } ] }, A { users: [ { user: u, password: u } ] } }"#,
    ] {
        let text = if auth.starts_with("accounts") { auth.to_owned() } else { format!("{system}\n{auth}") };
        let closed = start(&text);
        let mut anybody = closed.server.raw();
        anybody.send("CONNECT {\"verbose\":false}\r\nPING\r\n");
        anybody.expect_err("Authorization Violation");
        closed.user("sys").sync();
    }
}
