//! HUP: users that are gone, other passwords, other permissions.

use crate::{answer, start};

const BEFORE: &str = r#"authorization { users: [
  { user: same, password: samep }
  { user: gone, password: gonep }
  { user: pass, password: passp }
  { user: less, password: lessp, permissions { publish: "x", subscribe: ["foo.*", "keep"] } }
  { user: more, password: morep, permissions { publish: "x" } }
] }"#;

#[test]
fn users_take_effect_and_connections_that_may_not_be_are_closed() {
    let mut configured = start(BEFORE);
    let mut clients: Vec<_> = ["same", "gone", "pass", "less", "more"].map(|name| configured.user(name)).into();
    clients[3].send("SUB foo.* 1\r\nSUB foo.a q 2\r\nSUB keep 3\r\nPUB x 1\r\na\r\n");
    clients[4].send("PUB y 1\r\na\r\n");
    assert_eq!(clients[4].flush_with_errors().1, ["Permissions Violation for Publish to \"y\""]);
    clients.iter_mut().for_each(|client| client.sync());
    let hash = bcrypt::hash("samep", 4).unwrap();
    configured.reload(
        &BEFORE
            .replace("user: gone", "user: new")
            .replace("passp", "other")
            .replace("password: samep", &format!("password: '{hash}'"))
            .replace("\"foo.*\"", "\"foo.b\"")
            .replace("\"x\" }", "\"y\" }"),
    );
    let [same, gone, pass, less, more] = clients.as_mut_slice() else { panic!() };
    // The password is the same one, however it is written down.
    same.expect_nothing();
    gone.expect_closed();
    pass.expect_err("Authorization Violation");
    pass.expect_closed();
    let mut told = vec![format!("{:?}", less.next()), format!("{:?}", less.next())];
    told.sort();
    assert_eq!(
        told,
        [
            r#"Err("Permissions Violation for Subscription to \"foo.*\" (sid \"1\")")"#,
            r#"Err("Permissions Violation for Subscription to \"foo.a\" using queue \"q\" (sid \"2\")")"#,
        ]
    );
    more.send("PUB y 1\r\na\r\nPUB x 1\r\nb\r\n");
    assert_eq!(more.flush_with_errors().1, ["Permissions Violation for Publish to \"x\""]);
    same.send("PUB foo.a 1\r\na\r\nPUB keep 1\r\nb\r\n");
    same.sync();
    assert_eq!(less.flush().iter().map(|m| m.sid.as_str()).collect::<Vec<_>>(), ["3"]);
    for (name, password, expected) in [
        ("gone", "gonep", "Authorization Violation"),
        ("pass", "passp", "Authorization Violation"),
        ("pass", "other", "PONG"),
        ("same", "samep", "PONG"),
    ] {
        let connect = format!(r#"{{"verbose":false,"user":"{name}","pass":"{password}"}}"#);
        assert_eq!(answer(&configured.server, &connect), expected, "{name}");
    }
}

/// A hash whose password was right before the reload does not open the door to one that was changed.
#[test]
fn a_password_that_was_right_is_not_remembered_over_a_reload() {
    let text = |password: &str| {
        format!("authorization {{ users: [ {{ user: u, password: '{}' }} ] }}", bcrypt::hash(password, 4).unwrap())
    };
    let connect = |password: &str| format!(r#"{{"verbose":false,"user":"u","pass":"{password}"}}"#);
    let mut configured = start(&text("one"));
    let mut client = configured.server.raw();
    client.hello(&connect("one"));
    configured.reload(&text("two"));
    client.expect_err("Authorization Violation");
    client.expect_closed();
    assert_eq!(answer(&configured.server, &connect("one")), "Authorization Violation");
    assert_eq!(answer(&configured.server, &connect("two")), "PONG");
}

#[test]
fn from_a_server_for_everybody_to_one_with_users_and_back() {
    let mut configured = start("debug: false");
    let mut stranger = configured.server.client();
    let mut silent = configured.server.raw();
    silent.send("SUB a 1\r\n");
    assert_eq!(format!("{:?}", silent.next()), "Ok");
    let mut named = configured.server.raw();
    named.hello(r#"{"verbose":false,"user":"u","pass":"up"}"#);
    let users = "authorization { users: [ { user: u, password: up }, { user: open, permissions { publish: x } } ] }";
    configured.reload(users);
    for client in [&mut stranger, &mut silent] {
        client.expect_err("Authorization Violation");
        client.expect_closed();
    }
    named.expect_nothing();
    configured.reload(&format!("{users}\nno_auth_user: open"));
    let mut nobody = configured.server.client();
    nobody.send("PUB y 1\r\na\r\n");
    assert_eq!(nobody.flush_with_errors().1, ["Permissions Violation for Publish to \"y\""]);
    configured.reload("debug: false");
    nobody.send("PUB y 1\r\na\r\n");
    nobody.expect_nothing();
    named.expect_nothing();
}
