//! What one publisher records: a desk for each log it publishes to, where a batch's records gather.
//!
//! A route names its desk, so that recording a message is one look into a list.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use sublog_protocol::decode::Publish;
use sublog_storage::{AppendError, RecordBatch, RecordTooLarge};

use super::acks::Waits;
use super::fanout::Fanout;
use crate::capture::is_captured;
use crate::jetstream::publish::Intake;
use crate::jetstream::store::{Span, StreamLog};
use crate::jetstream::stream::Stream;
use crate::router::Router;
use crate::server::Server;

/// Where a message goes besides its subscribers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Sink {
    /// Nowhere.
    #[default]
    Nothing,
    /// To the log of this desk.
    Log(usize),
    /// It is a request to the server itself.
    Server,
}

/// Records for one log.
pub(super) struct Desk {
    /// `None`: the log could not be opened.
    log: Option<Arc<StreamLog>>,
    batch: RecordBatch,
    /// For a declared stream: what it needs to know of the records besides.
    intake: Option<Intake>,
    /// What the log took since the last flush.
    unflushed: Span,
    staged: bool,
}

/// See the module.
pub(super) struct Desks {
    /// The first is the capture stream's, if there is one.
    all: Vec<Desk>,
    captures: bool,
    by_stream: FxHashMap<u64, usize>,
    /// Desks with records of this batch, and those handed over already.
    staged: Vec<usize>,
    handed_over: usize,
    /// Desks whose logs took something since the last flush.
    unflushed: Vec<usize>,
    /// Changes of the streams that were looked at.
    changes: u64,
}

impl Desks {
    /// For one publisher; `capture` takes what no declared stream does.
    pub(super) fn new(capture: Option<&Arc<StreamLog>>) -> Self {
        let all: Vec<Desk> = capture.map(|log| Desk::new(Some(log.clone()), None)).into_iter().collect();
        Self {
            captures: !all.is_empty(),
            all,
            by_stream: FxHashMap::default(),
            staged: Vec::new(),
            handed_over: 0,
            unflushed: Vec::new(),
            changes: 0,
        }
    }

    /// Where messages on a subject go.
    pub(super) fn sink_of(&mut self, router: &Router, subject: &[u8]) -> Sink {
        if router.is_servers(subject) {
            return Sink::Server;
        }
        if let Some(stream) = router.sinks.of(subject) {
            let all = &mut self.all;
            let desk = *self.by_stream.entry(stream.id).or_insert_with(|| {
                all.push(Desk::new(stream.log().cloned(), Some(stream)));
                all.len() - 1
            });
            return Sink::Log(desk);
        }
        if self.captures && is_captured(subject) { Sink::Log(0) } else { Sink::Nothing }
    }

    /// Adds a message to what its log gets of this batch.
    ///
    /// # Errors
    /// No log takes a record of that size.
    pub(super) fn record(&mut self, desk: usize, now_ns: i64, message: &Publish<'_>) -> Result<(), RecordTooLarge> {
        let Some(found) = self.all.get_mut(desk) else { return Ok(()) };
        match &mut found.intake {
            Some(intake) => intake.take(&mut found.batch, now_ns, message)?,
            None => {
                let (head, payload) = parts(message);
                found.batch.push(now_ns, message.subject, head, payload)?;
            }
        }
        if !found.staged {
            found.staged = true;
            self.staged.push(desk);
        }
        Ok(())
    }

    /// Whether a request that this desk records will get its answer from the stream.
    pub(super) fn answers(&self, desk: usize) -> bool {
        self.all.get(desk).is_some_and(|desk| desk.intake.is_some())
    }

    /// Whether anything of this publisher is recorded, as far as it is known by now.
    pub(super) fn record_something(&self) -> bool {
        !self.all.is_empty()
    }

    /// Whether there are records of this batch.
    pub(super) fn has_staged(&self) -> bool {
        !self.staged.is_empty()
    }

