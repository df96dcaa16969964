//! The declared streams there are, and how they come and go.
//!
//! What is declared is in the metadata before it is at work. The folder of a stream that is deleted gets a name that says so
//! before the definition goes, and is removed last: a crash leaves a stream whole or gone. Changes come from one thread, the API's.

pub mod place;
pub mod restoring;
mod table;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use sublog_storage::{Definition, Log, LogError, LogOptions, OpenError, Operation};

use self::place::{Place, Stores};
use self::table::Table;
use super::config::stream::StorageType;
use super::config::stream::admit::Creation;
use super::config::{Limits, StreamConfig, json};
use super::definition;
use super::errors::ApiError;
use super::store::StreamLog;
use super::stream::{Stream, rollup};
use crate::clock;
use crate::router::Router;

/// Streams opened at the same time at the start. They wait for the disk most of the time.
const OPENED_AT_ONCE: usize = 8;
/// What a deleted stream's folder is called until it is gone. No stream's name has a dot.
const DELETED: &str = ".deleted";

/// A declared stream and what it is declared to be.
#[derive(Clone)]
pub struct Declared {
    /// The stream at work.
    pub stream: Arc<Stream>,
    /// What it is declared to be.
    pub config: Arc<StreamConfig>,
    /// Created, nanoseconds since 1970.
    pub created_ns: i64,
}

/// See the module.
pub struct Streams {
    stores: Arc<Stores>,
    place: Place,
    table: RwLock<Table>,
    /// One change at a time.
    changing: Mutex<()>,
    /// How often streams came and went.
    changes: AtomicU64,
    limits: RwLock<Limits>,
}

impl Streams {
    /// The streams of one account, none of which is open yet.
    #[must_use]
    pub fn new(stores: Arc<Stores>, account: &str) -> Self {
        Self {
            place: Place::of(&stores, account),
            stores,
            table: RwLock::default(),
            changing: Mutex::default(),
            changes: AtomicU64::new(0),
            limits: RwLock::default(),
        }
    }

