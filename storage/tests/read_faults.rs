//! Files that shrink under a running log, and parts of them that the disk does not give: records are lost and reported,
//! the process lives, and nothing that could not be read is taken for something that is not there.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits with a deadline"
)]

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sublog_storage::disk::{Disk, DiskFile, OpenMode, View};
use sublog_storage::{
    Log, LogOptions, LostReason, NoObserver, OpenError, RealDisk, Record, RecordBatch, RecoveryReport, Visit,
    read_faults,
};

fn options() -> LogOptions {
    LogOptions { segment_bytes_first: 256 << 10, segment_bytes_max: 256 << 10, ..LogOptions::default() }
}

fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<(Log, RecoveryReport), OpenError> {
    Log::open(disk, dir, options(), Arc::new(NoObserver))
}

fn payload(i: u64) -> Vec<u8> {
    format!("payload of {i} ").into_bytes().repeat(40)
}

/// Appends `n` records in small commits, and waits until they are on disk.
fn append(log: &Log, n: u64) {
    for _ in 0..n.div_ceil(20) {
        let mut batch = RecordBatch::new();
        let from = log.readable_seq() + 1;
        for i in from..from + 20 {
            batch.push(i64::try_from(i).unwrap(), b"t.a", b"", &payload(i)).unwrap();
        }
        let appended = log.append(&mut batch).unwrap();
        assert_eq!(appended.first_seq, from);
        let (tell, told) = mpsc::channel();
        log.when_committed(appended.last_seq, Box::new(move |result| tell.send(result).unwrap()));
        told.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
    }
}

/// What one reader sees: the records' numbers, and the lost ones. Anything served must be what was written.
fn read(log: &Log) -> (Vec<u64>, Vec<u64>) {
    let (mut served, mut lost) = (Vec::new(), Vec::new());
    let mut reader = log.reader();
    loop {
        let mut again = None;
        let outcome = reader.visit(usize::MAX, &mut |visit| {
            match visit {
                Visit::Record(record) => {
                    let right = record.payload == payload(record.seq);
                    if !record.is_intact() {
                        again = Some(record.seq);
                        return ControlFlow::Break(());
                    }
                    assert!(right, "record {}", record.seq);
                    served.push(record.seq);
                }
                Visit::Lost(range) => {
                    assert_eq!(range.reason, LostReason::Damage);
                    lost.extend(range.first_seq..=range.last_seq);
                }
            }
            ControlFlow::Continue(())
        });
        outcome.unwrap();
        match again {
            Some(seq) => reader.seek(seq),
            None => return (served, lost),
        }
    }
}

fn read_backward(log: &Log) -> (Vec<u64>, Vec<u64>) {
    let (mut served, mut lost) = (Vec::new(), Vec::new());
    let outcome = log.reader().visit_backward(u64::MAX, &mut |visit| {
        match visit {
            Visit::Record(record) => {
                assert!(record.payload == payload(record.seq), "record {}", record.seq);
                served.push(record.seq);
            }
            Visit::Lost(range) => lost.extend((range.first_seq..=range.last_seq).rev()),
        }
        ControlFlow::Continue(())
    });
    outcome.unwrap();
    served.reverse();
    lost.reverse();
    (served, lost)
}

fn records(log: &Log) -> Vec<Record> {
    let mut records = Vec::new();
    let mut keep = |visit: Visit<'_>| {
        if let Visit::Record(record) = visit {
            records.push(record.to_record());
        }
        ControlFlow::Continue(())
    };
    log.reader().visit(usize::MAX, &mut keep).unwrap();
    records
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

