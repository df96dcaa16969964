//! Logging: lines like nats-server's, or JSON, to stderr, a file that can be opened anew, or syslog.
//!
//! A text line is `[pid] YYYY/MM/DD hh:mm:ss.ffffff [LVL] text key=value`, with LVL one of `INF DBG TRC WRN
//! ERR FTL`, because scripts and supervisors match on that. An error is `FTL` when its event has the field
//! `fatal = true` or the target `fatal`. Every event is one line: control characters in texts and values, which may come from
//! clients, are escaped.
//!
//! The protocol trace (`-V`) is the target [`WIRE`] alone; whoever logs to it leaves out passwords and tokens.
//! A line that cannot be written (full disk, closed pipe) is dropped, so that logging never stops the server.

mod fields;
mod file;
mod syslog;

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use parking_lot::{Mutex, RwLock};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Registry, reload};

use self::fields::Fields;
use self::file::LogFile;
pub use self::file::Rotation;
pub use self::syslog::Syslog;
use crate::clock;

/// Target of the protocol trace.
pub const WIRE: &str = "sublog::wire";
/// Target whose errors are fatal.
pub const FATAL: &str = "fatal";

/// What to log, how, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// File to append to instead of stderr.
    pub file: Option<PathBuf>,
    /// When that file is set aside for a new one.
    pub rotation: Rotation,
    /// The system's log instead of a file or stderr.
    pub syslog: Option<Syslog>,
    /// Form of a line.
    pub format: LogFormat,
    /// Whether text lines carry the time; JSON lines always do.
    pub time: bool,
    /// UTC instead of local time.
    pub utc: bool,
    /// Log debug events.
    pub debug: bool,
    /// Log the protocol trace.
    pub trace: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            file: None,
            rotation: Rotation::default(),
            syslog: None,
            format: LogFormat::Text,
            time: true,
            utc: false,
            debug: false,
            trace: false,
        }
    }
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// As nats-server's.
    Text,
    /// One JSON object a line.
    Json,
}

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file cannot be opened for appending.
    #[error("cannot open the log file {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system's log cannot be reached.
    #[error("cannot reach syslog at {address}: {source}")]
    Syslog {
        /// Where it was looked for.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The process logs already.
    #[error("logging was set up twice")]
    Twice,
}

/// The log of this process; clones are the same log.
#[derive(Debug, Clone)]
pub struct LogHandle {
    output: Arc<RwLock<Arc<Output>>>,
    filter: reload::Handle<Targets, Registry>,
}

impl LogHandle {
    /// Closes the log file and opens its path again, so that a rotated file can be moved away. Does nothing
    /// when the log goes elsewhere.
    ///
    /// # Errors
    /// [`LogError::Open`]; the log then goes on into the file it had.
    pub fn reopen(&self) -> Result<(), LogError> {
        match &self.output.read().sink {
            Sink::File(file) => file.lock().reopen(),
            _ => Ok(()),
        }
    }

    /// Logs as `options` say from here on. What cannot fail any more is left to [`Prepared::apply`].
    ///
    /// # Errors
    /// The new file or syslog cannot be opened; nothing has changed then.
    pub fn prepare(&self, options: &LogOptions) -> Result<Prepared, LogError> {
        Ok(Prepared { handle: self.clone(), output: Output::new(options)?, filter: filter(options) })
    }

    /// Whether somebody reads the log on a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self.output.read().sink, Sink::Stderr { terminal: true })
    }
}

/// A way to log that is ready to be taken.
#[derive(Debug)]
pub struct Prepared {
    handle: LogHandle,
    output: Output,
    filter: Targets,
}

impl Prepared {
    /// Logs this way from here on.
    pub fn apply(self) {
        *self.handle.output.write() = Arc::new(self.output);
        // It fails only where no log was set up, and then nobody is left to tell.
        let _ = self.handle.filter.reload(self.filter);
    }
}

