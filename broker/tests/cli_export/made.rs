//! Logs with known content, and exports of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, mpsc};

use serde_json::Value;
use sublog_storage::{Log, LogOptions, NoObserver, RealDisk, RecordBatch};

use crate::program::{Folder, PATIENCE, code, error, sublog};

/// 2025-06-01T12:00:00Z in nanoseconds.
pub(crate) const NOON: i64 = 1_748_779_200_000_000_000;

/// One message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) ts_ns: i64,
    pub(crate) subject: String,
    pub(crate) headers: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    pub(crate) fn new(subject: &str, payload: impl Into<Vec<u8>>) -> Self {
        Self { ts_ns: NOON, subject: subject.to_owned(), headers: Vec::new(), payload: payload.into() }
    }
}

/// A data directory with one stream.
pub(crate) struct Data {
    pub(crate) folder: Folder,
    log: Option<Log>,
}

impl Data {
    pub(crate) fn new(name: &str) -> Self {
        let folder = Folder::new(&format!("export-{name}"));
        let options = LogOptions { segment_bytes_first: 1 << 20, segment_bytes_max: 1 << 20, ..LogOptions::default() };
        let dir = folder.0.join("data/streams/CAPTURE");
        let (log, _) = Log::open(RealDisk::shared(), &dir, options, Arc::new(NoObserver)).unwrap();
        Self { folder, log: Some(log) }
    }

    /// With these messages, the log still open.
    pub(crate) fn with(name: &str, messages: &[Message]) -> Self {
        let data = Self::new(name);
        data.append(messages);
        data
    }

    pub(crate) fn log(&self) -> &Log {
        self.log.as_ref().unwrap()
    }

    /// Appends messages and waits until they are on disk.
    pub(crate) fn append(&self, messages: &[Message]) {
        for some in messages.chunks(500) {
            let mut batch = RecordBatch::new();
            for message in some {
                batch.push(message.ts_ns, message.subject.as_bytes(), &message.headers, &message.payload).unwrap();
            }
            let last = self.log().append(&mut batch).unwrap().last_seq;
            let (tell, told) = mpsc::channel();
            self.log().when_committed(last, Box::new(move |result| tell.send(result).unwrap()));
            told.recv_timeout(PATIENCE).unwrap().unwrap();
        }
    }

    /// Closes the log, as at the end of a server.
    pub(crate) fn close(&mut self) {
        self.log.take().unwrap().close().unwrap();
    }

    /// The segment files, oldest first.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.0.join("data/streams/CAPTURE")).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "seg"));
        paths.sort();
        paths
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = sublog();
        command.arg("export").args(args).args(["--data", "data"]).current_dir(&self.folder.0);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// An export that must succeed; its lines on stdout.
    pub(crate) fn lines(&self, args: &[&str]) -> Vec<Value> {
        let output = self.run(&[args, &["--out", "-"]].concat());
        assert_eq!(code(&output), Some(0), "{args:?}: {}", error(&output));
        lines(&output.stdout)
    }

    /// The sequences of an export's lines.
    pub(crate) fn sequences(&self, args: &[&str]) -> Vec<u64> {
        self.lines(args).iter().map(|line| line["sequence"].as_u64().unwrap()).collect()
    }

    /// No part of an export was left behind.
    pub(crate) fn assert_no_part(&self) {
        let names = std::fs::read_dir(&self.folder.0).unwrap().map(|entry| entry.unwrap().file_name());
        let parts: Vec<_> = names.filter(|name| name.to_string_lossy().ends_with(".part")).collect();
        assert!(parts.is_empty(), "{parts:?}");
    }
}

pub(crate) fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn read(path: &Path) -> Vec<Value> {
    lines(&std::fs::read(path).unwrap())
}
