//! What a configuration file says, taken over as if by flags.
//!
//! Most keys mean what a flag means, and go through that flag, so that bounds and words are the same in both places.
//! `conf::settings::keys` says which keys are honoured; a test holds the two together.

use std::path::Path;
use std::sync::Arc;

use super::super::flags::{self, UsageError};
use super::super::values;
use super::{Draft, FLAGS, accounts, operator, users};
use crate::conf::settings::{ConfigError, Finding, Honoured, Settings, address, duration, size};
use crate::conf::{Position, Value};
use crate::jetstream::domain;
use crate::limits;

/// A file that can be obeyed.
pub(super) struct Read {
    /// What it says.
    pub(super) draft: Draft,
    /// The fingerprint of its values.
    pub(super) digest: String,
    pub(super) warnings: Vec<Finding>,
    /// Where each key stands that has an effect.
    pub(super) places: Vec<(String, Position)>,
}

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<Read, UsageError> {
    let refuse = |error: ConfigError| UsageError::Config(error.to_string());
    let settings = Settings::load(path).map_err(refuse)?;
    let mut draft = Draft::default();
    draft.server.tls = settings.tls().map(Into::into);
    draft.server.websocket = settings.websocket();
    draft.has_own_block = settings.has("sublog");
    // A block that says nothing else asks for it.
    draft.jetstream = settings.has("jetstream").then_some(true);
    let mut wrong = settings.refusals.clone();
    let honoured = settings.honoured();
    wrong.extend(apply(&honoured, &mut draft));
    match users::read(&settings) {
        Ok(users) => draft.users = users,
        Err(findings) => wrong.extend(findings),
    }
    match operator::read(&settings) {
        Ok(operator) => draft.server.operator = operator.map(Arc::new),
        Err(findings) => wrong.extend(findings),
    }
    match accounts::read(&settings) {
        Ok(accounts) => draft.server.accounts = Arc::new(accounts),
        Err(findings) => wrong.extend(findings),
    }
    if wrong.is_empty() {
        let places = honoured.into_iter().map(|key| (key.path, key.at.clone())).collect();
        Ok(Read { draft, digest: settings.digest(), places, warnings: settings.warnings })
    } else {
        Err(refuse(ConfigError::Settings(wrong)))
    }
}

/// How the value of a key becomes that of a flag.
#[derive(Clone, Copy)]
enum As {
    /// As it is.
    Text,
    /// A duration; a bare number is seconds.
    Span,
    /// A duration, or off.
    SpanOrOff,
    /// Bytes.
    Size,
    /// Bytes, or off.
    SizeOrOff,
}

/// Keys that mean what a flag means.
const LIKE_FLAGS: &[(&str, &str, As)] = &[
    ("port", "p", As::Text),
    ("host", "a", As::Text),
    ("server_name", "n", As::Text),
    ("http_port", "m", As::Text),
    ("https_port", "ms", As::Text),
    ("pid_file", "P", As::Text),
    ("ports_file_dir", "ports_file_dir", As::Text),
    ("lame_duck_duration", "lame_duck_duration", As::Span),
    ("lame_duck_grace_period", "lame_duck_grace_period", As::Span),
    ("debug", "D", As::Text),
    ("trace", "V", As::Text),
    ("logtime", "T", As::Text),
    ("logtime_utc", "logtime_utc", As::Text),
    ("log_file", "l", As::Text),
    ("log_size_limit", "log_size_limit", As::Size),
    ("max_control_line", "max_control_line", As::Size),
    ("max_payload", "max_payload", As::Size),
    ("max_pending", "max_pending", As::Size),
    ("ping_interval", "ping_interval", As::Span),
    ("ping_max", "ping_max", As::Text),
    ("write_deadline", "write_deadline", As::Span),
    ("authorization.user", "user", As::Text),
    ("authorization.password", "pass", As::Text),
    ("authorization.token", "auth", As::Text),
    ("store_dir", "sd", As::Text),
    ("jetstream.store_dir", "sd", As::Text),
    ("sublog.capture", "capture", As::Text),
    ("sublog.sync", "sync", As::Text),
    ("sublog.compress", "compress", As::Text),
    ("sublog.max_age", "max-age", As::SpanOrOff),
    ("sublog.max_bytes", "max-bytes", As::SizeOrOff),
    ("sublog.disk_reserve", "disk-reserve", As::Size),
    ("sublog.retention.max_age", "max-age", As::SpanOrOff),
    ("sublog.retention.max_bytes", "max-bytes", As::SizeOrOff),
    ("sublog.retention.disk_reserve", "disk-reserve", As::Size),
    ("sublog.scrub_interval", "scrub-interval", As::SpanOrOff),
    ("sublog.scrub_rate", "scrub-rate", As::Size),
    ("sublog.scrub.interval", "scrub-interval", As::SpanOrOff),
    ("sublog.scrub.rate", "scrub-rate", As::Size),
    ("sublog.log_format", "log-format", As::Text),
];

