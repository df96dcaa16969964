//! Durations as text, in the notation of NATS (`1m30s`): read in acks, written in statuses.

use std::fmt::Write as _;

const UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads `1.5h`, `-300ms`, `2h45m`, `0` as nanoseconds.
#[must_use]
pub(in crate::jetstream) fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at_checked(number_end)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end)?;
        let &(_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(scaled(number, factor)?)?;
        rest = after;
    }
    Some(if negative { -total } else { total })
}

/// A decimal number of units, in nanoseconds; digits finer than that are dropped.
fn scaled(number: &str, factor: u64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut sum = whole.checked_mul(factor)?;
    // Nanoseconds of an hour have 13 digits: what comes after those cannot count.
    let (mut part, mut divisor) = (0_u128, 1_u128);
    for digit in fraction.bytes().take(18) {
        part = part * 10 + u128::from(digit - b'0');
        divisor *= 10;
    }
    sum = sum.checked_add(u64::try_from(part * u128::from(factor) / divisor).ok()?)?;
    i64::try_from(sum).ok()
}

/// Writes nanoseconds as `1m30s`, `1.5s`, `100ms`.
#[must_use]
pub(in crate::jetstream) fn format(ns: u64) -> String {
    let small = match ns {
        0 => return "0s".to_owned(),
        1..1_000 => Some((1, "ns")),
        1_000..1_000_000 => Some((1_000, "\u{b5}s")),
        1_000_000..1_000_000_000 => Some((1_000_000, "ms")),
        _ => None,
    };
    let mut text = String::new();
    if let Some((unit, name)) = small {
        decimal(&mut text, ns, unit);
        text.push_str(name);
        return text;
    }
    let minutes = ns / 60_000_000_000;
    if minutes >= 60 {
        let _ = write!(text, "{}h", minutes / 60);
    }
    if minutes > 0 {
        let _ = write!(text, "{}m", minutes % 60);
    }
    decimal(&mut text, ns % 60_000_000_000, 1_000_000_000);
    text.push('s');
    text
}

/// `value / unit` without the zeros at the end.
fn decimal(text: &mut String, value: u64, unit: u64) {
    let _ = write!(text, "{}", value / unit);
    let rest = value % unit;
    if rest > 0 {
        let width = unit.ilog10() as usize;
        let digits = format!("{rest:0width$}");
        let _ = write!(text, ".{}", digits.trim_end_matches('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::{format, parse};

    #[test]
    fn reads_what_clients_write() {
        for (text, ns) in [
            ("0", Some(0)),
            ("5s", Some(5_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            ("2h45m", Some(9_900_000_000_000)),
            ("-300ms", Some(-300_000_000)),
            (".5s", Some(500_000_000)),
            ("1\u{b5}s", Some(1_000)),
            ("", None),
            ("-", None),
            ("5", None),
            (".s", None),
            ("1.2.3s", None),
            ("5 s", None),
            ("9999999999h", None),
            ("\u{1F600}s", None),
        ] {
            assert_eq!(parse(text), ns, "{text}");
        }
    }

    #[test]
    fn writes_as_the_notation_has_it() {
        for (ns, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5\u{b5}s"),
            (100_000_000, "100ms"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (u64::MAX, "5124095h34m33.709551615s"),
        ] {
            assert_eq!(format(ns), text);
        }
    }
}
