//! Positions in the log as the commands write them: `all`, `seq:42`, `last:10`, `6h`, a time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::values;

/// First token of the subjects that replay.
pub(super) const PREFIX: &str = "$REPLAY.";
/// Status that marks the end of a replay's history.
pub(super) const CAUGHT_UP: u16 = 204;
/// Publishers stamp messages beside each other, so neighbours in the log may be out of order by a little.
pub(super) const TIME_SLACK: SignedDuration = SignedDuration::from_secs(1);

/// Numbers from here on are milliseconds, below they are seconds, as in the subjects that replay.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// Where a replay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// At the oldest message.
    All,
    /// At a sequence, or the next there is.
    Sequence(u64),
    /// So many matching messages before the end.
    Last(u64),
    /// So long ago.
    Since(Duration),
    /// At a time.
    Time(Timestamp),
}

/// Reads a position to begin at.
pub(super) fn parse_from(text: &str) -> Result<Start, String> {
    if matches!(text, "all" | "start") {
        return Ok(Start::All);
    }
    if let Some(seq) = text.strip_prefix("seq:") {
        return sequence(seq).map(Start::Sequence);
    }
    if let Some(count) = text.strip_prefix("last:") {
        return sequence(count).map(Start::Last);
    }
    if let Ok(span) = values::duration(text) {
        return Ok(Start::Since(span));
    }
    match time(text) {
        Ok(at) if at < Timestamp::UNIX_EPOCH => Err("the time is before 1970".to_owned()),
        Ok(at) => Ok(Start::Time(at)),
        Err(_) => Err("none of all, seq:N, last:N, a duration (6h) or a time (2025-06-01T12:00:00Z)".to_owned()),
    }
}

/// Reads a sequence, or a number of messages.
pub(super) fn sequence(text: &str) -> Result<u64, String> {
    values::number(text, 1, u64::MAX)
}

/// Reads a time: RFC 3339, a local date with or without a time, or unix seconds or milliseconds.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    // Fewer digits are a date without its dashes (20250601), or a mistake: nobody means a moment before 1973.
    if text.len() > 8
        && text.bytes().all(|b| b.is_ascii_digit())
        && let Ok(number) = text.parse::<i64>()
    {
        let at = if number < MILLISECONDS_FROM {
            Timestamp::from_second(number)
        } else {
            Timestamp::from_millisecond(number)
        };
        return at.map_err(|_| format!("{text:?} is no time that can be"));
    }
    values::time(text)
}

/// The subject to subscribe to for a replay.
pub(super) fn replay_subject(from: Start, filter: &str) -> String {
    let start = match from {
        Start::All => "all".to_owned(),
        Start::Sequence(seq) => format!("seq.{seq}"),
        Start::Last(count) => format!("last.{count}"),
        // The server's grammar has one unit; rounding up shows more rather than less.
        Start::Since(span) => format!("since.{}s", span.as_secs() + u64::from(span.subsec_nanos() > 0)),
        // Exact to the millisecond, for the times that the server takes for milliseconds at all.
        Start::Time(at) => match at.as_millisecond() {
            ms if ms < MILLISECONDS_FROM => format!("time.{}", at.as_second()),
            ms => format!("time.{ms}"),
        },
    };
    format!("{PREFIX}{start}.{filter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_digits_are_a_date() {
        assert_eq!(time("20250601"), time("2025-06-01"));
    }

    #[test]
    fn positions_to_begin() {
        let subject = |text: &str| parse_from(text).map(|from| replay_subject(from, "a.>"));
        for (text, expected) in [
            ("all", "$REPLAY.all.a.>"),
            ("start", "$REPLAY.all.a.>"),
            ("seq:42", "$REPLAY.seq.42.a.>"),
            ("last:3", "$REPLAY.last.3.a.>"),
            ("6h", "$REPLAY.since.21600s.a.>"),
            ("1h30m", "$REPLAY.since.5400s.a.>"),
            ("1500ms", "$REPLAY.since.2s.a.>"),
            ("2025-06-01T12:00:00.25Z", "$REPLAY.time.1748779200250.a.>"),
            ("1748779200", "$REPLAY.time.1748779200000.a.>"),
            ("1748779200250", "$REPLAY.time.1748779200250.a.>"),
            ("1970-01-02T00:00:00Z", "$REPLAY.time.86400.a.>"),
            ("20250601T12:00:00Z", "$REPLAY.time.1748779200000.a.>"),
        ] {
            assert_eq!(subject(text).as_deref(), Ok(expected), "{text}");
        }
        let refused = ["", "seq:0", "seq:x", "last:", "yesterday", "-6h", "now", "1960-01-01T00:00:00Z", "ALL", "2025"];
        for text in refused.into_iter().chain(["99999999999999999", "1748779200250000000000"]) {
            assert!(parse_from(text).is_err(), "{text:?} must be refused");
        }
    }
}
