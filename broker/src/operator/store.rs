//! A folder with a file `<public key>.jwt` for each account, as nats-server and its tools know it.
//!
//! A token is written beside the old one, synced, and takes its place by its name: after a crash there is the old one or the
//! new one. What is in the folder besides is left alone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::config::operator::Delete;
use crate::jwt::{Encoded, TOKEN_BYTES_MAX, is_account};

/// What a token's file is called besides its account's key.
const EXTENSION: &str = "jwt";

/// The digest of one token, or of all of them.
pub(super) type Hash = [u8; 32];

/// See the module.
pub(super) struct Store {
    dir: PathBuf,
    limit: Option<usize>,
    delete: Delete,
    index: Mutex<BTreeMap<String, Hash>>,
}

fn hash(jwt: &str) -> Hash {
    Sha256::digest(jwt.as_bytes()).into()
}

/// The key that a file is named after.
fn key_of(path: &Path) -> Option<&str> {
    let is_token = path.extension().is_some_and(|extension| extension == EXTENSION);
    path.file_stem().filter(|_| is_token)?.to_str().filter(|name| is_account(name))
}

fn read(path: &Path) -> io::Result<Encoded> {
    let mut text = String::new();
    let most = u64::try_from(TOKEN_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(most).read_to_string(&mut text)?;
    Ok(Encoded::new(&text))
}

impl Store {
    /// Opens the folder, which is made if it is not there.
    pub(super) fn open(dir: &Path, limit: Option<usize>, delete: Delete) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let store = Self { dir: dir.to_owned(), limit, delete, index: Mutex::default() };
        store.read_again()?;
        Ok(store)
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        // A key is letters and digits: it leads nowhere else.
        if !is_account(name) {
            return Err(io::Error::other("invalid public key"));
        }
        Ok(self.dir.join(format!("{name}.{EXTENSION}")))
    }

    /// Reads the whole folder: accounts whose tokens are others than before.
    pub(super) fn read_again(&self) -> io::Result<Vec<String>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let Some(name) = key_of(&path) else { continue };
            match read(&path) {
                Ok(jwt) if !jwt.text().is_empty() => drop(found.insert(name.to_owned(), hash(jwt.text()))),
                Ok(_) => {}
                Err(error) => tracing::error!("{} cannot be read: {error}", path.display()),
            }
        }
        let mut index = self.index.lock();
        let changed = found.iter().filter(|(name, hash)| index.get(*name) != Some(*hash));
        let changed = changed.map(|(name, _)| name.clone()).collect();
        *index = found;
        Ok(changed)
    }

    /// The token of an account, if there is one.
    pub(super) fn load(&self, name: &str) -> io::Result<Option<Encoded>> {
        match read(&self.path(name)?) {
            Ok(jwt) => Ok(Some(jwt)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a token; once this returns it is on the disk. Whether it is another than before.
    pub(super) fn save(&self, name: &str, jwt: &Encoded) -> io::Result<bool> {
        let path = self.path(name)?;
        let hash = hash(jwt.text());
        let mut index = self.index.lock();
        match index.get(name) {
            Some(there) if *there == hash => return Ok(false),
            Some(_) => {}
            None if self.limit.is_some_and(|most| index.len() >= most) => {
                return Err(io::Error::other("jwt store is full"));
            }
            None => {}
        }
        let beside = self.dir.join(format!(".{name}.{EXTENSION}.new"));
        let mut file = File::create(&beside)?;
        file.write_all(jwt.text().as_bytes())?;
        file.sync_data()?;
        fs::rename(&beside, &path)?;
        self.sync()?;
        index.insert(name.to_owned(), hash);
        Ok(true)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    /// Whether tokens may be deleted.
    pub(super) fn deletes(&self) -> bool {
        self.delete != Delete::Never
    }

    /// Lets the token of an account go.
    pub(super) fn delete(&self, name: &str) -> io::Result<()> {
        let path = self.path(name)?;
        let mut index = self.index.lock();
        let done = match self.delete {
            Delete::Never => Err(io::Error::other("store is not set up to for delete")),
            Delete::Rename => fs::rename(&path, self.dir.join(format!("{name}.{EXTENSION}.deleted"))),
            Delete::Remove => fs::remove_file(&path),
        };
        match done {
            Ok(()) => self.sync()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        index.remove(name);
        Ok(())
    }

    /// All accounts whose tokens are there.
    pub(super) fn names(&self) -> Vec<String> {
        self.index.lock().keys().cloned().collect()
    }

    /// One digest for all tokens, whatever their order.
    pub(super) fn hash(&self) -> Hash {
        let mut all = Hash::default();
        for one in self.index.lock().values() {
            all.iter_mut().zip(one).for_each(|(all, one)| *all ^= one);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> String {
        nkeys::KeyPair::new_account().public_key()
    }

    #[test]
    fn tokens_are_kept_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (key(), key());
        let store = Store::open(&folder.path().join("jwt"), Some(1), Delete::Rename).unwrap();
        assert_eq!(store.hash(), Hash::default());
        assert!(store.load(&a).unwrap().is_none());
        let jwt = Encoded::new("x.y.z");
        assert!(store.save(&a, &jwt).unwrap() && !store.save(&a, &jwt).unwrap());
        assert_eq!(store.load(&a).unwrap(), Some(jwt.clone()));
        assert_eq!(store.hash(), hash("x.y.z"));
        assert_eq!(store.save(&b, &jwt).unwrap_err().to_string(), "jwt store is full");
        for name in ["../x", "", "A", "x.y"] {
            assert!(store.save(name, &jwt).is_err() && store.load(name).is_err() && store.delete(name).is_err());
        }
        // As it is found at the next start, with what others left there.
        fs::write(folder.path().join("jwt/notes.txt"), "x").unwrap();
        fs::write(folder.path().join("jwt/notes.jwt"), "x").unwrap();
        let store = Store::open(&folder.path().join("jwt"), None, Delete::Rename).unwrap();
        assert_eq!(store.names(), std::slice::from_ref(&a));
        fs::write(folder.path().join(format!("jwt/{b}.jwt")), "o.t.h\n").unwrap();
        assert_eq!(store.read_again().unwrap(), std::slice::from_ref(&b));
        store.delete(&a).unwrap();
        store.delete(&a).unwrap();
        assert_eq!(store.names(), std::slice::from_ref(&b));
        assert!(folder.path().join(format!("jwt/{a}.jwt.deleted")).exists());
        let store = Store::open(&folder.path().join("jwt"), None, Delete::Never).unwrap();
        assert!(!store.deletes() && store.delete(&b).is_err());
        assert_eq!(store.names(), [b]);
    }
}
