//! What is written is read again, with the reader of the same crate.

use std::borrow::Cow;
use std::fs::File;

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::{Field as Cell, ListAccessor as _, MapAccessor as _, Row as Read, RowAccessor as _};

use super::super::field::{self, Value};
use super::super::row::Row;
use super::*;

/// A folder that goes away with the test.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sublog-parquet-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn options(fields: &[&str]) -> Options {
    let fields = fields.iter().map(|text| field::parse(text).unwrap()).collect();
    Options { fields, payload: true, times: TimePrecision::Ns, level: 3 }
}

/// Headers of the `i`-th row: none, or some, or so many that a step of the writer ends in the middle of a row.
fn headers(i: u64) -> Vec<(String, Vec<String>)> {
    let many = |n: u64| (0..n).map(|value| format!("v{value}")).collect();
    match i {
        4000 => vec![("many".to_owned(), many(5000)), ("one".to_owned(), many(1))],
        i if i % 3 == 1 => vec![("a".to_owned(), many(1)), ("b".to_owned(), many(i % 4 + 1))],
        i if i.is_multiple_of(7) => vec![("c".to_owned(), vec![String::new()])],
        _ => Vec::new(),
    }
}

fn payload(i: u64) -> Vec<u8> {
    let unit: Vec<u8> = i.to_le_bytes().to_vec();
    unit.repeat((i % 50) as usize)
}

fn value(i: u64, kind: Kind) -> Value<'static> {
    if i.is_multiple_of(5) {
        return Value::Null;
    }
    match kind {
        Kind::Text => Value::Text(Cow::Owned(format!("text {}", i % 11))),
        Kind::Json => Value::Json(Cow::Owned(format!("[{i}]"))),
        Kind::Integer => Value::Integer(i64::MAX - i.cast_signed()),
        Kind::Double => Value::Double(i as f64 / 4.0),
        Kind::Boolean => Value::Boolean(i.is_multiple_of(2)),
    }
}

fn write(folder: &Folder, options: &Options, rows: std::ops::Range<u64>) -> SerializedFileReader<File> {
    let path = folder.0.join("x.parquet");
    let mut parquet = Parquet::new(OutFile::create(&path, true).unwrap(), options.clone()).unwrap();
    for i in rows {
        let (subject, payload, headers) = (format!("s.{}", i % 9), payload(i), headers(i));
        let ts_ns = 1_748_779_200_000_000_000 + i.cast_signed();
        let row = Row {
            stream: "S",
            seq: i,
            ts_ns,
            subject: subject.as_bytes(),
            headers: b"",
            has_position: false,
            payload: &payload,
        };
        let mut cells = Cells::new(row);
        for (key, values) in &headers {
            cells
                .headers
                .push((Cow::Borrowed(key), values.iter().map(|value| Cow::Borrowed(value.as_str())).collect()));
        }
        cells.fields = options.fields.iter().map(|field| value(i, field.kind)).collect();
        parquet.write(&cells).unwrap();
    }
    let out = parquet.finish().unwrap();
    let bytes = out.written_bytes();
    out.finish().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), bytes);
    SerializedFileReader::new(File::open(&path).unwrap()).unwrap()
}

fn read_headers(row: &Read) -> Vec<(String, Vec<String>)> {
    let map = row.get_map(4).unwrap();
    let (keys, values) = (map.get_keys(), map.get_values());
    (0..map.len())
        .map(|at| {
            let list = values.get_list(at).unwrap();
            let values = (0..list.len()).map(|at| list.get_string(at).unwrap().clone()).collect();
            (keys.get_string(at).unwrap().clone(), values)
        })
        .collect()
}

