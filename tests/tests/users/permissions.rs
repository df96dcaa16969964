//! Permissions: the words for what is not allowed, their place before the PONG, and that nothing gets through.

use crate::{hello, start};

#[test]
fn publishing() {
    let configured = start(
        r#"authorization { users: [
             { user: p, password: pp, permissions { publish: { allow: ["in.>", "one"], deny: "in.secret" } } }
             { user: all, password: allp }
           ] }"#,
    );
    let mut all = configured.user("all");
    all.subscribe(">", "1");
    all.sync();
    let mut client = configured.user("p");
    client.send(
        "PUB in.a 1\r\na\r\nPUB out 1\r\nb\r\nPUB in.secret 1\r\nc\r\nPUB one $JS.ACK.x 1\r\nd\r\nPUB one 1\r\ne\r\n",
    );
    let (_, errors) = client.flush_with_errors();
    assert_eq!(
        errors,
        [
            "Permissions Violation for Publish to \"out\"",
            "Permissions Violation for Publish to \"in.secret\"",
            "Permissions Violation for Publish with Reply of \"$JS.ACK.x\"",
        ]
    );
    // What is remembered of a subject is remembered for both answers.
    for _ in 0..3 {
        client.send("PUB out 1\r\nb\r\nPUB in.a 1\r\nf\r\n");
        assert_eq!(client.flush_with_errors().1, ["Permissions Violation for Publish to \"out\""]);
    }
    let texts: Vec<String> = all.messages(5).iter().map(|message| message.text().to_owned()).collect();
    assert_eq!(texts, ["a", "e", "f", "f", "f"]);
    all.expect_nothing();
    // Nothing of it is recorded either.
    let mut reader = configured.user("all");
    reader.subscribe("$REPLAY.all.>", "1");
    let recorded: Vec<String> = reader.messages(5).iter().map(|m| m.subject.clone()).collect();
    assert_eq!(recorded, ["in.a", "one", "in.a", "in.a", "in.a"]);
}

#[test]
fn verbose_and_pedantic_clients() {
    let configured =
        start("authorization { users: [ { user: p, password: pp, permissions { publish: x, subscribe: y } } ] }");
    let mut client = configured.server.raw();
    client.send("CONNECT {\"user\":\"p\",\"pass\":\"pp\",\"pedantic\":false}\r\nPUB z 1\r\na\r\nPUB x 1\r\na\r\nSUB z 1\r\nSUB y q 2\r\nPING\r\n");
    let seen: Vec<String> = (0..6).map(|_| format!("{:?}", client.next())).collect();
    let violation = |text: &str| format!("Err({:?})", format!("Permissions Violation for {text} to \"z\""));
    assert_eq!(
        seen,
        ["Ok".to_owned(), violation("Publish"), "Ok".into(), violation("Subscription"), "Ok".into(), "Pong".into()]
    );
    let mut client = configured.server.raw();
    client.send(
        "CONNECT {\"user\":\"p\",\"pass\":\"pp\",\"verbose\":false,\"pedantic\":true}\r\nPUB z.* 1\r\na\r\nPING\r\n",
    );
    client.expect_err("Invalid Publish Subject");
    client.expect_err("Permissions Violation for Publish to \"z.*\"");
}

