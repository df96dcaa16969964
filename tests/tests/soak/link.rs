//! A client of the load: one connection, an inbox, and answers told apart from deliveries.

use std::collections::VecDeque;
use std::io::{Error, Result};
use std::time::Duration;

use serde_json::Value;
use sublog_protocol::{encode, headers};
use sublog_tests::{Message, RawClient, Seen, clock};

use crate::Shared;
use crate::ledger::Promise;

/// Pause of somebody who finds no server.
const RETRY: Duration = Duration::from_millis(10);

/// See the module. Everything it does fails when the server dies, which ends it.
pub(crate) struct Link<'a> {
    shared: &'a Shared,
    raw: RawClient,
    inbox: String,
    asked: u64,
    aside: VecDeque<Message>,
}

impl<'a> Link<'a> {
    /// A connection, as soon as there is a server; `None` when the run is over.
    pub(crate) fn open(shared: &'a Shared, name: &str) -> Option<Self> {
        let deadline = clock::now() + clock::PATIENCE;
        while !shared.is_over() {
            let inbox = format!("_INBOX.{name}");
            let raw = RawClient::try_connect(shared.address).and_then(|mut raw| {
                raw.try_hello(sublog_tests::client::CONNECT)?;
                raw.try_send(format!("SUB {inbox}.> 1\r\n").as_bytes())?;
                Ok(raw)
            });
            match raw {
                Ok(raw) => return Some(Self { shared, raw, inbox, asked: 0, aside: VecDeque::new() }),
                Err(error) if clock::now() > deadline => {
                    shared.ledger.fault(Promise::Answers, format!("nobody can connect: {error}"));
                    return None;
                }
                Err(_) => std::thread::sleep(RETRY),
            }
        }
        None
    }

    pub(crate) fn subscribe(&mut self, subject: &str) -> Result<()> {
        self.raw.try_send(format!("SUB {subject} 2\r\n").as_bytes())
    }

    /// Sends a message and says where an answer would come. `reply`: whether it asks for one.
    pub(crate) fn send(&mut self, subject: &str, head: &[(&str, &str)], body: &[u8], reply: bool) -> Result<String> {
        let mut out = Vec::new();
        let to = self.write(&mut out, subject, head, body, reply);
        self.raw.try_send(&out)?;
        Ok(to)
    }

    /// As [`Self::send`], into a buffer.
    pub(crate) fn write(
        &mut self,
        out: &mut Vec<u8>,
        subject: &str,
        head: &[(&str, &str)],
        body: &[u8],
        reply: bool,
    ) -> String {
        self.asked += 1;
        let to = format!("{}.{}", self.inbox, self.asked);
        let asks = reply.then_some(to.as_bytes());
        if head.is_empty() {
            encode::publish(out, subject.as_bytes(), asks, body);
        } else {
            let mut block = headers::Builder::new();
            for (key, value) in head {
                block.add(key.as_bytes(), value.as_bytes());
            }
            let mut message = block.finish();
            let header_len = message.len();
            message.extend_from_slice(body);
            encode::hpublish(out, subject.as_bytes(), asks, header_len, &message);
        }
        to
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.raw.try_send(bytes)
    }

    /// What comes next, within `patience`.
    pub(crate) fn receive(&mut self, patience: Duration) -> Result<Option<Message>> {
        if let Some(message) = self.aside.pop_front() {
            return Ok(Some(message));
        }
        self.fresh(patience)
    }

    fn fresh(&mut self, patience: Duration) -> Result<Option<Message>> {
        match self.raw.receive(patience)? {
            Some(Seen::Message(message)) => Ok(Some(message)),
            None => Ok(None),
            Some(Seen::Closed) => Err(Error::other("closed")),
            Some(other) => {
                self.shared.ledger.fault(Promise::Answers, format!("{other:?} instead of a message"));
                Err(Error::other("unexpected"))
            }
        }
    }

    /// What comes to an address next; what comes elsewhere is kept.
    pub(crate) fn answer(&mut self, to: &str) -> Result<Message> {
        let deadline = clock::now() + clock::PATIENCE;
        if let Some(at) = self.aside.iter().position(|message| message.subject == to) {
            return self.aside.remove(at).ok_or_else(|| Error::other("not there"));
        }
        loop {
            match self.fresh(deadline.saturating_duration_since(clock::now()))? {
                Some(message) if message.subject == to => return Ok(message),
                Some(message) => self.aside.push_back(message),
                None => {
                    self.shared.ledger.fault(Promise::Answers, format!("nothing came to {to}"));
                    return Err(Error::other("no answer"));
                }
            }
        }
    }

    /// A request and its answer.
    pub(crate) fn ask(&mut self, subject: &str, head: &[(&str, &str)], body: &[u8]) -> Result<Message> {
        let to = self.send(subject, head, body, true)?;
        self.answer(&to)
    }

    /// A request to the API.
    pub(crate) fn api(&mut self, operation: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.ask(&format!("$JS.API.{operation}"), &[], body.as_bytes())?;
        serde_json::from_slice(&answer.payload).map_err(Error::other)
    }

    /// A request to the API of a server that lives and has to say yes.
    pub(crate) fn done(&mut self, operation: &str, body: &Value) -> Value {
        let answer = self.api(operation, body).expect("the server lives");
        assert!(answer["error"].is_null(), "{operation}: {answer}");
        answer
    }
}
