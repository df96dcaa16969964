//! From the claims of accounts to what an account is: its bounds, and what it takes from others and gives them.
//!
//! Nobody is asked whether a configuration as a whole fits, as there is none: each import is held to what the exporting
//! account claims now. One that does not fit is left out, and the account is called incomplete.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sublog_protocol::subject;

use super::Loaded;
use super::rights::bound;
use crate::conf::Position;
use crate::conf::settings::accounts::{self as conf, agree};
use crate::config::accounts::{
    AccountLimits, AccountOptions, Export, Import, JetStreamLimits, Mapping, Response, ServiceImport,
};
use crate::jetstream::config::Limits as StreamLimits;
use crate::jwt::account::is_revoked;
use crate::jwt::account::{Account, Activation, Export as ClaimedExport, Import as ClaimedImport, JetStream, Kind};
use crate::jwt::decode;

/// How long a service may take for its answer if nothing is said.
const THRESHOLD: Duration = Duration::from_secs(120);
/// Imports that are looked at for one cycle; accounts that need more are taken for one.
const STEPS_MAX: usize = 10_000;

/// Accounts by their keys.
pub(super) type All = BTreeMap<Arc<str>, Arc<Loaded>>;

/// An account's options, and what could not be made of its claims. `now`: seconds since 1970.
pub(super) fn options(loaded: &Loaded, all: &All, now: i64) -> (AccountOptions, Vec<String>) {
    let (mut wrong, claims) = (Vec::new(), &loaded.token.body);
    let mut imports: Vec<Import> = Vec::new();
    for claimed in &claims.imports {
        match import(loaded, claimed, all, now) {
            Ok(import) => {
                let is_same = |other: &Import| {
                    other.service.is_none() && (&other.account, &other.subject) == (&import.account, &import.subject)
                };
                if import.service.is_some() || !imports.iter().any(is_same) {
                    imports.push(import);
                } else {
                    wrong.push(format!("import of {:?}: stream import already exists", claimed.subject));
                }
            }
            Err(why) => wrong.push(format!("import of {:?} from {:?}: {why}", claimed.subject, claimed.account)),
        }
    }
    let mut mappings = Vec::new();
    for (source, destinations) in &claims.mappings {
        // This server is in no cluster.
        let own = destinations.iter().filter(|destination| destination.cluster.is_empty());
        let weight = |weight: u8| if weight == 0 { 100 } else { weight };
        let given = own.map(|destination| (weight(destination.weight), destination.subject.clone())).collect();
        match conf::mapped(source, given) {
            Ok(found) => mappings.push(Mapping::from(&found)),
            Err(why) => wrong.push(why),
        }
    }
    let limits = &claims.limits;
    let options = AccountOptions {
        limits: AccountLimits {
            max_connections: bound(limits.conn),
            max_subscriptions: bound(limits.subs),
            max_payload: bound(limits.payload),
        },
        jetstream: streams(claims),
        exports: claims.exports.iter().map(export).collect(),
        imports,
        mappings,
        name_tag: Some(loaded.token.claims.name.as_str()).filter(|name| !name.is_empty()).map(Into::into),
    };
    (options, wrong)
}

/// What its streams may be, if it may have some. Of tiers there is one on a server alone: that of a single replica.
fn streams(claims: &Account) -> Option<JetStreamLimits> {
    let limits = &claims.limits;
    let tier = if limits.tiered_limits.is_empty() { Some(&limits.jetstream) } else { limits.tiered_limits.get("R1") };
    let tier = tier.filter(|tier| tier.is_enabled())?;
    let at_least = |number: i64| number.max(0);
    Some(JetStreamLimits {
        each: StreamLimits {
            max_streams: usize::try_from(tier.streams).unwrap_or(0),
            max_consumers: at_least(tier.consumer),
            max_ack_pending: at_least(tier.max_ack_pending),
            memory_max_stream_bytes: most_bytes(tier.mem_storage, tier.mem_max_stream_bytes),
            storage_max_stream_bytes: most_bytes(tier.disk_storage, tier.disk_max_stream_bytes),
            max_bytes_required: tier.max_bytes_required,
            ..StreamLimits::default()
        },
    })
}

/// No stream may ask for more than all of them may have; where that is nothing, there is none.
fn most_bytes(all: i64, each: i64) -> i64 {
    if all == 0 {
        return -1;
    }
    [all, each].into_iter().filter(|most| *most > 0).min().unwrap_or(0)
}

/// Bounds of claims that this server does not keep, in words.
pub(super) fn unkept(claims: &Account) -> Vec<&'static str> {
    let limits = &claims.limits;
    let tiers: Vec<&JetStream> = limits.tiered_limits.values().chain([&limits.jetstream]).collect();
    let total = tiers.iter().any(|tier| tier.mem_storage > 0 || tier.disk_storage > 0);
    let measured = claims.exports.iter().any(|export| export.service_latency.is_some());
    [
        (
            total,
            "mem_storage and disk_storage bound what each of its streams may ask for, and not all of them together",
        ),
        (measured, "latencies of services are not measured"),
        (
            !claims.authorization.auth_users.is_empty(),
            "no service is asked about users: only its auth_users may connect",
        ),
    ]
    .into_iter()
    .filter_map(|(is, text)| is.then_some(text))
    .collect()
}

fn export(claimed: &ClaimedExport) -> Export {
    let response = match claimed.response_type.as_str() {
        "Stream" => Response::Stream,
        "Chunked" => Response::Chunked,
        _ => Response::Singleton,
    };
    Export {
        subject: claimed.subject.as_bytes().into(),
        service: (claimed.kind == Some(Kind::Service)).then(|| (response, threshold(claimed))),
        // Whoever has a token is not named here.
        accounts: claimed.token_req.then(Vec::new),
        account_token: claimed.account_token_position,
    }
}

