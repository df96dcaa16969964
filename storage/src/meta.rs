//! Small metadata: stream definitions and the server's identity, in a key-value store that nothing else here knows.
//!
//! A value is a `u16` version (little-endian) followed by the bincode encoding of that version's type, so that a later
//! program can read what an earlier one wrote and an earlier one refuses what it does not know.

mod consumers;
mod durable;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use consumers::ConsumerBatch;

use self::durable::Durable;
use crate::options::SyncMode;
use crate::reserve::Reserve;

/// Version of every value written by this program.
const VALUE_VERSION: u16 = 1;
/// Bytes of a value before its body.
const VERSION_BYTES: usize = 2;
/// Largest value that is decoded, in bytes: a damaged length must not become a large allocation.
const VALUE_BYTES_MAX: usize = 16 << 20;
/// A change takes less room than this, in bytes: a segment of the store is 512 KiB.
const ROOM_BYTES: u64 = 2 << 20;
/// Prefix of the keys of stream definitions.
const STREAM_PREFIX: &[u8] = b"stream/";
/// Prefix of the keys of definitions.
const DEFINITION_PREFIX: &[u8] = b"declared/";
/// Key of the server's identity.
const IDENTITY_KEY: &[u8] = b"server/identity";

/// Why metadata could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The store refused.
    #[error("metadata in {}: {message}", path.display())]
    Store {
        /// The store's folder.
        path: PathBuf,
        /// What it said.
        message: String,
    },
    /// A value does not decode.
    #[error("metadata value of {key}: {message}")]
    Value {
        /// Its key.
        key: String,
        /// What is wrong with it.
        message: String,
    },
    /// A value was written by a newer program.
    #[error("metadata value of {key} has version {found}, this program reads up to {VALUE_VERSION}")]
    UnknownVersion {
        /// Its key.
        key: String,
        /// Its version.
        found: u16,
    },
}

/// When a stream's log is synced, as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredSync {
    /// Each acknowledgement waits for the disk.
    Always,
    /// At an interval, in milliseconds.
    IntervalMs(u64),
    /// When the system likes.
    Os,
}

impl From<SyncMode> for StoredSync {
    fn from(mode: SyncMode) -> Self {
        match mode {
            SyncMode::Always => Self::Always,
            SyncMode::Interval(every) => Self::IntervalMs(u64::try_from(every.as_millis()).unwrap_or(u64::MAX)),
            SyncMode::Os => Self::Os,
        }
    }
}

impl From<StoredSync> for SyncMode {
    fn from(stored: StoredSync) -> Self {
        match stored {
            StoredSync::Always => Self::Always,
            StoredSync::IntervalMs(ms) => Self::Interval(Duration::from_millis(ms.max(1))),
            StoredSync::Os => Self::Os,
        }
    }
}

/// A stream's definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRecord {
    /// Name, also that of its folder.
    pub name: String,
    /// Subject filters it takes.
    pub subjects: Vec<String>,
    /// When its log is synced.
    pub sync: StoredSync,
    /// Created, nanoseconds since 1970.
    pub created_ns: i64,
    /// Largest age of a record, in nanoseconds; 0 for no limit.
    pub max_age_ns: u64,
    /// Largest size, in bytes; 0 for no limit.
    pub max_bytes: u64,
    /// Most records; 0 for no limit.
    pub max_messages: u64,
}

/// What somebody declared, as its owner writes it; not looked into here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// Created, nanoseconds since 1970.
    pub created_ns: i64,
    /// The definition itself.
    pub body: Vec<u8>,
}

/// The server's identity: stays the same over restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerIdentity {
    /// Its public name, as INFO shows it.
    pub id: String,
    /// Created, nanoseconds since 1970.
    pub created_ns: i64,
}

/// The metadata of one data folder.
#[derive(Debug)]
pub struct Meta {
    path: PathBuf,
    db: sled::Db,
    durable: Durable,
    reserve: Option<Arc<Reserve>>,
}

impl Meta {
    /// Opens the store, makes it if it does not exist.
    ///
    /// # Errors
    /// What the store says.
    pub fn open(path: &Path) -> Result<Self, MetaError> {
        let open = sled::Config::new().path(path).cache_capacity(4 << 20).flush_every_ms(None).open();
        let failed = |message: String| MetaError::Store { path: path.to_path_buf(), message };
        let db = open.map_err(|e| failed(e.to_string()))?;
        db.flush().map_err(|e| failed(e.to_string()))?;
        let durable = Durable::open(path).map_err(|e| failed(e.to_string()))?;
        Ok(Self { path: path.to_path_buf(), db, durable, reserve: None })
    }

