//! Subject syntax and matching, on bytes and without allocation.
//!
//! A subject is a list of tokens with `.` between them. In a filter the token `*` stands for exactly one
//! token and `>`, only as the last one, for one or more. Wildcards are whole tokens: `a*` is a literal.
//! A subject with an empty token is legal to publish to but matches no filter at all, not even `>`.
//!
//! ```
//! use sublog_protocol::subject;
//!
//! assert!(subject::matches(b"cms.*.exitCode.>", b"cms.wmarchive.exitCode.0.T2_CH"));
//! assert!(!subject::matches(b"cms.>", b"cms"));
//! assert!(subject::overlaps(b"cms.*", b"*.wmarchive"));
//! assert!(subject::is_subset(b"cms.*.a", b"cms.>"));
//! ```

const SEPARATOR: u8 = b'.';

/// Whether `s` may be subscribed to: no empty token, no white space, `>` only as the last token.
///
/// Other control characters are allowed, because NATS allows them.
#[must_use]
pub fn is_valid_filter(s: &[u8]) -> bool {
    let mut ended = false;
    for token in tokens(s) {
        if ended || token.is_empty() || token.iter().any(|b| is_space(*b)) {
            return false;
        }
        ended = token == b">";
    }
    true
}

/// Whether `s` may be published to by a pedantic client: as [`is_valid_filter`], and no wildcard token.
#[must_use]
pub fn is_valid_literal(s: &[u8]) -> bool {
    is_valid_filter(s) && !has_wildcard(s)
}

/// Whether a token of `s` is a wildcard (`a*` and `>b` are not).
#[must_use]
pub fn has_wildcard(s: &[u8]) -> bool {
    tokens(s).any(|token| token == b"*" || token == b">")
}

/// The tokens of `s`. The empty subject has one token, which is empty.
pub fn tokens(s: &[u8]) -> impl Iterator<Item = &[u8]> {
    s.split(|b| *b == SEPARATOR)
}

/// Whether `filter` selects the literal `subject`.
///
/// A `*` or `>` token in `subject` is an ordinary token, which wildcards match like any other. False when
/// either has an empty token or `filter` goes on after `>`.
#[must_use]
pub fn matches(filter: &[u8], subject: &[u8]) -> bool {
    let mut wanted = tokens(filter);
    let mut given = tokens(subject);
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(_), Some(b"")) => return false,
            (Some(b">"), Some(_)) => return wanted.next().is_none() && given.all(|token| !token.is_empty()),
            (Some(b"*"), Some(_)) => {}
            (Some(w), Some(g)) if w == g => {}
            _ => return false,
        }
    }
}

/// Whether some literal subject is selected by both filters. False when one of them is not valid.
#[must_use]
pub fn overlaps(a: &[u8], b: &[u8]) -> bool {
    if !is_valid_filter(a) || !is_valid_filter(b) {
        return false;
    }
    let (mut left, mut right) = (tokens(a), tokens(b));
    loop {
        match (left.next(), right.next()) {
            (None, None) | (Some(b">"), Some(_)) | (Some(_), Some(b">")) => return true,
            (Some(b"*"), Some(_)) | (Some(_), Some(b"*")) => {}
            (Some(l), Some(r)) if l == r => {}
            _ => return false,
        }
    }
}

/// Whether every literal subject that `sub` selects is selected by `of` as well. False when one of them
/// is not valid.
#[must_use]
pub fn is_subset(sub: &[u8], of: &[u8]) -> bool {
    if !is_valid_filter(sub) || !is_valid_filter(of) {
        return false;
    }
    let (mut inner, mut outer) = (tokens(sub), tokens(of));
    loop {
        match (inner.next(), outer.next()) {
            (None, None) | (Some(_), Some(b">")) => return true,
            (Some(b">"), Some(_)) => return false,
            (Some(_), Some(b"*")) => {}
            (Some(i), Some(o)) if i == o => {}
            _ => return false,
        }
    }
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b'\x0c')
}

/// A subject or filter that passed [`is_valid_filter`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(Box<[u8]>);

impl Subject {
    /// Takes `s` if it is a valid filter (every valid literal subject is one).
    #[must_use]
    pub fn new(s: &[u8]) -> Option<Self> {
        is_valid_filter(s).then(|| Self(s.into()))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it may select more than one subject.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        has_wildcard(&self.0)
    }

    /// Whether it selects the literal `subject`.
    #[must_use]
    pub fn matches(&self, subject: &[u8]) -> bool {
        matches(&self.0, subject)
    }
}

impl AsRef<[u8]> for Subject {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
