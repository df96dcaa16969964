//! One client must not cost the others: not their turn, not the server's memory, not its descriptors.

use std::time::Duration;

use sublog_tests::{RawClient, Seen, clock};

use crate::server;

const MIB: u64 = 1024 * 1024;

#[test]
fn who_stops_sending_still_gets_the_answers() {
    for args in [&["--capture", "off"][..], &["--sync", "always"]] {
        let server = server(args);
        for _ in 0..20 {
            let mut client = server.client();
            let mut bytes = b"PUB half.closed 2\r\nhi\r\n".repeat(50);
            bytes.extend_from_slice(b"PING\r\n");
            client.send(bytes);
            client.finish_sending();
            assert_eq!(client.next(), Seen::Pong, "with {args:?}");
            client.expect_closed();
        }
    }
}

#[test]
fn a_slow_consumer_sees_the_end_although_its_publisher_fell_silent() {
    let server = server(&["--max_pending", "1MiB", "--capture", "off"]);
    let mut slow = server.client();
    slow.subscribe("flood", "1");
    slow.sync();
    let mut publisher = server.client();
    let payload = vec![b'x'; 64 * 1024];
    for _ in 0..400 {
        publisher.publish("flood", &payload);
    }
    publisher.sync();
    // From here on nobody touches the slow client's connection but itself.
    let seen = std::iter::from_fn(|| match slow.next() {
        Seen::Message(_) => Some(()),
        Seen::Closed => None,
        other => panic!("{other:?} instead of the end"),
    });
    assert!(seen.count() < 400);
    publisher.sync();
}

#[test]
fn a_silent_publisher_holds_no_descriptors_of_those_who_left() {
    let server = server(&["--capture", "off"]);
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    let mut publisher = server.client();
    publisher.sync();
    let before = descriptors();
    let mut readers: Vec<RawClient> = (0..200).map(|_| server.client()).collect();
    for reader in &mut readers {
        reader.subscribe("once", "1");
        reader.sync();
    }
    publisher.publish("once", "x");
    publisher.sync();
    drop(readers);
    clock::until("descriptors back where they were", || (descriptors() <= before).then_some(()));
}

#[test]
fn clients_that_fell_silent_hold_no_buffers() {
    const CLIENTS: u64 = 200;
    let server = server(&["--capture", "off"]);
    let payload = vec![b'x'; 1_000_000];
    let before = server.resident_bytes();
    let mut clients: Vec<RawClient> = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = server.client();
        client.publish("large", &payload);
        client.sync();
        clients.push(client);
    }
    let held = || server.resident_bytes().saturating_sub(before);
    clock::until("memory given back", || (held() < CLIENTS * MIB / 8).then_some(()));
}

#[test]
fn nothing_but_connect_is_buffered_before_authentication() {
    let server = server(&["--user", "u", "--pass", "p"]);
    let mut stranger = RawClient::connect(server.address());
    stranger.send("PUB a 1048576\r\nxxxx");
    stranger.expect_err("Authorization Violation");
    stranger.expect_closed();
}

#[test]
fn a_client_with_much_to_do_does_not_stop_the_others() {
    let server = server(&["--capture", "off"]);
    let mut bystander = server.client();
    bystander.sync();
    let mut heavy = server.client();
    let subscriptions: String = (0..20_000).map(|n| format!("SUB busy q{n} {n}\r\n")).collect();
    heavy.send(subscriptions);
    heavy.sync();
    // Each of these goes to twenty thousand groups; the deliveries come back to the one that sends.
    heavy.send("PUB busy 0\r\n\r\n".repeat(100));
    let mut worst = Duration::ZERO;
    for _ in 0..200 {
        let begun = clock::now();
        bystander.sync();
        worst = worst.max(clock::now().duration_since(begun));
    }
    assert!(worst < Duration::from_secs(1), "a PING took {worst:?}");
}
