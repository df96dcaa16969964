//! An account: a space of subjects of its own, with the connections, subscriptions and streams in it.
//!
//! What is published in one account is never delivered, stored or answered in another, unless both agree: one exports a
//! subject, the other imports it. A connection gets its account when it says who it is, and everything it does from then
//! on goes through that account's [`Router`]; so nothing is looked up a message. A server without accounts in its
//! configuration has the default one, and the system account, which nobody can enter.

pub mod links;
pub mod services;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::RwLock;

use links::Links;
use services::Responses;

use crate::auth::users::GLOBAL_ACCOUNT;
use crate::capture::Capture;
use crate::client::Client;
use crate::client::sender::Senders;
use crate::config::accounts::{AccountOptions, AccountsOptions};
use crate::config::{CaptureOptions, ServerOptions};
use crate::jetstream::JetStream;
use crate::jetstream::api::Api;
use crate::jetstream::config::Limits;
use crate::jetstream::consumer::positions::Positions;
use crate::jetstream::domain::Domain;
use crate::jetstream::streams::Streams;
use crate::jetstream::streams::place::{self, Stores};
use crate::router::Router;
use crate::server::Server;

/// What all accounts need of their server.
pub struct Shared {
    /// The server's name.
    pub server_name: String,
    /// Whether there are streams and consumers at all.
    pub jetstream: bool,
    /// The name under which requests to JetStream come as well.
    pub domain: Domain,
    /// Largest message, in bytes.
    pub max_payload: usize,
    /// Where replays and consumers run.
    pub runtime: tokio::runtime::Handle,
    /// The server is about to end: nothing long is begun any more.
    pub stopping: AtomicBool,
    /// The server itself, once it is there: what it answers may be imported.
    pub server: OnceLock<Weak<Server>>,
}

impl Shared {
    /// Of a server with these options and this id, whose replays and consumers run there.
    #[must_use]
    pub fn new(options: &ServerOptions, id: &str, runtime: tokio::runtime::Handle) -> Self {
        Self {
            server_name: options.name.clone().unwrap_or_else(|| id.to_owned()),
            jetstream: options.jetstream,
            domain: Domain::new(&options.domain),
            max_payload: options.limits.max_payload,
            runtime,
            stopping: AtomicBool::new(false),
            server: OnceLock::new(),
        }
    }
}

/// See the module.
pub struct Account {
    /// Its name.
    pub name: Arc<str>,
    /// Who gets what.
    pub router: Router,
    /// Its streams.
    pub jetstream: JetStream,
    /// The capture stream, if it records this account.
    pub capture: Capture,
    /// Messages of the server's own.
    pub senders: Senders,
    /// Its server.
    pub shared: Arc<Shared>,
    options: RwLock<Arc<AccountOptions>>,
    links: RwLock<Arc<Links>>,
    /// There are mappings, or services: who publishes has to look.
    has_mappings: AtomicBool,
    has_services: AtomicBool,
    /// Answers that are due from it to others.
    pub responses: Responses,
    /// What its connections did that are gone.
    pub closed: Closed,
    /// Connections in it.
    connections: AtomicUsize,
    is_system: AtomicBool,
    /// Its streams were opened: they stay at work, even if it may not reach them for a while.
    opened: AtomicBool,
}

/// Counters of connections that are gone, seen from the clients: `in` is what they sent.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "named as in the monitoring endpoints")]
pub struct Closed {
    pub in_msgs: AtomicU64,
    pub in_bytes: AtomicU64,
    pub out_msgs: AtomicU64,
    pub out_bytes: AtomicU64,
    pub slow_consumers: AtomicU64,
    /// Of their caches, see [`crate::router::cache::Facts`].
    pub misses: AtomicU64,
}

