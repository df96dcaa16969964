//! Messages that replace those before them.
//!
//! Such a message is committed first, then what it replaces is removed, then it is acknowledged. A crash in between leaves
//! what was to go: [`finish`] removes it when the stream is opened again.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use sublog_protocol::headers;
use sublog_storage::index::{FilterSet, SubjectFilter};
use sublog_storage::{AppendError, Log, Purge, ReadError, Visit};

use super::Stream;
use super::fast;
use crate::account::Account;
use crate::jetstream::errors::ApiError;
use crate::jetstream::publish::{self, Note, Replies, store_failed};
use crate::jetstream::store::Span;

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

impl Rollup {
    /// What a value of the header asks for.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        [(&b"all"[..], Self::All), (b"sub", Self::Subject)]
            .into_iter()
            .find_map(|(text, rollup)| value.eq_ignore_ascii_case(text).then_some(rollup))
    }
}

/// How long before the log's last message a removal may have begun that a crash interrupted. They take milliseconds.
const UNFINISHED_NS: i64 = 10_000_000_000;

/// Messages that were taken and replace others.
pub(super) struct Rolling {
    /// Their numbers.
    pub(super) span: Span,
    /// What they replace.
    pub(super) replaced: Vec<Replaced>,
    /// Where the acknowledgement of the last one goes, and what that says besides.
    pub(super) reply: Option<Box<[u8]>>,
    pub(super) note: Option<Note>,
    /// The group of a fast batch that it is.
    pub(super) fast: Option<fast::Group>,
}

impl Rolling {
    /// Once the messages are committed, removes what they replace and then answers. In this order a crash may leave too
    /// much, never too little.
    pub(super) fn wait(self, account: &Arc<Account>, stream: &Arc<Stream>) {
        let Self { span, replaced, reply, note, fast } = self;
        let Some(log) = stream.log().cloned() else { return };
        let (account, stream, again) = (account.clone(), stream.clone(), log.clone());
        let work = move |result: Result<(), sublog_storage::LogError>| {
            let runtime = again.runtime().clone();
            // Removing may read, and waits for the disk.
            runtime.spawn_blocking(move || {
                let failed = match result {
                    Ok(()) => replaced.iter().find_map(|replaced| remove(again.log(), replaced).err()),
                    Err(error) => Some(store_failed(&AppendError::Failed(error))),
                };
                if let Some(group) = fast {
                    stream.fast.settle(&[group], failed.map_or(Ok(()), Err));
                    stream.fast.tell(&account, &stream);
                    return;
                }
                let Some(reply) = reply else { return };
                match failed {
                    None => {
                        let mut replies = Replies::default();
                        replies.push(span.last, note, &reply);
                        publish::acknowledge(&account, &stream, Span::default(), 0, replies);
                    }
                    Some(error) => {
                        let text = publish::refusal(&stream, &error);
                        account.send(|sender| sender.publish(&account, &reply, None, 0, &text));
                    }
                }
            });
        };
        log.when_committed(span, Box::new(work));
    }
}

/// Does what the last run did not come to: removes what the newest rollups replace.
pub fn finish(stream: &Stream) {
    let Some(log) = stream.log().filter(|_| stream.rules().rollup) else { return };
    let log = log.log();
    match newest(log) {
        Ok(rollups) => {
            for (subject, (seq, rollup)) in rollups {
                // Why it cannot is in the log; too much is there, nothing is missing.
                let _ = remove(log, &Replaced::by(seq, &subject, rollup));
            }
        }
        Err(error) => tracing::error!(stream = &*stream.name, "The newest rollups cannot be read: {error}"),
    }
}

/// By subject: the number of its last rollup, and what that replaces.
type Rollups = BTreeMap<Box<[u8]>, (u64, Rollup)>;

/// The last rollup of each subject, among the newest messages.
fn newest(log: &Log) -> Result<Rollups, ReadError> {
    let mut rollups = Rollups::new();
    let mut reader = log.reader();
    reader.seek(log.seek_time(log.state().last_ts_ns.saturating_sub(UNFINISHED_NS))?);
    reader.visit(usize::MAX, &mut |visit| {
        if let Visit::Record(record) = visit
            && let Some(rollup) = headers::get(record.headers, b"Nats-Rollup").and_then(Rollup::parse)
        {
            // One that replaced everything has done so for all subjects before it.
            let subject: Box<[u8]> = if rollup == Rollup::All { Box::default() } else { record.subject.into() };
            rollups.insert(subject, (record.seq, rollup));
        }
        ControlFlow::Continue(())
    })?;
    Ok(rollups)
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

#[cfg(test)]
mod tests {
    use sublog_protocol::headers::Builder;
    use sublog_storage::{LogOptions, RecordBatch};

    use super::*;
    use crate::jetstream::config::StreamConfig;
    use crate::jetstream::store::StreamLog;

    fn header(value: &[u8]) -> Vec<u8> {
        let mut block = Builder::new();
        block.add(b"Nats-Rollup", value);
        block.finish()
    }

    fn left(log: &Log) -> Vec<u64> {
        let mut left = Vec::new();
        let visited = log.reader().visit(usize::MAX, &mut |visit| {
            if let Visit::Record(record) = visit {
                left.push(record.seq);
            }
            ControlFlow::Continue(())
        });
        visited.unwrap();
        left
    }

    #[test]
    fn what_a_crash_left_undone_is_done_when_the_stream_is_opened() {
        let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let open = StreamLog::open("S", &dir.path().join("S"), LogOptions::default(), None, runtime.handle());
        let (log, _) = open.unwrap();
        let stream = Stream::new(1, "S", Ok(log.clone()));
        // As a server leaves them that is killed between a rollup's commit and the removal.
        let (sub, all) = (header(b"sub"), header(b"all"));
        let mut batch = RecordBatch::new();
        for (subject, head) in [("a", &[][..]), ("b", &[]), ("a", &sub), ("a", &[]), ("c", &[])] {
            batch.push(1_000, subject.as_bytes(), head, b"x").unwrap();
        }
        log.append(&mut batch, false).unwrap();
        log.log().sync_now().unwrap();
        finish(&stream);
        assert_eq!(left(log.log()), [1, 2, 3, 4, 5], "rollups are off");
        stream.set_rules(&StreamConfig { name: "S".to_owned(), allow_rollup_hdrs: true, ..StreamConfig::default() });
        finish(&stream);
        assert_eq!(left(log.log()), [2, 3, 4, 5]);
        batch.push(1_001, b"d", &all, b"x").unwrap();
        log.append(&mut batch, false).unwrap();
        log.log().sync_now().unwrap();
        finish(&stream);
        assert_eq!(left(log.log()), [6]);
    }
}
