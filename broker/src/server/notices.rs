//! The files that tell other programs where the server is: its process id and its ports.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::lifecycle::ServeError;
use crate::config::{HandshakeFirst, ServerOptions};

/// Files that say where the server is, removed when it ends.
#[derive(Default)]
pub(super) struct Notices(Vec<PathBuf>);

impl Notices {
    /// Writes all of them, or none; what `older` ones have written stays in any case.
    pub(super) fn write(
        options: &ServerOptions,
        address: SocketAddr,
        monitor: Option<SocketAddr>,
        websocket: Option<SocketAddr>,
        older: Option<&Self>,
    ) -> Result<Self, ServeError> {
        let mut notices = Self::default();
        let written = notices.fill(options, address, monitor, websocket);
        if let (Err(_), Some(older)) = (&written, older) {
            notices.0.retain(|path| !older.0.contains(path));
        }
        written.map(|()| notices)
    }

    fn fill(
        &mut self,
        options: &ServerOptions,
        address: SocketAddr,
        monitor: Option<SocketAddr>,
        websocket: Option<SocketAddr>,
    ) -> Result<(), ServeError> {
        let pid = std::process::id();
        if let Some(path) = &options.pid_file {
            self.file(path.clone(), &pid.to_string())?;
        }
        if let Some(dir) = &options.ports_file_dir {
            let scheme = if options.monitor_tls { "https" } else { "http" };
            let monitoring: Vec<String> = monitor.iter().map(|address| format!("{scheme}://{address}")).collect();
            let always_first = options.tls.as_ref().is_some_and(|tls| tls.first == HandshakeFirst::Yes);
            let tls = options.tls.is_some() && (!options.allow_non_tls || always_first);
            let mut ports = serde_json::json!({
                "nats": [format!("{}://{address}", if tls { "tls" } else { "nats" })],
                "monitoring": monitoring,
            });
            if let (Some(address), Some(port), Some(ports)) = (websocket, &options.websocket, ports.as_object_mut()) {
                let scheme = if port.tls.is_some() { "wss" } else { "ws" };
                ports.insert("websocket".to_owned(), serde_json::json!([format!("{scheme}://{address}")]));
            }
            self.file(dir.join(format!("{}_{pid}.ports", options.called.name())), &ports.to_string())?;
        }
        Ok(())
    }

    fn file(&mut self, path: PathBuf, content: &str) -> Result<(), ServeError> {
        std::fs::write(&path, content).map_err(|source| ServeError::File { path: path.clone(), source })?;
        self.0.push(path);
        Ok(())
    }

    /// Takes the place of others, of which those that are not among these are removed.
    pub(super) fn replace(self, old: &mut Self) {
        let mut outdated = std::mem::replace(old, self);
        outdated.0.retain(|path| !old.0.contains(path));
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        for path in &self.0 {
            // Somebody else may have tidied up already.
            let _ = std::fs::remove_file(path);
        }
    }
}
