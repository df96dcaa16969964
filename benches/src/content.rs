//! The messages that are published, and the books that prove that all of them came, once, in order and unaltered.
//!
//! A payload begins with the message's number (8 bytes, from 0, each publisher its own), the publisher's number
//! (4 bytes) and a mark (4 bytes: 0 a message, 1 "that was all", whose number says how many there were), all
//! little-endian. Noise fills the rest.

use crate::disk::noise;
use crate::error::{BenchError, Result};
use crate::wire::Delivered;

/// Bytes of the stamp at the front of a payload: no payload is shorter.
pub(crate) const STAMP_BYTES: usize = 16;
/// The subject on which publishers say that they are done.
pub(crate) const END_SUBJECT: &str = "bench.end";
/// About how much is written in one system call.
const WRITE_BYTES: usize = 64 << 10;
/// Longer payloads are compared with what was sent only now and then: comparing all of a 1 KiB payload costs about
/// as much as receiving it.
const COMPARE_ALL_UP_TO: usize = 256;
const COMPARE_EVERY: u64 = 16;
/// Digits of the number at the end of a reply subject.
pub(crate) const REPLY_DIGITS: usize = 10;

/// The front of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The message's number, or how many there were.
    pub(crate) number: u64,
    /// Who published it.
    pub(crate) publisher: u32,
    /// Whether this says "that was all".
    pub(crate) end: bool,
}

impl Stamp {
    /// As bytes.
    pub(crate) fn bytes(self) -> [u8; STAMP_BYTES] {
        let whole = u128::from(self.number) | u128::from(self.publisher) << 64 | u128::from(self.end) << 96;
        whole.to_le_bytes()
    }

    /// Reads the front of a payload.
    ///
    /// # Errors
    /// No message of ours begins so.
    pub(crate) fn of(payload: &[u8]) -> Result<Self> {
        let odd = || BenchError::Wrong("a payload that was never published".into());
        let whole = u128::from_le_bytes(*payload.first_chunk().ok_or_else(odd)?);
        let stamp = Self { number: whole as u64, publisher: (whole >> 64) as u32, end: (whole >> 96) & 1 == 1 };
        if whole >> 97 == 0 { Ok(stamp) } else { Err(odd()) }
    }
}

/// What every payload of a run has in common.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    /// The subject, its digits zero.
    pub(crate) subject: String,
    /// How many digits at the subject's end count through subjects; 0 is one subject.
    pub(crate) digits: usize,
    /// How many subjects there are.
    pub(crate) subjects: u64,
    /// Payload bytes, stamp included.
    pub(crate) payload_bytes: usize,
    noise: Vec<u8>,
}

impl Content {
    /// Messages on one subject.
    pub(crate) fn on(subject: &str, payload_bytes: usize) -> Self {
        let payload_bytes = payload_bytes.max(STAMP_BYTES);
        let noise = noise(payload_bytes - STAMP_BYTES);
        Self { subject: subject.to_owned(), digits: 0, subjects: 1, payload_bytes, noise }
    }

    /// Messages on `10^digits` subjects in turn, the number behind `prefix`.
    pub(crate) fn on_many(prefix: &str, digits: u32, payload_bytes: usize) -> Self {
        let subject = format!("{prefix}{}", "0".repeat(digits as usize));
        let one = Self::on(&subject, payload_bytes);
        Self { digits: digits as usize, subjects: 10_u64.pow(digits), ..one }
    }

    /// What follows the stamp in every payload.
    pub(crate) fn noise(&self) -> &[u8] {
        &self.noise
    }

