//! G4 and G9: bits that flip in a log at rest, and caches that are anything. `SUBLOG_BIT_FLIPS=all` flips every bit of a
//! segment with 256 KiB of records, of the last segment and of LOCK; a number flips that many. `SUBLOG_CACHE_MUTATIONS=<n>`
//! makes that many mutations of footers, the only caches that logs have so far: a file that is all cache is added in `caches`.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sublog_storage::disk::Disk as _;
use sublog_storage::disk::sim::{Chance, SimDisk};
use sublog_storage::{Log, LogOptions, Next, NoObserver, RecordBatch, Visit};

use crate::common::{Content, content, env, report};

/// Segments with several index entries each.
const SEGMENT_BYTES: u64 = 160 << 10;
const RECORDS: u64 = 3500;

fn dir() -> &'static Path {
    Path::new("/sim/log")
}

fn options(segment_bytes: u64) -> LogOptions {
    LogOptions {
        segment_bytes_first: segment_bytes,
        segment_bytes_max: segment_bytes,
        zero_ahead_bytes: 0,
        ..LogOptions::default()
    }
}

fn open(disk: &SimDisk) -> (Log, sublog_storage::Committer) {
    let options = options(64 << 10);
    let (log, committer, _) = Log::open_stepped(disk.shared(), dir(), options, Arc::new(NoObserver)).unwrap();
    (log, committer)
}

