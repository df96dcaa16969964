//! Mirrors and sources.

use serde_json::{Value, json};

use crate::{Asking, PATIENCE, error, server};

impl Asking {
    /// Waits until a stream's state has these values.
    pub(crate) fn until(&mut self, stream: &str, expected: &Value) -> Value {
        let begun = sublog_tests::clock::now();
        loop {
            let info = self.api(&format!("STREAM.INFO.{stream}"), json!({ "deleted_details": true }));
            if expected.as_object().unwrap().iter().all(|(key, value)| info["state"][key] == *value) {
                return info;
            }
            assert!(begun.elapsed() < PATIENCE, "{stream} stays as it is: {info}");
            std::thread::yield_now();
        }
    }

    /// Waits until the sources of `S` have copied up to these sequences.
    fn until_copied(&mut self, seqs: &[u64]) -> Value {
        let begun = sublog_tests::clock::now();
        loop {
            let info = self.api("STREAM.INFO.S", Value::Null);
            if seqs.iter().enumerate().all(|(n, seq)| info["sources"][n]["seq"] == json!(seq)) {
                return info;
            }
            assert!(begun.elapsed() < PATIENCE, "{info}");
            std::thread::yield_now();
        }
    }

    fn text_of(&mut self, stream: &str, seq: u64) -> (String, String, String) {
        let mut message = self.api(&format!("STREAM.MSG.GET.{stream}"), json!({ "seq": seq }))["message"].take();
        let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
        let decoded = |value: Value| String::from_utf8(decode(&text(value))).unwrap();
        let (headers, data) = (decoded(message["hdrs"].take()), decoded(message["data"].take()));
        (text(message["subject"].take()), headers, data)
    }

    fn origin(&mut self) {
        self.create(json!({ "name": "O", "subjects": ["o.>"], "allow_direct": true }));
        for n in 1..=6 {
            self.stored(if n % 3 == 0 { "o.b" } else { "o.a" }, &[], &n.to_string(), n);
        }
        self.api("STREAM.MSG.DELETE.O", json!({ "seq": 2 }));
    }
}

fn decode(text: &str) -> Vec<u8> {
    data_encoding::BASE64.decode(text.as_bytes()).unwrap()
}

#[test]
fn a_mirror_has_the_same_messages_under_the_same_numbers() {
    let mut server = server(&[]);
    let mut js = Asking::new(&server);
    js.origin();
    let made = js.create(json!({ "name": "M", "mirror": { "name": "O" } }));
    assert_eq!((&made["mirror"]["name"], &made["mirror"]["active"]), (&json!("O"), &json!(-1)));
    assert_eq!(made["config"]["mirror_direct"], json!(true), "as its origin");
    let info = js.until("M", &json!({ "messages": 5, "last_seq": 6, "deleted": [2] }));
    assert_eq!((&info["mirror"]["lag"], &info["mirror"]["error"]), (&json!(0), &Value::Null));
    for seq in [1, 3, 6] {
        let of = |js: &mut Asking, stream: &str| js.api(&format!("STREAM.MSG.GET.{stream}"), json!({ "seq": seq }));
        assert_eq!(of(&mut js, "M")["message"], of(&mut js, "O")["message"]);
    }
    js.create(json!({ "name": "F", "mirror": { "name": "O", "filter_subject": "o.b" } }));
    js.create(json!({ "name": "T", "mirror": { "name": "O", "subject_transforms": [{ "src": "o.a", "dest": "t" }] } }));
    js.create(json!({ "name": "L", "mirror": { "name": "O", "opt_start_seq": 5 } }));
    js.until("F", &json!({ "messages": 2, "first_seq": 3, "last_seq": 6 }));
    js.until("T", &json!({ "messages": 3, "first_seq": 1, "last_seq": 5 }));
    assert_eq!(js.text_of("T", 4).0, "t");
    js.until("L", &json!({ "messages": 2, "first_seq": 5, "last_seq": 6 }));
    // Nothing is published into one, or lost or doubled by a kill.
    for round in 1..=3_u64 {
        for n in 0..50 {
            js.publish("o.a", &[], &format!("{round} {n}"));
        }
        server.kill9();
        server.restart();
        js = Asking::new(&server);
        js.until("M", &json!({ "messages": 5 + 50 * round, "last_seq": 6 + 50 * round, "deleted": [2] }));
    }
    assert_eq!(js.request("$JS.API.DIRECT.GET.O", &[], b"{\"seq\":6}").text(), "6");
    js.api("STREAM.DELETE.O", Value::Null);
    assert_eq!(js.request("$JS.API.DIRECT.GET.O", &[], b"{\"seq\":6}").text(), "6", "its mirror answers");
}

