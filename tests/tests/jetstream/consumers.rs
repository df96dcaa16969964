//! Consumers as clients see them.

mod counts;
mod dead;
mod lag;
mod pull;
mod push;
mod requests;
mod restart;
mod retention;

use serde_json::{Value, json};
use sublog_tests::client::Message;

use crate::Asking;

/// Where the messages of pull requests go.
const INBOX: &str = "_INBOX.pulled";

impl Asking {
    /// Makes a durable consumer of stream `S` with explicit acks, changed by `config`.
    fn consumer(&mut self, name: &str, config: Value) -> Value {
        let mut all = json!({ "name": name, "durable_name": name, "ack_policy": "explicit" });
        for (key, value) in config.as_object().unwrap() {
            all[key] = value.clone();
        }
        self.api(&format!("CONSUMER.CREATE.S.{name}"), json!({ "stream_name": "S", "config": all }))
    }

    /// Stream `S` with these messages on `s.0`, `s.1`, `s.2`, `s.0`, ...
    fn stream_of(&mut self, config: Value, messages: u64) {
        let mut all = json!({ "name": "S", "subjects": ["s.*"] });
        for (key, value) in config.as_object().unwrap() {
            all[key] = value.clone();
        }
        self.create(all);
        for n in 0..messages {
            self.publish(&format!("s.{}", n % 3), &[], &format!("message {}", n + 1));
        }
    }

    /// Asks for messages; they come to [`INBOX`].
    fn pull(&mut self, consumer: &str, request: Value) {
        let body = request.to_string();
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.S.{consumer}");
        self.raw.send(format!("PUB {subject} {INBOX} {}\r\n{body}\r\n", body.len()));
    }

    /// The messages that are there for a consumer now, at most so many.
    fn there(&mut self, consumer: &str, most: usize) -> Vec<Message> {
        self.pull(consumer, json!({ "batch": most, "no_wait": true }));
        let mut messages = Vec::new();
        while messages.len() < most {
            let message = self.raw.message();
            if message.status().is_some() {
                break;
            }
            messages.push(message);
        }
        messages
    }

    /// Acks a delivery, and is told that this is kept.
    fn ack(&mut self, delivery: &Message, body: &str) {
        let answer = self.request(&reply(delivery), &[], body.as_bytes());
        assert_eq!((answer.text(), &answer.headers), ("", &None));
    }

    /// What is told of a consumer.
    fn consumer_info(&mut self, consumer: &str) -> Value {
        self.api(&format!("CONSUMER.INFO.S.{consumer}"), Value::Null)
    }

    /// Asks about the stream until `is` says so.
    fn wait_for_state(&mut self, is: impl Fn(&Value) -> bool) {
        let begun = sublog_tests::clock::now();
        loop {
            let state = self.state("S");
            if is(&state) {
                return;
            }
            assert!(begun.elapsed() < crate::PATIENCE, "the stream stays as it is: {state}");
        }
    }
}

fn reply(delivery: &Message) -> String {
    delivery.reply.clone().expect("a subject for the ack")
}

/// Number in the stream.
fn seq(delivery: &Message) -> u64 {
    number(delivery, 5)
}

/// How often it was delivered.
fn deliveries(delivery: &Message) -> u64 {
    number(delivery, 4)
}

/// What is left after it.
fn pending(delivery: &Message) -> u64 {
    number(delivery, 8)
}

fn number(delivery: &Message, token: usize) -> u64 {
    let reply = reply(delivery);
    reply.split('.').nth(token).and_then(|token| token.parse().ok()).unwrap_or_else(|| panic!("{reply}"))
}

fn seqs(deliveries: &[Message]) -> Vec<u64> {
    deliveries.iter().map(seq).collect()
}
