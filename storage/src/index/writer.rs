//! Writing a part, in one go from front to back: what is kept in memory is a block a level and the bloom filter.

use std::io;

use super::block::{BlockBuilder, Kind, Sink, common};
use super::bloom::BloomBuilder;
use super::bytes::put_varint;
use super::error::PartWriteError;
use super::layout::{self, PartInfo, Places, Source};
use super::rows::{BLOOM, EXPIRIES, RowWriter, SKIPS};

/// Steps of a list that may stand in the leaf; longer ones get blocks of their own.
const INLINE_BYTES_MAX: usize = 128;
/// Steps after which a block of numbers is closed.
const NUMBERS_BYTES: usize = 2048;

/// Writes a part from sorted subjects, each with its numbers, and then from sorted expiry times.
///
/// Per subject: [`PartWriter::begin`], [`PartWriter::number`] for each number, and the next subject or the next section
/// ends it. A subject without a number is left out.
pub struct PartWriter<W> {
    sink: Sink<W>,
    info: PartInfo,
    next_seq: u64,
    leaf: BlockBuilder,
    /// First key of the leaf, cut to what tells it from the key before.
    leaf_key: Vec<u8>,
    nodes: Vec<Node>,
    bloom: BloomBuilder,
    list: OpenList,
    expiries: RowWriter,
    last_expiry: Option<(i64, u64)>,
    value: Vec<u8>,
}

/// An inner block being filled.
#[derive(Default)]
struct Node {
    builder: BlockBuilder,
    key: Vec<u8>,
    only_child: u64,
}

/// The subject being written. Numbers are counted from the part's first on.
#[derive(Default)]
struct OpenList {
    subject: Vec<u8>,
    count: u64,
    first: u64,
    last: u64,
    /// Numbers of the block being filled, its first one, and the steps behind that.
    block_count: u64,
    block_first: u64,
    steps: Vec<u8>,
    /// Where the last step begins: an inline list goes without it.
    last_step: usize,
    /// Closed blocks: first number, numbers before, offset.
    skips: Vec<[u64; 3]>,
}

impl<W: FnMut(&[u8]) -> io::Result<()>> PartWriter<W> {
    /// Begins a part. `write` takes its bytes in order, some kilobytes at a time. `subjects_expected` sizes the bloom
    /// filter: more than come cost memory while writing, fewer make it less useful.
    ///
    /// # Errors
    /// If the sources do not ascend, or writing fails.
    pub fn new(write: W, level: u32, sources: Vec<Source>, subjects_expected: u64) -> Result<Self, PartWriteError> {
        if !layout::in_order(&sources) {
            return Err(PartWriteError::Order);
        }
        let seed = layout::seed(level, &sources);
        let mut sink = Sink::new(write, seed);
        sink.raw(&layout::header(level, seed))?;
        let info = PartInfo { level, sources, subjects: 0, records: 0, expiries: 0, bytes: 0 };
        Ok(Self {
            sink,
            next_seq: info.next_seq(),
            info,
            leaf: BlockBuilder::default(),
            leaf_key: Vec::new(),
            nodes: Vec::new(),
            bloom: BloomBuilder::new(subjects_expected),
            list: OpenList::default(),
            expiries: RowWriter::new(EXPIRIES),
            last_expiry: None,
            value: Vec::new(),
        })
    }

    /// Begins the next subject.
    ///
    /// # Errors
    /// If it does not come after the one before, or writing fails.
    pub fn begin(&mut self, subject: &[u8]) -> Result<(), PartWriteError> {
        self.end_subject()?;
        if self.expiries.rows() > 0 || self.info.subjects > 0 && subject <= self.leaf.last_key() {
            return Err(PartWriteError::Order);
        }
        self.list.subject.clear();
        self.list.subject.extend_from_slice(subject);
        Ok(())
    }

