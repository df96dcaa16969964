//! Who gets a message, how often, and in which order.

use std::collections::HashMap;

use sublog_tests::{Message, TestServer};

use crate::server;

#[test]
fn wildcards() {
    let server = server(&[]);
    let subjects = ["a", "a.b", "a.b.c", "b", "a.*", "a.>", "a.bc", "A.b"];
    for (filter, gets) in [
        ("a", &["a"][..]),
        ("a.*", &["a.b", "a.*", "a.>", "a.bc"]),
        ("a.>", &["a.b", "a.b.c", "a.*", "a.>", "a.bc"]),
        ("*", &["a", "b"]),
        (">", &["a", "a.b", "a.b.c", "b", "a.*", "a.>", "a.bc", "A.b"]),
        ("*.b", &["a.b", "A.b"]),
        ("a.*.c", &["a.b.c"]),
        ("a.b*", &[]),
    ] {
        let mut client = server.client();
        client.subscribe(filter, "1");
        for subject in subjects {
            client.publish(subject, subject);
        }
        let seen: Vec<String> = client.flush().into_iter().map(|m| m.subject).collect();
        assert_eq!(seen, gets, "for {filter}");
    }
}

#[test]
fn subjects_with_empty_tokens_reach_nobody() {
    let server = server(&[]);
    let mut client = server.client();
    client.send("SUB > 1\r\nPUB a..b 1\r\nx\r\nPUB .a 1\r\nx\r\nPUB a. 1\r\nx\r\nPUB . 1\r\nx\r\nPUB a 1\r\ny\r\n");
    let seen = client.flush();
    assert!(seen.iter().any(|m| m.subject == "a"), "{seen:?}");
    assert!(seen.iter().all(|m| m.subject == "a"), "{seen:?}");
}

#[test]
fn each_subscription_of_a_connection_gets_its_copy() {
    let server = server(&[]);
    let mut client = server.client();
    client.send("SUB a.b 1\r\nSUB a.* two\r\nSUB a.> !3\r\nPUB a.b 1\r\nx\r\n");
    let mut sids: Vec<String> = client.flush().into_iter().map(|m| m.sid).collect();
    sids.sort();
    assert_eq!(sids, ["!3", "1", "two"]);
}

