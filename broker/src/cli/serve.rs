//! The command line of the server: nats-server's flags as far as they are honoured, and our own.
//!
//! [`FLAGS`] is the only definition; `--help` is printed from it. What nats-server knows and this server
//! does not do is refused by name, see [`super::unsupported`]: a flag that is silently ignored turns into a
//! server that is open, unencrypted or alone when its operator believes otherwise.

mod accounts;
mod file;
mod finish;
mod operator;
mod parse;
mod read;
mod request;
mod tls;
mod users;

use std::path::PathBuf;
use std::time::Duration;

use read::{DAY, SECOND, bytes, count, server_name, span, sync_mode, unless_off};

pub use parse::{Program, parse, parse_as};
pub use request::{Checked, Request, Serve};

use super::flags::{self, Flag};
use super::values::{self, Port};
use crate::auth::users::Users;
use crate::config::ServerOptions;
use crate::logging::{LogFormat, LogOptions, Syslog};

/// The largest message that may be configured: NATS's upper bound, for which a log segment always has room.
const MAX_PAYLOAD_MOST: u64 = 64 * 1024 * 1024;
/// The state the flags are applied to.
#[derive(Default)]
struct Draft {
    server: ServerOptions,
    program: Program,
    /// Whether there is to be JetStream, if anything says so.
    jetstream: Option<bool>,
    /// The same of recording.
    capture: Option<bool>,
    /// There is a block `sublog`, which asks for recording.
    has_own_block: bool,
    store_dir: Option<PathBuf>,
    /// That is our own setting, in which nothing is to be put below it.
    own_store_dir: Option<PathBuf>,
    log: LogOptions,
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    auth_timeout_given: bool,
    tls: tls::Flags,
    /// The users of a file.
    users: Option<Users>,
    help: bool,
    help_tls: bool,
    version: bool,
    config: Option<PathBuf>,
    check: bool,
    signal: Option<String>,
}

/// The help of all flags.
#[must_use]
pub fn flags_help() -> String {
    flags::help(FLAGS)
}

const HEAD_SERVER: &str = "Server";
const HEAD_RECORD: &str = "Recording";
const HEAD_LOG: &str = "Logging";
const HEAD_AUTH: &str = "Authorization";
const HEAD_TLS: &str = "Encryption";
const HEAD_LIMITS: &str = "Limits";
const HEAD_CONFIG: &str = "Configuration";
const HEAD_COMMON: &str = "Common";

/// Writes one entry of [`FLAGS`].
macro_rules! flag {
    ($group:ident, [$($name:literal),+], $value:expr, $help:literal, |$draft:ident, $given:ident| $body:expr) => {
        Flag {
            names: &[$($name),+],
            value: $value,
            group: $group,
            help: $help,
            apply: |$draft, $given| {
                $body;
                Ok(())
            },
        }
    };
}

