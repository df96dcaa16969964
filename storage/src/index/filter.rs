//! Subject filters, and how to leap through a sorted dictionary of subjects with one.

use std::fmt;

use memchr::{memchr, memmem};

const SEPARATOR: u8 = b'.';
/// The byte behind the separator. A string that goes on with it is the first one behind all that go on with `.`.
const BEHIND_SEPARATOR: u8 = SEPARATOR + 1;
/// Longest filter, in bytes: that of the longest subject.
const FILTER_BYTES_MAX: usize = u16::MAX as usize;

/// Why bytes are not a subject filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A token is empty.
    #[error("a subject filter has an empty token")]
    EmptyToken,
    /// `>` is not the last token.
    #[error("`>` is not the last token of a subject filter")]
    TailNotLast,
    /// Longer than a subject can be.
    #[error("a subject filter has more than 65535 bytes")]
    TooLong,
}

/// One token of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// Exactly these bytes of the filter.
    Literal { from: u32, to: u32 },
    /// `*`: one token, whatever it is.
    One,
    /// `>`: this token and all behind it.
    Tail,
}

/// A subject filter taken apart: `*` stands for one token, `>` at the end for one or more.
///
/// A token is never empty: a subject with an empty token matches no filter. Wildcards are whole tokens (`a*` is a
/// literal), and a subject's own `*` token is a token as any other.
#[derive(Clone, PartialEq, Eq)]
pub struct SubjectFilter {
    text: Box<[u8]>,
    tokens: Box<[Token]>,
    /// Bytes before the first wildcard.
    prefix: usize,
}

/// Where a dictionary scan should go on, as [`SubjectFilter::skip`] sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// The key matches.
    Matches,
    /// It does not, nor does any key before the one that was written to the buffer, which is greater.
    To,
    /// Neither it nor any greater key matches.
    End,
}

impl SubjectFilter {
    /// Takes a filter apart.
    ///
    /// # Errors
    /// If a token is empty, `>` is not the last one, or it is longer than a subject can be.
    pub fn parse(text: &[u8]) -> Result<Self, FilterError> {
        if text.len() > FILTER_BYTES_MAX {
            return Err(FilterError::TooLong);
        }
        let mut tokens = Vec::new();
        let mut prefix = None;
        let mut from = 0_usize;
        for token in text.split(|byte| *byte == SEPARATOR) {
            if tokens.last() == Some(&Token::Tail) {
                return Err(FilterError::TailNotLast);
            }
            let to = from + token.len();
            tokens.push(match token {
                b"" => return Err(FilterError::EmptyToken),
                b"*" => Token::One,
                b">" => Token::Tail,
                _ => Token::Literal { from: offset(from), to: offset(to) },
            });
            if matches!(token, b"*" | b">") {
                prefix.get_or_insert(from);
            }
            from = to + 1;
        }
        Ok(Self { text: text.into(), tokens: tokens.into(), prefix: prefix.unwrap_or(text.len()) })
    }

