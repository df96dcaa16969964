//! `/varz`: the server as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;
use serde_json::Value;

use super::http::{Answer, Asked, Refused};
use super::jsz::{self, JetStreamConfig, Usage};
use super::{cpu, text};
use crate::account::Account;
use crate::clock;
use crate::config::{Auth, TlsOptions};
use crate::server::{NATS_VERSION, Server, VERSION, api};
use crate::tls::Tls;

/// A part of NATS that is not here: an empty object.
#[derive(Debug, Default, Serialize)]
struct Nothing {}

/// The page.
#[derive(Debug, Serialize)]
pub(super) struct Varz {
    server_id: String,
    server_name: String,
    version: &'static str,
    proto: u32,
    host: String,
    port: u16,
    #[serde(skip_serializing_if = "is_false")]
    auth_required: bool,
    max_connections: usize,
    #[serde(skip_serializing_if = "is_zero")]
    max_subscriptions: usize,
    ping_interval: i64,
    ping_max: u32,
    http_host: String,
    http_port: u16,
    http_base_path: String,
    https_port: u16,
    auth_timeout: f64,
    tls_timeout: f64,
    #[serde(skip_serializing_if = "is_false")]
    tls_required: bool,
    #[serde(skip_serializing_if = "is_false")]
    tls_verify: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cert_not_after: Option<String>,
    max_control_line: usize,
    max_payload: usize,
    max_pending: usize,
    cluster: Nothing,
    gateway: Nothing,
    leaf: Nothing,
    mqtt: Nothing,
    websocket: WebSocketPort,
    jetstream: JetStream,
    write_deadline: i64,
    start: String,
    now: String,
    uptime: String,
    mem: u64,
    cores: usize,
    gomaxprocs: usize,
    cpu: f64,
    connections: usize,
    total_connections: u64,
    routes: u32,
    remotes: u32,
    leafnodes: u32,
    #[serde(flatten)]
    traffic: Traffic,
    in_client_msgs: u64,
    in_client_bytes: u64,
    out_client_msgs: u64,
    out_client_bytes: u64,
    slow_consumers: u64,
    stale_connections: u64,
    stalled_clients: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trusted_operators_jwt: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trusted_operators_claim: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_account: Option<String>,
    subscriptions: usize,
    http_req_stats: BTreeMap<&'static str, u64>,
    config_load_time: String,
    config_digest: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    slow_consumer_stats: ByKind,
    stale_connection_stats: ByKind,
    disk_io_wait_stats: DiskWaits,
    sublog: Ours,
}

/// The port for WebSockets; an empty object where there is none.
#[derive(Debug, Default, Serialize)]
struct WebSocketPort {
    #[serde(skip_serializing_if = "String::is_empty")]
    host: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake_timeout: Option<i64>,
    #[serde(skip_serializing_if = "is_false")]
    no_tls: bool,
    #[serde(skip_serializing_if = "is_false")]
    tls_map: bool,
    #[serde(skip_serializing_if = "is_false")]
    same_origin: bool,
    #[serde(skip_serializing_if = "is_false")]
    compression: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cert_not_after: Option<String>,
}

impl WebSocketPort {
    fn of(server: &Server) -> Self {
        let Some(port) = &server.websocket else { return Self::default() };
        let (options, tls) = (&port.options, port.tls());
        Self {
            host: options.host.as_ref().unwrap_or(&server.options.host).clone(),
            port: Some(port.address.port()),
            handshake_timeout: Some(text::ns(options.handshake_timeout)),
            no_tls: tls.is_none(),
            tls_map: tls.as_ref().is_some_and(|tls| tls.options.verify_and_map),
            same_origin: options.same_origin,
            compression: options.compression,
            tls_cert_not_after: tls.and_then(|tls| not_after(&tls)),
        }
    }
}

