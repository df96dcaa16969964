//! Exports and imports, and mappings.

use crate::{ask, is_nobody, start};

const STREAMS: &str = r#"
accounts {
  A {
    users: [ { user: a, password: a } ]
    exports: [ { stream: "orders.*" }, { stream: "deep.>" }, { stream: "private.>", accounts: [B] }, { stream: "of.*.>", account_token_position: 2 } ]
  }
  B {
    users: [ { user: b, password: b } ]
    imports: [
      { stream: { account: A, subject: "orders.*" } }
      { stream: { account: A, subject: "deep.>" }, prefix: "from.a" }
      { stream: { account: A, subject: "private.x" }, to: "mine" }
      { stream: { account: A, subject: "of.B.>" } }
    ]
  }
  C { users: [ { user: c, password: c } ], imports: [ { stream: { account: A, subject: "orders.*" }, to: "in.$1.new" } ] }
}
"#;

#[test]
fn streams_come_under_the_names_they_were_imported_by() {
    let configured = start(STREAMS);
    let (mut a, mut b, mut c) = (configured.user("a"), configured.user("b"), configured.user("c"));
    b.send("SUB > 1\r\nSUB orders.1 2\r\nSUB from.a.deep.x.> 3\r\nSUB mine 4\r\n");
    c.send("SUB in.7.> 1\r\nSUB orders.* 2\r\nSUB in.* 3\r\n");
    b.sync();
    c.sync();
    for subject in ["orders.1", "orders.7", "deep.x.y", "deep.z", "private.x", "private.y", "of.B.1", "of.C.1", "no"] {
        a.publish(subject, "x");
    }
    a.sync();
    let seen = |messages: Vec<sublog_tests::Message>| {
        let mut seen: Vec<String> = messages.iter().map(|m| format!("{} {}", m.sid, m.subject)).collect();
        seen.sort();
        seen
    };
    assert_eq!(
        seen(b.flush()),
        [
            "1 from.a.deep.x.y",
            "1 from.a.deep.z",
            "1 mine",
            "1 of.B.1",
            "1 orders.1",
            "1 orders.7",
            "2 orders.1",
            "3 from.a.deep.x.y",
            "4 mine"
        ]
    );
    assert_eq!(seen(c.flush()), ["1 in.7.new"]);
    // It is one way only, and ends with the subscription.
    b.publish("orders.1", "back");
    b.sync();
    assert!(a.flush().is_empty());
    b.send("UNSUB 1\r\nUNSUB 2\r\n");
    b.flush();
    a.publish("orders.1", "x");
    a.sync();
    assert!(b.flush().is_empty());
}

#[test]
fn groups_and_limits_of_importers_hold() {
    let configured = start(STREAMS);
    let (mut a, mut b) = (configured.user("a"), configured.user("b"));
    let mut b2 = configured.user("b");
    b.send("SUB orders.* q 1\r\nSUB orders.* 2\r\nUNSUB 2 3\r\n");
    b2.send("SUB orders.* q 1\r\n");
    b.sync();
    b2.sync();
    for _ in 0..10 {
        a.publish("orders.1", "x");
    }
    a.sync();
    let (one, two) = (b.flush(), b2.flush());
    assert_eq!(one.iter().filter(|m| m.sid == "2").count(), 3);
    assert_eq!(one.iter().filter(|m| m.sid == "1").count() + two.len(), 10);
}

const SERVICES: &str = r#"
accounts {
  A {
    users: [ { user: a, password: a } ]
    exports: [ { service: "help.*" }, { service: "many", response_type: stream }, { service: "private", accounts: [B] }, { service: "v.*.*" } ]
  }
  B {
    users: [ { user: b, password: b } ]
    imports: [
      { service: { account: A, subject: "help.*" } }
      { service: { account: A, subject: "many" }, to: "all" }
      { service: { account: A, subject: "private" }, share: true }
      { service: { account: A, subject: "v.*.*" }, to: "w.$2.$1" }
    ]
    exports: [ { service: "help.*" } ]
  }
  C { users: [ { user: c, password: c } ], imports: [ { service: { account: B, subject: "help.*" }, to: "chain.*" } ] }
}
"#;