    /// Adds a number to the subject.
    ///
    /// # Errors
    /// If it is not greater than the one before, not within the sources, or writing fails.
    #[inline]
    pub fn number(&mut self, seq: u64) -> Result<(), PartWriteError> {
        let number = seq.checked_sub(self.info.first_seq()).filter(|_| seq < self.next_seq);
        let number = number.ok_or(PartWriteError::Order)?;
        let list = &mut self.list;
        if list.count == 0 {
            list.first = number;
            list.block_first = number;
        } else if number <= list.last {
            return Err(PartWriteError::Order);
        } else if list.steps.len() >= NUMBERS_BYTES {
            list.close_block(&mut self.sink)?;
            list.block_first = number;
        } else {
            list.last_step = list.steps.len();
            put_varint(&mut list.steps, number - list.last);
        }
        list.last = number;
        list.count += 1;
        list.block_count += 1;
        Ok(())
    }

    /// Adds an expiry time and the number it belongs to, after all subjects.
    ///
    /// # Errors
    /// If it does not come after the one before, the number is not within the sources, or writing fails.
    pub fn expiry(&mut self, at_ns: i64, seq: u64) -> Result<(), PartWriteError> {
        self.end_subject()?;
        let within = (self.info.first_seq()..self.next_seq).contains(&seq);
        if !within || self.last_expiry.is_some_and(|last| last >= (at_ns, seq)) {
            return Err(PartWriteError::Order);
        }
        self.last_expiry = Some((at_ns, seq));
        if self.expiries.rows() == 0 {
            self.end_dictionary_leaf()?;
        }
        self.expiries.push(&mut self.sink, &[&at_ns.to_le_bytes(), &seq.to_le_bytes()])?;
        Ok(())
    }

    /// Writes what is left. Says what was written, with the length of the file.
    ///
    /// # Errors
    /// If writing fails.
    pub fn finish(mut self) -> Result<PartInfo, PartWriteError> {
        self.end_subject()?;
        self.end_dictionary_leaf()?;
        let mut places = Places::default();
        self.info.expiries = self.expiries.rows();
        places.expiries = self.expiries.finish(&mut self.sink)?;
        (places.root, places.depth) = end_dictionary(&mut self.nodes, &mut self.sink)?;
        let mut rows = RowWriter::new(BLOOM);
        for row in self.bloom.finish() {
            rows.push(&mut self.sink, &[&row])?;
        }
        places.bloom_rows = rows.rows();
        places.bloom = rows.finish(&mut self.sink)?;
        let seed = layout::seed(self.info.level, &self.info.sources);
        self.info.bytes = layout::write_end(&self.info, &places, seed, &mut self.sink)?;
        Ok(self.info)
    }

    /// Puts the open subject into the leaf.
    fn end_subject(&mut self) -> Result<(), PartWriteError> {
        let list = &mut self.list;
        if list.count == 0 {
            return Ok(());
        }
        let value = &mut self.value;
        value.clear();
        let in_blocks = !list.skips.is_empty() || list.last_step > INLINE_BYTES_MAX;
        put_varint(value, list.count << 1 | u64::from(in_blocks));
        put_varint(value, list.first);
        if list.count > 1 {
            put_varint(value, list.last - list.first);
        }
        if in_blocks {
            list.close_block(&mut self.sink)?;
            let (blocks, at) = list.write_skips(&mut self.sink)?;
            put_varint(value, blocks);
            put_varint(value, at);
        } else if list.count > 2 {
            put_varint(value, list.last_step as u64);
            value.extend_from_slice(list.steps.get(..list.last_step).unwrap_or_default());
        }
        if self.leaf.is_full() {
            end_leaf(&mut self.leaf, &self.leaf_key, &mut self.nodes, &mut self.sink)?;
        }
        if self.leaf.entries() == 0 {
            let before = self.leaf.last_key();
            let told_apart = if self.info.subjects == 0 { 0 } else { common(before, &list.subject) + 1 };
            self.leaf_key.clear();
            self.leaf_key.extend_from_slice(list.subject.get(..told_apart).unwrap_or(&list.subject));
        }
        self.leaf.push(&list.subject, |out| out.extend_from_slice(value));
        self.bloom.insert(&list.subject);
        self.info.subjects += 1;
        self.info.records += list.count;
        list.clear();
        Ok(())
    }

