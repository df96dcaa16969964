//! A server as a child process, on a free port and a data directory that goes away with it.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::clock::{self, PATIENCE};
use crate::{RawClient, http};

/// Names another binary to test, for instance the released one.
const BINARY_VARIABLE: &str = "SUBLOG_BINARY";
/// How many lines of the server's log a failed test shows.
const LOG_LINES_SHOWN: usize = 60;

/// What the server has written to stderr so far.
#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

/// A running (or killed, or stopped) server; dropping it kills the process.
#[derive(Debug)]
pub struct TestServer {
    binary: PathBuf,
    args: Vec<String>,
    data: PathBuf,
    /// Removes the data directory in the end, unless the test brought its own.
    _temp: Option<TempDir>,
    port: u16,
    monitor: Option<SocketAddr>,
    child: Option<Child>,
    log: Arc<Log>,
}

impl TestServer {
    /// Starts `binary` on a free port with `args` besides; `-m -1` among them opens [`TestServer::monitor`].
    ///
    /// # Panics
    /// The server does not come up.
    #[must_use]
    pub fn start(binary: &str, args: &[&str]) -> Self {
        let temp = TempDir::with_prefix("sublog-test-").expect("a temporary directory");
        let data = temp.path().join("data");
        Self::launch_first(binary, args, data, Some(temp))
    }

    /// As [`TestServer::start`], on a data directory of the caller's.
    ///
    /// # Panics
    /// The server does not come up.
    #[must_use]
    pub fn start_in(binary: &str, args: &[&str], data: &Path) -> Self {
        Self::launch_first(binary, args, data.to_owned(), None)
    }

    fn launch_first(binary: &str, args: &[&str], data: PathBuf, temp: Option<TempDir>) -> Self {
        let binary = std::env::var_os(BINARY_VARIABLE).map_or_else(|| PathBuf::from(binary), PathBuf::from);
        let mut server = Self {
            binary,
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            data,
            _temp: temp,
            port: 0,
            monitor: None,
            child: None,
            log: Arc::new(Log::default()),
        };
        server.launch();
        server
    }

    fn launch(&mut self) {
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        self.log = Arc::new(Log::default());
        let mut child = Command::new(&self.binary)
            .args(["-a", "127.0.0.1", "-p", &port, "-sd"])
            .arg(&self.data)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.binary.display()));
        let stderr = child.stderr.take().expect("stderr is piped");
        self.child = Some(child);
        let log = self.log.clone();
        // Ends by itself when the process is gone.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { return };
                log.lines.lock().unwrap().push(line);
                log.grown.notify_all();
            }
        });
        let listening = self.log_line("Listening for client connections on ");
        self.port = port_in(&listening);
        self.log_line("Server is ready");
        self.monitor = self
            .log_has("Starting http monitor on ")
            .map(|line| SocketAddr::from((Ipv4Addr::LOCALHOST, port_in(&line))));
    }

    /// Starts again on the same port and data after [`TestServer::kill9`] or [`TestServer::stop`].
    ///
    /// # Panics
    /// It is still running, or does not come up.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "the server is still running");
        self.launch();
    }

    /// As [`TestServer::restart`], with other arguments.
    ///
    /// # Panics
    /// It is still running, or does not come up.
    pub fn restart_with(&mut self, args: &[&str]) {
        self.args = args.iter().map(|&arg| arg.to_owned()).collect();
        self.restart();
    }

    /// Kills the process without a chance to tidy up.
    ///
    /// # Panics
    /// It is not running.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        child.kill().expect("a running process can be killed");
        child.wait().expect("a killed process ends");
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// It is not running.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).expect("a running process takes signals");
    }

    /// Waits for the process to end by itself.
    ///
    /// # Panics
    /// It does not.
    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the server runs");
        let status = clock::until("end of the server", || child.try_wait().unwrap());
        assert!(child.try_wait().unwrap().is_some());
        status
    }

    /// Ends the server as an operator does (TERM).
    ///
    /// # Panics
    /// It does not end, or not with exit code 0.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "the server ended with {status}: {:#?}", self.log());
    }

    /// The process id.
    ///
    /// # Panics
    /// It is not running.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The same as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A client that has read INFO and said nothing.
    #[must_use]
    pub fn raw(&self) -> RawClient {
        RawClient::connect(self.address())
    }

    /// A client that has said the CONNECT most tests want (quiet, with headers).
    #[must_use]
    pub fn client(&self) -> RawClient {
        let mut client = self.raw();
        client.hello(crate::client::CONNECT);
        client
    }

    /// A page of the monitoring port.
    ///
    /// # Panics
    /// The server was started without one.
    #[must_use]
    pub fn monitor(&self, path: &str) -> Value {
        http::json(self.monitor_address(), path)
    }

    /// Where monitoring answers.
    ///
    /// # Panics
    /// The server was started without it.
    #[must_use]
    pub fn monitor_address(&self) -> SocketAddr {
        self.monitor.expect("the server was started with -m -1")
    }

    /// The log so far.
    ///
    /// # Panics
    /// A thread that held the log's lock has panicked.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.lines.lock().unwrap().clone()
    }

    /// A line of the log that holds `text`, if there is one yet.
    #[must_use]
    pub fn log_has(&self, text: &str) -> Option<String> {
        self.log().into_iter().find(|line| line.contains(text))
    }

    /// Waits for a line of the log that holds `text`.
    ///
    /// # Panics
    /// None comes, or the process ends before one did.
    pub fn log_line(&mut self, text: &str) -> String {
        let deadline = clock::now() + PATIENCE;
        let log = self.log.clone();
        let mut lines = log.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let ended = self.child.as_mut().map(|child| child.try_wait().unwrap());
            if let Some(Some(status)) = ended {
                drop(lines);
                panic!("the server ended ({status}) before it said {text:?}: {:#?}", self.log());
            }
            if clock::now() >= deadline {
                drop(lines);
                panic!("the server has not said {text:?}: {:#?}", self.log());
            }
            lines = log.grown.wait_timeout(lines, Duration::from_millis(20)).unwrap().0;
        }
    }

    /// Resident memory of the process in bytes, without pages of mapped files: those belong to the log.
    ///
    /// # Panics
    /// The system does not tell.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let lines = self.log.lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            for line in lines.iter().skip(lines.len().saturating_sub(LOG_LINES_SHOWN)) {
                eprintln!("server: {line}");
            }
        }
    }
}

/// The port at the end of a log line.
fn port_in(line: &str) -> u16 {
    let digits = line.rsplit(':').next().unwrap_or_default().trim();
    digits.parse().unwrap_or_else(|_| panic!("no port in {line:?}"))
}
