//! Reading and writing of the values on a command line: durations, sizes, switches, positions in time.
//!
//! Pure functions. Errors are the second half of a sentence whose first half names the flag, as in
//! `--max-age: "7x" is not a duration …`.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;

/// Reads a switch the way Go programs do.
///
/// # Errors
/// When it is none of the known words.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" | "on" | "yes" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" | "off" | "no" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

/// Reads a duration: one or more numbers with a unit (`90s`, `1h30m`, `1.5h`, `250ms`, `7d`).
///
/// Units: `ns us ms s m h d w`. A number alone is refused, because programs disagree on its unit; only
/// `0` needs none.
///
/// # Errors
/// When it is not a duration, or too long to be held in nanoseconds (292 years).
pub fn duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("{text:?} is not a duration (like 250ms, 90s, 15m, 6h, 1h30m or 7d)");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total_ns: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refuse)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let unit_ns: u64 = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60 * 1_000_000_000,
            "h" => 3_600 * 1_000_000_000,
            "d" => 86_400 * 1_000_000_000,
            "w" => 7 * 86_400 * 1_000_000_000,
            _ => return Err(refuse()),
        };
        let part = scaled(number, unit_ns).ok_or_else(refuse)?;
        total_ns = total_ns.checked_add(part).filter(|ns| i64::try_from(*ns).is_ok()).ok_or_else(refuse)?;
        rest = tail;
    }
    if text.is_empty() { Err(refuse()) } else { Ok(Duration::from_nanos(total_ns)) }
}

/// Reads a size in bytes, with the suffixes of a nats-server configuration: `k m g t` are powers of 1000,
/// `kb mb gb tb` and `kib mib gib tib` powers of 1024, in any case.
///
/// # Errors
/// When it is not a size, or more than 2^63 bytes.
pub fn size(text: &str) -> Result<u64, String> {
    let refuse = || format!("{text:?} is not a size (like 500M, 1.5GiB or 1073741824)");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let unit: u64 = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1_000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        "t" => 1_000_000_000_000,
        "kb" | "ki" | "kib" => 1 << 10,
        "mb" | "mi" | "mib" => 1 << 20,
        "gb" | "gi" | "gib" => 1 << 30,
        "tb" | "ti" | "tib" => 1 << 40,
        _ => return Err(refuse()),
    };
    scaled(number, unit).filter(|bytes| i64::try_from(*bytes).is_ok()).ok_or_else(refuse)
}

/// `number` (digits with at most one point) times `unit`, rounded down; exact for whole numbers.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || fraction.len() > 18 {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let ten_to = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let whole = whole.checked_mul(u128::from(unit))?;
    let total = whole.checked_add(part.checked_mul(u128::from(unit))? / ten_to)?;
    u64::try_from(total).ok()
}

/// Reads a point in time: RFC 3339 (`2025-06-01T12:00:00Z`), or a local date with or without a time
/// (`2025-06-01`, `2025-06-01T12:00`, `2025-06-01 12:00:05`).
///
/// # Errors
/// When it is none of these, or the local clock skipped it.
pub fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let refuse = || format!("{text:?} is not a time (like 2025-06-01T12:00:00Z or 2025-06-01)");
    let local = match text.parse::<civil::DateTime>() {
        Ok(local) => local,
        Err(_) => text.parse::<civil::Date>().map_err(|_| refuse())?.to_datetime(civil::Time::midnight()),
    };
    local.to_zoned(TimeZone::system()).map(|zoned| zoned.timestamp()).map_err(|_| refuse())
}

/// Reads a whole number between two bounds.
///
/// # Errors
/// When it is not a number, or outside.
pub fn number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let refuse = || format!("{text:?} is not a whole number from {least} to {most}");
    let value = text.parse::<u64>().map_err(|_| refuse())?;
    if (least..=most).contains(&value) { Ok(value) } else { Err(refuse()) }
}

/// Reads a port: 1 to 65535, `-1` for a free one, `0` for what the flag does by default.
///
/// # Errors
/// When it is not a port.
pub fn port(text: &str) -> Result<Port, String> {
    match text.parse::<i64>() {
        Ok(-1) => Some(Port::Free),
        Ok(0) => Some(Port::Default),
        Ok(value) => u16::try_from(value).ok().map(Port::Number),
        Err(_) => None,
    }
    .ok_or_else(|| format!("{text:?} is not a port (1 to 65535, or -1 for a free one)"))
}

/// A port as asked for on a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// Any that is free.
    Free,
    /// What the flag means by itself.
    Default,
    /// This one.
    Number(u16),
}

/// `bytes` for a reader, at most 8 characters: `512 B`, `1.5 MiB`.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];
    let (unit, shift) = UNITS.into_iter().find(|(_, shift)| bytes >> shift > 0).unwrap_or(("B", 0));
    let whole = bytes >> shift;
    if shift == 0 || whole >= 100 {
        return format!("{whole} {unit}");
    }
    let tenths = ((u128::from(bytes) * 10) >> shift) % 10;
    format!("{whole}.{tenths} {unit}")
}

/// A count with its thousands separated.
#[must_use]
pub fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// So many messages.
#[must_use]
pub fn show_messages(count: u64) -> String {
    let noun = if count == 1 { "message" } else { "messages" };
    format!("{} {noun}", show_count(count))
}

