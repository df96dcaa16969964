//! Every request there is.

use serde_json::{Value, json};

use crate::Shown::{self, Differs, Refused, There};
use crate::asking::{Asking, code};

/// Only a cluster has it.
fn of_a_cluster(c: &mut Asking, operation: &str) -> Shown {
    let name = c.name.clone();
    c.stream(json!({}), 0);
    let answer = c.request(&format!("$JS.API.{}", operation.replace("{S}", &name)), &[], b"{\"peer\":\"x\"}");
    if answer.status() == Some(503) {
        return Differs("no responders");
    }
    let answer: Value = serde_json::from_str(answer.text()).unwrap();
    Refused(code(&answer))
}

/// What is not there has no responder, which is what clients look for.
fn absent(c: &mut Asking, operation: &str, body: &str) -> Shown {
    let name = c.name.clone();
    c.stream(json!({}), 1);
    let answer = c.request(&format!("$JS.API.{}", operation.replace("{S}", &name)), &[], body.as_bytes());
    if answer.status() == Some(503) {
        return Differs("no responders");
    }
    let answer: Value = serde_json::from_str(answer.text()).unwrap();
    if answer.get("error").is_some() { Refused(code(&answer)) } else { There }
}

pub(crate) const ROWS: &[crate::Row] = &[
    ("INFO", |c| {
        let before = c.done("INFO", Value::Null, "account_info_response")["streams"].as_u64().unwrap();
        c.stream(json!({}), 0);
        let info = c.done("INFO", Value::Null, "account_info_response");
        assert_eq!(info["streams"].as_u64(), Some(before + 1));
        assert!(info["limits"]["max_streams"].is_i64() && info["api"]["total"].is_u64(), "{info}");
        There
    }),
    ("STREAM.CREATE.S", |c| {
        let name = c.name.clone();
        let config = json!({ "name": name, "subjects": [c.subject] });
        let made = c.done(&format!("STREAM.CREATE.{name}"), config.clone(), "stream_create_response");
        assert_eq!(made["did_create"], json!(true));
        let again = c.done(&format!("STREAM.CREATE.{name}"), config, "stream_create_response");
        assert_ne!(again["did_create"], json!(true));
        There
    }),
    ("STREAM.UPDATE.S", |c| {
        let name = c.name.clone();
        c.stream(json!({}), 3);
        let config = json!({ "name": name, "subjects": [format!("{}.>", c.subject)], "max_msgs": 1 });
        c.done(&format!("STREAM.UPDATE.{name}"), config, "stream_update_response");
        c.wait("the new limit", |c| c.state()["messages"] == json!(1));
        There
    }),
    ("STREAM.INFO.S", |c| {
        let name = c.name.clone();
        c.stream(json!({}), 2);
        let info = c.done(&format!("STREAM.INFO.{name}"), Value::Null, "stream_info_response");
        assert_eq!((&info["state"]["messages"], &info["config"]["name"]), (&json!(2), &json!(name)));
        There
    }),
    ("STREAM.DELETE.S", |c| {
        let name = c.name.clone();
        c.stream(json!({}), 1);
        c.done(&format!("STREAM.DELETE.{name}"), Value::Null, "stream_delete_response");
        assert_eq!(code(&c.api(&format!("STREAM.INFO.{name}"), Value::Null)), 10059);
        There
    }),
    ("STREAM.PURGE.S", |c| {
        let (name, subject) = (c.name.clone(), c.subject.clone());
        c.stream(json!({}), 5);
        let purge = |c: &mut Asking, body: Value| {
            c.done(&format!("STREAM.PURGE.{name}"), body, "stream_purge_response")["purged"].take()
        };
        assert_eq!(purge(c, json!({ "filter": format!("{subject}.5") })), json!(1));
        assert_eq!(purge(c, json!({ "seq": 2 })), json!(1));
        assert_eq!(purge(c, json!({ "keep": 1 })), json!(2));
        assert_eq!(purge(c, Value::Null), json!(1));
        There
    }),
    ("STREAM.NAMES", |c| {
        c.stream(json!({}), 0);
        let (name, subject) = (c.name.clone(), c.subject.clone());
        let names = c.done("STREAM.NAMES", json!({ "subject": format!("{subject}.x") }), "stream_names_response");
        assert_eq!(names["streams"], json!([name]));
        There
    }),
    ("STREAM.LIST", |c| {
        c.stream(json!({}), 1);
        let subject = format!("{}.x", c.subject);
        let list = c.done("STREAM.LIST", json!({ "subject": subject }), "stream_list_response");
        assert_eq!(list["streams"][0]["state"]["messages"], json!(1), "{list}");
        There
    }),
    ("STREAM.MSG.GET.S", |c| {
        let name = c.name.clone();
        c.stream(json!({}), 2);
        let got = c.done(&format!("STREAM.MSG.GET.{name}"), json!({ "seq": 2 }), "stream_msg_get_response");
        assert_eq!(got["message"]["data"], json!("bWVzc2FnZSAy"));
        There
    }),
    ("STREAM.MSG.DELETE.S", |c| {
        let name = c.name.clone();
        c.stream(json!({}), 2);
        c.done(&format!("STREAM.MSG.DELETE.{name}"), json!({ "seq": 1 }), "stream_msg_delete_response");
        assert_eq!(code(&c.api(&format!("STREAM.MSG.GET.{name}"), json!({ "seq": 1 }))), 10037);
        There
    }),
    ("DIRECT.GET.S", |c| {
        let name = c.name.clone();
        c.stream(json!({ "allow_direct": true }), 2);
        let got = c.request(&format!("$JS.API.DIRECT.GET.{name}"), &[], b"{\"seq\":2}");
        assert_eq!((got.text(), got.sequence()), ("message 2", 2));
        There
    }),
    ("DIRECT.GET.S.SUBJECT", |c| {
        let (name, subject) = (c.name.clone(), c.subject.clone());
        c.stream(json!({ "allow_direct": true }), 2);
        let got = c.request(&format!("$JS.API.DIRECT.GET.{name}.{subject}.1"), &[], b"");
        assert_eq!((got.text(), got.sequence()), ("message 1", 1));
        There
    }),
    ("CONSUMER.CREATE.S", |c| {
        let name = c.name.clone();
        c.stream(json!({}), 1);
        let body = json!({ "stream_name": name, "config": { "ack_policy": "none" } });
        let made = c.done(&format!("CONSUMER.CREATE.{name}"), body, "consumer_create_response");
        assert!(
            made["name"].as_str().is_some_and(|name| !name.is_empty()) && made["num_pending"] == json!(1),
            "{made}"
        );
        There
    }),
    ("CONSUMER.CREATE.S.C", |c| {
        let name = c.name.clone();
        c.stream(json!({}), 1);
        let body = json!({ "stream_name": name, "config": { "name": "C", "ack_policy": "none" } });
        let made = c.done(&format!("CONSUMER.CREATE.{name}.C"), body, "consumer_create_response");
        assert_eq!(made["name"], json!("C"));
        There
    }),
    ("CONSUMER.CREATE.S.C.FILTER", |c| {
        let (name, filter) = (c.name.clone(), format!("{}.2", c.subject));
        c.stream(json!({}), 3);
        let config = json!({ "name": "C", "filter_subject": filter });
        let body = json!({ "stream_name": name, "config": config });
        let made = c.done(&format!("CONSUMER.CREATE.{name}.C.{filter}"), body, "consumer_create_response");
        assert_eq!(made["num_pending"], json!(1));
        There
    }),
    ("CONSUMER.DURABLE.CREATE.S.C", |c| {
        let name = c.name.clone();
        c.stream(json!({}), 1);
        let body = json!({ "stream_name": name, "config": { "durable_name": "C", "ack_policy": "explicit" } });
        let made = c.done(&format!("CONSUMER.DURABLE.CREATE.{name}.C"), body, "consumer_create_response");
        assert_eq!(made["config"]["durable_name"], json!("C"));
        There
    }),
    ("CONSUMER.INFO.S.C", |c| {
        let name = c.name.clone();
        c.stream(json!({}), 3);
        c.consumer(json!({}));
        let info = c.done(&format!("CONSUMER.INFO.{name}.C"), Value::Null, "consumer_info_response");
        assert_eq!(info["num_pending"], json!(3));
        There
    }),
    ("CONSUMER.DELETE.S.C", |c| {
        let name = c.name.clone();
        c.stream(json!({}), 0);
        c.consumer(json!({}));
        c.done(&format!("CONSUMER.DELETE.{name}.C"), Value::Null, "consumer_delete_response");
        assert_eq!(code(&c.consumer_info()), 10014);
        There
    }),
    ("CONSUMER.NAMES.S", |c| {
        let name = c.name.clone();
        c.stream(json!({}), 0);
        c.consumer(json!({}));
        let names = c.done(&format!("CONSUMER.NAMES.{name}"), Value::Null, "consumer_names_response");
        assert_eq!(names["consumers"], json!(["C"]));
        There
    }),
    ("CONSUMER.LIST.S", |c| {
        let name = c.name.clone();
        c.stream(json!({}), 2);
        c.consumer(json!({}));
        let list = c.done(&format!("CONSUMER.LIST.{name}"), Value::Null, "consumer_list_response");
        assert_eq!(list["consumers"][0]["num_pending"], json!(2), "{list}");
        There
    }),
    ("CONSUMER.MSG.NEXT.S.C", |c| {
        c.stream(json!({}), 1);
        c.consumer(json!({}));
        c.send(&format!("$JS.API.CONSUMER.MSG.NEXT.{}.C", c.name), Some(&c.inbox.clone()), &[], b"");
        assert_eq!(c.next().text(), "message 1");
        There
    }),
    ("CONSUMER.PAUSE.S.C", |c| {
        let name = c.name.clone();
        c.stream(json!({}), 1);
        c.consumer(json!({}));
        let body = json!({ "pause_until": "2099-01-01T00:00:00Z" });
        let paused = c.done(&format!("CONSUMER.PAUSE.{name}.C"), body, "consumer_pause_response");
        assert_eq!((&paused["paused"], &c.consumer_info()["paused"]), (&json!(true), &json!(true)));
        c.pull(json!({ "batch": 1 }));
        assert!(c.silent());
        c.done(&format!("CONSUMER.PAUSE.{name}.C"), Value::Null, "consumer_pause_response");
        assert_eq!(c.until(|message| message.sid == "2").text(), "message 1");
        There
    }),
    ("CONSUMER.RESET.S.C", |c| {
        let name = c.name.clone();
        c.stream(json!({}), 3);
        c.consumer(json!({ "ack_policy": "none" }));
        assert_eq!(c.there(3).0.len(), 3);
        let reset = c.done(&format!("CONSUMER.RESET.{name}.C"), json!({ "seq": 2 }), "consumer_reset_response");
        assert_eq!((&reset["reset_seq"], c.there(1).0[0].text()), (&json!(2), "message 2"));
        There
    }),
    ("CONSUMER.UNPIN.S.C", |c| {
        let name = c.name.clone();
        c.stream(json!({}), 1);
        c.consumer(json!({ "priority_groups": ["g"], "priority_policy": "pinned_client" }));
        c.pull(json!({ "batch": 2, "group": "g" }));
        assert!(c.next().header("Nats-Pin-Id").is_some());
        c.done(&format!("CONSUMER.UNPIN.{name}.C"), json!({ "group": "g" }), "consumer_unpin_response");
        let pinned = c.consumer_info()["priority_groups"][0]["pinned_client_id"].take();
        assert!(pinned.as_str().is_none_or(str::is_empty), "{pinned}");
        There
    }),
    ("CONSUMER.LEADER.STEPDOWN.S.C", |c| of_a_cluster(c, "CONSUMER.LEADER.STEPDOWN.{S}.C")),
    ("STREAM.LEADER.STEPDOWN.S", |c| of_a_cluster(c, "STREAM.LEADER.STEPDOWN.{S}")),
    ("STREAM.PEER.REMOVE.S", |c| of_a_cluster(c, "STREAM.PEER.REMOVE.{S}")),
    ("STREAM.PEER.EVACUATE.S", |c| of_a_cluster(c, "STREAM.PEER.EVACUATE.{S}")),
    ("STREAM.CANCEL_MOVE.S", |c| of_a_cluster(c, "STREAM.CANCEL_MOVE.{S}")),
    ("META.LEADER.STEPDOWN", |c| of_a_cluster(c, "META.LEADER.STEPDOWN")),
    ("SERVER.REMOVE", |c| of_a_cluster(c, "SERVER.REMOVE")),
    ("ACCOUNT.PURGE.A", |c| of_a_cluster(c, "ACCOUNT.PURGE.A")),
    ("STREAM.SNAPSHOT.S", |c| absent(c, "STREAM.SNAPSHOT.{S}", "{\"deliver_subject\":\"_INBOX.snapshot\"}")),
    ("STREAM.RESTORE.S", |c| absent(c, "STREAM.RESTORE.{S}", "{}")),
];