#[test]
fn services_answer_across_accounts() {
    let configured = start(SERVICES);
    let (mut a, mut b, mut c) = (configured.user("a"), configured.user("b"), configured.user("c"));
    // Nobody is there yet.
    assert!(is_nobody(&ask(&mut b, "help.me", "x")));
    a.send("SUB help.* 1\r\nSUB many 2\r\nSUB private 3\r\nSUB v.> 4\r\n");
    a.sync();
    b.send("SUB _INBOX.> 7\r\nPUB help.me _INBOX.b 2\r\nhi\r\n");
    let request = a.message();
    assert_eq!((request.subject.as_str(), request.text()), ("help.me", "hi"));
    let reply = request.reply.clone().unwrap();
    assert!(reply.starts_with("_R_."), "{reply}");
    let info: serde_json::Value = serde_json::from_str(&request.header("Nats-Request-Info").unwrap()).unwrap();
    assert_eq!(info["acc"], "B");
    assert!(info.get("user").is_none(), "{info}");
    a.publish(&reply, "yes");
    // There is one answer.
    a.publish(&reply, "again");
    a.sync();
    let answers: Vec<String> = b.flush().iter().map(|m| format!("{} {}", m.subject, m.text())).collect();
    assert_eq!(answers, ["_INBOX.b yes"]);
    // Any number of them.
    b.send("PUB all _INBOX.many 0\r\n\r\n");
    let reply = a.message().reply.unwrap();
    (1..=3).for_each(|n| a.publish(&reply, n.to_string()));
    a.sync();
    assert_eq!(b.flush().len(), 3);
    // Who asks is told where that was agreed, and nobody can say it was another.
    let forged = "NATS/1.0\r\nNats-Request-Info: {\"acc\":\"forged\"}\r\n\r\n";
    b.send(format!("HPUB private _INBOX.p {0} {0}\r\n{forged}\r\n", forged.len()));
    let request = a.message();
    let info: serde_json::Value = serde_json::from_str(&request.header("Nats-Request-Info").unwrap()).unwrap();
    assert_eq!((&info["acc"], &info["user"]), (&"B".into(), &"b".into()));
    b.send("PUB w.two.one _INBOX.p 0\r\n\r\n");
    assert_eq!(a.message().subject, "v.one.two");
    // Through two accounts and back.
    c.send("SUB _INBOX.> 1\r\nPUB chain.x _INBOX.c 0\r\n\r\n");
    let request = a.message();
    assert_eq!(request.subject, "help.x");
    a.publish(&request.reply.unwrap(), "far");
    a.sync();
    let answer = c.message();
    assert_eq!((answer.subject.as_str(), answer.text()), ("_INBOX.c", "far"));
    // Nobody else hears a thing.
    assert!(c.flush().is_empty() && a.flush().is_empty());
}

#[test]
fn messages_go_where_mappings_say() {
    let configured = start(
        r#"
mappings { top: over }
authorization { users: [ { user: g, password: g } ] }
accounts { A { users: [ { user: a, password: a } ], mappings {
  foo: bar
  "in.*.*": "out.$2.$1"
  half: [ { destination: h1, weight: 50% }, { destination: h2, weight: 50 } ]
  lossy: [ { destination: lossy, weight: "0%" } ]
  some: [ { destination: other, weight: 40 } ]
} } }
"#,
    );
    let mut a = configured.user("a");
    a.send("SUB > 1\r\nPUB foo 0\r\n\r\nPUB in.x.y 0\r\n\r\nPUB lossy 0\r\n\r\nPUB top 0\r\n\r\n");
    let got: Vec<String> = a.flush().into_iter().map(|m| m.subject).collect();
    assert_eq!(got, ["bar", "out.y.x", "top"]);
    for _ in 0..400 {
        a.send("PUB half 0\r\n\r\nPUB some 0\r\n\r\n");
    }
    let got: Vec<String> = a.flush().into_iter().map(|m| m.subject).collect();
    let count = |subject: &str| got.iter().filter(|one| *one == subject).count();
    assert_eq!((count("h1") + count("h2"), count("other") + count("some")), (400, 400));
    assert!((120..280).contains(&count("h1")) && (100..220).contains(&count("other")), "{}", count("other"));
    let mut g = configured.user("g");
    g.send("SUB > 1\r\nPUB top 0\r\n\r\n");
    assert_eq!(g.message().subject, "over");
}
