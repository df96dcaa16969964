//! One subscriber that does not keep up, among others that do: what it costs them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::cli::Options;
use crate::content::{Ledger, STAMP_BYTES, Share, Stamp};
use crate::crew::joined;
use crate::error::{BenchError, Result, gather};
use crate::figure::{Figure, Unit};
use crate::server::Target;
use crate::wire::{Connection, FixedFrame};
use crate::workload::stream::{self, Plan};

/// What it reads at a time, and how long it then pauses: about 1.6 MB a second.
const READ_BYTES: usize = 16 << 10;
const PAUSE: Duration = Duration::from_millis(10);

/// What became of it.
#[derive(Debug, Clone, Copy)]
struct SlowEnd {
    /// Messages that came, the first so many without a gap.
    received: u64,
    /// Whether the server ended the connection.
    dropped: bool,
}

/// Runs a plan with one subscriber more, which is slow: publishers wait for the plan's own only, and the server may
/// end the slow one's connection.
///
/// # Errors
/// A connection of the plan failed, or a message was lost, repeated, reordered or altered.
pub(super) fn run(target: Target, options: &Options, plan: &Plan) -> Result<Vec<Figure>> {
    let connection = subscribe(target, plan)?;
    let done = AtomicBool::new(false);
    let (figures, slow) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| read(plan, connection, &done));
        let figures = stream::run(target, options, plan);
        done.store(true, Ordering::Relaxed);
        (figures, joined(vec![reading]))
    });
    let mut figures = figures?;
    for slow in gather(slow)? {
        figures.push(Figure::new("the slow one got", Unit::Count, slow.received as f64));
        figures.push(Figure::new("the slow one was dropped", Unit::Count, f64::from(u8::from(slow.dropped))));
    }
    Ok(figures)
}

fn subscribe(target: Target, plan: &Plan) -> Result<Connection> {
    let mut connection = Connection::open(target, READ_BYTES)?;
    connection.send(format!("SUB {} 1\r\n", plan.filter).as_bytes())?;
    connection.flush()?;
    Ok(connection)
}

/// Reads slowly until `done`, or until the server has enough of it. What comes must be all there is, in order.
fn read(plan: &Plan, mut connection: Connection, done: &AtomicBool) -> Result<SlowEnd> {
    let content = &plan.content;
    let frame = FixedFrame::new(content.subject.as_bytes(), content.digits, content.payload_bytes);
    let mut ledger = Ledger::new(Share::All, plan.publishers);
    loop {
        let outcome = connection.pump(Some(&frame), done, "reading slowly", &mut |got| {
            let stamp = Stamp::of(got.payload)?;
            content.verify(got, stamp, STAMP_BYTES)?;
            ledger.enter(stamp)
        });
        let end = |dropped| Ok(SlowEnd { received: ledger.received(), dropped });
        match outcome {
            Ok(()) if done.load(Ordering::Relaxed) => return end(false),
            Ok(()) => std::thread::sleep(PAUSE),
            Err(BenchError::Aborted) => return end(false),
            Err(BenchError::Closed(_) | BenchError::ServerSaid(_)) => return end(true),
            // A server that ends a connection with unread bytes in it resets it.
            Err(BenchError::Io { source, .. }) if source.kind() == std::io::ErrorKind::ConnectionReset => {
                return end(true);
            }
            Err(error) => return Err(error),
        }
    }
}
