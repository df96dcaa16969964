//! Making parts: of the segment that was open until now, of a segment's file, of smaller parts.

use std::path::Path;
use std::sync::Arc;

use super::IndexError;
use super::memory::offset_in;
use super::set::{parse_name, path_of};
use crate::cursor::Found;
use crate::disk::{Disk, DiskFile, OpenMode, View, write_all};
use crate::error::{LogError, Operation, ReadError};
use crate::index::{Active, ActiveError, Part, PartInfo, PartWriteError, PartWriter, Source, merge, merge_as};
use crate::segment::Segment;
use crate::shared::Shared;

/// Bytes written in one call.
const WRITE_BYTES: usize = 256 << 10;

/// A part's file while it is written. Not synced: what a power cut leaves of it is either right or noticed.
struct PartFile<'a> {
    shared: &'a Shared,
    tmp: std::path::PathBuf,
    file: Arc<dyn DiskFile>,
    buffer: Vec<u8>,
    at: u64,
}

impl<'a> PartFile<'a> {
    fn create(shared: &'a Shared, first_seq: u64, level: u32) -> Result<Self, IndexError> {
        let tmp = path_of(&shared.dir, first_seq, level).with_extension("idx.tmp");
        let failed = |e: &std::io::Error| ReadError::Io(LogError::from_io(Operation::Open, &tmp, None, e));
        let file = shared.disk.open(&tmp, OpenMode::Create).map_err(|e| failed(&e))?;
        file.set_len(0).map_err(|e| failed(&e))?;
        Ok(Self { shared, tmp, file, buffer: Vec::with_capacity(WRITE_BYTES), at: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        write_all(&*self.file, &self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes with `fill`, gives the file its name, and opens it; nothing is left of it after an error.
    fn finish(
        mut self,
        fill: impl FnOnce(&mut dyn FnMut(&[u8]) -> std::io::Result<()>) -> Result<PartInfo, PartWriteError>,
    ) -> Result<Part, IndexError> {
        let written = fill(&mut |bytes| self.write(bytes)).and_then(|info| {
            self.flush()?;
            Ok(info)
        });
        match written {
            Ok(info) => {
                let path = path_of(&self.shared.dir, info.first_seq(), info.level);
                let failed = |operation, e: &std::io::Error| {
                    IndexError::Read(ReadError::Io(LogError::from_io(operation, &path, None, e)))
                };
                self.shared.disk.rename(&self.tmp, &path).map_err(|e| failed(Operation::Remove, &e))?;
                let view = self.file.view(info.bytes).map_err(|e| failed(Operation::Map, &e))?;
                Ok(Part::open(view.bytes)?)
            }
            Err(error) => {
                // Opening the log removes it if this cannot.
                let _ = self.shared.disk.remove(&self.tmp);
                Err(error.into())
            }
        }
    }
}

fn source_of(segment: &Segment) -> Source {
    Source { first_seq: segment.first_seq, next_seq: segment.next_seq(), nonce: segment.nonce }
}

/// The part of a segment that was read while it was open, and sealed since.
pub(super) fn part_of_pieces(shared: &Shared, segment: &Segment, pieces: &[Arc<Part>]) -> Result<Part, IndexError> {
    let pieces: Vec<&Part> = pieces.iter().map(|piece| &**piece).collect();
    let file = PartFile::create(shared, segment.first_seq, 0)?;
    file.finish(|write| merge_as(vec![source_of(segment)], &pieces, 0, |_| true, write))
}

fn write_part(
    shared: &Shared,
    segment: &Segment,
    active: &Active,
    subjects: &[u8],
    view: &View,
) -> Result<Part, IndexError> {
    // A part that leaves out what could not be read today would leave it out for ever.
    let failed = |e: std::io::Error| ReadError::Io(LogError::from_io(Operation::Read, &segment.path, None, &e));
    view.was_read().map_err(failed)?;
    let part = PartFile::create(shared, segment.first_seq, 0)?;
    part.finish(|write| {
        let mut writer = PartWriter::new(write, 0, vec![source_of(segment)], active.subjects())?;
        active.write_into(subjects, &mut writer)?;
        writer.finish()
    })
}

/// The part of a sealed segment, from its file.
pub(super) fn part_of_segment(shared: &Shared, segment: &Arc<Segment>) -> Result<Part, IndexError> {
    let bounds = segment.bounds();
    let view = segment.view(bounds.limit).map_err(ReadError::from)?;
    let file = &view.bytes;
    let mut cursor = segment.cursor_once();
    let mut active = Active::new(segment.first_seq);
    // Subjects of a packed segment lie in blocks that do not stay; they are gathered here.
    let mut subjects = Vec::new();
    loop {
        match cursor.step(file, &bounds) {
            Found::Record { seq, record, .. } => {
                let Some(parts) = crate::format::record::parts(record) else { continue };
                if segment.packed {
                    let at = u32::try_from(subjects.len()).map_err(|_| ActiveError::Full)?;
                    subjects.extend_from_slice(parts.subject);
                    active.push(&subjects, seq, at, parts.subject)?;
                } else if let Some(at) = offset_in(file, parts.subject) {
                    active.push(file, seq, at, parts.subject)?;
                } else {
                    continue;
                }
                parts.expires_at_ns.into_iter().for_each(|at_ns| active.push_expiry(at_ns));
            }
            Found::Lost { .. } => {}
            Found::End => break,
        }
    }
    write_part(shared, segment, &active, if segment.packed { &subjects } else { file }, &view)
}

/// One part of several adjacent ones.
pub(super) fn merged(shared: &Shared, parts: &[Arc<Part>]) -> Result<Part, IndexError> {
    let first_seq = parts.first().map_or(0, |part| part.first_seq());
    let level = parts.first().map_or(0, |part| part.info().level) + 1;
    let parts: Vec<&Part> = parts.iter().map(|part| &**part).collect();
    let file = PartFile::create(shared, first_seq, level)?;
    // Whatever is removed stays in: its removal may not be on disk yet.
    file.finish(|write| merge(&parts, level, |_| true, write))
}

/// Parts that lie in a log's folder; unfinished and unreadable ones are removed.
pub(super) fn load(disk: &dyn Disk, dir: &Path) -> Vec<Part> {
    let Ok(names) = disk.list(dir) else { return Vec::new() };
    let mut parts = Vec::new();
    for name in names {
        let path = dir.join(&name);
        if name.ends_with(".idx.tmp") {
            let _ = disk.remove(&path);
            continue;
        }
        let Some((first_seq, level)) = parse_name(&name) else { continue };
        let open = || {
            let file = disk.open(&path, OpenMode::Read).ok()?;
            let part = Part::open(file.view(file.len().ok()?).ok()?.bytes).ok()?;
            ((part.first_seq(), part.info().level) == (first_seq, level)).then_some(part)
        };
        match open() {
            Some(part) => parts.push(part),
            None => {
                tracing::warn!(path = %path.display(), "an index part cannot be used and is made again");
                let _ = disk.remove(&path);
            }
        }
    }
    parts
}
