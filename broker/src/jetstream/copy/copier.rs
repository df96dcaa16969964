//! The task that copies from one stream to another.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use sublog_storage::index::{FilterSet, SubjectFilter};
use sublog_storage::{Record, Selection, Visit};
use tokio::sync::{oneshot, watch};

use super::lead::Lead;
use super::origin;
use super::position::{self, Position};
use super::progress::Progress;
use crate::account::Account;
use crate::clock;
use crate::jetstream::config::Time;
use crate::jetstream::config::transform::Transform;
use crate::jetstream::errors::ApiError;
use crate::jetstream::read::{self, Unreadable};
use crate::jetstream::store::{Span, StreamLog};
use crate::jetstream::stream::copied::{Copied, NotTaken};
use crate::jetstream::streams::Declared;

/// Bytes of the other log that are looked at before they are written, and others have a turn.
const TURN_BYTES: usize = 1 << 20;
/// After something failed, and between two looks for a stream that is not there.
const RETRY: Duration = Duration::from_millis(500);
/// A copier that has nothing to do says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Positions are noted no more often.
const NOTE_PAUSE: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Copier {
    account: Arc<Account>,
    target: Declared,
    progress: Arc<Progress>,
    is_mirror: bool,
    epoch: u64,
    transforms: Vec<Option<Transform>>,
    filters: FilterSet,
    selects: (String, String),
    label: String,
}

/// What is read of the other stream.
struct Way {
    filters: FilterSet,
    selection: Selection,
    /// For which consumer.
    lead: Option<Lead>,
    /// What it is about up to here is there already.
    copied_to: u64,
    /// What was read, for the consumer.
    seqs: Vec<u64>,
}

/// Why a copier stopped following a stream.
enum Left {
    /// It ends.
    Over,
    /// To be tried again.
    Failed(ApiError),
    /// To be tried again at once.
    Changed,
}

fn unreadable(error: &Unreadable) -> Left {
    tracing::warn!("A stream cannot be read to be copied: {error}");
    Left::Failed(ApiError::general("the stream cannot be read"))
}

impl Copier {
    pub(super) fn new(
        account: Arc<Account>,
        target: Declared,
        progress: Arc<Progress>,
        is_mirror: bool,
        epoch: u64,
    ) -> Self {
        let source = &progress.source;
        let all = |text: &str| if text.is_empty() { ">".to_owned() } else { text.to_owned() };
        let wanted: Vec<String> = if source.subject_transforms.is_empty() {
            vec![all(&source.filter_subject)]
        } else {
            source.subject_transforms.iter().map(|one| all(&one.src)).collect()
        };
        // All of them were checked when the stream was declared.
        let filters =
            FilterSet::new(wanted.iter().filter_map(|one| SubjectFilter::parse(one.as_bytes()).ok()).collect());
        let transforms = source.subject_transforms.iter().map(|one| Transform::new(&one.src, &one.dest).ok().flatten());
        let (transforms, selects) = (transforms.collect(), origin::selects(source));
        let label = source.label();
        Self { account, target, is_mirror, epoch, transforms, filters, selects, label, progress }
    }

    fn is_over(&self) -> bool {
        self.target.stream.is_gone()
            || !self.target.stream.copies.is_current(self.epoch)
            || self.account.shared.stopping.load(Ordering::Acquire)
    }

    /// Copies until the stream is gone, is to be filled in another way, or the server stops.
    pub(super) async fn run(self) {
        while !self.is_over() {
            let name = &self.progress.source.name;
            let found = self.account.jetstream.get(name);
            let left = match found.as_ref().map(|origin| (origin, origin.stream.log().cloned())) {
                None => Left::Failed(ApiError::stream_not_found()),
                Some((_, None)) => Left::Failed(ApiError::stream_offline()),
                Some((origin, Some(log))) => self.follow(origin, &log).await,
            };
            if let Left::Failed(error) = left {
                let text = error.to_string();
                if self.progress.failed(error) && !self.is_over() {
                    tracing::info!(stream = self.target.config.name, "Nothing is copied from '{name}' for now: {text}");
                }
                self.rest(RETRY).await;
            }
        }
    }