#[test]
fn subscriptions_and_queue_groups() {
    let configured = start(
        r#"authorization { users: [
             { user: q, password: qp, permissions { subscribe: ["foo.> v1", "foo.bar", "z.>"] } }
             { user: d, password: dp, permissions { subscribe: { deny: ["foo.*", "bar.> dev.*"] } } }
             { user: all, password: allp }
           ] }"#,
    );
    let mut client = configured.user("q");
    client.send("SUB foo.a v1 1\r\nSUB foo.a v2 2\r\nSUB foo.a 3\r\nSUB foo.bar v1 4\r\nSUB foo.bar v2 5\r\nSUB foo.bar 6\r\nSUB z.a v9 7\r\nSUB > 8\r\n");
    let violation = |what: &str| format!("Permissions Violation for Subscription to {what}");
    assert_eq!(
        client.flush_with_errors().1,
        [
            violation("\"foo.a\" using queue \"v2\""),
            violation("\"foo.a\""),
            violation("\"foo.bar\" using queue \"v2\""),
            violation("\">\""),
        ]
    );
    let mut denied = configured.user("d");
    denied.send("SUB foo.> 1\r\nSUB foo.* 2\r\nSUB foo.a 3\r\nSUB > 4\r\nSUB *.a 5\r\nSUB bar.a dev.x 6\r\nSUB bar.a live 7\r\nSUB > dev.x 8\r\n");
    assert_eq!(
        denied.flush_with_errors().1,
        [
            violation("\"foo.>\""),
            violation("\"foo.*\""),
            violation("\"foo.a\""),
            violation("\"bar.a\" using queue \"dev.x\"")
        ]
    );
    let mut all = configured.user("all");
    all.send("PUB foo.a 1\r\n1\r\nPUB foo.a.b 1\r\n2\r\nPUB bar.a 1\r\n3\r\n");
    all.sync();
    let mut got: Vec<String> = denied.flush().iter().map(|m| format!("{} {}", m.subject, m.sid)).collect();
    got.sort();
    assert_eq!(got, ["bar.a 4", "bar.a 5", "bar.a 7", "foo.a.b 4", "foo.a.b 8"]);
}

#[test]
fn answers_to_requests() {
    let configured = start(
        r#"authorization { users: [
             { user: one, password: onep, permissions { subscribe: "req.>", allow_responses: true } }
             { user: two, password: twop, permissions { subscribe: "two", publish: "extra", allow_responses { max: 2, expires: "2s" } } }
             { user: all, password: allp }
           ] }"#,
    );
    let (mut one, mut two, mut all) = (configured.user("one"), configured.user("two"), configured.user("all"));
    one.send("SUB req.> 1\r\nSUB req.q group 2\r\n");
    two.subscribe("two", "1");
    all.subscribe("inbox.>", "1");
    for client in [&mut one, &mut two, &mut all] {
        client.sync();
    }
    let violation = |subject: &str| format!("Permissions Violation for Publish to \"{subject}\"");
    all.send("PUB req.a inbox.1 1\r\nx\r\n");
    one.message();
    one.send("PUB inbox.1 1\r\na\r\nPUB inbox.1 1\r\nb\r\nPUB inbox.2 1\r\nc\r\nPUB req.a 1\r\nd\r\n");
    assert_eq!(one.flush_with_errors().1, [violation("inbox.1"), violation("inbox.2"), violation("req.a")]);
    assert_eq!(all.message().text(), "a");
    all.send("PUB two inbox.3 1\r\nx\r\n");
    two.message();
    two.send("PUB inbox.3 1\r\na\r\nPUB inbox.3 1\r\nb\r\nPUB inbox.3 1\r\nc\r\nPUB extra 1\r\nd\r\n");
    assert_eq!(two.flush_with_errors().1, [violation("inbox.3")]);
    assert_eq!(all.messages(2)[1].text(), "b");
    // Too late.
    all.send("PUB two inbox.4 1\r\nx\r\n");
    two.message();
    let start = sublog_tests::clock::now();
    sublog_tests::clock::until("the end of the time to answer", || {
        (start.elapsed() > std::time::Duration::from_millis(2200)).then_some(())
    });
    two.send("PUB inbox.4 1\r\na\r\n");
    assert_eq!(two.flush_with_errors().1, [violation("inbox.4")]);
    all.expect_nothing();
}

