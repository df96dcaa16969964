//! What a message says about where it comes from: the header `Nats-Stream-Source`, and what is left of its other headers.
//!
//! The header's value is `<stream> <sequence> <filters> <destinations> <subject> <identity>`; several filters or destinations are
//! divided by form feeds. The identity tells streams of an equal name apart.

use sha2::{Digest, Sha256};

use crate::jetstream::config::stream::{StreamSource, SubjectTransform};

/// The header.
pub(in crate::jetstream) const STREAM_SOURCE: &[u8] = b"Nats-Stream-Source";
/// Headers that a copy does not have: the first as a name, the others as what names begin with.
const LEFT_OUT: [(&[u8], bool); 3] = [(STREAM_SOURCE, false), (b"Nats-Expected-", true), (b"Nats-Batch-", true)];
const VERSION_LINE: &[u8] = b"NATS/1.0\r\n";
const IDENTITY_CHARS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

/// What tells a source from others of the same stream: filters and destinations.
pub(super) fn selects(source: &StreamSource) -> (String, String) {
    let all = |text: &str| if text.is_empty() { ">".to_owned() } else { text.to_owned() };
    if source.subject_transforms.is_empty() {
        return (all(&source.filter_subject), ">".to_owned());
    }
    let joined = |field: fn(&SubjectTransform) -> &str| {
        source.subject_transforms.iter().map(|one| all(field(one))).collect::<Vec<_>>().join("\u{c}")
    };
    (joined(|one| &one.src), joined(|one| &one.dest))
}

/// Names a stream that was created then, apart from others of its name.
pub(super) fn identity(name: &str, created_ns: i64) -> String {
    let hash = Sha256::new().chain_update(name).chain_update(created_ns.to_le_bytes()).finalize();
    let pick = |byte: &u8| IDENTITY_CHARS.get(usize::from(byte % 62)).copied().map_or('0', char::from);
    hash.iter().take(8).map(pick).collect()
}

/// The header block of a copy of a message.
pub(super) fn headers_of_copy(headers: &[u8], value: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(headers.len() + STREAM_SOURCE.len() + value.len() + 8);
    out.extend_from_slice(VERSION_LINE);
    let mut lines = headers.split_inclusive(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    if first.starts_with(b"NATS/") {
        out.clear();
        out.extend_from_slice(first);
    }
    for line in lines {
        let is_end = line == b"\r\n" || line == b"\n";
        let left_out = LEFT_OUT
            .iter()
            .any(|(name, begins)| line.strip_prefix(*name).is_some_and(|rest| *begins || rest.first() == Some(&b':')));
        if !is_end && !left_out {
            out.extend_from_slice(line);
        }
    }
    out.extend_from_slice(STREAM_SOURCE);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    out
}

/// Sequence and identity of a header, if it is one of this source's; an identity that is not told is empty.
pub(super) fn parse<'a>(value: &'a str, name: &str, selects: &(String, String)) -> Option<(u64, &'a str)> {
    let mut fields = value.split(' ');
    let is_it = fields.next() == Some(name);
    let seq = fields.next()?.parse().ok()?;
    let selected = fields.next() == Some(selects.0.as_str()) && fields.next() == Some(selects.1.as_str());
    let identity = fields.nth(1).unwrap_or_default();
    (is_it && selected).then_some((seq, identity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_says_where_it_comes_from_and_nothing_else_of_its_way() {
        assert_eq!(headers_of_copy(b"", "O 1 > > a x"), b"NATS/1.0\r\nNats-Stream-Source: O 1 > > a x\r\n\r\n");
        let before = b"NATS/1.0\r\nNats-Stream-Source: P 7 > > b y\r\nX: y\r\nNats-Expected-Stream: P\r\nNats-Batch-Id: 1\r\n\r\n";
        assert_eq!(headers_of_copy(before, "O 1"), b"NATS/1.0\r\nX: y\r\nNats-Stream-Source: O 1\r\n\r\n");
    }

    #[test]
    fn a_source_finds_its_own_headers_only() {
        let selects = |filter: &str| {
            selects(&StreamSource {
                name: "O".to_owned(),
                filter_subject: filter.to_owned(),
                ..StreamSource::default()
            })
        };
        assert_eq!(parse("O 5 o.a > o.a abc", "O", &selects("o.a")), Some((5, "abc")));
        assert_eq!(parse("O 5 o.a > o.a", "O", &selects("o.a")), Some((5, "")));
        assert_eq!(parse("O 5 o.a > o.a abc", "O", &selects("")), None);
        assert_eq!(parse("P 5 o.a > o.a abc", "O", &selects("o.a")), None);
        assert_eq!(parse("O x o.a > o.a abc", "O", &selects("o.a")), None);
        assert_eq!(identity("O", 7).len(), 8);
        assert_ne!(identity("O", 7), identity("O", 8));
    }
}
