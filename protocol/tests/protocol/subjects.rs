//! Subject functions against models too simple to be wrong.

use proptest::prelude::*;
use sublog_protocol::subject::{self, Subject};

/// Whether the tokens of `filter` select those of `subject`, by the definition.
fn model(filter: &[&str], subject: &[&str]) -> bool {
    match (filter, subject) {
        ([], []) => true,
        ([">"], [_, ..]) => true,
        (["*", filter @ ..], [_, subject @ ..]) => model(filter, subject),
        ([f, filter @ ..], [s, subject @ ..]) => f == s && model(filter, subject),
        _ => false,
    }
}

/// All subjects of one to `length` tokens out of `alphabet`.
fn all(alphabet: &[&str], length: usize) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut longest: Vec<String> = alphabet.iter().map(|token| (*token).to_owned()).collect();
    for _ in 0..length {
        found.extend(longest.iter().cloned());
        longest = longest.iter().flat_map(|s| alphabet.iter().map(move |token| format!("{s}.{token}"))).collect();
    }
    found
}

fn is_valid(filter: &str) -> bool {
    let tokens: Vec<_> = filter.split('.').collect();
    let (last, others) = tokens.split_last().unwrap();
    !last.is_empty() && others.iter().all(|token| !token.is_empty() && *token != ">")
}

#[test]
fn matching_by_the_definition() {
    let filters = all(&["a", "a*", "*", ">", ""], 4);
    let subjects = all(&["a", "b", "*", ">", ""], 4);
    let mut matched = 0;
    for filter in &filters {
        let valid = is_valid(filter);
        assert_eq!(subject::is_valid_filter(filter.as_bytes()), valid, "{filter:?}");
        let filter_tokens: Vec<_> = filter.split('.').collect();
        for literal in &subjects {
            let tokens: Vec<_> = literal.split('.').collect();
            let expected = valid && !tokens.contains(&"") && model(&filter_tokens, &tokens);
            assert_eq!(subject::matches(filter.as_bytes(), literal.as_bytes()), expected, "{filter:?} {literal:?}");
            matched += usize::from(expected);
        }
    }
    assert!(matched > 1000);
}

#[test]
fn overlap_and_subset_by_enumeration() {
    // `c` stands for any token no filter names, and the longest subject is longer than any filter.
    let universe = all(&["a", "b", "c"], 4);
    let filters: Vec<_> = all(&["a", "b", "*", ">"], 3).into_iter().filter(|filter| is_valid(filter)).collect();
    let selected: Vec<Vec<bool>> = filters
        .iter()
        .map(|filter| universe.iter().map(|s| subject::matches(filter.as_bytes(), s.as_bytes())).collect())
        .collect();
    for (a, in_a) in filters.iter().zip(&selected) {
        for (b, in_b) in filters.iter().zip(&selected) {
            let common = in_a.iter().zip(in_b).any(|(a, b)| *a && *b);
            let contained = in_a.iter().zip(in_b).all(|(a, b)| !a || *b);
            assert_eq!(subject::overlaps(a.as_bytes(), b.as_bytes()), common, "{a} {b}");
            assert_eq!(subject::is_subset(a.as_bytes(), b.as_bytes()), contained, "{a} {b}");
        }
    }
}

#[test]
fn invalid_filters_overlap_and_contain_nothing() {
    for bad in [&b""[..], b".", b"a.", b".a", b"a..b", b">.a", b"a b"] {
        for other in [&b">"[..], b"a", bad] {
            assert!(!subject::overlaps(bad, other) && !subject::overlaps(other, bad), "{}", bad.escape_ascii());
            assert!(!subject::is_subset(bad, other) && !subject::is_subset(other, bad), "{}", bad.escape_ascii());
        }
        assert_eq!(Subject::new(bad), None);
    }
}

#[test]
fn validity() {
    let cases: &[(&[u8], bool, bool)] = &[
        (b"a", true, true),
        (b"a.b.c", true, true),
        (b"a*.>b.*c", true, true),
        (b"\xff.\x00\x01", true, true),
        (b"*", true, false),
        (b">", true, false),
        (b"a.*.b.>", true, false),
        (b"a.>.b", false, false),
        (b"", false, false),
        (b"a.", false, false),
        (b".a", false, false),
        (b"a..b", false, false),
        (b"a b", false, false),
        (b"a\tb", false, false),
        (b"a\rb", false, false),
        (b"a\nb", false, false),
        (b"a.\x0c", false, false),
    ];
    for (subject, filter, literal) in cases {
        assert_eq!(subject::is_valid_filter(subject), *filter, "{}", subject.escape_ascii());
        assert_eq!(subject::is_valid_literal(subject), *literal, "{}", subject.escape_ascii());
    }
    let filter = Subject::new(b"a.>").unwrap();
    assert!(filter.has_wildcard() && filter.matches(b"a.b") && !filter.matches(b"a"));
    assert_eq!((filter.as_bytes(), filter.as_ref()), (&b"a.>"[..], &b"a.>"[..]));
    assert!(!Subject::new(b"a*.>b").unwrap().has_wildcard());
}

proptest! {
    #[test]
    fn a_valid_literal_selects_itself_alone(a in "[a-c*>.]{0,6}", b in "[a-c*>.]{0,6}") {
        let (a, b) = (a.as_bytes(), b.as_bytes());
        prop_assert_eq!(subject::tokens(a).collect::<Vec<_>>().join(&b'.'), a);
        if subject::is_valid_literal(a) {
            prop_assert_eq!(subject::matches(a, b), a == b);
            prop_assert_eq!(subject::overlaps(b, a), subject::matches(b, a));
            prop_assert_eq!(subject::is_subset(a, b), subject::matches(b, a));
        }
    }
}
