//! The program with a configuration file: checking it, serving by it, reading it again, and signals by word.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that fails may panic anywhere"
)]

#[path = "support/program.rs"]
mod program;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::time::Instant;

use program::{Folder, PATIENCE, Server, code, error, interrupt, sublog};
use serde_json::Value;

/// A server with a configuration file that can be written anew.
struct Configured {
    server: Server,
    path: PathBuf,
    _folder: Folder,
}

impl Configured {
    fn start(name: &str, text: &str) -> Self {
        Self::start_with(name, text, &[])
    }

    fn start_with(name: &str, text: &str, flags: &[&str]) -> Self {
        let folder = Folder::new(&format!("{name}-conf"));
        let path = folder.0.join("sublog.conf");
        std::fs::write(&path, text).unwrap();
        let mut all = vec!["-c", path.to_str().unwrap()];
        all.extend(flags);
        let server = Server::start(name, &all);
        Self { server, path, _folder: folder }
    }

    /// Writes the file and has it read again; returns what the log says of that.
    fn reload(&self, text: &str) -> String {
        std::fs::write(&self.path, text).unwrap();
        let before = self.server.log().len();
        let output = sublog().arg(format!("--signal=reload={}", self.server.pid())).output().unwrap();
        assert!(output.status.success(), "{}", error(&output));
        let said = |log: &str| log.contains("Reloaded server configuration") || log.contains("stays as it was");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.server.log().get(before..).unwrap_or_default().to_owned();
            if said(&log) {
                return log;
            }
            assert!(Instant::now() < deadline, "no reload: {log}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.server.url.strip_prefix("nats://").unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client { reader: BufReader::new(stream), info: Value::Null };
        let info = client.line();
        client.info = serde_json::from_str(info.strip_prefix("INFO ").unwrap()).unwrap();
        client
    }
}

struct Client {
    reader: BufReader<TcpStream>,
    info: Value,
}

impl Client {
    fn say(&mut self, text: &str) {
        self.reader.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The next line; empty at the end of the connection.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Says CONNECT and waits for the answer to a PING.
    fn login(&mut self, credentials: &str) -> String {
        self.say(&format!("CONNECT {{\"verbose\":false{credentials}}}\r\nPING\r\n"));
        self.line()
    }
}

#[test]
fn a_file_is_checked() {
    let folder = Folder::new("check");
    let path = folder.0.join("t.conf");
    let path = path.to_str().unwrap();
    std::fs::write(path, "port: 4222\nhttp_port: 8222, cluster { port: 6222 }\n").unwrap();
    let output = sublog().args(["-c", path, "-t"]).output().unwrap();
    // The fingerprint is nats-server's for this file.
    let (text, valid) = (error(&output), format!("configuration file {path} is valid (sha256:"));
    assert!(output.status.success() && text.contains(&valid), "{text}");
    assert!(text.contains(&format!("{path}:2:18: cluster has no effect")), "{text}");

    std::fs::write(path, "port: 4222\nprt: 1\nping_max: x\n").unwrap();
    for flags in [&["-t", "-c", path][..], &["-c", path]] {
        let output = sublog().args(flags).output().unwrap();
        assert_eq!(code(&output), Some(1));
        let text = error(&output);
        assert!(
            text.contains(&format!("{path}:2:1: expected a key")) && text.contains(&format!("{path}:3:11: ping_max: ")),
            "{text}"
        );
    }
    let output = sublog().args(["-c", "/nonexistent/t.conf"]).output().unwrap();
    assert!(
        code(&output) == Some(1) && error(&output).contains("cannot read /nonexistent/t.conf: "),
        "{}",
        error(&output)
    );
}

#[test]
fn what_can_change_changes() {
    let first = "max_payload: 1000, pid_file: one.pid, sublog { sync: os }";
    let server = Configured::start("reload", first);
    let dir = server.server.folder.0.clone();
    let mut old = server.connect();
    assert_eq!(old.info["max_payload"], 1000);
    assert_eq!(old.login(""), "PONG");
    assert!(dir.join("one.pid").exists());

    let log = server.reload(
        "max_payload: 2000, pid_file: two.pid, debug: true, sublog { sync: os, retention { max_bytes: 10MiB } }",
    );
    for part in [
        "Reloaded: max_payload = 2000",
        "Reloaded: sublog.retention.max_bytes = Some(10485760)",
        "Reloaded: logging",
        "[INF] Reloaded server configuration",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert_eq!(std::fs::read_to_string(dir.join("two.pid")).unwrap(), server.server.pid().to_string());
    assert!(!dir.join("one.pid").exists());
    assert_eq!(server.connect().info["max_payload"], 2000);
    // Who was there before may send more now as well.
    old.say(&format!("PUB a 1500\r\n{}\r\nPING\r\n", "x".repeat(1500)));
    assert_eq!(old.line(), "PONG");
    // The log is more talkative.
    assert!(server.server.log().contains("[DBG] Client connection created"), "{}", server.server.log());
    let folder = server.server.stop();
    assert!(!folder.0.join("two.pid").exists());
}

#[test]
fn what_cannot_change_is_refused_whole() {
    let server = Configured::start("refuse", "max_payload: 1000, server_name: one, max_pending: 1MiB");
    let log = server.reload("max_payload: 2000\nserver_name: two\n  max_pending: 2MiB");
    let path = server.path.display();
    for part in [
        format!(
            "[ERR] Failed to reload server configuration: {path}:2:1: server_name cannot change from Some(\"one\") to Some(\"two\") without a restart"
        ),
        format!("{path}:3:3: max_pending cannot change from 1048576 to 2097152 without a restart"),
        "[ERR] The configuration stays as it was".to_owned(),
    ] {
        assert!(log.contains(&part), "{part}: {log}");
    }
    let info = server.connect().info;
    assert_eq!((&info["max_payload"], &info["server_name"]), (&Value::from(1000), &Value::from("one")));

    // A key that is gone changes its option as well.
    let log = server.reload("max_payload: 2000, max_pending: 1MiB");
    assert!(log.contains(&format!("{path}:1:20 before: server_name cannot change")), "{log}");
    for (text, part) in [
        ("max_payload: 2000,, port", ":1:19: expected a key, found ','"),
        (
            "max_payload: 2000, server_name: one, max_pending: 1MiB, tls { cert_file: '/nonexistent/a', key_file: b }",
            "cannot read /nonexistent/a",
        ),
        (
            "max_payload: 2000, server_name: one, max_pending: 1MiB, pid_file: '/nonexistent/pid'",
            "cannot write /nonexistent/pid",
        ),
    ] {
        let log = server.reload(text);
        assert!(log.contains(part), "{part}: {log}");
        assert_eq!(server.connect().info["max_payload"], 1000);
    }
    let log = server.reload("max_payload: 2000, server_name: one, max_pending: 1MiB");
    assert!(log.contains("Reloaded server configuration"), "{log}");
    assert_eq!(server.connect().info["max_payload"], 2000);
}

#[test]
fn who_may_no_longer_connect_is_sent_away() {
    let server = Configured::start("auth", "sublog { capture: off }");
    let mut silent = server.connect();
    let mut nobody = server.connect();
    assert_eq!(nobody.login(""), "PONG");
    let mut known = server.connect();
    assert_eq!(known.login(",\"user\":\"u\",\"pass\":\"p\""), "PONG");

    let log = server.reload("authorization { user: u, password: p }\nsublog { capture: off }");
    assert!(log.contains("Reloaded: authorization") && !log.contains("password"), "{log}");
    for gone in [&mut silent, &mut nobody] {
        assert_eq!(gone.line(), "-ERR 'Authorization Violation'");
        assert_eq!(gone.line(), "");
    }
    known.say("PING\r\n");
    assert_eq!(known.line(), "PONG");
    let mut stranger = server.connect();
    assert_eq!(stranger.info["auth_required"], true);
    assert_eq!(stranger.login(",\"user\":\"u\",\"pass\":\"q\""), "-ERR 'Authorization Violation'");

    server.reload("authorization { user: u, password: q }\nsublog { capture: off }");
    assert_eq!(known.line(), "-ERR 'Authorization Violation'");
    server.reload("sublog { capture: off }");
    assert_eq!(server.connect().login(""), "PONG");
}

#[test]
fn too_many_connections_are_thinned_out() {
    let server = Configured::start("thin", "sublog { capture: off }");
    let mut clients: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.login(""), "PONG");
    }
    server.reload("max_connections: 2, sublog { capture: off }");
    for client in &mut clients[2..] {
        assert_eq!(client.line(), "-ERR 'maximum connections exceeded'");
    }
    for client in &mut clients[..2] {
        client.say("PING\r\n");
        assert_eq!(client.line(), "PONG");
    }
}

#[test]
fn flags_stay_above_the_file_when_it_is_read_again() {
    let server = Configured::start_with("flags", "max_payload: 1000", &["--max_payload", "3000"]);
    assert_eq!(server.connect().info["max_payload"], 3000);
    let log = server.reload("max_payload: 2000, ping_max: 5");
    assert!(log.contains("Reloaded: ping_max = 5") && !log.contains("max_payload"), "{log}");
    assert_eq!(server.connect().info["max_payload"], 3000);
}

#[test]
fn signals_by_word_reach_a_server() {
    let mut server = Configured::start(
        "words",
        "pid_file: pid, sublog { capture: off }, lame_duck_duration: 2s, lame_duck_grace_period: 100ms",
    );
    let dir = server.server.folder.0.clone();
    let pid = dir.join("pid");
    let signal = |text: &str| sublog().args(["--signal", text]).output().unwrap();
    // The log goes on in a new file once it was moved away.
    std::fs::rename(dir.join("log"), dir.join("log.old")).unwrap();
    assert!(signal(&format!("reopen={}", pid.display())).status.success());
    let deadline = Instant::now() + PATIENCE;
    while !server.server.log().contains("File log re-opened") {
        assert!(Instant::now() < deadline, "the log was not opened anew");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(signal(&format!("ldm={}", server.server.pid())).status.success());
    assert!(server.server.ended().success());
    assert!(server.server.log().contains("Entering lame duck mode"), "{}", server.server.log());

    let output = signal("quit=/nonexistent/pid");
    assert!(
        code(&output) == Some(1) && error(&output).contains("cannot read the process id in /nonexistent/pid"),
        "{}",
        error(&output)
    );
    let output = signal("quit=2147483647");
    assert!(
        code(&output) == Some(1) && error(&output).contains("cannot send a signal to process"),
        "{}",
        error(&output)
    );
}

#[test]
fn under_the_name_of_nats_server_the_ports_file_is_called_so() {
    let folder = Folder::new("named");
    std::fs::write(folder.0.join("t.conf"), "listen: '127.0.0.1:-1', ports_file_dir: '.', sublog { capture: off }")
        .unwrap();
    let mut child =
        sublog().arg0("/usr/bin/nats-server").args(["-c", "t.conf"]).current_dir(&folder.0).spawn().unwrap();
    let ports = folder.0.join(format!("nats-server_{}.ports", child.id()));
    let deadline = Instant::now() + PATIENCE;
    while !ports.exists() && Instant::now() < deadline && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let found = ports.exists();
    interrupt(&child);
    assert!(child.wait().unwrap().success() && found && !ports.exists());
}
