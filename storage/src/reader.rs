//! Reading: forward from a number, backward from the end, or from a time on.

mod backward;

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::cursor::{Found as Step, SegmentCursor};
use crate::disk::View;
use crate::error::ReadError;
use crate::format::record;
use crate::record::{LostRange, LostReason, ReadEnd, ReadOutcome, RecordRef, Source, Visit};
use crate::segment::Segment;
use crate::shared::{Shared, lost};
use crate::state::Damage;
use crate::sync::atomic::Ordering;
use crate::walk::Bounds;

/// Removed records in a row from which on a reader looks for the next one instead of passing over them.
const LONG_STRETCH: u64 = 256;

/// Reads a log from a position on. Cheap: a position, a reference to a segment, a reference to its map.
pub struct Reader {
    shared: Arc<Shared>,
    next_seq: u64,
    place: Option<Place>,
    /// The number at which the file was looked at anew because part of the map could not be read.
    looked_again_at: u64,
    /// Records past their time are shown too.
    expired_too: bool,
    /// Removed ones as well, as long as their bytes are there.
    removed_too: bool,
}

/// Where a reader is in a segment.
struct Place {
    segment: Arc<Segment>,
    view: View,
    /// Read faults of the view that what was reported so far accounts for.
    faults: u64,
    bounds: Bounds,
    cursor: SegmentCursor,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, next_seq: 1, place: None, looked_again_at: 0, expired_too: false, removed_too: false }
    }

    /// Shows records past their time as well, as long as they are not removed: to whoever removes them.
    pub(crate) fn show_expired(&mut self) {
        self.expired_too = true;
    }

    /// Shows whatever was written and can be read, removed or not.
    pub(crate) fn show_all(&mut self) {
        self.expired_too = true;
        self.removed_too = true;
    }

    /// The next read begins with this number, or the first after it that exists.
    pub fn seek(&mut self, seq: u64) {
        let seq = seq.max(1);
        if seq == self.next_seq {
            return;
        }
        self.next_seq = seq;
        match &mut self.place {
            // The same file: what is known of it still counts.
            Some(place) if place.holds(seq) => {
                place.cursor = place.segment.cursor_at(&place.view.bytes, &place.bounds, seq);
            }
            place => *place = None,
        }
    }

    /// The number the next read begins with.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Visits records from the position on until `max_bytes` of them were seen, the end is reached, or `f` breaks.
    ///
    /// # Errors
    /// If a segment cannot be opened or mapped. Damage is not an error but a lost range.
    pub fn visit(
        &mut self,
        max_bytes: usize,
        f: &mut dyn FnMut(Visit<'_>) -> ControlFlow<()>,
    ) -> Result<ReadOutcome, ReadError> {
        let mut bytes = 0;
        if self.place.as_ref().is_some_and(|place| place.segment.is_superseded()) {
            self.place = None;
        }
        let end = loop {
            if self.next_seq > self.shared.readable.load(Ordering::Acquire) {
                break ReadEnd::CaughtUp;
            }
            if bytes >= max_bytes {
                break ReadEnd::Budget;
            }
            let Some(place) = &mut self.place else {
                match self.find_place()? {
                    Found::Place => {}
                    Found::Gap(range) => {
                        self.next_seq = range.last_seq + 1;
                        if self.shared.is_all_removed(range.first_seq, range.last_seq) {
                            continue;
                        }
                        if f(Visit::Lost(range)).is_break() {
                            break ReadEnd::Stopped;
                        }
                    }
                    Found::Nothing => break ReadEnd::CaughtUp,
                }
                continue;
            };
            let faults = place.view.faults.get();
            let step = place.cursor.step(&place.view.bytes, &place.bounds);
            if place.view.faults.get() != faults {
                // Some of it turned blank while it was looked at. Once more: what is blank stays so, which ends this.
                place.cursor = place.segment.cursor_at(&place.view.bytes, &place.bounds, self.next_seq);
                continue;
            }
            let ended = match step {
                Step::Record { seq, record, holder } => {
                    self.next_seq = seq + 1;
                    if !self.removed_too && self.shared.is_gone(&place.segment, seq) {
                        self.pass_removed(seq);
                        continue;
                    }
                    let source = Source { holder, view: &place.view, faults };
                    let Some(found) = shown(&self.shared, source, seq, record, self.expired_too) else { continue };
                    bytes += record.len();
                    if f(Visit::Record(found)).is_break() {
                        break ReadEnd::Stopped;
                    }
                    false
                }
                // The disk did not give it. It is asked once more before anything is given up.
                Step::Lost { .. } if faults > place.faults && self.looked_again_at != self.next_seq => {
                    self.looked_again_at = self.next_seq;
                    self.place = None;
                    continue;
                }
                Step::Lost { first_seq, last_seq, offset } => {
                    let range = lost(first_seq, last_seq, LostReason::Damage);
                    place.faults = faults;
                    self.next_seq = last_seq + 1;
                    if self.shared.is_all_removed(first_seq, last_seq) {
                        continue;
                    }
                    report(&self.shared, &place.segment, offset, range);
                    if f(Visit::Lost(range)).is_break() {
                        break ReadEnd::Stopped;
                    }
                    false
                }
                Step::End => true,
            };
            if ended {
                // The last numbers of a packed segment may have been removed.
                self.next_seq = self.next_seq.max(place.bounds.next_seq);
                if !place.refresh()? {
                    self.place = None;
                }
            }
        };
        Ok(ReadOutcome { end, next_seq: self.next_seq, bytes })
    }

    /// Behind a removed record: a long removed stretch is left out as a whole.
    fn pass_removed(&mut self, seq: u64) {
        let live = self.shared.removed.read().next_live(seq);
        if live - seq > LONG_STRETCH {
            self.next_seq = live;
            self.place = None;
        }
    }

    /// Goes to `next_seq`, which is readable.
    fn find_place(&mut self) -> Result<Found, ReadError> {
        let segments = self.shared.segments();
        let i = segments.partition_point(|segment| segment.first_seq <= self.next_seq);
        let here = i.checked_sub(1).and_then(|i| segments.get(i));
        if let Some(segment) = here
            && self.next_seq < segment.next_seq()
        {
            let bounds = segment.bounds();
            let view = segment.view(bounds.limit)?;
            let cursor = segment.cursor_at(&view.bytes, &bounds, self.next_seq);
            self.place = Some(Place { segment: Arc::clone(segment), view, faults: 0, bounds, cursor });
            return Ok(Found::Place);
        }
        let Some(next) = segments.get(i) else { return Ok(Found::Nothing) };
        if here.is_none() {
            // Retention took what was before: that is not a loss.
            self.next_seq = next.first_seq;
            return self.find_place();
        }
        Ok(Found::Gap(gap_before(next, self.next_seq)))
    }

    /// Visits records from `from_seq` (or the last readable, if that is smaller) backwards until `f` breaks.
    /// Does not move the position of [`Reader::visit`].
    ///
    /// # Errors
    /// If a segment cannot be opened or mapped. Damage is not an error but a lost range.
    pub fn visit_backward(
        &mut self,
        from_seq: u64,
        f: &mut dyn FnMut(Visit<'_>) -> ControlFlow<()>,
    ) -> Result<ReadOutcome, ReadError> {
        let mut next = from_seq.min(self.shared.readable.load(Ordering::Acquire));
        let segments = self.shared.segments();
        let mut bytes = 0;
        let mut after: Option<&Arc<Segment>> = None;
        for segment in segments.iter().rev() {
            if segment.first_seq > next {
                after = Some(segment);
                continue;
            }
            // Numbers between this segment's last and the next one's first, newest part first.
            while let Some(later) = after
                && next >= segment.next_seq()
            {
                let range = gap_before_backward(later, segment.next_seq(), next);
                next = range.first_seq - 1;
                if self.shared.is_all_removed(range.first_seq, range.last_seq) {
                    continue;
                }
                if f(Visit::Lost(range)).is_break() {
                    return Ok(ReadOutcome { end: ReadEnd::Stopped, next_seq: next, bytes });
                }
            }
            if self.segment_backward(segment, &mut next, &mut bytes, f)?.is_break() {
                return Ok(ReadOutcome { end: ReadEnd::Stopped, next_seq: next, bytes });
            }
            after = Some(segment);
        }
        Ok(ReadOutcome { end: ReadEnd::CaughtUp, next_seq: 0, bytes })
    }
}

impl Place {
    fn holds(&self, seq: u64) -> bool {
        (self.segment.first_seq..self.bounds.next_seq).contains(&seq) && !self.segment.is_superseded()
    }

    /// Looks again how far the segment may be read; `true` if that is further than before.
    fn refresh(&mut self) -> Result<bool, ReadError> {
        let bounds = self.segment.bounds();
        if bounds.limit <= self.bounds.limit {
            return Ok(false);
        }
        // The map of the open segment shows what was appended since; one that does not reach there is replaced.
        self.view = self.segment.view(bounds.limit)?;
        self.faults = 0;
        self.bounds = bounds;
        Ok(true)
    }
}

enum Found {
    Place,
    Gap(LostRange),
    Nothing,
}

/// The record as it is shown. Every record that a reader comes across passes here, in whichever direction, so this is the
/// place for whatever keeps one from being shown: it may be past its time, and still to be removed.
fn shown<'a>(
    shared: &Shared,
    source: Source<'a>,
    seq: u64,
    record: &'a [u8],
    expired_too: bool,
) -> Option<RecordRef<'a>> {
    let parts = record::parts(record)?;
    if !expired_too && parts.expires_at_ns.is_some_and(|at_ns| shared.has_expired(at_ns)) {
        return None;
    }
    Some(RecordRef {
        seq,
        ts_ns: parts.ts_ns,
        expires_at_ns: parts.expires_at_ns,
        subject: parts.subject,
        headers: parts.headers,
        payload: parts.payload,
        source,
    })
}

