//! What a turn sends: gathered while the machine is locked, sent when it is not.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sublog_protocol::decode::Publish;
use sublog_protocol::encode;
use sublog_storage::RecordRef;

use super::{Consumer, Event};
use crate::account::Account;
use crate::client::sender::Sender;
use crate::jetstream::advisories;
use crate::jetstream::consumer::machine::{AckNumbers, Action, Advisory, Delivery, FLOW_CONTROL_BLOCK};
use crate::jetstream::consumer::{manage, retention};
use crate::jetstream::stream::Stream;
use crate::limits::DELIVERY_KEEP_BYTES;

/// One message, as ranges of the parcel's bytes.
struct Item {
    to: Bytes,
    /// Empty: `to`.
    subject: Range<usize>,
    reply: Range<usize>,
    header_len: usize,
    message: Range<usize>,
    /// The stream's message that it is a copy of.
    copy_of: Option<u64>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Parcel {
    data: Vec<u8>,
    items: Vec<Item>,
    advisories: Vec<Advisory>,
    /// Acks to tell of, and how long they took.
    pub(super) samples: Vec<(AckNumbers, Duration)>,
    /// Answers to acks that wait for the disk.
    answers: Vec<Bytes>,
    /// Messages that this consumer needs no longer.
    settled: Vec<u64>,
    /// Nobody uses it.
    pub(super) inactive: bool,
}

/// A record that was copied and is not sent yet.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    begin: usize,
    headers: usize,
    payload: usize,
}

/// What the turns of a thread gather in.
#[derive(Default)]
struct Buffers {
    data: Vec<u8>,
    items: Vec<Item>,
}

thread_local! {
    static SPARE: RefCell<Buffers> = RefCell::default();
}

impl Parcel {
    /// An empty one, with the memory that the last one on this thread had.
    pub(super) fn begin() -> Self {
        let Buffers { data, items } = SPARE.take();
        Self { data, items, ..Self::default() }
    }

    /// Bytes gathered so far.
    pub(super) fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Bytes of a copy.
    pub(super) fn bytes_since(&self, mark: Mark) -> usize {
        self.data.len() - mark.begin
    }

    /// Copies a record, without its payload if only headers are wanted.
    pub(super) fn copy(&mut self, record: &RecordRef<'_>, headers_only: bool) -> Mark {
        let data = &mut self.data;
        let begin = data.len();
        data.extend_from_slice(record.subject);
        let headers = data.len();
        data.extend_from_slice(record.headers);
        if headers_only {
            let mut size = Vec::with_capacity(20);
            encode::decimal(&mut size, record.payload.len() as u64);
            let header_len = record.headers.len();
            self.add_header(headers, header_len, b"Nats-Msg-Size", &size);
            return Mark { begin, headers, payload: self.data.len() };
        }
        let payload = data.len();
        data.extend_from_slice(record.payload);
        Mark { begin, headers, payload }
    }

    /// Adds a header at the end of a block, or makes one. How much longer the block is now.
    fn add_header(&mut self, at: usize, header_len: usize, key: &[u8], value: &[u8]) -> usize {
        let line = [key, b": ", value, b"\r\n"].concat();
        let before = self.data.len();
        if header_len == 0 {
            let block = [b"NATS/1.0\r\n", &line[..], b"\r\n"].concat();
            self.data.splice(at..at, block);
        } else {
            // In front of the empty line that ends it.
            let end = (at + header_len).saturating_sub(2);
            self.data.splice(end..end, line);
        }
        self.data.len() - before
    }

    /// Undoes a copy, the last one.
    pub(super) fn take_back(&mut self, mark: Mark) {
        self.data.truncate(mark.begin);
    }

    /// What was copied last goes there.
    pub(super) fn deliver(&mut self, mark: Mark, stream_seq: u64, delivery: Delivery, ack_prefix: &[u8]) {
        let mut header_len = mark.payload - mark.headers;
        if let Some(pin) = &delivery.pin {
            header_len += self.add_header(mark.headers, header_len, b"Nats-Pin-Id", pin.as_bytes());
        }
        let message = mark.headers..self.data.len();
        let reply = self.data.len();
        delivery.ack.write(ack_prefix, &mut self.data);
        self.items.push(Item {
            to: delivery.to,
            subject: mark.begin..mark.headers,
            reply: reply..self.data.len(),
            header_len,
            message,
            copy_of: Some(stream_seq),
        });
    }