fn threshold(claimed: &ClaimedExport) -> Duration {
    u64::try_from(claimed.response_threshold).ok().filter(|ns| *ns > 0).map_or(THRESHOLD, Duration::from_nanos)
}

/// The same import as a configuration would have it.
fn written(claimed: &ClaimedImport) -> Option<conf::Import> {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let service = claimed.kind? == Kind::Service;
    let (local, to) = (some(&claimed.local_subject), some(&claimed.to));
    let (subject, to, prefix) = match (service, local) {
        (false, local) => (claimed.subject.clone(), local, to),
        (true, Some(local)) => (claimed.subject.clone(), Some(local), None),
        // The old way: what is published here, and what it is there.
        (true, None) => (to.unwrap_or_else(|| claimed.subject.clone()), Some(claimed.subject.clone()), None),
    };
    let at = Position { file: "a token".into(), line: 0, column: 0 };
    Some(conf::Import { at, account: claimed.account.clone(), subject, service, to, prefix, share: claimed.share })
}

fn import(own: &Loaded, claimed: &ClaimedImport, all: &All, now: i64) -> Result<Import, String> {
    let from = all.get(claimed.account.as_str()).ok_or("the account is not known")?;
    let written = written(claimed).ok_or("it is neither a stream nor a service")?;
    let (local, rewrite) = agree::subjects(&written)?;
    let export = authorized(own, claimed, &written, from, now)?;
    if forms_cycle(all, &written, &mut vec![&own.name], &mut 0) {
        return Err("import forms a cycle".to_owned());
    }
    let service = written.service.then(|| {
        let (response, threshold) = self::export(export).service.unwrap_or((Response::Singleton, THRESHOLD));
        ServiceImport { response, threshold, share: claimed.share }
    });
    Ok(Import {
        account: from.name.clone(),
        subject: written.subject.as_bytes().into(),
        local: local.into_bytes().into(),
        rewrite: rewrite.map(Arc::new),
        service,
    })
}

/// The export that gives an account the right to an import.
fn authorized<'a>(
    own: &Loaded,
    claimed: &ClaimedImport,
    written: &conf::Import,
    from: &'a Loaded,
    now: i64,
) -> Result<&'a ClaimedExport, String> {
    let exports = || from.token.body.exports.iter().filter(|export| export.kind == claimed.kind);
    let covers = |export: &&ClaimedExport| subject::is_subset(written.subject.as_bytes(), export.subject.as_bytes());
    let same = exports().find(|export| export.subject == written.subject);
    let export = same.or_else(|| exports().find(covers)).ok_or("it is not exported")?;
    if export.account_token_position > 0 {
        let named = written.subject.split('.').nth(export.account_token_position - 1);
        return if named == Some(&own.name) { Ok(export) } else { Err("it is exported to another account".to_owned()) };
    }
    if export.token_req {
        activated(own, claimed, written, from, export, now)?;
    }
    Ok(export)
}

/// Whether the exporting account has signed that this one may import that.
fn activated(
    own: &Loaded,
    claimed: &ClaimedImport,
    written: &conf::Import,
    from: &Loaded,
    export: &ClaimedExport,
    now: i64,
) -> Result<(), String> {
    if claimed.token.is_empty() {
        return Err("it needs an activation token".to_owned());
    }
    let token = decode::<Activation>(&claimed.token).map_err(|error| format!("its activation token: {error}"))?;
    let (claims, activation) = (&token.claims, &token.body);
    let signed_by_account = claims.iss == *from.name && activation.issuer_account.is_empty();
    let signed_for_account = activation.issuer_account == *from.name && from.signer(&claims.iss).is_some();
    let fits = (signed_by_account || signed_for_account)
        && claims.sub == *own.name
        && activation.kind == claimed.kind
        && crate::jwt::valid::is_within(&written.subject, &activation.subject);
    if !fits {
        return Err("its activation token is for something else".to_owned());
    }
    if token.issues(now).block(true) || (claims.exp > 0 && claims.exp <= now) {
        return Err("its activation token has expired".to_owned());
    }
    if is_revoked(&export.revocations, &claims.sub, claims.iat) {
        return Err("its activation token was revoked".to_owned());
    }
    Ok(())
}

/// When the next of an account's activation tokens expires or begins, in seconds since 1970.
pub(super) fn next_activation(loaded: &Loaded, now: i64) -> Option<i64> {
    let tokens = loaded.token.body.imports.iter().filter(|import| !import.token.is_empty());
    let times = tokens.filter_map(|import| decode::<Activation>(&import.token).ok());
    times.flat_map(|token| [token.claims.exp, token.claims.nbf]).filter(|time| *time > now).min()
}

/// Whether what takes the way of this import comes to an account it was in already.
fn forms_cycle<'a>(all: &'a All, import: &conf::Import, way: &mut Vec<&'a str>, steps: &mut usize) -> bool {
    *steps += 1;
    if *steps > STEPS_MAX || way.contains(&import.account.as_str()) {
        return true;
    }
    let Some(account) = all.get(import.account.as_str()) else { return false };
    way.push(&account.name);
    let cycle = account.token.body.imports.iter().filter_map(written).any(|next| {
        let here = agree::subjects(&next).map(|(here, _)| here).unwrap_or_default();
        let goes_on = next.service == import.service && subject::overlaps(here.as_bytes(), import.subject.as_bytes());
        goes_on && forms_cycle(all, &next, way, steps)
    });
    way.pop();
    cycle
}
