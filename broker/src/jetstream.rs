//! Streams: logs that are declared by clients, and what is answered about them.
//!
//! [`store`] is a log as the rest of the broker sees it; the capture stream is one too. [`streams`] are the declared ones,
//! each a [`stream`] at work; [`publish`] is what a publisher's connection keeps for one, [`api`] answers requests.
//!
//! Consumers have their place beside this: requests `CONSUMER.>` go to [`api`], acknowledgements on `$JS.ACK.>` are to be
//! taken where [`crate::server::answers`] takes requests, and [`store::StreamLog::readable`] tells what can be delivered.

pub mod advisories;
pub mod api;
pub mod config;
pub mod consumer;
pub mod copy;
pub mod definition;
pub mod domain;
pub mod errors;
pub mod publish;
pub mod read;
pub mod store;
pub mod stream;
pub mod streams;
pub mod transfer;
pub mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sublog_protocol::decode::Publish;

use crate::account::Account;
use crate::auth::permissions::Permissions;
use crate::capture::CAPTURE;
use crate::client::Client;
use crate::clock;
use crate::config::CaptureOptions;
use crate::server::NATS_VERSION;
use api::Api;
use config::StreamConfig;
use config::metadata::ServerLevel;
use consumer::inlet::Heard;
use consumer::positions::Positions;
use stream::Stream;
use streams::{Declared, Streams};
use transfer::Transfers;
use wire::info::ApiStats;

/// First bytes of the subjects of requests.
pub const API_PREFIX: &[u8] = b"$JS.API.";

/// First bytes of the subjects of acks.
pub const ACK_PREFIX: &[u8] = b"$JS.ACK.";
/// First bytes of the subjects on which subscribers say that they have kept up.
pub const FLOW_CONTROL_PREFIX: &[u8] = b"$JS.FC.";
/// First bytes of the subjects on which clients ask for messages.
pub const NEXT_PREFIX: &[u8] = b"$JS.API.CONSUMER.MSG.NEXT.";

/// First bytes of the subjects on which clients take part in backups.
pub const SNAPSHOT_PREFIX: &[u8] = b"$JS.SNAPSHOT.";

/// What responses say of this server.
#[must_use]
pub fn server_level() -> ServerLevel {
    ServerLevel { version: NATS_VERSION.to_owned(), level: API_LEVEL }
}

/// The level of the API that is here as a whole.
pub const API_LEVEL: u32 = 4;

/// What an account has of all this.
pub struct JetStream {
    /// The declared streams.
    pub streams: Streams,
    /// Requests, of all accounts.
    pub api: Arc<Api>,
    /// How far consumers are, of all accounts.
    pub positions: Arc<Positions>,
    /// Backups on their way.
    pub transfers: Arc<Transfers>,
    /// The capture stream, as one that nobody declared, in the account that is recorded.
    capture: Option<Declared>,
    enabled: AtomicBool,
    /// Requests of this account, and those of them that came to an error.
    requests: [AtomicU64; 2],
}

impl JetStream {
    /// Of streams that are still to be opened, and the capture stream's log if there is one.
    #[must_use]
    pub fn new(
        streams: Streams,
        api: Arc<Api>,
        positions: Arc<Positions>,
        capture: Option<&Arc<store::StreamLog>>,
        options: &CaptureOptions,
    ) -> Self {
        let capture = capture.map(|log| Declared {
            stream: Arc::new(Stream::new(0, CAPTURE, Ok(log.clone())).kept_as(&streams.kept(CAPTURE))),
            config: Arc::new(capture_config(options)),
            created_ns: Some(log.log().state().first_ts_ns).filter(|ns| *ns > 0).unwrap_or_else(clock::unix_ns),
        });
        Self {
            streams,
            api,
            positions,
            transfers: Arc::default(),
            capture,
            enabled: AtomicBool::new(false),
            requests: Default::default(),
        }
    }

    /// A request of this account was carried out: what counts among all, and what among errors.
    pub(crate) fn count(&self, counts: bool, error_counts: bool) {
        let [total, errors] = &self.requests;
        total.fetch_add(u64::from(counts), Ordering::Relaxed);
        errors.fetch_add(u64::from(error_counts), Ordering::Relaxed);
    }

    /// Requests of this account.
    #[must_use]
    pub fn stats(&self) -> ApiStats {
        let [total, errors] = self.requests.each_ref().map(|count| count.load(Ordering::Relaxed));
        ApiStats { level: API_LEVEL, total, errors, inflight: 0 }
    }

    /// Whether the account has any of this.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    /// The account has this from now on, or no longer.
    pub fn enable(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::Release);
    }

    /// A stream by its name, the capture stream too.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Declared> {
        if name == CAPTURE { self.capture.clone() } else { self.streams.get(name) }
    }

    /// A stream at work by its name, the capture stream too.
    #[must_use]
    pub fn stream(&self, name: &str) -> Option<Arc<Stream>> {
        if name == CAPTURE {
            self.capture.as_ref().map(|found| found.stream.clone())
        } else {
            self.streams.stream(name)
        }
    }

    /// All streams by name, the capture stream among them.
    #[must_use]
    pub fn all(&self) -> Vec<Declared> {
        let mut all = self.streams.all();
        if let Some(capture) = &self.capture {
            let at = all.partition_point(|declared| declared.config.name.as_str() < CAPTURE);
            all.insert(at, capture.clone());
        }
        all
    }
}

/// Takes a message on a subject of JetStream's own. `None`: it is none; `Some(false)`: there is nobody for it.
pub fn take(
    account: &Arc<Account>,
    client: Option<&Arc<Client>>,
    message: &Publish<'_>,
    permissions: Option<&Arc<Permissions>>,
    heard: &mut Heard,
) -> Option<bool> {
    if let Some(subject) = account.shared.domain.plain(message.subject) {
        return take(account, client, &Publish { subject: &subject, ..*message }, permissions, heard);
    }
    if message.subject.starts_with(b"$JS.") && !account.shared.jetstream {
        return Some(false);
    }
    if let Some(taken) = consumer::inlet::take(account, message, heard) {
        return Some(taken);
    }
    if message.subject.starts_with(API_PREFIX) {
        return Some(account.jetstream.api.take(account, client, message, permissions));
    }
    message.subject.starts_with(SNAPSHOT_PREFIX).then(|| account.jetstream.transfers.take(message))
}

/// The capture stream as it is shown: what its flags say.
fn capture_config(options: &CaptureOptions) -> StreamConfig {
    use config::stream::Compression;
    let age = options.max_age.map_or(0, |age| i64::try_from(age.as_nanos()).unwrap_or(i64::MAX));
    StreamConfig {
        name: CAPTURE.to_owned(),
        description: "What no declared stream takes; see --capture".to_owned(),
        subjects: vec![">".to_owned()],
        max_age: age,
        max_consumers: -1,
        max_msgs: -1,
        max_msgs_per_subject: -1,
        max_msg_size: -1,
        num_replicas: 1,
        max_bytes: options.max_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        no_ack: true,
        allow_direct: true,
        deny_delete: true,
        deny_purge: true,
        compression: if options.compress { Compression::S2 } else { Compression::None },
        ..StreamConfig::default()
    }
}
