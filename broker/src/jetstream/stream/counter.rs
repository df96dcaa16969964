//! Streams of counters: a message says what is to be added, and what is stored says what that comes to.

use std::collections::BTreeMap;

use num_bigint::BigInt;
use rustc_hash::FxHashMap;
use serde::Deserialize;
use sublog_protocol::headers::{self, edit};

use super::checks::{
    EXPECTED_LAST, EXPECTED_LAST_ID, EXPECTED_LAST_OF_SUBJECT, EXPECTED_STREAM, EXPECTED_SUBJECT, Rules,
};
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
fn number(text: &[u8]) -> Option<BigInt> {
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    BigInt::parse_bytes(text, 10)
}

/// What a message of a client wants to add.
///
/// # Errors
/// It is no number, or does not go with the stream or with the rest of the message.
pub(super) fn increment(rules: &Rules, head: &[u8], payload: &[u8]) -> Result<Option<BigInt>, ApiError> {
    let Some(text) = headers::get(head, INCREMENT).filter(|text| !text.is_empty()) else { return Ok(None) };
    let increment = number(text).ok_or_else(ApiError::message_incr_invalid)?;
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
    Ok(Some(increment))
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
        assert!(Counter::read(b"", b"{\"val\":\"x\"}").is_err());
    }
}
