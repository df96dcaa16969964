//! What a configuration says about accounts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::users::GLOBAL_ACCOUNT;
use crate::conf::settings::accounts as conf;
use crate::jetstream::config::Limits as StreamLimits;
use crate::jetstream::config::transform::Transform;

/// The name of the account from which the server is watched, unless another is named.
pub const SYSTEM_ACCOUNT: &str = "$SYS";

/// All accounts that a configuration speaks of.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountsOptions {
    /// By name; the default account is there only if something is said about it.
    pub all: BTreeMap<Arc<str>, Arc<AccountOptions>>,
    /// The account from which the server is watched; `None`: from none.
    pub system: Option<Arc<str>>,
    /// The account that the capture stream records.
    pub captured: Arc<str>,
}

impl Default for AccountsOptions {
    fn default() -> Self {
        Self { all: BTreeMap::new(), system: Some(SYSTEM_ACCOUNT.into()), captured: GLOBAL_ACCOUNT.into() }
    }
}

/// One account.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AccountOptions {
    /// Bounds on its connections.
    pub limits: AccountLimits,
    /// What its streams may be; `None`: it has none.
    pub jetstream: Option<JetStreamLimits>,
    /// What others may take from it.
    pub exports: Vec<Export>,
    /// What it takes from others.
    pub imports: Vec<Import>,
    /// Where its messages go instead.
    pub mappings: Vec<Mapping>,
    /// What it is called besides its name, if it is.
    pub name_tag: Option<Arc<str>>,
}

/// Bounds of one account; `None` is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccountLimits {
    /// Connections.
    pub max_connections: Option<usize>,
    /// Subscriptions of one connection.
    pub max_subscriptions: Option<usize>,
    /// Bytes of one message.
    pub max_payload: Option<usize>,
}

/// Bounds on the streams of one account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JetStreamLimits {
    /// Of each stream.
    pub each: StreamLimits,
}

/// How many answers a service gives to one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Response {
    /// One.
    #[default]
    Singleton,
    /// Any number.
    Stream,
    /// One in several messages.
    Chunked,
}

/// What others may take from an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Subject, with wildcards.
    pub subject: Box<[u8]>,
    /// `None`: a stream. A service answers so, and has so long for it.
    pub service: Option<(Response, Duration)>,
    /// Only these accounts; `None` is all.
    pub accounts: Option<Vec<Arc<str>>>,
    /// Which token, from 1 on, names the account that imports; 0: none does.
    pub account_token: usize,
}

/// What an account takes from another one.
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    /// The other one.
    pub account: Arc<str>,
    /// Subject there.
    pub subject: Box<[u8]>,
    /// Subject here.
    pub local: Box<[u8]>,
    /// From a subject of whoever publishes to that of whoever gets it, where they differ: of a stream from there to here, of a
    /// service from here to there.
    pub rewrite: Option<Arc<Transform>>,
    /// `None`: a stream. A service: the answers that are due, and whether the other account is told who asks.
    pub service: Option<ServiceImport>,
}

/// What is known of an imported service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceImport {
    /// How many answers there are.
    pub response: Response,
    /// How long they may take.
    pub threshold: Duration,
    /// Whether who asks is told to who answers.
    pub share: bool,
}

/// Where messages on a subject go instead.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    /// The subject, with wildcards.
    pub source: Box<[u8]>,
    /// Each with the share of messages, in percent, that go there or to one before it; the rest is lost.
    pub destinations: Vec<(u8, Option<Arc<Transform>>)>,
}

impl From<&conf::Mapping> for Mapping {
    fn from(found: &conf::Mapping) -> Self {
        let mut upto = 0;
        let destination = |(percent, transform): &(u8, Option<_>)| {
            upto += percent;
            (upto, transform.clone().map(Arc::new))
        };
        Self {
            source: found.source.as_bytes().into(),
            destinations: found.destinations.iter().map(destination).collect(),
        }
    }
}
