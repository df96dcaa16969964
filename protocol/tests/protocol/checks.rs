//! Properties that hold for any input whatsoever. The fuzz targets run these functions on what they make
//! up, the tests run them on the checked-in corpus and on random bytes.

use sublog_protocol::decode::{ClientOp, DecodeError, Limits, Message, Publish, ServerOp, ServerStep, Step};
use sublog_protocol::decode::{decode_client, decode_server};
use sublog_protocol::headers::{self, Builder, Headers};
use sublog_protocol::info::{ConnectOptions, ServerInfo};
use sublog_protocol::{encode, subject};

/// Decodes `data` as the stream of a client until it ends or breaks, under generous and under tight limits.
pub(crate) fn client_stream(data: &[u8]) {
    let tight = Limits { max_control_line: 24, max_payload: 16, headers: false };
    for limits in [Limits::default(), tight] {
        let mut rest = data;
        loop {
            match decode_client(rest, &limits) {
                Ok(Step::Op { op, consumed }) => {
                    assert!((1..=rest.len()).contains(&consumed));
                    client_prefixes(&rest[..consumed], &limits);
                    client_op(&op, &limits);
                    rest = &rest[consumed..];
                }
                Ok(Step::NeedMore { at_least }) => {
                    assert!(at_least > rest.len());
                    break;
                }
                Err(error) => {
                    decode_error(&error);
                    break;
                }
            }
        }
    }
}

/// No part of one operation is taken for an operation, an error, or in need of more than the rest.
fn client_prefixes(whole: &[u8], limits: &Limits) {
    for cut in [0, whole.len() / 2, whole.len() - 1] {
        match decode_client(&whole[..cut], limits) {
            Ok(Step::NeedMore { at_least }) => assert!(at_least > cut && at_least <= whole.len()),
            other => panic!("{} of {} bytes: {other:?}", cut, whole.len()),
        }
    }
}

fn client_op(op: &ClientOp<'_>, limits: &Limits) {
    let mut out = Vec::new();
    match *op {
        ClientOp::Publish(Publish { subject, reply, header_len, has_headers, message }) => {
            assert!(message.len() <= limits.max_payload && header_len <= message.len());
            assert!(has_headers || header_len == 0);
            if has_headers {
                encode::hpublish(&mut out, subject, reply, header_len, message);
                let (block, _) = message.split_at(header_len);
                header_block(block);
            } else {
                encode::publish(&mut out, subject, reply, message);
            }
        }
        ClientOp::Subscribe { subject, queue, sid } => {
            // What the subject functions say about one another holds for anything that arrives.
            assert_eq!(subject::is_valid_literal(subject), subject::matches(subject, subject) && literal(subject));
            encode::subscribe(&mut out, subject, queue, sid);
        }
        ClientOp::Unsubscribe { sid, max } => encode::unsubscribe(&mut out, sid, (max > 0).then_some(max)),
        ClientOp::Connect(json) => return connect_json(json),
        ClientOp::Info(json) => {
            let _ = ServerInfo::parse(json);
            return;
        }
        ClientOp::Ping | ClientOp::Pong | ClientOp::Ok | ClientOp::Err(_) => return,
    }
    // The blanks of the original may have been fewer than what a size written in full takes.
    let roomy = Limits { max_control_line: usize::MAX, ..*limits };
    let expected = Step::Op { op: *op, consumed: out.len() };
    assert_eq!(decode_client(&out, &roomy), Ok(expected));
}

fn literal(subject: &[u8]) -> bool {
    subject::is_valid_filter(subject) && !subject::has_wildcard(subject)
}

fn decode_error(error: &DecodeError) {
    assert!(!error.to_string().contains(char::is_control));
    assert!(!error.close_reason().is_empty());
    assert!(error.reply().is_none_or(|reply| reply.closes()));
}

