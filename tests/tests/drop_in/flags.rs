//! Every flag of nats-server: what the program does with it.

use std::fmt::Write as _;

use tempfile::TempDir;

use crate::observed::{Observed, differences, look};
use crate::running::{Running, binary, run};
use crate::samples::{FLAGS, write_files};

/// All names of a flag, one way to write it, and the flags of [`FLAGS`] that it takes the place of.
type Row = (&'static [&'static str], &'static [&'static str], &'static [&'static str]);

const TLS: &[&str] = &["--tls", "--tlscert", "server.pem", "--tlskey", "server.key"];

/// nats-server's, in the order of its help.
const ROWS: &[Row] = &[
    (&["a", "addr", "net"], &["127.0.0.2"], &["-a"]),
    (&["p", "port"], &["PORT"], &["-p"]),
    (&["n", "name", "server_name"], &["some"], &[]),
    (&["P", "pid"], &["x.pid"], &[]),
    (&["m", "http_port"], &["PORT"], &["-m"]),
    (&["ms", "https_port"], &["PORT", "--tls", "--tlscert", "server.pem", "--tlskey", "server.key"], &["-m"]),
    (&["c", "config"], &["other.conf"], &[]),
    (&["t"], &["-c", "other.conf"], &[]),
    (&["sl", "signal"], &["reload=1999999999"], &[]),
    (&["client_advertise"], &["127.0.0.1:7"], &[]),
    (&["ports_file_dir"], &["other"], &["--ports_file_dir"]),
    (&["profile"], &["7777"], &[]),
    (&["l", "log"], &["out.log"], &[]),
    (&["T", "logtime"], &["=false"], &[]),
    (&["logtime_utc"], &[], &[]),
    (&["s", "syslog"], &[], &[]),
    (&["r", "remote_syslog"], &["udp://127.0.0.1:7"], &[]),
    (&["D", "debug"], &[], &[]),
    (&["V", "trace"], &[], &[]),
    (&["VV"], &[], &[]),
    (&["DV"], &[], &[]),
    (&["DVV"], &[], &[]),
    (&["log_size_limit"], &["300", "-l", "out.log", "-DV"], &[]),
    (&["max_traced_msg_len"], &["7"], &[]),
    (&["js", "jetstream"], &["=false"], &[]),
    (&["sd", "store_dir"], &["elsewhere"], &["-sd"]),
    (&["user"], &["u", "--pass", "p"], &[]),
    (&["pass"], &["p", "--user", "u"], &[]),
    (&["auth"], &["t"], &[]),
    (&["tls"], &["--tlscert", "server.pem", "--tlskey", "server.key"], &[]),
    (&["tlscert"], &["second.pem", "--tlskey", "server.key"], &[]),
    (&["tlskey"], &["second.key", "--tlscert", "server.pem"], &[]),
    (&["tlsverify"], &["--tlscacert", "ca.pem", "--tlscert", "server.pem", "--tlskey", "server.key"], &[]),
    (&["tlscacert"], &["ca.pem", "--tlsverify", "--tlscert", "server.pem", "--tlskey", "server.key"], &[]),
    (&["help_tls"], &[], &[]),
    (&["routes"], &["nats://127.0.0.1:7"], &[]),
    (&["cluster", "cluster_listen"], &["nats://127.0.0.1:7"], &[]),
    (&["cluster_name"], &["some"], &[]),
    (&["no_advertise"], &[], &[]),
    (&["cluster_advertise"], &["127.0.0.1:7"], &[]),
    (&["connect_retries"], &["7"], &[]),
    (&["h", "help"], &[], &[]),
    (&["v", "version"], &[], &[]),
];

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Serves(Vec<&'static str>),
    Prints,
    Signals,
    Refused(String),
}

fn folder() -> TempDir {
    let folder = TempDir::with_prefix("sublog-flag-").unwrap();
    write_files(folder.path());
    std::fs::write(folder.path().join("other.conf"), "max_payload: 7777").unwrap();
    folder
}

fn words(name: &str, rest: &[&str], instead: &[&str]) -> Vec<String> {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let kept = FLAGS.iter().filter(|(flag, _)| !instead.contains(flag));
    let mut all: Vec<String> = kept.flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]).collect();
    match rest.first() {
        Some(value) if value.starts_with('=') => all.push(format!("-{name}{value}")),
        _ => {
            all.push(format!("-{name}"));
            all.extend(rest.iter().map(|word| if *word == "PORT" { port.clone() } else { (*word).to_owned() }));
        }
    }
    all
}