/// A closed log of that many records in segments of that size; with what each number holds.
fn make(segment_bytes: u64, records: u64) -> (SimDisk, Vec<Content>) {
    let disk = SimDisk::new(1);
    let opened = Log::open_stepped(disk.shared(), dir(), options(segment_bytes), Arc::new(NoObserver));
    let (log, mut committer, _) = opened.unwrap();
    let mut held = Vec::new();
    let mut chance = Chance::new(5);
    while (held.len() as u64) < records {
        let mut batch = RecordBatch::new();
        for _ in 0..1 + chance.below(40) {
            let (ts, subject, headers, payload) = content(held.len() as u64);
            batch.push(ts, &subject, &headers, &payload).unwrap();
            held.push((ts, subject, headers, payload));
        }
        let last = log.append(&mut batch).unwrap().last_seq;
        log.when_committed(last, Box::new(|result| result.unwrap()));
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

#[derive(Debug, Default)]
struct Tally {
    flips: AtomicU64,
    harmless: AtomicU64,
    cost_a_record: AtomicU64,
    corrupt_served: AtomicU64,
    others_lost: AtomicU64,
    unreported: AtomicU64,
}

/// Flips one bit, opens the log, reads all of it.
fn flip(disk: &SimDisk, held: &[Content], file: &Path, bit: u64, tally: &Tally) {
    let other = disk.fork(bit);
    assert!(other.flip_bit(file, bit));
    let (log, _committer) = open(&other);
    let (mut expected, mut missing, mut wrong, mut mute) = (1_u64, 0_u64, 0, 0);
    log.reader()
        .visit(usize::MAX, &mut |visit| {
            match visit {
                Visit::Record(record) => {
                    // Numbers passed over without a word.
                    mute += record.seq.abs_diff(expected);
                    let same = held.get(record.seq as usize - 1).is_some_and(|(ts, subject, headers, payload)| {
                        record.ts_ns == *ts
                            && record.subject == subject
                            && record.headers == headers
                            && record.payload == payload
                    });
                    wrong += u64::from(!same);
                    expected = record.seq + 1;
                }
                Visit::Lost(range) => {
                    mute += range.first_seq.abs_diff(expected);
                    missing += range.last_seq.saturating_sub(range.first_seq) + 1;
                    expected = range.last_seq + 1;
                }
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    mute += (held.len() as u64 + 1).abs_diff(expected);
    // Whoever watches the log hears of it as well.
    mute += u64::from(missing > 0 && log.state().damage_found == 0);
    let add = |counter: &AtomicU64, n: u64| {
        counter.fetch_add(n, Ordering::Relaxed);
    };
    add(&tally.flips, 1);
    add(&tally.harmless, u64::from(missing == 0));
    add(&tally.cost_a_record, u64::from(missing == 1));
    add(&tally.corrupt_served, wrong);
    add(&tally.others_lost, missing.saturating_sub(1));
    add(&tally.unreported, mute);
    if wrong + mute > 0 || missing > 1 {
        println!("bit {bit} of {}: {wrong} wrong, {missing} missing, {mute} unreported", file.display());
    }
}

#[test]
fn flipped_bits_are_never_served_and_cost_their_record_only() {
    let start = Instant::now();
    let (disk, held) = make(270 << 10, 2000);
    let files = segments(&disk);
    assert!(files.len() >= 2);
    let first = disk.contents(&files[0]).unwrap().len() as u64;
    assert!(first >= 256 << 10, "{first}");
    let last = files.last().unwrap();
    let used = disk.contents(last).unwrap().iter().rposition(|&byte| byte != 0).unwrap() as u64 + 1;
    let lock = dir().join("LOCK");
    let ranges: [(&Path, u64); 3] = [(&files[0], first), (last, used), (&lock, 512)];
    let bits: u64 = ranges.iter().map(|(_, bytes)| bytes * 8).sum();
    let all = std::env::var("SUBLOG_BIT_FLIPS").is_ok_and(|value| value == "all");
    let wanted = if all { bits } else { env("SUBLOG_BIT_FLIPS", 5000).min(bits) };
    let (tally, next) = (Tally::default(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= wanted {
                        return;
                    }
                    // Spread evenly, and not always the same bit of a byte.
                    let mut bit =
                        if all { i } else { (u128::from(i) * u128::from(bits) / u128::from(wanted)) as u64 + i % 8 };
                    bit = bit.min(bits - 1);
                    for (file, bytes) in &ranges {
                        if bit < bytes * 8 {
                            flip(&disk, &held, file, bit, &tally);
                            break;
                        }
                        bit -= bytes * 8;
                    }
                }
            });
        }
    });
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let failures = get(&tally.corrupt_served) + get(&tally.others_lost) + get(&tally.unreported);
    let counts = format!(
        "{} of {bits} bits of {} KiB segment, last segment and LOCK: {} cost nothing, {} their record; corrupt served {}, \
         others lost {}, unreported {}, in {:.0} s",
        get(&tally.flips),
        first >> 10,
        get(&tally.harmless),
        get(&tally.cost_a_record),
        get(&tally.corrupt_served),
        get(&tally.others_lost),
        get(&tally.unreported),
        start.elapsed().as_secs_f64()
    );
    report("G4", "flipped bits", &counts, failures);
    assert_eq!(failures, 0);
    assert!(get(&tally.cost_a_record) > 0 && get(&tally.harmless) > 0);
}

/// Where the caches of a log are.
fn caches(disk: &SimDisk) -> Vec<(PathBuf, Range<usize>)> {
    let mut found = Vec::new();
    for file in segments(disk) {
        let bytes = disk.contents(&file).unwrap();
        let end = bytes.len();
        if bytes.ends_with(b"SUBLOGFT") {
            let at = u32::from_le_bytes(bytes[end - 16..end - 12].try_into().unwrap());
            found.push((file, at as usize..end));
        }
    }
    found
}

/// Everything that a log shows: records both ways, borders, sums, look-ups by number and time.
fn state_hash(disk: &SimDisk, records: u64) -> u64 {
    let (log, _committer) = open(disk);
    let mut hash = DefaultHasher::new();
    let state = log.state();
    (state.first_seq, state.last_seq, state.messages, state.bytes, state.first_ts_ns, state.last_ts_ns).hash(&mut hash);
    let mut reader = log.reader();
    let mut show = |visit: Visit<'_>| {
        match visit {
            Visit::Record(r) => (r.seq, r.ts_ns, r.subject, r.headers, r.payload).hash(&mut hash),
            Visit::Lost(range) => (range.first_seq, range.last_seq).hash(&mut hash),
        }
        ControlFlow::Continue(())
    };
    reader.visit(usize::MAX, &mut show).unwrap();
    reader.visit_backward(u64::MAX, &mut show).unwrap();
    for seq in (1..=records).step_by(97) {
        reader.seek(seq);
        reader
            .visit(usize::MAX, &mut |visit| {
                let _ = show(visit);
                ControlFlow::Break(())
            })
            .unwrap();
    }
    for ts_ns in (0..records).step_by(131) {
        log.seek_time(i64::try_from(ts_ns).unwrap()).unwrap().hash(&mut hash);
    }
    hash.finish()
}

/// An index entry that names another place, under checksums that are right.
fn forge(bytes: &mut [u8], cache: &Range<usize>, chance: &mut Chance) {
    let (header, body) = (cache.start, cache.start + 64);
    let entries = u64::from(u32::from_le_bytes(bytes[body + 52..body + 56].try_into().unwrap()));
    let entry = body + 64 + 24 * chance.below(entries) as usize;
    // The number or the offset; the time is not proved by the frame that it stands for.
    let field = entry + if chance.percent(50) { 0 } else { 16 };
    let value = u32::from_le_bytes(bytes[field..field + 4].try_into().unwrap());
    let by = 1 + chance.below(300) as u32;
    let value = if chance.percent(50) { value.wrapping_add(by) } else { value.wrapping_sub(by) };
    bytes[field..field + 4].copy_from_slice(&value.to_le_bytes());
    let crc = crc32fast::hash(&bytes[body..cache.end]);
    bytes[header + 52..header + 56].copy_from_slice(&crc.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[header + 16..header + 24]);
    hasher.update(&bytes[header..header + 60]);
    bytes[header + 60..header + 64].copy_from_slice(&hasher.finalize().to_le_bytes());
}

