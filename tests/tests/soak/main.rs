//! A JetStream load of many kinds against a server that is killed again and again, judged by what clients were told.
//!
//! ```text
//! SUBLOG_SOAK_SECONDS=1800 cargo test -p sublog-tests --test soak -- --ignored --nocapture
//! ```
//!
//! `SUBLOG_SOAK_KILL_SECONDS` is the time between two kills (20; 0: none but the last, so that memory is compared within one life),
//! `SUBLOG_SOAK_SEED` makes the choices of the load others, `SUBLOG_BINARY` names another server to run.
//!
//! Every client writes into one [`ledger`] what it was told. What the server does later is held against that. The promises
//! are in [`ledger::Promise`]; the last line printed counts those that were kept.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests report by panicking")]

mod churn;
mod judge;
mod keys;
mod ledger;
mod link;
mod memory;
mod publishers;
mod workers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use sublog_tests::{TestServer, clock};

use ledger::{Count, Ledger, Promise};
use link::Link;

/// Streams of the load, and the consumers of which the ledger keeps an account.
pub(crate) const STREAMS: [(&str, &[&str]); 4] =
    [("LIM", &["ALL"]), ("WQ", &["WORK"]), ("INT", &["PULLED", "PUSHED"]), ("KV_soak", &[])];
/// Where the push consumer sends.
pub(crate) const PUSH_SUBJECT: &str = "soak.pushed";
/// Messages that the stream with limits keeps.
pub(crate) const LIM_MESSAGES: u64 = 20_000;
/// Revisions that a key keeps.
pub(crate) const KEY_HISTORY: usize = 5;
/// How long a delivery waits for its ack.
pub(crate) const ACK_WAIT: Duration = Duration::from_secs(3);
/// How long message ids are remembered.
pub(crate) const DUPLICATES: Duration = Duration::from_secs(30);
/// How long the end may take: everything delivered and settled.
const DRAIN: Duration = Duration::from_secs(90);

/// What all clients share.
pub(crate) struct Shared {
    pub(crate) address: SocketAddr,
    pub(crate) ledger: Ledger,
    pub(crate) seed: u64,
    /// Nothing new is published; what is there is worked off.
    draining: AtomicBool,
    stop: AtomicBool,
}

impl Shared {
    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// A number from the environment.
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap()
}

/// Makes the streams and consumers that stay.
fn set_up(link: &mut Link) {
    let duplicates = nanoseconds(DUPLICATES);
    for config in [
        json!({ "name": "LIM", "subjects": ["lim.>"], "max_msgs": LIM_MESSAGES, "duplicate_window": duplicates }),
        json!({ "name": "WQ", "subjects": ["wq.>"], "retention": "workqueue", "duplicate_window": duplicates }),
        json!({ "name": "INT", "subjects": ["int.>"], "retention": "interest", "duplicate_window": duplicates }),
        json!({ "name": "KV_soak", "subjects": ["$KV.soak.>"], "max_msgs_per_subject": KEY_HISTORY, "discard": "new",
            "allow_rollup_hdrs": true, "deny_delete": true, "allow_direct": true }),
    ] {
        let name = config["name"].as_str().unwrap();
        link.done(&format!("STREAM.CREATE.{name}"), &config);
    }
    let explicit = json!({ "ack_policy": "explicit", "ack_wait": nanoseconds(ACK_WAIT), "max_ack_pending": 400 });
    for (stream, consumer, more) in [
        ("LIM", "ALL", json!({ "ack_policy": "all" })),
        ("WQ", "WORK", json!({})),
        ("INT", "PULLED", json!({})),
        (
            "INT",
            "PUSHED",
            json!({ "deliver_subject": PUSH_SUBJECT, "flow_control": true, "idle_heartbeat": 1_000_000_000 }),
        ),
    ] {
        let mut config = explicit.as_object().unwrap().clone();
        config.insert("durable_name".into(), json!(consumer));
        config.extend(more.as_object().unwrap().clone());
        let body = json!({ "stream_name": stream, "config": config });
        link.done(&format!("CONSUMER.DURABLE.CREATE.{stream}.{consumer}"), &body);
    }
}

