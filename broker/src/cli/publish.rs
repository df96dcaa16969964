//! `sublog pub`: publishes, and ends with success only when the server has confirmed everything.
//!
//! A PING goes along with every megabyte. In Sublog a PONG means that all before it is on disk, so what was
//! confirmed is known exactly, also when the work fails half way.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use sublog_protocol::{encode, headers, subject};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use super::client::{self, Access, Failure};
use super::connection::Connection;
use super::progress::{Progress, Unit};
use super::{output, values};

/// What stands for the number of a message.
const NUMBER: &str = "{{n}}";
/// Bytes between two PINGs.
const PING_EVERY_BYTES: u64 = 1024 * 1024;
/// Messages between two PINGs.
const PING_EVERY_MESSAGES: u64 = 16 * 1024;
/// Bytes that may wait for the socket before the next message is made.
const UNSENT_BYTES_MAX: usize = 256 * 1024;

// clap takes `{n}` in a help text for a line end; the reset sequence between keeps it from seeing one, and is
// removed where the help goes to no terminal.
/// Publish messages; success means that they are on disk
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sublog pub demo.hello 'first message'
  sublog pub demo.numbers 'number {{\u{1b}[0mn}}' --count 1000
  sublog pub demo.lines --lines < file.txt

Exit codes: 0 the server confirmed every message (with Sublog: it is on disk),
1 an error, 2 a wrong command line, 130 interrupted.")]
pub(crate) struct Args {
    #[arg(value_parser = parse_subject, help = "Subject; {{\u{1b}[0mn}} stands for the number of the message")]
    subject: String,
    #[arg(
        allow_negative_numbers = true,
        help = "Payload; {{\u{1b}[0mn}} stands for the number of the message. Without it, all of stdin"
    )]
    payload: Option<String>,
    /// Publish each line of stdin as one message
    #[arg(long, conflicts_with_all = ["payload", "count"])]
    lines: bool,
    /// Publish so many messages, numbered from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Header 'Key: value'; may be given more than once
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// Subject for answers
    #[arg(long, value_name = "SUBJECT", value_parser = parse_subject)]
    reply: Option<String>,
    /// Print nothing when all went well
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    access: Access,
}

