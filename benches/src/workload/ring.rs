//! Many connections that all publish and subscribe: each gets what its neighbour publishes.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::cli::Options;
use crate::clock::now;
use crate::content::{Batch, Content, Ledger, STAMP_BYTES, Share, Stamp};
use crate::crew::{go_on, joined, part};
use crate::error::{Result, gather};
use crate::figure::{Figure, Meter, Unit, rate};
use crate::monitor;
use crate::server::Target;
use crate::wire::{Connection, FixedFrame};

/// Threads, each with a ring of its own.
const RINGS: u32 = 2;
/// Messages that a connection publishes at once.
const AT_ONCE: u64 = 16;

/// Runs for `--seconds` with so many connections. They publish in turn, sixteen messages at a time, and all have got
/// theirs before the next turn begins.
///
/// # Errors
/// A connection failed, or a message was lost, repeated, reordered or altered.
pub(super) fn run(target: Target, options: &Options, connections: u32) -> Result<Vec<Figure>> {
    let each = connections.div_ceil(RINGS);
    let mut rings = Vec::new();
    for ring in 0..RINGS {
        rings.push((0..each).map(|number| Member::join(target, ring, number, each)).collect::<Result<Vec<_>>>()?);
    }
    let counted_before = target.monitor.map(monitor::messages_in).transpose()?;
    let meter = Meter::start(target)?;
    let aborted = AtomicBool::new(false);
    let begun = now();
    let duration = options.duration();
    let outcomes = std::thread::scope(|scope| {
        let aborted = &aborted;
        let threads = rings.into_iter();
        let threads =
            threads.map(|ring| scope.spawn(move || part(aborted, || go_round(ring, begun, duration, aborted))));
        joined(threads.collect())
    });
    let elapsed = begun.elapsed();
    let cost = meter.stop();
    let count: u64 = gather(outcomes)?.into_iter().sum();
    let cost = cost?;
    if let (Some(port), Some(before)) = (target.monitor, counted_before) {
        monitor::expect_messages_in(port, before, count)?;
    }
    let mut figures = vec![Figure::new("published", Unit::MessagesPerSecond, rate(count, elapsed))];
    figures.extend(cost.figures(count, elapsed));
    Ok(figures)
}

/// A connection and what it publishes and expects.
#[derive(Debug)]
struct Member {
    connection: Connection,
    batch: Batch,
    expected: Content,
    frame: FixedFrame,
    ledger: Ledger,
}

impl Member {
    fn join(target: Target, ring: u32, number: u32, members: u32) -> Result<Self> {
        let content = |number: u32| Content::on(&format!("bench.ring.{ring}.{number}"), super::PAYLOAD_BYTES);
        let expected = content(number);
        let mut connection = Connection::open(target, 8 << 10)?;
        connection.send(format!("SUB {} 1\r\n", expected.subject).as_bytes())?;
        connection.flush()?;
        Ok(Self {
            connection,
            batch: Batch::new(&content((number + 1) % members), 0),
            frame: FixedFrame::new(expected.subject.as_bytes(), 0, expected.payload_bytes),
            expected,
            ledger: Ledger::new(Share::All, 1),
        })
    }
}

/// Turn after turn; how many messages that were.
fn go_round(mut ring: Vec<Member>, begun: Instant, duration: Duration, aborted: &AtomicBool) -> Result<u64> {
    let mut published = 0;
    while begun.elapsed() < duration {
        go_on(aborted)?;
        for member in &mut ring {
            member.connection.send(member.batch.frames(published, AT_ONCE).0)?;
        }
        published += AT_ONCE;
        for Member { connection, expected, frame, ledger, .. } in &mut ring {
            while ledger.received() < published {
                connection.pump(Some(frame), aborted, "waiting for a neighbour", &mut |got| {
                    let stamp = Stamp::of(got.payload)?;
                    expected.verify(got, stamp, STAMP_BYTES)?;
                    ledger.enter(stamp)
                })?;
            }
        }
    }
    // One message more before a PONG would be one too many, and an error.
    for member in &mut ring {
        member.connection.flush()?;
    }
    Ok(published * ring.len() as u64)
}
