//! Making the new subject.

use sublog_protocol::subject;

use super::{Part, Transform};

impl Transform {
    /// The subject to use instead of `subject`; `None` if the source does not select it. `random` is for destinations
    /// that ask for a random number.
    #[must_use]
    pub fn apply(&self, subject: &[u8], random: u32) -> Option<Vec<u8>> {
        if !subject::matches(self.source.as_bytes(), subject) {
            return None;
        }
        let tokens: Vec<&[u8]> = subject::tokens(subject).collect();
        let mut made = Vec::with_capacity(subject.len() + 16);
        for (at, part) in self.parts.iter().enumerate() {
            if at > 0 {
                made.push(b'.');
            }
            self.push(&mut made, part, subject, &tokens, random);
        }
        Some(made)
    }

    fn push(&self, made: &mut Vec<u8>, part: &Part, subject: &[u8], tokens: &[&[u8]], random: u32) {
        let token = |at: &usize| tokens.get(*at).copied().unwrap_or_default();
        match part {
            Part::Literal(text) => made.extend_from_slice(text.as_bytes()),
            Part::Token(at) => made.extend_from_slice(token(at)),
            Part::Rest => made.extend(tokens.get(self.rest_from..).unwrap_or_default().join(&b'.')),
            Part::Partition { buckets, tokens } if tokens.is_empty() => {
                push_number(made, remainder(fnv(subject.iter()), *buckets));
            }
            Part::Partition { buckets, tokens } => {
                push_number(made, remainder(fnv(tokens.iter().flat_map(token)), *buckets));
            }
            // The sign bit is not part of the number.
            Part::Random(most) => push_number(made, remainder(random >> 1, *most)),
            Part::SplitAt { token: of, at, from_right } => {
                let of = token(of);
                let at = if *from_right { of.len().saturating_sub(*at) } else { (*at).min(of.len()) };
                push_pieces(made, [of.get(..at), of.get(at..)].into_iter().flatten());
            }
            Part::Slice { token: of, size, .. } if *size == 0 => made.extend_from_slice(token(of)),
            Part::Slice { token: of, size, from_right: false } => push_pieces(made, token(of).chunks(*size)),
            Part::Slice { token: of, size, from_right: true } => {
                let of = token(of);
                let (first, others) = of.split_at_checked(of.len() % *size).unwrap_or((of, &[]));
                push_pieces(made, std::iter::once(first).chain(others.chunks(*size)));
            }
            Part::Split { token: of, delimiter } => {
                let of = String::from_utf8_lossy(token(of));
                push_pieces(made, of.split(delimiter.as_str()).map(str::as_bytes));
            }
            Part::Cut { token: of, size, .. } if *size == 0 => made.extend_from_slice(token(of)),
            Part::Cut { token: of, size, from_right } => {
                let of = token(of);
                let size = (*size).min(of.len());
                let cut = if *from_right { of.get(of.len() - size..) } else { of.get(..size) };
                made.extend_from_slice(cut.unwrap_or(of));
            }
        }
    }
}

fn push_number(made: &mut Vec<u8>, number: u32) {
    made.extend_from_slice(number.to_string().as_bytes());
}

/// Pieces as tokens; those without a byte are none.
fn push_pieces<'a>(made: &mut Vec<u8>, pieces: impl Iterator<Item = &'a [u8]>) {
    for (at, piece) in pieces.filter(|piece| !piece.is_empty()).enumerate() {
        if at > 0 {
            made.push(b'.');
        }
        made.extend_from_slice(piece);
    }
}

const fn remainder(number: u32, of: u32) -> u32 {
    if of == 0 { 0 } else { number % of }
}

/// FNV-1a of 32 bits: clients that compute a partition themselves use the same.
fn fnv<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
