//! Lives of a log on the simulated disk, with stops of all kinds in them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sublog_storage::disk::sim::{Call, Chance, Fault, SimDisk};
use sublog_storage::{Committer, FileCache, Health, Log, LogOptions, Next, NoObserver, RecordBatch, Rewrite, SyncMode};

use super::model::{Broken, Counts, Model};

/// Which lives are explored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) sync: SyncMode,
    /// Whether calls fail in between.
    pub(crate) faults: bool,
    /// Whether records are removed one by one and in ranges.
    pub(crate) removals: bool,
    /// Whether segments are rewritten, and there are more of them.
    pub(crate) rewrites: bool,
    /// As in a pool: no file stays open, and what a clean stop left is believed.
    pub(crate) lean: bool,
}

pub(crate) struct World {
    disk: SimDisk,
    pub(crate) open: Option<(Log, Committer)>,
    /// Under way.
    pub(crate) rewrite: Option<Rewrite>,
    model: Model,
    kind: Kind,
    options: LogOptions,
    pub(crate) chance: Chance,
    now: Duration,
    /// Most records in a batch: few for many commits in a segment, many for many segments.
    batch_max: u64,
    /// Something was made to fail in this life, so waiters may be told of errors.
    pub(crate) faulty: bool,
}

fn dir() -> &'static Path {
    Path::new("/sim/log")
}

/// One life from its seed, with `variants` outcomes tried at each of its stops.
pub(crate) fn explore(seed: u64, kind: Kind, variants: u64, counts: &mut Counts) -> Result<(), Broken> {
    let mut chance = Chance::new(seed);
    let first = 8 << (10 + chance.below(2));
    let options = LogOptions {
        sync: kind.sync,
        segment_bytes_first: first,
        segment_bytes_max: first * 2,
        // The last: segments are zeroed when they are made.
        zero_ahead_bytes: [2048, 0, 64 << 10][chance.below(3) as usize],
        segment_records_max: if chance.percent(30) { 20 } else { 1000 },
        frame_bytes_max: 2000,
        block_bytes: 1000,
        ..LogOptions::default()
    };
    let batch_max = if kind.rewrites { 24 } else { 4 };
    let mut world = World {
        disk: SimDisk::new(seed),
        open: None,
        rewrite: None,
        model: Model::new(kind.sync.is_weak(), seed),
        kind,
        options,
        chance,
        now: Duration::ZERO,
        batch_max,
        faulty: false,
    };
    world.start(false, counts)?;
    for _ in 0..12 {
        let ops = 1 + world.chance.below(16);
        world.live(ops, counts)?;
        for _ in 0..variants {
            world.variant(counts)?;
        }
        if world.chance.percent(30) {
            world.kill(counts)?;
        } else if world.chance.percent(30) {
            world.cut(counts)?;
        } else if world.chance.percent(40) {
            world.close(counts)?;
        }
    }
    Ok(())
}

impl World {
    fn start(&mut self, power_cut: bool, counts: &mut Counts) -> Result<(), Broken> {
        self.disk.set_space(u64::MAX);
        self.faulty = false;
        let (disk, options, observer) = (self.disk.shared(), self.options.clone(), Arc::new(NoObserver));
        let opened = if self.kind.lean {
            // From "closed as soon as it is synced" to "always open".
            let files = FileCache::new(self.chance.below(3) as usize);
            Log::open_stepped_lean(&files, disk, dir(), options, observer)
        } else {
            Log::open_stepped(disk, dir(), options, observer)
        };
        let (log, committer, report) = opened.map_err(|e| Broken::Other(format!("does not open: {e}")))?;
        let checked = self.model.check(&log, &report, power_cut, counts);
        self.open = Some((log, committer));
        checked
    }

    fn fork(&mut self) -> Self {
        let seed = self.chance.bits();
        self.at(self.disk.fork(seed), self.model.fork(), seed)
    }

    fn at(&self, disk: SimDisk, model: Model, seed: u64) -> Self {
        Self {
            disk,
            open: None,
            rewrite: None,
            model,
            kind: self.kind,
            options: self.options.clone(),
            chance: Chance::new(seed),
            now: self.now,
            batch_max: self.batch_max,
            faulty: false,
        }
    }

    /// One outcome of a power cut here; sometimes a little life after it and a second cut.
    fn variant(&mut self, counts: &mut Counts) -> Result<(), Broken> {
        let mut other = self.fork();
        let in_recovery = other.chance.percent(30);
        let before = other.model.fork();
        if in_recovery {
            let k = 1 + other.chance.below(8);
            other.disk.snapshot_before(k);
        }
        other.cut(counts)?;
        let seed = other.chance.bits();
        if let Some(disk) = other.disk.take_snapshot(seed) {
            // The same, with a second cut in the middle of recovery.
            counts.recovery_cuts += 1;
            other.at(disk, before, seed).cut(counts)?;
        }
        if other.chance.percent(40) {
            let ops = 1 + other.chance.below(6);
            other.live(ops, counts)?;
            other.cut(counts)?;
            counts.double_cuts += 1;
        }
        Ok(())
    }

