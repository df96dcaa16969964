//! What a replay sends: the bytes that were published, and where they stand in the log.

use sublog_tests::{Random, clock};

use crate::{fill, server};

#[test]
fn readers_with_headers_learn_the_position() {
    let server = server(&[]);
    let before = clock::wall();
    fill(&server, "c.a", 3);
    let mut client = server.client();
    client.subscribe("$REPLAY.all.>", "1");
    for (at, message) in client.messages(3).into_iter().enumerate() {
        assert_eq!((message.subject.as_str(), message.sid.as_str(), message.reply.as_deref()), ("c.a", "1", None));
        assert_eq!(message.text(), at.to_string());
        assert_eq!(message.sequence(), at as u64 + 1);
        assert_eq!(message.header("Nats-Stream").as_deref(), Some("CAPTURE"));
        assert_eq!(message.header("Nats-Subject").as_deref(), Some("c.a"));
        assert_eq!(message.status(), None);
        let stamp = message.header("Nats-Time-Stamp").unwrap();
        let seconds = unix_seconds(&stamp);
        assert!((before.as_secs()..=clock::wall().as_secs()).contains(&seconds), "{stamp}");
    }
}

/// Seconds since the epoch of an RFC 3339 time in UTC, by counting days.
fn unix_seconds(stamp: &str) -> u64 {
    assert!(stamp.len() > 20 && stamp.ends_with('Z') && &stamp[10..11] == "T", "{stamp} is not RFC 3339 in UTC");
    let number = |range: std::ops::Range<usize>| stamp[range].parse::<u64>().unwrap();
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let leap = |y: u64| (y.is_multiple_of(4) && !y.is_multiple_of(100)) || y.is_multiple_of(400);
    let mut days: u64 = (1970..year).map(|y| if leap(y) { 366 } else { 365 }).sum();
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    days += lengths[..usize::try_from(month - 1).unwrap()].iter().sum::<u64>() + day - 1;
    days * 86_400 + number(11..13) * 3600 + number(14..16) * 60 + number(17..19)
}

#[test]
fn readers_without_headers_get_the_plain_message() {
    let server = server(&[]);
    let mut publisher = server.client();
    publisher.send("HPUB c.h 18 23\r\nNATS/1.0\r\nK: v\r\n\r\nhello\r\nPUB c.p re.ply 5\r\nplain\r\n");
    publisher.sync();
    let mut old = server.raw();
    old.hello(sublog_tests::client::CONNECT_OLD);
    old.subscribe("$REPLAY.all.c.*", "9");
    let seen = old.messages(2);
    assert_eq!((seen[0].text(), seen[1].text()), ("hello", "plain"));
    assert!(seen.iter().all(|m| m.headers.is_none() && m.reply.is_none()), "{seen:?}");
}

#[test]
fn headers_of_the_publisher_are_kept_behind_the_position() {
    let server = server(&[]);
    let mut client = server.client();
    let block = "NATS/1.0\r\nNats-Sequence: 999\r\nOwn: a\r\nown: b\r\n\r\n";
    client.send(format!("HPUB c.h {} {}\r\n{block}hello\r\n", block.len(), block.len() + 5));
    client.subscribe("$REPLAY.all.c.>", "1");
    let message = client.message();
    assert_eq!((message.sequence(), message.text()), (1, "hello"));
    assert_eq!((message.header("Own").as_deref(), message.header("own").as_deref()), (Some("a"), Some("b")));
    // A block that is no header block must not turn into one, nor break the reader.
    for odd in ["garbage\r\n\r\n", "NATS/1.0 404 Gone\r\n\r\n", "no line end"] {
        client.send(format!("HPUB c.odd {} {}\r\n{odd}hello\r\n", odd.len(), odd.len() + 5));
        let message = client.message();
        assert_eq!(message.text(), "hello", "after {odd:?}");
    }
}

#[test]
fn payloads_of_every_size_come_back_byte_for_byte() {
    let server = server(&[]);
    let mut random = Random::new(3);
    let sizes = [0, 1, 2, 511, 512, 513, 4095, 4096, 4097, 65_535, 65_536, 65_537, 262_144, 1_000_000, 1 << 20];
    let payloads: Vec<Vec<u8>> = sizes.iter().chain(&sizes).map(|len| random.bytes(*len)).collect();
    let mut publisher = server.client();
    for payload in &payloads {
        publisher.publish("size", payload);
    }
    publisher.sync();
    for connect in [sublog_tests::client::CONNECT, sublog_tests::client::CONNECT_OLD] {
        let mut reader = server.raw();
        reader.hello(connect);
        reader.subscribe("$REPLAY.all.size", "1");
        for payload in &payloads {
            let message = reader.message();
            assert!(message.payload == *payload, "{} bytes came back as {}", payload.len(), message.payload.len());
        }
    }
}

#[test]
fn system_subjects_and_inboxes_are_not_recorded() {
    let server = server(&[]);
    let mut client = server.client();
    for subject in ["$SYS.x", "$JS.API.INFO", "$REPLAY.all.a", "_INBOX.abc.1", "_x", "a", "a$b", "a._b", "b.$c"] {
        client.publish(subject, subject);
    }
    client.subscribe("$REPLAY.all.>", "1");
    let seen: Vec<String> = client.messages(4).into_iter().map(|m| m.subject).collect();
    assert_eq!(seen, ["a", "a$b", "a._b", "b.$c"]);
    client.expect_nothing();
}

#[test]
fn the_log_outlives_the_server() {
    let mut server = server(&[]);
    fill(&server, "c.a", 100);
    server.stop();
    server.restart();
    fill(&server, "c.a", 100);
    server.kill9();
    server.restart();
    fill(&server, "c.a", 100);
    let mut client = server.client();
    client.subscribe("$REPLAY.all.c.a", "1");
    for (at, message) in client.messages(300).iter().enumerate() {
        assert_eq!((message.sequence(), message.text()), (at as u64 + 1, (at % 100).to_string().as_str()));
    }
}
