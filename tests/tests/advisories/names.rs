//! Names that become paths: rows 22, 27 and 28.

use serde_json::{Value, json};

use crate::{request, start};

/// Names as somebody would try them.
fn names() -> Vec<String> {
    let mut all: Vec<String> = [
        "..",
        ".",
        "../x",
        "a/b",
        "/etc/passwd",
        "a\\b",
        "a\0b",
        "a\nb",
        "a\rb",
        "a b",
        "a\tb",
        "",
        "*",
        ">",
        "a.b",
        "a>",
        "CON",
        "LOCK",
        "meta",
        "ä",
        "日本",
        "\u{202e}x",
        "x.deleted",
        "-rf",
        "~",
        "$G",
    ]
    .map(str::to_owned)
    .to_vec();
    all.extend([255, 256, 4096].map(|len| "n".repeat(len)));
    all
}

fn files(path: &std::path::Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(path).unwrap().flatten() {
        all.push(entry.path().display().to_string());
        if entry.path().is_dir() {
            all.extend(files(&entry.path()));
        }
    }
    all
}

fn api(client: &mut sublog_tests::RawClient, operation: &str, body: &Value) -> Value {
    let answer = request(client, "_INBOX.n", &format!("$JS.API.{operation}"), body.to_string().as_bytes());
    // A subject that is none of the server's has nobody behind it.
    serde_json::from_slice(&answer.payload).unwrap_or(Value::Null)
}

/// 27 and 28: nothing is written outside of the place that is meant.
#[test]
fn names_do_not_lead_out_of_the_data_directory() {
    let around = tempfile::TempDir::with_prefix("sublog-around-").unwrap();
    let data = around.path().join("data");
    let server = sublog_tests::TestServer::start_in(crate::BINARY, &["--sync", "os"], &data);
    let mut client = server.client();
    for name in names() {
        let plain = !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || ".*>".contains(c));
        let subject = if plain { name.clone() } else { "X".to_owned() };
        if subject.len() < 4000 {
            for config in [
                json!({ "name": name, "subjects": ["n.>"] }),
                json!({ "name": name, "subjects": ["n.>"], "storage": "memory" }),
            ] {
                let answer = api(&mut client, &format!("STREAM.CREATE.{subject}"), &config);
                if answer["config"].is_object() {
                    assert!(plain && name.len() <= 255 && !name.contains(['/', '\\']), "{name:?} was made");
                    api(
                        &mut client,
                        &format!("CONSUMER.CREATE.{subject}"),
                        &json!({ "stream_name": name, "config": { "durable_name": "../../c" } }),
                    );
                    api(&mut client, &format!("STREAM.DELETE.{subject}"), &json!({}));
                }
                api(&mut client, &format!("STREAM.RESTORE.{subject}"), &json!({ "config": config, "state": {} }));
            }
        }
        let outside: Vec<String> =
            files(around.path()).into_iter().filter(|path| !path.starts_with(&data.display().to_string())).collect();
        assert!(outside.is_empty(), "{name:?} left {outside:?}");
    }
    // Two that differ in case are two.
    for name in ["Case", "case"] {
        let made = api(
            &mut client,
            &format!("STREAM.CREATE.{name}"),
            &json!({ "name": name, "subjects": [format!("{name}.>")] }),
        );
        assert!(made["config"].is_object(), "{made}");
    }
    client.publish("Case.1", "x");
    client.sync();
    assert_eq!(api(&mut client, "STREAM.INFO.case", &json!({}))["state"]["messages"], 0);
}

