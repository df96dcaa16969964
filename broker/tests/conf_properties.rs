//! Configuration files of any content: nothing panics, errors have a place, and what is written is read back.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests report by panicking")]

use std::path::Path;

use proptest::prelude::*;
use sublog_broker::conf::{Entry, Map, Node, ParseError, Position, Source, Value, digest, limits};

fn parse(bytes: &[u8]) -> Result<Map, ParseError> {
    let env = |name: &str| match name {
        "ONE" => Some("1".to_owned()),
        "LOOP" => Some("$LOOP".to_owned()),
        _ => None,
    };
    Source { name: "t.conf", dir: Path::new("/nonexistent"), env: &env }.parse(bytes)
}

fn place() -> Position {
    Position { file: "t.conf".into(), line: 1, column: 1 }
}

/// Text that means something to the grammar, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just("("),
        Just(")"),
        Just("\n"),
        Just("\r\n"),
        Just("\n)\n"),
        Just(" "),
        Just("\t"),
        Just(","),
        Just(";"),
        Just(":"),
        Just("="),
        Just("\""),
        Just("'"),
        Just("\\"),
        Just("\\x4"),
        Just("\\u12"),
        Just("#"),
        Just("//"),
        Just("/"),
        Just("$ONE"),
        Just("$LOOP"),
        Just("$a"),
        Just("a"),
        Just("include "),
        Just("include 'x'"),
        Just("1k"),
        Just("-"),
        Just("0.5"),
        Just("1.2.3"),
        Just("2006-01-02T15:04:05Z"),
        Just("true"),
        Just("\u{feff}"),
        Just("\0"),
        Just("ü"),
        Just("9223372036854775808"),
        Just("a: 1\n"),
        Just("b { c: d }\n"),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-1.0e12..1.0e12).prop_map(Value::Float),
        any::<String>().prop_map(|text| Value::Str(text.replace('\0', ""))),
        (0..60_u32, 1..29_u32).prop_map(|(s, d)| Value::Time(format!("2024-02-{d:02}T10:20:{s:02}Z"))),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8)
                .prop_map(|values| Value::Array(values.into_iter().map(|value| Node { value, at: place() }).collect())),
            members(inner).prop_map(Value::Map),
        ]
    })
}