/// The number a segment's name says, which is that of its first record.
fn first_seq(path: &Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

fn truncate(path: &Path, len: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

fn all(from: u64, to: u64) -> Vec<u64> {
    (from..to).collect()
}

#[test]
fn a_sealed_segment_that_shrinks_under_its_readers_costs_what_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(RealDisk::shared(), dir.path()).unwrap();
    append(&log, 2000);
    let files = segments(dir.path());
    assert!(files.len() > 4, "{files:?}");
    let (victim, next) = (&files[1], first_seq(&files[2]));
    let whole = std::fs::read(victim).unwrap();
    let faults = read_faults();
    let stop = AtomicBool::new(false);
    let (passes, with_losses) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let last = log.readable_seq();
                    let (served, lost) = read(&log);
                    let mut seen = [served, lost.clone()].concat();
                    seen.sort_unstable();
                    seen.truncate(usize::try_from(last).unwrap());
                    assert_eq!(seen, all(1, last + 1));
                    assert!(lost.iter().all(|seq| (first_seq(victim)..next).contains(seq)), "{lost:?}");
                    passes.fetch_add(1, Ordering::Relaxed);
                    with_losses.fetch_add(u64::from(!lost.is_empty()), Ordering::Relaxed);
                }
            });
        }
        let wait_for = |counter: &AtomicU64, more: u64| {
            let (from, deadline) = (counter.load(Ordering::Relaxed), Instant::now() + Duration::from_secs(20));
            while counter.load(Ordering::Relaxed) < from + more {
                assert!(Instant::now() < deadline, "readers stand still");
                std::thread::yield_now();
            }
        };
        wait_for(&passes, 3);
        // Between pages: what a truncation blanks within a page is no fault, and cannot be seen by those who have just
        // checked it.
        truncate(victim, (whole.len() as u64 / 2) & !4095);
        wait_for(&with_losses, 3);
        // The log goes on.
        append(&log, 200);
        wait_for(&passes, 3);
        stop.store(true, Ordering::Relaxed);
    });
    assert!(read_faults() > faults);
    assert!(log.state().damage_found > 0 && log.state().counters.read_faults > faults);

    // What was cut is lost, in both directions, and nothing else is.
    let (served, lost) = read(&log);
    assert_eq!(lost, all(lost[0], next));
    assert!(lost[0] > first_seq(victim) + 50, "{lost:?}");
    assert_eq!(served.len() + lost.len(), 2200);
    assert_eq!(read_backward(&log), (served.clone(), lost.clone()));
    // A time in the part that cannot be read: rather too early than too late, which would let retention remove it.
    assert_eq!(log.seek_time(i64::try_from(next - 1).unwrap()).unwrap(), lost[0]);
    assert_eq!(log.seek_time(i64::try_from(next).unwrap()).unwrap(), next);

    // The bytes are back, and so are the records.
    File::create(victim).unwrap().write_all(&whole).unwrap();
    assert_eq!(read(&log), (all(1, 2201), Vec::new()));
    assert_eq!(read_backward(&log), (all(1, 2201), Vec::new()));
    log.close().unwrap();
}

#[test]
fn a_reader_in_the_middle_of_a_file_that_comes_back_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(RealDisk::shared(), dir.path()).unwrap();
    append(&log, 600);
    let victim = &segments(dir.path())[0];
    let whole = std::fs::read(victim).unwrap();
    let (mut reader, mut seen) = (log.reader(), Vec::new());
    let mut step = |bytes: usize, at: &mut dyn FnMut(u64)| {
        reader
            .visit(bytes, &mut |visit| {
                let Visit::Record(record) = visit else { panic!("{visit:?}") };
                assert!(record.payload == payload(record.seq));
                seen.push(record.seq);
                at(record.seq);
                ControlFlow::Continue(())
            })
            .unwrap();
    };
    step(20 << 10, &mut |_| {});
    // Another reader puts zeros into the map that this one holds; then the file is whole again.
    truncate(victim, 60 << 10);
    assert!(!read(&log).1.is_empty());
    File::create(victim).unwrap().write_all(&whole).unwrap();
    step(usize::MAX, &mut |_| {});
    assert_eq!(seen, all(1, 601));
    log.close().unwrap();
}

#[test]
fn the_open_segment_may_shrink_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(RealDisk::shared(), dir.path()).unwrap();
    append(&log, 200);
    assert_eq!(segments(dir.path()).len(), 1);
    assert_eq!(read(&log), (all(1, 201), Vec::new()));
    truncate(&segments(dir.path())[0], 70 << 10);
    let (served, lost) = read(&log);
    assert!(served.len() > 50 && lost == all(served.len() as u64 + 1, 201), "{lost:?}");
    // What is written now lies behind a hole; it is read, and so is what was before.
    append(&log, 100);
    let (served_now, lost_now) = read(&log);
    assert_eq!((served_now, lost_now), ([served, all(201, 301)].concat(), lost));
    log.close().unwrap();
}

