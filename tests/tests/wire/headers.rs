//! Message headers: passed on untouched to who understands them, kept from who does not.

use sublog_tests::Seen;

use crate::server;

#[test]
fn headers_are_passed_on_byte_for_byte() {
    let server = server(&[]);
    let (mut publisher, mut modern, mut old) = (server.client(), server.client(), server.raw());
    old.hello(sublog_tests::client::CONNECT_OLD);
    modern.send("SUB h.> 1\r\n");
    old.send("SUB h.> 1\r\n");
    modern.sync();
    old.sync();
    // Nobody but the two ends has an opinion on what is in a block.
    for block in [
        "NATS/1.0\r\n\r\n",
        "NATS/1.0\r\nA: 1\r\na: 2\r\nA:3\r\n\r\n",
        "NATS/1.0 503 text\r\nK:\r\n\r\n",
        "not a header block\r\n\r\n",
    ] {
        publisher.send(format!("HPUB h.a re.ply {} {}\r\n{block}hello\r\n", block.len(), block.len() + 5));
        let seen = modern.message();
        assert_eq!(seen.headers.as_deref(), Some(block.as_bytes()));
        assert_eq!((seen.text(), seen.reply.as_deref()), ("hello", Some("re.ply")));
        let seen = old.message();
        assert_eq!((seen.text(), seen.headers.is_some(), seen.reply.as_deref()), ("hello", false, Some("re.ply")));
    }
    publisher.publish("h.b", "plain");
    assert_eq!(modern.message().headers, None);
    assert_eq!(old.message().text(), "plain");
}

#[test]
fn hpub_needs_a_client_that_said_headers() {
    let server = server(&[]);
    let mut client = server.raw();
    client.hello(sublog_tests::client::CONNECT_OLD);
    client.send("HPUB a 12 13\r\nNATS/1.0\r\n\r\nx\r\n");
    let end = match client.next() {
        Seen::Err(text) => {
            assert_eq!(text, "message headers not supported");
            client.next()
        }
        other => other,
    };
    assert_eq!(end, Seen::Closed);
}
