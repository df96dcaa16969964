//! The open segment: where the next frame goes, sealing, and making the next file. Only the committer has one.

mod capacity;
mod create;

use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use self::capacity::zeros;
pub(crate) use self::capacity::{capacity_for, capacity_least, zeroed_at_once};
pub(crate) use self::create::create;
use crate::batch::RecordBatch;
use crate::disk::{Disk, DiskFile, write_all, write_all_vectored};
use crate::error::{LogError, Operation};
use crate::format::footer::{self, IndexEntry, Totals};
use crate::format::frame::{FrameHeader, FrameKind};
use crate::format::segment::Previous;
use crate::format::{FRAME_HEADER_BYTES, INDEX_STEP_BYTES, SEGMENT_HEADER_BYTES};
use crate::options::LogOptions;
use crate::segment::{Segment, SegmentParts, SparseIndex};
use crate::shared::Failure;

/// What the name of a segment ends with that is to take another's place, until it does.
pub(crate) const UNFINISHED: &str = "seg.tmp";

/// The segment that is appended to.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) segment: Arc<Segment>,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) log_id: u128,
    pub(crate) capacity: u64,
    /// Where the next frame goes.
    pub(crate) pos: u64,
    /// Number of the next record.
    pub(crate) next_seq: u64,
    /// Everything below was synced.
    pub(crate) durable: u64,
    /// Header checksum of the last frame.
    pub(crate) last_crc: u32,
    /// Largest time of any record.
    pub(crate) max_ts: i64,
    pub(crate) totals: Totals,
    /// Index entries of frames not yet published.
    pub(crate) new_entries: Vec<IndexEntry>,
    /// Where the next index entry is due.
    pub(crate) next_entry_at: u64,
    /// Zeros were written up to here.
    pub(crate) zeroed: u64,
    /// It has its footer; the next frame needs a new segment.
    pub(crate) sealed: bool,
    /// There is no file: nothing was ever in the log.
    pub(crate) absent: bool,
    /// Its version knows records that expire.
    pub(crate) takes_expiring: bool,
}

/// A new segment file, as asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewSegment {
    pub(crate) log_id: u128,
    pub(crate) first_seq: u64,
    pub(crate) ordinal: u64,
    pub(crate) capacity: u64,
    /// [`LogOptions::zero_ahead_bytes`].
    pub(crate) zero_ahead_bytes: u64,
    pub(crate) weak: bool,
    pub(crate) base_max_ts: i64,
    pub(crate) previous: Previous,
    /// It takes the place of an empty one of the same name.
    pub(crate) replaces: bool,
}

impl Writer {
    /// The writer of a log without a segment: its first frame makes one.
    pub(crate) fn of_nothing(
        disk: &Arc<dyn Disk>,
        path: PathBuf,
        file: Arc<dyn DiskFile>,
        log_id: u128,
        first_seq: u64,
    ) -> Self {
        let parts = SegmentParts {
            path,
            first_seq,
            nonce: 0,
            link_nonce: 0,
            ordinal: 1,
            weak: false,
            packed: false,
            previous: None,
            base_max_ts: i64::MIN,
            end: SEGMENT_HEADER_BYTES,
            next_seq: first_seq,
            file_bytes: 0,
            totals: Totals::default(),
            index: SparseIndex::Memory(Vec::new()),
        };
        Self {
            segment: Segment::new(disk, parts),
            file,
            log_id,
            capacity: SEGMENT_HEADER_BYTES,
            pos: SEGMENT_HEADER_BYTES,
            next_seq: first_seq,
            durable: SEGMENT_HEADER_BYTES,
            last_crc: 0,
            max_ts: i64::MIN,
            totals: Totals::default(),
            new_entries: Vec::new(),
            next_entry_at: 0,
            zeroed: SEGMENT_HEADER_BYTES,
            sealed: true,
            absent: true,
            takes_expiring: true,
        }
    }

    /// Whether a frame of that many bytes and records goes in, with the footer behind it.
    pub(crate) fn has_room(&self, options: &LogOptions, frame_bytes: u64, records: u64) -> bool {
        let held = self.next_seq - self.segment.first_seq;
        let few = held == 0 || held + records <= options.segment_records_max;
        !self.sealed && few && self.pos + frame_bytes + footer::footer_bytes_max(self.capacity) <= self.capacity
    }

