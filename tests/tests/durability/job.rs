//! The job this server exists for: job reports and their digests, from publishers that connect for each message or for
//! each list, while the server is killed again and again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sublog_tests::{Message, Random, RawClient, Seen, TestServer, clock, content, random};

use crate::ledger::{Attempt, Attempts, fingerprint, judge};
use crate::{server, setting};

/// Different requests: most messages have a subject of their own, tens of thousands in all.
const REQUESTS: u64 = 20_000;
/// How the publishers of a job behave: jobs (of five messages) a connection; 0 connects for each message.
const PUBLISHERS: [usize; 4] = [0, 0, 4, 12];
/// Pause of somebody who finds no server.
const RETRY: Duration = Duration::from_millis(3);

/// What all threads of a job share.
struct Shared {
    address: SocketAddr,
    stop: AtomicBool,
    /// Messages sent so far.
    sent: AtomicUsize,
}

impl Shared {
    /// A ready client, as soon as there is a server; `None` when the job is over.
    fn connect(&self) -> Option<RawClient> {
        while !self.stop.load(Ordering::Relaxed) {
            let client = RawClient::try_connect(self.address)
                .and_then(|mut client| client.try_hello(sublog_tests::client::CONNECT).map(|()| client));
            match client {
                Ok(client) => return Some(client),
                Err(_) => std::thread::sleep(RETRY),
            }
        }
        None
    }
}

/// PING, up to its PONG; false when the server died or complained instead.
fn flush(client: &mut RawClient) -> bool {
    client.try_send(b"PING\r\n").is_ok() && matches!(client.receive(clock::PATIENCE), Ok(Some(Seen::Pong)))
}

fn publisher(shared: &Shared, number: usize, jobs_each: usize) -> Attempts {
    let mut random = Random::new(number as u64 + 1);
    let mut attempts = Attempts::new();
    let (mut place, mut connection, mut job) = (0, 0, 0);
    while !shared.stop.load(Ordering::Relaxed) {
        let mut items = Vec::new();
        for _ in 0..jobs_each.max(1) {
            items.extend(content::job(&mut random, &format!("{number}-{job}"), REQUESTS));
            job += 1;
        }
        let per_connection = if jobs_each == 0 { 1 } else { items.len() };
        for list in items.chunks(per_connection) {
            let Some(mut client) = shared.connect() else { return attempts };
            connection += 1;
            let begin = clock::now();
            let mut bytes = Vec::new();
            let mut tags = Vec::new();
            for item in list {
                sublog_protocol::encode::publish(&mut bytes, item.subject.as_bytes(), None, &item.payload);
                let tag = content::tag_of(&item.payload).unwrap().to_owned();
                place += 1;
                let hash = random::hash(&item.payload);
                let attempt = Attempt { subject: item.subject.clone(), hash, place, connection, flushed: None };
                attempts.insert(tag.clone(), attempt);
                tags.push(tag);
            }
            if client.try_send(&bytes).is_ok() && flush(&mut client) {
                let end = clock::now();
                for tag in tags {
                    attempts.get_mut(&tag).unwrap().flushed = Some((begin, end));
                }
            }
            shared.sent.fetch_add(list.len(), Ordering::Relaxed);
        }
    }
    attempts
}

/// What a live subscriber saw: tag to content, and the times it was surely connected.
#[derive(Default)]
struct Live {
    seen: HashMap<String, u64>,
    windows: Vec<(Instant, Instant)>,
}

fn live_subscriber(shared: &Shared) -> Live {
    let mut live = Live::default();
    while let Some(mut client) = shared.connect() {
        if client.try_send(b"SUB cms.> 1\r\n").is_err() || !flush(&mut client) {
            continue;
        }
        let since = clock::now();
        let mut until = since;
        'connected: while !shared.stop.load(Ordering::Relaxed) {
            let asked = clock::now();
            if client.try_send(b"PING\r\n").is_err() {
                break;
            }
            loop {
                match client.receive(clock::PATIENCE) {
                    Ok(Some(Seen::Message(message))) => {
                        let tag = content::tag_of(&message.payload).unwrap().to_owned();
                        live.seen.insert(tag, fingerprint(&message));
                    }
                    Ok(Some(Seen::Pong)) => break,
                    _ => break 'connected,
                }
            }
            // What was flushed before the question was on its way to this socket before the answer.
            until = asked;
        }
        live.windows.push((since, until));
    }
    live
}

