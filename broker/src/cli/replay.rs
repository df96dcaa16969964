//! `sublog replay`: prints messages from the past, then ends or goes on with new ones.
//!
//! The server does the work: a subscription to `$REPLAY.<where>.<subject>`. Where to stop is decided here. The
//! newest sequence is asked for first, so that a busy server does not make "now" move on for ever; the status
//! message that marks the end of history covers the case that the newest messages have other subjects.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use jiff::Timestamp;
use sublog_protocol::decode::Message;
use sublog_protocol::headers::{self, Headers};
use sublog_protocol::{encode, limits};

use super::client::{self, Access, Failure};
use super::connection::{ClientError, Connection};
use super::output::{self, Format, Printer, Shown};
use super::positions::{self, CAUGHT_UP, PREFIX, Start, TIME_SLACK, replay_subject};
use super::progress::{Progress, Unit};
use super::streams::{self, StreamState};
use super::{EXIT_NO_MATCH, subscribe, values};

/// Print messages from the past
#[derive(Debug, clap::Args)]
#[command(after_help = "Positions:
  all           the oldest message there is
  seq:N         the message with this sequence
  last:N        the N newest messages with this subject
  6h            so long ago (90s, 15m, 6h, 7d)
  2025-06-01T12:00:00Z, 2025-06-01, '2025-06-01 12:00'
                a time, local unless it says otherwise
  1748779200    a time in unix seconds, or milliseconds
  now, live     (--to) the end of history, or never

Examples:
  sublog replay 'demo.>' --from all
  sublog replay 'cms.wmarchive.>' --from 6h --format json > six-hours.jsonl
  sublog replay demo.hello --from last:10 --follow

Exit codes: 0 done, 1 an error, 2 a wrong command line, 3 nothing matched,
130 interrupted.")]
pub(crate) struct Args {
    /// Subject; * stands for one word, > for the rest
    #[arg(value_parser = subscribe::parse_filter)]
    subject: String,
    /// Where to begin
    #[arg(long, value_name = "POSITION", value_parser = positions::parse_from)]
    from: Start,
    /// Where to end, this position included
    #[arg(long, value_name = "POSITION", default_value = "now", value_parser = parse_to)]
    to: Stop,
    /// Go on with new messages: --to live
    #[arg(short = 'F', long, conflicts_with = "to")]
    follow: bool,
    /// End after so many messages
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How to print messages
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print nothing but the messages
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    access: Access,
}

/// Where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Now,
    Live,
    Sequence(u64),
    Time(Timestamp),
}

fn parse_to(text: &str) -> Result<Stop, String> {
    match text {
        "now" => return Ok(Stop::Now),
        "live" => return Ok(Stop::Live),
        _ => {}
    }
    if let Some(seq) = text.strip_prefix("seq:") {
        return positions::sequence(seq).map(Stop::Sequence);
    }
    positions::time(text)
        .map(Stop::Time)
        .map_err(|_| "none of now, live, seq:N or a time (2025-06-01T12:00:00Z)".to_owned())
}

/// Runs the command.
pub(crate) fn run(args: Args) -> ExitCode {
    client::run(replay(args))
}

async fn replay(args: Args) -> Result<u8, Failure> {
    const SID: &[u8] = b"1";
    let to = if args.follow { Stop::Live } else { args.to };
    let subject = replay_subject(args.from, &args.subject);
    if subject.len() + 32 > limits::MAX_CONTROL_LINE {
        return Err(Failure::Usage("the subject is too long".to_owned()));
    }
    let mut connection = Connection::open(&args.access.target()?, "sublog replay", true).await?;
    let info = connection.info();
    if info.sublog.is_none() {
        let text =
            format!("{} (nats-server {}) keeps no history; replay needs Sublog", connection.peer(), info.version);
        return Err(Failure::Other(text));
    }
    let state = match streams::fetch(&mut connection).await {
        Ok(streams) => streams.into_iter().find(|stream| stream.name == crate::capture::CAPTURE),
        // A user who may replay but not ask: the status message ends the replay.
        Err(Failure::Client(ClientError::Server { text, .. })) if text.starts_with("Permissions") => None,
        Err(failure) => return Err(failure),
    };
    encode::subscribe(connection.output(), subject.as_bytes(), None, SID);
    if let Some(count) = args.count {
        encode::unsubscribe(connection.output(), SID, Some(count));
    }
    let mut reading = Reading::new(&args, to, state.as_ref());
    if reading.is_over_before_it_begins(state.as_ref()) {
        return reading.end(&args);
    }
    loop {
        while let Some(message) = connection.next()? {
            if reading.take(&message)?.is_end() {
                return reading.end(&args);
            }
        }
        reading.printer.flush()?;
        reading.tell_progress();
        connection.wait().await?;
    }
}

/// Whether more is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    More,
    End,
}

impl Next {
    fn is_end(self) -> bool {
        self == Self::End
    }
}

/// The work in hand.
struct Reading {
    printer: Printer<io::StdoutLock<'static>>,
    progress: Progress,
    to: Stop,
    /// The last sequence to print, once it is known.
    last_seq: Option<u64>,
    /// Where the progress begins to count.
    first_seq: u64,
    seq: u64,
    left: u64,
    messages: u64,
    bytes: u64,
}

