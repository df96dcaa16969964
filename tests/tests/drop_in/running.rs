//! A program with any command line, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sublog_tests::{RawClient, clock};
use tempfile::TempDir;

/// The program under test.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("SUBLOG_BINARY")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_sublog-under-test")), PathBuf::from)
}

/// Runs it to its end.
pub(crate) fn run(folder: &Path, args: &[&str]) -> Output {
    command(&binary(), folder).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
}

fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_remove("SUBLOG_CAPTURE").env("TMPDIR", folder).stdin(Stdio::null());
    command
}

/// A server; its standard error is in the file `stderr` of its folder.
pub(crate) struct Running {
    pub(crate) folder: TempDir,
    child: Child,
    /// Its ports file, once it is there.
    pub(crate) ports: Value,
}

impl Running {
    /// Starts `program` and waits for its ports file, in a folder `ports` or `other`.
    pub(crate) fn start(program: &Path, folder: TempDir, args: &[&str], env: &[(&str, &str)]) -> Result<Self, String> {
        let path = folder.path();
        for dir in ["ports", "other"] {
            std::fs::create_dir_all(path.join(dir)).unwrap();
        }
        let stderr = std::fs::File::create(path.join("stderr")).unwrap();
        let mut command = command(program, path);
        command.args(args).envs(env.iter().copied()).stdout(Stdio::null()).stderr(stderr);
        let child = command.spawn().unwrap();
        let mut running = Self { folder, child, ports: Value::Null };
        let end = clock::until(&format!("start of the server with {args:?}"), || {
            if let Some(status) = running.child.try_wait().unwrap() {
                return Some(Some(status));
            }
            let found = ["ports", "other"].iter().find_map(|dir| {
                let entry = std::fs::read_dir(running.folder.path().join(dir)).unwrap().next()?.unwrap();
                serde_json::from_str::<Value>(&std::fs::read_to_string(entry.path()).unwrap_or_default()).ok()
            });
            running.ports = found?;
            running.is_ready().then_some(None)
        });
        match end {
            None => Ok(running),
            Some(status) => Err(format!("{status}: {}", running.log())),
        }
    }

    /// Whether all has been said that is said at the start. Where the log goes elsewhere the ports file has to do.
    fn is_ready(&self) -> bool {
        let log = self.log();
        let has = |text: &str| log.contains(text);
        log.is_empty()
            || has("Server is ready") && has("sublog pub ") && (has("--capture=off") || has("sublog replay "))
    }

    /// What it has logged, in whichever file.
    pub(crate) fn log(&self) -> String {
        let entries = std::fs::read_dir(self.folder.path()).unwrap().flatten();
        let is_log = |entry: &std::fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            name == "stderr" || name.starts_with("out.log")
        };
        // One may be set aside just now.
        entries.filter(is_log).filter_map(|entry| std::fs::read_to_string(entry.path()).ok()).collect()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens: a port of the file, with its scheme taken off.
    pub(crate) fn address(&self, kind: &str) -> Option<std::net::SocketAddr> {
        self.ports[kind][0].as_str()?.split("//").nth(1)?.parse().ok()
    }

    pub(crate) fn raw(&self) -> RawClient {
        RawClient::connect(self.address("nats").unwrap())
    }

    pub(crate) fn client(&self) -> RawClient {
        let mut client = self.raw();
        client.hello(sublog_tests::client::CONNECT);
        client
    }

    pub(crate) fn page(&self, path: &str) -> Value {
        sublog_tests::http::json(self.address("monitoring").unwrap(), path)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its end, by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        clock::until("the end of the server", || self.child.try_wait().unwrap())
    }

    /// Waits until the log has this so many times.
    pub(crate) fn wait_for(&self, text: &str, times: usize) {
        clock::until(text, || (self.log().matches(text).count() >= times).then_some(()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
