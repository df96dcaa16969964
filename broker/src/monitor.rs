//! The monitoring endpoints, on a port of their own: what load balancers probe and people look at.

mod secure;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::client::Client;
use crate::config::Auth;
use crate::server::{NATS_VERSION, ServeError, Server, VERSION, api};
use crate::{clock, rfc3339};

/// Starts answering, if the options name a port.
///
/// # Errors
/// The port cannot be taken.
pub async fn start(server: &Arc<Server>) -> Result<Option<SocketAddr>, ServeError> {
    let Some(port) = server.options.monitor_port else { return Ok(None) };
    let host = server.options.monitor_host.as_ref().unwrap_or(&server.options.host).clone();
    let failed = |source| ServeError::Listen { host: host.clone(), port, source };
    let listener = TcpListener::bind((host.as_str(), port)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let routes = axum::Router::new()
        .route("/", get(index))
        .route("/varz", get(varz))
        .route("/connz", get(connz))
        .route("/healthz", get(healthz))
        .route("/streamz", get(streamz))
        .with_state(server.clone());
    let serving = if server.options.monitor_tls {
        tracing::info!("Starting https monitor on {address}");
        let listener = secure::SecureListener::new(server, listener).map_err(failed)?;
        tokio::spawn(axum::serve(listener, routes).into_future())
    } else {
        tracing::info!("Starting http monitor on {address}");
        tokio::spawn(axum::serve(listener, routes).into_future())
    };
    tokio::spawn(async move {
        if let Ok(Err(error)) = serving.await {
            tracing::error!("The monitoring endpoints ended: {error}");
        }
    });
    Ok(Some(address))
}

async fn index(State(server): State<Arc<Server>>) -> Html<String> {
    Html(format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>sublog</title></head><body>\
         <h1>sublog {VERSION}</h1><p>{} connections</p><ul><li><a href=\"varz\">varz</a></li>\
         <li><a href=\"connz\">connz</a></li><li><a href=\"streamz\">streamz</a></li>\
         <li><a href=\"healthz\">healthz</a></li></ul></body></html>",
        server.connections()
    ))
}

fn time(at: std::time::SystemTime) -> String {
    let ns = at.duration_since(std::time::UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX));
    rfc3339::format(ns)
}

/// `1d2h3m4s`, as the tools that read these pages parse it.
fn uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let seconds = seconds % 60;
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{seconds}s"),
        (0, ..) => format!("{hours}h{minutes}m{seconds}s"),
        _ => format!("{days}d{hours}h{minutes}m{seconds}s"),
    }
}

fn seconds_since(start: std::time::SystemTime) -> u64 {
    clock::wall().duration_since(start).map_or(0, |span| span.as_secs())
}

async fn varz(State(server): State<Arc<Server>>) -> Json<Value> {
    let (stats, current) = (&server.stats, server.current());
    let limits = &current.limits;
    let clients = server.clients();
    let out_msgs: u64 = clients.iter().map(|c| c.stats.out_msgs.load(Ordering::Relaxed)).sum();
    let out_bytes: u64 = clients.iter().map(|c| c.stats.out_bytes.load(Ordering::Relaxed)).sum();
    let streams = api::streams(&server);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut fields = json!({
        "server_id": server.id,
        "server_name": server.name(),
        "version": NATS_VERSION,
        "proto": 1,
        "host": server.options.host,
        "port": server.address.port(),
        "auth_required": !matches!(current.auth, Auth::None),
        "max_connections": limits.max_connections,
        "max_subscriptions": limits.max_subscriptions,
        "max_payload": limits.max_payload,
        "max_pending": limits.max_pending,
        "max_control_line": limits.max_control_line,
        "ping_interval": u64::try_from(limits.ping_interval.as_nanos()).unwrap_or(u64::MAX),
        "ping_max": limits.ping_max,
        "write_deadline": u64::try_from(limits.write_deadline.as_nanos()).unwrap_or(u64::MAX),
        "auth_timeout": limits.auth_timeout.as_secs_f64(),
        "start": time(server.start),
        "now": time(clock::wall()),
        "uptime": uptime(seconds_since(server.start)),
        "mem": resident_bytes(),
        "cores": cores,
        "connections": clients.len(),
        "total_connections": stats.total_connections.load(Ordering::Relaxed),
        "in_msgs": stats.in_msgs.load(Ordering::Relaxed),
        "in_bytes": stats.in_bytes.load(Ordering::Relaxed),
        "out_msgs": out_msgs + stats.out_msgs_closed.load(Ordering::Relaxed),
        "out_bytes": out_bytes + stats.out_bytes_closed.load(Ordering::Relaxed),
        "slow_consumers": stats.slow_consumers.load(Ordering::Relaxed),
        "stale_connections": stats.stale_connections.load(Ordering::Relaxed),
        "stalled_clients": stats.stalls.load(Ordering::Relaxed),
        "subscriptions": server.router.len(),
        "sublog": {
            "version": VERSION,
            "replays": stats.replays.load(Ordering::Relaxed),
            "syncs": streams.iter().map(|s| s.syncs).sum::<u64>(),
            "commits": streams.iter().map(|s| s.commits).sum::<u64>(),
            "streams": streams,
            "tls_handshakes": stats.handshakes.load(Ordering::Relaxed),
            "tls_resumed": stats.resumed.load(Ordering::Relaxed),
        },
    });
    secure::describe_server(&server, &mut fields);
    Json(fields)
}

