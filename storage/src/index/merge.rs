//! Making one part of several adjacent ones, subject by subject.

use std::io;

use super::error::PartWriteError;
use super::layout::{PartInfo, Source, in_order};
use super::part::{Part, PartCursor};
use super::writer::PartWriter;

/// Merges parts of ascending number ranges into one of level `level`, without the numbers that `keep` refuses.
///
/// What a merge leaves out is gone from the index until the part is made anew from its segments. So `keep` may refuse
/// only what cannot come back: numbers whose removal is on stable storage.
///
/// The bloom filter is made for all subjects of all parts, at ten bits each, and shrunk in the end: that is most of
/// the memory it takes.
///
/// # Errors
/// If a part is damaged, the parts do not ascend, or writing fails.
pub fn merge<W: FnMut(&[u8]) -> io::Result<()>>(
    parts: &[&Part],
    level: u32,
    keep: impl FnMut(u64) -> bool,
    write: W,
) -> Result<PartInfo, PartWriteError> {
    let sources: Vec<Source> = parts.iter().flat_map(|part| part.info().sources.iter().copied()).collect();
    if !in_order(&sources) {
        return Err(PartWriteError::Order);
    }
    merge_as(sources, parts, level, keep, write)
}

/// The same, of parts that speak of pieces of these sources.
pub(crate) fn merge_as<W: FnMut(&[u8]) -> io::Result<()>>(
    sources: Vec<Source>,
    parts: &[&Part],
    level: u32,
    mut keep: impl FnMut(u64) -> bool,
    write: W,
) -> Result<PartInfo, PartWriteError> {
    let subjects = parts.iter().map(|part| part.info().subjects).fold(0, u64::saturating_add);
    let mut writer = PartWriter::new(write, level, sources, subjects)?;
    let mut cursors = parts.iter().map(|part| part.iter_from(&[])).collect::<Result<Vec<_>, _>>()?;
    let mut numbers = Vec::new();
    let mut subject = Vec::new();
    while let Some(least) = cursors.iter().filter_map(PartCursor::get).map(|(subject, _)| subject).min() {
        subject.clear();
        subject.extend_from_slice(least);
        writer.begin(&subject)?;
        for cursor in &mut cursors {
            let Some((_, entry)) = cursor.get().filter(|(key, _)| *key == subject) else { continue };
            entry.visit(&mut numbers, |seq| if keep(seq) { writer.number(seq) } else { Ok(()) })?;
            cursor.advance()?;
        }
    }
    merge_expiries(parts, keep, &mut writer)?;
    writer.finish()
}

fn merge_expiries<W: FnMut(&[u8]) -> io::Result<()>>(
    parts: &[&Part],
    mut keep: impl FnMut(u64) -> bool,
    writer: &mut PartWriter<W>,
) -> Result<(), PartWriteError> {
    struct Head {
        next: Option<(i64, u64)>,
        at: u64,
    }
    let mut heads = Vec::new();
    for part in parts {
        heads.push(Head { next: part.expiry(0)?, at: 0 });
    }
    loop {
        let heads = parts.iter().zip(&mut heads).filter(|(_, head)| head.next.is_some());
        let Some((part, head)) = heads.min_by_key(|(_, head)| head.next) else { return Ok(()) };
        if let Some((at_ns, seq)) = head.next
            && keep(seq)
        {
            writer.expiry(at_ns, seq)?;
        }
        head.at += 1;
        head.next = part.expiry(head.at)?;
    }
}
