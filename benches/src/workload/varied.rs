//! One publisher and one subscriber with messages that are not all alike: sizes from 16 B to 1 MiB, or documents like
//! job reports.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::cli::Options;
use crate::clock::now;
use crate::content::{END_SUBJECT, Ledger, STAMP_BYTES, Share, Stamp, end_frame};
use crate::crew::{go_on, joined, part};
use crate::disk::noise;
use crate::error::{BenchError, Result, gather};
use crate::figure::{Figure, Meter, Unit, rate};
use crate::monitor;
use crate::server::Target;
use crate::wire::{Connection, Delivered};
use crate::workload::stream::WINDOW_WAIT;

mod documents;

/// About how much is written in one system call.
const WRITE_BYTES: usize = 64 << 10;
const READ_BYTES: usize = 256 << 10;

/// A cycle of messages: message `n` is `kinds[n % kinds.len()]` with its own stamp.
#[derive(Debug)]
pub(super) struct Cycle {
    /// Subject and payload of each, the stamp zero.
    kinds: Vec<Kind>,
}

#[derive(Debug)]
struct Kind {
    subject: String,
    payload: Vec<u8>,
}

impl Cycle {
    /// Sizes from 16 B to 1 MiB in steps of two, on one subject, each size 1.41 times as rare as the one below it: 870 messages a
    /// cycle, about 4 KiB on average, and a quarter of the bytes in those of 1 MiB.
    pub(super) fn of_sizes() -> Self {
        let classes = (4..=20).map(|exponent| (1_usize << exponent, f64::from(20 - exponent)));
        let sizes = classes.flat_map(|(size, rarer)| std::iter::repeat_n(size, (rarer / 2.0).exp2() as usize));
        let noise = noise(1 << 20);
        let kind = |size: usize| Kind {
            subject: super::SUBJECT.to_owned(),
            payload: [&[0; STAMP_BYTES], noise.get(STAMP_BYTES..size).unwrap_or_default()].concat(),
        };
        Self::shuffled(sizes.map(kind).collect())
    }

    /// Job reports: [`documents`] says which.
    pub(super) fn of_jobs() -> Self {
        let kind = |(subject, text): (String, String)| Kind {
            subject,
            payload: [&[0; STAMP_BYTES], text.as_bytes()].concat(),
        };
        Self::shuffled(documents::all().into_iter().map(kind).collect())
    }

    /// The same order in every run, and no order.
    fn shuffled(mut kinds: Vec<Kind>) -> Self {
        let mut chosen = 1_u64;
        for last in (1..kinds.len()).rev() {
            chosen = chosen.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            kinds.swap(last, (chosen >> 33) as usize % (last + 1));
        }
        Self { kinds }
    }

    fn kind(&self, number: u64) -> Option<&Kind> {
        self.kinds.get((number % self.kinds.len() as u64) as usize)
    }

    /// Compares all of a message with what was published.
    fn verify(&self, got: Delivered<'_>, number: u64) -> Result<()> {
        let wanted = self.kind(number).filter(|kind| {
            kind.subject.as_bytes() == got.subject && got.payload.get(STAMP_BYTES..) == kind.payload.get(STAMP_BYTES..)
        });
        if wanted.is_some() { Ok(()) } else { Err(BenchError::Wrong(format!("message {number} was altered"))) }
    }

    fn mean_bytes(&self) -> usize {
        self.kinds.iter().map(|kind| kind.payload.len()).sum::<usize>() / self.kinds.len().max(1)
    }
}

/// All frames of a cycle, ready but for their numbers.
#[derive(Debug)]
struct Frames {
    bytes: Vec<u8>,
    /// Where each frame's payload begins and the frame ends.
    places: Vec<(usize, usize)>,
}

impl Frames {
    fn of(cycle: &Cycle) -> Self {
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        for kind in &cycle.kinds {
            bytes.extend_from_slice(format!("PUB {} {}\r\n", kind.subject, kind.payload.len()).as_bytes());
            let payload_at = bytes.len();
            bytes.extend_from_slice(&kind.payload);
            bytes.extend_from_slice(b"\r\n");
            places.push((payload_at, bytes.len()));
        }
        Self { bytes, places }
    }

    /// Frames from `first` on, of 64 KiB together or one that is larger, and how many.
    fn next(&mut self, first: u64) -> (&[u8], u64) {
        let index = (first % self.places.len() as u64) as usize;
        let from = index.checked_sub(1).and_then(|before| self.places.get(before)).map_or(0, |(_, end)| *end);
        let mut to = from;
        let mut count = 0;
        for (payload_at, end) in self.places.iter().skip(index) {
            if count > 0 && end - from > WRITE_BYTES {
                break;
            }
            let stamp = Stamp { number: first + count, publisher: 0, end: false }.bytes();
            if let Some(field) = self.bytes.get_mut(*payload_at..payload_at + STAMP_BYTES) {
                field.copy_from_slice(&stamp);
            }
            (to, count) = (*end, count + 1);
        }
        (self.bytes.get(from..to).unwrap_or_default(), count)
    }
}

