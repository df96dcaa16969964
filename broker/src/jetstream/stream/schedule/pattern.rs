//! When a schedule is due, as its headers say.

use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};
use sublog_protocol::headers;

use super::cron::Cron;
use super::{PATTERN, TIME_ZONE};
use crate::jetstream::consumer::machine::durations;
use crate::jetstream::errors::ApiError;
use crate::rfc3339;

const SECOND_NS: i64 = 1_000_000_000;

/// Patterns that have a name.
const NAMED: &[(&str, &str)] = &[
    ("@yearly", "0 0 0 1 1 *"),
    ("@annually", "0 0 0 1 1 *"),
    ("@monthly", "0 0 0 1 * *"),
    ("@weekly", "0 0 0 * * 0"),
    ("@daily", "0 0 0 * * *"),
    ("@midnight", "0 0 0 * * *"),
    ("@hourly", "0 0 * * * *"),
];

/// When a schedule is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Next {
    /// Nanoseconds since 1970.
    pub(super) at_ns: i64,
    /// The same as text, for one that comes again after it.
    pub(super) repeats: Option<String>,
}

/// When the schedule that a message is, is due after `after_ns`, and not long before `now_ns`; `None` if it is none.
///
/// # Errors
/// 10223 for a time zone that is not known, 10189 for any other nonsense.
pub(super) fn next(head: &[u8], after_ns: i64, now_ns: i64) -> Result<Option<Next>, ApiError> {
    let zone = match headers::get(head, TIME_ZONE) {
        None => None,
        Some(name) => Some(zone(name).ok_or_else(ApiError::message_schedules_time_zone_invalid)?),
    };
    let Some(pattern) = headers::get(head, PATTERN).filter(|text| !text.is_empty()) else { return Ok(None) };
    let next = std::str::from_utf8(pattern).ok().and_then(|pattern| of_pattern(pattern, zone, after_ns, now_ns));
    next.map(Some).ok_or_else(ApiError::message_schedules_pattern_invalid)
}

fn zone(name: &[u8]) -> Option<TimeZone> {
    match name {
        b"" => None,
        b"UTC" => Some(TimeZone::UTC),
        name => TimeZone::get(std::str::from_utf8(name).ok()?).ok(),
    }
}

fn of_pattern(pattern: &str, zone: Option<TimeZone>, after_ns: i64, now_ns: i64) -> Option<Next> {
    if let Some(time) = pattern.strip_prefix("@at ") {
        let at_ns = timestamp(time).filter(|_| zone.is_none())?;
        return Some(Next { at_ns, repeats: None });
    }
    if let Some(every) = pattern.strip_prefix("@every ") {
        let every_ns = durations::parse(every).filter(|ns| *ns >= SECOND_NS && zone.is_none())?;
        let mut at_ns = rounded(after_ns).checked_add(every_ns)?;
        if at_ns < now_ns {
            // What was missed is not made up for.
            at_ns = rounded(now_ns).checked_add(every_ns)?;
        }
        return Some(Next { at_ns, repeats: Some(rfc3339::format(at_ns)) });
    }
    let pattern = NAMED.iter().find(|(name, _)| *name == pattern).map_or(pattern, |(_, fields)| fields);
    let (cron, zone) = (Cron::parse(pattern)?, zone.unwrap_or(TimeZone::UTC));
    let after = |ns: i64| cron.next(Timestamp::from_nanosecond(i128::from(ns)).ok()?, &zone);
    let mut time = after(after_ns)?;
    if time.timestamp().as_nanosecond() < i128::from(now_ns) {
        time = after(rounded(now_ns))?;
    }
    let at_ns = i64::try_from(time.timestamp().as_nanosecond()).ok()?;
    Some(Next { at_ns, repeats: Some(text(&time)) })
}

/// A time as schedules have it in their headers, in nanoseconds since 1970.
pub(super) fn timestamp(text: &str) -> Option<i64> {
    // The parser takes more than RFC 3339.
    let plain = text.len() >= 20 && text.as_bytes().get(10) == Some(&b'T') && !text.contains(['[', ' ']);
    let time = plain.then(|| text.parse::<Timestamp>().ok())??;
    i64::try_from(time.as_nanosecond()).ok()
}

/// To the nearest second.
fn rounded(ns: i64) -> i64 {
    ns.saturating_add(SECOND_NS / 2).div_euclid(SECOND_NS).saturating_mul(SECOND_NS)
}

fn text(time: &Zoned) -> String {
    if time.offset() == Offset::UTC {
        time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    } else {
        time.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }
}

#[cfg(test)]
mod tests {
    use sublog_protocol::headers::Builder;

    use super::{Next, SECOND_NS, next, timestamp};

    const NOON: i64 = 1_767_268_800 * SECOND_NS;

    fn head(pattern: &str, zone: Option<&str>) -> Vec<u8> {
        let mut block = Builder::new();
        block.add(b"Nats-Schedule", pattern.as_bytes());
        if let Some(zone) = zone {
            block.add(b"Nats-Schedule-Time-Zone", zone.as_bytes());
        }
        block.finish()
    }

    #[test]
    fn patterns_are_understood() {
        let at = |text: &str, repeats: bool| {
            let at_ns = timestamp(text).unwrap();
            Some(Next { at_ns, repeats: repeats.then(|| text.to_owned()) })
        };
        for (pattern, zone, expected) in [
            ("@at 2026-01-01T00:00:00Z", None, at("2026-01-01T00:00:00Z", false)),
            ("@at 2026-01-01T13:00:00+01:00", None, at("2026-01-01T12:00:00Z", false)),
            ("@every 90s", None, at("2026-01-01T12:01:30Z", true)),
            ("@hourly", None, at("2026-01-01T13:00:00Z", true)),
            ("0 0 13 * * *", Some("Europe/Berlin"), at("2026-01-02T13:00:00+01:00", true)),
            ("0 0 14 * * *", Some("Europe/Berlin"), at("2026-01-01T14:00:00+01:00", true)),
        ] {
            assert_eq!(next(&head(pattern, zone), NOON + 1, NOON + 2).unwrap(), expected, "{pattern}");
        }
        assert_eq!(next(b"", NOON, NOON).unwrap(), None);
        // A time that was missed long ago is not made up for.
        let late = next(&head("@every 10s", None), NOON, NOON + 1000 * SECOND_NS).unwrap().unwrap();
        assert_eq!(late.at_ns, NOON + 1010 * SECOND_NS);
    }

    #[test]
    fn nonsense_is_refused() {
        for (pattern, zone) in [
            ("@at tomorrow", None),
            ("@at 2026-01-01", None),
            ("@at 2026-01-01T00:00:00Z", Some("UTC")),
            ("@every 999ms", None),
            ("@every 5s", Some("UTC")),
            ("@sometimes", None),
            ("* * * * *", None),
        ] {
            assert_eq!(next(&head(pattern, zone), NOON, NOON).unwrap_err().err_code, 10189, "{pattern}");
        }
        for zone in ["Europe/Atlantis", ""] {
            assert_eq!(next(&head("@hourly", Some(zone)), NOON, NOON).unwrap_err().err_code, 10223, "{zone}");
        }
    }
}
