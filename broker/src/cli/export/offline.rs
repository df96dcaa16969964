//! Messages from a data directory, as it lies on disk.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sublog_protocol::subject;
use sublog_storage::{LostReason, ReadEnd, ReadError, ReadOnlyLog, Reader, RealDisk, Visit};

use super::interrupt::Interrupt;
use super::job::{Job, Next};
use super::row::Row;
use super::what::{self, What};
use super::{Args, Ended, Start};
use crate::cli::client::Failure;
use crate::cli::inspect;

/// Bytes of records between two looks at the interrupt and the progress.
const TURN_BYTES: usize = 4 << 20;
/// How often a log is opened anew without a message in between, because its owner removes what is to be read.
const TRIES_MAX: u32 = 100;

/// Reads from the directory what the job wants.
pub(super) fn read(args: &Args, dir: &Path, job: &mut Job<'_>, interrupt: &Interrupt) -> Result<Ended, Failure> {
    let logs = inspect::logs(dir)?;
    let names: Vec<String> = logs.iter().map(|(name, _)| name.clone()).collect();
    let what = what::resolve(args, &names)?;
    let path = logs.into_iter().find(|(name, _)| *name == what.stream).map(|(_, path)| path);
    let path = path.ok_or_else(|| Failure::Other(format!("{}: no stream {}", dir.display(), what.stream)))?;
    let log = open(&path)?;
    let (oldest, newest) = (log.oldest_seq(), log.readable_seq());
    // A last file that somebody took away is only known from what was said about it.
    let gone = log.report().damage.iter().filter_map(|damage| damage.lost).filter(|lost| lost.first_seq > newest);
    let gone: Vec<_> = gone.collect();
    let newest_known = gone.iter().map(|lost| lost.last_seq).max().unwrap_or(newest);
    if job.begin(oldest.min(gone.first().map_or(oldest, |lost| lost.first_seq)), newest_known) {
        let ended = Walk { what: &what, path, newest, tries: 0 }.run(log, job, interrupt)?;
        if ended == Some(Ended::Interrupted) {
            return Ok(Ended::Interrupted);
        }
        for lost in gone {
            job.lost(lost.first_seq, lost.last_seq);
        }
    }
    Ok(Ended::Whole)
}

fn open(path: &Path) -> Result<ReadOnlyLog, Failure> {
    ReadOnlyLog::open(RealDisk::shared(), path).map_err(|error| Failure::Other(error.to_string()))
}

/// A walk through one log, which is opened anew when segments vanish under it.
struct Walk<'a> {
    what: &'a What,
    path: PathBuf,
    /// The newest message when the export began.
    newest: u64,
    tries: u32,
}

impl Walk<'_> {
    fn run(&mut self, log: ReadOnlyLog, job: &mut Job<'_>, interrupt: &Interrupt) -> Result<Option<Ended>, Failure> {
        let mut log = log;
        let mut next = loop {
            match self.start(&log, job, interrupt) {
                Ok(seq) => break seq,
                Err(error) => log = self.reopen(&error)?,
            }
        };
        let mut reader = log.reader();
        reader.seek(next);
        loop {
            if interrupt.came() {
                return Ok(Some(Ended::Interrupted));
            }
            let end = match self.turn(&mut reader, job) {
                Ok(outcome) => outcome?,
                Err(error) => {
                    next = reader.next_seq().max(next);
                    log = self.reopen(&error)?;
                    let removed = log.oldest_seq().min(self.newest + 1).saturating_sub(next);
                    job.removed(removed);
                    reader = log.reader();
                    reader.seek(next + removed);
                    continue;
                }
            };
            job.pause(reader.next_seq().saturating_sub(1).min(self.newest))?;
            if end != ReadEnd::Budget {
                return Ok(None);
            }
            (next, self.tries) = (reader.next_seq(), 0);
        }
    }

    /// The first sequence to look at.
    fn start(&self, log: &ReadOnlyLog, job: &Job<'_>, interrupt: &Interrupt) -> Result<u64, ReadError> {
        match job.range.from {
            Start::Sequence(seq) => Ok(seq),
            Start::Last(count) => self.last(log, count, interrupt),
            _ => job.range.begins_at_ns().map_or(Ok(1), |ns| log.seek_time(ns)),
        }
    }

    /// The sequence of the `count`-th matching message from the end.
    fn last(&self, log: &ReadOnlyLog, count: u64, interrupt: &Interrupt) -> Result<u64, ReadError> {
        let (mut from, mut left) = (self.newest + 1, count);
        log.reader().visit_backward(self.newest, &mut |visit| {
            if let Visit::Record(record) = visit
                && subject::matches(self.what.filter.as_bytes(), record.subject)
            {
                from = record.seq;
                left -= 1;
            }
            if left == 0 || interrupt.came() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(from)
    }

    /// Reads for a while. The outer error is the log's, the inner one the output's.
    fn turn(&self, reader: &mut Reader, job: &mut Job<'_>) -> Result<Result<ReadEnd, Failure>, ReadError> {
        let everything = self.what.filter == ">";
        let mut failure = None;
        let outcome = reader.visit(TURN_BYTES, &mut |visit| {
            let record = match visit {
                Visit::Record(record) => record,
                Visit::Lost(lost) => {
                    if lost.reason != LostReason::NeverWritten {
                        job.lost(lost.first_seq, lost.last_seq);
                    }
                    return ControlFlow::Continue(());
                }
            };
            if !everything && !subject::matches(self.what.filter.as_bytes(), record.subject) {
                return match job.range.last_seq() {
                    Some(last) if record.seq >= last => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                };
            }
            let row = Row {
                stream: &self.what.stream,
                seq: record.seq,
                ts_ns: record.ts_ns,
                subject: record.subject,
                headers: record.headers,
                has_position: false,
                payload: record.payload,
            };
            match job.take(row) {
                Ok(Next::More) => ControlFlow::Continue(()),
                Ok(Next::End) => ControlFlow::Break(()),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        Ok(failure.map_or(Ok(outcome.end), Err))
    }

    /// The log as it lies there now, after a segment was gone when it was to be read.
    fn reopen(&mut self, error: &ReadError) -> Result<ReadOnlyLog, Failure> {
        self.tries += 1;
        if !error.is_not_found() || self.tries > TRIES_MAX {
            return Err(Failure::Other(error.to_string()));
        }
        open(&self.path)
    }
}