/// One thing that may happen to a cache.
fn mutate(bytes: &mut Vec<u8>, cache: &Range<usize>, others: &[Vec<u8>], chance: &mut Chance) {
    let len = cache.len() as u64;
    let at = |chance: &mut Chance| cache.start + chance.below(len) as usize;
    match chance.below(8) {
        0 => bytes.truncate(at(chance)),
        1 => bytes[cache.clone()].fill(0),
        2 => {
            let i = at(chance);
            bytes[i] ^= 1 << chance.below(8);
        }
        3 => {
            for _ in 0..1 + chance.below(40) {
                let i = at(chance);
                bytes[i] = chance.bits() as u8;
            }
        }
        4 => {
            // Another segment's.
            bytes.truncate(cache.start);
            bytes.extend_from_slice(&others[chance.below(others.len() as u64) as usize]);
        }
        5 => bytes.extend((0..1 + chance.below(5000)).map(|i| i as u8)),
        6 => forge(bytes, cache, chance),
        _ => {
            // Two pieces exchanged: all bytes are there, at other places.
            let n = (len / 4).max(1) as usize;
            let (a, b) = (cache.start, cache.end - n);
            let piece = bytes[a..a + n].to_vec();
            bytes.copy_within(b..b + n, a);
            bytes[b..b + n].copy_from_slice(&piece);
        }
    }
}

#[test]
fn whatever_a_cache_says_the_log_is_the_same() {
    let start = Instant::now();
    let (disk, held) = make(SEGMENT_BYTES, RECORDS);
    let caches = caches(&disk);
    assert!(caches.len() >= 3);
    let expected = state_hash(&disk.fork(1), held.len() as u64);
    let pieces: Vec<Vec<u8>> =
        caches.iter().map(|(file, range)| disk.contents(file).unwrap()[range.clone()].to_vec()).collect();
    // None at all: everything from the records.
    let bare = disk.fork(2);
    for (file, range) in &caches {
        let mut bytes = disk.contents(file).unwrap();
        bytes.truncate(range.start);
        bare.set_contents(file, bytes);
    }
    assert_eq!(state_hash(&bare, held.len() as u64), expected, "without caches");
    let mutations = env("SUBLOG_CACHE_MUTATIONS", 400);
    let (next, differ) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= mutations {
                        return;
                    }
                    let mut chance = Chance::new(i);
                    let other = disk.fork(i);
                    // Sometimes several caches at once.
                    for _ in 0..1 + chance.below(3) {
                        let (file, range) = &caches[chance.below(caches.len() as u64) as usize];
                        let mut bytes = disk.contents(file).unwrap();
                        mutate(&mut bytes, range, &pieces, &mut chance);
                        other.set_contents(file, bytes);
                    }
                    if state_hash(&other, held.len() as u64) != expected {
                        differ.fetch_add(1, Ordering::Relaxed);
                        println!("mutation {i} shows");
                    }
                }
            });
        }
    });
    let differ = differ.into_inner();
    let counts = format!(
        "{mutations} mutations of {} footers, {differ} show, in {:.0} s",
        caches.len(),
        start.elapsed().as_secs_f64()
    );
    report("G9", "caches may be anything", &counts, differ);
    assert_eq!(differ, 0);
}

#[cfg(feature = "planted-bugs")]
#[test]
fn believing_a_cache_is_caught() {
    use sublog_storage::planted::{Bug, plant};
    let (disk, held) = make(SEGMENT_BYTES, RECORDS);
    let expected = state_hash(&disk.fork(1), held.len() as u64);
    let (file, range) = caches(&disk).remove(0);
    for (bug, forged) in [(Bug::SkipFooterCrc, false), (Bug::TrustStaleIndex, true)] {
        plant(Some(bug));
        let differs = (0..2000).find(|&i| {
            let mut chance = Chance::new(i);
            let other = disk.fork(i);
            let mut bytes = disk.contents(&file).unwrap();
            if forged {
                forge(&mut bytes, &range, &mut chance);
            } else {
                bytes[range.start + 64 + chance.below(50) as usize] ^= 1 << chance.below(8);
            }
            other.set_contents(&file, bytes);
            state_hash(&other, held.len() as u64) != expected
        });
        plant(None);
        let tries = differs.unwrap_or_else(|| panic!("{bug:?} was not caught"));
        report("G9", &format!("planted: {bug:?}"), &format!("caught after {} mutations", tries + 1), 0);
    }
}
