//! What the parser takes, what it refuses, and how.

use sublog_tests::{Seen, TestServer};

use crate::server;

/// A server and what a subscriber to everything sees of these bytes from another connection.
fn published(server: &TestServer, bytes: impl AsRef<[u8]>) -> Vec<(String, String)> {
    let mut witness = server.client();
    witness.send("SUB w.> 1\r\n");
    witness.sync();
    let mut client = server.client();
    client.send(bytes);
    client.sync();
    witness.flush().into_iter().map(|m| (m.subject.clone(), m.text().to_owned())).collect()
}

#[test]
fn operations_in_any_case() {
    let server = server(&[]);
    let mut client = server.raw();
    client.send("connect {\"verbose\":false,\"headers\":true}\r\nsub a 1\r\nSuB a 2\r\nUnSub 2\r\npInG\r\n");
    assert_eq!(client.next(), Seen::Pong);
    client.send("pub a 1\r\nx\r\nPub a 1\r\ny\r\nhPuB a 12 13\r\nNATS/1.0\r\n\r\nz\r\npong\r\n");
    let texts: Vec<String> = client.messages(3).iter().map(|m| m.text().to_owned()).collect();
    assert_eq!(texts, ["x", "y", "z"]);
}

#[test]
fn odd_spacing_of_old_clients() {
    let server = server(&[]);
    let seen = published(
        &server,
        "PUB w.a  5\r\nhello\r\nPUB  w.b\t5 \r\nhello\r\nPUB w.c 5\nhello\r\nPUB\tw.d 005\r\nhello\r\n\
         PING anything\r\nPUB w.e   reply.to   5\r\nhello\r\nPUB w.f 0\r\n\r\n",
    );
    // The PONG of the odd PING is taken by the flush, whose own is then left over for nobody.
    let subjects: Vec<&str> = seen.iter().map(|(subject, _)| subject.as_str()).collect();
    assert!(subjects.starts_with(&["w.a", "w.b", "w.c", "w.d"]), "{subjects:?}");

    let mut client = server.client();
    client.send("SUB x.1  1\r\nSUB x.2  group  2 \r\nUNSUB 1 \r\nPUB x.1 1\r\na\r\nPUB x.2  1\r\nb\r\n");
    assert_eq!(client.message().text(), "b");
    client.expect_nothing();
}

#[test]
fn one_byte_at_a_time() {
    let server = server(&[]);
    let mut client = server.raw();
    let script = "CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB a.* 17\r\nPUB a.b re.ply 11\r\nhello\r\nPING\r\n\
                  HPUB a.c 18 20\r\nNATS/1.0\r\nK: v\r\n\r\nhi\r\nUNSUB 17\r\nPUB a.b 1\r\nx\r\nPING\r\n";
    for byte in script.bytes() {
        client.send([byte]);
    }
    let first = client.message();
    assert_eq!((first.text(), first.sid.as_str(), first.reply.as_deref()), ("hello\r\nPING", "17", Some("re.ply")));
    let second = client.message();
    assert_eq!((second.text(), second.header("K").as_deref()), ("hi", Some("v")));
    assert_eq!(client.next(), Seen::Pong);
}

#[test]
fn what_was_sent_before_leaving_counts() {
    let server = server(&[]);
    let mut witness = server.client();
    witness.send("SUB gone.> 1\r\n");
    witness.sync();
    let mut bytes = String::from("CONNECT {\"verbose\":false}\r\n");
    for n in 0..1000 {
        bytes.push_str(&format!("PUB gone.{n} 3\r\n{n:03}\r\n"));
    }
    // Neither reads a byte after INFO: one says goodbye, the other just leaves.
    let mut polite = server.raw();
    polite.send(&bytes);
    polite.finish_sending();
    assert_eq!(witness.messages(1000).last().unwrap().subject, "gone.999");
    let mut abrupt = server.raw();
    abrupt.send(&bytes);
    drop(abrupt);
    let seen = witness.messages(1000);
    assert!(seen.iter().enumerate().all(|(n, m)| m.subject == format!("gone.{n}")));
    polite.expect_closed();
}

#[test]
fn operations_no_client_may_send_end_the_connection() {
    let server = server(&[]);
    for bad in [
        "MSG a 1 1\r\nx\r\n",
        "HMSG a 1 12 13\r\n",
        "RS+ a\r\n",
        "LS+ a\r\n",
        "A+ a\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "UNSUB\r\n",
        "\0",
    ] {
        let mut client = server.client();
        client.send(bad);
        client.expect_err("Unknown Protocol Operation");
        client.expect_closed();
    }
}

#[test]
fn bad_arguments_end_the_connection_without_words() {
    let server = server(&[]);
    for bad in [
        "PUB a\r\n",
        "PUB a b c 1\r\nx\r\n",
        "PUB a b c d 1\r\nx\r\n",
        "PUB a -1\r\n",
        "PUB a x\r\n",
        "PUB a 1x\r\n",
        "PUB a 9999999999\r\n",
        "SUB a\r\n",
        "SUB a b c d\r\n",
        "UNSUB \r\n",
        "UNSUB 1 2 3\r\n",
        "HPUB a 12\r\n",
        "HPUB a 20 12\r\n",
        "HPUB a -1 12\r\n",
    ] {
        let mut client = server.client();
        client.send(bad);
        let seen = client.next();
        assert_eq!(seen, Seen::Closed, "after {bad:?}");
    }
}

#[test]
fn a_payload_that_does_not_end_where_it_should() {
    let server = server(&[]);
    let mut client = server.client();
    client.send("PUB a 1\r\nxyz\r\n");
    client.expect_err("Unknown Protocol Operation");
    client.expect_closed();
}

#[test]
fn invalid_subscriptions_are_reported_and_the_connection_goes_on() {
    let server = server(&[]);
    let mut client = server.client();
    for bad in ["a..b", ".a", "a.", ">.a", "a.>.b", "."] {
        client.send(format!("SUB {bad} 1\r\n"));
        client.expect_err("Invalid Subject");
    }
    client.send("SUB a 1\r\nPUB a 1\r\nx\r\n");
    assert_eq!(client.message().sid, "1");
}
