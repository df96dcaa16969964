//! The records one publishing connection gathers before it hands them to a log.
//!
//! Everything that costs per record happens here, on the publishing thread: the copy and the checksum. The committer only
//! concatenates batches.

use crate::error::RecordTooLarge;
use crate::format::record::FLAG_EXPIRES;
use crate::format::{DIR_ENTRY_BYTES, EXPIRY_BYTES, RECORD_BYTES_MAX, RECORD_HEADER_BYTES};

/// Largest sum of record bytes in one batch; far above what one socket read brings, far below what 32-bit offsets hold.
const BATCH_BYTES_MAX: usize = 512 << 20;

/// When a record expires that stands for a number that is left out: always.
pub(crate) const HOLE_EXPIRES_AT_NS: i64 = 1;
/// Its subject.
const HOLE_SUBJECT: &[u8] = b"_";

/// Encoded records and their directory entries, in order.
#[derive(Debug, Default)]
pub struct RecordBatch {
    /// Encoded records, one after the other.
    pub(crate) body: Vec<u8>,
    /// One directory entry (length, checksum) a record, encoded.
    pub(crate) directory: Vec<u8>,
    /// Largest timestamp of the records, nanoseconds since 1970.
    pub(crate) max_ts_ns: i64,
    /// First record's timestamp, nanoseconds since 1970.
    pub(crate) first_ts_ns: i64,
    /// Last record's timestamp, nanoseconds since 1970.
    pub(crate) last_ts_ns: i64,
    /// How many of the records expire, and when the first of them does.
    pub(crate) expiring: u32,
    pub(crate) first_expiry_ns: Option<i64>,
    /// Numbers that are left out before the first record.
    pub(crate) skip: u64,
    /// Records that stand for numbers that are left out: places in the batch, both ends included, ascending.
    pub(crate) holes: Vec<(u64, u64)>,
    /// How many those are, and their bytes.
    pub(crate) hole_records: u64,
    pub(crate) hole_bytes: u64,
}

