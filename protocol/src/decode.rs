//! Decoding of the byte stream, one operation a call.
//!
//! Both decoders are stateless: they look at the front of a buffer and either take one whole operation
//! from it or say how many bytes the buffer must hold before it makes sense to ask again. A message is
//! decoded only when its payload is complete, so everything in an operation borrows from the buffer and
//! nothing is copied or allocated.
//!
//! ```
//! use sublog_protocol::decode::{ClientOp, Limits, Step, decode_client};
//!
//! let limits = Limits::default();
//! let mut buf: &[u8] = b"PUB cms.a 5\r\nhello\r\nPING\r\nPU";
//! let mut ops = Vec::new();
//! let missing = loop {
//!     match decode_client(buf, &limits).unwrap() {
//!         Step::Op { op, consumed } => {
//!             ops.push(op);
//!             buf = &buf[consumed..];
//!         }
//!         Step::NeedMore { at_least } => break at_least - buf.len(),
//!     }
//! };
//! assert!(matches!(ops[0], ClientOp::Publish(publish) if publish.message == b"hello"));
//! assert_eq!(ops[1], ClientOp::Ping);
//! assert_eq!((buf, missing), (&b"PU"[..], 1));
//! ```
//!
//! What is tolerated follows nats-server: names of operations in any case, runs of blanks and tabs, LF or
//! CR LF after a control line, anything after `PING`, `PONG` and `+OK`. The line limit counts the
//! arguments, not the name in front of them. Three things are stricter, because nats-server leaves them
//! unbounded or ambiguous: blanks before the arguments and junk after `PING` fall under the line limit as
//! well, a CR inside the arguments of `PUB` and `HPUB` is an error, and arguments do not continue on the
//! next line when a line ends right after the name.

mod args;
mod client;
mod error;
mod line;
mod server;

pub use client::decode_client;
pub use error::DecodeError;
pub use server::decode_server;

use crate::limits;

/// What a decoder of client operations accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest control line in bytes, without its line end.
    pub max_control_line: usize,
    /// Largest message in bytes, headers and payload together; `usize::MAX` for no limit.
    pub max_payload: usize,
    /// Whether `HPUB` is accepted.
    pub headers: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_control_line: limits::MAX_CONTROL_LINE, max_payload: limits::MAX_PAYLOAD, headers: true }
    }
}

/// A message from a client (`PUB` or `HPUB`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Subject as sent, not validated.
    pub subject: &'a [u8],
    /// Reply subject, if there is one.
    pub reply: Option<&'a [u8]>,
    /// Length of the header block at the front of `message`, in bytes; 0 for `PUB`.
    pub header_len: usize,
    /// Whether it was `HPUB`.
    pub has_headers: bool,
    /// Header block followed by payload.
    pub message: &'a [u8],
}

/// An operation a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientOp<'a> {
    /// `CONNECT`: the raw JSON, see [`crate::info::ConnectOptions::parse`].
    Connect(&'a [u8]),
    /// `PUB` or `HPUB`.
    Publish(Publish<'a>),
    /// `SUB`.
    Subscribe {
        /// Subject or filter as sent, not validated.
        subject: &'a [u8],
        /// Queue group, if there is one.
        queue: Option<&'a [u8]>,
        /// Subscription id, opaque.
        sid: &'a [u8],
    },
    /// `UNSUB`.
    Unsubscribe {
        /// Subscription id, opaque.
        sid: &'a [u8],
        /// Deliveries since `SUB` after which the subscription ends; 0 = now.
        max: u64,
    },
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `+OK`, which has no meaning from a client and is tolerated.
    Ok,
    /// `-ERR`: the text without its quotes.
    Err(&'a [u8]),
    /// `INFO`: the raw JSON.
    Info(&'a [u8]),
}

/// Outcome of one call of [`decode_client`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// One operation.
    Op {
        /// The operation, borrowing from the buffer.
        op: ClientOp<'a>,
        /// Bytes of the buffer it took; the next one begins there.
        consumed: usize,
    },
    /// The buffer ends inside an operation.
    NeedMore {
        /// Bytes the buffer must hold in total before another call can succeed; more than it holds now.
        at_least: usize,
    },
}

/// A message to a client (`MSG` or `HMSG`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Subject it was published to.
    pub subject: &'a [u8],
    /// Subscription id it is delivered for.
    pub sid: &'a [u8],
    /// Reply subject, if there is one.
    pub reply: Option<&'a [u8]>,
    /// Length of the header block at the front of `message`, in bytes; 0 for `MSG`.
    pub header_len: usize,
    /// Whether it was `HMSG`.
    pub has_headers: bool,
    /// Header block followed by payload.
    pub message: &'a [u8],
}

/// An operation a server sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerOp<'a> {
    /// `INFO`: the raw JSON, see [`crate::info::ServerInfo::parse`].
    Info(&'a [u8]),
    /// `MSG` or `HMSG`.
    Message(Message<'a>),
    /// `+OK`.
    Ok,
    /// `-ERR`: the text without its quotes.
    Err(&'a [u8]),
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
}

/// Outcome of one call of [`decode_server`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerStep<'a> {
    /// One operation.
    Op {
        /// The operation, borrowing from the buffer.
        op: ServerOp<'a>,
        /// Bytes of the buffer it took; the next one begins there.
        consumed: usize,
    },
    /// The buffer ends inside an operation.
    NeedMore {
        /// Bytes the buffer must hold in total before another call can succeed; more than it holds now.
        at_least: usize,
    },
}
