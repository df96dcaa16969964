//! What clients say to consumers: they come from publishers' connections, which look for the consumer and leave the event.

use bytes::Bytes;
use std::sync::Arc;
use sublog_protocol::decode::Publish;
use sublog_protocol::headers;

use super::Consumer;
use super::driver::Event;
use super::machine::{AckSubject, Position};
use crate::account::Account;
use crate::jetstream::config::consumer::AckPolicy;
use crate::jetstream::stream::checks::number;
use crate::jetstream::{ACK_PREFIX, FLOW_CONTROL_PREFIX, NEXT_PREFIX, SNAPSHOT_PREFIX, server_level};

/// What a client that asks for more than this server has is told.
const LEVEL_TOO_HIGH: &[u8] = b"NATS/1.0 412 Required Api Level\r\n\r\n";

/// So many consumers hear of a batch before they are woken.
const HEARD_MAX: usize = 16;

/// Consumers that were left something by a connection's batch. They are woken at its end: of requests that come together
/// the one with the best priority is served first, and a turn takes many acks.
#[derive(Default)]
pub struct Heard(Vec<Arc<Consumer>>);

impl Heard {
    fn tell(&mut self, consumer: Arc<Consumer>, event: Event) -> bool {
        let told = consumer.leave(event);
        if !self.0.iter().any(|other| Arc::ptr_eq(other, &consumer)) {
            if self.0.len() >= HEARD_MAX {
                self.wake();
            }
            self.0.push(consumer);
        }
        told
    }

    /// Wakes them.
    pub fn wake(&mut self) {
        self.0.drain(..).for_each(|consumer| consumer.wake());
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.wake();
    }
}

fn find(account: &Account, stream: &[u8], consumer: &[u8]) -> Option<Arc<Consumer>> {
    let stream = account.jetstream.stream(std::str::from_utf8(stream).ok()?)?;
    stream.consumers.get(std::str::from_utf8(consumer).ok()?)
}

fn body<'a>(message: &Publish<'a>) -> &'a [u8] {
    message.message.get(message.header_len..).unwrap_or_default()
}

/// Whether a subject is one that is hardly used twice: nobody should remember who gets what is sent there.
#[must_use]
pub fn is_unlike_others(subject: &[u8]) -> bool {
    [ACK_PREFIX, FLOW_CONTROL_PREFIX, SNAPSHOT_PREFIX].iter().any(|prefix| subject.starts_with(prefix))
}

/// Takes a message that is for a consumer. `None`: it is for none; `Some(false)`: the consumer does not exist, or takes no
/// such messages.
pub fn take(account: &Arc<Account>, message: &Publish<'_>, heard: &mut Heard) -> Option<bool> {
    if message.subject.starts_with(ACK_PREFIX) {
        return Some(ack(account, message, heard));
    }
    if let Some(names) = message.subject.strip_prefix(NEXT_PREFIX) {
        return Some(next(account, message, names, heard));
    }
    let names = message.subject.strip_prefix(FLOW_CONTROL_PREFIX)?;
    let mut tokens = names.split(|byte| *byte == b'.');
    let consumer = tokens.next().zip(tokens.next()).and_then(|(stream, name)| find(account, stream, name));
    let consumer = consumer.filter(|consumer| consumer.config().flow_control);
    let head = message.message.get(..message.header_len).unwrap_or_default();
    let number = |key: &[u8]| headers::get(head, key).and_then(number).unwrap_or(0);
    let kept_up_to = Position { consumer: number(b"Nats-Last-Consumer"), stream: number(b"Nats-Last-Stream") };
    let event = Event::FlowControl { subject: message.subject.into(), kept_up_to };
    Some(consumer.is_some_and(|consumer| heard.tell(consumer, event)))
}

fn ack(account: &Account, message: &Publish<'_>, heard: &mut Heard) -> bool {
    let Some(subject) = AckSubject::parse(message.subject) else { return is_shaped(account, message.subject) };
    let Some(consumer) = find(account, subject.stream, subject.consumer) else { return false };
    if !takes_acks(&consumer) {
        return false;
    }
    let reply = message.reply.map(Bytes::copy_from_slice);
    heard.tell(consumer, Event::Ack { numbers: subject.numbers, body: body(message).into(), reply })
}

/// Whether a subject is a consumer's ack subject but for the numbers: that is nobody's either, but nobody is told.
fn is_shaped(account: &Account, subject: &[u8]) -> bool {
    let tokens: Vec<&[u8]> = subject.split(|byte| *byte == b'.').collect();
    let &[_, _, stream, name, _, _, _, _, _] = tokens.as_slice() else { return false };
    find(account, stream, name).is_some_and(|consumer| takes_acks(&consumer))
}

fn takes_acks(consumer: &Consumer) -> bool {
    matches!(consumer.config().ack_policy, AckPolicy::All | AckPolicy::Explicit)
}

fn next(account: &Arc<Account>, message: &Publish<'_>, names: &[u8], heard: &mut Heard) -> bool {
    let mut tokens = names.split(|byte| *byte == b'.');
    let (Some(stream), Some(name), None) = (tokens.next(), tokens.next(), tokens.next()) else { return false };
    let Some(consumer) = find(account, stream, name) else { return false };
    // A request that cannot be answered asks for nothing.
    let Some(reply) = message.reply else { return true };
    let head = message.message.get(..message.header_len).unwrap_or_default();
    let level = headers::get(head, b"Nats-Required-Api-Level").unwrap_or_default();
    if !server_level().satisfies(level) {
        account.send(|sender| sender.publish(account, reply, None, LEVEL_TOO_HIGH.len(), LEVEL_TOO_HIGH));
        return true;
    }
    heard.tell(consumer, Event::Pull { reply: Bytes::copy_from_slice(reply), body: body(message).into() })
}
