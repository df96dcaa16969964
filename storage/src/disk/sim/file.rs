//! An open file of a simulated disk.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::fault::{Call, Fault};
use super::{SimDisk, State, no_such_file};
use crate::disk::{DiskFile, View};

#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) inode: usize,
    pub(super) life: u64,
    /// It reads what is on stable storage.
    pub(super) medium: bool,
    /// This handle has the file's lock.
    pub(super) holds: AtomicBool,
}

impl SimFile {
    fn with<T>(&self, f: impl FnOnce(&mut State, usize) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state.lock();
        if state.life != self.life {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
        }
        f(&mut state, self.inode)
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|state, i| Ok(state.inodes.get(i).map_or(0, |inode| inode.cache.len() as u64)))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|state, i| {
            state.faults.check(Call::Read)?;
            Ok(state.inodes.get(i).map_or(0, |inode| inode.read_at(buf, offset, self.medium)))
        })
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.with(|state, i| {
            let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            state.tick();
            let fault = state.faults.take(Call::Write);
            let mut len = bytes.len();
            if fault.is_some() {
                // Whatever the call answers, some of it is in the page cache.
                len = crate::format::index64(state.chance.below(bytes.len() as u64));
            }
            if fault == Some(Fault::Short) {
                // A short write says truly how much it wrote, and that is not nothing.
                len = len.max(1).min(bytes.len());
            }
            let used = state.used();
            let Some(inode) = state.inodes.get_mut(i) else { return Err(no_such_file()) };
            let grows = (offset + len as u64).saturating_sub(inode.cache.len() as u64);
            if used + grows > state.space {
                return Err(Fault::NoSpace.error());
            }
            inode.write_at(bytes.get(..len).unwrap_or_default(), offset);
            match fault {
                Some(Fault::Short) => Ok(len),
                Some(fault) => Err(fault.error()),
                None => Ok(len),
            }
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.with(|state, i| {
            state.tick();
            state.faults.check(Call::Allocate)?;
            let used = state.used();
            let Some(inode) = state.inodes.get_mut(i) else { return Err(no_such_file()) };
            let grows = len.saturating_sub(inode.cache.len() as u64);
            if used + grows > state.space {
                return Err(Fault::NoSpace.error());
            }
            if grows > 0 {
                inode.set_len(len);
            }
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|state, i| {
            state.tick();
            state.faults.check(Call::Allocate)?;
            state.inodes.get_mut(i).map(|inode| inode.set_len(len)).ok_or_else(no_such_file)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state, i| {
            state.tick();
            let fault = state.faults.take(Call::Sync);
            let chance = &mut state.chance;
            let Some(inode) = state.inodes.get_mut(i) else { return Err(no_such_file()) };
            match fault {
                Some(fault @ (Fault::Io | Fault::NoSpace)) => {
                    inode.fail_sync(chance);
                    Err(fault.error())
                }
                Some(Fault::Short) | None => {
                    inode.sync();
                    Ok(())
                }
            }
        })
    }

    fn view(&self, len: u64) -> io::Result<View> {
        self.with(|state, i| {
            state.faults.check(Call::View)?;
            let inode = state.inodes.get(i).ok_or_else(no_such_file)?;
            let len = crate::format::index64(len);
            let mut bytes = inode.cache.get(..len).unwrap_or(&inode.cache).to_vec();
            bytes.resize(len, 0);
            Ok(View::copied(Bytes::from(bytes)))
        })
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.with(|state, i| {
            let inode = state.inodes.get_mut(i).ok_or_else(no_such_file)?;
            let got = !std::mem::replace(&mut inode.locked, true);
            self.holds.fetch_or(got, Ordering::Relaxed);
            Ok(got)
        })
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if !self.holds.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.disk.state.lock();
        if state.life == self.life
            && let Some(inode) = state.inodes.get_mut(self.inode)
        {
            inode.locked = false;
        }
    }
}
