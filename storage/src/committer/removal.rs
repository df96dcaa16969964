//! Removing records: what was asked for, and what limits ask for.
//!
//! ```text
//!  asked for:   weigh ──► journal written ──► journal synced ──► set changed, waiter told
//!  by limits:   weigh ──► set changed ─────────────────────────► journal written later
//! ```
//! What limits removed may be journaled late, since after a crash the same limits remove the same records again before
//! anybody reads them. Both speak only of records that are as safe as the mode makes them: a number that a torn
//! tail gives back is never in the journal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Committer;
use super::plan::{Plan, Scales, in_order};
use crate::batch::RecordBatch;
use crate::cursor::Found;
use crate::error::{LogError, Operation, ReadError};
use crate::format::removal::Group;
use crate::journal;
use crate::queue::Removing;
use crate::removed::Removed;
use crate::shared::{Failure, count};
use crate::writer;

/// Ranges of removals that are not in the journal yet.
const LATE_RANGES_MAX: usize = 512;
/// How long removals by limits may stay out of the journal.
const LATE: Duration = Duration::from_secs(1);

/// What limits removed and the journal does not know yet.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// By first number of the segment.
    groups: BTreeMap<u64, Group>,
    ranges: usize,
    floor: bool,
    due: Option<Duration>,
}

impl Late {
    pub(super) fn due(&self) -> Option<Duration> {
        self.due
    }

    fn is_empty(&self) -> bool {
        self.groups.is_empty() && !self.floor
    }
}

impl Committer {
    /// Removes what was asked for: all of the round with one sync.
    pub(super) fn remove(&mut self, asked: Vec<Removing>) -> Result<(), Failure> {
        if asked.is_empty() {
            return Ok(());
        }
        let barrier = asked.iter().any(|removing| removing.barrier);
        let (mut plans, mut also) = (Vec::new(), Removed::default());
        let mut told = Vec::new();
        {
            let shared = Arc::clone(&self.shared);
            let mut scales = Scales::new(&shared);
            let removed = shared.removed.read();
            for Removing { ranges, call, .. } in asked {
                match scales.plan(&ranges, &removed, &also) {
                    Ok(plan) => {
                        for &(first, last) in &plan.ranges {
                            also.insert(first, last);
                        }
                        told.push((call, Ok(plan.total)));
                        plans.push(plan);
                    }
                    Err(ReadError::Io(error)) => told.push((call, Err(error))),
                }
            }
        }
        let written = self.journal_plans(&plans, barrier);
        if written.is_ok() {
            for plan in &plans {
                self.apply(plan);
            }
        }
        for (call, result) in told {
            call(match &written {
                Ok(()) => result,
                Err(error) => Err(error.clone()),
            });
        }
        written.map_err(writer::by_kind)
    }

    /// Writes what is late and these to the journal, and flushes it if the mode or a barrier wants that.
    fn journal_plans(&mut self, plans: &[Plan], barrier: bool) -> Result<(), LogError> {
        self.write_late(plans)?;
        let sync = barrier || !self.shared.options.sync.is_weak();
        #[cfg(feature = "planted-bugs")]
        let sync = sync && !crate::planted::is(crate::planted::Bug::RemovalNotSynced);
        if sync { self.journal.sync() } else { Ok(()) }
    }

    /// Writes what is late to the journal, and what is about to be removed as well.
    fn write_late(&mut self, coming: &[Plan]) -> Result<(), LogError> {
        let ranges = || coming.iter().flat_map(|plan| &plan.ranges);
        if self.late.is_empty() && ranges().next().is_none() {
            return Ok(());
        }
        let removed = self.shared.removed.read();
        // Groups speak of segments; of numbers without one only a floor is worth keeping.
        let floor = if self.late.floor || ranges().any(|range| range.0 <= removed.floor()) {
            removed.floor_with(ranges().copied().collect())
        } else {
            0
        };
        drop(removed);
        let coming = coming.iter().flat_map(Plan::groups);
        let groups: Vec<Group> = self.late.groups.values().cloned().chain(coming).collect();
        self.mark()?;
        self.journal.append(&journal::bodies_of(floor, &groups))?;
        self.late = Late::default();
        Ok(())
    }

