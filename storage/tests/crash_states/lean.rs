//! A clean mark that is not the last word: opening begins to change the log, and dies before it says so.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sublog_storage::disk::sim::SimDisk;
use sublog_storage::{Committer, FileCache, Log, LogOptions, Next, NoObserver, RecordBatch, RecoveryReport, SyncMode};

fn open(disk: &SimDisk, sync: SyncMode) -> (Log, Committer, RecoveryReport) {
    let options = LogOptions { sync, segment_bytes_first: 8 << 10, segment_bytes_max: 8 << 10, ..Default::default() };
    let (files, dir) = (FileCache::new(8), Path::new("/sim/log"));
    Log::open_stepped_lean(&files, disk.shared(), dir, options, Arc::new(NoObserver)).unwrap()
}

/// Appends one record, and says whether it is on stable storage.
fn publish(log: &Log, committer: &mut Committer) -> bool {
    let mut batch = RecordBatch::new();
    batch.push(0, b"s", b"", &[7; 40]).unwrap();
    let appended = log.append(&mut batch).unwrap();
    let synced = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&synced);
    log.when_durable(appended.last_seq, Box::new(move |result| told.store(result.is_ok().into(), Ordering::SeqCst)));
    while committer.step(Duration::ZERO) == Next::Now {}
    synced.load(Ordering::SeqCst) == 1
}

fn close(log: &Log, committer: &mut Committer) {
    log.ask_to_close();
    while committer.step(Duration::ZERO) != Next::Stop {}
}

/// A log that was closed is opened in another mode, which makes a segment. The process dies before each of the calls of
/// that in turn, the log is opened and published to, and the power goes. How many states lost something durable.
pub(crate) fn states_lost_after_a_change_of_mode() -> (u64, u64) {
    let disk = SimDisk::new(1);
    let (log, mut committer, _) = open(&disk, SyncMode::Always);
    assert!(publish(&log, &mut committer));
    close(&log, &mut committer);
    drop((log, committer));
    let (mut states, mut lost) = (0, 0);
    for k in 1.. {
        let other = disk.fork(k);
        other.snapshot_before(k);
        drop(open(&other, SyncMode::Os));
        let Some(died) = other.take_snapshot(k) else { break };
        for seed in 0..40 {
            let disk = died.fork(seed);
            disk.kill();
            let (log, mut committer, report) = open(&disk, SyncMode::Os);
            assert!(report.damage.is_empty(), "call {k}: {:?}", report.damage);
            assert!(publish(&log, &mut committer), "call {k}");
            drop((log, committer));
            disk.crash();
            let (log, _committer, report) = open(&disk, SyncMode::Os);
            states += 1;
            lost += u64::from(log.state().messages != 2 || !report.damage.is_empty());
        }
    }
    (states, lost)
}

#[test]
fn a_clean_mark_is_believed_of_the_segment_it_names_only() {
    let (states, lost) = states_lost_after_a_change_of_mode();
    assert!(states > 400, "{states} states");
    assert_eq!(lost, 0, "of {states} states");
}

#[test]
fn a_log_that_is_only_opened_and_closed_is_not_written_to() {
    use sublog_storage::disk::sim::Call;
    let disk = SimDisk::new(2);
    for appends in [false, true] {
        if appends {
            let (log, mut committer, _) = open(&disk, SyncMode::Always);
            assert!(publish(&log, &mut committer));
            close(&log, &mut committer);
        }
        disk.kill();
        for _ in 0..3 {
            let (log, mut committer, report) = open(&disk, SyncMode::Always);
            assert_eq!((report.clean, report.created), (appends, !appends));
            assert_eq!(log.readable_seq(), u64::from(appends));
            close(&log, &mut committer);
        }
        let calls = [Call::Write, Call::Allocate, Call::Sync, Call::SyncDir].map(|call| disk.calls(call));
        assert_eq!(calls, [0; 4]);
        assert_eq!(disk.contents(Path::new("/sim/log/LOCK")).is_some(), appends);
    }
}