    /// The filter as it was given.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// Whether it has no wildcard, so that it matches one subject: its own text.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.prefix == self.text.len()
    }

    /// Whether it is `>` alone.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self.text == *b">"
    }

    /// What every matching subject begins with: the text before the first wildcard, with its separator.
    #[must_use]
    pub fn literal_prefix(&self) -> &[u8] {
        self.text.get(..self.prefix).unwrap_or_default()
    }

    /// Whether `subject` is selected.
    #[must_use]
    pub fn matches(&self, subject: &[u8]) -> bool {
        if self.is_literal() {
            return *self.text == *subject;
        }
        let prefix = self.literal_prefix();
        let Some(mut rest) = subject.strip_prefix(prefix) else { return false };
        let known = prefix.iter().filter(|byte| **byte == SEPARATOR).count();
        let Some((last, before)) = self.tokens.get(known..).and_then(<[Token]>::split_last) else { return false };
        for token in before {
            let Some(at) = memchr(SEPARATOR, rest) else { return false };
            let (head, tail) = rest.split_at(at);
            if !self.token_matches(*token, head) {
                return false;
            }
            rest = tail.get(1..).unwrap_or_default();
        }
        match last {
            Token::Tail => empty_token(rest).is_none(),
            token => memchr(SEPARATOR, rest).is_none() && self.token_matches(*token, rest),
        }
    }

    fn token_matches(&self, token: Token, given: &[u8]) -> bool {
        match token {
            Token::Literal { from, to } => self.literal(from, to) == given,
            Token::One | Token::Tail => !given.is_empty(),
        }
    }

    fn literal(&self, from: u32, to: u32) -> &[u8] {
        self.text.get(from as usize..to as usize).unwrap_or_default()
    }

    /// What a scan that stands at `key` does next. With [`Skip::To`], `next` holds where to seek to: it is greater than
    /// `key`, and no subject in between matches. Keys are compared as plain bytes.
    ///
    /// A token may hold bytes below `.`, so `a.b-x` comes before `a.b.x`: all subjects that begin with the token `b` and
    /// a separator lie together, but the tokens that begin with `b` do not.
    pub fn skip(&self, key: &[u8], next: &mut Vec<u8>) -> Skip {
        next.clear();
        // Where the token of the latest wildcard ends in the key: the place that can be raised when what follows cannot.
        let mut wild_end = None;
        let mut at = 0;
        for (i, token) in self.tokens.iter().enumerate() {
            let rest = key.get(at..).unwrap_or_default();
            let last = i + 1 == self.tokens.len();
            match *token {
                Token::Literal { from, to } => {
                    let literal = self.literal(from, to);
                    match rest.strip_prefix(literal) {
                        Some(b"") if last => return Skip::Matches,
                        Some([SEPARATOR, ..]) if !last => at += literal.len() + 1,
                        _ if before_literal(rest, literal, last) => {
                            next.extend_from_slice(key.get(..at).unwrap_or_default());
                            self.push_literals(i, next);
                            return Skip::To;
                        }
                        _ => return raise(key, wild_end, next),
                    }
                }
                Token::One => match memchr(SEPARATOR, rest) {
                    // Everything that begins with an empty token, or with this one where none may follow, is out.
                    Some(len) if len == 0 || last => return raise(key, Some(at + len), next),
                    Some(len) => {
                        wild_end = Some(at + len);
                        at += len + 1;
                    }
                    None if last && !rest.is_empty() => return Skip::Matches,
                    None => return step(key, next),
                },
                Token::Tail => {
                    return match empty_token(rest) {
                        None => Skip::Matches,
                        Some(len) if at + len == key.len() => step(key, next),
                        Some(len) => raise(key, Some(at + len), next),
                    };
                }
            }
        }
        Skip::End
    }

    /// Appends the literal tokens from `i` on, up to the next wildcard.
    fn push_literals(&self, i: usize, next: &mut Vec<u8>) {
        for (i, token) in self.tokens.iter().enumerate().skip(i) {
            let Token::Literal { from, to } = *token else { return };
            next.extend_from_slice(self.literal(from, to));
            if i + 1 < self.tokens.len() {
                next.push(SEPARATOR);
            }
        }
    }
}

impl fmt::Debug for SubjectFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubjectFilter({})", self.text.escape_ascii())
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Whether `rest` comes before the literal, with the separator that follows it unless it is the last token.
fn before_literal(rest: &[u8], literal: &[u8], last: bool) -> bool {
    match rest.strip_prefix(literal) {
        Some(b"") => !last,
        Some([byte, ..]) => !last && *byte < SEPARATOR,
        None => rest < literal,
    }
}

/// Where the first empty token of `text` is.
fn empty_token(text: &[u8]) -> Option<usize> {
    match text {
        [] | [SEPARATOR, ..] => Some(0),
        [.., SEPARATOR] => Some(memmem::find(text, b"..").map_or(text.len(), |at| at + 1)),
        _ => memmem::find(text, b"..").map(|at| at + 1),
    }
}

