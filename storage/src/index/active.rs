//! The index of the open segment: in memory, some thirty bytes a subject and two or three a further number.
//!
//! It owns no subject: an entry says where in the segment's file its subject last stood, and whoever asks brings the
//! file's bytes. A wrong offset makes subjects differ, nothing worse.

mod chunks;
mod order;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;

use crate::sync::Mutex;
use hashbrown::HashTable;

use self::chunks::{Arena, ChunkRef, Tail};
use self::order::Order;
use super::bytes::hash;
use super::error::PartWriteError;
use super::postings::{Entry, List};
use super::writer::PartWriter;

pub(crate) use self::chunks::Chunks;
pub(crate) use self::order::RunCursor;

/// Why a record could not be taken into the index of the open segment, which is unchanged then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ActiveError {
    /// The number is not greater than the one before.
    #[error("a number of the open segment's index does not ascend")]
    Order,
    /// More than 32 bits of numbers, offsets or list memory: the segment is longer than a segment can be.
    #[error("the open segment's index is full")]
    Full,
}

/// Entries moved to a larger table with each new subject, so that no single one pays for all.
const MOVED_EACH: usize = 8;
const TABLE_MIN: usize = 14;

/// [`Slot::fill`] of a subject with one number.
const ONE: u16 = u16::MAX;
/// Of one with two, the first of which is in [`Slot::more`].
const TWO: u16 = u16::MAX - 1;

/// What is known of a subject. Numbers count from the index's first.
#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Where in the file the subject stands, the last time it was seen: that is what the page cache most likely has.
    at: u32,
    hash: u32,
    last: u32,
    /// The last chunk of the list, or the first of two numbers.
    more: u32,
    len: u16,
    /// Bytes used of the last chunk, or [`ONE`], or [`TWO`].
    fill: u16,
}

/// Which numbers each subject of the open segment has.
#[derive(Debug)]
pub struct Active {
    first_seq: u64,
    next_seq: u64,
    records: u64,
    slots: Vec<Slot>,
    table: HashTable<u32>,
    /// The smaller table before, while its ids move to the new one, in their order.
    old: HashTable<u32>,
    moved: usize,
    arena: Arena,
    /// Time and number of those that expire, as they came.
    expiries: Vec<(i64, u64)>,
    seed: u64,
    order: Mutex<Order>,
}

impl Clone for Active {
    fn clone(&self) -> Self {
        Self {
            slots: self.slots.clone(),
            table: self.table.clone(),
            old: self.old.clone(),
            arena: self.arena.clone(),
            expiries: self.expiries.clone(),
            order: Mutex::new(self.order.lock().clone()),
            ..*self
        }
    }
}

impl Active {
    /// Of a segment whose first number is `first_seq`.
    #[must_use]
    pub fn new(first_seq: u64) -> Self {
        Self {
            first_seq,
            next_seq: first_seq,
            records: 0,
            slots: Vec::new(),
            table: HashTable::new(),
            old: HashTable::new(),
            moved: 0,
            arena: Arena::default(),
            expiries: Vec::new(),
            // Subjects come from clients: nobody should be able to choose some that collide.
            seed: RandomState::new().hash_one(first_seq),
            order: Mutex::default(),
        }
    }

    /// First number it can have.
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// Number behind the last one taken.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Numbers taken.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Distinct subjects.
    #[must_use]
    pub fn subjects(&self) -> u64 {
        self.slots.len() as u64
    }

    pub(super) fn ids(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// Bytes of memory held, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let tables = self.table.allocation_size() + self.old.allocation_size();
        self.slots.capacity() * size_of::<Slot>()
            + tables
            + self.arena.len()
            + self.order.lock().memory_bytes()
            + self.expiries.capacity() * size_of::<(i64, u64)>()
    }

