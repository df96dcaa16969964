//! Damage in declared streams that nobody reads: found like the capture stream's, and told by stream.

use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use sublog_protocol::encode;
use sublog_tests::{RawClient, TestServer, clock, http};

use crate::{payload, server};

fn create(client: &mut RawClient, name: &str) {
    let config = json!({ "name": name, "subjects": [format!("{name}.>")] }).to_string();
    let mut out = Vec::new();
    let subject = format!("$JS.API.STREAM.CREATE.{name}");
    encode::publish(&mut out, subject.as_bytes(), Some(b"answers.create"), config.as_bytes());
    client.send(out);
    let answer = client.message();
    let text: Value = serde_json::from_str(answer.text()).unwrap();
    assert!(text["error"].is_null(), "{text}");
}

/// Enough for several segments, the first of which are of 1 MiB.
fn fill(client: &mut RawClient, name: &str) {
    for n in 0..80 {
        client.publish(&format!("{name}.x"), payload(n));
        if n % 8 == 7 {
            client.sync();
        }
    }
}

fn state(server: &TestServer, name: &str) -> Value {
    let all = server.monitor("/streamz");
    let found = all["streams"].as_array().unwrap().iter().find(|stream| stream["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {all}")).clone()
}

fn segments(server: &TestServer, name: &str) -> Vec<PathBuf> {
    let dir = server.data().join("streams").join(name);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

#[test]
fn every_declared_stream_is_read_for_damage_and_told_of_by_name() {
    let mut server = server(&["-D", "--scrub-interval", "100ms", "--scrub-rate", "1g"]);
    let mut client = server.client();
    client.subscribe("answers.create", "1");
    client.sync();
    // Some that have nothing sealed, and three that have.
    for i in 0..20 {
        create(&mut client, &format!("SMALL{i}"));
        client.publish(&format!("SMALL{i}.x"), b"one");
    }
    for name in ["ALPHA", "BETA", "GAMMA"] {
        create(&mut client, name);
        fill(&mut client, name);
    }
    for name in ["ALPHA", "BETA", "GAMMA", "SMALL7", "CAPTURE"] {
        let sealed = segments(&server, name).len().saturating_sub(1) as u64;
        assert!(sealed > 0 || matches!(name, "SMALL7" | "CAPTURE"), "{name}");
        let scrub = clock::until("a pass over each stream", || {
            let scrub = state(&server, name)["scrub"].clone();
            (scrub["passes"].as_u64() >= Some(1) && scrub["last_segments"] == sealed).then_some(scrub)
        });
        assert_eq!(scrub["last_result"], "sound", "{name}: {scrub}");
    }
    // Maintenance comes by each of them as well: what is sealed gets its part of the index.
    for name in ["ALPHA", "BETA", "GAMMA"] {
        let dir = server.data().join("streams").join(name);
        clock::until("a part of the index in each folder", || {
            let mut names = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
            names.any(|name| name.to_string_lossy().ends_with(".idx")).then_some(())
        });
    }

    // One byte in the middle of one of them, while the server runs.
    let sealed = &segments(&server, "BETA")[1];
    let file = std::fs::OpenOptions::new().read(true).write(true).open(sealed).unwrap();
    let at = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    let found = clock::until("a pass that finds it", || {
        let stream = state(&server, "BETA");
        (stream["scrub"]["last_result"] == "damaged").then_some(stream)
    });
    assert_eq!((&found["damaged_ranges"], &found["scrub"]["last_findings"]), (&Value::from(1), &Value::from(1)));
    let line = server.log_line("1 findings, 0 of them without loss");
    assert!(line.contains("BETA"), "{line}");
    let (status, body) = http::get(server.monitor_address(), "/healthz");
    assert!(status == 503 && body.contains("stream '$G > BETA': 1 damaged ranges"), "{body}");
    for name in ["ALPHA", "GAMMA", "SMALL0", "CAPTURE"] {
        assert_eq!(state(&server, name)["damaged_ranges"], 0, "{name}");
        assert!(!body.contains(&format!("> {name}':")), "{body}");
    }

    // One that is made later is read too, and one that is deleted is nobody's damage.
    create(&mut client, "LATER");
    fill(&mut client, "LATER");
    clock::until("a pass over the new stream", || {
        (state(&server, "LATER")["scrub"]["last_segments"].as_u64() >= Some(1)).then_some(())
    });
    let mut out = Vec::new();
    encode::publish(&mut out, b"$JS.API.STREAM.DELETE.BETA", Some(b"answers.create"), b"");
    client.send(out);
    assert!(client.message().text().contains("\"success\":true"));
    clock::until("health without the damaged stream", || {
        (http::get(server.monitor_address(), "/healthz").0 == 200).then_some(())
    });
    server.stop();
}

/// Maps of segments that the server has.
fn maps(server: &TestServer) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.pid())).unwrap();
    maps.lines().filter(|line| line.contains(".seg")).count()
}

#[test]
fn a_deleted_stream_leaves_no_map_behind() {
    let mut server = server(&["--capture", "off"]);
    let mut client = server.client();
    client.subscribe("answers.create", "1");
    client.sync();
    for i in 0..20 {
        create(&mut client, &format!("GONE{i}"));
        client.publish(&format!("GONE{i}.x"), b"one");
    }
    client.sync();
    // Maintenance has come by each of them, which is what makes maps; and what reads them for damage, every two seconds, had
    // the time to know of them. On a machine where it had not, there is less to let go of.
    clock::until("maps of all segments", || (maps(&server) >= 20).then_some(()));
    let then = clock::now();
    clock::until("two looks", || (then.elapsed() > std::time::Duration::from_secs(4)).then_some(()));
    for i in 0..20 {
        let mut out = Vec::new();
        encode::publish(&mut out, format!("$JS.API.STREAM.DELETE.GONE{i}").as_bytes(), Some(b"answers.create"), b"");
        client.send(out);
        assert!(client.message().text().contains("\"success\":true"));
    }
    clock::until("no maps of them", || {
        // A publisher lets go of what it published to when it says something.
        client.sync();
        (maps(&server) == 0).then_some(())
    });
    server.stop();
}
