//! The users of a configuration.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use super::permissions::Permissions;

/// The account of all who are in no other.
pub const GLOBAL_ACCOUNT: &str = "$G";

/// The same, of which there is one: thousands of connections that are gone are remembered with their account.
#[must_use]
pub fn global_account() -> Arc<str> {
    static NAME: LazyLock<Arc<str>> = LazyLock::new(|| GLOBAL_ACCOUNT.into());
    NAME.clone()
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, to be compared and no more.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is a hash by bcrypt and not the password itself.
    #[must_use]
    pub fn is_bcrypt(&self) -> bool {
        ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|prefix| self.0.starts_with(prefix))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// How a user proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// It knows the password, which is here plain or as a bcrypt hash.
    Password(Secret),
    /// It need not, or shows a certificate: see [`Users::certificates`].
    Nothing,
    /// It signs with the private half of the key that is its name.
    Nkey,
    /// It showed a token, see [`crate::operator`].
    Token,
}

/// What is known of a user that showed a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByToken {
    /// When the token was signed, in seconds since 1970.
    pub issued_at: i64,
    /// The key that signed it.
    pub issuer: Arc<str>,
    /// The same, if it is a signing key of the account.
    pub signing_key: Option<Arc<str>>,
    /// What it may do is what that key gives to all.
    pub scoped: bool,
    /// It need not sign a nonce.
    pub bearer: bool,
    /// The token, or the key, says what it may do: else that is the account's default.
    pub has_own_permissions: bool,
    /// When it has to go, in milliseconds since 1970.
    pub expires_ms: Option<i64>,
    /// What it is called besides its key.
    pub name_tag: Box<str>,
    /// Words for it.
    pub tags: Box<[String]>,
    /// What its account is called besides its key.
    pub account_tag: Box<str>,
    /// Subscriptions it may have.
    pub max_subscriptions: Option<usize>,
    /// Bytes of a message of it.
    pub max_payload: Option<usize>,
}

/// One user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Name or public key.
    pub name: String,
    /// How it proves who it is.
    pub proof: Proof,
    /// What it may do; `None` is everything.
    pub permissions: Option<Arc<Permissions>>,
    /// Whether it may come by way of the clients' port.
    pub standard_connections: bool,
    /// Whether it may come by way of the port for WebSockets.
    pub websocket_connections: bool,
    /// Its account.
    pub account: Arc<str>,
    /// What its token says, if it showed one.
    pub by_token: Option<Arc<ByToken>>,
}

impl User {
    /// Whether it may use connections of a kind.
    #[must_use]
    pub fn may_use(&self, websocket: bool) -> bool {
        if websocket { self.websocket_connections } else { self.standard_connections }
    }
}

/// All users.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Users {
    by_name: HashMap<String, Arc<User>>,
    /// Who clients are that do not say who they are.
    no_auth_user: Option<String>,
    /// Certificates name users: then one without a password needs one.
    certificates: bool,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} users", self.by_name.len())
    }
}

fn is_certified(user: &User, websocket: bool) -> bool {
    !user.name.is_empty() && user.proof != Proof::Nkey && user.may_use(websocket)
}

impl Users {
    /// Of users, each name once. `no_auth_user` is one of them.
    #[must_use]
    pub fn new(users: Vec<User>, no_auth_user: Option<String>, certificates: bool) -> Self {
        let by_name = users.into_iter().map(|user| (user.name.clone(), Arc::new(user))).collect();
        Self { by_name, no_auth_user, certificates }
    }

    /// The user of that name, or with that public key.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    /// The users that a certificate may name. A public key is no such name, and a user that may not use this kind of
    /// connection is none of them.
    pub fn of_certificates(&self, websocket: bool) -> impl Iterator<Item = &Arc<User>> {
        self.iter().filter(move |user| is_certified(user, websocket))
    }

    /// The user that a certificate names, which is one of [`of_certificates`](Self::of_certificates).
    #[must_use]
    pub fn of_certificate(&self, name: &str, websocket: bool) -> Option<&Arc<User>> {
        self.get(name).filter(|user| is_certified(user, websocket))
    }

    /// Who clients are that do not say who they are. A user that may not use their kind of connection is nobody.
    #[must_use]
    pub fn without_credentials(&self, websocket: bool) -> Option<&Arc<User>> {
        self.get(self.no_auth_user.as_deref()?).filter(|user| user.may_use(websocket))
    }

    /// Whether certificates name users.
    #[must_use]
    pub fn certificates(&self) -> bool {
        self.certificates
    }

    /// Whether some user signs, so that clients need something to sign.
    #[must_use]
    pub fn sign(&self) -> bool {
        self.by_name.values().any(|user| user.proof == Proof::Nkey)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<User>> {
        self.by_name.values()
    }
}