/// A duration in its largest units, as [`duration`] reads it: `7d`, `1h30m`, `250ms`.
#[must_use]
pub fn show_duration(span: Duration) -> String {
    const UNITS: [(&str, u128); 7] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    let mut rest = span.as_nanos();
    let mut out = String::new();
    for (unit, ns) in UNITS {
        if rest >= ns {
            out.push_str(&format!("{}{unit}", rest / ns));
            rest %= ns;
        }
    }
    if out.is_empty() { "0".to_owned() } else { out }
}

/// Nanoseconds since the Unix epoch as RFC 3339 in UTC with `decimals` digits of a second.
#[must_use]
pub fn show_time(unix_ns: i64, decimals: u8) -> String {
    match Timestamp::from_nanosecond(i128::from(unix_ns)) {
        Ok(at) => jiff::fmt::temporal::DateTimePrinter::new().precision(Some(decimals.min(9))).timestamp_to_string(&at),
        Err(_) => "-".to_owned(),
    }
}

/// Events a second, for a reader.
#[must_use]
pub fn rate(count: u64, took: Duration) -> u64 {
    let micros = took.as_micros().max(1);
    u64::try_from(u128::from(count) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [
            ("0", 0),
            ("0s", 0),
            ("250ms", 250_000_000),
            ("90s", 90_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("7d", 604_800_000_000_000),
            ("2w", 1_209_600_000_000_000),
            ("10us", 10_000),
            ("10µs", 10_000),
        ];
        for (text, ns) in cases {
            assert_eq!(duration(text), Ok(Duration::from_nanos(ns)), "{text}");
        }
        for text in ["", "10", "s", "-5s", "5x", "1..5s", "5 s", "1.s.", "400000d", "99999999999999999999s", "."] {
            assert!(duration(text).is_err(), "{text:?} must be refused");
        }
    }

    #[test]
    fn durations_are_shown_as_they_are_read() {
        for text in ["7d", "1h30m", "250ms", "1m1s", "1d2h3m4s5ms6us7ns", "0"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes() {
        let cases = [
            ("0", 0),
            ("1024", 1024),
            ("1k", 1000),
            ("1K", 1000),
            ("1kb", 1024),
            ("1KiB", 1024),
            ("64MB", 64 << 20),
            ("64m", 64_000_000),
            ("1.5GiB", 3 << 29),
            ("10GiB", 10 << 30),
            ("2T", 2_000_000_000_000),
            ("512b", 512),
        ];
        for (text, bytes) in cases {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "b", "-1", "1x", "1 GB", "9223372036854775808", "99999999999999999999", "9300000t"] {
            assert!(size(text).is_err(), "{text:?} must be refused");
        }
    }

    #[test]
    fn sizes_shown() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (150 << 20, "150 MiB"),
            (3 << 40, "3.0 TiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(show_size(bytes), text);
        }
        assert_eq!(show_size(u64::MAX), "16777215 TiB");
    }

    #[test]
    fn times() {
        let at = |text: &str| time(text).unwrap().as_second();
        assert_eq!(at("1970-01-01T00:00:10Z"), 10);
        assert_eq!(at("1970-01-01T01:00:10+01:00"), 10);
        assert_eq!(at("2025-06-01") % 60, 0);
        assert_eq!(at("2025-06-01T12:00") - at("2025-06-01"), 12 * 3600);
        assert_eq!(at("2025-06-01 12:00:05") - at("2025-06-01T12:00"), 5);
        for text in ["", "now", "12:00", "2025-13-01", "1717243200", "2025-06-01T25:00:00Z"] {
            assert!(time(text).is_err(), "{text:?} must be refused");
        }
    }

    #[test]
    fn times_shown() {
        assert_eq!(show_time(1_500_000_000_123_456_789, 6), "2017-07-14T02:40:00.123456Z");
        assert_eq!(show_time(0, 0), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn ports() {
        assert_eq!(port("-1"), Ok(Port::Free));
        assert_eq!(port("0"), Ok(Port::Default));
        assert_eq!(port("4222"), Ok(Port::Number(4222)));
        for text in ["", "-2", "65536", "x", "4222.0", "1e3"] {
            assert!(port(text).is_err(), "{text:?} must be refused");
        }
    }

    #[test]
    fn switches_and_numbers() {
        assert_eq!(switch("T"), Ok(true));
        assert_eq!(switch("false"), Ok(false));
        assert!(switch("maybe").is_err());
        assert_eq!(number("7", 1, 7), Ok(7));
        assert!(number("8", 1, 7).unwrap_err().contains("from 1 to 7"));
        assert!(number("x", 1, 7).is_err());
    }

    #[test]
    fn counts_and_rates() {
        assert_eq!(show_count(0), "0");
        assert_eq!(show_count(999), "999");
        assert_eq!(show_count(1_234_567), "1,234,567");
        assert_eq!(show_messages(1), "1 message");
        assert_eq!(show_messages(1000), "1,000 messages");
        assert_eq!(rate(500, Duration::from_millis(250)), 2000);
        assert_eq!(rate(5, Duration::ZERO), 5_000_000);
    }
}
