//! The grammar of configuration files against what a real nats-server made of the same texts.
//!
//! `conf_golden/cases.txt` holds the texts and the verdicts (`conf_golden/refresh.py` asks a nats-server again): whether
//! a file is taken, and the fingerprint of its values, which is ours as well. Where we differ on purpose, the case says so.

#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sublog_broker::conf::{Source, digest};

/// Lines after a case whose title has `[V]`: they use V, so that any value may stand there.
const USE: &str = "\nport: $V\nport: 4222\n";

struct Case {
    title: String,
    nats: String,
    /// Our own verdict, where it is another one, with the reason.
    ours: Option<String>,
    text: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conf_golden")
}

fn cases() -> Vec<Case> {
    let all = std::fs::read_to_string(folder().join("cases.txt")).unwrap();
    let read = |case: &str| {
        let (title, mut text) = case.split_once('\n').unwrap();
        let (mut nats, mut ours) = (String::new(), None);
        while let Some(rest) = text.strip_prefix("## ") {
            let (mark, tail) = rest.split_once('\n').unwrap();
            match mark.split_once(' ').unwrap() {
                ("nats", verdict) => verdict.clone_into(&mut nats),
                ("sublog", verdict) => ours = Some(verdict.to_owned()),
                other => panic!("{title}: {other:?}"),
            }
            text = tail;
        }
        let mut text = text.to_owned();
        if title.contains("[cut]") && text.ends_with('\n') {
            text.pop();
        }
        if title.contains("[V]") {
            text.push_str(USE);
        }
        if title.contains("[crlf]") {
            text = text.replace('\n', "\r\n");
        }
        Case { title: title.to_owned(), nats, ours, text }
    };
    all.split("#### ").skip(1).map(read).collect()
}

#[test]
fn files_are_read_as_nats_server_reads_them() {
    let environment: HashMap<String, String> = std::fs::read_to_string(folder().join("environment.txt"))
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let env = |name: &str| environment.get(name).cloned();
    let dir = folder();
    let source = Source { name: "case.conf", dir: &dir, env: &env };
    let (mut wrong, mut same, mut differ) = (Vec::new(), 0, 0);
    for case in cases() {
        let parsed = source.parse(case.text.as_bytes());
        let verdict = match &parsed {
            Ok(map) => digest(map),
            Err(error) => {
                let text = error.to_string();
                assert!(!text.contains('\n'), "{}: {text}", case.title);
                "refused".to_owned()
            }
        };
        let fits = match &case.ours {
            // The reason stands behind the verdict.
            Some(ours) => ours.starts_with(&format!("{verdict}: ")) && verdict != case.nats,
            None => verdict == case.nats,
        };
        match (fits, case.ours.is_some()) {
            (true, false) => same += 1,
            (true, true) => differ += 1,
            (false, _) => {
                let error = parsed.err().map(|error| error.to_string()).unwrap_or_default();
                wrong.push(format!("{}: {verdict} {error} (nats: {}, here: {:?})", case.title, case.nats, case.ours));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(same > 250 && differ < same / 6, "{same} agree, {differ} differ");
}
