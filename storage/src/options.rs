//! What the owner of a log decides: when it is synced, how large its segments are, how much may wait.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::WallClock;
use crate::error::OpenError;
use crate::format::packed::Codec;
use crate::format::{self, RECORD_HEADER_BYTES};
use crate::limits::Limits;
use crate::reserve::Reserve;

/// Largest number that a log may begin with, in hope of room for what follows.
const FIRST_SEQ_MAX: u64 = 1 << 62;

/// When the log is flushed to stable storage, and so what an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// A record is acknowledged, and readable, once a successful `fdatasync` covers it.
    Always,
    /// A record is acknowledged and readable once written; the log is synced at this interval.
    Interval(Duration),
    /// A record is acknowledged and readable once written; the system decides when it reaches the disk.
    Os,
}

impl SyncMode {
    /// Whether an acknowledgement can be lost by a power cut.
    #[must_use]
    pub fn is_weak(self) -> bool {
        !matches!(self, Self::Always)
    }
}

/// Options of one log.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// When the log is synced.
    pub sync: SyncMode,
    /// Bytes that a record counts with besides its subject, headers and payload, where records are summed up
    /// ([`crate::LogState::bytes`]) or limited ([`Limits::max_bytes`]). What it takes on the disk does not depend on this.
    pub record_overhead: u64,
    /// How much the log keeps. They must be those that it was kept by before, or [`crate::Log::set_limits`] must follow.
    pub limits: Limits,
    /// Number of the first record, if there never was one. It is not written down before there is: who opens a log that is
    /// still empty says it again.
    pub first_seq: u64,
    /// Size of the first segment, in bytes. Later ones take about a quarter of what the log holds.
    pub segment_bytes_first: u64,
    /// Size at which segments stop growing, in bytes.
    pub segment_bytes_max: u64,
    /// Most records in a segment, unless one frame has more: what the log keeps in memory of the open one follows it.
    pub segment_records_max: u64,
    /// Bytes that may wait for the disk before [`crate::AppendError::QueueFull`].
    pub queue_bytes_max: usize,
    /// Largest body of a commit frame that holds more than one batch, in bytes. Who reads one record checks the directory of
    /// its whole frame, so large frames make that slow, and small ones cost a system call each.
    pub frame_bytes_max: usize,
    /// Mode `Always`, nobody waits: the log is synced this long after a write.
    pub idle_sync: Duration,
    /// Nobody waits: records are gathered this long before they are written.
    pub gather: Duration,
    /// Nobody waits: this many bytes are written at once, without gathering longer.
    pub gather_bytes: usize,
    /// After a full disk: how long until the log tries again.
    pub retry_space: Duration,
    /// How [`crate::Log::maintain`] stores sealed segments: with `Some` they are packed once they are sealed, without they
    /// are only rewritten when most of what they hold was removed.
    pub pack: Option<Codec>,
    /// How far the committer writes zeros ahead of small commits, in bytes. 0 turns it off.
    pub zero_ahead_bytes: u64,
    /// Bytes of records that a packed segment's blocks hold; one that is larger has a block of its own. Larger blocks compress
    /// better, smaller ones are quicker to read one record from.
    pub block_bytes: usize,
    /// So many new subjects of the open segment become an unchanging piece of its index in memory. That is done under a lock
    /// that those who publish with a limit per subject wait for: 32,768, the default, take some ten milliseconds.
    pub index_piece_subjects: u64,
    /// A write or sync that takes longer is told of, see [`crate::Health::Slow`].
    pub slow_after: Duration,
    /// By which records expire.
    pub clock: WallClock,
    /// What is given up when a removal finds no room, kept up by [`crate::Log::maintain`].
    pub reserve: Option<Arc<Reserve>>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            sync: SyncMode::Always,
            record_overhead: RECORD_HEADER_BYTES as u64,
            limits: Limits::default(),
            first_seq: 1,
            segment_bytes_first: 4 << 20,
            segment_bytes_max: 128 << 20,
            segment_records_max: 2_000_000,
            queue_bytes_max: 64 << 20,
            frame_bytes_max: 256 << 10,
            idle_sync: Duration::from_millis(10),
            gather: Duration::from_millis(2),
            gather_bytes: 256 << 10,
            retry_space: Duration::from_millis(250),
            pack: None,
            zero_ahead_bytes: 1 << 20,
            block_bytes: 128 << 10,
            index_piece_subjects: 32 << 10,
            slow_after: Duration::from_secs(1),
            clock: WallClock::System,
            reserve: None,
        }
    }
}

impl LogOptions {
    /// What records count as that take so many bytes in the log.
    pub(crate) fn counted(&self, messages: u64, bytes: u64) -> u64 {
        let plain = bytes.saturating_sub(messages.saturating_mul(RECORD_HEADER_BYTES as u64));
        plain.saturating_add(messages.saturating_mul(self.record_overhead))
    }

    /// Checks the relations between the options.
    ///
    /// # Errors
    /// [`OpenError::BadOptions`] with the reason.
    pub fn check(&self) -> Result<(), OpenError> {
        let bad = |why: &str| Err(OpenError::BadOptions(why.to_owned()));
        if self.first_seq == 0 || self.first_seq > FIRST_SEQ_MAX {
            return bad("first_seq is not between 1 and 2^62");
        }
        if self.segment_bytes_first < format::SEGMENT_BYTES_MIN {
            return bad("the first segment is too small");
        }
        if self.segment_bytes_max < self.segment_bytes_first {
            return bad("segment_bytes_max is below segment_bytes_first");
        }
        if self.segment_bytes_max > format::SEGMENT_BYTES_LIMIT {
            return bad("segments are limited to 1 GiB");
        }
        if self.frame_bytes_max == 0 || self.queue_bytes_max == 0 {
            return bad("frame_bytes_max and queue_bytes_max must not be 0");
        }
        if self.block_bytes > format::packed::BLOCK_BYTES_LIMIT {
            return bad("block_bytes is limited to 1 MiB");
        }
        if self.segment_records_max == 0 {
            return bad("segment_records_max must not be 0");
        }
        if self.index_piece_subjects == 0 {
            return bad("index_piece_subjects must not be 0");
        }
        if self.slow_after.is_zero() {
            return bad("slow_after must not be 0");
        }
        if let SyncMode::Interval(every) = self.sync
            && every.is_zero()
        {
            return bad("the sync interval must not be 0");
        }
        Ok(())
    }
}