    fn cut(&mut self, counts: &mut Counts) -> Result<(), Broken> {
        self.drop_handles();
        let report = self.disk.crash();
        counts.power_cuts += 1;
        counts.torn_cuts += u64::from(report.is_torn());
        counts.faults += u64::from(self.faulty);
        self.start(true, counts)
    }

    /// A clean stop, unless something failed before: then it is like a kill.
    fn close(&mut self, counts: &mut Counts) -> Result<(), Broken> {
        let Some((log, committer)) = &mut self.open else { return Ok(()) };
        log.ask_to_close();
        while committer.step(self.now) != Next::Stop {}
        counts.closes += 1;
        self.drop_handles();
        self.disk.kill();
        counts.faults += u64::from(self.faulty);
        self.start(false, counts)
    }

    fn kill(&mut self, counts: &mut Counts) -> Result<(), Broken> {
        self.drop_handles();
        self.disk.kill();
        counts.kills += 1;
        counts.faults += u64::from(self.faulty);
        self.start(false, counts)
    }

    /// What a stop does to the process: nobody is told anything any more.
    fn drop_handles(&mut self) {
        if let Some((log, committer)) = self.open.take() {
            self.model.can_read(log.readable_seq());
            // Waiters of the old life must not count as acknowledged by what happens while they are dropped.
            let acked = self.model.acked.lock().clone();
            self.model.acked = Arc::new(Mutex::new(acked));
            let removed = self.model.removed.lock().clone();
            self.model.removed = Arc::new(Mutex::new(removed));
            if let Some(rewrite) = self.rewrite.take() {
                // It would clear up behind itself, which a process that dies does not.
                let seed = self.chance.bits();
                let as_it_is = self.disk.fork(seed);
                drop(rewrite);
                self.disk = as_it_is;
            }
            drop(committer);
            drop(log);
        }
    }

    fn live(&mut self, ops: u64, counts: &mut Counts) -> Result<(), Broken> {
        for _ in 0..ops {
            match self.chance.below(100) {
                0..50 => self.append(self.batch_max, 60)?,
                50..65 if self.kind.rewrites => self.rewrite(counts)?,
                50..73 => self.step(1, counts)?,
                73..75 => self.roll_unsynced(counts)?,
                75..88 => self.step(20, counts)?,
                88..94 => {
                    self.now += Duration::from_millis(self.chance.below(300));
                    self.step(3, counts)?;
                }
                94..97 if self.kind.removals => self.remove_some(),
                94..97 => self.remove()?,
                97..99 if self.kind.removals => self.reclaim(counts)?,
                _ if self.kind.faults => self.fault(),
                _ => {}
            }
        }
        Ok(())
    }

    /// Records that nobody waits for, and that no sync covers yet when the segment that has them is sealed.
    fn roll_unsynced(&mut self, counts: &mut Counts) -> Result<(), Broken> {
        self.append(4, 0)?;
        self.now += Duration::from_millis(3);
        self.step_whole(2)?;
        self.append(60, 0)?;
        self.now += Duration::from_millis(3);
        counts.middle_cuts += self.cut_within(6, counts, |world, _| world.step_whole(2))?;
        Ok(())
    }

    /// Up to `most` records; `waits` percent of the time somebody waits for them.
    fn append(&mut self, most: u64, waits: u64) -> Result<(), Broken> {
        let Some((log, _)) = &self.open else { return Ok(()) };
        let mut batch = RecordBatch::new();
        let n = 1 + self.chance.below(most);
        let contents = self.model.fill(&mut batch, n);
        match log.append(&mut batch) {
            Ok(appended) => {
                self.model.appended(appended.first_seq, &contents)?;
                if self.chance.percent(waits) {
                    let acked = Arc::clone(&self.model.acked);
                    let (first, seq) = (appended.first_seq, appended.last_seq);
                    let call = move |result: Result<(), _>| {
                        if result.is_ok() {
                            acked.lock().push((first, seq));
                        }
                    };
                    log.when_all_committed(first, seq, Box::new(call));
                }
                Ok(())
            }
            Err(_) if self.faulty => Ok(()),
            Err(e) => Err(Broken::Other(format!("refused without a reason: {e}"))),
        }
    }