#[test]
fn replays_are_held_to_the_subject_inside_and_outside() {
    let configured = start(
        r#"authorization { users: [
             { user: both, password: bothp, permissions { subscribe: { allow: ["$REPLAY.>", "a.>"], deny: "a.secret" } } }
             { user: live, password: livep, permissions { subscribe: ["a.>"] } }
             { user: deny, password: denyp, permissions { subscribe: { deny: ["a.secret"] } } }
             { user: last, password: lastp, permissions { subscribe: { allow: ["$REPLAY.last.>", "a.>"] } } }
             { user: all, password: allp }
           ] }"#,
    );
    let mut all = configured.user("all");
    all.send("PUB a.1 1\r\n1\r\nPUB a.secret 1\r\n2\r\nPUB b 1\r\n3\r\nPUB a.2 1\r\n4\r\n");
    all.sync();
    let violation = |subject: &str| format!("Permissions Violation for Subscription to \"{subject}\"");
    let refused = |user: &str, subject: &str| {
        let mut client = configured.user(user);
        client.subscribe(subject, "1");
        assert_eq!(client.flush_with_errors().1, [violation(subject)], "{user}");
    };
    refused("both", "$REPLAY.all.b");
    refused("both", "$REPLAY.all.>");
    refused("both", "$REPLAY.seq.1.a.secret");
    refused("live", "$REPLAY.all.a.>");
    refused("deny", "$REPLAY.last.5.a.secret");
    refused("last", "$REPLAY.all.a.>");
    let replayed = |user: &str, subject: &str, count: usize| {
        let mut client = configured.user(user);
        client.subscribe(subject, "1");
        let subjects: Vec<String> = client.messages(count).into_iter().map(|m| m.subject).collect();
        client.expect_nothing();
        subjects
    };
    assert_eq!(replayed("both", "$REPLAY.all.a.>", 2), ["a.1", "a.2"]);
    assert_eq!(replayed("deny", "$REPLAY.all.>", 3), ["a.1", "b", "a.2"]);
    assert_eq!(replayed("deny", "$REPLAY.last.4.>", 3), ["a.1", "b", "a.2"]);
    assert_eq!(replayed("last", "$REPLAY.last.2.a.>", 2), ["a.secret", "a.2"]);
}

