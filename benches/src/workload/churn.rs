//! A connection for every message, as the oldest publishers do it: connect, publish, flush, close.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::cli::Options;
use crate::clock::{nanos, now};
use crate::content::{Batch, Content};
use crate::crew::{go_on, joined, part};
use crate::error::{Result, gather};
use crate::figure::{Figure, Meter, Unit, histogram, merged, percentiles, rate};
use crate::monitor;
use crate::server::Target;
use crate::wire::Connection;
use crate::workload::replay;

/// Runs for `--seconds`, `at_once` connections at a time.
///
/// # Errors
/// A connection failed, or a message was lost.
pub(crate) fn run(target: Target, options: &Options, at_once: u32) -> Result<Vec<Figure>> {
    let content = Content::on(super::SUBJECT, super::PAYLOAD_BYTES);
    let counted_before = target.monitor.map(monitor::messages_in).transpose()?;
    let meter = Meter::start(target)?;
    let aborted = AtomicBool::new(false);
    let begun = now();
    let duration = options.duration();
    let outcomes = std::thread::scope(|scope| {
        let (content, aborted) = (&content, &aborted);
        let threads = (0..at_once).map(|publisher| {
            scope.spawn(move || part(aborted, || visit(target, content, publisher, begun, duration, aborted)))
        });
        joined(threads.collect())
    });
    let elapsed = begun.elapsed();
    let times = merged(gather(outcomes)?)?;
    let cost = meter.stop()?;
    if let (Some(port), Some(before)) = (target.monitor, counted_before) {
        monitor::expect_messages_in(port, before, times.len())?;
    }
    if target.records {
        replay::read_all(target, &content, at_once, times.len())?;
    }
    let mut figures = vec![Figure::new("connections", Unit::PerSecond, rate(times.len(), elapsed))];
    figures.extend(percentiles(&times));
    figures.extend(cost.figures(times.len(), elapsed));
    Ok(figures)
}

fn visit(
    target: Target,
    content: &Content,
    publisher: u32,
    begun: Instant,
    duration: Duration,
    aborted: &AtomicBool,
) -> Result<Histogram<u64>> {
    let mut times = histogram()?;
    let mut batch = Batch::new(content, publisher);
    while begun.elapsed() < duration {
        go_on(aborted)?;
        let started = now();
        let mut connection = Connection::open(target, 2048)?;
        let frame = batch.frames(times.len(), 1).0;
        connection.owe_pong();
        connection.send(&[frame, b"PING\r\n"].concat())?;
        connection.wait_for_pongs()?;
        drop(connection);
        times.saturating_record(nanos(started.elapsed()));
    }
    Ok(times)
}
