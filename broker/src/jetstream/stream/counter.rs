//! Streams of counters: a message says what is to be added, and what is stored says what that comes to.

use std::collections::BTreeMap;

use num_bigint::BigInt;
use rustc_hash::FxHashMap;
use serde::Deserialize;
use sublog_protocol::headers::{self, edit};

use super::checks::{
    EXPECTED_LAST, EXPECTED_LAST_ID, EXPECTED_LAST_OF_SUBJECT, EXPECTED_STREAM, EXPECTED_SUBJECT, HEADER_BYTES_MAX,
    Rules,
};
use crate::jetstream::copy::STREAM_SOURCE;
use crate::jetstream::errors::ApiError;

/// The header with what is to be added.
const INCREMENT: &[u8] = b"Nats-Incr";
/// The header with what came from other streams: by stream and subject, the last sum there.
const SOURCES: &[u8] = b"Nats-Counter-Sources";
/// So many sums are remembered before those that can be read by now are forgotten.
const KEPT: usize = 1024;

/// A subject's counter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counter {
    total: BigInt,
    sources: BTreeMap<String, BTreeMap<String, String>>,
}

/// What is stored of a counter.
#[derive(Deserialize)]
struct Stored {
    #[serde(default)]
    val: String,
}

impl Counter {
    /// The counter as a message says it that was stored.
    pub(super) fn read(head: &[u8], payload: &[u8]) -> Result<Self, ApiError> {
        let broken = |_| ApiError::message_counter_broken();
        let stored: Stored = serde_json::from_slice(payload).map_err(broken)?;
        let total = number(stored.val.as_bytes()).ok_or_else(ApiError::message_counter_broken)?;
        let sources = match headers::get(head, SOURCES).filter(|text| !text.is_empty()) {
            Some(text) => serde_json::from_slice(text).map_err(broken)?,
            None => BTreeMap::new(),
        };
        Ok(Self { total, sources })
    }

    /// The counter with something added.
    pub(super) fn plus(&self, increment: &BigInt) -> Self {
        Self { total: &self.total + increment, sources: self.sources.clone() }
    }

    /// The counter after that of another stream, on a subject there, came to `value`; and what is added here by that.
    pub(super) fn following(&self, stream: &str, subject: &str, value: BigInt) -> (Self, BigInt) {
        let mut sources = self.sources.clone();
        let before = sources.entry(stream.to_owned()).or_default().insert(subject.to_owned(), value.to_string());
        let before = before.and_then(|text| number(text.as_bytes())).unwrap_or_default();
        let increment = value - before;
        (Self { total: &self.total + &increment, sources }, increment)
    }

    /// What it stands at.
    pub(super) fn value(&self) -> String {
        self.total.to_string()
    }

    /// What is stored of it: header block, if it is another than `head`, and payload.
    pub(super) fn stored(&self, head: &[u8]) -> (Option<Vec<u8>>, Vec<u8>) {
        let sources = (!self.sources.is_empty()).then(|| {
            let text = serde_json::to_vec(&self.sources).unwrap_or_default();
            edit::set(head, SOURCES, &text)
        });
        (sources, format!("{{\"val\":\"{}\"}}", self.total).into_bytes())
    }
}

/// Decimal digits, with or without a sign.
fn is_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// The number that is written there. To read it takes time that grows with the square of its digits.
fn number(text: &[u8]) -> Option<BigInt> {
    if is_number(text) { BigInt::parse_bytes(text, 10) } else { None }
}

/// What a message of a client wants to add.
///
/// # Errors
/// It is no number, or does not go with the stream or with the rest of the message.
pub(super) fn increment(rules: &Rules, head: &[u8], payload: &[u8]) -> Result<Option<BigInt>, ApiError> {
    let Some(text) = headers::get(head, INCREMENT).filter(|text| !text.is_empty()) else { return Ok(None) };
    if !is_number(text) {
        return Err(ApiError::message_incr_invalid());
    }
    if !rules.counter {
        return Err(ApiError::message_incr_disabled());
    }
    if !payload.is_empty() {
        return Err(ApiError::message_incr_payload());
    }
    let others =
        [b"Nats-Rollup", EXPECTED_STREAM, EXPECTED_LAST_ID, EXPECTED_SUBJECT, EXPECTED_LAST, EXPECTED_LAST_OF_SUBJECT];
    if others.iter().any(|key| headers::get(head, key).is_some_and(|value| !value.is_empty())) {
        return Err(ApiError::message_incr_invalid());
    }
    if head.len() > HEADER_BYTES_MAX {
        return Err(ApiError::stream_header_exceeds_maximum());
    }
    number(text).map(Some).ok_or_else(ApiError::message_incr_invalid)
}

