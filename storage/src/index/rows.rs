//! Tables of rows of one size, cut into checksummed blocks that are found by counting: all but the last are full.

use std::io;

use super::block::{BLOCK_HEADER_BYTES, Kind, Sink};

/// Rows of one kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    /// Bytes of a row.
    pub(crate) width: usize,
    /// Rows of a full block.
    pub(crate) per_block: usize,
}

/// Where a long list's blocks are: number u64 of the first in it (from the part's first on), u64 numbers of the list
/// before it, u64 offset.
pub(crate) const SKIPS: Shape = Shape { kind: Kind::Skips, width: 24, per_block: 128 };
/// Blocks of the bloom filter.
pub(crate) const BLOOM: Shape = Shape { kind: Kind::Bloom, width: 32, per_block: 128 };
/// Time i64, number u64.
pub(crate) const EXPIRIES: Shape = Shape { kind: Kind::Expiries, width: 16, per_block: 256 };

impl Shape {
    /// Which block row `i` is in, as an offset from the table's beginning, and which row of that block it is.
    pub(crate) fn place(self, i: u64) -> (u64, usize) {
        let per_block = self.per_block as u64;
        let block_bytes = (BLOCK_HEADER_BYTES + self.width * self.per_block) as u64;
        ((i / per_block).saturating_mul(block_bytes), (i % per_block) as usize)
    }

    /// Row `i` of a block's content.
    pub(crate) fn row(self, content: &[u8], i: usize) -> Option<&[u8]> {
        content.get(i.checked_mul(self.width)?..)?.get(..self.width)
    }
}

/// Writes a table row by row. Nothing else may be written in between.
#[derive(Debug)]
pub(crate) struct RowWriter {
    shape: Shape,
    block: Vec<u8>,
    at: Option<u64>,
    rows: u64,
}

impl RowWriter {
    pub(crate) fn new(shape: Shape) -> Self {
        Self { shape, block: Vec::new(), at: None, rows: 0 }
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Appends a row given in pieces.
    pub(crate) fn push<W: FnMut(&[u8]) -> io::Result<()>>(
        &mut self,
        sink: &mut Sink<W>,
        pieces: &[&[u8]],
    ) -> io::Result<()> {
        pieces.iter().for_each(|piece| self.block.extend_from_slice(piece));
        self.rows += 1;
        if self.rows.is_multiple_of(self.shape.per_block as u64) { self.flush(sink) } else { Ok(()) }
    }

    /// Writes what is left and returns the table's offset, 0 if it has no row.
    pub(crate) fn finish<W: FnMut(&[u8]) -> io::Result<()>>(mut self, sink: &mut Sink<W>) -> io::Result<u64> {
        if !self.block.is_empty() {
            self.flush(sink)?;
        }
        Ok(self.at.unwrap_or(0))
    }

    fn flush<W: FnMut(&[u8]) -> io::Result<()>>(&mut self, sink: &mut Sink<W>) -> io::Result<()> {
        let at = sink.block(self.shape.kind, &self.block)?;
        self.at.get_or_insert(at);
        self.block.clear();
        Ok(())
    }
}
