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
use crate::tls;
use crate::wire::Connection;

/// How long a server may take to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(60);
const TRIES: u32 = 3;

/// A server and the way it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// nats-server with its defaults: nothing is recorded, and where a workload needs JetStream, nothing is synced
    /// before it is acknowledged.
    Nats,
    /// nats-server with `sync_interval: always`.
    NatsSynced,
    /// Sublog that records nothing.
    SublogOff,
    /// Sublog that records everything and syncs from time to time: a flush does not wait for the disk.
    SublogInterval,
    /// Sublog as it comes: a flush waits until everything published before is on disk.
    SublogAlways,
}

impl Variant {
    /// All variants, the reference first.
    pub(crate) const ALL: [Self; 5] =
        [Self::Nats, Self::NatsSynced, Self::SublogOff, Self::SublogInterval, Self::SublogAlways];

    /// Its name on the command line, in the table and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nats => "nats-server",
            Self::NatsSynced => "nats-synced",
            Self::SublogOff => "sublog-off",
            Self::SublogInterval => "sublog-interval",
            Self::SublogAlways => "sublog-always",
        }
    }

    /// Whether it records what is published, so that it can be replayed.
    pub(crate) fn records(self) -> bool {
        matches!(self, Self::SublogInterval | Self::SublogAlways)
    }

    /// Whether it is nats-server, however started.
    pub(crate) fn is_nats(self) -> bool {
        matches!(self, Self::Nats | Self::NatsSynced)
    }

    /// What it is started with; `folder` is its own.
    fn arguments(self, setup: Setup, folder: &Path) -> Result<Vec<String>> {
        let data = folder.join("data").display().to_string();
        let mode: &[&str] = match self {
            Self::Nats if setup.jetstream => &["-js", "-sd", &data],
            Self::Nats => &[],
            Self::NatsSynced => {
                let file = folder.join("nats.conf");
                let text = format!("jetstream {{ store_dir: '{data}', sync_interval: always }}\n");
                fs::write(&file, text).during("writing a configuration")?;
                &["-c", "nats.conf"]
            }
            Self::SublogOff => &["-sd", &data, "--capture", "off"],
            Self::SublogInterval => &["-sd", &data, "--sync", "interval"],
            Self::SublogAlways => &["-sd", &data, "--sync", "always"],
        };
        let mut arguments: Vec<String> = mode.iter().map(|word| (*word).to_owned()).collect();
        if setup.tls {
            arguments.extend(tls::server_arguments()?);
        }
        if setup.users {
            let hash = bcrypt::hash(PASSWORD, BCRYPT_COST).map_err(|error| BenchError::Setup(error.to_string()))?;
            let text = format!("authorization {{ users = [{{ user: {USER}, password: \"{hash}\" }}] }}\n");
            fs::write(folder.join("users.conf"), text).during("writing a configuration")?;
            arguments.extend(["-c".to_owned(), "users.conf".to_owned()]);
        }
        Ok(arguments)
    }
}

/// Who logs in where that is wanted.
pub(crate) const USER: &str = "bench";
/// As long as `nats server passwd` wants it.
pub(crate) const PASSWORD: &str = "a-password-of-no-use-elsewhere";
/// The cost that `nats server passwd` chooses.
const BCRYPT_COST: u32 = 11;

/// What a workload wants of a server beside its defaults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Setup {
    /// JetStream. Sublog has it anyway.
    pub(crate) jetstream: bool,
    /// Client connections are encrypted.
    pub(crate) tls: bool,
    /// Clients log in with a password that the server knows the bcrypt of.
    pub(crate) users: bool,
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
    /// Whether connections are encrypted.
    pub(crate) tls: bool,
    /// Whether clients have to log in.
    pub(crate) users: bool,
    /// How long a silence is tolerated.
    pub(crate) stall: Duration,
}

/// How a server is started, and again after a stop.
#[derive(Debug)]
pub(crate) struct Launch {
    /// Which server, and its mode.
    pub(crate) variant: Variant,
    /// What the workload wants.
    pub(crate) setup: Setup,
    /// Its program.
    pub(crate) binary: PathBuf,
    /// A folder of its own, for its data and its log.
    pub(crate) folder: PathBuf,
    /// How long a silence is tolerated.
    pub(crate) stall: Duration,
}

/// A running server of ours; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    launch: Launch,
    child: Child,
    target: Target,
}

impl Server {
    /// Starts a server with fresh data in its folder, which must not exist, and waits until it greets a client.
    ///
    /// # Errors
    /// It cannot be started, ends at once, or does not greet within a minute.
    pub(crate) fn start(launch: Launch) -> Result<Self> {
        fs::create_dir(&launch.folder).during(format!("making {}", launch.folder.display()))?;
        let (child, target) = launch.run()?;
        Ok(Self { launch, child, target })
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
        (self.child, self.target) = self.launch.run()?;
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
            eprintln!("sublog-bench: {}: {error}", self.launch.variant.name());
        }
        if let Err(error) = fs::remove_dir_all(&self.launch.folder) {
            eprintln!("sublog-bench: could not remove {}: {error}", self.launch.folder.display());
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

impl Launch {
    fn run(&self) -> Result<(Child, Target)> {
        let mut last = None;
        for _ in 0..TRIES {
            // Between finding a port free and using it, somebody else may take it: hence the tries.
            let (port, monitor) = free_ports()?;
            let mut child = self.spawn(port, monitor)?;
            let target = Target {
                port,
                monitor: Some(monitor),
                pid: child.id(),
                records: self.variant.records(),
                tls: self.setup.tls,
                users: self.setup.users,
                stall: self.stall,
            };
            match greeted(&mut child, &self.folder, target) {
                Ok(()) => return Ok((child, target)),
                Err(error) => {
                    end(&mut child)?;
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| BenchError::Setup("no try was made".into())))
    }

    fn spawn(&self, port: u16, monitor: u16) -> Result<Child> {
        let log = File::create(self.folder.join("server.log")).during("making server.log")?;
        let errors = log.try_clone().during("making server.log")?;
        let child = Command::new(&self.binary)
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-m", &monitor.to_string()])
            .args(self.variant.arguments(self.setup, &self.folder)?)
            .current_dir(&self.folder)
            // A group of its own, so that whatever it starts can be ended with it.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .during(format!("starting {}", self.binary.display()))?;
        cleanup::watch(&child);
        Ok(child)
    }
}

/// Waits until a client is greeted by `child`.
fn greeted(child: &mut Child, folder: &Path, target: Target) -> Result<()> {
    let deadline = now() + PATIENCE;
    loop {
        if let Some(status) = cleanup::reap(child)? {
            return Err(BenchError::Setup(format!("the server ended at once, {status}: {}", log_tail(folder))));
        }
        match Connection::open(target, 8192) {
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
