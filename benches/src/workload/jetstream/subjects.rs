//! Streams with many subjects: reading one of them back, and what they cost in memory.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::json;

use crate::cli::Options;
use crate::clock::now;
use crate::content::{Content, STAMP_BYTES, Stamp};
use crate::crew::{go_on, joined, part};
use crate::error::{BenchError, Result, gather};
use crate::figure::{Figure, Meter, Unit, histogram, merged, rate};
use crate::process::memory;
use crate::server::{Server, Target};
use crate::wire::{Connection, Delivered};
use crate::workload::idle::steady_memory;
use crate::workload::jetstream::{Api, FILL_WINDOW, STREAM, Until, fill, publish, read, since};

const PREFIX: &str = "bench.many.";
/// Messages of each subject, where one is read.
const EACH: u64 = 10;
/// Readers at once in the second measurement.
const AT_ONCE: u32 = 8;

/// Ten messages on each of `--messages` / 10 subjects (rounded to a power of ten): one consumer for each replay of a
/// subject that is chosen at random, after a restart: a first one, then one reader for a while, then eight.
///
/// # Errors
/// A connection failed, or a message was lost, repeated, reordered or altered.
pub(in crate::workload) fn one_of_many(server: &mut Server, options: &Options) -> Result<Vec<Figure>> {
    let digits = (options.messages / EACH).max(10).ilog10();
    let content = Content::on_many(PREFIX, digits, crate::workload::PAYLOAD_BYTES);
    fill(server.target(), &content, content.subjects * EACH)?;
    server.restart()?;
    let target = server.target();
    let (first, _) = replays(target, Duration::ZERO, &content, 1)?;
    let meter = Meter::start(target)?;
    let (alone, elapsed) = replays(target, options.duration(), &content, 1)?;
    let cost = meter.stop()?;
    let (together, together_elapsed) = replays(target, options.duration(), &content, AT_ONCE)?;
    let micros = |name, value: f64| Figure::new(name, Unit::Microseconds, value / 1e3);
    let mut figures = vec![
        Figure::new("replays", Unit::PerSecond, rate(alone.len(), elapsed)),
        micros("p50", alone.value_at_quantile(0.5) as f64),
        micros("mean", alone.mean()),
        micros("p99", alone.value_at_quantile(0.99) as f64),
        micros("first after a restart", first.max() as f64),
        Figure::new("replays, 8 at once", Unit::PerSecond, rate(together.len(), together_elapsed)),
        micros("p50, 8 at once", together.value_at_quantile(0.5) as f64),
        micros("p99, 8 at once", together.value_at_quantile(0.99) as f64),
    ];
    figures.extend(cost.figures(alone.len(), elapsed));
    Ok(figures)
}

/// Replays for a time, by so many readers at once, each of them at least once.
///
/// # Errors
/// A connection failed, or a message was lost, repeated, reordered or altered.
pub(in crate::workload) fn replays(
    target: Target,
    duration: Duration,
    content: &Content,
    at_once: u32,
) -> Result<(Histogram<u64>, Duration)> {
    let aborted = AtomicBool::new(false);
    let begun = now();
    let outcomes = std::thread::scope(|scope| {
        let aborted = &aborted;
        let threads = (0..at_once).map(|reader| {
            scope.spawn(move || part(aborted, || replay_each(target, content, reader, begun, duration, aborted)))
        });
        joined(threads.collect())
    });
    let elapsed = begun.elapsed();
    Ok((merged(gather(outcomes)?)?, elapsed))
}

/// Consumer after consumer, each for one subject: from asking for it to its last message. Deleting it is in the rate,
/// not in the time.
fn replay_each(
    target: Target,
    content: &Content,
    reader: u32,
    begun: Instant,
    duration: Duration,
    aborted: &AtomicBool,
) -> Result<Histogram<u64>> {
    let mut connection = Connection::open(target, 64 << 10)?;
    let inbox = format!("_INBOX.one{reader}");
    let answers = format!("_INBOX.answer{reader}");
    connection.send(format!("SUB {inbox} 1\r\nSUB {answers} 2\r\n").as_bytes())?;
    connection.flush()?;
    let mut times = histogram()?;
    // Any odd number: each reader goes its own way through the subjects, the same in every run.
    let mut chosen = u64::from(reader) * 2 + 1;
    while times.is_empty() || begun.elapsed() < duration {
        go_on(aborted)?;
        chosen = chosen.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = (chosen >> 33) % content.subjects;
        let subject = format!("{PREFIX}{number:0width$}", width = content.digits);
        let name = format!("one{reader}x{}", times.len());
        let config = json!({"stream_name": STREAM, "config": {
            "name": name, "deliver_subject": inbox, "deliver_policy": "all", "ack_policy": "none",
            "replay_policy": "instant", "filter_subject": subject, "mem_storage": true,
        }});
        let create = format!("CONSUMER.CREATE.{STREAM}.{name}.{subject}");
        let mut books = Books { content, subject: &subject, next: number, answered: false };
        let started = now();
        request(&mut connection, &create, &answers, &config.to_string())?;
        while books.next < number + EACH * content.subjects {
            books.more(&mut connection, aborted)?;
        }
        times.saturating_record(since(started));
        while !books.answered {
            books.more(&mut connection, aborted)?;
        }
        books.answered = false;
        request(&mut connection, &format!("CONSUMER.DELETE.{STREAM}.{name}"), &answers, "")?;
        while !books.answered {
            books.more(&mut connection, aborted)?;
        }
    }
    connection.flush()?;
    Ok(times)
}

