//! One segment as readers share it: what it holds, how far it may be read, where its bytes are.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::disk::{Disk, OpenMode};
use crate::error::{LogError, Operation};
use crate::format::footer::{self, IndexEntry, Totals};
use crate::format::segment::Previous;
use crate::format::{SEGMENT_HEADER_BYTES, index};
use crate::views::{CachedView, ViewSlot};
use crate::walk::{Bounds, Cursor};

/// Where the sparse index of a segment is.
#[derive(Debug)]
pub(crate) enum SparseIndex {
    /// In memory: of the open segment, and of a sealed one whose footer is damaged.
    Memory(Vec<IndexEntry>),
    /// In the footer at this offset.
    Footer { offset: u32, entries: u32 },
}

/// A segment of a log.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) first_seq: u64,
    pub(crate) nonce: u64,
    pub(crate) ordinal: u64,
    pub(crate) weak: bool,
    /// What its header says of the segment before; `None` if the header is damaged.
    pub(crate) previous: Option<Previous>,
    /// Largest time of any record before it.
    pub(crate) base_max_ts: i64,
    disk: Arc<dyn Disk>,
    /// Offset behind the last byte that may be read. Stored after everything below it is in place.
    end: AtomicU64,
    /// Number behind the last readable record.
    next_seq: AtomicU64,
    file_bytes: AtomicU64,
    totals: Mutex<Totals>,
    index: RwLock<SparseIndex>,
    view: ViewSlot,
}

/// What a new [`Segment`] is made of.
#[derive(Debug)]
pub(crate) struct SegmentParts {
    pub(crate) path: PathBuf,
    pub(crate) first_seq: u64,
    pub(crate) nonce: u64,
    pub(crate) ordinal: u64,
    pub(crate) weak: bool,
    pub(crate) previous: Option<Previous>,
    pub(crate) base_max_ts: i64,
    pub(crate) end: u64,
    pub(crate) next_seq: u64,
    pub(crate) file_bytes: u64,
    pub(crate) totals: Totals,
    pub(crate) index: SparseIndex,
}

impl Segment {
    pub(crate) fn new(disk: &Arc<dyn Disk>, parts: SegmentParts) -> Arc<Self> {
        Arc::new(Self {
            path: parts.path,
            first_seq: parts.first_seq,
            nonce: parts.nonce,
            ordinal: parts.ordinal,
            weak: parts.weak,
            previous: parts.previous,
            base_max_ts: parts.base_max_ts,
            disk: Arc::clone(disk),
            end: AtomicU64::new(parts.end),
            next_seq: AtomicU64::new(parts.next_seq),
            file_bytes: AtomicU64::new(parts.file_bytes),
            totals: Mutex::new(parts.totals),
            index: RwLock::new(parts.index),
            view: ViewSlot::new(),
        })
    }

    /// How far it may be read now, and which numbers that covers.
    pub(crate) fn bounds(&self) -> Bounds {
        // The number first, the end afterwards: a publication in between shows as bytes not yet promised, never as
        // promised numbers without bytes, which would look like damage.
        let next_seq = self.next_seq.load(Ordering::Acquire);
        let limit = self.end.load(Ordering::Acquire);
        Bounds { nonce: self.nonce, limit, next_seq }
    }