/// The server publishes nothing for a user where the user may not be.
#[test]
fn requests_to_the_server_have_their_answers_where_the_user_may_be() {
    let configured = start(
        r#"authorization { users: [
             { user: js, password: jsp, permissions { publish: "$JS.API.>", subscribe: ["_INBOX.>", "work g"] } }
             { user: pub, password: pubp, permissions { publish: ["$JS.API.>", "jobs"], subscribe: "_INBOX.>" } }
             { user: all, password: allp }
           ] }"#,
    );
    let mut all = configured.user("all");
    all.send("SUB admin.> 1\r\nSUB jobs 2\r\nSUB _INBOX.a.* 3\r\n");
    let stream = r#"{"name":"S","subjects":["s.>"],"allow_direct":true}"#;
    all.send(format!("PUB $JS.API.STREAM.CREATE.S _INBOX.a.1 {}\r\n{stream}\r\n", stream.len()));
    assert!(all.message().text().contains("did_create"));
    all.send("PUB s.1 1\r\nx\r\n");
    all.sync();
    let create = |name: &str, more: &str| {
        let config = format!(r#"{{"stream_name":"S","config":{{"name":"{name}","ack_policy":"none"{more}}}}}"#);
        format!("PUB $JS.API.CONSUMER.CREATE.S.{name} _INBOX.x {}\r\n{config}\r\n", config.len())
    };
    let mut js = configured.user("js");
    js.send("SUB _INBOX.x 1\r\n");
    for (name, more, expected) in [
        ("A", r#","deliver_subject":"admin.x""#, "no permission"),
        ("B", r#","deliver_subject":"work""#, "no permission"),
        ("C", r#","deliver_subject":"work","deliver_group":"g""#, r#""name":"C""#),
        ("D", r#","deliver_subject":"_INBOX.y""#, r#""name":"D""#),
        ("P", "", r#""name":"P""#),
    ] {
        js.send(create(name, more));
        let answer = js.message();
        assert!(answer.text().contains(expected), "{name}: {}", answer.text());
    }
    let reply = "Permissions Violation for Publish with Reply of \"admin.x\"";
    for request in ["INFO", "CONSUMER.MSG.NEXT.S.P", "DIRECT.GET.S.s.1"] {
        js.send(format!("PUB $JS.API.{request} admin.x 0\r\n\r\n"));
        assert_eq!(js.flush_with_errors().1, [reply], "{request}");
    }
    js.send("PUB $SYS.REQ.USER.INFO _INBOX.x 0\r\n\r\nPUB s.1 1\r\nx\r\n");
    assert_eq!(js.flush_with_errors().1.len(), 2, "neither is in its list");
    // Who may publish there may also have the server do so.
    let mut publisher = configured.user("pub");
    publisher.send("SUB _INBOX.x 1\r\n");
    publisher.send(create("E", r#","deliver_subject":"jobs""#));
    assert!(publisher.message().text().contains(r#""name":"E""#));
    assert_eq!(all.message().subject, "s.1");
    all.expect_nothing();
}

#[test]
fn who_am_i() {
    let configured = start(
        r#"authorization { users: [
             { user: q, password: qp, permissions {
                 publish: { deny: "no.>" }, subscribe: ["foo.> v1", "foo.bar", "in"], allow_responses: true } }
             { user: all, password: allp }
           ] }"#,
    );
    let ask = |user: &str| {
        let mut client = configured.user(user);
        client.send("SUB in 1\r\nPUB $SYS.REQ.USER.INFO in 0\r\n\r\n");
        let answer: serde_json::Value = serde_json::from_slice(&client.message().payload).unwrap();
        assert!(answer["server"]["id"].as_str().unwrap().starts_with('N'));
        answer["data"].clone()
    };
    assert_eq!(ask("all"), serde_json::json!({"user": "all", "account": "$G", "account_name": "$G"}));
    let configured = start(
        r#"authorization { users: [ { user: q, password: qp, permissions {
             publish: { allow: "$SYS.REQ.USER.INFO", deny: "no.>" }, subscribe: ["foo.> v1", "foo.bar", "in"],
             allow_responses: true } } ] }"#,
    );
    let mut client = configured.user("q");
    client.send("SUB in 1\r\nPUB $SYS.REQ.USER.INFO in 0\r\n\r\n");
    let answer: serde_json::Value = serde_json::from_slice(&client.message().payload).unwrap();
    assert_eq!(
        answer["data"]["permissions"],
        serde_json::json!({
            "publish": {"allow": ["$SYS.REQ.USER.INFO"], "deny": ["no.>"]},
            "subscribe": {"allow": ["foo.> v1", "foo.bar", "in"]},
            "responses": {"max": 1, "ttl": 120_000_000_000_i64},
        })
    );
}

/// Somebody else from the second CONNECT on: what it may no longer have is taken away.
#[test]
fn another_user_on_the_same_connection() {
    let configured = start(
        r#"authorization { users: [
             { user: less, password: lessp, permissions { subscribe: "a.>", publish: "a.>" } }
             { user: all, password: allp }
           ] }"#,
    );
    let mut client = configured.user("all");
    client.send("SUB a.x 1\r\nSUB b.x 2\r\nSUB $REPLAY.all.> 3\r\nPUB b.y 1\r\nx\r\n");
    client.message();
    client.send(format!("CONNECT {}\r\n", hello("less")));
    let (_, mut errors) = client.flush_with_errors();
    errors.sort();
    assert_eq!(
        errors,
        [
            "Permissions Violation for Subscription to \"$REPLAY.all.>\" (sid \"3\")",
            "Permissions Violation for Subscription to \"b.x\" (sid \"2\")",
        ]
    );
    client.send("PUB b.y 1\r\nx\r\nPUB a.x 1\r\ny\r\n");
    let (messages, errors) = client.flush_with_errors();
    assert_eq!(errors, ["Permissions Violation for Publish to \"b.y\""]);
    assert_eq!(messages.iter().map(|m| m.sid.as_str()).collect::<Vec<_>>(), ["1"]);
    let mut other = configured.user("all");
    other.send("PUB b.x 1\r\nx\r\n");
    other.sync();
    client.expect_nothing();
}
