//! What the machine wants sent and told, and the header blocks of what it sends itself.

use std::borrow::Cow;

use bytes::Bytes;

use super::ack::AckNumbers;

/// A message to send now, as a copy of the record that was offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The subject to send to; the record's own subject goes with it.
    pub to: Bytes,
    /// For the reply subject: see [`Machine::ack_prefix`](super::Machine::ack_prefix).
    pub ack: AckNumbers,
    /// The value of a `Nats-Pin-Id` header to add.
    pub pin: Option<String>,
}

/// Something to send or to tell beside deliveries, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send an empty message with a status.
    Status {
        /// The subject.
        to: Bytes,
        /// What it says.
        status: Status,
    },
    /// Send an idle heartbeat.
    Heartbeat {
        /// The subject.
        to: Bytes,
        /// What it says.
        heartbeat: Heartbeat,
    },
    /// Send `100 FlowControl Request` with a reply subject.
    FlowControlRequest {
        /// The subject.
        to: Bytes,
        /// Where the subscriber answers; given back to
        /// [`Machine::flow_control_response`](super::Machine::flow_control_response).
        reply: Bytes,
    },
    /// Answer an ack with an empty message.
    AckAnswer {
        /// The subject.
        to: Bytes,
        /// Not before the machine's state as it is now is on disk.
        after_save: bool,
    },
    /// Tell whoever listens to advisories.
    Advisory(Advisory),
    /// The message is settled: acked, terminated, or for [`AckPolicy::None`](super::AckPolicy::None) sent. Only when
    /// asked for with [`MachineConfig::report_settled`](super::MachineConfig::report_settled).
    Settled {
        /// The message.
        stream_seq: u64,
    },
    /// Nobody has been there for as long as the configuration allows: delete the consumer. Said once.
    Inactive,
}

/// What goes into an advisory beside the names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advisory {
    /// A message was delivered as often as it may be, and was not acked.
    MaxDeliveries {
        /// The message.
        stream_seq: u64,
        /// How often it was delivered.
        deliveries: u64,
    },
    /// A message will not be delivered again, because a client or the stream said so.
    Terminated {
        /// The message.
        stream_seq: u64,
        /// Its first delivery.
        consumer_seq: u64,
        /// How often it was delivered.
        deliveries: u64,
        /// Why.
        reason: String,
    },
    /// A client did not want a message.
    Nak {
        /// The message.
        stream_seq: u64,
        /// The delivery.
        consumer_seq: u64,
        /// How often it was delivered.
        deliveries: u64,
    },
    /// A client has the pin now.
    Pinned {
        /// The group.
        group: String,
        /// The pin.
        id: String,
    },
    /// The client that had the pin has lost it.
    Unpinned {
        /// The group.
        group: String,
        /// `timeout` or `admin`.
        reason: &'static str,
    },
    /// The consumer was paused, or the pause is over.
    Paused {
        /// Whether it is.
        paused: bool,
        /// The end of the pause, in nanoseconds since the epoch.
        until: Option<i64>,
    },
}

/// The status of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// 4xx.
    pub code: u16,
    /// The words clients compare.
    pub text: Cow<'static, str>,
    /// Messages and bytes that were asked for and not sent.
    pub pending: Option<(u64, u64)>,
}

impl Status {
    /// `NATS/1.0 <code> <text>` with its headers.
    #[must_use]
    pub fn header_block(&self) -> Vec<u8> {
        let Self { code, text, pending } = self;
        let mut block = format!("NATS/1.0 {code} {text}\r\n");
        if let Some((messages, bytes)) = pending {
            block.push_str(&format!("Nats-Pending-Messages: {messages}\r\nNats-Pending-Bytes: {bytes}\r\n"));
        }
        block.push_str("\r\n");
        block.into_bytes()
    }
}

/// How far the consumer is, for a subscriber that hears nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// The last delivery.
    pub last_consumer_seq: u64,
    /// The last message that was delivered or passed over.
    pub last_stream_seq: u64,
    /// The flow control request that has not been answered.
    pub stalled: Option<Bytes>,
}

impl Heartbeat {
    /// `NATS/1.0 100 Idle Heartbeat` with its headers.
    #[must_use]
    pub fn header_block(&self) -> Vec<u8> {
        let Self { last_consumer_seq, last_stream_seq, stalled } = self;
        let mut block = format!(
            "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: {last_consumer_seq}\r\n\
             Nats-Last-Stream: {last_stream_seq}\r\n"
        )
        .into_bytes();
        if let Some(reply) = stalled {
            block.extend_from_slice(b"Nats-Consumer-Stalled: ");
            block.extend_from_slice(reply);
            block.extend_from_slice(b"\r\n");
        }
        block.extend_from_slice(b"\r\n");
        block
    }
}

/// The header block of [`Action::FlowControlRequest`].
pub const FLOW_CONTROL_BLOCK: &[u8] = b"NATS/1.0 100 FlowControl Request\r\n\r\n";
