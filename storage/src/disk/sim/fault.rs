//! Planned failures: the k-th call of a kind fails.

use std::io;

use rustix::io::Errno;

/// Kinds of calls that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Opening or creating a file.
    Open,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Reserving space or setting a length.
    Allocate,
    /// Syncing a file.
    Sync,
    /// Syncing a folder.
    SyncDir,
    /// Removing or renaming a file.
    Remove,
    /// Mapping a file.
    View,
}

impl Call {
    /// All kinds.
    pub const ALL: [Self; 8] =
        [Self::Open, Self::Read, Self::Write, Self::Allocate, Self::Sync, Self::SyncDir, Self::Remove, Self::View];
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// EIO. A failed sync drops what it should have written and answers well the next time.
    Io,
    /// ENOSPC; part of a write may have happened.
    NoSpace,
    /// A write that writes less than asked. Of other calls: nothing happens.
    Short,
}

impl Fault {
    /// The error that the call answers.
    pub(super) fn error(self) -> io::Error {
        let errno = match self {
            Self::NoSpace => Errno::NOSPC,
            Self::Io | Self::Short => Errno::IO,
        };
        io::Error::from_raw_os_error(errno.raw_os_error())
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    plan: Option<Plan>,
    counts: [u64; Call::ALL.len()],
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    call: Call,
    k: u64,
    times: u64,
    fault: Fault,
}

impl Faults {
    pub(super) fn plan(&mut self, call: Call, k: u64, times: u64, fault: Fault) {
        self.plan = Some(Plan { call, k, times, fault });
        self.counts = Default::default();
    }

    pub(super) fn calls(&self, call: Call) -> u64 {
        self.counts.get(call as usize).copied().unwrap_or(0)
    }

    /// Counts a call; the fault it meets, if one is due.
    pub(super) fn take(&mut self, call: Call) -> Option<Fault> {
        let count = self.counts.get_mut(call as usize)?;
        *count += 1;
        let plan = self.plan.filter(|plan| plan.call == call)?;
        (*count >= plan.k && *count < plan.k + plan.times).then_some(plan.fault)
    }

    /// Like [`Faults::take`] for calls that cannot be cut short.
    pub(super) fn check(&mut self, call: Call) -> io::Result<()> {
        match self.take(call) {
            Some(fault) if fault != Fault::Short => Err(fault.error()),
            _ => Ok(()),
        }
    }
}
