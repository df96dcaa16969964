//! Random programs over a log, compared step by step with a plain list; a program that fails shrinks to a small one.
//! `SUBLOG_PROGRAMS=<n>` runs that many.
//!
//! A new operation is a variant of [`Op`], its chance in `transitions`, and an arm in `apply`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, RngSeed, TestError, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use crate::common::{env, report};
use crate::subject::Subject;

/// One step of a program. Positions are parts of the whole, in 65536ths, so that they mean something in any log.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// Appends a batch; each record has its payload's length and how far its time is off.
    Append(Vec<(u16, i8)>),
    /// Time passes, and the committer does what is due.
    Pass(u16),
    /// Waits until everything appended is answered.
    Wait,
    RemoveBefore(u16),
    RemoveOldest,
    /// Reads forward from a position, so many records.
    Forward(u16, u16),
    /// Reads backward likewise.
    Backward(u16, u16),
    SeekTime(u16),
    Reopen,
    Kill,
    PowerCut,
    /// The disk has this many bytes left.
    Fill(u16),
    Free,
}

/// What decides which steps make sense: nothing but whether the disk was filled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reference {
    filled: bool,
}

impl ReferenceStateMachine for Reference {
    type State = Self;
    type Transition = Op;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Op> {
        let records = prop::collection::vec((0_u16..900, any::<i8>()), 1..6);
        let large = prop::collection::vec((4000_u16..9000, any::<i8>()), 1..3);
        prop_oneof![
            12 => records.prop_map(Op::Append),
            1 => large.prop_map(Op::Append),
            6 => (0_u16..20).prop_map(Op::Pass),
            6 => Just(Op::Wait),
            2 => any::<u16>().prop_map(Op::RemoveBefore),
            1 => Just(Op::RemoveOldest),
            3 => (any::<u16>(), 1_u16..50).prop_map(|(from, n)| Op::Forward(from, n)),
            3 => (any::<u16>(), 1_u16..50).prop_map(|(from, n)| Op::Backward(from, n)),
            2 => any::<u16>().prop_map(Op::SeekTime),
            1 => Just(Op::Reopen),
            1 => Just(Op::Kill),
            2 => Just(Op::PowerCut),
            1 => (0_u16..30_000).prop_map(Op::Fill),
            2 => Just(Op::Free),
        ]
        .boxed()
    }

    fn preconditions(state: &Self, op: &Op) -> bool {
        match op {
            Op::Fill(_) => !state.filled,
            Op::Free => state.filled,
            _ => true,
        }
    }

    fn apply(mut state: Self, op: &Op) -> Self {
        match op {
            Op::Fill(_) => state.filled = true,
            Op::Free => state.filled = false,
            _ => {}
        }
        state
    }
}

static OPS: AtomicU64 = AtomicU64::new(0);
static RECORDS: AtomicU64 = AtomicU64::new(0);

struct Programs;

impl StateMachineTest for Programs {
    type SystemUnderTest = Subject;
    type Reference = Reference;

    fn init_test(_: &Reference) -> Subject {
        Subject::new()
    }

    fn apply(mut subject: Subject, _: &Reference, op: Op) -> Subject {
        OPS.fetch_add(1, Ordering::Relaxed);
        match op {
            Op::Append(records) => subject.append(&records),
            Op::Pass(ms) => subject.pass(ms),
            Op::Wait => subject.wait(),
            Op::RemoveBefore(part) => subject.remove_before(part),
            Op::RemoveOldest => subject.remove_oldest(),
            Op::Forward(part, n) => subject.forward(part, usize::from(n)),
            Op::Backward(part, n) => subject.backward(part, usize::from(n)),
            Op::SeekTime(part) => subject.seek_time(part),
            Op::Reopen => subject.reopen(),
            Op::Kill => subject.die(false),
            Op::PowerCut => subject.die(true),
            Op::Fill(left) => subject.fill(u64::from(left)),
            Op::Free => subject.free(),
        }
        subject
    }

    fn check_invariants(subject: &Subject, _: &Reference) {
        subject.check();
    }

    fn teardown(mut subject: Subject, _: Reference) {
        subject.free();
        subject.reopen();
        subject.forward(0, usize::MAX);
        subject.backward(u16::MAX, usize::MAX);
        RECORDS.fetch_add(subject.records(), Ordering::Relaxed);
    }
}

/// Runs programs until one fails; that one, made small.
fn run(cases: u32, seed: u64) -> Result<(), String> {
    let config = Config {
        cases,
        max_shrink_iters: 20_000,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None::<Box<FileFailurePersistence>>.map(|persistence| persistence as _),
        ..Config::default()
    };
    let programs = Reference::sequential_strategy(1..60);
    let outcome = TestRunner::new(config.clone()).run(&programs, |(state, ops, seen)| {
        let program = || Programs::test_sequential(config.clone(), state, ops, seen);
        catch_unwind(AssertUnwindSafe(program)).map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            TestCaseError::fail(text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned())
        })
    });
    outcome.map_err(|error| match error {
        TestError::Fail(why, (_, ops, _)) => {
            format!("{why}\nafter:\n{}", ops.iter().map(|op| format!("    {op:?}\n")).collect::<String>())
        }
        TestError::Abort(why) => why.to_string(),
    })
}

#[test]
fn programs_do_what_a_plain_list_does() {
    let start = Instant::now();
    let cases = u32::try_from(env("SUBLOG_PROGRAMS", 400)).unwrap();
    let seed = env("SUBLOG_FAULTS_SEED", u64::from(std::process::id()));
    if let Err(why) = run(cases, seed) {
        panic!("seed {seed}: {why}");
    }
    let (ops, records) = (OPS.load(Ordering::Relaxed), RECORDS.load(Ordering::Relaxed));
    let counts = format!(
        "{cases} programs of {ops} operations, {records} records at their ends, in {:.0} s",
        start.elapsed().as_secs_f64()
    );
    report("model", "random programs against a plain list", &counts, 0);
}

#[cfg(feature = "planted-bugs")]
#[test]
fn a_mistake_shrinks_to_a_small_program() {
    use sublog_storage::planted::{Bug, plant};
    for bug in [Bug::AckBeforeSync, Bug::NoRemovalSync] {
        plant(Some(bug));
        let outcome = run(3000, 1);
        plant(None);
        let why = outcome.expect_err("the mistake was not caught");
        let steps = why.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     ")).count();
        report("model", &format!("planted: {bug:?}"), &format!("caught, shrunk to {} lines", steps), 0);
        assert!(steps < 40, "{why}");
    }
}