impl Closed {
    /// A client of the account is gone.
    pub fn add(&self, client: &Client) {
        let stats = &client.stats;
        let pairs = [
            (&self.in_msgs, &stats.in_msgs),
            (&self.in_bytes, &stats.in_bytes),
            (&self.out_msgs, &stats.out_msgs),
            (&self.out_bytes, &stats.out_bytes),
        ];
        for (all, own) in pairs {
            all.fetch_add(own.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.misses.fetch_add(client.cache.lock().misses, Ordering::Relaxed);
    }
}

/// A connection's place in an account, until it is dropped.
pub struct Membership(Arc<Account>);

impl Membership {
    /// The account.
    #[must_use]
    pub fn account(&self) -> &Arc<Account> {
        &self.0
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Account {
    /// An account in which nothing happens yet.
    #[must_use]
    pub fn new(name: &str, jetstream: JetStream, capture: Capture, shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            router: Router::default(),
            jetstream,
            capture,
            senders: Senders::default(),
            shared,
            options: RwLock::default(),
            links: RwLock::default(),
            has_mappings: AtomicBool::new(false),
            has_services: AtomicBool::new(false),
            responses: Responses::default(),
            closed: Closed::default(),
            connections: AtomicUsize::new(0),
            is_system: AtomicBool::new(false),
            opened: AtomicBool::new(false),
        })
    }

    /// What the configuration says of it.
    #[must_use]
    pub fn options(&self) -> Arc<AccountOptions> {
        self.options.read().clone()
    }

    /// What it takes from others, and where its messages go instead.
    #[must_use]
    pub fn links(&self) -> Arc<Links> {
        self.links.read().clone()
    }

    /// Whether messages may go elsewhere than to where they are sent.
    #[must_use]
    pub fn has_mappings(&self) -> bool {
        self.has_mappings.load(Ordering::Acquire)
    }

    /// Whether it imports services.
    #[must_use]
    pub fn has_services(&self) -> bool {
        self.has_services.load(Ordering::Acquire)
    }

    /// Whether it is the one from which the server is watched.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.is_system.load(Ordering::Acquire)
    }

    /// Connections in it.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// Lets a connection in; `None`: there are enough.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Option<Membership> {
        let most = self.options().limits.max_connections.unwrap_or(usize::MAX);
        let count = |there| (there < most).then_some(there + 1);
        let entered = self.connections.fetch_update(Ordering::AcqRel, Ordering::Acquire, count);
        entered.is_ok().then(|| Membership(self.clone()))
    }
}

/// What it takes to make accounts.
pub struct Maker {
    stores: Arc<Stores>,
    api: Arc<Api>,
    positions: Arc<Positions>,
    shared: Arc<Shared>,
    capture: Capture,
    options: CaptureOptions,
}

impl Maker {
    /// Of what the accounts of a server share.
    #[must_use]
    pub fn new(stores: Stores, api: Api, shared: Arc<Shared>, capture: Capture, options: &CaptureOptions) -> Self {
        let positions = Arc::new(Positions::new(stores.meta.clone()));
        Self { stores: Arc::new(stores), api: Arc::new(api), positions, shared, capture, options: options.clone() }
    }

    /// An account with no streams open, of which the capture stream records everything if it `captures`.
    fn make(&self, name: &str, captures: bool) -> Arc<Account> {
        let capture = if captures { self.capture.clone() } else { Capture::off() };
        let streams = Streams::new(self.stores.clone(), name);
        let (api, positions) = (self.api.clone(), self.positions.clone());
        let jetstream = JetStream::new(streams, api, positions, capture.stream_log(), &self.options);
        Account::new(name, jetstream, capture, self.shared.clone())
    }
}

/// All accounts of a server.
pub struct Accounts {
    /// The default account.
    pub global: Arc<Account>,
    by_name: RwLock<BTreeMap<Arc<str>, Arc<Account>>>,
    system: RwLock<Option<Arc<Account>>>,
    maker: Maker,
    /// The one that the capture stream records.
    captured: Arc<str>,
}

impl Accounts {
    /// The default account, with its streams open.
    #[must_use]
    pub fn new(maker: Maker, options: &AccountsOptions) -> Self {
        let global = maker.make(GLOBAL_ACCOUNT, *options.captured == *GLOBAL_ACCOUNT);
        if maker.shared.jetstream {
            global.jetstream.enable(true);
            global.opened.store(true, Ordering::Release);
            global.jetstream.streams.open(&global.router);
        }
        let by_name = [(global.name.clone(), global.clone())].into();
        let captured = options.captured.clone();
        let accounts = Self { global, by_name: RwLock::new(by_name), system: RwLock::new(None), maker, captured };
        let _ = accounts.apply(options);
        accounts
    }

