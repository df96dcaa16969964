//! What is in the files is what was published.

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::{Field, RowAccessor as _};
use serde_json::json;

use crate::made::{Data, Message, NOON, lines, read};
use crate::program::{Server, code, error};

const REPORT: &str =
    "{\n  \"task\": \"/A/B\",\n  \"wall\": 12.50,\n  \"steps\": [\n    {\"site\": \"T2_CH\"}\n  ]\n}\n";

/// Payloads of every kind.
fn payloads() -> Vec<Vec<u8>> {
    let large: Vec<u8> = (0..1_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut payloads: Vec<Vec<u8>> = [
        &b""[..],
        b"plain",
        "caf\u{e9} \u{1f680}".as_bytes(),
        b"two\nlines\r\n\t\"quoted\" \\",
        b"\x00\x01\x7f",
        REPORT.as_bytes(),
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    payloads.extend([(0..=255).collect(), large, vec![b'x'; 1_000_000], b"\"text\"".to_vec(), b"17".to_vec()]);
    payloads
}

fn decode_base64(text: &str) -> Vec<u8> {
    let digit = |b: u8| match b {
        b'A'..=b'Z' => u32::from(b - b'A'),
        b'a'..=b'z' => u32::from(b - b'a') + 26,
        b'0'..=b'9' => u32::from(b - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        _ => 0,
    };
    let mut out = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let bits = group.iter().fold(0, |bits, b| bits << 6 | digit(*b));
        let padding = group.iter().filter(|b| **b == b'=').count();
        out.extend([16, 8, 0].iter().take(3 - padding).map(|shift| (bits >> shift & 0xff) as u8));
    }
    out
}

/// The payload of a line, whatever form it has.
fn payload(line: &serde_json::Value) -> Vec<u8> {
    match (line.get("payload"), line.get("payload_base64")) {
        (Some(text), None) => text.as_str().unwrap().as_bytes().to_vec(),
        (None, Some(code)) => decode_base64(code.as_str().unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_and_its_directory_give_the_same_file() {
    let server = Server::start("export-both", &[]);
    let published = payloads();
    for payload in &published {
        let output = server.feed(&["pub", "kinds.one", "-H", "A: 1", "-H", "B: two words", "-H", "A: 3"], payload);
        assert_eq!(code(&output), Some(0), "{}", error(&output));
    }
    server.ok(&["pub", "kinds.two", "-H", "Nats-Sequence: 99", "own header"]);
    server.ok(&["pub", "other", "x"]);

    server.ok(&["export", "kinds.>", "--out", "online.ndjson"]);
    server.ok(&["export", "kinds.>", "--out", "online.parquet"]);
    // The server runs and has the directory's lock.
    server.ok(&["export", "kinds.>", "--data", "data", "--out", "offline.ndjson"]);
    server.ok(&["export", "kinds.>", "--data", "data", "--out", "offline.ndjson.zst"]);
    server.ok(&[
        "export",
        "CAPTURE",
        "--subject",
        "kinds.>",
        "--data",
        "data/streams/CAPTURE",
        "--out",
        "offline.parquet",
    ]);
    let file = |name: &str| std::fs::read(server.folder.0.join(name)).unwrap();
    assert!(file("online.ndjson") == file("offline.ndjson"), "the files differ");
    assert!(file("online.parquet") == file("offline.parquet"), "the files differ");
    let compressed = file("offline.ndjson.zst");
    assert!(zstd::decode_all(&compressed[..]).unwrap() == file("offline.ndjson"), "the files differ");
    assert!(compressed.len() < file("offline.ndjson").len());

    let lines = lines(&file("online.ndjson"));
    assert_eq!(lines.len(), published.len() + 1);
    for (at, (line, published)) in lines.iter().zip(&published).enumerate() {
        assert!(payload(line) == *published, "payload {at} differs");
        assert_eq!(line["stream"], "CAPTURE");
        assert_eq!(line["sequence"], at + 1);
        assert_eq!(line["subject"], "kinds.one");
        assert_eq!(line["headers"], json!({"A": ["1", "3"], "B": ["two words"]}));
    }
    let own = lines.last().unwrap();
    assert_eq!((&own["headers"], &own["sequence"]), (&json!({"Nats-Sequence": ["99"]}), &json!(12)));

    // The same out of the other format.
    let reader =
        SerializedFileReader::new(std::fs::File::open(server.folder.0.join("online.parquet")).unwrap()).unwrap();
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), lines.len());
    for (row, line) in rows.iter().zip(&lines) {
        assert!(row.get_bytes(5).unwrap().data() == payload(line));
        assert_eq!(row.get_string(3).unwrap(), line["subject"].as_str().unwrap());
        assert_eq!(row.get_long(1).unwrap(), line["sequence"].as_i64().unwrap());
        let time: jiff::Timestamp = line["time"].as_str().unwrap().parse().unwrap();
        let stored = match row.get_column_iter().nth(2).unwrap().1 {
            Field::Long(ns) => *ns,
            other => panic!("{other:?}"),
        };
        assert_eq!(i128::from(stored), time.as_nanosecond());
    }
}

#[test]
fn payloads_that_are_json_are_values_if_asked_for() {
    let mut messages: Vec<Message> = payloads().into_iter().map(|payload| Message::new("a.b", payload)).collect();
    messages[0].ts_ns = NOON + 1;
    let data = Data::with("json", &messages);
    let lines = data.lines(&["a.b", "--json"]);
    let at = |line: usize, key: &str| lines[line].get(key).cloned();
    assert_eq!(at(0, "time"), Some(json!("2025-06-01T12:00:00.000000001Z")));
    assert_eq!(at(0, "payload_text"), Some(json!("")));
    assert_eq!((at(1, "payload"), at(1, "payload_text")), (None, Some(json!("plain"))));
    assert_eq!(at(5, "payload"), Some(json!({"task": "/A/B", "wall": 12.5, "steps": [{"site": "T2_CH"}]})));
    assert_eq!((at(6, "payload_text"), at(6, "payload_base64").is_some()), (None, true));
    assert_eq!(at(9, "payload"), Some(json!("text")));
    assert_eq!(at(10, "payload"), Some(json!(17)));
    let bare = data.lines(&["a.b", "--no-payload"]);
    assert!(bare.iter().all(|line| line.as_object().unwrap().keys().all(|key| !key.starts_with("payload"))));
}

#[test]
fn fields_are_columns_and_what_they_lack_is_counted() {
    let messages: Vec<Message> = [
        REPORT,
        r#"{"task":"/C","wall":"7","steps":[]}"#,
        r#"{"task":null,"wall":"long","steps":[{"site":5},{"site":"T1"}]}"#,
        "no json",
        "{broken",
    ]
    .map(|payload| Message::new("r", payload))
    .to_vec();
    let data = Data::with("fields", &messages);
    let fields = [
        "--subject",
        "r",
        "--field",
        "task=task",
        "--field",
        "wall=$.wall:double",
        "--field",
        "first=steps[0].site",
        "--field",
        "last=steps[-1]:json",
        "--no-payload",
    ];
    let output = data.run(&[&fields[..], &["--out", "x.ndjson"]].concat());
    assert_eq!(code(&output), Some(0));
    let told = error(&output);
    let lines_told: Vec<&str> = told.lines().collect();
    assert_eq!(
        lines_told[..lines_told.len() - 1],
        [
            "sublog: 2 messages: the payload is not JSON, the fields are null",
            "sublog: wall: null where 1 something of another type",
            "sublog: first: null where 1 have nothing at that path",
            "sublog: last: null where 1 have nothing at that path",
        ]
    );
    assert!(lines_told[4].starts_with("5 messages, ") && lines_told[4].contains("/s; x.ndjson: "), "{told}");
    let cells = |line: &serde_json::Value| json!([line["task"], line["wall"], line["first"], line["last"]]);
    let found: Vec<_> = read(&data.path("x.ndjson")).iter().map(cells).collect();
    assert_eq!(
        json!(found),
        json!([
            ["/A/B", 12.5, "T2_CH", {"site": "T2_CH"}],
            ["/C", 7.0, null, null],
            [null, null, "5", {"site": "T1"}],
            [null, null, null, null],
            [null, null, null, null],
        ])
    );
    let output = data.run(&[&fields[..], &["--out", "x.parquet", "--time-unit", "us", "--quiet"]].concat());
    assert_eq!(code(&output), Some(0));
    assert_eq!(error(&output).lines().count(), 4, "only what a reader must know");
    let reader = SerializedFileReader::new(std::fs::File::open(data.path("x.parquet")).unwrap()).unwrap();
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows[0].get_timestamp_micros(2).unwrap(), NOON / 1000);
    assert_eq!((rows[1].get_string(5).unwrap().as_str(), rows[1].get_double(6).unwrap()), ("/C", 7.0));
    let nulls: Vec<bool> = [(2, 5), (2, 6), (2, 7), (3, 8)].map(|(row, at)| rows[row].is_null(at).unwrap()).to_vec();
    assert_eq!(nulls, [true, true, false, true]);
}

#[test]
fn what_is_not_text_is_shown_and_counted() {
    let mut odd = Message::new("a.b", "x");
    odd.headers = b"NATS/1.0\r\nKey: \xff\r\n\r\n".to_vec();
    let mut unreadable = Message::new("a.b", "y");
    unreadable.headers = b"garbage".to_vec();
    let data = Data::with("odd", &[odd, unreadable, Message::new("a.b", "z")]);
    let output = data.run(&["a.*", "--out", "-"]);
    assert_eq!(code(&output), Some(0));
    let found: Vec<_> = lines(&output.stdout).iter().map(|line| line["headers"].clone()).collect();
    assert_eq!(found, [json!({"Key": ["\u{fffd}"]}), json!({}), json!({})]);
    assert!(error(&output).contains("2 messages: subject or headers are not valid text"), "{}", error(&output));
}
