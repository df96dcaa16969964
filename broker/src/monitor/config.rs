//! Which configuration the server runs by: when it was read, and the fingerprint of its values.

use std::time::SystemTime;

use parking_lot::RwLock;

use crate::clock;

/// See the module.
#[derive(Debug)]
pub struct Config(RwLock<(SystemTime, String)>);

impl Default for Config {
    fn default() -> Self {
        Self(RwLock::new((clock::wall(), String::new())))
    }
}

impl Config {
    /// A configuration was taken over just now; without a file the fingerprint is empty.
    pub fn loaded(&self, digest: String) {
        *self.0.write() = (clock::wall(), digest);
    }

    /// When that was, and the fingerprint.
    #[must_use]
    pub fn last(&self) -> (SystemTime, String) {
        self.0.read().clone()
    }
}
