//! Reading a whole stream back through a consumer, after a restart.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::json;

use crate::cli::Options;
use crate::clock::now;
use crate::content::{Content, Ledger, STAMP_BYTES, Share, Stamp};
use crate::error::{BenchError, Result};
use crate::figure::{Figure, Meter, Unit, rate};
use crate::server::{Server, Target};
use crate::wire::{Connection, Delivered, FixedFrame};
use crate::workload::jetstream::{Api, STREAM, fill};

/// Messages of one pull request.
const PULL_BATCH: u64 = 500;
/// Pull requests that wait at once, so that there is always one when a batch ends.
const PULLS_WAITING: u64 = 2;
const READ_BYTES: usize = 256 << 10;

/// How a consumer hands messages out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::workload) enum Way {
    /// As fast as the connection takes them.
    Push,
    /// When asked, in batches.
    Pull,
}

/// Fills a stream with `--messages`, restarts the server, and measures one consumer that reads them all.
///
/// # Errors
/// A connection failed, or a message was lost, repeated, reordered or altered.
pub(in crate::workload) fn run(
    server: &mut Server,
    options: &Options,
    payload_bytes: usize,
    way: Way,
) -> Result<Vec<Figure>> {
    let content = Content::on(crate::workload::SUBJECT, payload_bytes);
    let filled = fill(server.target(), &content, options.messages)?;
    let start = server.restart()?;
    let target = server.target();
    Api::open(target)?.expect_messages(options.messages)?;
    let meter = Meter::start(target)?;
    let elapsed = match way {
        Way::Push => push(target, &content, options.messages)?,
        Way::Pull => pull(target, &content, options.messages)?,
    };
    let cost = meter.stop()?;
    let per_second = rate(options.messages, elapsed);
    let mut figures = vec![
        Figure::new("replayed", Unit::MessagesPerSecond, per_second),
        Figure::new("payload", Unit::MegabytesPerSecond, per_second * payload_bytes as f64 / 1e6),
        Figure::new("start on the stream", Unit::Milliseconds, start.as_secs_f64() * 1e3),
        Figure::aside("filled", Unit::MessagesPerSecond, rate(filled.count, filled.elapsed)),
    ];
    figures.extend(cost.figures(options.messages, elapsed));
    Ok(figures)
}

/// A push consumer without acknowledgements; the time from asking for it to the last message.
///
/// # Errors
/// The stream does not hold exactly `count` messages in their order, or the connection failed.
pub(in crate::workload) fn push(target: Target, content: &Content, count: u64) -> Result<Duration> {
    let mut reader = Reader::open(target, content)?;
    let config = json!({"stream_name": STREAM, "config": {
        "name": "push", "deliver_subject": INBOX, "deliver_policy": "all", "ack_policy": "none",
        "replay_policy": "instant", "mem_storage": true, "inactive_threshold": INACTIVE_NS,
    }});
    let mut api = Api::open(target)?;
    let begun = now();
    api.ask(&format!("CONSUMER.CREATE.{STREAM}.push"), &config)?;
    while reader.ledger.received() < count {
        reader.more(count)?;
    }
    let elapsed = begun.elapsed();
    reader.end(&mut api, "push")?;
    Ok(elapsed)
}

/// A pull consumer without acknowledgements; the time from asking for it to the last message.
///
/// # Errors
/// As [`push`].
pub(in crate::workload) fn pull(target: Target, content: &Content, count: u64) -> Result<Duration> {
    let mut reader = Reader::open(target, content)?;
    let config = json!({"stream_name": STREAM, "config": {
        "name": "pull", "deliver_policy": "all", "ack_policy": "none", "replay_policy": "instant",
        "mem_storage": true, "inactive_threshold": INACTIVE_NS,
    }});
    let mut api = Api::open(target)?;
    let begun = now();
    api.ask(&format!("CONSUMER.CREATE.{STREAM}.pull"), &config)?;
    let mut asked = 0;
    while reader.ledger.received() < count {
        while asked < count && asked - reader.ledger.received() <= PULL_BATCH * (PULLS_WAITING - 1) {
            // Never more than there are, so that no request is left to run out.
            let batch = PULL_BATCH.min(count - asked);
            let request = format!("{{\"batch\":{batch},\"expires\":60000000000}}");
            let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{STREAM}.pull");
            let frame = format!("PUB {subject} {INBOX} {}\r\n{request}\r\n", request.len());
            reader.connection.send(frame.as_bytes())?;
            asked += batch;
        }
        reader.more(asked)?;
    }
    let elapsed = begun.elapsed();
    reader.end(&mut api, "pull")?;
    Ok(elapsed)
}

const INBOX: &str = "_INBOX.read";
/// Long enough for any run: a consumer that is forgotten early would be an error of ours.
const INACTIVE_NS: u64 = 600_000_000_000;

/// One connection that reads and keeps the books.
#[derive(Debug)]
struct Reader<'a> {
    connection: Connection,
    content: &'a Content,
    frame: FixedFrame,
    ledger: Ledger,
}

impl<'a> Reader<'a> {
    fn open(target: Target, content: &'a Content) -> Result<Self> {
        let mut connection = Connection::open(target, READ_BYTES)?;
        connection.send(format!("SUB {INBOX} 1\r\n").as_bytes())?;
        connection.flush()?;
        let frame = FixedFrame::with_reply(content.subject.as_bytes(), content.digits, content.payload_bytes);
        Ok(Self { connection, content, frame, ledger: Ledger::new(Share::All, 1) })
    }

    /// Reads once; there must not be more than `most` messages by then.
    fn more(&mut self, most: u64) -> Result<()> {
        let Self { connection, content, frame, ledger } = self;
        let never = AtomicBool::new(false);
        connection.pump(Some(frame), &never, "waiting for a consumer's messages", &mut |got: Delivered<'_>| {
            no_status(got)?;
            let stamp = Stamp::of(got.payload)?;
            content.verify(got, stamp, STAMP_BYTES)?;
            ledger.enter(stamp)
        })?;
        if ledger.received() > most {
            let text = format!("{most} messages were asked for, {} came", ledger.received());
            return Err(BenchError::Wrong(text));
        }
        Ok(())
    }

    /// Proves that nothing follows, and deletes the consumer.
    fn end(mut self, api: &mut Api, name: &str) -> Result<()> {
        self.connection.flush()?;
        api.ask(&format!("CONSUMER.DELETE.{STREAM}.{name}"), &json!({}))?;
        self.connection.flush()
    }
}

/// Refuses a message without payload by which a server says how a request fares.
///
/// # Errors
/// It is one.
pub(super) fn no_status(got: Delivered<'_>) -> Result<()> {
    if got.headers.is_empty() {
        return Ok(());
    }
    let line = got.headers.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Err(BenchError::Wrong(format!("the consumer said {:?}", String::from_utf8_lossy(line))))
}