/// Decodes `data` as the stream of a server until it ends or breaks.
pub(crate) fn server_stream(data: &[u8]) {
    for max_payload in [usize::MAX, 16] {
        let mut rest = data;
        loop {
            match decode_server(rest, max_payload) {
                Ok(ServerStep::Op { op, consumed }) => {
                    assert!((1..=rest.len()).contains(&consumed));
                    server_prefixes(&rest[..consumed], max_payload);
                    server_op(&op, max_payload);
                    rest = &rest[consumed..];
                }
                Ok(ServerStep::NeedMore { at_least }) => {
                    assert!(at_least > rest.len());
                    break;
                }
                Err(error) => {
                    decode_error(&error);
                    break;
                }
            }
        }
    }
}

fn server_prefixes(whole: &[u8], max_payload: usize) {
    for cut in [0, whole.len() / 2, whole.len() - 1] {
        match decode_server(&whole[..cut], max_payload) {
            Ok(ServerStep::NeedMore { at_least }) => assert!(at_least > cut && at_least <= whole.len()),
            other => panic!("{} of {} bytes: {other:?}", cut, whole.len()),
        }
    }
}

fn server_op(op: &ServerOp<'_>, max_payload: usize) {
    match *op {
        ServerOp::Message(Message { subject, sid, reply, header_len, has_headers, message }) => {
            assert!(message.len() <= max_payload && header_len <= message.len());
            let mut out = Vec::new();
            if has_headers {
                encode::hmsg(&mut out, subject, sid, reply, header_len, message);
            } else {
                encode::msg(&mut out, subject, sid, reply, message);
            }
            let expected = ServerStep::Op { op: *op, consumed: out.len() };
            assert_eq!(decode_server(&out, max_payload), Ok(expected));
        }
        ServerOp::Info(json) => {
            if let Ok(info) = ServerInfo::parse(json) {
                let mut out = Vec::new();
                info.write_json(&mut out);
                assert_eq!(ServerInfo::parse(&out).unwrap(), info);
            }
        }
        ServerOp::Ok | ServerOp::Err(_) | ServerOp::Ping | ServerOp::Pong => {}
    }
}

/// Reads `block` as headers, and puts it into headers that are written.
pub(crate) fn header_block(block: &[u8]) {
    if let Ok(parsed) = Headers::parse(block) {
        let mut builder = match parsed.status() {
            Some(code) => Builder::with_status(code, &String::from_utf8_lossy(parsed.description())),
            None => Builder::new(),
        };
        for (key, value) in parsed.iter() {
            assert!(!key.is_empty() && !key.contains(&b':') && !value.contains(&b'\n'));
            let (_, first) = parsed.iter().find(|(other, _)| *other == key).unwrap();
            assert_eq!(parsed.get(key), Some(first));
            builder.add(key, value);
        }
        let written = builder.finish();
        let again = Headers::parse(&written).unwrap();
        assert_eq!(again.status(), parsed.status());
        assert_eq!(again.iter().count(), parsed.iter().count());
    }
    let (key, value) = block.split_at(block.len() / 2);
    let _ = headers::get(block, key);
    let mut builder = Builder::with_status(400, &String::from_utf8_lossy(value));
    builder.add(key, value);
    let written = builder.finish();
    let parsed = Headers::parse(&written).unwrap();
    assert_eq!(parsed.iter().count(), usize::from(!key.is_empty()));
    let mut out = Vec::new();
    headers::no_responders_block(&mut out, block);
    assert_eq!(Headers::parse(&out).unwrap().iter().count(), 1);
}

/// Reads `json` as the document of a `CONNECT`.
pub(crate) fn connect_json(json: &[u8]) {
    let Ok(options) = ConnectOptions::parse(json) else { return };
    let mut line = Vec::new();
    encode::connect(&mut line, &options);
    assert_eq!(count(b'\n', &line), 1);
    let limits = Limits { max_control_line: usize::MAX, ..Limits::default() };
    match decode_client(&line, &limits) {
        Ok(Step::Op { op: ClientOp::Connect(again), consumed }) if consumed == line.len() => {
            assert_eq!(ConnectOptions::parse(again).unwrap(), options);
        }
        other => panic!("{other:?}"),
    }
    let mut updated = options.clone();
    updated.update(json).unwrap();
    assert_eq!(updated, options);
}

fn count(needle: u8, haystack: &[u8]) -> usize {
    haystack.iter().filter(|b| **b == needle).count()
}
