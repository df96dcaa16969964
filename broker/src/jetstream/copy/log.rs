//! Writing messages under the numbers that they have elsewhere.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use sublog_storage::{AppendError, LogError, RecordBatch, RecordTooLarge};

use crate::jetstream::store::{Span, StreamLog};

/// No number is larger.
pub const SEQ_MAX: u64 = 1 << 62;
/// Most numbers that are left out at a time: which ones those are is remembered, at some cost for each 65,536.
pub const GAP_MAX: u64 = 1 << 32;
/// More numbers than this are left out by a new segment, fewer by records that nobody is shown.
pub const HOLES_MAX: u64 = 1 << 16;
/// Most numbers that are left out by records, all together: each takes some bytes until its segment is rewritten.
const HOLES_IN_ALL_MAX: u64 = 1 << 26;

/// Why something could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum NotCopied {
    /// The log took a number for something else.
    #[error("sequence {0} is taken already")]
    Taken(u64),
    /// There are too many gaps.
    #[error("too many sequences are left out")]
    Gaps,
    /// A number beyond all numbers.
    #[error("sequence {0} is too large")]
    TooLarge(u64),
    /// The log refuses the message.
    #[error(transparent)]
    Record(#[from] RecordTooLarge),
    /// The log takes nothing.
    #[error("the message log cannot be written")]
    Append(#[from] AppendError),
    /// The log could not keep it.
    #[error("the message log cannot be written")]
    Log(#[from] LogError),
}

/// A log that one writer fills.
pub struct Copying {
    log: Arc<StreamLog>,
    batch: RecordBatch,
    /// The number that comes next.
    next_seq: u64,
    holes: u64,
}

impl Copying {
    /// Goes on with a log, whose next number is `next_seq`.
    #[must_use]
    pub fn new(log: Arc<StreamLog>, next_seq: u64) -> Self {
        Self { log, batch: RecordBatch::new(), next_seq, holes: 0 }
    }

    /// The number that comes next.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Bytes that are staged.
    #[must_use]
    pub fn staged_bytes(&self) -> usize {
        self.batch.bytes()
    }

    /// Stages the message that is to have the number `seq`. May write what was staged before, and waits for that.
    ///
    /// # Errors
    /// Why not.
    pub fn push(
        &mut self,
        add: impl FnOnce(&mut RecordBatch) -> Result<(), RecordTooLarge>,
        seq: u64,
        ts_ns: i64,
    ) -> Result<(), NotCopied> {
        if seq < self.next_seq {
            return Err(NotCopied::Taken(seq));
        }
        if seq > SEQ_MAX {
            return Err(NotCopied::TooLarge(seq));
        }
        let gap = seq - self.next_seq;
        if gap > GAP_MAX {
            return Err(NotCopied::Gaps);
        }
        if gap > HOLES_MAX {
            self.write()?;
            self.batch.skip(gap);
        } else {
            self.holes += gap;
            if self.holes > HOLES_IN_ALL_MAX {
                return Err(NotCopied::Gaps);
            }
            self.batch.push_holes(ts_ns, u32::try_from(gap).unwrap_or(0))?;
        }
        self.next_seq = seq;
        add(&mut self.batch)?;
        self.next_seq += 1;
        Ok(())
    }

    /// Writes what is staged, and waits until it is committed. Blocks.
    ///
    /// # Errors
    /// It could not be written; it may be there all the same.
    pub fn write(&mut self) -> Result<(), NotCopied> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let appended = self.log.append(&mut self.batch, true)?;
        if appended.last_seq + 1 != self.next_seq {
            return Err(NotCopied::Taken(appended.last_seq));
        }
        self.wait(appended.first_seq, appended.last_seq)
    }

    /// Writes what is staged, and leaves out numbers up to `last_seq`, the last of which was given out at `last_ts_ns`. Blocks
    /// until all of it is on disk.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn finish(&mut self, last_seq: u64, last_ts_ns: i64) -> Result<(), NotCopied> {
        let left = (last_seq + 1).saturating_sub(self.next_seq);
        if self.next_seq > 1 && left <= HOLES_MAX {
            self.batch.push_holes(last_ts_ns, u32::try_from(left).unwrap_or(0))?;
            self.next_seq += left;
        }
        self.write()?;
        if last_seq.saturating_sub(self.next_seq) > GAP_MAX {
            return Err(NotCopied::Gaps);
        }
        if last_seq >= self.next_seq {
            let appended = self.log.log().skip_to(last_seq + 1)?;
            self.wait(appended.last_seq, appended.last_seq)?;
            self.next_seq = last_seq + 1;
        }
        Ok(self.log.log().sync_now()?)
    }

    fn wait(&self, first: u64, last: u64) -> Result<(), NotCopied> {
        let (tell, told) = sync_channel(1);
        let call = move |result| {
            // Who waits does so until he is told.
            let _ = tell.send(result);
        };
        self.log.when_committed(Span { first, last }, Box::new(call));
        match told.recv() {
            Ok(result) => Ok(result?),
            Err(_) => Err(NotCopied::Taken(last)),
        }
    }
}
