//! Operators of a configuration file, as the server asks for them: tokens are read and checked here, so that a server whose
//! operator nobody can trust does not start. The words about what excludes each other are nats-server's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::conf::Position;
use crate::conf::settings::operator::{self as conf, Resolver};
use crate::conf::settings::{Finding, Settings};
use crate::config::operator::{Delete, OperatorOptions, ResolverOptions, TrustedOperator};
use crate::jwt::account::Account;
use crate::jwt::{self, Encoded, TOKEN_BYTES_MAX, decode};
use crate::server::NATS_VERSION;

/// All tokens begin so.
const TOKEN_PREFIX: &str = "eyJ";

/// Reads who signs accounts. `None`: nobody does.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn read(settings: &Settings) -> Result<Option<OperatorOptions>, Vec<Finding>> {
    let Some(found) = settings.operator() else { return without(settings) };
    let mut wrong = Wrong::default();
    let operators: Vec<TrustedOperator> =
        found.operators.iter().filter_map(|placed| wrong.keep(&placed.1, trusted(&placed.0))).collect();
    let at = found.operators.first().or(found.trusted.first()).map(|(_, at)| at.clone());
    let Some(at) = at else {
        // Where accounts are found, and nobody to sign them.
        if let Some((_, at)) = &found.resolver {
            wrong.add(at, "resolver needs operator or trusted_keys: without them no account is trusted");
        } else if let Some((_, (_, at))) = found.preload.first() {
            wrong.add(at, "resolver_preload needs operator or trusted_keys, and a resolver");
        } else if let Some((_, at)) = found.pinned.iter().flatten().next() {
            wrong.add(at, "resolver_pinned_accounts needs operator or trusted_keys");
        }
        return if wrong.0.is_empty() { Ok(None) } else { Err(wrong.0) };
    };
    excluded(settings, &found, &at, &mut wrong);
    for operator in &operators {
        let asserted = &operator.token.body.assert_server_version;
        wrong.keep(&at, version(&operator.token.claims.sub, asserted));
    }
    let (trusted, strict) = keys(&found, &operators, &mut wrong);
    let system = system(settings, &operators, &mut wrong);
    let resolver = match &found.resolver {
        Some((resolver, at)) => wrong.keep(at, self::resolver(resolver)),
        None => of_operator(&operators).or_else(|| {
            wrong.add(&at, "operators require an account resolver to be configured");
            None
        }),
    };
    if matches!(resolver, Some(ResolverOptions::Directory { .. })) && system.is_none() {
        let text = "using nats based account resolver - the system account needs to be specified in configuration or the \
                    operator jwt";
        wrong.add(&at, text);
    }
    if matches!(resolver, Some(ResolverOptions::Memory))
        && let Some(system) = &system
        && !found.preload.iter().any(|(name, _)| **name == **system)
    {
        wrong.add(
            &at,
            format!("the system account {system} is not in resolver_preload, and a resolver in memory has no other"),
        );
    }
    let preload = preload(&found, resolver.as_ref(), &mut wrong);
    let pinned = pinned(&found, system.as_deref(), &mut wrong);
    match resolver {
        Some(resolver) if wrong.0.is_empty() => {
            Ok(Some(OperatorOptions { operators, trusted, strict, resolver, preload, pinned, system }))
        }
        _ => Err(wrong.0),
    }
}

/// What makes no sense where nobody signs accounts.
fn without(settings: &Settings) -> Result<Option<OperatorOptions>, Vec<Finding>> {
    let cookie = settings.websocket().and_then(|port| port.jwt_cookie);
    let (Some(cookie), Some(at)) = (cookie, settings.place("websocket")) else { return Ok(None) };
    let text = format!(
        "trusted operators or trusted keys configuration is required for JWT authentication via cookie {cookie:?}"
    );
    Err(vec![Finding { at: at.clone(), text }])
}

/// What is wrong.
#[derive(Default)]
struct Wrong(Vec<Finding>);

impl Wrong {
    fn add(&mut self, at: &Position, text: impl Into<String>) {
        self.0.push(Finding { at: at.clone(), text: text.into() });
    }

    fn keep<T>(&mut self, at: &Position, found: Result<T, String>) -> Option<T> {
        found.inspect_err(|text| self.add(at, text.clone())).ok()
    }
}

