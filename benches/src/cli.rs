//! The command line: one place for its names, defaults and limits.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::error::{BenchError, Result};
use crate::server::Variant;
use crate::workload::Workload;

/// Measures Sublog and nats-server in turn, on this machine, and prints one table.
///
/// Every message's order and content is verified while measuring. A run that lost, repeated, reordered or altered a
/// message is reported as FAILED and gives no figure.
#[derive(Debug, Clone, Parser)]
#[command(name = "sublog-bench", version)]
pub(crate) struct Options {
    /// The Sublog binary; without it only nats-server is measured.
    #[arg(long, value_name = "FILE")]
    pub(crate) sublog: Option<PathBuf>,
    /// The nats-server binary, a path or a name on PATH; without it only Sublog is measured.
    #[arg(long, value_name = "FILE")]
    pub(crate) nats: Option<PathBuf>,
    /// How often each workload is measured on each server; the servers take turns.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// Workloads by name, comma separated, or `all`.
    #[arg(long, default_value = "all", value_name = "NAMES")]
    pub(crate) workload: String,
    /// Server variants by name, comma separated, or `all`.
    #[arg(long, default_value = "all", value_name = "NAMES")]
    pub(crate) variant: String,
    /// Length of one timed measurement, seconds.
    #[arg(long, default_value_t = 2.0, value_name = "S")]
    pub(crate) seconds: f64,
    /// Messages of the durable publisher and of the replayed log.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) messages: u64,
    /// Connections of the idle-connections workload.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) connections: u32,
    /// Most payload that publishers may be ahead of the slowest subscriber, KiB. It keeps both servers from dropping
    /// a slow reader, which would fail the run.
    #[arg(long, default_value_t = 8192, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub(crate) window_kib: u64,
    /// A run in which nothing arrives for this long has failed, seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) stall_seconds: u64,
    /// Where servers keep their data and raw disk figures are taken; a real disk, please. Default: the system's
    /// temporary folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,
    /// Also write everything measured to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Print the workloads and variants, and end.
    #[arg(long)]
    pub(crate) list: bool,
}

impl Options {
    /// Length of one timed measurement.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// The longest silence before a run counts as failed.
    pub(crate) fn stall(&self) -> Duration {
        Duration::from_secs(self.stall_seconds)
    }

    /// The workloads asked for, in the order of the table.
    ///
    /// # Errors
    /// A name that is no workload.
    pub(crate) fn workloads(&self) -> Result<Vec<Workload>> {
        choose(&self.workload, &Workload::ALL, Workload::name, "workload")
    }

    /// The server variants asked for whose binary was given, nats-server first.
    ///
    /// # Errors
    /// A name that is no variant, or none left.
    pub(crate) fn variants(&self) -> Result<Vec<Variant>> {
        let mut chosen = choose(&self.variant, &Variant::ALL, Variant::name, "variant")?;
        chosen.retain(|variant| self.binary(*variant).is_some());
        if chosen.is_empty() {
            return Err(BenchError::Setup("nothing to measure: give --sublog FILE, --nats FILE, or both".into()));
        }
        Ok(chosen)
    }

    /// The binary that a variant runs, if it was given.
    pub(crate) fn binary(&self, variant: Variant) -> Option<&PathBuf> {
        if variant.is_nats() { self.nats.as_ref() } else { self.sublog.as_ref() }
    }

    /// Checks what clap cannot.
    ///
    /// # Errors
    /// A length of measurement that makes no sense.
    pub(crate) fn check(&self) -> Result<()> {
        if self.seconds.is_finite() && (0.05..=600.0).contains(&self.seconds) {
            return Ok(());
        }
        Err(BenchError::Setup(format!("--seconds {}: want 0.05 to 600", self.seconds)))
    }
}

fn choose<T: Copy + PartialEq>(asked: &str, all: &[T], name: impl Fn(T) -> &'static str, what: &str) -> Result<Vec<T>> {
    if asked == "all" {
        return Ok(all.to_vec());
    }
    let mut wanted = Vec::new();
    for word in asked.split(',').map(str::trim) {
        let known = all.iter().copied().find(|item| name(*item) == word);
        wanted.push(known.ok_or_else(|| BenchError::Setup(format!("no {what} is called {word:?}; try --list")))?);
    }
    // The table's order and no repetition, whatever the order of asking.
    Ok(all.iter().copied().filter(|item| wanted.contains(item)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Options {
        Options::try_parse_from([&["sublog-bench"], args].concat()).unwrap()
    }

    #[test]
    fn names_are_chosen_in_table_order_and_unknown_ones_refused() {
        let options = parse(&["--workload", "flush-1, pub-16,pub-16"]);
        assert_eq!(options.workloads().unwrap(), [Workload::Publish16, Workload::Flush1]);
        assert!(parse(&["--workload", "pub-17"]).workloads().is_err());
        assert!(parse(&["--workload", ""]).workloads().is_err());
    }

    #[test]
    fn only_variants_with_a_binary_are_measured() {
        assert!(parse(&[]).variants().is_err());
        assert_eq!(parse(&["--nats", "n"]).variants().unwrap(), [Variant::Nats, Variant::NatsSynced]);
        assert_eq!(parse(&["--nats", "n", "--sublog", "s"]).variants().unwrap(), Variant::ALL);
    }

    #[test]
    fn a_length_without_sense_is_refused() {
        for bad in ["0", "-1", "NaN", "inf", "601"] {
            assert!(parse(&[&format!("--seconds={bad}")]).check().is_err(), "{bad}");
        }
        assert!(parse(&[]).check().is_ok());
    }
}
