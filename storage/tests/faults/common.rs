//! What all parts share: contents that can be told apart, small logs, the line that each part prints.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use sublog_storage::disk::sim::Chance;
use sublog_storage::{Log, LogOptions, NoObserver, OpenError, RealDisk, RecordRef, RecoveryReport, Visit};

/// A number from the environment.
pub(crate) fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Prints a part's result. `failures` must be 0 for the part to have passed.
pub(crate) fn report(goal: &str, what: &str, counts: &str, failures: u64) {
    println!("FAULTS | {goal} | {what} | {counts} | {failures}");
}

/// Prints that a part cannot be done here, and why.
pub(crate) fn skipped(goal: &str, what: &str, why: &str) {
    println!("FAULTS | {goal} | {what} | SKIPPED: {why} | -");
}

/// Small segments, so that logs roll often.
pub(crate) fn small() -> LogOptions {
    LogOptions {
        segment_bytes_first: 32 << 10,
        segment_bytes_max: 256 << 10,
        zero_ahead_bytes: 32 << 10,
        ..LogOptions::default()
    }
}

/// Opens a log on the file system, with its own thread.
pub(crate) fn open_real(dir: &Path) -> Result<(Log, RecoveryReport), OpenError> {
    Log::open(RealDisk::shared(), dir, small(), Arc::new(NoObserver))
}

/// Time, subject, headers and payload.
pub(crate) type Content = (i64, Vec<u8>, Vec<u8>, Vec<u8>);

/// The record with that identity: the same whenever it is asked for, and no other has the same bytes.
pub(crate) fn content(id: u64) -> Content {
    let mut chance = Chance::new(id);
    let len = match chance.below(60) {
        0 => 3000,
        1..8 => chance.below(500),
        _ => chance.below(60),
    };
    let mut payload = id.to_le_bytes().to_vec();
    while (payload.len() as u64) < 8 + len {
        payload.extend_from_slice(&chance.bits().to_le_bytes());
    }
    let headers = if chance.percent(20) { b"NATS/1.0\r\nA: b\r\n\r\n".to_vec() } else { Vec::new() };
    let ts = i64::try_from(id & 0xffff_ffff).unwrap();
    (ts, format!("s.{}", id % 13).into_bytes(), headers, payload)
}

/// The identity that a record has, if all of its bytes are that record's.
pub(crate) fn identity(record: &RecordRef<'_>) -> Option<u64> {
    let id = u64::from_le_bytes(record.payload.get(..8)?.try_into().ok()?);
    let (ts, subject, headers, payload) = content(id);
    let same =
        record.ts_ns == ts && record.subject == subject && record.headers == headers && record.payload == payload;
    same.then_some(id)
}

/// Visits everything readable.
pub(crate) fn visit_all(log: &Log, mut f: impl FnMut(Visit<'_>)) {
    log.reader()
        .visit(usize::MAX, &mut |visit| {
            f(visit);
            ControlFlow::Continue(())
        })
        .unwrap();
}
