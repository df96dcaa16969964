//! Bounds of an account.

use crate::{hello, start};

#[test]
fn connections_subscriptions_and_payloads_are_bounded() {
    let configured = start(
        r#"accounts { A { users: [ { user: a, password: a } ], limits { max_connections: 2, max_subscriptions: 1, max_payload: 4 } },
                      B { users: [ { user: b, password: b } ] } }"#,
    );
    let (mut one, two) = (configured.user("a"), configured.user("a"));
    let mut three = configured.server.raw();
    three.send(format!("CONNECT {}\r\nPING\r\n", hello("a")));
    three.expect_err("maximum account active connections exceeded");
    three.expect_closed();
    one.send("SUB x 1\r\nSUB y 2\r\n");
    one.expect_err("maximum subscriptions exceeded");
    configured.user("b").send("SUB x 1\r\nSUB y 2\r\nPUB x 5\r\n12345\r\n");
    one.send("PUB x 5\r\n12345\r\n");
    one.expect_err("Maximum Payload Violation");
    one.expect_closed();
    drop(two);
    // There is room again.
    sublog_tests::clock::until("room", || {
        let mut again = configured.server.raw();
        again.send(format!("CONNECT {}\r\nPING\r\n", hello("a")));
        matches!(again.next(), sublog_tests::Seen::Pong).then_some(())
    });
}
