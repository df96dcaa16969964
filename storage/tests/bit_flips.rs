//! Every bit of a small log, flipped in turn: nothing wrong is served, and nothing but the record that was hit is lost.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and waits with a deadline"
)]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sublog_storage::disk::Disk as _;
use sublog_storage::disk::sim::SimDisk;
use sublog_storage::{Log, LogOptions, Next, NoObserver, RecordBatch, Visit, verify_on};

type Held = BTreeMap<u64, (i64, Vec<u8>, Vec<u8>, Vec<u8>)>;

fn dir() -> &'static Path {
    Path::new("/sim/log")
}

fn options() -> LogOptions {
    LogOptions {
        segment_bytes_first: 8 << 10,
        segment_bytes_max: 8 << 10,
        zero_ahead_bytes: 0,
        ..LogOptions::default()
    }
}

/// A log of two segments or more, several frames each, several records a frame, closed.
fn make() -> (SimDisk, Held) {
    let disk = SimDisk::new(1);
    let (log, mut committer, _) = Log::open_stepped(disk.shared(), dir(), options(), Arc::new(NoObserver)).unwrap();
    let mut held = Held::new();
    for round in 0..26_u8 {
        let mut batch = RecordBatch::new();
        for i in 0..1 + round % 4 {
            let (ts, subject) = (i64::from(round) * 10 + i64::from(i), format!("s.{round}.{i}").into_bytes());
            let (headers, payload) = (vec![b'h'; usize::from(i) * 3], vec![round ^ i; 20 + usize::from(round) * 12]);
            batch.push(ts, &subject, &headers, &payload).unwrap();
            held.insert(held.len() as u64 + 1, (ts, subject, headers, payload));
        }
        let appended = log.append(&mut batch).unwrap();
        log.when_committed(appended.last_seq, Box::new(|result| result.unwrap()));
        while committer.step(Duration::ZERO) == Next::Now {}
    }
    log.ask_to_close();
    while committer.step(Duration::ZERO) != Next::Stop {}
    drop((log, committer));
    disk.kill();
    (disk, held)
}

fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    let mut names = disk.list(dir()).unwrap();
    names.retain(|name| name.ends_with(".seg"));
    names.sort();
    names.iter().map(|name| dir().join(name)).collect()
}