    async fn rest(&self, pause: Duration) {
        tokio::select! {
            () = self.target.stream.copies.changed.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Copies from a stream as long as it is there.
    async fn follow(&self, origin: &Declared, log: &Arc<StreamLog>) -> Left {
        let identity = origin::identity(&origin.config.name, origin.created_ns);
        let (from, mut position, was_noted) = match self.begin(log, &identity) {
            Ok(begin) => begin,
            Err(error) => return unreadable(&error),
        };
        let mut way = match self.way(origin, log, from) {
            Ok(way) => way,
            Err(error) => return Left::Failed(error),
        };
        let mut readable = log.readable();
        let mut messages = VecDeque::new();
        let mut noted = (was_noted, clock::ticks());
        loop {
            if self.is_over() || origin.stream.is_gone() {
                self.note(&mut noted, &position, true);
                return if self.is_over() { Left::Over } else { Left::Failed(ApiError::stream_not_found()) };
            }
            readable.mark_unchanged();
            if let Some(lead) = &way.lead {
                match lead.stands(origin) {
                    Ok(true) => {}
                    Ok(false) => return Left::Changed,
                    Err(error) => return Left::Failed(error),
                }
                if lead.is_paused() {
                    self.rest(HEARTBEAT).await;
                    continue;
                }
            }
            let read = match self.read(&mut way, &identity, &mut messages) {
                Ok(read) => read,
                Err(error) => return unreadable(&error),
            };
            while !messages.is_empty() {
                let Err(left) = self.write(&mut messages).await else { continue };
                return left;
            }
            if let Some(lead) = &way.lead {
                tokio::task::block_in_place(|| lead.copied(&way.seqs));
            }
            if let Some(last) = read.filter(|last| *last > way.copied_to) {
                self.progress.copied(last);
                position.seq = last;
                position.identity.clone_from(&identity);
                position.target_seq = self.target.stream.log().map_or(0, |log| log.log().readable_seq());
            }
            self.note(&mut noted, &position, false);
            match way.lag(log) {
                Ok(0) => {
                    self.progress.heard(0);
                    self.wait(&mut readable).await;
                }
                Ok(lag) => {
                    self.progress.heard(lag);
                    tokio::task::yield_now().await;
                }
                Err(error) => return unreadable(&error),
            }
        }
    }

    async fn wait(&self, readable: &mut watch::Receiver<u64>) {
        tokio::select! {
            _ = readable.changed() => {}
            () = self.target.stream.copies.changed.notified() => {}
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
    }

    /// What to read, of which all before `from` is there already.
    fn way(&self, origin: &Declared, log: &StreamLog, from: u64) -> Result<Way, ApiError> {
        let lead = match &self.progress.source.consumer {
            Some(named) => Some(Lead::find(origin, named, self.is_mirror)?),
            None => None,
        };
        let (first, filters) = match &lead {
            // What is there and was not settled is settled on the way.
            Some(lead) => lead.begin()?,
            None => (from, self.filters.clone()),
        };
        let selection = log.log().select(filters.clone(), first);
        Ok(Way { filters, selection, lead, copied_to: from.saturating_sub(1), seqs: Vec::new() })
    }

    /// The number to begin with, and where a source is and was noted to be.
    fn begin(&self, log: &StreamLog, identity: &str) -> Result<(u64, Position, Position), Unreadable> {
        let source = &self.progress.source;
        let configured = || match (source.opt_start_seq, source.opt_start_time.and_then(Time::ns)) {
            (0, Some(ns)) => Ok::<u64, Unreadable>(log.log().seek_time(ns)?),
            (seq, _) => Ok(seq.max(1)),
        };
        if self.is_mirror {
            let last = self.target.stream.last_seq();
            let from = if last == 0 { configured()? } else { last + 1 };
            return Ok((from, Position::default(), Position::default()));
        }
        let nowhere = || (u64::MAX, Position::default(), Position::default());
        let Some(own) = self.target.stream.log() else { return Ok(nowhere()) };
        let (name, created_ns) = (&self.target.stream.kept, self.target.created_ns);
        let meta = self.account.jetstream.positions.meta();
        let (position, noted) = position::find(meta, name, created_ns, own.log(), source)?;
        self.progress.copied(position.seq);
        if position.seq == 0 {
            return Ok((configured()?, position, noted));
        }
        if !position.identity.is_empty() && position.identity != identity {
            // Another stream of that name: it was made anew.
            return Ok((1, position, noted));
        }
        Ok((position.seq + 1, position, noted))
    }

    /// Reads some messages as they are to be stored; the number of the last of them.
    fn read(&self, way: &mut Way, identity: &str, messages: &mut VecDeque<Copied>) -> Result<Option<u64>, Unreadable> {
        let mut last = None;
        let Way { selection, lead, copied_to, seqs, .. } = way;
        seqs.clear();
        selection.visit(TURN_BYTES, &mut |visit| {
            if let Visit::Record(record) = visit {
                last = Some(record.seq);
                if lead.is_some() {
                    seqs.push(record.seq);
                }
                if record.seq > *copied_to {
                    messages.push_back(self.copy(&record.to_record(), identity));
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(last)
    }

    fn copy(&self, record: &Record, identity: &str) -> Copied {
        let transformed = self.transforms.iter().flatten().find_map(|one| one.apply(&record.subject, random()));
        let subject = transformed.map_or_else(|| record.subject.clone(), Bytes::from);
        let (payload, expires_at_ns) = (record.payload.clone(), record.expires_at_ns);
        let expires_at_ns = expires_at_ns.filter(|_| self.target.config.allow_msg_ttl);
        if self.is_mirror {
            let (seq, headers) = (Some(record.seq), record.headers.clone());
            return Copied { seq, ts_ns: record.ts_ns, expires_at_ns, subject, headers, payload };
        }
        let (filters, destinations) = &self.selects;
        let name = &self.label;
        let (seq, from) = (record.seq, String::from_utf8_lossy(&record.subject));
        let value = format!("{name} {seq} {filters} {destinations} {from} {identity}");
        let headers = Bytes::from(origin::headers_of_copy(&record.headers, &value));
        Copied { seq: None, ts_ns: clock::unix_ns(), expires_at_ns, subject, headers, payload }
    }

    /// Stores some of the messages, and waits until they are on disk.
    async fn write(&self, messages: &mut VecDeque<Copied>) -> Result<(), Left> {
        let failures = self.target.stream.log().map_or(0, |log| log.failures());
        let taken = tokio::task::block_in_place(|| self.target.stream.take_copied(&self.account, messages));
        let span = match taken {
            Ok(span) => span,
            Err(NotTaken::Full) => {
                // Whatever takes so long is told by others.
                self.rest(Duration::from_millis(20)).await;
                return if self.is_over() { Err(Left::Over) } else { Ok(()) };
            }
            Err(NotTaken::Refused(error)) => return Err(Left::Failed(error)),
        };
        let Some(log) = self.target.stream.log().filter(|_| !span.is_empty()) else { return Ok(()) };
        match committed(log, span).await {
            // Numbers that failed are given out again: these may be another's by now.
            Ok(()) if log.failures() != failures => {
                Err(Left::Failed(ApiError::stream_store_failed("the message log failed")))
            }
            Ok(()) => Ok(()),
            Err(why) => Err(Left::Failed(ApiError::stream_store_failed(why))),
        }
    }

    /// Notes where a source is, if that is new, and not too often unless it `must`.
    fn note(&self, noted: &mut (Position, Duration), position: &Position, must: bool) {
        if self.is_mirror || noted.0 == *position || (!must && clock::ticks() < noted.1 + NOTE_PAUSE) {
            return;
        }
        let (meta, name) = (self.account.jetstream.positions.meta(), &self.target.config.name);
        if let Err(error) = position::note(meta, &self.target.stream.kept, &self.progress.source, position) {
            tracing::warn!(stream = name, "Where a source is cannot be noted: {error}");
        }
        *noted = (position.clone(), clock::ticks());
    }
}

impl Way {
    /// Messages that are still to be copied.
    fn lag(&self, log: &StreamLog) -> Result<u64, Unreadable> {
        let (next, last) = (self.selection.next_seq(), log.log().readable_seq());
        if next > last {
            return Ok(0);
        }
        Ok(read::or_nothing(log.log().count(&self.filters, next, last))?)
    }
}

/// For destinations that ask for a random number.
fn random() -> u32 {
    u32::try_from(clock::unix_ns().unsigned_abs() & 0x7fff_ffff).unwrap_or(0)
}

/// Waits until all of a span is committed.
async fn committed(log: &StreamLog, span: Span) -> Result<(), String> {
    let (tell, told) = oneshot::channel();
    let call = move |result: Result<(), sublog_storage::LogError>| {
        // Who waits does so until he is told, or has ended.
        let _ = tell.send(result.map_err(|_| "the message log cannot be written".to_owned()));
    };
    log.when_committed(span, Box::new(call));
    told.await.unwrap_or_else(|_| Err("the message log is closed".to_owned()))
}
