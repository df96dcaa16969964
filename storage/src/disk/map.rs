//! The read-only memory map, and what happens when a page of it cannot be read: the one place of the crate with `unsafe`.
//! So one setting of the process's own memory is here as well.
//!
//! A page behind the end of a truncated file, or one that the disk does not give, is a `SIGBUS` for whoever touches it.
//! The handler here puts a page of zeros in its place and lets the reader go on: zeros fail their checksum, so a reader
//! reports lost numbers as for any other damage. A fault anywhere else goes to whoever handled the signal before.
//!
//! Each file is mapped twice. One map is read; slices of the other are what is handed out to be sent. Our own code never
//! has to touch that one, so a page of zeros that a reader's fault put into the first is never sent in the place of bytes
//! that were checked before: the system call that sends them finds the page missing and says `EFAULT`.

#![expect(
    unsafe_code,
    reason = "mapping a file and handling a signal cannot be expressed safely; the conditions are stated at each place"
)]

mod table;

use std::fs::File;
use std::io;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use libc::{c_int, c_void, siginfo_t};
use memmap2::{Mmap, MmapOptions};

pub(super) use self::table::FaultCount;
use self::table::Registration;
use super::{ReadFaults, View};

/// Buffers from this size on have pages of their own, which go when they are freed.
#[cfg(target_env = "gnu")]
const LARGE_BUFFER_BYTES: c_int = 128 << 10;
/// More than this at the end of a heap is given back.
#[cfg(target_env = "gnu")]
const HEAP_END_BYTES: c_int = 128 << 10;
/// Pages of zeros that the handler put in, since the process began.
static FAULTS: AtomicU64 = AtomicU64::new(0);
/// Bytes of a page. Set before the handler is installed.
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);
/// Who handled the signal before.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();
/// Whether the handler is there; the error number if the system refused.
static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();

/// Pages of mapped logs that could not be read and were replaced by zeros, since the process began.
pub(crate) fn read_faults() -> u64 {
    FAULTS.load(Ordering::Relaxed)
}

/// Lets the process give large buffers back to the system when they are freed. To be called once, before there are threads.
///
/// The allocator of glibc otherwise learns from each large buffer that is freed to keep such ones, up to 32 MiB each and twice
/// that at the end of each of its heaps: a log that makes and merges parts of its index all the time ended with five times the memory
/// that it used. `false` if the system's allocator has no such setting.
pub fn give_back_large_buffers() -> bool {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: `mallopt` takes two numbers and has no conditions; with other threads about, it would still take its own lock.
        let set = |what, bytes| unsafe { libc::mallopt(what, bytes) } == 1;
        set(libc::M_MMAP_THRESHOLD, LARGE_BUFFER_BYTES) && set(libc::M_TRIM_THRESHOLD, HEAP_END_BYTES)
    }
    #[cfg(not(target_env = "gnu"))]
    {
        false
    }
}

/// Maps the first `len` bytes of `file` for reading. What the file does not have reads as zeros, and counts as a fault.
///
/// # Errors
/// What the system says; `OutOfMemory` if there are more maps than the handler can know.
pub(super) fn map_read_only(file: &File, len: u64) -> io::Result<View> {
    if len == 0 {
        return Ok(View::copied(Bytes::new()));
    }
    install()?;
    let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let (bytes, faults) = Guarded::map(file, len)?;
    let (to_share, more_faults) = Guarded::map(file, len)?;
    Ok(View { bytes, to_share, live: true, faults: ReadFaults([Some(faults), Some(more_faults)]) })
}

/// A map that the handler knows.
struct Guarded {
    // Dropped in this order: the handler forgets the addresses before anybody else can get them.
    _registration: Registration,
    map: Mmap,
}