/// Resident memory in bytes, 0 where the system does not tell.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()));
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

#[derive(Deserialize)]
struct Paging {
    offset: Option<usize>,
    limit: Option<usize>,
}

const CONNZ_LIMIT: usize = 1024;

async fn connz(State(server): State<Arc<Server>>, Query(paging): Query<Paging>) -> Json<Value> {
    let clients = server.clients();
    let (offset, limit) = (paging.offset.unwrap_or(0), paging.limit.unwrap_or(CONNZ_LIMIT));
    let shown: Vec<Value> = clients.iter().skip(offset).take(limit).map(|client| connection(client)).collect();
    Json(json!({
        "server_id": server.id,
        "now": time(clock::wall()),
        "num_connections": shown.len(),
        "total": clients.len(),
        "offset": offset,
        "limit": limit,
        "connections": shown,
    }))
}

fn connection(client: &Client) -> Value {
    let stats = &client.stats;
    let identity = client.identity.lock().clone();
    let idle_ms = clock::ticks_ms().saturating_sub(client.last_activity_ms.load(Ordering::Relaxed));
    let last = clock::wall() - std::time::Duration::from_millis(idle_ms);
    let mut fields = json!({
        "cid": client.id,
        "kind": "Client",
        "type": if client.websocket.is_some() { "websocket" } else { "nats" },
        "ip": client.ip().to_string(),
        "port": client.remote.port(),
        "start": time(client.start),
        "last_activity": time(last),
        "rtt": format!("{}µs", client.rtt_us.load(Ordering::Relaxed)),
        "uptime": uptime(seconds_since(client.start)),
        "idle": uptime(idle_ms / 1000),
        "pending_bytes": client.out.pending() + client.out.pending_replay(),
        "in_msgs": stats.in_msgs.load(Ordering::Relaxed),
        "in_bytes": stats.in_bytes.load(Ordering::Relaxed),
        "out_msgs": stats.out_msgs.load(Ordering::Relaxed),
        "out_bytes": stats.out_bytes.load(Ordering::Relaxed),
        "stalls": stats.stalls.load(Ordering::Relaxed),
        "subscriptions": stats.subscriptions.load(Ordering::Relaxed),
        "name": identity.name.unwrap_or_default(),
        "lang": identity.lang.unwrap_or_default(),
        "version": identity.version.unwrap_or_default(),
        "authorized_user": identity.user.unwrap_or_default(),
    });
    secure::describe(client, &mut fields);
    fields
}

async fn streamz(State(server): State<Arc<Server>>) -> Json<Value> {
    Json(json!({ "streams": api::streams(&server) }))
}

/// Red when publishers are not served as promised: the log cannot write, or messages are damaged.
async fn healthz(State(server): State<Arc<Server>>) -> Response {
    let mut problems = Vec::new();
    let streams = api::streams(&server);
    let logs: Vec<Value> = streams
        .iter()
        .map(|stream| {
            json!({
                "name": stream.name,
                "damaged_ranges": stream.damaged_ranges,
                "read_faults": stream.read_faults,
                "scrub": stream.scrub,
            })
        })
        .collect();
    for stream in streams {
        // A slow disk keeps publishers waiting, but they get what they were promised; restarting would not help it.
        if !matches!(stream.health, "ok" | "slow") {
            let error = stream.error.unwrap_or_default();
            problems.push(format!("stream {}: log is {}: {error}", stream.name, stream.health));
        }
        if stream.damaged_ranges > 0 {
            problems.push(format!("stream {}: {} damaged ranges", stream.name, stream.damaged_ranges));
        }
    }
    if problems.is_empty() {
        return Json(json!({ "status": "ok", "streams": logs })).into_response();
    }
    let body = json!({ "status": "unavailable", "status_code": 503, "error": problems.join("; "), "streams": logs });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}
