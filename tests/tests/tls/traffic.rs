//! Messages over encrypted connections: order, size, pace, and the end.

use std::time::Duration;

use sublog_tests::client::CONNECT;
use sublog_tests::{RawClient, Seen, clock};

use crate::support::{Secure, TLS12, connect};

#[test]
fn many_publishers_to_readers_of_both_kinds() {
    const PUBLISHERS: usize = 4;
    // Less in all than may wait for a reader, so that a slow machine cuts none of them off.
    const COUNT: usize = 300;
    let secure = Secure::start("timeout: 10", "allow_non_tls: true\nwrite_deadline: '100s'");
    let mut readers = [secure.client(), secure.client(), secure.server.client()];
    for reader in &mut readers {
        reader.subscribe("m.*", "1");
        reader.sync();
    }
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let mut client = if publisher == 0 { secure.server.client() } else { secure.client() };
            std::thread::spawn(move || {
                for n in 0..COUNT {
                    // Of every size around those of records and pieces.
                    let mut payload = format!("{n} ").into_bytes();
                    payload.resize(payload.len() + n * 37 % 70_000, b'x');
                    client.publish(&format!("m.{publisher}"), payload);
                }
                client.sync();
            })
        })
        .collect();
    std::thread::scope(|scope| {
        for reader in &mut readers {
            scope.spawn(move || {
                let mut next = [0_usize; PUBLISHERS];
                for _ in 0..PUBLISHERS * COUNT {
                    let message = reader.message();
                    let publisher: usize = message.subject[2..].parse().unwrap();
                    let n = next[publisher];
                    next[publisher] += 1;
                    let (number, filler) = message.text().split_once(' ').unwrap();
                    assert_eq!((number, filler.len()), (n.to_string().as_str(), n * 37 % 70_000));
                }
            });
        }
    });
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
}

#[test]
fn the_largest_message() {
    let secure = Secure::start("", "");
    let mut client = connect(secure.address(), secure.config_of(TLS12, None)).unwrap();
    client.hello(CONNECT);
    client.subscribe("big", "1");
    let payload: Vec<u8> = (0..1024 * 1024).map(|n: usize| (n % 251) as u8).collect();
    for _ in 0..20 {
        client.publish("big", &payload);
        assert!(client.message().payload == payload);
    }
    client.publish("big", vec![0; payload.len() + 1]);
    client.expect_err("Maximum Payload Violation");
    client.expect_closed();
}

#[test]
fn who_does_not_read_is_cut_off() {
    const COUNT: usize = 1000;
    let mut secure = Secure::start("", "max_pending: 1MiB\nsublog { capture: false }\nhttp: '127.0.0.1:-1'");
    let (mut slow, mut healthy) = (secure.client(), secure.client());
    for client in [&mut slow, &mut healthy] {
        client.subscribe("flood", "1");
        client.sync();
    }
    let mut publisher = secure.client();
    for n in 0..COUNT {
        // At the pace of the one that reads.
        publisher.publish("flood", format!("{n:032768}"));
        assert_eq!(healthy.message().text().parse::<usize>().unwrap(), n);
    }
    secure.server.log_line("Slow Consumer (Pending Bytes)");
    let mut seen = 0;
    loop {
        match slow.next() {
            Seen::Message(message) => assert_eq!(message.text().parse::<usize>().unwrap(), seen),
            Seen::Closed => break,
            other => panic!("{other:?}"),
        }
        seen += 1;
    }
    assert!(seen < COUNT);
}

#[test]
fn who_takes_nothing_in_time_is_cut_off() {
    let mut secure = Secure::start("", "write_deadline: '300ms'\nsublog { capture: false }");
    let mut slow = secure.client();
    slow.subscribe("flood", "1");
    slow.sync();
    let mut publisher = secure.client();
    for _ in 0..400 {
        publisher.publish("flood", vec![b'x'; 32 * 1024]);
    }
    publisher.sync();
    secure.server.log_line("Slow Consumer (Write Deadline)");
}

#[test]
fn a_replay_waits_for_its_reader() {
    const COUNT: usize = 400;
    let secure = Secure::start("", "write_deadline: '200ms'\nmax_pending: 1MiB\nhttp: '127.0.0.1:-1'");
    let mut publisher = secure.client();
    for n in 0..COUNT {
        publisher.publish(&format!("pause.{n}"), vec![b'x'; 50_000]);
    }
    publisher.sync();
    let mut readers: Vec<RawClient> = (0..5).map(|_| secure.client()).collect();
    for reader in &mut readers {
        reader.subscribe("$REPLAY.all.pause.*", "1");
        assert_eq!(reader.message().subject, "pause.0");
    }
    let before = secure.server.resident_bytes();
    std::thread::sleep(Duration::from_millis(800));
    let grown = secure.server.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "five paused replays of 20 MB hold {grown} bytes");
    publisher.publish("pause.live", "x");
    for reader in &mut readers {
        for n in 1..COUNT {
            let message = reader.message();
            assert_eq!((message.subject, message.payload.len()), (format!("pause.{n}"), 50_000));
        }
        assert_eq!(reader.message().subject, "pause.live");
    }
    assert_eq!(secure.server.monitor("/varz")["slow_consumers"], 0);
}

#[test]
fn what_was_sent_before_the_end_counts_and_is_answered() {
    let secure = Secure::start("", "");
    let mut reader = secure.client();
    reader.subscribe("last", "1");
    reader.sync();
    // Without the words that end a session, as many clients go.
    let mut client = secure.client();
    client.send("PUB last 1\r\na\r\nPING\r\n");
    client.finish_sending();
    assert_eq!(client.next(), Seen::Pong);
    client.expect_closed();
    assert_eq!(reader.message().text(), "a");
    let mut client = secure.client();
    client.send("PUB last 1\r\nb\r\n");
    drop(client);
    assert_eq!(reader.message().text(), "b");
}

#[test]
fn idle_connections_hold_little() {
    const COUNT: usize = 200;
    let secure = Secure::start("", "http: '127.0.0.1:-1'");
    let mut clients: Vec<RawClient> = (0..20).map(|_| secure.client()).collect();
    let before = secure.server.resident_bytes();
    clients.extend((0..COUNT).map(|_| secure.client()));
    for client in &mut clients {
        client.publish("a", vec![b'x'; 100_000]);
        client.sync();
    }
    clock::until("calm", || {
        let each = secure.server.resident_bytes().saturating_sub(before) / COUNT as u64;
        (each < 64 * 1024).then_some(())
    });
}
