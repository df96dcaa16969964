//! HUP: accounts that come, go and take other things from each other.

use crate::{hello, start};

const BEFORE: &str = r#"
jetstream: enabled
accounts {
  A { users: [ { user: a, password: a } ], exports: [ { stream: "x.>" } ] }
  B { users: [ { user: b, password: b } ] }
}
"#;

#[test]
fn accounts_and_links_change_while_clients_stay() {
    let mut configured = start(BEFORE);
    let (mut a, mut b) = (configured.user("a"), configured.user("b"));
    b.send("SUB x.> 1\r\nSUB new 2\r\n");
    b.sync();
    a.publish("x.1", "before");
    a.sync();
    assert!(b.flush().is_empty());
    let linked =
        BEFORE.replace("password: b } ]", "password: b } ], imports: [ { stream: { account: A, subject: \"x.>\" } } ]");
    configured.reload(&linked.replace("jetstream: enabled\n", "jetstream: enabled\n#\n"));
    sublog_tests::clock::until("the link", || {
        a.publish("x.2", "linked");
        a.sync();
        (!b.flush().is_empty()).then_some(())
    });
    // A whole configuration or none of it: this one contradicts itself.
    configured
        .reload_until(&linked.replace("exports: [ { stream: \"x.>\" } ]", ""), "ailed to reload server configuration");
    a.publish("x.3", "still");
    a.sync();
    assert_eq!(b.message().text(), "still");
    configured.reload(BEFORE);
    sublog_tests::clock::until("the end of the link", || {
        b.flush();
        a.publish("x.4", "gone");
        a.sync();
        b.flush().is_empty().then_some(())
    });
    // Who is in another account now comes again and finds itself there.
    configured.reload(
        &BEFORE
            .replace("user: b, password: b", "user: c, password: c")
            .replace("user: a, password: a }", "user: a, password: a }, { user: b, password: b }"),
    );
    b.expect_closed();
    let mut b = configured.user("b");
    b.send("SUB x.> 1\r\n");
    b.sync();
    a.publish("x.5", "home");
    a.sync();
    assert_eq!(b.message().text(), "home");
    configured.user("c").sync();
}

#[test]
fn an_account_with_streams_stays() {
    let with = BEFORE.replace("A { users", "A { jetstream: enabled, users");
    let mut configured = start(BEFORE);
    configured.reload(&with);
    let mut a = configured.user("a");
    let made = crate::ask(&mut a, "$JS.API.STREAM.CREATE.S", r#"{"name":"S","subjects":["s"]}"#);
    assert!(made.text().contains("did_create"), "{}", made.text());
    configured.reload_until(BEFORE, "has streams, which cannot go without a restart");
    assert!(crate::ask(&mut a, "$JS.API.STREAM.INFO.S", "").text().contains("\"messages\":0"));
    let _ = hello("a");
}
