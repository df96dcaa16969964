//! G6: real file systems that fill up. Publishers are told within a second, reading and removing go on, and writing
//! resumes by itself within five seconds when there is room, whoever made it.

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use std::sync::Arc;

use sublog_storage::{
    AppendError, Definition, Health, Log, LogOptions, Meta, NoObserver, RealDisk, RecordBatch, Reserve, Visit,
};

use crate::common::{content, env, open_real, report, skipped, small, visit_all};
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

#[test]
fn removals_and_metadata_find_room_on_a_full_ext4() {
    reserved(Fs::Ext4, "space::removals_and_metadata_find_room_on_a_full_ext4");
}

#[test]
fn removals_and_metadata_find_room_on_a_full_xfs() {
    reserved(Fs::Xfs, "space::removals_and_metadata_find_room_on_a_full_xfs");
}

#[test]
fn removals_and_metadata_find_room_on_a_full_tmpfs() {
    reserved(Fs::Tmpfs, "space::removals_and_metadata_find_room_on_a_full_tmpfs");
}

fn reserved(fs: Fs, test: &str) {
    let what = format!("removing on a full {}", fs.name());
    if !is_inside(test)
        && let Some(why) = missing(fs, false)
    {
        return skipped("G6", &what, &why);
    }
    in_namespace(test, &[], || {
        let mut volume = Volume::make(fs, 48);
        let removed = remove_on_full(&volume.root());
        volume.unmount();
        report("G6", &what, &format!("{removed} messages removed and 40 definitions kept with nothing free"), 0);
    });
}

/// Every last byte that files can take.
fn stuff(mut file: std::fs::File) {
    use std::io::Write as _;
    let mut chunk = vec![7_u8; 1 << 20];
    while !chunk.is_empty() {
        if file.write_all(&chunk).is_err() || file.sync_data().is_err() {
            chunk.truncate(chunk.len() / 2);
        }
    }
}

fn remove_on_full(root: &Path) -> u64 {
    let mut outcome = Outcome::default();
    // On a full disk there may be no room for a name.
    let stuffing = std::fs::File::create(root.join("stuffing")).unwrap();
    let reserve = Arc::new(Reserve::new(RealDisk::shared(), root, 4 << 20));
    let meta = Meta::open(&root.join("meta")).unwrap().with_reserve(Arc::clone(&reserve));
    let options = LogOptions { reserve: Some(Arc::clone(&reserve)), ..small() };
    let open = || Log::open(RealDisk::shared(), &root.join("log"), options.clone(), Arc::new(NoObserver)).unwrap().0;
    let log = open();
    ballast(root);
    fill(&log, &mut outcome);
    stuff(stuffing);
    assert!(reserve.is_held());
    // Nothing was removed yet: the journal has to be made.
    let gone: Vec<u64> = outcome.acked.iter().copied().filter(|seq| seq % 3 == 0).collect();
    let removed = log.remove_now(gone.iter().map(|&seq| (seq, seq)).collect()).unwrap();
    assert_eq!(removed.messages, gone.len() as u64);
    assert!(!reserve.is_held());
    for n in 0..40_u8 {
        let name = format!("N{n}");
        meta.put_definition(&Definition { name, created_ns: 1, body: vec![n; 900] }).unwrap();
    }
    drop(log);
    let log = open();
    outcome.acked.retain(|seq| !gone.contains(seq));
    assert_eq!(readable(&log), outcome.acked);
    // Half of what is left goes, and its segments give their room back: then publishing goes on by itself.
    let half = outcome.acked[outcome.acked.len() / 2];
    log.remove_now(vec![(1, half)]).unwrap();
    outcome.acked.retain(|&seq| seq > half);
    for _ in 0..20 {
        log.maintain().unwrap();
        log.remove_now(Vec::new()).unwrap();
    }
    resume(&log, &mut outcome);
    assert_eq!(readable(&log), outcome.acked);
    std::fs::remove_file(root.join("stuffing")).unwrap();
    std::fs::remove_file(root.join("ballast")).unwrap();
    // Some file systems have the room free a little later.
    let start = Instant::now();
    while !reserve.is_held() {
        log.maintain().unwrap();
        assert!(start.elapsed() < RESUME_WITHIN);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(meta.definitions().len(), 40);
    gone.len() as u64
}
