//! What is wrong with claims whose signature is right. The words are nats-server's: its tools show them.

use std::collections::BTreeMap;

use super::account::{Account, Activation, Export, Import, Kind, Limits};
use super::user::{Bounds, Permissions};
use super::{Common, Token, decode, is_account, is_user};
use crate::operator::times;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// In words.
    pub text: String,
    /// Such claims are not taken.
    pub blocking: bool,
    /// It is a question of time: such claims count no longer, or not yet.
    pub of_time: bool,
}

/// All that is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Issues(pub Vec<Issue>);

impl Issues {
    fn add(&mut self, text: impl Into<String>) {
        self.0.push(Issue { text: text.into(), blocking: true, of_time: false });
    }

    fn add_of_time(&mut self, text: &str) {
        self.0.push(Issue { text: text.to_owned(), blocking: false, of_time: true });
    }

    /// Whether claims with these are not taken; of those that only time is wrong with, none `now`.
    #[must_use]
    pub fn block(&self, now: bool) -> bool {
        self.0.iter().any(|issue| issue.blocking || (now && issue.of_time))
    }

    /// What blocks, in one line.
    #[must_use]
    pub fn text(&self) -> String {
        let all: Vec<&str> = self.0.iter().filter(|issue| issue.blocking).map(|issue| issue.text.as_str()).collect();
        all.join("; ")
    }
}

/// `now`: seconds since 1970.
fn times_of(claims: &Common, now: i64, issues: &mut Issues) {
    if claims.exp > 0 && now > claims.exp {
        issues.add_of_time("claim is expired");
    }
    if claims.nbf > 0 && claims.nbf > now {
        issues.add_of_time("claim is not yet valid");
    }
}

/// A subject that is no subject would allow what nobody meant.
fn subject(text: &str, issues: &mut Issues) {
    if text.is_empty() {
        issues.add("subject cannot be empty");
        return;
    }
    if text.contains(' ') {
        issues.add(format!("subject {text:?} cannot have spaces"));
    }
    if text.starts_with('.') || text.ends_with('.') {
        issues.add(format!("subject {text:?} cannot start or end with a `.`"));
    }
    if text.contains("..") {
        issues.add(format!("subject {text:?} cannot contain consecutive `.`"));
    }
}

fn has_wildcards(text: &str) -> bool {
    text.split('.').any(|token| token == "*") || text == ">" || text.ends_with(".>")
}

/// Whether every subject of `text` is one of `other`.
#[must_use]
pub fn is_within(text: &str, other: &str) -> bool {
    let mut own = text.split('.');
    let mut others = other.split('.').peekable();
    while let Some(token) = others.next() {
        let Some(mine) = own.next() else { return false };
        if token == ">" && others.peek().is_none() {
            return true;
        }
        if token != mine && token != "*" {
            return false;
        }
    }
    own.next().is_none()
}

fn permissions(permissions: &Permissions, issues: &mut Issues) {
    for (list, queues) in [(&permissions.subscribe, true), (&permissions.publish, false)] {
        for text in list.allow.iter().chain(&list.deny) {
            let mut words = text.split(' ');
            let (first, second) = (words.next().unwrap_or_default(), words.next());
            if words.next().is_some() {
                issues.add(format!("Permission Subject {text:?} contains too many spaces"));
                continue;
            }
            subject(first, issues);
            if let Some(queue) = second {
                subject(queue, issues);
                if !queues {
                    issues.add(format!("Permission Subject {text:?} is not allowed to contain queue"));
                }
            }
        }
    }
}

fn bounds(bounds: &Bounds, issues: &mut Issues) {
    permissions(&bounds.permissions, issues);
    for source in &bounds.src {
        if crate::operator::sources::Network::parse(source).is_none() {
            issues.add(format!("invalid cidr {source:?} in user src limits"));
        }
    }
    for range in &bounds.times {
        for (text, which) in [(&range.start, "start"), (&range.end, "end")] {
            if text.is_empty() {
                issues.add(format!("time ranges {which} must contain a {which}"));
            } else if times::clock_time(text).is_none() {
                issues.add(format!("{which} in time range is invalid {text:?}"));
            }
        }
    }
    if !bounds.times_location.is_empty() && times::zone(&bounds.times_location).is_none() {
        issues.add(format!("could not parse iana time zone by name: {:?}", bounds.times_location));
    }
}

