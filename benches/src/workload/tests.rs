//! Every workload against a fake server: it gives figures when all is well, and none when anything is wrong.

use clap::Parser as _;

use super::*;
use fake::{Fake, Fault};

mod fake;

fn options() -> Options {
    let words = "sublog-bench --nats fake --seconds 0.1 --messages 1000 --connections 20 --window-kib 64";
    Options::try_parse_from(words.split(' ')).unwrap()
}

/// A run, as far as it needs no server process that can be started again.
fn run(workload: Workload, fault: Fault) -> Result<Vec<Figure>> {
    let fake = Fake::start(fault);
    let (target, options) = (fake.target(), options());
    match workload {
        Workload::DurablePublish => durable::publish(target, &options, None),
        Workload::Flush1 => durable::flush(target, &options, 1, None),
        Workload::Flush8 => durable::flush(target, &options, 8, None),
        Workload::Request1 => request::run(target, &options, 1),
        Workload::Request50 => request::run(target, &options, 50),
        Workload::Latency => latency::run(target, &options),
        Workload::Churn => churn::run(target, &options, 8),
        Workload::Idle => idle::run(target, &options),
        Workload::Connections1000 => ring::run(target, &options, 20),
        Workload::MixedSizes => varied::run(target, &options, &Cycle::of_sizes(), SUBJECT),
        Workload::Jobs => varied::run(target, &options, &Cycle::of_jobs(), "jobs.>"),
        _ => workload.stream(target, &options),
    }
}

fn figure(figures: &[Figure], name: &str) -> f64 {
    figures.iter().find(|figure| figure.name == name).unwrap_or_else(|| panic!("no {name} in {figures:?}")).value
}

/// Whether it needs a server that can be restarted, JetStream, or TLS.
fn needs_more(workload: Workload) -> bool {
    matches!(workload, Workload::Replay128 | Workload::Replay1024) || workload.setup() != Setup::default()
}

#[test]
fn every_workload_gives_its_figures() {
    for workload in Workload::ALL.into_iter().filter(|workload| !needs_more(*workload)) {
        let figures = run(workload, Fault::None).unwrap_or_else(|error| panic!("{}: {error}", workload.name()));
        // Its first figure is its headline, and something came.
        let idle_memory_may_be_nothing_new = workload == Workload::Idle;
        assert!(figures[0].value > 0.0 || idle_memory_may_be_nothing_new, "{}: {figures:?}", workload.name());
        let names: std::collections::HashSet<_> = figures.iter().map(|figure| figure.name).collect();
        assert_eq!(names.len(), figures.len(), "{}: a name twice in {figures:?}", workload.name());
    }
}

#[test]
fn deliveries_are_counted_for_every_subscriber() {
    let figures = run(Workload::Fan1To10, Fault::None).unwrap();
    let ratio = figure(&figures, "delivered") / figure(&figures, "published");
    assert!((ratio - 10.0).abs() < 1e-6, "{ratio}");
}

#[test]
fn percentiles_are_in_order_and_plausible() {
    let figures = run(Workload::Latency, Fault::None).unwrap();
    let times = ["p50", "p99", "p99.9", "max"].map(|name| figure(&figures, name));
    assert!(times.is_sorted(), "{times:?}");
    assert!(times[0] > 1.0 && figure(&figures, "p50 from due") >= times[0], "{figures:?}");
}

#[test]
fn a_wrong_delivery_is_never_a_figure() {
    use Fault::{Alter, Late, Lose, Refuse, Repeat, SecondMember};
    let cases: &[(Workload, &[Fault])] = &[
        (Workload::Publish128, &[Refuse]),
        (Workload::Fan1To1, &[Lose, Repeat, Late, Alter, Refuse]),
        // Late behind another publisher's message would be no fault.
        (Workload::Fan4To4, &[Lose, Repeat, Alter]),
        (Workload::Subjects, &[Lose, Repeat, Late, Alter]),
        (Workload::Queue2To4, &[Lose, SecondMember, Alter]),
        (Workload::Request1, &[Lose, Alter]),
        (Workload::Request50, &[Lose, Alter, Repeat]),
        (Workload::Latency, &[Lose, Repeat, Late, Alter]),
        (Workload::Churn, &[Alter, Refuse]),
        (Workload::Idle, &[Lose, Repeat, Alter]),
        (Workload::Connections1000, &[Lose, Repeat, Alter]),
        (Workload::MixedSizes, &[Lose, Repeat, Late, Alter]),
        (Workload::Jobs, &[Lose, Repeat, Late, Alter]),
        (Workload::SlowAmongTen, &[Lose, Repeat, Late, Alter]),
    ];
    for (workload, faults) in cases {
        for fault in *faults {
            let outcome = run(*workload, *fault);
            assert!(outcome.is_err(), "{} with {fault:?} gave {outcome:?}", workload.name());
        }
    }
}

