//! Messages that replace those before them.

use std::ops::ControlFlow;
use std::sync::Arc;

use sublog_storage::index::{FilterSet, SubjectFilter};
use sublog_storage::{AppendError, Log, Visit};

use super::Stream;
use crate::jetstream::publish::{self, Replies, store_failed};
use crate::jetstream::store::Span;
use crate::server::Server;

/// Which messages a message replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollup {
    /// All of its subject.
    Subject,
    /// All of the stream.
    All,
}

/// A message that was taken and replaces others.
pub(super) struct Rolling {
    /// Its number.
    pub(super) seq: u64,
    /// What it replaces.
    pub(super) rollup: Rollup,
    /// Its subject.
    pub(super) subject: Box<[u8]>,
    /// Where its acknowledgement goes.
    pub(super) reply: Option<Box<[u8]>>,
}

impl Rolling {
    /// Once the message is committed, removes what it replaces and then answers. In this order a crash may leave too much,
    /// never too little.
    pub(super) fn wait(self, server: &Arc<Server>, stream: &Arc<Stream>) {
        let Self { seq, rollup, subject, reply } = self;
        let Some(log) = stream.log().cloned() else { return };
        let (server, stream, again) = (server.clone(), stream.clone(), log.clone());
        let work = move |result: Result<(), sublog_storage::LogError>| {
            let runtime = again.runtime().clone();
            // Removing may read, and waits for the disk.
            runtime.spawn_blocking(move || {
                let failed = match result {
                    Ok(()) => remove_before(again.log(), seq, rollup, &subject).err(),
                    Err(error) => Some(store_failed(&AppendError::Failed(error))),
                };
                let Some(reply) = reply else { return };
                match failed {
                    None => {
                        let mut replies = Replies::default();
                        replies.push(seq, false, &reply);
                        publish::acknowledge(&server, &stream, Span::default(), 0, replies);
                    }
                    Some(error) => {
                        let text = publish::refusal(&stream, &error);
                        server.send(|sender| sender.publish(&server, &reply, None, 0, &text));
                    }
                }
            });
        };
        log.when_committed(Span { first: seq, last: seq }, Box::new(work));
    }
}

fn remove_before(
    log: &Log,
    seq: u64,
    rollup: Rollup,
    subject: &[u8],
) -> Result<(), crate::jetstream::errors::ApiError> {
    let failed = |error: &dyn std::fmt::Display| {
        tracing::warn!("A rollup could not remove what it replaces: {error}");
        crate::jetstream::errors::ApiError::stream_rollup_failed("what the message replaces could not be removed")
    };
    let mut ranges = Vec::new();
    match (rollup, SubjectFilter::parse(subject)) {
        (Rollup::All, _) => ranges.push((1, seq.saturating_sub(1))),
        (Rollup::Subject, Ok(filter)) => {
            let mut older = log.select(FilterSet::from(filter), 1);
            older
                .visit(usize::MAX, &mut |visit| match visit {
                    Visit::Record(record) if record.seq >= seq => ControlFlow::Break(()),
                    Visit::Record(record) => {
                        if record.subject == subject {
                            ranges.push((record.seq, record.seq));
                        }
                        ControlFlow::Continue(())
                    }
                    Visit::Lost(_) => ControlFlow::Continue(()),
                })
                .map_err(|e| failed(&e))?;
        }
        (Rollup::Subject, Err(_)) => {}
    }
    if !ranges.is_empty() {
        log.remove_now(ranges).map_err(|e| failed(&e))?;
    }
    Ok(())
}