impl Guarded {
    fn map(file: &File, len: usize) -> io::Result<(Bytes, FaultCount)> {
        // SAFETY: the map is read-only and the file belongs to one process (the lock file of its folder). Bytes below a
        // segment's published length never change again: frames are only appended, a torn tail is cut before anything is
        // published, and a segment is truncated only behind its published length. Readers slice below the published
        // length before they look, so no live reference covers memory that is still written to. Sealed segments are
        // unlinked, never truncated, and an unlinked file stays mapped. Should somebody else truncate the file, or the
        // disk fail, the page reads as zeros (`on_sigbus`); of mapped bytes nothing is believed but what a checksum of
        // the same bytes has just shown, and no value of them is relied on for memory safety.
        let map: Mmap = unsafe { MmapOptions::new().len(len).map(file)? };
        let registration =
            Registration::of(map.as_ptr().addr(), len).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let faults = registration.faults();
        Ok((Bytes::from_owner(Self { _registration: registration, map }), faults))
    }
}

impl AsRef<[u8]> for Guarded {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

/// Installs the handler, once.
fn install() -> io::Result<()> {
    let failed = || Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL));
    let installed = INSTALLED.get_or_init(|| {
        PAGE_BYTES.store(rustix::param::page_size(), Ordering::Relaxed);
        // SAFETY: a `sigaction` of zeros is a valid value (default action, empty mask). The call only writes the present
        // action to `previous`.
        let previous = unsafe {
            let mut previous: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut previous) != 0 {
                return failed();
            }
            previous
        };
        // Before ours is there, so that it finds whom to pass a fault on to.
        PREVIOUS.get_or_init(|| previous);
        // SAFETY: as above; `on_sigbus` has the signature that SA_SIGINFO asks for, and does only what a handler may: it
        // reads and writes atomics, calls `mmap`, `sigaction` and `raise`, and keeps `errno`. SA_ONSTACK: on threads
        // that have an alternative stack, it runs there.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_sigbus as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
            libc::sigemptyset(&raw mut action.sa_mask);
            if libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) != 0 {
                return failed();
            }
        }
        Ok(())
    });
    installed.map_err(io::Error::from_raw_os_error)
}

/// The handler. Nothing here may take a lock or allocate.
extern "C" fn on_sigbus(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid `siginfo_t`. `si_addr` reads a field of a union of plain
    // integers, which is only believed for codes that say it holds an address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr().addr()) };
    // A page that is not there or whose reading failed; or memory found broken while it was being read.
    let is_read_fault = code == libc::BUS_ADRERR || code == libc::BUS_MCEERR_AR;
    if is_read_fault && let Some(faults) = table::find(address) {
        // Counted first: whoever sees a zero of the new page, and then looks at the count, finds it changed.
        faults.fetch_add(1, Ordering::SeqCst);
        FAULTS.fetch_add(1, Ordering::Relaxed);
        if zero_page(address) {
            return;
        }
    }
    pass_on(signal, code, info, context);
}

/// Replaces the page at `address`, which lies in one of our maps, by zeros; `false` if the system refuses.
fn zero_page(address: usize) -> bool {
    let page_bytes = PAGE_BYTES.load(Ordering::Relaxed);
    let page = address & !(page_bytes - 1);
    // SAFETY: MAP_FIXED replaces whatever is mapped at `page`. The table names this address as part of a live map of
    // ours, and it cannot go meanwhile: maps are taken out of the table before they are unmapped, and the thread that
    // faulted is in the middle of a read through a reference that keeps its map alive. Maps begin on a page and own
    // their last page whole, so no neighbour is hit. The replaced page was not readable, so no reference is being read
    // through it; its new contents are zeros, plain bytes like any. `errno` belongs to this thread.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let at = ptr::with_exposed_provenance_mut(page);
        let mapped = libc::mmap(at, page_bytes, libc::PROT_READ, flags, -1, 0);
        *errno = before;
        mapped != libc::MAP_FAILED
    }
}

/// A signal that is not about our maps: what would have happened without us.
fn pass_on(signal: c_int, code: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let sent = code <= 0;
    let (handler, flags) = match PREVIOUS.get() {
        Some(previous) => (previous.sa_sigaction, previous.sa_flags),
        None => (libc::SIG_DFL, 0),
    };
    if handler == libc::SIG_IGN && sent {
        return;
    }
    // SAFETY: a handler that is neither SIG_DFL nor SIG_IGN is a function of the signature that its flags name; it gets
    // what the kernel gave us. Else the default action is restored: a fault happens again on return and ends the process
    // where it happened; a signal that somebody sent is sent again, and delivered on return.
    unsafe {
        if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = libc::SIG_DFL;
            libc::sigaction(signal, &raw const action, ptr::null_mut());
            if sent {
                libc::raise(signal);
            }
        } else if flags & libc::SA_SIGINFO != 0 {
            let call: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = std::mem::transmute(handler);
            call(signal, info, context);
        } else {
            let call: extern "C" fn(c_int) = std::mem::transmute(handler);
            call(signal);
        }
    }
}

