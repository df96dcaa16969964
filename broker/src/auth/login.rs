//! Whether a client is who it says it is.
//!
//! Nothing here waits: where a password has to be hashed, the verdict is a [`Check`] that somebody else carries out.

use std::fmt;
use std::sync::Arc;

use sublog_protocol::info::ConnectOptions;
use subtle::ConstantTimeEq;

use super::users::{Proof, Secret, User, Users, global_account};
use crate::config::Auth;
use crate::tls::x509::Certificate;

/// What a client said to prove who it is. Kept, since a reload may want to be convinced again.
#[derive(Clone, Default)]
pub struct Credentials {
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    nkey: Option<String>,
    signature: Option<String>,
    /// What it had to sign.
    nonce: Option<String>,
    /// Where certificates name users: the one that its certificate names, empty for none.
    certified: Option<String>,
    /// It came by way of the port for WebSockets.
    websocket: bool,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// Text that is there; nothing is said with an empty one.
fn said(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

impl Credentials {
    /// What CONNECT says. `nonce` is what the client was given to sign.
    #[must_use]
    pub fn of(options: &ConnectOptions, nonce: Option<&str>) -> Self {
        Self {
            user: options.user.clone(),
            password: options.pass.clone(),
            token: options.auth_token.clone(),
            nkey: options.nkey.clone(),
            signature: options.sig.clone(),
            nonce: nonce.map(str::to_owned),
            certified: None,
            websocket: false,
        }
    }

    /// As of a client whose certificate names `user`: that is the one it is then.
    #[must_use]
    pub fn certified(self, user: impl Into<String>) -> Self {
        Self { certified: Some(user.into()), ..self }
    }

    /// As of a client that came by way of the port for WebSockets, or did not.
    #[must_use]
    pub fn over_websocket(self, websocket: bool) -> Self {
        Self { websocket, ..self }
    }

    /// As of a client whose certificate decides who it is, or does not. A client that signs is known by its key.
    #[must_use]
    pub fn with_certificate(self, auth: &Auth, maps: bool, certificate: Option<&Certificate>) -> Self {
        let Auth::Users(users) = auth else { return Self { certified: None, ..self } };
        if !maps || said(&self.nkey).is_some() {
            return Self { certified: None, ..self };
        }
        let names: Vec<&str> = users.of_certificates(self.websocket).map(|user| user.name.as_str()).collect();
        let user = certificate.and_then(|certificate| certificate.user(&names)).unwrap_or_default().to_owned();
        self.certified(user)
    }

    fn is_nothing(&self) -> bool {
        [&self.user, &self.password, &self.token, &self.nkey].into_iter().all(|text| said(text).is_none())
    }

    /// Who it says it is, for the log: the name or public key, never what proves it.
    #[must_use]
    pub fn shown(&self) -> String {
        match (said(&self.nkey), said(&self.user), said(&self.token)) {
            (Some(nkey), ..) => format!(" - Nkey {nkey:?}"),
            (_, Some(user), _) => format!(" - User {user:?}"),
            (_, _, Some(_)) => " - Token \"[REDACTED]\"".to_owned(),
            _ => String::new(),
        }
    }
}

/// Who a client is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// What monitoring calls it.
    pub name: Option<String>,
    /// The user of the configuration, where there is a list of them.
    pub user: Option<Arc<User>>,
}

impl Grant {
    /// The account that somebody is in who was let in so.
    #[must_use]
    pub fn account(&self) -> Arc<str> {
        self.user.as_ref().map_or_else(global_account, |user| user.account.clone())
    }

    fn of(user: &Arc<User>) -> Self {
        Self { name: Some(user.name.clone()), user: Some(user.clone()) }
    }

    fn named(name: &str) -> Self {
        Self { name: Some(name.to_owned()), user: None }
    }
}

/// What is to be said to a client.
#[derive(Debug)]
pub enum Verdict {
    /// Welcome.
    Granted(Grant),
    /// Go away.
    Refused,
    /// Welcome, if the password fits.
    Check(Check),
    /// Its token has to be looked at, see [`crate::operator::login`].
    Token,
}

/// A password that is still to be held against a hash.
pub struct Check {
    /// The hash.
    pub hash: Secret,
    /// The password.
    pub password: Secret,
    /// What it is good for.
    pub grant: Grant,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Check(…)")
    }
}

