//! What a log reports about itself: counters, health, what opening it found, what removing took away.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::LogError;
use crate::record::{LostRange, LostReason};

/// Sequence numbers that an append gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// First record's number.
    pub first_seq: u64,
    /// Last record's number.
    pub last_seq: u64,
}

/// Whether a log can write.
#[derive(Debug, Clone)]
pub enum Health {
    /// It can.
    Ok,
    /// A write or a sync has taken longer than [`crate::LogOptions::slow_after`], and goes on. Whoever waits goes on
    /// waiting; reading goes on.
    Slow {
        /// How long it has taken so far.
        lasting: Duration,
    },
    /// The disk is full; writing resumes by itself.
    Full(LogError),
    /// A write or a sync failed, writing has ended; reading goes on.
    Failed(LogError),
}

impl Health {
    /// Whether the log can write.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok)
    }
}

/// A stretch of a segment file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment file, or where it should be.
    pub path: PathBuf,
    /// First byte of the stretch; 0 for a missing file.
    pub offset: u64,
    /// Length of the stretch, in bytes; 0 for a missing file.
    pub bytes: u64,
    /// The numbers that are lost by it, if any.
    pub lost: Option<LostRange>,
    /// Why.
    pub reason: LostReason,
}

/// A moment's view of a log.
#[derive(Debug, Clone)]
pub struct LogState {
    /// First number that is held; one more than `last_seq` if the log is empty.
    pub first_seq: u64,
    /// Last readable number; one less than the first to come if the log is empty.
    pub last_seq: u64,
    /// Readable records.
    pub messages: u64,
    /// Bytes of the readable records, as [`crate::LogOptions::record_overhead`] counts them.
    pub bytes: u64,
    /// Bytes of all segment files.
    pub disk_bytes: u64,
    /// Segment files.
    pub segments: u64,
    /// First record's time, nanoseconds since 1970; 0 if empty.
    pub first_ts_ns: i64,
    /// Time of the last record that was appended, also if it was removed since; nanoseconds since 1970; 0 if none was, or if
    /// its segment is gone.
    pub last_ts_ns: i64,
    /// Damage known so far; at most [`DAMAGE_KEPT_MAX`] entries.
    pub damage: Vec<Damage>,
    /// Entries of damage found in all, also those not kept.
    pub damage_found: u64,
    /// Whether it can write.
    pub health: Health,
    /// Bytes that wait to be written.
    pub queued_bytes: u64,
    /// Counts since the log was opened.
    pub counters: Counters,
    /// What scrubbing has done since the log was opened.
    pub scrub: ScrubState,
}

/// One reading of all sealed segments. Times are those that [`crate::Scrub::step`] was given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubPass {
    /// When it began.
    pub started: Duration,
    /// When it ended.
    pub ended: Duration,
    /// Segments read whole.
    pub segments: u64,
    /// Bytes read, those read a second time included.
    pub bytes: u64,
    /// Entries of damage, also those that were known before.
    pub findings: u64,
    /// Those of them that reading gets over, so that nothing is lost by them.
    pub correctable: u64,
}

/// What scrubbing has done since a log was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubState {
    /// Passes that ended.
    pub passes: u64,
    /// Segments read whole.
    pub segments: u64,
    /// Bytes read.
    pub bytes: u64,
    /// When the present pass began, if one is under way.
    pub running: Option<Duration>,
    /// The last pass that ended.
    pub last: Option<ScrubPass>,
}

/// Most entries of damage that a log keeps in memory.
pub const DAMAGE_KEPT_MAX: usize = 1024;

/// Counts since a log was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Successful `fdatasync` calls of data.
    pub syncs: u64,
    /// Commit frames written.
    pub frames: u64,
    /// Records written.
    pub records: u64,
    /// Bytes written, with frames and directories.
    pub written_bytes: u64,
    /// Bytes of zeros written ahead.
    pub zeroed_bytes: u64,
    /// Segments created.
    pub segments_created: u64,
    /// Segments removed by [`crate::Log::remove_before`].
    pub segments_removed: u64,
    /// Records whose writing failed; their publishers were told.
    pub records_failed: u64,
    /// Times the disk was full.
    pub full_episodes: u64,
    /// Nanoseconds spent in `fdatasync`.
    pub sync_ns: u64,
    /// Records removed one by one, in ranges or by limits; not those that went with whole segments.
    pub records_removed: u64,
    /// Pages of mapped segments that could not be read; of all logs of the process, see [`crate::read_faults`].
    pub read_faults: u64,
    /// Writes and syncs that took longer than [`crate::LogOptions::slow_after`].
    pub slow_episodes: u64,
}

/// What opening a log found and did.
#[derive(Debug, Clone, Default)]
pub struct RecoveryReport {
    /// The last owner closed the log.
    pub clean: bool,
    /// The log is new.
    pub created: bool,
    /// Segments found.
    pub segments: u64,
    /// Bytes of the last segment that were read and checked.
    pub scanned_bytes: u64,
    /// Frames found in the last segment.
    pub scanned_frames: u64,
    /// Bytes behind the last whole commit that were cut and overwritten with zeros.
    pub torn_bytes: u64,
    /// Where the torn tail began: file and offset.
    pub torn_at: Option<(PathBuf, u64)>,
    /// Files of segments whose creation was never finished, now removed.
    pub unfinished: Vec<PathBuf>,
    /// What a rewriting left that a stop interrupted, now removed: its unfinished file, and originals whose records the
    /// packed segment holds.
    pub leftovers: Vec<PathBuf>,
    /// Numbers skipped so that none is given out twice (weak modes after a power cut).
    pub skipped: Option<LostRange>,
    /// Records that are still in the files although they were removed.
    pub removed_messages: u64,
    /// Damage. Nothing of it was changed on disk.
    pub damage: Vec<Damage>,
    /// Wall time that opening took, in nanoseconds.
    pub took_ns: u64,
}

/// What [`crate::Log::remove_before`] took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Segment files.
    pub segments: u64,
    /// Records.
    pub messages: u64,
    /// Bytes of records, with their record headers.
    pub bytes: u64,
}

/// Told what happens in a log. Called on the committer's thread: it must be quick, and must not call back into the log
/// in a way that waits for it.
pub trait LogObserver: Send + Sync {
    /// Records up to `last_seq` can be read.
    fn published(&self, last_seq: u64) {
        let _ = last_seq;
    }

    /// After [`crate::AppendError::QueueFull`]: at least half of the queue is free again.
    fn space(&self) {}

    /// Writing failed. [`crate::FailureKind::NoSpace`] passes, [`crate::FailureKind::Io`] is the end of writing.
    fn failed(&self, error: &LogError) {
        let _ = error;
    }

    /// Writing goes on after a full disk.
    fn recovered(&self) {}

    /// A write or a sync of a file has taken longer than [`crate::LogOptions::slow_after`], and goes on. Called on a thread
    /// of its own, which watches all logs of the process.
    fn slow(&self, path: &Path, lasting: Duration) {
        let _ = (path, lasting);
    }

    /// What [`LogObserver::slow`] was told of has ended, well or not.
    fn slow_ended(&self, lasted: Duration) {
        let _ = lasted;
    }
}

/// An observer that is not interested.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoObserver;

impl LogObserver for NoObserver {}