/// A replay that is opened anew after every crash: sequence to content, as it was ever shown.
fn replay_watcher(shared: &Shared) -> HashMap<u64, u64> {
    let mut shown = HashMap::new();
    while let Some(mut client) = shared.connect() {
        if client.try_send(b"SUB $REPLAY.last.300.cms.> 1\r\n").is_err() {
            continue;
        }
        while let Ok(Some(Seen::Message(message))) = client.receive(Duration::from_millis(500)) {
            let print = fingerprint(&message);
            let before = shown.insert(message.sequence(), print);
            assert!(before.is_none_or(|before| before == print), "sequence {} was given out twice", message.sequence());
            if shared.stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    shown
}

/// Everything on `filter`, up to the last sequence there is.
fn replay_all(server: &TestServer, filter: &str) -> Vec<Message> {
    let mut client = server.raw();
    client.hello(r#"{"verbose":false,"headers":true,"sublog_replay_status":true}"#);
    client.subscribe(&format!("$REPLAY.all.{filter}"), "1");
    let mut all = Vec::new();
    loop {
        let message = client.message();
        if message.status() == Some(204) {
            return all;
        }
        all.push(message);
    }
}

fn run_job(sync: &str, messages: usize, kills: usize) {
    let start = clock::now();
    let mut server = server(&["--sync", sync, "--disk-reserve", "0"]);
    let shared =
        Arc::new(Shared { address: server.address(), stop: AtomicBool::new(false), sent: AtomicUsize::new(0) });
    let publishers: Vec<_> = PUBLISHERS
        .iter()
        .enumerate()
        .map(|(number, &jobs_each)| {
            let shared = shared.clone();
            std::thread::spawn(move || publisher(&shared, number, jobs_each))
        })
        .collect();
    let (for_live, for_watcher) = (shared.clone(), shared.clone());
    let live = std::thread::spawn(move || live_subscriber(&for_live));
    let watcher = std::thread::spawn(move || replay_watcher(&for_watcher));

    let mut random = Random::new(99);
    let mut killed = 0;
    while killed < kills || shared.sent.load(Ordering::Relaxed) < messages {
        // Any moment may be the one: this is the randomness under test, not a wait for something.
        std::thread::sleep(Duration::from_millis(random.between(20, 1200)));
        if killed < kills || random.below(4) == 0 {
            server.kill9();
            server.restart();
            killed += 1;
        }
    }
    shared.stop.store(true, Ordering::Relaxed);
    let attempts: Vec<Attempts> = publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect();
    let (live, shown) = (live.join().unwrap(), watcher.join().unwrap());
    // The last word is a crash as well.
    server.kill9();
    server.restart();

    let all = replay_all(&server, "cms.>");
    let verdict = judge(&attempts, &all);
    let (due, missed) = live_account(&attempts, &live);
    println!(
        "job --sync {sync}: {} published, {} flushed, {killed} kills, {} replayed on {} subjects, {} lost, \
         {} duplicated, {} corrupt, {} unknown, {} order breaks, {} holes; live: {} seen, {due} due, {missed} missed; \
         {} sequences watched; {:.1?}",
        verdict.published,
        verdict.flushed,
        verdict.replayed,
        verdict.subjects,
        verdict.lost,
        verdict.duplicated,
        verdict.corrupt,
        verdict.unknown,
        verdict.order_breaks,
        verdict.holes,
        live.seen.len(),
        shown.len(),
        start.elapsed(),
    );
    assert!(verdict.is_clean(), "{verdict:?}");
    assert!(verdict.flushed >= messages / 2, "hardly anything was flushed: {verdict:?}");
    assert!(killed >= kills);
    assert_eq!(missed, 0, "live messages missed of {due}");
    assert!(due > 0, "no live window was long enough to tell anything");
    check_positions(&all, &shown, &live);
    check_single_subjects(&server, &all);
}

/// How many flushed messages the live subscriber must have seen, and how many of them it did not.
fn live_account(attempts: &[Attempts], live: &Live) -> (usize, usize) {
    let (mut due, mut missed) = (0, 0);
    for (tag, attempt) in attempts.iter().flatten() {
        let Some((begin, end)) = attempt.flushed else { continue };
        if live.windows.iter().any(|(from, to)| *from <= begin && end <= *to) {
            due += 1;
            missed += usize::from(!live.seen.contains_key(tag));
        }
    }
    (due, missed)
}

/// Sequences rise, and what anybody was ever shown is what stands there now.
fn check_positions(all: &[Message], shown: &HashMap<u64, u64>, live: &Live) {
    let now: HashMap<u64, u64> = all.iter().map(|message| (message.sequence(), fingerprint(message))).collect();
    assert_eq!(now.len(), all.len(), "sequences repeat");
    assert!(all.windows(2).all(|pair| pair[0].sequence() < pair[1].sequence()), "sequences do not rise");
    assert!(!shown.is_empty(), "the watcher saw nothing");
    for (seq, print) in shown {
        assert_eq!(now.get(seq), Some(print), "sequence {seq} was shown with other content, or is gone");
    }
    for message in all {
        let tag = content::tag_of(&message.payload).unwrap();
        assert!(
            live.seen.get(tag).is_none_or(|print| *print == fingerprint(message)),
            "{tag} was delivered differently"
        );
    }
}

/// One subject's history is that part of the whole.
fn check_single_subjects(server: &TestServer, all: &[Message]) {
    for at in (0..all.len()).step_by(all.len() / 8 + 1) {
        let subject = &all[at].subject;
        let expected: Vec<u64> = all.iter().filter(|m| m.subject == *subject).map(Message::sequence).collect();
        let seen: Vec<u64> = replay_all(server, subject).iter().map(Message::sequence).collect();
        assert_eq!(seen, expected, "{subject}");
    }
}

#[test]
fn every_flushed_message_survives_every_kill() {
    run_job("always", setting("SUBLOG_JOB_MESSAGES", 30_000), setting("SUBLOG_JOB_KILLS", 20));
}

#[test]
fn weaker_modes_survive_a_killed_process_as_well() {
    run_job("interval:100ms", setting("SUBLOG_JOB_MESSAGES", 30_000) / 5, setting("SUBLOG_JOB_KILLS", 20) / 4);
    run_job("os", setting("SUBLOG_JOB_MESSAGES", 30_000) / 5, setting("SUBLOG_JOB_KILLS", 20) / 4);
}
