//! A key-value bucket: every write expects the revision it knows, every read must show the last one.

use std::collections::HashMap;
use std::io::Result;
use std::time::Duration;

use serde_json::{Value, json};
use sublog_tests::Random;

use crate::ledger::{Count, Promise, fingerprint};
use crate::link::Link;
use crate::workers::read_all;
use crate::{KEY_HISTORY, Shared};

/// Keys of one client.
const KEYS: u64 = 150;

/// A revision and its content.
type Revision = (u64, u64);

/// What is known of the keys of one client.
struct Keys<'a> {
    shared: &'a Shared,
    number: u64,
    random: Random,
    made: u64,
    /// All revisions that are still there, by key.
    known: HashMap<String, Vec<Revision>>,
    /// A write that was not answered: the key, its content, whether it replaces all that was.
    open: Option<(String, u64, bool)>,
}

pub(crate) fn run(shared: &Shared, number: u64) {
    let random = Random::new(shared.seed * 1000 + number);
    let mut keys = Keys { shared, number, random, made: 0, known: HashMap::new(), open: None };
    let name = format!("k{number}");
    while let Some(mut link) = Link::open(shared, &name) {
        if keys.work(&mut link).is_ok() {
            return;
        }
    }
}

impl Keys<'_> {
    fn work(&mut self, link: &mut Link<'_>) -> Result<()> {
        self.resolve(link)?;
        while !self.shared.is_draining() {
            let key = format!("$KV.soak.{}.{}", self.number, self.random.below(KEYS));
            match self.random.below(10) {
                0..2 => self.read(link, &key)?,
                2 => self.refused(link, &key)?,
                other => self.write(link, key, other)?,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.compare(link);
        Ok(())
    }

    fn last(&self, key: &str) -> Option<Revision> {
        self.known.get(key)?.last().copied()
    }

    fn write(&mut self, link: &mut Link<'_>, key: String, how: u64) -> Result<()> {
        self.made += 1;
        let revision = self.last(&key).map_or(0, |(seq, _)| seq).to_string();
        let expected = ("Nats-Expected-Last-Subject-Sequence", revision.as_str());
        let payload = if how < 8 { format!("{}.{}", self.number, self.made) } else { String::new() };
        let head: &[(&str, &str)] = match how {
            8 => &[("KV-Operation", "DEL"), expected],
            9 => &[("KV-Operation", "PURGE"), ("Nats-Rollup", "sub"), expected],
            _ => &[expected],
        };
        let hash = fingerprint(&key, payload.as_bytes());
        self.open = Some((key.clone(), hash, how == 9));
        let answer = link.ask(&key, head, payload.as_bytes())?;
        let ack: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
        match ack["seq"].as_u64() {
            Some(seq) => self.written(&key, seq, hash, how == 9),
            None => self.shared.ledger.fault(Promise::Expectations, format!("{key} at {revision}: {ack}")),
        }
        self.open = None;
        Ok(())
    }

    fn written(&mut self, key: &str, seq: u64, hash: u64, replaces: bool) {
        self.shared.ledger.count(Count::KeysPut, 1);
        let revisions = self.known.entry(key.to_owned()).or_default();
        if replaces {
            revisions.clear();
        }
        revisions.push((seq, hash));
        let more = revisions.len().saturating_sub(KEY_HISTORY);
        revisions.drain(..more);
    }

    /// A write that expects another revision must not happen.
    fn refused(&mut self, link: &mut Link<'_>, key: &str) -> Result<()> {
        let wrong = (self.last(key).map_or(0, |(seq, _)| seq) + 1_000_000).to_string();
        let answer = link.ask(key, &[("Nats-Expected-Last-Subject-Sequence", &wrong)], b"never")?;
        let ack: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
        if ack["error"]["err_code"] == json!(10071) {
            self.shared.ledger.count(Count::KeysRefused, 1);
        } else {
            self.shared.ledger.fault(Promise::Expectations, format!("{key} expected {wrong}: {ack}"));
        }
        Ok(())
    }

    fn get(link: &mut Link<'_>, key: &str) -> Result<Option<Revision>> {
        let message = link.ask(&format!("$JS.API.DIRECT.GET.KV_soak.{key}"), &[], b"")?;
        if message.status() == Some(404) {
            return Ok(None);
        }
        Ok(Some((message.sequence(), fingerprint(key, &message.payload))))
    }

    fn read(&mut self, link: &mut Link<'_>, key: &str) -> Result<()> {
        let (shown, known) = (Self::get(link, key)?, self.last(key));
        self.shared.ledger.count(Count::Looked, 1);
        if shown != known {
            self.shared.ledger.fault(Promise::Expectations, format!("{key} shows {shown:?}, {known:?} was written"));
        }
        Ok(())
    }

    /// Looks what became of a write that was not answered: it happened, or it did not.
    fn resolve(&mut self, link: &mut Link<'_>) -> Result<()> {
        let Some((key, hash, replaces)) = self.open.clone() else { return Ok(()) };
        let (shown, known) = (Self::get(link, &key)?, self.last(&key));
        self.open = None;
        match shown {
            shown if shown == known => {}
            Some((seq, other)) if other == hash && known.is_none_or(|(last, _)| seq > last) => {
                self.written(&key, seq, hash, replaces);
            }
            shown => {
                let text = format!("{key} shows {shown:?}, {known:?} was written and perhaps {hash}");
                self.shared.ledger.fault(Promise::Stored, text);
            }
        }
        Ok(())
    }

    /// All revisions of all keys are there, and no others.
    fn compare(&self, link: &mut Link<'_>) {
        let mut there: HashMap<String, Vec<Revision>> = HashMap::new();
        let mine = format!("$KV.soak.{}.", self.number);
        for (seq, message) in read_all(link, "KV_soak") {
            if message.subject.starts_with(&mine) {
                let hash = fingerprint(&message.subject, &message.payload);
                there.entry(message.subject).or_default().push((seq, hash));
            }
        }
        for key in self.known.keys().chain(there.keys()) {
            let (known, there) = (self.known.get(key), there.get(key));
            if known != there {
                let text = format!("{key} has {there:?}, {known:?} were written");
                self.shared.ledger.fault(Promise::Stored, text);
            }
        }
        self.shared.ledger.count(Count::Looked, self.known.len() as u64);
    }
}
