//! What a server is told before it starts: plain values, already checked, from whatever front end read them.

pub mod accounts;
pub mod operator;
mod tls;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sublog_protocol::limits as protocol_limits;
use sublog_storage::{ScrubOptions, SyncMode};

use crate::auth::users::Users;
pub use crate::cli::Called;
use crate::limits;
pub use crate::websocket::WebSocketOptions;
pub use tls::{HandshakeFirst, Pair, TlsOptions};

/// Everything a server needs to know. [`Default`] is the server that `sublog` without arguments starts.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Address to listen on.
    pub host: String,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// The server's name in INFO and in logs; its id when absent.
    pub name: Option<String>,
    /// Where streams and metadata live, if any are kept.
    pub store_dir: PathBuf,
    /// The name of the server's JetStream among others; empty for none.
    pub domain: String,
    /// The name that the program goes by.
    pub called: Called,
    /// Streams and consumers can be declared.
    pub jetstream: bool,
    /// Port of the monitoring endpoints, if wanted; 0 takes a free one.
    pub monitor_port: Option<u16>,
    /// Address of the monitoring endpoints, where it is another one than that for clients.
    pub monitor_host: Option<String>,
    /// Monitoring is encrypted, as clients are.
    pub monitor_tls: bool,
    /// What stands before the paths of the monitoring endpoints, however its slashes were written.
    pub monitor_base_path: String,
    /// Ended connections that the monitoring endpoints remember.
    pub closed_connections: usize,
    /// Words for the server that the monitoring endpoints show.
    pub tags: Vec<String>,
    /// The same with names.
    pub metadata: BTreeMap<String, String>,
    /// Who may connect.
    pub auth: Auth,
    /// Accounts, and what they are to each other.
    pub accounts: Arc<accounts::AccountsOptions>,
    /// Operators that sign accounts, where accounts are not configured.
    pub operator: Option<Arc<operator::OperatorOptions>>,
    /// How client connections are encrypted; `None` leaves them plain.
    pub tls: Option<TlsOptions>,
    /// Clients that do not encrypt are served as well.
    pub allow_non_tls: bool,
    /// A port for WebSockets, if wanted.
    pub websocket: Option<WebSocketOptions>,
    /// Written with the process id once the server listens, removed when it ends.
    pub pid_file: Option<PathBuf>,
    /// Directory for the ports file.
    pub ports_file_dir: Option<PathBuf>,
    /// Log every protocol line (`-V`).
    pub trace: bool,
    /// What the server records without being asked.
    pub capture: CaptureOptions,
    /// Bounds on clients.
    pub limits: ClientLimits,
    /// Lame duck mode: from the announcement to the end.
    pub lame_duck_duration: Duration,
    /// Lame duck mode: from the announcement to the first closed connection.
    pub lame_duck_grace: Duration,
}

/// Bounds on what one client may do; see [`limits`] for the defaults' meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each has its documented default in limits.rs")]
pub struct ClientLimits {
    pub max_payload: usize,
    pub max_control_line: usize,
    pub max_pending: usize,
    pub max_connections: usize,
    /// Subscriptions one connection may hold; 0 is no limit.
    pub max_subscriptions: usize,
    pub ping_interval: Duration,
    pub ping_max: u32,
    pub write_deadline: Duration,
    pub auth_timeout: Duration,
}

/// Who may connect.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Auth {
    /// Everybody.
    #[default]
    None,
    /// One user with a password.
    UserPassword {
        /// The user's name.
        user: String,
        /// Its password.
        password: String,
    },
    /// Whoever knows the token.
    Token(String),
    /// These users.
    Users(Arc<Users>),
    /// Whoever shows a token of an account that a trusted operator signed, see [`crate::operator`].
    Operator,
}

impl Auth {
    /// Whether a client of this kind of connection has to say who it is before it may do anything.
    #[must_use]
    pub fn asks(&self, websocket: bool) -> bool {
        match self {
            Self::None => false,
            Self::UserPassword { .. } | Self::Token(_) | Self::Operator => true,
            Self::Users(users) => users.without_credentials(websocket).is_none(),
        }
    }

    /// Whether some users sign a nonce.
    #[must_use]
    pub fn needs_nonce(&self) -> bool {
        matches!(self, Self::Operator) || matches!(self, Self::Users(users) if users.sign())
    }
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::UserPassword { .. } => "UserPassword(…)",
            Self::Token(_) => "Token(…)",
            Self::Users(_) => "Users(…)",
            Self::Operator => "Operator",
        })
    }
}

/// The capture stream: what is recorded without being asked.
#[derive(Debug, Clone)]
pub struct CaptureOptions {
    /// Whether anything is recorded at all.
    pub enabled: bool,
    /// When a flush is answered.
    pub sync: SyncMode,
    /// Messages older than this are removed; `None` keeps them.
    pub max_age: Option<Duration>,
    /// The log holds at most this many bytes; `None` is bounded by the reserve alone.
    pub max_bytes: Option<u64>,
    /// Free bytes the capture stream leaves on its disk: the oldest messages go first.
    pub disk_reserve_bytes: u64,
    /// Pause between two readings of the whole log for damage; `None` never reads it.
    pub scrub_interval: Option<Duration>,
    /// Whether sealed segments are compressed.
    pub compress: bool,
    /// Bytes of it a second.
    pub scrub_bytes_per_s: u64,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            sync: SyncMode::Always,
            max_age: Some(Duration::from_secs(7 * 24 * 3600)),
            max_bytes: None,
            disk_reserve_bytes: 1024 * 1024 * 1024,
            scrub_interval: Some(ScrubOptions::default().interval),
            compress: false,
            scrub_bytes_per_s: ScrubOptions::default().bytes_per_s,
        }
    }
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            max_payload: protocol_limits::MAX_PAYLOAD,
            max_control_line: protocol_limits::MAX_CONTROL_LINE,
            max_pending: limits::MAX_PENDING_BYTES,
            max_connections: limits::MAX_CONNECTIONS,
            max_subscriptions: 0,
            ping_interval: limits::PING_INTERVAL,
            ping_max: limits::PING_MAX,
            write_deadline: limits::WRITE_DEADLINE,
            auth_timeout: limits::AUTH_TIMEOUT,
        }
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            host: "0.0.0.0".to_owned(),
            port: 4222,
            name: None,
            store_dir: PathBuf::from("sublog-data"),
            domain: String::new(),
            called: Called::Sublog,
            jetstream: true,
            monitor_port: None,
            monitor_host: None,
            monitor_tls: false,
            monitor_base_path: String::new(),
            closed_connections: limits::CLOSED_CONNECTIONS,
            tags: Vec::new(),
            metadata: BTreeMap::new(),
            auth: Auth::None,
            accounts: Arc::default(),
            operator: None,
            tls: None,
            allow_non_tls: false,
            websocket: None,
            pid_file: None,
            ports_file_dir: None,
            trace: false,
            capture: CaptureOptions::default(),
            limits: ClientLimits::default(),
            lame_duck_duration: limits::LAME_DUCK_DURATION,
            lame_duck_grace: limits::LAME_DUCK_GRACE,
        }
    }
}
