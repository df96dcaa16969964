//! Clients that consume: by pulling and by being pushed to, settling messages in every way there is.

use std::collections::HashMap;
use std::io::Result;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sublog_tests::{Message, Random, clock};

use crate::ledger::{Count, Delivery, Promise};
use crate::link::Link;
use crate::{PUSH_SUBJECT, Shared};

/// A pull request's life.
const EXPIRES: Duration = Duration::from_secs(1);
/// What was pushed so long after a removal was read before it, at the latest.
const PUSH_LEEWAY: Duration = Duration::from_secs(3);

/// The numbers in the reply subject of a delivery.
pub(crate) struct Numbers {
    pub(crate) deliveries: u64,
    pub(crate) stream_seq: u64,
    pub(crate) consumer_seq: u64,
}

impl Numbers {
    /// `None`: it is no delivery.
    pub(crate) fn of(message: &Message) -> Option<Self> {
        let tokens: Vec<&str> = message.reply.as_deref()?.split('.').collect();
        let [_, "ACK", _, _, deliveries, stream_seq, consumer_seq, _, _] = tokens.as_slice() else { return None };
        let number = |text: &&str| text.parse().ok();
        let (deliveries, stream_seq) = (number(deliveries)?, number(stream_seq)?);
        Some(Self { deliveries, stream_seq, consumer_seq: number(consumer_seq)? })
    }
}

/// Bytes of a delivery as pull requests count them.
fn size(message: &Message) -> u64 {
    let head = message.headers.as_ref().map_or(0, Vec::len);
    (message.subject.len() + message.reply.as_ref().map_or(0, String::len) + head + message.payload.len()) as u64
}

struct Worker<'a> {
    shared: &'a Shared,
    random: Random,
    stream: &'static str,
    consumer: &'static str,
    /// The last first delivery on this connection.
    last: (u64, u64),
    /// Double acks that were not yet answered: where the answer comes, and the message.
    open: HashMap<String, u64>,
}

impl<'a> Worker<'a> {
    fn new(shared: &'a Shared, number: u64, stream: &'static str, consumer: &'static str) -> Self {
        Self {
            shared,
            random: Random::new(shared.seed * 1000 + number),
            stream,
            consumer,
            last: (0, 0),
            open: HashMap::new(),
        }
    }

    /// Judges a delivery.
    fn got(&mut self, message: &Message, numbers: &Numbers, asked: Instant, read: Instant) {
        let ledger = &self.shared.ledger;
        let Numbers { deliveries, stream_seq, consumer_seq } = *numbers;
        let (stream, consumer) = (self.stream, self.consumer);
        let delivery = Delivery { stream, consumer, seq: stream_seq, again: deliveries > 1, asked, read };
        ledger.delivered(&delivery, message);
        if deliveries == 1 {
            let now = (consumer_seq, stream_seq);
            if now.0 <= self.last.0 || now.1 <= self.last.1 {
                ledger.fault(Promise::Order, format!("{stream} {consumer}: {now:?} after {:?}", self.last));
            }
            self.last = now;
        }
    }

    /// Does something about a delivery.
    fn settle(&mut self, link: &mut Link<'_>, to: &str, seq: u64) -> Result<()> {
        let ledger = &self.shared.ledger;
        // An ack of this consumer is one of all before it: nothing is refused.
        let all = self.consumer == "ALL";
        let choice = if self.shared.is_draining() || all { self.random.below(80) } else { self.random.below(100) };
        let (stream, consumer) = (self.stream, self.consumer);
        let (body, count): (&[u8], _) = match choice {
            0..30 => (b"+ACK", Count::DoubleAcked),
            30..76 => (b"", Count::Acked),
            76..80 => (b"+WPI", Count::Acked),
            80..86 => (b"-NAK", Count::Naked),
            86..90 => (b"-NAK {\"delay\": 200000000}", Count::Naked),
            90..94 => (b"+TERM because it is so", Count::Terminated),
            _ => {
                ledger.count(Count::Ignored, 1);
                return Ok(());
            }
        };
        if count != Count::Naked {
            ledger.settled(stream, consumer, seq, all, false);
        }
        match count {
            Count::DoubleAcked => drop(self.open.insert(link.send(to, &[], body, true)?, seq)),
            Count::Acked if !body.is_empty() => {
                link.send(to, &[], body, false)?;
                link.send(to, &[], b"+ACK", false)?;
            }
            _ => drop(link.send(to, &[], body, false)?),
        }
        if count != Count::DoubleAcked {
            ledger.count(count, 1);
        }
        Ok(())
    }

    /// Takes the answer to a double ack. Whether it is one.
    fn confirmed(&mut self, message: &Message) -> bool {
        let Some(seq) = self.open.remove(&message.subject) else { return false };
        let ledger = &self.shared.ledger;
        ledger.settled(self.stream, self.consumer, seq, self.consumer == "ALL", true);
        ledger.count(Count::DoubleAcked, 1);
        true
    }

