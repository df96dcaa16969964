//! Messages flowing from publishers to subscribers as fast as they can, for a set time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::cli::Options;
use crate::clock::now;
use crate::content::{Batch, Content, END_SUBJECT, Ledger, STAMP_BYTES, Share, Stamp, end_frame, prove_parts};
use crate::crew::{go_on, joined, part};
use crate::error::{Result, gather};
use crate::figure::{Figure, Meter, Unit, rate};
use crate::monitor;
use crate::server::Target;
use crate::wire::{Connection, FixedFrame};

/// Large reads: one system call for thousands of messages.
const READ_BYTES: usize = 256 << 10;
/// How long a publisher that is a whole window ahead waits before it looks again.
pub(super) const WINDOW_WAIT: Duration = Duration::from_micros(50);

/// Who publishes what to whom.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Publishers, each on its own connection and thread.
    pub(crate) publishers: u32,
    /// Subscribers, likewise.
    pub(crate) subscribers: u32,
    /// Whether each gets everything, or they are one queue group.
    pub(crate) share: Share,
    /// What they subscribe to.
    pub(crate) filter: String,
    /// What is published.
    pub(crate) content: Content,
}

/// What the connections of a run share.
#[derive(Debug)]
struct Shared<'a> {
    plan: &'a Plan,
    aborted: AtomicBool,
    sent: AtomicU64,
    /// For each subscriber, on its own cache line: every one writes its own.
    received: Vec<Counter>,
    /// How many messages publishers together may be ahead.
    window: u64,
    begun: Instant,
    duration: Duration,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Counter(AtomicU64);

impl Shared<'_> {
    /// Messages that the slowest subscriber has received, or all of a queue group together.
    fn received(&self) -> u64 {
        let counts = self.received.iter().map(|counter| counter.0.load(Ordering::Relaxed));
        match self.plan.share {
            Share::All => counts.min().unwrap_or(u64::MAX),
            Share::Part => counts.sum(),
        }
    }
}

/// Runs a plan for `--seconds` and until everything published has arrived.
///
/// # Errors
/// A connection failed, or a message was lost, repeated, reordered or altered.
pub(crate) fn run(target: Target, options: &Options, plan: &Plan) -> Result<Vec<Figure>> {
    let mut subscribers = Vec::new();
    for _ in 0..plan.subscribers {
        subscribers.push(subscribe(target, plan)?);
    }
    let mut publishers = Vec::new();
    for _ in 0..plan.publishers {
        publishers.push(Connection::open(target, 4096)?);
    }
    let counted_before = target.monitor.map(monitor::messages_in).transpose()?;
    let meter = Meter::start(target)?;
    let shared = Shared {
        plan,
        aborted: AtomicBool::new(false),
        sent: AtomicU64::new(0),
        received: (0..plan.subscribers).map(|_| Counter::default()).collect(),
        window: (options.window_kib * 1024 / plan.content.payload_bytes as u64).max(1),
        begun: now(),
        duration: options.duration(),
    };
    let (received, sent) = std::thread::scope(|scope| {
        let shared = &shared;
        let readers = subscribers.into_iter().zip(&shared.received).map(|(connection, counter)| {
            scope.spawn(move || part(&shared.aborted, || receive(shared, connection, counter)))
        });
        let readers: Vec<_> = readers.collect();
        let writers = (0..).zip(publishers).map(|(number, connection)| {
            scope.spawn(move || part(&shared.aborted, || publish(shared, number, connection)))
        });
        let writers: Vec<_> = writers.collect();
        (joined(readers), joined(writers))
    });
    // Together, so that the cause is reported and not what followed from it on the other side.
    let outcomes = received.into_iter().map(|end| end.map(Ended::Reader));
    let outcomes = outcomes.chain(sent.into_iter().map(|end| end.map(Ended::Writer)));
    let outcomes = gather(outcomes.collect::<Vec<_>>())?;
    let cost = meter.stop()?;

    let (ledgers, published, last) = sorted_out(outcomes, shared.begun);
    if plan.share == Share::Part {
        prove_parts(&ledgers)?;
    }
    if let (Some(port), Some(before)) = (target.monitor, counted_before) {
        monitor::expect_messages_in(port, before, published + u64::from(plan.publishers))?;
    }
    let elapsed = last.saturating_duration_since(shared.begun);
    let per_second = rate(published, elapsed);
    let megabytes = per_second * plan.content.payload_bytes as f64 / 1e6;
    let mut figures = vec![
        Figure::new("published", Unit::MessagesPerSecond, per_second),
        Figure::aside("payload", Unit::MegabytesPerSecond, megabytes),
    ];
    let delivered: u64 = ledgers.iter().map(Ledger::received).sum();
    if delivered > published {
        figures.push(Figure::new("delivered", Unit::MessagesPerSecond, rate(delivered, elapsed)));
    }
    figures.extend(cost.figures(published, elapsed));
    Ok(figures)
}

