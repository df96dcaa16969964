//! Which numbers were removed: everything before a floor, and a set above it.

use roaring::RoaringTreemap;

/// The removed numbers of a log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Removed {
    /// First number that may still be there.
    floor: u64,
    /// Removed numbers at or above the floor.
    set: RoaringTreemap,
}

impl Default for Removed {
    fn default() -> Self {
        Self { floor: 1, set: RoaringTreemap::new() }
    }
}

impl Removed {
    /// Everything before it is removed.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    pub(crate) fn contains(&self, seq: u64) -> bool {
        seq < self.floor || self.set.contains(seq)
    }

    /// How many of a range are removed.
    pub(crate) fn count(&self, first: u64, last: u64) -> u64 {
        if last < first {
            return 0;
        }
        let below = self.floor.clamp(first, last.saturating_add(1)) - first;
        below + self.set.range_cardinality(first..=last)
    }

    /// The first number at or after `seq` that is not removed.
    pub(crate) fn next_live(&self, seq: u64) -> u64 {
        let mut at = seq.max(self.floor);
        if !self.set.contains(at) {
            return at;
        }
        // The end of a stretch that is removed whole, by doubling and then by halves.
        let mut step = 1_u64;
        while self.set.contains_range(at..at.saturating_add(step)) {
            at = at.saturating_add(step);
            step = step.saturating_mul(2);
            if at == u64::MAX {
                return at;
            }
        }
        let (mut low, mut high) = (0, step);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.set.contains_range(at..at.saturating_add(middle)) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        at.saturating_add(low)
    }

    /// The last number of a range that is not removed.
    pub(crate) fn last_live(&self, first: u64, last: u64) -> Option<u64> {
        let first = first.max(self.floor);
        if last < first {
            return None;
        }
        if !self.set.contains(last) {
            return Some(last);
        }
        // By halves: the smallest start from which on everything is removed.
        let (mut low, mut high) = (first, last);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.set.contains_range(middle..=last) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        (low > first).then(|| low - 1)
    }

    /// The stretches of a range that are not removed, ascending.
    pub(crate) fn live_in(&self, first: u64, last: u64) -> Vec<(u64, u64)> {
        let mut live = Vec::new();
        let mut from = first.max(self.floor);
        for (a, b) in self.removed_in(from, last) {
            if a > from {
                live.push((from, a - 1));
            }
            from = b.saturating_add(1);
        }
        if from <= last {
            live.push((from, last));
        }
        live
    }

    /// The removed stretches of a range that lie above the floor, ascending.
    pub(crate) fn removed_in(&self, first: u64, last: u64) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        if last < first {
            return ranges;
        }
        for (high, bitmap) in self.set.bitmaps() {
            let base = u64::from(high) << 32;
            if base > last || base + u64::from(u32::MAX) < first {
                continue;
            }
            let low = |value: u64| u32::try_from(value.saturating_sub(base)).unwrap_or(u32::MAX);
            let mut runs = bitmap.range(low(first)..=low(last));
            while let Some(run) = runs.next_range() {
                let (a, b) = (base + u64::from(*run.start()), base + u64::from(*run.end()));
                match ranges.last_mut() {
                    Some(before) if before.1 + 1 == a => before.1 = b,
                    _ => ranges.push((a, b)),
                }
            }
        }
        ranges
    }

    /// Adds a range; says how many of it were not removed before.
    pub(crate) fn insert(&mut self, first: u64, last: u64) -> u64 {
        let first = first.max(self.floor);
        if last < first {
            return 0;
        }
        if first == self.floor {
            // However many they are, none of them takes memory.
            let added = (last - first + 1) - self.set.range_cardinality(first..=last);
            self.raise(last.saturating_add(1));
            return added;
        }
        self.set.insert_range(first..=last)
    }

    /// Moves the floor up.
    pub(crate) fn raise(&mut self, floor: u64) {
        if floor > self.floor {
            self.floor = floor;
            self.set.remove_range(..floor);
            // Where the floor now stands something may be removed already.
            if self.set.contains(floor) {
                let next = self.next_live(floor);
                self.raise(next);
            }
        }
    }

    /// Where the floor will be when these ranges, which are not removed yet and do not overlap, are added.
    pub(crate) fn floor_with(&self, mut ranges: Vec<(u64, u64)>) -> u64 {
        ranges.sort_unstable();
        ranges.into_iter().fold(self.floor, |floor, (first, last)| {
            if (first..=last).contains(&floor) { self.next_live(last.saturating_add(1)) } else { floor }
        })
    }

    /// Forgets numbers whose records are physically gone from a file that says so itself.
    pub(crate) fn forget(&mut self, gone: &RoaringTreemap) {
        self.set -= gone;
    }

    /// Lets stretches take less memory.
    pub(crate) fn optimize(&mut self) {
        self.set.optimize();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn like_a_plain_set(ops in prop::collection::vec((0_u8..10, 1_u64..300, 0_u64..60), 1..60)) {
            // Across the border of two 32-bit halves.
            let base = (1_u64 << 32) - 150;
            let mut removed = Removed::default();
            removed.raise(base);
            let mut model: BTreeSet<u64> = BTreeSet::new();
            for (op, at, len) in ops {
                let (first, last) = (base + at, base + at + len);
                if op == 0 {
                    removed.raise(first);
                    model.extend(base..first);
                } else {
                    let new: Vec<(u64, u64)> = removed.live_in(first, last);
                    let floor = removed.floor_with(new.into_iter().rev().collect());
                    let added = removed.insert(first, last);
                    prop_assert_eq!(removed.floor(), floor);
                    let before = model.len();
                    model.extend(first..=last);
                    prop_assert_eq!(added, (model.len() - before) as u64);
                }
                prop_assert!(!removed.set.contains(removed.floor()));
            }
            let gone = |seq: u64| seq < base || model.contains(&seq);
            for seq in base - 5..base + 400 {
                prop_assert_eq!(removed.contains(seq), gone(seq), "{}", seq);
                let next = (seq..).find(|&s| !gone(s)).unwrap();
                prop_assert_eq!(removed.next_live(seq), next, "after {}", seq);
            }
            for last in base..base + 400 {
                let live = (base + 10..=last).rev().find(|&s| !gone(s));
                prop_assert_eq!(removed.last_live(base + 10, last), live, "before {}", last);
            }
            let live: Vec<u64> = removed.live_in(base, base + 400).into_iter().flat_map(|(a, b)| a..=b).collect();
            prop_assert_eq!(&live, &(base..=base + 400).filter(|&s| !gone(s)).collect::<Vec<_>>());
            let counted = removed.count(base - 3, base + 350);
            prop_assert_eq!(counted, 3 + (base..=base + 350).filter(|&s| gone(s)).count() as u64);
        }
    }
}