    /// Whether its version knows all of these records.
    pub(crate) fn knows(&self, batches: &[RecordBatch]) -> bool {
        self.takes_expiring || batches.iter().all(|batch| batch.expiring == 0)
    }

    /// Writes one frame of these batches at the end. Neither synced nor published.
    ///
    /// # Errors
    /// The position is unchanged then; what was written lies behind it and is overwritten or cut off.
    pub(crate) fn write_frame(&mut self, batches: &[RecordBatch]) -> Result<u64, Failure> {
        let mut directory_crc = crc32fast::Hasher::new();
        let (mut body, mut count, mut max_ts) = (0_usize, 0_usize, self.max_ts);
        for batch in batches {
            directory_crc.update(&batch.directory);
            body += batch.body.len();
            count += batch.len();
            max_ts = max_ts.max(batch.max_ts_ns);
        }
        let mut header = FrameHeader {
            kind: FrameKind::Data,
            offset: u32_of(self.pos),
            durable: u32_of(self.durable),
            nonce: self.segment.nonce,
            first_seq: self.next_seq,
            max_ts,
            count: u32_of(count as u64),
            body_len: u32_of(body as u64),
            prev_crc: self.last_crc,
            dir_crc: directory_crc.finalize(),
            crc: 0,
        };
        let encoded = header.encode();
        let mut parts = Vec::with_capacity(1 + 2 * batches.len());
        parts.push(IoSlice::new(&encoded));
        parts.extend(batches.iter().map(|batch| IoSlice::new(&batch.body)));
        parts.extend(batches.iter().map(|batch| IoSlice::new(&batch.directory)));
        if let (written, Some(e)) = write_all_vectored(&*self.file, &mut parts, self.pos) {
            let error = self.failed(Operation::Write, self.pos + written, &e);
            return Err(by_kind(error));
        }
        self.took_frame(&header, batches);
        Ok(header.frame_bytes())
    }

    fn took_frame(&mut self, header: &FrameHeader, batches: &[RecordBatch]) {
        if self.pos >= self.next_entry_at {
            let entry = IndexEntry { seq: header.first_seq, max_ts_before: self.max_ts, offset: header.offset };
            self.new_entries.push(entry);
            self.next_entry_at = self.pos + INDEX_STEP_BYTES;
        }
        if self.totals.messages == 0 {
            self.totals.first_ts = batches.first().map_or(0, |batch| batch.first_ts_ns);
        }
        self.totals.last_ts = batches.last().map_or(0, |batch| batch.last_ts_ns);
        self.totals.messages += u64::from(header.count);
        self.totals.record_bytes += u64::from(header.body_len);
        self.totals.expiring += batches.iter().map(|batch| batch.expiring).sum::<u32>();
        self.totals.frames += 1;
        self.pos = header.end();
        self.next_seq = header.next_seq();
        self.last_crc = header.crc;
        self.max_ts = header.max_ts;
    }

    /// Makes everything written readable.
    pub(crate) fn publish(&mut self) {
        self.segment.publish(self.pos, self.next_seq, self.totals, &mut self.new_entries);
    }

    /// Flushes everything written.
    ///
    /// # Errors
    /// The end of writing: what was not flushed may be gone, and asking again would hide that.
    pub(crate) fn sync(&mut self) -> Result<(), Failure> {
        let mut result = self.file.sync_data();
        #[cfg(feature = "planted-bugs")]
        if result.is_err() && crate::planted::is(crate::planted::Bug::RetryFailedSync) {
            result = self.file.sync_data();
        }
        if let Err(e) = &mut result {
            return Err(Failure::Dead(self.failed(Operation::Sync, self.pos, e)));
        }
        self.durable = self.pos;
        Ok(())
    }

    /// Ends the segment: footer, truncation, sync. May be called again after [`Failure::Full`].
    ///
    /// # Errors
    /// `Full` if the footer finds no room, else the end of writing.
    pub(crate) fn seal(&mut self) -> Result<(), Failure> {
        if self.sealed {
            return Ok(());
        }
        let mut entries = self.segment.memory_index();
        entries.extend_from_slice(&self.new_entries);
        let header = FrameHeader {
            kind: FrameKind::Footer,
            offset: u32_of(self.pos),
            durable: u32_of(self.durable),
            nonce: self.segment.nonce,
            first_seq: self.next_seq,
            max_ts: self.max_ts,
            count: 0,
            body_len: 0,
            prev_crc: self.last_crc,
            dir_crc: 0,
            crc: 0,
        };
        let bytes = footer::encode(header, &self.totals, self.segment.first_seq, &entries);
        let end = self.pos + bytes.len() as u64;
        write_all(&*self.file, &bytes, self.pos).map_err(|e| by_kind(self.failed(Operation::Write, self.pos, &e)))?;
        // Before it is: readers must not map what is about to go, also if the sync after it fails.
        self.segment.truncated(end);
        self.file.set_len(end).map_err(|e| by_kind(self.failed(Operation::Allocate, end, &e)))?;
        self.sync()?;
        self.segment.sealed(u32_of(self.pos), u32_of(entries.len() as u64));
        self.sealed = true;
        Ok(())
    }

