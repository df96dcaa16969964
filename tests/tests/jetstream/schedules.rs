//! Messages that are published at a later time.

use serde_json::json;
use sublog_tests::{Message, clock};

use crate::{Asking, server};

fn stream(js: &mut Asking) {
    js.create(json!({ "name": "S", "subjects": ["s.>"], "allow_msg_schedules": true, "allow_msg_ttl": true,
        "allow_direct": true }));
}

/// The text of a time so many milliseconds from now.
fn in_ms(ms: u64) -> String {
    let at = clock::wall() + std::time::Duration::from_millis(ms);
    sublog_broker::rfc3339::format(i64::try_from(at.as_nanos()).unwrap())
}

fn last(js: &mut Asking, subject: &str) -> Option<Message> {
    let found = js.request(&format!("$JS.API.DIRECT.GET.S.{subject}"), &[], b"");
    found.status().is_none().then_some(found)
}

fn keys(message: &Message) -> String {
    ["Nats-Scheduler", "Nats-Schedule-Next", "Nats-TTL", "Nats-Rollup", "Nats-Schedule", "My-Key"]
        .map(|key| message.header(key).unwrap_or_default())
        .join("|")
}

#[test]
fn one_is_published_when_it_is_due() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    stream(&mut js);
    let at = format!("@at {}", in_ms(1500));
    let schedule =
        [("Nats-Schedule", &*at), ("Nats-Schedule-Target", "s.target"), ("Nats-Schedule-TTL", "1h"), ("My-Key", "v")];
    js.stored("s.plan", &schedule, "body", 1);
    assert!(last(&mut js, "s.target").is_none());
    let kept = last(&mut js, "s.plan").unwrap();
    assert_eq!(kept.header("Nats-Rollup").as_deref(), Some("sub"), "one schedule a subject");
    let made = clock::until("what was planned", || last(&mut js, "s.target"));
    assert_eq!((made.text(), &*keys(&made)), ("body", "s.plan|purge|1h|||v"));
    clock::until("the schedule's end", || (js.state("S")["subjects"] == json!({ "s.target": 1 })).then_some(()));
}

#[test]
fn one_outlives_the_server() {
    let mut server = server(&[]);
    {
        let mut js = Asking::new(&server);
        stream(&mut js);
        let at = format!("@at {}", in_ms(1000));
        js.stored("s.plan", &[("Nats-Schedule", &at), ("Nats-Schedule-Target", "s.target")], "1", 1);
        // Another one takes its place; one that is removed is none.
        let at = format!("@at {}", in_ms(1500));
        js.stored("s.plan", &[("Nats-Schedule", &at), ("Nats-Schedule-Target", "s.target")], "2", 2);
        js.stored("s.gone", &[("Nats-Schedule", &at), ("Nats-Schedule-Target", "s.never")], "3", 3);
        js.api("STREAM.PURGE.S", json!({ "filter": "s.gone" }));
        js.stored("s.not", &[("Nats-Schedule", &at), ("Nats-Schedule-Target", "s.never")], "4", 4);
        js.stored("s.not", &[], "no schedule any more", 5);
    }
    server.kill9();
    server.restart();
    let mut js = Asking::new(&server);
    let made = clock::until("what was planned", || last(&mut js, "s.target"));
    assert_eq!(made.text(), "2");
    clock::until("its end", || (js.state("S")["subjects"] == json!({ "s.target": 1, "s.not": 2 })).then_some(()));
}