/// Takes over every key, and returns what is wrong.
fn apply(all: &[Honoured<'_>], draft: &mut Draft) -> Vec<Finding> {
    let mut wrong = Vec::new();
    let mut given: Vec<(&str, &Honoured<'_>)> = Vec::new();
    for key in all {
        let result = match LIKE_FLAGS.iter().find(|(path, ..)| *path == key.path) {
            Some((_, flag, how)) => {
                // Two keys for one thing contradict each other, as store_dir and jetstream { store_dir }.
                if let Some((_, first)) = given.iter().find(|(other, first)| other == flag && first.path != key.path) {
                    let text =
                        format!("{} says the same as {} at {}: keep one of them", key.path, first.path, first.at);
                    wrong.push(Finding { at: key.at.clone(), text });
                    continue;
                }
                given.push((flag, key));
                as_flag(&key.node.value, *how).and_then(|text| flags::set(FLAGS, flag, &text, draft))
            }
            None => by_itself(key, draft),
        };
        if let Err(text) = result {
            wrong.push(Finding { at: key.node.at.clone(), text: format!("{}: {text}", key.path) });
        }
    }
    wrong.extend(sync_interval(all, draft));
    wrong.extend(two_monitors(all));
    wrong.extend(two_folders(all));
    // One trace includes the other, whatever is said of that.
    draft.server.trace |= all.iter().any(|key| key.path == "trace_verbose" && key.node.value == Value::Bool(true));
    wrong
}

/// The value as a flag takes it.
fn as_flag(value: &Value, how: As) -> Result<String, String> {
    let span =
        |value: &Value| duration(value).map(values::show_duration).map_err(|expected| format!("expected {expected}"));
    let bytes =
        |value: &Value| size(value).map(|bytes| bytes.to_string()).map_err(|expected| format!("expected {expected}"));
    match (how, value) {
        (As::SpanOrOff | As::SizeOrOff, Value::Bool(false)) => Ok("off".to_owned()),
        (As::SpanOrOff | As::SizeOrOff, Value::Bool(true)) => Err("true does not say how much".to_owned()),
        (As::SpanOrOff, Value::Str(text)) if text == "none" => Ok("off".to_owned()),
        (As::Span | As::SpanOrOff, value) => span(value),
        (As::Size | As::SizeOrOff, value) => bytes(value),
        (As::Text, Value::Str(text)) => Ok(text.clone()),
        (As::Text, Value::Int(number)) => Ok(number.to_string()),
        (As::Text, Value::Bool(is)) => Ok(is.to_string()),
        (As::Text, other) => Err(format!("{} does not fit", other.kind())),
    }
}

fn domain_name(value: &Value) -> Result<String, String> {
    let name = text(value).unwrap_or_default();
    if domain::is_valid_name(name) {
        Ok(name.to_owned())
    } else {
        Err(format!("{name:?} is no name of a domain: it is one token of a subject"))
    }
}

fn add_tags(value: &Value, tags: &mut Vec<String>) {
    let nodes: Vec<&Value> = match value {
        Value::Array(nodes) => nodes.iter().map(|node| &node.value).collect(),
        one => vec![one],
    };
    for tag in nodes.into_iter().filter_map(text) {
        let tag = tag.trim().to_lowercase();
        if !tag.is_empty() && !tags.contains(&tag) {
            tags.push(tag);
        }
    }
}

/// Keys that no flag has, or that mean something else than the flag.
fn by_itself(key: &Honoured<'_>, draft: &mut Draft) -> Result<(), String> {
    let value = &key.node.value;
    match (key.path.as_str(), value) {
        ("listen", _) => {
            let (host, port) = address(value)?;
            if let Some(host) = host {
                flags::set(FLAGS, "a", &host, draft)?;
            }
            flags::set(FLAGS, "p", &port.to_string(), draft)
        }
        ("http", _) => {
            let (host, port) = address(value)?;
            draft.server.monitor_host = host;
            flags::set(FLAGS, "m", &port.to_string(), draft)
        }
        ("https", _) => {
            let (host, port) = address(value)?;
            draft.server.monitor_host = host;
            flags::set(FLAGS, "ms", &port.to_string(), draft)
        }
        ("jetstream" | "jetstream.enabled" | "sublog.store_dir", _) => {
            what_is_kept(key, draft);
            Ok(())
        }
        ("allow_non_tls", Value::Bool(is)) => {
            draft.server.allow_non_tls = *is;
            Ok(())
        }
        ("syslog", Value::Bool(is)) => {
            // A remote one stays, whichever key comes first.
            if *is && draft.log.syslog.is_none() { flags::set(FLAGS, "s", "true", draft) } else { Ok(()) }
        }
        ("remote_syslog", Value::Str(url)) => flags::set(FLAGS, "r", url, draft),
        ("log_max_num", Value::Int(files)) => {
            draft.log.rotation.files_max = usize::try_from(*files).unwrap_or(0);
            Ok(())
        }
        // Below 1 there is no limit, as nats-server has it.
        ("max_connections", Value::Int(limit)) => {
            let limit = if *limit < 1 { i64::from(u32::MAX) } else { *limit };
            flags::set(FLAGS, "max_connections", &limit.to_string(), draft)
        }
        ("max_subscriptions", Value::Int(limit)) => {
            flags::set(FLAGS, "max_subscriptions", &(*limit).max(0).to_string(), draft)
        }
        ("http_base_path", Value::Str(path)) => {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
            if !path.bytes().all(plain) {
                return Err(format!("{path:?} holds other characters than letters, digits and - . _ ~ /"));
            }
            draft.server.monitor_base_path.clone_from(path);
            Ok(())
        }
        ("max_closed_clients", Value::Int(most)) => {
            let most = usize::try_from(*most).map_err(|_| "must not be negative".to_owned())?;
            draft.server.closed_connections = if most == 0 { limits::CLOSED_CONNECTIONS } else { most };
            Ok(())
        }
        ("server_tags", _) => {
            add_tags(value, &mut draft.server.tags);
            Ok(())
        }
        ("server_metadata", Value::Map(map)) => {
            let pairs = map.iter().filter_map(|entry| Some((entry.key.clone(), text(&entry.node.value)?.to_owned())));
            draft.server.metadata = pairs.collect();
            Ok(())
        }
        ("jetstream.domain", _) => domain_name(value).map(|name| draft.server.domain = name),
        ("authorization.timeout", _) => {
            let span = duration(value)?;
            if span.is_zero() {
                return Err("the time to say who one is must be more than 0".to_owned());
            }
            draft.server.limits.auth_timeout = span;
            draft.auth_timeout_given = true;
            Ok(())
        }
        // Read when all others are.
        ("sublog.sync_interval" | "trace_verbose", _) => Ok(()),
        // Read as a whole.
        (path, _) if path.starts_with("tls.") || path.starts_with("websocket.") => Ok(()),
        // Read as a whole, see `users`.
        ("authorization.users" | "no_auth_user", _) => Ok(()),
        // Read as a whole, see `operator`.
        ("operator" | "trusted" | "resolver" | "resolver_preload" | "resolver_pinned_accounts", _) => Ok(()),
        (path, _) if path.starts_with("resolver.") => Ok(()),
        // Read as a whole, see `accounts`.
        ("accounts" | "system_account" | "no_system_account" | "mappings" | "sublog.capture_account", _) => Ok(()),
        (path, _) if path.starts_with("authorization.default_permissions") => Ok(()),
        _ => Err("has no effect in this server".to_owned()),
    }
}

/// Whether there are streams, and our own word for where.
fn what_is_kept(key: &Honoured<'_>, draft: &mut Draft) {
    match &key.node.value {
        Value::Bool(is) => draft.jetstream = Some(*is),
        Value::Str(path) if key.path == "sublog.store_dir" => {
            draft.own_store_dir = Some(path.into()).filter(|_| !path.is_empty());
        }
        Value::Str(word) => draft.jetstream = Some(word.to_ascii_lowercase().starts_with("enable")),
        _ => {}
    }
}

/// One set of pages is served, in one way.
fn two_monitors(all: &[Honoured<'_>]) -> Option<Finding> {
    let is = |names: [&str; 2]| all.iter().find(|key| names.contains(&key.path.as_str()));
    let (plain, secure) = (is(["http", "http_port"])?, is(["https", "https_port"])?);
    let text = format!("{} and {} at {} exclude each other", secure.path, plain.path, plain.at);
    Some(Finding { at: secure.at.clone(), text })
}

/// There is one place for everything.
fn two_folders(all: &[Honoured<'_>]) -> Option<Finding> {
    let own = all.iter().find(|key| key.path == "sublog.store_dir")?;
    let other = all.iter().find(|key| ["store_dir", "jetstream.store_dir"].contains(&key.path.as_str()))?;
    let text = format!("{} says the same as {} at {}: keep one of them", own.path, other.path, other.at);
    Some(Finding { at: own.at.clone(), text })
}

fn text(value: &Value) -> Option<&str> {
    if let Value::Str(text) = value { Some(text) } else { None }
}

/// `sync: interval` and `sync_interval: 250ms` are one setting in two keys.
fn sync_interval(all: &[Honoured<'_>], draft: &mut Draft) -> Option<Finding> {
    let interval = all.iter().find(|key| key.path == "sublog.sync_interval")?;
    let mode = all.iter().find(|key| key.path == "sublog.sync").map(|key| &key.node.value);
    let set = match mode {
        None => as_flag(&interval.node.value, As::Span),
        Some(Value::Str(mode)) if mode == "interval" => as_flag(&interval.node.value, As::Span),
        Some(_) => Err("needs sync: interval".to_owned()),
    };
    let result = set.and_then(|span| flags::set(FLAGS, "sync", &format!("interval:{span}"), draft));
    result.err().map(|text| Finding { at: interval.at.clone(), text: format!("sublog.sync_interval: {text}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::settings::{Block, Kind, Now, keys};
    use crate::conf::{Map, Node};

    /// A value that the kind takes, and that no bound refuses.
    fn sample(kind: &Kind) -> Value {
        match kind {
            Kind::Bool => Value::Bool(true),
            Kind::Int | Kind::Number | Kind::Port => Value::Int(10),
            Kind::Size => Value::Int(1 << 20),
            Kind::Duration | Kind::Seconds => Value::Str("30s".to_owned()),
            Kind::Address => Value::Str("localhost:10".to_owned()),
            Kind::TextMap => Value::Map(Map::default()),
            Kind::Word(words) => Value::Str(words[0].to_owned()),
            Kind::OneOf(kinds) => sample(kinds.iter().find(|kind| !matches!(kind, Kind::Bool)).unwrap()),
            _ => Value::Str("always".to_owned()),
        }
    }

    fn honoured(block: &'static Block, around: &str, out: &mut Vec<(String, Kind)>) {
        for key in block.keys.iter().filter(|key| matches!(key.now, Now::Honoured | Now::Partly(_))) {
            let path = format!("{around}{}", key.names[0]);
            match key.kind.block() {
                Some(inner) => honoured(inner, &format!("{path}."), out),
                None => out.push((path, key.kind)),
            }
        }
    }

    #[test]
    fn every_honoured_key_does_something() {
        let mut all = Vec::new();
        honoured(&keys::TOP, "", &mut all);
        assert!(all.len() >= 50, "{}", all.len());
        let at = Position { file: "x".into(), line: 1, column: 1 };
        for (path, kind) in &all {
            let node = Node { value: sample(kind), at: at.clone() };
            let wrong = apply(&[Honoured { path: path.clone(), node: &node, at: &at }], &mut Draft::default());
            assert!(wrong.is_empty(), "{path}: {wrong:?}");
        }
        for (path, flag, _) in LIKE_FLAGS {
            assert!(all.iter().any(|(known, _)| known == path), "{path} is no honoured key");
            assert!(FLAGS.iter().any(|known| known.names.contains(flag)), "{flag} is no flag");
        }
    }
}
