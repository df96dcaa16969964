//! Which parts there are, and which of them together speak of every sealed segment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::memory::Waiting;
use crate::index::{Part, PartInfo};
use crate::segment::Segment;

/// So many adjacent parts of a level become one of the next.
pub(super) const FAN: usize = 8;

/// All parts of a log, by first number and level.
#[derive(Debug, Clone, Default)]
pub(super) struct PartSet {
    parts: BTreeMap<(u64, u32), Arc<Part>>,
}

/// Parts in ascending order, and what none of them speaks of.
#[derive(Debug, Default)]
pub(super) struct Cover {
    pub(super) parts: Vec<Arc<Part>>,
    /// Sealed segments without a part.
    pub(super) missing: Vec<Arc<Segment>>,
}

impl PartSet {
    pub(super) fn add(&mut self, part: Arc<Part>) {
        self.parts.insert((part.first_seq(), part.info().level), part);
    }

    pub(super) fn remove(&mut self, first_seq: u64, level: u32) {
        self.parts.remove(&(first_seq, level));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Part>> {
        self.parts.values()
    }

    /// For each sealed segment the highest part that speaks of it as it is now, or its pieces if they wait to become one.
    pub(super) fn cover(&self, sealed: &[Arc<Segment>], waiting: &[Waiting]) -> Cover {
        let mut cover = Cover::default();
        let mut from = 0;
        for segment in sealed {
            if segment.first_seq < from || segment.next_seq() == segment.first_seq {
                continue;
            }
            match self.best_for(segment.first_seq, from, sealed) {
                Some(part) => {
                    from = part.next_seq();
                    cover.parts.push(part);
                }
                None => match waiting.iter().find(|waiting| Arc::ptr_eq(&waiting.segment, segment)) {
                    Some(waiting) => cover.parts.extend(waiting.pieces.iter().cloned()),
                    // Of what is held although all of it was removed nobody asks.
                    None if segment.live().0 == 0 => {}
                    None => cover.missing.push(Arc::clone(segment)),
                },
            }
        }
        cover
    }

    /// The highest valid part that speaks of `seq` and of nothing before `from`.
    fn best_for(&self, seq: u64, from: u64, sealed: &[Arc<Segment>]) -> Option<Arc<Part>> {
        // A part that begins earlier can only be one of segments that are partly gone.
        let candidates = self.parts.range((from, 0)..=(seq, u32::MAX)).rev().map(|(_, part)| part);
        let speaking = candidates.filter(|part| part.first_seq() <= seq && seq < part.next_seq());
        speaking.filter(|part| is_valid(part.info(), sealed)).max_by_key(|part| part.info().level).cloned()
    }

    /// Adjacent parts of one level that are due to be merged.
    pub(super) fn due(&self, sealed: &[Arc<Segment>]) -> Option<Vec<Arc<Part>>> {
        let cover = self.cover(sealed, &[]);
        if !cover.missing.is_empty() {
            return None;
        }
        let mut run: Vec<Arc<Part>> = Vec::new();
        for part in cover.parts {
            if run.last().is_some_and(|last| last.info().level != part.info().level) {
                run.clear();
            }
            run.push(part);
            if run.len() == FAN {
                return Some(run);
            }
        }
        None
    }

    /// Parts that speak of no segment as it is now, or that a higher one replaces. Those of single segments are kept as
    /// long as their segment is.
    pub(super) fn superfluous(&self, sealed: &[Arc<Segment>]) -> Vec<Arc<Part>> {
        let used = self.cover(sealed, &[]).parts;
        let needed = |part: &Arc<Part>| {
            used.iter().any(|other| Arc::ptr_eq(part, other))
                || (part.info().level == 0 && speaks_of(part.info(), sealed))
        };
        self.iter().filter(|part| !needed(part)).cloned().collect()
    }
}

/// Whether everything that a part was made from is still as it was, or gone.
fn is_valid(info: &PartInfo, sealed: &[Arc<Segment>]) -> bool {
    info.sources.iter().all(|source| {
        let i = sealed.partition_point(|segment| segment.next_seq() <= source.first_seq);
        match sealed.get(i).filter(|segment| segment.first_seq < source.next_seq) {
            Some(segment) => {
                (segment.first_seq, segment.next_seq(), segment.nonce)
                    == (source.first_seq, source.next_seq, source.nonce)
            }
            None => true,
        }
    })
}

/// Whether a valid part speaks of any segment that is there.
fn speaks_of(info: &PartInfo, sealed: &[Arc<Segment>]) -> bool {
    is_valid(info, sealed)
        && sealed.iter().any(|segment| info.first_seq() <= segment.first_seq && segment.next_seq() <= info.next_seq())
}

/// Path of a part.
pub(super) fn path_of(dir: &Path, first_seq: u64, level: u32) -> PathBuf {
    dir.join(format!("{first_seq:020}.{level}.idx"))
}

/// First number and level of a part, from its file's name.
pub(super) fn parse_name(name: &str) -> Option<(u64, u32)> {
    let (seq, level) = name.strip_suffix(".idx")?.split_once('.')?;
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if seq.len() != 20 || !plain(seq) || !plain(level) {
        return None;
    }
    Some((seq.parse().ok()?, level.parse().ok()?))
}
