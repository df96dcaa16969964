//! Request and reply: one requester, one responder, a set number of requests in flight.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::cli::Options;
use crate::clock::{nanos, now, now_ns};
use crate::content::{Content, END_SUBJECT, STAMP_BYTES, Stamp, end_frame};
use crate::crew::{joined, part};
use crate::error::{BenchError, Result, gather};
use crate::figure::{Figure, Meter, Unit, histogram, merged, percentiles, rate};
use crate::monitor;
use crate::server::Target;
use crate::wire::{Connection, Delivered};

const REQUEST_SUBJECT: &str = "bench.request";
const READ_BYTES: usize = 64 << 10;

/// Runs for `--seconds` and until every request is answered.
///
/// # Errors
/// A connection failed, or a request or its reply was lost, repeated or altered.
pub(crate) fn run(target: Target, options: &Options, in_flight: usize) -> Result<Vec<Figure>> {
    let content = Content::on(REQUEST_SUBJECT, super::PAYLOAD_BYTES);
    let mut responder = Connection::open(target, READ_BYTES)?;
    responder.send(format!("SUB {REQUEST_SUBJECT} 1\r\nSUB {END_SUBJECT} 2\r\n").as_bytes())?;
    responder.flush()?;
    let mut requester = Connection::open(target, READ_BYTES)?;
    requester.send(b"SUB _INBOX.bench.* 1\r\n")?;
    requester.flush()?;

    let counted_before = target.monitor.map(monitor::messages_in).transpose()?;
    let meter = Meter::start(target)?;
    let aborted = AtomicBool::new(false);
    let begun = now();
    let duration = options.duration();
    let outcomes = std::thread::scope(|scope| {
        let answering = scope.spawn(|| part(&aborted, || answer(&content, responder, &aborted)));
        let asking = scope.spawn(|| part(&aborted, || ask(&content, requester, in_flight, duration, &aborted)));
        joined(vec![answering, asking])
    });
    let elapsed = begun.elapsed();
    let times = merged(gather(outcomes)?)?;
    let cost = meter.stop()?;
    if let (Some(port), Some(before)) = (target.monitor, counted_before) {
        monitor::expect_messages_in(port, before, 2 * times.len() + 1)?;
    }
    let mut figures = vec![Figure::new("requests", Unit::PerSecond, rate(times.len(), elapsed))];
    figures.extend(percentiles(&times));
    figures.extend(cost.figures(times.len(), elapsed));
    Ok(figures)
}

/// Sends every request's payload back, until told that that was all. Measures nothing.
fn answer(content: &Content, mut connection: Connection, aborted: &AtomicBool) -> Result<Histogram<u64>> {
    let mut total = None;
    let mut answered = 0;
    let mut out = Vec::new();
    while total.is_none() {
        connection.pump(None, aborted, "waiting for requests", &mut |got: Delivered<'_>| {
            let stamp = Stamp::of(got.payload)?;
            if stamp.end {
                total = Some(stamp.number);
                return Ok(());
            }
            content.verify(got, stamp, STAMP_BYTES)?;
            let reply = got.reply.ok_or_else(|| BenchError::Wrong("a request without a reply subject".into()))?;
            answered += 1;
            put(&mut out, reply, None, got.payload);
            Ok(())
        })?;
        connection.send(&out)?;
        out.clear();
    }
    if total == Some(answered) {
        return histogram();
    }
    Err(BenchError::Wrong(format!("{total:?} requests were sent, {answered} came")))
}

/// One request that waits for its reply.
#[derive(Debug, Clone, Copy)]
struct Slot {
    number: u64,
    sent_at_ns: u64,
}

/// Keeps `in_flight` requests under way, each with a reply subject of its own that is used again and again.
fn ask(
    content: &Content,
    mut connection: Connection,
    in_flight: usize,
    duration: Duration,
    aborted: &AtomicBool,
) -> Result<Histogram<u64>> {
    let end_ns = now_ns() + nanos(duration);
    let inboxes: Vec<String> = (0..in_flight).map(|slot| format!("_INBOX.bench.{slot:03}")).collect();
    let template = request_payload(content);
    let mut times = histogram()?;
    let mut slots: Vec<Slot> = Vec::new();
    let mut next = 0;
    let mut out = Vec::new();
    let mut request = |out: &mut Vec<u8>, inbox: &str| {
        let slot = Slot { number: next, sent_at_ns: now_ns() };
        let mut payload = template.clone();
        payload.splice(..STAMP_BYTES, Stamp { number: next, publisher: 0, end: false }.bytes());
        put(out, REQUEST_SUBJECT.as_bytes(), Some(inbox.as_bytes()), &payload);
        next += 1;
        slot
    };
    for inbox in &inboxes {
        slots.push(request(&mut out, inbox));
    }
    let mut outstanding = in_flight;
    while outstanding > 0 {
        connection.send(&out)?;
        out.clear();
        connection.pump(None, aborted, "waiting for replies", &mut |got: Delivered<'_>| {
            let time_ns = now_ns();
            let index = slot_of(got.subject).filter(|index| *index < slots.len());
            let slot = index.and_then(|index| Some((slots.get_mut(index)?, inboxes.get(index)?)));
            let (slot, inbox) = slot.ok_or_else(|| BenchError::Wrong("a reply on an unknown subject".into()))?;
            let stamp = Stamp::of(got.payload)?;
            if stamp.number != slot.number {
                let text = format!("the reply to request {} came when {} was asked", stamp.number, slot.number);
                return Err(BenchError::Wrong(text));
            }
            content.verify(Delivered { subject: REQUEST_SUBJECT.as_bytes(), ..got }, stamp, STAMP_BYTES)?;
            times.saturating_record(time_ns.saturating_sub(slot.sent_at_ns));
            if time_ns < end_ns {
                *slot = request(&mut out, inbox);
            } else {
                // No number is asked for twice: a second reply would be noticed.
                slot.number = u64::MAX;
                outstanding -= 1;
            }
            Ok(())
        })?;
    }
    connection.send(&end_frame(0, times.len()))?;
    connection.flush()?;
    Ok(times)
}

/// The payload of a request, its stamp yet to be set.
fn request_payload(content: &Content) -> Vec<u8> {
    let stamp = Stamp { number: 0, publisher: 0, end: false }.bytes();
    [&stamp[..], content.noise()].concat()
}

/// The slot that a reply subject belongs to.
fn slot_of(subject: &[u8]) -> Option<usize> {
    std::str::from_utf8(subject.strip_prefix(b"_INBOX.bench.")?).ok()?.parse().ok()
}

fn put(out: &mut Vec<u8>, subject: &[u8], reply: Option<&[u8]>, payload: &[u8]) {
    out.extend_from_slice(b"PUB ");
    out.extend_from_slice(subject);
    out.push(b' ');
    if let Some(reply) = reply {
        out.extend_from_slice(reply);
        out.push(b' ');
    }
    out.extend_from_slice(payload.len().to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_framed_and_replies_find_their_slot() {
        let mut out = Vec::new();
        put(&mut out, b"a", Some(b"b"), b"xyz");
        put(&mut out, b"a", None, b"");
        assert_eq!(out, b"PUB a b 3\r\nxyz\r\nPUB a 0\r\n\r\n");
        assert_eq!(slot_of(b"_INBOX.bench.007"), Some(7));
        assert_eq!(slot_of(b"_INBOX.bench.x"), None);
        assert_eq!(slot_of(b"other"), None);
    }
}
