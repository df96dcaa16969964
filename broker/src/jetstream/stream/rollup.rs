//! Messages that replace those before them.

use std::sync::Arc;

use sublog_storage::index::{FilterSet, SubjectFilter};
use sublog_storage::{AppendError, Log, Purge};

use super::Stream;
use crate::jetstream::errors::ApiError;
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

/// Messages that go when another one is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replaced {
    /// Those before this number ...
    pub(super) before_seq: u64,
    /// ... of this subject, or that it selects if it is a filter; `None` for all.
    pub(super) subject: Option<Box<[u8]>>,
}

impl Replaced {
    /// What a message with this number and subject replaces.
    pub(super) fn by(seq: u64, subject: &[u8], rollup: Rollup) -> Self {
        Self { before_seq: seq, subject: (rollup == Rollup::Subject).then(|| subject.into()) }
    }
}

/// Messages that were taken and replace others.
pub(super) struct Rolling {
    /// Their numbers.
    pub(super) span: Span,
    /// What they replace.
    pub(super) replaced: Vec<Replaced>,
    /// Where the acknowledgement of the last one goes, and what that says besides.
    pub(super) reply: Option<Box<[u8]>>,
    pub(super) note: Option<Note>,
}

impl Rolling {
    /// Once the messages are committed, removes what they replace and then answers. In this order a crash may leave too
    /// much, never too little.
    pub(super) fn wait(self, server: &Arc<Server>, stream: &Arc<Stream>) {
        let Self { span, replaced, reply, note } = self;
        let Some(log) = stream.log().cloned() else { return };
        let (server, stream, again) = (server.clone(), stream.clone(), log.clone());
        let work = move |result: Result<(), sublog_storage::LogError>| {
            let runtime = again.runtime().clone();
            // Removing may read, and waits for the disk.
            runtime.spawn_blocking(move || {
                let failed = match result {
                    Ok(()) => replaced.iter().find_map(|replaced| remove(again.log(), replaced).err()),
                    Err(error) => Some(store_failed(&AppendError::Failed(error))),
                };
                let Some(reply) = reply else { return };
                match failed {
                    None => {
                        let mut replies = Replies::default();
                        replies.push(span.last, note, &reply);
                        publish::acknowledge(&server, &stream, Span::default(), 0, replies);
                    }
                    Some(error) => {
                        let text = publish::refusal(&stream, &error);
                        server.send(|sender| sender.publish(&server, &reply, None, 0, &text));
                    }
                }
            });
        };
        log.when_committed(span, Box::new(work));
    }
}

fn remove(log: &Log, replaced: &Replaced) -> Result<(), ApiError> {
    let before_seq = Some(replaced.before_seq);
    let purge = match replaced.subject.as_deref().map(SubjectFilter::parse) {
        None => Purge { before_seq, ..Purge::default() },
        // A subject that is a filter replaces all that it selects: purging `a.*` of a bucket purges its keys.
        Some(Ok(filter)) => Purge { filters: Some(FilterSet::from(filter)), before_seq, keep: 0 },
        Some(Err(_)) => return Ok(()),
    };
    log.purge_now(purge).map(|_| ()).map_err(|error| {
        tracing::warn!("A rollup could not remove what it replaces: {error}");
        ApiError::stream_rollup_failed("what the message replaces could not be removed")
    })
}