/// What a message says that comes from a counter of another stream: that stream's name, its subject there, what it came to.
///
/// # Errors
/// It is no counter's.
pub(super) fn sourced<'a>(head: &'a [u8], payload: &[u8]) -> Result<(&'a str, &'a str, BigInt), ApiError> {
    let text = headers::get(head, INCREMENT).filter(|text| !text.is_empty());
    text.and_then(number).ok_or_else(|| match text {
        None => ApiError::message_incr_missing(),
        Some(_) => ApiError::message_incr_invalid(),
    })?;
    let source = headers::get(head, STREAM_SOURCE).and_then(|source| std::str::from_utf8(source).ok());
    let mut fields = source.into_iter().flat_map(|source| source.split(' '));
    let (stream, subject) = (fields.next(), fields.nth(3));
    let (stream, subject) = stream.zip(subject).ok_or_else(ApiError::message_counter_broken)?;
    let counter = Counter::read(b"", payload)?;
    Ok((stream, subject, counter.total))
}

/// The header block and the payload of a message that makes a counter what it is.
pub(super) fn stored_increment(counter: &Counter, increment: &BigInt, head: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let head = edit::set(head, INCREMENT, increment.to_string().as_bytes());
    let (with_sources, payload) = counter.stored(&head);
    (with_sources.unwrap_or(head), payload)
}

/// Counters that were stored and may not be readable yet.
#[derive(Default)]
pub(super) struct Counters(FxHashMap<Box<[u8]>, (u64, Counter)>);

impl Counters {
    /// One was given to the log; what was so before `readable_seq` can be read.
    pub(super) fn add(&mut self, subject: &[u8], seq: u64, counter: Counter, readable_seq: u64) {
        if self.0.len() >= KEPT {
            self.0.retain(|_, (seq, _)| *seq > readable_seq);
        }
        self.0.insert(subject.into(), (seq, counter));
    }

    /// The counter that was given to the log under this number.
    pub(super) fn get(&self, subject: &[u8], seq: u64) -> Option<&Counter> {
        self.0.get(subject).filter(|(found, _)| *found == seq).map(|(_, counter)| counter)
    }

    /// None of them will ever be read.
    pub(super) fn lost(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_and_nothing_else() {
        for (text, expected) in [
            ("5", Some("5")),
            ("+5", Some("5")),
            ("-007", Some("-7")),
            ("123456789012345678901234567890", Some("123456789012345678901234567890")),
            ("", None),
            ("-", None),
            ("1_000", None),
            ("0x10", None),
            ("1.5", None),
            ("+-1", None),
        ] {
            assert_eq!(number(text.as_bytes()).map(|n| n.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn sources_are_handed_on() {
        let head = b"NATS/1.0\r\nNats-Counter-Sources: {\"A\":{\"a\":\"5\"}}\r\n\r\n";
        let counter = Counter::read(head, b"{\"val\":\"7\"}").unwrap().plus(&BigInt::from(-10));
        let (stored_head, payload) = counter.stored(b"NATS/1.0\r\nNats-Incr: -10\r\n\r\n");
        assert_eq!(payload, b"{\"val\":\"-3\"}");
        let expected = b"NATS/1.0\r\nNats-Incr: -10\r\nNats-Counter-Sources: {\"A\":{\"a\":\"5\"}}\r\n\r\n";
        assert_eq!(stored_head.unwrap(), expected);
        assert!(Counter::read(b"", b"7").is_err());
        // What comes from there: only what is new of it is added.
        let head = b"NATS/1.0\r\nNats-Incr: 1\r\nNats-Stream-Source: A 9 > > a abcd\r\n\r\n";
        let (stream, subject, value) = sourced(head, b"{\"val\":\"9\"}").unwrap();
        assert_eq!((stream, subject), ("A", "a"));
        let (counter, increment) = counter.following(stream, subject, value);
        let (stored_head, payload) = stored_increment(&counter, &increment, head);
        assert_eq!(payload, b"{\"val\":\"1\"}");
        let expected = b"NATS/1.0\r\nNats-Stream-Source: A 9 > > a abcd\r\nNats-Incr: 4\r\n\
            Nats-Counter-Sources: {\"A\":{\"a\":\"9\"}}\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&stored_head), String::from_utf8_lossy(expected));
        let code = |head: &[u8], payload: &[u8]| sourced(head, payload).unwrap_err().err_code;
        assert_eq!(code(b"NATS/1.0\r\n\r\n", b"{\"val\":\"9\"}"), 10169);
        assert_eq!(code(b"NATS/1.0\r\nNats-Incr: x\r\n\r\n", b"{\"val\":\"9\"}"), 10171);
        assert_eq!(code(b"NATS/1.0\r\nNats-Incr: 1\r\n\r\n", b"{\"val\":\"9\"}"), 10172);
        assert_eq!(code(head, b"9"), 10172);
        assert!(Counter::read(b"", b"{\"val\":\"x\"}").is_err());
    }
}
