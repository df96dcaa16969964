//! One table for people, one JSON document for machines: medians, ranges, and the ratio to nats-server.

use std::fmt::Write as _;

use serde::Serialize;

use crate::figure::{Figure, Unit};
use crate::server::Variant;
use crate::targets::Verdict;
use crate::workload::Workload;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Changes when the meaning of a field changes.
    pub(crate) format: u32,
    /// Where it was measured.
    pub(crate) machine: Machine,
    /// The command line.
    pub(crate) command: Vec<String>,
    /// What was measured, in order.
    pub(crate) workloads: Vec<WorkloadReport>,
    /// What that says of the goals.
    pub(crate) targets: Vec<Verdict>,
}

/// Where it was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Machine {
    /// The processor's name.
    pub(crate) processor: String,
    /// Processors that this process may use.
    pub(crate) processors: usize,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// Processes that wanted to run in the minute before the start.
    pub(crate) load_before: String,
    /// The folder that servers wrote to.
    pub(crate) folder: String,
}

/// One workload on all servers.
#[derive(Debug, Serialize)]
pub(crate) struct WorkloadReport {
    name: &'static str,
    about: &'static str,
    results: Vec<Column>,
}

/// One workload on one server, or the disk by itself.
#[derive(Debug, Serialize)]
struct Column {
    server: &'static str,
    runs: usize,
    failures: Vec<String>,
    figures: Vec<Summary>,
}

/// One figure over all rounds.
#[derive(Debug, Serialize)]
struct Summary {
    name: &'static str,
    unit: Unit,
    median: f64,
    min: f64,
    max: f64,
    /// This median over nats-server's, where both have the figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_to_nats: Option<f64>,
    values: Vec<f64>,
    #[serde(skip)]
    in_table: bool,
}

/// What one round gave: figures, or why there are none.
pub(crate) type Outcome = Result<Vec<Figure>, String>;

/// The column of what the disk did by itself.
pub(crate) const DISK: &str = "raw disk";
/// The column of what two sockets with nothing between them but a relay did.
pub(crate) const RELAY: &str = "raw relay";