/// When the first certificate of a port ends.
fn not_after(tls: &Tls) -> Option<String> {
    Some(jiff::Timestamp::from_second(tls.not_after?).ok()?.to_string())
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

/// Streams, in short; an empty object where there are none.
#[derive(Debug, Default, Serialize)]
pub(super) struct JetStream {
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<JetStreamConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Nothing>,
}

impl JetStream {
    pub(super) fn of(server: &Server) -> Self {
        if !server.options.jetstream {
            return Self::default();
        }
        let (config, stats) = (JetStreamConfig::of(server), jsz::usage(server));
        Self { config: Some(config), stats: Some(stats), limits: Some(Nothing {}) }
    }
}

/// Messages and bytes of all clients: `in` is what they sent.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Traffic {
    pub(super) in_msgs: u64,
    pub(super) in_bytes: u64,
    pub(super) out_msgs: u64,
    pub(super) out_bytes: u64,
}

impl Traffic {
    /// Since the server started. What was sent is counted a connection, so it is added up here.
    pub(super) fn of(server: &Server) -> Self {
        let (stats, clients) = (&server.stats, server.clients());
        let out_msgs: u64 = clients.iter().map(|c| c.stats.out_msgs.load(Ordering::Relaxed)).sum();
        let out_bytes: u64 = clients.iter().map(|c| c.stats.out_bytes.load(Ordering::Relaxed)).sum();
        Self {
            in_msgs: stats.in_msgs.load(Ordering::Relaxed),
            in_bytes: stats.in_bytes.load(Ordering::Relaxed),
            out_msgs: out_msgs + stats.out_msgs_closed.load(Ordering::Relaxed),
            out_bytes: out_bytes + stats.out_bytes_closed.load(Ordering::Relaxed),
        }
    }

    /// The same of one account.
    pub(super) fn of_account(server: &Server, account: &Account) -> Self {
        let clients = server.clients();
        let there = clients.iter().filter(|client| client.account() == account.name).map(|client| &client.stats);
        let gone = &account.closed;
        let mut all = Self {
            in_msgs: gone.in_msgs.load(Ordering::Relaxed),
            in_bytes: gone.in_bytes.load(Ordering::Relaxed),
            out_msgs: gone.out_msgs.load(Ordering::Relaxed),
            out_bytes: gone.out_bytes.load(Ordering::Relaxed),
        };
        for stats in there {
            all.in_msgs += stats.in_msgs.load(Ordering::Relaxed);
            all.in_bytes += stats.in_bytes.load(Ordering::Relaxed);
            all.out_msgs += stats.out_msgs.load(Ordering::Relaxed);
            all.out_bytes += stats.out_bytes.load(Ordering::Relaxed);
        }
        all
    }
}

/// How many of each kind of connection: only clients connect here.
#[derive(Debug, Serialize)]
pub(super) struct ByKind {
    clients: u64,
    routes: u64,
    gateways: u64,
    leafs: u64,
}

impl ByKind {
    /// So many clients.
    pub(super) fn clients(clients: u64) -> Self {
        Self { clients, routes: 0, gateways: 0, leafs: 0 }
    }
}

/// Waits for a turn at the disk. There are no turns here: whoever writes waits for the disk itself.
#[derive(Debug, Default, Serialize)]
struct DiskWaits {
    waiters: u64,
    waits: u64,
    wait_time: u64,
    max_wait_time: u64,
}

/// What nats-server does not have.
#[derive(Debug, Serialize)]
struct Ours {
    version: &'static str,
    replays: i64,
    syncs: u64,
    commits: u64,
    tls_handshakes: u64,
    tls_resumed: u64,
    streams_total: usize,
    /// The first of them by name; `/streamz` has all.
    streams: Vec<api::StreamState>,
}

pub(super) fn answer(server: &Arc<Server>, _: &Asked) -> Result<Answer, Refused> {
    Ok(Answer::json(&page(server)))
}