/// What one way of writing a flag does.
fn try_out(name: &str, rest: &[&str], instead: &[&str], base: Option<&Observed>) -> Result<Found, String> {
    let all = words(name, rest, instead);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let ends = ["t", "sl", "signal", "help_tls", "h", "help", "v", "version"].contains(&name);
    let folder = folder();
    if ends {
        let output = run(folder.path(), &all);
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        return match output.status.code() {
            Some(0) if !out.is_empty() || error.contains("is valid (sha256:") => Ok(Found::Prints),
            // There is no such process, which it found out.
            Some(1) if error.contains("cannot send a signal to process 1999999999") => Ok(Found::Signals),
            _ => Err(format!("{out}{error}")),
        };
    }
    match Running::start(&binary(), folder, &all, &[("TZ", "XYZ5")]) {
        Ok(server) => {
            let Some(base) = base else { return Ok(Found::Serves(vec!["a start that fails without it"])) };
            let mut seen = differences(base, &look(&server, &all.join(" ")));
            // So talkative a log is another one each time.
            seen.retain(|kind| *kind != "log" || !rest.contains(&"-DV"));
            if seen.is_empty() { Err("nothing is different with it".to_owned()) } else { Ok(Found::Serves(seen)) }
        }
        Err(text) if text.contains("syslog") => Ok(Found::Serves(vec!["log"])),
        Err(text) => match text.split_once("not supported by this server: ") {
            Some((_, why)) => Ok(Found::Refused(why.trim().trim_end_matches(" (sublog help tells more)").to_owned())),
            None => Err(text),
        },
    }
}

/// What a flag does under all of its names; with what it stands beside it makes a difference of its own.
fn look_at((names, rest, instead): &Row) -> Result<Found, String> {
    let start = |args: &[String]| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Running::start(&binary(), folder(), &args, &[("TZ", "XYZ5")]).map(|server| look(&server, &args.join(" ")))
    };
    // What the flag needs is there without it as well, where that can be.
    let beside: Vec<&str> = match names[0] {
        "ms" | "tlsverify" => TLS.to_vec(),
        "tlscert" => vec!["--tls", "--tlskey", "server.key"],
        "tlskey" => vec!["--tls", "--tlscert", "server.pem"],
        "log_size_limit" => vec!["-l", "out.log", "-DV"],
        _ => Vec::new(),
    };
    let mut args: Vec<String> =
        FLAGS.iter().flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]).collect();
    args.extend(beside.iter().map(|word| (*word).to_owned()));
    // There may be no server without it.
    let base = start(&args).ok();
    let mut found = None;
    for name in *names {
        let this = try_out(name, rest, instead, base.as_ref()).map_err(|error| format!("-{name}: {error}"))?;
        match &found {
            None => found = Some(this),
            Some(first) if *first == this => {}
            Some(first) => return Err(format!("-{name} does {this:?}, its other name {first:?}")),
        }
    }
    found.ok_or_else(|| "no name".to_owned())
}

/// The table, and what could not be found out.
pub(crate) fn table() -> (String, Vec<String>) {
    let (mut text, mut failed, mut rows) = (String::new(), Vec::new(), Vec::new());
    for row in ROWS {
        match look_at(row) {
            Ok(found) => rows.push((row.0, found)),
            Err(error) => failed.push(error),
        }
    }
    let honoured = rows.iter().filter(|(_, found)| !matches!(found, Found::Refused(_))).count();
    writeln!(text, "\n### Flags: {honoured} of {} honoured\n", rows.len()).unwrap();
    writeln!(text, "| flag | | seen in |\n|---|---|---|").unwrap();
    let mut kinds: Vec<Found> = rows.iter().map(|(_, found)| found.clone()).collect();
    kinds.sort();
    kinds.dedup();
    for kind in kinds {
        let dashed = |name: &&str| format!("`-{}{name}`", if name.len() > 3 { "-" } else { "" });
        let names = rows.iter().filter(|(_, found)| *found == kind);
        let names: Vec<String> =
            names.map(|(names, _)| names.iter().map(dashed).collect::<Vec<_>>().join("/")).collect();
        let (what, seen) = match &kind {
            Found::Serves(seen) => ("honoured".to_owned(), seen.join(", ")),
            Found::Prints => ("honoured".to_owned(), "what it prints before it ends".to_owned()),
            Found::Signals => ("honoured".to_owned(), "the signal that it sends".to_owned()),
            Found::Refused(why) => (format!("refused: {why}"), String::new()),
        };
        writeln!(text, "| {} | {what} | {seen} |", names.join(", ")).unwrap();
    }
    (text, failed)
}
