//! One segment as readers share it: what it holds, how far it may be read, where its bytes are.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use roaring::RoaringTreemap;

use crate::cursor::SegmentCursor;
use crate::disk::{Disk, OpenMode, View};
use crate::error::{LogError, Operation};
use crate::format::footer::{self, IndexEntry, Totals};
use crate::format::packed::Codec;
use crate::format::segment::{HeaderFound, Previous, SegmentHeader};
use crate::format::{SEGMENT_HEADER_BYTES, index};
use crate::packed::PackedCursor;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};
use crate::views::{CachedView, ViewSlot};
use crate::walk::{Bounds, Cursor};

/// Numbers segments for as long as the process lives.
static NEXT_ID: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

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
    /// The nonce that the segment behind it names.
    pub(crate) link_nonce: u64,
    pub(crate) ordinal: u64,
    pub(crate) weak: bool,
    /// Rewritten from others: numbers that are missing in it were removed.
    pub(crate) packed: bool,
    /// Tells it from every other that this process had open: its blocks are kept under this number.
    pub(crate) id: u64,
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
    /// Records of it that were removed, and their bytes. They are still in the file.
    removed_messages: AtomicU64,
    removed_bytes: AtomicU64,
    index: RwLock<SparseIndex>,
    view: ViewSlot,
    /// Another one holds its records now, and its file has gone or is going. Whoever is in it keeps the map.
    superseded: AtomicBool,
    /// Its owner is somebody else, who may put another file in its place without a word.
    watched: AtomicBool,
    /// Removed records that the other one does not have. Nothing else remembers that they were removed.
    dropped: OnceLock<Arc<RoaringTreemap>>,
}

/// What a new [`Segment`] is made of.
#[derive(Debug)]
pub(crate) struct SegmentParts {
    pub(crate) path: PathBuf,
    pub(crate) first_seq: u64,
    pub(crate) nonce: u64,
    pub(crate) link_nonce: u64,
    pub(crate) ordinal: u64,
    pub(crate) weak: bool,
    pub(crate) packed: bool,
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
            link_nonce: parts.link_nonce,
            ordinal: parts.ordinal,
            weak: parts.weak,
            packed: parts.packed,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            previous: parts.previous,
            base_max_ts: parts.base_max_ts,
            disk: Arc::clone(disk),
            end: AtomicU64::new(parts.end),
            next_seq: AtomicU64::new(parts.next_seq),
            file_bytes: AtomicU64::new(parts.file_bytes),
            totals: Mutex::new(parts.totals),
            removed_messages: AtomicU64::new(0),
            removed_bytes: AtomicU64::new(0),
            index: RwLock::new(parts.index),
            view: ViewSlot::new(),
            superseded: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            dropped: OnceLock::new(),
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

    /// Whether any record of it was removed.
    pub(crate) fn has_removed(&self) -> bool {
        self.removed_messages.load(Ordering::Acquire) > 0
    }

