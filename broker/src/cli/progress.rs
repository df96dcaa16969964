//! Progress of long work: a bar on a terminal, a line every few seconds elsewhere, one line at the end.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::{output, values};
use crate::clock;

/// How often a line is printed where no bar can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How far some work is. Drawn on stderr.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    /// Whether lines take the bar's place.
    lines: bool,
    verb: &'static str,
    unit: Unit,
    total: Option<u64>,
    done: u64,
    bytes: u64,
    started: Instant,
    last_line: Instant,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Messages, and beside them their bytes.
    Messages,
    /// Bytes.
    Bytes,
}

impl Progress {
    /// Work that begins now. `stdout_busy`: whether the work prints on stdout, which a bar on the same
    /// terminal would disturb.
    pub(crate) fn start(verb: &'static str, unit: Unit, total: Option<u64>, stdout_busy: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let quiet = stdout_busy && io::stdout().is_terminal();
        let bar = (terminal && !quiet).then(|| bar(verb, unit, total));
        let now = clock::now();
        Self { bar, lines: !terminal && !quiet, verb, unit, total, done: 0, bytes: 0, started: now, last_line: now }
    }

    /// So much is done by now.
    pub(crate) fn set(&mut self, done: u64, bytes: u64) {
        (self.done, self.bytes) = (done, bytes);
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        } else if self.lines && clock::now().duration_since(self.last_line) >= LINE_EVERY {
            self.last_line = clock::now();
            output::warn(&self.line());
        }
    }

    /// Whether the end is known.
    pub(crate) fn is_bounded(&self) -> bool {
        self.total.is_some()
    }

    /// How long the work has taken.
    pub(crate) fn took(&self) -> Duration {
        clock::now().duration_since(self.started)
    }

    /// Removes the bar.
    pub(crate) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.lines = false;
    }

    fn line(&self) -> String {
        let show = match self.unit {
            Unit::Messages => values::show_count,
            Unit::Bytes => values::show_size,
        };
        let total = self.total.map(|total| format!(" of {}", show(total))).unwrap_or_default();
        let unit = if self.unit == Unit::Messages { " messages" } else { "" };
        format!("{} {}{total}{unit}, {}", self.verb, show(self.done), self.speed())
    }

    /// Messages and bytes a second so far.
    pub(crate) fn speed(&self) -> String {
        let took = self.took();
        match self.unit {
            Unit::Messages => format!(
                "{} messages/s, {}/s",
                values::show_count(values::rate(self.done, took)),
                values::show_size(values::rate(self.bytes, took))
            ),
            Unit::Bytes => format!("{}/s", values::show_size(values::rate(self.done, took))),
        }
    }
}

impl Drop for Progress {
    /// Interrupted work leaves no half-drawn bar behind.
    fn drop(&mut self) {
        self.finish();
    }
}

fn bar(verb: &'static str, unit: Unit, total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10));
    // The templates are checked in a test; the plain bar is good enough otherwise.
    if let Ok(style) = ProgressStyle::with_template(template(unit, total.is_some())) {
        bar.set_style(style.with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // Whole messages; a bar has no way to report that it cannot be drawn.
            let _ = write!(out, "{}/s", values::show_count(state.per_sec() as u64));
        }));
    }
    bar.with_message(verb)
}

fn template(unit: Unit, bounded: bool) -> &'static str {
    match (unit, bounded) {
        (Unit::Messages, true) => "{msg} {bar:24} {human_pos}/{human_len} {rate} eta {eta}",
        (Unit::Messages, false) => "{msg} {spinner} {human_pos} messages, {rate}",
        (Unit::Bytes, true) => "{msg} {bar:24} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} eta {eta}",
        (Unit::Bytes, false) => "{msg} {spinner} {binary_bytes}, {binary_bytes_per_sec}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_how_far_it_is() {
        let mut progress = Progress::start("stored", Unit::Messages, Some(2000), false);
        progress.set(1000, 4096);
        assert!(progress.line().starts_with("stored 1,000 of 2,000 messages, "), "{}", progress.line());
        let mut progress = Progress::start("read", Unit::Bytes, None, false);
        progress.set(2048, 0);
        assert!(progress.line().starts_with("read 2.0 KiB, "), "{}", progress.line());
    }

    #[test]
    fn every_template_is_valid() {
        for unit in [Unit::Messages, Unit::Bytes] {
            for bounded in [false, true] {
                assert!(ProgressStyle::with_template(template(unit, bounded)).is_ok(), "{unit:?} {bounded}");
            }
        }
    }
}
