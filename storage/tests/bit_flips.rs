//! Every bit of a small log, flipped in turn: nothing wrong is served, and nothing but the record that was hit is lost.
//! The same for packed segments, and larger damage to those.

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
use sublog_storage::{Codec, Log, LogOptions, Next, NoObserver, RecordBatch, RewriteStep, Visit, verify_on};

type Held = BTreeMap<u64, (i64, Vec<u8>, Vec<u8>, Vec<u8>)>;

fn dir() -> &'static Path {
    Path::new("/sim/log")
}

fn options() -> LogOptions {
    LogOptions {
        segment_bytes_first: 8 << 10,
        segment_bytes_max: 8 << 10,
        zero_ahead_bytes: 0,
        block_bytes: 700,
        ..LogOptions::default()
    }
}

/// A log of two segments or more, several frames each, several records a frame, closed.
fn make(rounds: u8) -> (SimDisk, Held) {
    let disk = SimDisk::new(1);
    let (log, mut committer, _) = Log::open_stepped(disk.shared(), dir(), options(), Arc::new(NoObserver)).unwrap();
    let mut held = Held::new();
    for round in 0..rounds {
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

/// The same with all segments but the last rewritten into two, without some records.
fn make_packed(codec: Codec) -> (SimDisk, Held) {
    let (disk, mut held) = make(21);
    let (log, mut committer, _) = Log::open_stepped(disk.shared(), dir(), options(), Arc::new(NoObserver)).unwrap();
    let segments = log.segments();
    let is_removed = |seq: u64| seq.is_multiple_of(5) || (20..23).contains(&seq);
    for (at, count) in [(0, segments.len() - 2), (segments.len() - 2, 1)] {
        let mut rewrite = log.rewrite(segments[at].first_seq, count, codec, Arc::new(is_removed));
        while matches!(rewrite.step(1 << 20).unwrap(), RewriteStep::Working { .. }) {}
    }
    let last = log.segments().pop().unwrap();
    held.retain(|&seq, _| seq >= last.first_seq || !is_removed(seq));
    assert!(log.segments().len() == 3 && log.segments()[0].codec == Some(codec) && last.codec.is_none());
    log.ask_to_close();
    while committer.step(Duration::ZERO) != Next::Stop {}
    drop((log, committer));
    disk.kill();
    (disk, held)
}

/// What an opened log serves, and the numbers it says are lost. `None` if anything wrong is served.
fn read(disk: &SimDisk, held: &Held) -> Option<(Vec<u64>, Vec<u64>, usize)> {
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
    static HELD: (SimDisk, Held) = make(26);
}

/// Flips every bit (or until the first bad outcome); returns how many records at most one flip took, and how many flips were served wrongly.
fn flip_every_bit((disk, held): (SimDisk, Held), stop_when_wrong: bool) -> (usize, usize) {
    let all: Vec<u64> = held.keys().copied().collect();
    let (mut worst, mut wrong) = (0, 0);
    let files = segments(&disk);
    assert!(files.len() >= 2);
    // Behind packed segments the open one is as in any log.
    let packed = verify_on(&disk, dir(), &mut |_| {}).unwrap().segments.iter().filter(|s| s.packed.is_some()).count();
    let files = if packed > 0 { &files[..packed] } else { &files[..] };
    for file in files {
        let bytes = disk.contents(file).unwrap();
        let used = bytes.iter().rposition(|&b| b != 0).unwrap() as u64 + 1;
        for bit in 0..used * 8 {
            // Of the header's zeros every byte is enough.
            if (128..4096).contains(&(bit / 8)) && bit % 8 != 0 {
                continue;
            }
            let other = disk.fork(bit);
            assert!(other.flip_bit(file, bit));
            match read(&other, &held) {
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
    assert_eq!(flip_every_bit(HELD.with(Clone::clone), false), (1, 0));
}

#[test]
fn nor_does_one_in_a_packed_segment() {
    assert_eq!(flip_every_bit(make_packed(Codec::None), false), (1, 0));
    // The checksum of what is compressed tells which bit it was.
    assert_eq!(flip_every_bit(make_packed(Codec::Zstd), false), (0, 0));
}

#[cfg(feature = "planted-bugs")]
#[test]
fn believing_headers_without_their_checksum_is_caught() {
    use sublog_storage::planted::{Bug, plant};
    HELD.with(|_| ());
    plant(Some(Bug::SkipHeaderCrc));
    let (worst, wrong) = flip_every_bit(HELD.with(Clone::clone), true);
    plant(None);
    assert!(wrong > 0 || worst > 1, "not caught");
    println!("SkipHeaderCrc caught: {wrong} flips served wrongly, {worst} records lost to one");
}

/// Larger damage, at every place of a packed log: what is lost is reported, is no more than the blocks that were hit, and
/// nothing wrong is served.
#[test]
fn larger_damage_to_a_packed_segment_costs_its_block() {
    for codec in [Codec::None, Codec::Zstd] {
        let (disk, held) = make_packed(codec);
        let mut worst = 0;
        for file in &segments(&disk)[..2] {
            let bytes = disk.contents(file).unwrap();
            for at in (0..bytes.len()).step_by(7).filter(|at| !(200..3900).contains(at)) {
                let other = disk.fork(at as u64);
                let mut wrong = bytes.clone();
                wrong.iter_mut().skip(at).take(30).for_each(|byte| *byte = !*byte);
                other.set_contents(file, wrong);
                let (served, lost, _) = read(&other, &held).unwrap_or_else(|| panic!("wrong bytes served, {at}"));
                let missing: Vec<u64> = held.keys().copied().filter(|seq| !served.contains(seq)).collect();
                assert!(missing.iter().all(|seq| lost.contains(seq)), "{at}: {missing:?} missing, {lost:?} lost");
                assert!(lost.iter().all(|seq| !served.contains(seq)), "{at}: {lost:?} lost");
                worst = worst.max(missing.len());
                let backward = read_backward(&other, &held).unwrap_or_else(|| panic!("wrong bytes backward, {at}"));
                assert_eq!(backward, (served, lost), "{at}");
            }
        }
        // Two blocks of 700 bytes at most, of records that take 45 and more.
        assert!((2..=30).contains(&worst), "{codec:?}: {worst}");
    }
}

fn read_backward(disk: &SimDisk, held: &Held) -> Option<(Vec<u64>, Vec<u64>)> {
    let (log, _committer, _) = Log::open_stepped(disk.shared(), dir(), options(), Arc::new(NoObserver)).unwrap();
    let (mut served, mut lost, mut right) = (Vec::new(), Vec::new(), true);
    log.reader()
        .visit_backward(u64::MAX, &mut |visit| {
            match visit {
                Visit::Record(r) => {
                    served.insert(0, r.seq);
                    let is = (r.ts_ns, r.subject.to_vec(), r.headers.to_vec(), r.payload.to_vec());
                    right &= held.get(&r.seq) == Some(&is);
                }
                Visit::Lost(range) => {
                    for seq in (range.first_seq..=range.last_seq).rev() {
                        lost.insert(0, seq);
                    }
                }
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    right.then_some((served, lost))
}

#[test]
fn a_missing_or_exchanged_segment_is_reported() {
    let (disk, held) = HELD.with(Clone::clone);
    let files = segments(&disk);
    assert!(files.len() >= 3, "{files:?}");
    // The second one is gone.
    let other = disk.fork(1);
    other.remove(&files[1]).unwrap();
    let (served, lost, damage) = read(&other, &held).unwrap();
    assert_eq!(served.len() + lost.len(), held.len());
    assert!(!lost.is_empty() && damage > 0);
    assert!(!verify_on(&other, dir(), &mut |_| {}).unwrap().is_sound());
    // The second one holds what the first one does.
    let other = disk.fork(2);
    other.set_contents(&files[1], disk.contents(&files[0]).unwrap());
    let (served, _, damage) = read(&other, &held).unwrap();
    assert!(served.len() < held.len() && damage > 0);
    // The last one is gone: LOCK knows.
    let other = disk.fork(3);
    other.remove(files.last().unwrap()).unwrap();
    let (served, lost, damage) = read(&other, &held).unwrap();
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
            assert_eq!(read(&other, &held).unwrap().0, all, "{} without its last {keep} bytes", file.display());
        }
    }
    for lock in [Vec::new(), vec![0; 512], vec![b'x'; 100]] {
        let other = disk.fork(9);
        other.set_contents(&dir().join("LOCK"), lock);
        assert_eq!(read(&other, &held).unwrap().0, all);
    }
}