    /// What its streams and consumers may be.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits.read().clone()
    }

    /// Sets what streams and consumers may be from now on.
    pub fn limit(&self, limits: Limits) {
        *self.limits.write() = limits;
    }

    /// Under which name a stream of this name is kept in the metadata.
    #[must_use]
    pub fn kept(&self, stream: &str) -> String {
        self.place.kept(stream)
    }

    /// Opens all streams that were declared, several at a time: after a crash each log waits for the disk more than once. One
    /// that cannot be opened is there all the same, and says why.
    pub fn open(&self, router: &Router) {
        self.tidy();
        let mut definitions = Vec::new();
        for definition in self.stores.meta.definitions() {
            match definition {
                Ok(definition) => definitions.extend(self.place.own(definition)),
                Err(error) => {
                    tracing::error!("A stream's definition cannot be read, the stream is left alone: {error}");
                }
            }
        }
        let at_once = definitions.len().min(OPENED_AT_ONCE);
        let left = Mutex::new(definitions.into_iter());
        let next = || left.lock().next();
        let open = || {
            while let Some(definition) = next() {
                self.reopen(&definition, router);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..at_once {
                // Those that the system does not give are done without.
                let _ = std::thread::Builder::new().name("sublog-open".to_owned()).spawn_scoped(scope, open);
            }
            open();
        });
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Ends deletions that a crash interrupted, and removes what was kept in memory only.
    fn tidy(&self) {
        let all = self.stores.meta.definitions().into_iter().flatten();
        let definitions: Vec<Definition> = all.filter_map(|definition| self.place.own(definition)).collect();
        for entry in std::fs::read_dir(self.place.streams()).into_iter().flatten().flatten() {
            let file_name = entry.file_name().to_string_lossy().into_owned();
            if let Err(error) = restoring::finish_or_remove(&self.place.streams(), &file_name, &definitions) {
                tracing::warn!("{} of a restored stream cannot be put in its place: {error}", entry.path().display());
            }
            let Some((name, created_ns)) = file_name.strip_suffix(DELETED).and_then(|rest| rest.split_once('.')) else {
                continue;
            };
            let declared = definitions.iter().find(|definition| definition.name == name);
            let removed = match declared {
                Some(definition) if definition.created_ns.to_string() == created_ns => {
                    self.stores.meta.remove_definition(&self.place.kept(name)).map_err(|e| e.to_string())
                }
                _ => Ok(()),
            };
            if let Err(error) = removed.and_then(|()| std::fs::remove_dir_all(entry.path()).map_err(|e| e.to_string()))
            {
                tracing::warn!("{} of a deleted stream cannot be removed: {error}", entry.path().display());
            }
        }
        match std::fs::remove_dir_all(self.place.memory()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("Streams in memory of the last run cannot be removed: {error}");
            }
            _ => {}
        }
    }

    fn reopen(&self, definition: &Definition, router: &Router) {
        let name = &definition.name;
        let config: StreamConfig = match json::parse(&definition.body, json::Unknown::Ignore) {
            Ok(config) => config,
            Err(error) => {
                tracing::error!(stream = name, "The stream's definition cannot be read, it is left alone: {error}");
                return;
            }
        };
        let (log, dir) = (self.open_log(&config), self.dir(&config));
        let log = match log {
            Ok(log) => {
                tracing::info!("  Restored stream '{name}', {} messages", log.log().state().messages);
                Ok(log)
            }
            Err(error) => {
                tracing::error!(stream = name, "The stream is offline, its log cannot be opened: {error}");
                let other = io::Error::other(error.to_string());
                Err(match error {
                    OpenError::Io(error) => error,
                    _ => LogError::from_io(Operation::Open, &dir, None, &other),
                })
            }
        };
        let declared = self.declare(config, definition.created_ns, log);
        declared.stream.remember(clock::unix_ns());
        rollup::finish(&declared.stream);
        router.change_sink(&declared.stream, &[], &declared.config.subjects);
        self.table.write().insert(declared);
    }

    fn dir(&self, config: &StreamConfig) -> PathBuf {
        match config.storage {
            StorageType::File => self.place.streams().join(&config.name),
            StorageType::Memory => self.place.memory().join(&config.name),
        }
    }

    fn open_log(&self, config: &StreamConfig) -> Result<Arc<StreamLog>, OpenError> {
        let stores = &self.stores;
        let reserve = Some(Arc::clone(stores.data.reserve()));
        let options = LogOptions { reserve, ..config.log_options(stores.sync) };
        let opened = StreamLog::open(&config.name, &self.dir(config), options, Some(&stores.pool), &stores.runtime);
        let (log, _) = opened?;
        // Until its stream has read what it has to know.
        log.log().hold_from(0);
        Ok(log)
    }

    fn declare(&self, config: StreamConfig, created_ns: i64, log: Result<Arc<StreamLog>, LogError>) -> Declared {
        let kept = self.place.kept(&config.name);
        let stream = Arc::new(Stream::new(self.stores.next_id(), &config.name, log).kept_as(&kept));
        // Its log was opened with its limits.
        stream.set_rules(&config);
        Declared { stream, config: Arc::new(config), created_ns }
    }

    /// A stream by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Declared> {
        self.table.read().get(name).cloned()
    }

    /// A stream at work by its name.
    #[must_use]
    pub fn stream(&self, name: &str) -> Option<Arc<Stream>> {
        self.table.read().get(name).map(|declared| declared.stream.clone())
    }

    /// How often streams came and went since the server started: as long as it is the same, so are they.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Of up to `limit` streams by name, from the first one behind `after` on, those of which `f` holds; and the last one looked
    /// at, if there may be more.
    #[must_use]
    pub fn those(
        &self,
        after: Option<&str>,
        limit: usize,
        f: impl Fn(&Declared) -> bool,
    ) -> (Vec<Declared>, Option<String>) {
        let table = self.table.read();
        let (mut found, mut seen, mut last) = (Vec::new(), 0, None);
        for declared in table.behind(after).take(limit) {
            seen += 1;
            last = Some(&declared.config.name);
            if f(declared) {
                found.push(declared.clone());
            }
        }
        (found, last.filter(|_| seen == limit).cloned())
    }

    /// Up to `limit` streams by name, from the first one behind `after` on.
    #[must_use]
    pub fn page(&self, after: Option<&str>, limit: usize) -> Vec<Declared> {
        self.table.read().behind(after).take(limit).cloned().collect()
    }

    /// All streams, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Declared> {
        self.table.read().values().cloned().collect()
    }

    /// The streams that one like this has to be held against.
    fn beside(&self, config: &StreamConfig) -> Vec<Declared> {
        // Where copies come from may have any subjects, and so may what lies before it.
        let is_filled = config.mirror.is_some() || !config.sources.is_empty();
        if is_filled { self.all() } else { self.table.read().near(config) }
    }

    /// Makes a stream; one that is just so already is found instead. Whether it was made.
    ///
    /// # Errors
    /// What the client is told.
    pub fn create(&self, config: StreamConfig, pedantic: bool, router: &Router) -> Result<(Declared, bool), ApiError> {
        let _changing = self.changing.lock();
        let name = config.name.clone();
        let near = self.beside(&config);
        let existing = near.iter().map(|declared| &*declared.config);
        let config = match definition::requested(config)?.create(&self.limits(), pedantic, existing)? {
            Creation::There => return Ok((self.get(&name).ok_or_else(ApiError::stream_not_found)?, false)),
            Creation::New(config) => *config,
        };
        let most = self.limits().max_streams;
        if most > 0 && self.table.read().values().count() >= most {
            // Those it was held against are not all there are.
            return Err(ApiError::maximum_streams_limit());
        }
        let dir = self.dir(&config);
        if std::fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some()) {
            tracing::error!("{} holds something that no stream's definition speaks of", dir.display());
            return Err(ApiError::stream_create("the stream's folder is there already and is not empty"));
        }
        let created_ns = clock::unix_ns();
        self.keep(&config, created_ns).map_err(ApiError::stream_create)?;
        let log = self.open_log(&config).map_err(|error| {
            tracing::error!(stream = config.name, "The stream's log cannot be made: {error}");
            if let Err(error) = self.stores.meta.remove_definition(&self.place.kept(&config.name)) {
                tracing::error!(stream = config.name, "Its definition cannot be removed: {error}");
            }
            ApiError::stream_create("the stream's log cannot be made")
        })?;
        let declared = self.declare(config, created_ns, Ok(log));
        router.change_sink(&declared.stream, &[], &declared.config.subjects);
        self.table.write().insert(declared.clone());
        self.changes.fetch_add(1, Ordering::Release);
        Ok((declared, true))
    }

    /// Changes a stream.
    ///
    /// # Errors
    /// What the client is told.
    pub fn update(&self, config: StreamConfig, pedantic: bool, router: &Router) -> Result<Declared, ApiError> {
        let _changing = self.changing.lock();
        let config = definition::requested(config)?;
        let found = self.get(&config.name).ok_or_else(ApiError::stream_not_found)?;
        let near = self.beside(&config);
        let existing = near.iter().map(|declared| &*declared.config);
        let consumers: Vec<_> = found.stream.consumers.all().into_iter().map(|it| (it.clone(), it.config())).collect();
        let consumers = consumers.iter().map(|(consumer, config)| (&*consumer.name, &**config));
        let config = found.config.update(config, &self.limits(), pedantic, existing, consumers)?;
        definition::check_update(&found.config, &config)?;
        self.keep(&config, found.created_ns).map_err(ApiError::stream_update)?;
        found.stream.set_config(&config);
        router.change_sink(&found.stream, &found.config.subjects, &config.subjects);
        let changed = Declared { config: Arc::new(config), ..found };
        self.table.write().insert(changed.clone());
        Ok(changed)
    }

    /// Deletes a stream and what it holds.
    ///
    /// # Errors
    /// What the client is told.
    pub fn delete(&self, name: &str, router: &Router) -> Result<(), ApiError> {
        let _changing = self.changing.lock();
        let found = self.get(name).ok_or_else(ApiError::stream_not_found)?;
        let failed = |why: &dyn std::fmt::Display| {
            tracing::error!(stream = name, "The stream cannot be deleted: {why}");
            ApiError::stream_delete("the stream could not be deleted")
        };
        found.stream.set_gone();
        self.table.write().remove(name);
        self.changes.fetch_add(1, Ordering::Release);
        router.change_sink(&found.stream, &found.config.subjects, &[]);
        if let Some(log) = found.stream.log() {
            // What it held is not wanted any more.
            let _ = log.log().close();
        }
        let dir = self.dir(&found.config);
        let deleted = dir.with_file_name(format!("{name}.{}{DELETED}", found.created_ns));
        // From here on it is deleted, also after a crash: its definition goes when the new name is found.
        let there = match std::fs::rename(&dir, &deleted) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            renamed => renamed.and_then(|()| sync_parent(&deleted)).map(|()| true).map_err(|e| failed(&e))?,
        };
        self.stores.meta.remove_definition(&self.place.kept(name)).map_err(|e| failed(&e))?;
        if there && let Err(error) = std::fs::remove_dir_all(&deleted) {
            tracing::warn!(stream = name, "Files of the deleted stream are removed at the next start: {error}");
        }
        Ok(())
    }

    fn keep(&self, config: &StreamConfig, created_ns: i64) -> Result<(), String> {
        let body = serde_json::to_vec(config).map_err(|e| e.to_string())?;
        let definition = Definition { name: self.place.kept(&config.name), created_ns, body };
        self.stores.meta.put_definition(&definition).map_err(|error| {
            tracing::error!(stream = config.name, "The stream's definition cannot be kept: {error}");
            "the stream's definition could not be kept".to_owned()
        })
    }

    /// Closes all logs, one after the other having been asked.
    ///
    /// # Errors
    /// The first that could not be closed cleanly.
    pub fn close(&self) -> Result<(), LogError> {
        let all = self.all();
        let logs: Vec<&Log> = all.iter().filter_map(|declared| declared.stream.log()).map(|log| log.log()).collect();
        logs.iter().for_each(|log| log.ask_to_close());
        let closed: Vec<_> = logs.iter().map(|log| log.close()).collect();
        closed.into_iter().collect()
    }
}

/// A folder's new name is on disk when this returns.
fn sync_parent(dir: &Path) -> io::Result<()> {
    std::fs::File::open(dir.parent().unwrap_or(dir))?.sync_all()
}
