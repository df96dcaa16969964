//! Subscriptions that begin, end by count, end at once, and come again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sublog_tests::{RawClient, clock};

use crate::server;

#[test]
fn unsub_ends_deliveries() {
    let server = server(&[]);
    let mut client = server.client();
    client.send("SUB a 1\r\nPUB a 1\r\nx\r\nUNSUB 1\r\nPUB a 1\r\ny\r\n");
    assert_eq!(client.message().text(), "x");
    client.expect_nothing();
    // Ending what is not there changes nothing.
    client.send("UNSUB 1\r\nUNSUB 99\r\nUNSUB 99 5\r\n");
    client.expect_nothing();
}

#[test]
fn a_sid_can_be_used_again() {
    let server = server(&[]);
    let mut client = server.client();
    client.send("SUB a 1\r\nUNSUB 1\r\nSUB b 1\r\nPUB a 1\r\nx\r\nPUB b 1\r\ny\r\n");
    assert_eq!(client.message().text(), "y");
    client.expect_nothing();
    // Also after it was used up.
    client.send("UNSUB 1\r\nSUB c 1\r\nUNSUB 1 1\r\nPUB c 1\r\n1\r\nPUB c 1\r\n2\r\nSUB d 1\r\nPUB d 1\r\n3\r\nPUB d 1\r\n4\r\n");
    let texts: Vec<String> = client.flush().iter().map(|m| m.text().to_owned()).collect();
    assert_eq!(texts, ["1", "3", "4"]);
}

#[test]
fn a_sid_in_use_is_not_given_away() {
    let server = server(&[]);
    let mut client = server.client();
    client.send("SUB a 1\r\nSUB b 1\r\nPUB a 1\r\nx\r\nPUB b 1\r\ny\r\n");
    let texts: Vec<String> = client.flush().iter().map(|m| m.text().to_owned()).collect();
    assert_eq!(texts, ["x"]);
}

#[test]
fn auto_unsubscribe_counts_from_the_subscription() {
    let server = server(&["-m", "-1"]);
    let mut client = server.client();
    client.send("SUB a 1\r\nPUB a 1\r\n1\r\nPUB a 1\r\n2\r\nUNSUB 1 3\r\nPUB a 1\r\n3\r\nPUB a 1\r\n4\r\n");
    assert_eq!(client.flush().len(), 3);
    // The limit is already reached: it ends at once.
    client.send("SUB b 2\r\nPUB b 1\r\n1\r\nPUB b 1\r\n2\r\nUNSUB 2 2\r\nPUB b 1\r\n3\r\n");
    assert_eq!(client.flush().len(), 2);
    // In a queue group too.
    client.send("SUB c q 3\r\nUNSUB 3 2\r\nPUB c 1\r\n1\r\nPUB c 1\r\n2\r\nPUB c 1\r\n3\r\n");
    assert_eq!(client.flush().len(), 2);
    clock::until("end of all subscriptions in varz", || (server.monitor("/varz")["subscriptions"] == 0).then_some(()));
}

#[test]
fn auto_unsubscribe_is_exact_with_many_publishers() {
    const LIMIT: usize = 500;
    let server = server(&[]);
    for queue in ["", "crew "] {
        let mut subscriber = server.client();
        subscriber.send(format!("SUB race.> {queue}1\r\nUNSUB 1 {LIMIT}\r\n"));
        subscriber.sync();
        let address = server.address();
        let threads: Vec<_> = (0..4)
            .map(|n| {
                std::thread::spawn(move || {
                    let mut client = RawClient::connect(address);
                    client.hello(sublog_tests::client::CONNECT);
                    for _ in 0..LIMIT {
                        client.publish(&format!("race.{n}"), "x");
                    }
                    client.sync();
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(subscriber.flush().len(), LIMIT);
    }
}

#[test]
fn subscriptions_come_and_go_under_load() {
    let server = server(&[]);
    let address = server.address();
    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..2)
        .map(|n| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let mut client = RawClient::connect(address);
                client.hello(sublog_tests::client::CONNECT);
                let mut sent = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..20 {
                        client.publish(&format!("load.{n}"), sent.to_string());
                        sent += 1;
                    }
                    client.sync();
                }
            })
        })
        .collect();
    let mut subscriber = server.client();
    for round in 0..200 {
        subscriber.subscribe("load.*", &round.to_string());
        let first = subscriber.message();
        assert_eq!(first.sid, round.to_string());
        subscriber.send(format!("UNSUB {round}\r\n"));
        // What comes up to here was under way; each publisher's messages have no holes.
        let mut last = std::collections::HashMap::new();
        for message in std::iter::once(first).chain(subscriber.flush()) {
            assert_eq!(message.sid, round.to_string());
            let n: u64 = message.text().parse().unwrap();
            if let Some(before) = last.insert(message.subject.clone(), n) {
                assert_eq!(n, before + 1, "{}", message.subject);
            }
        }
        subscriber.expect_nothing();
    }
    stop.store(true, Ordering::Relaxed);
    publishers.into_iter().for_each(|p| p.join().unwrap());
}

#[test]
fn what_a_client_held_is_let_go_when_it_leaves() {
    let server = server(&["-m", "-1"]);
    let mut publisher = server.client();
    for _ in 0..3 {
        let mut leaving = server.client();
        for sid in 0..500 {
            leaving.subscribe(&format!("held.{sid}"), &sid.to_string());
        }
        leaving.sync();
        assert_eq!(server.monitor("/varz")["subscriptions"], 500);
        drop(leaving);
        clock::until("end of a client's subscriptions", || {
            publisher.publish("held.1", "x");
            (server.monitor("/varz")["subscriptions"] == 0).then_some(())
        });
        assert_eq!(server.monitor("/varz")["connections"], 1);
    }
}
