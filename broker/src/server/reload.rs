//! New options while the server runs: HUP reads the configuration again, and it is applied whole or not at all.
//!
//! Everything that can fail is done before the first option changes: reading the file, holding it to the options that
//! only a restart changes, opening the new log, writing the new files. What follows cannot fail.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sublog_protocol::error::ServerError;

use super::Server;
use super::notices::Notices;
use super::ticker::say;
use crate::account::Account;
use crate::auth::login::{Check, Grant, Verdict, verdict};
use crate::auth::users::GLOBAL_ACCOUNT;
use crate::client::CloseReason;
use crate::client::handshake::certified;
use crate::conf::Position;
use crate::config::{Auth, ServerOptions, TlsOptions};
use crate::jetstream::consumer::restore;
use crate::jetstream::copy;
use crate::logging::{LogHandle, LogOptions};
use crate::tls::{Tls, TlsError};

/// What a configuration says now.
#[derive(Debug)]
pub struct Fresh {
    /// What the server needs to know.
    pub server: ServerOptions,
    /// Where and how it logs.
    pub log: LogOptions,
    /// Where each key stands that has an effect.
    pub places: Vec<(String, Position)>,
    /// What has none.
    pub warnings: Vec<String>,
    /// The fingerprint of its values.
    pub digest: String,
}

/// Where new options come from, and how it is logged until they do.
pub struct Reload {
    /// Reads the configuration again. An error has a line for each thing that is wrong.
    pub source: Box<dyn Fn() -> Result<Fresh, String> + Send>,
    /// How the server logs.
    pub log: LogOptions,
    /// The configuration as it was applied last.
    pub places: Vec<(String, Position)>,
    /// The fingerprint of its values.
    pub digest: String,
}

/// One option, as a reload sees it.
struct Field {
    /// The keys of a configuration that set it, the usual one first.
    keys: &'static [&'static str],
    /// A restart is needed to change it.
    fixed: bool,
    /// What it is, for the log and to see whether it changed.
    show: fn(&ServerOptions) -> String,
}

const fn live(keys: &'static [&'static str], show: fn(&ServerOptions) -> String) -> Field {
    Field { keys, fixed: false, show }
}

const fn fixed(keys: &'static [&'static str], show: fn(&ServerOptions) -> String) -> Field {
    Field { keys, fixed: true, show }
}

