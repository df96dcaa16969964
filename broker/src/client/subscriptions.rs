//! The subscriptions of one connection, by the client's name for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustc_hash::FxHashMap;
use sublog_protocol::error::ServerError;
use sublog_protocol::subject;

use super::Client;
use super::shown::Listed;
use crate::account::Account;
use crate::account::links::Link;
use crate::auth::permissions::Permissions;
use crate::limits::{CLOSED_SUBSCRIPTIONS_BYTES, REPLAYS_PER_CONNECTION_MAX};
use crate::replay::feed::Feed;
use crate::replay::{self, Replay};
use crate::router::{Shadow, Subscription};
use crate::server::Server;

enum Held {
    /// With what stands for it in other accounts.
    Live(Arc<Subscription>, Shadows),
    /// With what was asked for.
    Replay(Arc<Replay>, Box<[u8]>),
}

/// What SUB asks for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) filter: &'a [u8],
    pub(super) queue: Option<&'a [u8]>,
    pub(super) sid: &'a [u8],
}

/// Whether the user may have such a subscription. For a replay the subject asked for and the one inside it count.
fn is_allowed(permissions: &Permissions, filter: &[u8], queue: Option<&[u8]>) -> bool {
    let inner = replay::inner_filter(filter);
    permissions.may_subscribe(filter, queue) && inner.is_none_or(|inner| permissions.may_subscribe(&inner, queue))
}

/// See the module.
#[derive(Default)]
pub(super) struct Subscriptions {
    by_sid: FxHashMap<Box<[u8]>, Held>,
    /// Length at which ended subscriptions are next swept out.
    sweep_at: usize,
    had_any: bool,
    /// Replays of this batch: a limit that came along with the SUB must hold from the first delivery on.
    starting: Vec<Feed>,
}

const SWEEP_MIN: usize = 64;
/// Subscriptions of a connection that is gone, ended before others have a turn.
const ENDED_PER_TURN: usize = 256;
/// The queue group that NATS servers keep for themselves.
const RESERVED_QUEUE: &[u8] = b"_sys_";

/// What stands for a subscription in the accounts that its own imports from. Dropped, it is gone.
#[derive(Default)]
struct Shadows(Vec<Arc<Subscription>>);

impl Shadows {
    fn of(account: &Account, subscription: &Arc<Subscription>) -> Self {
        let mut shadows = Self::default();
        shadows.link_again(account, subscription);
        shadows
    }

    /// As the account's links are now; what has not changed stays, so that nothing is missed or comes twice.
    fn link_again(&mut self, account: &Account, subscription: &Arc<Subscription>) {
        let links = account.links();
        if self.0.is_empty() && links.streams.is_empty() {
            return;
        }
        let mut before = std::mem::take(&mut self.0);
        let is_of = |shadow: &Arc<Subscription>, link: &Link| {
            let of = shadow.shadow.as_ref();
            of.is_some_and(|of| Arc::ptr_eq(&of.link.from, &link.from) && of.link.import == link.import)
        };
        let shadow = |link: &Arc<Link>| {
            if let Some(at) = before.iter().position(|shadow| is_of(shadow, link)) {
                return before.swap_remove(at);
            }
            let shadow = Arc::new(Subscription {
                id: link.from.router.next_id(),
                client: subscription.client.clone(),
                subject: link.filter_there(&subscription.subject),
                queue: subscription.queue.clone(),
                sid: subscription.sid.clone(),
                delivered: AtomicU64::new(0),
                max: AtomicU64::new(0),
                account: link.from.clone(),
                shadow: Some(Shadow { of: subscription.clone(), link: link.clone() }),
                ended: AtomicBool::new(false),
            });
            link.from.router.insert(&shadow);
            shadow
        };
        self.0 = links.streams_for(&subscription.subject).map(shadow).collect();
        // What is left of before goes.
        drop(Self(before));
    }

    fn bump(&self) {
        self.0.iter().for_each(|shadow| shadow.account.router.bump(&shadow.subject));
    }
}

