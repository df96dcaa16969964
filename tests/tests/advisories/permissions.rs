//! Rows 18, 19, 20 and those after them: what a user is given is what the user may have, on every way there is.
//!
//! Random users with random lists, queue groups and wildcards among them; each subscribes, replays, consumes and publishes.
//! Whatever arrives is held to the plain rules of `model`. `SUBLOG_PERMISSION_CASES` is how many users.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sublog_tests::{Configured, Message, Random, RawClient, clock};

use crate::model::{self, Lists};
use crate::{request, start_with};

struct User {
    name: String,
    publish: Lists,
    subscribe: Lists,
}

/// What came by each way, and what was kept back there.
#[derive(Default, Debug)]
struct Count {
    delivered: BTreeMap<&'static str, usize>,
    kept_back: usize,
}

fn users(random: &mut Random, count: usize) -> Vec<User> {
    (0..count)
        .map(|n| {
            let inbox = format!("_INBOX.u{n}.>");
            let subscribe = model::lists(random, true, &[&inbox, "$REPLAY.>"]);
            User { name: format!("u{n}"), publish: model::lists(random, false, &["$JS.>", &inbox]), subscribe }
        })
        .collect()
}

fn start_for(users: &[User]) -> Configured {
    let listed: String = users
        .iter()
        .map(|User { name, publish, subscribe }| {
            let (publish, subscribe) = (publish.text(), subscribe.text());
            format!(
                "{{ user: {name}, password: {name}p, permissions {{ publish {publish}, subscribe {subscribe} }} }}\n"
            )
        })
        .collect();
    start_with(&format!("authorization {{ users: [ {{ user: all, password: allp }}\n{listed} ] }}"), &["--sync", "os"])
}

fn api(client: &mut RawClient, inbox: &str, operation: &str, body: &Value) -> Value {
    let answer = request(client, inbox, &format!("$JS.API.{operation}"), body.to_string().as_bytes());
    serde_json::from_slice(&answer.payload).unwrap()
}

/// What a consumer has to do, and why it does not.
fn consumer_info(client: &mut RawClient, names: &str) -> Value {
    let header = "NATS/1.0\r\nSublog-Info: 1\r\n\r\n";
    client.subscribe("_INBOX.all.i", "info");
    client.send(format!("HPUB $JS.API.CONSUMER.INFO.{names} _INBOX.all.i {0} {0}\r\n{header}\r\n", header.len()));
    loop {
        let message = client.message();
        if message.sid == "info" {
            client.send("UNSUB info\r\n");
            return serde_json::from_slice(&message.payload).unwrap();
        }
    }
}

/// One user's life.
struct Case<'c> {
    user: &'c User,
    client: RawClient,
    /// Filter and group of each subscription that was asked for.
    subscriptions: BTreeMap<String, (String, Option<String>)>,
    /// The replay has come to the end of its history, or there is none.
    caught_up: bool,
    count: &'c mut Count,
}

impl Case<'_> {
    /// Holds a message to the rules.
    fn look(&mut self, message: &Message) {
        let Message { subject, sid, .. } = message;
        let subscribe = &self.user.subscribe;
        let way = match sid.as_str() {
            // The status at the end of a replay's history is no message.
            "replay" if message.payload.is_empty() && message.status() == Some(204) => {
                self.caught_up = true;
                return;
            }
            "replay" => "replay",
            // A consumer's: it comes to whoever listens where it is sent; its own subject must not be denied.
            _ if message.reply.as_ref().is_some_and(|reply| reply.starts_with("$JS.ACK.")) => {
                let queue = self.subscriptions.get(sid).and_then(|(_, queue)| queue.clone());
                let denied = subscribe.denies(subject, queue.as_deref());
                assert!(!denied, "{}: {message:?} {subscribe:#?}", self.user.name);
                let way =
                    ["push", "pull", "ordered", "mirror"].into_iter().find(|way| way == sid).unwrap_or("overheard");
                *self.count.delivered.entry(way).or_default() += usize::from(subject.starts_with('s'));
                return;
            }
            // Statuses, and answers of the server.
            "push" | "pull" | "ordered" | "mirror" => {
                assert!(subject.starts_with("_INBOX."), "{message:?}");
                return;
            }
            _ if subject.starts_with('r') => "republished",
            _ if message.reply.is_some() => "with a reply",
            _ => "live",
        };
        let queue = self.subscriptions.get(sid).and_then(|(_, queue)| queue.clone());
        assert!(
            subscribe.allows(subject, queue.as_deref()),
            "{} got {subject} by {way} in {queue:?} of {:?}: {subscribe:#?}",
            self.user.name,
            self.subscriptions.get(sid),
        );
        *self.count.delivered.entry(if queue.is_some() { "in a queue" } else { way }).or_default() += 1;
    }

    fn flush(&mut self) {
        let (messages, errors) = self.client.flush_with_errors();
        self.caught_up |= errors.iter().any(|error| error.contains("Subscription to \"$REPLAY"));
        for message in &messages {
            self.look(message);
        }
    }

    fn subscribe(&mut self, random: &mut Random) {
        for n in 0..4 {
            let (filter, queue) = (model::filter(random), model::queue(random));
            let group = queue.clone().unwrap_or_default();
            self.client.send(format!("SUB {filter} {group} live{n}\r\n"));
            self.subscriptions.insert(format!("live{n}"), (filter, queue));
        }
        self.client.subscribe(&format!("$REPLAY.last.60.{}", model::filter(random)), "replay");
        self.flush();
    }

    /// A consumer of one kind, whose messages come to the subscription of that name.
    fn consume(&mut self, all: &mut RawClient, kind: &'static str) {
        let (name, inbox) = (self.user.name.clone(), format!("_INBOX.{}.{kind}", self.user.name));
        self.client.subscribe(&inbox, kind);
        let (stream, consumer) = (if kind == "mirror" { "M" } else { "S" }, format!("{name}{kind}"));
        let mut config = json!({ "name": consumer, "ack_policy": "none", "inactive_threshold": 60_000_000_000_u64 });
        match kind {
            "pull" => {}
            "ordered" => {
                config["flow_control"] = json!(true);
                config["idle_heartbeat"] = json!(60_000_000_000_u64);
                config["max_deliver"] = json!(1);
                config["mem_storage"] = json!(true);
                config["deliver_subject"] = json!(inbox);
            }
            _ => config["deliver_subject"] = json!(inbox),
        }
        let body = json!({ "stream_name": stream, "config": config }).to_string();
        let subject = format!("$JS.API.CONSUMER.CREATE.{stream}.{consumer}");
        self.client.send(format!("PUB {subject} _INBOX.{name}.made {}\r\n{body}\r\n", body.len()));
        if kind == "pull" {
            let body = r#"{"batch":50,"no_wait":true}"#;
            self.flush();
            let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
            self.client.send(format!("PUB {subject} {inbox} {}\r\n{body}\r\n", body.len()));
        }
        // Its answer is not waited for: the user may not listen there, or not ask. What it has sent is.
        self.flush();
        clock::until("the consumer's deliveries", || {
            let info = consumer_info(all, &format!("{stream}.{consumer}"));
            let idle = info["error"].is_object() || info["num_pending"] == 0 || info["sublog"]["stalled"].is_string();
            self.flush();
            idle.then_some(())
        });
        self.flush();
        api(all, "_INBOX.all.i", &format!("CONSUMER.DELETE.{stream}.{consumer}"), &json!({}));
    }
}

