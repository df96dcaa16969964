//! JetStream: what its workloads share. A stream, requests to the API, and publishing with acknowledgements.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::clock::{nanos, now, now_ns};
use crate::content::{Batch, Content, REPLY_DIGITS};
use crate::error::{BenchError, Result};
use crate::figure::histogram;
use crate::server::Target;
use crate::wire::{Connection, Delivered};

pub(super) mod publish;
pub(super) mod read;
pub(super) mod subjects;

/// The stream of every workload here.
const STREAM: &str = "BENCH";
/// Messages on their way to a stream that is only being filled.
const FILL_WINDOW: u64 = 4000;
/// Acknowledgements come on this and the message's number.
const ACKS: &str = "_INBOX.acks.";

/// A connection that asks the API, one request at a time.
#[derive(Debug)]
pub(super) struct Api {
    connection: Connection,
}

impl Api {
    /// Connects.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub(super) fn open(target: Target) -> Result<Self> {
        let mut connection = Connection::open(target, 16 << 10)?;
        connection.send(b"SUB _INBOX.api 1\r\n")?;
        connection.flush()?;
        Ok(Self { connection })
    }

    /// Sends a request to `$JS.API.` and `what`, and waits for the answer.
    ///
    /// # Errors
    /// The answer is an error, or none.
    pub(super) fn ask(&mut self, what: &str, request: &Value) -> Result<Value> {
        let request = request.to_string();
        let frame = format!("PUB $JS.API.{what} _INBOX.api {}\r\n{request}\r\n", request.len());
        self.connection.send(frame.as_bytes())?;
        let never = AtomicBool::new(false);
        let mut answer = None;
        while answer.is_none() {
            self.connection.pump(None, &never, "waiting for the JetStream API", &mut |got: Delivered<'_>| {
                answer = Some(understood(what, got.payload)?);
                Ok(())
            })?;
        }
        answer.ok_or_else(|| BenchError::Setup(format!("{what} was not answered")))
    }

    /// Makes the stream, on whatever the content is published on.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) fn create_stream(&mut self, content: &Content) -> Result<()> {
        let subject = if content.digits == 0 {
            content.subject.clone()
        } else {
            let prefix = content.subject.len() - content.digits;
            format!("{}>", content.subject.get(..prefix).unwrap_or_default())
        };
        let config = json!({"name": STREAM, "subjects": [subject], "storage": "file", "retention": "limits"});
        self.ask(&format!("STREAM.CREATE.{STREAM}"), &config).map(drop)
    }

    /// Proves that the stream holds so many messages, by its own word.
    ///
    /// # Errors
    /// It holds another number.
    pub(super) fn expect_messages(&mut self, count: u64) -> Result<()> {
        let info = self.ask(&format!("STREAM.INFO.{STREAM}"), &json!({}))?;
        let (messages, last) = (info.pointer("/state/messages"), info.pointer("/state/last_seq"));
        if messages.and_then(Value::as_u64) == Some(count) && last.and_then(Value::as_u64) == Some(count) {
            return Ok(());
        }
        Err(BenchError::Wrong(format!("{count} messages were published, the stream says {messages:?}, last {last:?}")))
    }
}

fn understood(what: &str, payload: &[u8]) -> Result<Value> {
    let answer: Value = serde_json::from_slice(payload)
        .map_err(|_| BenchError::Wrong(format!("{what}: answered {:?}", String::from_utf8_lossy(payload))))?;
    match answer.get("error") {
        Some(error) => Err(BenchError::Setup(format!("{what}: {error}"))),
        None => Ok(answer),
    }
}

/// How long to publish.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
    /// Until a time has passed.
    Passed(Duration),
    /// So many messages.
    Count(u64),
}

/// What a publisher got acknowledged.
#[derive(Debug)]
pub(super) struct Acknowledged {
    /// From sending to the acknowledgement.
    pub(super) times: Histogram<u64>,
    /// How many.
    pub(super) count: u64,
    /// How many were not that of the next message.
    pub(super) out_of_order: u64,
    /// From the first message's sending to the last one's acknowledgement.
    pub(super) elapsed: Duration,
}

