//! Holds a tree to the table of keys.

use super::schema::{Block, Key, Kind, Now};
use super::{Finding, keys, read};
use crate::conf::tree::{Entry, Map, Node, Position, Value};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Unknown keys and values of the wrong kind.
    pub(super) errors: Vec<Finding>,
    pub(super) warnings: Vec<Finding>,
    pub(super) refusals: Vec<Finding>,
}

pub(super) fn check(map: &Map) -> Report {
    let mut checker = Checker { report: Report::default(), unhonoured: false };
    checker.block(map, &keys::TOP);
    checker.report
}

struct Checker {
    report: Report,
    /// Inside something that was warned of or refused already.
    unhonoured: bool,
}

impl Checker {
    fn block(&mut self, map: &Map, block: &'static Block) {
        self.replaced(map);
        let mut seen: Vec<(&'static Key, &Entry)> = Vec::new();
        for entry in map.iter() {
            let Some(key) = block.find(&entry.key) else {
                // What only variables use is no key of the server's.
                if !entry.used {
                    let near =
                        crate::cli::nearest(&entry.key, block.keys.iter().flat_map(|key| key.names.iter().copied()));
                    let hint = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
                    self.wrong(
                        &entry.at,
                        format!("expected a key of {}, found {}{hint}", block.name, shown(&entry.key)),
                    );
                }
                continue;
            };
            if let Some((_, first)) = seen.iter().find(|(other, _)| std::ptr::eq(*other, key)) {
                let text =
                    format!("{} stands for the same as {} at {}; the later one counts", entry.key, first.key, first.at);
                self.report.warnings.push(Finding { at: entry.at.clone(), text });
            }
            seen.push((key, entry));
            self.entry(entry, key);
        }
    }

    fn entry(&mut self, entry: &Entry, key: &'static Key) {
        let name = &entry.key;
        // What is inside something without effect needs no words of its own, unless it is wrong.
        let outer = self.unhonoured;
        self.unhonoured |= matches!(key.now, Now::Ignored(_) | Now::Refused(_));
        let checked = self.value(&entry.node, &key.kind);
        self.unhonoured = outer;
        if let Err(expected) = checked {
            self.wrong(&entry.node.at, format!("{name}: expected {expected}, found {}", found(&entry.node.value)));
            return;
        }
        if self.unhonoured || is_nothing(&entry.node.value) {
            return;
        }
        match key.now {
            Now::Honoured => {}
            Now::Ignored(why) => {
                self.report
                    .warnings
                    .push(Finding { at: entry.at.clone(), text: format!("{name} has no effect: {why}") });
            }
            Now::Partly(why) => {
                self.report.warnings.push(Finding { at: entry.at.clone(), text: format!("{name}: {why}") });
            }
            Now::Refused(why) => {
                self.report
                    .refusals
                    .push(Finding { at: entry.at.clone(), text: format!("{name} is not supported: {why}") });
            }
        }
    }

    /// Checks a value; the error is what should have stood there.
    fn value(&mut self, node: &Node, kind: &'static Kind) -> Result<(), &'static str> {
        let value = &node.value;
        let is = |fits: bool, expected: &'static str| if fits { Ok(()) } else { Err(expected) };
        match kind {
            Kind::Bool => is(matches!(value, Value::Bool(_)), "true or false"),
            Kind::Int => is(matches!(value, Value::Int(_)), "a whole number"),
            Kind::Number => is(matches!(value, Value::Int(_) | Value::Float(_)), "a number"),
            Kind::Text => is(matches!(value, Value::Str(_)), "text (put it into quotes)"),
            Kind::Word(words) => {
                let fits = |text: &str| words.iter().any(|word| word.eq_ignore_ascii_case(text));
                is(matches!(value, Value::Str(text) if fits(text)), words_of(words))
            }
            Kind::Duration => {
                if read::duration(value).is_ok() && !matches!(value, Value::Str(_)) {
                    let text = "a bare number is read as seconds; write a duration like \"10s\"".to_owned();
                    self.report.warnings.push(Finding { at: node.at.clone(), text });
                }
                read::duration(value).map(|_| ())
            }
            Kind::Seconds => read::duration(value).map(|_| ()),
            Kind::Size => read::size(value).map(|_| ()),
            Kind::Port => is(
                matches!(value, Value::Int(n) if read::port(*n).is_some()),
                "a port from 1 to 65535, or -1 for a free one",
            ),
            Kind::Address => read::address(value).map(|_| ()),
            Kind::Texts => match value {
                Value::Str(_) => Ok(()),
                Value::Array(nodes) => {
                    is(nodes.iter().all(|node| matches!(node.value, Value::Str(_))), "text or a list of texts")
                }
                _ => Err("text or a list of texts"),
            },
            Kind::TextMap => self.each(value, &Kind::Text, "a block of texts"),
            Kind::BoolMap => self.each(value, &Kind::Bool, "a block of booleans"),
            Kind::Each(kind) => self.each(value, kind, "a block"),
            Kind::Block(block) => self.nested(value, block),
            Kind::Blocks(block) => self.list(value, &mut |checker, node| checker.nested(&node.value, block)),
            Kind::List(kind) => self.list(value, &mut |checker, node| checker.value(node, kind)),
            Kind::Named(block) => {
                let Value::Map(map) = value else { return Err("a block") };
                self.replaced(map);
                for entry in map.iter().filter(|entry| !entry.used) {
                    let Value::Map(inner) = &entry.node.value else {
                        let text =
                            format!("{}: expected a block, found {}", shown(&entry.key), found(&entry.node.value));
                        self.wrong(&entry.node.at, text);
                        continue;
                    };
                    self.block(inner, block);
                }
                Ok(())
            }
            Kind::OneOf(kinds) => {
                // The kind that has the value's shape says what is wrong with it; else all are named.
                let shaped = kinds.iter().find(|kind| has_shape(value, kind));
                shaped.map_or(Err(shapes(kinds)), |kind| self.value(node, kind))
            }
        }
    }

    fn nested(&mut self, value: &Value, block: &'static Block) -> Result<(), &'static str> {
        let Value::Map(map) = value else { return Err("a block") };
        self.block(map, block);
        Ok(())
    }

    fn list(
        &mut self,
        value: &Value,
        each: &mut dyn FnMut(&mut Self, &Node) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        let Value::Array(nodes) = value else { return Err("a list") };
        for node in nodes {
            if let Err(expected) = each(self, node) {
                self.wrong(&node.at, format!("expected {expected}, found {}", found(&node.value)));
            }
        }
        Ok(())
    }

    fn each(&mut self, value: &Value, kind: &'static Kind, expected: &'static str) -> Result<(), &'static str> {
        let Value::Map(map) = value else { return Err(expected) };
        self.replaced(map);
        for entry in map.iter() {
            if let Err(expected) = self.value(&entry.node, kind) {
                let text = format!("{}: expected {expected}, found {}", shown(&entry.key), found(&entry.node.value));
                self.wrong(&entry.node.at, text);
            }
        }
        Ok(())
    }

    fn replaced(&mut self, map: &Map) {
        for (key, first, second) in map.replaced() {
            let text = format!("{} was given at {first} already; the later one counts", shown(key));
            self.report.warnings.push(Finding { at: second.clone(), text });
        }
    }

    fn wrong(&mut self, at: &Position, text: String) {
        self.report.errors.push(Finding { at: at.clone(), text });
    }
}

/// Switched off, or empty: that is how a server without the feature is.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Bool(is) => !is,
        Value::Str(text) => text.eq_ignore_ascii_case("disabled") || text.eq_ignore_ascii_case("disable"),
        Value::Array(nodes) => nodes.is_empty(),
        Value::Map(map) => map.is_empty(),
        _ => false,
    }
}