    /// Takes a record. `subject` stands at `subject_at` in the segment's file, of which `file` shows everything that was
    /// taken before: a subject that it does not show would be taken for a new one.
    ///
    /// # Errors
    /// If the number does not ascend, or something does not fit 32 bits.
    pub fn push(&mut self, file: &[u8], seq: u64, subject_at: u32, subject: &[u8]) -> Result<(), ActiveError> {
        if seq < self.next_seq {
            return Err(ActiveError::Order);
        }
        let number = u32::try_from(seq - self.first_seq).map_err(|_| ActiveError::Full)?;
        let hash = (hash(self.seed, subject) >> 32) as u32;
        let found = self.find(file, hash, subject).and_then(|id| self.slots.get_mut(id as usize));
        match found {
            Some(slot) => {
                slot.append(&mut self.arena, number).ok_or(ActiveError::Full)?;
                slot.at = subject_at;
            }
            None => {
                let len = u16::try_from(subject.len()).map_err(|_| ActiveError::Full)?;
                self.insert(Slot { at: subject_at, hash, last: number, more: 0, len, fill: ONE })?;
            }
        }
        self.next_seq = seq.saturating_add(1);
        self.records += 1;
        Ok(())
    }

    /// Notes when the record taken last expires.
    pub fn push_expiry(&mut self, at_ns: i64) {
        if let Some(seq) = self.next_seq.checked_sub(1).filter(|_| self.records > 0) {
            self.expiries.push((at_ns, seq));
        }
    }

    /// Times and numbers of the records that expire, in no order.
    pub(crate) fn expiries(&self) -> &[(i64, u64)] {
        &self.expiries
    }

    /// The numbers of one subject.
    #[must_use]
    pub fn get(&self, file: &[u8], subject: &[u8]) -> Option<Entry<'_>> {
        let hash = (hash(self.seed, subject) >> 32) as u32;
        self.find(file, hash, subject).and_then(|id| self.entry(id))
    }

    /// Writes all subjects and their numbers, sorted, and then what expires.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_into<W: FnMut(&[u8]) -> io::Result<()>>(
        &self,
        file: &[u8],
        writer: &mut PartWriter<W>,
    ) -> Result<(), PartWriteError> {
        let ids = self.order.lock().whole(self, file);
        let mut numbers = Vec::new();
        for id in ids.iter() {
            let Some(entry) = self.entry(*id) else { continue };
            writer.begin(self.subject(file, *id))?;
            entry.visit(&mut numbers, |seq| writer.number(seq))?;
        }
        let mut expiries = self.expiries.clone();
        expiries.sort_unstable();
        expiries.into_iter().try_for_each(|(at_ns, seq)| writer.expiry(at_ns, seq))
    }

    /// One cursor a sorted run; each subject is in one of them. What is not sorted yet is sorted now.
    pub(crate) fn cursors<'a>(&'a self, file: &'a [u8]) -> Vec<RunCursor<'a>> {
        let runs = self.order.lock().bring_up(self, file);
        runs.into_iter().map(|run| RunCursor::new(self, file, run)).collect()
    }

    fn find(&self, file: &[u8], hash: u32, subject: &[u8]) -> Option<u32> {
        let same = |id: &u32| {
            self.slots.get(*id as usize).is_some_and(|slot| slot.hash == hash && slot.subject(file) == subject)
        };
        let spread = spread(hash);
        let found = self.table.find(spread, same);
        if found.is_some() || self.old.is_empty() {
            return found.copied();
        }
        self.old.find(spread, same).copied()
    }

    fn insert(&mut self, slot: Slot) -> Result<(), ActiveError> {
        let id = u32::try_from(self.slots.len()).map_err(|_| ActiveError::Full)?;
        if self.table.len() == self.table.capacity() {
            let larger = HashTable::with_capacity((self.table.capacity() * 2).max(TABLE_MIN));
            self.old = std::mem::replace(&mut self.table, larger);
            self.moved = 0;
        }
        let hash_of = |slots: &[Slot], id: u32| slots.get(id as usize).map_or(0, |slot| spread(slot.hash));
        let mut left = self.old.len().saturating_sub(self.moved).min(MOVED_EACH);
        while left > 0 {
            let id = u32::try_from(self.moved).unwrap_or(u32::MAX);
            self.table.insert_unique(hash_of(&self.slots, id), id, |id| hash_of(&self.slots, *id));
            self.moved += 1;
            left -= 1;
        }
        if self.moved == self.old.len() && self.moved > 0 {
            self.old = HashTable::new();
            self.moved = 0;
        }
        self.slots.push(slot);
        self.table.insert_unique(spread(slot.hash), id, |id| hash_of(&self.slots, *id));
        Ok(())
    }

    pub(crate) fn subject<'a>(&self, file: &'a [u8], id: u32) -> &'a [u8] {
        self.slots.get(id as usize).map_or(&[], |slot| slot.subject(file))
    }

    pub(crate) fn entry(&self, id: u32) -> Option<Entry<'_>> {
        let slot = self.slots.get(id as usize)?;
        let base = self.first_seq;
        let last = base + u64::from(slot.last);
        Some(match slot.fill {
            ONE => Entry { count: 1, first: last, last, list: List::Ends },
            TWO => Entry { count: 2, first: base + u64::from(slot.more), last, list: List::Ends },
            _ => {
                let (arena, tail) = (&self.arena, slot.tail());
                let first = base + u64::from(arena.first(tail));
                let list = List::Chunks(Chunks { arena, tail, base });
                Entry { count: arena.count(tail), first, last, list }
            }
        })
    }
}

