//! Many connections that do nothing: what they cost in memory.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::cli::Options;
use crate::clock::now;
use crate::crew::{go_on, joined, part};
use crate::error::{BenchError, Result, gather};
use crate::figure::{Figure, Unit, rate};
use crate::process::{Memory, memory};
use crate::server::Target;
use crate::wire::{Connection, Delivered};

/// Threads that open connections.
const OPENERS: u32 = 4;
const SUBJECT: &str = "bench.idle";

/// Opens `--connections`, each with a subscription of its own, waits until the server's memory is steady, and then
/// proves that each still gets its messages.
///
/// # Errors
/// A connection failed, or this process may not open so many files.
pub(crate) fn run(target: Target, options: &Options) -> Result<Vec<Figure>> {
    may_open(u64::from(options.connections))?;
    let before = steady_memory(target.pid)?;
    let aborted = AtomicBool::new(false);
    let begun = now();
    let outcomes = std::thread::scope(|scope| {
        let aborted = &aborted;
        let threads = (0..OPENERS).map(|first| {
            let numbers = (first..options.connections).step_by(OPENERS as usize);
            scope.spawn(move || part(aborted, || numbers.map(|number| open(target, number, aborted)).collect()))
        });
        joined::<Vec<(u32, Connection)>>(threads.collect())
    });
    let mut connections: Vec<(u32, Connection)> = gather(outcomes)?.into_iter().flatten().collect();
    let elapsed = begun.elapsed();
    let after = steady_memory(target.pid)?;
    prove_alive(target, &mut connections)?;

    let count = connections.len() as u64;
    let each = after.anon_bytes.saturating_sub(before.anon_bytes) as f64 / count.max(1) as f64 / 1024.0;
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(vec![
        Figure::new("memory each", Unit::Kibibytes, each),
        Figure::new("server memory", Unit::Mebibytes, mebibytes(after.anon_bytes)),
        Figure::new("without connections", Unit::Mebibytes, mebibytes(before.anon_bytes)),
        Figure::aside("server mapped files", Unit::Mebibytes, mebibytes(after.file_bytes)),
        Figure::aside("opened", Unit::PerSecond, rate(count, elapsed)),
    ])
}

/// Refuses what the limit on open files does not allow, of which the server needs as many.
fn may_open(connections: u64) -> Result<()> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    match limit {
        Some(limit) if limit < connections + 64 => {
            let text = format!("{connections} connections need more than the {limit} open files allowed (ulimit -n)");
            Err(BenchError::Setup(text))
        }
        _ => Ok(()),
    }
}

fn open(target: Target, number: u32, aborted: &AtomicBool) -> Result<(u32, Connection)> {
    go_on(aborted)?;
    let mut connection = Connection::open(target, 1024)?;
    connection.send(format!("SUB {SUBJECT}.{number} 1\r\n").as_bytes())?;
    connection.flush()?;
    Ok((number, connection))
}

/// Memory once it has changed by less than one percent in half a second, or after ten seconds.
///
/// # Errors
/// The process is gone.
pub(super) fn steady_memory(pid: u32) -> Result<Memory> {
    let mut last = memory(pid)?;
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(500));
        let next = memory(pid)?;
        if next.anon_bytes.abs_diff(last.anon_bytes) * 100 < last.anon_bytes {
            return Ok(next);
        }
        last = next;
    }
    Ok(last)
}

/// Sends every connection its own number.
fn prove_alive(target: Target, connections: &mut [(u32, Connection)]) -> Result<()> {
    let mut publisher = Connection::open(target, 4096)?;
    let mut out = Vec::new();
    for (number, _) in connections.iter() {
        let payload = number.to_string();
        out.extend_from_slice(format!("PUB {SUBJECT}.{number} {}\r\n{payload}\r\n", payload.len()).as_bytes());
    }
    publisher.send(&out)?;
    publisher.flush()?;
    let never = AtomicBool::new(false);
    for (number, connection) in connections {
        let mut got = 0;
        while got == 0 {
            connection.pump(None, &never, "waiting for an idle connection's message", &mut |message: Delivered<
                '_,
            >| {
                got += 1;
                if message.payload == number.to_string().as_bytes() {
                    return Ok(());
                }
                Err(BenchError::Wrong(format!("connection {number} got another's message")))
            })?;
        }
        if got > 1 {
            return Err(BenchError::Wrong(format!("connection {number} got its message {got} times")));
        }
    }
    Ok(())
}