impl RecordBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self { max_ts_ns: i64::MIN, ..Self::default() }
    }

    /// Gives back memory beyond `bytes`, if the batch is empty.
    pub fn shrink_to(&mut self, bytes: usize) {
        if self.is_empty() && self.body.capacity() + self.directory.capacity() > bytes {
            *self = Self::new();
        }
    }

    /// Copies one record in and computes its checksum. `ts_ns` is nanoseconds since 1970; `headers` is the raw header
    /// block of the message, empty if it has none.
    ///
    /// # Errors
    /// [`RecordTooLarge`] if the record, or the batch with it, is larger than a log takes, or the subject is longer than
    /// 65,535 bytes. The batch is unchanged then.
    pub fn push(&mut self, ts_ns: i64, subject: &[u8], headers: &[u8], payload: &[u8]) -> Result<(), RecordTooLarge> {
        self.push_record(ts_ns, None, subject, headers, payload)
    }

    /// The same, of a record that is to go at `expires_at_ns`, nanoseconds since 1970: from then on no reader is shown it,
    /// and [`crate::Log::expire`] removes it.
    ///
    /// # Errors
    /// See [`RecordBatch::push`].
    pub fn push_expiring(
        &mut self,
        ts_ns: i64,
        subject: &[u8],
        headers: &[u8],
        payload: &[u8],
        expires_at_ns: i64,
    ) -> Result<(), RecordTooLarge> {
        self.push_record(ts_ns, Some(expires_at_ns), subject, headers, payload)
    }

    /// Records without holes, and their bytes.
    pub(crate) fn kept(&self) -> (u64, u64) {
        (self.len() as u64 - self.hole_records, self.body.len() as u64 - self.hole_bytes)
    }

    /// Leaves out so many numbers before the next record. Each takes the place of a small record in the log, which no reader
    /// is ever shown and which is removed when it is written: for a few numbers between others. For many there is
    /// [`RecordBatch::skip`].
    ///
    /// # Errors
    /// See [`RecordBatch::push`].
    pub fn push_holes(&mut self, ts_ns: i64, numbers: u32) -> Result<(), RecordTooLarge> {
        let (first, bytes) = (self.len() as u64, self.body.len());
        let first_expiry_ns = self.first_expiry_ns;
        for _ in 0..numbers {
            // Past its time from the beginning: so it stays out of sight also where nobody remembers that it is a hole.
            self.push_record(ts_ns, Some(HOLE_EXPIRES_AT_NS), HOLE_SUBJECT, &[], &[])?;
        }
        // What is removed anyhow gives nobody a reason to look for what has expired.
        self.first_expiry_ns = first_expiry_ns;
        let last = (self.len() as u64).saturating_sub(1);
        match self.holes.last_mut() {
            Some(before) if before.1 + 1 == first => before.1 = last,
            _ if numbers > 0 => self.holes.push((first, last)),
            _ => {}
        }
        self.hole_records += u64::from(numbers);
        self.hole_bytes += (self.body.len() - bytes) as u64;
        Ok(())
    }

    /// Leaves out so many numbers before the batch's first record: the log goes on in a new segment, whose header says so.
    /// Only for a batch that is still empty; whether it was.
    pub fn skip(&mut self, numbers: u64) -> bool {
        let empty = self.is_empty();
        if empty {
            self.skip = self.skip.saturating_add(numbers);
        }
        empty
    }

    fn push_record(
        &mut self,
        ts_ns: i64,
        expires_at_ns: Option<i64>,
        subject: &[u8],
        headers: &[u8],
        payload: &[u8],
    ) -> Result<(), RecordTooLarge> {
        let len = RECORD_HEADER_BYTES
            .saturating_add(if expires_at_ns.is_some() { EXPIRY_BYTES } else { 0 })
            .saturating_add(subject.len())
            .saturating_add(headers.len())
            .saturating_add(payload.len());
        let subject_len = u16::try_from(subject.len());
        let (Ok(subject_len), Ok(len32), Ok(headers_len)) =
            (subject_len, u32::try_from(len), u32::try_from(headers.len()))
        else {
            return Err(RecordTooLarge { bytes: len, max: RECORD_BYTES_MAX });
        };
        if len > RECORD_BYTES_MAX || self.body.len() + len > BATCH_BYTES_MAX {
            return Err(RecordTooLarge { bytes: len, max: RECORD_BYTES_MAX });
        }
        let start = self.body.len();
        self.body.reserve(len);
        // Lengths, flags and time as three words.
        let flags = if expires_at_ns.is_some() { FLAG_EXPIRES } else { 0 };
        let time = ts_ns.cast_unsigned();
        let lengths = u64::from(len32) | u64::from(headers_len) << 32;
        let subject_and_time = u64::from(subject_len) | u64::from(flags) << 16 | (time & 0xffff_ffff) << 32;
        self.body.extend_from_slice(&lengths.to_le_bytes());
        self.body.extend_from_slice(&subject_and_time.to_le_bytes());
        self.body.extend_from_slice(time.to_le_bytes().last_chunk::<4>().unwrap_or(&[0; 4]));
        if let Some(at_ns) = expires_at_ns {
            self.body.extend_from_slice(&at_ns.to_le_bytes());
            self.expiring += 1;
            self.first_expiry_ns = Some(self.first_expiry_ns.map_or(at_ns, |first| first.min(at_ns)));
        }
        self.body.extend_from_slice(subject);
        self.body.extend_from_slice(headers);
        self.body.extend_from_slice(payload);
        let crc = crc32fast::hash(self.body.get(start..).unwrap_or_default());
        let entry = (u64::from(len32) | u64::from(crc) << 32).to_le_bytes();
        if self.directory.is_empty() {
            self.first_ts_ns = ts_ns;
            self.max_ts_ns = ts_ns;
        }
        self.directory.extend_from_slice(&entry);
        self.max_ts_ns = self.max_ts_ns.max(ts_ns);
        self.last_ts_ns = ts_ns;
        Ok(())
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.directory.len() / DIR_ENTRY_BYTES
    }

    /// Bytes that the records will take in the log.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.body.len() + self.directory.len()
    }

    /// Whether there is no record in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.directory.is_empty()
    }

    /// Forgets the records; keeps the memory.
    pub fn clear(&mut self) {
        self.body.clear();
        self.directory.clear();
        self.max_ts_ns = i64::MIN;
        self.first_ts_ns = 0;
        self.last_ts_ns = 0;
        self.expiring = 0;
        self.first_expiry_ns = None;
        self.skip = 0;
        self.holes.clear();
        (self.hole_records, self.hole_bytes) = (0, 0);
    }

    /// Copies another batch's records behind these.
    pub(crate) fn absorb(&mut self, other: &Self) {
        if self.is_empty() {
            self.first_ts_ns = other.first_ts_ns;
            self.max_ts_ns = other.max_ts_ns;
            self.skip += other.skip;
        }
        let base = self.len() as u64;
        self.holes.extend(other.holes.iter().map(|&(first, last)| (base + first, base + last)));
        self.hole_records += other.hole_records;
        self.hole_bytes += other.hole_bytes;
        self.body.extend_from_slice(&other.body);
        self.directory.extend_from_slice(&other.directory);
        self.max_ts_ns = self.max_ts_ns.max(other.max_ts_ns);
        if !other.is_empty() {
            self.last_ts_ns = other.last_ts_ns;
        }
        self.expiring += other.expiring;
        self.first_expiry_ns = [self.first_expiry_ns, other.first_expiry_ns].into_iter().flatten().min();
    }
}
