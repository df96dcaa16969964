//! What the keys of a configuration mean: from a tree to checked settings.
//!
//! [`keys`] lists every key that nats-server knows, and our own, with the kind of its value and what this server does
//! about it. [`Settings::new`] holds a tree to that list and reports everything that is wrong with it, not only the first thing.
//! Nothing is passed over in silence: a key is honoured, or named in a warning, or, where passing over it would leave a
//! server open, unencrypted or wrong, named in a refusal.

pub mod accounts;
pub mod authorization;
mod check;
pub mod keys;
pub mod operator;
mod read;
mod schema;
pub mod tls;
mod websocket;

use std::fmt;
use std::path::Path;

pub use read::{address, duration, size};
pub use schema::{Block, Key, Kind, Now};

use super::tree::{Entry, Map, Node, Position};
use super::{ParseError, load};

/// Something about a place in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The place.
    pub at: Position,
    /// What is to be said about it.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.text)
    }
}

/// Why a configuration is refused.
#[derive(Debug)]
pub enum ConfigError {
    /// It cannot be read.
    Parse(ParseError),
    /// It says what cannot be done.
    Settings(Vec<Finding>),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parse(error) => write!(f, "{error}"),
            Self::Settings(findings) => {
                for (index, finding) in findings.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\n" };
                    write!(f, "{separator}{finding}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<ParseError> for ConfigError {
    fn from(error: ParseError) -> Self {
        Self::Parse(error)
    }
}

/// A configuration whose keys and values are known to be of the right kinds.
#[derive(Debug, Clone)]
pub struct Settings {
    map: Map,
    /// What is right, but has no effect, or not the one somebody may expect.
    pub warnings: Vec<Finding>,
    /// What is right, but would be unsafe to pass over, and this server cannot do.
    pub refusals: Vec<Finding>,
}

impl Settings {
    /// Reads and checks the configuration in `path`.
    ///
    /// # Errors
    /// It cannot be read, or something in it is wrong. What is right and cannot be done stands in
    /// [`Settings::refusals`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::new(load(path)?)
    }

    /// Checks a tree.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn new(map: Map) -> Result<Self, ConfigError> {
        let mut report = check::check(&map);
        report.errors.extend(authorization::check(&map));
        report.errors.extend(tls::check(&map));
        report.errors.extend(websocket::check(&map));
        report.errors.extend(accounts::check(&map));
        report.warnings.extend(tls::remarks(&map));
        if report.errors.is_empty() {
            Ok(Self { map, warnings: report.warnings, refusals: report.refusals })
        } else {
            Err(ConfigError::Settings(report.errors))
        }
    }

    /// The fingerprint of all values, see [`super::digest`].
    #[must_use]
    pub fn digest(&self) -> String {
        super::digest(&self.map)
    }

    /// Every key that this server acts on, in the order of the file, with the name it has in [`keys`] and the names of
    /// the blocks around it.
    #[must_use]
    pub fn honoured(&self) -> Vec<Honoured<'_>> {
        let mut out = Vec::new();
        collect(&self.map, &keys::TOP, &mut Vec::new(), &mut out);
        out
    }

    /// Users, their passwords and permissions.
    #[must_use]
    pub fn authorization(&self) -> Option<authorization::Authorization> {
        authorization::read(&self.map)
    }

    /// A text of the file's own, and where it stands.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<(&str, &Position)> {
        let entry = find(&self.map, &[name])?;
        match &entry.node.value {
            super::Value::Str(text) => Some((text, &entry.node.at)),
            _ => None,
        }
    }

    /// Where a key of the file's own stands.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<&Position> {
        let names = keys::names_of(name);
        find(&self.map, names).map(|entry| &entry.at)
    }

    /// Whether a key of the file's own is there, whatever it says.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        find(&self.map, &[name]).is_some()
    }

    /// Encryption of client connections.
    #[must_use]
    pub fn tls(&self) -> Option<tls::Tls> {
        tls::read_in(&self.map)
    }

    /// The port for WebSockets.
    #[must_use]
    pub fn websocket(&self) -> Option<crate::websocket::WebSocketOptions> {
        websocket::read_in(&self.map)
    }

    /// Operators, and where accounts are found.
    #[must_use]
    pub fn operator(&self) -> Option<operator::Operator> {
        operator::read(&self.map)
    }

    /// Accounts with their users.
    #[must_use]
    pub fn accounts(&self) -> Vec<accounts::Account> {
        accounts::read(&self.map)
    }

    /// The account that the capture stream records, where one is named.
    #[must_use]
    pub fn capture_account(&self) -> Option<(&str, &Position)> {
        let super::Value::Map(block) = &find(&self.map, &["sublog"])?.node.value else { return None };
        let entry = find(block, &["capture_account"])?;
        match &entry.node.value {
            super::Value::Str(name) => Some((name, &entry.node.at)),
            _ => None,
        }
    }

    /// Mappings of the default account.
    #[must_use]
    pub fn mappings(&self) -> Vec<accounts::Mapping> {
        accounts::of_global(&self.map)
    }

    /// Whether a key of the file's own says `true`.
    #[must_use]
    pub fn is(&self, names: &[&str]) -> bool {
        find(&self.map, names).is_some_and(|entry| entry.node.value == super::Value::Bool(true))
    }
}

/// A key that has an effect.
#[derive(Debug, Clone)]
pub struct Honoured<'s> {
    /// Blocks around it, outermost first, and its own name, joined by dots.
    pub path: String,
    /// Its value.
    pub node: &'s Node,
    /// Where the key stands.
    pub at: &'s Position,
}

fn collect<'s>(map: &'s Map, block: &'static Block, around: &mut Vec<&'static str>, out: &mut Vec<Honoured<'s>>) {
    for entry in map.iter() {
        let Some(key) = block.find(&entry.key) else { continue };
        let name = key.names.first().copied().unwrap_or_default();
        around.push(name);
        match (&entry.node.value, key.kind.block(), key.now) {
            (super::Value::Map(inner), Some(block), Now::Honoured | Now::Partly(_)) => {
                collect(inner, block, around, out)
            }
            (_, _, Now::Honoured | Now::Partly(_)) => {
                out.push(Honoured { path: around.join("."), node: &entry.node, at: &entry.at })
            }
            _ => {}
        }
        around.pop();
    }
}

/// The entry of a key under any of its names, in any case; the last of several counts.
pub(super) fn find<'m>(map: &'m Map, names: &[&str]) -> Option<&'m Entry> {
    map.iter().rfind(|entry| names.iter().any(|name| entry.key.eq_ignore_ascii_case(name)))
}
