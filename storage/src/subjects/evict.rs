//! Which records of a subject are one too many.

use super::IndexError;
use crate::index::{FilterSet, PartError, Snapshot, SubjectFilter};
use crate::shared::Shared;
use crate::sync::atomic::Ordering;

/// Subjects looked at in one go when all are.
const PAGE: usize = 1000;

impl Shared {
    /// Brings the index up to date, and names the oldest records of those subjects that got new ones and now have more
    /// than `max`.
    pub(crate) fn over_per_subject(&self, max: u64) -> Result<Vec<(u64, u64)>, IndexError> {
        self.subjects.notes.store(true, Ordering::Release);
        self.read_on()?;
        let subjects: Vec<_> = std::mem::take(&mut *self.subjects.noted.lock()).into_iter().collect();
        let over = self.over_among(&subjects, max);
        if over.is_err() {
            // Not forgotten: with the next commit it is tried again.
            self.subjects.noted.lock().extend(subjects);
        }
        over
    }

    /// The same for all subjects there are.
    pub(crate) fn over_anywhere(&self, max: u64) -> Result<Vec<(u64, u64)>, IndexError> {
        self.subjects.notes.store(true, Ordering::Release);
        if self.segments().is_empty() {
            return Ok(Vec::new());
        }
        let everything = FilterSet::new(SubjectFilter::parse(b">").into_iter().collect());
        let mut over = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.ask_held(&|snapshot| snapshot.subjects(&everything, after.as_deref(), PAGE))?;
            let Some((last, _)) = page.last() else { return Ok(over) };
            after = Some(last.clone());
            let rich = page.into_iter().filter(|(_, state)| state.count > max).map(|(subject, _)| subject);
            over.extend(self.over_among(&rich.collect::<Vec<_>>(), max)?);
        }
    }

    fn over_among(&self, subjects: &[Vec<u8>], max: u64) -> Result<Vec<(u64, u64)>, IndexError> {
        if subjects.is_empty() {
            // A log without a segment has no index to ask.
            return Ok(Vec::new());
        }
        self.ask_held(&|snapshot| {
            let mut over = Vec::new();
            for subject in subjects {
                oldest(snapshot, subject, max, &mut over)?;
            }
            Ok(over)
        })
    }
}

/// Adds the oldest records of a subject that are more than `max`.
fn oldest(snapshot: &Snapshot<'_>, subject: &[u8], max: u64, over: &mut Vec<(u64, u64)>) -> Result<(), PartError> {
    let Some(state) = snapshot.subject_state(subject)? else { return Ok(()) };
    match state.count.saturating_sub(max) {
        0 => {}
        1 => over.push((state.first, state.first)),
        excess => {
            let mut numbers = Vec::new();
            snapshot.oldest(subject, usize::try_from(excess).unwrap_or(usize::MAX), &mut numbers)?;
            over.extend(numbers.into_iter().map(|seq| (seq, seq)));
        }
    }
    Ok(())
}
