//! Writing of header blocks. Whatever the data holds, it never ends a line.

use super::{STATUS_NO_RESPONDERS, VERSION};
use crate::encode::{self, CRLF};

/// Builds a header block.
///
/// A CR or LF in a value becomes a blank; in a key, where blanks and colons have no place either, each of
/// the four becomes `-`.
#[derive(Debug, Clone)]
pub struct Builder {
    out: Vec<u8>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// A block without a status.
    #[must_use]
    pub fn new() -> Self {
        let mut out = VERSION.to_vec();
        out.extend_from_slice(CRLF);
        Self { out }
    }

    /// A block with a status of three digits (999 for anything larger) and, unless it is empty, a text.
    #[must_use]
    pub fn with_status(code: u16, text: &str) -> Self {
        let mut out = VERSION.to_vec();
        out.push(b' ');
        let code = code.min(999);
        if code < 100 {
            out.push(b'0');
        }
        if code < 10 {
            out.push(b'0');
        }
        encode::decimal(&mut out, u64::from(code));
        if !text.is_empty() {
            out.push(b' ');
            push_value(&mut out, text.as_bytes());
        }
        out.extend_from_slice(CRLF);
        Self { out }
    }

    /// Adds a header. A header without a key would make the block unreadable and is left out.
    pub fn add(&mut self, key: &[u8], value: &[u8]) -> &mut Self {
        if !key.is_empty() {
            push_header(&mut self.out, key, value);
        }
        self
    }

    /// The block with its empty line.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.out.extend_from_slice(CRLF);
        self.out
    }
}

/// Appends the header block that tells a requester that nobody serves `subject`.
pub fn no_responders_block(out: &mut Vec<u8>, subject: &[u8]) {
    out.extend_from_slice(VERSION);
    out.push(b' ');
    encode::decimal(out, u64::from(STATUS_NO_RESPONDERS));
    out.extend_from_slice(CRLF);
    push_header(out, b"Nats-Subject", subject);
    out.extend_from_slice(CRLF);
}

/// Appends the whole `HMSG` that tells a requester that nobody serves `subject`: delivered to `reply` for
/// subscription `sid`.
pub fn no_responders(out: &mut Vec<u8>, reply: &[u8], sid: &[u8], subject: &[u8]) {
    let mut block = Vec::with_capacity(64 + subject.len());
    no_responders_block(&mut block, subject);
    encode::hmsg(out, reply, sid, None, block.len(), &block);
}

pub(super) fn push_header(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    out.extend(key.iter().map(|b| if matches!(b, b'\r' | b'\n' | b':' | b' ') { b'-' } else { *b }));
    out.extend_from_slice(b": ");
    push_value(out, value);
    out.extend_from_slice(CRLF);
}

fn push_value(out: &mut Vec<u8>, value: &[u8]) {
    out.extend(value.iter().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b }));
}