/// Every client of the load.
fn clients(shared: &Arc<Shared>) -> Vec<JoinHandle<()>> {
    let mut threads = Vec::new();
    let mut start = |run: Box<dyn FnOnce(&Shared) + Send>| {
        let shared = shared.clone();
        threads.push(std::thread::spawn(move || run(&shared)));
    };
    for (number, (stream, prefix)) in
        [("LIM", "lim.a"), ("LIM", "lim.b"), ("WQ", "wq.a"), ("WQ", "wq.b"), ("INT", "int.a")].into_iter().enumerate()
    {
        start(Box::new(move |shared| publishers::run(shared, number as u64, stream, prefix)));
    }
    for (number, (stream, consumer)) in
        [("WQ", "WORK"), ("WQ", "WORK"), ("INT", "PULLED"), ("INT", "PULLED"), ("LIM", "ALL")].into_iter().enumerate()
    {
        start(Box::new(move |shared| workers::pull(shared, 10 + number as u64, stream, consumer)));
    }
    start(Box::new(|shared| workers::push(shared, 20)));
    for number in 0..2 {
        start(Box::new(move |shared| keys::run(shared, 30 + number)));
        start(Box::new(move |shared| churn::run(shared, 40 + number)));
    }
    threads
}

/// Kills the server and starts it again; what was acknowledged is looked at.
fn kill(server: &mut TestServer, shared: &Shared) {
    server.kill9();
    let known = shared.ledger.recent("LIM");
    server.restart();
    shared.ledger.count(Count::Kills, 1);
    judge::after_a_kill(shared, &known);
}

/// Waits until everything is delivered and settled.
fn drain(shared: &Shared) {
    shared.draining.store(true, Ordering::Relaxed);
    let deadline = clock::now() + DRAIN;
    for (stream, consumers) in STREAMS {
        for consumer in consumers {
            loop {
                let mut link = Link::open(shared, "drain").expect("the run is not over");
                let info = link.done(&format!("CONSUMER.INFO.{stream}.{consumer}"), &Value::Null);
                if info["num_pending"] == json!(0) && info["num_ack_pending"] == json!(0) {
                    break;
                }
                if clock::now() > deadline {
                    shared.ledger.fault(Promise::Delivered, format!("{stream} {consumer} is not done: {info}"));
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

#[test]
#[ignore = "as long as SUBLOG_SOAK_SECONDS says, a minute at least"]
fn soak() {
    let (seconds, kill_every) = (setting("SUBLOG_SOAK_SECONDS", 60), setting("SUBLOG_SOAK_KILL_SECONDS", 20));
    let seed = setting("SUBLOG_SOAK_SEED", 1);
    println!("soak: {seconds} s, a kill every {kill_every} s, seed {seed}");
    let mut server = TestServer::start(env!("CARGO_BIN_EXE_sublog-under-test"), &["--disk-reserve", "0"]);
    let shared = Arc::new(Shared {
        address: server.address(),
        ledger: Ledger::new(&STREAMS),
        seed,
        draining: AtomicBool::new(false),
        stop: AtomicBool::new(false),
    });
    set_up(&mut Link::open(&shared, "setup").unwrap());
    let threads = clients(&shared);
    let mut memory = memory::Watch::new();
    let (begin, mut life) = (clock::now(), clock::now());
    while begin.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_millis(500));
        memory.sample(&server, life.elapsed());
        if kill_every > 0 && life.elapsed() >= Duration::from_secs(kill_every) {
            kill(&mut server, &shared);
            life = clock::now();
        }
    }
    // The last word is a crash as well.
    kill(&mut server, &shared);
    drain(&shared);
    shared.stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().expect("a client ends");
    }
    shared.stop.store(false, Ordering::Relaxed);
    judge::at_the_end(&shared);
    memory.judge(&shared.ledger);
    let failed = shared.ledger.report();
    assert_eq!(failed, 0, "promises were broken");
}