/// The page as it is now.
pub(super) fn page(server: &Server) -> Varz {
    let (stats, current) = (&server.stats, server.current());
    let (limits, options) = (&current.limits, &server.options);
    let traffic = Traffic::of(server);
    let streams: Vec<_> = server.accounts.all().iter().flat_map(|account| api::streams(server, account)).collect();
    let operators = || current.operator.iter().flat_map(|operator| &operator.operators);
    let now = clock::wall();
    let (config_load_time, config_digest) = server.monitor.config.last();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let monitor_port = server.monitor.address.get().map_or(0, std::net::SocketAddr::port);
    let tls = server.tls();
    let slow_consumers = stats.slow_consumers.load(Ordering::Relaxed);
    let stale_connections = stats.stale_connections.load(Ordering::Relaxed);
    Varz {
        server_id: server.id.clone(),
        server_name: server.name().to_owned(),
        version: NATS_VERSION,
        proto: 1,
        host: options.host.clone(),
        port: server.address.port(),
        auth_required: !matches!(current.auth, Auth::None),
        max_connections: limits.max_connections,
        max_subscriptions: limits.max_subscriptions,
        ping_interval: text::ns(limits.ping_interval),
        ping_max: limits.ping_max,
        http_host: options.monitor_host.as_ref().unwrap_or(&options.host).clone(),
        http_port: if options.monitor_tls { 0 } else { monitor_port },
        https_port: if options.monitor_tls { monitor_port } else { 0 },
        http_base_path: options.monitor_base_path.clone(),
        auth_timeout: limits.auth_timeout.as_secs_f64(),
        tls_timeout: tls.as_ref().map_or(TlsOptions::default().timeout, |tls| tls.options.timeout).as_secs_f64(),
        tls_required: tls.is_some() && !server.tls_is_optional(),
        tls_verify: tls.as_ref().is_some_and(|tls| tls.options.verify),
        tls_cert_not_after: tls.and_then(|tls| not_after(&tls)),
        max_control_line: limits.max_control_line,
        max_payload: limits.max_payload,
        max_pending: limits.max_pending,
        cluster: Nothing {},
        gateway: Nothing {},
        leaf: Nothing {},
        mqtt: Nothing {},
        websocket: WebSocketPort::of(server),
        jetstream: JetStream::of(server),
        write_deadline: text::ns(limits.write_deadline),
        start: text::time(server.start),
        now: text::time(now),
        uptime: text::uptime(now.duration_since(server.start).unwrap_or_default()),
        mem: cpu::resident_bytes(),
        cores,
        // The threads that serve connections are as many.
        gomaxprocs: cores,
        cpu: server.monitor.cpu.percent(),
        connections: server.connections(),
        total_connections: stats.total_connections.load(Ordering::Relaxed),
        routes: 0,
        remotes: 0,
        leafnodes: 0,
        in_client_msgs: traffic.in_msgs,
        in_client_bytes: traffic.in_bytes,
        out_client_msgs: traffic.out_msgs,
        out_client_bytes: traffic.out_bytes,
        traffic,
        slow_consumers,
        stale_connections,
        stalled_clients: stats.stalls.load(Ordering::Relaxed),
        subscriptions: server.accounts.all().iter().map(|account| account.router.len()).sum(),
        trusted_operators_jwt: operators().map(|operator| operator.jwt.text().to_owned()).collect(),
        trusted_operators_claim: operators().map(|operator| operator.token.payload.clone()).collect(),
        system_account: server.accounts.system().map(|account| account.name.to_string()),
        http_req_stats: server.monitor.requests.counts(),
        config_load_time: text::time(config_load_time),
        config_digest,
        tags: current.tags.clone(),
        metadata: current.metadata.clone(),
        slow_consumer_stats: ByKind::clients(slow_consumers),
        stale_connection_stats: ByKind::clients(stale_connections),
        disk_io_wait_stats: DiskWaits::default(),
        sublog: Ours {
            version: VERSION,
            replays: stats.replays.load(Ordering::Relaxed),
            syncs: streams.iter().map(|stream| stream.syncs).sum(),
            commits: streams.iter().map(|stream| stream.commits).sum(),
            tls_handshakes: stats.handshakes.load(Ordering::Relaxed),
            tls_resumed: stats.resumed.load(Ordering::Relaxed),
            streams_total: streams.len(),
            streams: streams.into_iter().take(api::STREAMS_SHOWN_MAX).collect(),
        },
    }
}
