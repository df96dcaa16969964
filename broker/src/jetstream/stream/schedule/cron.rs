//! Times that repeat, as six fields say: second, minute, hour, day of the month, month, day of the week.
//!
//! A field is a list of numbers, of ranges `a-b` or `*`, each with a step `/n` if that is wanted. Months and days of the week
//! have English names of three letters too. A day has to fit both its fields, or one of them if both name days.

use jiff::civil::{self, Date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

/// A time that does not come within so many years never comes.
const YEARS_MAX: i16 = 5;

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Numbers of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    bits: u64,
    /// It is `*`: every number fits, and it does not name any.
    any: bool,
}

impl Field {
    fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| self.bits >> number & 1 == 1)
    }

    /// `names` stand for numbers from `least` on.
    fn parse(text: &str, least: u32, most: u32, names: &[&str]) -> Option<Self> {
        let mut field = Self { bits: 0, any: false };
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, Some(number(step)?)),
                None => (part, None),
            };
            let named = |text: &str| {
                let at = names.iter().position(|name| text.eq_ignore_ascii_case(name));
                at.and_then(|at| u32::try_from(at).ok()).map_or_else(|| number(text), |at| Some(least + at))
            };
            let (first, last) = match range.split_once('-') {
                _ if range == "*" || range == "?" => {
                    field.any |= step.is_none_or(|step| step == 1);
                    (least, most)
                }
                Some((first, last)) => (named(first)?, named(last)?),
                None if step.is_some() => (named(range)?, most),
                None => (named(range)?, named(range)?),
            };
            let step = step.unwrap_or(1);
            if first < least || last > most || first > last || step == 0 {
                return None;
            }
            for number in (first..=last).step_by(usize::try_from(step).ok()?) {
                field.bits |= 1 << number;
            }
        }
        Some(field)
    }
}

fn number(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// A pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cron {
    second: Field,
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

impl Cron {
    /// Reads one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [second, minute, hour, day, month, weekday] = fields.as_slice() else { return None };
        Some(Self {
            second: Field::parse(second, 0, 59, &[])?,
            minute: Field::parse(minute, 0, 59, &[])?,
            hour: Field::parse(hour, 0, 23, &[])?,
            day: Field::parse(day, 1, 31, &[])?,
            month: Field::parse(month, 1, 12, MONTHS)?,
            weekday: Field::parse(weekday, 0, 6, DAYS)?,
        })
    }

    /// The first such time after `after`; `None` if there is none for years.
    pub(super) fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Zoned> {
        let start = Timestamp::from_second(after.as_nanosecond().div_euclid(1_000_000_000).try_into().ok()?).ok()?;
        let mut next = start.checked_add(1.second()).ok()?.to_zoned(zone.clone());
        let year_max = next.year().checked_add(YEARS_MAX)?;
        loop {
            if next.year() > year_max {
                return None;
            }
            let date = next.date();
            next = if !self.month.has(next.month()) {
                midnight(date.first_of_month().checked_add(1.month()).ok()?, zone)?
            } else if !self.has_day(date) {
                midnight(date.tomorrow().ok()?, zone)?
            } else if !self.hour.has(next.hour()) {
                let into = i64::from(next.minute()) * 60 + i64::from(next.second());
                next.checked_add((3600 - into).seconds()).ok()?
            } else if !self.minute.has(next.minute()) {
                next.checked_add((60 - i64::from(next.second())).seconds()).ok()?
            } else if !self.second.has(next.second()) {
                next.checked_add(1.second()).ok()?
            } else {
                return Some(next);
            };
        }
    }

    fn has_day(&self, date: Date) -> bool {
        let in_month = self.day.has(date.day());
        let in_week = self.weekday.has(date.weekday().to_sunday_zero_offset());
        if self.day.any || self.weekday.any { in_month && in_week } else { in_month || in_week }
    }
}

fn midnight(date: Date, zone: &TimeZone) -> Option<Zoned> {
    date.to_datetime(civil::Time::midnight()).to_zoned(zone.clone()).ok()
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::Cron;

    fn next(pattern: &str, after: &str, zone: &str) -> Option<String> {
        let zone = TimeZone::get(zone).unwrap();
        let found = Cron::parse(pattern)?.next(after.parse().unwrap(), &zone)?;
        Some(found.timestamp().to_string())
    }

    #[test]
    fn finds_the_next_time() {
        for (pattern, after, expected) in [
            ("* * * * * *", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:01Z"),
            ("*/15 * * * * *", "2026-01-01T00:00:15Z", "2026-01-01T00:00:30Z"),
            ("0 30 8-10 * * mon-fri", "2026-11-28T09:00:00Z", "2026-11-30T08:30:00Z"),
            ("0 0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 0 1 * sun", "2026-11-02T00:00:00Z", "2026-11-08T00:00:00Z"),
            ("5/20 0 0 * * *", "2026-01-01T00:00:05Z", "2026-01-01T00:00:25Z"),
            ("59 59 23 31 DEC ?", "2026-12-31T23:59:59Z", "2027-12-31T23:59:59Z"),
        ] {
            assert_eq!(next(pattern, after, "UTC").as_deref(), Some(expected), "{pattern}");
        }
        assert_eq!(next("0 0 0 31 2 *", "2026-01-01T00:00:00Z", "UTC"), None);
        // The clocks go forward there: half past two is not.
        let berlin = next("0 30 2 * * *", "2026-03-28T03:00:00Z", "Europe/Berlin");
        assert_eq!(berlin.as_deref(), Some("2026-03-30T00:30:00Z"));
    }

    #[test]
    fn nonsense_is_no_pattern() {
        for pattern in [
            "",
            "* * * * *",
            "60 * * * * *",
            "* * * 0 * *",
            "* * * * 13 *",
            "* * * * * 7",
            "a * * * * *",
            "5-1 * * * * *",
            "*/0 * * * * *",
            "1-2-3 * * * * *",
            "-1 * * * * *",
            "1/2/3 * * * * *",
        ] {
            assert_eq!(Cron::parse(pattern), None, "{pattern}");
        }
    }
}
