//! The table of the JetStream API in `docs/compatibility.md`: every row is a test, and the document says what they show.
//!
//! A row asks a server for one thing (a subject, a field, a header, a status, an advisory) and answers with what it found: that it
//! does what it is for, or how it is refused. A row that finds anything else fails. When all have been asked, the table must
//! be what stands in the document; `SUBLOG_REWRITE_DOCS=1` writes it there.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests report by panicking")]

mod advisories;
mod api;
mod asking;
mod consumer_config;
mod consumer_info;
mod direct;
mod publish;
mod status;
mod stream_config;
mod stream_info;

use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use asking::Asking;
use sublog_tests::TestServer;

/// What a row has found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown {
    /// It does what it is for.
    There,
    /// It is refused with this error, which names it.
    Refused(u64),
    /// It does something else.
    Differs(&'static str),
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::There => f.write_str("there"),
            Self::Refused(code) => write!(f, "refused ({code})"),
            Self::Differs(how) => f.write_str(how),
        }
    }
}

/// A name and the test of it.
type Row = (&'static str, fn(&mut Asking) -> Shown);

/// The parts of the table.
const PARTS: &[(&str, &str, &[Row])] = &[
    ("Requests", "`$JS.API.` and", api::ROWS),
    ("Stream configuration", "field", stream_config::ROWS),
    ("Stream information", "field", stream_info::ROWS),
    ("Consumer configuration", "field", consumer_config::ROWS),
    ("Consumer information", "field", consumer_info::ROWS),
    ("Publishing", "header", publish::ROWS),
    ("Statuses", "status", status::ROWS),
    ("Direct get", "header or field", direct::ROWS),
    ("Advisories", "`$JS.EVENT.` and", advisories::ROWS),
];

/// Between these lines of the document stands the table.
const BEGIN: &str = "<!-- conformance: written by tests/tests/conformance -->";
const END: &str = "<!-- end of conformance -->";

#[test]
fn the_document_says_what_the_server_does() {
    let server = TestServer::start(env!("CARGO_BIN_EXE_sublog-under-test"), &[]);
    let mut table = String::new();
    let mut failed = Vec::new();
    for (part, head, rows) in PARTS {
        let mut shown = Vec::new();
        for (name, test) in *rows {
            // A client of its own each: what one leaves unread is none of the next one's.
            let asked = std::panic::catch_unwind(AssertUnwindSafe(|| test(&mut Asking::new(&server))));
            match asked {
                Ok(found) => shown.push((*name, found)),
                Err(_) => failed.push(format!("{part}: {name}")),
            }
        }
        write_part(&mut table, part, head, &shown);
    }
    assert!(failed.is_empty(), "{} rows failed: {failed:#?}", failed.len());
    compare(&table);
}

/// One part: a line for all that is simply there, and a table of what differs.
fn write_part(table: &mut String, part: &str, head: &str, shown: &[(&str, Shown)]) {
    let there = shown.iter().filter(|(_, found)| *found == Shown::There).count();
    writeln!(table, "\n### {part}: {there} of {} there\n", shown.len()).unwrap();
    writeln!(table, "| {head} | |\n|---|---|").unwrap();
    // What is shown alike stands in one row.
    let mut kinds: Vec<&Shown> = Vec::new();
    for (_, found) in shown {
        if !kinds.contains(&found) {
            kinds.push(found);
        }
    }
    kinds.sort_by_key(|kind| **kind != Shown::There);
    for kind in kinds {
        let names: Vec<String> =
            shown.iter().filter(|(_, found)| found == kind).map(|(name, _)| format!("`{name}`")).collect();
        writeln!(table, "| {} | {kind} |", names.join(", ")).unwrap();
    }
}

fn compare(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compatibility.md");
    let document = std::fs::read_to_string(&path).expect("the document");
    let (before, rest) = document.split_once(BEGIN).expect("the document has a place for the table");
    let (there, after) = rest.split_once(END).expect("the document says where the table ends");
    let table = format!("\n{table}\n");
    if there == table {
        return;
    }
    if std::env::var_os("SUBLOG_REWRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).expect("the document can be written");
        return;
    }
    let differs = table.lines().filter(|line| !there.contains(line)).collect::<Vec<_>>().join("\n");
    panic!("docs/compatibility.md says something else (SUBLOG_REWRITE_DOCS=1 rewrites it); the tests show:\n{differs}");
}
