//! What can be seen of a running server from outside: INFO, `/varz`, its log, the files it makes.

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::Value;
use sublog_tests::{clock, http};

use crate::running::Running;

/// Where something was seen, and what.
pub(crate) type Observed = BTreeSet<(&'static str, String)>;

/// Of `/varz`: what is not the same from one moment to the next, or one server to the next.
const VOLATILE: &[&str] = &[
    "server_id",
    "now",
    "start",
    "uptime",
    "mem",
    "cpu",
    "config_load_time",
    "config_digest",
    "connections",
    "sublog",
    "total_connections",
    "in_msgs",
    "in_bytes",
    "out_msgs",
    "out_bytes",
    "in_client_msgs",
    "in_client_bytes",
    "out_client_msgs",
    "out_client_bytes",
    "subscriptions",
    "http_req_stats",
    "tls_cert_not_after",
    "client_id",
    "stats",
];

/// Looks at all of it. `given` is what the server was told: numbers in it are looked at, others differ from run to run.
pub(crate) fn look(server: &Running, given: &str) -> Observed {
    let mut seen = Observed::new();
    speak(server, given, &mut seen);
    let plain = server.ports["monitoring"][0].as_str().is_some_and(|url| url.starts_with("http://"));
    if let Some(address) = server.address("monitoring").filter(|_| plain)
        && let Ok(varz) = serde_json::from_str::<Value>(&http::get(address, "/varz").1)
    {
        flatten("varz", "", &varz, given, &mut seen);
    }
    for url in server.ports.as_object().unwrap().values().flat_map(|urls| urls.as_array().unwrap()) {
        seen.insert(("ports file", masked(url.as_str().unwrap(), given)));
    }
    let log = server.log();
    let mut form = None;
    // A disk that others keep busy is no difference.
    for line in log.lines().filter(|line| !line.contains("the disk is slow") && !line.contains("the disk has answered"))
    {
        let (head, text) = line.split_once("] ").filter(|(head, _)| head.starts_with('[')).unwrap_or(("", line));
        if form.is_none() {
            form = Some(format!("form {}", shape(head, text)));
        }
        // From the level on.
        let words = text.find('[').and_then(|at| text.get(at..)).unwrap_or(text);
        seen.insert(("log", masked(words, given)));
    }
    seen.insert(("log", form.unwrap_or_default()));
    for dir in ["ports", "other"] {
        if std::fs::read_dir(server.folder.path().join(dir)).unwrap().next().is_some() {
            seen.insert(("files", format!("{dir}/")));
        }
    }
    for entry in std::fs::read_dir(server.folder.path()).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if !["t.conf", "stderr", "ports", "other"].contains(&name.as_str()) {
            seen.insert(("files", name.replace(|c: char| c.is_ascii_digit(), "#")));
        }
    }
    seen
}

/// How far the first line's hour is from the time at Greenwich, if it has a time.
fn shape(head: &str, text: &str) -> String {
    let hour = text.split(' ').nth(1).and_then(|time| time.split(':').next()).and_then(|hour| hour.parse::<u64>().ok());
    let now = clock::wall().as_secs() / 3600 % 24;
    let offset = hour.map(|hour| (hour + 24 - now) % 24);
    format!("{} {offset:?}", head.is_empty())
}

/// A client's first words, as far as the server lets it come.
fn speak(server: &Running, given: &str, seen: &mut Observed) {
    use std::io::{Read as _, Write as _};
    let Some(address) = server.address("nats") else { return };
    let Ok(mut stream) = std::net::TcpStream::connect(address) else { return };
    let patience = std::time::Duration::from_millis(if given.contains("first") { 200 } else { 2000 });
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut buffer = [0; 4096];
    let Ok(read) = stream.read(&mut buffer) else { return };
    let line = String::from_utf8_lossy(&buffer[..read]).into_owned();
    let info: Value = serde_json::from_str(line.trim_start_matches("INFO ")).unwrap();
    flatten("INFO", "", &info, given, seen);
    if info["tls_required"] == true {
        return;
    }
    // What is answered to a message that is said to oneself.
    let _ = stream.write_all(b"CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPUB a 1\r\nx\r\nPING\r\n");
    let mut answer = String::new();
    while !answer.contains("PONG\r\n") {
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => answer.push_str(&String::from_utf8_lossy(&buffer[..read])),
            _ => break,
        }
    }
    seen.insert(("behaviour", answer.lines().filter(|line| line.len() < 200).collect::<Vec<_>>().join(" | ")));
}

fn flatten(kind: &'static str, path: &str, value: &Value, given: &str, seen: &mut Observed) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter().filter(|(name, _)| !VOLATILE.contains(&name.as_str())) {
                flatten(kind, &format!("{path}.{name}"), value, given, seen);
            }
        }
        Value::Array(values) => {
            for value in values {
                flatten(kind, path, value, given, seen);
            }
        }
        // Ports that the system chose.
        other if path.ends_with("port") => {
            seen.insert((kind, format!("{path}={}", masked(&other.to_string(), given))));
        }
        Value::String(_) if path.ends_with("nonce") => {
            seen.insert((kind, path.to_owned()));
        }
        Value::String(text) if text.len() == 56 => {
            seen.insert((kind, format!("{path}=id")));
        }
        other => {
            seen.insert((kind, format!("{path}={other}")));
        }
    }
}

/// Text without the numbers and names that differ from run to run.
fn masked(text: &str, given: &str) -> String {
    let known: BTreeSet<&str> = given.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty()).collect();
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let word = &rest[..end];
        // Short ones are addresses and the like; ports are longer.
        let changes = word.len() > 3 && word.bytes().any(|b| b.is_ascii_digit()) && !known.contains(word);
        out.push_str(if word.len() == 56 || changes { "#" } else { word });
        rest = &rest[end..];
    }
    out + rest
}

/// Where the two differ.
pub(crate) fn differences(base: &Observed, with: &Observed) -> Vec<&'static str> {
    let mut kinds: Vec<&'static str> = base.symmetric_difference(with).map(|(kind, _)| *kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    // A page that could not be read shows nothing.
    kinds.retain(|kind| *kind != "varz" || [base, with].iter().all(|seen| seen.iter().any(|(k, _)| k == kind)));
    kinds
}

/// What the server says when it is told other things while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reload {
    /// They hold from then on.
    Applied,
    /// Nothing changes without a restart, and it says so.
    Refused,
    /// It sees no difference.
    Same,
}

/// Has the server read `text` as its configuration.
pub(crate) fn reload(server: &Running, text: &str) -> Reload {
    // Files are counted in, since the log may go on in another one.
    let count = |what: &str| server.log().matches(what).count();
    let (done, kept) = ("Reloaded server configuration", "The configuration stays as it was");
    let before = (count(done), count(kept));
    std::fs::write(server.folder.path().join("t.conf"), text).unwrap();
    server.signal(Signal::HUP);
    clock::until(&format!("reload with {text:?}: {}", server.log()), || {
        if count(kept) > before.1 {
            assert!(count("cannot change") > 0, "the reload failed: {}", server.log());
            return Some(Reload::Refused);
        }
        // In this order: what was applied is said first.
        if count(done) == before.0 {
            return None;
        }
        Some(if count("Reloaded: ") > 0 { Reload::Applied } else { Reload::Same })
    })
}
