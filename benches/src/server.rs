//! Starts the servers under test, each with fresh data on free ports, and stops them by their id.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::cleanup;
use crate::clock::now;
use crate::error::{BenchError, During as _, Result};
use crate::wire::Connection;

/// How long a server may take to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(60);
const TRIES: u32 = 3;

/// A server and the way it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// nats-server with its defaults: nothing is recorded.
    Nats,
    /// Sublog that records nothing.
    SublogOff,
    /// Sublog that records everything and syncs from time to time: a flush does not wait for the disk.
    SublogInterval,
    /// Sublog as it comes: a flush waits until everything published before is on disk.
    SublogAlways,
}

impl Variant {
    /// All variants, the reference first.
    pub(crate) const ALL: [Self; 4] = [Self::Nats, Self::SublogOff, Self::SublogInterval, Self::SublogAlways];

    /// Its name on the command line, in the table and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nats => "nats-server",
            Self::SublogOff => "sublog-off",
            Self::SublogInterval => "sublog-interval",
            Self::SublogAlways => "sublog-always",
        }
    }

    /// Whether it records what is published, so that it can be replayed.
    pub(crate) fn records(self) -> bool {
        matches!(self, Self::SublogInterval | Self::SublogAlways)
    }

    fn arguments(self, data: &Path) -> Vec<String> {
        let mode: &[&str] = match self {
            Self::Nats => return Vec::new(),
            Self::SublogOff => &["--capture", "off"],
            Self::SublogInterval => &["--sync", "interval"],
            Self::SublogAlways => &["--sync", "always"],
        };
        let store = ["-sd".to_owned(), data.display().to_string()];
        store.into_iter().chain(mode.iter().map(|word| (*word).to_owned())).collect()
    }
}

/// Where a server can be reached and watched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// Port of the NATS listener on 127.0.0.1.
    pub(crate) port: u16,
    /// Port of the monitoring listener on 127.0.0.1; `None`: counts are not compared with the server's own.
    pub(crate) monitor: Option<u16>,
    /// The server's process id.
    pub(crate) pid: u32,
    /// Whether it records what is published.
    pub(crate) records: bool,
    /// How long a silence is tolerated.
    pub(crate) stall: Duration,
}

/// A running server of ours; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    variant: Variant,
    binary: PathBuf,
    folder: PathBuf,
    stall: Duration,
    child: Child,
    target: Target,
}

impl Server {
    /// Starts a server with fresh data in `folder`, which must not exist, and waits until it greets a client.
    ///
    /// # Errors
    /// It cannot be started, ends at once, or does not greet within a minute.
    pub(crate) fn start(variant: Variant, binary: &Path, folder: PathBuf, stall: Duration) -> Result<Self> {
        fs::create_dir(&folder).during(format!("making {}", folder.display()))?;
        let (child, target) = launch(variant, binary, &folder, stall)?;
        Ok(Self { variant, binary: binary.to_owned(), folder, stall, child, target })
    }

    /// Where it can be reached and watched.
    pub(crate) fn target(&self) -> Target {
        self.target
    }

    /// Asks it to end, waits for that, and starts it again on the same data. Returns how long the start took.
    ///
    /// # Errors
    /// As [`Server::start`] and [`Server::stop`].
    pub(crate) fn restart(&mut self) -> Result<Duration> {
        self.stop()?;
        let begun = now();
        (self.child, self.target) = launch(self.variant, &self.binary, &self.folder, self.stall)?;
        Ok(begun.elapsed())
    }

    /// Asks it to end and waits for that.
    ///
    /// # Errors
    /// It did not end within a minute and was killed.
    pub(crate) fn stop(&mut self) -> Result<()> {
        if end(&mut self.child)? { Ok(()) } else { Err(BenchError::Setup("the server did not end when asked".into())) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("sublog-bench: {}: {error}", self.variant.name());
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("sublog-bench: could not remove {}: {error}", self.folder.display());
        }
    }
}

/// Ends a child: politely, then not. Says whether the polite way was enough; a child that had ended is fine.
fn end(child: &mut Child) -> Result<bool> {
    for (signal, patience) in [(Signal::TERM, PATIENCE), (Signal::KILL, PATIENCE)] {
        if cleanup::reap(child)?.is_some() {
            return Ok(signal == Signal::TERM);
        }
        cleanup::signal(child.id(), signal);
        let deadline = now() + patience;
        while now() < deadline {
            if cleanup::reap(child)?.is_some() {
                return Ok(signal == Signal::TERM);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(false)
}

fn launch(variant: Variant, binary: &Path, folder: &Path, stall: Duration) -> Result<(Child, Target)> {
    let mut last = None;
    for _ in 0..TRIES {
        // Between finding a port free and using it, somebody else may take it: hence the tries.
        let (port, monitor) = free_ports()?;
        let mut child = spawn(variant, binary, folder, port, monitor)?;
        match greeted(&mut child, folder, port, stall) {
            Ok(()) => {
                let pid = child.id();
                let target = Target { port, monitor: Some(monitor), pid, records: variant.records(), stall };
                return Ok((child, target));
            }
            Err(error) => {
                end(&mut child)?;
                last = Some(error);
            }
        }
    }
    Err(last.unwrap_or_else(|| BenchError::Setup("no try was made".into())))
}

fn spawn(variant: Variant, binary: &Path, folder: &Path, port: u16, monitor: u16) -> Result<Child> {
    let log = File::create(folder.join("server.log")).during("making server.log")?;
    let errors = log.try_clone().during("making server.log")?;
    let child = Command::new(binary)
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-m", &monitor.to_string()])
        .args(variant.arguments(&folder.join("data")))
        .current_dir(folder)
        // A group of its own, so that whatever it starts can be ended with it.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .during(format!("starting {}", binary.display()))?;
    cleanup::watch(&child);
    Ok(child)
}

/// Waits until a client is greeted by `child`.
fn greeted(child: &mut Child, folder: &Path, port: u16, stall: Duration) -> Result<()> {
    let deadline = now() + PATIENCE;
    loop {
        if let Some(status) = cleanup::reap(child)? {
            return Err(BenchError::Setup(format!("the server ended at once, {status}: {}", log_tail(folder))));
        }
        match Connection::open(port, 8192, stall) {
            Ok(_) => return is_the_server(child),
            Err(error) if now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// A wrapper script that stays between would be measured instead of the server.
fn is_the_server(child: &Child) -> Result<()> {
    let program = fs::read_link(format!("/proc/{}/exe", child.id())).during("finding the server's program")?;
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    if ["sh", "bash", "dash"].contains(&&*name) || name.starts_with("python") {
        let text = format!("that binary is a script that {name} keeps running; give the server's own binary");
        return Err(BenchError::Setup(text));
    }
    Ok(())
}

fn log_tail(folder: &Path) -> String {
    let text = fs::read(folder.join("server.log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(3)).copied().collect::<Vec<_>>().join(" / ")
}

fn free_ports() -> Result<(u16, u16)> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("finding a free port");
    // Both at once, so that they differ.
    let (first, second) = (listen()?, listen()?);
    let port = |listener: &TcpListener| Ok(listener.local_addr().during("finding a free port")?.port());
    Ok((port(&first)?, port(&second)?))
}