fn has_shape(value: &Value, kind: &Kind) -> bool {
    match kind {
        Kind::Bool => matches!(value, Value::Bool(_)),
        Kind::Int | Kind::Port => matches!(value, Value::Int(_)),
        Kind::Number => matches!(value, Value::Int(_) | Value::Float(_)),
        Kind::Text => matches!(value, Value::Str(_)),
        Kind::Word(words) => {
            matches!(value, Value::Str(text) if words.iter().any(|word| word.eq_ignore_ascii_case(text)))
        }
        Kind::Duration | Kind::Seconds => matches!(value, Value::Str(_) | Value::Int(_) | Value::Float(_)),
        Kind::Size | Kind::Address => matches!(value, Value::Str(_) | Value::Int(_)),
        Kind::Texts => matches!(value, Value::Str(_) | Value::Array(_)),
        Kind::TextMap | Kind::BoolMap | Kind::Block(_) | Kind::Named(_) | Kind::Each(_) => {
            matches!(value, Value::Map(_))
        }
        Kind::Blocks(_) | Kind::List(_) => matches!(value, Value::Array(_)),
        Kind::OneOf(kinds) => kinds.iter().any(|kind| has_shape(value, kind)),
    }
}

/// What any of the kinds would have been.
fn shapes(kinds: &[Kind]) -> &'static str {
    let (mut scalar, mut block) = (None, false);
    for kind in kinds {
        match kind {
            Kind::Bool => scalar = scalar.or(Some("true, false or a block")),
            Kind::Word(words) => return words_of(words),
            Kind::Block(_) | Kind::Named(_) => block = true,
            _ => {}
        }
    }
    match (scalar, block) {
        (Some(text), true) => text,
        (None, true) => "a block, text or a list",
        _ => "another kind of value",
    }
}

fn words_of(words: &'static [&'static str]) -> &'static str {
    words.first().copied().unwrap_or("a known word")
}

/// The value's kind, and the value itself where it is short and cannot be a secret.
fn found(value: &Value) -> String {
    match value {
        Value::Bool(is) => format!("{is}"),
        Value::Int(number) => format!("{number}"),
        Value::Float(number) => format!("{number:?}"),
        other => other.kind().to_owned(),
    }
}

/// A key as it can be shown in a line.
fn shown(key: &str) -> String {
    let short: String = key.chars().take(80).collect();
    format!("{short:?}")
}
