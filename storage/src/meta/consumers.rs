//! What is kept of consumers: a definition each, and how far it is. Both are written in batches with one flush.

use serde::{Serialize, de::DeserializeOwned};

use super::{Definition, Meta, MetaError, VERSION_BYTES, decode, decode_up_to, encode};

/// Prefix of the keys of consumers' definitions.
const CONSUMER_PREFIX: &str = "consumer/";
/// Prefix of the keys of consumers' positions.
const POSITION_PREFIX: &str = "position/";
/// Largest position that is decoded, in bytes: some 20 for every message that is out.
const POSITION_BYTES_MAX: usize = 1 << 30;

/// Changes that are written together.
#[derive(Debug, Default)]
pub struct ConsumerBatch {
    /// Keys with what they get; `None`: they go.
    changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    bytes: usize,
}

fn key(prefix: &str, stream: &str, consumer: &str) -> Vec<u8> {
    // No name has a slash.
    format!("{prefix}{stream}/{consumer}").into_bytes()
}

impl ConsumerBatch {
    /// Keeps a consumer's definition.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn put_definition(&mut self, stream: &str, definition: &Definition) -> Result<(), MetaError> {
        self.put(key(CONSUMER_PREFIX, stream, &definition.name), definition)
    }

    /// Keeps how far a consumer is.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn put_position<T: Serialize>(&mut self, stream: &str, consumer: &str, position: &T) -> Result<(), MetaError> {
        self.put(key(POSITION_PREFIX, stream, consumer), position)
    }

    /// Forgets a consumer.
    pub fn remove(&mut self, stream: &str, consumer: &str) {
        self.changes.push((key(CONSUMER_PREFIX, stream, consumer), None));
        self.changes.push((key(POSITION_PREFIX, stream, consumer), None));
        self.bytes += VERSION_BYTES;
    }

    /// Bytes to be written, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn put<T: Serialize>(&mut self, key: Vec<u8>, value: &T) -> Result<(), MetaError> {
        let value = encode(&key, value)?;
        self.bytes += key.len() + value.len();
        self.changes.push((key, Some(value)));
        Ok(())
    }
}

impl Meta {
    /// Writes a batch; on disk when this returns.
    ///
    /// # Errors
    /// What the store says.
    pub fn write_consumers(&self, batch: ConsumerBatch) -> Result<(), MetaError> {
        if batch.changes.is_empty() { Ok(()) } else { self.write(batch.changes) }
    }

    /// Definitions of a stream's consumers by name, and those that do not decode as the errors they are.
    pub fn consumers(&self, stream: &str) -> Vec<Result<Definition, MetaError>> {
        let items = self.db.scan_prefix(key(CONSUMER_PREFIX, stream, ""));
        items.map(|item| item.map_err(|e| self.store(&e)).and_then(|(key, value)| decode(&key, &value))).collect()
    }

    /// How far a consumer is, if that was kept.
    ///
    /// # Errors
    /// What the store says, or a value that does not decode.
    pub fn position<T: DeserializeOwned>(&self, stream: &str, consumer: &str) -> Result<Option<T>, MetaError> {
        let key = key(POSITION_PREFIX, stream, consumer);
        match self.db.get(&key).map_err(|e| self.store(&e))? {
            Some(value) => decode_up_to::<T, POSITION_BYTES_MAX>(&key, &value).map(Some),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_are_found_by_their_stream() {
        let dir = tempfile::tempdir().unwrap();
        let definition = |name: &str| Definition { name: name.to_owned(), created_ns: 7, body: name.into() };
        {
            let meta = Meta::open(dir.path()).unwrap();
            let mut batch = ConsumerBatch::default();
            for (stream, name) in [("S", "B"), ("S", "A"), ("SS", "C"), ("S", "gone")] {
                batch.put_definition(stream, &definition(name)).unwrap();
                batch.put_position(stream, name, &(name.to_owned(), vec![5_u64; 3])).unwrap();
            }
            assert!(batch.bytes() > 0);
            meta.write_consumers(batch).unwrap();
            let mut batch = ConsumerBatch::default();
            batch.remove("S", "gone");
            meta.write_consumers(batch).unwrap();
        }
        let meta = Meta::open(dir.path()).unwrap();
        let names: Vec<String> = meta.consumers("S").into_iter().map(|found| found.unwrap().name).collect();
        assert_eq!(names, ["A", "B"]);
        type Position = (String, Vec<u64>);
        assert_eq!(meta.position::<Position>("SS", "C").unwrap(), Some(("C".to_owned(), vec![5; 3])));
        assert_eq!(meta.position::<Position>("S", "gone").unwrap(), None);
        assert!(meta.position::<(String, Vec<u64>, u64)>("S", "A").is_err());
    }
}
