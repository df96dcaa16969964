//! How far a source is.
//!
//! The stream's own last message of it says so, and that is always true. But a stream may be emptied, or be a work queue; so
//! it is also noted in the metadata now and then, after the messages it speaks of are on disk: a note may be behind, which the
//! stream's messages set right, but never ahead.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use sublog_protocol::headers;
use sublog_storage::{ConsumerBatch, Log, Meta, MetaError, Visit};

use super::origin;
use crate::jetstream::config::stream::StreamSource;
use crate::jetstream::read::Unreadable;

/// Where a source is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// When the stream was created that is filled: another of its name begins anew.
    pub(super) stream_created_ns: i64,
    /// The last message that was copied; 0 if none was.
    pub(super) seq: u64,
    /// Of which stream.
    pub(super) identity: String,
    /// The stream's last number then.
    pub(super) target_seq: u64,
}

/// Under which name it is noted. No consumer's name has a blank.
fn key(source: &StreamSource) -> String {
    let (filters, destinations) = origin::selects(source);
    format!("source {} {filters} {destinations}", source.label())
}

/// Notes a position; on disk when it returns.
pub(super) fn note(meta: &Meta, stream: &str, source: &StreamSource, position: &Position) -> Result<(), MetaError> {
    let mut batch = ConsumerBatch::default();
    batch.put_position(stream, &key(source), position)?;
    meta.write_consumers(batch)
}

/// Forgets what was noted of a stream's sources.
pub(super) fn forget(meta: &Meta, stream: &str, sources: &[StreamSource]) -> Result<(), MetaError> {
    let mut batch = ConsumerBatch::default();
    sources.iter().for_each(|source| batch.remove(stream, &key(source)));
    meta.write_consumers(batch)
}

/// Finds where a source of `stream` is, and what was noted of it.
pub(super) fn find(
    meta: &Meta,
    stream: &str,
    created_ns: i64,
    log: &Log,
    source: &StreamSource,
) -> Result<(Position, Position), Unreadable> {
    let noted = match meta.position::<Position>(stream, &key(source)) {
        Ok(Some(position)) if position.stream_created_ns == created_ns => position,
        Ok(_) => Position { stream_created_ns: created_ns, ..Position::default() },
        Err(error) => {
            tracing::warn!(stream, "Where a source is cannot be read, the stream's messages will say so: {error}");
            Position { stream_created_ns: created_ns, ..Position::default() }
        }
    };
    let (selects, label) = (origin::selects(source), source.label());
    let mut found = None;
    log.reader().visit_backward(log.readable_seq(), &mut |visit| {
        let Visit::Record(record) = visit else { return ControlFlow::Continue(()) };
        if record.seq <= noted.target_seq {
            return ControlFlow::Break(());
        }
        let value = headers::get(record.headers, origin::STREAM_SOURCE).unwrap_or_default();
        let value = String::from_utf8_lossy(value);
        match origin::parse(&value, &label, &selects) {
            None => ControlFlow::Continue(()),
            Some((seq, identity)) => {
                let (identity, target_seq) = (identity.to_owned(), record.seq);
                found = Some(Position { seq, identity, target_seq, ..noted.clone() });
                ControlFlow::Break(())
            }
        }
    })?;
    Ok((found.unwrap_or_else(|| noted.clone()), noted))
}
