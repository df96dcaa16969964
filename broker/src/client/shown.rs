//! A connection and its subscriptions as the monitoring endpoints show them: copies, taken when somebody asks or when
//! the connection ends.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::{Client, CloseReason};
use crate::auth::users::ByToken;
use crate::clock;
use crate::router::Subscription;

/// How a connection is encrypted, in short.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "named as in the monitoring endpoints")]
pub struct ShownTls {
    pub version: &'static str,
    pub cipher_suite: String,
    pub first: bool,
}

/// A connection at one moment, or in its end. Nothing that proves who the client is stays in here.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "named as in the monitoring endpoints")]
pub struct Shown {
    pub cid: u64,
    /// Where it comes from, as what stands before the server says.
    pub ip: IpAddr,
    pub port: u16,
    pub websocket: bool,
    /// How it is encrypted, if it is.
    pub tls: Option<ShownTls>,
    pub start: SystemTime,
    pub last_activity: SystemTime,
    /// When it ended, and why.
    pub stop: Option<(SystemTime, CloseReason)>,
    /// Of the last ping; `None` before the first was answered.
    pub rtt: Option<Duration>,
    pub pending_bytes: u64,
    pub in_msgs: u64,
    pub out_msgs: u64,
    pub in_bytes: u64,
    pub out_bytes: u64,
    pub stalls: u64,
    pub subscriptions: u64,
    pub name: Box<str>,
    pub lang: Box<str>,
    pub version: Box<str>,
    pub user: Box<str>,
    pub account: Arc<str>,
    /// What its token says, if it showed one.
    pub by_token: Option<Arc<ByToken>>,
}

impl Shown {
    /// A connection as it is now.
    #[must_use]
    pub fn of(client: &Client) -> Self {
        let stats = &client.stats;
        let identity = client.identity.lock();
        // Thousands of these are remembered: they hold no more than they need.
        let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
        let (name, lang, version) = (text(&identity.name), text(&identity.lang), text(&identity.version));
        drop(identity);
        let grant = client.access.grant();
        let (user, account) = (text(&grant.name), grant.account());
        let idle_ms = clock::ticks_ms().saturating_sub(client.last_activity_ms.load(Ordering::Relaxed));
        let last_activity = clock::wall().checked_sub(Duration::from_millis(idle_ms)).unwrap_or(client.start);
        let rtt_us = client.rtt_us.load(Ordering::Relaxed);
        Self {
            cid: client.id,
            ip: client.ip(),
            port: client.remote.port(),
            websocket: client.websocket.is_some(),
            tls: client.secured.get().map(|secured| ShownTls {
                version: secured.version,
                cipher_suite: secured.suite.clone(),
                first: secured.first,
            }),
            start: client.start,
            // Activity is counted in whole milliseconds: that must not put it before the connection.
            last_activity: last_activity.max(client.start),
            stop: None,
            rtt: (rtt_us > 0).then(|| Duration::from_micros(rtt_us)),
            pending_bytes: (client.out.pending() + client.out.pending_replay()) as u64,
            in_msgs: stats.in_msgs.load(Ordering::Relaxed),
            out_msgs: stats.out_msgs.load(Ordering::Relaxed),
            in_bytes: stats.in_bytes.load(Ordering::Relaxed),
            out_bytes: stats.out_bytes.load(Ordering::Relaxed),
            stalls: stats.stalls.load(Ordering::Relaxed),
            subscriptions: stats.subscriptions.load(Ordering::Relaxed),
            name,
            lang,
            version,
            user,
            account,
            by_token: grant.user.as_ref().and_then(|user| user.by_token.clone()),
        }
    }

    /// How long it has lasted by `now`, or did last.
    #[must_use]
    pub fn uptime(&self, now: SystemTime) -> Duration {
        let end = self.stop.map_or(now, |(stop, _)| stop);
        end.duration_since(self.start).unwrap_or_default()
    }

    /// How long it has said nothing by `now`, or did say nothing in the end.
    #[must_use]
    pub fn idle(&self, now: SystemTime) -> Duration {
        let end = self.stop.map_or(now, |(stop, _)| stop);
        end.duration_since(self.last_activity).unwrap_or_default()
    }
}

/// A subscription at one moment; names as the client gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in SUB")]
pub struct Listed {
    pub subject: Box<[u8]>,
    pub queue: Option<Box<[u8]>>,
    pub sid: Box<[u8]>,
    /// Deliveries so far.
    pub msgs: u64,
    /// Deliveries after which it ends; 0 is never.
    pub max: u64,
    /// Whose it is.
    pub cid: u64,
}

impl Listed {
    /// What it takes to remember it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.subject.len() + self.queue.as_ref().map_or(0, |queue| queue.len()) + self.sid.len()
    }

    /// An ordinary one.
    #[must_use]
    pub fn of(subscription: &Subscription) -> Self {
        Self {
            subject: subscription.subject.clone(),
            queue: subscription.queue.clone(),
            sid: subscription.sid.clone(),
            msgs: subscription.delivered.load(Ordering::Relaxed),
            max: subscription.max.load(Ordering::Relaxed),
            cid: subscription.client.id,
        }
    }

    /// The replays of a client.
    #[must_use]
    pub fn replays(client: &Client) -> Vec<Self> {
        let all = client.replays.lock().clone();
        let running = all.iter().filter(|replay| !replay.has_ended()).map(|replay| {
            let (msgs, max) = replay.deliveries();
            let (subject, sid) = (replay.subject.clone(), replay.sid.clone());
            Self { subject, queue: None, sid, msgs, max, cid: client.id }
        });
        running.collect()
    }
}