    /// Steps of the committer; sometimes with power cuts in the middle of one.
    fn step(&mut self, times: u64, counts: &mut Counts) -> Result<(), Broken> {
        let cuts = self.with_cuts(6, counts, |world, _| world.step_whole(times))?;
        counts.middle_cuts += cuts;
        Ok(())
    }

    /// Does something; sometimes with power cuts in the middle of it, at one of so many calls. How many were tried.
    pub(crate) fn with_cuts(
        &mut self,
        calls: u64,
        counts: &mut Counts,
        act: impl FnOnce(&mut Self, &mut Counts) -> Result<(), Broken>,
    ) -> Result<u64, Broken> {
        if !self.chance.percent(40) {
            return act(self, counts).map(|()| 0);
        }
        self.cut_within(calls, counts, act)
    }

    /// Does something, with power cuts in the middle of it.
    fn cut_within(
        &mut self,
        calls: u64,
        counts: &mut Counts,
        act: impl FnOnce(&mut Self, &mut Counts) -> Result<(), Broken>,
    ) -> Result<u64, Broken> {
        let before = self.model.fork();
        let k = 1 + self.chance.below(calls);
        self.disk.snapshot_before(k);
        act(self, counts)?;
        let seed = self.chance.bits();
        let Some(disk) = self.disk.take_snapshot(seed) else { return Ok(0) };
        for _ in 0..3 {
            let seed = self.chance.bits();
            self.at(disk.fork(seed), before.fork(), seed).cut(counts)?;
        }
        Ok(3)
    }

    fn step_whole(&mut self, times: u64) -> Result<(), Broken> {
        let Some((log, committer)) = &mut self.open else { return Ok(()) };
        for _ in 0..times {
            if committer.step(self.now) != Next::Now {
                break;
            }
        }
        self.model.can_read(log.readable_seq());
        match log.state().health {
            Health::Failed(error) if !self.faulty => Err(Broken::Other(format!("failed without a reason: {error}"))),
            _ => Ok(()),
        }
    }

    fn remove(&mut self) -> Result<(), Broken> {
        let Some((log, _)) = &self.open else { return Ok(()) };
        let to = self.chance.below(log.committed_seq() + 2);
        match log.remove_before(to) {
            Ok(removed) if removed.segments > 0 => {
                self.model.first = log.oldest_seq();
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(_) if self.faulty => {
                self.model.first = log.oldest_seq();
                Ok(())
            }
            Err(e) => Err(Broken::Other(e.to_string())),
        }
    }

    /// A few ranges, sometimes everything up to a number.
    fn remove_some(&mut self) {
        let Some((log, _)) = &self.open else { return };
        let last = log.readable_seq();
        if last == 0 {
            return;
        }
        let ranges: Vec<(u64, u64)> = (0..1 + self.chance.below(4))
            .map(|_| {
                // Single records, everything up to a number, or whole segments in the middle.
                let (first, len) = match self.chance.below(10) {
                    0 | 1 => (1, self.chance.below(last)),
                    2 | 3 => (1 + self.chance.below(last), self.chance.below(250)),
                    _ => (1 + self.chance.below(last), self.chance.below(9)),
                };
                (first, (first + len).min(last))
            })
            .collect();
        let numbers: Vec<u64> = ranges.iter().flat_map(|range| range.0..=range.1).collect();
        self.model.asked.extend(&numbers);
        let removed = Arc::clone(&self.model.removed);
        let call = move |result: Result<_, _>| {
            if result.is_ok() {
                removed.lock().extend(numbers);
            }
        };
        log.remove(ranges, Box::new(call));
    }

    /// Lets go of segments that hold nothing any more.
    fn reclaim(&mut self, counts: &mut Counts) -> Result<(), Broken> {
        for _ in 0..2 {
            let Some((log, _)) = &self.open else { return Ok(()) };
            match log.reclaim() {
                Ok(removed) => counts.dead_segments += removed.segments,
                Err(_) if self.faulty => {}
                Err(e) => return Err(Broken::Other(e.to_string())),
            }
            self.step(2, counts)?;
        }
        Ok(())
    }

    fn fault(&mut self) {
        self.faulty = true;
        let k = 1 + self.chance.below(3);
        match self.chance.below(6) {
            0 | 1 => self.disk.fail(Call::Sync, k, 1, Fault::Io),
            2 => self.disk.fail(Call::Write, k, 1, Fault::Io),
            3 => self.disk.fail(Call::Write, k, 1, Fault::Short),
            4 => self.disk.fail(Call::Write, k, 1 + self.chance.below(4), Fault::NoSpace),
            _ => self.disk.fail(Call::Allocate, k, 1 + self.chance.below(4), Fault::NoSpace),
        }
    }
}