impl WorkloadReport {
    /// Sums up the rounds of each column.
    pub(crate) fn new(name: &'static str, about: &'static str, columns: Vec<(&'static str, Vec<Outcome>)>) -> Self {
        let results = columns.into_iter().map(|(server, outcomes)| Column::new(server, outcomes)).collect();
        let mut report = Self { name, about, results };
        let nats = Variant::Nats.name();
        let reference = report.results.iter().find(|column| column.server == nats);
        let medians: Vec<_> = reference.map(Column::medians).unwrap_or_default();
        for column in report.results.iter_mut().filter(|column| column.server != nats && column.server != DISK) {
            for figure in &mut column.figures {
                let theirs = medians.iter().find(|(name, _)| *name == figure.name).map(|(_, median)| *median);
                figure.ratio_to_nats = theirs.filter(|median| *median > 0.0).map(|median| figure.median / median);
            }
        }
        report
    }

    /// Whether a run on any server failed.
    pub(crate) fn has_failures(&self) -> bool {
        self.results.iter().any(|column| !column.failures.is_empty())
    }

    /// The rows of the table: a heading, one for each figure, one for each failure.
    fn rows(&self, servers: &[&'static str]) -> Vec<Vec<String>> {
        let mut names: Vec<(&'static str, Unit)> = Vec::new();
        for figure in self.results.iter().flat_map(|column| &column.figures).filter(|figure| figure.in_table) {
            if !names.contains(&(figure.name, figure.unit)) {
                names.push((figure.name, figure.unit));
            }
        }
        let column = |server: &str| self.results.iter().find(|column| column.server == server);
        let mut rows = Vec::new();
        if self.has_failures() {
            let cells = servers.iter().map(|server| column(server).map(Column::failed).unwrap_or_default());
            rows.push([self.name.to_owned(), String::new()].into_iter().chain(cells).collect());
        }
        for (name, unit) in names {
            let title = if unit == Unit::Count { name.to_owned() } else { format!("{name}, {}", unit.text()) };
            let find = |server: &str| column(server)?.figures.iter().find(|figure| figure.name == name);
            let cells = servers.iter().map(|server| find(server).map(Summary::cell).unwrap_or_default());
            let first = if rows.is_empty() { self.name } else { "" };
            rows.push([first.to_owned(), title].into_iter().chain(cells).collect());
        }
        rows
    }
}

impl Column {
    fn new(server: &'static str, outcomes: Vec<Outcome>) -> Self {
        let runs = outcomes.len();
        let (mut failures, mut figures) = (Vec::new(), Vec::<Summary>::new());
        for outcome in outcomes {
            match outcome {
                Err(failure) => failures.push(failure),
                Ok(measured) => measured.into_iter().for_each(|figure| collect(&mut figures, figure)),
            }
        }
        figures.iter_mut().for_each(Summary::sum_up);
        Self { server, runs, failures, figures }
    }

    fn medians(&self) -> Vec<(&'static str, f64)> {
        self.figures.iter().map(|figure| (figure.name, figure.median)).collect()
    }

    fn failed(&self) -> String {
        if self.failures.is_empty() { String::new() } else { format!("FAILED {}/{}", self.failures.len(), self.runs) }
    }
}

fn collect(figures: &mut Vec<Summary>, figure: Figure) {
    let Figure { name, unit, value, in_table } = figure;
    if let Some(known) = figures.iter_mut().find(|known| known.name == name) {
        known.values.push(value);
    } else {
        let (median, min, max) = (0.0, 0.0, 0.0);
        figures.push(Summary { name, unit, median, min, max, ratio_to_nats: None, values: vec![value], in_table });
    }
}

impl Summary {
    fn sum_up(&mut self) {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        let last = sorted.len().saturating_sub(1);
        self.median = f64::midpoint(at(last / 2), at(sorted.len() / 2));
        (self.min, self.max) = (at(0), at(last));
    }

    fn cell(&self) -> String {
        let mut text = short(self.median);
        if self.values.len() > 1 {
            let _infallible = write!(text, " ({}..{})", short(self.min), short(self.max));
        }
        if let Some(ratio) = self.ratio_to_nats {
            let _infallible = write!(text, " {}x", short(ratio));
        }
        text
    }
}

impl Report {
    /// The median of a figure, if it was measured.
    pub(crate) fn median(&self, workload: Workload, variant: Variant, figure: &str) -> Option<f64> {
        let report = self.workloads.iter().find(|report| report.name == workload.name())?;
        let column = report.results.iter().find(|column| column.server == variant.name())?;
        // A run that failed leaves its workload without a verdict, whatever the others say.
        let figure = column.figures.iter().find(|known| known.name == figure && column.failures.is_empty())?;
        Some(figure.median)
    }

    /// The table of goals; empty if there are none to speak of.
    pub(crate) fn targets_table(&self) -> String {
        if self.targets.is_empty() {
            return String::new();
        }
        let mut rows = vec![Verdict::HEADING.map(str::to_owned).to_vec()];
        rows.extend(self.targets.iter().map(Verdict::row));
        aligned(&rows)
    }

    /// The table, and below it why runs failed.
    pub(crate) fn table(&self) -> String {
        let mut servers: Vec<&'static str> = Variant::ALL.into_iter().map(Variant::name).collect();
        let measured = |server: &&'static str| {
            self.workloads.iter().flat_map(|workload| &workload.results).any(|column| column.server == *server)
        };
        servers.retain(measured);
        if self.workloads.iter().any(|workload| workload.results.iter().any(|column| column.server == DISK)) {
            servers.push(DISK);
        }
        let heading = ["workload", "figure"].iter().chain(&servers).map(|word| (*word).to_owned()).collect();
        let mut rows: Vec<Vec<String>> = vec![heading];
        rows.extend(self.workloads.iter().flat_map(|workload| workload.rows(&servers)));
        let mut out = aligned(&rows);
        for workload in &self.workloads {
            for column in &workload.results {
                for failure in &column.failures {
                    let _infallible = writeln!(out, "FAILED {} on {}: {failure}", workload.name, column.server);
                }
            }
        }
        out
    }
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let length = |cell: &String| cell.chars().count();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(length).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Three significant digits; k and M above 10,000.
pub(crate) fn short(value: f64) -> String {
    let (value, suffix) = match value.abs() {
        size if size >= 999_500.0 => (value / 1e6, "M"),
        size if size >= 9_995.0 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let decimals = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 || size == 0.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: f64) -> Vec<Figure> {
        vec![Figure::new("published", Unit::MessagesPerSecond, value)]
    }

    #[test]
    fn numbers_have_three_digits() {
        let shown: Vec<String> =
            [0.0, 0.0123, 1.0, 12.34, 999.96, 9_994.0, 12_345.0, 999_499.0, 999_600.0, 1_234_567.0].map(short).to_vec();
        assert_eq!(shown, ["0.00", "0.012", "1.00", "12.3", "1000", "9994", "12.3k", "999k", "1.00M", "1.23M"]);
    }

    #[test]
    fn rounds_are_summed_up_and_compared_with_nats_server() {
        let columns = vec![
            (Variant::Nats.name(), vec![Ok(figure(1.0)), Ok(figure(4.0)), Ok(figure(2.0))]),
            (Variant::SublogOff.name(), vec![Ok(figure(3.0)), Err("lost one".to_owned()), Ok(figure(5.0))]),
        ];
        let report = WorkloadReport::new("w", "about", columns);
        let summary = |column: usize| &report.results[column].figures[0];
        assert_eq!((summary(0).median, summary(0).min, summary(0).max), (2.0, 1.0, 4.0));
        assert_eq!((summary(1).median, summary(1).ratio_to_nats), (4.0, Some(2.0)));
        assert!(report.has_failures());
        let table = Report {
            format: 1,
            machine: Machine::default(),
            command: Vec::new(),
            workloads: vec![report],
            targets: Vec::new(),
        }
        .table();
        for text in ["4.00 (3.00..5.00) 2.00x", "FAILED 1/3", "FAILED w on sublog-off: lost one"] {
            assert!(table.contains(text), "{text:?} is not in\n{table}");
        }
    }

    #[test]
    fn a_failed_reference_gives_no_ratio() {
        let columns = vec![
            (Variant::Nats.name(), vec![Err("gone".to_owned())]),
            (Variant::SublogOff.name(), vec![Ok(figure(3.0))]),
        ];
        let report = WorkloadReport::new("w", "about", columns);
        assert_eq!(report.results[1].figures[0].ratio_to_nats, None);
    }
}