/// Numbers from `first_seq` on that are missing before a segment: first those that its predecessor should have had,
/// then those that were never written.
fn gap_before(segment: &Segment, first_seq: u64) -> LostRange {
    match segment.previous {
        Some(previous) if first_seq <= previous.last_seq => {
            lost(first_seq, previous.last_seq.min(segment.first_seq - 1), LostReason::MissingSegment)
        }
        Some(_) => lost(first_seq, segment.first_seq - 1, LostReason::NeverWritten),
        None => lost(first_seq, segment.first_seq - 1, LostReason::Damage),
    }
}

/// The newest part of the same, for a range `low..=high` before `segment`.
fn gap_before_backward(segment: &Segment, low: u64, high: u64) -> LostRange {
    match segment.previous {
        Some(previous) if high > previous.last_seq => {
            lost(low.max(previous.last_seq + 1), high, LostReason::NeverWritten)
        }
        Some(_) => lost(low, high, LostReason::MissingSegment),
        None => lost(low, high, LostReason::Damage),
    }
}

fn report(shared: &Shared, segment: &Segment, offset: u64, range: LostRange) {
    let path = segment.path.clone();
    shared.report_damage(Damage { path, offset, bytes: 0, lost: Some(range), reason: range.reason });
}

/// First number whose record's time is at or after `ts_ns`.
pub(crate) fn seek_time(shared: &Arc<Shared>, ts_ns: i64) -> Result<u64, ReadError> {
    seek(shared, ts_ns, false)
}

