//! What Sublog wants to be beside nats-server, and whether the figures of this run say that it is.

use serde::Serialize;

use crate::report::{Report, short};
use crate::server::Variant;
use crate::workload::Workload;

/// Which side of a limit is the good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    AtLeast,
    AtMost,
}

/// One goal: a figure of Sublog's over the same figure of the other server, or by itself.
#[derive(Debug, Clone, Copy)]
struct Goal {
    workload: Workload,
    variant: Variant,
    figure: &'static str,
    want: Want,
    limit: f64,
    /// Whose figure it is divided by; the best one, where there are several. None: the figure is a ratio itself.
    over: Over,
}

#[derive(Debug, Clone, Copy)]
enum Over {
    /// nats-server, in this mode.
    Server(Variant),
    /// The faster of nats-server's two ways to read a stream back.
    BestConsumer(Workload, Workload),
    Nothing,
}

/// A goal and what became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    workload: &'static str,
    server: &'static str,
    figure: &'static str,
    /// As in "at most 0.4 of nats-server's".
    goal: String,
    ours: f64,
    /// The figure that it is held against; none where the goal is for the figure itself.
    theirs: Option<f64>,
    /// What must keep the limit.
    measured: f64,
    /// None if the measurement itself is in doubt: no server syncs faster than the disk that it is held against.
    met: Option<bool>,
}

/// All goals.
fn goals() -> Vec<Goal> {
    use Variant::{Nats, NatsSynced, SublogAlways, SublogInterval, SublogOff};
    use Want::{AtLeast, AtMost};
    use Workload as W;
    const CPU: &str = "server CPU each";
    let mut goals = Vec::new();
    let mut add = |workload, variant, figure, want, limit, over| {
        goals.push(Goal { workload, variant, figure, want, limit, over });
    };
    let nats = Over::Server(Nats);
    for workload in [W::Publish16, W::Publish128, W::Publish1024] {
        add(workload, SublogOff, "published", AtLeast, 1.0, nats);
        add(workload, SublogOff, CPU, AtMost, 0.4, nats);
        add(workload, SublogInterval, CPU, AtMost, 1.0, nats);
    }
    for workload in [W::Fan1To1, W::Fan1To10, W::Fan4To4, W::Subjects, W::Queue2To4] {
        add(workload, SublogOff, "published", AtLeast, 1.5, nats);
        add(workload, SublogOff, CPU, AtMost, 0.333, nats);
    }
    for workload in [W::Request1, W::Request50] {
        add(workload, SublogOff, "p50", AtMost, 0.8, nats);
        add(workload, SublogOff, "p99", AtMost, 0.8, nats);
        add(workload, SublogOff, CPU, AtMost, 0.5, nats);
    }
    for workload in [W::Churn, W::ChurnTls] {
        add(workload, SublogAlways, "connections", AtLeast, 1.5, nats);
    }
    add(W::Idle, SublogAlways, "memory each", AtMost, 0.5, nats);
    add(W::JsPublish1, SublogAlways, "p50 / raw p50", AtMost, 1.3, Over::Nothing);
    for workload in [W::JsPublish1000, W::JsPublish1000Kib] {
        add(workload, SublogAlways, "acknowledged", AtLeast, 1.5, nats);
        add(workload, SublogAlways, "acknowledged", AtLeast, 50.0, Over::Server(NatsSynced));
    }
    for (replay, push, pull) in
        [(W::Replay128, W::JsPush128, W::JsPull128), (W::Replay1024, W::JsPush1024, W::JsPull1024)]
    {
        for workload in [replay, push, pull] {
            add(workload, SublogAlways, "replayed", AtLeast, 4.0, Over::BestConsumer(push, pull));
        }
    }
    add(W::JsOneSubject, SublogAlways, "p50", AtMost, 0.5, nats);
    add(W::JsOneSubject, SublogAlways, "p99", AtMost, 0.1, nats);
    add(W::JsOneSubject, SublogAlways, "replays", AtLeast, 20.0, nats);
    add(W::JsSubjects, SublogAlways, "memory, steady", AtMost, 0.1, nats);
    goals
}

