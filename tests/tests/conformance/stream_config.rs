//! Every field of a stream's configuration.

use serde_json::{Value, json};

use crate::Shown::{self, Differs, There};
use crate::asking::{Asking, code, refusal, seqs};

/// The field is kept as it was set, and shown.
fn kept(c: &mut Asking, field: &str, value: Value) -> Shown {
    let made = c.stream(json!({ field: value }), 0);
    assert_eq!(made["config"][field], value, "{made}");
    There
}

/// The stream does what the field asks for, unless it is refused by its name.
fn unless_refused(c: &mut Asking, config: Value, name: &str, does: fn(&mut Asking)) -> Shown {
    let made = c.try_stream(config);
    refusal(&made, name).unwrap_or_else(|| {
        does(c);
        There
    })
}

/// A stream is filled with what a named consumer is about, which that has acknowledged then.
fn by_consumer(c: &mut Asking, filled: fn(Value) -> Value) -> Shown {
    c.stream(json!({}), 3);
    let deliver = format!("to.{}", c.subject);
    let filter = format!("{}.2", c.subject);
    c.consumer(json!({ "ack_policy": "flow_control", "deliver_subject": deliver, "filter_subject": filter }));
    let to = format!("{}F", c.name);
    let mut config = filled(json!({ "name": c.name, "consumer": { "name": "C", "deliver_subject": deliver } }));
    config["name"] = json!(to);
    let made = c.api(&format!("STREAM.CREATE.{to}"), config);
    refusal(&made, "consumer").unwrap_or_else(|| {
        c.wait("the message that is selected", |c| {
            let state = c.api(&format!("STREAM.INFO.{to}"), Value::Null);
            state["state"]["messages"] == json!(1) && c.consumer_info()["ack_floor"]["stream_seq"] == json!(2)
        });
        There
    })
}

