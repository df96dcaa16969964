//! Reading single values: durations, sizes, addresses. Errors are what should have stood there.

use std::time::Duration;

use crate::cli::values;
use crate::conf::tree::{Node, Value};

/// Reads a duration: `"250ms"`, or seconds.
///
/// # Errors
/// It is none.
pub fn duration(value: &Value) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "a duration like \"250ms\", \"10s\" or \"2m\"";
    const MINUTES: &str = "a duration (with minutes in quotes, as \"2m\": without them, m is a million)";
    match value {
        Value::Str(text) => values::duration(text).map_err(|_| EXPECTED),
        // `2m` without quotes is two million, which nobody means in seconds.
        Value::Int(seconds) if *seconds >= 1_000_000 => Err(MINUTES),
        Value::Int(seconds) => u64::try_from(*seconds).map(Duration::from_secs).map_err(|_| EXPECTED),
        Value::Float(seconds) => Duration::try_from_secs_f64(*seconds).map_err(|_| EXPECTED),
        _ => Err(EXPECTED),
    }
}

/// Reads a size in bytes; below 0 stands for no bound.
///
/// # Errors
/// It is none.
pub fn size(value: &Value) -> Result<i64, &'static str> {
    const EXPECTED: &str = "a size like 1MB or 64MiB";
    match value {
        Value::Int(bytes) => Ok(*bytes),
        Value::Str(text) => values::size(text).ok().and_then(|bytes| i64::try_from(bytes).ok()).ok_or(EXPECTED),
        _ => Err(EXPECTED),
    }
}

/// Reads `port` or `host:port`; -1 is any free port.
///
/// # Errors
/// It is neither.
pub fn address(value: &Value) -> Result<(Option<String>, i64), &'static str> {
    const EXPECTED: &str = "a port or \"host:port\"";
    match value {
        Value::Int(port) => self::port(*port).map(|port| (None, port)).ok_or(EXPECTED),
        Value::Str(text) => {
            let (host, port) = text.rsplit_once(':').ok_or(EXPECTED)?;
            let port = port.parse().ok().and_then(self::port).ok_or(EXPECTED)?;
            let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let host = match bare {
                Some(host) => host,
                // An address of version 6 is only apart from its port in brackets.
                None if host.contains(':') => return Err(EXPECTED),
                None => host,
            };
            Ok(((!host.is_empty()).then(|| host.to_owned()), port))
        }
        _ => Err(EXPECTED),
    }
}

/// A port as configurations have it.
pub(super) fn port(number: i64) -> Option<i64> {
    (-1..=i64::from(u16::MAX)).contains(&number).then_some(number)
}

/// A text, or each text of a list, with its node.
pub(super) fn texts(node: &Node) -> Vec<(&str, &Node)> {
    match &node.value {
        Value::Str(text) => vec![(text, node)],
        Value::Array(nodes) => nodes.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
