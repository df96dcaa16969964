//! Clients that publish, and now and then remove what they published.

use std::collections::BTreeSet;
use std::io::Result;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sublog_tests::{Random, clock};

use crate::ledger::{Count, Promise, fingerprint};
use crate::link::Link;
use crate::{DUPLICATES, Shared};

/// Messages on their way at most.
const BATCH_MAX: u64 = 100;
/// A message id is used again at most so long after its first use: half of what the streams remember.
const RETRY: Duration = Duration::from_secs(DUPLICATES.as_secs() / 2);

struct Sent {
    subject: String,
    id: String,
    payload: Vec<u8>,
    at: Instant,
}

impl Sent {
    /// Half of all messages carry their id in a header.
    fn has_id(&self) -> bool {
        self.id.ends_with(['1', '3', '5', '7', '9'])
    }
}

struct Publisher<'a> {
    shared: &'a Shared,
    stream: &'static str,
    prefix: &'static str,
    random: Random,
    made: u64,
    /// What it was told is stored, and has not had removed.
    own: BTreeSet<u64>,
    /// What it was told nothing of.
    unknown: Vec<Sent>,
    /// The last message with an id that was stored.
    known: Option<Sent>,
}

pub(crate) fn run(shared: &Shared, number: u64, stream: &'static str, prefix: &'static str) {
    let random = Random::new(shared.seed * 1000 + number);
    let mut publisher =
        Publisher { shared, stream, prefix, random, made: 0, own: BTreeSet::new(), unknown: Vec::new(), known: None };
    while !shared.is_draining() {
        let Some(mut link) = Link::open(shared, &format!("p{number}")) else { return };
        // Ends when the server dies, or nothing more is to be published.
        let _ = publisher.publish(&mut link);
    }
}

impl Publisher<'_> {
    fn publish(&mut self, link: &mut Link<'_>) -> Result<()> {
        while !self.shared.is_draining() {
            let mut batch: Vec<Sent> = std::mem::take(&mut self.unknown);
            batch.retain(|sent| sent.at.elapsed() < RETRY);
            for _ in 0..self.random.between(1, BATCH_MAX) {
                batch.push(self.message());
            }
            // Somebody who was told and did not believe it.
            batch.extend(self.known.take().filter(|sent| sent.at.elapsed() < RETRY));
            self.send(link, batch)?;
            match self.random.below(200) {
                0 => self.purge(link)?,
                1..6 => self.delete(link)?,
                _ => {}
            }
            std::thread::sleep(Duration::from_millis(self.random.between(50, 200)));
        }
        Ok(())
    }

    fn message(&mut self) -> Sent {
        self.made += 1;
        let id = format!("{}.{}", self.prefix, self.made);
        let mut payload = format!("{id} ").into_bytes();
        let len = self.random.below(1 + 40 * self.random.clone().below(50));
        payload.extend(self.random.bytes(usize::try_from(len).unwrap()));
        Sent { subject: format!("{}.{}", self.prefix, self.random.below(50)), id, payload, at: clock::now() }
    }

    /// Sends all, then reads the acknowledgements.
    fn send(&mut self, link: &mut Link<'_>, batch: Vec<Sent>) -> Result<()> {
        let mut out = Vec::new();
        let mut replies = Vec::new();
        for sent in &batch {
            // Half of them go the way of plain messages; those cannot be sent a second time.
            let head = [("Nats-Msg-Id", sent.id.as_str())];
            let head = if sent.has_id() { &head[..] } else { &[] };
            replies.push(link.write(&mut out, &sent.subject, head, &sent.payload, true));
        }
        let sent = link.send_bytes(&out);
        let mut batch = batch.into_iter();
        let mut result = sent;
        for reply in replies {
            let Some(sent) = batch.next() else { break };
            if result.is_ok() {
                result = link.answer(&reply).map(|answer| self.told(&sent, &answer.payload));
                if result.is_ok() {
                    if sent.has_id() && self.random.below(500) == 0 {
                        self.known = Some(sent);
                    }
                    continue;
                }
            }
            self.shared.ledger.count(Count::Unanswered, 1);
            if sent.has_id() {
                self.unknown.push(sent);
            }
        }
        result
    }

    fn told(&mut self, sent: &Sent, answer: &[u8]) {
        let ledger = &self.shared.ledger;
        let ack: Value = serde_json::from_slice(answer).unwrap_or_default();
        let Some(seq) = ack["seq"].as_u64().filter(|_| ack["stream"] == json!(self.stream)) else {
            return ledger.fault(Promise::Answers, format!("{} was answered {ack}", sent.subject));
        };
        if ack["duplicate"] == json!(true) {
            ledger.count(Count::Duplicates, 1);
        }
        ledger.stored(self.stream, seq, fingerprint(&sent.subject, &sent.payload));
        self.own.insert(seq);
    }

    /// Purges its own subjects, all or up to somewhere.
    fn purge(&mut self, link: &mut Link<'_>) -> Result<()> {
        let (Some(first), Some(last)) = (self.own.first(), self.own.last()) else { return Ok(()) };
        let below = if self.random.below(2) == 0 { last + 1 } else { self.random.between(*first, *last) };
        let gone: Vec<u64> = self.own.range(..below).copied().collect();
        let ledger = &self.shared.ledger;
        ledger.removed(self.stream, &gone, None);
        let body = json!({ "filter": format!("{}.>", self.prefix), "seq": below });
        let answer = link.api(&format!("STREAM.PURGE.{}", self.stream), &body)?;
        if answer["success"] != json!(true) {
            ledger.fault(Promise::Answers, format!("a purge was answered {answer}"));
            return Ok(());
        }
        ledger.removed(self.stream, &gone, Some(clock::now()));
        ledger.count(Count::Purges, 1);
        self.own = self.own.split_off(&below);
        Ok(())
    }

    /// Deletes one of its messages.
    fn delete(&mut self, link: &mut Link<'_>) -> Result<()> {
        let back = self.random.below(2000.min(1 + self.own.len() as u64));
        let Some(&seq) = self.own.iter().rev().nth(usize::try_from(back).unwrap()) else { return Ok(()) };
        let ledger = &self.shared.ledger;
        ledger.removed(self.stream, &[seq], None);
        self.own.remove(&seq);
        let answer = link.api(&format!("STREAM.MSG.DELETE.{}", self.stream), &json!({ "seq": seq }))?;
        // It may have been settled, or have gone for the limit.
        if answer["success"] == json!(true) {
            ledger.removed(self.stream, &[seq], Some(clock::now()));
            ledger.count(Count::Deletions, 1);
        }
        Ok(())
    }
}
