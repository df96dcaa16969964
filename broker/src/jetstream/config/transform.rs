//! Subjects made from subjects: what `subject_transform` and `republish` do.
//!
//! A transform has a source, which is a filter, and a destination, whose tokens are taken as they are or made from the
//! tokens that stand where the source has `*`: `$1` and `{{wildcard(1)}}` are the first of these, and there are functions
//! that split, slice, shorten or hash them. A `>` at the end of both carries the rest over.

mod apply;
mod parse;

use std::fmt;

use sublog_protocol::subject;

/// A transform that can be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transform {
    source: String,
    /// How many tokens the source has before its `>`, if it ends with one.
    rest_from: usize,
    parts: Vec<Part>,
}

/// What a token of the destination is made of. `token` is the index of a token in the subject.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Token(usize),
    /// A hash of tokens (none: the whole subject) below `buckets`.
    Partition {
        buckets: u32,
        tokens: Vec<usize>,
    },
    /// One token in two.
    SplitAt {
        token: usize,
        at: usize,
        from_right: bool,
    },
    /// Pieces of one size; what is left over is at the other end.
    Slice {
        token: usize,
        size: usize,
        from_right: bool,
    },
    /// Split where a delimiter stands.
    Split {
        token: usize,
        delimiter: String,
    },
    /// Some bytes from one end.
    Cut {
        token: usize,
        size: usize,
        from_right: bool,
    },
    Random(u32),
    /// What the source's `>` stands for.
    Rest,
}

/// Why a source and a destination make no transform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadTransform {
    /// One of the two is not a subject, the destination has a `*`, or only one ends with `>`.
    Subject,
    /// A token of the destination is wrong.
    Destination {
        /// In what way.
        why: &'static str,
        /// The token.
        token: String,
    },
}

impl fmt::Display for BadTransform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject => f.write_str("invalid subject"),
            Self::Destination { why, token } if token.is_empty() => write!(f, "invalid mapping destination: {why}"),
            Self::Destination { why, token } => write!(f, "invalid mapping destination: {why} in {token}"),
        }
    }
}

impl Transform {
    /// The transform from `source` (empty: `>`) to `destination`; `None` if there is no destination.
    ///
    /// # Errors
    /// They do not fit, or a token of the destination is wrong.
    pub fn new(source: &str, destination: &str) -> Result<Option<Self>, BadTransform> {
        if destination.is_empty() {
            return Ok(None);
        }
        let source = if source.is_empty() { ">" } else { source };
        if !subject::is_valid_filter(source.as_bytes()) || !subject::is_valid_filter(destination.as_bytes()) {
            return Err(BadTransform::Subject);
        }
        let stars: Vec<usize> =
            source.split('.').enumerate().filter(|(_, token)| *token == "*").map(|(at, _)| at).collect();
        let rest = |filter: &str| filter.split('.').next_back() == Some(">");
        if rest(source) != rest(destination) || destination.split('.').any(|token| token == "*") {
            return Err(BadTransform::Subject);
        }
        let wild = !stars.is_empty() || rest(source);
        let parts = destination.split('.').map(|token| parse::part(token, &stars, wild)).collect::<Result<_, _>>()?;
        let rest_from = source.split('.').count().saturating_sub(1);
        Ok(Some(Self { source: source.to_owned(), rest_from, parts }))
    }
}

/// Whether a stream may transform subjects like this: what [`Transform::new`] asks for, with more to say about a destination
/// that is no subject.
///
/// # Errors
/// What is wrong.
pub fn validate_mapping(source: &str, destination: &str) -> Result<(), BadTransform> {
    if destination.is_empty() {
        return Ok(());
    }
    let mut ended = false;
    for token in destination.split('.') {
        if token.is_empty() || ended {
            return Err(BadTransform::Destination { why: "invalid transform", token: token.to_owned() });
        }
        if parse::looks_like_function(token) {
            if !parse::is_function(token) {
                return Err(BadTransform::Destination { why: "unknown function", token: token.to_owned() });
            }
        } else if token == ">" {
            ended = true;
        } else if token.contains(['\t', '\n', '\x0c', '\r', ' ']) {
            return Err(BadTransform::Destination { why: "invalid transform", token: String::new() });
        }
    }
    Transform::new(source, destination).map(drop)
}

#[cfg(test)]
mod tests {
    use super::{Transform, validate_mapping};