#[test]
fn a_mirror_waits_for_its_origin_and_goes_on_with_another() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "M", "mirror": { "name": "O" } }));
    let begun = sublog_tests::clock::now();
    while js.api("STREAM.INFO.M", Value::Null)["mirror"]["error"]["err_code"] != json!(10059) {
        assert!(begun.elapsed() < PATIENCE);
    }
    js.origin();
    js.until("M", &json!({ "messages": 5, "last_seq": 6 }));
    js.api("STREAM.DELETE.O", Value::Null);
    js.create(json!({ "name": "O", "subjects": ["o.>"] }));
    for n in 1..=8 {
        js.stored("o.a", &[], &format!("new {n}"), n);
    }
    js.until("M", &json!({ "messages": 7, "last_seq": 8 }));
    assert_eq!((js.text_of("M", 6).2, js.text_of("M", 7).2), ("6".to_owned(), "new 7".to_owned()));
    // From far ahead.
    js.api("STREAM.PURGE.O", json!({ "seq": 1_000_000 }));
    js.stored("o.a", &[], "far", 1_000_000);
    js.until("M", &json!({ "messages": 8, "last_seq": 1_000_000, "num_deleted": 999_992 }));

    let update = json!({ "name": "M", "mirror": { "name": "X" } });
    assert_eq!(error(&js.api("STREAM.UPDATE.M", update)).0, 10055);
    let promoted = js.api("STREAM.UPDATE.M", json!({ "name": "M", "subjects": ["m.>"] }));
    assert!(promoted["error"].is_null() && promoted["mirror"].is_null(), "{promoted}");
    js.stored("m.x", &[], "its own", 1_000_001);
    js.stored("o.a", &[], "not copied", 1_000_001);
    js.stored("m.x", &[], "its own", 1_000_002);
}

#[test]
fn a_mirror_begins_where_its_origin_does_however_far_that_is() {
    let mut server = server(&[]);
    let mut js = Asking::new(&server);
    let first = 1_u64 << 40;
    js.create(json!({ "name": "O", "subjects": ["o"], "first_seq": first }));
    js.stored("o", &[], "one", first);
    js.stored("o", &[], "two", first + 1);
    js.create(json!({ "name": "M", "mirror": { "name": "O" } }));
    js.until("M", &json!({ "messages": 2, "first_seq": first, "last_seq": first + 1, "num_deleted": null }));
    js.api("STREAM.MSG.DELETE.O", json!({ "seq": first + 1 }));
    js.stored("o", &[], "three", first + 2);
    js.until("M", &json!({ "messages": 3, "last_seq": first + 2 }));
    server.kill9();
    server.restart();
    js = Asking::new(&server);
    js.until("M", &json!({ "messages": 3, "first_seq": first, "last_seq": first + 2 }));
    js.stored("o", &[], "four", first + 3);
    js.until("M", &json!({ "messages": 4, "last_seq": first + 3 }));
    assert_eq!(js.text_of("M", first + 3).2, "four");
}

#[test]
fn sources_are_told_apart_and_found_again() {
    let mut server = server(&[]);
    let mut js = Asking::new(&server);
    js.origin();
    js.create(json!({ "name": "P", "subjects": ["p"] }));
    js.stored("p", &[("Nats-Msg-Id", "1"), ("Nats-Expected-Stream", "P"), ("X", "y")], "p1", 1);
    let sources = json!([
        { "name": "O", "filter_subject": "o.a" },
        { "name": "O", "filter_subject": "o.b" },
        { "name": "P", "subject_transforms": [{ "src": "p", "dest": "from.p" }] },
        { "name": "LATER" },
    ]);
    js.create(json!({ "name": "S", "subjects": ["s"], "sources": sources }));
    let info = js.until_copied(&[5, 6, 1]);
    assert_eq!((&info["state"]["messages"], &info["state"]["last_seq"]), (&json!(6), &json!(6)));
    let of = |n: usize, field: &str| info["sources"][n][field].clone();
    assert_eq!([of(0, "lag"), of(2, "lag"), of(3, "active")], [json!(0), json!(0), json!(-1)]);
    let all: Vec<_> = (1..=6).map(|seq| js.text_of("S", seq)).collect();
    let from_p = all.iter().find(|(subject, ..)| subject == "from.p").unwrap();
    assert!(
        from_p.1.starts_with("NATS/1.0\r\nNats-Msg-Id: 1\r\nX: y\r\nNats-Stream-Source: P 1 p from.p p "),
        "{from_p:?}"
    );
    let from_a = all.iter().find(|(_, headers, _)| headers.contains("O 4 o.a > o.a ")).unwrap();
    assert_eq!(from_a.2, "4");

    for round in 1..=3_u64 {
        for n in 0..30 {
            js.publish("o.a", &[], &format!("{round} {n}"));
        }
        let info = js.until_copied(&[6 + 30 * round]);
        let next = info["state"]["last_seq"].as_u64().unwrap() + 1;
        js.stored("s", &[("X", "its own")], "x", next);
        server.kill9();
        server.restart();
        js = Asking::new(&server);
        let info = js.until_copied(&[6 + 30 * round]);
        assert_eq!(info["state"]["messages"], json!(6 + 31 * round), "{info}");
    }
    // Emptied and started again it does not begin anew.
    js.api("STREAM.PURGE.S", json!({}));
    server.stop();
    server.restart();
    js = Asking::new(&server);
    js.stored("o.b", &[], "after it", 97);
    let info = js.until_copied(&[96, 97]);
    assert_eq!(info["state"]["messages"], json!(1), "{info}");
    js.create(json!({ "name": "LATER", "subjects": ["later"] }));
    js.stored("later", &[], "late", 1);
    js.until("S", &json!({ "messages": 2 }));
    // Another stream of that name is copied from its beginning.
    js.api("STREAM.DELETE.LATER", Value::Null);
    js.create(json!({ "name": "LATER", "subjects": ["later"] }));
    js.stored("later", &[], "later still", 1);
    js.until("S", &json!({ "messages": 3 }));
}

