//! Steps between the socket and the log: decoding, finding subscribers, framing deliveries.

use sublog_broker::router::trie::{Matches, Member, Trie};
use sublog_protocol::decode::{ClientOp, Limits, Step, decode_client};
use sublog_protocol::encode;

use super::{Outcome, PAYLOAD_BYTES};

const HEADERS: &[u8] = b"NATS/1.0\r\nNats-Msg-Id: 0123456789\r\n\r\n";

/// What a client sends: `PUB` and `HPUB` in turn.
#[derive(Debug)]
pub struct Decoding {
    bytes: Vec<u8>,
    limits: Limits,
}

impl Decoding {
    /// So many messages.
    #[must_use]
    pub fn of(messages: usize) -> Self {
        let mut bytes = Vec::new();
        let with_headers = [HEADERS, &[7; PAYLOAD_BYTES]].concat();
        for number in 0..messages {
            let subject = format!("sensor.{}.{}.temperature", number % 10, number % 100);
            if number % 2 == 0 {
                encode::publish(&mut bytes, subject.as_bytes(), None, &[7; PAYLOAD_BYTES]);
            } else {
                encode::hpublish(&mut bytes, subject.as_bytes(), Some(b"_INBOX.a.b"), HEADERS.len(), &with_headers);
            }
        }
        Self { bytes, limits: Limits::default() }
    }

    /// Decodes them all; how many there were.
    ///
    /// # Errors
    /// One of them was not what was encoded.
    #[inline(never)]
    pub fn step(&self) -> Outcome<u64> {
        let mut rest = self.bytes.as_slice();
        let mut messages = 0;
        while !rest.is_empty() {
            match decode_client(rest, &self.limits).map_err(|error| format!("{error:?}"))? {
                Step::Op { op: ClientOp::Publish(publish), consumed }
                    if publish.message.len() - publish.header_len == PAYLOAD_BYTES =>
                {
                    messages += 1;
                    rest = rest.get(consumed..).unwrap_or_default();
                }
                other => return Err(format!("decoded {other:?}").into()),
            }
        }
        Ok(messages)
    }
}

/// A subscription of nobody.
#[derive(Debug, Clone, Copy)]
struct Subscriber(u64);

impl Member for Subscriber {
    fn id(&self) -> u64 {
        self.0
    }
}

/// Subscriptions of every kind, and subjects to look up among them.
#[derive(Debug)]
pub struct Matching {
    trie: Trie<Subscriber>,
    subjects: Vec<String>,
    found: Matches<Subscriber>,
}

impl Matching {
    /// How many subjects a step looks up.
    pub const SUBJECTS: u64 = 1000;

    /// So many subscriptions, most of them plain, one in twenty each with `*`, with `>` and in a queue group.
    #[must_use]
    pub fn among(subscriptions: u64) -> Self {
        let mut trie = Trie::default();
        for number in 0..subscriptions {
            let (a, b) = (number % 100, number / 100);
            let (filter, queue) = match number % 20 {
                0 => (format!("sensor.{a}.*.temperature"), None),
                1 => (format!("sensor.{a}.{b}.>"), None),
                2 => (format!("sensor.{a}.{b}.temperature"), Some(&b"workers"[..])),
                _ => (format!("sensor.{a}.{b}.temperature"), None),
            };
            trie.insert(filter.as_bytes(), queue, Subscriber(number));
        }
        let spread = |number: u64| number * 7919 % subscriptions.max(1);
        let subject = |number: u64| format!("sensor.{}.{}.temperature", spread(number) % 100, spread(number) / 100);
        Self { trie, subjects: (0..Self::SUBJECTS).map(subject).collect(), found: Matches::default() }
    }

    /// Looks the subjects up; how many subscriptions were found together.
    #[inline(never)]
    pub fn step(&mut self) -> u64 {
        let mut members = 0;
        for subject in &self.subjects {
            self.found.clear();
            self.trie.matches(subject.as_bytes(), &mut self.found);
            members += self.found.plain.len() + self.found.queues.len();
        }
        members as u64
    }
}

/// A buffer that deliveries are framed in.
#[derive(Debug, Default)]
pub struct Encoding {
    out: Vec<u8>,
}

impl Encoding {
    /// Writes the control lines of so many deliveries, `MSG` and `HMSG` in turn; their bytes.
    #[inline(never)]
    pub fn step(&mut self, messages: usize) -> u64 {
        self.out.clear();
        let subject: &[u8] = b"sensor.12.345.temperature";
        for number in 0..messages {
            if number % 2 == 0 {
                encode::msg_head(&mut self.out, subject, b"17", None, PAYLOAD_BYTES);
            } else {
                let total = HEADERS.len() + PAYLOAD_BYTES;
                encode::hmsg_head(&mut self.out, subject, b"17", Some(b"_INBOX.a.b"), HEADERS.len(), total);
            }
        }
        self.out.len() as u64
    }
}
