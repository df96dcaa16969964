//! Header blocks, good and bad.

use super::*;

#[test]
fn status_lines() {
    let cases: &[(&[u8], Option<u16>, &[u8])] = &[
        (b"NATS/1.0\r\n\r\n", None, b""),
        (b"NATS/1.0 \r\n\r\n", None, b""),
        (b"NATS/1.0 503\r\n\r\n", Some(503), b""),
        (b"NATS/1.0 404 No Messages\r\n\r\n", Some(404), b"No Messages"),
        (b"NATS/1.0   100   Idle Heartbeat \r\n\r\n", Some(100), b"Idle Heartbeat"),
        (b"NATS/1.0 408\n\n", Some(408), b""),
    ];
    for (block, status, description) in cases {
        let headers = Headers::parse(block).unwrap();
        assert_eq!((headers.status(), headers.description()), (*status, *description), "{}", block.escape_ascii());
        assert_eq!(headers.iter().count(), 0);
    }
}

#[test]
fn broken_blocks() {
    let cases: &[(&[u8], HeaderError)] = &[
        (b"", HeaderError::BadVersion),
        (b"NATS/1.0", HeaderError::BadVersion),
        (b"nats/1.0\r\n\r\n", HeaderError::BadVersion),
        (b"NATS/1.01\r\n\r\n", HeaderError::BadVersion),
        (b"NATS/1.0 5\r\n\r\n", HeaderError::BadStatus),
        (b"NATS/1.0 5030\r\n\r\n", HeaderError::BadStatus),
        (b"NATS/1.0 abc\r\n\r\n", HeaderError::BadStatus),
        (b"NATS/1.0\r\n", HeaderError::BadEnd),
        (b"NATS/1.0\r\na: b\r\n", HeaderError::BadEnd),
        (b"NATS/1.0\r\na: b\r\n\r\nx", HeaderError::BadEnd),
        (b"NATS/1.0\r\nab\r\n\r\n", HeaderError::BadLine),
        (b"NATS/1.0\r\n: b\r\n\r\n", HeaderError::BadLine),
    ];
    for (block, error) in cases {
        assert_eq!(Headers::parse(block), Err(*error), "{}", block.escape_ascii());
    }
}

#[test]
fn the_first_exact_match_wins() {
    let block = b"NATS/1.0 200 a: b\r\nKey-2: no\r\nkey: lower\r\nKey:  one\r\nKey: two:2 \r\nEmpty:\r\n\r\n";
    let headers = Headers::parse(block).unwrap();
    let cases: &[(&[u8], Option<&[u8]>)] = &[
        (b"Key", Some(b"one")),
        (b"key", Some(b"lower")),
        (b"KEY", None),
        (b"Key-", None),
        (b"Key-2", Some(b"no")),
        (b"Empty", Some(b"")),
        (b"a", None),
        (b"200 a", None),
    ];
    for (key, value) in cases {
        assert_eq!(headers.get(key), *value, "{}", key.escape_ascii());
        assert_eq!(get(block, key), *value, "{}", key.escape_ascii());
    }
    assert_eq!(headers.iter().nth(3), Some((&b"Key"[..], &b"two:2 "[..])));
}

#[test]
fn looking_up_in_what_is_no_block() {
    assert_eq!(get(b"", b"a"), None);
    assert_eq!(get(b"a: b\r\n\r\n", b"a"), None);
    assert_eq!(get(b"junk\r\na: b", b"a"), Some(&b"b"[..]));
    assert_eq!(get(b"junk\r\nx\na: b\r\n", b"a"), None);
    assert_eq!(get(b"\r\n\r\n\r\na:b\r\n", b"a"), Some(&b"b"[..]));
}

#[test]
fn nothing_put_in_ends_a_line() {
    let mut builder = Builder::with_status(42, "two\r\nlines");
    builder.add(b"K\r\n:e y", b"v\r\n\r\nX: 1").add(b"", b"lost");
    let block = builder.finish();
    assert_eq!(block, b"NATS/1.0 042 two  lines\r\nK---e-y: v    X: 1\r\n\r\n");
    let headers = Headers::parse(&block).unwrap();
    assert_eq!((headers.status(), headers.iter().count()), (Some(42), 1));
    assert_eq!(Builder::with_status(u16::MAX, "").finish(), b"NATS/1.0 999\r\n\r\n");
    assert_eq!(Builder::with_status(7, "").finish(), b"NATS/1.0 007\r\n\r\n");
    assert_eq!(Builder::default().finish(), b"NATS/1.0\r\n\r\n");
}

/// The bytes are those of nats-server 2.15.1.
#[test]
fn no_responders_message() {
    let mut out = Vec::new();
    no_responders(&mut out, b"r.1", b"7", b"foo");
    assert_eq!(out, b"HMSG r.1 7 35 35\r\nNATS/1.0 503\r\nNats-Subject: foo\r\n\r\n\r\n");
    out.clear();
    no_responders_block(&mut out, b"a\r\nb");
    assert_eq!(Headers::parse(&out).unwrap().get(b"Nats-Subject"), Some(&b"a  b"[..]));
}
