//! The server: what all connections share, and its life from the listening socket to the last flushed byte.

mod accept;
pub mod api;
pub mod closed;
mod data;
mod lifecycle;
mod maintenance;
mod notices;
mod reload;
mod retention;
pub mod sys;
mod ticker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use sublog_protocol::info::ServerInfo;

pub use lifecycle::{ServeError, run};
pub use reload::{Fresh, Reload};
pub(crate) use ticker::say;

use crate::account::{Account, Accounts, Shared};
use crate::auth::passwords::Passwords;
use crate::capture::Capture;
use closed::ClosedRing;

use crate::client::Client;
use crate::client::shown::{Listed, Shown};
use crate::clock;
use crate::config::{Auth, Called, HandshakeFirst, ServerOptions};
use crate::jetstream;
use crate::monitor::Monitor;
use crate::operator::Operator;
use crate::tls::Tls;
use crate::tls::handshake::Shaker;
use crate::websocket::WebSocket;

/// First bytes of the subjects that the server itself answers.
pub const API_PREFIX: &[u8] = b"$SUBLOG.";
/// Whether the server itself answers messages on this subject, instead of recording them.
#[must_use]
pub fn answers(account: &Account, subject: &[u8]) -> bool {
    let prefixes = [
        jetstream::ACK_PREFIX,
        jetstream::API_PREFIX,
        API_PREFIX,
        jetstream::FLOW_CONTROL_PREFIX,
        jetstream::SNAPSHOT_PREFIX,
    ];
    subject.starts_with(b"$")
        && (subject == sys::USER_INFO
            || sys::is_request(account, subject)
            || account.shared.domain.is_addressed(subject)
            || prefixes.iter().any(|prefix| subject.starts_with(prefix)))
}

/// The nats-server whose core behaviour is offered, as clients compare it.
pub const NATS_VERSION: &str = "2.15.1";
/// Our own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Counters of the whole server, seen from the clients: `in` is what they sent.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "named as in the monitoring endpoints")]
pub struct ServerStats {
    pub in_msgs: AtomicU64,
    pub in_bytes: AtomicU64,
    pub slow_consumers: AtomicU64,
    pub stale_connections: AtomicU64,
    pub stalls: AtomicU64,
    /// Encrypted connections, and those of them that went on with an earlier session.
    pub handshakes: AtomicU64,
    pub resumed: AtomicU64,
    pub total_connections: AtomicU64,
    pub replays: AtomicI64,
    /// Messages of clients that are gone, so that totals never go back.
    pub out_msgs_closed: AtomicU64,
    pub out_bytes_closed: AtomicU64,
    /// What retention removed from the capture stream.
    pub expired_msgs: AtomicU64,
    pub expired_bytes: AtomicU64,
}

/// What all connections share.
pub struct Server {
    /// As it was started: what no reload changes.
    pub options: ServerOptions,
    /// As it was last told, see [`Server::current`].
    current: RwLock<Arc<ServerOptions>>,
    /// How often that changed.
    pub reloads: AtomicU64,
    /// The capture stream.
    pub capture: Capture,
    /// All accounts.
    pub accounts: Accounts,
    /// Answers about the server, counted as nats-server does.
    pub sys_answers: AtomicU64,
    /// Hashed passwords.
    pub passwords: Passwords,
    /// Operators that sign accounts, if there are some.
    pub operator: Option<Operator>,
    /// Counters.
    pub stats: ServerStats,
    /// Where handshakes run.
    pub shaker: Shaker,
    /// How client connections are encrypted, if they are.
    tls: RwLock<Option<Arc<Tls>>>,
    /// The port for WebSockets, if there is one.
    pub websocket: Option<Arc<WebSocket>>,
    /// Public key that names the server.
    pub id: String,
    /// When it started.
    pub start: SystemTime,
    /// Where it listens.
    pub address: SocketAddr,
    /// It is going away and says so in INFO.
    pub lame_duck: AtomicBool,
    /// What accounts need of it.
    pub shared: Arc<Shared>,
    /// Connections that ended.
    pub closed: ClosedRing,
    /// What the monitoring endpoints keep.
    pub monitor: Monitor,
    clients: Mutex<FxHashMap<u64, Arc<Client>>>,
    last_cid: AtomicU64,
}

impl Server {
    /// The options as the last reload left them. Whoever needs more than one of them keeps what this returns, so that
    /// all are of one time.
    #[must_use]
    pub fn current(&self) -> Arc<ServerOptions> {
        self.current.read().clone()
    }