/// Every option but those of logging and authorization, which are compared as they are.
const FIELDS: &[Field] = &[
    fixed(&["host", "listen"], |o| o.host.clone()),
    fixed(&["port", "listen"], |o| o.port.to_string()),
    fixed(&["server_name"], |o| format!("{:?}", o.name)),
    fixed(&["http_port", "http"], |o| format!("{:?} {:?}", o.monitor_host, o.monitor_port)),
    fixed(&["https_port", "https"], |o| o.monitor_tls.to_string()),
    fixed(&["websocket"], websocket),
    live(&["allow_non_tls"], |o| o.allow_non_tls.to_string()),
    fixed(&["http_base_path"], |o| o.monitor_base_path.clone()),
    fixed(&["max_closed_clients"], |o| o.closed_connections.to_string()),
    live(&["server_tags"], |o| format!("{:?}", o.tags)),
    live(&["server_metadata"], |o| format!("{:?}", o.metadata)),
    fixed(&["store_dir", "jetstream.store_dir", "sublog.store_dir"], |o| o.store_dir.display().to_string()),
    fixed(&["jetstream.domain"], |o| o.domain.clone()),
    fixed(&["jetstream", "jetstream.enabled"], |o| o.jetstream.to_string()),
    fixed(&["max_pending"], |o| o.limits.max_pending.to_string()),
    fixed(&["max_subscriptions"], |o| o.limits.max_subscriptions.to_string()),
    fixed(&["sublog.capture_account"], |o| format!("{:?}", o.accounts.captured)),
    fixed(&["system_account", "no_system_account"], |o| format!("{:?}", o.accounts.system)),
    fixed(&["operator"], operators),
    fixed(&["trusted_keys"], |o| format!("{:?}", o.operator.as_ref().map(|operator| &operator.trusted))),
    fixed(&["resolver"], |o| format!("{:?}", o.operator.as_ref().map(|operator| &operator.resolver))),
    live(&["resolver_preload"], |o| format!("{} accounts {}", preloaded(o).len(), digest_of(&preloaded(o)))),
    fixed(&["resolver_pinned_accounts"], |o| format!("{:?}", o.operator.as_ref().map(|operator| &operator.pinned))),
    fixed(&["sublog.capture"], |o| o.capture.enabled.to_string()),
    fixed(&["sublog.sync", "sublog.sync_interval"], |o| format!("{:?}", o.capture.sync)),
    fixed(&["sublog.compress"], |o| o.capture.compress.to_string()),
    fixed(&["sublog.scrub.interval", "sublog.scrub_interval"], |o| format!("{:?}", o.capture.scrub_interval)),
    fixed(&["sublog.scrub.rate", "sublog.scrub_rate"], |o| o.capture.scrub_bytes_per_s.to_string()),
    live(&["pid_file"], |o| format!("{:?}", o.pid_file)),
    live(&["ports_file_dir"], |o| format!("{:?}", o.ports_file_dir)),
    live(&["trace", "trace_verbose"], |o| o.trace.to_string()),
    live(&["max_payload"], |o| o.limits.max_payload.to_string()),
    live(&["max_control_line"], |o| o.limits.max_control_line.to_string()),
    live(&["max_connections"], |o| o.limits.max_connections.to_string()),
    live(&["ping_interval"], |o| format!("{:?}", o.limits.ping_interval)),
    live(&["ping_max"], |o| o.limits.ping_max.to_string()),
    live(&["write_deadline"], |o| format!("{:?}", o.limits.write_deadline)),
    live(&["authorization.timeout"], |o| format!("{:?}", o.limits.auth_timeout)),
    live(&["lame_duck_duration"], |o| format!("{:?}", o.lame_duck_duration)),
    live(&["lame_duck_grace_period"], |o| format!("{:?}", o.lame_duck_grace)),
    live(&["sublog.retention.max_age", "sublog.max_age"], |o| format!("{:?}", o.capture.max_age)),
    live(&["sublog.retention.max_bytes", "sublog.max_bytes"], |o| format!("{:?}", o.capture.max_bytes)),
    live(&["sublog.retention.disk_reserve", "sublog.disk_reserve"], |o| o.capture.disk_reserve_bytes.to_string()),
];

/// Reads the configuration again and applies it, or says why not and changes nothing.
pub(super) fn reload(
    server: &Arc<Server>,
    reload: &mut Reload,
    log: &LogHandle,
    notices: &mut Notices,
    monitor: Option<SocketAddr>,
) {
    tracing::debug!("Reloading server configuration");
    match prepare(server, reload, log, notices, monitor) {
        Ok(prepared) => prepared.apply(server, reload, notices),
        Err(lines) => {
            for line in lines {
                tracing::error!("Failed to reload server configuration: {line}");
            }
            tracing::error!("The configuration stays as it was");
        }
    }
}

/// A configuration that can be applied.
struct Prepared {
    fresh: Fresh,
    changes: Vec<String>,
    tls: Option<Arc<Tls>>,
    websocket_tls: Option<Arc<Tls>>,
    log: Option<crate::logging::Prepared>,
    notices: Option<Notices>,
}

