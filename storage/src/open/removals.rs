//! What the removal journal says when a log is opened, and what it means for each segment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::cursor::Found;
use crate::disk::{Disk, OpenMode};
use crate::error::{FailureKind, LogError, OpenError};
use crate::format::removal::{Group, Statement};
use crate::journal::{self, Journal};
use crate::removed::Removed;
use crate::reserve::Reserve;
use crate::segment::Segment;
use crate::state::RecoveryReport;

/// The journal's content, before it is counted.
pub(super) struct Removals {
    journal: Option<Journal>,
    groups: Vec<Group>,
    removed: Removed,
    /// What it says is not, or not only, what is in it.
    rewrite: bool,
    /// What it says may be in the page cache only.
    unsure: bool,
}

impl Removals {
    /// Of a log without a journal.
    pub(super) fn none() -> Self {
        Self { journal: None, groups: Vec::new(), removed: Removed::default(), rewrite: false, unsure: false }
    }

    /// Reads the journal of a log whose next number is `next_seq`, for reading only or for writing.
    pub(super) fn load(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        log_id: u128,
        next_seq: u64,
        mode: OpenMode,
        report: &mut RecoveryReport,
    ) -> Result<Self, OpenError> {
        let (journal, loaded) = Journal::load(disk, dir, log_id, mode)?;
        report.damage.extend(loaded.damage);
        // What a dead process left may be in the page cache only, and segments may have to go because of it.
        let unsure = journal.is_torn() || (journal.exists() && !report.clean);
        let mut rewrite = loaded.rewrite;
        let mut removed = Removed::default();
        let mut groups = Vec::new();
        for statement in loaded.statements {
            match statement {
                Statement::Floor(floor) => {
                    rewrite |= floor > next_seq;
                    removed.raise(floor.min(next_seq));
                }
                Statement::Removed(mut group) => {
                    // The journal speaks of what was safe; a number that is still to be given out cannot be removed.
                    let before = group.ranges.len();
                    group.ranges.retain(|range| range.1 < next_seq);
                    if group.ranges.len() < before {
                        rewrite = true;
                        // Its sums are of more than what is left.
                        group.nonce = !group.nonce;
                    }
                    for &(first, last) in &group.ranges {
                        removed.insert(first, last);
                    }
                    groups.push(group);
                }
            }
        }
        Ok(Self { journal: Some(journal), groups, removed, rewrite, unsure })
    }

    /// Whether everything of a range was removed, or it is empty; then nobody misses a file that held it.
    pub(super) fn covers(&self, first: u64, last: u64) -> bool {
        last < first || self.removed.count(first, last) == last - first + 1
    }

    /// The same, and makes what the journal said durable if it may not be.
    pub(super) fn settle(
        self,
        disk: &Arc<dyn Disk>,
        dir: &Path,
        log_id: u128,
        spare: Option<&Arc<Reserve>>,
        segments: &[Arc<Segment>],
        report: &mut RecoveryReport,
    ) -> Result<(Journal, Removed), OpenError> {
        let removed = self.count(segments, report)?;
        let mut journal = self.journal.unwrap_or_else(|| Journal::new(disk, dir, log_id));
        journal.set_spare(spare.cloned());
        if self.rewrite || self.unsure {
            let (floor, groups) = journal::groups_of(segments, &removed);
            match journal.replace(&journal::bodies_of(floor, &groups)) {
                // A full disk does not keep a log from opening.
                Err(error) if error.kind() == FailureKind::NoSpace && !self.rewrite => journal.write_again()?,
                done => done?,
            }
        }
        Ok((journal, removed))
    }

    /// Counts what was removed from each segment.
    pub(super) fn count(&self, segments: &[Arc<Segment>], report: &mut RecoveryReport) -> Result<Removed, OpenError> {
        let mut removed = self.removed.clone();
        // Segments that retention took are gone for good, although their removal is not in the journal.
        if let Some(oldest) = segments.first() {
            removed.raise(oldest.first_seq);
        }
        removed.optimize();
        let told = Told::of(&self.groups, segments);
        for segment in segments {
            let Some(last) = segment.next_seq().checked_sub(1) else { continue };
            if last < segment.first_seq || removed.count(segment.first_seq, last) == 0 {
                continue;
            }
            let (messages, bytes) = told.removed_from(segment, &removed)?;
            segment.count_removed(messages, bytes);
            report.removed_messages += messages;
        }
        Ok(removed)
    }
}

/// What the groups say of each segment, by its first number.
struct Told {
    sums: BTreeMap<u64, (u64, u64)>,
    /// Those of which the groups cannot be right: counted in another file, or numbers named twice.
    doubtful: BTreeSet<u64>,
    counted: Removed,
}

impl Told {
    fn of(groups: &[Group], segments: &[Arc<Segment>]) -> Self {
        let mut told = Self { sums: BTreeMap::new(), doubtful: BTreeSet::new(), counted: Removed::default() };
        for group in groups {
            let at = segments.partition_point(|segment| segment.first_seq <= group.segment);
            let segment = at.checked_sub(1).and_then(|i| segments.get(i));
            let (mut named, mut new) = (0, 0);
            for &(first, last) in &group.ranges {
                named += last - first + 1;
                new += told.counted.insert(first, last);
            }
            // Where there was no segment there is nothing to count.
            let Some(segment) = segment.filter(|_| group.nonce != 0) else { continue };
            if segment.nonce != group.nonce || segment.first_seq != group.segment || named != new {
                told.doubtful.insert(segment.first_seq);
            }
            let sum = told.sums.entry(segment.first_seq).or_default();
            sum.0 += group.messages;
            sum.1 += group.bytes;
        }
        told
    }

    /// Records that are removed from a segment, and their bytes.
    fn removed_from(&self, segment: &Arc<Segment>, removed: &Removed) -> Result<(u64, u64), LogError> {
        let (first, last) = (segment.first_seq, segment.next_seq() - 1);
        let totals = segment.totals();
        let count = removed.count(first, last);
        if count == last - first + 1 {
            return Ok((totals.messages, totals.record_bytes));
        }
        let sum = self.sums.get(&first).copied().unwrap_or_default();
        let trusted = !self.doubtful.contains(&first)
            && self.counted.count(first, last) == count
            && sum.0 <= totals.messages
            && sum.1 <= totals.record_bytes;
        if trusted { Ok(sum) } else { weigh(segment, removed) }
    }
}

/// The same from the segment itself.
fn weigh(segment: &Arc<Segment>, removed: &Removed) -> Result<(u64, u64), LogError> {
    let bounds = segment.bounds();
    let file = segment.view(bounds.limit)?.bytes;
    let mut cursor = segment.cursor_once();
    let (mut messages, mut bytes) = (0, 0);
    loop {
        match cursor.step(&file, &bounds) {
            Found::Record { seq, record, .. } if removed.contains(seq) => {
                messages += 1;
                bytes += record.len() as u64;
            }
            Found::Record { .. } | Found::Lost { .. } => {}
            Found::End => return Ok((messages, bytes)),
        }
    }
}
