//! What is done to a log whose disk is recorded: it publishes, removes, rolls, rewrites and reads, and says what was promised
//! (`story.rs`) with the position of the tape at that moment.

use std::fs::File;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Signal, set_parent_process_death_signal};
use sublog_storage::disk::sim::Chance;
use sublog_storage::{Codec, Log, LogOptions, NoObserver, OpenError, RealDisk, RecordBatch, RecoveryReport, Visit};

use super::device::position_in;
use crate::common::{content, env, identity};

const DIR: &str = "SUBLOG_BLOCKS_DIR";
const POSITION: &str = "SUBLOG_BLOCKS_POSITION";
const LIFE: &str = "SUBLOG_BLOCKS_LIFE";
const BUG: &str = "SUBLOG_BLOCKS_BUG";
const PUBLISHERS: u64 = 2;
const BURSTS: u64 = 14;
/// Segments that the remover leaves.
const SEGMENTS_KEPT: u64 = 7;

/// Opens the log as its life does: small segments, packed ones in two of three lives.
pub(crate) fn open(dir: &Path, life: u64) -> Result<(Log, RecoveryReport), OpenError> {
    let options = LogOptions {
        segment_bytes_first: 16 << 10,
        segment_bytes_max: 64 << 10,
        zero_ahead_bytes: 16 << 10,
        index_piece_subjects: 8,
        pack: [None, Some(Codec::Zstd), Some(Codec::None)][usize::try_from(life % 3).unwrap()],
        ..LogOptions::default()
    };
    Log::open(RealDisk::shared(), dir, options, Arc::new(NoObserver))
}

/// Lives a life in a process of its own, to its end, and returns what it said. `bug` names a mistake to plant in it.
pub(crate) fn live(dir: &Path, position: &Path, life: u64, bug: Option<&str>) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "blocks::workload::main_of_the_workload", "--nocapture", "--test-threads=1"]);
    command.env(DIR, dir).env(POSITION, position).env(LIFE, life.to_string());
    if let Some(bug) = bug {
        command.env(BUG, bug);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Not a test: the process above. Without its variables it does nothing.
#[test]
fn main_of_the_workload() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    #[cfg(feature = "planted-bugs")]
    if let Ok(bug) = std::env::var(BUG) {
        use sublog_storage::planted::{Bug, plant_everywhere};
        plant_everywhere(match bug.as_str() {
            "ack before sync" => Bug::AckBeforeSync,
            "removal acknowledged before its sync" => Bug::RemovalNotSynced,
            "rename before sync" => Bug::RenameBeforeSync,
            other => panic!("unknown bug {other}"),
        });
    }
    // The harness has begun a line.
    println!();
    let position = File::open(std::env::var_os(POSITION).unwrap()).unwrap();
    let life = env(LIFE, 0);
    let (log, _) = open(&dir, life).unwrap();
    let teller = Teller {
        position: Box::new(move || position_in(&position)),
        say: Box::new(|line| std::io::stdout().lock().write_all(line.as_bytes()).unwrap()),
    };
    run(&log, life, Arc::new(teller));
}

/// Says what happens, and when.
pub(crate) struct Teller {
    pub(crate) position: Box<dyn Fn() -> usize + Send + Sync>,
    /// Gets whole lines, with their ends.
    pub(crate) say: Box<dyn Fn(&str) + Send + Sync>,
}

impl Teller {
    pub(crate) fn tell(&self, what: &str) {
        // The position first: from there on it holds.
        let position = (self.position)();
        (self.say)(&format!("{position} {what}\n"));
    }
}

struct Life<'a> {
    log: &'a Log,
    teller: Arc<Teller>,
    /// Acknowledged ranges that may be removed.
    acked: Mutex<Vec<(u64, u64)>>,
    /// Publishers that have not finished.
    publishing: AtomicU64,
}

fn run(log: &Log, life: u64, teller: Arc<Teller>) {
    let shared = Life { log, teller, acked: Mutex::default(), publishing: AtomicU64::new(PUBLISHERS) };
    std::thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let shared = &shared;
            scope.spawn(move || {
                let mut chance = Chance::new(life << 8 | publisher);
                let mut next_id = (life * PUBLISHERS + publisher) << 24;
                for _ in 0..BURSTS {
                    let acked = publish(shared.log, &shared.teller, &mut chance, &mut next_id);
                    shared.acked.lock().extend(acked);
                }
                shared.publishing.fetch_sub(1, Ordering::SeqCst);
            });
        }
        scope.spawn(|| remove(&shared, &mut Chance::new(life ^ 0xdead)));
        scope.spawn(|| consume(&shared));
        scope.spawn(|| maintain(&shared));
    });
}

