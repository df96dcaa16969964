//! Streams and consumers that come and go, some of them with the same names again and again.

use std::io::Result;
use std::time::Duration;

use serde_json::{Value, json};
use sublog_tests::Random;

use crate::Shared;
use crate::ledger::{Count, Promise};
use crate::link::Link;
use crate::workers::Numbers;

/// Names used again and again by one client.
const NAMES: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum There {
    Yes,
    No,
    Maybe,
}

/// What is known of one stream.
#[derive(Clone, Copy)]
struct Known {
    there: There,
    in_memory: bool,
    /// Messages that are stored for sure.
    stored: u64,
    consumer: There,
}

const NOTHING: Known = Known { there: There::No, in_memory: false, stored: 0, consumer: There::No };

struct Churn<'a> {
    shared: &'a Shared,
    number: u64,
    random: Random,
    known: [Known; NAMES],
}

pub(crate) fn run(shared: &Shared, number: u64) {
    let random = Random::new(shared.seed * 1000 + number);
    let mut churn = Churn { shared, number, random, known: [NOTHING; NAMES] };
    while !shared.is_draining() {
        let Some(mut link) = Link::open(shared, &format!("c{number}")) else { return };
        let _ = churn.work(&mut link);
    }
}

impl Churn<'_> {
    fn name(&self, at: usize) -> String {
        format!("TMP_{}_{at}", self.number)
    }

    fn fault(&self, text: String) {
        self.shared.ledger.fault(Promise::Definitions, text);
    }

    fn work(&mut self, link: &mut Link<'_>) -> Result<()> {
        // It is another server, or the first.
        for known in &mut self.known {
            if known.in_memory {
                known.stored = 0;
                // A consumer of a stream in memory does not outlive the server.
                known.consumer = There::Maybe;
            }
        }
        for at in 0..NAMES {
            self.look(link, at)?;
        }
        while !self.shared.is_draining() {
            let at = usize::try_from(self.random.below(NAMES as u64)).unwrap();
            match (self.known[at].there, self.random.below(10)) {
                (There::Yes, 0) => self.delete(link, at)?,
                (There::Yes, 1..3) => self.toggle_consumer(link, at)?,
                (There::Yes, 3..5) => self.look(link, at)?,
                (There::Yes, 5..7) => self.consume(link, at)?,
                (There::Yes, _) => self.publish(link, at)?,
                _ => self.create(link, at)?,
            }
            std::thread::sleep(Duration::from_millis(self.random.between(5, 40)));
        }
        Ok(())
    }

    fn create(&mut self, link: &mut Link<'_>, at: usize) -> Result<()> {
        let name = self.name(at);
        let in_memory = self.random.below(3) == 0;
        let storage = if in_memory { "memory" } else { "file" };
        let body = json!({ "name": name, "subjects": [format!("tmp.{}.{at}.>", self.number)], "storage": storage });
        self.known[at] = Known { there: There::Maybe, in_memory, ..NOTHING };
        let made = link.api(&format!("STREAM.CREATE.{name}"), &body)?;
        if made["state"]["messages"] != json!(0) || made["state"]["last_seq"] != json!(0) {
            self.fault(format!("{name} was made and is not empty: {made}"));
        }
        self.known[at].there = There::Yes;
        self.shared.ledger.count(Count::StreamsMade, 1);
        Ok(())
    }

    fn delete(&mut self, link: &mut Link<'_>, at: usize) -> Result<()> {
        let name = self.name(at);
        self.known[at].there = There::Maybe;
        let deleted = link.api(&format!("STREAM.DELETE.{name}"), &Value::Null)?;
        if deleted["success"] != json!(true) {
            self.fault(format!("{name} was not deleted: {deleted}"));
        }
        self.known[at] = NOTHING;
        self.shared.ledger.count(Count::StreamsDeleted, 1);
        Ok(())
    }

    /// Holds what is known against what is there, and learns what is not known.
    fn look(&mut self, link: &mut Link<'_>, at: usize) -> Result<()> {
        let name = self.name(at);
        let info = link.api(&format!("STREAM.INFO.{name}"), &Value::Null)?;
        let known = &mut self.known[at];
        if info["error"]["err_code"] == json!(10059) {
            if known.there == There::Yes {
                let text = format!("{name} was made and is not there");
                self.fault(text);
            }
            self.known[at] = NOTHING;
            return Ok(());
        }
        let stored = info["state"]["messages"].as_u64().unwrap_or_default();
        let (there, expected) = (known.there, known.stored);
        (known.there, known.stored) = (There::Yes, stored);
        known.in_memory = info["config"]["storage"] == json!("memory");
        if there == There::No || stored < expected {
            let text = format!("{name} has {stored} messages, {expected} were acknowledged: {info}");
            self.fault(text);
        }
        let consumer = link.api(&format!("CONSUMER.INFO.{name}.C"), &Value::Null)?;
        let shown = if consumer["error"]["err_code"] == json!(10014) { There::No } else { There::Yes };
        let expected = std::mem::replace(&mut self.known[at].consumer, shown);
        if there == There::Yes && expected != There::Maybe && expected != shown {
            self.fault(format!("{name}: its consumer: {consumer}"));
        }
        Ok(())
    }

    fn publish(&mut self, link: &mut Link<'_>, at: usize) -> Result<()> {
        for n in 0..self.random.between(1, 20) {
            let answer = link.ask(&format!("tmp.{}.{at}.{n}", self.number), &[], b"for a while")?;
            let ack: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
            let expected = self.known[at].stored + 1;
            match ack["seq"].as_u64() {
                Some(seq) if seq >= expected => self.known[at].stored = seq,
                _ => self.fault(format!("{}: {ack}, {expected} is next", self.name(at))),
            }
        }
        Ok(())
    }

    fn toggle_consumer(&mut self, link: &mut Link<'_>, at: usize) -> Result<()> {
        let name = self.name(at);
        let was = std::mem::replace(&mut self.known[at].consumer, There::Maybe);
        if was == There::Yes {
            let deleted = link.api(&format!("CONSUMER.DELETE.{name}.C"), &Value::Null)?;
            if deleted["success"] != json!(true) {
                self.fault(format!("the consumer of {name} was not deleted: {deleted}"));
            }
            self.known[at].consumer = There::No;
            self.shared.ledger.count(Count::ConsumersDeleted, 1);
        } else {
            let body = json!({ "stream_name": name, "config": { "durable_name": "C", "ack_policy": "explicit" } });
            let made = link.api(&format!("CONSUMER.DURABLE.CREATE.{name}.C"), &body)?;
            if made["num_pending"] != json!(self.known[at].stored) {
                self.fault(format!("{name} has {} messages, its new consumer {made}", self.known[at].stored));
            }
            self.known[at].consumer = There::Yes;
            self.shared.ledger.count(Count::ConsumersMade, 1);
        }
        Ok(())
    }

    /// A consumer for a moment, that sees all there is in its order.
    fn consume(&mut self, link: &mut Link<'_>, at: usize) -> Result<()> {
        let name = self.name(at);
        let config = json!({ "ack_policy": "none", "inactive_threshold": 5_000_000_000_u64 });
        let made = link.api(&format!("CONSUMER.CREATE.{name}"), &json!({ "stream_name": name, "config": config }))?;
        let consumer = made["name"].as_str().unwrap_or_default();
        let body = json!({ "batch": self.known[at].stored + 1, "no_wait": true }).to_string();
        let to = link.send(&format!("$JS.API.CONSUMER.MSG.NEXT.{name}.{consumer}"), &[], body.as_bytes(), true)?;
        let mut next = 1;
        while let Some(message) = link.receive(sublog_tests::clock::PATIENCE)? {
            let Some(numbers) = Numbers::of(&message) else { break };
            if numbers.stream_seq != next {
                self.fault(format!("{name} showed {} instead of {next} to {to}", numbers.stream_seq));
            }
            next = numbers.stream_seq + 1;
        }
        if next != self.known[at].stored + 1 {
            self.fault(format!("{name} showed messages up to {}, {} are there", next - 1, self.known[at].stored));
        }
        link.api(&format!("CONSUMER.DELETE.{name}.{consumer}"), &Value::Null)?;
        Ok(())
    }
}
