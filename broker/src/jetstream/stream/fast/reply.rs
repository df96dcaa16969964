//! What the reply subject of a message of a fast batch says: `<prefix>.<id>.<flow>.<gap>.<number>.<operation>.$FI`.

use crate::jetstream::stream::checks::number;

/// How such a subject ends.
const SUFFIX: &[u8] = b".$FI";
/// So many messages to an acknowledgement where a client does not say it.
const FLOW: u16 = 10;

/// What a message wants of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// To be stored.
    Add,
    /// To be stored as the last one.
    Commit,
    /// To end it, without being stored.
    CommitBefore,
    /// To hear again how far it is.
    Ping,
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    /// The batch's id.
    pub(super) id: &'a [u8],
    /// So many messages may come between two acknowledgements.
    pub(super) flow: u16,
    /// The batch goes on where messages are missing.
    pub(super) gaps: bool,
    /// The message's number in the batch, from 1.
    pub(super) seq: u64,
    pub(super) operation: Operation,
}

/// Whether a message with this reply subject is for a fast batch.
#[must_use]
pub(in crate::jetstream) fn is_one(reply: &[u8]) -> bool {
    reply.len() > SUFFIX.len() && reply.ends_with(SUFFIX)
}

/// Reads a subject that [`is_one`]; `None`: it does not say what it has to.
pub(super) fn parse(reply: &[u8]) -> Option<Asked<'_>> {
    let mut tokens = reply.strip_suffix(SUFFIX)?.rsplitn(6, |byte| *byte == b'.');
    let (operation, seq) = (digits(tokens.next()?)?, digits(tokens.next()?)?);
    let (gap, flow, id) = (tokens.next()?, tokens.next()?, tokens.next()?);
    // Something stands before the id.
    tokens.next()?;
    if seq == 0 || seq == u64::MAX {
        return None;
    }
    let operation = match (operation, seq) {
        (0, 1) | (1, 2..) => Operation::Add,
        (2, _) => Operation::Commit,
        (3, 2..) => Operation::CommitBefore,
        (4, _) => Operation::Ping,
        _ => return None,
    };
    let gaps = match gap {
        b"ok" => true,
        b"fail" => false,
        _ => return None,
    };
    let flow = digits(flow).filter(|flow| *flow > 0).map_or(FLOW, |flow| u16::try_from(flow).unwrap_or(u16::MAX));
    Some(Asked { id, flow, gaps, seq, operation })
}

fn digits(text: &[u8]) -> Option<u64> {
    number(text).filter(|_| text.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_says_what_is_asked() {
        let asked = |flow, gaps, seq, operation| Some(Asked { id: b"id", flow, gaps, seq, operation });
        for (reply, expected) in [
            ("_INBOX.id.100.fail.1.0.$FI", asked(100, false, 1, Operation::Add)),
            ("a.b.c.id.70000.ok.9.1.$FI", asked(u16::MAX, true, 9, Operation::Add)),
            ("p.id.0.ok.1.2.$FI", asked(10, true, 1, Operation::Commit)),
            ("p.id.x.ok.2.3.$FI", asked(10, true, 2, Operation::CommitBefore)),
            ("p.id.1.fail.1.4.$FI", asked(1, false, 1, Operation::Ping)),
            // Nothing before the id; a number too few.
            ("id.1.fail.1.4.$FI", None),
            ("p.1.fail.1.4.$FI", None),
            // Numbers and operations that do not go together.
            ("p.id.1.fail.2.0.$FI", None),
            ("p.id.1.fail.1.1.$FI", None),
            ("p.id.1.fail.1.3.$FI", None),
            ("p.id.1.fail.1.5.$FI", None),
            ("p.id.1.fail.0.2.$FI", None),
            ("p.id.1.fail.18446744073709551615.2.$FI", None),
            ("p.id.1.fail.+1.2.$FI", None),
            ("p.id.1.fail.x.2.$FI", None),
            ("p.id.1.maybe.1.0.$FI", None),
            (".$FI", None),
            ("a.$FI", None),
        ] {
            assert_eq!(parse(reply.as_bytes()), expected, "{reply}");
        }
        assert!(is_one(b"a.$FI") && !is_one(b".$FI") && !is_one(b"a.$FI.b") && !is_one(b""));
    }
}
