//! The work in hand: which messages are taken, what came of them.

use std::io;
use std::process::ExitCode;
use std::time::Instant;

use super::field::Value;
use super::json;
use super::range::{Range, Verdict};
use super::report::Tally;
use super::row::{Cells, Row};
use super::sink::{Plan, Sink};
use crate::cli::client::Failure;
use crate::cli::progress::{Progress, Unit};
use crate::cli::{EXIT_INTERRUPTED, EXIT_LOST, EXIT_NO_MATCH, output};
use crate::clock;

/// An export that runs.
pub(super) struct Job<'a> {
    pub(super) range: Range,
    plan: &'a Plan,
    sink: Sink,
    tally: Tally,
    /// None if nobody wants to know.
    progress: Option<Progress>,
    started: Instant,
    first_seq: u64,
    seq: u64,
}

/// Whether more is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    More,
    End,
}

impl<'a> Job<'a> {
    pub(super) fn new(plan: &'a Plan, range: Range, quiet: bool) -> Result<Self, Failure> {
        let sink = plan.open()?;
        let tally = Tally::new(&plan.fields);
        let progress = (!quiet).then(|| Progress::start("exported", Unit::Messages, None, plan.to_stdout()));
        Ok(Self { range, plan, sink, tally, progress, started: clock::now(), first_seq: 0, seq: 0 })
    }

    /// The log begins and ends with these sequences; `false` if nothing of it can belong to the export.
    pub(super) fn begin(&mut self, oldest_seq: u64, newest_seq: u64) -> bool {
        let first_seq = match self.range.from {
            super::Start::Sequence(seq) => seq.max(oldest_seq),
            _ => oldest_seq,
        };
        self.range.end_at(newest_seq);
        let last_seq = self.range.last_seq().unwrap_or(newest_seq);
        self.first_seq = first_seq;
        if last_seq < first_seq {
            return false;
        }
        if let Some(progress) = &mut self.progress {
            let total = self.range.is_of_sequences().then(|| last_seq - first_seq + 1);
            progress.finish();
            *progress = Progress::start("exported", Unit::Messages, total, self.plan.to_stdout());
        }
        true
    }

    /// Looks at a message that the filter has let through.
    pub(super) fn take(&mut self, row: Row<'_>) -> Result<Next, Failure> {
        self.seq = row.seq;
        match self.range.judge(row.seq, row.ts_ns) {
            Verdict::Take => {}
            Verdict::Skip => return Ok(Next::More),
            Verdict::End => return Ok(Next::End),
        }
        let mut cells = Cells::new(row);
        if self.plan.wants_json() {
            cells.json = json::text_of(row.payload);
            self.fill_fields(&mut cells);
        }
        self.tally.count(&cells);
        if let Err(error) = self.sink.write(&cells) {
            return Err(self.failed(&error));
        }
        Ok(if self.range.is_full(self.tally.messages, row.seq) { Next::End } else { Next::More })
    }

    fn fill_fields(&mut self, cells: &mut Cells<'_>) {
        let Some(json) = cells.json else {
            cells.fields.resize(self.plan.fields.len(), Value::Null);
            return;
        };
        for (at, field) in self.plan.fields.iter().enumerate() {
            let (value, found) = field.value(json);
            self.tally.count_cell(at, found);
            cells.fields.push(value);
        }
    }

    /// These sequences are lost to damage.
    pub(super) fn lost(&mut self, first_seq: u64, last_seq: u64) {
        if let Some((first_seq, last_seq)) = self.range.clip(first_seq, last_seq) {
            self.tally.lost.add(first_seq, last_seq);
        }
    }

    /// So many messages were removed by the server's limits before they could be read.
    pub(super) fn removed(&mut self, messages: u64) {
        self.tally.removed += messages;
    }

    /// The source has come to this sequence, and may take its time with the next.
    pub(super) fn pause(&mut self, seq: u64) -> Result<(), Failure> {
        self.seq = self.seq.max(seq);
        if self.plan.to_stdout()
            && let Err(error) = self.sink.flush()
        {
            return Err(self.failed(&error));
        }
        if let Some(progress) = &mut self.progress {
            // With known ends it is the position in the log, since what the filter leaves out has to be passed as well.
            let passed = (self.seq + 1).saturating_sub(self.first_seq);
            progress.set(if progress.is_bounded() { passed } else { self.tally.messages }, self.tally.bytes);
        }
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> Failure {
        self.plan.failed(error, self.sink.written_bytes())
    }

    /// Completes the file and says what is in it.
    pub(super) fn finish(mut self) -> ExitCode {
        let written = self.sink.written_bytes();
        let whole = self.sink.finish().map_err(|error| self.plan.failed(&error, written)).and_then(|out| {
            let file_bytes = out.written_bytes();
            out.finish().map(|()| file_bytes)
        });
        let took = clock::now().duration_since(self.started);
        let told = self.progress.take().is_some();
        let file_bytes = match whole {
            Ok(file_bytes) => file_bytes,
            Err(failure) => return fail(&self.tally, self.plan, &failure),
        };
        self.tally.tell_troubles();
        if told {
            output::to_stderr(&self.tally.summary(&self.plan.path, file_bytes, took));
        }
        match (self.tally.lost.is_empty(), self.tally.messages) {
            (false, _) => ExitCode::from(EXIT_LOST),
            (true, 0) => ExitCode::from(EXIT_NO_MATCH),
            (true, _) => ExitCode::SUCCESS,
        }
    }

    /// Leaves no file, because the user wants none any more.
    pub(super) fn interrupted(self) -> ExitCode {
        let Self { progress, sink, tally, plan, .. } = self;
        drop((progress, sink));
        output::warn(&tally.given_up("interrupted", &plan.path));
        ExitCode::from(EXIT_INTERRUPTED)
    }

    /// Leaves no file, because something went wrong.
    pub(super) fn failed_with(self, failure: &Failure) -> ExitCode {
        let Self { progress, sink, tally, plan, .. } = self;
        drop((progress, sink));
        fail(&tally, plan, failure)
    }
}

/// Says what went wrong and what that means for the file.
fn fail(tally: &Tally, plan: &Plan, failure: &Failure) -> ExitCode {
    let code = failure.report();
    // A reader of stdout that has seen enough needs no explanation, nor does work that never began.
    let closed = matches!(failure, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe);
    if tally.messages > 0 && !closed {
        output::warn(&tally.given_up("given up", &plan.path));
    }
    code
}
