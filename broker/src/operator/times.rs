//! When in a day a user may connect.

use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::jwt::user::TimeRange;

/// Reads `15:04:05`.
#[must_use]
pub fn clock_time(text: &str) -> Option<Time> {
    let mut parts = text.split(':');
    let mut part = |digits: std::ops::RangeInclusive<usize>| {
        let part = parts.next()?;
        (digits.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())).then_some(())?;
        part.parse::<i8>().ok()
    };
    let (hour, minute, second) = (part(1..=2)?, part(2..=2)?, part(2..=2)?);
    parts.next().is_none().then_some(())?;
    Time::new(hour, minute, second, 0).ok()
}

/// The time zone of that name; the machine's for none.
#[must_use]
pub fn zone(name: &str) -> Option<TimeZone> {
    match name {
        "" | "Local" => Some(TimeZone::system()),
        name => TimeZone::get(name).ok(),
    }
}

/// Whether somebody may connect at `now`, and for how long; `None` in it is as long as they like.
#[must_use]
pub fn allow(ranges: &[TimeRange], location: &str, now: Timestamp) -> Option<Option<Duration>> {
    if ranges.is_empty() {
        return Some(None);
    }
    let now = now.to_zoned(zone(location)?);
    let mut longest: Option<Duration> = None;
    for range in ranges {
        let (start, end) = (clock_time(&range.start)?, clock_time(&range.end)?);
        if let Some(left) = left_of(start, end, &now) {
            longest = longest.max(Some(left));
        }
    }
    longest.map(Some)
}

/// How long the range lasts that it is now, if it is.
fn left_of(start: Time, end: Time, now: &Zoned) -> Option<Duration> {
    let at = |time: Time, days: i64| {
        let date = now.date().checked_add(jiff::Span::new().days(days)).ok()?;
        date.to_datetime(time).to_zoned(now.time_zone().clone()).ok()
    };
    let (begin, finish) = (at(start, 0)?, at(end, 0)?);
    let left = |finish: &Zoned| Duration::try_from(now.timestamp().duration_until(finish.timestamp())).ok();
    if begin < *now && finish > *now {
        return left(&finish);
    }
    if begin > finish {
        // It goes over midnight.
        if finish > *now {
            return left(&finish);
        }
        let finish = at(end, 1)?;
        if begin < *now && finish > *now {
            return left(&finish);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_day() {
        let range = |start: &str, end: &str| TimeRange { start: start.to_owned(), end: end.to_owned() };
        let at = |time: &str| format!("2026-03-01T{time}Z").parse::<Timestamp>().unwrap();
        for (start, end, now, left) in [
            ("11:00:00", "22:00:00", "13:00:00", Some(9 * 3600)),
            ("11:00:00", "22:00:00", "10:59:59", None),
            ("11:00:00", "22:00:00", "22:00:00", None),
            ("22:00:00", "06:00:00", "05:00:00", Some(3600)),
            ("22:00:00", "06:00:00", "23:30:00", Some(6 * 3600 + 1800)),
            ("22:00:00", "06:00:00", "12:00:00", None),
        ] {
            let found = allow(&[range(start, end)], "UTC", at(now));
            assert_eq!(found, left.map(|left| Some(Duration::from_secs(left))), "{start} {end} {now}");
        }
        // In Tokyo it is nine hours later.
        assert!(allow(&[range("21:00:00", "23:00:00")], "Asia/Tokyo", at("13:00:00")).is_some());
        assert!(allow(&[range("12:00:00", "14:00:00")], "Asia/Tokyo", at("13:00:00")).is_none());
        let both = [range("12:00:00", "14:00:00"), range("12:00:00", "15:00:00")];
        assert_eq!(allow(&both, "UTC", at("13:00:00")), Some(Some(Duration::from_secs(7200))));
        assert_eq!(allow(&[], "", at("13:00:00")), Some(None));
        assert_eq!(allow(&[range("x", "14:00:00")], "UTC", at("13:00:00")), None);
        for text in ["", "1", "1:2:3", "24:00:00", "01:60:00", "01:00:00:00", "+1:00:00", "01:00:61"] {
            assert!(clock_time(text).is_none(), "{text}");
        }
    }
}