#[test]
fn own_messages_come_back_unless_echo_is_off() {
    let server = server(&[]);
    let mut quiet = server.raw();
    quiet.hello(r#"{"verbose":false,"echo":false}"#);
    let mut other = server.client();
    quiet.send("SUB a 1\r\nSUB a q 2\r\n");
    quiet.sync();
    other.send("SUB a 9\r\nPUB a 1\r\no\r\n");
    assert_eq!(other.message().text(), "o");
    assert_eq!(quiet.messages(2).iter().filter(|m| m.text() == "o").count(), 2);
    quiet.publish("a", "q");
    quiet.expect_nothing();
    assert_eq!(other.message().text(), "q");
}

#[test]
fn a_queue_group_shares() {
    let server = server(&[]);
    let mut members: Vec<_> = (0..4)
        .map(|_| {
            let mut member = server.client();
            member.send("SUB work.* crew 1\r\n");
            member.sync();
            member
        })
        .collect();
    let mut others = server.client();
    others.send("SUB work.> 1\r\nSUB work.* other 2\r\nSUB work.1 other 3\r\n");
    others.sync();
    let mut publisher = server.client();
    for n in 0..4000 {
        publisher.publish(&format!("work.{}", n % 3), n.to_string());
    }
    publisher.sync();
    let mut count: HashMap<String, usize> = HashMap::new();
    for member in &mut members {
        let got = member.flush();
        assert!(got.len() > 500, "a member of four got {} of 4000", got.len());
        for message in got {
            *count.entry(message.text().to_owned()).or_default() += 1;
        }
    }
    assert!(count.len() == 4000 && count.values().all(|n| *n == 1));
    // The plain subscription and the other group get each message once as well.
    let seen = others.flush();
    assert_eq!(seen.iter().filter(|m| m.sid == "1").count(), 4000);
    assert_eq!(seen.iter().filter(|m| m.sid != "1").count(), 4000);
}

#[test]
fn a_queue_group_goes_on_without_a_member_that_left() {
    let server = server(&[]);
    let mut stays = server.client();
    stays.send("SUB work crew 1\r\n");
    stays.sync();
    let mut publisher = server.client();
    for round in 0..20 {
        let mut leaves = server.client();
        leaves.send("SUB work crew 1\r\n");
        leaves.sync();
        if round % 2 == 0 {
            leaves.send("UNSUB 1\r\n");
            leaves.sync();
            publisher.publish("work", round.to_string());
            publisher.sync();
            leaves.expect_nothing();
            assert_eq!(stays.message().text(), round.to_string());
        }
    }
}

#[test]
fn many_publishers_each_keep_their_order() {
    const EACH: usize = 4000;
    let server = server(&[]);
    let mut subscriber = server.client();
    subscriber.send("SUB order.> 1\r\n");
    subscriber.sync();
    let address = server.address();
    let publishers: Vec<_> = (0..4)
        .map(|publisher| {
            std::thread::spawn(move || {
                let mut client = sublog_tests::RawClient::connect(address);
                client.hello(sublog_tests::client::CONNECT);
                for n in 0..EACH {
                    // Subjects and sizes vary; the order must not.
                    client.publish(&format!("order.{publisher}.{}", n % 7), format!("{n} {}", "x".repeat(n % 900)));
                }
                client.sync();
            })
        })
        .collect();
    let mut next = [0_usize; 4];
    for message in subscriber.messages(4 * EACH) {
        let publisher: usize = message.subject.split('.').nth(1).unwrap().parse().unwrap();
        let n: usize = message.text().split(' ').next().unwrap().parse().unwrap();
        assert_eq!(n, next[publisher], "publisher {publisher}");
        next[publisher] += 1;
    }
    subscriber.expect_nothing();
    publishers.into_iter().for_each(|p| p.join().unwrap());
}

fn request(server: &TestServer, connect: &str) -> Vec<Message> {
    let mut client = server.raw();
    client.hello(connect);
    client.send("SUB _INBOX.me.* 7\r\nPUB nobody.there _INBOX.me.1 1\r\nx\r\n");
    client.flush()
}

#[test]
fn a_request_nobody_serves_is_answered_at_once() {
    let server = server(&[]);
    let answers = request(&server, sublog_tests::client::CONNECT);
    let [answer] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((answer.subject.as_str(), answer.sid.as_str()), ("_INBOX.me.1", "7"));
    assert_eq!((answer.status(), answer.payload.len()), (Some(503), 0));
    assert_eq!(answer.header("Nats-Subject").as_deref(), Some("nobody.there"));
    // Who did not ask for it gets silence.
    assert_eq!(request(&server, r#"{"verbose":false,"headers":true}"#), []);
}

#[test]
fn a_request_somebody_serves_is_not() {
    let server = server(&[]);
    let mut responder = server.client();
    responder.send("SUB svc.* workers 1\r\n");
    responder.sync();
    let mut client = server.client();
    client.send("SUB _INBOX.me.* 7\r\nPUB svc.x _INBOX.me.1 4\r\nping\r\n");
    client.expect_nothing();
    let request = responder.message();
    assert_eq!((request.text(), request.reply.as_deref()), ("ping", Some("_INBOX.me.1")));
    responder.publish(&request.reply.unwrap(), "pong");
    assert_eq!(client.message().text(), "pong");
}

#[test]
fn counters_add_up() {
    let server = server(&["-m", "-1"]);
    let mut client = server.client();
    client.send("SUB a 1\r\nSUB a 2\r\nPUB a 10\r\n0123456789\r\nPUB b 5\r\n01234\r\n");
    assert_eq!(client.flush().len(), 2);
    let varz = server.monitor("/varz");
    for (key, value) in
        [("in_msgs", 2), ("in_bytes", 15), ("out_msgs", 2), ("out_bytes", 20), ("connections", 1), ("subscriptions", 2)]
    {
        assert_eq!(varz[key], value, "{key}");
    }
    let connz = server.monitor("/connz");
    assert_eq!(connz["connections"][0]["subscriptions"], 2);
    assert_eq!(connz["connections"][0]["port"], client.local_address().port());
}