#[test]
fn rows_come_back_as_they_were_written() {
    let folder = Folder::new("rows");
    let options = options(&["t=a", "j=a:json", "i=a:int64", "d=a:double", "b=a:bool"]);
    let reader = write(&folder, &options, 1..20_001);
    assert!(reader.metadata().num_row_groups() > 3, "{}", reader.metadata().num_row_groups());
    assert!(reader.metadata().row_groups().iter().all(|group| group.num_rows() <= 9000));
    let mut next = 1;
    for row in reader.get_row_iter(None).unwrap() {
        let row = row.unwrap();
        assert_eq!(row.get_string(0).unwrap(), "S");
        assert_eq!(row.get_long(1).unwrap(), i64::try_from(next).unwrap());
        assert_eq!(row.get_string(3).unwrap(), &format!("s.{}", next % 9));
        assert_eq!(read_headers(&row), headers(next), "{next}");
        assert_eq!(row.get_bytes(10).unwrap().data(), payload(next));
        for (at, field) in options.fields.iter().enumerate() {
            let expected = match value(next, field.kind) {
                Value::Null => Cell::Null,
                Value::Text(text) | Value::Json(text) => Cell::Str(text.into_owned()),
                Value::Integer(value) => Cell::Long(value),
                Value::Double(value) => Cell::Double(value),
                Value::Boolean(value) => Cell::Bool(value),
            };
            let (_, found) = row.get_column_iter().nth(5 + at).unwrap();
            // The crate's rows show JSON as bytes.
            let found = match found {
                Cell::Bytes(bytes) => Cell::Str(bytes.as_utf8().unwrap().to_owned()),
                other => other.clone(),
            };
            assert_eq!(found, expected, "{next} {}", field.name);
        }
        next += 1;
    }
    assert_eq!(next, 20_001);
}

#[test]
fn the_schema_says_what_the_columns_are() {
    let folder = Folder::new("schema");
    let mut options = options(&["site=a", "n=a:int64", "j=a:json"]);
    let schema = |reader: &SerializedFileReader<File>| {
        let mut text = Vec::new();
        let root = reader.metadata().file_metadata().schema();
        parquet::schema::printer::print_schema(&mut text, root);
        String::from_utf8(text).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        schema(&write(&folder, &options, 1..3)),
        "message schema { REQUIRED BYTE_ARRAY stream (STRING); REQUIRED INT64 sequence; \
         REQUIRED INT64 time (TIMESTAMP(NANOS,true)); REQUIRED BYTE_ARRAY subject (STRING); \
         REQUIRED group headers (MAP) { REPEATED group key_value { REQUIRED BYTE_ARRAY key (STRING); \
         REQUIRED group value (LIST) { REPEATED group list { REQUIRED BYTE_ARRAY element (STRING); } } } } \
         OPTIONAL BYTE_ARRAY site (STRING); OPTIONAL INT64 n; OPTIONAL BYTE_ARRAY j (JSON); \
         REQUIRED BYTE_ARRAY payload; }"
    );
    (options.times, options.payload) = (TimePrecision::Us, false);
    let reader = write(&folder, &options, 1..3);
    let text = schema(&reader);
    assert!(text.contains("(TIMESTAMP(MICROS,true))") && !text.contains("payload"), "{text}");
    let first = reader.get_row_iter(None).unwrap().next().unwrap().unwrap();
    assert_eq!(first.get_timestamp_micros(2).unwrap(), 1_748_779_200_000_000);
}

#[test]
fn a_file_without_rows_is_a_file() {
    let folder = Folder::new("empty");
    let reader = write(&folder, &options(&["site=a"]), 0..0);
    assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
    assert_eq!(
        reader.metadata().file_metadata().created_by(),
        Some(&*format!("sublog version {}", crate::cli::VERSION))
    );
}

#[test]
fn columns_that_repeat_are_dictionaries_and_rising_numbers_differences() {
    let folder = Folder::new("encodings");
    let reader = write(&folder, &options(&["site=a"]), 1..5000);
    let encodings = |at: usize| {
        let column = reader.metadata().row_group(0).column(at);
        assert!(matches!(column.compression(), Compression::ZSTD(_)), "{at}");
        column.encodings().collect::<Vec<_>>()
    };
    for (at, encoding) in [
        (0, Encoding::RLE_DICTIONARY),
        (1, Encoding::DELTA_BINARY_PACKED),
        (2, Encoding::DELTA_BINARY_PACKED),
        (3, Encoding::RLE_DICTIONARY),
        (6, Encoding::RLE_DICTIONARY),
    ] {
        assert!(encodings(at).contains(&encoding), "{at}: {:?}", encodings(at));
    }
    assert!(!encodings(7).contains(&Encoding::RLE_DICTIONARY));
}