    fn pull(&mut self, link: &mut Link<'_>) -> Result<()> {
        let (stream, consumer) = (self.stream, self.consumer);
        while !self.shared.is_over() {
            let batch = self.random.between(1, 50);
            let expires = u64::try_from(EXPIRES.as_nanos()).unwrap_or_default();
            let body = match self.random.below(4) {
                0 => json!({ "batch": batch, "no_wait": true }),
                1 => json!({ "batch": batch, "expires": expires, "max_bytes": 20_000 }),
                _ => json!({ "batch": batch, "expires": expires, "idle_heartbeat": expires / 4 }),
            };
            let asked = clock::now();
            let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
            let to = link.send(&subject, &[], body.to_string().as_bytes(), true)?;
            let (mut came, mut open) = (Vec::new(), batch);
            // A request whose bytes are used up to the last one is over without a word: its client counts them.
            let mut bytes = body["max_bytes"].as_u64().unwrap_or(u64::MAX);
            while open > 0 && bytes > 0 {
                let message = self.next(link, &format!("{to} {body}, {open} open"))?;
                match Numbers::of(&message) {
                    Some(numbers) => {
                        self.got(&message, &numbers, asked, asked);
                        bytes = bytes.saturating_sub(size(&message));
                        came.push((message.reply.unwrap_or_default(), numbers.stream_seq));
                        open -= 1;
                    }
                    // A heartbeat, or the end of an earlier request that was served whole.
                    None if message.status() == Some(100) || message.subject != to => {}
                    // 404, 408, 409: this request is over.
                    None => break,
                }
            }
            let was_nothing = came.is_empty();
            for (reply, seq) in came {
                self.settle(link, &reply, seq)?;
            }
            while !self.open.is_empty() {
                let message = self.next(link, "double acks")?;
                self.confirmed(&message);
            }
            std::thread::sleep(Duration::from_millis(if was_nothing { 100 } else { 5 }));
        }
        Ok(())
    }

    /// The next message, which has to come.
    fn next(&mut self, link: &mut Link<'_>, what: &str) -> Result<Message> {
        match link.receive(clock::PATIENCE)? {
            Some(message) => Ok(message),
            None => {
                let text = format!("{} {}: nothing more for {what}", self.stream, self.consumer);
                self.shared.ledger.fault(Promise::Answers, text);
                Err(std::io::Error::other("no answer"))
            }
        }
    }

    fn pushed(&mut self, link: &mut Link<'_>) -> Result<()> {
        link.subscribe(PUSH_SUBJECT)?;
        let mut silent = clock::now();
        while !self.shared.is_over() {
            let Some(message) = link.receive(Duration::from_millis(200))? else {
                // Heartbeats come every second.
                if silent.elapsed() > clock::PATIENCE {
                    self.shared.ledger.fault(Promise::Answers, "no heartbeat, and no message either".to_owned());
                    silent = clock::now();
                }
                continue;
            };
            silent = clock::now();
            match Numbers::of(&message) {
                Some(numbers) => {
                    // Whatever was on its way before an answer came before it, on the same connection.
                    let now = clock::now();
                    self.got(&message, &numbers, now, now.checked_sub(PUSH_LEEWAY).unwrap_or(now));
                    self.settle(link, &message.reply.unwrap_or_default(), numbers.stream_seq)?;
                }
                None if self.confirmed(&message) => {}
                None => {
                    let asks = message.reply.clone().or_else(|| message.header("Nats-Consumer-Stalled"));
                    if let Some(to) = asks {
                        link.send(&to, &[], b"", false)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// One of the clients of a pull consumer.
pub(crate) fn pull(shared: &Shared, number: u64, stream: &'static str, consumer: &'static str) {
    let mut worker = Worker::new(shared, number, stream, consumer);
    while let Some(mut link) = Link::open(shared, &format!("w{number}")) {
        worker.last = (0, 0);
        worker.open.clear();
        let _ = worker.pull(&mut link);
    }
}

/// The client of the push consumer.
pub(crate) fn push(shared: &Shared, number: u64) {
    let mut worker = Worker::new(shared, number, "INT", "PUSHED");
    while let Some(mut link) = Link::open(shared, &format!("w{number}")) {
        worker.last = (0, 0);
        worker.open.clear();
        let _ = worker.pushed(&mut link);
    }
}

/// Everything a stream holds, by a consumer made for it.
pub(crate) fn read_all(link: &mut Link<'_>, stream: &str) -> Vec<(u64, Message)> {
    let config = json!({ "ack_policy": "none", "mem_storage": true, "inactive_threshold": 30_000_000_000_u64 });
    let made = link.done(&format!("CONSUMER.CREATE.{stream}"), &json!({ "stream_name": stream, "config": config }));
    let name = made["name"].as_str().unwrap_or_default().to_owned();
    let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
    let body = json!({ "batch": 200, "no_wait": true }).to_string();
    let mut all = Vec::new();
    loop {
        link.send(&subject, &[], body.as_bytes(), true).expect("the server lives");
        for _ in 0..200 {
            let message = link.receive(clock::PATIENCE).expect("the server lives").expect("an answer");
            let Some(numbers) = Numbers::of(&message) else {
                assert_eq!(message.status(), Some(404), "{message:?}");
                link.done(&format!("CONSUMER.DELETE.{stream}.{name}"), &Value::Null);
                return all;
            };
            all.push((numbers.stream_seq, message));
        }
    }
}