/// A burst of batches, all of which are answered when it returns; the ranges of their numbers.
pub(crate) fn publish(log: &Log, teller: &Arc<Teller>, chance: &mut Chance, next_id: &mut u64) -> Vec<(u64, u64)> {
    let (tell, told) = mpsc::channel();
    for _ in 0..1 + chance.below(5) {
        let n = 1 + if chance.percent(70) { chance.below(12) } else { chance.below(80) };
        let id = std::mem::replace(next_id, *next_id + n);
        let mut batch = RecordBatch::new();
        for i in id..id + n {
            let (ts, subject, headers, payload) = content(i);
            batch.push(ts, &subject, &headers, &payload).unwrap();
        }
        let appended = log.append(&mut batch).unwrap();
        let (first, last) = (appended.first_seq, appended.last_seq);
        teller.tell(&format!("appended {first} {n} {id}"));
        let (tell, teller) = (tell.clone(), Arc::clone(teller));
        let answer = move |result: Result<(), _>| {
            // On the committer's thread: said as early as any client could hear it.
            result.unwrap();
            teller.tell(&format!("acked {first} {n}"));
            let _ = tell.send((first, last));
        };
        log.when_all_committed(first, last, Box::new(answer));
    }
    drop(tell);
    told.iter().collect()
}

/// Removes some of a range's records, and says so.
pub(crate) fn remove_some(log: &Log, teller: &Teller, range: (u64, u64), chance: &mut Chance) {
    let first = range.0 + chance.below(range.1 - range.0 + 1);
    let last = first + chance.below(range.1 - first + 1);
    teller.tell(&format!("removing {first} {last}"));
    log.remove_now(vec![(first, last)]).unwrap();
    teller.tell(&format!("removed {first} {last}"));
}

fn remove(life: &Life<'_>, chance: &mut Chance) {
    while life.publishing.load(Ordering::SeqCst) > 0 {
        std::thread::sleep(Duration::from_millis(1 + chance.below(4)));
        let range = {
            let mut acked = life.acked.lock();
            if acked.is_empty() {
                continue;
            }
            let i = chance.below(acked.len() as u64);
            acked.swap_remove(usize::try_from(i).unwrap())
        };
        // All of most ranges, so that segments come to be rewritten and to die.
        if chance.percent(70) {
            let (first, last) = range;
            life.teller.tell(&format!("removing {first} {last}"));
            life.log.remove_now(vec![range]).unwrap();
            life.teller.tell(&format!("removed {first} {last}"));
        } else {
            remove_some(life.log, &life.teller, range, chance);
        }
        if life.log.state().segments > SEGMENTS_KEPT {
            let before = life.log.oldest_seq() + (life.log.durable_seq() - life.log.oldest_seq()) / 2;
            life.teller.tell(&format!("removing 0 {}", before - 1));
            life.log.remove_before(before).unwrap();
            life.teller.tell(&format!("removed 0 {}", life.log.oldest_seq() - 1));
        }
    }
}

/// Reads behind the publishers, and says what it was shown.
fn consume(life: &Life<'_>) {
    let mut reader = life.log.reader();
    loop {
        let last_look = life.publishing.load(Ordering::SeqCst) == 0;
        let before = reader.next_seq();
        reader
            .visit(64 << 10, &mut |visit| {
                match visit {
                    Visit::Record(record) if identity(&record).is_some() => {
                        life.teller.tell(&format!("served {}", record.seq));
                    }
                    Visit::Record(record) => life.teller.tell(&format!("wrong {}", record.seq)),
                    Visit::Lost(range) => life.teller.tell(&format!("wrong {range:?}")),
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        if reader.next_seq() == before {
            if last_look {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Keeps the index up, rewrites segments and gives dead ones back.
fn maintain(life: &Life<'_>) {
    loop {
        let last_look = life.publishing.load(Ordering::SeqCst) == 0;
        if !life.log.maintain().unwrap().more {
            if last_look {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
