//! What a newcomer sees when the server has started: where it listens, what it records, what to try.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sublog_storage::SyncMode;

use super::values;
use crate::config::{Auth, ServerOptions};
use crate::logging::LogHandle;

/// What the start-up text is made of.
#[derive(Debug, Clone, Copy)]
pub struct BannerFacts<'a> {
    /// What the server was told.
    pub options: &'a ServerOptions,
    /// Where it listens for clients.
    pub listen: SocketAddr,
    /// Where it answers monitoring requests, if it does.
    pub monitor: Option<SocketAddr>,
    /// What the log held already; `None` when nothing is recorded.
    pub recovered: Option<Recovered>,
}

/// What was found in the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Messages that can be replayed.
    pub messages: u64,
    /// Sequence of the first of them.
    pub first_seq: u64,
    /// Sequence of the last of them.
    pub last_seq: u64,
    /// Size of the log in bytes.
    pub bytes: u64,
    /// Ranges of messages that are damaged or missing.
    pub damaged_ranges: usize,
}

/// The start-up text: a few lines of at most 80 columns unless a path or host name is long.
#[must_use]
pub fn banner(facts: &BannerFacts<'_>) -> String {
    let options = facts.options;
    let mut out = String::new();
    let mut line = |label: &str, text: &str| {
        out.push_str(&format!("  {label:<10}{text}\n"));
    };
    let scheme = if options.tls.is_some() { "tls" } else { "nats" };
    line("clients", &format!("{scheme}://{}", reachable(facts.listen)));
    if let Some(monitor) = facts.monitor {
        let scheme = if options.monitor_tls { "https" } else { "http" };
        line("monitor", &format!("{scheme}://{}", reachable(monitor)));
    }
    let recording = options.capture.enabled;
    if recording {
        line("records", &format!("every message, in {}", options.store_dir.display()));
        line("flush", &promise(options.capture.sync));
        line("keeps", &keeps(options));
    } else {
        line("records", "nothing that no stream asks for (--capture=off)");
    }
    if let Some(found) = facts.recovered {
        line("history", &history(&found));
        if found.damaged_ranges > 0 {
            let dir = options.store_dir.display();
            line("DAMAGE", &format!("{} ranges are unreadable: sublog verify {dir}", found.damaged_ranges));
        }
    }
    let access = access(facts);
    line("publish", &format!("sublog pub{access} demo.hello 'first message'"));
    if recording {
        line("replay", &format!("sublog replay{access} 'demo.>' --from all"));
    }
    format!("\nSublog {} is ready.\n{out}\n", super::VERSION)
}

/// Shows a start-up text: as it is on a terminal, as log lines elsewhere.
pub fn announce(log: &LogHandle, text: &str) {
    if log.is_terminal() {
        super::output::to_stderr(text);
        return;
    }
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        tracing::info!("{line}");
    }
}

/// An address somebody on this machine can connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The flags a client needs to reach this server, without its secrets.
fn access(facts: &BannerFacts<'_>) -> String {
    let mut out = String::new();
    let address = reachable(facts.listen);
    if address != SocketAddr::from((Ipv4Addr::LOCALHOST, 4222)) {
        out.push_str(&format!(" -s {address}"));
    }
    match &facts.options.auth {
        Auth::None => {}
        Auth::UserPassword { user, .. } => out.push_str(&format!(" --user {user} --pass …")),
        Auth::Token(_) => out.push_str(" --token …"),
        // It takes credentials, of which nobody knows the file.
        Auth::Operator => out.push_str(" --creds …"),
        Auth::Users(_) => out.push_str(" --user … --pass …"),
    }
    out
}

fn promise(sync: SyncMode) -> String {
    match sync {
        SyncMode::Always => "is answered once everything before it is on disk".to_owned(),
        SyncMode::Interval(span) => {
            format!("is answered at once; the disk is synced every {}", values::show_duration(span))
        }
        SyncMode::Os => "is answered at once; the system decides when to sync".to_owned(),
    }
}

fn keeps(options: &ServerOptions) -> String {
    let capture = &options.capture;
    let mut limits = Vec::new();
    if let Some(age) = capture.max_age {
        limits.push(values::show_duration(age));
    }
    if let Some(bytes) = capture.max_bytes {
        limits.push(format!("at most {}", values::show_size(bytes)));
    }
    if capture.disk_reserve_bytes > 0 {
        limits.push(format!("leaving {} of the disk free", values::show_size(capture.disk_reserve_bytes)));
    }
    if limits.is_empty() { "everything, until the disk is full".to_owned() } else { limits.join(", ") }
}

fn history(found: &Recovered) -> String {
    if found.messages == 0 {
        return "empty".to_owned();
    }
    let count = values::show_messages(found.messages);
    let size = values::show_size(found.bytes);
    format!("{count}, {size}, #{} to #{}", found.first_seq, found.last_seq)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(change: impl FnOnce(&mut ServerOptions), recovered: Option<Recovered>) -> String {
        let mut options = ServerOptions::default();
        change(&mut options);
        let listen = SocketAddr::from(([0, 0, 0, 0], 4222));
        let monitor = Some(SocketAddr::from(([0, 0, 0, 0], 8222)));
        banner(&BannerFacts { options: &options, listen, monitor, recovered })
    }

    #[test]
    fn tells_what_to_do_next() {
        let found =
            Recovered { messages: 1_234_567, first_seq: 1, last_seq: 1_234_567, bytes: 5 << 30, damaged_ranges: 0 };
        let text = text(|_| {}, Some(found));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for part in [
            "nats://127.0.0.1:4222",
            "http://127.0.0.1:8222",
            "in sublog-data",
            "once everything before it is on disk",
            "7d, leaving 1.0 GiB of the disk free",
            "1,234,567 messages, 5.0 GiB, #1 to #1234567",
            "sublog pub demo.hello 'first message'",
            "sublog replay 'demo.>' --from all",
        ] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
        assert!(!text.contains("DAMAGE"));
    }

    #[test]
    fn tells_what_differs_and_no_secret() {
        let changed = text(
            |options| {
                options.auth = Auth::UserPassword { user: "u".into(), password: "s3cret".into() };
                options.capture.sync = SyncMode::Interval(Duration::from_millis(250));
                options.capture.max_age = None;
                options.capture.disk_reserve_bytes = 0;
            },
            Some(Recovered { messages: 0, first_seq: 0, last_seq: 0, bytes: 0, damaged_ranges: 2 }),
        );
        assert!(!changed.contains("s3cret"), "{changed}");
        for part in ["--user u --pass …", "every 250ms", "until the disk is full", "2 ranges are unreadable", "empty"]
        {
            assert!(changed.contains(part), "{part:?} is missing in {changed}");
        }
        let off = text(|options| options.capture.enabled = false, None);
        assert!(off.contains("--capture=off") && !off.contains("sublog replay"), "{off}");
    }
}