    fn apply(source: &str, destination: &str, subject: &str) -> Option<String> {
        let transform = Transform::new(source, destination).unwrap().unwrap();
        transform.apply(subject.as_bytes(), 7).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// What nats-server 2.15.1 stores messages under, but for the random one.
    #[test]
    fn tokens_are_put_where_they_belong() {
        for (source, destination, subject, expected) in [
            ("a.*.*", "b.$2.$1", "a.x.y", Some("b.y.x")),
            ("a.>", "b.>", "a.x.y", Some("b.x.y")),
            ("a.*.>", "b.$1.>", "a.x.y.z", Some("b.x.y.z")),
            ("", ">", "x.y", Some("x.y")),
            ("a.*", "b.{{splitfromleft(1,2)}}", "a.wxyz0", Some("b.wx.yz0")),
            ("a.*", "b.{{splitfromright(1,2)}}", "a.wxyz0", Some("b.wxy.z0")),
            ("a.*", "b.{{splitfromright(1,9)}}", "a.wxyz0", Some("b.wxyz0")),
            ("a.*", "b.{{splitfromright(1,5)}}", "a.wxyz0", Some("b.wxyz0")),
            ("a.*", "b.{{splitfromleft(1,-1)}}", "a.wxyz0", Some("b.wxyz0")),
            ("a.*", "b.{{slicefromleft(1,2)}}", "a.wxyz0", Some("b.wx.yz.0")),
            ("a.*", "b.{{slicefromleft(1,2)}}", "a.wxyz", Some("b.wx.yz")),
            ("a.*", "b.{{slicefromleft(1,0)}}", "a.wxyz", Some("b.wxyz")),
            ("a.*", "b.{{slicefromright(1,2)}}", "a.wxyz0", Some("b.w.xy.z0")),
            ("a.*", "b.{{slicefromright(1,2)}}", "a.wxyz", Some("b.wx.yz")),
            ("a.*", "b.{{split(1,-)}}", "a.-w--x-", Some("b.w.x")),
            ("a.*", "b.{{split(1,-)}}", "a.w-x", Some("b.w.x")),
            ("a.*", "b.{{split(1,ab)}}", "a.wabx", Some("b.w.x")),
            ("a.*", "b.{{left(1,2)}}", "a.wxyz0", Some("b.wx")),
            ("a.*", "b.{{right(1,2)}}", "a.wxyz0", Some("b.z0")),
            ("a.*", "b.{{left(1,9)}}", "a.wxyz0", Some("b.wxyz0")),
            ("a.*", "b.{{partition(10,1)}}", "a.foo", Some("b.3")),
            ("a.*", "b.{{partition(10)}}", "a.foo", Some("b.8")),
            ("a.*", "b.{{partition(0,1)}}", "a.foo", Some("b.0")),
            ("a.*.*", "b.{{partition(1000,2,1)}}", "a.foo.bar", Some("b.762")),
            ("a.*", "b.$x.$1", "a.foo", Some("b.$x.foo")),
            ("a", "b.{{partition(7)}}", "a", Some("b.5")),
            ("a.>", "b.{{partition(7)}}.>", "a.x.y", Some("b.2.x.y")),
            ("a", "b", "c", None),
            ("a.*", "b.{{random(5)}}", "a.foo", Some("b.3")),
        ] {
            assert_eq!(
                apply(source, destination, subject).as_deref(),
                expected,
                "{source} -> {destination}: {subject}"
            );
        }
    }

    #[test]
    fn what_makes_no_sense_says_so() {
        for (source, destination, expected) in [
            ("a.*", "b.$2", "invalid mapping destination: wildcard index out of range in $2: [2]"),
            ("a.*", "b.*", "invalid subject"),
            ("a.>", "b", "invalid subject"),
            ("a", "b.$1", "invalid mapping destination: wildcard index out of range in $1"),
            ("a.*", "b.{{foo(1)}}", "invalid mapping destination: unknown function in {{foo(1)}}"),
            ("a.*", "b..c", "invalid mapping destination: invalid transform"),
            (
                "a.*",
                "b.{{wildcard()}}",
                "invalid mapping destination: not enough arguments passed to the function in {{wildcard()}}",
            ),
            (
                "a.*",
                "b.{{split(1)}}",
                "invalid mapping destination: not enough arguments passed to the function in {{split(1)}}",
            ),
            (
                "a.*",
                "b.{{wildcard(1,2)}}",
                "invalid mapping destination: too many arguments passed to the function in {{wildcard(1,2)}}",
            ),
            (
                "a.*",
                "b.{{wildcard(x)}}",
                "invalid mapping destination: function argument is invalid or in the wrong format in {{wildcard(x)}}",
            ),
        ] {
            assert_eq!(validate_mapping(source, destination).unwrap_err().to_string(), expected);
        }
        assert_eq!(validate_mapping("a.*", ""), Ok(()));
        assert_eq!(validate_mapping("a.*", "b"), Ok(()));
    }
}
