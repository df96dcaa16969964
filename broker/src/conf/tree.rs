//! The tree that a configuration is: values with their places.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Where something stands.
#[derive(Clone, PartialEq, Eq)]
pub struct Position {
    /// The file as it was named, or what stands for it, as `$NAME` for the environment.
    pub file: Arc<str>,
    /// From 1; 0 where it is the whole file that is spoken of.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it begins.
    pub at: Position,
}

/// Any value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `true`, `yes`, `on` and their opposites, without quotes.
    Bool(bool),
    /// A whole number; a suffix is multiplied in.
    Int(i64),
    /// A number with a point.
    Float(f64),
    /// Text, however it was quoted.
    Str(String),
    /// A point in time, `2006-01-02T15:04:05Z`, as written.
    Time(String),
    /// `[a, b]`
    Array(Vec<Node>),
    /// `{ key: value }`
    Map(Map),
}

impl Value {
    /// The kind of value, for a sentence.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a number with a point",
            Self::Str(_) => "text",
            Self::Time(_) => "a date",
            Self::Array(_) => "a list",
            Self::Map(_) => "a block",
        }
    }
}

/// One key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// As written; options compare it without case.
    pub key: String,
    /// Where the key stands.
    pub at: Position,
    /// Its value.
    pub node: Node,
    /// Some `$key` took the value: such a key need not be one the server knows.
    pub used: bool,
}

/// Keys with their values, in the order of the file.
#[derive(Debug, Clone, Default)]
pub struct Map {
    entries: Vec<Entry>,
    index: HashMap<String, usize>,
    replaced: Vec<(String, Position, Position)>,
}

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Map {
    /// The entries in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of exactly this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(*self.index.get(key)?)
    }

    /// Keys that were given again: the key, where it stood first, and where the value that counts stands.
    #[must_use]
    pub fn replaced(&self) -> &[(String, Position, Position)] {
        &self.replaced
    }

    /// Adds an entry; the later of two with the same key counts.
    pub fn put(&mut self, entry: Entry) {
        match self.index.get(&entry.key).and_then(|at| self.entries.get_mut(*at)) {
            Some(old) => {
                // What a variable took stays taken, and is not a value that was lost.
                if !old.used {
                    self.replaced.push((entry.key.clone(), old.at.clone(), entry.at.clone()));
                }
                *old = entry;
            }
            None => {
                self.index.insert(entry.key.clone(), self.entries.len());
                self.entries.push(entry);
            }
        }
    }

    /// The value a variable stands for, which counts as used from here on.
    pub(super) fn take_variable(&mut self, key: &str) -> Option<&Node> {
        let entry = self.entries.get_mut(*self.index.get(key)?)?;
        entry.used = true;
        Some(&entry.node)
    }
}

/// What a node takes in memory, roughly.
pub(super) fn weight(node: &Node) -> usize {
    const EACH: usize = 128;
    match &node.value {
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => EACH,
        Value::Str(text) | Value::Time(text) => EACH + text.len(),
        Value::Array(nodes) => nodes.iter().fold(EACH, |sum, node| sum.saturating_add(weight(node))),
        Value::Map(map) => map.iter().fold(EACH, |sum, entry| {
            sum.saturating_add(weight(&entry.node)).saturating_add(EACH + 2 * entry.key.len())
        }),
    }
}
