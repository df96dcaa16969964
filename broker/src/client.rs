//! One client connection, as everybody else in the server sees it.
//!
//! A [`Client`] is shared: publishers on other threads hand it deliveries, the log hands it acknowledgements, the ticker
//! looks at its marks. What only the connection's own task touches (parsing, staging, its subscriptions) lives in
//! [`connection`].
//!
//! Locks: `acks` may be held while `out` is taken, never the other way round.

pub mod acks;
mod begin;
pub mod connection;
mod desks;
mod fanout;
mod finish;
pub mod handshake;
mod input;
pub mod layers;
mod operations;
pub mod outbound;
pub mod sender;
pub mod shown;
mod storing;
mod subscriptions;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::auth::access::Access;
use crate::clock;
use crate::replay::Replay;
use crate::router::cache::Facts;
use crate::tls::handshake::Secured;
use crate::websocket::{Visitor, WebSocket};
use outbound::Outbound;

/// Why a connection ended, in the words that the monitoring endpoints use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are those of as_str")]
pub enum CloseReason {
    Open = 0,
    ClientClosed,
    AuthenticationTimeout,
    AuthenticationFailure,
    SlowConsumerPendingBytes,
    SlowConsumerWriteDeadline,
    WriteError,
    ReadError,
    ParseError,
    StaleConnection,
    ProtocolViolation,
    BadClientProtocol,
    MaximumConnections,
    MaximumPayload,
    MaximumControlLine,
    ServerShutdown,
    HeaderViolation,
    NoRespondersRequiresHeaders,
    TlsHandshake,
    MaximumAccountConnections,
    AuthenticationExpired,
    Revoked,
    MaximumSubscriptions,
}

impl CloseReason {
    const ALL: [Self; 23] = [
        Self::Open,
        Self::ClientClosed,
        Self::AuthenticationTimeout,
        Self::AuthenticationFailure,
        Self::SlowConsumerPendingBytes,
        Self::SlowConsumerWriteDeadline,
        Self::WriteError,
        Self::ReadError,
        Self::ParseError,
        Self::StaleConnection,
        Self::ProtocolViolation,
        Self::BadClientProtocol,
        Self::MaximumConnections,
        Self::MaximumPayload,
        Self::MaximumControlLine,
        Self::ServerShutdown,
        Self::HeaderViolation,
        Self::NoRespondersRequiresHeaders,
        Self::TlsHandshake,
        Self::MaximumAccountConnections,
        Self::AuthenticationExpired,
        Self::Revoked,
        Self::MaximumSubscriptions,
    ];

    /// The text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "",
            Self::ClientClosed => "Client Closed",
            Self::AuthenticationTimeout => "Authentication Timeout",
            Self::AuthenticationFailure => "Authentication Failure",
            Self::SlowConsumerPendingBytes => "Slow Consumer (Pending Bytes)",
            Self::SlowConsumerWriteDeadline => "Slow Consumer (Write Deadline)",
            Self::WriteError => "Write Error",
            Self::ReadError => "Read Error",
            Self::ParseError => "Parse Error",
            Self::StaleConnection => "Stale Connection",
            Self::ProtocolViolation => "Protocol Violation",
            Self::BadClientProtocol => "Bad Client Protocol Version",
            Self::MaximumConnections => "Maximum Connections Exceeded",
            Self::MaximumPayload => "Maximum Message Payload Exceeded",
            Self::MaximumControlLine => "Maximum Control Line Exceeded",
            Self::ServerShutdown => "Server Shutdown",
            Self::HeaderViolation => "Message Header Violation",
            Self::NoRespondersRequiresHeaders => "No Responders Requires Headers",
            Self::TlsHandshake => "TLS Handshake Failure",
            Self::MaximumAccountConnections => "Maximum Account Connections Exceeded",
            Self::AuthenticationExpired => "Authentication Expired",
            Self::Revoked => "Credentials Revoked",
            Self::MaximumSubscriptions => "Maximum Subscriptions Exceeded",
        }
    }

    /// Whether the client was cut off for not keeping up.
    #[must_use]
    pub fn is_slow_consumer(self) -> bool {
        matches!(self, Self::SlowConsumerPendingBytes | Self::SlowConsumerWriteDeadline)
    }

    fn from_u8(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::ClientClosed)
    }
}

/// Counters of one connection, seen from the client: `in` is what it sent.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "named as in the monitoring endpoints")]
pub struct ClientStats {
    pub in_msgs: AtomicU64,
    pub in_bytes: AtomicU64,
    pub out_msgs: AtomicU64,
    pub out_bytes: AtomicU64,
    pub subscriptions: AtomicU64,
    /// Times it had to wait for a slow destination.
    pub stalls: AtomicU64,
}

/// What a client said about itself in CONNECT, for logs and monitoring.
#[derive(Debug, Default, Clone)]
#[expect(missing_docs, reason = "named as in CONNECT")]
pub struct Identity {
    pub name: Option<String>,
    pub lang: Option<String>,
    pub version: Option<String>,
}