    /// Counts records that were removed.
    pub(crate) fn count_removed(&self, messages: u64, bytes: u64) {
        self.removed_messages.fetch_add(messages, Ordering::AcqRel);
        self.removed_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Records that are not removed, and their bytes.
    pub(crate) fn live(&self) -> (u64, u64) {
        let totals = self.totals();
        let messages = totals.messages.saturating_sub(self.removed_messages.load(Ordering::Acquire));
        (messages, totals.record_bytes.saturating_sub(self.removed_bytes.load(Ordering::Acquire)))
    }

    /// How its records are stored if it is packed.
    pub(crate) fn codec(&self) -> Option<Codec> {
        let codec = if self.totals.lock().compressed > 0 { Codec::Zstd } else { Codec::None };
        self.packed.then_some(codec)
    }

    /// Whether another segment has taken its place.
    pub(crate) fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Acquire)
    }

    /// Whether it was left out of the segment that has taken this one's place.
    pub(crate) fn was_dropped(&self, seq: u64) -> bool {
        self.dropped.get().is_some_and(|dropped| dropped.contains(seq))
    }

    /// Records removed, and their bytes.
    pub(crate) fn removed(&self) -> (u64, u64) {
        (self.removed_messages.load(Ordering::Acquire), self.removed_bytes.load(Ordering::Acquire))
    }

    /// Another segment is about to take its place, without these records.
    pub(crate) fn leave_out(&self, dropped: &Arc<RoaringTreemap>) {
        // Set once: a segment is exchanged once.
        let _ = self.dropped.set(Arc::clone(dropped));
    }

    /// Another segment has taken its place.
    pub(crate) fn supersede(&self) {
        self.superseded.store(true, Ordering::Release);
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

    /// The file as memory, right at least below `limit`. A view of which parts could not be read is not given out again:
    /// the file may have come back, or the disk.
    ///
    /// # Errors
    /// If it cannot be opened or mapped.
    pub(crate) fn view(&self, limit: u64) -> Result<View, LogError> {
        let mut cached = self.view.lock();
        if let Some(CachedView { view, good_to, held }) = &*cached
            && limit <= *good_to
        {
            let faults = view.faults.get();
            if faults == 0 || *held {
                return Ok(view.clone());
            }
            tracing::error!(path = %self.path.display(), pages = faults, "parts of the file could not be read");
        }
        let failed = |operation, e: &std::io::Error| LogError::from_io(operation, &self.path, None, e);
        let file = self.disk.open(&self.path, OpenMode::Read).map_err(|e| failed(Operation::Open, &e))?;
        // It may be sealed, and so cut, meanwhile: of what is behind the end nothing is ever looked at.
        let len = self.file_bytes().max(limit);
        let view = file.view(len).map_err(|e| failed(Operation::Map, &e))?;
        if self.watched.load(Ordering::Acquire) && self.is_another(&view.bytes) {
            return Err(failed(Operation::Open, &rustix::io::Errno::NOENT.into()));
        }
        let good_to = if view.live { len } else { limit };
        *cached = Some(CachedView { view: view.clone(), good_to, held: false });
        drop(cached);
        self.view.made();
        Ok(view)
    }

    /// Its owner is somebody else: a file that is found in its place is not taken for it.
    pub(crate) fn watch(&self) {
        self.watched.store(true, Ordering::Release);
    }

    /// Whether these are the bytes of another segment. One whose header is damaged is believed to be this one.
    pub(crate) fn is_another(&self, file: &[u8]) -> bool {
        matches!(SegmentHeader::decode_region(file), HeaderFound::Valid(header, _) if header.nonce != self.nonce)
    }

    /// Maps the whole file and keeps the map for good: soon nothing, or something else, will have its name.
    ///
    /// # Errors
    /// If it cannot be opened or mapped.
    pub(crate) fn hold_view(&self) -> Result<(), LogError> {
        let view = self.view(self.file_bytes())?;
        let mut cached = self.view.lock();
        // Others may have driven it out meanwhile.
        let cached = cached.get_or_insert(CachedView { view, good_to: self.file_bytes(), held: false });
        cached.held = true;
        Ok(())
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
    pub(crate) fn cursor_at_block(&self, file: &[u8], i: usize) -> SegmentCursor {
        let mut i = i;
        loop {
            match self.block(file, i) {
                Some((pos, seq)) => return self.cursor_from(pos, seq),
                None => i = i.saturating_sub(1),
            }
        }
    }

    fn cursor_from(&self, pos: u64, seq: u64) -> SegmentCursor {
        if self.packed {
            SegmentCursor::Packed(PackedCursor::new(pos, seq, Some(self.id)))
        } else {
            SegmentCursor::Appended(Cursor::new(pos, seq))
        }
    }

    /// A cursor at its first record, for one pass over all of it: blocks it takes apart are not kept for others.
    pub(crate) fn cursor_once(&self) -> SegmentCursor {
        if self.packed {
            SegmentCursor::Packed(PackedCursor::new(SEGMENT_HEADER_BYTES, self.first_seq, None))
        } else {
            self.cursor_from(SEGMENT_HEADER_BYTES, self.first_seq)
        }
    }

    /// A cursor at `seq`, or at the first record behind it.
    pub(crate) fn cursor_at(&self, file: &Bytes, bounds: &Bounds, seq: u64) -> SegmentCursor {
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
