//! One segment backwards, a block of its sparse index at a time.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Reader, report, shown};
use crate::cursor::SegmentCursor;
use crate::disk::View;
use crate::error::ReadError;
use crate::format::frame::FrameHeader;
use crate::format::record::Slot;
use crate::packed::{PackedCursor, Stretch, load, offset_of};
use crate::record::{LostReason, Source, Visit};
use crate::segment::Segment;
use crate::shared::lost;
use crate::walk::{Bounds, Cursor, Step};

/// What is done with records and lost ranges, newest first.
type Visitor<'a> = dyn FnMut(Visit<'_>) -> ControlFlow<()> + 'a;

/// A way backwards through a segment.
struct Walk<'a> {
    reader: &'a Reader,
    segment: &'a Arc<Segment>,
    view: View,
    bounds: Bounds,
    /// Largest number to be visited.
    next: &'a mut u64,
    /// Bytes of the records visited.
    bytes: &'a mut usize,
    visitor: &'a mut Visitor<'a>,
}

impl Reader {
    /// Visits a segment's records from the number `next` down, and moves `next` before what was visited.
    pub(super) fn segment_backward<'a>(
        &'a self,
        segment: &'a Arc<Segment>,
        next: &'a mut u64,
        bytes: &'a mut usize,
        visitor: &'a mut Visitor<'a>,
    ) -> Result<ControlFlow<()>, ReadError> {
        let bounds = segment.bounds();
        let view = segment.view(bounds.limit)?;
        Ok(Walk { reader: self, segment, view, bounds, next, bytes, visitor }.run())
    }
}

impl Walk<'_> {
    fn run(&mut self) -> ControlFlow<()> {
        // The clone counts references, so that what lies in the map can be borrowed beside `self`.
        let view = self.view.clone();
        let file = &view.bytes;
        while *self.next >= self.segment.first_seq {
            if self.segment.has_removed() {
                // Whole blocks of removed records are left out.
                let live = self.reader.shared.removed.read().last_live(self.segment.first_seq, *self.next);
                *self.next = live.unwrap_or(self.segment.first_seq - 1);
                if live.is_none() {
                    break;
                }
            }
            let next = *self.next;
            let block = self.segment.last_block(file, |entry| entry.seq <= next);
            let cursor = self.segment.cursor_at_block(file, block);
            let block_first = cursor.expected();
            match cursor {
                SegmentCursor::Appended(cursor) => self.appended(cursor, &view)?,
                SegmentCursor::Packed(cursor) => self.packed(cursor, &view)?,
            }
            // Whatever happened in the block, the next one is before it.
            *self.next = (*self.next).min(block_first - 1);
        }
        ControlFlow::Continue(())
    }

    fn appended(&mut self, cursor: Cursor, view: &View) -> ControlFlow<()> {
        // Borders only; the records stay where they are.
        let (faults, found) = settled(view, || {
            let (mut cursor, mut found) = (cursor, Vec::new());
            while cursor.expected() <= *self.next {
                match cursor.step(&view.bytes, &self.bounds) {
                    Step::End => break,
                    step => found.push(step),
                }
            }
            found
        });
        let source = Source { holder: &view.bytes, view, faults };
        for step in found.into_iter().rev() {
            match step {
                Step::Record { seq, record } => self.record(source, seq, record)?,
                Step::Lost { first_seq, last_seq, offset } => self.lost(first_seq, last_seq, offset)?,
                Step::End => {}
            }
        }
        ControlFlow::Continue(())
    }

    /// Frame by frame, so that one block is held at a time.
    fn packed(&mut self, mut cursor: PackedCursor, view: &View) -> ControlFlow<()> {
        for stretch in cursor.stretches(&view.bytes, &self.bounds, *self.next).into_iter().rev() {
            match stretch {
                Stretch::Frame(header) => self.frame(&header, view)?,
                Stretch::Lost(first_seq, last_seq, offset) => self.lost(first_seq, last_seq, offset)?,
            }
        }
        ControlFlow::Continue(())
    }

    fn frame(&mut self, header: &FrameHeader, view: &View) -> ControlFlow<()> {
        let Some(block) = load(header, &view.bytes, Some(self.segment.id)) else {
            return self.lost(header.first_seq, header.next_seq() - 1, u64::from(header.offset));
        };
        let starts: Vec<usize> = block.starts(0..block.count()).map(|(start, _)| start).collect();
        for (i, &at) in (0..block.count()).zip(&starts).rev() {
            let (faults, slot) = settled(view, || block.slot(i, at).0);
            let source = Source { holder: block.content(), view, faults };
            match slot {
                Slot::Good(record) => self.record(source, block.seq(i), record)?,
                Slot::Lost => self.lost(block.seq(i), block.seq(i), offset_of(header, at))?,
            }
        }
        ControlFlow::Continue(())
    }

    fn record(&mut self, source: Source<'_>, seq: u64, record: &[u8]) -> ControlFlow<()> {
        if seq > *self.next {
            return ControlFlow::Continue(());
        }
        *self.next = seq - 1;
        if self.reader.shared.is_gone(self.segment, seq) {
            return ControlFlow::Continue(());
        }
        let Some(found) = shown(&self.reader.shared, source, seq, record, false) else {
            return ControlFlow::Continue(());
        };
        *self.bytes += record.len();
        (self.visitor)(Visit::Record(found))
    }

    fn lost(&mut self, first_seq: u64, last_seq: u64, offset: u64) -> ControlFlow<()> {
        if first_seq > *self.next {
            return ControlFlow::Continue(());
        }
        if self.reader.shared.is_all_removed(first_seq, last_seq.min(*self.next)) {
            *self.next = first_seq - 1;
            return ControlFlow::Continue(());
        }
        report(&self.reader.shared, self.segment, offset, lost(first_seq, last_seq, LostReason::Damage));
        let range = lost(first_seq, last_seq.min(*self.next), LostReason::Damage);
        *self.next = first_seq - 1;
        (self.visitor)(Visit::Lost(range))
    }
}

/// What `look` finds, and the read faults of the view by then: looked at again for as long as parts of it turn blank
/// meanwhile. What is blank stays so, which ends this.
fn settled<T>(view: &View, mut look: impl FnMut() -> T) -> (u64, T) {
    loop {
        let faults = view.faults.get();
        let found = look();
        if view.faults.get() == faults {
            return (faults, found);
        }
    }
}
