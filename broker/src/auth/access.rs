//! What a connection may do, as everybody who delivers to it sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use super::login::{Credentials, Grant};
use super::permissions::Permissions;
use super::replies::Replies;
use crate::clock;

/// See the module.
#[derive(Debug)]
pub struct Access {
    grant: RwLock<Grant>,
    /// The user may not do everything: without it nobody need look at the permissions.
    restricted: AtomicBool,
    /// What was said, for a reload to look at again.
    credentials: Mutex<Credentials>,
    /// How often this changed.
    changes: AtomicU64,
    replies: Mutex<Replies>,
    /// Bounds of its own that the user has.
    max_subscriptions: AtomicUsize,
    max_payload: AtomicUsize,
    /// When it has to go, in milliseconds since 1970.
    expires_ms: AtomicI64,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            grant: RwLock::default(),
            restricted: AtomicBool::new(false),
            credentials: Mutex::default(),
            changes: AtomicU64::new(0),
            replies: Mutex::default(),
            max_subscriptions: AtomicUsize::new(usize::MAX),
            max_payload: AtomicUsize::new(usize::MAX),
            expires_ms: AtomicI64::new(i64::MAX),
        }
    }
}

impl Access {
    /// The client is somebody from now on.
    pub fn set(&self, grant: Grant, credentials: Option<Credentials>) {
        if let Some(credentials) = credentials {
            *self.credentials.lock() = credentials;
        }
        let token = grant.user.as_ref().and_then(|user| user.by_token.as_ref());
        let bound = |most: Option<usize>| most.unwrap_or(usize::MAX);
        self.max_subscriptions.store(bound(token.and_then(|token| token.max_subscriptions)), Ordering::Release);
        self.max_payload.store(bound(token.and_then(|token| token.max_payload)), Ordering::Release);
        let expires_ms = token.and_then(|token| token.expires_ms).unwrap_or(i64::MAX);
        self.expires_ms.store(expires_ms, Ordering::Release);
        let mut current = self.grant.write();
        let restricted = grant.user.as_ref().is_some_and(|user| user.permissions.is_some());
        *current = grant;
        self.restricted.store(restricted, Ordering::Release);
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Who it is.
    #[must_use]
    pub fn grant(&self) -> Grant {
        self.grant.read().clone()
    }

    /// What it said to prove it.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.credentials.lock().clone()
    }

    /// Subscriptions that the user may have, whatever others may.
    #[must_use]
    pub fn max_subscriptions(&self) -> usize {
        self.max_subscriptions.load(Ordering::Acquire)
    }

    /// Bytes that a message of the user may have, whatever those of others may.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        self.max_payload.load(Ordering::Acquire)
    }

    /// When the user has to go, in milliseconds since 1970; `i64::MAX` is never.
    #[must_use]
    pub fn expires_ms(&self) -> i64 {
        self.expires_ms.load(Ordering::Acquire)
    }

    /// How often this has changed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// What the user may do; `None` is everything.
    #[must_use]
    pub fn permissions(&self) -> Option<Arc<Permissions>> {
        if !self.restricted.load(Ordering::Acquire) {
            return None;
        }
        self.grant.read().user.as_ref().and_then(|user| user.permissions.clone())
    }

    /// Whether a message on `subject` may be delivered to a subscription.
    #[must_use]
    pub fn may_receive(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        self.permissions().is_none_or(|permissions| permissions.may_receive(subject, queue))
    }

    /// Whether messages on `subject` are kept from this user, whatever is allowed.
    #[must_use]
    pub fn denies(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        self.permissions().is_some_and(|permissions| permissions.denies(subject, queue))
    }

    /// A request is being delivered that asks for an answer on `reply`.
    pub fn asked(&self, reply: &[u8]) {
        if let Some(responses) = self.permissions().and_then(|permissions| permissions.responses) {
            self.replies.lock().asked(reply, clock::ticks_ms(), &responses);
        }
    }

    /// Whether an answer on `subject` was asked for, which counts as one.
    #[must_use]
    pub fn may_answer(&self, permissions: &Permissions, subject: &[u8]) -> bool {
        let Some(responses) = &permissions.responses else { return false };
        self.replies.lock().take(subject, clock::ticks_ms(), responses)
    }
}
