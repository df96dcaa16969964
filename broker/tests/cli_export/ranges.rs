//! Which messages an export takes: filters, positions, limits; and command lines that are refused.

use crate::made::{Data, Message, NOON};
use crate::program::{Server, code, error};

/// A hundred messages, a second apart, every fourth with another subject.
fn hundred(name: &str) -> Data {
    let message = |i: i64| {
        let mut message = Message::new(if i % 4 == 0 { "b.x" } else { "a.x.y" }, format!("{i}"));
        message.ts_ns = NOON + i * 1_000_000_000;
        message
    };
    Data::with(name, &(1..=100).map(message).collect::<Vec<_>>())
}

#[test]
fn filters_positions_and_limits() {
    let data = hundred("ranges");
    let all: Vec<u64> = (1..=100).collect();
    let some = |from: u64, to: u64| all[from as usize - 1..to as usize].to_vec();
    let fourth = |from: u64, to: u64| some(from, to).into_iter().filter(|i| i.is_multiple_of(4)).collect::<Vec<_>>();
    for (args, expected) in [
        (&["CAPTURE"][..], some(1, 100)),
        (&[">"], some(1, 100)),
        (&["b.*"], fourth(1, 100)),
        (&["CAPTURE", "--subject", "b.x"], fourth(1, 100)),
        (&["--subject", "b.x", "--limit", "3"], vec![4, 8, 12]),
        (&["CAPTURE", "--from", "start", "--to", "now"], some(1, 100)),
        (&["CAPTURE", "--from", "seq:10", "--to", "seq:20"], some(10, 20)),
        (&["CAPTURE", "--from", "seq:90", "--to", "seq:5000"], some(90, 100)),
        (&["b.x", "--from", "seq:10", "--to", "seq:21"], fourth(10, 21)),
        (&["CAPTURE", "--from", "last:3"], some(98, 100)),
        (&["b.x", "--from", "last:2"], vec![96, 100]),
        (&["b.x", "--from", "last:1000"], fourth(1, 100)),
        (&["CAPTURE", "--from", "2025-06-01T12:00:10Z", "--to", "2025-06-01T12:00:20Z"], some(10, 19)),
        (&["CAPTURE", "--from", "2025-06-01T12:00:20Z", "--to", "2025-06-01T12:00:30Z"], some(20, 29)),
        (&["CAPTURE", "--from", "2025-06-01T12:00:09.000000001Z", "--to", "seq:11"], some(10, 11)),
        (&["CAPTURE", "--from", "1748779290", "--to", "1748779292000"], some(90, 91)),
        (&["CAPTURE", "--to", "1h", "--limit", "2"], some(1, 2)),
    ] {
        assert_eq!(data.sequences(args), expected, "{args:?}");
    }
}

#[test]
fn times_tile_although_neighbours_are_out_of_order() {
    let message = |ms: i64| {
        let mut message = Message::new("a", "x");
        message.ts_ns = NOON + ms * 1_000_000;
        message
    };
    let data = Data::with("order", &[0, 990, 1010, 980, 1000, 999, 1500, 2600].map(message));
    let (first, second) = ("2025-06-01T12:00:00Z", "2025-06-01T12:00:01Z");
    assert_eq!(data.sequences(&["CAPTURE", "--from", first, "--to", second]), [1, 2, 4, 6]);
    assert_eq!(data.sequences(&["CAPTURE", "--from", second]), [3, 5, 7, 8]);
}

#[test]
fn a_server_gives_the_same_ranges() {
    let mut data = hundred("online");
    data.close();
    let server = Server::start_in(&data.path("data"), "export-online-server", &["--max-age", "off"]);
    for args in [
        &["CAPTURE"][..],
        &["b.*", "--limit", "5"],
        &["CAPTURE", "--from", "seq:10", "--to", "seq:20"],
        &["b.x", "--from", "seq:10", "--to", "seq:21"],
        &["b.x", "--from", "last:2"],
        &["CAPTURE", "--from", "2025-06-01T12:00:10Z", "--to", "2025-06-01T12:00:20Z"],
        &["CAPTURE", "--from", "2025-06-01T12:00:09.000000001Z", "--to", "seq:11"],
        &["CAPTURE", "--from", "seq:90", "--to", "seq:5000"],
    ] {
        let args = [&["export"], args, &["--out", "-"]].concat();
        let offline = server.ok(&[&args[..], &["--data", data.path("data").to_str().unwrap()]].concat());
        assert!(!offline.is_empty());
        assert_eq!(server.ok(&args), offline, "{args:?}");
    }
    for args in [&["no.such.thing"][..], &["CAPTURE", "--from", "seq:101"], &["CAPTURE", "--from", "1h"]] {
        let output = server.run(&[&["export"], args, &["--out", "none.ndjson", "--force"]].concat());
        assert_eq!(code(&output), Some(3), "{args:?} {}", error(&output));
    }
}

