//! The server itself under the same faults: `SUBLOG_BINARY=<path>` names it; without it these parts are skipped aloud.
//! A PONG without an error before it is the acknowledgement of everything that the connection published.
//!
//! `SUBLOG_SERVER_CUTS=<n>` cuts the power under it that often, `SUBLOG_META_FLIPS=<n>` flips that many bytes of its metadata.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sublog_storage::Visit;
use sublog_storage::disk::sim::Chance;

use crate::common::{content, env, open_real, report, skipped, visit_all};
use crate::machine::{Fs, Volume, in_namespace, is_inside, missing};

const PATIENCE: Duration = Duration::from_secs(20);

/// The server's binary.
fn binary() -> Option<PathBuf> {
    std::env::var_os("SUBLOG_BINARY").map(PathBuf::from).filter(|path| path.exists())
}

/// A running server. Killed when dropped.
struct Server {
    child: Child,
    pid_file: PathBuf,
    port: u16,
}

impl Server {
    /// Starts it, behind `wrapper` if there is one; what it wrote to its log if it ended instead.
    fn start(data: &Path, pid_file: &Path, wrapper: &[&str]) -> Result<Self, String> {
        let binary = binary().unwrap();
        let mut words: Vec<&str> = wrapper.to_vec();
        words.push(binary.to_str().unwrap());
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["-a", "127.0.0.1", "-p", "-1", "--disk-reserve", "0", "-sd"]).arg(data);
        command.arg("-P").arg(pid_file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let _ = std::fs::remove_file(pid_file);
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut text, mut port) = (String::new(), 0);
        loop {
            let from = text.len();
            if log.read_line(&mut text).unwrap_or(0) == 0 {
                let status = child.wait().unwrap();
                return Err(format!("{status}\n{text}"));
            }
            let line = &text[from..];
            if line.contains("Listening for client connections on ") {
                port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok()).unwrap();
            }
            if line.contains("Server is ready") {
                break;
            }
        }
        // Read on, or the server would wait for its reader one day.
        std::thread::spawn(move || log.read_to_string(&mut String::new()));
        Ok(Self { child, pid_file: pid_file.to_owned(), port })
    }

    fn kill(&mut self) {
        let pid = std::fs::read_to_string(&self.pid_file).ok().and_then(|text| text.trim().parse().ok());
        let killed = pid.and_then(Pid::from_raw).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok());
        if !killed {
            let _ = self.child.kill();
        }
        // Whoever traces it ends after it: then its lock is free.
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.pid_file);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A publishing connection.
struct Client {
    socket: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Client {
    fn connect(port: u16) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").unwrap();
        let mut client = Self { lines: BufReader::new(socket.try_clone().unwrap()), socket };
        client.flush().unwrap();
        client
    }

    /// Publishes these contents and asks for the answer. `Some(true)`: all are stored. `Some(false)`: told otherwise.
    fn publish(&mut self, ids: std::ops::Range<u64>) -> Option<bool> {
        let mut text = Vec::new();
        for id in ids {
            let (_, subject, _, payload) = content(id);
            text.extend_from_slice(b"PUB ");
            text.extend_from_slice(&subject);
            text.extend_from_slice(format!(" {}\r\n", payload.len()).as_bytes());
            text.extend_from_slice(&payload);
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"PING\r\n");
        self.socket.write_all(&text).ok()?;
        self.flush()
    }

    /// Reads until the PONG; `None` if it does not come.
    fn flush(&mut self) -> Option<bool> {
        let mut stored = true;
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            match line.trim_end() {
                "PONG" => return Some(stored),
                "PING" => self.socket.write_all(b"PONG\r\n").ok()?,
                line if line.starts_with("-ERR") => stored = false,
                _ => {}
            }
        }
    }
}

