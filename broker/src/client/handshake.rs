//! CONNECT: who the client is, and what it understands.

use std::sync::atomic::Ordering;

use sublog_protocol::error::ServerError;
use sublog_protocol::info::ConnectOptions;
use subtle::ConstantTimeEq;

use super::{Client, CloseReason};
use crate::config::Auth;

/// A refused CONNECT: what to say, and why the connection ends.
pub(super) struct Refused(pub(super) ServerError, pub(super) CloseReason);

/// Checks what a client says of itself and remembers what others need to know.
pub(super) fn accept(client: &Client, auth: &Auth, options: &ConnectOptions) -> Result<(), Refused> {
    if !matches!(options.protocol, 0 | 1) {
        return Err(Refused(ServerError::InvalidClientProtocol, CloseReason::BadClientProtocol));
    }
    if options.no_responders && !options.headers {
        return Err(Refused(ServerError::NoRespondersRequiresHeaders, CloseReason::NoRespondersRequiresHeaders));
    }
    if options.account.is_some() || options.new_account || !is_allowed(auth, &Credentials::of(options)) {
        return Err(Refused(ServerError::AuthorizationViolation, CloseReason::AuthenticationFailure));
    }
    {
        let mut identity = client.identity.lock();
        identity.name.clone_from(&options.name);
        identity.lang.clone_from(&options.lang);
        identity.version.clone_from(&options.version);
        identity.credentials = Credentials::of(options);
        identity.user = matches!(auth, Auth::UserPassword { .. }).then(|| options.user.clone()).flatten();
    }
    client.headers.store(options.headers, Ordering::Release);
    client.no_responders.store(options.no_responders, Ordering::Release);
    client.async_info.store(options.protocol >= 1, Ordering::Release);
    client.ready.store(true, Ordering::Release);
    Ok(())
}

/// What a client said to prove who it is. Kept, since a reload may want to be convinced again.
#[derive(Clone, Default)]
pub struct Credentials {
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl Credentials {
    fn of(options: &ConnectOptions) -> Self {
        Self { user: options.user.clone(), password: options.pass.clone(), token: options.auth_token.clone() }
    }
}

/// Whether a client with these credentials may connect.
#[must_use]
pub fn is_allowed(auth: &Auth, given: &Credentials) -> bool {
    match auth {
        Auth::None => true,
        Auth::UserPassword { user, password } => {
            // Both are compared whatever the first says, so that time tells nothing.
            let user = equal(user, given.user.as_deref());
            let password = equal(password, given.password.as_deref());
            user & password
        }
        Auth::Token(token) => equal(token, given.token.as_deref()),
    }
}

fn equal(expected: &str, given: Option<&str>) -> bool {
    given.is_some_and(|given| expected.as_bytes().ct_eq(given.as_bytes()).into())
}
