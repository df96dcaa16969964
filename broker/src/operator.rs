//! Decentralised authentication: operators sign accounts, accounts sign users, and the server trusts the operators.
//!
//! The claims of an account are found by a [`resolver`] when they are first needed, and become an
//! [`Account`](crate::account::Account) as a configuration would describe it ([`links`]). They are
//! kept as [`Loaded`], which never changes: other claims take its place, one change at a time, and [`effects`] holds the
//! clients that are there to them. Who connects is decided in [`login`], on threads that may wait, since signatures take
//! a while and claims may have to be read.

pub(crate) mod effects;
mod http;
mod links;
pub mod login;
pub mod requests;
pub mod resolver;
pub mod rights;
pub mod sources;
mod store;
pub mod template;
pub mod times;
mod told;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::auth::permissions::Permissions;
use crate::clock;
use crate::config::accounts::AccountOptions;
use crate::config::operator::OperatorOptions;
use crate::jetstream::consumer::restore;
use crate::jetstream::copy;
use crate::jwt::account::Account;
use crate::jwt::scopes::Scope;
use crate::jwt::{Common, Encoded, Token, decode, is_account};
use crate::limits::LOGINS_AT_ONCE;
use crate::server::Server;
use resolver::{FetchError, Resolver};

/// The claims of an account, as they are in effect.
#[derive(Debug)]
pub struct Loaded {
    /// Its public key.
    pub name: Arc<str>,
    /// Its token. A system account that nobody has described yet has none.
    pub jwt: Option<Encoded>,
    /// What is in it.
    pub token: Token<Account>,
    /// When it was read.
    pub updated: SystemTime,
    /// What users may do whose claims say nothing of it.
    pub default_permissions: Option<Arc<Permissions>>,
    /// Only signing keys sign users.
    strict: bool,
}

impl Loaded {
    /// Whether the key signs users of the account, and what they are bounded by.
    #[must_use]
    pub fn signer(&self, key: &str) -> Option<Option<&Scope>> {
        match self.token.body.signing_keys.0.get(key) {
            Some(scope) => Some(scope.as_ref()),
            None => (!self.strict && key == &*self.name).then_some(None),
        }
    }

    /// Whether it takes something from this account.
    fn imports_from(&self, account: &str) -> bool {
        self.token.body.imports.iter().any(|import| import.account == account)
    }

    /// Whether its time is over at `now`, in seconds since 1970.
    #[must_use]
    pub fn has_expired(&self, now: i64) -> bool {
        self.token.claims.exp > 0 && self.token.claims.exp <= now
    }
}

/// What is known of accounts now.
#[derive(Default)]
struct Known {
    accounts: links::All,
    /// What could not be made of the claims of an account.
    incomplete: BTreeMap<Arc<str>, Vec<String>>,
}

/// See the module.
pub struct Operator {
    /// Whom the server trusts.
    pub options: Arc<OperatorOptions>,
    resolver: Resolver,
    known: RwLock<Known>,
    /// Held while claims change.
    changing: Mutex<()>,
    /// When something expires next, in seconds since 1970.
    due: AtomicI64,
    /// Logins that are looked at: others wait.
    pub(crate) gate: Arc<Semaphore>,
}

/// Now, in seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    clock::unix_ns() / 1_000_000_000
}

impl Operator {
    /// With no account known yet.
    ///
    /// # Errors
    /// Accounts cannot be found where the options say.
    pub fn new(options: Arc<OperatorOptions>) -> Result<Self, String> {
        let resolver = Resolver::new(&options)?;
        Ok(Self {
            options,
            resolver,
            known: RwLock::default(),
            changing: Mutex::default(),
            due: AtomicI64::new(i64::MAX),
            gate: Arc::new(Semaphore::new(LOGINS_AT_ONCE)),
        })
    }

