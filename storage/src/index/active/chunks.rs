//! Lists of numbers in the memory of the open segment: chunks that double in size, chained backwards, in one arena.
//!
//! Three numbers take a chunk of 16 bytes; a list of a million takes 2 KiB chunks. Numbers count from the first that the
//! index was made for and have 32 bits.

use crate::index::bytes::{Scan, put_varint};

const UNIT_BYTES: usize = 16;
/// Chunks of class `c` have `16 << c` bytes.
const CLASS_MAX: u32 = 7;
const CLASS_BITS: u32 = 4;
/// Before the steps of every chunk but the first: reference of the chunk before, its first number, numbers before it,
/// and the first number of the whole list, so that nobody walks there for it.
const HEADER_BYTES: usize = 16;

/// Where a chunk is: its unit in the arena, and its class in the low bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkRef(pub(super) u32);

impl ChunkRef {
    fn class(self) -> u32 {
        self.0 & ((1 << CLASS_BITS) - 1)
    }

    fn at(self) -> usize {
        (self.0 >> CLASS_BITS) as usize * UNIT_BYTES
    }

    fn len(self) -> usize {
        UNIT_BYTES << self.class()
    }
}

/// The open end of a list: its last chunk, and how much of that is used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    pub(super) chunk: ChunkRef,
    pub(super) fill: u16,
}

/// All chunks of an index.
#[derive(Debug, Clone, Default)]
pub(super) struct Arena {
    bytes: Vec<u8>,
    step: Vec<u8>,
}

impl Arena {
    pub(super) fn len(&self) -> usize {
        self.bytes.capacity()
    }

    /// Begins a list with its first three numbers; `None` if the arena is full.
    pub(super) fn begin(&mut self, numbers: [u32; 3]) -> Option<Tail> {
        let chunk = self.allocate(0)?;
        let mut steps = std::mem::take(&mut self.step);
        steps.clear();
        let mut before = 0;
        for number in numbers {
            put_varint(&mut steps, u64::from(number - before));
            before = number;
        }
        self.write(chunk.at(), &steps);
        let fill = u16::try_from(steps.len()).unwrap_or(u16::MAX);
        self.step = steps;
        Some(Tail { chunk, fill })
    }

    /// Appends a number; `None` if the arena is full.
    pub(super) fn push(&mut self, tail: Tail, last: u32, number: u32) -> Option<Tail> {
        let mut step = std::mem::take(&mut self.step);
        step.clear();
        put_varint(&mut step, u64::from(number - last));
        let fill = usize::from(tail.fill);
        let end = fill + step.len();
        let pushed = if end <= tail.chunk.len() {
            self.write(tail.chunk.at() + fill, &step);
            Some(Tail { chunk: tail.chunk, fill: u16::try_from(end).unwrap_or(u16::MAX) })
        } else {
            self.chain(tail, number)
        };
        self.step = step;
        pushed
    }

    fn chain(&mut self, tail: Tail, number: u32) -> Option<Tail> {
        let before = u32::try_from(self.count(tail)).ok()?;
        let chunk = self.allocate((tail.chunk.class() + 1).min(CLASS_MAX))?;
        for (i, field) in [tail.chunk.0, number, before, self.first(tail)].into_iter().enumerate() {
            self.write(chunk.at() + 4 * i, &field.to_le_bytes());
        }
        Some(Tail { chunk, fill: HEADER_BYTES as u16 })
    }

    fn allocate(&mut self, class: u32) -> Option<ChunkRef> {
        let unit = u32::try_from(self.bytes.len() / UNIT_BYTES).ok().filter(|unit| *unit < 1 << (32 - CLASS_BITS))?;
        let chunk = ChunkRef(unit << CLASS_BITS | class);
        self.bytes.resize(self.bytes.len() + chunk.len(), 0);
        Some(chunk)
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        if let Some(slot) = self.bytes.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len())) {
            slot.copy_from_slice(bytes);
        }
    }

    fn chunk(&self, chunk: ChunkRef) -> &[u8] {
        self.bytes.get(chunk.at()..).and_then(|rest| rest.get(..chunk.len())).unwrap_or_default()
    }

    /// How many numbers a list has.
    pub(super) fn count(&self, tail: Tail) -> u64 {
        let used = self.chunk(tail.chunk).get(..usize::from(tail.fill)).unwrap_or_default();
        let ends = |steps: &[u8]| steps.iter().map(|byte| u64::from(*byte < 0x80)).sum::<u64>();
        match (tail.chunk.class(), used.split_at_checked(HEADER_BYTES)) {
            (1.., Some((header, steps))) => before(header) + 1 + ends(steps),
            _ => ends(used),
        }
    }

    /// The first number of a list.
    pub(super) fn first(&self, tail: Tail) -> u32 {
        let bytes = self.chunk(tail.chunk);
        let first = if tail.chunk.class() > 0 { Ok(header_field(bytes, 3)) } else { Scan::new(bytes).varint() };
        first.map_or(0, |first| first as u32)
    }
}

/// Numbers of the list before the chunk of this header.
fn before(header: &[u8]) -> u64 {
    header_field(header, 2)
}

fn header_field(header: &[u8], i: usize) -> u64 {
    let (fields, _) = header.as_chunks::<4>();
    fields.get(i).map_or(0, |field| u64::from(u32::from_le_bytes(*field)))
}

/// A list in the arena.
#[derive(Clone, Copy)]
pub(crate) struct Chunks<'a> {
    pub(super) arena: &'a Arena,
    pub(super) tail: Tail,
    /// What the numbers count from.
    pub(super) base: u64,
}

impl<'a> Chunks<'a> {
    /// The chunks in order: first number, numbers before it, the steps behind it (and what is behind those).
    pub(crate) fn collect(&self) -> Vec<(u64, u64, &'a [u8])> {
        let mut found = Vec::new();
        let mut chunk = self.tail.chunk;
        loop {
            let bytes = self.arena.chunk(chunk);
            let Some((header, steps)) = bytes.split_at_checked(HEADER_BYTES).filter(|_| chunk.class() > 0) else {
                let mut scan = Scan::new(bytes);
                let first = scan.varint().unwrap_or(0);
                found.push((self.base + first, 0, scan.rest()));
                break;
            };
            found.push((self.base + header_field(header, 1), before(header), steps));
            let previous = ChunkRef(header_field(header, 0) as u32);
            if previous.at() >= chunk.at() {
                break;
            }
            chunk = previous;
        }
        found.reverse();
        found
    }
}
