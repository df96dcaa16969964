//! Header blocks with some lines more or less. What is left is as it was, whether it is well formed or not.

use super::VERSION;
use crate::encode::CRLF;
use crate::headers::build::push_header;

/// The block without the headers whose keys `gone` selects; empty if no header is left and the block has no status.
#[must_use]
pub fn without(block: &[u8], gone: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut kept = Vec::with_capacity(block.len());
    let (mut rest, mut lines, mut status) = (block, 0, false);
    while let Some(end) = memchr::memmem::find(rest, CRLF) {
        let (line, next) = rest.split_at_checked(end + CRLF.len()).unwrap_or((rest, &[]));
        rest = next;
        let first = kept.is_empty() && lines == 0;
        let key = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if first {
            status = line.len() > VERSION.len() + CRLF.len();
        } else if line.len() > CRLF.len() {
            if gone(key) {
                continue;
            }
            lines += 1;
        }
        kept.extend_from_slice(line);
    }
    if lines == 0 && !status {
        return Vec::new();
    }
    kept.extend_from_slice(rest);
    kept
}

/// The block with one more header at its end. What an empty one becomes has nothing else.
#[must_use]
pub fn with(block: &[u8], key: &[u8], value: &[u8]) -> Vec<u8> {
    let open = block.strip_suffix(CRLF).unwrap_or(block);
    let mut made = Vec::with_capacity(block.len() + key.len() + value.len() + 24);
    if open.is_empty() {
        made.extend_from_slice(VERSION);
        made.extend_from_slice(CRLF);
    } else {
        made.extend_from_slice(open);
    }
    push_header(&mut made, key, value);
    made.extend_from_slice(CRLF);
    made
}

/// The block with this value in the place of all others that the key has.
#[must_use]
pub fn set(block: &[u8], key: &[u8], value: &[u8]) -> Vec<u8> {
    with(&without(block, |found| found == key), key, value)
}

#[cfg(test)]
mod tests {
    use super::{set, with, without};

    const BLOCK: &[u8] = b"NATS/1.0\r\nA: 1\r\nAb: 2\r\nA: 3\r\n\r\n";

    #[test]
    fn lines_go_and_come() {
        assert_eq!(without(BLOCK, |key| key == b"A"), b"NATS/1.0\r\nAb: 2\r\n\r\n");
        assert_eq!(without(BLOCK, |key| key.starts_with(b"A")), b"");
        assert_eq!(without(b"NATS/1.0 100\r\nA: 1\r\n\r\n", |_| true), b"NATS/1.0 100\r\n\r\n");
        assert_eq!(without(b"", |_| true), b"");
        assert_eq!(with(b"", b"K", b"v"), b"NATS/1.0\r\nK: v\r\n\r\n");
        assert_eq!(with(&set(BLOCK, b"A", b"4"), b"C", b"5"), b"NATS/1.0\r\nAb: 2\r\nA: 4\r\nC: 5\r\n\r\n");
    }

    #[test]
    fn what_is_no_block_stays_what_it_is() {
        for odd in [&b"NATS/1.0\r\nA: 1"[..], b"x", b"\r\n\r\n\r\n", b"NATS/1.0\r\n"] {
            let _ = without(odd, |_| true);
            assert!(with(odd, b"K", b"v").ends_with(b"K: v\r\n\r\n"));
        }
    }
}