/// 22: the name in the body is not another one than that in the subject, of which permissions speak.
#[test]
fn the_name_in_the_subject_is_the_one_in_the_body() {
    let configured = start(
        "authorization { users: [
           { user: one, password: onep, permissions { publish: [\"$JS.API.*.*.ONE\", \"$JS.API.CONSUMER.*.ONE.>\", \"$JS.API.CONSUMER.CREATE.ONE\", \"$JS.API.CONSUMER.DURABLE.CREATE.ONE.*\"], subscribe: \"_INBOX.>\" } }
           { user: all, password: allp } ] }",
    );
    let mut all = configured.user("all");
    for name in ["ONE", "TWO"] {
        let made = api(
            &mut all,
            &format!("STREAM.CREATE.{name}"),
            &json!({ "name": name, "subjects": [format!("{name}.>")] }),
        );
        assert!(made["config"].is_object(), "{made}");
    }
    let mut one = configured.user("one");
    let two = json!({ "name": "TWO", "subjects": ["TWO.>", "more"] });
    for (operation, body) in [
        ("STREAM.CREATE.ONE", two.clone()),
        ("STREAM.UPDATE.ONE", two.clone()),
        ("STREAM.RESTORE.ONE", json!({ "config": two, "state": {} })),
        ("CONSUMER.CREATE.ONE", json!({ "stream_name": "TWO", "config": { "name": "c" } })),
        ("CONSUMER.CREATE.ONE.c", json!({ "stream_name": "TWO", "config": { "name": "c" } })),
        ("CONSUMER.CREATE.ONE.c", json!({ "stream_name": "ONE", "config": { "name": "d" } })),
        ("CONSUMER.DURABLE.CREATE.ONE.c", json!({ "stream_name": "ONE", "config": { "durable_name": "d" } })),
        (
            "CONSUMER.CREATE.ONE.c.ONE.x",
            json!({ "stream_name": "ONE", "config": { "name": "c", "filter_subject": "ONE.y" } }),
        ),
    ] {
        let subject = format!("$JS.API.{operation}");
        one.subscribe("_INBOX.n", "request");
        let text = body.to_string();
        one.send(format!("PUB {subject} _INBOX.n {}\r\n{text}\r\n", text.len()));
        let answer: Value = serde_json::from_slice(&one.message().payload).unwrap();
        // What the subject says is what is made, if anything is.
        let as_allowed = answer["name"] == "c" && answer["stream_name"] == "ONE";
        assert!(answer["error"].is_object() || as_allowed, "{operation} {body}: {answer}");
        one.send("UNSUB request\r\n");
    }
    assert_eq!(api(&mut all, "STREAM.INFO.TWO", &json!({}))["config"]["subjects"], json!(["TWO.>"]));
    assert_eq!(api(&mut all, "CONSUMER.NAMES.TWO", &json!({}))["consumers"], json!([]));
}

/// 21 and 5ac26a8: chunks of a backup, and deliveries, go nowhere that the caller could not publish to, or that the server serves.
#[test]
fn the_server_publishes_where_the_caller_may() {
    let configured = start(
        "authorization { users: [
           { user: js, password: jsp, permissions { publish: \"$JS.API.>\", subscribe: \"_INBOX.>\" } }
           { user: all, password: allp } ] }",
    );
    let mut all = configured.user("all");
    api(&mut all, "STREAM.CREATE.S", &json!({ "name": "S", "subjects": ["s.>"] }));
    all.publish("s.1", "x");
    all.subscribe("secret.>", "secret");
    all.sync();
    let mut js = configured.user("js");
    for to in [
        "secret.a",
        "s.2",
        "$JS.API.STREAM.DELETE.S",
        "$SYS.x",
        "secret.*",
        ">",
        "*",
        "$JS.ACK.S.c.1.1.1.1.1",
        "$SUBLOG.STATE",
        "",
    ] {
        let snapshot = api(&mut js, "STREAM.SNAPSHOT.S", &json!({ "deliver_subject": to }));
        assert!(snapshot["error"].is_object(), "{to}: {snapshot}");
        if !to.is_empty() {
            let consumer = api(
                &mut js,
                "CONSUMER.CREATE.S.c",
                &json!({ "stream_name": "S", "config": { "name": "c", "deliver_subject": to } }),
            );
            // Where the caller may publish itself; the server takes no requests from itself, as the end shows.
            assert!(consumer["error"].is_object() || to.starts_with("$JS.API."), "{to}: {consumer}");
            api(&mut js, "CONSUMER.DELETE.S.c", &json!({}));
        }
    }
    all.expect_nothing();
    assert_eq!(api(&mut all, "STREAM.INFO.S", &json!({}))["state"]["messages"], 1);
}
