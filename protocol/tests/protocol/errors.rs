//! What breaks a stream, what is sent before the connection closes, and the reason `connz` shows. Rows
//! were compared with nats-server 2.15.1 (at a line limit of 1024 and a payload limit of 2000 bytes); where
//! this decoder is stricter, the test says so.

use sublog_protocol::decode::{DecodeError, Limits, Step, decode_client, decode_server};

const LIMITS: Limits = Limits { max_control_line: 1024, max_payload: 2000, headers: true };
const UNKNOWN: Option<&str> = Some("Unknown Protocol Operation");
const PROTOCOL: &str = "Protocol Violation";

fn check(bytes: &[u8], limits: &Limits, reply: Option<&str>, reason: &str) {
    let error = match decode_client(bytes, limits) {
        Err(error) => error,
        Ok(step) => panic!("{}: {step:?}", bytes.escape_ascii()),
    };
    let text = error.reply().map(|reply| reply.text().into_owned());
    assert_eq!(text.as_deref(), reply, "{}: {error}", bytes.escape_ascii());
    assert_eq!(error.close_reason(), reason, "{}: {error}", bytes.escape_ascii());
}

#[test]
fn unknown_operations() {
    let cases: &[&[u8]] = &[
        b"X",
        b"PX",
        b"L",
        b"R",
        b"A",
        b"M",
        b"\r",
        b"\n",
        b"\r\n",
        b" PING\r\n",
        b"\x16\x03\x01",
        b"GET / HTTP/1.1\r\n",
        b"MSG a 1 0\r\n\r\n",
        b"HMSG a 1 1 1\r\n",
        b"RS+ a\r\n",
        b"RS- a\r\n",
        b"LS+ a\r\n",
        b"LS- a\r\n",
        b"A+ a\r\n",
        b"A- a\r\n",
        b"RMSG a\r\n",
        b"LMSG a\r\n",
        b"PUB\r",
        b"PUB\r\n",
        b"PUBfoo 1\r\n",
        b"HPUB\r\n",
        b"HPUBfoo 1\r\n",
        b"HP\r\n",
        b"SUB\r\n",
        b"SUBfoo 1\r\n",
        b"UNSUB\r\n",
        b"UNSUB1\r\n",
        b"-ERR\r\n",
        b"-ERRabc\r\n",
        b"-\r\n",
        b"+X",
    ];
    for bytes in cases {
        check(bytes, &LIMITS, UNKNOWN, PROTOCOL);
    }
}

#[test]
fn bad_arguments_close_without_a_word() {
    let cases: &[&[u8]] = &[
        b"PUB \r\n",
        b"PUB foo\r\n",
        b"PUB foo a b 2\r\n",
        b"PUB foo a b c 2\r\n",
        b"PUB foo -1\r\n",
        b"PUB foo +2\r\n",
        b"PUB foo 2.0\r\n",
        b"PUB foo 2x\r\n",
        b"PUB foo 1234567890\r\n",
        b"PUB foo 0000000002\r\n",
        b"PUB foo\r2\r\n",
        b"PUB foo 2\r\r\n",
        b"PUB 2\r\n",
        b"SUB \r\n",
        b"SUB foo\r\n",
        b"SUB foo a b c\r\n",
        b"UNSUB \r\n",
        b"UNSUB 1 2 3\r\n",
        b"HPUB \r\n",
        b"HPUB foo\r\n",
        b"HPUB foo 14\r\n",
        b"HPUB foo -1 3\r\n",
        b"HPUB foo x 3\r\n",
        b"HPUB foo 1 x\r\n",
        b"HPUB foo a b 1 3\r\n",
        b"HPUB foo 1 1234567890\r\n",
        b"HPUB foo 15 14\r\n",
        b"HPUB foo 5000 3000\r\n",
    ];
    for bytes in cases {
        check(bytes, &LIMITS, None, PROTOCOL);
    }
}