    /// Gives this up before a change if there may be no room for it: the store does not get over a full disk.
    #[must_use]
    pub fn with_reserve(self, reserve: Arc<Reserve>) -> Self {
        Self { reserve: Some(reserve), ..self }
    }

    fn make_room(&self) {
        if let Some(reserve) = &self.reserve {
            reserve.make_room(ROOM_BYTES);
        }
    }

    /// Keeps a stream's definition; on disk when this returns.
    ///
    /// # Errors
    /// What the store says.
    pub fn put_stream(&self, stream: &StreamRecord) -> Result<(), MetaError> {
        self.put(&stream_key(&stream.name), stream)
    }

    /// A stream's definition.
    ///
    /// # Errors
    /// What the store says, or a value that does not decode.
    pub fn stream(&self, name: &str) -> Result<Option<StreamRecord>, MetaError> {
        self.get(&stream_key(name))
    }

    /// All streams, by name.
    ///
    /// # Errors
    /// What the store says, or a value that does not decode.
    pub fn streams(&self) -> Result<Vec<StreamRecord>, MetaError> {
        let mut streams = Vec::new();
        for item in self.db.scan_prefix(STREAM_PREFIX) {
            let (key, value) = item.map_err(|e| self.store(&e))?;
            streams.push(decode(&key, &value)?);
        }
        Ok(streams)
    }

    /// Forgets a stream's definition; gone from disk when this returns. Says whether there was one.
    ///
    /// # Errors
    /// What the store says.
    pub fn remove_stream(&self, name: &str) -> Result<bool, MetaError> {
        self.make_room();
        let was = self.db.remove(stream_key(name)).map_err(|e| self.store(&e))?;
        self.flush()?;
        Ok(was.is_some())
    }

    /// Keeps a definition; on disk when this returns.
    ///
    /// # Errors
    /// What the store says.
    pub fn put_definition(&self, definition: &Definition) -> Result<(), MetaError> {
        self.put(&[DEFINITION_PREFIX, definition.name.as_bytes()].concat(), definition)
    }

    /// All definitions by name, and those that do not decode as the errors they are.
    pub fn definitions(&self) -> Vec<Result<Definition, MetaError>> {
        let items = self.db.scan_prefix(DEFINITION_PREFIX);
        items.map(|item| item.map_err(|e| self.store(&e)).and_then(|(key, value)| decode(&key, &value))).collect()
    }

    /// Forgets a definition; gone from disk when this returns.
    ///
    /// # Errors
    /// What the store says.
    pub fn remove_definition(&self, name: &str) -> Result<(), MetaError> {
        self.make_room();
        self.db.remove([DEFINITION_PREFIX, name.as_bytes()].concat()).map_err(|e| self.store(&e))?;
        self.flush()?;
        Ok(())
    }

    /// The server's identity, if one was kept.
    ///
    /// # Errors
    /// What the store says, or a value that does not decode.
    pub fn identity(&self) -> Result<Option<ServerIdentity>, MetaError> {
        self.get(IDENTITY_KEY)
    }

    /// Keeps the server's identity; on disk when this returns.
    ///
    /// # Errors
    /// What the store says.
    pub fn put_identity(&self, identity: &ServerIdentity) -> Result<(), MetaError> {
        self.put(IDENTITY_KEY, identity)
    }

    fn put<T: Serialize>(&self, key: &[u8], value: &T) -> Result<(), MetaError> {
        let encoded = encode(key, value)?;
        self.make_room();
        self.db.insert(key, encoded).map_err(|e| self.store(&e))?;
        self.flush()?;
        Ok(())
    }

    fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, MetaError> {
        match self.db.get(key).map_err(|e| self.store(&e))? {
            Some(value) => decode(key, &value).map(Some),
            None => Ok(None),
        }
    }

    /// Makes changes together; on disk when this returns.
    fn write(&self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), MetaError> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.db.apply_batch(batch).map_err(|e| self.store(&e))?;
        self.flush()?;
        Ok(())
    }

    /// What was changed is on disk when this returns.
    fn flush(&self) -> Result<(), MetaError> {
        self.db.flush().map_err(|e| self.store(&e))?;
        self.durable.sync().map_err(|e| self.store(&e))
    }

    fn store(&self, error: &dyn std::error::Error) -> MetaError {
        MetaError::Store { path: self.path.clone(), message: error.to_string() }
    }
}