#[test]
fn an_export_without_a_match_is_a_file_without_rows() {
    let data = hundred("nothing");
    for (args, name) in [
        (&["no.such.thing"][..], "x.ndjson"),
        (&["no.such.thing"], "x.parquet"),
        (&["CAPTURE", "--from", "seq:101"], "y.ndjson"),
        (&["CAPTURE", "--to", "2001-01-01"], "z.ndjson"),
        (&["CAPTURE", "--from", "1h"], "z.ndjson.zst"),
    ] {
        let output = data.run(&[args, &["--out", name]].concat());
        assert_eq!(code(&output), Some(3), "{args:?} {}", error(&output));
        assert!(error(&output).starts_with(&format!("nothing matched; {name}: no rows, ")), "{}", error(&output));
        let bytes = std::fs::metadata(data.path(name)).unwrap().len();
        assert_eq!(bytes == 0, name.ends_with(".ndjson"), "{name} has {bytes} bytes");
    }
    data.assert_no_part();
}

#[test]
fn refusals_say_what_is_wrong_and_leave_nothing() {
    let data = hundred("refusals");
    std::fs::write(data.path("old.ndjson"), "old").unwrap();
    std::fs::create_dir(data.path("folder.ndjson")).unwrap();
    for (args, exit, words) in [
        (&["CAPTURE", "--out", "old.ndjson"][..], 1, "old.ndjson: exists; --force replaces it"),
        (&["CAPTURE", "--out", "folder.ndjson", "--force"], 1, "folder.ndjson: is a folder"),
        (&["CAPTURE", "--out", "none/x.ndjson"], 1, "none/x.ndjson.part: cannot be created"),
        (&["CAPTURE", "--out", "/dev/null", "--format", "parquet"], 1, "/dev/null: is not a regular file"),
        (&["CAPTURE", "--out", "x.csv"], 2, "x.csv: the name ends with none of .parquet"),
        (&["CAPTURE"], 2, "--out <FILE>"),
        (&["--out", "x.ndjson"], 2, "WHAT"),
        (&["capture", "--out", "x.ndjson"], 2, "no stream \"capture\" (there is CAPTURE); if it is a subject"),
        (&["a..b", "--out", "x.ndjson"], 2, "\"a..b\" is no subject filter"),
        (&["a.b", "--subject", "c", "--out", "x.ndjson"], 2, "no stream \"a.b\""),
        (&["CAPTURE", "--from", "yesterday", "--out", "x.ndjson"], 2, "none of all, seq:N"),
        (&["CAPTURE", "--to", "live", "--out", "x.ndjson"], 2, "none of now, seq:N"),
        (&["CAPTURE", "--from", "1h", "--to", "2h", "--out", "x.ndjson"], 2, "--to is not after --from"),
        (&["CAPTURE", "--limit", "0", "--out", "x.ndjson"], 2, "--limit"),
        (&["CAPTURE", "--field", "a", "--out", "x.ndjson"], 2, "a field is name=json.path"),
        (&["CAPTURE", "--field", "a=b", "--field", "A=c", "--out", "x.ndjson"], 2, "two fields are called \"A\""),
        (&["CAPTURE", "--json", "--out", "x.parquet"], 2, "--json is for NDJSON"),
        (&["CAPTURE", "--time-unit", "us", "--out", "x.ndjson"], 2, "--time-unit is for Parquet"),
        (&["CAPTURE", "--level", "3", "--out", "x.ndjson"], 2, "--level is for compressed"),
        (&["CAPTURE", "-s", "localhost", "--out", "x.ndjson"], 2, "cannot be used with"),
    ] {
        let output = data.run(args);
        assert_eq!(code(&output), Some(exit), "{args:?}: {}", error(&output));
        assert!(error(&output).contains(words), "{args:?}: {}", error(&output));
    }
    let output = data.command(&["CAPTURE", "--out", "x.ndjson"]).arg("--data").arg("none").output().unwrap();
    assert_eq!(code(&output), Some(2), "--data is given twice: {}", error(&output));
    assert_eq!(std::fs::read(data.path("old.ndjson")).unwrap(), b"old");
    assert!(!data.path("x.ndjson").exists());
    data.assert_no_part();
    let output = data.run(&["CAPTURE", "--out", "old.ndjson", "--force"]);
    assert_eq!(code(&output), Some(0));
    assert_eq!(crate::made::read(&data.path("old.ndjson")).len(), 100);
}