fn prepare(
    server: &Server,
    reload: &Reload,
    log: &LogHandle,
    notices: &Notices,
    monitor: Option<SocketAddr>,
) -> Result<Prepared, Vec<String>> {
    let fresh = (reload.source)().map_err(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())?;
    let current = server.current();
    let (mut changes, mut refused) = (Vec::new(), Vec::new());
    for field in FIELDS {
        let (old, new) = ((field.show)(&current), (field.show)(&fresh.server));
        let name = field.keys.first().copied().unwrap_or_default();
        if old == new {
            continue;
        }
        if field.fixed {
            let place = place(field, &fresh.places)
                .map(|at| format!("{at}: "))
                .or_else(|| place(field, &reload.places).map(|at| format!("{at} before: ")))
                .unwrap_or_default();
            refused.push(format!("{place}{name} cannot change from {old} to {new} without a restart"));
        } else {
            changes.push(format!("{name} = {new}"));
        }
    }
    refused.extend(streams_that_would_go(server, &fresh.server, &fresh.places));
    if !refused.is_empty() {
        return Err(refused);
    }
    if current.accounts != fresh.server.accounts {
        changes.push("accounts".to_owned());
    }
    if current.auth != fresh.server.auth {
        changes.push("authorization".to_owned());
    }
    let told = |error: TlsError| vec![error.to_string()];
    let tls = tls("tls", server.tls(), fresh.server.tls.as_ref(), &mut changes).map_err(told)?;
    let (old, new) = (server.websocket.as_ref(), fresh.server.websocket.as_ref());
    let (old, new) = (old.and_then(|port| port.tls()), new.and_then(|port| port.tls.as_ref()));
    let websocket_tls = self::tls("websocket.tls", old, new, &mut changes).map_err(told)?;
    let mut prepared = Prepared { changes, tls, websocket_tls, log: None, notices: None, fresh };
    if reload.log != prepared.fresh.log {
        let ready = log.prepare(&prepared.fresh.log).map_err(|error| vec![error.to_string()])?;
        prepared.log = Some(ready);
        prepared.changes.push("logging".to_owned());
    }
    let new = &prepared.fresh.server;
    if (&current.pid_file, &current.ports_file_dir) != (&new.pid_file, &new.ports_file_dir) {
        let written = Notices::write(
            new,
            server.address,
            monitor,
            server.websocket.as_ref().map(|port| port.address),
            Some(notices),
        );
        prepared.notices = Some(written.map_err(|error| vec![error.to_string()])?);
    }
    Ok(prepared)
}

/// Accounts whose streams a configuration speaks of no longer: streams at work stay until a restart.
fn streams_that_would_go(server: &Server, new: &ServerOptions, places: &[(String, Position)]) -> Vec<String> {
    let at = places.iter().find(|(known, _)| known == "accounts").map(|(_, at)| format!("{at}: ")).unwrap_or_default();
    let stays =
        |name: &str| name == GLOBAL_ACCOUNT || new.accounts.all.get(name).is_some_and(|a| a.jetstream.is_some());
    if server.operator.is_some() {
        // What accounts may do is not in the configuration.
        return Vec::new();
    }
    let has_streams = |account: &Arc<Account>| !account.jetstream.streams.all().is_empty();
    let accounts = server.accounts.all();
    let gone = accounts.iter().filter(|account| has_streams(account) && !stays(&account.name));
    gone.map(|account| format!("{at}the account {:?} has streams, which cannot go without a restart", account.name))
        .collect()
}

/// Who signs accounts.
fn operators(options: &ServerOptions) -> String {
    let all = options.operator.iter().flat_map(|operator| &operator.operators);
    let tokens: Vec<&str> = all.clone().map(|operator| operator.jwt.text()).collect();
    let names: Vec<&str> = all.map(|operator| operator.token.claims.sub.as_str()).collect();
    format!("{names:?} {}", digest_of(&tokens))
}

/// Tokens of accounts that stand in the configuration.
fn preloaded(options: &ServerOptions) -> Vec<&str> {
    options.operator.iter().flat_map(|operator| operator.preload.values().map(crate::jwt::Encoded::text)).collect()
}

/// A few letters that are others when the tokens are: tokens themselves are not for the log.
fn digest_of(tokens: &[&str]) -> String {
    use sha2::{Digest as _, Sha256};
    let digest = tokens.iter().fold(Sha256::new(), |hash, token| hash.chain_update(token).chain_update([0]));
    digest.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// All of it but how it is encrypted.
fn websocket(options: &ServerOptions) -> String {
    let mut port = options.websocket.clone();
    let encrypted = port.as_mut().is_some_and(|port| port.tls.take().is_some());
    format!("{encrypted} {port:?}")
}

/// How connections of a port are encrypted from now on. What other options or other files do not ask for stays as it is, with
/// the sessions that clients may go on with.
fn tls(
    name: &str,
    old: Option<Arc<Tls>>,
    new: Option<&TlsOptions>,
    changes: &mut Vec<String>,
) -> Result<Option<Arc<Tls>>, TlsError> {
    let new = new.map(Tls::load).transpose()?;
    match (&old, &new) {
        (None, None) => return Ok(None),
        (Some(old), Some(new)) if old.is_same(new) => {}
        _ => changes.push(name.to_owned()),
    }
    let same = old.filter(|old| new.as_ref().is_some_and(|new| old.is_same(new)));
    Ok(same.or_else(|| new.map(Arc::new)))
}

fn place<'p>(field: &Field, places: &'p [(String, Position)]) -> Option<&'p Position> {
    field.keys.iter().find_map(|key| places.iter().find(|(known, _)| known == key)).map(|(_, at)| at)
}

