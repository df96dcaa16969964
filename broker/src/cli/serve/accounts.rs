//! The accounts of a configuration file, as the server asks for them.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::users::GLOBAL_ACCOUNT;
use crate::conf::settings::accounts::{self as conf, agree};
use crate::conf::settings::{Finding, Settings};
use crate::config::accounts::{
    AccountLimits, AccountOptions, AccountsOptions, Export, Import, JetStreamLimits, Mapping, Response, SYSTEM_ACCOUNT,
    ServiceImport,
};

/// How long a service may take for its answer if nothing is said.
const THRESHOLD: Duration = Duration::from_secs(120);

/// The name of the account from which the server is watched.
fn system(settings: &Settings) -> Option<&str> {
    if settings.is(&["no_system_account", "no_system", "no_sys_acc"]) {
        return None;
    }
    let named = settings.text("system_account").or_else(|| settings.text("system"));
    Some(named.map_or(SYSTEM_ACCOUNT, |(name, _)| name).trim()).filter(|name| !name.is_empty())
}

/// Whether it is the account from which the server is watched.
pub(super) fn is_system(settings: &Settings, name: &str) -> bool {
    system(settings) == Some(name)
}

/// Reads the accounts.
///
/// # Errors
/// Everything that is wrong with them together.
pub(super) fn read(settings: &Settings) -> Result<AccountsOptions, Vec<Finding>> {
    let found = settings.accounts();
    let mut wrong = Vec::new();
    if settings.operator().is_some() {
        return Ok(of_operator(settings));
    }
    let mut all: std::collections::BTreeMap<Arc<str>, Arc<AccountOptions>> =
        found.iter().map(|account| (account.name.as_str().into(), Arc::new(options(account, &found)))).collect();
    let mappings = settings.mappings();
    if !mappings.is_empty() {
        let mappings = mappings.iter().map(Mapping::from).collect();
        all.insert(GLOBAL_ACCOUNT.into(), Arc::new(AccountOptions { mappings, ..AccountOptions::default() }));
    }
    let system = system(settings);
    if let Some((name, at)) = settings.text("system_account").or_else(|| settings.text("system"))
        && name != SYSTEM_ACCOUNT
        && !found.iter().any(|account| account.name == name)
    {
        wrong.push(Finding { at: at.clone(), text: format!("system_account: there is no account {name:?}") });
    }
    if let Some(account) = found.iter().find(|account| system == Some(&account.name) && account.jetstream.is_some()) {
        let text = "jetstream is not for the system account".to_owned();
        wrong.push(Finding { at: account.at.clone(), text });
    }
    let captured = settings.capture_account();
    if let Some((name, at)) = captured
        && name != GLOBAL_ACCOUNT
        && !all.contains_key(name)
    {
        wrong.push(Finding { at: at.clone(), text: format!("capture_account: there is no account {name:?}") });
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let captured = captured.map_or(GLOBAL_ACCOUNT, |(name, _)| name);
    Ok(AccountsOptions { all, system: system.map(Into::into), captured: captured.into() })
}

fn options(account: &conf::Account, all: &[conf::Account]) -> AccountOptions {
    let bound = |most: Option<u64>| most.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
    AccountOptions {
        limits: AccountLimits {
            max_connections: bound(account.limits.max_connections),
            max_subscriptions: bound(account.limits.max_subscriptions),
            max_payload: bound(account.limits.max_payload),
        },
        jetstream: account.jetstream.clone().map(|each| JetStreamLimits { each }),
        exports: account.exports.iter().map(export).collect(),
        imports: account.imports.iter().filter_map(|found| import(found, all)).collect(),
        mappings: account.mappings.iter().map(Mapping::from).collect(),
        name_tag: None,
    }
}

fn export(found: &conf::Export) -> Export {
    Export {
        subject: found.subject.as_bytes().into(),
        service: found.service.then(|| (found.response, found.threshold.unwrap_or(THRESHOLD))),
        accounts: found.accounts.as_ref().map(|names| names.iter().map(|name| name.as_str().into()).collect()),
        account_token: found.account_token,
    }
}

fn import(found: &conf::Import, all: &[conf::Account]) -> Option<Import> {
    // That both sides agree was checked.
    let (local, rewrite) = agree::subjects(found).ok()?;
    let export = all.iter().find(|account| account.name == found.account).and_then(|account| {
        let of_kind = || account.exports.iter().filter(|export| export.service == found.service);
        let covers = |export: &&conf::Export| {
            sublog_protocol::subject::is_subset(found.subject.as_bytes(), export.subject.as_bytes())
        };
        of_kind().find(|export| export.subject == found.subject).or_else(|| of_kind().find(covers))
    });
    let service = found.service.then(|| ServiceImport {
        response: export.map_or(Response::Singleton, |export| export.response),
        threshold: export.and_then(|export| export.threshold).unwrap_or(THRESHOLD),
        share: found.share,
    });
    Some(Import {
        account: found.account.as_str().into(),
        subject: found.subject.as_bytes().into(),
        local: local.into_bytes().into(),
        rewrite: rewrite.map(Arc::new),
        service,
    })
}

/// Where operators sign accounts: which of them is watched from, and which recorded, is all that the file says of them.
fn of_operator(settings: &Settings) -> AccountsOptions {
    let captured = settings.capture_account().map_or(GLOBAL_ACCOUNT, |(name, _)| name).into();
    AccountsOptions { captured, ..AccountsOptions::default() }
}
