//! A message on its way into a file.

use std::borrow::Cow;

use sublog_protocol::headers::Headers;

use super::field::Value;

/// Headers that a replay puts before those of the publisher.
const POSITION_HEADERS: [&[u8]; 4] = [b"Nats-Stream", b"Nats-Subject", b"Nats-Sequence", b"Nats-Time-Stamp"];

/// A message as a log or a server gives it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) stream: &'a str,
    pub(super) seq: u64,
    /// Nanoseconds since 1970.
    pub(super) ts_ns: i64,
    pub(super) subject: &'a [u8],
    /// The header block; empty when there is none.
    pub(super) headers: &'a [u8],
    /// Whether the block begins with the headers that a replay adds.
    pub(super) has_position: bool,
    pub(super) payload: &'a [u8],
}

/// The same as columns.
#[derive(Debug)]
pub(super) struct Cells<'a> {
    pub(super) row: Row<'a>,
    pub(super) subject: Cow<'a, str>,
    /// Keys in the order of their first coming, each with its values.
    pub(super) headers: Vec<(Cow<'a, str>, Vec<Cow<'a, str>>)>,
    /// The payload, if it is JSON and that was looked at.
    pub(super) json: Option<&'a str>,
    pub(super) fields: Vec<Value<'a>>,
    /// Subject and headers are text, and the headers can be read. What is not UTF-8 shows as U+FFFD, and a header block
    /// that cannot be read is left out.
    pub(super) intact: bool,
}

impl<'a> Cells<'a> {
    /// Without JSON and fields.
    pub(super) fn new(row: Row<'a>) -> Self {
        let (subject, intact) = text_of(row.subject);
        let mut cells = Self { row, subject, headers: Vec::new(), json: None, fields: Vec::new(), intact };
        if !row.headers.is_empty() {
            cells.take_headers();
        }
        cells
    }

    fn take_headers(&mut self) {
        let Ok(parsed) = Headers::parse(self.row.headers) else {
            self.intact = false;
            return;
        };
        let mut positions: &[&[u8]] = if self.row.has_position { &POSITION_HEADERS } else { &[] };
        for (key, value) in parsed.iter() {
            // They come first and once, in this order; a publisher's own of the same name comes after them.
            if let Some((next, rest)) = positions.split_first()
                && *next == key
            {
                positions = rest;
                continue;
            }
            let ((key, key_intact), (value, value_intact)) = (text_of(key), text_of(value));
            self.intact &= key_intact && value_intact;
            match self.headers.iter_mut().find(|(known, _)| *known == key) {
                Some((_, values)) => values.push(value),
                None => self.headers.push((key, vec![value])),
            }
        }
    }
}

/// UTF-8 or with a replacement for what is not.
fn text_of(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    let text = String::from_utf8_lossy(bytes);
    let intact = matches!(text, Cow::Borrowed(_));
    (text, intact)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(headers: &'static [u8], has_position: bool) -> Cells<'static> {
        Cells::new(Row { stream: "S", seq: 1, ts_ns: 0, subject: b"a", headers, has_position, payload: b"" })
    }

    fn shown(cells: &Cells<'_>) -> Vec<String> {
        cells.headers.iter().map(|(key, values)| format!("{key}={}", values.join("|"))).collect()
    }

    #[test]
    fn headers_are_gathered_by_key() {
        let mixed = cells(b"NATS/1.0\r\nX: a\r\nY: \r\nX: b\r\nx: c\r\n\r\n", false);
        assert_eq!(shown(&mixed), ["X=a|b", "Y=", "x=c"]);
        assert!(mixed.intact && cells(b"", false).intact);
    }

    #[test]
    fn what_a_replay_adds_is_taken_away_and_no_more() {
        let block = b"NATS/1.0\r\nNats-Stream: S\r\nNats-Subject: a\r\nNats-Sequence: 7\r\nNats-Time-Stamp: t\r\n\
            Nats-Sequence: own\r\nX: a\r\n\r\n";
        assert_eq!(shown(&cells(block, true)), ["Nats-Sequence=own", "X=a"]);
        assert_eq!(shown(&cells(block, false)).len(), 5);
    }

    #[test]
    fn what_is_not_text_is_noticed() {
        let bad = cells(b"NATS/1.0\r\nX: \xff\r\n\r\n", false);
        assert_eq!((shown(&bad), bad.intact), (vec!["X=\u{fffd}".to_owned()], false));
        let unreadable = cells(b"X: a", false);
        assert_eq!((shown(&unreadable).len(), unreadable.intact), (0, false));
    }
}
