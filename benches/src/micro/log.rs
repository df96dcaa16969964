//! Steps of the log: appending, reading, finding by subject, opening again. Nothing is synced, so that the work is
//! measured and not a disk; the committer runs on the caller's thread, so that it is in what is measured.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sublog_storage::disk::sim::SimDisk;
use sublog_storage::index::{FilterSet, SubjectFilter};
use sublog_storage::{Committer, Log, LogOptions, Next, NoObserver, RealDisk, RecordBatch, SyncMode, Visit};
use tempfile::TempDir;

use super::{Outcome, PAYLOAD_BYTES};

/// Records of one batch.
const BATCH: u64 = 1000;
const SUBJECTS: u64 = 100;

/// A log, and the half of it that writes.
struct Open {
    log: Log,
    committer: Committer,
    // Dropped last: the folder outlives what is open in it.
    folder: Option<TempDir>,
}

impl Open {
    /// In a temporary folder.
    fn new() -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("sublog-micro-").tempdir()?;
        let options = LogOptions { segment_bytes_first: 64 << 20, ..options() };
        let (log, committer, _) = Log::open_stepped(RealDisk::shared(), folder.path(), options, Arc::new(NoObserver))?;
        Ok(Self { log, committer, folder: Some(folder) })
    }

    /// On a disk in memory: callgrind does not survive how the real one asks for the size of a page.
    fn simulated() -> Outcome<Self> {
        let (disk, dir) = (SimDisk::new(1), Path::new("/simulated"));
        let (log, committer, _) = Log::open_stepped(disk.shared(), dir, options(), Arc::new(NoObserver))?;
        Ok(Self { log, committer, folder: None })
    }

    /// Appends a batch and writes it.
    fn append(&mut self, batch: &mut RecordBatch, first: u64, subjects: u64) -> Outcome<u64> {
        for number in first..first + BATCH {
            let subject = subject(number % subjects);
            batch.push(1_700_000_000_000_000_000 + number as i64, &subject, b"", &[7; PAYLOAD_BYTES])?;
        }
        let last = self.log.append(batch)?.last_seq;
        self.settle(last)
    }

    /// Lets the committer work until everything to `last` can be read.
    fn settle(&mut self, last: u64) -> Outcome<u64> {
        let mut now = Duration::ZERO;
        while self.log.readable_seq() < last {
            match self.committer.step(now) {
                Next::Now => {}
                // Nobody waits: time passes at once.
                Next::At(then) => now = then,
                next => return Err(format!("the committer said {next:?} with records to write").into()),
            }
        }
        Ok(self.log.readable_seq())
    }

    fn filled(mut open: Self, records: u64, subjects: u64) -> Outcome<Self> {
        let mut batch = RecordBatch::new();
        for first in (0..records).step_by(BATCH as usize) {
            open.append(&mut batch, first, subjects)?;
        }
        Ok(open)
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("folder", &self.folder).finish_non_exhaustive()
    }
}

fn options() -> LogOptions {
    LogOptions { sync: SyncMode::Os, ..LogOptions::default() }
}

/// `site.000.sensor` to `site.999.sensor`, without a call of the formatter, which would be most of what is measured.
fn subject(number: u64) -> [u8; 15] {
    let mut subject = *b"site.000.sensor";
    if let Some([hundreds, tens, ones]) = subject.get_mut(5..8) {
        *hundreds += (number / 100 % 10) as u8;
        *tens += (number / 10 % 10) as u8;
        *ones += (number % 10) as u8;
    }
    subject
}

/// A log to append to.
#[derive(Debug)]
pub struct Appending {
    open: Open,
    batch: RecordBatch,
}

impl Appending {
    /// An empty one.
    ///
    /// # Errors
    /// There is no room in the temporary folder.
    pub fn new() -> Outcome<Self> {
        Ok(Self { open: Open::new()?, batch: RecordBatch::new() })
    }

    /// Appends 1,000 records and writes them; how many can then be read.
    ///
    /// # Errors
    /// The log refuses.
    #[inline(never)]
    pub fn step(&mut self) -> Outcome<u64> {
        let first = self.open.log.readable_seq();
        self.open.append(&mut self.batch, first, SUBJECTS)
    }
}

/// A log to read.
#[derive(Debug)]
pub struct Reading {
    open: Open,
}

impl Reading {
    /// With so many records, in thousands.
    ///
    /// # Errors
    /// There is no room in the temporary folder.
    pub fn of(records: u64) -> Outcome<Self> {
        Ok(Self { open: Open::filled(Open::new()?, records, SUBJECTS)? })
    }

    /// The same on a disk in memory.
    ///
    /// # Errors
    /// The log refuses.
    pub fn in_memory(records: u64) -> Outcome<Self> {
        Ok(Self { open: Open::filled(Open::simulated()?, records, SUBJECTS)? })
    }

    /// Visits all; how many there were.
    ///
    /// # Errors
    /// One is missing or another than was appended.
    #[inline(never)]
    pub fn step(&self) -> Outcome<u64> {
        let (mut count, mut lost) = (0, false);
        self.open.log.reader().visit(usize::MAX, &mut |visit| {
            match visit {
                Visit::Record(record) if record.payload.len() == PAYLOAD_BYTES => count += 1,
                _ => lost = true,
            }
            ControlFlow::Continue(())
        })?;
        if lost { Err("a record was lost".into()) } else { Ok(count) }
    }
}

/// A log to look subjects up in.
#[derive(Debug)]
pub struct Indexed {
    open: Open,
    subjects: u64,
}

impl Indexed {
    /// With so many records, in thousands, on so many subjects, 1,000 at most.
    ///
    /// # Errors
    /// There is no room in the temporary folder.
    pub fn of(records: u64, subjects: u64) -> Outcome<Self> {
        Ok(Self { open: Open::filled(Open::new()?, records, subjects)?, subjects })
    }

    /// Reads all records of one subject; how many there were.
    ///
    /// # Errors
    /// One is missing or another than was appended.
    #[inline(never)]
    pub fn step(&self, number: u64) -> Outcome<u64> {
        let subject = subject(number % self.subjects);
        let filter = SubjectFilter::parse(&subject).map_err(|error| format!("{error:?}"))?;
        let mut selection = self.open.log.select(FilterSet::new(vec![filter]), 1);
        let (mut count, mut other) = (0, false);
        selection.visit(usize::MAX, &mut |visit| {
            match visit {
                Visit::Record(record) if record.subject == subject => count += 1,
                _ => other = true,
            }
            ControlFlow::Continue(())
        })?;
        if other { Err("a record of another subject".into()) } else { Ok(count) }
    }
}

/// A log that was not closed.
#[derive(Debug)]
pub struct Recovery {
    folder: TempDir,
}

impl Recovery {
    /// With so many records, in thousands.
    ///
    /// # Errors
    /// There is no room in the temporary folder.
    pub fn of(records: u64) -> Outcome<Self> {
        let Open { folder, .. } = Open::filled(Open::new()?, records, SUBJECTS)?;
        Ok(Self { folder: folder.ok_or("no folder")? })
    }

    /// Opens it, which reads and checks what was written; how many records can then be read.
    ///
    /// # Errors
    /// It cannot be opened.
    #[inline(never)]
    pub fn step(&self) -> Outcome<u64> {
        let (log, ..) = Log::open_stepped(RealDisk::shared(), self.folder.path(), options(), Arc::new(NoObserver))?;
        Ok(log.readable_seq())
    }
}
