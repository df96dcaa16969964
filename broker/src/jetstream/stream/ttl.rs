//! How long a message says that it stays.

use std::time::Duration;

use sublog_protocol::headers::{self, edit};

use super::checks::Rules;
use crate::jetstream::consumer::machine::durations;
use crate::jetstream::errors::ApiError;

/// The header that says so.
pub(super) const HEADER: &[u8] = b"Nats-TTL";
/// The header that says why a message is only a marker of others that went.
pub(super) const MARKER_REASON: &[u8] = b"Nats-Marker-Reason";

const SECOND_NS: i64 = 1_000_000_000;

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ttl {
    /// Nothing: as long as the limits let it.
    Unsaid,
    /// Longer than the stream's age limit.
    Never,
    /// So many seconds.
    Seconds(i64),
}

impl Ttl {
    /// Reads it: a number of seconds, a duration of a second or more, or `never`.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::Unsaid);
        }
        let text = std::str::from_utf8(text).ok()?;
        if text.eq_ignore_ascii_case("never") {
            return Some(Self::Never);
        }
        let seconds = match durations::parse(text) {
            Some(ns) if ns < SECOND_NS => return None,
            Some(ns) => ns / SECOND_NS,
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
            None => return None,
        };
        Some(if seconds == 0 { Self::Unsaid } else { Self::Seconds(seconds) })
    }

    /// What a message's headers say; `None` if that is nonsense.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        headers::get(head, HEADER).map_or(Some(Self::Unsaid), Self::parse)
    }

    /// When a message of that time goes.
    pub(super) fn expires_at_ns(self, ts_ns: i64) -> Option<i64> {
        match self {
            Self::Seconds(seconds) => Some(ts_ns.saturating_add(seconds.saturating_mul(SECOND_NS))),
            Self::Unsaid | Self::Never => None,
        }
    }
}

/// What holds for a message in a stream, and its header block if that must say something else than it does: where others
/// leave markers, a message stays at least as long as one, since it may have taken a marker's place.
pub(super) fn admit(rules: &Rules, head: &[u8]) -> Result<(Ttl, Option<Vec<u8>>), ApiError> {
    let ttl = Ttl::of(head).ok_or_else(ApiError::message_ttl_invalid)?;
    let (Ttl::Seconds(seconds), Some(least)) = (ttl, rules.marker_seconds) else { return Ok((ttl, None)) };
    if seconds >= least || rules.one_per_subject {
        return Ok((ttl, None));
    }
    Ok((Ttl::Seconds(least), Some(edit::set(head, HEADER, least.to_string().as_bytes()))))
}

/// The header block of the marker that is put in the place of a subject's last message.
pub(super) fn marker(seconds: i64) -> Vec<u8> {
    let stays = Duration::from_secs(seconds.unsigned_abs());
    let mut block = headers::Builder::new();
    block.add(MARKER_REASON, b"MaxAge");
    block.add(HEADER, durations::format(u64::try_from(stays.as_nanos()).unwrap_or(u64::MAX)).as_bytes());
    block.add(b"Nats-Rollup", b"sub");
    block.finish()
}

/// Whether a message marks that others are gone, and needs no marker itself.
pub(super) fn is_marker(head: &[u8]) -> bool {
    headers::get(head, MARKER_REASON).is_some_and(|reason| !reason.is_empty())
        || headers::get(head, b"KV-Operation") == Some(b"PURGE")
}

#[cfg(test)]
mod tests {
    use super::{Rules, Ttl, admit, marker};

    /// As nats-server 2.15.1 takes them.
    #[test]
    fn reads_what_clients_write() {
        for (text, expected) in [
            ("5", Some(Ttl::Seconds(5))),
            ("1s", Some(Ttl::Seconds(1))),
            ("1500ms", Some(Ttl::Seconds(1))),
            ("1h0m1s", Some(Ttl::Seconds(3601))),
            ("never", Some(Ttl::Never)),
            ("NeVer", Some(Ttl::Never)),
            ("", Some(Ttl::Unsaid)),
            ("00", Some(Ttl::Unsaid)),
            ("0", None),
            ("999ms", None),
            ("-1", None),
            ("-5s", None),
            ("5x", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(Ttl::parse(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(Ttl::Seconds(i64::MAX).expires_at_ns(5), Some(i64::MAX));
    }

    #[test]
    fn nothing_goes_before_a_marker_would() {
        let rules = Rules { marker_seconds: Some(10), ..Rules::default() };
        let (ttl, head) = admit(&rules, b"NATS/1.0\r\nNats-TTL: 2\r\n\r\n").unwrap();
        assert_eq!((ttl, head.as_deref()), (Ttl::Seconds(10), Some(&b"NATS/1.0\r\nNats-TTL: 10\r\n\r\n"[..])));
        let one = Rules { one_per_subject: true, ..rules };
        assert_eq!(admit(&one, b"NATS/1.0\r\nNats-TTL: 2\r\n\r\n").unwrap(), (Ttl::Seconds(2), None));
        let text = b"NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: 1m30s\r\nNats-Rollup: sub\r\n\r\n";
        assert_eq!(marker(90), text);
    }
}