impl Slot {
    fn subject<'a>(&self, file: &'a [u8]) -> &'a [u8] {
        file.get(self.at as usize..).and_then(|rest| rest.get(..usize::from(self.len))).unwrap_or_default()
    }

    fn tail(&self) -> Tail {
        Tail { chunk: ChunkRef(self.more), fill: self.fill }
    }

    fn append(&mut self, arena: &mut Arena, number: u32) -> Option<()> {
        match self.fill {
            ONE => {
                self.more = self.last;
                self.fill = TWO;
            }
            fill => {
                let tail = match fill {
                    TWO => arena.begin([self.more, self.last, number]),
                    _ => arena.push(self.tail(), self.last, number),
                }?;
                self.more = tail.chunk.0;
                self.fill = tail.fill;
            }
        }
        self.last = number;
        Some(())
    }
}

/// 64 bits for the table, which looks at the highest and the lowest, from the 32 that are kept.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;
    use crate::index::{Part, Source};

    /// A file with a subject every 40 bytes, and where they begin.
    fn file(subjects: &[String]) -> (Vec<u8>, Vec<u32>) {
        let mut file = vec![0; 100];
        let mut offsets = Vec::new();
        for subject in subjects {
            file.resize(file.len() + 20, 0xff);
            offsets.push(u32::try_from(file.len()).unwrap());
            file.extend_from_slice(subject.as_bytes());
        }
        (file, offsets)
    }

    fn filled(subjects: &[String], first_seq: u64) -> (Active, Vec<u8>, BTreeMap<String, Vec<u64>>) {
        let (file, offsets) = file(subjects);
        let mut active = Active::new(first_seq);
        let mut model: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (i, (subject, at)) in subjects.iter().zip(offsets).enumerate() {
            // Gaps now and then, as in a segment from which records were removed.
            let seq = first_seq + i as u64 + (i as u64 / 100) * 20_000;
            active.push(&file, seq, at, subject.as_bytes()).unwrap();
            model.entry(subject.clone()).or_default().push(seq);
        }
        (active, file, model)
    }

    /// Few subjects with very many numbers, many with one, and everything between.
    fn mixed(records: usize) -> Vec<String> {
        let subject = |i: usize| match i % 8 {
            0..4 => "all.the.same".to_owned(),
            4 => format!("some.{}", i % 7),
            5 => format!("pair.{}", i / 16),
            6 => format!("triple.{}.\0{}", i / 48, "\0".repeat(i / 48 % 12)),
            _ => format!("once.{i}"),
        };
        (0..records).map(subject).collect()
    }

    #[test]
    fn every_list_comes_back() {
        let (active, file, model) = filled(&mixed(40_000), 77);
        assert_eq!((active.records(), active.subjects()), (40_000, model.len() as u64));
        for (subject, wanted) in &model {
            let entry = active.get(&file, subject.as_bytes()).unwrap();
            assert_eq!(entry.count(), wanted.len() as u64, "{subject}");
            assert_eq!((entry.first(), entry.last()), (wanted[0], wanted[wanted.len() - 1]), "{subject}");
            for seq in wanted.iter().step_by(199).flat_map(|seq| [seq - 1, *seq, seq + 1]) {
                let rank = wanted.partition_point(|number| *number < seq);
                assert_eq!(entry.rank(seq).unwrap(), rank as u64, "{subject}");
                let mut postings = entry.iter_from(seq).unwrap();
                assert_eq!(postings.next().unwrap(), wanted.get(rank).copied(), "{subject}");
                postings.seek(seq).unwrap();
                assert_eq!(postings.back().unwrap(), rank.checked_sub(1).map(|i| wanted[i]), "{subject}");
            }
        }
        assert!(active.get(&file, b"once.1").is_none());
    }

    #[test]
    fn a_file_that_does_not_show_a_subject_is_no_match_and_no_panic() {
        let (active, mut file, _) = filled(&mixed(1000), 1);
        file.truncate(5000);
        assert!(active.get(&file, b"once.7").is_some());
        assert!(active.get(&file, b"once.999").is_none());
        assert!(active.get(&[], b"once.7").is_none());
        assert!(active.cursors(&[]).iter().all(|cursor| cursor.get().unwrap().0.is_empty()));
    }

    #[test]
    fn runs_are_sorted_few_and_whole() {
        let subjects = mixed(30_000);
        let (file, offsets) = file(&subjects);
        let mut active = Active::new(1);
        for (i, (subject, at)) in subjects.iter().zip(offsets).enumerate() {
            active.push(&file, i as u64 + 1, at, subject.as_bytes()).unwrap();
            if i % 1777 == 0 {
                assert!(active.cursors(&file).len() < 12);
            }
        }
        let mut found = Vec::new();
        for mut cursor in active.cursors(&file) {
            let mut run = Vec::new();
            while let Some((subject, _)) = cursor.get() {
                run.push(subject.to_vec());
                cursor.advance();
            }
            assert!(run.is_sorted());
            for step in [1, 3, 50, 4000] {
                let mut cursor = RunCursor::new(&active, &file, active.order.lock().runs[0].clone());
                let all: Vec<Vec<u8>> =
                    active.order.lock().runs[0].iter().map(|id| active.subject(&file, *id).to_vec()).collect();
                for target in all.iter().step_by(step) {
                    cursor.seek(target);
                    assert_eq!(cursor.get().unwrap().0, target);
                }
                cursor.seek(b"zzz");
                assert!(cursor.get().is_none());
            }
            found.append(&mut run);
        }
        let mut wanted: Vec<Vec<u8>> = subjects.into_iter().map(String::into_bytes).collect();
        wanted.sort();
        wanted.dedup();
        found.sort();
        assert_eq!(found, wanted);
    }

    #[test]
    fn what_is_written_is_the_same() {
        let (active, file, model) = filled(&mixed(20_000), 5);
        let source = Source { first_seq: 5, next_seq: active.next_seq(), nonce: 1 };
        let mut bytes = Vec::new();
        let out = |more: &[u8]| {
            bytes.extend_from_slice(more);
            Ok(())
        };
        active.cursors(&file);
        let mut writer = PartWriter::new(out, 0, vec![source], active.subjects()).unwrap();
        active.write_into(&file, &mut writer).unwrap();
        writer.finish().unwrap();
        let part = Part::open(Bytes::from(bytes)).unwrap();
        let mut cursor = part.iter_from(b"").unwrap();
        for (subject, wanted) in &model {
            let (key, entry) = cursor.get().unwrap();
            assert_eq!(key, subject.as_bytes());
            let mut found = Vec::new();
            entry
                .visit::<crate::index::PartError>(&mut Vec::new(), |seq| {
                    found.push(seq);
                    Ok(())
                })
                .unwrap();
            assert_eq!(found, *wanted);
            cursor.advance().unwrap();
        }
        assert!(cursor.get().is_none());
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut active = Active::new(10);
        active.push(b"a", 10, 0, b"a").unwrap();
        assert_eq!(active.push(b"a", 10, 0, b"a"), Err(ActiveError::Order));
        assert_eq!(active.push(b"a", 11 + u64::from(u32::MAX), 0, b"a"), Err(ActiveError::Full));
        assert_eq!(active.push(b"a", 11, 0, &[b'x'; 70_000]), Err(ActiveError::Full));
        assert_eq!((active.records(), active.subjects(), active.next_seq()), (1, 1, 11));
        active.push(b"a", 10 + u64::from(u32::MAX), 0, b"a").unwrap();
        assert_eq!(active.get(b"a", b"a").unwrap().last(), 10 + u64::from(u32::MAX));
    }
}