/// The one log of the data folder, by content, with everything that is wrong with it.
fn held(data: &Path) -> (BTreeMap<u64, u64>, u64) {
    let streams: Vec<_> = std::fs::read_dir(data.join("streams")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(streams.len(), 1, "{streams:?}");
    let (log, found) = open_real(&streams[0]).unwrap();
    let mut wrong = found.damage.len() as u64;
    let mut held = BTreeMap::new();
    visit_all(&log, |visit| {
        let Visit::Record(record) = visit else {
            wrong += 1;
            return;
        };
        let id = u64::from_le_bytes(record.payload[..8].try_into().unwrap());
        let (_, subject, _, payload) = content(id);
        wrong += u64::from(record.subject != subject || record.payload != payload);
        wrong += u64::from(held.insert(id, record.seq).is_some());
    });
    // Each connection's messages lie in the order in which it published them: ids grow within a connection.
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for (&id, &seq) in &held {
        let before = last.insert(id >> 24, seq);
        wrong += u64::from(before.is_some_and(|before| before >= seq));
    }
    (held, wrong)
}

#[test]
fn the_server_keeps_its_pongs_over_power_cuts() {
    let test = "server::the_server_keeps_its_pongs_over_power_cuts";
    if !is_inside(test) {
        let why = binary().map_or(Some("SUBLOG_BINARY is not set".to_owned()), |_| missing(Fs::Ext4, true));
        let why = why.or_else(|| missing(Fs::Xfs, true));
        if let Some(why) = why {
            return skipped("G1", "power cuts under the server", &why);
        }
    }
    in_namespace(test, &[], || {
        for fs in [Fs::Ext4, Fs::Xfs] {
            let cuts = env("SUBLOG_SERVER_CUTS", 6).div_ceil(2);
            let (checked, wrong) = cut_servers(fs, cuts);
            let counts = format!("{cuts} cuts, {checked} PONG-covered messages checked, {wrong} lost or wrong");
            report("G1", &format!("the server on {}, PONG as ack", fs.name()), &counts, wrong);
            assert!(wrong == 0 && checked > cuts);
        }
    });
}

fn cut_servers(fs: Fs, cuts: u64) -> (u64, u64) {
    let mut chance = Chance::new(env("SUBLOG_FAULTS_SEED", u64::from(std::process::id())));
    let mut volume = Volume::make(fs, 512);
    let pid_file = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let (mut checked, mut wrong) = (0, 0);
    let mut acked: Vec<u64> = Vec::new();
    for life in 1..=cuts {
        if life % 10 == 0 {
            volume.fresh();
            acked.clear();
        }
        let data = volume.root().join("data");
        let mut server = Server::start(&data, &pid_file, &[]).unwrap();
        volume.arm();
        let new = Mutex::new(Vec::new());
        let striking = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for connection in 0..3_u64 {
                let (port, new, striking) = (server.port, &new, &striking);
                scope.spawn(move || {
                    let mut client = Client::connect(port);
                    let mut id = (life * 3 + connection) << 24;
                    loop {
                        let next = id + 1 + id % 37;
                        if client.publish(id..next) != Some(true) || striking.load(Ordering::SeqCst) {
                            return;
                        }
                        new.lock().unwrap().extend(id..next);
                        id = next;
                    }
                });
            }
            let enough = 1 + chance.below(3000) as usize;
            let deadline = Instant::now() + PATIENCE;
            while new.lock().unwrap().len() < enough {
                assert!(Instant::now() < deadline, "the server does not answer");
                std::thread::sleep(Duration::from_micros(300));
            }
            striking.store(true, Ordering::SeqCst);
            volume.cut_power();
            server.kill();
        });
        volume.unmount();
        volume.mount();
        let new = new.into_inner().unwrap();
        let (held, broken) = held(&data);
        wrong += broken;
        checked += new.len() as u64;
        acked.extend(new);
        wrong += acked.iter().filter(|id| !held.contains_key(id)).count() as u64;
    }
    volume.unmount();
    (checked, wrong)
}

