//! Leaves nothing behind when the run is interrupted: ends the servers it started, by their id, and removes its folder.

use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpid};

use crate::error::{BenchError, During as _, Result};

#[derive(Debug, Default)]
struct Leftovers {
    servers: Vec<u32>,
    folder: Option<PathBuf>,
}

static LEFTOVERS: Mutex<Leftovers> = Mutex::new(Leftovers { servers: Vec::new(), folder: None });

fn leftovers() -> MutexGuard<'static, Leftovers> {
    LEFTOVERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on an interrupt or a request to terminate ends the servers, removes `folder`, and ends this process.
///
/// # Errors
/// The signal handler could not be installed.
pub(crate) fn on_interrupt(folder: PathBuf) -> Result<()> {
    leftovers().folder = Some(folder);
    ctrlc::set_handler(|| {
        // Held to the end, so that nobody reaps a server meanwhile and its id cannot become another process's.
        let left = leftovers();
        for pid in &left.servers {
            signal(*pid, Signal::KILL);
            // Gone before its folder is removed, and no zombie where nobody adopts orphans.
            let _ended = waitpid(id(*pid), WaitOptions::empty());
        }
        if let Some(folder) = &left.folder
            && let Err(error) = std::fs::remove_dir_all(folder)
        {
            eprintln!("sublog-bench: could not remove {}: {error}", folder.display());
        }
        std::process::exit(130);
    })
    .map_err(|error| BenchError::Setup(format!("installing the signal handler: {error}")))
}

/// Remembers a server that must not survive this process.
pub(crate) fn watch(server: &Child) {
    leftovers().servers.push(server.id());
}

/// The exit status of a watched server if it has ended, which is then forgotten.
///
/// # Errors
/// The system does not know the process.
pub(crate) fn reap(server: &mut Child) -> Result<Option<ExitStatus>> {
    let mut left = leftovers();
    let status = server.try_wait().during("waiting for a server")?;
    if status.is_some() {
        left.servers.retain(|pid| *pid != server.id());
    }
    Ok(status)
}

/// Sends a signal to a server of ours that was not reaped yet and to all that it started, for each server leads a
/// process group; one that has ended does not mind.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = id(pid) {
        // Fails only for processes that have ended, which is what was wanted.
        let _ended = kill_process_group(pid, signal);
    }
}

fn id(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}
