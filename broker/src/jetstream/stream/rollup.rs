//! Messages that replace those before them.

use std::sync::Arc;

use sublog_storage::index::{FilterSet, SubjectFilter};
use sublog_storage::{AppendError, Log, Purge};

use super::Stream;
use crate::jetstream::publish::{self, Note, Replies, store_failed};
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
    /// Where its acknowledgement goes, and what that says besides.
    pub(super) reply: Option<Box<[u8]>>,
    pub(super) note: Option<Note>,
}

impl Rolling {
    /// Once the message is committed, removes what it replaces and then answers. In this order a crash may leave too much,
    /// never too little.
    pub(super) fn wait(self, server: &Arc<Server>, stream: &Arc<Stream>) {
        let Self { seq, rollup, subject, reply, note } = self;
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
                        replies.push(seq, note, &reply);
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
    let before_seq = Some(seq);
    let purge = match (rollup, SubjectFilter::parse(subject)) {
        (Rollup::All, _) => Purge { before_seq, ..Purge::default() },
        // A subject may look like a filter; then it has nothing to replace.
        (Rollup::Subject, Ok(filter)) if filter.is_literal() => {
            Purge { filters: Some(FilterSet::from(filter)), before_seq, keep: 0 }
        }
        (Rollup::Subject, _) => return Ok(()),
    };
    log.purge_now(purge).map(|_| ()).map_err(|e| failed(&e))
}
