//! One task that looks at every connection now and then: pings, stale ones, authentication and write deadlines.
//!
//! Ten thousand idle connections cost one walk a tick instead of ten thousand timers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sublog_protocol::encode;
use sublog_protocol::error::ServerError;

use super::Server;
use super::sys::events;
use crate::client::outbound::Kind;
use crate::client::{Client, CloseReason};
use crate::config::{Auth, ClientLimits, ServerOptions};
use crate::operator::{self, effects};
use crate::{clock, limits};

const TICK_MAX: Duration = Duration::from_millis(250);
/// How often whoever listens is told how the server does.
const STATISTICS_EVERY: Duration = Duration::from_secs(10);
const TICK_MIN: Duration = Duration::from_millis(5);

/// Ticks until it is dropped.
pub(super) async fn run(server: Arc<Server>) {
    let mut told_ms = clock::ticks_ms();
    loop {
        let options = server.current();
        let bounds = &options.limits;
        let shortest = bounds.ping_interval.min(bounds.write_deadline).min(bounds.auth_timeout);
        tokio::time::sleep((shortest / 4).clamp(TICK_MIN, TICK_MAX)).await;
        server.monitor.cpu.tick();
        let now = clock::ticks_ms();
        if now.saturating_sub(told_ms) >= ms(STATISTICS_EVERY) {
            told_ms = now;
            let server = server.clone();
            // What streams use may have to wait for a lock.
            tokio::task::spawn_blocking(move || events::statistics(&server));
        }
        if let Some(operator) = server.operator.as_ref().filter(|operator| operator.is_due(operator::now())) {
            // Until that is done: once is enough.
            operator.taken_up();
            let server = server.clone();
            tokio::task::spawn_blocking(move || {
                server.operator.as_ref().inspect(|operator| operator.expire(&server));
            });
        }
        for client in server.clients() {
            look_at(&server, &options, &client, now);
        }
    }
}

fn look_at(server: &Server, options: &ServerOptions, client: &Client, now: u64) {
    if client.is_closing() || client.in_handshake.load(Ordering::Acquire) {
        return;
    }
    let bounds = &options.limits;
    if client.out.stuck_ms(now) > ms(bounds.write_deadline) {
        client.close(CloseReason::SlowConsumerWriteDeadline);
        return;
    }
    let age = now.saturating_sub(client.start_ms);
    // Also where some user needs no credentials: until the first word it is not known who is there.
    let needs_auth = !matches!(options.auth, Auth::None);
    if needs_auth && !client.ready.load(Ordering::Acquire) {
        if now.saturating_sub(client.speaks_from_ms.load(Ordering::Relaxed)) > ms(bounds.auth_timeout) {
            say(client, &ServerError::AuthenticationTimeout);
            client.close(CloseReason::AuthenticationTimeout);
        }
        return;
    }
    if client.access.expires_ms() <= clock::unix_ns() / 1_000_000 {
        effects::user_expired(client);
        return;
    }
    if !client.held_back.load(Ordering::Relaxed) {
        ping(server, bounds, client, now, age);
    }
}

fn ping(server: &Server, bounds: &ClientLimits, client: &Client, now: u64, age: u64) {
    let own = client.websocket.as_ref().and_then(|port| port.options.ping_interval);
    let interval = own.unwrap_or(bounds.ping_interval);
    let sent = client.ping_sent_ms.load(Ordering::Relaxed);
    if sent == 0 {
        // The first one measures the round trip; nobody is measured before it said CONNECT.
        let first = limits::FIRST_PING.min(interval);
        let measured = client.ready.load(Ordering::Acquire) && age + ms(TICK_MAX) >= ms(first);
        if measured || age >= ms(interval) {
            send_ping(client, now);
        }
        return;
    }
    if now.saturating_sub(sent) < ms(interval) {
        return;
    }
    let heard = client.last_activity_ms.load(Ordering::Relaxed);
    if client.pings_out.load(Ordering::Relaxed) >= u64::from(bounds.ping_max) {
        server.stats.stale_connections.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(client = %client, "Stale Client Connection - Closing");
        say(client, &ServerError::StaleConnection);
        client.close(CloseReason::StaleConnection);
    } else if now.saturating_sub(heard) >= ms(interval) || client.rtt_us.load(Ordering::Relaxed) == 0 {
        send_ping(client, now);
    } else {
        // It spoke within the interval: that is as good as a pong.
        client.ping_sent_ms.store(heard.max(1), Ordering::Relaxed);
        client.pings_out.store(0, Ordering::Relaxed);
    }
}

fn send_ping(client: &Client, now: u64) {
    client.ping_sent_ms.store(now.max(1), Ordering::Relaxed);
    client.pings_out.fetch_add(1, Ordering::Relaxed);
    client.ping_sent_ns.store(u64::try_from(clock::unix_ns()).unwrap_or(0), Ordering::Relaxed);
    client.send_bytes(encode::PING, Kind::Control);
}

pub(crate) fn say(client: &Client, error: &ServerError) {
    let mut out = Vec::new();
    encode::err(&mut out, error);
    client.send(&mut out, Kind::Control);
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
