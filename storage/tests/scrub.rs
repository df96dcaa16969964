//! Scrubbing: every bit that is wrong on the disk is found in one pass, whether memory still shows the right one or not;
//! nothing is found where nothing is wrong; it keeps to its rate and gives way.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and waits with a deadline"
)]

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sublog_storage::disk::Disk;
use sublog_storage::disk::sim::{Call, Chance, Fault, SimDisk};
use sublog_storage::{
    Codec, Committer, Log, LogOptions, LostReason, Next, NoObserver, RealDisk, RecordBatch, RewriteStep, Scrub,
    ScrubNext, ScrubOptions, ScrubPass, Visit,
};

const SECOND: Duration = Duration::from_secs(1);

fn dir() -> &'static Path {
    Path::new("/sim/log")
}

fn options() -> LogOptions {
    LogOptions {
        segment_bytes_first: 16 << 10,
        segment_bytes_max: 32 << 10,
        zero_ahead_bytes: 0,
        ..LogOptions::default()
    }
}

/// A log that its test drives.
struct Driven {
    disk: SimDisk,
    log: Log,
    committer: Committer,
    records: u64,
}

impl Driven {
    /// Open, with this many records and several sealed segments.
    fn with(records: u64) -> Self {
        let disk = SimDisk::new(7);
        let (log, committer, _) = Log::open_stepped(disk.shared(), dir(), options(), Arc::new(NoObserver)).unwrap();
        let mut driven = Self { disk, log, committer, records: 0 };
        while driven.records < records {
            driven.append();
            driven.commit();
        }
        driven
    }

    fn append(&mut self) {
        let mut batch = RecordBatch::new();
        for i in 0..1 + self.records % 5 {
            let payload = vec![i as u8; (self.records * 37 % 900) as usize];
            batch.push(i64::try_from(self.records).unwrap(), b"s.a", b"h", &payload).unwrap();
        }
        self.records = self.log.append(&mut batch).unwrap().last_seq;
        self.log.when_committed(self.records, Box::new(|result| result.unwrap()));
    }

    fn commit(&mut self) {
        while self.committer.step(Duration::ZERO) == Next::Now {}
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut names = self.disk.list(dir()).unwrap();
        names.retain(|name| name.ends_with(".seg"));
        names.sort();
        names.iter().map(|name| dir().join(name)).collect()
    }

    fn sealed(&self) -> Vec<PathBuf> {
        let mut segments = self.segments();
        segments.pop();
        segments
    }

    /// Packs the sealed segments, two in one, by turns compressed and not, without every third record.
    fn pack(&mut self) {
        let removed: Vec<(u64, u64)> = (1..self.records).step_by(3).map(|seq| (seq, seq)).collect();
        self.log.remove(removed, Box::new(|result| assert!(result.unwrap().messages > 0)));
        self.commit();
        let segments = self.log.segments();
        let sealed = segments.len() - 1;
        for (pair, codec) in segments[..sealed].chunks_exact(2).zip([Codec::None, Codec::Zstd].iter().cycle()) {
            self.rewrite(pair[0].first_seq, *codec);
        }
    }

    fn rewrite(&self, first_seq: u64, codec: Codec) {
        let mut rewrite = self.log.compact(first_seq, 2, codec);
        loop {
            match rewrite.step(u64::MAX).unwrap() {
                RewriteStep::Working { .. } => {}
                RewriteStep::Done(_) => return,
                RewriteStep::NotDone(why) => panic!("{why:?}"),
            }
        }
    }

    fn lost(&self) -> Vec<u64> {
        let mut lost = Vec::new();
        let mut note = |visit: Visit<'_>| {
            if let Visit::Lost(range) = visit {
                lost.extend(range.first_seq..=range.last_seq);
            }
            ControlFlow::Continue(())
        };
        self.log.reader().visit(usize::MAX, &mut note).unwrap();
        lost
    }
}

fn quick() -> ScrubOptions {
    ScrubOptions { bytes_per_s: 1 << 40, interval: SECOND }
}

/// Steps until a pass ends; a clock that is as late as the scrub asks for.
fn one_pass(scrub: &mut Scrub, now: &mut Duration) -> ScrubPass {
    for _ in 0..1_000_000 {
        let step = scrub.step(*now, usize::MAX);
        let ScrubNext::At(at) = step.next else { panic!("closed") };
        *now = at.max(*now);
        if let Some(pass) = step.pass {
            return pass;
        }
    }
    panic!("the pass does not end");
}

