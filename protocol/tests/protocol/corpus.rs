//! The corpus of the fuzz targets, run without a fuzzer, and random bytes.

use std::fs;
use std::path::Path;
use std::time::Instant;

use proptest::prelude::*;
use sublog_protocol::decode::{DecodeError, Limits, Step, decode_client, decode_server};

use crate::checks;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        check(&fs::read(path).unwrap());
        files += 1;
    }
    assert!(files >= 5, "{} is nearly empty", folder.display());
}

#[test]
fn corpus_of_decode_client() {
    replay("decode_client", checks::client_stream);
}

#[test]
fn corpus_of_decode_server() {
    replay("decode_server", checks::server_stream);
}

#[test]
fn corpus_of_headers() {
    replay("headers", checks::header_block);
}

#[test]
fn corpus_of_connect() {
    replay("connect", checks::connect_json);
}

/// Bytes that get further into the decoders than uniformly random ones.
fn likely_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            &b"PUB "[..],
            b"HPUB ",
            b"SUB ",
            b"UNSUB ",
            b"CONNECT ",
            b"PING",
            b"PONG",
            b"+OK",
            b"-ERR ",
            b"INFO ",
            b"MSG ",
            b"HMSG ",
            b"\r\n",
            b"\n",
            b"\r",
            b" ",
            b"\t",
            b"0",
            b"2",
            b"14",
            b"999999999",
            b"a.b",
            b"*",
            b">",
            b"NATS/1.0",
            b"key: value",
            b"{",
            b"}",
            b"\"name\":",
            b"\"x\"",
            b"null",
            b"[",
            b"]",
            b",",
            b"\\ud800",
        ])
        .prop_map(<[u8]>::to_vec),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_panics(data in prop_oneof![likely_bytes(), prop::collection::vec(any::<u8>(), 0..300)]) {
        checks::client_stream(&data);
        checks::server_stream(&data);
        checks::header_block(&data);
        checks::connect_json(&data);
    }
}

/// A large buffer without a line end is not searched to its end again and again: 20,000 looks at 16 MiB
/// would take minutes if it were.
#[test]
#[expect(clippy::disallowed_methods, reason = "the claim is about time")]
fn garbage_costs_bounded_work() {
    let mut buf = vec![b'x'; 16 << 20];
    let limits = Limits::default();
    let started = Instant::now();
    for start in [&b"PING"[..], b"PUB ", b"CONNECT ", b"INFO "] {
        buf[..start.len()].copy_from_slice(start);
        for _ in 0..5_000 {
            let error = decode_client(&buf, &limits).unwrap_err();
            assert_eq!(error, DecodeError::ControlLineTooLong { limit: 4096 });
            assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
        }
        buf[..8].fill(b'x');
    }
    buf[..4].copy_from_slice(b"MSG ");
    assert!(matches!(decode_server(&buf, usize::MAX), Err(DecodeError::ControlLineTooLong { limit: 65_536 })));
    assert_eq!(decode_client(b"", &limits), Ok(Step::NeedMore { at_least: 1 }));
}
