//! What one measurement yields: named figures with units.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::error::{BenchError, Result};
use crate::process::{self, Memory, Usage};
use crate::server::Target;

/// The unit of a figure, as printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    /// Messages a second.
    #[serde(rename = "messages/s")]
    MessagesPerSecond,
    /// Other events a second: flushes, connections, requests.
    #[serde(rename = "1/s")]
    PerSecond,
    /// Million bytes a second.
    #[serde(rename = "MB/s")]
    MegabytesPerSecond,
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// 2^20 bytes.
    #[serde(rename = "MiB")]
    Mebibytes,
    /// 2^10 bytes.
    #[serde(rename = "KiB")]
    Kibibytes,
    /// Bytes.
    #[serde(rename = "B")]
    Bytes,
    /// CPU seconds a second.
    #[serde(rename = "cores")]
    Cores,
    /// A pure number.
    #[serde(rename = "")]
    Count,
}

impl Unit {
    /// As printed.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::MessagesPerSecond => "msg/s",
            Self::PerSecond => "/s",
            Self::MegabytesPerSecond => "MB/s",
            Self::Microseconds => "µs",
            Self::Milliseconds => "ms",
            Self::Mebibytes => "MiB",
            Self::Kibibytes => "KiB",
            Self::Bytes => "B",
            Self::Cores => "cores",
            Self::Count => "",
        }
    }
}

/// One figure of one measurement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    /// What it is; the same name in every round and on every server.
    pub(crate) name: &'static str,
    /// Its unit.
    pub(crate) unit: Unit,
    /// Its value.
    pub(crate) value: f64,
    /// Whether the table shows it; JSON always does.
    pub(crate) in_table: bool,
}

impl Figure {
    /// A figure for table and JSON.
    pub(crate) fn new(name: &'static str, unit: Unit, value: f64) -> Self {
        Self { name, unit, value, in_table: true }
    }

    /// A figure for JSON only.
    pub(crate) fn aside(name: &'static str, unit: Unit, value: f64) -> Self {
        Self { in_table: false, ..Self::new(name, unit, value) }
    }

    /// A time.
    pub(crate) fn nanos(name: &'static str, nanos: u64) -> Self {
        Self::new(name, Unit::Microseconds, nanos as f64 / 1e3)
    }
}

/// A histogram of nanoseconds up to a minute, three digits.
///
/// # Errors
/// Never with these bounds.
pub(crate) fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3)
        .map_err(|error| BenchError::Setup(format!("making a histogram: {error}")))
}

/// One histogram of many.
///
/// # Errors
/// None was given a value.
pub(crate) fn merged(parts: impl IntoIterator<Item = Histogram<u64>>) -> Result<Histogram<u64>> {
    let mut all = histogram()?;
    for part in parts {
        all.add(part).map_err(|error| BenchError::Setup(format!("joining histograms: {error}")))?;
    }
    if all.is_empty() { Err(BenchError::Setup("nothing was measured; try more --seconds".into())) } else { Ok(all) }
}

/// The percentiles worth seeing of a histogram of nanoseconds.
pub(crate) fn percentiles(times: &Histogram<u64>) -> Vec<Figure> {
    vec![
        Figure::nanos("p50", times.value_at_quantile(0.5)),
        Figure::nanos("p99", times.value_at_quantile(0.99)),
        Figure { in_table: false, ..Figure::nanos("p99.9", times.value_at_quantile(0.999)) },
        Figure { in_table: false, ..Figure::nanos("max", times.max()) },
    ]
}

/// Counters at the start of a measurement.
#[derive(Debug)]
pub(crate) struct Meter {
    target: Target,
    server: Usage,
    own: Duration,
}

/// What a measurement cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// The server's counters during the measurement.
    pub(crate) server: Usage,
    own: Duration,
    memory: Memory,
}

impl Meter {
    /// Begins.
    ///
    /// # Errors
    /// The server is gone.
    pub(crate) fn start(target: Target) -> Result<Self> {
        Ok(Self { target, server: process::usage(target.pid)?, own: process::own_cpu() })
    }

    /// Ends.
    ///
    /// # Errors
    /// The server is gone.
    pub(crate) fn stop(self) -> Result<Cost> {
        let own = process::own_cpu().saturating_sub(self.own);
        let after = process::usage(self.target.pid)?;
        let server = Usage {
            cpu: after.cpu.saturating_sub(self.server.cpu),
            write_calls: after.write_calls.saturating_sub(self.server.write_calls),
            disk_write_bytes: after.disk_write_bytes.saturating_sub(self.server.disk_write_bytes),
        };
        Ok(Cost { server, own, memory: process::memory(self.target.pid)? })
    }
}

impl Cost {
    /// CPU of both sides for each of `events`, and the server's memory.
    pub(crate) fn figures(&self, events: u64, elapsed: Duration) -> Vec<Figure> {
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / events.max(1) as f64;
        let cores = |cpu: Duration| cpu.as_secs_f64() / elapsed.as_secs_f64();
        vec![
            Figure::new("server CPU each", Unit::Microseconds, each(self.server.cpu)),
            Figure::new("bench CPU each", Unit::Microseconds, each(self.own)),
            Figure::aside("server CPU", Unit::Cores, cores(self.server.cpu)),
            Figure::aside("bench CPU", Unit::Cores, cores(self.own)),
            Figure::new("server memory", Unit::Mebibytes, self.memory.anon_bytes as f64 / f64::from(1 << 20)),
            Figure::aside("server mapped files", Unit::Mebibytes, self.memory.file_bytes as f64 / f64::from(1 << 20)),
        ]
    }

    /// What it cost the disk for each of `events`.
    pub(crate) fn disk_figures(&self, events: u64) -> Vec<Figure> {
        let each = |count: u64| count as f64 / events.max(1) as f64;
        vec![
            Figure::aside("disk bytes each", Unit::Bytes, each(self.server.disk_write_bytes)),
            Figure::aside("write calls each", Unit::Count, each(self.server.write_calls)),
        ]
    }
}

/// Events a second.
pub(crate) fn rate(events: u64, elapsed: Duration) -> f64 {
    events as f64 / elapsed.as_secs_f64()
}