/// Runs for `--seconds` and until everything published has arrived. `filter` takes all subjects of the cycle.
///
/// # Errors
/// A connection failed, or a message was lost, repeated, reordered or altered.
pub(super) fn run(target: Target, options: &Options, cycle: &Cycle, filter: &str) -> Result<Vec<Figure>> {
    let mut subscriber = Connection::open(target, READ_BYTES)?;
    subscriber.send(format!("SUB {filter} 1\r\nSUB {END_SUBJECT} 2\r\n").as_bytes())?;
    subscriber.flush()?;
    let publisher = Connection::open(target, 4096)?;
    let counted_before = target.monitor.map(monitor::messages_in).transpose()?;
    let meter = Meter::start(target)?;
    let (aborted, received) = (AtomicBool::new(false), AtomicU64::new(0));
    let begun = now();
    let outcomes = std::thread::scope(|scope| {
        let (aborted, received) = (&aborted, &received);
        let reading = scope.spawn(move || part(aborted, || receive(cycle, subscriber, received, aborted)));
        let writing =
            scope.spawn(move || part(aborted, || publish(cycle, publisher, options, begun, received, aborted)));
        joined(vec![reading, writing])
    });
    let ends = gather(outcomes)?;
    let cost = meter.stop()?;
    let count = received.load(Ordering::Relaxed);
    if let (Some(port), Some(before)) = (target.monitor, counted_before) {
        monitor::expect_messages_in(port, before, count + 1)?;
    }
    let elapsed = ends.into_iter().max().unwrap_or(begun).saturating_duration_since(begun);
    let per_second = rate(count, elapsed);
    let mut figures = vec![
        Figure::new("published", Unit::MessagesPerSecond, per_second),
        Figure::new("payload", Unit::MegabytesPerSecond, per_second * cycle.mean_bytes() as f64 / 1e6),
    ];
    figures.extend(cost.figures(count, elapsed));
    Ok(figures)
}

fn receive(cycle: &Cycle, mut connection: Connection, received: &AtomicU64, aborted: &AtomicBool) -> Result<Instant> {
    let mut ledger = Ledger::new(Share::All, 1);
    while !ledger.is_closed() {
        connection.pump(None, aborted, "waiting for messages", &mut |got: Delivered<'_>| {
            let stamp = Stamp::of(got.payload)?;
            if !stamp.end {
                cycle.verify(got, stamp.number)?;
            }
            ledger.enter(stamp)
        })?;
        received.store(ledger.received(), Ordering::Relaxed);
    }
    let end = now();
    connection.flush()?;
    Ok(end)
}

fn publish(
    cycle: &Cycle,
    mut connection: Connection,
    options: &Options,
    begun: Instant,
    received: &AtomicU64,
    aborted: &AtomicBool,
) -> Result<Instant> {
    let mut frames = Frames::of(cycle);
    let window = (options.window_kib * 1024 / cycle.mean_bytes().max(1) as u64).max(1);
    let mut sent = 0;
    while begun.elapsed() < options.duration() {
        go_on(aborted)?;
        if sent - received.load(Ordering::Relaxed) >= window {
            std::thread::sleep(WINDOW_WAIT);
            continue;
        }
        let (bytes, count) = frames.next(sent);
        connection.send(bytes)?;
        sent += count;
    }
    connection.owe_pong();
    connection.send(&[&end_frame(0, sent)[..], b"PING\r\n"].concat())?;
    connection.wait_for_pongs()?;
    Ok(now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_go_from_16_bytes_to_1_mib() {
        let cycle = Cycle::of_sizes();
        let sizes = || cycle.kinds.iter().map(|kind| kind.payload.len());
        assert_eq!((sizes().min(), sizes().max()), (Some(16), Some(1 << 20)));
        assert_eq!(sizes().filter(|size| *size == 16).count(), 256);
        assert_eq!(sizes().filter(|size| *size == 1 << 20).count(), 1);
        assert!((3000..6000).contains(&cycle.mean_bytes()), "{}", cycle.mean_bytes());
        assert!(!sizes().is_sorted());
    }

    #[test]
    fn frames_go_round_and_bear_their_numbers() {
        let cycle = Cycle::of_jobs();
        let mut frames = Frames::of(&cycle);
        let mut number = 0;
        while number < 2 * cycle.kinds.len() as u64 {
            let (bytes, count) = frames.next(number);
            assert!(count > 0 && (count == 1 || bytes.len() <= WRITE_BYTES));
            let mut rest = bytes;
            for number in number..number + count {
                let kind = cycle.kind(number).unwrap();
                let head = format!("PUB {} {}\r\n", kind.subject, kind.payload.len());
                rest = rest.strip_prefix(head.as_bytes()).unwrap();
                let (payload, tail) = rest.split_at(kind.payload.len());
                assert_eq!(Stamp::of(payload).unwrap().number, number);
                let got = Delivered { subject: kind.subject.as_bytes(), reply: None, headers: b"", payload };
                cycle.verify(got, number).unwrap();
                let altered = [&payload[..payload.len() - 1], b"~"].concat();
                assert!(cycle.verify(Delivered { payload: &altered, ..got }, number).is_err());
                assert!(cycle.verify(Delivered { subject: b"x", ..got }, number).is_err());
                rest = tail.strip_prefix(b"\r\n").unwrap();
            }
            assert!(rest.is_empty());
            number += count;
        }
    }
}
