//! How the code is kept, as a test: what a reviewer should not have to look for.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Lines a file may have, its `#[cfg(test)] mod tests` at the end not counted.
const LINES_MAX: usize = 400;
/// Files that are longer, and how long they may be. A file leaves this list, or its number falls; never the opposite.
const LONGER: &[(&str, usize)] = &[("storage/tests/real_disk.rs", 412), ("storage/tests/scrub.rs", 440)];
/// A file may shrink by this much before its number must follow.
const SLACK: usize = 30;

/// The only files that may hold `unsafe`.
const UNSAFE_IN: &[&str] = &["storage/src/disk/map.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every Rust file of the project, with its path from the root.
fn sources() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for package in ["protocol", "storage", "broker", "tests", "benches", "fuzz"] {
        collect(&root(), &root().join(package), &mut found);
    }
    assert!(found.len() > 80, "only {} files found", found.len());
    found
}

fn collect(root: &Path, dir: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') && name != "node_modules" {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            found.insert(relative, std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// Code without comments and without the text of string literals, good enough to look for words.
fn code(source: &str) -> impl Iterator<Item = &str> {
    source.lines().map(|line| line.split("//").next().unwrap_or_default()).filter(|line| !line.trim().is_empty())
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

#[test]
fn every_file_says_what_it_is_for() {
    for (path, source) in sources() {
        let start =
            if path.starts_with("fuzz/") { source.trim_start_matches("#![no_main]").trim_start() } else { &source };
        assert!(
            start.starts_with("//! ") || path.starts_with("fuzz/") && source.contains("//! "),
            "{path} does not begin with `//! `"
        );
    }
}

#[test]
fn modules_are_files_beside_their_folders() {
    for path in sources().keys() {
        assert!(!path.ends_with("/mod.rs"), "{path}: name it after its folder, beside it");
    }
}

#[test]
fn files_fit_in_a_head() {
    let mut wrong = Vec::new();
    let mut longer: BTreeMap<&str, usize> = LONGER.iter().copied().collect();
    for (path, source) in &sources() {
        let lines = source.lines().take_while(|line| !line.starts_with("mod tests {")).count();
        match longer.remove(path.as_str()) {
            None if lines > LINES_MAX => wrong.push(format!("{path} has {lines} lines, {LINES_MAX} is the most")),
            Some(allowed) if lines > allowed => wrong.push(format!("{path} has grown from {allowed} to {lines} lines")),
            Some(_) if lines <= LINES_MAX => wrong.push(format!("{path} has {lines} lines: take it off the list")),
            Some(allowed) if lines + SLACK < allowed => {
                wrong.push(format!("{path} has shrunk to {lines} lines: so must its number"))
            }
            _ => {}
        }
    }
    wrong.extend(longer.keys().map(|path| format!("{path} is on the list and does not exist")));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_stays_in_its_file() {
    for (path, source) in sources() {
        let has = code(&source).any(|line| {
            ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe trait"]
                .iter()
                .any(|form| line.contains(form))
        });
        let may = UNSAFE_IN.contains(&path.as_str()) || path == "tests/tests/tidy.rs";
        assert!(!has || may, "{path} has unsafe code; the only places for it are {UNSAFE_IN:?}");
    }
}

#[test]
fn the_protocol_does_no_io_and_reads_no_clock() {
    for (path, source) in sources().iter().filter(|(path, _)| path.starts_with("protocol/src/")) {
        for line in code(source) {
            for word in ["std::net", "std::fs", "std::time", "std::thread", "std::process", "std::env", "tokio"] {
                assert!(!line.contains(word), "{path} uses {word}: {line}");
            }
        }
    }
}

#[test]
fn the_storage_is_synchronous_and_knows_no_network() {
    for (path, source) in sources().iter().filter(|(path, _)| path.starts_with("storage/src/")) {
        for line in code(source) {
            for word in ["tokio", "async", "serde_json"] {
                assert!(!has_word(line, word), "{path} uses {word}: {line}");
            }
            assert!(!line.contains("std::net"), "{path} uses the network: {line}");
            let meta = path == "storage/src/meta.rs" || path == "storage/src/error.rs";
            assert!(meta || !line.contains("sled::"), "{path} knows sled, which is meta.rs's business: {line}");
        }
    }
}

/// The dependencies a package builds with, by section of its manifest.
fn dependencies(package: &str, section: &str) -> Vec<String> {
    let manifest = std::fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
    let header = format!("[{section}]");
    let lines = manifest.lines().skip_while(|line| line.trim() != header).skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split(['.', '=', ' ']).next().filter(|name| !name.is_empty()).map(str::to_owned))
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    for (package, may) in [
        ("protocol", &[][..]),
        ("storage", &[]),
        ("broker", &["sublog-protocol", "sublog-storage"]),
        // It measures them.
        ("benches", &["sublog-broker", "sublog-protocol", "sublog-storage"]),
    ] {
        let own: Vec<String> =
            dependencies(package, "dependencies").into_iter().filter(|d| d.starts_with("sublog-")).collect();
        assert!(own.iter().all(|d| may.contains(&d.as_str())), "{package} depends on {own:?}");
    }
    for (package, never) in [
        ("protocol", &["tokio", "bytes", "tempfile", "rustix", "rand"][..]),
        ("storage", &["tokio", "axum", "socket2", "serde_json", "clap"]),
    ] {
        let all = dependencies(package, "dependencies");
        assert!(!all.is_empty() && all.iter().all(|d| !never.contains(&d.as_str())), "{package} depends on {all:?}");
    }
}

#[test]
fn code_asks_for_lint_exceptions_that_are_needed() {
    // `expect` complains once its reason is gone. Tests of several targets share files, where that does not work.
    for (path, source) in sources().iter().filter(|(path, _)| path.contains("/src/")) {
        for (at, line) in source.lines().enumerate() {
            let line = line.trim_start();
            let allows = line.starts_with("#[allow(") || line.starts_with("#![allow(");
            assert!(!allows, "{path}:{}: use #[expect(.., reason)]", at + 1);
        }
    }
}
