//! G6: real file systems that fill up. Publishers are told within a second, reading and removing go on, and writing
//! resumes by itself within five seconds when there is room, whoever made it.

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sublog_storage::{AppendError, Health, Log, RecordBatch, Visit};

use crate::common::{content, env, open_real, report, skipped, visit_all};
use crate::machine::{Fs, Volume, in_namespace, is_inside, missing};

/// Room that the log finds.
const ROOM_BYTES: u64 = 6 << 20;
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
const RESUME_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn a_full_ext4_passes() {
    full(Fs::Ext4, "space::a_full_ext4_passes");
}

#[test]
fn a_full_xfs_passes() {
    full(Fs::Xfs, "space::a_full_xfs_passes");
}

#[test]
fn a_full_tmpfs_passes() {
    full(Fs::Tmpfs, "space::a_full_tmpfs_passes");
}

#[derive(Debug, Default)]
struct Outcome {
    acked: Vec<u64>,
    refused: u64,
    slowest_answer: Duration,
    slowest_resume: Duration,
}

fn full(fs: Fs, test: &str) {
    let what = format!("a full {}", fs.name());
    if !is_inside(test)
        && let Some(why) = missing(fs, false)
    {
        return skipped("G6", &what, &why);
    }
    in_namespace(test, &[], || {
        let mut volume = Volume::make(fs, 32);
        let rounds = env("SUBLOG_FULL_ROUNDS", 2);
        let outcome = rounds_on(&volume.root(), rounds);
        volume.unmount();
        let counts = format!(
            "{rounds} rounds of filling, freeing and removing, {} acks checked, {} refused, slowest answer {} ms, slowest resumption {} ms",
            outcome.acked.len(),
            outcome.refused,
            outcome.slowest_answer.as_millis(),
            outcome.slowest_resume.as_millis()
        );
        report("G6", &what, &counts, 0);
    });
}

/// Takes all room but what the log shall find.
fn ballast(root: &Path) {
    let stat = rustix::fs::statvfs(root).unwrap();
    let free = stat.f_bavail * stat.f_frsize;
    let file = std::fs::File::create(root.join("ballast")).unwrap();
    let take = free.saturating_sub(ROOM_BYTES);
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, take).unwrap();
}

/// Publishes one large record; `None` if it was refused, within the time that an answer may take.
fn publish(log: &Log, id: u64, outcome: &mut Outcome) -> Option<u64> {
    let (ts, subject, headers, mut payload) = content(id);
    payload.extend_from_slice(&[7; 20_000]);
    let mut batch = RecordBatch::new();
    batch.push(ts, &subject, &headers, &payload).unwrap();
    let start = Instant::now();
    let (tell, told) = mpsc::channel();
    match log.append(&mut batch) {
        Ok(appended) => {
            log.when_committed(appended.last_seq, Box::new(move |result| tell.send(result.is_ok()).unwrap()));
            let ok = told.recv_timeout(ANSWER_WITHIN).expect("an answer within a second");
            outcome.slowest_answer = outcome.slowest_answer.max(start.elapsed());
            outcome.refused += u64::from(!ok);
            ok.then_some(appended.last_seq)
        }
        Err(AppendError::Failed(_)) => {
            outcome.refused += 1;
            None
        }
        Err(e) => panic!("{e}"),
    }
}

fn fill(log: &Log, outcome: &mut Outcome) {
    for n in 0.. {
        assert!(n < 3000, "the disk was never full");
        match publish(log, outcome.acked.len() as u64, outcome) {
            Some(seq) => outcome.acked.push(seq),
            None => break,
        }
    }
    assert!(matches!(log.state().health, Health::Full(_)), "{:?}", log.state().health);
    assert_eq!(readable(log), outcome.acked.iter().copied().filter(|&seq| seq >= log.oldest_seq()).collect::<Vec<_>>());
}

/// The numbers that can be read.
fn readable(log: &Log) -> Vec<u64> {
    let mut numbers = Vec::new();
    visit_all(log, |visit| {
        if let Visit::Record(record) = visit {
            numbers.push(record.seq);
        }
    });
    numbers
}

/// Waits until something is taken again.
fn resume(log: &Log, outcome: &mut Outcome) {
    let start = Instant::now();
    loop {
        if let Some(seq) = publish(log, outcome.acked.len() as u64, outcome) {
            outcome.acked.push(seq);
            outcome.slowest_resume = outcome.slowest_resume.max(start.elapsed());
            return;
        }
        assert!(start.elapsed() < RESUME_WITHIN, "no resumption: {:?}", log.state().health);
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn rounds_on(root: &Path, rounds: u64) -> Outcome {
    let dir = root.join("log");
    let mut outcome = Outcome::default();
    let (log, _) = open_real(&dir).unwrap();
    for _ in 0..rounds {
        // Somebody else takes the room and gives it back.
        ballast(root);
        fill(&log, &mut outcome);
        std::fs::remove_file(root.join("ballast")).unwrap();
        resume(&log, &mut outcome);
        // The log's owner makes room by removing what is old, while the disk is full.
        ballast(root);
        fill(&log, &mut outcome);
        let segments = log.state().segments;
        assert!(segments > 8, "only {segments} segments");
        for _ in 0..segments / 2 {
            assert_eq!(log.remove_oldest().unwrap().segments, 1);
        }
        resume(&log, &mut outcome);
        // And it goes on from where it is after a restart on the full disk.
        fill(&log, &mut outcome);
        std::fs::remove_file(root.join("ballast")).unwrap();
        resume(&log, &mut outcome);
        while log.state().segments > 2 {
            log.remove_oldest().unwrap();
        }
    }
    ballast(root);
    fill(&log, &mut outcome);
    let oldest = log.oldest_seq();
    drop(log);
    let (log, found) = open_real(&dir).expect("a full disk does not keep a log from opening");
    assert!(found.damage.is_empty(), "{found:?}");
    let expected: Vec<u64> = outcome.acked.iter().copied().filter(|&seq| seq >= oldest).collect();
    assert_eq!(readable(&log), expected);
    let mut index = outcome.acked.len() - expected.len();
    visit_all(&log, |visit| {
        if let Visit::Record(record) = visit {
            let (ts, subject, _, payload) = content(index as u64);
            assert_eq!((record.ts_ns, record.subject), (ts, subject.as_slice()));
            assert!(record.payload.strip_prefix(payload.as_slice()).is_some_and(|rest| rest == [7; 20_000]));
            index += 1;
        }
    });
    outcome
}
