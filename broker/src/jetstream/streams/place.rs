//! Where the streams of an account are kept: folders and keys that no other account's can be.
//!
//! The default account's streams are `streams/<name>` and its keys in the metadata are their names. Those of another are
//! `accounts/<folder>/streams/<name>`, with the keys `<folder>.<name>`. A folder is never named by what somebody calls an
//! account: it is a few harmless letters of that, and a digest of all of it, so that neither `..` nor names that differ in
//! case only do harm. No stream's name has a dot, and no folder's.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use sublog_storage::{CommitPool, DataDir, Definition, Meta, SyncMode};

use crate::auth::users::GLOBAL_ACCOUNT;
use crate::capture::CAPTURE;

/// Threads of the pool that writes streams' logs; there are more while disks let them wait.
const POOL_THREADS: usize = 2;
/// Folder of streams that are not kept over a restart: files that nobody syncs, which the system holds in memory as long
/// as it has some to spare.
const MEMORY: &str = "memory";
/// Folder of the folders of accounts.
const ACCOUNTS: &str = "accounts";
/// Letters of its name that an account's folder shows.
const SHOWN_CHARS: usize = 24;
/// Bytes of the digest in a folder's name.
const DIGEST_BYTES: usize = 16;

/// What the streams of all accounts share.
pub struct Stores {
    /// The data folder.
    pub data: Arc<DataDir>,
    /// Where definitions and positions are kept.
    pub meta: Arc<Meta>,
    pub(super) pool: CommitPool,
    pub(super) sync: SyncMode,
    pub(super) runtime: tokio::runtime::Handle,
    next_id: AtomicU64,
}

impl Stores {
    /// In this folder, with files synced like `sync` says.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn new(data: Arc<DataDir>, meta: Arc<Meta>, sync: SyncMode) -> io::Result<Self> {
        let (pool, runtime) = (CommitPool::new(POOL_THREADS)?, tokio::runtime::Handle::current());
        Ok(Self { data, meta, pool, sync, runtime, next_id: AtomicU64::new(1) })
    }

    pub(super) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

/// Where the capture stream of an account is.
#[must_use]
pub fn of_capture(data: &DataDir, account: &str) -> PathBuf {
    Place::below(data, account).streams().join(CAPTURE)
}

/// Folders of accounts in which streams are kept that none of these accounts has.
#[must_use]
pub fn unserved<'a>(data: &DataDir, accounts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let known: Vec<String> = accounts.map(folder).collect();
    let entries = std::fs::read_dir(data.root().join(ACCOUNTS)).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| !known.contains(name)).collect()
}

/// See the module.
pub(super) struct Place {
    root: PathBuf,
    /// What keys begin with.
    prefix: String,
}

impl Place {
    pub(super) fn of(stores: &Stores, account: &str) -> Self {
        Self::below(&stores.data, account)
    }

    fn below(data: &DataDir, account: &str) -> Self {
        let root = data.root();
        match account {
            GLOBAL_ACCOUNT => Self { root: root.to_path_buf(), prefix: String::new() },
            name => {
                let folder = folder(name);
                Self { root: root.join(ACCOUNTS).join(&folder), prefix: format!("{folder}.") }
            }
        }
    }

    /// The folder of its streams' folders.
    pub(super) fn streams(&self) -> PathBuf {
        self.root.join("streams")
    }

    /// The folder of streams that a restart forgets.
    pub(super) fn memory(&self) -> PathBuf {
        self.root.join(MEMORY)
    }

    /// Under which name a stream is kept in the metadata.
    pub(super) fn kept(&self, stream: &str) -> String {
        format!("{}{stream}", self.prefix)
    }

    /// The definition under its stream's name, if it is one of this account.
    pub(super) fn own(&self, definition: Definition) -> Option<Definition> {
        let name = definition.name.strip_prefix(&self.prefix).filter(|name| !name.contains('.'))?.to_owned();
        Some(Definition { name, ..definition })
    }
}

/// The folder of an account.
pub fn folder(account: &str) -> String {
    let plain = account.chars().filter(char::is_ascii_alphanumeric).take(SHOWN_CHARS);
    let mut folder: String = plain.map(|c| c.to_ascii_lowercase()).collect();
    folder.push('-');
    for byte in Sha256::digest(account.as_bytes()).iter().take(DIGEST_BYTES) {
        folder.push_str(&format!("{byte:02x}"));
    }
    folder
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_name_leads_elsewhere_or_to_another_account() {
        let long = "x".repeat(255);
        let names =
            ["A", "a", "..", "../streams", "/", "\0", "", "ä", "A.B", "A/B", "CON", "a ", long.as_str(), "streams"];
        let folders: HashSet<String> = names.iter().map(|name| folder(name)).collect();
        assert_eq!(folders.len(), names.len());
        for folder in &folders {
            assert!(folder.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{folder}");
            assert!(folder.len() <= SHOWN_CHARS + 1 + 2 * DIGEST_BYTES && folder.len() > 2 * DIGEST_BYTES, "{folder}");
        }
    }

    #[test]
    fn keys_of_accounts_are_apart() {
        let place = |prefix: &str| Place { root: PathBuf::new(), prefix: prefix.to_owned() };
        let (global, a) = (place(""), place("a-1."));
        let definition = |name: &str| Definition { name: name.to_owned(), created_ns: 1, body: Vec::new() };
        assert_eq!(global.own(definition("S")).unwrap().name, "S");
        assert_eq!(global.own(definition("a-1")).unwrap().name, "a-1");
        assert!(global.own(definition("a-1.S")).is_none() && a.own(definition("S")).is_none());
        assert!(a.own(definition("a-1")).is_none() && a.own(definition("a-12.S")).is_none());
        assert_eq!(a.own(definition(&a.kept("S"))).unwrap().name, "S");
    }
}
