//! Finding a control line at the front of a buffer, and telling early that none can follow.

use super::DecodeError;
use super::args::skip_blanks;

/// A control line: the name of an operation, blanks, arguments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    /// The bytes before the line end.
    pub(super) text: &'a [u8],
    /// Bytes up to and including the LF.
    pub(super) consumed: usize,
}

/// The name an operation begins with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name {
    /// In capitals; input may be in any case.
    pub(super) capitals: &'static [u8],
    /// Whether a blank must follow.
    pub(super) blank: bool,
}

/// Longest name of an operation, in bytes.
const NAME_BYTES_MAX: usize = b"CONNECT".len();

/// Finds the first line end. Looks no further than a line within `limit` can reach, so that a large buffer
/// without a line end costs no more than a small one; [`unfinished`] rejects whatever is longer.
#[inline]
pub(super) fn find(buf: &[u8], limit: usize) -> Option<Line<'_>> {
    let reach = limit.saturating_mul(2).saturating_add(NAME_BYTES_MAX + 2);
    let lf = memchr::memchr(b'\n', buf.get(..reach).unwrap_or(buf))?;
    let text = buf.get(..lf)?;
    Some(Line { text: text.strip_suffix(b"\r").unwrap_or(text), consumed: lf + 1 })
}

/// The arguments in `rest`, which is what follows the name of an operation on a complete line.
#[inline]
pub(super) fn arguments(rest: &[u8], limit: usize) -> Result<&[u8], DecodeError> {
    let arguments = skip_blanks(rest);
    if arguments.len() > limit || rest.len() - arguments.len() > limit {
        return Err(DecodeError::ControlLineTooLong { limit });
    }
    Ok(arguments)
}

/// Splits a complete line into the operation it names (`None` for an unknown one) and what follows.
pub(super) fn name<'a, Op: Copy>(text: &'a [u8], names: &[(Name, Op)]) -> Option<(Op, &'a [u8])> {
    names.iter().find_map(|(name, op)| {
        let (start, rest) = text.split_at_checked(name.capitals.len())?;
        let follows = !name.blank || matches!(rest.first(), Some(b' ' | b'\t'));
        (follows && start.eq_ignore_ascii_case(name.capitals)).then_some((*op, rest))
    })
}

/// What to do with a buffer in which [`find`] found no line end: the number of bytes to wait for, or an
/// error when no continuation can make a line of it.
#[cold]
pub(super) fn unfinished<Op>(buf: &[u8], limit: usize, names: &[(Name, Op)]) -> Result<usize, DecodeError> {
    let possible = |name: &Name| {
        let shared = name.capitals.len().min(buf.len());
        let (start, rest) = buf.split_at_checked(shared)?;
        let follows = !name.blank || matches!(rest.first(), None | Some(b' ' | b'\t'));
        let fits = follows && name.capitals.get(..shared).is_some_and(|known| start.eq_ignore_ascii_case(known));
        fits.then_some(rest)
    };
    let rest = names.iter().find_map(|(name, _)| possible(name)).ok_or_else(|| DecodeError::unknown(buf))?;
    // The CR at the end may belong to a line end whose LF is still to come.
    arguments(rest.strip_suffix(b"\r").unwrap_or(rest), limit)?;
    Ok(buf.len() + 1)
}

/// Outcome of looking for the body of a message.
pub(super) enum Body<'a> {
    /// The body, and where the next operation begins.
    Whole { message: &'a [u8], consumed: usize },
    /// Bytes the buffer must hold for the body and its CR LF to be complete.
    Missing { at_least: usize },
}

/// Takes the `size` bytes that follow the control line of `start` bytes. `size` has at most nine digits and
/// a line is shorter than `buf`, so the sums cannot overflow where an address has 64 bits; elsewhere they
/// saturate and the body counts as missing.
#[inline]
pub(super) fn body(buf: &[u8], start: usize, size: usize) -> Result<Body<'_>, DecodeError> {
    let end = start.saturating_add(size);
    let after = end.saturating_add(2);
    if let (Some(message), Some(terminator)) = (buf.get(start..end), buf.get(end..after)) {
        return if terminator == b"\r\n" {
            Ok(Body::Whole { message, consumed: after })
        } else {
            Err(DecodeError::BadPayloadTerminator)
        };
    }
    match buf.get(end) {
        None | Some(b'\r') => Ok(Body::Missing { at_least: after }),
        Some(_) => Err(DecodeError::BadPayloadTerminator),
    }
}
