//! Reading the log back by subscription.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::cli::Options;
use crate::clock::now;
use crate::content::{Content, Ledger, STAMP_BYTES, Share, Stamp};
use crate::error::{BenchError, Result};
use crate::figure::{Figure, Meter, Unit, rate};
use crate::server::{Server, Target};
use crate::wire::{Connection, FixedFrame};
use crate::workload::durable::publish_all;

/// Fills a log with `--messages`, restarts the server, and measures one subscriber that reads them all.
///
/// # Errors
/// A connection failed, or a message was lost, repeated, reordered or altered.
pub(crate) fn run(server: &mut Server, options: &Options, payload_bytes: usize) -> Result<Vec<Figure>> {
    let content = Content::on(super::SUBJECT, payload_bytes);
    publish_all(server.target(), &content, options.messages)?;
    let start = server.restart()?;
    let target = server.target();
    let meter = Meter::start(target)?;
    let elapsed = read_all(target, &content, 1, options.messages)?;
    let cost = meter.stop()?;
    let per_second = rate(options.messages, elapsed);
    let mut figures = vec![
        Figure::new("replayed", Unit::MessagesPerSecond, per_second),
        Figure::new("payload", Unit::MegabytesPerSecond, per_second * content.payload_bytes as f64 / 1e6),
        Figure::new("start on the log", Unit::Milliseconds, start.as_secs_f64() * 1e3),
    ];
    figures.extend(cost.figures(options.messages, elapsed));
    Ok(figures)
}

/// Subscribes to the whole log, verifies that it holds exactly `count` messages, each publisher's in order, and
/// returns how long it took from the subscription to the last one.
///
/// # Errors
/// It holds something else, or the connection failed.
pub(crate) fn read_all(target: Target, content: &Content, publishers: u32, count: u64) -> Result<Duration> {
    let mut connection = Connection::open(target, 256 << 10)?;
    let frame = FixedFrame::new(content.subject.as_bytes(), content.digits, content.payload_bytes);
    let mut ledger = Ledger::new(Share::All, publishers);
    let never = AtomicBool::new(false);
    let begun = now();
    connection.send(b"SUB $REPLAY.all.> 1\r\n")?;
    while ledger.received() < count {
        connection.pump(Some(&frame), &never, "waiting for the replay", &mut |got| {
            let stamp = Stamp::of(got.payload)?;
            content.verify(got, stamp, STAMP_BYTES)?;
            ledger.enter(stamp)
        })?;
    }
    let elapsed = begun.elapsed();
    if ledger.received() > count {
        let text = format!("{count} messages were published, {} replayed", ledger.received());
        return Err(BenchError::Wrong(text));
    }
    // One more message before this PONG would be one too many, and an error.
    connection.flush()?;
    Ok(elapsed)
}