    fn late_group(&mut self, group: Group) {
        self.late.ranges += group.ranges.len();
        match self.late.groups.entry(group.segment) {
            std::collections::btree_map::Entry::Vacant(slot) => {
                slot.insert(group);
            }
            std::collections::btree_map::Entry::Occupied(mut slot) => {
                let into = slot.get_mut();
                into.messages += group.messages;
                into.bytes += group.bytes;
                into.ranges.extend(group.ranges);
                // Numbers that a rewriting left out may be named again, by a range that goes over them.
                into.ranges = in_order(&into.ranges);
                if into.nonce != group.nonce {
                    // Counted in two files: the sums are of neither.
                    into.nonce = !group.nonce;
                }
            }
        }
    }

    /// Takes it out of what readers see.
    fn apply(&mut self, plan: &Plan) {
        let mut removed = self.shared.removed.write();
        let segments = self.shared.segments();
        for taken in &plan.taken {
            taken.segment.count_removed(taken.messages, taken.bytes);
            if taken.segment.is_superseded() {
                // Rewritten since it was looked at: these records were not removed then, so the new one has them.
                let now = segments.partition_point(|segment| segment.first_seq <= taken.segment.first_seq);
                if let Some(segment) = now.checked_sub(1).and_then(|i| segments.get(i)) {
                    segment.count_removed(taken.messages, taken.bytes);
                }
            }
        }
        let now_removed = Arc::make_mut(&mut removed);
        for &(first, last) in &plan.ranges {
            now_removed.insert(first, last);
        }
        drop(removed);
        self.shared.queue.lock().let_go(plan.total.messages, plan.total.bytes);
        count(&self.shared.counters.removed, plan.total.messages);
    }

    /// These are about to be written: remembers which of their numbers are left out.
    pub(super) fn note_holes(&mut self, batches: &[RecordBatch]) {
        let mut first_seq = self.writer.next_seq;
        for batch in batches {
            self.holes.extend(batch.holes.iter().map(|&(first, last)| (first_seq + first, first_seq + last)));
            first_seq += batch.len() as u64;
        }
    }

    /// Removes what stands for numbers that are left out. As with limits the journal is told later: after a crash these
    /// records have expired still.
    pub(super) fn take_holes(&mut self) {
        if !self.holes.is_empty() {
            let holes = std::mem::take(&mut self.holes);
            self.take_late(&holes, self.now);
        }
    }

