//! Whether accounts agree about what one takes from another: what is imported is exported to the importer, and nothing
//! comes back to where it began.

use sublog_protocol::subject;

use super::{Account, Import};
use crate::conf::settings::Finding;
use crate::jetstream::config::transform::Transform;

/// The subject under which something is imported, and how subjects become those of the other side.
pub(crate) type Subjects = (String, Option<Transform>);

/// Whether an export can be.
pub(super) fn check_export(subject: &str, accounts: Option<&[String]>, account_token: usize) -> Result<(), String> {
    if !subject::is_valid_filter(subject.as_bytes()) {
        return Err(format!("Error adding export {subject:?}: invalid subject"));
    }
    if account_token > 0 && (subject.split('.').nth(account_token - 1) != Some("*") || accounts.is_some()) {
        return Err(format!("Error adding export {subject:?}: invalid subject"));
    }
    Ok(())
}

fn kind(service: bool) -> &'static str {
    if service { "service" } else { "stream" }
}

fn failed(import: &Import, why: &dyn std::fmt::Display) -> String {
    format!("Error adding {} import {:?}: {why}", kind(import.service), import.subject)
}

/// The number of the wildcard that a token stands for: `*` for the next one, `$2` for the second.
fn wildcard(token: &str, next: &mut usize) -> Option<usize> {
    if token == "*" {
        *next += 1;
        return Some(*next);
    }
    let inner = token.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).map(str::trim);
    let called = inner.and_then(|call| call.to_ascii_lowercase().strip_prefix("wildcard(").map(str::to_owned));
    let number = called.as_deref().and_then(|call| call.strip_suffix(')')).or_else(|| token.strip_prefix('$'));
    number?.trim().parse().ok()
}

/// Where an import is here, and how subjects are changed on the way: of a stream from there to here, of a service from here
/// to there.
pub(crate) fn subjects(import: &Import) -> Result<Subjects, String> {
    let failed = |why: &dyn std::fmt::Display| failed(import, why);
    let there = import.subject.as_str();
    let prefixed = import.prefix.as_ref().filter(|_| !import.service).map(|prefix| prefix.trim_end_matches('.'));
    if prefixed.is_some_and(|prefix| !subject::is_valid_literal(prefix.as_bytes())) {
        return Err(failed(&"stream import prefix can not contain wildcard tokens"));
    }
    let here = match (prefixed, &import.to) {
        (Some(prefix), _) => format!("{prefix}.{there}"),
        (None, Some(to)) => to.clone(),
        (None, None) => there.to_owned(),
    };
    if !subject::is_valid_filter(there.as_bytes()) {
        return Err(failed(&"invalid subject"));
    }
    let mut next = 0;
    let numbers: Vec<Option<usize>> = here.split('.').map(|token| wildcard(token, &mut next)).collect();
    let tokens = || here.split('.').zip(&numbers);
    let filter: Vec<&str> = tokens().map(|(token, number)| if number.is_some() { "*" } else { token }).collect();
    let filter = filter.join(".");
    if !subject::is_valid_filter(filter.as_bytes()) {
        return Err(failed(&"invalid subject"));
    }
    if filter == there && numbers.iter().flatten().is_sorted() {
        return Ok((filter, None));
    }
    let stars = there.split('.').filter(|token| *token == "*").count();
    let mut used: Vec<usize> = numbers.iter().flatten().copied().collect();
    used.sort_unstable();
    if used != (1..=stars).collect::<Vec<_>>() {
        return Err(failed(&"invalid mapping destination: not using all of the token wildcard(s)"));
    }
    let made = if import.service {
        let (mut star, mut to) = (0, Vec::new());
        for token in there.split('.') {
            if token == "*" {
                star += 1;
                // Which wildcard here is this one.
                let at = numbers.iter().flatten().position(|number| *number == star).unwrap_or(0);
                to.push(format!("${}", at + 1));
            } else {
                to.push(token.to_owned());
            }
        }
        Transform::new(&filter, &to.join("."))
    } else {
        let token = |(token, number): (&str, &Option<usize>)| match number {
            Some(number) => format!("${number}"),
            None => token.to_owned(),
        };
        Transform::new(there, &tokens().map(token).collect::<Vec<_>>().join("."))
    };
    Ok((filter, made.map_err(|error| failed(&error))?))
}

