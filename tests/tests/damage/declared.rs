//! Damage in declared streams that nobody reads: found like the capture stream's, and told by stream.

use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use sublog_tests::{TestServer, clock, http};

use crate::server;

const STREAMS: usize = 12;

fn state(server: &TestServer, name: &str) -> Value {
    let all = server.monitor("/streamz");
    let found = all["streams"].as_array().unwrap().iter().find(|stream| stream["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {all}")).clone()
}

fn segments(server: &TestServer, name: &str) -> Vec<PathBuf> {
    let dir = server.data_dir().join("streams").join(name);
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|kind| kind == "seg")).collect();
    files.sort();
    files
}
