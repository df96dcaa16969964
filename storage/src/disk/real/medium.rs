//! Reading what the disk holds instead of what the page cache remembers of it, and leaving the cache as it was.
//!
//! With `O_DIRECT` where the file system takes it. Elsewhere pages that are cached are read from the cache, and those that
//! were not are let go of again.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, OFlags, fadvise, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::disk::aligned::{AlignedBuf, BLOCK_BYTES};

/// Most bytes of one read whose buffer or place is not aligned.
const BOUNCE_BYTES: usize = 64 << 10;

/// How an open file is read past the cache.
#[derive(Debug)]
pub(super) struct Medium {
    direct: AtomicBool,
}

/// Opens a file for it.
pub(super) fn open(path: &Path) -> io::Result<(File, Medium)> {
    let flags = i32::try_from(OFlags::DIRECT.bits()).unwrap_or(0);
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => Ok((file, Medium { direct: AtomicBool::new(true) })),
        Err(e) if e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            let file = OpenOptions::new().read(true).open(path)?;
            let medium = Medium { direct: AtomicBool::new(true) };
            medium.give_up_direct(&file)?;
            Ok((file, medium))
        }
        Err(e) => Err(e),
    }
}

impl Medium {
    pub(super) fn read_at(&self, file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if !self.direct.load(Ordering::Relaxed) {
            return read_leaving_the_cache(file, buf, offset);
        }
        let block = BLOCK_BYTES as u64;
        let aligned = buf.as_ptr().addr().is_multiple_of(BLOCK_BYTES)
            && buf.len().is_multiple_of(BLOCK_BYTES)
            && offset.is_multiple_of(block);
        let read = if aligned {
            file.read_at(buf, offset)
        } else {
            let before = crate::format::index64(offset % block);
            let want = (before + buf.len()).next_multiple_of(BLOCK_BYTES).min(BOUNCE_BYTES);
            let mut bounce = AlignedBuf::new(want);
            file.read_at(bounce.bytes_mut(), offset - offset % block).map(|n| {
                let got = bounce.bytes().get(before..n).unwrap_or_default();
                let n = got.len().min(buf.len());
                if let (Some(to), Some(from)) = (buf.get_mut(..n), got.get(..n)) {
                    to.copy_from_slice(from);
                }
                n
            })
        };
        match read {
            // A file system that takes the flag and not the reads.
            Err(e) if e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                self.give_up_direct(file)?;
                read_leaving_the_cache(file, buf, offset)
            }
            other => other,
        }
    }

    fn give_up_direct(&self, file: &File) -> io::Result<()> {
        fcntl_setfl(file, fcntl_getfl(file)? - OFlags::DIRECT)?;
        // No reading ahead: what it brought in would look as if it had been there.
        fadvise(file, 0, None, Advice::Random)?;
        self.direct.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// An ordinary read after which the same pages are cached as before.
fn read_leaving_the_cache(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let page = rustix::param::page_size() as u64;
    // Not asked for beyond the end of the file: a page that the question brings in and no read waits for is not let go of.
    let end = file.metadata()?.len().min(offset + buf.len() as u64);
    let mut absent: Vec<(u64, u64)> = Vec::new();
    // Behind it nothing is read, so nothing is asked either: not for the page in which the file ends.
    let mut at = if offset < end { offset - offset % page } else { end };
    while at < end {
        if !is_cached(file, at) {
            match absent.last_mut() {
                Some((from, len)) if *from + *len == at => *len += page,
                _ => absent.push((at, page)),
            }
        }
        at += page;
    }
    let read = file.read_at(buf, offset);
    for (from, len) in absent {
        // Advice: a file system that does not take it keeps the pages, which is no harm but to the cache.
        let _ = fadvise(file, from, NonZeroU64::new(len), Advice::DontNeed);
    }
    read
}

/// Whether a page is in the cache; also where the system cannot tell. If it is not, the system may begin to read it.
fn is_cached(file: &File, offset: u64) -> bool {
    let mut byte = [0];
    !matches!(preadv2(file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT), Err(Errno::AGAIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::map::cached_pages;

    const PAGES: u64 = 20;

    /// A file of full pages and a few bytes more, on disk and not in the cache.
    fn file(dir: &Path) -> (std::path::PathBuf, Vec<u8>) {
        let path = dir.join("file");
        let content: Vec<u8> = (0..PAGES * 4096 + 77).map(|i| (i / 64 * 7 + i) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let file = File::open(&path).unwrap();
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::Random).unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        (path, content)
    }

    /// Reads all of a file in several ways; which pages were in the cache before that, and after. `None`: this file system keeps
    /// what it is told to let go of.
    fn pages_around_reading(direct: bool) -> Option<(Vec<bool>, Vec<bool>)> {
        let dir = tempfile::tempdir().unwrap();
        let (path, content) = file(dir.path());
        let (file, medium) = open(&path).unwrap();
        let plain = File::open(&path).unwrap();
        fadvise(&plain, 0, None, Advice::Random).unwrap();
        if !direct {
            medium.give_up_direct(&file).unwrap();
        }
        // Two pages are in use by others.
        for page in [3_u64, 11] {
            plain.read_exact_at(&mut [0; 100], page * 4096).unwrap();
        }
        let before = cached_pages(&plain);
        if before.iter().filter(|&&c| c).count() != 2 {
            return None;
        }
        let mut aligned = AlignedBuf::new(content.len().next_multiple_of(BLOCK_BYTES));
        let n = medium.read_at(&file, aligned.bytes_mut(), 0).unwrap();
        assert!(n == content.len() && aligned.bytes()[..n] == content);
        for (offset, len) in [(1, 3), (4095, 2), (4096, 4096), (777, 50_000), (content.len() - 5, 100)] {
            let mut buf = vec![0; len];
            let n = medium.read_at(&file, &mut buf, offset as u64).unwrap();
            assert_eq!(n, len.min(content.len() - offset));
            assert!(buf[..n] == content[offset..offset + n], "{len} at {offset}");
        }
        assert_eq!(medium.read_at(&file, &mut [0; 10], content.len() as u64).unwrap(), 0);
        Some((before, cached_pages(&plain)))
    }

    #[test]
    fn reads_what_is_there_and_leaves_the_cache_alone() {
        for direct in [true, false] {
            // A page that the system is busy with it does not let go of when it is asked: then once more.
            let mut seen = Vec::new();
            while seen.len() < 5 {
                let Some((before, after)) = pages_around_reading(direct) else {
                    println!("SKIPPED: this file system keeps what it is told to let go of");
                    return;
                };
                if before == after {
                    break;
                }
                seen.push((before, after));
            }
            assert!(seen.len() < 5, "direct: {direct}: {seen:?}");
        }
    }
}