impl Token<super::user::User> {
    /// What is wrong with it at `now`, in seconds since 1970.
    #[must_use]
    pub fn issues(&self, now: i64) -> Issues {
        let mut issues = Issues::default();
        times_of(&self.claims, now, &mut issues);
        bounds(&self.body.bounds, &mut issues);
        if !self.body.issuer_account.is_empty() && !is_account(&self.body.issuer_account) {
            issues.add("account_id is not an account public key");
        }
        if !is_user(&self.claims.sub) {
            issues.add("the subject is not a user public key");
        }
        issues
    }
}

impl Token<Activation> {
    /// What is wrong with it at `now`, in seconds since 1970.
    #[must_use]
    pub fn issues(&self, now: i64) -> Issues {
        let mut issues = Issues::default();
        times_of(&self.claims, now, &mut issues);
        if self.body.kind.is_none() {
            issues.add("invalid import type: \"unknown\"");
        }
        subject(&self.body.subject, &mut issues);
        if !self.body.issuer_account.is_empty() && !is_account(&self.body.issuer_account) {
            issues.add("account_id is not an account public key");
        }
        issues
    }
}

impl Token<Account> {
    /// What is wrong with it at `now`, in seconds since 1970.
    #[must_use]
    pub fn issues(&self, now: i64) -> Issues {
        let mut issues = Issues::default();
        let (account, limits) = (&self.body, &self.body.limits);
        times_of(&self.claims, now, &mut issues);
        imports(account, &self.claims.sub, &mut issues);
        exports(&account.exports, &mut issues);
        if !limits.tiered_limits.is_empty() && limits.tiered_limits.contains_key("") {
            issues.add("Tiered JetStream Limits can not contain a blank \"\" tier name");
        }
        permissions(&account.default_permissions, &mut issues);
        mappings(account, &mut issues);
        authorization(account, &mut issues);
        counts(account, limits, &mut issues);
        for (key, scope) in &account.signing_keys.0 {
            if !is_account(key) {
                issues.add(match scope {
                    Some(_) => format!("{key} is not an account public key"),
                    None => format!("{key:?} is not a valid account signing key"),
                });
            }
        }
        if !is_account(&self.claims.sub) {
            issues.add("the subject is not an account public key");
        }
        issues
    }
}

fn counts(account: &Account, limits: &Limits, issues: &mut Issues) {
    let more = |count: usize, most: i64| most != -1 && i64::try_from(count).unwrap_or(i64::MAX) > most;
    if more(account.imports.len(), limits.imports) {
        issues.add("the account contains more imports than allowed by the operator");
    }
    if more(account.exports.len(), limits.exports) {
        issues.add("the account contains more exports than allowed by the operator");
    }
    if limits.exports != -1 && !limits.wildcards && account.exports.iter().any(|export| has_wildcards(&export.subject))
    {
        issues.add("the account contains wildcard exports that are not allowed by the operator");
    }
}

fn authorization(account: &Account, issues: &mut Issues) {
    let found = &account.authorization;
    if !found.allowed_accounts.is_empty() && found.auth_users.is_empty() {
        issues.add("External authorization cannot have accounts without users specified");
    }
    for user in found.auth_users.iter().filter(|user| !is_user(user)) {
        issues.add(format!("AuthUser {user:?} is not a valid user public key"));
    }
    for name in found.allowed_accounts.iter().filter(|name| *name != "*" && !is_account(name)) {
        issues.add(format!("Account {name:?} is not a valid account public key"));
    }
}

fn mappings(account: &Account, issues: &mut Issues) {
    for (from, destinations) in &account.mappings {
        subject(from, issues);
        let mut totals: BTreeMap<&str, u32> = BTreeMap::new();
        for destination in destinations {
            subject(&destination.subject, issues);
            let weight = if destination.weight == 0 { 100 } else { u32::from(destination.weight) };
            if weight > 100 {
                issues.add(format!("Mapping {from:?} has a weight {weight} that exceeds 100"));
            }
            *totals.entry(&destination.cluster).or_default() += weight;
        }
        if totals.values().any(|total| *total > 100) {
            issues.add(format!("Mapping {from:?} exceeds 100% among all of it's weighted to mappings"));
        }
    }
}