fn parse_subject(text: &str) -> Result<String, String> {
    if subject::is_valid_literal(text.as_bytes()) {
        return Ok(text.to_owned());
    }
    Err("words separated by dots, without blanks and without the wildcards * and >".to_owned())
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once(':').ok_or("a header is 'Key: value'")?;
    let (key, value) = (key.trim(), value.trim());
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("the key of a header is one printable word".to_owned());
    }
    if value.contains(['\r', '\n']) {
        return Err("the value of a header is one line".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs the command.
pub(crate) fn run(args: Args) -> ExitCode {
    client::run(async move {
        let connection = Connection::open(&args.access.target()?, "sublog pub", false).await?;
        let total = (!args.lines).then_some(args.count);
        let mut publisher = Publisher::new(&args, connection, Progress::start("stored", Unit::Messages, total, false));
        let outcome = publisher.publish_all(&args).await;
        publisher.progress.finish();
        publisher.tell(&args, outcome)
    })
}

/// The work in hand.
struct Publisher {
    connection: Connection,
    progress: Progress,
    /// The header block all messages share; empty when there is none.
    headers: Vec<u8>,
    /// Header block and payload of the message being sent, kept to be used again.
    message: Vec<u8>,
    max_payload: usize,
    sent: Tally,
    confirmed: Tally,
    /// What each PING on its way will confirm.
    pings: VecDeque<(u64, Tally)>,
    /// Whether the outcome was reported.
    told: bool,
}

impl Drop for Publisher {
    /// Interrupted work tells how far it came.
    fn drop(&mut self) {
        self.progress.finish();
        if !self.told {
            self.tell_partial();
        }
    }
}

/// So many messages of so many bytes in all.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    messages: u64,
    bytes: u64,
}

impl Publisher {
    fn new(args: &Args, connection: Connection, progress: Progress) -> Self {
        let mut block = Vec::new();
        if !args.headers.is_empty() {
            let mut builder = headers::Builder::new();
            for (key, value) in &args.headers {
                builder.add(key.as_bytes(), value.as_bytes());
            }
            block = builder.finish();
        }
        let max_payload = usize::try_from(connection.info().max_payload).ok().filter(|max| *max > 0);
        Self {
            connection,
            progress,
            headers: block,
            message: Vec::new(),
            max_payload: max_payload.unwrap_or(usize::MAX),
            sent: Tally::default(),
            confirmed: Tally::default(),
            pings: VecDeque::new(),
            told: false,
        }
    }

    async fn publish_all(&mut self, args: &Args) -> Result<(), Failure> {
        if args.lines {
            self.publish_lines(args).await?;
        } else {
            let payload = match &args.payload {
                Some(text) => text.clone().into_bytes(),
                None => self.read_stdin().await?,
            };
            let numbered = std::str::from_utf8(&payload).ok().filter(|text| text.contains(NUMBER)).map(str::to_owned);
            for number in 1..=args.count {
                match &numbered {
                    Some(text) => {
                        let text = text.replace(NUMBER, &number.to_string());
                        self.publish(args, number, text.as_bytes()).await?;
                    }
                    None => self.publish(args, number, &payload).await?,
                }
            }
        }
        self.mark();
        while !self.pings.is_empty() {
            self.step("confirm what was published").await?;
        }
        Ok(())
    }

    /// All of stdin, as far as a message can hold it.
    async fn read_stdin(&mut self) -> Result<Vec<u8>, Failure> {
        if io::stdin().is_terminal() {
            output::warn("the payload is read from the terminal; Ctrl-D ends it");
        }
        let most = u64::try_from(self.max_payload).unwrap_or(u64::MAX).saturating_add(1);
        let mut payload = Vec::new();
        let mut stdin = tokio::io::stdin().take(most);
        let mut reading = Box::pin(stdin.read_to_end(&mut payload));
        loop {
            tokio::select! {
                outcome = &mut reading => {
                    outcome.map_err(|error| Failure::Other(format!("cannot read stdin: {error}")))?;
                    break;
                }
                outcome = self.connection.wait() => {
                    outcome?;
                    self.connection.skip_messages()?;
                }
            }
        }
        drop(reading);
        Ok(payload)
    }

    async fn publish_lines(&mut self, args: &Args) -> Result<(), Failure> {
        let mut stdin = BufReader::with_capacity(256 * 1024, tokio::io::stdin());
        let mut line = Vec::new();
        let mut number = 0;
        loop {
            let chunk = tokio::select! {
                chunk = stdin.fill_buf() => {
                    chunk.map_err(|error| Failure::Other(format!("cannot read stdin: {error}")))?
                }
                outcome = self.connection.wait() => {
                    outcome?;
                    self.settle()?;
                    continue;
                }
            };
            let ended = chunk.is_empty();
            let end = memchr::memchr(b'\n', chunk);
            line.extend_from_slice(chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default());
            let taken = end.map_or(chunk.len(), |end| end + 1);
            stdin.consume(taken);
            if end.is_some() || (ended && !line.is_empty()) {
                number += 1;
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                self.publish(args, number, &line).await?;
                line.clear();
            } else if line.len() > self.max_payload {
                return Err(self.too_large(number + 1, line.len()));
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// Queues one message, and waits when too much waits already.
    async fn publish(&mut self, args: &Args, number: u64, payload: &[u8]) -> Result<(), Failure> {
        let size = self.headers.len() + payload.len();
        if size > self.max_payload {
            return Err(self.too_large(number, size));
        }
        let named;
        let subject = if args.subject.contains(NUMBER) {
            named = args.subject.replace(NUMBER, &number.to_string());
            named.as_bytes()
        } else {
            args.subject.as_bytes()
        };
        let reply = args.reply.as_deref().map(str::as_bytes);
        if self.headers.is_empty() {
            encode::publish(self.connection.output(), subject, reply, payload);
        } else {
            self.message.clear();
            self.message.extend_from_slice(&self.headers);
            self.message.extend_from_slice(payload);
            encode::hpublish(self.connection.output(), subject, reply, self.headers.len(), &self.message);
        }
        self.sent.messages += 1;
        self.sent.bytes += size as u64;
        let marked = self.pings.back().map_or(self.confirmed, |(_, tally)| *tally);
        if self.sent.bytes - marked.bytes >= PING_EVERY_BYTES
            || self.sent.messages - marked.messages >= PING_EVERY_MESSAGES
        {
            self.mark();
        }
        while self.connection.unsent_bytes() > UNSENT_BYTES_MAX {
            self.step("take what is published").await?;
        }
        Ok(())
    }

    /// Has the server confirm everything sent so far.
    fn mark(&mut self) {
        let ping = self.connection.ping();
        self.pings.push_back((ping, self.sent));
    }

    async fn step(&mut self, what: &'static str) -> Result<(), Failure> {
        self.connection.fill(what).await?;
        self.settle()
    }

    /// Counts what was confirmed.
    fn settle(&mut self) -> Result<(), Failure> {
        // The PONGs before an error confirm what they confirm.
        let outcome = self.connection.skip_messages();
        while let Some((ping, tally)) = self.pings.front().copied()
            && ping <= self.connection.pongs()
        {
            self.confirmed = tally;
            self.pings.pop_front();
        }
        self.progress.set(self.confirmed.messages, self.confirmed.bytes);
        Ok(outcome?)
    }

    fn too_large(&self, number: u64, size: usize) -> Failure {
        let limit = values::show_size(self.max_payload as u64);
        let size = values::show_size(size as u64);
        Failure::Other(format!("message {number} has {size} or more, the server takes at most {limit}"))
    }

    fn tell(&mut self, args: &Args, outcome: Result<(), Failure>) -> Result<u8, Failure> {
        self.told = true;
        if let Err(failure) = outcome {
            self.tell_partial();
            return Err(failure);
        }
        if !args.quiet {
            let messages = values::show_messages(self.confirmed.messages);
            let speed =
                if self.confirmed.messages > 1 { format!(", {}", self.progress.speed()) } else { String::new() };
            output::to_stderr(&format!("{messages} {}{speed}\n", self.verb()));
        }
        Ok(0)
    }

    fn tell_partial(&self) {
        if self.sent.messages > 0 {
            let (stored, sent) = (self.confirmed.messages, self.sent.messages);
            let (stored, sent) = (values::show_count(stored), values::show_count(sent));
            output::warn(&format!("of {sent} messages sent, {stored} are confirmed as {}", self.verb()));
        }
    }

    /// Only Sublog's PONG speaks of disks.
    fn verb(&self) -> &'static str {
        if self.connection.info().sublog.is_some() { "stored" } else { "received, not stored" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_checked_before_anything_is_sent() {
        for good in ["a", "a.b.c", "a.{{n}}", "a*b"] {
            assert!(parse_subject(good).is_ok(), "{good}");
        }
        for bad in ["", "a..b", "a.*", "a.>", "a b", ".a", "a."] {
            assert!(parse_subject(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_are_a_key_and_a_value() {
        assert_eq!(parse_header("Key: some value"), Ok(("Key".into(), "some value".into())));
        assert_eq!(parse_header("Key:"), Ok(("Key".into(), String::new())));
        assert_eq!(parse_header("K:a:b"), Ok(("K".into(), "a:b".into())));
        for bad in ["", "no colon", ": v", "two words: v", "K: a\nb"] {
            assert!(parse_header(bad).is_err(), "{bad}");
        }
    }
}
