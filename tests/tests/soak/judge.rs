//! What the server still has, held against the ledger.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use sublog_tests::clock;

use crate::ledger::{Count, Promise, Removed, fingerprint};
use crate::link::Link;
use crate::workers::read_all;
use crate::{LIM_MESSAGES, STREAMS, Shared};

/// Acknowledged messages that are read back after a kill.
const READ_BACK: usize = 40;

/// `known`: the highest acknowledged sequence, and some of those before it.
pub(crate) fn after_a_kill(shared: &Shared, known: &(u64, Vec<u64>)) {
    let Some(mut link) = Link::open(shared, "judge") else { return };
    let (last_acked, seqs) = known;
    let state = link.done("STREAM.INFO.LIM", &Value::Null)["state"].take();
    if state["last_seq"].as_u64().unwrap_or_default() < *last_acked {
        shared.ledger.fault(Promise::Stored, format!("LIM {last_acked} was acknowledged: {state}"));
    }
    let step = (seqs.len() / READ_BACK).max(1);
    for seq in seqs.iter().step_by(step) {
        let shown = link.api("STREAM.MSG.GET.LIM", &json!({ "seq": seq })).expect("the server lives");
        let entry = shared.ledger.book("LIM", |book| book.entries.get(seq).copied().unwrap_or_default());
        shared.ledger.count(Count::Looked, 1);
        let is_there = shown["message"]["seq"] == json!(seq);
        match entry.removed {
            Removed::No if entry.acked && !is_there => {
                shared.ledger.fault(Promise::Stored, format!("LIM {seq} after a kill: {shown}"));
            }
            Removed::Gone(_) if is_there => {
                shared.ledger.fault(Promise::RemovedStaysRemoved, format!("LIM {seq} after a kill: {shown}"));
            }
            _ => {}
        }
    }
    for (stream, consumers) in STREAMS {
        for consumer in consumers {
            let info = link.api(&format!("CONSUMER.INFO.{stream}.{consumer}"), &Value::Null).expect("the server lives");
            if info["name"] != json!(consumer) {
                shared.ledger.fault(Promise::Definitions, format!("{stream} {consumer} after a kill: {info}"));
            }
        }
    }
}

/// Everything was delivered, settled, and nothing is published.
pub(crate) fn at_the_end(shared: &Shared) {
    let mut link = Link::open(shared, "judge").expect("the run is not over");
    limited(shared, &mut link);
    for (stream, consumers) in STREAMS.iter().filter(|(stream, _)| *stream == "WQ" || *stream == "INT") {
        consumed(shared, stream, consumers);
        // The removal of what was settled last may be under way.
        let deadline = clock::now() + clock::PATIENCE;
        while link.done(&format!("STREAM.INFO.{stream}"), &Value::Null)["state"]["messages"] != json!(0) {
            if clock::now() > deadline {
                let left: Vec<u64> = read_seqs(shared, &mut link, stream);
                shared.ledger.fault(Promise::SettledIsRemoved, format!("{stream} still has {left:?}"));
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The first few sequences that a stream still has.
fn read_seqs(shared: &Shared, link: &mut Link<'_>, stream: &str) -> Vec<u64> {
    let state = link.done(&format!("STREAM.INFO.{stream}"), &Value::Null)["state"].take();
    let first = state["first_seq"].as_u64().unwrap_or_default();
    let entry = shared.ledger.book(stream, |book| book.entries.get(&first).copied());
    println!("{stream}: {state}, of the first is known {entry:?}");
    vec![first]
}

/// What a stream with limits has.
fn limited(shared: &Shared, link: &mut Link<'_>) {
    let there: HashMap<u64, u64> = read_all(link, "LIM")
        .into_iter()
        .map(|(seq, message)| (seq, fingerprint(&message.subject, &message.payload)))
        .collect();
    let last = there.keys().max().copied().unwrap_or_default();
    let mut faults = Vec::new();
    shared.ledger.book("LIM", |book| {
        for (seq, entry) in &book.entries {
            let shown = there.get(seq);
            if let (Some(shown), Some(hash)) = (shown, entry.hash)
                && *shown != hash
            {
                faults.push((Promise::SequencesAreUsedOnce, *seq));
            }
            // The limit takes the oldest, once that many came after it.
            let limited = last.saturating_sub(*seq) >= LIM_MESSAGES;
            match entry.removed {
                Removed::No if entry.acked && shown.is_none() && !limited => faults.push((Promise::Stored, *seq)),
                Removed::Gone(_) if shown.is_some() => faults.push((Promise::RemovedStaysRemoved, *seq)),
                _ => {}
            }
        }
    });
    shared.ledger.count(Count::Looked, there.len() as u64);
    for (promise, seq) in faults {
        shared.ledger.fault(promise, format!("LIM {seq} at the end"));
    }
    if there.is_empty() || there.len() as u64 > LIM_MESSAGES {
        shared.ledger.fault(Promise::Stored, format!("LIM has {} messages", there.len()));
    }
}

/// Whatever was acknowledged came to somebody who tried to settle it, unless it was removed before.
fn consumed(shared: &Shared, stream: &str, consumers: &[&str]) {
    let mut lost = Vec::new();
    shared.ledger.book(stream, |book| {
        for (seq, entry) in &book.entries {
            for (at, consumer) in consumers.iter().enumerate() {
                let due = entry.acked && matches!(entry.removed, Removed::No);
                if due && !entry.tried.get(at).copied().unwrap_or_default() {
                    lost.push(format!("{stream} {seq} for {consumer}"));
                }
            }
        }
    });
    for text in lost {
        shared.ledger.fault(Promise::Delivered, text);
    }
}