impl Prepared {
    fn apply(self, server: &Arc<Server>, reload: &mut Reload, notices: &mut Notices) {
        let old = server.current();
        let new = Arc::new(self.fresh.server);
        // First: whoever logs in under the new options is held to the new certificates as well.
        *server.tls.write() = self.tls;
        if let Some(port) = &server.websocket {
            *port.tls.write() = self.websocket_tls;
        }
        if server.operator.is_none() {
            let opened = server.accounts.apply(&new.accounts);
            opened.iter().for_each(restore::all);
            opened.iter().for_each(copy::start_all);
        }
        *server.current.write() = new.clone();
        server.reloads.fetch_add(1, Ordering::AcqRel);
        if let Some(log) = self.log {
            log.apply();
        }
        if let Some(new) = self.notices {
            new.replace(notices);
        }
        (reload.log, reload.places) = (self.fresh.log, self.fresh.places);
        server.monitor.config.loaded(self.fresh.digest);
        for warning in &self.fresh.warnings {
            tracing::warn!("{warning}");
        }
        for change in &self.changes {
            tracing::info!("Reloaded: {change}");
        }
        if old.auth != new.auth {
            look_again(server, &old.auth, &new.auth);
        }
        if old.accounts != new.accounts {
            // Each looks at what its account takes from others now.
            server.clients().iter().for_each(|client| client.nudge.notify_one());
        }
        if let (Some(operator), Some(options)) = (&server.operator, &new.operator) {
            operator.reload(server, options);
        }
        thin_out(server, new.limits.max_connections);
        tracing::info!("Reloaded server configuration");
    }
}

/// Closes the connections of those who may no longer connect, and holds the others to what they may do now.
fn look_again(server: &Server, old: &Auth, new: &Auth) {
    server.passwords.clear();
    // Passwords that did not fit: most connections of a user say the same.
    let mut wrong = HashSet::new();
    let mut fits = |check: &Check| {
        let pair = (check.hash.clone(), check.password.clone());
        let fits = !wrong.contains(&pair) && server.passwords.fits_blocking(&check.hash, &check.password);
        if !fits {
            wrong.insert(pair);
        }
        fits
    };
    for client in server.clients() {
        let ready = client.ready.load(Ordering::Acquire);
        if !ready && !matches!(old, Auth::None) {
            // It will be asked when it says CONNECT.
            continue;
        }
        let given = certified(server, new, &client, client.access.credentials());
        let grant = match verdict(new, &given) {
            Verdict::Granted(grant) => Some(grant),
            Verdict::Check(check) => fits(&check).then_some(check.grant),
            // Tokens are looked at as they change, see `operator::effects`.
            Verdict::Refused | Verdict::Token => None,
        };
        let Some(grant) = grant else {
            // Nobody tells a user that is gone, as in nats-server.
            if !is_gone(&client.access.grant(), new) {
                say(&client, &ServerError::AuthorizationViolation);
            }
            client.close(CloseReason::AuthenticationFailure);
            continue;
        };
        if client.account() != grant.account() {
            // What it has subscribed to is where it was; it will find its new place when it comes again.
            client.close(CloseReason::ClientClosed);
            continue;
        }
        if client.access.grant() != grant {
            client.access.set(grant, None);
            client.nudge.notify_one();
        }
    }
    // What publishers remember of who gets what is from before.
    for account in server.accounts.all() {
        account.router.bump(b">");
    }
}

/// Whether somebody was a user of a list and is not in the new one.
fn is_gone(grant: &Grant, new: &Auth) -> bool {
    match (&grant.user, new) {
        (Some(user), Auth::Users(users)) => users.get(&user.name).is_none(),
        _ => false,
    }
}

/// Closes the connections that came last, if there are too many.
fn thin_out(server: &Server, most: usize) {
    for client in server.clients().into_iter().skip(most) {
        say(&client, &ServerError::MaxConnections);
        client.close(CloseReason::MaximumConnections);
    }
}

#[cfg(test)]
mod tests;