    /// How client connections that begin now are encrypted, if they are.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.read().clone()
    }

    /// Whether the certificate of this client decides which user it is.
    #[must_use]
    pub fn maps_certificates(&self, client: &Client) -> bool {
        let tls = client.websocket.as_ref().map_or_else(|| self.tls(), |port| port.tls());
        tls.is_some_and(|tls| tls.options.verify_and_map)
    }

    /// Whether clients that do not encrypt are served as well, though they could: unless all have to begin with that.
    #[must_use]
    pub fn tls_is_optional(&self) -> bool {
        let always_first = self.tls().is_some_and(|tls| tls.options.first == HandshakeFirst::Yes);
        self.current().allow_non_tls && !always_first
    }

    /// Whether there are subjects beyond NATS, as those of replays: under the name of nats-server only where there is
    /// something to read.
    #[must_use]
    pub fn has_own_subjects(&self) -> bool {
        self.capture.is_on() || self.options.called == Called::Sublog
    }

    /// A connection id.
    pub fn next_cid(&self) -> u64 {
        self.last_cid.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Lets a client in, if there is room.
    pub fn enter(&self, client: &Arc<Client>) -> bool {
        self.stats.total_connections.fetch_add(1, Ordering::Relaxed);
        let mut clients = self.clients.lock();
        if clients.len() >= self.current().limits.max_connections {
            return false;
        }
        clients.insert(client.id, client.clone());
        true
    }

    /// The connection ends: it is shown as closed from now on.
    pub fn remember(&self, client: &Client, subscriptions: Vec<Listed>) {
        let stop = Some((clock::wall(), client.close_reason()));
        self.closed.add(Shown { stop, ..Shown::of(client) }, subscriptions);
    }

    /// The client's socket is closed.
    pub fn leave(&self, client: &Client) {
        self.stats.out_msgs_closed.fetch_add(client.stats.out_msgs.load(Ordering::Relaxed), Ordering::Relaxed);
        self.stats.out_bytes_closed.fetch_add(client.stats.out_bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        if let Some(account) = self.accounts.get(&client.account()) {
            account.closed.add(client);
        }
        self.clients.lock().remove(&client.id);
    }

    /// The connected clients, in the order they came.
    #[must_use]
    pub fn clients(&self) -> Vec<Arc<Client>> {
        let mut all: Vec<Arc<Client>> = self.clients.lock().values().cloned().collect();
        all.sort_unstable_by_key(|client| client.id);
        all
    }

    /// How many clients are connected.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.clients.lock().len()
    }

    /// The server's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.options.name.as_deref().unwrap_or(&self.id)
    }

    /// INFO for one client.
    #[must_use]
    pub fn info(&self, client: &Client) -> ServerInfo {
        let current = self.current();
        let (tls, optional, address) = match &client.websocket {
            None => (self.tls(), self.tls_is_optional(), self.address),
            Some(port) => (port.tls(), false, port.address),
        };
        let host = client.websocket.as_ref().and_then(|port| port.options.host.as_ref());
        ServerInfo {
            server_id: self.id.clone(),
            server_name: self.name().to_owned(),
            version: NATS_VERSION.to_owned(),
            proto: 1,
            host: host.unwrap_or(&self.options.host).clone(),
            port: address.port(),
            headers: true,
            jetstream: self.options.jetstream,
            domain: self.shared.domain.name().to_owned(),
            api_lvl: jetstream::API_LEVEL.cast_signed(),
            auth_required: current.auth.asks(client.websocket.is_some()),
            nonce: if client.ready.load(Ordering::Relaxed) {
                String::new()
            } else {
                client.nonce.get().cloned().unwrap_or_default()
            },
            max_payload: i64::try_from(current.limits.max_payload).unwrap_or(i64::MAX),
            tls_required: tls.is_some() && !optional,
            tls_available: tls.is_some() && optional,
            tls_verify: tls.is_some_and(|tls| tls.options.verify),
            client_id: client.id,
            client_ip: client.ip().to_string(),
            ldm: self.lame_duck.load(Ordering::Relaxed),
            sublog: Some(VERSION.to_owned()),
            ..ServerInfo::default()
        }
    }

    /// The INFO that follows the first PONG.
    #[must_use]
    pub fn connect_info(&self, client: &Client) -> ServerInfo {
        let auth_required = !matches!(self.current().auth, Auth::None);
        let account = self.accounts.get(&client.account());
        let remote_account = client.account().to_string();
        let acc_is_sys = account.as_ref().is_some_and(|account| account.is_system());
        let info = self.info(client);
        let own = client
            .access
            .max_payload()
            .min(account.map_or(usize::MAX, |a| a.options().limits.max_payload.unwrap_or(usize::MAX)));
        let max_payload = info.max_payload.min(i64::try_from(own).unwrap_or(i64::MAX));
        ServerInfo { connect_info: true, remote_account, acc_is_sys, auth_required, max_payload, ..info }
    }
}
