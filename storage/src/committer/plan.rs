//! What removing some numbers takes from which segment.

use std::sync::Arc;

use crate::cursor::{Found, SegmentCursor};
use crate::error::ReadError;
use crate::format::removal::Group;
use crate::removed::Removed;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::state;
use crate::sync::atomic::Ordering;

/// What a removal takes from each segment.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) taken: Vec<Taken>,
    /// What of the ranges lies in no segment.
    holes: Vec<(u64, u64)>,
    /// Everything of the ranges that is not removed, also where no segment is.
    pub(super) ranges: Vec<(u64, u64)>,
    pub(super) total: state::Removed,
}

#[derive(Debug)]
pub(super) struct Taken {
    pub(super) segment: Arc<Segment>,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) ranges: Vec<(u64, u64)>,
}

/// Counts what a removal takes; remembers where it was, since removals often go upwards.
pub(crate) struct Scales<'a> {
    shared: &'a Shared,
    at: Option<(Arc<Segment>, bytes::Bytes, SegmentCursor)>,
}

impl<'a> Scales<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        Self { shared, at: None }
    }

    /// Records and bytes of a range of a segment, as its file has them.
    pub(crate) fn weigh(&mut self, segment: &Arc<Segment>, first: u64, last: u64) -> Result<(u64, u64), ReadError> {
        let bounds = segment.bounds();
        let here = self.at.take().filter(|(at, file, cursor)| {
            Arc::ptr_eq(at, segment) && cursor.expected() <= first && file.len() as u64 >= bounds.limit
        });
        let (file, mut cursor) = match here {
            Some((_, file, mut cursor)) => {
                cursor.skip_to(&file, &bounds, first);
                (file, cursor)
            }
            None => {
                let file = segment.view(bounds.limit)?.bytes;
                let cursor = segment.cursor_at(&file, &bounds, first);
                (file, cursor)
            }
        };
        let (mut messages, mut bytes) = (0, 0);
        while cursor.expected() <= last {
            match cursor.step(&file, &bounds) {
                Found::Record { seq, record, .. } if seq <= last => {
                    messages += 1;
                    bytes += record.len() as u64;
                }
                Found::Record { .. } | Found::End => break,
                Found::Lost { .. } => {}
            }
        }
        self.at = Some((Arc::clone(segment), file, cursor));
        Ok((messages, bytes))
    }

    /// What removing these ranges takes, as far as it is not in `removed` or `also`.
    pub(super) fn plan(&mut self, ranges: &[(u64, u64)], removed: &Removed, also: &Removed) -> Result<Plan, ReadError> {
        let segments = self.shared.segments();
        let readable = self.shared.readable.load(Ordering::Acquire);
        let mut plan = Plan::default();
        for (first, last) in in_order(ranges) {
            for (a, b) in removed.live_in(first.max(1), last.min(readable)) {
                plan.ranges.extend(also.live_in(a, b));
            }
        }
        for &(first, last) in &plan.ranges {
            let from = segments.partition_point(|segment| segment.next_seq() <= first);
            let mut at = first;
            for segment in segments.iter().skip(from).take_while(|segment| segment.first_seq <= last) {
                let a = first.max(segment.first_seq);
                let b = last.min(segment.next_seq().saturating_sub(1));
                if b < a {
                    // It holds nothing.
                    continue;
                }
                if at < a {
                    plan.holes.push((at, a - 1));
                }
                at = b + 1;
                let whole = a == segment.first_seq && b + 1 == segment.next_seq() && !segment.has_removed();
                let (messages, bytes) = if whole { segment.live() } else { self.weigh(segment, a, b)? };
                plan.total.messages += messages;
                plan.total.bytes += bytes;
                match plan.taken.last_mut() {
                    Some(taken) if Arc::ptr_eq(&taken.segment, segment) => {
                        taken.messages += messages;
                        taken.bytes += bytes;
                        taken.ranges.push((a, b));
                    }
                    _ => plan.taken.push(Taken { segment: Arc::clone(segment), messages, bytes, ranges: vec![(a, b)] }),
                }
            }
            if at <= last {
                plan.holes.push((at, last));
            }
        }
        Ok(plan)
    }
}

/// The same numbers as ranges that ascend and do not touch.
pub(super) fn in_order(ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut sorted: Vec<_> = ranges.iter().copied().filter(|range| range.0 <= range.1).collect();
    sorted.sort_unstable();
    let mut apart: Vec<(u64, u64)> = Vec::with_capacity(sorted.len());
    for (first, last) in sorted {
        match apart.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => apart.push((first, last)),
        }
    }
    apart
}

impl Plan {
    pub(super) fn groups(&self) -> impl Iterator<Item = Group> {
        let holes = self.holes.iter().map(|&hole| Group { segment: hole.0, ranges: vec![hole], ..Group::default() });
        let taken = self.taken.iter().map(|taken| Group {
            segment: taken.segment.first_seq,
            nonce: taken.segment.nonce,
            messages: taken.messages,
            bytes: taken.bytes,
            ranges: taken.ranges.clone(),
        });
        taken.chain(holes)
    }
}