#[test]
fn a_sound_log_is_read_whole_and_nothing_is_found() {
    let driven = Driven::with(800);
    let (mut scrub, mut now) = (driven.log.scrub(quick()), Duration::ZERO);
    let sealed = driven.sealed();
    assert!(sealed.len() > 10);
    let bytes: usize = sealed.iter().map(|path| driven.disk.contents(path).unwrap().len()).sum();
    for round in 1..=3 {
        let pass = one_pass(&mut scrub, &mut now);
        assert_eq!((pass.segments, pass.bytes, pass.findings), (sealed.len() as u64, bytes as u64, 0));
        let state = driven.log.state();
        assert_eq!((state.scrub.passes, state.scrub.last), (round, Some(pass)));
        assert_eq!(state.scrub.segments, round * sealed.len() as u64);
        assert_eq!((state.scrub.running, state.damage_found), (None, 0));
        // Passes keep their distance.
        assert!(pass.started >= SECOND * u32::try_from(round).unwrap());
    }
}

#[test]
fn every_wrong_bit_is_found_in_one_pass() {
    flip_bits(&Driven::with(300));
}

#[test]
fn every_wrong_bit_of_packed_segments_is_found_in_one_pass() {
    let mut driven = Driven::with(600);
    driven.pack();
    flip_bits(&driven);
}

fn flip_bits(driven: &Driven) {
    let (mut scrub, mut now) = (driven.log.scrub(quick()), Duration::ZERO);
    assert_eq!(one_pass(&mut scrub, &mut now).findings, 0);
    let (sealed, mut chance) = (driven.sealed(), Chance::new(3));
    let flips: u64 = std::env::var("SUBLOG_SCRUB_FLIPS").map_or(3000, |text| text.parse().unwrap());
    let (mut correctable, mut with_loss) = (0, 0);
    for i in 0..flips {
        let path = &sealed[usize::try_from(chance.below(sealed.len() as u64)).unwrap()];
        let bytes = driven.disk.contents(path).unwrap().len() as u64;
        // Everywhere alike, and often in the small parts: headers, the first frame, the footer.
        let bit = match i % 4 {
            0 => chance.below(4096 * 8),
            1 => 4096 * 8 + chance.below(64 * 8),
            2 => (bytes - 300) * 8 + chance.below(300 * 8),
            _ => chance.below(bytes * 8),
        };
        // On the medium alone: memory still has it right, and readers notice nothing.
        assert!(driven.disk.rot_bit(path, bit));
        let pass = one_pass(&mut scrub, &mut now);
        assert!(pass.findings > 0, "bit {bit} of {} was not found", path.display());
        assert_eq!(pass.segments, sealed.len() as u64);
        correctable += u64::from(pass.correctable > 0);
        with_loss += u64::from(pass.correctable < pass.findings);
        driven.disk.rot_bit(path, bit);
    }
    assert_eq!(one_pass(&mut scrub, &mut now).findings, 0);
    assert_eq!(driven.lost(), [0; 0]);
    assert!(correctable > flips / 10 && with_loss > flips / 10, "{correctable} correctable, {with_loss} with loss");
}

#[test]
fn what_reading_gets_over_is_told_apart() {
    let driven = Driven::with(300);
    let (mut scrub, mut now) = (driven.log.scrub(quick()), Duration::ZERO);
    let path = &driven.sealed()[3];
    let bytes = driven.disk.contents(path).unwrap().len() as u64;
    let body =
        u64::from(u32::from_le_bytes(driven.disk.contents(path).unwrap()[4096 + 44..4096 + 48].try_into().unwrap()));
    for (what, at, correctable) in [
        ("the first copy of the segment header", 20, true),
        ("the second", 2048 + 20, true),
        ("its zeros", 3000, true),
        ("a frame header", 4096 + 30, true),
        ("a record", 4096 + 64 + 5, false),
        ("a length in a directory", 4096 + 64 + body, true),
        ("a checksum in a directory", 4096 + 64 + body + 4, false),
        ("the index", bytes - 40, true),
        ("the trailer", bytes - 1, true),
    ] {
        driven.disk.rot_bit(path, at * 8);
        let pass = one_pass(&mut scrub, &mut now);
        // A damaged directory is two things: it has to be done without, and one record with it.
        assert!(pass.findings > 0 && (pass.correctable == pass.findings) == correctable, "{what}: {pass:?}");
        driven.disk.rot_bit(path, at * 8);
    }
}

