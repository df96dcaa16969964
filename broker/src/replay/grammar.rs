//! `$REPLAY.<where>.<filter>`: where to begin, and what to send.

use std::time::Duration;

use sublog_protocol::error::ServerError;
use sublog_protocol::subject;

/// First token of a replay subscription, with its dot.
pub const PREFIX: &[u8] = b"$REPLAY.";

const GRAMMAR: &str = "$REPLAY.<where>.<subject>, where: all | seq.<n> | last.<n> | since.<90s|15m|6h|7d> | \
                       time.<unix seconds or milliseconds>";

/// Numbers from here on are milliseconds, below they are seconds: seconds reach it in the year 5138.
const MILLISECONDS_FROM: u64 = 100_000_000_000;

/// Where a replay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest message.
    All,
    /// At a sequence, or the next one there is.
    Sequence(u64),
    /// So many matching messages before the end.
    Last(u64),
    /// So long ago.
    Since(Duration),
    /// At a time, in nanoseconds since the epoch.
    Time(i64),
}

/// A replay as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where it begins.
    pub start: Start,
    /// Which subjects it sends.
    pub filter: Box<[u8]>,
}

/// Reads the subject of a replay subscription.
///
/// # Errors
/// A text that says what is wrong and shows the grammar.
pub fn parse(text: &[u8]) -> Result<Request, ServerError> {
    let (kind, rest) = token(text.strip_prefix(PREFIX));
    let (start, filter) = match kind {
        b"all" => (Start::All, rest),
        b"seq" => {
            let (value, rest) = token(rest);
            (Start::Sequence(number(value, "seq needs a sequence number")?), rest)
        }
        b"last" => {
            let (value, rest) = token(rest);
            (Start::Last(number(value, "last needs a number of messages")?), rest)
        }
        b"since" => {
            let (value, rest) = token(rest);
            (
                Start::Since(
                    duration(value).ok_or_else(|| bad("since needs a duration such as 90s, 15m, 6h or 7d", value))?,
                ),
                rest,
            )
        }
        b"time" => {
            let (value, rest) = token(rest);
            let at = number(value, "time needs unix seconds or milliseconds")?;
            (Start::Time(time_ns(at).ok_or_else(|| bad("time is out of range", value))?), rest)
        }
        other => return Err(bad("no such start", other)),
    };
    match filter {
        None => Err(bad("the subject to replay is missing", text)),
        Some(filter) if !subject::is_valid_filter(filter) => Err(bad("the subject to replay is not valid", filter)),
        Some(filter) => Ok(Request { start, filter: filter.into() }),
    }
}

/// The refusal of a queue group.
#[must_use]
pub fn no_queue_groups() -> ServerError {
    ServerError::Other("Invalid Replay Subject: a replay has one reader, queue groups cannot share it".to_owned())
}

/// The refusal of a replay where nothing is recorded.
#[must_use]
pub fn nothing_recorded() -> ServerError {
    ServerError::Other("Replay Not Available: this server runs with capture off".to_owned())
}

/// The first token, and what follows its dot.
fn token(text: Option<&[u8]>) -> (&[u8], Option<&[u8]>) {
    let text = text.unwrap_or_default();
    match memchr::memchr(b'.', text) {
        Some(dot) => (text.get(..dot).unwrap_or_default(), text.get(dot + 1..)),
        None => (text, None),
    }
}

fn number(text: &[u8], otherwise: &str) -> Result<u64, ServerError> {
    let digits = std::str::from_utf8(text).ok().filter(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|t| t.parse().ok()).ok_or_else(|| bad(otherwise, text))
}

fn duration(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    let seconds_each = match unit {
        b's' => 1,
        b'm' => 60,
        b'h' => 3600,
        b'd' => 24 * 3600,
        _ => return None,
    };
    let count = number(digits, "").ok()?;
    count.checked_mul(seconds_each).map(Duration::from_secs)
}

fn time_ns(at: u64) -> Option<i64> {
    let per_unit: u64 = if at >= MILLISECONDS_FROM { 1_000_000 } else { 1_000_000_000 };
    i64::try_from(at.checked_mul(per_unit)?).ok()
}

fn bad(why: &str, what: &[u8]) -> ServerError {
    // What the client sent may be long and hold anything; it is shown shortened, as text.
    let shown: String = String::from_utf8_lossy(what).chars().take(64).collect();
    ServerError::Other(format!("Invalid Replay Subject: {why} (got \"{shown}\"); use {GRAMMAR}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(text: &str) -> (Start, String) {
        let request = parse(text.as_bytes()).unwrap();
        (request.start, String::from_utf8(request.filter.to_vec()).unwrap())
    }

    #[test]
    fn every_form() {
        assert_eq!(ok("$REPLAY.all.>"), (Start::All, ">".into()));
        assert_eq!(ok("$REPLAY.all.seq.5"), (Start::All, "seq.5".into()));
        assert_eq!(ok("$REPLAY.seq.17.cms.*"), (Start::Sequence(17), "cms.*".into()));
        assert_eq!(ok("$REPLAY.last.3.a"), (Start::Last(3), "a".into()));
        for (text, seconds) in [("90s", 90), ("15m", 900), ("6h", 21_600), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(ok(&format!("$REPLAY.since.{text}.a")).0, Start::Since(Duration::from_secs(seconds)));
        }
        assert_eq!(ok("$REPLAY.time.1700000000.a.b").0, Start::Time(1_700_000_000_000_000_000));
        assert_eq!(ok("$REPLAY.time.1700000000123.a.b").0, Start::Time(1_700_000_000_123_000_000));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_grammar() {
        for (text, why) in [
            ("$REPLAY.", "no such start"),
            ("$REPLAY.everything.a", "no such start"),
            ("$REPLAY.all", "missing"),
            ("$REPLAY.seq.5", "missing"),
            ("$REPLAY.seq.x.a", "sequence number"),
            ("$REPLAY.seq.-1.a", "sequence number"),
            ("$REPLAY.seq.+1.a", "sequence number"),
            ("$REPLAY.seq.99999999999999999999999.a", "sequence number"),
            ("$REPLAY.last..a", "number of messages"),
            ("$REPLAY.since.6w.a", "duration"),
            ("$REPLAY.since.h.a", "duration"),
            ("$REPLAY.since.99999999999999999d.a", "duration"),
            ("$REPLAY.since.6\u{e9}.a", "duration"),
            ("$REPLAY.time.9999999999999999.a", "out of range"),
            ("$REPLAY.all.a..b", "not valid"),
            ("$REPLAY.all.>.b", "not valid"),
        ] {
            let text = parse(text.as_bytes()).unwrap_err().text().into_owned();
            assert!(text.contains(why) && text.contains("since.<90s|15m|6h|7d>"), "{text}");
        }
    }
}