impl Reading {
    fn new(args: &Args, to: Stop, state: Option<&StreamState>) -> Self {
        let newest = state.map(|state| state.last_seq);
        let last_seq = match to {
            Stop::Now => newest,
            Stop::Sequence(seq) => Some(seq),
            Stop::Live | Stop::Time(_) => None,
        };
        let first_seq = state.map_or(0, |state| match args.from {
            Start::Sequence(seq) => seq.max(state.first_seq),
            _ => state.first_seq,
        });
        let end = last_seq.or(newest).filter(|_| to != Stop::Live);
        let total = end.map(|end| end.saturating_sub(first_seq) + 1);
        // Where a time or a number of messages begins is the server's to find; a share of unknown size is no share.
        let bounded = matches!(args.from, Start::All | Start::Sequence(_)) && !matches!(to, Stop::Time(_));
        let progress = Progress::start("replayed", Unit::Messages, total.filter(|_| bounded), true);
        Self {
            printer: Printer::stdout(args.format),
            progress,
            to,
            last_seq,
            first_seq,
            seq: 0,
            left: args.count.unwrap_or(u64::MAX),
            messages: 0,
            bytes: 0,
        }
    }

    /// Whether there is nothing to wait for: no history at all, or none after the beginning.
    fn is_over_before_it_begins(&self, state: Option<&StreamState>) -> bool {
        let empty = state.is_some_and(|state| state.messages == 0);
        (empty && self.to != Stop::Live) || self.last_seq.is_some_and(|last| last < self.first_seq)
    }

    fn take(&mut self, message: &Message<'_>) -> Result<Next, Failure> {
        let (block, payload) = message.message.split_at_checked(message.header_len).unwrap_or_default();
        if message.subject.starts_with(PREFIX.as_bytes()) {
            return Ok(self.status(block));
        }
        let text = |key: &[u8]| headers::get(block, key).and_then(|value| std::str::from_utf8(value).ok());
        let Some(seq) = text(b"Nats-Sequence").and_then(|seq| seq.parse::<u64>().ok()) else {
            return Err(Failure::Other("the server sent a message without its sequence".to_owned()));
        };
        if self.last_seq.is_some_and(|last| seq > last) {
            return Ok(Next::End);
        }
        let time = text(b"Nats-Time-Stamp").unwrap_or("-");
        if let Stop::Time(until) = self.to {
            let at = time.parse::<Timestamp>().unwrap_or(Timestamp::UNIX_EPOCH);
            if at > until {
                let beyond = at.duration_since(until) > TIME_SLACK;
                return Ok(if beyond { Next::End } else { Next::More });
            }
        }
        let stream = text(b"Nats-Stream").unwrap_or("-");
        self.printer.message(&Shown {
            place: Some((stream, seq)),
            time,
            subject: message.subject,
            reply: message.reply,
            headers: block,
            payload,
        })?;
        self.seq = seq;
        self.messages += 1;
        self.bytes += message.message.len() as u64;
        self.left -= 1;
        Ok(if self.left == 0 || self.last_seq == Some(seq) { Next::End } else { Next::More })
    }

    /// What the server says about the replay itself.
    fn status(&self, block: &[u8]) -> Next {
        let Ok(status) = Headers::parse(block) else { return Next::More };
        if status.status() == Some(CAUGHT_UP) {
            return match self.to {
                Stop::Live => Next::More,
                // What is not there yet is not waited for.
                Stop::Now | Stop::Sequence(_) | Stop::Time(_) => Next::End,
            };
        }
        let detail: Vec<String> = status
            .iter()
            .map(|(key, value)| format!("{}: {}", String::from_utf8_lossy(key), String::from_utf8_lossy(value)))
            .collect();
        let text = String::from_utf8_lossy(status.description()).into_owned();
        output::warn(&format!("{text} {}", detail.join(", ")).escape_debug().to_string());
        Next::More
    }

    fn tell_progress(&mut self) {
        // Bounded progress is the position in the log, since what the filter leaves out has to be passed as well.
        let done =
            if self.progress.is_bounded() { (self.seq + 1).saturating_sub(self.first_seq) } else { self.messages };
        self.progress.set(done, self.bytes);
    }

    fn end(mut self, args: &Args) -> Result<u8, Failure> {
        self.printer.flush()?;
        self.progress.finish();
        if self.messages == 0 {
            if !args.quiet {
                output::warn("nothing matched");
            }
            return Ok(EXIT_NO_MATCH);
        }
        // On a terminal the messages speak for themselves.
        if !args.quiet && !io::stdout().is_terminal() {
            self.progress.set(self.messages, self.bytes);
            let (count, size) = (values::show_messages(self.messages), values::show_size(self.bytes));
            output::to_stderr(&format!("{count}, {size}, {}\n", self.progress.speed()));
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_to_end() {
        assert_eq!(parse_to("now"), Ok(Stop::Now));
        assert_eq!(parse_to("live"), Ok(Stop::Live));
        assert_eq!(parse_to("seq:7"), Ok(Stop::Sequence(7)));
        assert_eq!(parse_to("1970-01-01T00:00:07Z"), Ok(Stop::Time(Timestamp::from_second(7).unwrap())));
        for text in ["", "all", "seq:0", "6x"] {
            assert!(parse_to(text).is_err(), "{text:?} must be refused");
        }
    }
}