#[derive(Debug)]
enum Ended {
    Reader((Ledger, Instant)),
    Writer((u64, Instant)),
}

/// The subscribers' books, how many messages were published, and when the last connection was done.
fn sorted_out(outcomes: Vec<Ended>, begun: Instant) -> (Vec<Ledger>, u64, Instant) {
    let (mut ledgers, mut published, mut last) = (Vec::new(), 0, begun);
    for outcome in outcomes {
        let end = match outcome {
            Ended::Reader((ledger, end)) => {
                ledgers.push(ledger);
                end
            }
            Ended::Writer((count, end)) => {
                published += count;
                end
            }
        };
        last = last.max(end);
    }
    (ledgers, published, last)
}

fn subscribe(target: Target, plan: &Plan) -> Result<Connection> {
    let mut connection = Connection::open(target, READ_BYTES)?;
    let queue = if plan.share == Share::Part { " workers" } else { "" };
    connection.send(format!("SUB {}{queue} 1\r\nSUB {END_SUBJECT} 2\r\n", plan.filter).as_bytes())?;
    connection.flush()?;
    Ok(connection)
}

fn receive(shared: &Shared<'_>, mut connection: Connection, counter: &Counter) -> Result<(Ledger, Instant)> {
    let content = &shared.plan.content;
    let frame = FixedFrame::new(content.subject.as_bytes(), content.digits, content.payload_bytes);
    let mut ledger = Ledger::new(shared.plan.share, shared.plan.publishers);
    while !ledger.is_closed() {
        connection.pump(Some(&frame), &shared.aborted, "waiting for messages", &mut |got| {
            let stamp = Stamp::of(got.payload)?;
            if !stamp.end {
                content.verify(got, stamp, STAMP_BYTES)?;
            }
            ledger.enter(stamp)
        })?;
        counter.0.store(ledger.received(), Ordering::Relaxed);
    }
    let end = now();
    // Whatever comes twice has come by the time of this PONG.
    connection.flush()?;
    Ok((ledger, end))
}

fn publish(shared: &Shared<'_>, publisher: u32, mut connection: Connection) -> Result<(u64, Instant)> {
    let mut batch = Batch::new(&shared.plan.content, publisher);
    // Small windows must not be overshot by a whole batch.
    let at_once = batch.capacity().min(shared.window);
    let mut number = 0;
    while shared.begun.elapsed() < shared.duration {
        go_on(&shared.aborted)?;
        let ahead = shared.sent.load(Ordering::Relaxed).saturating_sub(shared.received());
        if ahead >= shared.window {
            std::thread::sleep(WINDOW_WAIT);
            continue;
        }
        let (frames, count) = batch.frames(number, at_once);
        shared.sent.fetch_add(count, Ordering::Relaxed);
        connection.send(frames)?;
        number += count;
    }
    connection.owe_pong();
    connection.send(&[&end_frame(publisher, number)[..], b"PING\r\n"].concat())?;
    connection.wait_for_pongs()?;
    Ok((number, now()))
}
