//! What a reader sees: records, ranges that are lost, and how a read ended.

use bytes::Bytes;

use crate::disk::View;
use crate::format::{EXPIRY_BYTES, RECORD_HEADER_BYTES};

/// A record that owns its bytes: slices of the mapped segment, nothing is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Sequence number, from 1.
    pub seq: u64,
    /// Nanoseconds since 1970, as the publisher's connection stamped it.
    pub ts_ns: i64,
    /// When it is to go, nanoseconds since 1970; `None` for one that stays.
    pub expires_at_ns: Option<i64>,
    /// Subject.
    pub subject: Bytes,
    /// Raw header block, empty if the message has none.
    pub headers: Bytes,
    /// Payload.
    pub payload: Bytes,
}

/// A record as filters look at it: borrowed, no reference is counted.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    /// Sequence number, from 1.
    pub seq: u64,
    /// Nanoseconds since 1970.
    pub ts_ns: i64,
    /// When it is to go, nanoseconds since 1970; `None` for one that stays.
    pub expires_at_ns: Option<i64>,
    /// Subject.
    pub subject: &'a [u8],
    /// Raw header block, empty if the message has none.
    pub headers: &'a [u8],
    /// Payload.
    pub payload: &'a [u8],
    /// Where it comes from.
    pub(crate) source: Source<'a>,
}

/// What a record was found in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// The memory that the record lies in: the file's, or a block that was taken out of it.
    pub(crate) holder: &'a Bytes,
    /// The file.
    pub(crate) view: &'a View,
    /// Read faults in it when the record's checksum was right.
    pub(crate) faults: u64,
}

impl RecordRef<'_> {
    /// The same record, owning its bytes. Counts three references, copies nothing.
    #[must_use]
    pub fn to_record(&self) -> Record {
        Record {
            seq: self.seq,
            ts_ns: self.ts_ns,
            expires_at_ns: self.expires_at_ns,
            subject: self.share(self.subject),
            headers: self.share(self.headers),
            payload: self.share(self.payload),
        }
    }

    /// One of the record's slices, owning its bytes.
    ///
    /// # Panics
    /// If `part` is none of them.
    #[must_use]
    pub fn share(&self, part: &[u8]) -> Bytes {
        if part.is_empty() {
            return Bytes::new();
        }
        let Source { holder, view, .. } = self.source;
        // Where `part` is in the file's one map, it is in the other.
        match part.as_ptr().addr().checked_sub(view.bytes.as_ptr().addr()) {
            Some(at) if at < view.bytes.len() => view.to_share.slice(at..at + part.len()),
            _ => holder.slice_ref(part),
        }
    }

    /// Whether it only stands for a number that was left out. No reader is shown these but by [`Log::visit_expired`](crate::Log::visit_expired).
    #[must_use]
    pub fn is_hole(&self) -> bool {
        self.expires_at_ns == Some(crate::batch::HOLE_EXPIRES_AT_NS)
    }

    /// Whether what was read of the record since its checksum was right is the record still: that no part of the segment
    /// became unreadable meanwhile, and blank by that. To be asked by those who copied something out of it, before they
    /// use the copy. If not, they seek to the record again.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.source.view.faults.get() == self.source.faults
    }

    /// Bytes that the record takes in the log.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let expiry = if self.expires_at_ns.is_some() { EXPIRY_BYTES } else { 0 };
        RECORD_HEADER_BYTES + expiry + self.subject.len() + self.headers.len() + self.payload.len()
    }
}

/// Why sequence numbers have no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LostReason {
    /// The bytes do not match their checksum.
    Damage,
    /// The segment file is gone, or another file is in its place.
    MissingSegment,
    /// The numbers were never given to a record that anybody was told of: left out after a power cut in a weak mode, or
    /// after a full disk. Not damage.
    NeverWritten,
}

/// Sequence numbers that have no record, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LostRange {
    /// First number.
    pub first_seq: u64,
    /// Last number.
    pub last_seq: u64,
    /// Why.
    pub reason: LostReason,
}

/// What a reader comes across.
#[derive(Debug, Clone, Copy)]
pub enum Visit<'a> {
    /// A record whose checksum was right.
    Record(RecordRef<'a>),
    /// Numbers without a record.
    Lost(LostRange),
}

/// Why a read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadEnd {
    /// Everything readable was visited.
    CaughtUp,
    /// As many bytes as asked for were visited.
    Budget,
    /// The visitor said so.
    Stopped,
}

/// How a read went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOutcome {
    /// Why it ended.
    pub end: ReadEnd,
    /// Forward: the sequence the next read begins with. Backward: the one that would be visited next, 0 at the beginning.
    pub next_seq: u64,
    /// Bytes of records visited.
    pub bytes: usize,
}
