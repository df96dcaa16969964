//! Publishing to stable storage, beside what the disk can do by itself.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::cli::Options;
use crate::clock::{nanos, now};
use crate::content::{Batch, Content};
use crate::crew::{go_on, joined, part};
use crate::disk::{self, Sequential};
use crate::error::{Result, gather};
use crate::figure::{Figure, Meter, Unit, histogram, merged, percentiles, rate};
use crate::monitor;
use crate::server::Target;
use crate::wire::Connection;
use crate::workload::replay;

/// What the disk did by itself, in the same folder and the same round.
#[derive(Debug)]
pub(crate) enum Disk {
    /// Large writes.
    Sequential(Sequential),
    /// Small synced writes, nanoseconds each.
    Small(Histogram<u64>),
}

impl Disk {
    /// Large writes, of as many bytes as [`publish`] has payload.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn sequential(folder: &Path, options: &Options) -> Result<Self> {
        // More than a gigabyte would say nothing new, and must be held in memory.
        let bytes = (options.messages as usize).saturating_mul(super::PAYLOAD_BYTES).clamp(1 << 20, 1 << 30);
        disk::sequential(folder, bytes, options.duration()).map(Self::Sequential)
    }

    /// Small synced writes.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn small(folder: &Path, options: &Options) -> Result<Self> {
        let times = disk::small_synced_writes(folder, options.duration())?;
        merged([times]).map(Self::Small)
    }

    /// For the disk's own column.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        match self {
            Self::Sequential(speed) => vec![
                Figure::new("1 MiB synced writes", Unit::MegabytesPerSecond, speed.synced_bytes_per_s / 1e6),
                Figure::new("one large write", Unit::MegabytesPerSecond, speed.one_write_bytes_per_s / 1e6),
            ],
            Self::Small(times) => percentiles(times),
        }
    }
}

/// One connection publishes `--messages` and flushes once.
///
/// # Errors
/// A connection failed, or a message was lost, repeated, reordered or altered.
pub(crate) fn publish(target: Target, options: &Options, disk: Option<&Disk>) -> Result<Vec<Figure>> {
    let content = Content::on(super::SUBJECT, super::PAYLOAD_BYTES);
    let counted_before = target.monitor.map(monitor::messages_in).transpose()?;
    let meter = Meter::start(target)?;
    let begun = now();
    publish_all(target, &content, options.messages)?;
    let elapsed = begun.elapsed();
    let cost = meter.stop()?;
    if let (Some(port), Some(before)) = (target.monitor, counted_before) {
        monitor::expect_messages_in(port, before, options.messages)?;
    }
    if target.records {
        replay::read_all(target, &content, 1, options.messages)?;
    }
    let per_second = rate(options.messages, elapsed);
    let bytes_per_s = per_second * content.payload_bytes as f64;
    let mut figures = vec![
        Figure::new("published", Unit::MessagesPerSecond, per_second),
        Figure::new("payload", Unit::MegabytesPerSecond, bytes_per_s / 1e6),
    ];
    if let (Some(Disk::Sequential(speed)), true) = (disk, target.records) {
        let share = |name, disk: f64| Figure::new(name, Unit::Count, bytes_per_s / disk);
        figures.push(share("payload / synced writes", speed.synced_bytes_per_s));
        figures.push(share("payload / one write", speed.one_write_bytes_per_s));
    }
    figures.extend(cost.figures(options.messages, elapsed));
    figures.extend(cost.disk_figures(options.messages));
    Ok(figures)
}

/// Publishes `count` messages on a new connection and flushes.
///
/// # Errors
/// The connection failed.
pub(crate) fn publish_all(target: Target, content: &Content, count: u64) -> Result<()> {
    let mut connection = Connection::open(target, 4096)?;
    let mut batch = Batch::new(content, 0);
    let mut number = 0;
    while number < count {
        let (frames, framed) = batch.frames(number, count - number);
        connection.send(frames)?;
        number += framed;
    }
    connection.flush()
}

/// Publishers that flush every message, for `--seconds`.
///
/// # Errors
/// A connection failed, or a message was lost, repeated, reordered or altered.
pub(crate) fn flush(target: Target, options: &Options, publishers: u32, disk: Option<&Disk>) -> Result<Vec<Figure>> {
    let content = Content::on(super::SUBJECT, super::PAYLOAD_BYTES);
    let mut connections = Vec::new();
    for _ in 0..publishers {
        connections.push(Connection::open(target, 4096)?);
    }
    let counted_before = target.monitor.map(monitor::messages_in).transpose()?;
    let syncs = || target.monitor.map_or(Ok(None), monitor::syncs);
    let syncs_before = syncs()?;
    let meter = Meter::start(target)?;
    let aborted = AtomicBool::new(false);
    let begun = now();
    let duration = options.duration();
    let outcomes = std::thread::scope(|scope| {
        let (content, aborted) = (&content, &aborted);
        let threads = (0..).zip(connections).map(|(publisher, connection)| {
            scope.spawn(move || part(aborted, || flush_each(connection, content, publisher, begun, duration, aborted)))
        });
        joined(threads.collect())
    });
    let elapsed = begun.elapsed();
    let times = merged(gather(outcomes)?)?;
    let cost = meter.stop()?;
    let syncs_after = syncs()?;
    let count = times.len();
    if let (Some(port), Some(before)) = (target.monitor, counted_before) {
        monitor::expect_messages_in(port, before, count)?;
    }
    if target.records {
        replay::read_all(target, &content, publishers, count)?;
    }
    let mut figures = vec![Figure::new("flushes", Unit::PerSecond, rate(count, elapsed))];
    figures.extend(percentiles(&times));
    if let (Some(before), Some(after)) = (syncs_before, syncs_after) {
        let syncs = after.saturating_sub(before);
        figures.push(Figure::new("syncs", Unit::PerSecond, rate(syncs, elapsed)));
        figures.push(Figure::new("flushes a sync", Unit::Count, count as f64 / syncs.max(1) as f64));
    }
    if let (Some(Disk::Small(raw)), true) = (disk, target.records) {
        let ratio = times.value_at_quantile(0.5) as f64 / raw.value_at_quantile(0.5).max(1) as f64;
        figures.push(Figure::new("p50 / raw p50", Unit::Count, ratio));
    }
    figures.extend(cost.figures(count, elapsed));
    figures.extend(cost.disk_figures(count));
    Ok(figures)
}

fn flush_each(
    mut connection: Connection,
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
        let frame = [batch.frames(times.len(), 1).0, b"PING\r\n"].concat();
        let started = now();
        connection.owe_pong();
        connection.send(&frame)?;
        connection.wait_for_pongs()?;
        times.saturating_record(nanos(started.elapsed()));
    }
    Ok(times)
}