fn request(connection: &mut Connection, what: &str, answers: &str, body: &str) -> Result<()> {
    connection.send(format!("PUB $JS.API.{what} {answers} {}\r\n{body}\r\n", body.len()).as_bytes())
}

/// What one replay of one subject still expects.
#[derive(Debug)]
struct Books<'a> {
    content: &'a Content,
    subject: &'a str,
    /// The number of the next message of the subject.
    next: u64,
    answered: bool,
}

impl Books<'_> {
    fn more(&mut self, connection: &mut Connection, aborted: &AtomicBool) -> Result<()> {
        connection.pump(None, aborted, "waiting for one subject", &mut |got: Delivered<'_>| {
            if got.subject.starts_with(b"_INBOX.answer") {
                super::understood("a consumer", got.payload)?;
                let twice = std::mem::replace(&mut self.answered, true);
                return if twice { Err(BenchError::Wrong("a request was answered twice".into())) } else { Ok(()) };
            }
            read::no_status(got)?;
            let stamp = Stamp::of(got.payload)?;
            self.content.verify(got, stamp, STAMP_BYTES)?;
            if stamp.number != self.next || got.subject != self.subject.as_bytes() {
                let text = format!("message {} came when {} of {} was next", stamp.number, self.next, self.subject);
                return Err(BenchError::Wrong(text));
            }
            self.next += self.content.subjects;
            Ok(())
        })
    }
}

/// One message on each of `--messages` subjects (rounded to a power of ten): the rate, and the server's memory, as
/// it is then and after a restart.
///
/// # Errors
/// A connection failed, or a message was lost, repeated, reordered or altered.
pub(in crate::workload) fn memory_of_many(server: &mut Server, options: &Options) -> Result<Vec<Figure>> {
    let target = server.target();
    let before = steady_memory(target.pid)?;
    let content = Content::on_many(PREFIX, options.messages.max(10).ilog10(), crate::workload::PAYLOAD_BYTES);
    let mut api = Api::open(target)?;
    api.create_stream(&content)?;
    let meter = Meter::start(target)?;
    let done = publish(target, &content, FILL_WINDOW, Until::Count(content.subjects))?;
    let cost = meter.stop()?;
    let peak = memory(target.pid)?;
    let after = steady_memory(target.pid)?;
    api.expect_messages(done.count)?;
    expect_subjects(&mut api, content.subjects)?;
    let start = server.restart()?;
    let target = server.target();
    let mut api = Api::open(target)?;
    expect_subjects(&mut api, content.subjects)?;
    let restarted = steady_memory(target.pid)?;
    read::push(target, &content, done.count)?;

    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut figures = vec![
        Figure::new("acknowledged", Unit::MessagesPerSecond, rate(done.count, done.elapsed)),
        Figure::new("memory, steady", Unit::Mebibytes, mebibytes(after.anon_bytes)),
        Figure::new("memory after a restart", Unit::Mebibytes, mebibytes(restarted.anon_bytes)),
        Figure::new("start on the stream", Unit::Milliseconds, start.as_secs_f64() * 1e3),
        Figure::aside("memory without the stream", Unit::Mebibytes, mebibytes(before.anon_bytes)),
        Figure::aside("resident, steady", Unit::Mebibytes, mebibytes(after.anon_bytes + after.file_bytes)),
        Figure::aside("resident, at the end", Unit::Mebibytes, mebibytes(peak.anon_bytes + peak.file_bytes)),
        Figure::aside(
            "resident after a restart",
            Unit::Mebibytes,
            mebibytes(restarted.anon_bytes + restarted.file_bytes),
        ),
    ];
    figures.extend(cost.figures(done.count, done.elapsed));
    Ok(figures)
}

fn expect_subjects(api: &mut Api, subjects: u64) -> Result<()> {
    let info = api.ask(&format!("STREAM.INFO.{STREAM}"), &json!({}))?;
    match info.pointer("/state/num_subjects").and_then(serde_json::Value::as_u64) {
        Some(count) if count == subjects => Ok(()),
        other => Err(BenchError::Wrong(format!("{subjects} subjects were published on, the stream says {other:?}"))),
    }
}