    fn end_dictionary_leaf(&mut self) -> io::Result<()> {
        if self.leaf.entries() == 0 {
            return Ok(());
        }
        end_leaf(&mut self.leaf, &self.leaf_key, &mut self.nodes, &mut self.sink)
    }
}

impl OpenList {
    fn close_block<W: FnMut(&[u8]) -> io::Result<()>>(&mut self, sink: &mut Sink<W>) -> io::Result<()> {
        let mut block = Vec::with_capacity(self.steps.len() + 20);
        put_varint(&mut block, self.block_count);
        put_varint(&mut block, self.block_first);
        block.extend_from_slice(&self.steps);
        let at = sink.block(Kind::Numbers, &block)?;
        self.skips.push([self.block_first, self.count - self.block_count, at]);
        self.steps.clear();
        self.last_step = 0;
        self.block_count = 0;
        Ok(())
    }

    /// How many blocks there are, and the offset of the one block or of the table of several.
    fn write_skips<W: FnMut(&[u8]) -> io::Result<()>>(&self, sink: &mut Sink<W>) -> io::Result<(u64, u64)> {
        if let [[_, _, at]] = self.skips.as_slice() {
            return Ok((1, *at));
        }
        let mut rows = RowWriter::new(SKIPS);
        for [first, before, at] in &self.skips {
            rows.push(sink, &[&first.to_le_bytes(), &before.to_le_bytes(), &at.to_le_bytes()])?;
        }
        Ok((rows.rows(), rows.finish(sink)?))
    }

    fn clear(&mut self) {
        self.count = 0;
        self.block_count = 0;
        self.last_step = 0;
        self.steps.clear();
        self.skips.clear();
    }
}

/// Closes the leaf and tells the level above.
fn end_leaf<W: FnMut(&[u8]) -> io::Result<()>>(
    leaf: &mut BlockBuilder,
    key: &[u8],
    nodes: &mut Vec<Node>,
    sink: &mut Sink<W>,
) -> io::Result<()> {
    let at = leaf.flush(Kind::Leaf, sink)?;
    push_child(nodes, 0, key, at, sink)
}

/// Adds a child to the inner block of a level. A full one is closed first, and becomes a child itself.
fn push_child<W: FnMut(&[u8]) -> io::Result<()>>(
    nodes: &mut Vec<Node>,
    level: usize,
    key: &[u8],
    child: u64,
    sink: &mut Sink<W>,
) -> io::Result<()> {
    let mut closed = None;
    if nodes.len() <= level {
        nodes.push(Node::default());
    }
    if let Some(node) = nodes.get_mut(level) {
        if node.builder.is_full() {
            let at = node.builder.flush(Kind::Node, sink)?;
            closed = Some((std::mem::take(&mut node.key), at));
        }
        if node.builder.entries() == 0 {
            node.key = key.to_vec();
            node.only_child = child;
        }
        node.builder.push(key, |out| put_varint(out, child));
    }
    match closed {
        Some((key, at)) => push_child(nodes, level + 1, &key, at, sink),
        None => Ok(()),
    }
}

/// Closes the inner blocks from below. Says where the root is, and how many levels of inner blocks there are.
fn end_dictionary<W: FnMut(&[u8]) -> io::Result<()>>(
    nodes: &mut Vec<Node>,
    sink: &mut Sink<W>,
) -> io::Result<(u64, u32)> {
    let mut level = 0;
    loop {
        let top = level + 1 == nodes.len();
        let Some(node) = nodes.get_mut(level) else { return Ok((0, 0)) };
        if top && node.builder.entries() == 1 {
            return Ok((node.only_child, u32::try_from(level).unwrap_or(u32::MAX)));
        }
        let at = node.builder.flush(Kind::Node, sink)?;
        let key = std::mem::take(&mut node.key);
        level += 1;
        push_child(nodes, level, &key, at, sink)?;
    }
}
