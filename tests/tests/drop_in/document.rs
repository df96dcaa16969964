//! The table in `docs/compatibility.md` is what the tests find; `SUBLOG_REWRITE_DOCS=1` writes it there.

use std::path::Path;

use crate::{flags, keys, signals};

/// Between these lines of the document stands the table.
const BEGIN: &str = "<!-- drop-in: written by tests/tests/drop_in -->";
const END: &str = "<!-- end of drop-in -->";

#[test]
fn the_document_says_what_flags_keys_and_signals_do() {
    let flags = std::thread::spawn(flags::table);
    let signals = std::thread::spawn(signals::table);
    let (keys, mut failed) = keys::table();
    let (flags, wrong) = flags.join().unwrap();
    failed.extend(wrong);
    assert!(failed.is_empty(), "{} could not be found out:\n{}", failed.len(), failed.join("\n"));
    let table = format!("\n{flags}{}{keys}\n", signals.join().unwrap());

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compatibility.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).expect("the document has a place for the table");
    let (there, after) = rest.split_once(END).expect("the document says where the table ends");
    if there == table {
        return;
    }
    if std::env::var_os("SUBLOG_REWRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    let differs = table.lines().filter(|line| !there.contains(line)).collect::<Vec<_>>().join("\n");
    panic!("docs/compatibility.md says something else (SUBLOG_REWRITE_DOCS=1 rewrites it); the tests show:\n{differs}");
}