    /// Compares a message with what was published; `noise_from` bytes of it are somebody else's business.
    ///
    /// # Errors
    /// It differs.
    pub(crate) fn verify(&self, got: Delivered<'_>, stamp: Stamp, noise_from: usize) -> Result<()> {
        let wrong = |what: &str| {
            BenchError::Wrong(format!("message {} of publisher {} has another {what}", stamp.number, stamp.publisher))
        };
        if got.payload.len() != self.payload_bytes {
            return Err(wrong("length"));
        }
        let compare = self.payload_bytes <= COMPARE_ALL_UP_TO || stamp.number.is_multiple_of(COMPARE_EVERY);
        if compare && got.payload.get(noise_from..) != self.noise.get(noise_from - STAMP_BYTES..) {
            return Err(wrong("payload"));
        }
        let same_subject = if self.digits == 0 {
            got.subject == self.subject.as_bytes()
        } else {
            digits_say(got.subject, self.digits, stamp.number % self.subjects)
        };
        if same_subject { Ok(()) } else { Err(wrong("subject")) }
    }
}

/// Frames ready to send, of which only the numbers change.
#[derive(Debug)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    frame_bytes: usize,
    payload_at: usize,
    /// Where the counting digits of the subject are.
    digits_at: std::ops::Range<usize>,
    subjects: u64,
    /// Where the counting digits of the reply subject are.
    reply_at: std::ops::Range<usize>,
}

impl Batch {
    /// Frames of one publisher.
    pub(crate) fn new(content: &Content, publisher: u32) -> Self {
        Self::framed(content, publisher, None)
    }

    /// Frames of one publisher that wants each message answered, on `inbox` and the message's number.
    pub(crate) fn answered(content: &Content, publisher: u32, inbox: &str) -> Self {
        Self::framed(content, publisher, Some(inbox))
    }

    fn framed(content: &Content, publisher: u32, inbox: Option<&str>) -> Self {
        let reply = inbox.map(|inbox| format!("{inbox}{} ", "0".repeat(REPLY_DIGITS))).unwrap_or_default();
        let head = format!("PUB {} {reply}{}\r\n", content.subject, content.payload_bytes);
        let stamp = Stamp { number: 0, publisher, end: false }.bytes();
        let frame = [head.as_bytes(), &stamp, &content.noise, b"\r\n"].concat();
        let subject_end = 4 + content.subject.len();
        let reply_end = subject_end + reply.len();
        Self {
            bytes: frame.repeat((WRITE_BYTES / frame.len()).max(1)),
            frame_bytes: frame.len(),
            payload_at: head.len(),
            digits_at: subject_end - content.digits..subject_end,
            subjects: content.subjects,
            reply_at: if inbox.is_some() { reply_end - REPLY_DIGITS..reply_end } else { 0..0 },
        }
    }

    /// How many messages one call of [`Batch::frames`] can give.
    pub(crate) fn capacity(&self) -> u64 {
        (self.bytes.len() / self.frame_bytes) as u64
    }

    /// Up to `count` messages with numbers from `first`, and how many there are.
    pub(crate) fn frames(&mut self, first: u64, count: u64) -> (&[u8], u64) {
        let count = count.min(self.capacity());
        let used = count as usize * self.frame_bytes;
        let bytes = self.bytes.get_mut(..used).unwrap_or_default();
        for (number, frame) in (first..).zip(bytes.chunks_exact_mut(self.frame_bytes)) {
            if let Some(field) = frame.get_mut(self.payload_at..self.payload_at + 8) {
                field.copy_from_slice(&number.to_le_bytes());
            }
            if !self.digits_at.is_empty()
                && let Some(field) = frame.get_mut(self.digits_at.clone())
            {
                write_digits(field, number % self.subjects);
            }
            if !self.reply_at.is_empty()
                && let Some(field) = frame.get_mut(self.reply_at.clone())
            {
                write_digits(field, number);
            }
        }
        (bytes, count)
    }
}

/// The frame that says how many messages a publisher sent.
pub(crate) fn end_frame(publisher: u32, total: u64) -> Vec<u8> {
    let stamp = Stamp { number: total, publisher, end: true };
    [format!("PUB {END_SUBJECT} {STAMP_BYTES}\r\n").as_bytes(), &stamp.bytes(), b"\r\n"].concat()
}