/// Input that is refused here and not by nats-server, which would pass the CR on to subscribers inside the
/// subject, and would take the arguments from the line after.
#[test]
fn stricter_than_nats_server() {
    check(b"PUB fo\ro 2\r\n", &LIMITS, None, PROTOCOL);
    check(b"HPUB foo r\rr 1 2\r\n", &LIMITS, None, PROTOCOL);
    check(b"PUB  \n", &LIMITS, None, PROTOCOL);
    check(b"SUB \nfoo 1\r\n", &LIMITS, None, PROTOCOL);
}

#[test]
fn payloads_that_do_not_end_where_they_should() {
    for bytes in [
        &b"PUB foo 2\r\nhi\n"[..],
        b"PUB foo 2\r\nhix",
        b"PUB foo 2\r\nhi\rx",
        b"PUB foo 0\r\n\n",
        b"HPUB foo 1 2\r\nhiPI",
    ] {
        check(bytes, &LIMITS, UNKNOWN, PROTOCOL);
    }
}

#[test]
fn headers_that_were_not_agreed_on() {
    let limits = Limits { headers: false, ..LIMITS };
    check(b"HPUB foo 12 14\r\n", &limits, None, PROTOCOL);
    check(b"HPUB x\r\n", &limits, None, PROTOCOL);
    assert_eq!(decode_client(b"HPUB", &limits), Ok(Step::NeedMore { at_least: 5 }));
}

#[test]
fn payload_limit_before_the_payload() {
    let check = |bytes| check(bytes, &LIMITS, Some("Maximum Payload Violation"), "Maximum Message Payload Exceeded");
    check(b"PUB foo 2001\r\n");
    check(b"PUB foo 999999999\n");
    check(b"HPUB foo 1 3000\r\n");
    assert_eq!(decode_client(b"PUB foo 2000\r\n", &LIMITS), Ok(Step::NeedMore { at_least: 2016 }));
    let unlimited = Limits { max_payload: usize::MAX, ..LIMITS };
    assert_eq!(
        decode_client(b"PUB f 999999999\r\n", &unlimited),
        Ok(Step::NeedMore { at_least: 17 + 999_999_999 + 2 })
    );
    assert!(matches!(decode_server(b"MSG a 1 17\r\n", 16), Err(DecodeError::PayloadTooLarge { size: 17, limit: 16 })));
}

#[test]
fn line_limit_counts_arguments() {
    let too_long =
        |bytes: &[u8]| check(bytes, &LIMITS, Some("maximum control line exceeded"), "Maximum Control Line Exceeded");
    let line = |name: &str, bytes: usize, end: &str| format!("{name}{}{end}", "a".repeat(bytes)).into_bytes();
    let fits = |bytes: &[u8]| assert!(decode_client(bytes, &LIMITS).is_ok(), "{}", bytes.escape_ascii());
    fits(&line("SUB ", 1022, " 1\r\n"));
    fits(&line("SUB    ", 1022, " 1\r\n"));
    fits(&line("PUB ", 1022, " 0\r\n"));
    fits(&line("SUB ", 1024, ""));
    // The CR may be the first half of the line end.
    fits(&line("SUB ", 1024, "\r"));
    too_long(&line("SUB ", 1023, " 1\r\n"));
    too_long(&line("SUB ", 1022, " 1  \r\n"));
    too_long(&line("SUB ", 1025, ""));
    too_long(&line("SUB ", 1025, "\r"));
    too_long(&line("PUB ", 1023, " 0\r\n"));
    for name in ["CONNECT ", "UNSUB ", "HPUB ", "INFO ", "-ERR ", "PING", "PONG ", "+OK"] {
        too_long(&line(name, 1025, "\r\n"));
        too_long(&line(name, 1025, ""));
    }
    too_long(&[&b"PUB"[..], &[b' '; 1025]].concat());
    too_long(&[&b"PUB"[..], &[b' '; 1025], b"foo 0\r\n"].concat());
}