#[test]
fn copies_that_come_back_are_refused() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "A", "subjects": ["a.>"], "sources": [{ "name": "B" }] }));
    for (config, code, text) in [
        (json!({ "name": "B", "subjects": ["b.>"], "sources": [{ "name": "A" }] }), 10052, "detected cycle"),
        (json!({ "name": "C", "mirror": { "name": "C" } }), 10052, "detected cycle"),
        (json!({ "name": "D", "subjects": ["d"], "sources": [{ "name": "D" }] }), 10052, "detected cycle"),
        (
            json!({ "name": "E", "mirror": { "name": "A", "external": { "api": "$JS.API" } } }),
            10021,
            "stream external api prefix $JS.API must not overlap with $JS.API",
        ),
        (
            json!({ "name": "E", "mirror": { "name": "A", "external": { "api": "$JS.hub.API", "deliver": "a.*" } } }),
            10024,
            "stream external delivery prefix a.* must not contain wildcards",
        ),
        (
            json!({ "name": "E", "mirror": { "name": "A", "external": { "api": "$JS.hub.API" } } }),
            10052,
            "external \"$JS.hub.API\" is not supported by this server",
        ),
    ] {
        let name = config["name"].as_str().unwrap().to_owned();
        let answer = js.api(&format!("STREAM.CREATE.{name}"), config);
        assert_eq!(error(&answer), (code, text.to_owned()), "{answer}");
    }
}

#[test]
fn a_purge_beyond_the_end_moves_the_next_number() {
    let mut server = server(&[]);
    let mut js = Asking::new(&server);
    js.create(json!({ "name": "S", "subjects": ["s"] }));
    let purge = |js: &mut Asking, request: Value, first: u64, last: u64| {
        assert_eq!(js.api("STREAM.PURGE.S", request)["success"], json!(true));
        let state = js.state("S");
        assert_eq!((&state["first_seq"], &state["last_seq"]), (&json!(first), &json!(last)));
    };
    purge(&mut js, json!({ "seq": 100 }), 100, 99);
    js.stored("s", &[], "x", 100);
    purge(&mut js, json!({ "seq": 200, "filter": "s" }), 101, 100);
    purge(&mut js, json!({ "seq": 200, "filter": ">" }), 200, 199);
    purge(&mut js, json!({ "seq": 3_000_000_000_u64 }), 3_000_000_000, 2_999_999_999);
    // However many are asked for: it is answered soon, and costs no memory.
    let pid = server.pid();
    let before = rss_kb(pid);
    for seq in [u64::MAX, 1 << 63, 1 << 62, 1 << 40] {
        let asked = sublog_tests::clock::now();
        assert_eq!(error(&js.api("STREAM.PURGE.S", json!({ "seq": seq }))).0, 10110, "{seq}");
        assert!(asked.elapsed() < PATIENCE, "{seq}");
    }
    purge(&mut js, json!({ "seq": 7_000_000_000_u64 }), 7_000_000_000, 6_999_999_999);
    let grown = rss_kb(pid).saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB more");
    server.kill9();
    server.restart();
    let mut js = Asking::new(&server);
    js.stored("s", &[], "x", 7_000_000_000);
    js.stored("s", &[("Nats-Expected-Last-Sequence", "7000000000")], "x", 7_000_000_001);
    purge(&mut js, json!({ "keep": 1 }), 7_000_000_001, 7_000_000_001);
}

/// Memory of a process, in KiB.
fn rss_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}