#[test]
fn a_payload_that_went_away_before_it_was_sent_is_an_error_of_the_write() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(RealDisk::shared(), dir.path()).unwrap();
    append(&log, 600);
    let held = records(&log);
    truncate(&segments(dir.path())[0], 8192);
    // A reader meets the hole first, and gets zeros there: in the page with the first frame's directory, which is what it
    // looks at before any record. Some of that frame's records are in the same page.
    assert!(read(&log).1.starts_with(&all(1, 100)));
    let (_reader, mut writer) = io::pipe().unwrap();
    assert_eq!(writer.write(&held[5].payload).unwrap(), held[5].payload.len());
    for record in &held[8..20] {
        let error = writer.write(&record.payload).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::FAULT.raw_os_error()), "record {}", record.seq);
    }
    log.close().unwrap();
}

/// The real disk, where files whose names end like this seem to be as long as they were: what was cut off since cannot be
/// read, as if the disk failed there.
#[derive(Debug)]
struct Failing(&'static str, u64);

#[derive(Debug)]
struct FailingFile(Arc<dyn DiskFile>, u64);

impl Disk for Failing {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = RealDisk.open(path, mode)?;
        let fails = path.to_str().is_some_and(|path| path.ends_with(self.0));
        Ok(if fails { Arc::new(FailingFile(file, self.1)) } else { file })
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }
    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        RealDisk.free_space(dir)
    }
    fn boot_id(&self) -> u128 {
        RealDisk.boot_id()
    }
    fn random(&self) -> io::Result<u64> {
        RealDisk.random()
    }
}

impl DiskFile for FailingFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.1)
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
    fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.0.write_vectored_at(parts, offset)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.0.allocate(len)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn view(&self, len: u64) -> io::Result<View> {
        self.0.view(len)
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.0.try_lock()
    }
}

#[test]
fn a_tail_that_cannot_be_read_is_not_taken_for_one_that_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(RealDisk::shared(), dir.path()).unwrap();
    append(&log, 200);
    // As after a crash: LOCK does not say how much was durable.
    let lock = std::fs::read(dir.path().join("LOCK")).unwrap();
    log.close().unwrap();
    drop(log);
    std::fs::write(dir.path().join("LOCK"), lock).unwrap();
    let path = &segments(dir.path())[0];
    let whole = std::fs::read(path).unwrap();
    // In the records, and in everything, the header included.
    for keep in [70 << 10, 0] {
        truncate(path, keep);
        let opened = open(Arc::new(Failing(".seg", whole.len() as u64)), dir.path());
        let error = opened.err().unwrap();
        assert!(error.to_string().contains("cannot be read"), "{error}");
        assert_eq!(std::fs::read(path).unwrap(), whole[..usize::try_from(keep).unwrap()], "nothing was changed");
        std::fs::write(path, &whole).unwrap();
    }
    let (log, report) = open(RealDisk::shared(), dir.path()).unwrap();
    assert_eq!((report.torn_bytes, report.damage.len()), (0, 0));
    assert_eq!(read(&log), (all(1, 201), Vec::new()));
    log.close().unwrap();
}

#[test]
fn a_journal_of_removals_that_cannot_be_read_is_not_taken_for_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(RealDisk::shared(), dir.path()).unwrap();
    append(&log, 200);
    for seq in (1..200).step_by(2) {
        assert_eq!(log.remove_now(vec![(seq, seq)]).unwrap().messages, 1);
    }
    log.close().unwrap();
    drop(log);
    let path = &dir.path().join("removed");
    let whole = std::fs::read(path).unwrap();
    assert!(whole.len() > 4096);
    for keep in [4096, 0] {
        truncate(path, keep);
        let error = open(Arc::new(Failing("removed", whole.len() as u64)), dir.path()).err().unwrap();
        assert!(error.to_string().contains("cannot be read"), "{error}");
        std::fs::write(path, &whole).unwrap();
    }
    let (log, _) = open(RealDisk::shared(), dir.path()).unwrap();
    assert_eq!(read(&log), (all(1, 201).into_iter().filter(|seq| seq % 2 == 0).collect(), Vec::new()));
    log.close().unwrap();
}