/// What accounts say of each other.
pub(super) fn check(accounts: &[Account], wrong: &mut Vec<Finding>) {
    let find = |name: &str| accounts.iter().find(|account| account.name == name);
    for account in accounts {
        for export in &account.exports {
            for name in export.accounts.iter().flatten().filter(|name| find(name).is_none()) {
                let text = format!("{name:?} account not defined for {} export", kind(export.service));
                wrong.push(Finding { at: export.at.clone(), text });
            }
        }
        for (at, import) in account.imports.iter().enumerate() {
            let is_same = |other: &Import| {
                (other.service, &other.account, &other.subject) == (import.service, &import.account, &import.subject)
            };
            let text = match find(&import.account) {
                None => format!("{:?} account not defined for {} import", import.account, kind(import.service)),
                Some(other) if !is_authorized(other, &account.name, import) => {
                    failed(import, &format_args!("{} import not authorized", kind(import.service)))
                }
                Some(_) if !import.service && account.imports.iter().take(at).any(is_same) => {
                    failed(import, &"stream import already exists")
                }
                Some(_) if forms_cycle(accounts, import, &mut vec![&account.name]) => {
                    failed(import, &"import forms a cycle")
                }
                Some(_) => continue,
            };
            wrong.push(Finding { at: import.at.clone(), text });
        }
    }
}

/// Whether `by` may import that.
fn is_authorized(from: &Account, by: &str, import: &Import) -> bool {
    let exports = || from.exports.iter().filter(|export| export.service == import.service);
    let covers = |export: &&super::Export| subject::is_subset(import.subject.as_bytes(), export.subject.as_bytes());
    let same = exports().find(|export| export.subject == import.subject);
    let Some(export) = same.or_else(|| exports().find(covers)) else { return false };
    if export.account_token > 0 {
        return import.subject.split('.').nth(export.account_token - 1) == Some(by);
    }
    export.accounts.as_ref().is_none_or(|accounts| accounts.iter().any(|name| name == by))
}

/// Whether what takes the way of this import comes to an account it was in already.
fn forms_cycle<'a>(accounts: &'a [Account], import: &'a Import, way: &mut Vec<&'a str>) -> bool {
    if way.contains(&import.account.as_str()) {
        return true;
    }
    let Some(account) = accounts.iter().find(|account| account.name == import.account) else { return false };
    way.push(&account.name);
    let goes_on = |next: &&Import| {
        let here = subjects(next).map(|(here, _)| here).unwrap_or_default();
        next.service == import.service && subject::overlaps(here.as_bytes(), import.subject.as_bytes())
    };
    let cycle = account.imports.iter().filter(goes_on).any(|next| forms_cycle(accounts, next, way));
    way.pop();
    cycle
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::Position;

    fn import(service: bool, subject: &str, to: Option<&str>, prefix: Option<&str>) -> Import {
        Import {
            at: Position { file: "t".into(), line: 1, column: 1 },
            account: "A".to_owned(),
            subject: subject.to_owned(),
            service,
            to: to.map(str::to_owned),
            prefix: prefix.map(str::to_owned),
            share: false,
        }
    }

    /// What is imported, how it is called here, and what becomes of one subject on its way.
    #[test]
    fn subjects_become_those_of_the_other_side() {
        for (service, there, to, prefix, here, from, expected) in [
            (false, "a.*", None, None, "a.*", "a.x", None),
            (false, "a.*", Some("a.*"), None, "a.*", "a.x", None),
            (false, "a.>", None, Some("p.q."), "p.q.a.>", "a.x.y", Some("p.q.a.x.y")),
            (false, "a.*.*", Some("$2.b.$1"), None, "*.b.*", "a.x.y", Some("y.b.x")),
            (false, "a.*.*", Some("b.*.*"), None, "b.*.*", "a.x.y", Some("b.x.y")),
            (false, "a.*.*", Some("a.$2.$1"), None, "a.*.*", "a.x.y", Some("a.y.x")),
            (false, "a.*", Some("b.{{wildcard(1)}}"), None, "b.*", "a.x", Some("b.x")),
            (false, "a", Some("b"), None, "b", "a", Some("b")),
            (true, "svc", Some("mine.svc"), None, "mine.svc", "mine.svc", Some("svc")),
            (true, "v.*.*", Some("w.$2.$1"), None, "w.*.*", "w.two.one", Some("v.one.two")),
            (true, "v.>", Some("w.>"), None, "w.>", "w.a.b", Some("v.a.b")),
        ] {
            let (filter, transform) = subjects(&import(service, there, to, prefix)).unwrap();
            assert_eq!(filter, here, "{there} {to:?}");
            let made = transform.map(|it| String::from_utf8(it.apply(from.as_bytes(), 0).unwrap()).unwrap());
            assert_eq!(made.as_deref(), expected, "{there} {to:?}");
        }
        for (service, there, to, prefix) in [
            (false, "a.*", Some("b"), None),
            (false, "a.*", Some("b.$2"), None),
            (false, "a.*.*", Some("b.$1.$1"), None),
            (false, "a.>", Some("b"), None),
            (false, "a..b", None, None),
            (false, "a", None, Some("p.*")),
            (true, "a.*", Some("b"), None),
            (true, "a", Some("b.*"), None),
        ] {
            let error = subjects(&import(service, there, to, prefix)).unwrap_err();
            assert!(error.starts_with("Error adding "), "{there} {to:?}: {error}");
        }
    }
}
