//! The data directory, and what a server has that keeps nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sublog_storage::{DataDir, Meta, ServerIdentity};

use super::lifecycle::ServeError;
use crate::clock;
use crate::config::ServerOptions;

/// How the folders of servers that keep nothing are called; what follows is their process id.
const UNKEPT: &str = "sublog-unkept-";

/// What is in a data directory.
pub(super) struct Opened {
    pub(super) data: Arc<DataDir>,
    pub(super) meta: Arc<Meta>,
    /// The server's identity.
    pub(super) id: String,
    /// Dropped last of them.
    pub(super) _unkept: Option<Unkept>,
}

/// Takes the data directory, what is kept of small things in it, and the server's identity. A server without streams and
/// without recording takes none of an operator's: it gets one of its own that goes with it, as nats-server leaves no trace then.
pub(super) fn open(options: &ServerOptions) -> Result<Opened, ServeError> {
    let keeps = options.jetstream || options.capture.enabled;
    let unkept = if keeps { None } else { Some(Unkept::new()?) };
    let root = unkept.as_ref().map_or(&options.store_dir, |unkept| &unkept.0);
    let data = DataDir::open(root)?;
    let meta = Meta::open(&data.meta())?.with_reserve(Arc::clone(data.reserve()));
    let id = match meta.identity()? {
        Some(identity) => identity.id,
        None => {
            let id = new_identity();
            meta.put_identity(&ServerIdentity { id: id.clone(), created_ns: clock::unix_ns() })?;
            id
        }
    };
    Ok(Opened { data: Arc::new(data), meta: Arc::new(meta), id, _unkept: unkept })
}

/// A public key of the kind that names servers. Nothing is signed with it, so the private half is not kept.
fn new_identity() -> String {
    nkeys::KeyPair::new_server().public_key()
}

/// A folder that is removed with this.
pub(super) struct Unkept(PathBuf);

impl Unkept {
    fn new() -> Result<Self, ServeError> {
        let base = std::env::temp_dir();
        sweep(&base);
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random).map_err(|error| ServeError::Runtime(io::Error::other(error)))?;
        let path = base.join(format!("{UNKEPT}{}-{:016x}", std::process::id(), u64::from_le_bytes(random)));
        // Nobody else's, and not there yet: others may write into the folder around it.
        use std::os::unix::fs::DirBuilderExt as _;
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|source| ServeError::File { path: path.clone(), source })?;
        Ok(Self(path))
    }
}

impl Drop for Unkept {
    fn drop(&mut self) {
        // What is left goes with the next start.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Removes the folders of those that were killed: ours, of processes that are gone.
fn sweep(base: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    let own = rustix::process::getuid().as_raw();
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some((pid, _)) = name.to_str().and_then(|n| n.strip_prefix(UNKEPT)).and_then(|n| n.split_once('-')) else {
            continue;
        };
        let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) else { continue };
        let is_ours = entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == own);
        let is_gone = rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH);
        if is_ours && is_gone {
            // Another server may be doing the same.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