impl Goal {
    /// `None` if the run does not have the figures.
    fn judge(&self, report: &Report) -> Option<Verdict> {
        let ours = report.median(self.workload, self.variant, self.figure)?;
        let nats = |workload, variant| report.median(workload, variant, self.figure);
        let (theirs, of) = match self.over {
            Over::Nothing => (None, String::new()),
            Over::Server(variant) => (Some(nats(self.workload, variant)?), format!(" of {}'s", variant.name())),
            Over::BestConsumer(push, pull) => {
                let both = (nats(push, Variant::Nats)?, nats(pull, Variant::Nats)?);
                (Some(both.0.max(both.1)), " of nats-server's best consumer".to_owned())
            }
        };
        let measured = match theirs {
            None => ours,
            Some(theirs) if theirs > 0.0 => ours / theirs,
            Some(_) => return None,
        };
        let (met, word) = match self.want {
            Want::AtLeast => (measured >= self.limit, "at least"),
            Want::AtMost => (measured <= self.limit, "at most"),
        };
        Some(Verdict {
            workload: self.workload.name(),
            server: self.variant.name(),
            figure: self.figure,
            goal: format!("{word} {}{of}", self.limit),
            ours,
            theirs,
            measured,
            met: (theirs.is_some() || measured >= 1.0).then_some(met),
        })
    }
}

/// Every goal that the run has the figures for.
pub(crate) fn verdicts(report: &Report) -> Vec<Verdict> {
    goals().iter().filter_map(|goal| goal.judge(report)).collect()
}

impl Verdict {
    /// The heading of a table of verdicts.
    pub(crate) const HEADING: [&str; 8] = ["workload", "server", "figure", "goal", "ours", "theirs", "measured", ""];

    /// A row of that table.
    pub(crate) fn row(&self) -> Vec<String> {
        let word = match self.met {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "UNCLEAR: the disk was slower by itself",
        };
        let theirs = self.theirs.map(short).unwrap_or_default();
        let texts = [self.workload, self.server, self.figure, &self.goal].map(str::to_owned);
        texts.into_iter().chain([short(self.ours), theirs, short(self.measured), word.to_owned()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Figure, Unit};
    use crate::report::{Machine, WorkloadReport};

    /// A workload, a figure of it, and its value on servers.
    type Measured<'a> = (Workload, &'static str, &'a [(Variant, f64)]);

    fn report(of: &[Measured<'_>]) -> Report {
        let workload = |(workload, figure, columns): &Measured<'_>| {
            let column = |(variant, value): &(Variant, f64)| {
                (variant.name(), vec![Ok(vec![Figure::new(figure, Unit::PerSecond, *value)])])
            };
            WorkloadReport::new(workload.name(), workload.about(), columns.iter().map(column).collect())
        };
        let machine = Machine::default();
        let workloads = of.iter().map(workload).collect();
        Report { format: 1, machine, command: Vec::new(), workloads, targets: Vec::new() }
    }

    #[test]
    fn a_limit_is_kept_or_not() {
        use Variant::{Nats, NatsSynced, SublogAlways};
        let report = report(&[
            (Workload::Churn, "connections", &[(Nats, 100.0), (SublogAlways, 150.0)]),
            (Workload::JsPublish1000, "acknowledged", &[(Nats, 100.0), (NatsSynced, 10.0), (SublogAlways, 149.0)]),
            (Workload::JsPublish1, "p50 / raw p50", &[(Nats, 0.1), (SublogAlways, 1.3)]),
        ]);
        let met: Vec<_> = verdicts(&report).iter().map(|verdict| (verdict.workload, verdict.met)).collect();
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(met, [("churn-8", yes), ("js-pub-1", yes), ("js-pub-1000", no), ("js-pub-1000", no)]);
        let rows: Vec<_> = verdicts(&report).iter().map(Verdict::row).collect();
        assert_eq!(rows[0][3..], ["at least 1.5 of nats-server's", "150", "100", "1.50", "met"]);
        assert_eq!(rows[3][3..], ["at least 50 of nats-synced's", "149", "10.0", "14.9", "NOT MET"]);
    }

    #[test]
    fn a_server_that_is_faster_than_the_disk_proves_nothing() {
        let ratio = |value| report(&[(Workload::JsPublish1, "p50 / raw p50", &[(Variant::SublogAlways, value)])]);
        let met = |value| verdicts(&ratio(value)).iter().map(|verdict| verdict.met).collect::<Vec<_>>();
        assert_eq!((met(0.9), met(1.0), met(1.31)), (vec![None], vec![Some(true)], vec![Some(false)]));
    }

    #[test]
    fn replays_are_held_against_the_better_consumer() {
        use Variant::{Nats, SublogAlways};
        let push = (Workload::JsPush128, "replayed", &[(Nats, 10.0), (SublogAlways, 80.0)][..]);
        let pull = (Workload::JsPull128, "replayed", &[(Nats, 20.0), (SublogAlways, 79.0)][..]);
        let both = verdicts(&report(&[push, pull]));
        let met: Vec<_> = both.iter().map(|verdict| (verdict.workload, verdict.met)).collect();
        assert_eq!(met, [("js-replay-push-128", Some(true)), ("js-replay-pull-128", Some(false))]);
        assert!(verdicts(&report(&[push])).is_empty(), "the other one was not measured");
    }
}