    fn add_block(&mut self, to: Bytes, block: &[u8], reply: &[u8]) {
        let begin = self.data.len();
        self.data.extend_from_slice(block);
        let end = self.data.len();
        self.data.extend_from_slice(reply);
        let reply = end..self.data.len();
        self.items.push(Item { to, subject: 0..0, reply, header_len: block.len(), message: begin..end, copy_of: None });
    }

    /// Takes what a machine wants done.
    pub(super) fn actions(&mut self, action: Action) {
        match action {
            Action::Status { to, status } => self.add_block(to, &status.header_block(), b""),
            Action::Heartbeat { to, heartbeat } => self.add_block(to, &heartbeat.header_block(), b""),
            Action::FlowControlRequest { to, reply } => self.add_block(to, FLOW_CONTROL_BLOCK, &reply),
            Action::AckAnswer { to, after_save: false } => self.add_block(to, b"", b""),
            Action::AckAnswer { to, after_save: true } => self.answers.push(to),
            Action::Advisory(advisory) => self.advisories.push(advisory),
            Action::Settled { stream_seq } => self.settled.push(stream_seq),
            Action::Inactive => self.inactive = true,
        }
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.data.get(range.clone()).unwrap_or_default()
    }

    fn say(&self, account: &Arc<Account>, sender: &mut Sender, item: &Item) -> bool {
        let reply = self.slice(&item.reply);
        let message = Publish {
            subject: if item.subject.is_empty() { &item.to } else { self.slice(&item.subject) },
            reply: (!reply.is_empty()).then_some(reply),
            header_len: item.header_len,
            has_headers: item.header_len > 0,
            message: self.slice(&item.message),
        };
        sender.deliver(account, &item.to, &message)
    }

    /// Sends everything. `changed`: what is kept of the consumer is not what it was before the turn.
    pub(super) fn send(
        mut self,
        account: &Arc<Account>,
        stream: &Arc<Stream>,
        consumer: &Arc<Consumer>,
        changed: bool,
    ) {
        if !self.items.is_empty() {
            account.send(|sender| {
                for item in &self.items {
                    let delivered = self.say(account, sender, item);
                    if let (false, Some(stream_seq)) = (delivered, item.copy_of) {
                        consumer.tell(Event::NotDelivered { stream_seq });
                    }
                }
            });
        }
        if !self.settled.is_empty() {
            retention::settled(stream, consumer, std::mem::take(&mut self.settled));
        }
        account.jetstream.positions.changed(account, consumer, changed, std::mem::take(&mut self.answers));
        for advisory in &self.advisories {
            advisories::of_consumer(account, consumer, advisory);
        }
        for (numbers, took) in &self.samples {
            advisories::acked(account, consumer, numbers, *took);
        }
        if self.inactive {
            let (account, consumer) = (account.clone(), consumer.clone());
            // That waits for a disk.
            tokio::task::spawn_blocking(move || manage::delete_unused(&account, &consumer));
        }
        self.data.clear();
        self.items.clear();
        if self.data.capacity() + self.items.capacity() * size_of::<Item>() <= DELIVERY_KEEP_BYTES {
            SPARE.set(Buffers { data: self.data, items: self.items });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_added_behind_those_there_are() {
        let mut parcel = Parcel { data: b"s".to_vec(), ..Parcel::default() };
        assert_eq!(parcel.add_header(1, 0, b"A", b"1"), b"NATS/1.0\r\nA: 1\r\n\r\n".len());
        let header_len = parcel.data.len() - 1;
        parcel.data.extend_from_slice(b"payload");
        assert_eq!(parcel.add_header(1, header_len, b"B", b"2"), 6);
        assert_eq!(parcel.data, b"sNATS/1.0\r\nA: 1\r\nB: 2\r\n\r\npayload");
    }
}
