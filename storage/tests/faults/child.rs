//! The process that is killed: it publishes, removes and reads, and says on its output what it was promised.
//!
//! ```text
//! acked <first> <n> <id>      records first.. with contents id.. are acknowledged
//! served <seq> <id>           a reader got this record
//! removing <before>           everything before this number may go from now on
//! removed <oldest>            and is gone
//! ```

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};
use sublog_storage::disk::sim::Chance;
use sublog_storage::{Log, RecordBatch, Visit};

use crate::common::{content, env, identity, open_real};

const DIR: &str = "SUBLOG_FAULTS_CHILD_DIR";
const LIFE: &str = "SUBLOG_FAULTS_CHILD_LIFE";
const BUG: &str = "SUBLOG_FAULTS_CHILD_BUG";
const PUBLISHERS: u64 = 3;
/// Segments that the remover leaves.
const SEGMENTS_KEPT: u64 = 8;

/// Starts the child on `dir`. Contents of different lives differ. `bug` names a mistake to plant in it.
pub(crate) fn start(dir: &Path, life: u64, bug: Option<&str>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child::main_of_the_child", "--nocapture", "--test-threads=1"]);
    command.env(DIR, dir).env(LIFE, life.to_string()).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some(bug) = bug {
        command.env(BUG, bug);
    }
    command.spawn().unwrap()
}

/// Not a test: the process above. Without its variable it does nothing.
#[test]
fn main_of_the_child() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    #[cfg(feature = "planted-bugs")]
    if let Ok(bug) = std::env::var(BUG) {
        use sublog_storage::planted::{Bug, plant_everywhere};
        plant_everywhere(match bug.as_str() {
            "ack before sync" => Bug::AckBeforeSync,
            "no sync of a removal" => Bug::NoRemovalSync,
            other => panic!("unknown bug {other}"),
        });
    }
    // The test harness has begun a line.
    say("\n");
    let (log, _) = open_real(&dir).unwrap();
    let life = env(LIFE, 0);
    std::thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let log = &log;
            scope.spawn(move || publish(log, life, publisher));
        }
        scope.spawn(|| remove(&log, life));
        scope.spawn(|| consume(&log));
    });
}

/// One write a line, so that nothing is half said.
fn say(line: &str) {
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

/// Bursts of batches, each answered before the next burst. Ends when the log refuses.
fn publish(log: &Log, life: u64, publisher: u64) {
    let mut chance = Chance::new(life << 8 | publisher);
    let mut next_id = (life * PUBLISHERS + publisher) << 24;
    loop {
        let (tell, told) = mpsc::channel();
        for _ in 0..1 + chance.below(6) {
            let n = 1 + if chance.percent(70) { chance.below(12) } else { chance.below(60) };
            let id = next_id;
            next_id += n;
            let mut batch = RecordBatch::new();
            for i in id..id + n {
                let (ts, subject, headers, payload) = content(i);
                batch.push(ts, &subject, &headers, &payload).unwrap();
            }
            let Ok(appended) = log.append(&mut batch) else { return };
            let (first, last, tell) = (appended.first_seq, appended.last_seq, tell.clone());
            let answer = move |result: Result<(), _>| {
                // On the committer's thread: said as early as any client could hear it.
                if result.is_ok() {
                    say(&format!("acked {first} {n} {id}\n"));
                }
                let _ = tell.send(result.is_ok());
            };
            log.when_all_committed(first, last, Box::new(answer));
        }
        drop(tell);
        if told.iter().any(|ok| !ok) {
            return;
        }
    }
}

/// Removes the oldest segments, sometimes several at once.
fn remove(log: &Log, life: u64) {
    let mut chance = Chance::new(life ^ 0xdead);
    while log.state().health.is_ok() {
        std::thread::sleep(Duration::from_millis(1 + chance.below(10)));
        while log.state().segments > SEGMENTS_KEPT {
            let oldest = log.oldest_seq();
            let span = (log.durable_seq() + 1).saturating_sub(oldest);
            let before = oldest + span / SEGMENTS_KEPT * (1 + chance.below(3));
            say(&format!("removing {before}\n"));
            if log.remove_before(before).is_err() {
                return;
            }
            say(&format!("removed {}\n", log.oldest_seq()));
        }
    }
}

/// Reads behind the publishers, and says what it was shown.
fn consume(log: &Log) {
    let mut reader = log.reader();
    reader.seek(log.readable_seq() + 1);
    while log.state().health.is_ok() {
        let before = reader.next_seq();
        let mut text = String::new();
        let read = reader.visit(64 << 10, &mut |visit| {
            match visit {
                Visit::Record(record) => match identity(&record) {
                    Some(id) => text.push_str(&format!("served {} {id}\n", record.seq)),
                    None => text.push_str(&format!("wrong {}\n", record.seq)),
                },
                Visit::Lost(range) => text.push_str(&format!("wrong {range:?}\n")),
            }
            ControlFlow::Continue(())
        });
        if read.is_err() {
            return;
        }
        say(&text);
        if reader.next_seq() == before {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