#[test]
fn one_is_published_again_and_again() {
    let mut server = server(&[]);
    {
        let mut js = Asking::new(&server);
        stream(&mut js);
        js.stored("s.source", &[("My-Key", "source")], "from the source", 1);
        let every = [
            ("Nats-Schedule", "@every 1s"),
            ("Nats-Schedule-Target", "s.target"),
            ("Nats-Schedule-Source", "s.source"),
        ];
        js.stored("s.plan", &every, "body", 2);
        let often = [
            ("Nats-Schedule", "* * * * * *"),
            ("Nats-Schedule-Time-Zone", "Europe/Berlin"),
            ("Nats-Schedule-Target", "s.often"),
            ("Nats-Schedule-Rollup", "sub"),
        ];
        js.stored("s.cron", &often, "tick", 3);
        let count = |js: &mut Asking, subject: &str| js.state("S")["subjects"][subject].as_u64().unwrap_or(0);
        clock::until("two rounds", || (count(&mut js, "s.target") >= 2).then_some(()));
        let made = last(&mut js, "s.target").unwrap();
        assert_eq!((made.text(), made.header("My-Key").as_deref()), ("from the source", Some("source")));
        assert!(made.header("Nats-Schedule-Next").unwrap().ends_with('Z'), "{made:?}");
        let tick = clock::until("a tick", || last(&mut js, "s.often"));
        assert!(keys(&tick).starts_with("s.cron|2") && keys(&tick).ends_with("||sub||"), "{tick:?}");
    }
    server.kill9();
    server.restart();
    let mut js = Asking::new(&server);
    let before = js.state("S")["subjects"]["s.target"].as_u64().unwrap();
    clock::until("a round after the restart", || {
        (js.state("S")["subjects"]["s.target"].as_u64().unwrap() > before + 1).then_some(())
    });
    clock::until("one tick only", || (js.state("S")["subjects"]["s.often"] == json!(1)).then_some(()));
    // A client ends it.
    js.publish("s.end", &[("Nats-Schedule-Next", "purge"), ("Nats-Scheduler", "s.plan")], "");
    clock::until("its end", || js.state("S")["subjects"]["s.plan"].is_null().then_some(()));
}

#[test]
fn nonsense_is_refused() {
    let server = server(&[]);
    let mut js = Asking::new(&server);
    stream(&mut js);
    js.create(json!({ "name": "P", "subjects": ["p"] }));
    let target = ("Nats-Schedule-Target", "s.target");
    let every = ("Nats-Schedule", "@every 1h");
    for (headers, code) in [
        (vec![("Nats-Schedule", "@every soon"), target], 10189),
        (vec![("Nats-Schedule", "* * * * *"), target], 10189),
        (vec![every], 10190),
        (vec![every, ("Nats-Schedule-Target", "s.plan")], 10190),
        (vec![every, ("Nats-Schedule-Target", "s.*")], 10190),
        (vec![every, ("Nats-Schedule-Target", "elsewhere")], 10190),
        (vec![every, target, ("Nats-Schedule-TTL", "soon")], 10191),
        (vec![every, target, ("Nats-Schedule-Rollup", "all")], 10192),
        (vec![every, target, ("Nats-Rollup", "all")], 10192),
        (vec![every, target, ("Nats-Schedule-Source", "s.target")], 10203),
        (vec![every, target, ("Nats-Schedule-Source", "elsewhere")], 10203),
        (vec![every, target, ("Nats-Schedule-Time-Zone", "UTC")], 10189),
        (vec![("Nats-Schedule", "@hourly"), target, ("Nats-Schedule-Time-Zone", "Nowhere")], 10223),
        (vec![("Nats-Scheduler", "s.x")], 10212),
        (vec![("Nats-Schedule-Next", "purge")], 10212),
        (vec![("Nats-Schedule-Next", "2030-01-01T00:00:00Z"), ("Nats-Scheduler", "s.x")], 10212),
    ] {
        let ack = js.publish("s.plan", &headers, "");
        assert_eq!(ack["error"]["err_code"], json!(code), "{headers:?}: {ack}");
    }
    js.refused("p", &[every, ("Nats-Schedule-Target", "p")], "", 10188, "message schedules is disabled");
    js.stored("s.message", &[], "", 1);
    let ends = [("Nats-Schedule-Next", "purge"), ("Nats-Scheduler", "s.message")];
    js.refused("s.plan", &ends, "", 10212, "message schedules invalid scheduler");
    assert_eq!(js.state("S")["messages"], json!(1));
}
