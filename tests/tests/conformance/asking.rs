//! What the rows ask with.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sublog_protocol::{encode, headers};
use sublog_tests::{Message, RawClient, Seen, TestServer, clock};

use crate::Shown;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// One client, with a name for a stream that nobody else has.
pub(crate) struct Asking {
    raw: RawClient,
    /// Stream name; its subjects begin with the same in small letters.
    pub(crate) name: String,
    /// First token of subjects, and no other stream's.
    pub(crate) subject: String,
    /// Where deliveries to pull requests go.
    pub(crate) inbox: String,
    asked: u64,
    /// What came while something else was waited for.
    aside: Vec<Message>,
}

impl Asking {
    pub(crate) fn new(server: &TestServer) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut raw = server.client();
        let inbox = format!("_INBOX.{number}.pulled");
        raw.subscribe(&format!("_INBOX.{number}.asking.*"), "1");
        raw.subscribe(&inbox, "2");
        Self { raw, name: format!("T{number}"), subject: format!("t{number}"), inbox, asked: 0, aside: Vec::new() }
    }

    pub(crate) fn subscribe(&mut self, subject: &str) {
        self.subscribe_as(subject, "9");
    }

    pub(crate) fn subscribe_as(&mut self, subject: &str, sid: &str) {
        self.raw.subscribe(subject, sid);
        self.raw.sync();
    }

    /// Sends a message; `reply` as it is to stand.
    pub(crate) fn send(&mut self, subject: &str, reply: Option<&str>, head: &[(&str, &str)], body: &[u8]) {
        let mut out = Vec::new();
        let reply = reply.map(str::as_bytes);
        if head.is_empty() {
            encode::publish(&mut out, subject.as_bytes(), reply, body);
        } else {
            let mut block = headers::Builder::new();
            for (key, value) in head {
                block.add(key.as_bytes(), value.as_bytes());
            }
            let mut message = block.finish();
            let header_len = message.len();
            message.extend_from_slice(body);
            encode::hpublish(&mut out, subject.as_bytes(), reply, header_len, &message);
        }
        self.raw.send(out);
    }

    /// The answer to a request.
    pub(crate) fn request(&mut self, subject: &str, head: &[(&str, &str)], body: &[u8]) -> Message {
        self.asked += 1;
        let reply = self.inbox.replace("pulled", &format!("asking.{}", self.asked));
        self.send(subject, Some(&reply), head, body);
        self.until(|message| message.subject == reply)
    }

    /// The next message that is the one; others stay for later.
    pub(crate) fn until(&mut self, is: impl Fn(&Message) -> bool) -> Message {
        if let Some(at) = self.aside.iter().position(&is) {
            return self.aside.remove(at);
        }
        loop {
            let message = self.raw.message();
            if is(&message) {
                return message;
            }
            self.aside.push(message);
        }
    }

    /// The next message.
    pub(crate) fn next(&mut self) -> Message {
        self.until(|_| true)
    }

    /// Whether nothing comes for a while.
    pub(crate) fn silent(&mut self) -> bool {
        match self.raw.receive(Duration::from_millis(150)).unwrap() {
            None => true,
            Some(Seen::Message(_)) => false,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn api(&mut self, operation: &str, body: Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.request(&format!("$JS.API.{operation}"), &[], body.as_bytes());
        serde_json::from_str(answer.text()).unwrap_or_else(|_| panic!("{operation}: {answer:?}"))
    }

    /// As [`Self::api`]; the answer is no error, and is of this type.
    pub(crate) fn done(&mut self, operation: &str, body: Value, kind: &str) -> Value {
        let answer = self.api(operation, body);
        assert!(answer["error"].is_null(), "{operation}: {answer}");
        assert_eq!(answer["type"], json!(format!("io.nats.jetstream.api.v1.{kind}")), "{operation}: {answer}");
        answer
    }

    /// A request to make this row's stream, changed by `more`.
    pub(crate) fn try_stream(&mut self, more: Value) -> Value {
        let mut config = json!({ "name": self.name, "subjects": [format!("{}.>", self.subject)] });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        self.api(&format!("STREAM.CREATE.{}", self.name), config)
    }

    /// This row's stream, with so many messages on `<subject>.1`, `.2`, ...
    pub(crate) fn stream(&mut self, more: Value, messages: usize) -> Value {
        let made = self.try_stream(more);
        assert!(made["error"].is_null(), "{made}");
        for n in 1..=messages {
            let ack = self.publish(&n.to_string(), &[], &format!("message {n}"));
            assert!(ack["error"].is_null(), "{ack}");
        }
        made
    }

    /// Publishes these on `<subject>.<token>`, as one fast batch; its acknowledgement.
    pub(crate) fn fast(&mut self, id: &str, tokens: &[&str]) -> Value {
        let prefix = self.inbox.replace("pulled", "fast");
        self.subscribe_as(&format!("{prefix}.>"), "3");
        for (at, token) in tokens.iter().enumerate() {
            let operation = if at + 1 == tokens.len() { 2 } else { at.min(1) };
            let reply = format!("{prefix}.{id}.10.fail.{}.{operation}.$FI", at + 1);
            self.send(&format!("{}.{token}", self.subject), Some(&reply), &[], b"x");
        }
        loop {
            let said: Value = serde_json::from_str(self.until(|it| it.subject.ends_with(".$FI")).text()).unwrap();
            if said["type"].is_null() {
                return said;
            }
        }
    }

    /// Publishes on `<subject>.<token>`; the acknowledgement.
    pub(crate) fn publish(&mut self, token: &str, head: &[(&str, &str)], body: &str) -> Value {
        let answer = self.request(&format!("{}.{token}", self.subject), head, body.as_bytes());
        serde_json::from_str(answer.text()).unwrap_or_else(|_| panic!("no acknowledgement: {answer:?}"))
    }

    pub(crate) fn state(&mut self) -> Value {
        let name = self.name.clone();
        self.api(&format!("STREAM.INFO.{name}"), json!({ "deleted_details": true, "subjects_filter": ">" }))["state"]
            .take()
    }

    pub(crate) fn try_consumer(&mut self, more: Value) -> Value {
        let mut config = json!({ "name": "C", "durable_name": "C", "ack_policy": "explicit" });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        let name = self.name.clone();
        self.api(&format!("CONSUMER.CREATE.{name}.C"), json!({ "stream_name": name, "config": config }))
    }

    /// A durable consumer `C` of this row's stream with explicit acks, changed by `more`.
    pub(crate) fn consumer(&mut self, more: Value) -> Value {
        let made = self.try_consumer(more);
        assert!(made["error"].is_null(), "{made}");
        made
    }

    pub(crate) fn consumer_info(&mut self) -> Value {
        let name = self.name.clone();
        self.api(&format!("CONSUMER.INFO.{name}.C"), Value::Null)
    }

    /// Sends a pull request.
    pub(crate) fn pull(&mut self, body: Value) {
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.C", self.name);
        let inbox = self.inbox.clone();
        self.send(&subject, Some(&inbox), &[], body.to_string().as_bytes());
    }

    /// What a pull request gets now, and the status that ends it, if one does before `most` came.
    pub(crate) fn there(&mut self, most: usize) -> (Vec<Message>, Option<Message>) {
        self.pull(json!({ "batch": most, "no_wait": true }));
        let mut came = Vec::new();
        while came.len() < most {
            let message = self.until(|message| message.sid == "2");
            if message.status().is_some() {
                return (came, Some(message));
            }
            came.push(message);
        }
        (came, None)
    }

    /// Acks a delivery and waits until that is kept.
    pub(crate) fn ack(&mut self, delivery: &Message, body: &str) {
        let reply = delivery.reply.clone().unwrap();
        self.request(&reply, &[], body.as_bytes());
    }

    /// Asks until it is so.
    pub(crate) fn wait(&mut self, what: &str, mut is: impl FnMut(&mut Self) -> bool) {
        clock::until(what, || is(self).then_some(()));
    }
}

/// Numbers in the reply subject of a delivery.
pub(crate) fn number(delivery: &Message, token: usize) -> u64 {
    delivery.reply.as_deref().unwrap().split('.').nth(token).unwrap().parse().unwrap()
}

/// Messages in the stream, by deliveries.
pub(crate) fn seqs(deliveries: &[Message]) -> Vec<u64> {
    deliveries.iter().map(|delivery| number(delivery, 5)).collect()
}

/// The error number of an answer.
pub(crate) fn code(answer: &Value) -> u64 {
    answer["error"]["err_code"].as_u64().unwrap_or_else(|| panic!("no error: {answer}"))
}

/// The answer is a refusal that names what is refused; `None` if it is none.
pub(crate) fn refusal(answer: &Value, name: &str) -> Option<Shown> {
    let error = answer.get("error")?;
    let text = error["description"].as_str().unwrap();
    assert!(text.contains(name), "the refusal does not name {name}: {answer}");
    Some(Shown::Refused(error["err_code"].as_u64().unwrap()))
}

/// The status of a message, with its words.
pub(crate) fn status(message: &Message) -> String {
    let block = String::from_utf8(message.headers.clone().unwrap()).unwrap();
    block.lines().next().unwrap().trim_start_matches("NATS/1.0 ").to_owned()
}
