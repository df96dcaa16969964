//! The users of a configuration file, as the server asks for them.

use std::sync::Arc;

use crate::auth::permissions::{self, Permissions, Rule, Rules};
use crate::auth::users::{GLOBAL_ACCOUNT, Proof, User, Users};
use crate::conf::settings::authorization::{self as conf, Login};
use crate::conf::settings::{Finding, Settings};

/// Kinds of connections that NATS knows; this server has the first two.
const CONNECTION_TYPES: &[&str] =
    &["STANDARD", "WEBSOCKET", "LEAFNODE", "LEAFNODE_WS", "MQTT", "MQTT_WS", "IN_PROCESS"];

/// Reads who may connect. `None`: the file has no list of users.
///
/// # Errors
/// Everything that is wrong with them.
pub(super) fn read(settings: &Settings) -> Result<Option<Users>, Vec<Finding>> {
    let mut wrong = Vec::new();
    let mut all = Vec::new();
    let mut listed = false;
    if let Some(block) = settings.authorization() {
        listed = block.has_users;
        let default = block.default_permissions.as_ref().map(|found| Arc::new(permissions(found)));
        all.extend(block.users.iter().map(|found| user(found, default.as_ref(), GLOBAL_ACCOUNT, &mut wrong)));
    }
    let accounts = settings.accounts();
    for account in &accounts {
        let default = account.default_permissions.as_ref().map(|found| Arc::new(permissions(found)));
        all.extend(account.users.iter().map(|found| user(found, default.as_ref(), &account.name, &mut wrong)));
    }
    let in_accounts = accounts.iter().any(|account| !account.users.is_empty());
    // Whoever adds no more than a way to watch the server shuts nobody out of it.
    let only_system = accounts.len() == 1
        && accounts.iter().all(|account| super::accounts::is_system(settings, &account.name))
        && settings.authorization().is_none();
    let no_auth_user = settings.text("no_auth_user").filter(|(name, _)| !name.is_empty());
    if let Some((name, at)) = no_auth_user
        && !all.iter().any(|user: &User| user.name == name)
    {
        wrong.push(Finding { at: at.clone(), text: format!("no_auth_user: there is no user {name:?}") });
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let on_websockets = settings.websocket().and_then(|port| port.tls).is_some_and(|tls| tls.verify_and_map);
    let certificates = on_websockets || settings.tls().is_some_and(|tls| tls.verify_and_map);
    let mut open = no_auth_user.map(|(name, _)| name.to_owned());
    if in_accounts && only_system && open.is_none() {
        open = Some(ANYBODY.to_owned());
        all.push(anybody());
    }
    Ok((listed || in_accounts).then(|| Users::new(all, open, certificates)))
}

/// Who everybody is where the only users are those that watch the server.
const ANYBODY: &str = "nats-anybody";

fn anybody() -> User {
    User {
        name: ANYBODY.to_owned(),
        proof: Proof::Nothing,
        permissions: None,
        standard_connections: true,
        websocket_connections: true,
        account: GLOBAL_ACCOUNT.into(),
        by_token: None,
    }
}

fn user(found: &conf::User, default: Option<&Arc<Permissions>>, account: &str, wrong: &mut Vec<Finding>) -> User {
    let types = &found.connection_types;
    for unknown in types.iter().filter(|name| !CONNECTION_TYPES.iter().any(|known| known.eq_ignore_ascii_case(name))) {
        let text = format!("allowed_connection_types: there is no kind of connection {unknown:?}");
        wrong.push(Finding { at: found.at.clone(), text });
    }
    let may = |kind: &str| types.is_empty() || types.iter().any(|name| name.eq_ignore_ascii_case(kind));
    let proof = match &found.login {
        Login::Password { password: Some(password), .. } if !password.is_empty() => Proof::Password(password.clone()),
        Login::Password { .. } => Proof::Nothing,
        Login::Nkey(_) => Proof::Nkey,
    };
    User {
        name: found.login.name().to_owned(),
        proof,
        permissions: found.permissions.as_ref().map(|found| Arc::new(permissions(found))).or_else(|| default.cloned()),
        standard_connections: may("STANDARD"),
        websocket_connections: may("WEBSOCKET"),
        account: account.into(),
        by_token: None,
    }
}

fn permissions(found: &conf::Permissions) -> Permissions {
    let list = |rules: &[conf::Rule]| {
        let rule = |rule: &conf::Rule| Rule {
            subject: rule.subject.as_bytes().into(),
            queue: rule.queue.as_ref().map(|queue| queue.as_bytes().into()),
        };
        rules.iter().map(rule).collect::<Vec<_>>()
    };
    let rules = |rules: &conf::Rules| Rules { allow: rules.allow.as_deref().map(list), deny: list(&rules.deny) };
    Permissions {
        publish: rules(&found.publish),
        subscribe: rules(&found.subscribe),
        responses: found.responses.map(|found| permissions::Responses { max: found.max, expires: found.expires }),
    }
}