#[test]
fn delivered_is_allowed_on_every_way() {
    let cases = std::env::var("SUBLOG_PERMISSION_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    let mut random =
        Random::new(std::env::var("SUBLOG_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_130));
    let users = users(&mut random, cases);
    let configured = start_for(&users);
    let mut all = configured.user("all");
    for stream in [
        json!({ "name": "S", "subjects": ["s", "s.>"], "max_msgs_per_subject": 1, "republish": { "src": ">", "dest": "r.>" } }),
        json!({ "name": "M", "mirror": { "name": "S" }, "max_msgs_per_subject": 1 }),
    ] {
        let name = stream["name"].as_str().unwrap().to_owned();
        let made = api(&mut all, "_INBOX.all.i", &format!("STREAM.CREATE.{name}"), &stream);
        assert!(made["error"].is_null(), "{made}");
    }
    let subjects: Vec<String> = model::subjects().into_iter().filter(|subject| !subject.starts_with('r')).collect();
    let mut listener = configured.user("all");
    listener.send("SUB a 1\r\nSUB a.> 2\r\nSUB b 3\r\nSUB b.> 4\r\nSUB s 5\r\nSUB s.> 6\r\n");
    listener.sync();
    let mut count = Count::default();
    for user in &users {
        let client = configured.user(&user.name);
        let mut case = Case { user, client, subscriptions: BTreeMap::new(), caught_up: false, count: &mut count };
        case.subscribe(&mut random);
        for subject in &subjects {
            let reply = if random.below(3) == 0 { "_INBOX.all.nobody " } else { "" };
            all.send(format!("PUB {subject} {reply}1\r\nx\r\n"));
        }
        all.sync();
        case.flush();
        let matched = |(filter, queue): &(String, Option<String>)| {
            let kept = |s: &&String| model::is_of(filter, s) && !user.subscribe.allows(s, queue.as_deref());
            subjects.iter().filter(kept).count()
        };
        case.count.kept_back += case.subscriptions.values().map(matched).sum::<usize>();
        for kind in ["push", "pull", "ordered", "mirror"] {
            case.consume(&mut all, kind);
        }
        clock::until("the end of the replay's history", || {
            case.flush();
            case.caught_up.then_some(())
        });
        // What the user publishes itself.
        listener.flush();
        let own: String = subjects.iter().map(|subject| format!("PUB {subject} 1\r\ny\r\n")).collect();
        case.client.send(own);
        case.flush();
        for message in listener.flush() {
            assert!(user.publish.allows(&message.subject, None), "{}: {message:?} {:#?}", user.name, user.publish);
            *count.delivered.entry("published").or_default() += 1;
        }
    }
    println!("{cases} users: {count:?}");
    for way in [
        "live",
        "in a queue",
        "with a reply",
        "replay",
        "push",
        "pull",
        "ordered",
        "mirror",
        "republished",
        "published",
    ] {
        let delivered = count.delivered.get(way).copied().unwrap_or(0);
        assert!(delivered >= cases / 10, "hardly anything came by this way, so it proves little: {way} {count:?}");
    }
    assert!(count.kept_back >= cases, "{count:?}");
}