/// The same, also if that record is past its own time.
pub(crate) fn seek_time_of_all(shared: &Arc<Shared>, ts_ns: i64) -> Result<u64, ReadError> {
    seek(shared, ts_ns, true)
}

fn seek(shared: &Arc<Shared>, ts_ns: i64, expired_too: bool) -> Result<u64, ReadError> {
    let segments = shared.segments();
    let from = segments.partition_point(|segment| segment.base_max_ts < ts_ns).saturating_sub(1);
    for segment in segments.iter().skip(from) {
        let bounds = segment.bounds();
        if bounds.next_seq == segment.first_seq {
            continue;
        }
        let view = segment.view(bounds.limit)?;
        let file = &view.bytes;
        // The first record at or after a time is the first at which the largest time so far is at or after it, and
        // that never falls: so blocks and segments can be searched by halves.
        let block = segment.last_block(file, |entry| entry.max_ts_before < ts_ns);
        let mut cursor = segment.cursor_at_block(file, block);
        loop {
            match cursor.step(file, &bounds) {
                Step::Record { seq, record, holder }
                    if shown(shared, Source { holder, view: &view, faults: 0 }, seq, record, expired_too)
                        .is_some_and(|found| found.ts_ns >= ts_ns) =>
                {
                    return Ok(seq);
                }
                // What the disk does not give now it may give later, and it may be of that time. Too early a number is a
                // few records too many for a reader; one too late, and removal by age would take what is still wanted.
                Step::Lost { first_seq, .. } if view.faults.get() > 0 => return Ok(first_seq),
                Step::End => break,
                _ => {}
            }
        }
    }
    Ok(shared.readable.load(Ordering::Acquire) + 1)
}