#[test]
fn what_is_found_is_what_readers_will_miss() {
    let driven = Driven::with(800);
    let (mut scrub, mut now) = (driven.log.scrub(quick()), Duration::ZERO);
    let sealed = driven.sealed();
    let mut chance = Chance::new(5);
    let mut hit = BTreeSet::new();
    for path in sealed.iter().step_by(2) {
        let bytes = driven.disk.contents(path).unwrap().len() as u64;
        driven.disk.flip_bit(path, 4096 * 8 + chance.below((bytes - 4096) * 8));
        hit.insert(path.clone());
    }
    // And one that is cut short.
    let short = &sealed[5];
    let mut bytes = driven.disk.contents(short).unwrap();
    bytes.truncate(bytes.len() / 2 + 13);
    driven.disk.set_contents(short, bytes);
    hit.insert(short.clone());
    let pass = one_pass(&mut scrub, &mut now);
    let damage = driven.log.state().damage;
    assert_eq!(damage.iter().map(|entry| entry.path.clone()).collect::<BTreeSet<_>>(), hit);
    let mut told = Vec::new();
    for range in damage.iter().filter_map(|entry| entry.lost) {
        told.extend(range.first_seq..=range.last_seq);
    }
    assert_eq!(told, driven.lost());
    // Known now, by whomever it was found: the list does not grow, the passes go on saying it.
    let found = driven.log.state().damage_found;
    assert_eq!(one_pass(&mut scrub, &mut now).findings, pass.findings);
    assert_eq!(driven.log.state().damage_found, found);
}

#[test]
fn damage_of_a_removed_record_costs_nothing() {
    let mut driven = Driven::with(300);
    let (mut scrub, mut now) = (driven.log.scrub(quick()), Duration::ZERO);
    let path = &driven.sealed()[2];
    let first: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    driven.log.remove(vec![(first, first)], Box::new(|result| assert_eq!(result.unwrap().messages, 1)));
    driven.commit();
    driven.disk.rot_bit(path, (4096 + 64 + 5) * 8);
    let pass = one_pass(&mut scrub, &mut now);
    assert_eq!((pass.findings, pass.correctable), (1, 1));
    assert!(driven.log.state().damage.iter().all(|entry| entry.lost.is_none()));
}

#[test]
fn removal_is_no_finding_and_a_missing_file_is() {
    for after in 0..60 {
        let driven = Driven::with(500);
        let (mut scrub, mut now) = (driven.log.scrub(quick()), Duration::ZERO);
        // Blocks of 4096 bytes at a time: the removal comes anywhere within a segment, or between two.
        for _ in 0..after {
            let step = scrub.step(now, 1);
            let ScrubNext::At(at) = step.next else { panic!("closed") };
            now = at;
            assert_eq!(step.pass, None);
        }
        let before = driven.sealed().len() as u64;
        assert_eq!(driven.log.remove_oldest().unwrap().segments, 1);
        assert_eq!(driven.log.remove_oldest().unwrap().segments, 1);
        let pass = one_pass(&mut scrub, &mut now);
        assert!(pass.findings == 0 && pass.segments + 2 >= before, "{pass:?}");
        assert_eq!(one_pass(&mut scrub, &mut now).segments, before - 2);
        assert_eq!(driven.log.state().damage_found, 0);
    }
    let driven = Driven::with(200);
    let (mut scrub, mut now) = (driven.log.scrub(quick()), Duration::ZERO);
    let gone = &driven.sealed()[1];
    driven.disk.remove(gone).unwrap();
    assert_eq!(one_pass(&mut scrub, &mut now).findings, 1);
    let damage = driven.log.state().damage;
    assert_eq!((&damage[0].path, damage[0].reason), (gone, LostReason::MissingSegment));
    // Another one in its place is found as well.
    driven.disk.set_contents(gone, driven.disk.contents(&driven.sealed()[0]).unwrap());
    assert!(one_pass(&mut scrub, &mut now).findings > 0);
}

#[test]
fn rewriting_is_no_finding() {
    for after in 0..60 {
        let driven = Driven::with(500);
        let (mut scrub, mut now) = (driven.log.scrub(quick()), Duration::ZERO);
        for _ in 0..after {
            let step = scrub.step(now, 1);
            let ScrubNext::At(at) = step.next else { panic!("closed") };
            now = at;
        }
        // The segment that is being read, the next ones, or some that were read already.
        let segments = driven.log.segments();
        driven.rewrite(segments[0].first_seq, Codec::Zstd);
        driven.rewrite(segments[2].first_seq, Codec::None);
        assert_eq!(one_pass(&mut scrub, &mut now).findings, 0);
        assert_eq!(one_pass(&mut scrub, &mut now).segments, segments.len() as u64 - 3);
        assert_eq!(driven.log.state().damage_found, 0);
    }
}

