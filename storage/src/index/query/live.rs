//! A subject's numbers without the removed ones. Where nothing was removed, nothing is unpacked.

use super::Liveness;
use crate::index::error::PartError;
use crate::index::postings::{Entry, List};

/// How many numbers from `from` to `to` are still there.
pub(super) fn count(entry: &Entry<'_>, live: &dyn Liveness, from: u64, to: u64) -> Result<u64, PartError> {
    let from = from.max(live.floor());
    let (low, high) = (from.max(entry.first), to.min(entry.last));
    if low > high {
        return Ok(0);
    }
    if let List::Ends = entry.list {
        let there = |seq: u64| u64::from((low..=high).contains(&seq) && !live.is_removed(seq));
        return Ok(there(entry.first) + if entry.count > 1 { there(entry.last) } else { 0 });
    }
    if !live.removed_in(low, high) {
        let below = if low == entry.first { 0 } else { entry.rank(low)? };
        let up_to = if high == entry.last { entry.count } else { entry.rank(high + 1)? };
        return Ok(up_to.saturating_sub(below));
    }
    let mut found = 0;
    let mut postings = entry.iter_from(low)?;
    loop {
        let run = postings.next_run()?;
        let within = run.get(..run.partition_point(|seq| *seq <= high)).unwrap_or_default();
        let (Some(first), Some(last)) = (within.first(), within.last()) else { return Ok(found) };
        found += if live.removed_in(*first, *last) {
            within.iter().filter(|seq| !live.is_removed(**seq)).count() as u64
        } else {
            within.len() as u64
        };
    }
}

/// The smallest number that is still there.
pub(super) fn first(entry: &Entry<'_>, live: &dyn Liveness) -> Result<Option<u64>, PartError> {
    let floor = live.floor();
    if entry.first >= floor && !live.is_removed(entry.first) {
        return Ok(Some(entry.first));
    }
    if entry.last < floor {
        return Ok(None);
    }
    let mut postings = entry.iter_from(floor)?;
    while let Some(seq) = postings.next()? {
        if !live.is_removed(seq) {
            return Ok(Some(seq));
        }
    }
    Ok(None)
}

/// The largest number up to `to` that is still there.
pub(super) fn last(entry: &Entry<'_>, live: &dyn Liveness, to: u64) -> Result<Option<u64>, PartError> {
    let floor = live.floor();
    if entry.last < floor || entry.first > to {
        return Ok(None);
    }
    if entry.last <= to && !live.is_removed(entry.last) {
        return Ok(Some(entry.last));
    }
    let mut postings = entry.iter_from(to.saturating_add(1))?;
    while let Some(seq) = postings.back()?.filter(|seq| *seq >= floor) {
        if seq <= to && !live.is_removed(seq) {
            return Ok(Some(seq));
        }
    }
    Ok(None)
}
