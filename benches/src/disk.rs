//! What the disk itself can do, measured in the folder that the servers write to: the bar that durable figures are
//! held against.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::clock::{nanos, now};
use crate::error::{BenchError, During as _, Result};
use crate::figure::histogram;

const MIB: usize = 1 << 20;
/// Size of the small synced write: about what one 128-byte message needs in a log.
const SMALL_BYTES: usize = 200;
/// The file that small writes go into.
const SMALL_FILE_BYTES: usize = 4 * MIB;

/// Speed of large synced writes into a fresh file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sequential {
    /// 1 MiB writes with an `fdatasync` after each, bytes a second.
    pub(crate) synced_bytes_per_s: f64,
    /// One large write with one `fdatasync`, bytes a second.
    pub(crate) one_write_bytes_per_s: f64,
}

/// Measures large synced writes: `large_bytes` in one write; the 1 MiB writes go on for `limit`, up to as many bytes.
///
/// # Errors
/// The disk refuses.
pub(crate) fn sequential(folder: &Path, large_bytes: usize, limit: Duration) -> Result<Sequential> {
    let what = "writing to measure the disk";
    let block = noise(large_bytes.max(MIB));
    let mut file = Scratch::fresh(folder)?;
    let begun = now();
    file.file.write_all(block.get(..large_bytes).unwrap_or(&block)).during(what)?;
    file.file.sync_data().during(what)?;
    let one_write_bytes_per_s = large_bytes as f64 / begun.elapsed().as_secs_f64();
    drop(file);

    let mut file = Scratch::fresh(folder)?;
    let mut written = 0;
    let begun = now();
    for chunk in block.chunks_exact(MIB) {
        file.file.write_all(chunk).during(what)?;
        file.file.sync_data().during(what)?;
        written += chunk.len();
        if begun.elapsed() > limit {
            break;
        }
    }
    let synced_bytes_per_s = written as f64 / begun.elapsed().as_secs_f64();
    Ok(Sequential { synced_bytes_per_s, one_write_bytes_per_s })
}

/// Measures the time of a 200-byte `pwrite` and `fdatasync`, one after another, on a preallocated file of zeros:
/// no file system metadata changes. Nanoseconds.
///
/// # Errors
/// The disk refuses.
pub(crate) fn small_synced_writes(folder: &Path, limit: Duration) -> Result<Histogram<u64>> {
    let what = "writing to measure the disk";
    let mut scratch = Scratch::fresh(folder)?;
    scratch.file.write_all(&vec![0; SMALL_FILE_BYTES]).during(what)?;
    scratch.file.sync_all().during(what)?;
    let record = noise(SMALL_BYTES);
    let mut times = histogram()?;
    let begun = now();
    let mut offset = 0;
    while begun.elapsed() < limit {
        let started = now();
        scratch.file.write_all_at(&record, offset).during(what)?;
        scratch.file.sync_data().during(what)?;
        times.saturating_record(nanos(started.elapsed()));
        offset += SMALL_BYTES as u64;
        if offset as usize + SMALL_BYTES > SMALL_FILE_BYTES {
            offset = 0;
        }
    }
    Ok(times)
}

/// Whether a folder is in memory, where a sync means nothing.
///
/// # Errors
/// The folder cannot be asked.
pub(crate) fn is_in_memory(folder: &Path) -> Result<bool> {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    let answer = rustix::fs::statfs(folder)
        .map_err(|error| BenchError::Io { what: format!("asking about {}", folder.display()), source: error.into() })?;
    // The field's type differs between systems.
    let kind = answer.f_type as u64 & 0xffff_ffff;
    Ok(kind == TMPFS || kind == RAMFS)
}

/// Bytes that no storage layer can compress.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        // xorshift64: no statistics needed, only no pattern.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(bytes);
    out
}

/// A file that is removed when it is no longer needed.
#[derive(Debug)]
struct Scratch {
    file: File,
    path: std::path::PathBuf,
}

impl Scratch {
    fn fresh(folder: &Path) -> Result<Self> {
        let path = folder.join("raw-disk");
        let file = OpenOptions::new().write(true).create_new(true).open(&path).during("making a file to write to")?;
        Ok(Self { file, path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            eprintln!("sublog-bench: could not remove {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_measured_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let sequential = sequential(folder.path(), 3 * MIB, Duration::from_millis(50)).unwrap();
        assert!(sequential.synced_bytes_per_s > 0.0 && sequential.one_write_bytes_per_s > 0.0);
        let small = small_synced_writes(folder.path(), Duration::from_millis(20)).unwrap();
        assert!(!small.is_empty() && small.min() > 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(small_synced_writes(&folder.path().join("absent"), Duration::ZERO).is_err());
    }

    #[test]
    fn noise_has_the_length_asked_for_and_no_runs() {
        for bytes in [0, 1, 8, 1001] {
            assert_eq!(noise(bytes).len(), bytes);
        }
        assert!(noise(4096).chunks_exact(8).collect::<Vec<_>>().windows(2).all(|pair| pair[0] != pair[1]));
    }
}