#[test]
fn a_read_that_fails_once_is_no_finding_and_one_that_always_fails_is() {
    let driven = Driven::with(200);
    let (mut scrub, mut now) = (driven.log.scrub(quick()), Duration::ZERO);
    for k in 1..10 {
        for times in [1, 2] {
            driven.disk.fail(Call::Read, k, times, Fault::Io);
            assert_eq!(one_pass(&mut scrub, &mut now).findings, 0, "read {k}, {times} times");
        }
    }
    driven.disk.fail(Call::Read, 1, u64::MAX / 2, Fault::Io);
    let pass = one_pass(&mut scrub, &mut now);
    assert!(pass.findings >= driven.sealed().len() as u64, "{pass:?}");
    driven.disk.fail(Call::Read, u64::MAX, 1, Fault::Io);
    assert_eq!(one_pass(&mut scrub, &mut now).findings, 0);
}

#[test]
fn it_keeps_to_its_rate_and_gives_way_to_the_log() {
    let mut driven = Driven::with(2000);
    let rate = 100_000;
    let mut scrub = driven.log.scrub(ScrubOptions { bytes_per_s: rate, interval: SECOND });
    let mut now = Duration::ZERO;
    let pass = one_pass(&mut scrub, &mut now);
    let expected = Duration::from_secs_f64(pass.bytes as f64 / rate as f64);
    assert!(expected > SECOND * 3, "too little to measure: {expected:?}");
    // The last read is waited for by the next pass, so a step more or less.
    let took = pass.ended - pass.started;
    assert!(took > expected * 9 / 10 && took < expected * 11 / 10, "{took:?}, expected {expected:?}");

    // A caller that comes late may catch up a little, and no more.
    let (mut read, from) = (0, now);
    for _ in 0..200 {
        now += Duration::from_millis(200);
        loop {
            let step = scrub.step(now, 4096);
            assert!(step.read_bytes <= 4096);
            read += step.read_bytes;
            let ScrubNext::At(at) = step.next else { panic!("closed") };
            if at > now {
                break;
            }
        }
    }
    let share = read as f64 / ((now - from).as_secs_f64() * rate as f64);
    assert!((0.1..0.7).contains(&share), "{share}");
    one_pass(&mut scrub, &mut now);

    // While batches wait for the disk.
    driven.append();
    let sums = |scrub: &mut Scrub, now: &mut Duration| {
        let (from, mut read) = (*now, 0);
        while *now < from + SECOND * 40 {
            let step = scrub.step(*now, usize::MAX);
            read += step.read_bytes;
            let ScrubNext::At(at) = step.next else { panic!("closed") };
            *now = at;
        }
        read as f64 / (*now - from).as_secs_f64()
    };
    let busy = sums(&mut scrub, &mut now);
    driven.commit();
    let quiet = sums(&mut scrub, &mut now);
    assert!(busy < rate as f64 / 14.0 && quiet > rate as f64 / 2.0, "{busy} B/s, then {quiet} B/s");
}

#[test]
fn it_ends_with_the_log() {
    let mut driven = Driven::with(100);
    let mut scrub = driven.log.scrub(quick());
    assert_eq!(scrub.step(Duration::ZERO, 1).next, ScrubNext::At(SECOND));
    driven.log.ask_to_close();
    while driven.committer.step(Duration::ZERO) != Next::Stop {}
    assert_eq!(scrub.step(SECOND * 2, 1).next, ScrubNext::Closed);
}

#[test]
fn on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { segment_bytes_first: 1 << 20, segment_bytes_max: 4 << 20, ..LogOptions::default() };
    let (log, _) = Log::open(RealDisk::shared(), dir.path(), options, Arc::new(NoObserver)).unwrap();
    // Large and small frames.
    for i in 0..400_usize {
        let mut batch = RecordBatch::new();
        for k in 0..1 + i % 30 {
            batch.push(1, b"real.a", b"", &vec![k as u8; (i * 7919 + k) % 5000]).unwrap();
        }
        log.append(&mut batch).unwrap();
        if i % 10 == 0 {
            log.sync_now().unwrap();
        }
    }
    log.sync_now().unwrap();
    let (mut scrub, mut now) = (log.scrub(quick()), Duration::ZERO);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths.pop();
    assert!(paths.len() >= 3, "{paths:?}");
    let pass = one_pass(&mut scrub, &mut now);
    let bytes: u64 = paths.iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    assert_eq!((pass.segments, pass.bytes, pass.findings), (paths.len() as u64, bytes, 0));
    for path in &paths {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let at = file.metadata().unwrap().len() / 2;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
        assert_eq!(one_pass(&mut scrub, &mut now).findings, 1);
        file.write_all_at(&byte, at).unwrap();
    }
    assert_eq!(one_pass(&mut scrub, &mut now).findings, 0);
    assert_eq!(log.state().damage_found, paths.len() as u64);
    log.close().unwrap();
}