/// Sets the log of this process up.
///
/// # Errors
/// [`LogError`].
pub fn init(options: &LogOptions) -> Result<LogHandle, LogError> {
    let output = Arc::new(RwLock::new(Arc::new(Output::new(options)?)));
    let (filter, handle) = reload::Layer::new(filter(options));
    let layer = LineLayer { output: output.clone(), pid: std::process::id() };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
    Ok(LogHandle { output, filter: handle })
}

/// Our own targets begin with `sublog`; of the libraries below only warnings matter to an operator.
fn filter(options: &LogOptions) -> Targets {
    let own = if options.debug { LevelFilter::DEBUG } else { LevelFilter::INFO };
    let wire = if options.trace { LevelFilter::TRACE } else { LevelFilter::OFF };
    Targets::new().with_default(LevelFilter::WARN).with_target("sublog", own).with_target(WIRE, wire)
}

/// Where lines go, and in which form.
#[derive(Debug)]
struct Output {
    sink: Sink,
    format: LogFormat,
    /// `None` leaves the time out.
    zone: Option<TimeZone>,
    colour: bool,
}

impl Output {
    fn new(options: &LogOptions) -> Result<Self, LogError> {
        let sink = match (&options.syslog, &options.file) {
            (Some(syslog), _) => Sink::Syslog(syslog::connect(syslog)?),
            (None, Some(path)) => Sink::File(Mutex::new(LogFile::open(path, options.rotation)?)),
            (None, None) => Sink::Stderr { terminal: io::stderr().is_terminal() },
        };
        let zone = match (options.format, options.time) {
            (LogFormat::Text, false) => None,
            _ if options.utc => Some(TimeZone::UTC),
            _ => Some(TimeZone::system()),
        };
        let terminal = matches!(sink, Sink::Stderr { terminal: true });
        let colour = terminal && std::env::var_os("NO_COLOR").is_none();
        Ok(Self { sink, format: options.format, zone, colour })
    }
}

/// Where lines go.
#[derive(Debug)]
enum Sink {
    Stderr { terminal: bool },
    File(Mutex<LogFile>),
    Syslog(syslog::Connection),
}

impl Sink {
    /// Writes one line with one call, so that lines of several threads never mix.
    fn write(&self, line: &str, label: &str) {
        // Nobody is left to tell when the log itself fails.
        match self {
            Self::Stderr { .. } => {
                let _ = io::stderr().lock().write_all(line.as_bytes());
            }
            Self::File(file) => file.lock().write(line),
            Self::Syslog(connection) => connection.send(line.trim_end_matches('\n'), label),
        }
    }
}

/// Turns events into lines.
struct LineLayer {
    output: Arc<RwLock<Arc<Output>>>,
    pid: u32,
}

/// The fields of a span as they were recorded, kept with the span.
struct SpanFields(Fields);

impl<S> Layer<S> for LineLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &tracing::span::Attributes<'_>, id: &tracing::Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &tracing::Id, values: &tracing::span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanFields(fields)) = span.extensions_mut().get_mut()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(SpanFields(outer)) = span.extensions().get() {
                fields.values.extend(outer.values.iter().cloned());
            }
        }
        let outer = fields.values.len();
        event.record(&mut fields);
        fields.values.rotate_left(outer);
        let output = self.output.read().clone();
        let (label, _) = label(event.metadata(), &fields);
        let line = match output.format {
            LogFormat::Text => output.text(self.pid, event.metadata(), &fields),
            LogFormat::Json => output.json(self.pid, event.metadata(), fields),
        };
        output.sink.write(&line, label);
    }
}

