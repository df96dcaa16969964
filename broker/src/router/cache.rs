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
        Self { slots: Vec::new(), evictions: 0 }
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
        if !entry.subject.is_empty() {
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
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.evictions = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