#[test]
fn a_log_that_lacks_or_repeats_a_message_is_never_a_figure() {
    for workload in [Workload::DurablePublish, Workload::Flush1, Workload::Flush8, Workload::Churn] {
        for fault in [Fault::Forget, Fault::RecordTwice, Fault::Alter] {
            let outcome = run(workload, fault);
            assert!(outcome.is_err(), "{} with {fault:?} gave {outcome:?}", workload.name());
        }
    }
}

/// Fills a stream, ten messages on each of ten subjects, and reads it back in one of the ways there are.
fn stream(fault: Fault, read: impl Fn(Target, &Content) -> Result<()>) -> Result<()> {
    let fake = Fake::start(fault);
    let content = Content::on_many("bench.many.", 1, PAYLOAD_BYTES);
    jetstream::fill(fake.target(), &content, 100)?;
    read(fake.target(), &content)
}

#[test]
fn a_stream_is_read_back_whole_or_there_is_no_figure() {
    type Read = fn(Target, &Content) -> Result<()>;
    let push: Read = |target, content| jetstream::read::push(target, content, 100).map(drop);
    let pull: Read = |target, content| jetstream::read::pull(target, content, 100).map(drop);
    for read in [push, pull] {
        stream(Fault::None, read).unwrap();
        for fault in [Fault::Lose, Fault::Repeat, Fault::Refuse, Fault::Alter, Fault::Forget, Fault::RecordTwice] {
            assert!(stream(fault, read).is_err(), "{fault:?}");
        }
    }
}

#[test]
fn one_subject_of_many_is_read_back_whole_or_there_is_no_figure() {
    let each = |target: Target, content: &Content| {
        let time = std::time::Duration::from_millis(300);
        jetstream::subjects::replays(target, time, content, 2).map(drop)
    };
    stream(Fault::None, each).unwrap();
    // The fault is in one of ten subjects, which are read in no order: among so many replays it is found.
    for fault in [Fault::Alter, Fault::Forget, Fault::RecordTwice] {
        assert!(stream(fault, each).is_err(), "{fault:?}");
    }
}

#[test]
fn publishing_with_acknowledgements_gives_its_figures() {
    for window in [1, 50] {
        let fake = Fake::start(Fault::None);
        let figures = jetstream::publish::run(fake.target(), &options(), window, PAYLOAD_BYTES, None).unwrap();
        assert!(figure(&figures, "acknowledged") > 0.0 && figure(&figures, "p99") >= figure(&figures, "p50"));
        for fault in [Fault::Lose, Fault::Repeat, Fault::Refuse, Fault::Alter, Fault::Forget, Fault::RecordTwice] {
            let fake = Fake::start(fault);
            let outcome = jetstream::publish::run(fake.target(), &options(), window, PAYLOAD_BYTES, None);
            assert!(outcome.is_err(), "{fault:?} gave {outcome:?}");
        }
    }
}

#[test]
fn a_refusal_is_reported_in_the_servers_words() {
    let error = run(Workload::Publish128, Fault::Refuse).unwrap_err().to_string();
    assert_eq!(error, "the server said -ERR 'no'");
}

#[test]
fn the_cause_is_reported_and_not_what_followed_from_it() {
    let error = run(Workload::Fan1To1, Fault::Late).unwrap_err().to_string();
    assert_eq!(error, "wrong delivery: publisher 0: message 4 came when 3 was next");
}
