//! Every key of a configuration: what the program says of it, and what a server does with it.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use sublog_broker::conf::settings::{Block, Key, Kind, keys};
use tempfile::TempDir;

use crate::observed::{Observed, Reload, differences, look, reload};
use crate::running::{Running, binary, run};
use crate::samples::{FLAGS, Sample, sample, write_files};

/// Keys whose error is their refusal: they are read further than others.
const READ_FURTHER: &[&str] = &["tls.verify_cert_and_check_known_urls"];

/// What was found of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    /// It has an effect: how that is changed, and where it is seen.
    Honoured { on_reload: bool, seen: Vec<&'static str> },
    /// A warning says why not.
    Warned(String),
    /// The server does not start with it.
    Refused(String),
}

/// What the program says of a file, without serving.
fn judge(folder: &TempDir, path: &str, name: &str, sample: &Sample) -> Result<Option<Found>, String> {
    std::fs::write(folder.path().join("t.conf"), &sample.with).unwrap();
    let output = run(folder.path(), &["-t", "-c", "t.conf"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let why = |words: &str| {
        let line = text.lines().find(|line| line.contains(&format!("{name}{words}")))?;
        Some(line.split_once(words)?.1.to_owned())
    };
    if output.status.success() {
        return match why(" has no effect: ") {
            Some(why) => Ok(Some(Found::Warned(why))),
            None if text.contains("warning: ") => Err(text),
            None => Ok(None),
        };
    }
    match why(" is not supported: ") {
        Some(why) => Ok(Some(Found::Refused(why))),
        None if READ_FURTHER.contains(&path) => why(" ").map(|why| Some(Found::Refused(why))).ok_or(text),
        None => Err(text),
    }
}

fn folder() -> TempDir {
    let folder = TempDir::with_prefix("sublog-key-").unwrap();
    write_files(folder.path());
    folder
}

fn start(text: &str, without_flags: &[&str]) -> Result<Running, String> {
    let folder = folder();
    std::fs::write(folder.path().join("t.conf"), text).unwrap();
    let mut args = vec!["-c", "t.conf"];
    for (flag, value) in FLAGS.iter().filter(|(flag, _)| !without_flags.contains(flag)) {
        args.extend([*flag, *value]);
    }
    Running::start(&binary(), folder, &args, &[("TZ", "XYZ5")])
}

/// What a server does with the key.
fn try_out(sample: &Sample, bases: &mut BTreeMap<String, Observed>) -> Result<Found, String> {
    let base = bases.entry(sample.without.clone()).or_insert_with(|| look(&start(&sample.without, &[]).unwrap(), ""));
    let server = match start(&sample.with, sample.hidden_by) {
        Ok(server) => server,
        // A machine without the system's log: it was looked for.
        Err(text) if text.contains("syslog") => return Ok(Found::Honoured { on_reload: true, seen: vec!["log"] }),
        Err(text) => return Err(text),
    };
    let with = look(&server, &sample.with);
    let seen = differences(base, &with);
    let reloaded = reload(&server, &sample.without);
    if reloaded == Reload::Same && seen.is_empty() {
        return Err("the server does not tell a file with it from one without it".to_owned());
    }
    Ok(Found::Honoured { on_reload: reloaded == Reload::Applied, seen })
}

struct Row {
    names: Vec<&'static str>,
    is_block: bool,
    found: Found,
}

/// What is found of a key under all of its names.
fn look_at(path: &str, key: &Key, bases: &mut BTreeMap<String, Observed>) -> Result<Found, String> {
    let folder = folder();
    let first = key.names[0];
    let full = if path.is_empty() { first.to_owned() } else { format!("{path}.{first}") };
    let mut said = None;
    for name in key.names {
        let judged = judge(&folder, &full, name, &sample(path, first, name, &key.kind))?;
        match &said {
            None => said = Some(judged),
            Some(first) if *first == judged => {}
            Some(first) => return Err(format!("{name} is {judged:?}, its other name {first:?}")),
        }
    }
    match said.flatten() {
        Some(found) => Ok(found),
        None => try_out(&sample(path, first, first, &key.kind), bases),
    }
}

/// The table, and what could not be found out.
pub(crate) fn table() -> (String, Vec<String>) {
    let (mut text, mut failed) = (String::new(), Vec::new());
    let mut known: HashSet<*const Block> = HashSet::new();
    let mut queue: Vec<(String, &'static Block)> = vec![(String::new(), &keys::TOP)];
    let mut bases = BTreeMap::new();
    while !queue.is_empty() {
        let (path, block) = queue.remove(0);
        if !known.insert(std::ptr::from_ref(block)) {
            continue;
        }
        let mut rows = Vec::new();
        for key in block.keys {
            let full = if path.is_empty() { key.names[0].to_owned() } else { format!("{path}.{}", key.names[0]) };
            match look_at(&path, key, &mut bases) {
                Ok(found) => {
                    let blocks = key.kind.blocks();
                    if matches!(found, Found::Honoured { .. }) {
                        queue.extend(blocks.iter().map(|block| (full.clone(), *block)));
                    }
                    let is_block = !blocks.is_empty() && !matches!(key.kind, Kind::Each(_));
                    rows.push(Row { names: key.names.to_vec(), is_block, found });
                }
                Err(error) => failed.push(format!("{full}: {error}")),
            }
        }
        write_block(&mut text, &path, &rows);
    }
    (text, failed)
}

fn write_block(text: &mut String, path: &str, rows: &[Row]) {
    let title = if path.is_empty() { "Keys".to_owned() } else { format!("Keys of `{path}`") };
    let honoured = rows.iter().filter(|row| matches!(row.found, Found::Honoured { .. })).count();
    writeln!(text, "\n### {title}: {honoured} of {} honoured\n", rows.len()).unwrap();
    writeln!(text, "| key | | seen in |\n|---|---|---|").unwrap();
    let mut kinds: Vec<&Found> = Vec::new();
    for row in rows {
        if !kinds.contains(&&row.found) {
            kinds.push(&row.found);
        }
    }
    kinds.sort();
    for kind in kinds {
        let names = |row: &Row| {
            let names: Vec<String> = row.names.iter().map(|name| format!("`{name}`")).collect();
            let inside = if row.is_block && !matches!(kind, Found::Honoured { .. }) { " and all in it" } else { "" };
            names.join("/") + inside
        };
        let names: Vec<String> = rows.iter().filter(|row| row.found == *kind).map(names).collect();
        let (what, seen) = match kind {
            Found::Honoured { on_reload, seen } => {
                let when = if *on_reload { "honoured, changes on HUP" } else { "honoured, changes at a restart" };
                let mut seen = seen.clone();
                seen.push(if *on_reload { "HUP" } else { "HUP that names it" });
                (when.to_owned(), seen.join(", "))
            }
            Found::Warned(why) => (format!("warned about: {why}"), String::new()),
            Found::Refused(why) => (format!("refused: {why}"), String::new()),
        };
        writeln!(text, "| {} | {what} | {seen} |", names.join(", ")).unwrap();
    }
}