    /// Number behind the last readable record.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq.load(Ordering::Acquire)
    }

    /// Length of the file, in bytes.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn totals(&self) -> Totals {
        *self.totals.lock()
    }

    /// Makes frames readable. The end is stored before the number that promises it.
    pub(crate) fn publish(&self, end: u64, next_seq: u64, totals: Totals, entries: &mut Vec<IndexEntry>) {
        if !entries.is_empty() {
            if let SparseIndex::Memory(index) = &mut *self.index.write() {
                index.append(entries);
            }
            // Of a segment sealed meanwhile they are in the footer.
            entries.clear();
        }
        *self.totals.lock() = totals;
        self.end.store(end, Ordering::Release);
        self.next_seq.store(next_seq, Ordering::Release);
    }

    /// The file was cut to this length, behind everything readable.
    pub(crate) fn truncated(&self, file_bytes: u64) {
        self.file_bytes.store(file_bytes, Ordering::Relaxed);
    }

    /// The file was sealed: its index is in its footer from now on.
    pub(crate) fn sealed(&self, footer_offset: u32, entries: u32) {
        *self.view.lock() = None;
        *self.index.write() = SparseIndex::Footer { offset: footer_offset, entries };
    }

    /// All index entries, for the footer.
    pub(crate) fn memory_index(&self) -> Vec<IndexEntry> {
        match &*self.index.read() {
            SparseIndex::Memory(entries) => entries.clone(),
            SparseIndex::Footer { .. } => Vec::new(),
        }
    }

    /// The file as memory, right at least below `limit`.
    ///
    /// # Errors
    /// If it cannot be opened or mapped.
    pub(crate) fn view(&self, limit: u64) -> Result<Bytes, LogError> {
        let mut cached = self.view.lock();
        if let Some(view) = &*cached
            && limit <= view.good_to
        {
            return Ok(view.bytes.clone());
        }
        let failed = |operation, e: &std::io::Error| LogError::from_io(operation, &self.path, None, e);
        let file = self.disk.open(&self.path, OpenMode::Read).map_err(|e| failed(Operation::Open, &e))?;
        let mut len = self.file_bytes().max(limit);
        let view = loop {
            match file.view(len) {
                // Sealed, and so cut, between the two.
                Err(e) if e.kind() == ErrorKind::UnexpectedEof && self.file_bytes().max(limit) < len => {
                    len = self.file_bytes().max(limit);
                }
                other => break other.map_err(|e| failed(Operation::Map, &e))?,
            }
        };
        let good_to = if view.live { len } else { limit };
        *cached = Some(CachedView { bytes: view.bytes.clone(), good_to });
        drop(cached);
        self.view.made();
        Ok(view.bytes)
    }

    /// Entries of the index, and the one at `i`.
    fn entry(&self, file: &[u8], i: usize) -> Option<IndexEntry> {
        match &*self.index.read() {
            SparseIndex::Memory(entries) => entries.get(i).copied(),
            SparseIndex::Footer { offset, entries } if i < index(*entries) => footer::entry(file, *offset, i),
            SparseIndex::Footer { .. } => None,
        }
    }

    fn entries(&self) -> usize {
        match &*self.index.read() {
            SparseIndex::Memory(entries) => entries.len(),
            SparseIndex::Footer { entries, .. } => index(*entries),
        }
    }

    /// Offsets at which the blocks of the index begin, with the number of their first record; only those that prove
    /// true. The first one is the segment's first frame.
    pub(crate) fn block(&self, file: &[u8], i: usize) -> Option<(u64, u64)> {
        if i == 0 {
            return Some((SEGMENT_HEADER_BYTES, self.first_seq));
        }
        let entry = self.entry(file, i)?;
        self.proved(file, &entry).then(|| (u64::from(entry.offset), entry.seq))
    }

    /// Index of the last block that `is_before` holds for; the index is a hint, the caller's cursor starts at its frame
    /// only if the frame is what the entry says.
    pub(crate) fn last_block(&self, file: &[u8], is_before: impl Fn(&IndexEntry) -> bool) -> usize {
        let (mut low, mut high) = (0, self.entries());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(file, middle).is_some_and(|entry| is_before(&entry)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.saturating_sub(1)
    }

    /// A cursor at the nearest proved block at or before block `i`.
    pub(crate) fn cursor_at_block(&self, file: &[u8], i: usize) -> Cursor {
        let mut i = i;
        loop {
            match self.block(file, i) {
                Some((pos, seq)) => return Cursor::new(pos, seq),
                None => i = i.saturating_sub(1),
            }
        }
    }

    /// A cursor at `seq`, or at the first record behind it.
    pub(crate) fn cursor_at(&self, file: &[u8], bounds: &Bounds, seq: u64) -> Cursor {
        let block = self.last_block(file, |entry| entry.seq <= seq);
        let mut cursor = self.cursor_at_block(file, block);
        if cursor.expected() > seq {
            cursor = self.cursor_at_block(file, 0);
        }
        cursor.skip_to(file, bounds, seq);
        cursor
    }

    fn proved(&self, file: &[u8], entry: &IndexEntry) -> bool {
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is(crate::planted::Bug::TrustStaleIndex) {
            return true;
        }
        let limit = self.bounds().limit;
        crate::walk::header_at(file, self.nonce, u64::from(entry.offset), limit)
            .is_some_and(|header| header.first_seq == entry.seq)
    }
}

/// Path of the segment whose first record is `first_seq`.
pub(crate) fn path_of(dir: &Path, first_seq: u64) -> PathBuf {
    dir.join(crate::format::segment::file_name(first_seq))
}
