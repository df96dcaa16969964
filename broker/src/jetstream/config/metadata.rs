//! Metadata of streams and consumers, and the keys in it that belong to the server.
//!
//! `_nats.req.level` is stored: the lowest API level that a server must have for this configuration. `_nats.ver` and
//! `_nats.level` stand only in responses and say what the server is.

use std::collections::BTreeMap;

use super::limits::METADATA_BYTES_MAX;

/// Keys and values.
pub type Metadata = BTreeMap<String, String>;

/// The key of the API level that a configuration needs.
pub const REQUIRED_LEVEL: &str = "_nats.req.level";
/// The key of the server's version.
pub const SERVER_VERSION: &str = "_nats.ver";
/// The key of the server's API level.
pub const SERVER_LEVEL: &str = "_nats.level";

/// What the server says of itself in responses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLevel {
    /// Its version, as in INFO.
    pub version: String,
    /// Its API level.
    pub level: u32,
}

impl ServerLevel {
    /// Adds what only responses have.
    pub fn stamp(&self, metadata: &mut Metadata) {
        metadata.insert(SERVER_VERSION.to_owned(), self.version.clone());
        metadata.insert(SERVER_LEVEL.to_owned(), self.level.to_string());
    }

    /// Whether a request may go on whose `Nats-Required-Api-Level` header is `required`.
    #[must_use]
    pub fn satisfies(&self, required: &[u8]) -> bool {
        let number = std::str::from_utf8(required).ok().and_then(|text| text.parse::<i64>().ok());
        required.is_empty() || number.is_some_and(|number| number <= i64::from(self.level))
    }
}

/// Makes metadata what is stored: with the level that is needed, without what only responses have.
pub fn store(metadata: &mut Metadata, required_level: u32) {
    metadata.remove(SERVER_VERSION);
    metadata.remove(SERVER_LEVEL);
    metadata.insert(REQUIRED_LEVEL.to_owned(), required_level.to_string());
}

/// Whether the metadata that clients gave is the same.
#[must_use]
pub fn same(a: &Metadata, b: &Metadata) -> bool {
    let own = |key: &str| key == REQUIRED_LEVEL || key == SERVER_VERSION || key == SERVER_LEVEL;
    let theirs = |metadata: &Metadata| {
        metadata
            .iter()
            .filter(|(key, _)| !own(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<Metadata>()
    };
    theirs(a) == theirs(b)
}

/// Whether it is larger than it may be.
#[must_use]
pub fn is_too_large(metadata: &Metadata) -> bool {
    metadata.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > METADATA_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::ServerLevel;

    #[test]
    fn a_level_is_a_number() {
        let server = ServerLevel { version: "1".to_owned(), level: 2 };
        let satisfied = ["", "0", "2", "-1", "+2", "3", "x", "2 ", "99999999999999999999"]
            .map(|text| server.satisfies(text.as_bytes()));
        assert_eq!(satisfied, [true, true, true, true, true, false, false, false, false]);
    }
}