/// Behind all keys that go on with a separator at `end`: `key[..end]` and the byte behind the separator.
fn raise(key: &[u8], end: Option<usize>, next: &mut Vec<u8>) -> Skip {
    let Some(end) = end else { return Skip::End };
    next.extend_from_slice(key.get(..end).unwrap_or_default());
    next.push(BEHIND_SEPARATOR);
    Skip::To
}

/// To the very next key there can be: `key` is the beginning of keys that may match.
fn step(key: &[u8], next: &mut Vec<u8>) -> Skip {
    next.extend_from_slice(key);
    next.push(0);
    Skip::To
}

/// Several filters as one: a subject that more than one of them selects counts once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterSet {
    filters: Vec<SubjectFilter>,
}

impl FilterSet {
    /// Any of `filters`; equal ones are kept once.
    #[must_use]
    pub fn new(mut filters: Vec<SubjectFilter>) -> Self {
        filters.sort_by(|a, b| a.text.cmp(&b.text));
        filters.dedup();
        Self { filters }
    }

    /// The filters, sorted, each once.
    #[must_use]
    pub fn filters(&self) -> &[SubjectFilter] {
        &self.filters
    }

    /// Whether no filter has a wildcard: then each is a subject to look up.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.filters.iter().all(SubjectFilter::is_literal)
    }

    /// Whether one of them selects `subject`.
    #[must_use]
    pub fn matches(&self, subject: &[u8]) -> bool {
        self.filters.iter().any(|filter| filter.matches(subject))
    }

    /// No subject before this one matches.
    #[must_use]
    pub fn start(&self) -> &[u8] {
        self.filters.iter().map(SubjectFilter::literal_prefix).min().unwrap_or_default()
    }

    /// As [`SubjectFilter::skip`]: the smallest place that any of the filters names. `spare` is working memory.
    pub fn skip(&self, key: &[u8], next: &mut Vec<u8>, spare: &mut Vec<u8>) -> Skip {
        let mut found = Skip::End;
        next.clear();
        for filter in &self.filters {
            match filter.skip(key, spare) {
                Skip::Matches => return Skip::Matches,
                Skip::To if found == Skip::End || *spare < *next => {
                    std::mem::swap(next, spare);
                    found = Skip::To;
                }
                Skip::To | Skip::End => {}
            }
        }
        found
    }
}