#[test]
fn the_server_says_when_a_sync_fails() {
    let strace = Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    if binary().is_none() || !strace {
        let why = if strace { "SUBLOG_BINARY is not set" } else { "no strace" };
        return skipped("G5", "fdatasync EIO under the server (strace)", why);
    }
    let (mut acks, mut slowest) = (0, Duration::ZERO);
    let ks = [8, 20, 40];
    for k in ks {
        let folder = tempfile::tempdir().unwrap();
        let (data, pid_file) = (folder.path().join("data"), folder.path().join("pid"));
        let inject = format!("inject=fdatasync:error=EIO:when={k}");
        let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", &inject];
        let mut server = Server::start(&data, &pid_file, &wrapper).unwrap();
        let mut client = Client::connect(server.port);
        let mut acked = Vec::new();
        let mut id = 1 << 24;
        loop {
            assert!(id < (1 << 24) + 5000, "fdatasync {k} never failed");
            let start = Instant::now();
            let answer = client.publish(id..id + 3).expect("an answer");
            slowest = slowest.max(start.elapsed());
            if !answer {
                break;
            }
            acked.extend(id..id + 3);
            id += 3;
        }
        for later in 0..20 {
            let from = id + 3 + later * 3;
            assert_eq!(client.publish(from..from + 3), Some(false), "stored after the end, or silent");
        }
        let mut other = Client::connect(server.port);
        assert_eq!(other.publish(5 << 24..(5 << 24) + 1), Some(false), "another connection is not told");
        server.kill();
        let mut server = Server::start(&data, &pid_file, &[]).unwrap();
        assert_eq!(Client::connect(server.port).publish(7 << 24..(7 << 24) + 1), Some(true), "not after a restart");
        server.kill();
        let (held, wrong) = held(&data);
        assert_eq!(wrong, 0);
        let lost = acked.iter().filter(|id| !held.contains_key(id)).count();
        assert_eq!(lost, 0, "of {} acknowledged", acked.len());
        acks += acked.len();
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let counts = format!("k in {ks:?}, {acks} acks checked, slowest answer {} ms", slowest.as_millis());
    report("G5", "fdatasync EIO under the server (strace)", &counts, 0);
}

#[test]
fn the_server_starts_or_refuses_with_any_metadata() {
    if binary().is_none() {
        return skipped("G4", "flipped bytes of meta/", "SUBLOG_BINARY is not set");
    }
    let folder = tempfile::tempdir().unwrap();
    let (data, pid_file) = (folder.path().join("data"), folder.path().join("pid"));
    let mut server = Server::start(&data, &pid_file, &[]).unwrap();
    assert_eq!(Client::connect(server.port).publish(1..50), Some(true));
    server.kill();
    let files = files_below(&data.join("meta"));
    let originals: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    let mut places: Vec<(usize, usize)> = Vec::new();
    for (file, bytes) in originals.iter().enumerate() {
        places.extend(bytes.iter().enumerate().filter(|(_, byte)| **byte != 0).map(|(at, _)| (file, at)));
    }
    assert!(!places.is_empty(), "{files:?}");
    let mut chance = Chance::new(env("SUBLOG_FAULTS_SEED", 1));
    let flips = env("SUBLOG_META_FLIPS", 25);
    let (mut started, mut refused) = (0_u64, 0_u64);
    for _ in 0..flips {
        let (file, at) = places[chance.below(places.len() as u64) as usize];
        // Everything as it was, but for one byte.
        let _ = std::fs::remove_dir_all(data.join("meta"));
        for (path, bytes) in files.iter().zip(&originals) {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        let mut bytes = originals[file].clone();
        bytes[at] ^= 1 << chance.below(8);
        std::fs::write(&files[file], bytes).unwrap();
        match Server::start(&data, &pid_file, &[]) {
            Ok(mut server) => {
                started += 1;
                server.kill();
            }
            Err(log) => {
                refused += 1;
                let name = files[file].display();
                assert!(!log.contains("panicked") && log.contains("exit status"), "{name} byte {at}:\n{log}");
                assert!(log.to_lowercase().contains("meta"), "does not say what is wrong: {log}");
            }
        }
    }
    let counts = format!("{flips} flips in {} files, {started} started, {refused} refused, 0 panics", files.len());
    report("G4", "flipped bytes of meta/", &counts, 0);
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}
