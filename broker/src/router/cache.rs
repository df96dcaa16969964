//! What one publisher remembers of the subjects it publishes on.
//!
//! A direct-mapped table owned by one connection: a look-up is a hash, an index and a comparison; no lock, no
//! allocation. A subject that collides takes the slot over and reuses its memory. The table starts small and grows
//! while it is crowded, so that ten thousand quiet publishers cost little.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use crate::limits::{MATCH_CACHE_MAX, MATCH_CACHE_MIN};

/// One remembered subject and what the owner keeps with it.
#[derive(Debug, Default)]
pub struct Entry<V> {
    subject: Vec<u8>,
    hash: u64,
    /// The generation the value was computed at.
    pub generation: u64,
    /// The generation shard of the subject.
    pub shard: u8,
    /// How many get a message on it, see [`MatchCache::note`].
    width: usize,
    /// What the owner keeps.
    pub value: V,
}

impl<V> Entry<V> {
    /// The subject remembered.
    #[must_use]
    pub fn subject(&self) -> &[u8] {
        &self.subject
    }
}

/// See the module.
#[derive(Debug)]
pub struct MatchCache<V> {
    slots: Vec<Entry<V>>,
    evictions: usize,
    facts: Facts,
    /// The facts have changed since somebody asked for them.
    changed: bool,
}

/// What is known of a table, for the monitoring endpoints.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Subjects remembered.
    pub subjects: u64,
    /// How many get a message on them, in all.
    pub width: u64,
    /// The most that get one message, since the table was last emptied.
    pub widest: u64,
    /// Look-ups, since the owner came, of what was not remembered, or no longer true.
    pub misses: u64,
}

/// Where an entry lives until the table changes.
pub type Slot = usize;

/// A look-up's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Remembered, at this slot.
    Hit(Slot),
    /// Not remembered: this slot is now the subject's, with a value left from another one to be filled anew.
    Fresh(Slot),
}

impl<V: Default> Default for MatchCache<V> {
    fn default() -> Self {
        Self { slots: Vec::new(), evictions: 0, facts: Facts::default(), changed: false }
    }
}

impl<V: Default> MatchCache<V> {
    fn hash(subject: &[u8]) -> u64 {
        let mut hasher = FxHasher::default();
        hasher.write(subject);
        hasher.finish()
    }

    fn index(&self, hash: u64) -> usize {
        usize::try_from(hash >> 20).unwrap_or(usize::MAX) & (self.slots.len().wrapping_sub(1))
    }

    /// Finds the subject's entry, or makes the slot it belongs in its own.
    pub fn find(&mut self, subject: &[u8]) -> Found {
        if self.slots.is_empty() {
            self.slots.resize_with(MATCH_CACHE_MIN, Entry::default);
        }
        let hash = Self::hash(subject);
        let at = self.index(hash);
        let Some(entry) = self.slots.get_mut(at) else { return Found::Fresh(0) };
        if entry.hash == hash && entry.subject == subject {
            return Found::Hit(at);
        }
        if entry.subject.is_empty() {
            self.facts.subjects += 1;
        } else {
            self.evictions += 1;
        }
        entry.hash = hash;
        entry.subject.clear();
        entry.subject.extend_from_slice(subject);
        Found::Fresh(at)
    }

    /// The same, to look at.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<&Entry<V>> {
        self.slots.get(slot)
    }

    /// The entry at a slot that [`find`](Self::find) gave.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Entry<V>> {
        self.slots.get_mut(slot)
    }

    /// The entry at this slot was filled anew: so many get a message on its subject.
    pub fn note(&mut self, slot: Slot, width: usize) {
        let Some(entry) = self.slots.get_mut(slot) else { return };
        self.facts.width += width as u64;
        self.facts.width -= std::mem::replace(&mut entry.width, width) as u64;
        self.facts.widest = self.facts.widest.max(width as u64);
        self.facts.misses += 1;
        self.changed = true;
    }

    /// What is known of the table, if that has changed since the last call.
    pub fn take_facts(&mut self) -> Option<Facts> {
        std::mem::take(&mut self.changed).then_some(self.facts)
    }

    /// Grows a crowded table. Moves entries, so only call it when no slot number is held.
    pub fn grow_if_crowded(&mut self) {
        if self.evictions <= self.slots.len() || self.slots.len() >= MATCH_CACHE_MAX {
            return;
        }
        let target = (self.slots.len() * 4).min(MATCH_CACHE_MAX);
        let old = std::mem::take(&mut self.slots);
        self.slots.resize_with(target, Entry::default);
        self.evictions = 0;
        for entry in old {
            let at = self.index(entry.hash);
            if let Some(slot) = self.slots.get_mut(at) {
                *slot = entry;
            }
        }
        self.facts.subjects = self.slots.iter().filter(|entry| !entry.subject.is_empty()).count() as u64;
        self.facts.width = self.slots.iter().map(|entry| entry.width as u64).sum();
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.evictions = 0;
        self.facts = Facts { misses: self.facts.misses, ..Facts::default() };
        self.changed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_it_holds() {
        let mut cache: MatchCache<u64> = MatchCache::default();
        assert_eq!(cache.take_facts(), None);
        for (subject, width) in [("a", 3), ("b", 0), ("a", 1)] {
            let (Found::Hit(at) | Found::Fresh(at)) = cache.find(subject.as_bytes());
            cache.note(at, width);
        }
        let facts = cache.take_facts().unwrap();
        assert_eq!(facts, Facts { subjects: 2, width: 1, widest: 3, misses: 3 });
        assert_eq!(cache.take_facts(), None);
        for i in 0..5000_usize {
            if let Found::Fresh(at) = cache.find(format!("x.{i}").as_bytes()) {
                cache.note(at, 2);
            }
            cache.grow_if_crowded();
            let filled = cache.slots.iter().filter(|entry| !entry.subject.is_empty());
            assert_eq!(cache.facts.subjects, filled.clone().count() as u64);
            assert_eq!(cache.facts.width, filled.map(|entry| entry.width as u64).sum::<u64>());
        }
        cache.clear();
        assert_eq!(cache.take_facts().unwrap(), Facts { misses: 5003, ..Facts::default() });
    }

    #[test]
    fn remembers_evicts_and_grows() {
        let mut cache: MatchCache<u64> = MatchCache::default();
        let subject = |i: u64| format!("site.T{}.number.{i}", i % 7).into_bytes();
        for round in 0..3 {
            for i in 0..2000 {
                match cache.find(&subject(i)) {
                    Found::Hit(at) => assert_eq!(cache.get_mut(at).unwrap().value, i, "round {round}"),
                    Found::Fresh(at) => {
                        let entry = cache.get_mut(at).unwrap();
                        assert_eq!(entry.subject(), subject(i));
                        entry.value = i;
                    }
                }
            }
            cache.grow_if_crowded();
        }
        assert!(cache.slots.len() > MATCH_CACHE_MIN && cache.slots.len() <= MATCH_CACHE_MAX);
        let hits = (0..200).filter(|&i| matches!(cache.find(&subject(1800 + i)), Found::Hit(_))).count();
        assert!(hits > 50, "the last ones are mostly there: {hits}");
        cache.clear();
        assert!(matches!(cache.find(b"x"), Found::Fresh(_)));
    }
}