impl From<SubjectFilter> for FilterSet {
    fn from(filter: SubjectFilter) -> Self {
        Self { filters: vec![filter] }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(text: &str) -> SubjectFilter {
        SubjectFilter::parse(text.as_bytes()).unwrap()
    }

    /// The definition, token by token.
    fn naive(filter: &[u8], subject: &[u8]) -> bool {
        let wanted: Vec<&[u8]> = filter.split(|b| *b == b'.').collect();
        let given: Vec<&[u8]> = subject.split(|b| *b == b'.').collect();
        if given.iter().any(|token| token.is_empty()) {
            return false;
        }
        for (i, w) in wanted.iter().enumerate() {
            match *w {
                b">" => return given.len() > i,
                b"*" if given.len() > i => {}
                w if given.get(i) == Some(&w) => {}
                _ => return false,
            }
        }
        wanted.len() == given.len()
    }

    #[test]
    fn what_is_no_filter() {
        for (text, error) in [
            ("", FilterError::EmptyToken),
            ("a..b", FilterError::EmptyToken),
            ("a.", FilterError::EmptyToken),
            (".a", FilterError::EmptyToken),
            ("a.>.b", FilterError::TailNotLast),
            (">.>", FilterError::TailNotLast),
        ] {
            assert_eq!(SubjectFilter::parse(text.as_bytes()), Err(error), "{text}");
        }
        assert_eq!(SubjectFilter::parse(&vec![b'a'; 65_536]), Err(FilterError::TooLong));
    }

    #[test]
    fn literals_and_prefixes() {
        for (text, literal, prefix) in [
            ("a.b", true, "a.b"),
            ("a*.>b", true, "a*.>b"),
            ("a.*.c", false, "a."),
            (">", false, ""),
            ("a.>", false, "a."),
        ] {
            assert_eq!(filter(text).is_literal(), literal, "{text}");
            assert_eq!(filter(text).literal_prefix(), prefix.as_bytes(), "{text}");
        }
    }

    #[test]
    fn leaps_are_as_long_as_they_can_be() {
        let mut next = Vec::new();
        for (text, key, skip, to) in [
            ("a.*.c.>", "a.x.b.1", Skip::To, "a.x.c."),
            ("a.*.c.>", "a.x.d", Skip::To, "a.x/"),
            ("a.*.c.>", "a.x.c-1.z", Skip::To, "a.x.c."),
            ("a.*.c", "a.x.c-1", Skip::To, "a.x/"),
            ("a.*.c.>", "A", Skip::To, "a."),
            ("a.*.c.>", "b", Skip::End, ""),
            ("a.*", "a.x.y", Skip::To, "a.x/"),
            ("a.*.b.*.c.d", "a.1.b.2.b", Skip::To, "a.1.b.2.c.d"),
            ("a.*.b.*.c.d", "a.1.b.2.d", Skip::To, "a.1.b.2/"),
            ("a.>", "a..x", Skip::To, "a./"),
            ("a.>", "a.x.y", Skip::Matches, ""),
        ] {
            assert_eq!(filter(text).skip(key.as_bytes(), &mut next), skip, "{text} at {key}");
            assert_eq!(String::from_utf8_lossy(&next), to, "{text} at {key}");
        }
    }

    /// Subjects of few and awkward bytes, so that they meet: below the separator, the separator, just behind, wildcards.
    fn subject() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop::sample::select(b"\x00-./ab*>".to_vec());
        let token = prop_oneof![
            4 => prop::sample::select(vec![&b"a"[..], b"b", b"a-", b"c", b"*", b">"]).prop_map(<[u8]>::to_vec),
            1 => prop::collection::vec(byte, 0..3),
        ];
        prop::collection::vec(token, 1..5).prop_map(|tokens| tokens.join(&b'.'))
    }

    fn filters() -> impl Strategy<Value = SubjectFilter> {
        let token = prop::sample::select(vec![&b"a"[..], b"b", b"a-", b"c", b"*", b"*", b"\x00", b"a/"]);
        (prop::collection::vec(token, 0..4), any::<bool>()).prop_map(|(mut tokens, tail)| {
            if tail || tokens.is_empty() {
                tokens.push(b">");
            }
            SubjectFilter::parse(&tokens.join(&b'.')).unwrap()
        })
    }

    proptest! {
        #[test]
        fn matches_as_defined(filter in filters(), subject in subject()) {
            prop_assert_eq!(filter.matches(&subject), naive(filter.as_bytes(), &subject));
        }

        #[test]
        fn a_leaping_scan_finds_what_a_full_one_finds(
            set in prop::collection::vec(filters(), 1..3),
            mut keys in prop::collection::vec(subject(), 0..60),
        ) {
            keys.sort();
            keys.dedup();
            let set = FilterSet::new(set);
            let wanted: Vec<&Vec<u8>> = keys.iter()
                .filter(|key| set.filters().iter().any(|f| naive(f.as_bytes(), key))).collect();
            let mut found = Vec::new();
            let (mut next, mut spare) = (Vec::new(), Vec::new());
            let mut at = 0;
            while let Some(key) = keys.get(at) {
                match set.skip(key, &mut next, &mut spare) {
                    Skip::Matches => { found.push(key); at += 1; }
                    Skip::To => {
                        prop_assert!(next > *key);
                        at = keys.partition_point(|k| *k < next);
                    }
                    Skip::End => break,
                }
            }
            prop_assert_eq!(found, wanted);
        }
    }
}
