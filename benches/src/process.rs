//! What the kernel says about a process: CPU time, memory by kind, system calls and bytes written.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::error::{BenchError, During as _, Result};

/// Counters of a process since its start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// User and system time of all threads, living and ended.
    pub(crate) cpu: Duration,
    /// System calls that write (`write`, `writev`, `pwrite`; not `send` on every kernel).
    pub(crate) write_calls: u64,
    /// Bytes that the process caused to be written to storage.
    pub(crate) disk_write_bytes: u64,
}

/// Resident memory by kind, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The process's own: heap and stacks.
    pub(crate) anon_bytes: u64,
    /// Pages of mapped files; the kernel takes them back when it needs memory.
    pub(crate) file_bytes: u64,
}

/// Reads the counters of a process.
///
/// # Errors
/// The process is gone, or `/proc` is not readable.
pub(crate) fn usage(pid: u32) -> Result<Usage> {
    let stat = read(pid, "stat")?;
    let io = read(pid, "io")?;
    Ok(Usage {
        cpu: cpu_of(&stat).ok_or_else(|| BenchError::Setup(format!("/proc/{pid}/stat reads {stat:?}")))?,
        write_calls: field(&io, "syscw:").unwrap_or(0),
        disk_write_bytes: field(&io, "write_bytes:").unwrap_or(0),
    })
}

/// Reads the resident memory of a process.
///
/// # Errors
/// The process is gone, or `/proc` is not readable.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let status = read(pid, "status")?;
    let kib = |name| field(&status, name).unwrap_or(0) * 1024;
    Ok(Memory { anon_bytes: kib("RssAnon:"), file_bytes: kib("RssFile:") + kib("RssShmem:") })
}

/// CPU time of this process, all threads.
pub(crate) fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn read(pid: u32, file: &str) -> Result<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}")).during(format!("reading /proc/{pid}/{file}"))
}

/// User and system time in `/proc/<pid>/stat`. The program's name, in brackets, may hold anything, brackets too.
fn cpu_of(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    // utime and stime are fields 14 and 15; the first one after the name is field 3.
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let ticks = (user + system) as f64;
    Some(Duration::from_secs_f64(ticks / rustix::param::clock_ticks_per_second() as f64))
}

/// The number that follows a name at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_program_name() {
        let ticks = rustix::param::clock_ticks_per_second();
        let stat = format!("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 {ticks} {} 0 0 20", 2 * ticks);
        assert_eq!(cpu_of(&stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu_of("7 (a S 1"), None);
        assert_eq!(cpu_of("7 (a) S 1"), None);
    }

    #[test]
    fn fields_are_found_by_whole_name() {
        let io = "rchar: 1\nsyscw: 22\nwrite_bytes: 4096\ncancelled_write_bytes: 5\n";
        assert_eq!((field(io, "syscw:"), field(io, "write_bytes:"), field(io, "none:")), (Some(22), Some(4096), None));
    }

    #[test]
    fn this_process_uses_cpu_and_memory() {
        let pid = std::process::id();
        let before = own_cpu();
        let mut sum = 0_u64;
        while own_cpu() < before + Duration::from_millis(30) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        // The kernel counts in ticks there, in nanoseconds here.
        assert!(usage(pid).unwrap().cpu + Duration::from_millis(20) >= Duration::from_millis(30));
        assert!(memory(pid).unwrap().anon_bytes > 100_000);
        assert!(usage(u32::MAX).is_err());
    }
}