/// One publisher into an empty stream, with at most `window` messages that are not acknowledged. Each message must be
/// acknowledged once, with its number in the stream.
///
/// # Errors
/// A message was refused, or its acknowledgement is missing, repeated or wrong.
pub(super) fn publish(target: Target, content: &Content, window: u64, until: Until) -> Result<Acknowledged> {
    let mut connection = Connection::open(target, 256 << 10)?;
    connection.send(format!("SUB {ACKS}* 1\r\n").as_bytes())?;
    connection.flush()?;
    let mut batch = Batch::answered(content, 0, ACKS);
    let mut acks = Acks::new(window)?;
    let never = AtomicBool::new(false);
    let begun = now();
    let mut last = begun;
    loop {
        let wanted = match until {
            Until::Passed(duration) if begun.elapsed() < duration => u64::MAX,
            Until::Passed(_) => acks.sent,
            Until::Count(count) => count,
        };
        while acks.room(wanted) > 0 {
            let (frames, count) = batch.frames(acks.sent, acks.room(wanted));
            acks.send(count);
            connection.send(frames)?;
        }
        if acks.count == acks.sent {
            break;
        }
        connection.pump(None, &never, "waiting for acknowledgements", &mut |got: Delivered<'_>| acks.enter(got))?;
        last = now();
    }
    // One more before this PONG would be one too many, and an error.
    connection.flush()?;
    let elapsed = last.saturating_duration_since(begun);
    Ok(Acknowledged { times: acks.times, count: acks.count, out_of_order: acks.out_of_order, elapsed })
}

/// The books of one publisher.
#[derive(Debug)]
struct Acks {
    window: u64,
    /// When each message was sent that is not acknowledged, by its number; 0 is free. Larger than the window, for
    /// acknowledgements may come in another order.
    sent_at_ns: Vec<u64>,
    sent: u64,
    count: u64,
    /// The lowest number that is not acknowledged.
    oldest: u64,
    /// The number after that of the last acknowledgement.
    next: u64,
    out_of_order: u64,
    times: Histogram<u64>,
}

impl Acks {
    fn new(window: u64) -> Result<Self> {
        let sent_at_ns = vec![0; 16 * window as usize];
        let (sent, count, oldest, next, out_of_order) = (0, 0, 0, 0, 0);
        Ok(Self { window, sent_at_ns, sent, count, oldest, next, out_of_order, times: histogram()? })
    }

    /// How many of `wanted` messages may be sent now.
    fn room(&self, wanted: u64) -> u64 {
        let limit = (self.count + self.window).min(self.oldest + self.sent_at_ns.len() as u64);
        wanted.min(limit).saturating_sub(self.sent)
    }

    fn send(&mut self, count: u64) {
        // The clock begins at 0, which means free.
        let time_ns = now_ns().max(1);
        for number in self.sent..self.sent + count {
            if let Some(slot) = self.slot(number) {
                *slot = time_ns;
            }
        }
        self.sent += count;
    }

    fn slot(&mut self, number: u64) -> Option<&mut u64> {
        let index = number % self.sent_at_ns.len() as u64;
        self.sent_at_ns.get_mut(index as usize)
    }

    fn enter(&mut self, got: Delivered<'_>) -> Result<()> {
        let time_ns = now_ns();
        let wrong = || {
            let (text, subject) = (String::from_utf8_lossy(got.payload), String::from_utf8_lossy(got.subject));
            BenchError::Wrong(format!("an acknowledgement that is not due, {text:?} on {subject:?}"))
        };
        let number = acknowledged(got).ok_or_else(wrong)?;
        if !(self.oldest..self.sent).contains(&number) {
            return Err(wrong());
        }
        let sent_ns = self.slot(number).map(std::mem::take).filter(|time| *time > 0).ok_or_else(wrong)?;
        self.times.saturating_record(time_ns.saturating_sub(sent_ns));
        self.count += 1;
        self.out_of_order += u64::from(number != self.next);
        self.next = number + 1;
        while self.oldest < self.sent && self.slot(self.oldest).is_some_and(|time| *time == 0) {
            self.oldest += 1;
        }
        Ok(())
    }
}

/// Fills a new stream with `count` messages.
///
/// # Errors
/// As [`publish`], or the stream then says another number.
pub(super) fn fill(target: Target, content: &Content, count: u64) -> Result<Acknowledged> {
    let mut api = Api::open(target)?;
    api.create_stream(content)?;
    let filled = publish(target, content, FILL_WINDOW, Until::Count(count))?;
    api.expect_messages(count)?;
    Ok(filled)
}

/// The message that this is the acknowledgement of, if it says what it must: the stream counts from 1, we from 0.
fn acknowledged(got: Delivered<'_>) -> Option<u64> {
    let number =
        got.subject.strip_prefix(ACKS.as_bytes()).filter(|tail| tail.len() == REPLY_DIGITS).and_then(digits)?;
    (got.headers.is_empty() && sequence_of(got.payload) == Some(number + 1)).then_some(number)
}

/// The number in `{"stream":"BENCH","seq":7}`, if it says nothing else.
fn sequence_of(ack: &[u8]) -> Option<u64> {
    let rest = ack.strip_prefix(b"{\"stream\":\"")?.strip_prefix(STREAM.as_bytes())?.strip_prefix(b"\",")?;
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    digits(rest.strip_prefix(b"\"seq\":")?.strip_suffix(b"}")?)
}

fn digits(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim_start().parse().ok()
}

/// Nanoseconds since `begun`, for a histogram.
fn since(begun: std::time::Instant) -> u64 {
    nanos(begun.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack<'a>(subject: &'a str, payload: &'a str) -> Delivered<'a> {
        Delivered { subject: subject.as_bytes(), reply: None, headers: b"", payload: payload.as_bytes() }
    }

    #[test]
    fn an_acknowledgement_has_the_number_of_its_message() {
        let subject = "_INBOX.acks.0000000007";
        let good = ack(subject, "{\"stream\":\"BENCH\",\"seq\":8}");
        assert_eq!(acknowledged(good), Some(7));
        assert_eq!(acknowledged(ack(subject, "{\"stream\":\"BENCH\", \"seq\":8}")), Some(7));
        for bad in [
            "{\"stream\":\"BENCH\",\"seq\":9}",
            "{\"stream\":\"OTHER\",\"seq\":8}",
            "{\"stream\":\"BENCH\",\"seq\":8,\"duplicate\":true}",
            "{\"error\":{\"code\":503}}",
            "",
        ] {
            assert_eq!(acknowledged(ack(subject, bad)), None, "{bad:?}");
        }
        assert_eq!(acknowledged(Delivered { headers: b"NATS/1.0 503\r\n\r\n", payload: b"", ..good }), None);
        assert_eq!(acknowledged(Delivered { subject: b"x", ..good }), None);
    }

    #[test]
    fn each_message_is_acknowledged_once() {
        let mut acks = Acks::new(2).unwrap();
        assert_eq!(acks.room(u64::MAX), 2);
        acks.send(2);
        assert_eq!(acks.room(u64::MAX), 0);
        let enter = |acks: &mut Acks, number: u64| {
            let payload = format!("{{\"stream\":\"BENCH\",\"seq\":{}}}", number + 1);
            acks.enter(ack(&format!("{ACKS}{number:010}"), &payload))
        };
        assert!(enter(&mut acks, 2).is_err(), "never sent");
        enter(&mut acks, 1).unwrap();
        assert!(enter(&mut acks, 1).is_err(), "twice");
        assert_eq!(acks.room(u64::MAX), 1);
        acks.send(1);
        enter(&mut acks, 0).unwrap();
        assert!(enter(&mut acks, 0).is_err(), "twice");
        enter(&mut acks, 2).unwrap();
        assert_eq!((acks.count, acks.oldest, acks.out_of_order), (3, 3, 3));
        assert_eq!(acks.room(4), 1);
    }

    #[test]
    fn refusals_of_the_api_are_errors() {
        assert!(understood("X", b"{\"error\":{\"code\":404}}").unwrap_err().to_string().contains("404"));
        assert!(understood("X", b"-").is_err());
        assert!(understood("X", b"{}").is_ok());
    }
}