    /// The account of this key, if its claims are in effect.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Arc<Loaded>> {
        self.known.read().accounts.get(name).cloned()
    }

    /// Whether all of an account's claims could be made true.
    #[must_use]
    pub fn is_complete(&self, name: &str) -> bool {
        self.known.read().incomplete.get(name).is_none_or(Vec::is_empty)
    }

    /// Reads a token of an account that may be taken.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(&self, jwt: &str) -> Result<Token<Account>, String> {
        let token = decode::<Account>(jwt).map_err(|error| error.to_string())?;
        if !self.options.trusted.contains(&token.claims.iss) {
            return Err("Account Validation Failed: it is not signed by a trusted operator".to_owned());
        }
        let issues = token.issues(now());
        if issues.block(true) {
            let text = issues.text();
            return Err(format!(
                "Account Validation Failed: {}",
                if text.is_empty() { "claim is expired" } else { &text }
            ));
        }
        Ok(token)
    }

    /// The account of this key, whose claims are read if they are not in effect. May wait.
    ///
    /// # Errors
    /// Why there is none.
    pub fn account(&self, server: &Arc<Server>, name: &str) -> Result<Arc<Loaded>, String> {
        let found = self.find(name);
        if let Some(loaded) = found.filter(|loaded| !loaded.has_expired(now())) {
            return Ok(loaded);
        }
        let (jwt, token) = self.fetch(name)?;
        self.change(server, vec![(jwt, token)]);
        let found = self.find(name).filter(|loaded| !loaded.has_expired(now()));
        found.ok_or_else(|| "Account Expired".to_owned())
    }

    fn fetch(&self, name: &str) -> Result<(Encoded, Token<Account>), String> {
        if !is_account(name) {
            return Err("it is no public key of an account".to_owned());
        }
        let jwt = self.resolver.fetch(name).map_err(|error| error.to_string())?;
        let token = self.verify(jwt.text())?;
        if token.claims.sub != name {
            return Err("Account Validation Failed: it is of another account".to_owned());
        }
        Ok((jwt, token))
    }

    fn loaded(&self, jwt: Option<Encoded>, token: Token<Account>) -> Loaded {
        Loaded {
            name: token.claims.sub.as_str().into(),
            default_permissions: rights::permissions(&token.body.default_permissions).map(Arc::new),
            strict: self.options.strict.contains(&token.claims.iss),
            jwt,
            token,
            updated: clock::wall(),
        }
    }

    /// The claims of these accounts are in effect from now on, with those of the accounts that they import from.
    fn change(&self, server: &Arc<Server>, claims: Vec<(Encoded, Token<Account>)>) {
        let _one_at_a_time = self.changing.lock();
        self.put(server, claims.into_iter().map(|(jwt, token)| self.loaded(Some(jwt), token)).collect());
    }

    /// [`change`](Self::change), with the lock held.
    fn put(&self, server: &Arc<Server>, mut pending: Vec<Loaded>) {
        let (mut changed, mut before) = (Vec::new(), BTreeMap::new());
        while let Some(loaded) = pending.pop() {
            let (name, loaded) = (loaded.name.clone(), Arc::new(loaded));
            tracing::debug!("Updating account claims: {name}/{:?}", loaded.token.claims.name);
            for text in links::unkept(&loaded.token.body) {
                tracing::warn!("Account {name}: {text}");
            }
            before.insert(name.clone(), self.known.write().accounts.insert(name.clone(), loaded.clone()));
            changed.push(name);
            for import in &loaded.token.body.imports {
                let there = self.find(&import.account).is_some();
                if there || pending.iter().any(|other| *other.name == *import.account) {
                    continue;
                }
                match self.fetch(&import.account) {
                    Ok((jwt, token)) => pending.push(self.loaded(Some(jwt), token)),
                    Err(error) => tracing::error!(
                        "Can't locate account {:?} for import of {:?}: {error}",
                        import.account,
                        import.subject
                    ),
                }
            }
        }
        self.link(server, &changed);
        self.look_ahead();
        for (name, before) in before {
            if let Some(loaded) = self.find(&name) {
                effects::hold(server, before.as_deref(), &loaded);
            }
        }
    }

    /// Makes these accounts what their claims say, and those again that import from them.
    fn link(&self, server: &Arc<Server>, changed: &[Arc<str>]) {
        let now = now();
        let mut made: Vec<(Arc<str>, AccountOptions)> = Vec::new();
        {
            let mut known = self.known.write();
            let Known { accounts, incomplete } = &mut *known;
            for (name, loaded) in accounts.iter() {
                if !changed.contains(name) && !changed.iter().any(|name| loaded.imports_from(name)) {
                    continue;
                }
                let (mut options, wrong) = links::options(loaded, accounts, now);
                if self.options.system.as_ref() == Some(name) && options.jetstream.take().is_some() {
                    tracing::error!("Error configuring jetstream for account [{name}]: it is the system account");
                }
                for text in &wrong {
                    tracing::error!("Account {name}: {text}");
                }
                incomplete.insert(name.clone(), wrong);
                made.push((name.clone(), options));
            }
        }
        let opened = server.accounts.put(made);
        opened.iter().for_each(restore::all);
        opened.iter().for_each(copy::start_all);
        server.reloads.fetch_add(1, Ordering::AcqRel);
        // Each looks at what its account takes from others now.
        server.clients().iter().for_each(|client| client.nudge.notify_one());
    }

    /// Finds out when something expires next.
    fn look_ahead(&self) {
        let now = now();
        let known = self.known.read();
        let times = known.accounts.values().flat_map(|loaded| {
            let own = Some(loaded.token.claims.exp).filter(|exp| *exp > now);
            [own, links::next_activation(loaded, now)]
        });
        self.due.store(times.flatten().min().unwrap_or(i64::MAX), Ordering::Release);
    }

    /// Whether something has expired that is still in effect.
    #[must_use]
    pub fn is_due(&self, now: i64) -> bool {
        self.due.load(Ordering::Acquire) <= now
    }

    /// Somebody looks after what is due.
    pub fn taken_up(&self) {
        self.due.store(i64::MAX, Ordering::Release);
    }

    /// Ends what has expired: accounts, and rights to import. May wait.
    pub fn expire(&self, server: &Arc<Server>) {
        let _one_at_a_time = self.changing.lock();
        let now = now();
        let all: Vec<Arc<Loaded>> = self.known.read().accounts.values().cloned().collect();
        // First: whoever is just being let in is looked at again.
        server.reloads.fetch_add(1, Ordering::AcqRel);
        for loaded in all.iter().filter(|loaded| loaded.has_expired(now)) {
            effects::account_expired(server, &loaded.name);
        }
        let with_tokens =
            |loaded: &&Arc<Loaded>| loaded.token.body.imports.iter().any(|import| !import.token.is_empty());
        let again: Vec<Arc<str>> = all.iter().filter(with_tokens).map(|loaded| loaded.name.clone()).collect();
        if !again.is_empty() {
            self.link(server, &again);
        }
        self.look_ahead();
    }

    /// What a claim said once counts no longer: nobody is in the account, and nobody comes.
    fn forget(&self, server: &Arc<Server>, name: &str) {
        let _one_at_a_time = self.changing.lock();
        let Some((name, _)) = self.known.write().accounts.remove_entry(name) else { return };
        self.known.write().incomplete.remove(&name);
        // As above.
        server.reloads.fetch_add(1, Ordering::AcqRel);
        effects::account_expired(server, &name);
        let mut closed = AccountOptions::default();
        closed.limits.max_connections = Some(0);
        server.accounts.put(vec![(name.clone(), closed)]);
        self.link(server, &[name]);
        self.look_ahead();
    }

    /// Reads what has to be there from the beginning: the system account, and accounts that have streams. May wait.
    pub fn start(&self, server: &Arc<Server>) {
        told::at_start(&self.options);
        if let Some(system) = &self.options.system
            && let Err(error) = self.account(server, system)
        {
            tracing::info!("Using bootstrapping system account ({error})");
            let token = self.bootstrapping(system);
            let _one_at_a_time = self.changing.lock();
            self.put(server, vec![self.loaded(None, token)]);
        }
        for name in server.accounts.with_streams(&self.resolver.names()) {
            if let Err(error) = self.account(server, &name) {
                tracing::warn!("Streams of account {name} are not served: {error}");
            }
        }
    }

    /// A system account that nobody has described yet: whoever has its key may describe it.
    fn bootstrapping(&self, system: &str) -> Token<Account> {
        let issuer = self.options.operators.first().map(|operator| operator.token.claims.iss.clone());
        let mut body = Account::default();
        for limit in [&mut body.limits.conn, &mut body.limits.subs, &mut body.limits.payload] {
            *limit = crate::jwt::user::NO_LIMIT;
        }
        let claims = Common { sub: system.to_owned(), iss: issuer.unwrap_or_default(), ..Common::default() };
        Token { claims, body, payload: json!({}) }
    }

    /// Takes over what the configuration and the folder say now. May wait.
    pub fn reload(&self, server: &Arc<Server>, options: &OperatorOptions) {
        let mut changed = self.resolver.reload(options);
        let known: Vec<Arc<Loaded>> = self.known.read().accounts.values().cloned().collect();
        changed.retain(|name| known.iter().any(|loaded| *loaded.name == **name));
        for name in changed {
            match self.fetch(&name) {
                Ok(claims) => self.change(server, vec![claims]),
                Err(error) => tracing::error!("Account {name} stays as it was: {error}"),
            }
        }
    }

    /// Other claims for an account, already verified: they are in effect if the account is, or if others wait for it.
    fn update(&self, server: &Arc<Server>, jwt: Encoded, token: Token<Account>) {
        let waited_for = || {
            let known = self.known.read();
            known.accounts.values().any(|loaded| loaded.imports_from(&token.claims.sub))
        };
        let changes = match self.find(&token.claims.sub) {
            Some(loaded) => loaded.jwt.as_ref() != Some(&jwt),
            None => waited_for(),
        };
        if changes {
            self.change(server, vec![(jwt, token)]);
        }
    }
}

impl From<FetchError> for String {
    fn from(error: FetchError) -> Self {
        error.to_string()
    }
}

#[cfg(test)]
mod tests;