fn stream_key(name: &str) -> Vec<u8> {
    [STREAM_PREFIX, name.as_bytes()].concat()
}

fn encode<T: Serialize>(key: &[u8], value: &T) -> Result<Vec<u8>, MetaError> {
    let body = bincode::serde::encode_to_vec(value, bincode::config::standard())
        .map_err(|e| MetaError::Value { key: String::from_utf8_lossy(key).into_owned(), message: e.to_string() })?;
    Ok([&VALUE_VERSION.to_le_bytes()[..], &body].concat())
}

fn decode<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, MetaError> {
    decode_up_to::<T, VALUE_BYTES_MAX>(key, value)
}

fn decode_up_to<T: DeserializeOwned, const MAX: usize>(key: &[u8], value: &[u8]) -> Result<T, MetaError> {
    let key = || String::from_utf8_lossy(key).into_owned();
    let Some((version, body)) = value.split_first_chunk::<VERSION_BYTES>() else {
        return Err(MetaError::Value { key: key(), message: "shorter than its version".to_owned() });
    };
    let found = u16::from_le_bytes(*version);
    if found != VALUE_VERSION {
        return Err(MetaError::UnknownVersion { key: key(), found });
    }
    let config = bincode::config::standard().with_limit::<MAX>();
    let (decoded, used) = bincode::serde::decode_from_slice(body, config)
        .map_err(|e| MetaError::Value { key: key(), message: e.to_string() })?;
    if used != body.len() {
        return Err(MetaError::Value { key: key(), message: "bytes are left over".to_owned() });
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str) -> StreamRecord {
        StreamRecord {
            name: name.to_owned(),
            subjects: vec!["orders.>".to_owned()],
            sync: StoredSync::IntervalMs(250),
            created_ns: 1_700_000_000_000_000_000,
            max_age_ns: 0,
            max_bytes: 1 << 40,
            max_messages: 7,
        }
    }

    #[test]
    fn definitions_outlive_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("meta");
        {
            let meta = Meta::open(&path).unwrap();
            meta.put_stream(&stream("A")).unwrap();
            meta.put_stream(&stream("B")).unwrap();
            assert!(meta.remove_stream("A").unwrap());
            assert!(!meta.remove_stream("A").unwrap());
            meta.put_identity(&ServerIdentity { id: "N".to_owned(), created_ns: 5 }).unwrap();
        }
        let meta = Meta::open(&path).unwrap();
        assert_eq!(meta.streams().unwrap(), vec![stream("B")]);
        assert_eq!(meta.stream("A").unwrap(), None);
        assert_eq!(meta.identity().unwrap().unwrap().id, "N");
    }

    #[test]
    fn what_was_declared_is_found_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let meta = Meta::open(dir.path()).unwrap();
        let definition =
            |name: &str| Definition { name: name.to_owned(), created_ns: 7, body: name.repeat(2).into_bytes() };
        meta.put_definition(&definition("B")).unwrap();
        meta.put_definition(&definition("A")).unwrap();
        meta.put_definition(&definition("A")).unwrap();
        let names = |meta: &Meta| meta.definitions().into_iter().map(|d| d.unwrap().name).collect::<Vec<_>>();
        assert_eq!(names(&meta), ["A", "B"]);
        meta.remove_definition("A").unwrap();
        assert_eq!(meta.definitions().pop().unwrap().unwrap(), definition("B"));
        meta.db.insert(b"declared/C", b"\x09\x00x").unwrap();
        assert!(matches!(meta.definitions().pop().unwrap(), Err(MetaError::UnknownVersion { found: 9, .. })));
    }

    #[test]
    fn newer_and_damaged_values_are_refused() {
        let mut value = encode(b"k", &stream("A")).unwrap();
        assert!(decode::<StreamRecord>(b"k", &value).is_ok());
        for cut in 0..value.len() {
            assert!(decode::<StreamRecord>(b"k", &value[..cut]).is_err(), "cut at {cut}");
        }
        value.push(0);
        assert!(decode::<StreamRecord>(b"k", &value).is_err());
        value[0] = 9;
        assert!(matches!(decode::<StreamRecord>(b"k", &value), Err(MetaError::UnknownVersion { found: 9, .. })));
    }
}
