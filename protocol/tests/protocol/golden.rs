//! Bytes that clients and servers were seen to send, old ones above all, and what they mean.

use sublog_protocol::decode::{ClientOp, Limits, Message, Publish, ServerOp, ServerStep, Step};
use sublog_protocol::decode::{decode_client, decode_server};
use sublog_protocol::encode;
use sublog_protocol::error::ServerError;

fn client(bytes: &[u8]) -> ClientOp<'_> {
    match decode_client(bytes, &Limits::default()) {
        Ok(Step::Op { op, consumed }) if consumed == bytes.len() => op,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

fn server(bytes: &[u8]) -> ServerOp<'_> {
    match decode_server(bytes, usize::MAX) {
        Ok(ServerStep::Op { op, consumed }) if consumed == bytes.len() => op,
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

fn publish<'a>(subject: &'a [u8], reply: Option<&'a [u8]>, message: &'a [u8]) -> ClientOp<'a> {
    ClientOp::Publish(Publish { subject, reply, header_len: 0, has_headers: false, message })
}

fn subscribe<'a>(subject: &'a [u8], queue: Option<&'a [u8]>, sid: &'a [u8]) -> ClientOp<'a> {
    ClientOp::Subscribe { subject, queue, sid }
}

#[test]
fn publishes() {
    let with_headers = |subject, reply| {
        let message = &b"NATS/1.0\r\n\r\nhi"[..];
        ClientOp::Publish(Publish { subject, reply, header_len: 12, has_headers: true, message })
    };
    let cases: &[(&[u8], ClientOp<'_>)] = &[
        (b"PUB subj 5\r\nhello\r\n", publish(b"subj", None, b"hello")),
        // The Python 2 client leaves the place of a missing reply empty.
        (b"PUB subj  5\r\nhello\r\n", publish(b"subj", None, b"hello")),
        (b"PUB subj _INBOX.1 5\r\nhello\r\n", publish(b"subj", Some(b"_INBOX.1"), b"hello")),
        (b"pub subj 0\n\r\n", publish(b"subj", None, b"")),
        (b"pUb\t subj\t\treply \t 000000002 \t\r\n\r\n\r\n", publish(b"subj", Some(b"reply"), b"\r\n")),
        (b"PUB a..b.* 2\r\n\xff\x00\r\n", publish(b"a..b.*", None, b"\xff\x00")),
        (b"PUB a\x00b\xff 0\r\n\r\n", publish(b"a\x00b\xff", None, b"")),
        (b"HPUB s 12 14\r\nNATS/1.0\r\n\r\nhi\r\n", with_headers(b"s", None)),
        (b"hpub  s   r\t12   14  \nNATS/1.0\r\n\r\nhi\r\n", with_headers(b"s", Some(b"r"))),
        (
            b"HPUB s 0 2\r\nhi\r\n",
            ClientOp::Publish(Publish { subject: b"s", reply: None, header_len: 0, has_headers: true, message: b"hi" }),
        ),
    ];
    for (bytes, op) in cases {
        assert_eq!(client(bytes), *op, "{}", bytes.escape_ascii());
    }
}

#[test]
fn subscriptions() {
    let unsubscribe = |sid, max| ClientOp::Unsubscribe { sid, max };
    let cases: &[(&[u8], ClientOp<'_>)] = &[
        (b"SUB subj 1\r\n", subscribe(b"subj", None, b"1")),
        // The Python 2 client again, without a queue group and without a maximum.
        (b"SUB subj  1\r\n", subscribe(b"subj", None, b"1")),
        (b"UNSUB 1 \r\n", unsubscribe(b"1", 0)),
        (b"SUB a.* workers sid-7\n", subscribe(b"a.*", Some(b"workers"), b"sid-7")),
        (b"sub\ta..b \t 1 \r\n", subscribe(b"a..b", None, b"1")),
        (b"SUB a\r1\r\n", subscribe(b"a", None, b"1")),
        (b"UNSUB 1\r\n", unsubscribe(b"1", 0)),
        (b"unsub 1 20\n", unsubscribe(b"1", 20)),
        (b"UNSUB 1 0\r\n", unsubscribe(b"1", 0)),
        (b"UNSUB 1 abc\r\n", unsubscribe(b"1", 0)),
        (b"UNSUB 1 -1\r\n", unsubscribe(b"1", 0)),
        (b"UNSUB 1 1234567890\r\n", unsubscribe(b"1", 0)),
    ];
    for (bytes, op) in cases {
        assert_eq!(client(bytes), *op, "{}", bytes.escape_ascii());
    }
}

#[test]
fn the_rest_of_what_clients_send() {
    let cases: &[(&[u8], ClientOp<'_>)] = &[
        (b"PING\r\n", ClientOp::Ping),
        (b"ping\n", ClientOp::Ping),
        (b"PINGxyz 1\r\n", ClientOp::Ping),
        (b"PING\r\r\n", ClientOp::Ping),
        (b"pOnG junk\r\n", ClientOp::Pong),
        (b"+ok junk\r\n", ClientOp::Ok),
        (b"CONNECT {\"verbose\":false}\r\n", ClientOp::Connect(b"{\"verbose\":false}")),
        (b"connect{}\n", ClientOp::Connect(b"{}")),
        (b"CONNECT \t {} \r\n", ClientOp::Connect(b"{} ")),
        (b"CONNECTX{}\r\n", ClientOp::Connect(b"X{}")),
        (b"CONNECT\r\n", ClientOp::Connect(b"")),
        (b"INFO {}\r\n", ClientOp::Info(b"{}")),
        (b"info{}\r\n", ClientOp::Info(b"{}")),
        (b"-ERR 'it's bad'\r\n", ClientOp::Err(b"it's bad")),
        (b"-err bad \n", ClientOp::Err(b"bad")),
    ];
    for (bytes, op) in cases {
        assert_eq!(client(bytes), *op, "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_servers_send() {
    let message = |reply, header_len, has_headers, message| {
        ServerOp::Message(Message { subject: b"a.b", sid: b"7", reply, header_len, has_headers, message })
    };
    let cases: &[(&[u8], ServerOp<'_>)] = &[
        (b"INFO {\"proto\":1} \r\n", ServerOp::Info(b"{\"proto\":1} ")),
        (b"MSG a.b 7 2\r\nhi\r\n", message(None, 0, false, b"hi")),
        (b"msg\ta.b  7  r  2\nhi\r\n", message(Some(b"r"), 0, false, b"hi")),
        (b"HMSG a.b 7 12 14\r\nNATS/1.0\r\n\r\nhi\r\n", message(None, 12, true, b"NATS/1.0\r\n\r\nhi")),
        (b"HMSG a.b 7 r 12 12\r\nNATS/1.0\r\n\r\n\r\n", message(Some(b"r"), 12, true, b"NATS/1.0\r\n\r\n")),
        (b"+OK\r\n", ServerOp::Ok),
        (b"-ERR 'Stale Connection'\r\n", ServerOp::Err(b"Stale Connection")),
        (b"-ERR\r\n", ServerOp::Err(b"")),
        (b"PING\r\n", ServerOp::Ping),
        (b"PONG\r\n", ServerOp::Pong),
    ];
    for (bytes, op) in cases {
        assert_eq!(server(bytes), *op, "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_is_written() {
    let written = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = b"before ".to_vec();
        write(&mut out);
        out.strip_prefix(b"before ").unwrap().to_vec()
    };
    let block = b"NATS/1.0\r\n\r\nhi";
    let cases: &[(Vec<u8>, &[u8])] = &[
        (written(&|out| encode::msg(out, b"a", b"1", None, b"hi")), b"MSG a 1 2\r\nhi\r\n"),
        (written(&|out| encode::msg(out, b"a", b"1", Some(b"r"), b"")), b"MSG a 1 r 0\r\n\r\n"),
        (written(&|out| encode::msg_head(out, b"a", b"1", None, 1_048_576)), b"MSG a 1 1048576\r\n"),
        (written(&|out| encode::hmsg(out, b"a", b"1", None, 12, block)), b"HMSG a 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"),
        (written(&|out| encode::hmsg_head(out, b"a", b"1", Some(b"r"), 12, 14)), b"HMSG a 1 r 12 14\r\n"),
        (written(&|out| encode::publish(out, b"a", None, b"hi")), b"PUB a 2\r\nhi\r\n"),
        (written(&|out| encode::publish(out, b"a", Some(b"r"), b"hi")), b"PUB a r 2\r\nhi\r\n"),
        (written(&|out| encode::hpublish(out, b"a", None, 12, block)), b"HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"),
        (written(&|out| encode::subscribe(out, b"a.>", None, b"1")), b"SUB a.> 1\r\n"),
        (written(&|out| encode::subscribe(out, b"a.>", Some(b"q"), b"1")), b"SUB a.> q 1\r\n"),
        (written(&|out| encode::unsubscribe(out, b"1", None)), b"UNSUB 1\r\n"),
        (written(&|out| encode::unsubscribe(out, b"1", Some(3))), b"UNSUB 1 3\r\n"),
        (written(&|out| encode::err(out, &ServerError::MaxPayload)), b"-ERR 'Maximum Payload Violation'\r\n"),
        (written(&|out| encode::decimal(out, 0)), b"0"),
        (written(&|out| encode::decimal(out, 10)), b"10"),
        (written(&|out| encode::decimal(out, u64::MAX)), b"18446744073709551615"),
    ];
    for (found, expected) in cases {
        assert_eq!(found.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}
