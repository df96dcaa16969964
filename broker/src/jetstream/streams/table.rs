//! The streams by name, and by what their subjects begin with: who declares one of ten thousand looks only at those that might
//! take the same.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::Declared;
use crate::jetstream::config::StreamConfig;

/// What subjects that begin with a wildcard are kept under. No other has this first token.
const ANY: &[u8] = b"*";

/// See the module.
#[derive(Default)]
pub(super) struct Table {
    by_name: BTreeMap<String, Declared>,
    by_first: BTreeMap<Vec<u8>, BTreeSet<String>>,
}

impl Table {
    /// Puts a stream in, in the place of one of its name.
    pub(super) fn insert(&mut self, declared: Declared) {
        let name = declared.config.name.clone();
        self.remove(&name);
        for first in first_tokens(&declared.config) {
            self.by_first.entry(first).or_default().insert(name.clone());
        }
        self.by_name.insert(name, declared);
    }

    pub(super) fn remove(&mut self, name: &str) {
        let Some(declared) = self.by_name.remove(name) else { return };
        for first in first_tokens(&declared.config) {
            if let Some(names) = self.by_first.get_mut(&first) {
                names.remove(name);
                if names.is_empty() {
                    self.by_first.remove(&first);
                }
            }
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Declared> {
        self.by_name.get(name)
    }

    /// All, by name.
    pub(super) fn values(&self) -> impl Iterator<Item = &Declared> {
        self.by_name.values()
    }

    /// Those behind `after`, by name.
    pub(super) fn behind(&self, after: Option<&str>) -> impl Iterator<Item = &Declared> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_name.range::<str, _>((from, Bound::Unbounded)).map(|(_, declared)| declared)
    }

    /// The one of this name, and all that may take what this one takes.
    pub(super) fn near(&self, config: &StreamConfig) -> Vec<Declared> {
        let firsts = first_tokens(config);
        if firsts.contains(ANY) {
            return self.values().cloned().collect();
        }
        let firsts = firsts.iter().map(Vec::as_slice).chain([ANY]);
        let mut names: BTreeSet<&str> =
            firsts.filter_map(|first| self.by_first.get(first)).flatten().map(String::as_str).collect();
        names.insert(&config.name);
        names.into_iter().filter_map(|name| self.get(name).cloned()).collect()
    }
}

/// What the subjects of a stream begin with. One without subjects may come to take its own name.
fn first_tokens(config: &StreamConfig) -> BTreeSet<Vec<u8>> {
    let own = config.subjects.is_empty().then_some(config.name.as_str());
    let subjects = config.subjects.iter().map(String::as_str).chain(own);
    let first = |subject: &str| match subject.as_bytes().split(|byte| *byte == b'.').next().unwrap_or_default() {
        b"*" | b">" => ANY.to_vec(),
        token => token.to_vec(),
    };
    subjects.map(first).collect()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;
    use std::sync::Arc;

    use sublog_protocol::subject;
    use sublog_storage::{LogError, Operation};

    use super::*;
    use crate::jetstream::stream::Stream;

    fn declared(name: &str, subjects: &[&str]) -> Declared {
        let subjects = subjects.iter().map(|subject| (*subject).to_owned()).collect();
        let config = StreamConfig { name: name.to_owned(), subjects, ..StreamConfig::default() };
        let closed = LogError::from_io(Operation::Open, Path::new("nowhere"), None, &io::Error::other("a test"));
        Declared { stream: Arc::new(Stream::new(1, name, Err(closed))), config: Arc::new(config), created_ns: 0 }
    }

    #[test]
    fn nobody_who_overlaps_is_far_away() {
        let all: [(&str, &[&str]); 8] = [
            ("A", &["a.>", "b.*"]),
            ("B", &["a.x"]),
            ("C", &["*.x"]),
            ("D", &[">"]),
            ("E", &["c"]),
            ("F", &[]),
            ("G", &["F", "ab.x"]),
            ("H", &["b.>", "c.*", "*"]),
        ];
        for without in 0..=all.len() {
            let mut table = Table::default();
            for (name, subjects) in all {
                // Put in twice: first as something else.
                table.insert(declared(name, &["z.>"]));
                table.insert(declared(name, subjects));
            }
            if let Some((name, _)) = all.get(without) {
                table.remove(name);
                assert!(table.get(name).is_none());
            }
            for (name, subjects) in all {
                let asked = declared(name, subjects).config;
                let near: Vec<String> = table.near(&asked).iter().map(|it| it.config.name.clone()).collect();
                for other in table.values() {
                    let overlap = |a: &String| {
                        other.config.subjects.iter().any(|b| subject::overlaps(a.as_bytes(), b.as_bytes()))
                    };
                    let wanted = asked.subjects.iter().any(overlap) || other.config.name == name;
                    assert!(!wanted || near.contains(&other.config.name), "{} beside {name}", other.config.name);
                }
            }
            assert_eq!(
                table.near(&declared("NEW", &["none.at.all"]).config).len(),
                table.near(&declared("NEW", &["q"]).config).len()
            );
            assert!(table.near(&declared("NEW", &["q"]).config).len() <= 3, "only those with a wildcard first");
        }
    }
}