/// What an opened log serves, and the numbers it says are lost. `None` if anything wrong is served.
fn read(disk: &SimDisk) -> Option<(Vec<u64>, Vec<u64>, usize)> {
    let (_, held) = HELD.with(Clone::clone);
    let (log, _committer, report) = Log::open_stepped(disk.shared(), dir(), options(), Arc::new(NoObserver)).unwrap();
    let (mut served, mut lost, mut right) = (Vec::new(), Vec::new(), true);
    log.reader()
        .visit(usize::MAX, &mut |visit| {
            match visit {
                Visit::Record(r) => {
                    served.push(r.seq);
                    let is = (r.ts_ns, r.subject.to_vec(), r.headers.to_vec(), r.payload.to_vec());
                    right &= held.get(&r.seq) == Some(&is);
                }
                Visit::Lost(range) if range.last_seq - range.first_seq > 1000 => right = false,
                Visit::Lost(range) => lost.extend(range.first_seq..=range.last_seq),
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    right.then_some((served, lost, report.damage.len()))
}

thread_local! {
    static HELD: (SimDisk, Held) = make();
}

/// Flips every bit (or until the first bad outcome); returns how many records at most one flip took, and how many flips were served wrongly.
fn flip_every_bit(stop_when_wrong: bool) -> (usize, usize) {
    let (disk, held) = HELD.with(Clone::clone);
    let all: Vec<u64> = held.keys().copied().collect();
    let (mut worst, mut wrong) = (0, 0);
    let files = segments(&disk);
    assert!(files.len() >= 2);
    for file in &files {
        let bytes = disk.contents(file).unwrap();
        let used = bytes.iter().rposition(|&b| b != 0).unwrap() as u64 + 1;
        for bit in 0..used * 8 {
            // Of the header's zeros every byte is enough.
            if (128..4096).contains(&(bit / 8)) && bit % 8 != 0 {
                continue;
            }
            let other = disk.fork(bit);
            assert!(other.flip_bit(file, bit));
            match read(&other) {
                None => wrong += 1,
                Some((served, lost, _)) => {
                    let missing = all.iter().filter(|seq| !served.contains(seq)).count();
                    // What is missing is reported, and nothing else is.
                    if lost.len() != missing || served.windows(2).any(|pair| pair[0] >= pair[1]) {
                        wrong += 1;
                    }
                    worst = worst.max(missing);
                }
            }
            if stop_when_wrong && (wrong > 0 || worst > 1) {
                return (worst, wrong);
            }
            let verified = verify_on(&other, dir(), &mut |_| {}).unwrap();
            assert_eq!(verified.torn_bytes, 0, "bit {bit} of {}", file.display());
        }
    }
    (worst, wrong)
}

#[test]
fn a_flipped_bit_costs_at_most_one_record_and_is_never_served() {
    assert_eq!(flip_every_bit(false), (1, 0));
}

#[cfg(feature = "planted-bugs")]
#[test]
fn believing_headers_without_their_checksum_is_caught() {
    use sublog_storage::planted::{Bug, plant};
    HELD.with(|_| ());
    plant(Some(Bug::SkipHeaderCrc));
    let (worst, wrong) = flip_every_bit(true);
    plant(None);
    assert!(wrong > 0 || worst > 1, "not caught");
    println!("SkipHeaderCrc caught: {wrong} flips served wrongly, {worst} records lost to one");
}

#[test]
fn a_missing_or_exchanged_segment_is_reported() {
    let (disk, held) = HELD.with(Clone::clone);
    let files = segments(&disk);
    assert!(files.len() >= 3, "{files:?}");
    // The second one is gone.
    let other = disk.fork(1);
    other.remove(&files[1]).unwrap();
    let (served, lost, damage) = read(&other).unwrap();
    assert_eq!(served.len() + lost.len(), held.len());
    assert!(!lost.is_empty() && damage > 0);
    assert!(!verify_on(&other, dir(), &mut |_| {}).unwrap().is_sound());
    // The second one holds what the first one does.
    let other = disk.fork(2);
    other.set_contents(&files[1], disk.contents(&files[0]).unwrap());
    let (served, _, damage) = read(&other).unwrap();
    assert!(served.len() < held.len() && damage > 0);
    // The last one is gone: LOCK knows.
    let other = disk.fork(3);
    other.remove(files.last().unwrap()).unwrap();
    let (served, lost, damage) = read(&other).unwrap();
    assert_eq!(served.len() + lost.len(), held.len());
    assert!(damage > 0);
}

#[test]
fn footers_and_lock_may_be_anything() {
    let (disk, held) = HELD.with(Clone::clone);
    let all: Vec<u64> = held.keys().copied().collect();
    for (i, file) in segments(&disk).iter().enumerate() {
        let bytes = disk.contents(file).unwrap();
        for keep in [0, 1, 16, 100] {
            // All but the last: they have footers, whose end is cut away here.
            let other = disk.fork(i as u64);
            let mut cut = bytes.clone();
            let len = cut.len();
            if cut[len - 1] == 0 {
                continue;
            }
            cut[len - 16 - keep..].fill(0xa5);
            other.set_contents(file, cut);
            assert_eq!(read(&other).unwrap().0, all, "{} without its last {keep} bytes", file.display());
        }
    }
    for lock in [Vec::new(), vec![0; 512], vec![b'x'; 100]] {
        let other = disk.fork(9);
        other.set_contents(&dir().join("LOCK"), lock);
        assert_eq!(read(&other).unwrap().0, all);
    }
}