pub(crate) const ROWS: &[crate::Row] = &[
    ("name", |c| {
        let made = c.stream(json!({}), 0);
        assert_eq!(made["config"]["name"], json!(c.name));
        let bad = c.api(&format!("STREAM.CREATE.{}X", c.name), json!({ "name": "a b" }));
        assert!(bad["error"].is_object(), "{bad}");
        There
    }),
    ("description", |c| kept(c, "description", json!("what it is for"))),
    ("subjects", |c| {
        c.stream(json!({}), 1);
        let other = json!({ "name": format!("{}X", c.name), "subjects": [format!("{}.1", c.subject)] });
        assert_eq!(code(&c.api(&format!("STREAM.CREATE.{}X", c.name), other)), 10065);
        There
    }),
    ("retention", |c| {
        c.stream(json!({ "retention": "workqueue" }), 2);
        c.consumer(json!({}));
        let (got, _) = c.there(1);
        c.ack(&got[0], "");
        c.wait("removal of what was done", |c| c.state()["messages"] == json!(1));
        There
    }),
    ("max_msgs", |c| {
        c.stream(json!({ "max_msgs": 2 }), 3);
        assert_eq!((&c.state()["messages"], &c.state()["first_seq"]), (&json!(2), &json!(2)));
        There
    }),
    ("max_bytes", |c| {
        c.stream(json!({ "max_bytes": 300 }), 20);
        let state = c.state();
        assert!(state["bytes"].as_u64().unwrap() <= 300 && state["messages"].as_u64().unwrap() > 1, "{state}");
        There
    }),
    ("max_msgs_per_subject", |c| {
        c.stream(json!({ "max_msgs_per_subject": 1 }), 2);
        c.publish("1", &[], "newer");
        assert_eq!(c.state()["messages"], json!(2));
        There
    }),
    ("max_msg_size", |c| {
        c.stream(json!({ "max_msg_size": 3 }), 0);
        assert_eq!(c.publish("1", &[], "abc")["seq"], json!(1));
        assert_eq!(code(&c.publish("1", &[], "abcd")), 10054);
        There
    }),
    ("max_consumers", |c| {
        c.stream(json!({ "max_consumers": 1 }), 0);
        c.consumer(json!({}));
        let body = json!({ "stream_name": c.name, "config": { "durable_name": "D", "ack_policy": "explicit" } });
        assert_eq!(code(&c.api(&format!("CONSUMER.DURABLE.CREATE.{}.D", c.name), body)), 10026);
        There
    }),
    ("max_age", |c| {
        c.stream(json!({ "max_age": 200_000_000, "duplicate_window": 100_000_000 }), 1);
        c.wait("expiry", |c| c.state()["messages"] == json!(0));
        There
    }),
    ("discard", |c| {
        c.stream(json!({ "discard": "new", "max_msgs": 1 }), 1);
        assert_eq!(code(&c.publish("2", &[], "x")), 10077);
        There
    }),
    ("discard_new_per_subject", |c| {
        let config =
            json!({ "discard": "new", "max_msgs": 9, "max_msgs_per_subject": 1, "discard_new_per_subject": true });
        c.stream(config, 1);
        assert_eq!(code(&c.publish("1", &[], "x")), 10077);
        There
    }),
    ("storage", |c| kept(c, "storage", json!("memory"))),
    ("num_replicas", |c| {
        assert_eq!(code(&c.try_stream(json!({ "num_replicas": 3 }))), 10074);
        kept(c, "num_replicas", json!(1))
    }),
    ("duplicate_window", |c| {
        c.stream(json!({ "duplicate_window": 100_000_000 }), 0);
        let id = [("Nats-Msg-Id", "a")];
        assert_eq!(c.publish("1", &id, "x")["seq"], json!(1));
        c.wait("the end of the window", |c| c.publish("1", &id, "x")["duplicate"].is_null());
        There
    }),
    ("no_ack", |c| {
        c.stream(json!({ "no_ack": true }), 0);
        let inbox = c.inbox.clone();
        c.send(&format!("{}.1", c.subject), Some(&inbox), &[], b"x");
        c.wait("the message", |c| c.state()["messages"] == json!(1));
        assert!(c.silent());
        There
    }),
    ("allow_direct", |c| {
        c.stream(json!({ "allow_direct": false }), 1);
        let got = c.request(&format!("$JS.API.DIRECT.GET.{}", c.name), &[], b"{\"seq\":1}");
        assert_eq!(got.status(), Some(503), "{got:?}");
        There
    }),
    ("mirror_direct", |c| kept(c, "mirror_direct", json!(false))),
    ("allow_rollup_hdrs", |c| {
        c.stream(json!({}), 0);
        assert_eq!(code(&c.publish("1", &[("Nats-Rollup", "sub")], "x")), 10111);
        There
    }),
    ("deny_delete", |c| {
        c.stream(json!({ "deny_delete": true }), 1);
        let answer = c.api(&format!("STREAM.MSG.DELETE.{}", c.name), json!({ "seq": 1 }));
        assert!(answer["error"]["description"].as_str().unwrap().contains("message delete not permitted"), "{answer}");
        There
    }),
    ("deny_purge", |c| {
        c.stream(json!({ "deny_purge": true }), 1);
        let answer = c.api(&format!("STREAM.PURGE.{}", c.name), Value::Null);
        assert!(answer["error"]["description"].as_str().unwrap().contains("stream purge not permitted"), "{answer}");
        There
    }),
    ("sealed", |c| {
        let mut config = c.stream(json!({}), 1)["config"].take();
        config["sealed"] = json!(true);
        let sealed = c.api(&format!("STREAM.UPDATE.{}", c.name), config);
        assert_eq!(sealed["config"]["sealed"], json!(true), "{sealed}");
        assert_eq!(code(&c.publish("1", &[], "x")), 10109);
        There
    }),
    ("metadata", |c| {
        let made = c.stream(json!({ "metadata": { "k": "v" } }), 0);
        assert_eq!(made["config"]["metadata"]["k"], json!("v"));
        There
    }),
    ("compression", |c| kept(c, "compression", json!("s2"))),
    ("first_seq", |c| {
        unless_refused(c, json!({ "first_seq": 100 }), "first", |c| {
            assert_eq!(c.publish("1", &[], "x")["seq"], json!(100));
        })
    }),
    ("placement", |c| {
        let made = c.try_stream(json!({ "placement": { "cluster": "elsewhere" } }));
        if made.get("error").is_some() {
            return Shown::Refused(code(&made));
        }
        assert_eq!(made["config"]["placement"]["cluster"], json!("elsewhere"));
        Differs("kept and shown; there is no cluster to place it in")
    }),
    ("mirror", |c| {
        c.stream(json!({}), 2);
        let mirror = format!("{}M", c.name);
        let made = c.api(&format!("STREAM.CREATE.{mirror}"), json!({ "name": mirror, "mirror": { "name": c.name } }));
        refusal(&made, "mirror").unwrap_or_else(|| {
            c.wait("a mirrored message", |c| {
                c.api(&format!("STREAM.INFO.{mirror}"), Value::Null)["state"]["messages"] == json!(2)
            });
            There
        })
    }),
    ("sources", |c| {
        c.stream(json!({}), 2);
        let to = format!("{}S", c.name);
        let made = c.api(&format!("STREAM.CREATE.{to}"), json!({ "name": to, "sources": [{ "name": c.name }] }));
        refusal(&made, "source").unwrap_or_else(|| {
            c.wait("a sourced message", |c| {
                c.api(&format!("STREAM.INFO.{to}"), Value::Null)["state"]["messages"] == json!(2)
            });
            There
        })
    }),
    ("mirror.consumer", |c| by_consumer(c, |source| json!({ "mirror": source }))),
    ("sources.consumer", |c| by_consumer(c, |source| json!({ "sources": [source] }))),
    ("subject_transform", |c| {
        let transform =
            json!({ "src": format!("{}.*", c.subject), "dest": format!("{}.new.{{{{wildcard(1)}}}}", c.subject) });
        unless_refused(c, json!({ "subject_transform": transform }), "transform", |c| {
            c.publish("1", &[], "x");
            let got = c.api(&format!("STREAM.MSG.GET.{}", c.name), json!({ "seq": 1 }));
            assert_eq!(got["message"]["subject"], json!(format!("{}.new.1", c.subject)));
        })
    }),
    ("republish", |c| {
        let config = json!({ "republish": { "src": ">", "dest": format!("again.{}.>", c.subject) } });
        unless_refused(c, config, "republish", |c| {
            c.subscribe(&format!("again.{}.>", c.subject));
            c.publish("1", &[], "x");
            assert_eq!(c.until(|message| message.sid == "9").header("Nats-Sequence").as_deref(), Some("1"));
        })
    }),
    ("consumer_limits", |c| {
        c.stream(json!({ "consumer_limits": { "max_ack_pending": 5 } }), 0);
        assert_eq!(c.consumer(json!({}))["config"]["max_ack_pending"], json!(5));
        There
    }),
    ("allow_msg_ttl", |c| {
        let made = c.stream(json!({ "allow_msg_ttl": true }), 0);
        let ack = c.publish("1", &[("Nats-TTL", "1s")], "x");
        if made["config"]["allow_msg_ttl"] != json!(true) {
            assert_eq!(code(&ack), 10166);
            return Differs("answered as off");
        }
        c.wait("expiry", |c| c.state()["messages"] == json!(0));
        There
    }),
    ("subject_delete_marker_ttl", |c| {
        let config = json!({ "subject_delete_marker_ttl": 1_000_000_000_u64, "allow_msg_ttl": true,
            "allow_rollup_hdrs": true, "max_age": 1_000_000_000_u64, "duplicate_window": 100_000_000 });
        unless_refused(c, config, "marker", |c| {
            c.publish("1", &[], "x");
            c.wait("marker", |c| c.state()["last_seq"] == json!(2));
        })
    }),
    ("allow_msg_counter", |c| {
        unless_refused(c, json!({ "allow_msg_counter": true }), "counter", |c| {
            c.publish("1", &[("Nats-Incr", "2")], "");
            assert_eq!(c.publish("1", &[("Nats-Incr", "3")], "")["val"], json!("5"));
        })
    }),
    ("allow_atomic", |c| {
        unless_refused(c, json!({ "allow_atomic": true }), "atomic", |c| {
            let head = |n| [("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", n)];
            let first = head("1");
            c.request(&format!("{}.1", c.subject), &first, b"x");
            assert_eq!(c.state()["messages"], json!(0));
            let last = [("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", "2"), ("Nats-Batch-Commit", "1")];
            assert_eq!(c.publish("2", &last, "y")["count"], json!(2));
        })
    }),
    ("allow_msg_schedules", |c| {
        unless_refused(c, json!({ "allow_msg_schedules": true, "allow_msg_ttl": true }), "schedules", |c| {
            let target = format!("{}.target", c.subject);
            c.publish("s", &[("Nats-Schedule", "@at 2020-01-01T00:00:00Z"), ("Nats-Schedule-Target", &target)], "x");
            c.wait("the scheduled message", |c| c.state()["subjects"][&target] == json!(1));
        })
    }),
    ("persist_mode", |c| {
        unless_refused(c, json!({ "persist_mode": "async" }), "async", |c| {
            c.publish("1", &[], "x");
            assert_eq!(c.state()["messages"], json!(1));
        })
    }),
    ("allow_batched", |c| {
        unless_refused(c, json!({ "allow_batched": true }), "batch", |c| {
            let ack = c.fast("f", &["1", "2"]);
            assert_eq!((&ack["batch"], &ack["count"]), (&json!("f"), &json!(2)), "{ack}");
            assert_eq!(c.state()["messages"], json!(2));
        })
    }),
    ("pedantic", |c| {
        let made =
            c.try_stream(json!({ "pedantic": true, "max_age": 1_000_000_000, "duplicate_window": 2_000_000_000_u64 }));
        assert!(made["error"].is_object(), "{made}");
        c.stream(json!({}), 1);
        c.consumer(json!({}));
        assert_eq!(seqs(&c.there(1).0), [1]);
        There
    }),
];