fn members(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map> {
    prop::collection::vec(("[a-zA-Z_][a-zA-Z0-9_.$-]{0,12}|[^\"'\0]{0,8}", value), 0..8).prop_map(|members| {
        let mut map = Map::default();
        for (key, value) in members {
            map.put(Entry { key, at: place(), node: Node { value, at: place() }, used: false });
        }
        map
    })
}

/// How a value may be written; `style` picks one of the ways.
fn print(out: &mut String, value: &Value, style: u64, indent: usize) {
    let next = style.rotate_right(3) ^ 0x9e37;
    match value {
        Value::Bool(is) => out.push_str(match (is, style % 3) {
            (true, 0) => "true",
            (true, 1) => "YES",
            (true, _) => "On",
            (false, 0) => "false",
            (false, 1) => "no",
            (false, _) => "OFF",
        }),
        Value::Int(number) if number % 1024 == 0 && style.is_multiple_of(2) => {
            out.push_str(&format!("{}KiB", number / 1024))
        }
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Float(number) => out.push_str(&format!("{number:?}")),
        Value::Time(text) => out.push_str(text),
        Value::Str(text) if style.is_multiple_of(2) && !text.contains('\'') => out.push_str(&format!("'{text}'")),
        Value::Str(text) => {
            out.push('"');
            for c in text.chars() {
                match c {
                    '"' | '\\' => out.extend(['\\', c]),
                    '\n' => out.push_str("\\n"),
                    c if u32::from(c) < 0x20 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                    c => out.push(c),
                }
            }
            out.push('"');
        }
        Value::Array(nodes) => {
            out.push('[');
            for node in nodes {
                print(out, &node.value, next, indent + 1);
                out.push_str(if style.is_multiple_of(2) { ", " } else { "\n" });
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push_str("{\n");
            print_members(out, map, next, indent + 1);
            out.push('}');
        }
    }
}

fn print_members(out: &mut String, map: &Map, style: u64, indent: usize) {
    for entry in map.iter() {
        let plain =
            entry.key.starts_with(|c: char| c.is_ascii_alphabetic()) && !entry.key.eq_ignore_ascii_case("include");
        let plain = plain && entry.key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$' | '-'));
        let key = if plain { entry.key.clone() } else { format!("\"{}\"", entry.key) };
        let separator = [": ", " = ", " ", ":\t"][usize::try_from(style % 4).unwrap()];
        out.push_str(&format!("{}{key}{separator}", "  ".repeat(indent)));
        print(out, &entry.node.value, style, indent);
        out.push_str([" # why\n", "\n", " ;\n", ",\n"][usize::try_from(style / 4 % 4).unwrap()]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_give_a_tree_or_an_error_with_a_place(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }

    #[test]
    fn any_pieces_give_a_tree_or_an_error_with_a_place(text in pieces()) {
        check(text.as_bytes());
    }

    #[test]
    fn what_is_written_is_read_back(map in members(value()), style in any::<u64>()) {
        let mut text = String::new();
        print_members(&mut text, &map, style, 0);
        let read = parse(text.as_bytes()).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(without_places(&Value::Map(map)), without_places(&Value::Map(read)), "{}", text);
    }
}

fn check(bytes: &[u8]) {
    match parse(bytes) {
        Ok(map) => assert!(digest(&map).starts_with("sha256:")),
        Err(error) => {
            let lines = u32::try_from(bytes.iter().filter(|byte| **byte == b'\n').count()).unwrap() + 1;
            assert!((1..=lines).contains(&error.at.line) && error.at.column >= 1, "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}

fn without_places(value: &Value) -> String {
    match value {
        Value::Array(nodes) => {
            format!("[{}]", nodes.iter().map(|node| without_places(&node.value)).collect::<Vec<_>>().join(","))
        }
        Value::Map(map) => {
            let member = |entry: &Entry| format!("{:?}:{}", entry.key, without_places(&entry.node.value));
            format!("{{{}}}", map.iter().map(member).collect::<Vec<_>>().join(","))
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn errors_say_where_and_what() {
    for (text, message) in [
        ("port: 4222 x", "t.conf:1:12: expected the end of the line, ',' or ';' after the value, found 'x'"),
        ("a {\n  b: [1, 2\n", "t.conf:3:1: expected a value or ']', found the end of the file"),
        ("a {\n  b: c", "t.conf:2:7: expected a key or '}', found the end of the file"),
        ("ü: \"é\" 5", "t.conf:1:8: expected the end of the line, ',' or ';' after the value, found '5'"),
        (
            "a: $NOT_THERE",
            "t.conf:1:4: expected a variable, found $NOT_THERE, which is not defined above in this file or the environment",
        ),
        (
            "\n a: $LOOP",
            "t.conf:2:5: the variable $LOOP of the environment: $LOOP:1:1: the variable $LOOP of the environment stands for itself",
        ),
        (
            "include 'gone.conf'",
            "t.conf:1:9: cannot read /nonexistent/gone.conf: No such file or directory (os error 2)",
        ),
        ("a: 99999999999999999999", "t.conf:1:4: expected a number of 64 bits, found 99999999999999999999"),
        ("a: \"\\q\"", "t.conf:1:6: expected one of t n r \" \\ / b f, xHH or uHHHH after the backslash, found 'q'"),
        ("cluster{", "t.conf:1:8: expected a blank, '=' or ':' after the key, found '{'"),
        ("a: 1\0", "t.conf:1:5: expected the end of the line, ',' or ';' after the value, found '\\0'"),
    ] {
        assert_eq!(parse(text.as_bytes()).unwrap_err().to_string(), message, "{text:?}");
    }
    let error = parse(b"a: b\nc: \xff").unwrap_err().to_string();
    assert_eq!(error, "t.conf:2:4: expected text in UTF-8, found other bytes");
}

#[test]
fn size_and_depth_have_bounds() {
    let deep = |open: &str| format!("a: {}", open.repeat(limits::DEPTH_MAX + 1));
    for open in ["[", "{a: "] {
        let error = parse(deep(open).as_bytes()).unwrap_err().to_string();
        assert!(error.contains("more than 64 blocks and lists inside each other"), "{error}");
    }
    // Each line ten times the one before: a few lines stand for more than any machine holds.
    let mut bomb = String::from("a0: [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..20 {
        bomb.push_str(&format!("a{n}: [{}]\n", vec![format!("$a{}", n - 1); 10].join(", ")));
    }
    let error = parse(bomb.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("more than 64 MiB"), "{error}");
    let error = parse(&vec![b'#'; limits::FILE_BYTES_MAX + 1]).unwrap_err().to_string();
    assert!(error.contains("larger than 16 MiB"), "{error}");
}
