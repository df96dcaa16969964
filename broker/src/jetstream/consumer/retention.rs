//! Streams that keep messages only for their consumers: what nobody needs any longer is removed.
//!
//! Of a work queue a message goes when its one consumer has settled it; of a stream by interest when all consumers that it
//! is for have, or when there is none. How far consumers are is on disk a moment later than a removal, or earlier: so when
//! the server starts everything is [reviewed](review).

use std::ops::ControlFlow;
use std::sync::Arc;

use sublog_storage::{Log, Visit};

use super::driver::Consumer;
use crate::jetstream::config::stream::RetentionPolicy;
use crate::jetstream::read;
use crate::jetstream::stream::Stream;

/// Bytes of the log looked at before others have a turn.
const REVIEW_TURN_BYTES: usize = 1 << 20;

/// Removes messages, each of which was settled by `by`, that nobody else needs.
pub fn settled(stream: &Stream, by: &Arc<Consumer>, mut seqs: Vec<u64>) {
    let Some(log) = stream.log().filter(|_| !stream.consumers.are_incomplete()) else { return };
    match stream.retention() {
        RetentionPolicy::Limits => return,
        RetentionPolicy::WorkQueue => {}
        RetentionPolicy::Interest => {
            let others: Vec<Arc<Consumer>> =
                stream.consumers.all().into_iter().filter(|other| !Arc::ptr_eq(other, by)).collect();
            if !others.is_empty() {
                seqs.retain(|seq| match read::message(log.log(), *seq) {
                    Ok(Some(record)) => !others.iter().any(|other| other.needs(*seq, &record.subject)),
                    // It is gone already, or is looked at again when the server starts.
                    Ok(None) | Err(_) => false,
                });
            }
        }
    }
    remove(&stream.name, log.log(), seqs);
}

fn remove(stream: &str, log: &Log, mut seqs: Vec<u64>) {
    if seqs.is_empty() {
        return;
    }
    seqs.sort_unstable();
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for seq in seqs {
        match ranges.last_mut() {
            Some((_, last)) if seq <= last.saturating_add(1) => *last = seq,
            _ => ranges.push((seq, seq)),
        }
    }
    let stream = stream.to_owned();
    log.remove(
        ranges,
        Box::new(move |removed| {
            if let Err(error) = removed {
                tracing::warn!(stream, "Messages that nobody needs any longer cannot be removed: {error}");
            }
        }),
    );
}

/// Looks at all messages up to the last one there is now, and removes what nobody needs.
pub async fn review(stream: Arc<Stream>) {
    let Some(log) = stream.log().cloned() else { return };
    let retention = stream.retention();
    if retention == RetentionPolicy::Limits || stream.consumers.are_incomplete() {
        return;
    }
    let (mut reader, end) = (log.log().reader(), log.log().readable_seq());
    loop {
        let consumers = stream.consumers.all();
        let mut seqs = Vec::new();
        let read = reader.visit(REVIEW_TURN_BYTES, &mut |visit| {
            let Visit::Record(record) = visit else { return ControlFlow::Continue(()) };
            if record.seq > end {
                return ControlFlow::Break(());
            }
            let mut concerned = consumers.iter().filter(|consumer| consumer.is_about(record.subject)).peekable();
            // Work waits for a worker.
            let waits = retention == RetentionPolicy::WorkQueue && concerned.peek().is_none();
            if !waits && !concerned.any(|consumer| consumer.needs(record.seq, record.subject)) {
                seqs.push(record.seq);
            }
            ControlFlow::Continue(())
        });
        remove(&stream.name, log.log(), seqs);
        match read {
            Ok(outcome) if outcome.end == sublog_storage::ReadEnd::Budget && !stream.is_gone() => {}
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(stream = &*stream.name, "What nobody needs any longer cannot be looked for: {error}");
                return;
            }
        }
        tokio::task::yield_now().await;
    }
}
