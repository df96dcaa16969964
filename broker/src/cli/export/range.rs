//! From where to where: which messages belong to an export, and when there can be no more of them.

use std::time::Duration;

use jiff::Timestamp;

use crate::cli::client::Failure;
use crate::cli::positions::{self, Start, TIME_SLACK};
use crate::cli::values;

/// Where an export ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// At the newest message when it begins.
    Now,
    /// At this sequence, included.
    Sequence(u64),
    /// So long ago, excluded.
    Since(Duration),
    /// At a time, excluded.
    Time(Timestamp),
}

/// Reads a position to end at.
pub(super) fn parse_to(text: &str) -> Result<Stop, String> {
    if text == "now" {
        return Ok(Stop::Now);
    }
    if let Some(seq) = text.strip_prefix("seq:") {
        return positions::sequence(seq).map(Stop::Sequence);
    }
    if let Ok(span) = values::duration(text) {
        return Ok(Stop::Since(span));
    }
    positions::time(text)
        .map(Stop::Time)
        .map_err(|_| "none of now, seq:N, a duration (6h) or a time (2025-06-01T12:00:00Z)".to_owned())
}

/// A range with all its ends resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    /// Where to begin to look.
    pub(super) from: Start,
    /// Times before are not meant, nanoseconds since 1970.
    from_ns: Option<i64>,
    /// Nor are times from here on.
    until_ns: Option<i64>,
    /// The last sequence, once it is known.
    last_seq: Option<u64>,
    /// Messages at most.
    limit: u64,
}

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Take,
    /// It does not belong to the export; later ones may.
    Skip,
    /// Nor does any after it.
    End,
}

