//! What tools ask of the system account about the tokens of accounts: `nsc push` and `nsc pull` among them.
//!
//! A token that is pushed is verified before it is kept: one that no trusted operator signed takes the place of none.

use std::io;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::store::Store;
use super::{Loaded, Operator};
use crate::account::Account;
use crate::jwt::account::Account as Claimed;
use crate::jwt::{Encoded, Generic, Token, decode, is_account};
use crate::server::Server;
use crate::server::sys::About;

/// First bytes of the old form of a request to update.
pub const OLD_UPDATES: &[u8] = b"$SYS.ACCOUNT.";
/// Last bytes of both forms.
pub const UPDATES: &[u8] = b".CLAIMS.UPDATE";

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// This account's token, or the one it is of, is to be the one in the body.
    Update(Option<String>),
    /// Which accounts are there?
    List,
    /// All tokens, unless the body is their digest.
    Pack,
    /// These accounts are to be deleted.
    Delete,
    /// The token of this account.
    Lookup(String),
}

impl Request {
    /// What a subject asks for, if it is a request of this kind.
    #[must_use]
    pub fn of(subject: &[u8]) -> Option<Self> {
        let subject = std::str::from_utf8(subject).ok()?;
        let parts: Vec<&str> = subject.split('.').collect();
        Some(match parts.as_slice() {
            ["$SYS", "REQ", "CLAIMS", "UPDATE"] => Self::Update(None),
            ["$SYS", "REQ", "CLAIMS", "LIST"] => Self::List,
            ["$SYS", "REQ", "CLAIMS", "PACK"] => Self::Pack,
            ["$SYS", "REQ", "CLAIMS", "DELETE"] => Self::Delete,
            ["$SYS", "REQ", "ACCOUNT", name, "CLAIMS", "LOOKUP"] => Self::Lookup((*name).to_owned()),
            ["$SYS", "REQ", "ACCOUNT", name, "CLAIMS", "UPDATE"] | ["$SYS", "ACCOUNT", name, "CLAIMS", "UPDATE"] => {
                Self::Update(Some((*name).to_owned()))
            }
            _ => return None,
        })
    }
}

/// What became of a request that changes something: the account, and words.
type Outcome = Result<(String, String), (String, String, String)>;

#[derive(Serialize)]
struct Status {
    #[serde(skip_serializing_if = "String::is_empty")]
    account: String,
    code: u16,
    message: String,
}

#[derive(Serialize)]
struct Failure {
    #[serde(skip_serializing_if = "String::is_empty")]
    account: String,
    code: u16,
    description: String,
}

impl Operator {
    /// Whether somebody answers such a request.
    #[must_use]
    pub fn answers(&self, request: &Request) -> bool {
        self.resolver.store().is_some() || matches!(request, Request::Update(Some(_)))
    }

    /// Carries out a request, and answers it. May wait for a disk.
    pub fn serve(
        &self,
        server: &Arc<Server>,
        system: &Arc<Account>,
        request: &Request,
        body: &[u8],
        reply: Option<&[u8]>,
    ) {
        let say = |bytes: &[u8]| {
            if let Some(reply) = reply {
                system.send(|sender| sender.publish(system, reply, None, 0, bytes));
            }
        };
        let text = std::str::from_utf8(body).unwrap_or_default();
        match (request, self.resolver.store()) {
            (Request::Update(name), store) => say(&answer(server, self.take(server, store, name.as_deref(), text))),
            (Request::Delete, Some(store)) => say(&answer(server, self.delete(server, store, text))),
            (Request::List, Some(store)) => say(&bytes(&json!({ "server": About::of(server), "data": store.names() }))),
            (Request::Lookup(name), Some(store)) => match store.load(name) {
                Ok(jwt) => say(jwt.as_ref().map(Encoded::text).unwrap_or_default().as_bytes()),
                Err(error) => tracing::error!("Looking up account {name:?}: {error}"),
            },
            (Request::Pack, Some(store)) => {
                if body != store.hash() {
                    pack(store, &say).unwrap_or_else(|error| tracing::error!("Packing tokens: {error}"));
                }
                say(b"");
            }
            (_, None) => {}
        }
    }