/// Every flag the server honours, in the order of the help.
const FLAGS: &[Flag<Draft>] = &[
    flag!(HEAD_SERVER, ["a", "addr", "net"], Some("host"), "Address to listen on (default 0.0.0.0).", |d, v| {
        d.server.host = v.word()?.to_owned()
    }),
    flag!(HEAD_SERVER, ["p", "port"], Some("port"), "Port for clients (default 4222); -1 takes a free one.", |d, v| {
        d.server.port = match values::port(v.text()?)? {
            Port::Free => 0,
            Port::Default => ServerOptions::default().port,
            Port::Number(port) => port,
        }
    }),
    flag!(HEAD_SERVER, ["n", "name", "server_name"], Some("name"), "Name of the server (default: its id).", |d, v| {
        d.server.name = Some(server_name(v.word()?)?)
    }),
    flag!(
        HEAD_SERVER,
        ["m", "http_port"],
        Some("port"),
        "Port for monitoring over HTTP; -1 takes a free one, 0 is none (default 0).",
        |d, v| { tls::monitor(d, v, false)? }
    ),
    flag!(HEAD_SERVER, ["ms", "https_port"], Some("port"), "Port for monitoring over HTTPS, instead of -m.", |d, v| {
        tls::monitor(d, v, true)?
    }),
    flag!(HEAD_SERVER, ["P", "pid"], Some("file"), "File to write the process id to.", |d, v| {
        d.server.pid_file = Some(v.path()?)
    }),
    flag!(
        HEAD_SERVER,
        ["ports_file_dir"],
        Some("dir"),
        "Directory for a file sublog_<pid>.ports that lists the ports in use.",
        |d, v| d.server.ports_file_dir = Some(v.path()?)
    ),
    flag!(
        HEAD_RECORD,
        ["sd", "store_dir"],
        Some("dir"),
        "Where everything is recorded (default ./sublog-data).",
        |d, v| d.store_dir = Some(v.path()?)
    ),
    flag!(HEAD_RECORD, ["js", "jetstream"], None, "Streams and consumers (default true).", |d, v| {
        d.jetstream = Some(values::switch(v.text()?)?)
    }),
    flag!(
        HEAD_RECORD,
        ["capture"],
        Some("on|off"),
        "Whether to record every message that is published (default on).",
        |d, v| d.capture = Some(values::switch(v.text()?)?)
    ),
    flag!(
        HEAD_RECORD,
        ["sync"],
        Some("mode"),
        "When a flush (PING) is answered. always: once all before it is on stable storage (default). interval or \
         interval:<duration>: at once, synced each interval (1s). os: at once, synced by the system.",
        |d, v| d.server.capture.sync = sync_mode(v.text()?)?
    ),
    flag!(
        HEAD_RECORD,
        ["max-age"],
        Some("duration"),
        "Remove messages older than this (default 7d; off keeps them).",
        |d, v| d.server.capture.max_age = unless_off(v.text()?, |_| span(v, SECOND, DAY * 36_500))?
    ),
    flag!(
        HEAD_RECORD,
        ["max-bytes"],
        Some("size"),
        "Remove the oldest messages above this size (default: off).",
        |d, v| {
            d.server.capture.max_bytes =
                unless_off(v.text()?, |_| bytes(v, 1 << 20, i64::MAX as u64))?.map(|bytes| bytes as u64)
        }
    ),
    flag!(
        HEAD_RECORD,
        ["disk-reserve"],
        Some("size"),
        "Remove the oldest messages when the disk has less free space than this (default 1GiB).",
        |d, v| d.server.capture.disk_reserve_bytes = values::size(v.text()?)?
    ),
    flag!(
        HEAD_RECORD,
        ["compress"],
        Some("on|off"),
        "Compress what is no longer appended to, with zstd; JSON takes a fraction of its size then (default off).",
        |d, v| d.server.capture.compress = values::switch(v.text()?)?
    ),
    flag!(
        HEAD_RECORD,
        ["scrub-interval"],
        Some("duration"),
        "Pause between two readings of the whole log for damage (default 24h; off never reads it).",
        |d, v| d.server.capture.scrub_interval = unless_off(v.text()?, |_| span(v, SECOND / 10, DAY * 36_500))?
    ),
    flag!(
        HEAD_RECORD,
        ["scrub-rate"],
        Some("size"),
        "Bytes of it a second, a sixteenth of that while messages are being recorded (default 100M).",
        |d, v| d.server.capture.scrub_bytes_per_s = bytes(v, 1 << 16, i64::MAX as u64)? as u64
    ),
    flag!(HEAD_LOG, ["l", "log"], Some("file"), "Log to this file; USR1 opens it anew.", |d, v| {
        d.log.file = Some(v.path()?)
    }),
    flag!(
        HEAD_LOG,
        ["log_size_limit"],
        Some("size"),
        "Set the log file aside before it is larger (default 0: never).",
        |d, v| d.log.rotation.bytes_max = values::size(v.text()?)?
    ),
    flag!(HEAD_LOG, ["s", "syslog"], None, "Log to the system's log.", |d, v| {
        d.log.syslog = values::switch(v.text()?)?.then_some(Syslog::Local)
    }),
    flag!(HEAD_LOG, ["r", "remote_syslog"], Some("url"), "Log to this syslog (udp://host:514).", |d, v| {
        d.log.syslog = Some(Syslog::Remote(v.word()?.to_owned()))
    }),
    flag!(HEAD_LOG, ["log-format"], Some("text|json"), "Form of the log (default text).", |d, v| {
        d.log.format = match v.text()? {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => return Err(format!("{other:?} is neither text nor json")),
        }
    }),
    flag!(HEAD_LOG, ["T", "logtime"], None, "Begin log lines with the time (default true).", |d, v| {
        d.log.time = values::switch(v.text()?)?
    }),
    flag!(HEAD_LOG, ["logtime_utc"], None, "Log in UTC instead of local time.", |d, v| {
        d.log.utc = values::switch(v.text()?)?
    }),
    flag!(HEAD_LOG, ["D", "debug"], None, "Log more.", |d, v| d.log.debug = values::switch(v.text()?)?),
    flag!(HEAD_LOG, ["V", "VV", "trace"], None, "Log every protocol line.", |d, v| {
        d.server.trace = values::switch(v.text()?)?
    }),
    flag!(HEAD_LOG, ["DV", "DVV"], None, "Both of these.", |d, v| {
        let on = values::switch(v.text()?)?;
        (d.log.debug, d.server.trace) = (on, on);
    }),
    flag!(HEAD_AUTH, ["user"], Some("name"), "User that clients must name.", |d, v| {
        d.user = Some(v.word()?.to_owned())
    }),
    flag!(HEAD_AUTH, ["pass"], Some("password"), "Password of that user.", |d, v| {
        d.password = Some(v.word()?.to_owned())
    }),
    flag!(HEAD_AUTH, ["auth"], Some("token"), "Token that clients must present.", |d, v| {
        d.token = Some(v.word()?.to_owned())
    }),
    flag!(HEAD_TLS, ["tls"], None, "Encrypt client connections; needs --tlscert and --tlskey.", |d, v| {
        d.tls.on = Some(values::switch(v.text()?)?)
    }),
    flag!(HEAD_TLS, ["tlscert"], Some("file"), "Certificate of the server, and those up to its authority.", |d, v| {
        d.tls.cert = Some(v.path()?)
    }),
    flag!(HEAD_TLS, ["tlskey"], Some("file"), "Its private key.", |d, v| d.tls.key = Some(v.path()?)),
    flag!(HEAD_TLS, ["tlsverify"], None, "Clients must show a certificate of an authority in --tlscacert.", |d, v| {
        d.tls.verify = Some(values::switch(v.text()?)?)
    }),
    flag!(HEAD_TLS, ["tlscacert"], Some("file"), "Authorities of the clients.", |d, v| d.tls.ca = Some(v.path()?)),
    flag!(HEAD_TLS, ["help_tls"], None, "Print what can be chosen in the tls block of a configuration.", |d, v| {
        d.help_tls = values::switch(v.text()?)?
    }),
    flag!(
        HEAD_LIMITS,
        ["max_payload"],
        Some("size"),
        "Largest message, headers included (default 1MiB, at most 64MiB).",
        |d, v| d.server.limits.max_payload = bytes(v, 1, MAX_PAYLOAD_MOST)?
    ),
    flag!(
        HEAD_LIMITS,
        ["max_pending"],
        Some("size"),
        "What may wait for a slow client before it is closed (default 64MiB).",
        |d, v| d.server.limits.max_pending = bytes(v, 4096, i64::MAX as u64)?
    ),
    flag!(HEAD_LIMITS, ["max_connections"], Some("n"), "Clients at a time (default 65536).", |d, v| {
        d.server.limits.max_connections = count(v, 1, u64::from(u32::MAX))?
    }),
    flag!(
        HEAD_LIMITS,
        ["max_subscriptions"],
        Some("n"),
        "Subscriptions of one connection (default 0: any number).",
        |d, v| d.server.limits.max_subscriptions = count(v, 0, u64::from(u32::MAX))?
    ),
    flag!(HEAD_LIMITS, ["max_control_line"], Some("size"), "Longest protocol line (default 4KiB).", |d, v| {
        d.server.limits.max_control_line = bytes(v, 64, 1 << 20)?
    }),
    flag!(
        HEAD_LIMITS,
        ["ping_interval"],
        Some("duration"),
        "How often silent clients are pinged (default 2m).",
        |d, v| d.server.limits.ping_interval = span(v, Duration::from_millis(100), DAY)?
    ),
    flag!(HEAD_LIMITS, ["ping_max"], Some("n"), "Pings that may stay unanswered (default 2).", |d, v| {
        d.server.limits.ping_max = u32::try_from(values::number(v.text()?, 1, 1000)?).unwrap_or(1000)
    }),
    flag!(
        HEAD_LIMITS,
        ["write_deadline"],
        Some("duration"),
        "How long a client may take no byte before it is closed (default 10s).",
        |d, v| d.server.limits.write_deadline = span(v, Duration::from_millis(1), DAY)?
    ),
    flag!(
        HEAD_LIMITS,
        ["lame_duck_duration"],
        Some("duration"),
        "How long clients have to leave after USR2 (default 2m).",
        |d, v| d.server.lame_duck_duration = span(v, SECOND, DAY)?
    ),
    flag!(
        HEAD_LIMITS,
        ["lame_duck_grace_period"],
        Some("duration"),
        "How long after USR2 none of them is closed (default 10s).",
        |d, v| d.server.lame_duck_grace = span(v, Duration::ZERO, DAY)?
    ),
    flag!(HEAD_CONFIG, ["c", "config"], Some("file"), "Read this configuration file; flags count more.", |d, v| {
        d.config = Some(v.path()?)
    }),
    flag!(HEAD_CONFIG, ["t"], None, "Check the configuration file and exit.", |d, v| {
        d.check = values::switch(v.text()?)?
    }),
    flag!(
        HEAD_CONFIG,
        ["sl", "signal"],
        Some("word[=pid]"),
        "Send stop, quit, term, reload, reopen or ldm to a server that runs: by its pid, or a file that holds it; without one \
         to the only one there is.",
        |d, v| d.signal = Some(v.word()?.to_owned())
    ),
    flag!(HEAD_COMMON, ["h", "help"], None, "Print this.", |d, v| d.help = values::switch(v.text()?)?),
    flag!(HEAD_COMMON, ["v", "version"], None, "Print the version.", |d, v| { d.version = values::switch(v.text()?)? }),
];