fn exports(all: &[Export], issues: &mut Issues) {
    for export in all {
        let service = export.kind == Some(Kind::Service);
        if export.kind.is_none() {
            issues.add("invalid export type: \"unknown\"");
        }
        if service && !["", "Singleton", "Stream", "Chunked"].contains(&export.response_type.as_str()) {
            issues.add(format!("invalid response type for service: {:?}", export.response_type));
        }
        if !service && !export.response_type.is_empty() {
            issues.add(format!("invalid response type for stream: {:?}", export.response_type));
        }
        if !service && export.service_latency.is_some() {
            issues.add("latency tracking only permitted for services");
        }
        if export.response_threshold < 0 {
            issues.add("negative response threshold is invalid");
        }
        if export.response_threshold > 0 && !service {
            issues.add("response threshold only valid for services");
        }
        subject(&export.subject, issues);
        let position = export.account_token_position;
        if position > 0 && export.subject.split('.').nth(position - 1) != Some("*") {
            issues.add(format!("Account Token Position {position} does not name a * in {:?}", export.subject));
        }
        let contains = |other: &&Export| {
            !std::ptr::eq(*other, export) && other.kind == export.kind && is_within(&other.subject, &export.subject)
        };
        if let Some(other) = all.iter().find(contains) {
            let kind = if service { "service" } else { "stream" };
            issues.add(format!("{kind} export subject {:?} already exports {:?}", export.subject, other.subject));
        }
    }
}

/// What a service is asked on in the other account.
fn asked(import: &Import) -> &str {
    if import.to.is_empty() { &import.subject } else { &import.to }
}

fn imports(account: &Account, own: &str, issues: &mut Issues) {
    let mut services: Vec<(&str, String)> = Vec::new();
    for import in &account.imports {
        self::import(import, own, issues);
        if import.kind != Some(Kind::Service) {
            continue;
        }
        let local: Vec<&str> =
            import.local_subject.split('.').map(|token| if reference(token).is_some() { "*" } else { token }).collect();
        let found = match (import.to.as_str(), import.local_subject.as_str()) {
            ("", "") => import.subject.clone(),
            ("", _) => local.join("."),
            (to, _) => to.to_owned(),
        };
        let overlaps = |(from, other): &&(&str, String)| {
            *from == import.account && (is_within(other, &found) || is_within(&found, other))
        };
        if let Some((_, other)) = services.iter().find(overlaps) {
            issues.add(format!("overlapping subject namespace for {found:?} and {other:?} in same account {own:?}"));
        }
        services.push((&import.account, found));
    }
}

/// The number of the wildcard that `$2` stands for.
fn reference(token: &str) -> Option<usize> {
    token.strip_prefix('$').and_then(|number| number.parse().ok())
}

fn import(import: &Import, own: &str, issues: &mut Issues) {
    if import.kind.is_none() {
        issues.add("invalid import type: \"unknown\"");
    }
    if import.account.is_empty() {
        issues.add("account to import from is not specified");
    }
    subject(&import.subject, issues);
    if !import.local_subject.is_empty() {
        renaming(&import.local_subject, &import.subject, issues);
        if !import.to.is_empty() {
            issues.add("Local Subject replaces To");
        }
    }
    if import.share && import.kind != Some(Kind::Service) {
        issues.add(format!(
            "sharing information (for latency tracking) is only valid for services: {:?}",
            import.subject
        ));
    }
    if !import.token.is_empty() {
        activation(import, own, issues);
    }
}

fn renaming(local: &str, there: &str, issues: &mut Issues) {
    subject(local, issues);
    let open = |text: &str| text == ">" || text.ends_with(".>");
    if open(local) != open(there) {
        issues.add("both, renaming subject and subject, need to end or not end in >");
    }
    let stars = there.split('.').filter(|token| *token == "*").count();
    let mut used = 0;
    for token in local.split('.') {
        match reference(token) {
            Some(number) if number > stars => {
                issues.add(format!("Reference ${number} in {local:?} reference * in {there:?} that do not exist"));
            }
            Some(_) => used += 1,
            None => used += usize::from(token == "*"),
        }
    }
    if used != stars {
        issues.add("subject does not contain enough * or reference wildcards $[0-9]");
    }
}

fn activation(import: &Import, own: &str, issues: &mut Issues) {
    let Ok(token) = decode::<Activation>(&import.token) else {
        issues.add(format!("import {:?} contains an invalid activation token", import.subject));
        return;
    };
    let activation = &token.body;
    if token.claims.iss != import.account && activation.issuer_account != import.account {
        issues.add(format!("activation token doesn't match account for import {:?}", import.subject));
    }
    if token.claims.sub != own {
        issues.add(format!("activation token doesn't match account it is being included in, {:?}", import.subject));
    }
    if activation.kind != import.kind {
        issues.add("mismatch between token import type and type of import");
    }
    // Whether it is in time is asked when it is used.
    issues.0.extend(token.issues(0).0.into_iter().filter(|issue| !issue.of_time));
    let there = if import.kind == Some(Kind::Service) { asked(import) } else { &import.subject };
    if !is_within(there, &activation.subject) {
        issues.add(format!(
            "activation token import subject {:?} doesn't match import {:?}",
            activation.subject, import.subject
        ));
    }
}
