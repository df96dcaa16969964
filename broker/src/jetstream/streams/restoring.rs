//! Streams that are being restored: a log in a folder aside until all of it is there.
//!
//! The folder is called `<name>.<created>.restored`. When the log in it is whole and closed, the stream's definition is written;
//! from then on the stream is there, and the folder gets its real name. A start after a crash between the two gives it that name
//! ([`finish_or_remove`]); without such a definition the folder is removed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sublog_storage::{Definition, Limits as LogLimits, LogOptions};

use super::{Declared, Streams, sync_parent};
use crate::clock;
use crate::jetstream::config::StreamConfig;
use crate::jetstream::config::stream::StorageType;
use crate::jetstream::definition;
use crate::jetstream::errors::ApiError;
use crate::jetstream::store::StreamLog;
use crate::router::Router;

/// What the folder of a stream is called that is not there yet. No stream's name has a dot.
const RESTORED: &str = ".restored";

/// A stream that is being restored. Dropped, it leaves nothing.
pub struct Restoring {
    config: StreamConfig,
    created_ns: i64,
    dir: PathBuf,
    log: Arc<StreamLog>,
}

impl Restoring {
    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Arc<StreamLog> {
        &self.log
    }
}

impl Drop for Restoring {
    fn drop(&mut self) {
        // Whatever it holds is not wanted, or is elsewhere by now.
        let _ = self.log.log().close();
        match std::fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!("{} is removed at the next start: {error}", self.dir.display());
            }
            _ => {}
        }
    }
}

/// What a start does with the folder `file_name`, if it is one of a stream that was being restored.
pub(super) fn finish_or_remove(streams: &Path, file_name: &str, definitions: &[Definition]) -> std::io::Result<()> {
    let Some((name, created_ns)) = file_name.strip_suffix(RESTORED).and_then(|rest| rest.split_once('.')) else {
        return Ok(());
    };
    let from = streams.join(file_name);
    let is_it = |one: &Definition| one.name == name && one.created_ns.to_string() == created_ns;
    if !definitions.iter().any(is_it) {
        return std::fs::remove_dir_all(from);
    }
    let to = streams.join(name);
    std::fs::rename(from, &to).and_then(|()| sync_parent(&to))
}

impl Streams {
    /// Whether a stream may be restored as this one.
    ///
    /// # Errors
    /// What the client is told.
    pub fn check_restore(&self, config: StreamConfig) -> Result<StreamConfig, ApiError> {
        let limits = self.limits();
        let mut config = definition::requested(config)?.checked(&limits, false)?;
        let all = self.all();
        config.check_copies(all.iter().map(|declared| &*declared.config), &limits.domain, false)?;
        if config.num_replicas > 1 {
            return Err(ApiError::stream_replicas_not_supported());
        }
        self.check_place(&config)?;
        Ok(config)
    }

    /// Whether there is room beside the other streams.
    fn check_place(&self, config: &StreamConfig) -> Result<(), ApiError> {
        let all = self.all();
        if all.iter().any(|declared| declared.config.name == config.name) {
            return Err(ApiError::stream_name_exist_restore_failed());
        }
        config.check_overlap(all.iter().map(|declared| &*declared.config))
    }

    /// Begins to restore a stream that was created then.
    ///
    /// # Errors
    /// What the client is told.
    pub fn restoring(&self, config: StreamConfig, created_ns: i64) -> Result<Restoring, ApiError> {
        if config.storage == StorageType::Memory {
            return Err(ApiError::stream_restore("streams in memory cannot be restored"));
        }
        let created_ns = Some(created_ns).filter(|ns| *ns > 0).unwrap_or_else(clock::unix_ns);
        let dir = self.place.streams().join(format!("{}.{created_ns}{RESTORED}", config.name));
        if let Err(error) = std::fs::create_dir_all(self.place.streams()).and_then(|()| std::fs::create_dir(&dir)) {
            tracing::warn!("{} cannot be made: {error}", dir.display());
            return Err(match error.kind() {
                std::io::ErrorKind::AlreadyExists => ApiError::stream_restore("the stream is being restored already"),
                _ => ApiError::temp_storage_failed(),
            });
        }
        let options = config.log_options(self.stores.sync);
        // What is over a limit goes when it is the stream's log: here a limit that refuses would end the restore.
        let reserve = Some(Arc::clone(self.stores.data.reserve()));
        let options = LogOptions { reserve, limits: LogLimits::default(), ..options };
        match StreamLog::open(&config.name, &dir, options, Some(&self.stores.pool), &self.stores.runtime) {
            Ok((log, _)) => Ok(Restoring { config, created_ns, dir, log }),
            Err(error) => {
                tracing::error!("The log of a stream to be restored cannot be made: {error}");
                let _ = std::fs::remove_dir_all(&dir);
                Err(ApiError::temp_storage_failed())
            }
        }
    }

    /// The stream is whole: from now on it is there.
    ///
    /// # Errors
    /// What the client is told.
    pub fn restored(&self, restoring: Restoring, router: &Router) -> Result<Declared, ApiError> {
        let _changing = self.changing.lock();
        let Restoring { config, created_ns, dir, log } = &restoring;
        self.check_place(config)?;
        let failed = |why: &dyn std::fmt::Display| {
            tracing::error!(stream = config.name, "The stream cannot be restored: {why}");
            ApiError::stream_restore("the stream's log cannot be made")
        };
        log.log().close().map_err(|e| failed(&e))?;
        let to = self.dir(config);
        if std::fs::read_dir(&to).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(failed(&format_args!("{} holds something already", to.display())));
        }
        self.keep(config, *created_ns).map_err(ApiError::stream_restore)?;
        let moved = std::fs::rename(dir, &to).and_then(|()| sync_parent(&to)).map_err(|e| failed(&e));
        let opened = moved.and_then(|()| self.open_log(config).map_err(|e| failed(&e)));
        let log = match opened {
            Ok(log) => log,
            Err(error) => {
                if let Err(error) = self.stores.meta.remove_definition(&self.place.kept(&config.name)) {
                    tracing::error!(stream = config.name, "Its definition cannot be removed: {error}");
                }
                let _ = std::fs::remove_dir_all(&to);
                return Err(error);
            }
        };
        let declared = self.declare(config.clone(), *created_ns, Ok(log));
        declared.stream.remember(clock::unix_ns());
        router.change_sink(&declared.stream, &[], &declared.config.subjects);
        self.table.write().insert(declared.clone());
        self.changes.fetch_add(1, Ordering::Release);
        Ok(declared)
    }
}
