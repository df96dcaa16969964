//! Who a client is that shows a token.
//!
//! The account that a token names is looked at only once the token itself, and the signature of the nonce, are right: a
//! stranger can have the server check signatures, and read one file.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::template::{self, Facts};
use super::{Loaded, Operator, rights, sources::Network, times};
use crate::auth::login::Grant;
use crate::auth::users::{ByToken, Proof, User};
use crate::clock;
use crate::jwt::account::is_revoked;
use crate::jwt::user::{Bounds, User as Claimed};
use crate::jwt::{Token, decode, is_signed};
use crate::server::Server;

/// Kinds of connections that NATS knows; this server has the first two.
const CONNECTION_TYPES: &[&str] =
    &["STANDARD", "WEBSOCKET", "LEAFNODE", "LEAFNODE_WS", "MQTT", "MQTT_WS", "IN_PROCESS"];

/// What a client shows.
pub struct Presented {
    /// Its token.
    pub jwt: String,
    /// The nonce, signed.
    pub signature: String,
    /// What it had to sign.
    pub nonce: String,
    /// Where it comes from.
    pub address: IpAddr,
    /// It came by way of the port for WebSockets.
    pub websocket: bool,
}

/// Why a client is not let in, for the log of whoever looks closer.
type Refusal = &'static str;

impl Operator {
    /// Decides about a client. May wait.
    ///
    /// # Errors
    /// Why it is not let in: nothing that it said stands in that.
    pub fn log_in(&self, server: &Arc<Server>, shown: &Presented) -> Result<Grant, Refusal> {
        let token = decode::<Claimed>(&shown.jwt).map_err(|_| "User JWT not valid")?;
        let now = super::now();
        if token.issues(now).block(true) {
            return Err("User JWT no longer valid");
        }
        let (claims, body) = (&token.claims, &token.body);
        let signed = is_nonce_signed(&token, shown);
        // Without a bearer token, or a scope that may make it one, the nonce has to be signed.
        if !signed && !body.bounds.bearer_token && (claims.iss == body.issuer_account || body.issuer_account.is_empty())
        {
            return Err("Signature not verified");
        }
        let name = if body.issuer_account.is_empty() { &claims.iss } else { &body.issuer_account };
        if self.options.pinned.as_ref().is_some_and(|pinned| !pinned.contains(name)) {
            return Err("Account not listed as operator pinned account");
        }
        let account = self.account(server, name).map_err(|_| "Account JWT lookup error")?;
        let (bounds, scope) = self.bounds(&account, &token)?;
        if bounds.proxy_required {
            return Err("Clients have to come by way of a proxy, and there is none");
        }
        if bounds.bearer_token && account.token.body.limits.disallow_bearer {
            return Err("Account does not allow bearer tokens");
        }
        if !signed && !bounds.bearer_token {
            return Err("Signature not verified");
        }
        if !may_connect(&bounds.allowed_connection_types, shown.websocket) {
            return Err("Connection type not allowed");
        }
        if is_revoked(&account.token.body.revocations, &claims.sub, claims.iat) {
            return Err("User authentication revoked");
        }
        let asked_elsewhere = &account.token.body.authorization.auth_users;
        if !asked_elsewhere.is_empty() && !asked_elsewhere.contains(&claims.sub) {
            return Err("Another service is to be asked about the user, and cannot be");
        }
        if !bounds.src.is_empty()
            && !bounds.src.iter().filter_map(|src| Network::parse(src)).any(|net| net.has(shown.address))
        {
            return Err("Bad src Ip");
        }
        let today = jiff::Timestamp::try_from(clock::wall()).map_err(|_| "Outside connect times")?;
        let valid_for = times::allow(&bounds.times, &bounds.times_location, today).ok_or("Outside connect times")?;
        let until_ms =
            valid_for.map(|span| clock::unix_ns() / 1_000_000 + i64::try_from(span.as_millis()).unwrap_or(0));
        let expires_ms =
            [(claims.exp > 0).then(|| claims.exp.saturating_mul(1000)), until_ms].into_iter().flatten().min();
        Ok(grant(&account, &token, &bounds, scope, expires_ms))
    }

    /// What bounds a user: its own claims, or the scope of the key that signed them.
    fn bounds(&self, account: &Loaded, token: &Token<Claimed>) -> Result<(Bounds, bool), Refusal> {
        let (claims, body) = (&token.claims, &token.body);
        match account.signer(&claims.iss) {
            None => Err("User JWT issuer is not known"),
            Some(None) => Ok((body.bounds.clone(), false)),
            Some(Some(_)) if body.bounds != Bounds::default() => {
                Err("scoped users require no permissions or limits set")
            }
            Some(Some(scope)) => {
                let facts = Facts {
                    name: &claims.name,
                    subject: &claims.sub,
                    tags: &body.tags,
                    account_name: &account.token.claims.name,
                    account_subject: &body.issuer_account,
                    account_tags: &account.token.body.tags,
                };
                let filled = template::fill(&scope.template, &facts).ok_or("User JWT generated invalid permissions")?;
                Ok((filled, true))
            }
        }
    }
}

fn is_nonce_signed(token: &Token<Claimed>, shown: &Presented) -> bool {
    let decoded = URL_SAFE_NO_PAD.decode(&shown.signature).or_else(|_| STANDARD.decode(&shown.signature));
    decoded.is_ok_and(|signature| is_signed(&token.claims.sub, shown.nonce.as_bytes(), &signature))
}

/// Whether a kind of connection is among those that are allowed. Kinds that nobody knows allow none.
fn may_connect(types: &[String], websocket: bool) -> bool {
    let kind = if websocket { "WEBSOCKET" } else { "STANDARD" };
    let mut known = types.iter().filter(|name| CONNECTION_TYPES.iter().any(|known| known.eq_ignore_ascii_case(name)));
    types.is_empty() || known.any(|name| name.eq_ignore_ascii_case(kind))
}

fn grant(account: &Loaded, token: &Token<Claimed>, bounds: &Bounds, scoped: bool, expires_ms: Option<i64>) -> Grant {
    let (claims, body) = (&token.claims, &token.body);
    let own = rights::permissions(&bounds.permissions).map(Arc::new);
    let by_token = ByToken {
        issued_at: claims.iat,
        issuer: claims.iss.as_str().into(),
        signing_key: (!body.issuer_account.is_empty()).then(|| claims.iss.as_str().into()),
        scoped,
        bearer: bounds.bearer_token,
        has_own_permissions: own.is_some(),
        expires_ms,
        name_tag: claims.name.as_str().into(),
        tags: body.tags.as_slice().into(),
        account_tag: account.token.claims.name.as_str().into(),
        max_subscriptions: rights::bound(bounds.subs),
        max_payload: rights::bound(bounds.payload),
    };
    let user = User {
        name: claims.sub.clone(),
        proof: Proof::Token,
        permissions: own.or_else(|| account.default_permissions.clone()),
        standard_connections: true,
        websocket_connections: true,
        account: account.name.clone(),
        by_token: Some(Arc::new(by_token)),
    };
    Grant { name: Some(user.name.clone()), user: Some(Arc::new(user)) }
}