    /// Another token for an account.
    fn take(&self, server: &Arc<Server>, store: Option<&Store>, name: Option<&str>, jwt: &str) -> Outcome {
        let failed = |account: &str, message: &str, error: String| (account.to_owned(), message.to_owned(), error);
        const FAILED: &str = "jwt update resulted in error";
        if jwt.is_empty() && store.is_none() {
            return Err(failed(name.unwrap_or_default(), "jwt update error", "request body is empty".to_owned()));
        }
        let token: Token<Claimed> = decode(jwt).map_err(|error| {
            let account = if store.is_some() { "n/a" } else { name.unwrap_or("n/a") };
            failed(account, FAILED, error.to_string())
        })?;
        let account = token.claims.sub.clone();
        let issues = token.issues(super::now());
        if store.is_some() && issues.block(false) {
            return Err(failed(&account, "jwt validation failed", format!("validation errors: {}", issues.text())));
        }
        if let Some(name) = name.filter(|name| *name != account) {
            return Err(failed(name, FAILED, "subject does not match jwt content".to_owned()));
        }
        if self.is_strict_about(&token.claims.iss) {
            let error = "operator requires issuer to be a signing key".to_owned();
            return Err(failed(&account, FAILED, error));
        }
        let verified = self.verify(jwt).map_err(|error| failed(&account, FAILED, error))?;
        let encoded = Encoded::new(jwt);
        match store {
            Some(store) => {
                store.save(&account, &encoded).map_err(|error| failed(&account, FAILED, error.to_string()))?;
            }
            None if self.find(&account).is_none() => return Ok((account, "jwt update skipped".to_owned())),
            None => {}
        }
        self.update(server, encoded, verified);
        Ok((account, "jwt updated".to_owned()))
    }

    /// Whether the key is that of an operator who signs accounts with other keys only.
    fn is_strict_about(&self, issuer: &str) -> bool {
        self.options
            .operators
            .iter()
            .any(|operator| operator.token.claims.sub == issuer && operator.token.body.strict_signing_key_usage)
    }

    fn delete(&self, server: &Arc<Server>, store: &Store, body: &str) -> Outcome {
        let token = decode::<Generic>(body);
        let by = token.as_ref().map(|token| token.claims.sub.clone()).unwrap_or_default();
        let names = token.map_err(|error| error.to_string()).and_then(|token| self.deletable(store, &token));
        let message = format!("delete accounts request by {by} failed");
        let names = names.map_err(|error| (String::new(), message, error))?;
        let (mut done, mut errors) = (0, Vec::new());
        for name in names {
            match store.delete(&name) {
                Ok(()) => {
                    done += 1;
                    self.forget(server, &name);
                }
                Err(error) => errors.push(error.to_string()),
            }
        }
        if errors.is_empty() {
            Ok((String::new(), format!("deleted {done} accounts")))
        } else {
            let message = format!("deleted {done} accounts, failed for {}", errors.len());
            Err((String::new(), message, errors.join("\n")))
        }
    }

    /// The accounts of a request to delete some, if it may be made.
    fn deletable(&self, store: &Store, token: &Token<Generic>) -> Result<Vec<String>, String> {
        if !store.deletes() {
            return Err("delete must be enabled in server config".to_owned());
        }
        if token.claims.sub != token.claims.iss {
            return Err("not self signed".to_owned());
        }
        if !self.options.trusted.contains(&token.claims.iss) {
            return Err("not trusted".to_owned());
        }
        let list = token.body.0.get("accounts").and_then(Value::as_array).ok_or("malformed request")?;
        let mut names = Vec::new();
        for name in list {
            let name = name.as_str().filter(|name| is_account(name)).ok_or("malformed request")?;
            if self.options.system.as_deref() == Some(name) {
                return Err("not allowed to delete system account".to_owned());
            }
            names.push(name.to_owned());
        }
        Ok(names)
    }
}

fn bytes(json: &Value) -> Vec<u8> {
    // Text and numbers: that does not fail.
    serde_json::to_vec(json).unwrap_or_default()
}

fn answer(server: &Server, outcome: Outcome) -> Vec<u8> {
    let about = About::of(server);
    match outcome {
        Ok((account, message)) => {
            tracing::debug!("{message} - {account}");
            bytes(&json!({ "server": about, "data": Status { account, code: 200, message } }))
        }
        Err((account, message, error)) => {
            tracing::error!("{message} - {account} - {error}");
            let description = format!("{message} - {error}");
            bytes(&json!({ "server": about, "error": Failure { account, code: 500, description } }))
        }
    }
}

/// Sends every token that has not expired, with its account's key.
fn pack(store: &Store, say: &dyn Fn(&[u8])) -> io::Result<()> {
    let now = super::now();
    for name in store.names() {
        let Some(jwt) = store.load(&name)? else { continue };
        let expired = decode::<Generic>(jwt.text()).is_ok_and(|token| token.claims.exp > 0 && token.claims.exp < now);
        if !expired {
            say(format!("{name}|{}", jwt.text()).as_bytes());
        }
    }
    Ok(())
}

/// An account's claims as pages show them.
impl Loaded {
    /// Keys that were revoked, with the second since 1970 up to which what was signed for them counts no longer.
    pub fn revoked(&self) -> impl Iterator<Item = (&str, i64)> {
        self.token.body.revocations.iter().map(|(key, since)| (key.as_str(), *since))
    }
}
