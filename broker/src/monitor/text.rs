//! Values as nats-server writes them on its pages.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::rfc3339;

/// RFC 3339 with nanoseconds.
pub(super) fn time(at: SystemTime) -> String {
    let ns = at.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX));
    rfc3339::format(ns)
}

/// Nanoseconds as JSON has them.
pub(super) fn ns(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

/// `1d2h3m4s`, from a year on `1y2d3h4m5s`, as the tools that read these pages parse it.
pub(super) fn uptime(span: Duration) -> String {
    let all = span.as_secs();
    let (years, days, hours, minutes) = (all / 31_536_000, all / 86_400 % 365, all / 3600 % 24, all / 60 % 60);
    let seconds = all % 60;
    match (years, days, hours, minutes) {
        (0, 0, 0, 0) => format!("{seconds}s"),
        (0, 0, 0, _) => format!("{minutes}m{seconds}s"),
        (0, 0, ..) => format!("{hours}h{minutes}m{seconds}s"),
        (0, ..) => format!("{days}d{hours}h{minutes}m{seconds}s"),
        _ => format!("{years}y{days}d{hours}h{minutes}m{seconds}s"),
    }
}

/// A short span as Go writes it: `0s`, `87µs`, `1.25ms`, `1m2.5s`.
pub(super) fn span(span: Duration) -> String {
    let decimals = |whole: u64, rest: u64, width: usize, unit: &str| {
        let digits = format!("{rest:0width$}");
        match digits.trim_end_matches('0') {
            "" => format!("{whole}{unit}"),
            digits => format!("{whole}.{digits}{unit}"),
        }
    };
    let (secs, nanos) = (span.as_secs(), u64::from(span.subsec_nanos()));
    match (secs, nanos) {
        (0, 0) => "0s".to_owned(),
        (0, ..1_000) => format!("{nanos}ns"),
        (0, ..1_000_000) => decimals(nanos / 1_000, nanos % 1_000, 3, "µs"),
        (0, _) => decimals(nanos / 1_000_000, nanos % 1_000_000, 6, "ms"),
        _ => {
            let (hours, minutes) = (secs / 3600, secs / 60 % 60);
            let mut text = String::new();
            if hours > 0 {
                let _ = write!(text, "{hours}h");
            }
            if secs >= 60 {
                let _ = write!(text, "{minutes}m");
            }
            text + &decimals(secs % 60, nanos, 9, "s")
        }
    }
}

/// A text in double quotes, as Go quotes what it could not read.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_go_writes_them() {
        for (ns, text) in [
            (0, "0s"),
            (999, "999ns"),
            (87_000, "87µs"),
            (87_120, "87.12µs"),
            (1_000_000, "1ms"),
            (1_250_000, "1.25ms"),
            (1_000_000_000, "1s"),
            (62_500_000_000, "1m2.5s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_601_000_000_001, "1h0m1.000000001s"),
        ] {
            assert_eq!(span(Duration::from_nanos(ns)), text);
        }
    }

    #[test]
    fn uptimes_leave_out_what_is_nothing_in_front() {
        for (secs, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m0s"),
            (3_600, "1h0m0s"),
            (93_784, "1d2h3m4s"),
            (31_536_000 + 86_400, "1y1d0h0m0s"),
        ] {
            assert_eq!(uptime(Duration::from_secs(secs)), text);
        }
    }

    #[test]
    fn quotes_hold_what_would_break_out() {
        assert_eq!(quote("a\"b\\c\n\u{1}\u{85}é"), "\"a\\\"b\\\\c\\n\\x01\\u0085é\"");
    }
}
