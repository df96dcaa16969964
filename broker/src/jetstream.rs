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

use crate::capture::CAPTURE;
use crate::clock;
use crate::config::CaptureOptions;
use crate::server::NATS_VERSION;
use api::Api;
use config::StreamConfig;
use config::metadata::ServerLevel;
use consumer::positions::Positions;
use stream::Stream;
use streams::{Declared, Streams};
use transfer::Transfers;

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
pub const API_LEVEL: u32 = 2;

/// What a server has of all this.
pub struct JetStream {
    /// The declared streams.
    pub streams: Streams,
    /// Requests.
    pub api: Api,
    /// How far consumers are.
    pub positions: Positions,
    /// Backups on their way.
    pub transfers: Arc<Transfers>,
    /// The capture stream, as one that nobody declared.
    capture: Option<Declared>,
}

impl JetStream {
    /// Of opened streams, and the capture stream's log if there is one.
    #[must_use]
    pub fn new(streams: Streams, api: Api, capture: Option<&Arc<store::StreamLog>>, options: &CaptureOptions) -> Self {
        let capture = capture.map(|log| Declared {
            stream: Arc::new(Stream::new(0, CAPTURE, Ok(log.clone()))),
            config: Arc::new(capture_config(options)),
            created_ns: Some(log.log().state().first_ts_ns).filter(|ns| *ns > 0).unwrap_or_else(clock::unix_ns),
        });
        let positions = Positions::new(streams.meta().clone());
        Self { streams, api, positions, transfers: Arc::default(), capture }
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