/// The operator of a token, or of a file that holds one.
fn trusted(text: &str) -> Result<TrustedOperator, String> {
    let failed = |why: &dyn std::fmt::Display| format!("error parsing operator JWT: {why}");
    let jwt = if text.starts_with(TOKEN_PREFIX) {
        text.to_owned()
    } else {
        let file = std::fs::metadata(Path::new(text)).map_err(|error| failed(&format_args!("{text}: {error}")))?;
        if !file.is_file() || file.len() > TOKEN_BYTES_MAX as u64 {
            return Err(failed(&format_args!("{text} is no file, or too large a file, for a token")));
        }
        std::fs::read_to_string(text).map_err(|error| failed(&format_args!("{text}: {error}")))?
    };
    let jwt = Encoded::new(jwt::undecorated(&jwt));
    let token = decode(jwt.text()).map_err(|error| failed(&error))?;
    Ok(TrustedOperator { jwt, token })
}

/// What cannot stand beside operators.
fn excluded(settings: &Settings, found: &conf::Operator, at: &Position, wrong: &mut Wrong) {
    if !settings.accounts().is_empty() {
        wrong.add(at, "operators do not allow Accounts to be configured directly");
    }
    let authorization = settings.authorization();
    let one = |block: &crate::conf::settings::authorization::Authorization| {
        block.has_users || block.user.is_some() || block.password.is_some() || block.token.is_some()
    };
    if authorization.as_ref().is_some_and(one) {
        wrong.add(at, "operators do not allow users to be configured directly");
    }
    if authorization.is_some_and(|block| block.callout.is_some()) {
        wrong.add(at, "operators do not allow authorization callouts to be configured directly");
    }
    if !found.operators.is_empty() && !found.trusted.is_empty() {
        wrong.add(at, "conflicting options for 'TrustedKeys' and 'TrustedOperators'");
    }
    if settings.text("no_auth_user").is_some_and(|(name, _)| !name.is_empty()) {
        wrong.add(at, "no_auth_user not compatible with Trusted Operator");
    }
    let maps = settings.tls().is_some_and(|tls| tls.verify_and_map);
    if maps || settings.websocket().and_then(|port| port.tls).is_some_and(|tls| tls.verify_and_map) {
        wrong.add(at, "verify_and_map: users of operators show tokens, and certificates name none of them");
    }
}

/// Keys that may sign accounts, and those of them that are strict.
fn keys(
    found: &conf::Operator,
    operators: &[TrustedOperator],
    wrong: &mut Wrong,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut trusted, mut strict) = (BTreeSet::new(), BTreeSet::new());
    for (key, at) in &found.trusted {
        if jwt::is_operator(key) {
            trusted.insert(key.clone());
        } else {
            wrong.add(at, format!("trust key {key:?} required to be a valid public operator nkey"));
        }
    }
    for (operator, (_, at)) in operators.iter().zip(&found.operators) {
        let body = &operator.token.body;
        let own = Some(&operator.token.claims.sub).filter(|_| !body.strict_signing_key_usage);
        for key in own.into_iter().chain(&body.signing_keys) {
            if !jwt::is_operator(key) {
                wrong.add(at, format!("trusted Keys {key:?} are required to be a valid public operator nkey"));
            }
            trusted.insert(key.clone());
        }
        if body.strict_signing_key_usage {
            strict.extend(body.signing_keys.iter().cloned());
        }
    }
    (trusted, strict)
}

/// The account from which the server is watched.
fn system(settings: &Settings, operators: &[TrustedOperator], wrong: &mut Wrong) -> Option<Arc<str>> {
    let named = settings.text("system_account").or_else(|| settings.text("system"));
    let of_operators = || operators.iter().map(|operator| operator.token.body.system_account.as_str());
    let first = of_operators().next().filter(|name| !name.is_empty());
    if settings.is(&["no_system_account", "no_system", "no_sys_acc"]) {
        return None;
    }
    let Some((name, at)) = named.filter(|(name, _)| !name.trim().is_empty()) else { return first.map(Into::into) };
    let name = name.trim();
    if of_operators().any(|known| !known.is_empty()) && !of_operators().any(|known| known == name) {
        wrong.add(at, "system_account in config and operator JWT must be identical");
    }
    if !jwt::is_account(name) {
        wrong.add(at, format!("system_account: {name:?} is no public key of an account"));
    }
    Some(name.into())
}

