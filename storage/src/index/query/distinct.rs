//! How many subjects there are: each once, however many parts know of it, and only those that have records.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::merged::Dictionary;
use super::{Layer, Snapshot, live};
use crate::index::error::PartError;

/// A dictionary that stands at a subject. The greatest has the least subject; of equal ones, the newest dictionary.
struct Head<'a> {
    dictionary: Dictionary<'a>,
    age: usize,
}

impl Head<'_> {
    fn key(&self) -> &[u8] {
        self.dictionary.get().map_or(&[], |(key, _)| key)
    }
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(self.key()).then(self.age.cmp(&other.age))
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head<'_> {}

impl Snapshot<'_> {
    /// How many subjects have records.
    ///
    /// # Errors
    /// If a part is damaged.
    pub fn subject_count(&self) -> Result<u64, PartError> {
        let layers: Vec<Layer<'_>> = self.layers().collect();
        if let [Layer::Part(part)] = layers.as_slice()
            && self.live.floor() <= part.first_seq()
            && !self.live.removed_in(part.first_seq(), part.next_seq())
        {
            return Ok(part.info().subjects);
        }
        self.each_distinct(&layers, 0, &mut |_| Ok(true))
    }

    /// How many subjects have records with numbers above `seq`, and none up to there; `None` if counting all is less work.
    ///
    /// # Errors
    /// If a part is damaged.
    pub fn subjects_new_since(&self, seq: u64) -> Result<Option<u64>, PartError> {
        let layers: Vec<Layer<'_>> = self.layers().filter(|layer| layer.range().1 > seq).collect();
        let held = |layers: &[Layer<'_>]| layers.iter().map(Layer::records).sum::<u64>();
        let (new, all) = (held(&layers), held(&self.layers().collect::<Vec<_>>()));
        if new > all / 8 {
            return Ok(None);
        }
        let is_new = &mut |subject: &[u8]| Ok(self.last(subject, seq)?.is_none());
        Ok(Some(self.each_distinct(&layers, seq, is_new)?))
    }

    /// How many subjects of these layers have records above `seq` and are to be counted.
    fn each_distinct(
        &self,
        layers: &[Layer<'_>],
        seq: u64,
        counts: &mut dyn FnMut(&[u8]) -> Result<bool, PartError>,
    ) -> Result<u64, PartError> {
        let mut heap = BinaryHeap::new();
        for (age, layer) in layers.iter().enumerate() {
            let dictionaries = layer.dictionaries(b"")?.into_iter().filter(|dictionary| dictionary.get().is_some());
            heap.extend(dictionaries.map(|dictionary| Head { dictionary, age }));
        }
        let (mut count, mut subject) = (0, None::<Vec<u8>>);
        let mut has_any = false;
        while let Some(mut head) = heap.peek_mut() {
            let Some((key, entry)) = head.dictionary.get() else {
                PeekMut::pop(head);
                continue;
            };
            if subject.as_deref() != Some(key) {
                let known = subject.get_or_insert_default();
                known.clear();
                known.extend_from_slice(key);
                has_any = false;
            }
            // Mostly the newest one knows.
            if !has_any && live::last(&entry, self.live, u64::MAX)?.is_some_and(|last| last > seq) {
                has_any = true;
                count += u64::from(counts(key)?);
            }
            head.dictionary.advance()?;
            if head.dictionary.get().is_none() {
                PeekMut::pop(head);
            }
        }
        Ok(count)
    }
}