impl Output {
    fn text(&self, pid: u32, metadata: &Metadata<'_>, fields: &Fields) -> String {
        let mut line = String::with_capacity(160);
        // Syslog has its own way to say when, who and how bad.
        if !matches!(self.sink, Sink::Syslog(_)) {
            let _ = write!(line, "[{pid}] ");
            if let Some(zone) = &self.zone {
                let _ = write!(line, "{} ", now().to_zoned(zone.clone()).strftime("%Y/%m/%d %H:%M:%S%.6f"));
            }
            let (label, colour) = label(metadata, fields);
            let _ = match self.colour {
                true => write!(line, "[\x1b[{colour}m{label}\x1b[0m] "),
                false => write!(line, "[{label}] "),
            };
        }
        escape(&mut line, &fields.message);
        for (key, value) in &fields.values {
            let _ = write!(line, " {key}=");
            let text = match value {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            if text.is_empty() || text.contains([' ', '"', '=']) {
                let _ = write!(line, "{text:?}");
            } else {
                escape(&mut line, &text);
            }
        }
        line.push('\n');
        line
    }

    fn json(&self, pid: u32, metadata: &Metadata<'_>, fields: Fields) -> String {
        let (label, _) = label(metadata, &fields);
        let zone = self.zone.clone().unwrap_or(TimeZone::UTC);
        let mut object = serde_json::Map::new();
        object.insert("time".into(), now().to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string().into());
        object.insert("level".into(), label.into());
        object.insert("pid".into(), pid.into());
        object.insert("target".into(), metadata.target().into());
        object.insert("message".into(), fields.message.into());
        for (key, value) in fields.values {
            // A field never replaces one of the above.
            let key = if object.contains_key(key) { format!("{key}_") } else { key.to_owned() };
            object.insert(key, value);
        }
        let mut line = serde_json::Value::Object(object).to_string();
        line.push('\n');
        line
    }
}

/// The clock's reading; the epoch, should the clock be beyond what can be shown.
fn now() -> Timestamp {
    Timestamp::from_nanosecond(i128::from(clock::unix_ns())).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The level's three letters and its colour on a terminal.
fn label(metadata: &Metadata<'_>, fields: &Fields) -> (&'static str, u8) {
    match *metadata.level() {
        Level::ERROR if fields.fatal || metadata.target() == FATAL => ("FTL", 31),
        Level::ERROR => ("ERR", 31),
        Level::WARN => ("WRN", 33),
        Level::INFO => ("INF", 32),
        Level::DEBUG => ("DBG", 36),
        Level::TRACE => ("TRC", 35),
    }
}

/// Appends `text` with its control characters escaped.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::path::Path;

    /// Runs `events` under a log that goes to a fresh file, and returns the file's lines.
    fn logged(name: &str, options: LogOptions, events: impl FnOnce(&LogHandle, &Path)) -> Vec<String> {
        let path = std::env::temp_dir().join(format!("sublog-log-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let options = LogOptions { file: Some(path.clone()), ..options };
        let output = Arc::new(RwLock::new(Arc::new(Output::new(&options).unwrap())));
        let (filter, reload) = reload::Layer::new(filter(&options));
        let handle = LogHandle { output: output.clone(), filter: reload };
        let layer = LineLayer { output, pid: std::process::id() };
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
        tracing::subscriber::with_default(subscriber, || events(&handle, &path));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn text_lines_look_like_nats_servers() {
        let lines = logged("text", LogOptions::default(), |_, _| {
            tracing::info!("Server is ready");
            tracing::warn!(cid = 5, peer = "a b", "slow");
            tracing::error!("bad");
            tracing::error!(fatal = true, "worse");
            tracing::error!(target: FATAL, "worst");
        });
        let pid = std::process::id();
        let mut tails = Vec::new();
        for line in &lines {
            let rest = line.strip_prefix(&format!("[{pid}] ")).unwrap();
            let (time, tail) = rest.split_at("2025/06/01 12:00:00.000000 ".len());
            let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
            assert_eq!(shape, "9999/99/99 99:99:99.999999 ");
            tails.push(tail);
        }
        let expected =
            ["[INF] Server is ready", "[WRN] slow cid=5 peer=\"a b\"", "[ERR] bad", "[FTL] worse", "[FTL] worst"];
        assert_eq!(tails, expected);
    }

    #[test]
    fn levels_follow_the_flags() {
        let events = |_: &LogHandle, _: &Path| {
            tracing::debug!("debug");
            tracing::trace!("too fine");
            tracing::trace!(target: WIRE, "wire");
            tracing::info!(target: "sled::tree", "library");
            tracing::warn!(target: "sled::tree", "library warns");
        };
        let run = |name: &str, debug, trace| {
            let options = LogOptions { debug, trace, time: false, ..LogOptions::default() };
            let lines = logged(name, options, events);
            lines.iter().map(|line| line.split_once("] ").unwrap().1.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(run("plain", false, false), ["[WRN] library warns"]);
        assert_eq!(run("debug", true, false), ["[DBG] debug", "[WRN] library warns"]);
        assert_eq!(run("trace", false, true), ["[TRC] wire", "[WRN] library warns"]);
        assert_eq!(run("both", true, true), ["[DBG] debug", "[TRC] wire", "[WRN] library warns"]);
    }

    #[test]
    fn what_clients_send_cannot_forge_a_line() {
        let lines = logged("forge", LogOptions { time: false, ..LogOptions::default() }, |_, _| {
            tracing::info!(name = "x\n[1] [INF] forged", "one\r\ntwo\x1b[31m");
        });
        assert_eq!(lines.len(), 1);
        assert!(lines[0].ends_with(r#"[INF] one\r\ntwo\u{1b}[31m name="x\n[1] [INF] forged""#), "{}", lines[0]);
    }

    #[test]
    fn spans_add_their_fields() {
        let lines = logged("span", LogOptions { time: false, ..LogOptions::default() }, |_, _| {
            let span = tracing::info_span!("client", cid = 7, name = tracing::field::Empty);
            let _entered = span.enter();
            span.record("name", "n");
            tracing::info!(size = 1, "text");
        });
        assert!(lines[0].ends_with("[INF] text size=1 cid=7 name=n"), "{}", lines[0]);
    }

    #[test]
    fn json_lines_are_objects() {
        let options = LogOptions { format: LogFormat::Json, utc: true, ..LogOptions::default() };
        let lines = logged("json", options, |_, _| {
            tracing::info!(count = 3, level = "mine", "a \"quoted\" text");
        });
        let object: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(object["message"], "a \"quoted\" text");
        assert_eq!(object["level"], "INF");
        assert_eq!(object["level_"], "mine");
        assert_eq!(object["count"], 3);
        let time: Timestamp = object["time"].as_str().unwrap().parse().unwrap();
        assert!(time > Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn reopening_follows_the_path() {
        let lines = logged("reopen", LogOptions { time: false, ..LogOptions::default() }, |handle, path| {
            let moved = path.with_extension("old");
            tracing::info!("one");
            std::fs::rename(path, &moved).unwrap();
            tracing::info!("two");
            handle.reopen().unwrap();
            tracing::info!("three");
            let old = std::fs::read_to_string(&moved).unwrap();
            std::fs::remove_file(&moved).unwrap();
            assert_eq!(old.lines().count(), 2, "{old}");
        });
        assert_eq!(lines.len(), 1);
        assert!(lines[0].ends_with("[INF] three"));
    }

    #[test]
    fn a_new_way_to_log_is_taken_whole() {
        let lines = logged("reload", LogOptions { time: false, ..LogOptions::default() }, |handle, path| {
            tracing::debug!("one");
            let bad = LogOptions { file: Some("/nonexistent/dir/log".into()), debug: true, ..LogOptions::default() };
            assert!(handle.prepare(&bad).is_err());
            tracing::debug!("two");
            let other = path.with_extension("other");
            let good = LogOptions { file: Some(other.clone()), debug: true, time: false, ..LogOptions::default() };
            let prepared = handle.prepare(&good).unwrap();
            tracing::info!("three");
            prepared.apply();
            tracing::debug!("four");
            let text = std::fs::read_to_string(&other).unwrap();
            std::fs::remove_file(&other).unwrap();
            assert!(text.ends_with("[DBG] four\n") && text.lines().count() == 1, "{text}");
        });
        assert!(lines.len() == 1 && lines[0].ends_with("[INF] three"), "{lines:?}");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let options = LogOptions { file: Some("/nonexistent/dir/log".into()), ..LogOptions::default() };
        let error = Output::new(&options).err().unwrap().to_string();
        assert!(error.starts_with("cannot open the log file /nonexistent/dir/log: "), "{error}");
    }
}
