//! Bounds on what a client may send, hold and be.

use sublog_tests::{Random, Seen, clock};

use crate::server;

#[test]
fn a_message_above_max_payload_is_refused_before_it_is_sent() {
    let server = server(&["--max_payload", "1000", "-m", "-1"]);
    let mut client = server.client();
    assert_eq!(client.info["max_payload"], 1000);
    client.send("SUB a 1\r\n");
    client.publish("a", vec![b'x'; 1000]);
    assert_eq!(client.message().payload.len(), 1000);
    client.send("PUB a 1001\r\n");
    client.expect_err("Maximum Payload Violation");
    client.expect_closed();

    let mut client = server.client();
    client.send("HPUB a 12 1001\r\n");
    client.expect_err("Maximum Payload Violation");
    client.expect_closed();
}

#[test]
fn the_default_takes_a_mebibyte_and_delivers_it_whole() {
    let server = server(&[]);
    let mut random = Random::new(1);
    let (mut publisher, mut subscriber) = (server.client(), server.client());
    subscriber.send("SUB big.* 1\r\n");
    subscriber.sync();
    for len in [1 << 20, (1 << 20) - 1, 65_536, 65_535, 4096, 511, 512, 513, 1, 0] {
        let payload = random.bytes(len);
        publisher.publish(&format!("big.{len}"), &payload);
        let message = subscriber.message();
        assert_eq!(message.subject, format!("big.{len}"));
        assert!(message.payload == payload, "{len} bytes came out different");
    }
    publisher.send("PUB a 1048577\r\n");
    publisher.expect_err("Maximum Payload Violation");
    publisher.expect_closed();
}

#[test]
fn control_lines_have_a_longest() {
    let server = server(&["--max_control_line", "1KiB"]);
    let mut client = server.client();
    client.send(format!("SUB {} 1\r\nPUB {} 1\r\nx\r\n", "s".repeat(1000), "s".repeat(1000)));
    assert_eq!(client.message().subject.len(), 1000);
    client.send(format!("PUB {} 1\r\nx\r\n", "s".repeat(1100)));
    client.expect_err("maximum control line exceeded");
    client.expect_closed();
    // The line need not end for the server to have enough of it.
    let mut client = server.client();
    client.send(format!("PUB {}", "s".repeat(1100)));
    client.expect_err("maximum control line exceeded");
    client.expect_closed();
}

#[test]
fn connections_have_a_maximum() {
    let server = server(&["--max_connections", "2"]);
    let first = server.client();
    let mut second = server.client();
    let mut third = server.raw();
    third.expect_err("maximum connections exceeded");
    third.expect_closed();
    drop(first);
    clock::until("room for another connection", || {
        let mut client = server.raw();
        client.try_hello(sublog_tests::client::CONNECT).ok()
    });
    second.expect_nothing();
}

#[test]
fn subscriptions_have_a_maximum_and_the_connection_goes_on() {
    let server = server(&["--max_subscriptions", "2"]);
    let mut client = server.client();
    client.send("SUB a 1\r\nSUB b 2\r\nSUB c 3\r\n");
    client.expect_err("maximum subscriptions exceeded");
    client.send("PUB c 1\r\nx\r\nPUB a 1\r\ny\r\n");
    assert_eq!(client.message().text(), "y");
    client.send("UNSUB 1\r\nSUB c 3\r\nPUB c 1\r\nz\r\n");
    assert_eq!(client.message().text(), "z");
    // One that has used itself up leaves its place as well.
    client.send("UNSUB 2 1\r\nPUB b 1\r\n1\r\nSUB d 4\r\nPUB d 1\r\n2\r\n");
    assert_eq!((client.message().text(), client.message().text()), ("1", "2"));
}

#[test]
fn a_message_announced_and_never_sent_costs_no_memory() {
    let server = server(&["--max_payload", "64MiB"]);
    server.client().expect_nothing();
    let before = server.resident_bytes();
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let mut client = server.client();
            client.send(format!("PUB a {}\r\nx", 60 << 20));
            client
        })
        .collect();
    // Each of them has been read once this one, which came later, is answered.
    server.client().expect_nothing();
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{} clients cost {grown} bytes", clients.len());
    drop(clients);
}

#[test]
fn an_unknown_client_cannot_make_the_server_fall() {
    let server = server(&[]);
    let mut random = Random::new(20_260_101);
    for round in 0..300 {
        let mut client = server.raw();
        let len = usize::try_from(random.between(1, 3000)).unwrap();
        let mut bytes = random.bytes(len);
        if round % 2 == 0 {
            // Near to what is right gets further in.
            let mut near = b"CONNECT {\"verbose\":false}\r\nSUB a.> 1\r\nPUB a.b 5\r\nhello\r\nHPUB a 12 13\r\nNATS/1.0\r\n\r\nx\r\n".to_vec();
            let at = usize::try_from(random.below(near.len() as u64)).unwrap();
            near[at] = bytes[0];
            bytes = near;
        }
        // It may have hung up in the middle.
        let _ = client.try_send(&bytes);
    }
    let mut client = server.client();
    client.send("SUB sane 1\r\nPUB sane 1\r\nx\r\n");
    assert!(matches!(client.next(), Seen::Message(_)));
}