    /// Removes what is over the limits, oldest first.
    /// `everything`: also what was there before the limits.
    pub(super) fn evict(&mut self, everything: bool, now: Duration) {
        let limits = *self.shared.limits.lock();
        if limits.max_age.is_some() && !self.shared.expiry.knows_of_age() {
            self.shared.expiry.look_at_ages();
        }
        if let Some(max) = limits.max_per_subject {
            self.evict_by_subject(max, everything, now);
        }
        if !limits.evicts() {
            return;
        }
        let (messages, bytes) = self.shared.live();
        let bytes = self.shared.options.counted(messages, bytes);
        let over = |held: u64, limit: Option<u64>| limit.map_or(0, |limit| held.saturating_sub(limit));
        let (messages, bytes) = (over(messages, limits.max_messages), over(bytes, limits.max_bytes));
        if messages == 0 && bytes == 0 {
            return;
        }
        match self.oldest(messages, bytes) {
            Ok(Some(last)) => self.take_late(&[(1, last)], now),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "limits cannot be enforced, the oldest records cannot be read"),
        }
    }

    fn evict_by_subject(&mut self, max: u64, everything: bool, now: Duration) {
        let shared = Arc::clone(&self.shared);
        let over = if everything { shared.over_anywhere(max) } else { shared.over_per_subject(max) };
        match over {
            Ok(over) if over.is_empty() => {}
            Ok(over) => self.take_late(&over, now),
            Err(error) => tracing::warn!(%error, "the limit per subject cannot be enforced now"),
        }
    }

    /// Number of the last record that must go so that at least so many records and bytes go.
    fn oldest(&self, messages: u64, bytes: u64) -> Result<Option<u64>, ReadError> {
        let removed = self.shared.removed.read();
        let (mut messages_left, mut bytes_left) = (messages, bytes);
        let mut last = None;
        for segment in self.shared.segments().iter() {
            let (live_messages, live_bytes) = segment.live();
            let live_bytes = self.shared.options.counted(live_messages, live_bytes);
            if live_messages <= messages_left || live_bytes <= bytes_left {
                messages_left = messages_left.saturating_sub(live_messages);
                bytes_left = bytes_left.saturating_sub(live_bytes);
                last = segment.next_seq().checked_sub(1);
            } else {
                let bounds = segment.bounds();
                let view = segment.view(bounds.limit)?;
                let mut cursor = segment.cursor_at(&view.bytes, &bounds, removed.next_live(segment.first_seq));
                while messages_left > 0 || bytes_left > 0 {
                    match cursor.step(&view.bytes, &bounds) {
                        Found::Record { seq, record, .. } if !removed.contains(seq) => {
                            messages_left = messages_left.saturating_sub(1);
                            let counted = self.shared.options.counted(1, record.len() as u64);
                            bytes_left = bytes_left.saturating_sub(counted);
                            last = Some(seq);
                        }
                        Found::Record { .. } | Found::Lost { .. } => {}
                        Found::End => break,
                    }
                    // Others must not go in the place of records that cannot be read now.
                    let failed = |e| LogError::from_io(Operation::Read, &segment.path, None, &e);
                    view.was_read().map_err(failed)?;
                }
            }
            if messages_left == 0 && bytes_left == 0 {
                break;
            }
        }
        Ok(last)
    }

    /// Removes ranges at once, and leaves the journal for later.
    pub(super) fn take_late(&mut self, ranges: &[(u64, u64)], now: Duration) {
        let shared = Arc::clone(&self.shared);
        let planned = Scales::new(&shared).plan(ranges, &shared.removed.read(), &Removed::default());
        let plan = match planned {
            Ok(plan) => plan,
            Err(error) => {
                tracing::warn!(%error, "records over the limits cannot be removed now");
                return;
            }
        };
        self.apply(&plan);
        let floor = shared.removed.read().floor();
        // Of a segment that is below the floor whole, the floor says everything.
        for (taken, group) in plan.taken.iter().zip(plan.groups()) {
            if taken.segment.next_seq() > floor {
                self.late_group(group);
            }
        }
        // Of numbers that lie in no segment, what is above the floor.
        for group in plan.groups().skip(plan.taken.len()) {
            if group.ranges.iter().any(|range| range.1 >= floor) {
                self.late_group(group);
            }
        }
        self.late.floor = true;
        self.late.due.get_or_insert(now + LATE);
    }

    /// Writes what limits removed to the journal when it is time, and keeps the journal small.
    pub(super) fn tend_journal(&mut self, now: Duration, at_once: bool) -> Result<(), Failure> {
        let due = at_once || self.late.ranges > LATE_RANGES_MAX || self.late.due.is_some_and(|due| now >= due);
        if due && let Err(error) = self.write_late(&[]) {
            // They stay removed, and are told to the journal another time.
            self.late.due = Some(now + LATE);
            if !matches!(error.kind(), crate::error::FailureKind::NoSpace) {
                return Err(Failure::Dead(error));
            }
        }
        if self.journal.is_large() {
            let (floor, groups) = journal::groups_of(&self.shared.segments(), &self.shared.removed.read());
            let written = self.mark().and_then(|()| self.journal.replace(&journal::bodies_of(floor, &groups)));
            if let Err(error) = written
                && !matches!(error.kind(), crate::error::FailureKind::NoSpace)
            {
                return Err(Failure::Dead(error));
            }
        }
        Ok(())
    }
}
