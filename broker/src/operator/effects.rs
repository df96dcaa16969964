//! What other claims of an account mean for the clients that are there.

use std::sync::Arc;

use sublog_protocol::error::ServerError;

use super::Loaded;
use super::rights::bound;
use crate::auth::login::Grant;
use crate::auth::users::{ByToken, User};
use crate::client::{Client, CloseReason};
use crate::jwt::account::is_revoked;
use crate::server::Server;
use crate::server::say;

fn clients_of(server: &Server, account: &str) -> Vec<Arc<Client>> {
    server.clients().into_iter().filter(|client| !client.is_closing() && *client.account() == *account).collect()
}

fn end(client: &Client, error: &ServerError, reason: CloseReason) {
    say(client, error);
    client.close(reason);
}

/// The account's time is over: so is that of everybody in it.
pub(super) fn account_expired(server: &Server, account: &str) {
    for client in clients_of(server, account) {
        tracing::debug!(client = %client, "Account Authentication Expired");
        end(&client, &ServerError::AccountAuthenticationExpired, CloseReason::AuthenticationExpired);
    }
}

/// The user's time is over.
pub(crate) fn user_expired(client: &Client) {
    tracing::debug!(client = %client, "User Authentication Expired");
    end(client, &ServerError::AuthenticationExpired, CloseReason::AuthenticationExpired);
}

/// Holds the clients of an account to its claims. `before`: what they were.
pub(super) fn hold(server: &Server, before: Option<&Loaded>, now: &Loaded) {
    let most = bound(now.token.body.limits.conn).unwrap_or(usize::MAX);
    // Those that came first stay.
    let (mut stayed, clients) = (0, clients_of(server, &now.name));
    for client in clients {
        if stayed >= most {
            end(&client, &ServerError::MaxAccountConnections, CloseReason::MaximumAccountConnections);
            continue;
        }
        stayed += 1;
        let Some(user) = client.access.grant().user else { continue };
        if let Some(token) = &user.by_token {
            hold_one(&client, &user, token, before, now);
        }
    }
}

fn hold_one(client: &Client, user: &Arc<User>, token: &ByToken, before: Option<&Loaded>, now: &Loaded) {
    let account = &now.token.body;
    if token.bearer && account.limits.disallow_bearer {
        return end(client, &ServerError::AuthorizationViolation, CloseReason::AuthenticationFailure);
    }
    if is_revoked(&account.revocations, &user.name, token.issued_at) {
        return end(client, &ServerError::AuthenticationRevoked, CloseReason::Revoked);
    }
    // A key that signs no more, or lets its users do other things now: they have to come again.
    let scope_before = before.and_then(|before| before.signer(&token.issuer));
    match now.signer(&token.issuer) {
        None => return client.close(CloseReason::AuthenticationFailure),
        scope if before.is_some() && scope != scope_before => return client.close(CloseReason::AuthenticationFailure),
        Some(_) => {}
    }
    let most = [token.max_subscriptions, bound(account.limits.subs)].into_iter().flatten().min();
    let held = client.stats.subscriptions.load(std::sync::atomic::Ordering::Relaxed);
    if most.is_some_and(|most| held > most as u64) {
        return end(client, &ServerError::MaxSubscriptions, CloseReason::MaximumSubscriptions);
    }
    if !token.has_own_permissions && user.permissions != now.default_permissions {
        let user = User { permissions: now.default_permissions.clone(), ..User::clone(user) };
        client.access.set(Grant { name: Some(user.name.clone()), user: Some(Arc::new(user)) }, None);
        client.nudge.notify_one();
    }
}