    /// Takes over what a configuration says: accounts come and go, and the links between them change. Those whose streams
    /// were opened: their consumers are still to be made.
    pub fn apply(&self, options: &AccountsOptions) -> Vec<Arc<Account>> {
        let wanted = options.all.keys().chain(&options.system);
        for name in wanted {
            self.make(name);
        }
        self.by_name.write().retain(|name, _| {
            &**name == GLOBAL_ACCOUNT || options.all.contains_key(name) || options.system.as_ref() == Some(name)
        });
        let mut opened = Vec::new();
        let system = options.system.as_ref().and_then(|name| self.get(name));
        for account in self.all() {
            let own = options.all.get(&account.name).cloned().unwrap_or_default();
            account.is_system.store(options.system.as_ref() == Some(&account.name), Ordering::Release);
            if self.set(&account, own) {
                opened.push(account);
            }
        }
        *self.system.write() = system;
        opened
    }

    /// Takes over what is said of some accounts, and of no others; those that are not there are made. Those whose streams were
    /// opened: their consumers are still to be made.
    pub fn put(&self, all: Vec<(Arc<str>, AccountOptions)>) -> Vec<Arc<Account>> {
        // First: they may import from each other.
        all.iter().for_each(|(name, _)| self.make(name));
        let known = all.into_iter().filter_map(|(name, own)| Some((self.get(&name)?, own)));
        known.filter_map(|(account, own)| self.set(&account, Arc::new(own)).then_some(account)).collect()
    }

    fn make(&self, name: &Arc<str>) {
        if self.get(name).is_none() {
            let account = self.maker.make(name, self.captured == *name);
            self.by_name.write().insert(name.clone(), account);
        }
    }

    /// An account is so from now on. Whether its streams were opened.
    fn set(&self, account: &Arc<Account>, own: Arc<AccountOptions>) -> bool {
        let links = Links::of(&own, self);
        account.has_mappings.store(!links.mappings.is_empty(), Ordering::Release);
        account.has_services.store(!links.services.is_empty(), Ordering::Release);
        *account.links.write() = Arc::new(links);
        let streams = own.jetstream.clone();
        let enabled = account.shared.jetstream && (streams.is_some() || &*account.name == GLOBAL_ACCOUNT);
        let each = streams.map(|limits| limits.each).unwrap_or_default();
        account.jetstream.streams.limit(Limits { domain: account.shared.domain.clone(), ..each });
        *account.options.write() = own;
        let opens = enabled && !account.opened.swap(true, Ordering::AcqRel);
        if opens {
            account.jetstream.streams.open(&account.router);
        }
        account.jetstream.enable(enabled);
        // What publishers remember is from before.
        account.router.bump(b">");
        opens
    }

    /// An account by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Account>> {
        if name == GLOBAL_ACCOUNT { Some(self.global.clone()) } else { self.by_name.read().get(name).cloned() }
    }

    /// Those of these accounts that have streams on the disk.
    #[must_use]
    pub fn with_streams(&self, names: &[String]) -> Vec<String> {
        let folders = place::unserved(&self.maker.stores.data, std::iter::empty());
        names.iter().filter(|name| folders.contains(&place::folder(name))).cloned().collect()
    }

    /// The server is there: reads those of an operator that have to be there from the beginning, and tells of streams that
    /// nobody can reach. May wait.
    pub fn start(&self, server: &Arc<Server>) {
        // There is one server.
        let _ = self.maker.shared.server.set(Arc::downgrade(server));
        if let Some(operator) = &server.operator {
            operator.start(server);
        }
        self.tell_unserved();
    }

    fn tell_unserved(&self) {
        let accounts = self.all();
        let enabled = accounts.iter().filter(|account| account.jetstream.is_enabled()).map(|account| &*account.name);
        for folder in place::unserved(&self.maker.stores.data, enabled) {
            tracing::warn!(
                "Streams in accounts/{folder} are not served: they are of no account that has JetStream now"
            );
        }
    }

    /// The account from which the server is watched, if there is one.
    #[must_use]
    pub fn system(&self) -> Option<Arc<Account>> {
        self.system.read().clone()
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Account>> {
        self.by_name.read().values().cloned().collect()
    }
}
