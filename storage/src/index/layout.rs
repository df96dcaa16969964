//! The ends of a part file: its header, its footer, and the trailer that finds the footer.

use super::block::{self, Kind, Sink};
use super::bytes::{Bad, Scan};
use super::error::PartError;
use std::io;

/// Version of part files.
pub(crate) const PART_VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"SUBLOGIX";
const TRAILER_MAGIC: [u8; 4] = *b"SLIE";
const HEADER_BYTES: usize = 32;
const TRAILER_BYTES: usize = 24;
/// Levels of inner blocks that a dictionary may have. Ten million subjects take three.
const DEPTH_MAX: u32 = 32;

/// A segment whose records a part speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Number of its first record.
    pub first_seq: u64,
    /// Number behind its last record.
    pub next_seq: u64,
    /// The random number in its header.
    pub nonce: u64,
}

/// What a part says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartInfo {
    /// How often it was merged: 0 for the part of one segment.
    pub level: u32,
    /// The segments it was made from, ascending.
    pub sources: Vec<Source>,
    /// Distinct subjects.
    pub subjects: u64,
    /// Numbers in it.
    pub records: u64,
    /// Entries of its section of expiry times.
    pub expiries: u64,
    /// Length of the file.
    pub bytes: u64,
}

impl PartInfo {
    /// First number it speaks of.
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        self.sources.first().map_or(0, |source| source.first_seq)
    }

    /// Number behind the last that it speaks of.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.sources.last().map_or(0, |source| source.next_seq)
    }
}

/// Where things are in a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Places {
    /// The dictionary's topmost block.
    pub(crate) root: u64,
    /// Levels of inner blocks above the leaves.
    pub(crate) depth: u32,
    pub(crate) bloom: u64,
    /// Blocks of 32 bytes that the bloom filter has.
    pub(crate) bloom_rows: u64,
    pub(crate) expiries: u64,
}

/// Whether the sources ascend and do not meet.
pub(crate) fn in_order(sources: &[Source]) -> bool {
    !sources.is_empty()
        && sources.iter().all(|source| source.first_seq <= source.next_seq)
        && sources.iter().zip(sources.iter().skip(1)).all(|(a, b)| a.next_seq <= b.first_seq)
}

/// What the checksums of a part's blocks begin with, so that a block of another part is not taken for one of it.
pub(crate) fn seed(level: u32, sources: &[Source]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&level.to_le_bytes());
    for field in sources.iter().flat_map(|source| [source.first_seq, source.next_seq, source.nonce]) {
        hasher.update(&field.to_le_bytes());
    }
    hasher.finalize()
}

pub(crate) fn header(level: u32, seed: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&PART_VERSION.to_le_bytes());
    out.extend_from_slice(&level.to_le_bytes());
    out.extend_from_slice(&seed.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Writes footer and trailer; returns the length of the file.
pub(crate) fn write_end<W: FnMut(&[u8]) -> io::Result<()>>(
    info: &PartInfo,
    places: &Places,
    seed: u32,
    sink: &mut Sink<W>,
) -> io::Result<u64> {
    let mut out = Vec::new();
    let sources = u32::try_from(info.sources.len()).unwrap_or(u32::MAX);
    [info.level, places.depth, sources, 0].iter().for_each(|field| out.extend_from_slice(&field.to_le_bytes()));
    let fields =
        [info.subjects, info.records, places.root, places.bloom, places.bloom_rows, places.expiries, info.expiries];
    let rows = info.sources.iter().flat_map(|source| [source.first_seq, source.next_seq, source.nonce]);
    fields.into_iter().chain(rows).for_each(|field| out.extend_from_slice(&field.to_le_bytes()));
    let footer = sink.block(Kind::Footer, &out)?;
    let total = sink.offset() + TRAILER_BYTES as u64;
    out.clear();
    out.extend_from_slice(&footer.to_le_bytes());
    out.extend_from_slice(&total.to_le_bytes());
    out.extend_from_slice(&trailer_crc(seed, &out).to_le_bytes());
    out.extend_from_slice(&TRAILER_MAGIC);
    sink.raw(&out)?;
    Ok(total)
}

fn trailer_crc(seed: u32, fields: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(fields);
    hasher.finalize()
}

/// Takes a file's ends apart. Only header, trailer and footer are looked at.
pub(crate) fn open(file: &[u8]) -> Result<(PartInfo, Places, u32), PartError> {
    let damaged = |offset: u64| move |_| PartError::Damaged { first_seq: 0, offset };
    let (version, level, seed) = read_header(file).map_err(damaged(0))?;
    if version != PART_VERSION {
        return Err(PartError::Version { found: version });
    }
    let total = file.len() as u64;
    let footer_at = read_trailer(file, seed).map_err(damaged(total.saturating_sub(TRAILER_BYTES as u64)))?;
    let content = block::open(file, Some(seed), Kind::Footer, footer_at).map_err(damaged(footer_at))?;
    let (info, places) = read_footer(content, total).map_err(damaged(footer_at))?;
    if info.level != level || self::seed(level, &info.sources) != seed {
        return Err(PartError::Damaged { first_seq: 0, offset: footer_at });
    }
    Ok((info, places, seed))
}

fn read_header(file: &[u8]) -> Result<(u32, u32, u32), Bad> {
    let mut scan = Scan::new(file);
    let covered = file.get(..HEADER_BYTES - 4).ok_or(Bad)?;
    let magic = scan.array()?;
    let (version, level, seed) = (scan.u32()?, scan.u32()?, scan.u32()?);
    let zero = scan.u64()?;
    let right = magic == MAGIC && scan.u32()? == crc32fast::hash(covered) && (zero == 0 || version != PART_VERSION);
    if right { Ok((version, level, seed)) } else { Err(Bad) }
}

fn read_trailer(file: &[u8], seed: u32) -> Result<u64, Bad> {
    let trailer = file.last_chunk::<TRAILER_BYTES>().ok_or(Bad)?;
    let mut scan = Scan::new(trailer);
    let fields = scan.take(16)?;
    let right = scan.u32()? == trailer_crc(seed, fields) && scan.array()? == TRAILER_MAGIC;
    let mut fields = Scan::new(fields);
    let footer = fields.u64()?;
    if right && fields.u64()? == file.len() as u64 { Ok(footer) } else { Err(Bad) }
}

fn read_footer(content: &[u8], bytes: u64) -> Result<(PartInfo, Places), Bad> {
    let mut scan = Scan::new(content);
    let (level, depth, count, zero) = (scan.u32()?, scan.u32()?, scan.u32()?, scan.u32()?);
    let (subjects, records) = (scan.u64()?, scan.u64()?);
    let root = scan.u64()?;
    let (bloom, bloom_rows) = (scan.u64()?, scan.u64()?);
    let (expiries_at, expiries) = (scan.u64()?, scan.u64()?);
    let mut sources = Vec::new();
    while !scan.is_empty() {
        sources.push(Source { first_seq: scan.u64()?, next_seq: scan.u64()?, nonce: scan.u64()? });
    }
    let right = sources.len() == count as usize && in_order(&sources) && depth <= DEPTH_MAX && zero == 0;
    let info = PartInfo { level, sources, subjects, records, expiries, bytes };
    let places = Places { root, depth, bloom, bloom_rows, expiries: expiries_at };
    if right { Ok((info, places)) } else { Err(Bad) }
}
