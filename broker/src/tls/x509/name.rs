//! Distinguished names: as they stand in certificates, and as configurations write them (`CN=alice,OU=dev`).

use super::{Der, OID, SEQUENCE, SET};

/// Types of attributes with their names; others are not compared, and a name that has one matches nothing.
const TYPES: &[(&str, &[u8])] = &[
    ("CN", &[0x55, 4, 3]),
    ("SERIALNUMBER", &[0x55, 4, 5]),
    ("C", &[0x55, 4, 6]),
    ("L", &[0x55, 4, 7]),
    ("ST", &[0x55, 4, 8]),
    ("STREET", &[0x55, 4, 9]),
    ("O", &[0x55, 4, 10]),
    ("OU", &[0x55, 4, 11]),
    ("POSTALCODE", &[0x55, 4, 17]),
    ("DC", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25]),
    ("UID", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1]),
];
/// Strings of one byte or several for each character, all read as UTF-8: UTF8String, PrintableString, IA5String,
/// TeletexString.
const STRINGS: [u8; 4] = [0x0c, 0x13, 0x16, 0x14];

/// Type (an index of [`TYPES`]) and value.
type Attribute = (usize, Vec<u8>);

/// Sets of attributes, the one nearest to what is named first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistinguishedName(Vec<Vec<Attribute>>);

impl DistinguishedName {
    /// From what is in its sequence. `None` for what is malformed, and for what has attributes of unknown types: where not
    /// all is known, nothing is the same.
    pub(super) fn from_der(content: &[u8]) -> Option<Self> {
        let (mut sets, mut rest) = (Vec::new(), Der(content));
        while !rest.0.is_empty() {
            let (mut set, mut attributes) = (Vec::new(), Der(rest.content(SET)?));
            while !attributes.0.is_empty() {
                let mut pair = Der(attributes.content(SEQUENCE)?);
                let kind = pair.content(OID)?;
                let kind = TYPES.iter().position(|(_, oid)| *oid == kind)?;
                let value = pair.next().filter(|value| STRINGS.contains(&value.tag))?;
                set.push((kind, value.content.to_vec()));
            }
            sets.push(sorted(set)?);
        }
        sets.reverse();
        (!sets.is_empty()).then_some(Self(sets))
    }

    /// From text as RFC 4514 has it; `None` when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (mut sets, mut set) = (Vec::new(), Vec::new());
        let mut rest = text;
        loop {
            let (kind, after) = rest.split_once('=')?;
            let kind = TYPES.iter().position(|(name, _)| name.eq_ignore_ascii_case(kind.trim()))?;
            let (value, end) = value(after)?;
            set.push((kind, value));
            let mut left = after.get(end..)?.chars();
            match left.next() {
                Some('+') => {}
                Some(_) => sets.push(sorted(std::mem::take(&mut set))?),
                None => {
                    sets.push(sorted(set)?);
                    return Some(Self(sets));
                }
            }
            rest = left.as_str();
        }
    }

    /// Whether the other one has the same sets in any order.
    #[must_use]
    pub fn is_permutation_of(&self, other: &Self) -> bool {
        let sorted = |name: &Self| {
            let mut sets = name.0.clone();
            sets.sort();
            sets
        };
        sorted(self) == sorted(other)
    }
}

/// The order inside a set says nothing. An empty one is none.
fn sorted(mut set: Vec<Attribute>) -> Option<Vec<Attribute>> {
    set.sort();
    (!set.is_empty()).then_some(set)
}

/// The value at the beginning of `text`, and where it ends.
fn value(text: &str) -> Option<(Vec<u8>, usize)> {
    let bytes = text.as_bytes();
    let start = bytes.iter().position(|byte| *byte != b' ').unwrap_or(bytes.len());
    if bytes.get(start) == Some(&b'#') {
        return None;
    }
    let (mut out, mut kept, mut at) = (Vec::new(), 0, start);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b',' | b'+' => break,
            b'\\' => {
                let next = *bytes.get(at + 1)?;
                if b" \"#+,;<=>\\".contains(&next) {
                    out.push(next);
                    at += 2;
                } else {
                    let digits = text.get(at + 1..at + 3)?;
                    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                        return None;
                    }
                    out.push(u8::from_str_radix(digits, 16).ok()?);
                    at += 3;
                }
                kept = out.len();
            }
            _ => {
                out.push(byte);
                at += 1;
                if byte != b' ' {
                    kept = out.len();
                }
            }
        }
    }
    out.truncate(kept);
    Some((out, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DistinguishedName {
        DistinguishedName::parse(text).unwrap_or_else(|| panic!("{text} is no name"))
    }

    #[test]
    fn texts_of_names() {
        assert_eq!(name("CN=a,O=b"), name(" cn = a , o=b"));
        assert_eq!(name("CN=a+OU=c,O=b"), name("OU=c+CN=a,O=b"));
        assert_eq!(name(r"CN=a\, b"), name(r"CN=a\2c b"));
        assert_eq!(name(r"CN=a\ "), name(r"CN=a\20"));
        assert_ne!(name(r"CN=a\ "), name("CN=a "));
        assert_ne!(name("CN=a,O=b"), name("O=b,CN=a"));
        assert_ne!(name("CN=a,O=b"), name("CN=a+O=b"));
        assert!(name("CN=a,O=b").is_permutation_of(&name("O=b,CN=a")));
        assert!(!name("CN=a,CN=a").is_permutation_of(&name("CN=a")));
        assert!(!name("CN=a,O=b").is_permutation_of(&name("CN=b,O=a")));
        for text in ["", "alice", "CN", "=a", "X=a", "CN=#0401", "CN=a,", r"CN=\", r"CN=\zz", "CN=a,,O=b"] {
            assert_eq!(DistinguishedName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn unknown_attributes_match_nothing() {
        // One attribute of type 2.5.4.99, as a sequence of sets.
        let der = [0x31, 10, 0x30, 8, 0x06, 3, 0x55, 4, 99, 0x0c, 1, b'a'];
        assert_eq!(DistinguishedName::from_der(&der), None);
        let known = [0x31, 10, 0x30, 8, 0x06, 3, 0x55, 4, 3, 0x0c, 1, b'a'];
        assert_eq!(DistinguishedName::from_der(&known), Some(name("CN=a")));
        // An empty set, and no set at all.
        assert_eq!(DistinguishedName::from_der(&[0x31, 0]), None);
        assert_eq!(DistinguishedName::from_der(&[]), None);
    }
}