/// Holds what a client says to what is asked for.
#[must_use]
pub fn verdict(auth: &Auth, given: &Credentials) -> Verdict {
    match auth {
        Auth::None => Verdict::Granted(Grant { name: given.user.clone(), user: None }),
        Auth::UserPassword { user, password } => {
            let grant = Grant::named(user);
            // Both are compared whatever the first says, so that time tells nothing.
            let named = equal(user, given.user.as_deref());
            let password = with_password(&Secret::new(password.as_str()), given, grant);
            if named { password } else { Verdict::Refused }
        }
        Auth::Token(token) => {
            let grant = Grant::named("[REDACTED]");
            let given = Credentials { password: given.token.clone(), ..Credentials::default() };
            with_password(&Secret::new(token.as_str()), &given, grant)
        }
        Auth::Users(users) => of_users(users, given),
        Auth::Operator => Verdict::Token,
    }
}

fn of_users(users: &Users, given: &Credentials) -> Verdict {
    if let Some(certified) = &given.certified {
        // What else the client says does not count.
        return users
            .of_certificate(certified, given.websocket)
            .map_or(Verdict::Refused, |user| Verdict::Granted(Grant::of(user)));
    }
    if given.is_nothing() {
        let user = users.without_credentials(given.websocket);
        return user.map_or(Verdict::Refused, |user| Verdict::Granted(Grant::of(user)));
    }
    let (nkey, name) = (said(&given.nkey), said(&given.user));
    let Some(user) = nkey.or(name).and_then(|name| users.get(name)).filter(|user| user.may_use(given.websocket)) else {
        return Verdict::Refused;
    };
    let grant = Grant::of(user);
    let open = users.without_credentials(given.websocket).is_some_and(|open| open.name == user.name);
    match &user.proof {
        Proof::Nkey if nkey.is_some() && (open || is_signed(&user.name, given)) => Verdict::Granted(grant),
        Proof::Password(secret) if nkey.is_none() => with_password(secret, given, grant),
        Proof::Nothing if nkey.is_none() && (open || !users.certificates()) && said(&given.password).is_none() => {
            Verdict::Granted(grant)
        }
        _ => Verdict::Refused,
    }
}

fn with_password(secret: &Secret, given: &Credentials, grant: Grant) -> Verdict {
    if secret.is_bcrypt() {
        return match &given.password {
            Some(password) => {
                Verdict::Check(Check { hash: secret.clone(), password: Secret::new(password.as_str()), grant })
            }
            None => Verdict::Refused,
        };
    }
    if equal(secret.expose(), given.password.as_deref()) { Verdict::Granted(grant) } else { Verdict::Refused }
}

fn equal(expected: &str, given: Option<&str>) -> bool {
    given.is_some_and(|given| expected.as_bytes().ct_eq(given.as_bytes()).into())
}

/// Whether the nonce is signed with the private half of `key`.
fn is_signed(key: &str, given: &Credentials) -> bool {
    let (Some(nonce), Some(signature)) = (&given.nonce, &given.signature) else { return false };
    let Some(signature) = base64::decode(signature) else { return false };
    nkeys::KeyPair::from_public_key(key).is_ok_and(|key| key.verify(nonce.as_bytes(), &signature).is_ok())
}

/// Something to sign that was never signed before.
///
/// # Errors
/// The system gives no random numbers.
pub fn nonce() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; 12];
    getrandom::fill(&mut bytes)?;
    Ok(base64::encode_url(&bytes))
}

mod base64 {
    //! The little that is needed of it: both alphabets are read, padding may be there or not.

    const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    fn value(byte: u8) -> Option<u32> {
        Some(match byte {
            b'A'..=b'Z' => u32::from(byte - b'A'),
            b'a'..=b'z' => u32::from(byte - b'a') + 26,
            b'0'..=b'9' => u32::from(byte - b'0') + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            _ => return None,
        })
    }

    /// At most as many bytes as a signature and its padding need are looked at.
    pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
        let text = text.trim_end_matches('=').as_bytes();
        if text.len() > 128 || text.len() % 4 == 1 {
            return None;
        }
        let mut out = Vec::with_capacity(text.len() * 3 / 4);
        for chunk in text.chunks(4) {
            let mut bits = 0;
            for byte in chunk {
                bits = bits << 6 | value(*byte)?;
            }
            bits <<= 6 * (4 - chunk.len());
            let bytes = [16, 8, 0].map(|shift| u8::try_from(bits >> shift & 0xff).unwrap_or_default());
            out.extend(bytes.into_iter().take(chunk.len() * 3 / 4));
        }
        Some(out)
    }

    pub(super) fn encode_url(bytes: &[u8]) -> String {
        let mut out = String::with_capacity(bytes.len() * 4 / 3 + 3);
        for chunk in bytes.chunks(3) {
            let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
            for at in 0..=chunk.len() {
                let index = usize::try_from(bits >> (18 - 6 * at) & 63).unwrap_or(0);
                out.push(char::from(URL.get(index).copied().unwrap_or(b'A')));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests;
