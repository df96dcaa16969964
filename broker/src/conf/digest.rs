//! A fingerprint of a configuration's values, the same that `nats-server -t` prints for the same file.
//!
//! It is the SHA-256 of the tree as JSON with sorted keys: comments, order and the way a value was written do not count.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::tree::{Map, Value};

/// `sha256:` and the fingerprint in hexadecimal.
#[must_use]
pub fn digest(map: &Map) -> String {
    let mut json = String::new();
    write_map(&mut json, map);
    json.push('\n');
    let mut out = String::from("sha256:");
    for byte in Sha256::digest(json.as_bytes()) {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn write_map(out: &mut String, map: &Map) {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    out.push('{');
    for (index, entry) in entries.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_text(out, &entry.key);
        out.push(':');
        write_value(out, &entry.node.value);
    }
    out.push('}');
}

fn write_value(out: &mut String, value: &Value) {
    let _ = match value {
        Value::Bool(is) => write!(out, "{is}"),
        Value::Int(number) => write!(out, "{number}"),
        Value::Float(number) => {
            write_float(out, *number);
            Ok(())
        }
        Value::Str(text) | Value::Time(text) => {
            write_text(out, text);
            Ok(())
        }
        Value::Array(nodes) => {
            out.push('[');
            for (index, node) in nodes.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, &node.value);
            }
            out.push(']');
            Ok(())
        }
        Value::Map(map) => {
            write_map(out, map);
            Ok(())
        }
    };
}

/// As JavaScript writes numbers: an exponent only for the very small and the very large.
fn write_float(out: &mut String, number: f64) {
    let size = number.abs();
    let _ = if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        match text.split_once('e') {
            Some((digits, power)) if !power.starts_with('-') => write!(out, "{digits}e+{power}"),
            _ => write!(out, "{text}"),
        }
    } else {
        write!(out, "{number}")
    };
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            // The last two are no control characters, but JavaScript ends a line at them.
            '<' | '>' | '&' | '\u{0}'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
