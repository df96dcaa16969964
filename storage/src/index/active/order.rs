//! The open segment's subjects in order of their bytes, sorted when somebody asks and not before.

use std::cmp::Ordering;
use std::sync::Arc;

use super::Active;
use crate::index::postings::Entry;

/// Runs of sorted ids. New ones are sorted into a run of their own; a run is merged with the one before it unless that
/// is this many times as long, so that there are few and an id is seldom moved.
const RUN_RATIO: usize = 4;

/// Sorted runs, longest first, that together hold the ids below `ids`.
#[derive(Debug, Clone, Default)]
pub(super) struct Order {
    ids: u32,
    pub(super) runs: Vec<Arc<[u32]>>,
}

impl Order {
    /// The runs over all ids there are.
    pub(super) fn bring_up(&mut self, active: &Active, file: &[u8]) -> Vec<Arc<[u32]>> {
        let ids = active.ids();
        if self.ids < ids {
            let mut tail: Vec<u32> = (self.ids..ids).collect();
            while let Some(run) = self.runs.pop_if(|run| run.len() < tail.len() * RUN_RATIO) {
                tail.extend_from_slice(&run);
            }
            sort(active, file, &mut tail);
            self.runs.push(tail.into());
            self.ids = ids;
        }
        self.runs.clone()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.runs.iter().map(|run| size_of_val(run.as_ref())).sum()
    }

    /// All ids as one run.
    pub(super) fn whole(&mut self, active: &Active, file: &[u8]) -> Arc<[u32]> {
        let runs = self.bring_up(active, file);
        if let [run] = runs.as_slice() {
            return Arc::clone(run);
        }
        let mut ids = runs.concat();
        sort(active, file, &mut ids);
        let run: Arc<[u32]> = ids.into();
        self.runs = vec![Arc::clone(&run)];
        run
    }
}

/// Bytes of a subject that are compared without looking at the file again.
const WINDOW_BYTES: usize = 8;

/// Groups of so few are compared whole.
const GROUP_SMALL: usize = 24;

/// What is known of a subject while it is sorted: eight of its bytes, how many are left from there on (up to nine, so
/// that an end and a zero byte differ), and its id.
type Keyed = (u64, u8, u32);

/// Sorts ids by subject: by windows of eight bytes, each read once a subject, and within equal ones by the next.
fn sort(active: &Active, file: &[u8], ids: &mut [u32]) {
    let mut keyed: Vec<Keyed> = ids.iter().map(|id| (0, 0, *id)).collect();
    let mut work = vec![(0..keyed.len(), 0_usize)];
    while let Some((range, at)) = work.pop() {
        let mut from = range.start;
        let Some(part) = keyed.get_mut(range) else { continue };
        if part.len() <= GROUP_SMALL {
            part.sort_unstable_by(|a, b| active.subject(file, a.2).cmp(active.subject(file, b.2)));
            continue;
        }
        for (window, left, id) in part.iter_mut() {
            (*window, *left) = window_of(active.subject(file, *id), at);
        }
        part.sort_unstable_by_key(|(window, left, _)| (*window, *left));
        for group in part.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let to = from + group.len();
            if group.len() > 1 && group.first().is_some_and(|(_, left, _)| usize::from(*left) > WINDOW_BYTES) {
                work.push((from..to, at + WINDOW_BYTES));
            }
            from = to;
        }
    }
    for (to, (.., id)) in ids.iter_mut().zip(&keyed) {
        *to = *id;
    }
}

fn window_of(subject: &[u8], at: usize) -> (u64, u8) {
    let rest = subject.get(at..).unwrap_or_default();
    let left = rest.len().min(WINDOW_BYTES + 1) as u8;
    if let Some(window) = rest.first_chunk() {
        return (u64::from_le_bytes(*window).swap_bytes(), left);
    }
    let mut window = [0; WINDOW_BYTES];
    window.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    (u64::from_le_bytes(window).swap_bytes(), left)
}

/// A cursor over one sorted run.
pub(crate) struct RunCursor<'a> {
    active: &'a Active,
    file: &'a [u8],
    run: Arc<[u32]>,
    at: usize,
}

impl<'a> RunCursor<'a> {
    pub(super) fn new(active: &'a Active, file: &'a [u8], run: Arc<[u32]>) -> Self {
        Self { active, file, run, at: 0 }
    }

    pub(crate) fn get(&self) -> Option<(&'a [u8], Entry<'a>)> {
        let id = *self.run.get(self.at)?;
        Some((self.active.subject(self.file, id), self.active.entry(id)?))
    }

    pub(crate) fn advance(&mut self) {
        self.at += 1;
    }

    /// To the first subject, from the present one on, that is not before `key`: in leaps that double, then by halves.
    pub(crate) fn seek(&mut self, key: &[u8]) {
        let before = |id: &u32| self.active.subject(self.file, *id).cmp(key) == Ordering::Less;
        let rest = self.run.get(self.at..).unwrap_or_default();
        let mut bound = 1;
        while rest.get(bound - 1).is_some_and(before) {
            bound *= 2;
        }
        let near = rest.get(bound / 2..bound.min(rest.len())).unwrap_or_default();
        self.at += bound / 2 + near.partition_point(before);
    }
}