fn write_digits(field: &mut [u8], mut number: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn digits_say(subject: &[u8], digits: usize, mut number: u64) -> bool {
    subject.iter().rev().take(digits).all(|digit| {
        let wanted = b'0' + (number % 10) as u8;
        number /= 10;
        *digit == wanted
    })
}

/// What one subscriber expects of each publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// Every message, in order.
    All,
    /// Some messages, in order; the subscribers together all of them, once.
    Part,
}

/// One subscriber's books.
#[derive(Debug)]
pub(crate) struct Ledger {
    share: Share,
    publishers: Vec<Page>,
    received: u64,
}

#[derive(Debug, Clone, Default)]
struct Page {
    /// The lowest number that may come next.
    next: u64,
    total: Option<u64>,
    /// One bit for each message that came; used with [`Share::Part`].
    seen: Vec<u64>,
}

impl Ledger {
    /// Empty books on so many publishers.
    pub(crate) fn new(share: Share, publishers: u32) -> Self {
        Self { share, publishers: vec![Page::default(); publishers as usize], received: 0 }
    }

    /// Enters a message or a "that was all".
    ///
    /// # Errors
    /// It was lost, repeated or reordered, or its publisher is unknown.
    #[inline]
    pub(crate) fn enter(&mut self, stamp: Stamp) -> Result<()> {
        let Stamp { number, publisher, end } = stamp;
        let wrong = |what: String| Err(BenchError::Wrong(format!("publisher {publisher}: {what}")));
        let Some(page) = self.publishers.get_mut(publisher as usize) else {
            return wrong("there is no such publisher".into());
        };
        if page.total.is_some() {
            return wrong(format!("message {number} came after its last one"));
        }
        let gap_free = self.share == Share::Part || number == page.next;
        if end {
            page.total = Some(number);
            let complete = gap_free && number >= page.next;
            return if complete { Ok(()) } else { wrong(format!("{number} published, {} came", page.next)) };
        }
        if !gap_free || number < page.next {
            return wrong(format!("message {number} came when {} was next", page.next));
        }
        if self.share == Share::Part {
            let word = (number / 64) as usize;
            if page.seen.len() <= word {
                page.seen.resize((word + 1).next_power_of_two(), 0);
            }
            if let Some(bits) = page.seen.get_mut(word) {
                *bits |= 1 << (number % 64);
            }
        }
        page.next = number + 1;
        self.received += 1;
        Ok(())
    }

    /// Messages entered so far.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Whether every publisher has said that that was all.
    pub(crate) fn is_closed(&self) -> bool {
        self.publishers.iter().all(|page| page.total.is_some())
    }
}

/// Proves that closed books of subscribers with [`Share::Part`] hold every message once, together.
///
/// # Errors
/// One is missing or came to two of them.
pub(crate) fn prove_parts(ledgers: &[Ledger]) -> Result<()> {
    let Some(first) = ledgers.first() else { return Ok(()) };
    for (publisher, page) in first.publishers.iter().enumerate() {
        let total = page.total.unwrap_or(0);
        let pages = || ledgers.iter().filter_map(|ledger| ledger.publishers.get(publisher));
        if pages().any(|other| other.total != page.total) {
            return Err(BenchError::Wrong(format!("publisher {publisher}: subscribers were told different totals")));
        }
        let longest = pages().map(|page| page.seen.len()).max().unwrap_or(0);
        let (mut missing, mut repeated) = (total, 0);
        for word in 0..longest {
            let (mut any, mut twice) = (0_u64, 0_u64);
            for bits in pages().filter_map(|page| page.seen.get(word)) {
                twice |= any & bits;
                any |= bits;
            }
            missing = missing.saturating_sub(u64::from(any.count_ones()));
            repeated += twice.count_ones();
        }
        if missing > 0 || repeated > 0 {
            let text = format!("publisher {publisher}: {missing} of {total} missing, {repeated} came twice");
            return Err(BenchError::Wrong(text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