    /// The next desk with records of this batch, in the order they began; all of them once.
    pub(super) fn next_staged(&mut self) -> Option<&mut Desk> {
        let at = *self.staged.get(self.handed_over)?;
        self.handed_over += 1;
        self.all.get_mut(at)
    }

    /// All desks have been handed over.
    pub(super) fn settle(&mut self) {
        for at in self.staged.drain(..) {
            let Some(desk) = self.all.get_mut(at) else { continue };
            desk.staged = false;
            if !desk.unflushed.is_empty() && !self.unflushed.contains(&at) {
                self.unflushed.push(at);
            }
        }
        self.handed_over = 0;
    }

    /// Whether logs took something since the last flush.
    pub(super) fn has_unflushed(&self) -> bool {
        !self.unflushed.is_empty()
    }

    /// What a flush has to wait for; the next one begins.
    pub(super) fn take_unflushed(&mut self) -> Waits {
        let mut waits = Waits::default();
        for at in self.unflushed.drain(..) {
            let Some(desk) = self.all.get_mut(at) else { continue };
            if let Some(log) = &desk.log {
                waits.push(log.clone(), std::mem::take(&mut desk.unflushed));
            }
        }
        waits
    }

    /// Between batches: clears the desks of streams that are gone away.
    pub(super) fn let_go(&mut self, router: &Router, fanout: &mut Fanout) {
        let changes = router.sinks.changes();
        if changes == self.changes {
            return;
        }
        self.changes = changes;
        if !self.all.iter().any(Desk::is_gone) {
            return;
        }
        // Routes name desks by their places.
        fanout.forget();
        self.unflushed.clear();
        self.by_stream.clear();
        self.all.retain(|desk| !desk.is_gone());
        for (at, desk) in self.all.iter().enumerate() {
            if let Some(intake) = &desk.intake {
                self.by_stream.insert(intake.stream().id, at);
            }
            if !desk.unflushed.is_empty() {
                self.unflushed.push(at);
            }
        }
    }

    /// Gives back memory beyond `bytes` a desk.
    pub(super) fn shrink(&mut self, bytes: usize) {
        self.all.iter_mut().for_each(|desk| desk.batch.shrink_to(bytes));
    }
}

impl Desk {
    fn new(log: Option<Arc<StreamLog>>, stream: Option<Arc<Stream>>) -> Self {
        Self {
            log,
            batch: RecordBatch::new(),
            intake: stream.map(Intake::new),
            unflushed: Span::default(),
            staged: false,
        }
    }

    /// Its log.
    pub(super) fn log(&self) -> Option<Arc<StreamLog>> {
        self.log.clone()
    }

    /// A stream that is gone, with nothing of it left to wait for.
    fn is_gone(&self) -> bool {
        self.intake.as_ref().is_some_and(|intake| intake.stream().is_gone())
    }

    /// Gives the batch's records to the log. With `flush_follows` the caller waits for them next, through
    /// [`super::acks::answer_when_committed`].
    ///
    /// # Errors
    /// The log takes no (more) records: with `QueueFull` for now, and the rest is to be tried again.
    pub(super) fn append(&mut self, server: &Arc<Server>, flush_follows: bool) -> Result<(), AppendError> {
        let Self { log, batch, intake, unflushed, .. } = self;
        match (intake, log) {
            (Some(intake), _) => intake.hand_over(server, batch, unflushed),
            (None, Some(log)) => {
                let appended = log.append(batch, flush_follows)?;
                unflushed.extend(appended.first_seq, appended.last_seq);
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }

    /// The log did not take the batch: whoever asked for an answer gets one. Whether that is all there is to say.
    pub(super) fn refused(&mut self, server: &Arc<Server>, error: &AppendError) -> bool {
        self.batch.clear();
        self.intake.as_mut().is_some_and(|intake| intake.refused(server, error))
    }
}

/// Header block and payload of a message.
fn parts<'a>(message: &Publish<'a>) -> (&'a [u8], &'a [u8]) {
    message.message.split_at_checked(message.header_len).unwrap_or((&[], message.message))
}