/// Whether the operator takes a server of this version.
fn version(operator: &str, asserted: &str) -> Result<(), String> {
    if asserted.is_empty() {
        return Ok(());
    }
    let numbers = |text: &str| -> Option<[u64; 3]> {
        let parts: Vec<u64> = text.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        parts.try_into().ok()
    };
    match (numbers(asserted), numbers(NATS_VERSION)) {
        (Some(wanted), Some(own)) if wanted <= own => Ok(()),
        (Some(_), _) => Err(format!("operator {operator} expected version {asserted} > server version {NATS_VERSION}")),
        (None, _) => Err(format!("operator {operator} expects version {asserted:?}, which is none")),
    }
}

/// The server that the operator names, where no resolver is said.
fn of_operator(operators: &[TrustedOperator]) -> Option<ResolverOptions> {
    let [operator] = operators else { return None };
    let url = operator.token.body.account_server_url.trim_end_matches('/');
    (!url.is_empty()).then(|| ResolverOptions::Url(format!("{url}/accounts")))
}

fn resolver(found: &Resolver) -> Result<ResolverOptions, String> {
    const EXPECTED: &str = "resolver: expected MEMORY, URL(\"url\"), or a block with type: full and dir";
    match found {
        Resolver::Word(word) => {
            let upper = word.trim().to_ascii_uppercase();
            if matches!(upper.as_str(), "MEM" | "MEMORY") {
                return Ok(ResolverOptions::Memory);
            }
            let inner =
                upper.strip_prefix("URL(").and_then(|_| word.trim().get(4..)).and_then(|rest| rest.strip_suffix(')'));
            let url = inner.ok_or(EXPECTED)?.trim().trim_matches('"').to_owned();
            if !url.starts_with("http://") {
                return Err(format!("resolver: {url:?}: tokens are fetched by http:// only"));
            }
            Ok(ResolverOptions::Url(url))
        }
        Resolver::Block { kind, dir, allow_delete, hard_delete, limit, has_ttl } => {
            match kind.to_ascii_uppercase().as_str() {
                "MEM" | "MEMORY" => return Ok(ResolverOptions::Memory),
                "FULL" => {}
                "CACHE" => {
                    return Err(
                        "resolver: type: cache is not supported: it asks other servers for what it lacks, and this \
                                server joins no others yet"
                            .to_owned(),
                    );
                }
                _ => return Err(EXPECTED.to_owned()),
            }
            if *has_ttl {
                return Err("FULL does not accept ttl".to_owned());
            }
            if hard_delete.is_some() && !allow_delete {
                return Err("hard_delete has no effect without delete".to_owned());
            }
            let dir = dir.as_ref().ok_or("dir has no value and needs to point to a directory")?.into();
            let limit = usize::try_from(*limit).ok().filter(|limit| *limit > 0);
            let delete = match (allow_delete, hard_delete) {
                (false, _) => Delete::Never,
                (true, Some(true)) => Delete::Remove,
                (true, _) => Delete::Rename,
            };
            Ok(ResolverOptions::Directory { dir, limit, delete })
        }
    }
}

/// Tokens of accounts.
fn preload(found: &conf::Operator, resolver: Option<&ResolverOptions>, wrong: &mut Wrong) -> BTreeMap<String, Encoded> {
    let mut all = BTreeMap::new();
    for (name, (jwt, at)) in &found.preload {
        if matches!(resolver, Some(ResolverOptions::Url(_))) {
            wrong.add(at, "resolver preloads only available for writeable resolver types MEM/DIR/CACHE_DIR");
            break;
        }
        match decode::<Account>(jwt) {
            Ok(token) if token.claims.sub == *name => drop(all.insert(name.clone(), Encoded::new(jwt))),
            Ok(_) => wrong.add(at, format!("resolver_preload: the token is not of account {name:?}")),
            Err(error) => wrong.add(at, format!("resolver_preload: invalid account JWT: {error}")),
        }
    }
    all
}

/// The only accounts that may connect, the system account among them.
fn pinned(found: &conf::Operator, system: Option<&str>, wrong: &mut Wrong) -> Option<BTreeSet<String>> {
    let listed = found.pinned.as_ref().filter(|list| !list.is_empty())?;
    for (key, at) in listed.iter().filter(|(key, _)| !jwt::is_account(key)) {
        wrong.add(at, format!("pinned account key {key:?} is not a valid public account nkey"));
    }
    Some(listed.iter().map(|(key, _)| key.clone()).chain(system.map(str::to_owned)).collect())
}