/// See the module.
pub struct Client {
    /// The connection id (`cid`).
    pub id: u64,
    /// Where it comes from.
    pub remote: SocketAddr,
    /// When it came.
    pub start: std::time::SystemTime,
    /// What it said about itself.
    pub identity: Mutex<Identity>,
    /// Who it is, and what it may do.
    pub access: Access,
    /// What it was given to sign, where users sign.
    pub nonce: OnceLock<String>,
    /// Counters.
    pub stats: ClientStats,
    /// It understands HMSG.
    pub headers: AtomicBool,
    /// It wants 503 instead of silence.
    pub no_responders: AtomicBool,
    /// It understands INFO that it did not ask for.
    pub async_info: AtomicBool,
    /// It wants to be told where a replay's history ends.
    pub replay_status: AtomicBool,
    /// CONNECT was accepted (or none is needed).
    pub ready: AtomicBool,
    /// `clock::ticks_ms` of the last bytes it sent.
    pub last_activity_ms: AtomicU64,
    /// `clock::ticks_ms` when it connected.
    pub start_ms: u64,
    /// The same when it could begin to speak: after its handshake, if it has one.
    pub speaks_from_ms: AtomicU64,
    /// It is just encrypting its connection, and can be told nothing.
    pub in_handshake: AtomicBool,
    /// How its connection is encrypted, if it is.
    pub secured: OnceLock<Secured>,
    /// The port for WebSockets, if it came by way of that.
    pub websocket: Option<Arc<WebSocket>>,
    /// What its upgrade said of it.
    pub visitor: OnceLock<Visitor>,
    /// The server reads nothing from it, because the log has no room: it cannot be heard.
    pub held_back: AtomicBool,
    /// Pings it has not answered.
    pub pings_out: AtomicU64,
    /// `clock::ticks_ms` of the last ping sent to it; 0 before the first.
    pub ping_sent_ms: AtomicU64,
    /// Microseconds from the last ping to its pong; 0 before the first.
    pub rtt_us: AtomicU64,
    /// When the ping was sent, in ns since the epoch, for the round trip.
    pub ping_sent_ns: AtomicU64,
    /// Deliveries on their way to the socket.
    pub out: Outbound,
    /// Flushes that wait for the log.
    pub acks: Mutex<acks::AckQueue>,
    /// What its cache of routes was like when that last changed.
    pub cache: Mutex<Facts>,
    /// Its replays; some may have ended.
    pub replays: Mutex<Vec<Arc<Replay>>>,
    reason: AtomicU8,
    closing: Notify,
    /// Something changed that the connection's own task must see to, even if the client says nothing.
    pub nudge: Notify,
}

impl Client {
    /// A connection that has just been accepted.
    #[must_use]
    pub fn new(
        id: u64,
        remote: SocketAddr,
        io: tokio::net::tcp::OwnedWriteHalf,
        max_pending: usize,
        websocket: Option<Arc<WebSocket>>,
    ) -> Self {
        let start_ms = clock::ticks_ms();
        Self {
            id,
            remote,
            start: clock::wall(),
            identity: Mutex::new(Identity::default()),
            access: Access::default(),
            nonce: OnceLock::new(),
            stats: ClientStats::default(),
            headers: AtomicBool::new(false),
            no_responders: AtomicBool::new(false),
            async_info: AtomicBool::new(false),
            replay_status: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            last_activity_ms: AtomicU64::new(start_ms),
            start_ms,
            speaks_from_ms: AtomicU64::new(start_ms),
            in_handshake: AtomicBool::new(false),
            secured: OnceLock::new(),
            websocket,
            visitor: OnceLock::new(),
            held_back: AtomicBool::new(false),
            pings_out: AtomicU64::new(0),
            ping_sent_ms: AtomicU64::new(0),
            rtt_us: AtomicU64::new(0),
            ping_sent_ns: AtomicU64::new(0),
            out: Outbound::new(io, max_pending),
            acks: Mutex::new(acks::AckQueue::default()),
            cache: Mutex::default(),
            replays: Mutex::default(),
            reason: AtomicU8::new(CloseReason::Open as u8),
            closing: Notify::new(),
            nudge: Notify::new(),
        }
    }

    /// Where it comes from, as what stands before the server says.
    #[must_use]
    pub fn ip(&self) -> std::net::IpAddr {
        self.visitor.get().and_then(|visitor| visitor.forwarded).unwrap_or(self.remote.ip())
    }

    /// The name of the account it is in.
    #[must_use]
    pub fn account(&self) -> Arc<str> {
        self.access.grant().account()
    }

    /// Asks the connection to end. The first reason given is the one that counts.
    pub fn close(&self, reason: CloseReason) {
        let first = self
            .reason
            .compare_exchange(CloseReason::Open as u8, reason as u8, Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        if first {
            self.closing.notify_waiters();
        }
    }

    /// The reason given to [`close`](Self::close), `Open` before.
    #[must_use]
    pub fn close_reason(&self) -> CloseReason {
        CloseReason::from_u8(self.reason.load(Ordering::Acquire))
    }

    /// Whether it is on its way out.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.reason.load(Ordering::Acquire) != CloseReason::Open as u8
    }

    /// Resolves once somebody asked the connection to end.
    pub async fn closed(&self) {
        let notified = self.closing.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if !self.is_closing() {
            notified.await;
        }
    }

    /// Hands bytes to the socket, closing the connection when it cannot take them.
    pub fn send(&self, buf: &mut Vec<u8>, kind: outbound::Kind) {
        if let Err(reason) = self.out.send(buf, kind) {
            self.close(reason);
        }
    }

    /// [`send`](Self::send) for a few bytes that are at hand.
    pub fn send_bytes(&self, bytes: &[u8], kind: outbound::Kind) {
        self.send(&mut bytes.to_vec(), kind);
    }
}

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} - cid:{}", self.remote, self.id)
    }
}