impl Drop for Shadows {
    fn drop(&mut self) {
        for shadow in &self.0 {
            shadow.account.router.remove(shadow);
        }
    }
}

impl Held {
    fn has_ended(&self) -> bool {
        match self {
            Self::Live(subscription, _) => subscription.ended.load(Ordering::Acquire),
            Self::Replay(replay, _) => replay.has_ended(),
        }
    }

    fn end(&self, account: &Account, client: &Client) {
        let was_live = match self {
            Self::Live(subscription, _) => account.router.remove(subscription),
            Self::Replay(replay, _) => replay.end(),
        };
        if was_live {
            client.stats.subscriptions.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Subscriptions {
    /// SUB. Nothing happens when the sid is taken.
    ///
    /// # Errors
    /// What to tell the client; the connection goes on.
    pub(super) fn subscribe(
        &mut self,
        (server, account): (&Arc<Server>, &Arc<Account>),
        client: &Arc<Client>,
        permissions: Option<&Permissions>,
        Asked { filter, queue, sid }: Asked<'_>,
    ) -> Result<(), ServerError> {
        if !subject::is_valid_filter(filter) {
            return Err(ServerError::InvalidSubject);
        }
        let allowed = permissions.is_none_or(|permissions| is_allowed(permissions, filter, queue));
        if !allowed || queue == Some(RESERVED_QUEUE) {
            return Err(ServerError::PermissionSubscribe {
                subject: filter.to_vec(),
                queue: queue.map(<[u8]>::to_vec),
            });
        }
        if self.by_sid.get(sid).is_some_and(|held| !held.has_ended()) {
            return Ok(());
        }
        let of_account = account.options().limits.max_subscriptions;
        let of_server = Some(server.options.limits.max_subscriptions).filter(|max| *max > 0);
        let of_user = client.access.max_subscriptions();
        let max = of_account.into_iter().chain(of_server).chain((of_user < usize::MAX).then_some(of_user)).min();
        let at_limit = |held: usize| max.is_some_and(|max| held >= max);
        self.sweep(at_limit(self.by_sid.len()));
        if at_limit(self.by_sid.len()) {
            return Err(ServerError::MaxSubscriptions);
        }
        let held = if server.has_own_subjects() && replay::is_replay(filter) {
            let running =
                self.by_sid.values().filter(|held| matches!(held, Held::Replay(r, _) if !r.has_ended())).count();
            if running >= REPLAYS_PER_CONNECTION_MAX {
                let text = format!("Too Many Replays: a connection may run {REPLAYS_PER_CONNECTION_MAX} at once");
                return Err(ServerError::Other(text));
            }
            let (replay, feed) = replay::prepare((server, account), client, filter, queue, sid)?;
            self.starting.push(feed);
            let mut replays = client.replays.lock();
            replays.retain(|other| !other.has_ended());
            replays.push(replay.clone());
            Held::Replay(replay, filter.into())
        } else {
            let subscription = Arc::new(Subscription {
                id: account.router.next_id(),
                client: client.clone(),
                subject: filter.into(),
                queue: queue.map(Into::into),
                sid: sid.into(),
                delivered: AtomicU64::new(0),
                max: AtomicU64::new(0),
                account: account.clone(),
                shadow: None,
                ended: AtomicBool::new(false),
            });
            account.router.insert(&subscription);
            let shadows = Shadows::of(account, &subscription);
            Held::Live(subscription, shadows)
        };
        self.had_any = true;
        self.by_sid.insert(sid.into(), held);
        client.stats.subscriptions.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Starts the replays that were asked for since the last call.
    pub(super) fn start_replays(&mut self, server: &Server) {
        for feed in self.starting.drain(..) {
            replay::start(server, feed);
        }
    }

    /// UNSUB, at once (`max` 0) or after `max` deliveries since SUB.
    pub(super) fn unsubscribe(&mut self, account: &Account, client: &Client, sid: &[u8], max: u64) {
        let Some(held) = self.by_sid.get(sid) else { return };
        let used_up = match held {
            _ if max == 0 => true,
            Held::Live(subscription, shadows) => {
                subscription.max.store(max, Ordering::Relaxed);
                // Publishers learn of the limit before any further delivery.
                account.router.bump(&subscription.subject);
                shadows.bump();
                subscription.delivered.load(Ordering::Relaxed) >= max
            }
            Held::Replay(replay, _) => replay.limit(max),
        };
        if used_up && let Some(held) = self.by_sid.remove(sid) {
            held.end(account, client);
        }
    }

    /// Ends what is no longer allowed, and returns what to tell the client.
    pub(super) fn end_forbidden(
        &mut self,
        account: &Account,
        client: &Client,
        permissions: &Permissions,
    ) -> Vec<ServerError> {
        let mut told = Vec::new();
        self.by_sid.retain(|sid, held| {
            let (filter, queue) = match held {
                _ if held.has_ended() => return false,
                Held::Live(subscription, _) => (&*subscription.subject, subscription.queue.as_deref()),
                Held::Replay(_, filter) => (&**filter, None),
            };
            let allowed = is_allowed(permissions, filter, queue);
            if !allowed {
                let (subject, queue) = (filter.to_vec(), queue.map(<[u8]>::to_vec));
                told.push(ServerError::PermissionSubscribeRevoked { subject, queue, sid: sid.to_vec() });
                held.end(account, client);
            }
            allowed
        });
        self.starting.retain(|feed| !feed.has_ended());
        told
    }

    /// Makes publishers look again at this client's settings.
    pub(super) fn bump_all(&self, account: &Account) {
        for held in self.by_sid.values() {
            if let Held::Live(subscription, shadows) = held {
                account.router.bump(&subscription.subject);
                shadows.bump();
            }
        }
    }

    /// The account may take other things from others now.
    pub(super) fn link_again(&mut self, account: &Account) {
        for held in self.by_sid.values_mut() {
            if let Held::Live(subscription, shadows) = held
                && !subscription.ended.load(Ordering::Acquire)
            {
                shadows.link_again(account, subscription);
            }
        }
    }

    /// Removes what ended by count: now and then, or `now` because its place is wanted.
    fn sweep(&mut self, now: bool) {
        if !now && self.by_sid.len() < self.sweep_at.max(SWEEP_MIN) {
            return;
        }
        self.by_sid.retain(|_, held| !held.has_ended());
        self.sweep_at = self.by_sid.len() * 2;
    }

    /// All that have not ended, as they are shown; none if that is more than is kept of connections that ended.
    pub(super) fn listed(&self, client: &Client) -> Vec<Listed> {
        let live = self.by_sid.values().filter_map(|held| match held {
            Held::Live(subscription, _) if !held.has_ended() => Some(Listed::of(subscription)),
            _ => None,
        });
        let (mut listed, mut bytes) = (Vec::new(), 0);
        for one in live.chain(Listed::replays(client)) {
            bytes += one.bytes();
            if bytes > CLOSED_SUBSCRIPTIONS_BYTES {
                return Vec::new();
            }
            listed.push(one);
        }
        listed
    }

    /// Ends all of them; the connection is gone. There may be a million: others have their turns in between.
    pub(super) async fn end_all(&mut self, account: &Account, client: &Client) {
        for (at, (_, held)) in std::mem::take(&mut self.by_sid).into_iter().enumerate() {
            held.end(account, client);
            if (at + 1) % ENDED_PER_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        self.tell_departed(account);
    }

    /// Ends all of them at once: those of a connection that has said who it is only now, and goes elsewhere.
    pub(super) fn end_before_login(&mut self, account: &Account, client: &Client) {
        std::mem::take(&mut self.by_sid).into_values().for_each(|held| held.end(account, client));
        self.tell_departed(account);
    }

    fn tell_departed(&self, account: &Account) {
        if self.had_any {
            account.router.departed();
            account.links().streams.iter().for_each(|link| link.from.router.departed());
        }
    }
}
