//! A replay goes as fast as its reader, and no faster; many of them share.

use std::time::Duration;

use sublog_tests::{Seen, clock};

use crate::{fill, server};

#[test]
fn a_reader_that_pauses_is_not_a_slow_consumer() {
    const COUNT: usize = 600;
    let server = server(&["--write_deadline", "200ms", "--max_pending", "1MiB", "-m", "-1"]);
    let mut publisher = server.client();
    let payload = vec![b'x'; 50_000];
    for n in 0..COUNT {
        publisher.publish(&format!("pause.{n}"), &payload);
    }
    publisher.sync();
    let before = server.resident_bytes();
    let mut readers: Vec<_> = (0..10)
        .map(|_| {
            let mut reader = server.client();
            reader.subscribe("$REPLAY.all.pause.*", "1");
            assert_eq!(reader.message().subject, "pause.0");
            reader
        })
        .collect();
    // Longer than several write deadlines: the pause is what is tested.
    std::thread::sleep(Duration::from_millis(1200));
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "ten paused replays of 30 MB hold {grown} bytes");
    publisher.publish("pause.live", "x");
    for reader in &mut readers {
        for n in 1..COUNT {
            let message = reader.message();
            assert_eq!((message.subject, message.payload.len()), (format!("pause.{n}"), payload.len()));
        }
        assert_eq!(reader.message().subject, "pause.live");
    }
    assert_eq!(server.monitor("/varz")["slow_consumers"], 0);
}

#[test]
fn more_than_a_thousand_replays_at_once() {
    const REPLAYS: usize = 1200;
    const PER_CONNECTION: usize = 40;
    const COUNT: usize = 200;
    let server = server(&["-m", "-1"]);
    fill(&server, "many.a", COUNT);
    let mut clients: Vec<_> = (0..REPLAYS / PER_CONNECTION).map(|_| server.client()).collect();
    for client in &mut clients {
        for sid in 0..PER_CONNECTION {
            client.subscribe("$REPLAY.all.many.*", &sid.to_string());
        }
    }
    clock::until("start of all replays", || (server.monitor("/varz")["sublog"]["replays"] == REPLAYS).then_some(()));
    // They follow live as well.
    fill(&server, "many.a", 10);
    for client in &mut clients {
        let mut next = [0_usize; PER_CONNECTION];
        for _ in 0..PER_CONNECTION * (COUNT + 10) {
            let message = client.message();
            let sid: usize = message.sid.parse().unwrap();
            next[sid] += 1;
            assert_eq!(message.sequence(), next[sid] as u64);
        }
        client.expect_nothing();
    }
}

#[test]
fn live_delivery_goes_on_beside_replays() {
    let server = server(&[]);
    let mut publisher = server.client();
    for n in 0..2000 {
        publisher.publish(&format!("old.{n}"), vec![b'o'; 10_000]);
    }
    publisher.sync();
    let mut readers: Vec<_> = (0..20)
        .map(|_| {
            let mut reader = server.client();
            reader.subscribe("$REPLAY.all.old.>", "1");
            reader
        })
        .collect();
    let mut live = server.client();
    live.subscribe("live", "1");
    live.sync();
    for n in 0..50 {
        publisher.publish("live", n.to_string());
        assert_eq!(live.message().text(), n.to_string());
    }
    for reader in &mut readers {
        assert_eq!(reader.messages(2000).last().unwrap().subject, "old.1999");
    }
}

#[test]
fn the_end_of_history_is_told_to_those_who_ask() {
    let server = server(&[]);
    fill(&server, "s.a", 5);
    fill(&server, "s.b", 5);
    let mut client = server.raw();
    client.hello(r#"{"verbose":false,"headers":true,"sublog_replay_status":true}"#);
    client.subscribe("$REPLAY.all.s.a", "1");
    let seen = client.messages(6);
    assert!(seen[..5].iter().all(|m| m.subject == "s.a"));
    assert_eq!((seen[5].status(), seen[5].subject.as_str()), (Some(204), "$REPLAY.all.s.a"));
    assert_eq!(seen[5].sequence(), 10);
    fill(&server, "s.a", 1);
    assert!(matches!(client.next(), Seen::Message(m) if m.sequence() == 11));
    client.expect_nothing();
    // Also where nothing matches, and where there is no history.
    client.subscribe("$REPLAY.all.s.none", "2");
    assert_eq!(client.message().status(), Some(204));
    client.subscribe("$REPLAY.seq.500.s.a", "3");
    assert_eq!(client.message().status(), Some(204));
}

#[test]
fn a_long_sync_interval_does_not_delay_replays() {
    let mut server = server(&["--sync", "interval:1h"]);
    let mut reader = server.client();
    reader.subscribe("$REPLAY.all.slow.>", "1");
    reader.sync();
    let mut publisher = server.client();
    publisher.publish("slow.first", "0");
    publisher.sync();
    assert_eq!(reader.message().text(), "0");
    // Nobody flushes from here on: each must be written, and so readable, within the gathering time.
    for n in 1..=20 {
        publisher.publish("slow.next", n.to_string());
        assert_eq!(reader.message().text(), n.to_string());
    }
    // What was written survives the process, synced or not.
    server.kill9();
    server.restart();
    let mut reader = server.client();
    reader.subscribe("$REPLAY.all.slow.>", "1");
    assert_eq!(reader.messages(21).last().unwrap().text(), "20");
}
