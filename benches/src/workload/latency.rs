//! From publishing to delivery, at a steady rate that is far from what a server can do.
//!
//! The time of sending travels in the message, between stamp and noise; so does the time at which it was due. The
//! table has delivery minus sending; JSON also has delivery minus due, which counts what a publisher that was held up
//! could not send.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::cli::Options;
use crate::clock::{nanos, now, now_ns};
use crate::content::{Batch, Content, END_SUBJECT, Ledger, STAMP_BYTES, Share, Stamp, end_frame};
use crate::crew::{go_on, joined, part};
use crate::error::{BenchError, Result, gather};
use crate::figure::{Figure, Meter, Unit, histogram, merged, percentiles, rate};
use crate::server::Target;
use crate::wire::{Connection, Delivered};

/// Between messages: 10,000 a second.
const INTERVAL_NS: u64 = 100_000;
/// Where the noise begins, behind two times of 8 bytes.
const NOISE_FROM: usize = STAMP_BYTES + 16;

#[derive(Debug)]
struct Times {
    from_sending: Histogram<u64>,
    from_due: Histogram<u64>,
}

/// Runs for `--seconds` and until everything published has arrived.
///
/// # Errors
/// A connection failed, or a message was lost, repeated, reordered or altered.
pub(crate) fn run(target: Target, options: &Options) -> Result<Vec<Figure>> {
    let content = Content::on(super::SUBJECT, super::PAYLOAD_BYTES);
    let mut subscriber = Connection::open(target, 64 << 10)?;
    subscriber.send(format!("SUB {} 1\r\nSUB {END_SUBJECT} 2\r\n", super::SUBJECT).as_bytes())?;
    subscriber.flush()?;
    let publisher = Connection::open(target, 4096)?;
    let meter = Meter::start(target)?;
    let aborted = AtomicBool::new(false);
    let begun = now();
    let duration = options.duration();
    let outcomes = std::thread::scope(|scope| {
        let reading = scope.spawn(|| part(&aborted, || receive(&content, subscriber, &aborted).map(Some)));
        let writing =
            scope.spawn(|| part(&aborted, || publish(&content, publisher, duration, &aborted).map(|()| None)));
        joined(vec![reading, writing])
    });
    let elapsed = begun.elapsed();
    let times = gather(outcomes)?.into_iter().flatten();
    let (sending, due): (Vec<_>, Vec<_>) = times.map(|times| (times.from_sending, times.from_due)).unzip();
    let (sending, due) = (merged(sending)?, merged(due)?);
    let cost = meter.stop()?;
    let mut figures = percentiles(&sending);
    for figure in &mut figures {
        figure.in_table = figure.name != "max";
    }
    let micros = |name, quantile| Figure::aside(name, Unit::Microseconds, due.value_at_quantile(quantile) as f64 / 1e3);
    figures.extend([micros("p50 from due", 0.5), micros("p99 from due", 0.99), micros("p99.9 from due", 0.999)]);
    figures.push(Figure::aside("published", Unit::MessagesPerSecond, rate(sending.len(), elapsed)));
    figures.extend(cost.figures(sending.len(), elapsed));
    Ok(figures)
}

fn receive(content: &Content, mut connection: Connection, aborted: &AtomicBool) -> Result<Times> {
    let mut ledger = Ledger::new(Share::All, 1);
    let mut times = Times { from_sending: histogram()?, from_due: histogram()? };
    while !ledger.is_closed() {
        connection.pump(None, aborted, "waiting for messages", &mut |got: Delivered<'_>| {
            let time_ns = now_ns();
            let stamp = Stamp::of(got.payload)?;
            if !stamp.end {
                content.verify(got, stamp, NOISE_FROM)?;
                let at = |offset| time_at(got.payload, offset);
                times.from_sending.saturating_record(time_ns.saturating_sub(at(STAMP_BYTES)?));
                times.from_due.saturating_record(time_ns.saturating_sub(at(STAMP_BYTES + 8)?));
            }
            ledger.enter(stamp)
        })?;
    }
    connection.flush()?;
    Ok(times)
}

fn time_at(payload: &[u8], offset: usize) -> Result<u64> {
    let bytes = payload.get(offset..).and_then(|rest| rest.first_chunk());
    bytes.map(|bytes| u64::from_le_bytes(*bytes)).ok_or_else(|| BenchError::Wrong("a payload without its time".into()))
}

fn publish(content: &Content, mut connection: Connection, duration: Duration, aborted: &AtomicBool) -> Result<()> {
    // By default the kernel wakes a sleeper up to 50 µs late, half of the interval.
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1))
        .map_err(|error| BenchError::Io { what: "setting the timer slack".into(), source: error.into() })?;
    let mut batch = Batch::new(content, 0);
    let begun_ns = now_ns();
    let count = nanos(duration) / INTERVAL_NS;
    for number in 0..count {
        go_on(aborted)?;
        let due_ns = begun_ns + number * INTERVAL_NS;
        let early_ns = due_ns.saturating_sub(now_ns());
        if early_ns > 0 {
            std::thread::sleep(Duration::from_nanos(early_ns));
        }
        let mut frame = batch.frames(number, 1).0.to_vec();
        // The stamp ends where the payload's noise begins, which the frame's end tells.
        let times_at = frame.len() - 2 - content.payload_bytes + STAMP_BYTES;
        if let Some(field) = frame.get_mut(times_at..times_at + 16) {
            let times = u128::from(now_ns()) | u128::from(due_ns) << 64;
            field.copy_from_slice(&times.to_le_bytes());
        }
        connection.send(&frame)?;
    }
    connection.send(&end_frame(0, count))?;
    connection.flush()
}
