//! Damage that nobody reads: the server finds it by itself.

use std::os::unix::fs::FileExt as _;

use serde_json::Value;
use sublog_tests::{TestServer, clock, http};

use crate::{first_seq, publish, read_up_to, segments, server};

fn stream(server: &TestServer) -> Value {
    server.monitor("/streamz")["streams"][0].clone()
}

#[test]
fn a_flipped_byte_on_disk_is_reported_before_anybody_reads_it() {
    let mut server = server(&["-D", "--scrub-interval", "100ms", "--scrub-rate", "1g"]);
    let mut publisher = server.client();
    publish(&mut publisher, 0, 700);
    let files = segments(&server);
    let sealed = files.len() as u64 - 1;
    assert!(sealed >= 3, "{files:?}");
    let sound = clock::until("a pass over a sound log", || {
        let scrub = stream(&server)["scrub"].clone();
        (scrub["last_segments"] == sealed).then_some(scrub)
    });
    assert_eq!((&sound["last_result"], &sound["last_findings"]), (&Value::from("sound"), &Value::from(0)), "{sound}");
    assert!(sound["last_end"].as_str().unwrap() >= sound["last_start"].as_str().unwrap(), "{sound}");
    server.log_line("all sound");
    let health = server.monitor("/healthz");
    assert_eq!((&health["status"], &health["streams"][0]["damaged_ranges"]), (&Value::from("ok"), &Value::from(0)));

    // One byte of a payload in the middle of a sealed segment.
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&files[1]).unwrap();
    let at = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    let found = clock::until("a pass that finds it", || {
        let stream = stream(&server);
        (stream["scrub"]["last_result"] == "damaged").then_some(stream)
    });
    assert_eq!((&found["damaged_ranges"], &found["scrub"]["last_findings"]), (&Value::from(1), &Value::from(1)));
    assert_eq!(found["scrub"]["last_correctable"], 0);
    let line = server.log_line("damage in the log");
    assert!(line.contains(files[1].file_name().unwrap().to_str().unwrap()), "{line}");
    server.log_line("1 findings, 0 of them without loss");
    let (status, body) = http::get(server.monitor_address(), "/healthz");
    assert!(
        status == 503 && body.contains("1 damaged ranges") && body.contains("\"last_result\":\"damaged\""),
        "{body}"
    );

    // All the others are served, and the server goes on.
    publish(&mut publisher, 700, 720);
    let mut reader = server.client();
    reader.subscribe("$REPLAY.all.>", "1");
    let seen = read_up_to(&mut reader, 720);
    let missing: Vec<u64> = (1..=720).filter(|seq| !seen.contains(seq)).collect();
    assert!(missing.len() == 1 && (first_seq(&files[1])..first_seq(&files[2])).contains(&missing[0]), "{missing:?}");
    // Nothing new was found by reading it.
    assert_eq!(stream(&server)["damaged_ranges"], 1);
    server.stop();
}

#[test]
fn a_server_that_is_told_not_to_never_reads_its_log() {
    let server = server(&["--scrub-interval", "off"]);
    let mut publisher = server.client();
    publish(&mut publisher, 0, 10);
    let scrub = &stream(&server)["scrub"];
    assert_eq!((&scrub["last_result"], &scrub["running"]), (&Value::from("none"), &Value::from(false)));
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let names: Vec<String> =
        threads.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap()).collect();
    assert!(!names.iter().any(|name| name.starts_with("sublog-maintain")), "{names:?}");
}
