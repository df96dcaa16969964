//! Messages that are published once more when they are stored.
//!
//! They wait here in the order of their numbers until it is known what became of each, so that they go out in that order
//! whoever learns of it first.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use sublog_protocol::headers::edit;
use sublog_protocol::subject;

use super::checks::Admitted;
use crate::account::Account;
use crate::jetstream::config::stream::Republish;
use crate::jetstream::config::transform::Transform;
use crate::rfc3339;

/// What is published once more, and how.
#[derive(Debug, Clone)]
pub struct Republishing {
    transform: Transform,
    headers_only: bool,
}

impl Republishing {
    /// As a stream's configuration says; `None` if it comes to nothing.
    #[must_use]
    pub fn of(config: &Republish) -> Option<Self> {
        let transform = Transform::new(&config.src, &config.dest).ok().flatten()?;
        Some(Self { transform, headers_only: config.headers_only })
    }

    /// The subject on which a stored message is published once more.
    pub(super) fn subject(&self, stored: &[u8], random: u32) -> Option<Vec<u8>> {
        self.transform.apply(stored, random).filter(|made| subject::is_valid_literal(made))
    }

    /// What is published of a message; `last_seq` is the number of the subject's message before it.
    pub(super) fn message(&self, stream: &str, stored: &Stored<'_>, seq: u64, ts_ns: i64, last_seq: u64) -> Message {
        let number = |n: u64| n.to_string().into_bytes();
        let mut added = vec![
            (&b"Nats-Stream"[..], stream.as_bytes().to_vec()),
            (b"Nats-Subject", stored.subject.to_vec()),
            (b"Nats-Sequence", number(seq)),
            (b"Nats-Time-Stamp", rfc3339::format(ts_ns).into_bytes()),
            (b"Nats-Last-Sequence", number(last_seq)),
        ];
        if self.headers_only {
            added.push((b"Nats-Msg-Size", number(stored.payload.len() as u64)));
        }
        let mut message = stored.head.to_vec();
        for (key, value) in added {
            message = edit::with(&message, key, &value);
        }
        let header_len = message.len();
        if !self.headers_only {
            message.extend_from_slice(stored.payload);
        }
        Message { header_len, message }
    }
}

/// A message as it is stored.
pub(super) struct Stored<'a> {
    pub(super) subject: &'a [u8],
    pub(super) head: &'a [u8],
    pub(super) payload: &'a [u8],
}

impl<'a> From<&'a Admitted<'_>> for Stored<'a> {
    fn from(taken: &'a Admitted<'_>) -> Self {
        Self { subject: &taken.subject, head: &taken.head, payload: &taken.payload }
    }
}

/// Header block and payload.
pub(super) struct Message {
    header_len: usize,
    message: Vec<u8>,
}

struct Waiting {
    ticket: u64,
    subject: Vec<u8>,
    message: Message,
    /// Whether it was stored, once that is known.
    stored: Option<bool>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    next_ticket: u64,
    /// Somebody is sending, and looks again afterwards.
    sending: bool,
}

/// See the module. What waits is bounded by what the log lets wait.
#[derive(Default)]
pub(super) struct Republisher(Mutex<Queue>);

impl Republisher {
    /// One was given to the log; to be called in the order of numbers. What to settle it by.
    pub(super) fn push(&self, subject: Vec<u8>, message: Message) -> u64 {
        let mut queue = self.0.lock();
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.waiting.push_back(Waiting { ticket, subject, message, stored: None });
        ticket
    }

    /// It is known what became of these, and what is its turn is sent.
    pub(super) fn settle(&self, account: &Arc<Account>, tickets: &[u64], stored: bool) {
        let mut queue = self.0.lock();
        for ticket in tickets {
            if let Ok(at) = queue.waiting.binary_search_by_key(ticket, |waiting| waiting.ticket)
                && let Some(waiting) = queue.waiting.get_mut(at)
            {
                waiting.stored = Some(stored);
            }
        }
        while !queue.sending {
            let known = queue.waiting.iter().take_while(|waiting| waiting.stored.is_some()).count();
            if known == 0 {
                return;
            }
            let ready: Vec<Waiting> = queue.waiting.drain(..known).collect();
            queue.sending = true;
            drop(queue);
            account.send(|sender| {
                for it in ready.iter().filter(|waiting| waiting.stored == Some(true)) {
                    sender.publish(account, &it.subject, None, it.message.header_len, &it.message.message);
                }
            });
            queue = self.0.lock();
            queue.sending = false;
        }
    }
}
