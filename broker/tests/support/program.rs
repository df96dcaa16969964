//! The real program in tests of its command line: folders, a server on a free port, commands that speak to it.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "shared by several tests, of which not every one uses everything; a test that fails may panic anywhere"
)]

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn sublog() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sublog"));
    command.env_remove("NATS_URL").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A folder of one test, empty at its start and removed at its end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server on a free port.
pub(crate) struct Server {
    child: Child,
    pub(crate) folder: Folder,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start(name: &str, flags: &[&str]) -> Self {
        Self::start_in(Path::new("data"), name, flags)
    }

    /// With a data directory of the test's own, which stays.
    pub(crate) fn start_in(data: &Path, name: &str, flags: &[&str]) -> Self {
        let folder = Folder::new(name);
        let child = sublog()
            .current_dir(&folder.0)
            .args(["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", ".", "-l", "log"])
            .arg("-sd")
            .arg(data)
            .args(["--disk-reserve", "0"])
            .args(flags)
            .spawn()
            .unwrap();
        let ports = folder.0.join(format!("sublog_{}.ports", child.id()));
        let mut server = Self { child, folder, url: String::new() };
        let deadline = Instant::now() + PATIENCE;
        while server.url.is_empty() {
            let text = std::fs::read_to_string(&ports).unwrap_or_default();
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
                value["nats"][0].as_str().unwrap().clone_into(&mut server.url);
            }
            assert!(server.child.try_wait().unwrap().is_none(), "the server ended: {}", server.log());
            assert!(Instant::now() < deadline, "the server does not start: {}", server.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end that somebody else has brought about.
    pub(crate) fn ended(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.0.join("log")).unwrap_or_default()
    }

    pub(crate) fn command<I: AsRef<OsStr>>(&self, args: &[I]) -> Command {
        let mut command = sublog();
        command.args(args).env("NATS_URL", &self.url).current_dir(&self.folder.0);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must succeed, and returns its stdout.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", error(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn feed(&self, args: &[&str], input: &[u8]) -> Output {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Ends the server in order.
    pub(crate) fn stop(mut self) -> Folder {
        interrupt(&self.child);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
        std::mem::replace(&mut self.folder, Folder(PathBuf::new()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

pub(crate) fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn code(output: &Output) -> Option<i32> {
    output.status.code()
}