impl Range {
    /// Durations count back from `now_ns`.
    pub(super) fn new(from: Start, to: Stop, limit: Option<u64>, now_ns: i64) -> Result<Self, Failure> {
        let ago = |span: Duration| now_ns.saturating_sub(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)).max(0);
        let ns = |at: Timestamp| i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX);
        let from_ns = match from {
            Start::Since(span) => Some(ago(span)),
            Start::Time(at) => Some(ns(at)),
            Start::All | Start::Sequence(_) | Start::Last(_) => None,
        };
        let (last_seq, until_ns) = match to {
            Stop::Now => (None, None),
            Stop::Sequence(seq) => (Some(seq), None),
            Stop::Since(span) => (None, Some(ago(span))),
            Stop::Time(at) => (None, Some(ns(at))),
        };
        if from_ns.zip(until_ns).is_some_and(|(from, until)| until <= from) {
            return Err(Failure::Usage("--to is not after --from".to_owned()));
        }
        if let (Start::Sequence(from), Some(last)) = (from, last_seq)
            && last < from
        {
            return Err(Failure::Usage("--to is before --from".to_owned()));
        }
        let from = match from_ns.and_then(|ns| Timestamp::from_nanosecond(i128::from(ns)).ok()) {
            Some(at) => Start::Time(at),
            None => from,
        };
        Ok(Self { from, from_ns, until_ns, last_seq, limit: limit.unwrap_or(u64::MAX) })
    }

    /// The time it begins at, if it begins at one.
    pub(super) fn begins_at_ns(&self) -> Option<i64> {
        self.from_ns
    }

    /// Nothing behind this sequence belongs to it.
    pub(super) fn end_at(&mut self, newest_seq: u64) {
        self.last_seq = Some(self.last_seq.map_or(newest_seq, |last| last.min(newest_seq)));
    }

    /// The last sequence, if it is known.
    pub(super) fn last_seq(&self) -> Option<u64> {
        self.last_seq
    }

    /// Whether only sequences bound it: then the position is the progress.
    pub(super) fn is_of_sequences(&self) -> bool {
        self.from_ns.is_none() && self.until_ns.is_none() && !matches!(self.from, Start::Last(_))
    }

    /// What to do with this message.
    pub(super) fn judge(&self, seq: u64, ts_ns: i64) -> Verdict {
        if self.last_seq.is_some_and(|last| seq > last) {
            return Verdict::End;
        }
        if let Some(until) = self.until_ns
            && ts_ns >= until
        {
            let slack = i64::try_from(TIME_SLACK.as_nanos()).unwrap_or(i64::MAX);
            return if ts_ns - until > slack { Verdict::End } else { Verdict::Skip };
        }
        if self.from_ns.is_some_and(|from| ts_ns < from) { Verdict::Skip } else { Verdict::Take }
    }

    /// Whether this was the last one.
    pub(super) fn is_full(&self, taken: u64, seq: u64) -> bool {
        taken >= self.limit || self.last_seq == Some(seq)
    }

    /// The part of a stretch of sequences that lies within, as far as sequences tell.
    pub(super) fn clip(&self, first_seq: u64, last_seq: u64) -> Option<(u64, u64)> {
        let first = if let Start::Sequence(from) = self.from { first_seq.max(from) } else { first_seq };
        let last = self.last_seq.map_or(last_seq, |last| last.min(last_seq));
        (first <= last).then_some((first, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_748_779_200_000_000_000;
    const SECOND: i64 = 1_000_000_000;

    fn range(from: &str, to: &str, limit: Option<u64>) -> Result<Range, String> {
        let from = positions::parse_from(from).unwrap();
        Range::new(from, parse_to(to).unwrap(), limit, NOW).map_err(|failure| failure.to_string())
    }

    #[test]
    fn positions_to_end() {
        assert_eq!(parse_to("now"), Ok(Stop::Now));
        assert_eq!(parse_to("seq:7"), Ok(Stop::Sequence(7)));
        assert_eq!(parse_to("6h"), Ok(Stop::Since(Duration::from_secs(6 * 3600))));
        assert_eq!(parse_to("1748779200"), parse_to("2025-06-01T12:00:00Z"));
        for text in ["", "all", "live", "seq:0", "6x", "last:3"] {
            assert!(parse_to(text).is_err(), "{text:?} must be refused");
        }
    }

    #[test]
    fn sequences_are_included() {
        let mut range = range("seq:10", "seq:20", Some(5)).unwrap();
        assert_eq!((range.judge(20, 0), range.judge(21, 0)), (Verdict::Take, Verdict::End));
        assert!(range.is_full(1, 20) && range.is_full(5, 12) && !range.is_full(4, 19));
        assert_eq!((range.clip(1, 9), range.clip(1, 12), range.clip(19, 99)), (None, Some((10, 12)), Some((19, 20))));
        range.end_at(15);
        assert_eq!((range.judge(16, 0), range.last_seq()), (Verdict::End, Some(15)));
        range.end_at(99);
        assert_eq!(range.last_seq(), Some(15));
    }

    #[test]
    fn times_are_included_at_the_beginning_and_excluded_at_the_end() {
        let range = range("2h", "1h", None).unwrap();
        let (from, until) = (NOW - 7200 * SECOND, NOW - 3600 * SECOND);
        assert_eq!(range.begins_at_ns(), Some(from));
        for (ts_ns, verdict) in [
            (from - 1, Verdict::Skip),
            (from, Verdict::Take),
            (until - 1, Verdict::Take),
            (until, Verdict::Skip),
            (until + SECOND, Verdict::Skip),
            (until + SECOND + 1, Verdict::End),
        ] {
            assert_eq!(range.judge(1, ts_ns), verdict, "{}", ts_ns - from);
        }
        assert!(matches!(range.from, Start::Time(_)));
    }

    #[test]
    fn ends_before_the_beginning_are_refused() {
        for (from, to) in [("1h", "2h"), ("1h", "1h"), ("2025-06-02", "2025-06-01"), ("seq:3", "seq:2")] {
            assert!(range(from, to, None).unwrap_err().starts_with("--to is "), "{from} {to}");
        }
        for (from, to) in [("all", "seq:2"), ("seq:3", "seq:3"), ("seq:3", "1h"), ("1h", "seq:3"), ("last:3", "now")] {
            assert!(range(from, to, None).is_ok(), "{from} {to}");
        }
    }
}