/// Which pages of a file are in the page cache, found without touching any.
#[cfg(test)]
pub(super) fn cached_pages(file: &File) -> Vec<bool> {
    // SAFETY: nothing is read through this map.
    let map = unsafe { Mmap::map(file).unwrap() };
    let mut pages = vec![0_u8; map.len().div_ceil(rustix::param::page_size())];
    // SAFETY: `pages` has a byte for each page of the map.
    let asked = unsafe { libc::mincore(map.as_ptr().cast_mut().cast(), map.len(), pages.as_mut_ptr()) };
    assert_eq!(asked, 0);
    pages.iter().map(|page| page & 1 == 1).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    const PAGE: usize = 4096;

    fn file(pages: u8) -> File {
        let mut file = tempfile::tempfile().unwrap();
        for page in 0..pages {
            file.write_all(&[page + 1; PAGE]).unwrap();
        }
        file
    }

    #[test]
    fn a_page_that_is_gone_reads_as_zeros_and_is_counted() {
        let file = file(4);
        let view = map_read_only(&file, 4 * PAGE as u64).unwrap();
        assert_eq!((view.bytes[0], view.bytes[3 * PAGE], view.faults.get()), (1, 4, 0));
        let before = read_faults();
        file.set_len(2 * PAGE as u64 + 10).unwrap();
        // Zeros behind the end within the last page need no handler; the page behind it does.
        assert_eq!((view.bytes[2 * PAGE], view.bytes[2 * PAGE + 10], view.faults.get()), (3, 0, 0));
        assert_eq!((view.bytes[3 * PAGE], view.bytes[4 * PAGE - 1], view.faults.get()), (0, 0, 1));
        assert_eq!(view.bytes[PAGE], 2);
        assert!(read_faults() > before);
        // The page stays zero here; a new map shows what the file has now.
        file.set_len(0).unwrap();
        (&file).write_all(&[9; PAGE]).unwrap();
        assert_eq!(view.bytes[3 * PAGE], 0);
        let again = map_read_only(&file, PAGE as u64).unwrap();
        assert_eq!(again.faults.get(), 0);
    }

    #[test]
    fn what_is_sent_is_never_a_page_of_zeros() {
        let file = file(3);
        let view = map_read_only(&file, 3 * PAGE as u64).unwrap();
        assert_eq!(view.bytes[2 * PAGE], 3);
        let checked = view.to_share.slice(2 * PAGE..2 * PAGE + 100);
        file.set_len(PAGE as u64).unwrap();
        // Somebody else's read puts zeros into the map that is read.
        assert_eq!((view.bytes[2 * PAGE], view.faults.get()), (0, 1));
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let error = writer.write(&checked).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
        // Nothing went out.
        writer.write_all(b"x").unwrap();
        drop(writer);
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"x");
        // Not even our own touching it is death.
        assert_eq!((checked[0], view.faults.get()), (0, 2));
    }

    #[test]
    fn many_threads_fault_at_once_while_maps_come_and_go() {
        let file = file(64);
        let view = map_read_only(&file, 64 * PAGE as u64).unwrap();
        file.set_len(PAGE as u64).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let zeros = view.bytes.chunks(PAGE).filter(|page| page.iter().all(|&b| b == 0)).count();
                    assert_eq!(zeros, 63);
                });
                scope.spawn(|| {
                    for pages in 1..200 {
                        let other = map_read_only(&file, pages * PAGE as u64).unwrap();
                        assert_eq!(other.bytes[0], 1);
                        assert_eq!(other.bytes.last().copied(), Some(u8::from(pages == 1)));
                    }
                });
            }
        });
    }
}