    /// Gives back the room of a segment that holds nothing and is about to be replaced. Its header stays: it may be all
    /// that knows which numbers were given out.
    ///
    /// # Errors
    /// If the system refuses: the end of writing.
    pub(crate) fn shrink_empty(&mut self) -> Result<(), Failure> {
        debug_assert_eq!(self.pos, SEGMENT_HEADER_BYTES, "only an empty segment is replaced");
        if self.absent {
            return Ok(());
        }
        self.capacity = SEGMENT_HEADER_BYTES;
        self.segment.truncated(SEGMENT_HEADER_BYTES);
        let cut = self.file.set_len(SEGMENT_HEADER_BYTES);
        cut.map_err(|e| by_kind(self.failed(Operation::Allocate, SEGMENT_HEADER_BYTES, &e)))
    }

    /// The segment after this one, as it is to be made; `capacity` is [`capacity_for`] it.
    pub(crate) fn successor(&self, options: &LogOptions, capacity: u64, first_seq: u64) -> NewSegment {
        let replaces = !self.absent && first_seq == self.segment.first_seq;
        let ordinal = if replaces || self.absent { self.segment.ordinal } else { self.segment.ordinal + 1 };
        NewSegment {
            log_id: self.log_id,
            first_seq,
            ordinal,
            capacity,
            zero_ahead_bytes: options.zero_ahead_bytes,
            weak: options.sync.is_weak(),
            base_max_ts: self.max_ts,
            previous: match (replaces, self.absent) {
                (true, _) => self.segment.previous.unwrap_or_default(),
                // Nothing was before the first one, whatever its number.
                (false, true) => Previous::default(),
                (false, false) => self.as_previous(),
            },
            replaces,
        }
    }

    fn as_previous(&self) -> Previous {
        Previous {
            nonce: self.segment.link_nonce,
            first_seq: self.segment.first_seq,
            last_seq: self.next_seq.saturating_sub(1),
            data_len: u32_of(self.pos),
            last_crc: self.last_crc,
        }
    }

    /// Writes zeros ahead, at most `step` bytes, so that small commits go into blocks that were written before.
    /// Returns how many.
    ///
    /// # Errors
    /// Like a write.
    pub(crate) fn zero_ahead(&mut self, step: u64) -> Result<u64, Failure> {
        let zeros = zeros();
        let from = self.zeroed.max(self.pos);
        let to = (from + step).min(self.capacity);
        if self.sealed || to <= from {
            return Ok(0);
        }
        let len = crate::format::index64(to - from).min(zeros.len());
        let zeros = zeros.get(..len).unwrap_or_default();
        self.file.write_zeros_at(zeros, from).map_err(|e| by_kind(self.failed(Operation::Write, from, &e)))?;
        self.zeroed = from + len as u64;
        Ok(len as u64)
    }

    fn failed(&self, operation: Operation, offset: u64, error: &std::io::Error) -> LogError {
        LogError::from_io(operation, &self.segment.path, Some(offset), error)
    }
}

/// Bytes of a frame that holds these batches.
pub(crate) fn frame_bytes(body_and_directory: usize) -> u64 {
    (FRAME_HEADER_BYTES + body_and_directory) as u64
}

/// Sorts an error by what follows from it.
pub(crate) fn by_kind(error: LogError) -> Failure {
    match error.kind() {
        crate::error::FailureKind::NoSpace => Failure::Full(error),
        _ => Failure::Dead(error),
    }
}

/// Narrows what the limits of segments and batches keep below 4 GiB.
fn u32_of(value: u64) -> u32 {
    debug_assert!(u32::try_from(value).is_ok(), "{value} is beyond the 32 bits of the format");
    u32::try_from(value).unwrap_or(u32::MAX)
}
