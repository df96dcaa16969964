//! Numbers that are left out, against a plain list: a few among others, many before a batch, at the end; with limits, power cuts
//! and rewriting.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sublog_storage::disk::sim::{Chance, SimDisk};
use sublog_storage::{Committer, Limits, Log, LogOptions, LostReason, Next, NoObserver, RecordBatch, Visit};

const MAX_MESSAGES: usize = 300;

struct Life {
    disk: SimDisk,
    log: Log,
    committer: Committer,
    held: BTreeMap<u64, Vec<u8>>,
    next_seq: u64,
    limited: bool,
    chance: Chance,
}

fn open(disk: &SimDisk, limited: bool) -> (Log, Committer) {
    let options = LogOptions {
        segment_bytes_first: 16 << 10,
        segment_bytes_max: 16 << 10,
        limits: Limits { max_messages: limited.then_some(MAX_MESSAGES as u64), ..Limits::default() },
        ..LogOptions::default()
    };
    let opened = Log::open_stepped(disk.shared(), Path::new("/sim/log"), options, Arc::new(NoObserver));
    let (log, committer, report) = opened.unwrap();
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    (log, committer)
}

impl Life {
    fn settle(&mut self) {
        while self.committer.step(Duration::ZERO) == Next::Now {}
    }

    fn append(&mut self) {
        let mut batch = RecordBatch::new();
        let begin = self.next_seq;
        if self.chance.percent(20) {
            self.next_seq += 1 + self.chance.below(1 << 30);
            assert!(batch.skip(self.next_seq - begin));
        }
        let first = self.next_seq;
        for _ in 0..self.chance.below(30) {
            if self.chance.percent(30) {
                let holes = self.chance.below(50);
                batch.push_holes(7, u32::try_from(holes).unwrap()).unwrap();
                self.next_seq += holes;
            } else {
                let payload = vec![b'x'; self.chance.below(200) as usize];
                batch.push(7, b"a.b", b"", &payload).unwrap();
                self.held.insert(self.next_seq, payload);
                self.next_seq += 1;
            }
        }
        let appended = self.log.append(&mut batch).unwrap();
        assert!(batch.is_empty());
        assert_eq!((appended.first_seq, appended.last_seq), (first, self.next_seq - 1));
        self.log.when_committed(appended.last_seq, Box::new(|result| result.unwrap()));
        self.settle();
        self.trim();
    }

    fn skip_to(&mut self) {
        let next_seq = (self.next_seq + self.chance.below(1000)).saturating_sub(100).max(1);
        let appended = self.log.skip_to(next_seq).unwrap();
        self.next_seq = self.next_seq.max(next_seq);
        assert_eq!(appended.last_seq, self.next_seq - 1);
        self.log.when_committed(appended.last_seq, Box::new(|result| result.unwrap()));
        self.settle();
    }

    fn trim(&mut self) {
        while self.limited && self.held.len() > MAX_MESSAGES {
            self.held.pop_first();
        }
    }

    fn reopen(&mut self, cut: bool) {
        if cut {
            let _ = self.disk.crash();
        } else {
            self.log.ask_to_close();
            self.settle();
            // Whoever has it lets go of it.
            (self.log, self.committer) = open(&SimDisk::new(0), false);
        }
        let (log, committer) = open(&self.disk, self.limited);
        (self.log, self.committer) = (log, committer);
        self.settle();
    }

    fn expire(&mut self) {
        // What has expired is found by way of the index.
        while self.log.maintain().unwrap().more {
            self.settle();
        }
        loop {
            let due_ns = self.log.expire();
            self.settle();
            if due_ns.is_none_or(|at_ns| at_ns > 7_000_000_000) {
                return;
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.log.readable_seq(), self.next_seq - 1);
        let mut held = BTreeMap::new();
        let read = self.log.reader().visit(usize::MAX, &mut |visit| {
            match visit {
                Visit::Record(record) => assert!(held.insert(record.seq, record.payload.to_vec()).is_none()),
                // A power cut may take the journal's word for it, not the header's.
                Visit::Lost(lost) => assert_eq!(lost.reason, LostReason::NeverWritten),
            }
            ControlFlow::Continue(())
        });
        read.unwrap();
        let more: Vec<_> = held.keys().filter(|seq| !self.held.contains_key(seq)).collect();
        let less: Vec<_> = self.held.keys().filter(|seq| !held.contains_key(seq)).collect();
        assert!(more.is_empty() && less.is_empty(), "too much: {more:?}, too little: {less:?}");
        assert!(held == self.held, "other payloads");
    }
}

#[test]
fn what_is_left_out_is_not_there_and_nothing_else_is_missing() {
    let lives = std::env::var("SUBLOG_LEFT_OUT_LIVES").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    for seed in 0..lives {
        let limited = seed % 2 == 0;
        let disk = SimDisk::new(seed);
        let (log, committer) = open(&disk, limited);
        let mut life =
            Life { disk, log, committer, held: BTreeMap::new(), next_seq: 1, limited, chance: Chance::new(seed) };
        life.settle();
        for _ in 0..40 {
            match life.chance.below(10) {
                0 => life.reopen(false),
                1 => life.reopen(true),
                2 => life.skip_to(),
                3 => {
                    while life.log.maintain().unwrap().more {
                        life.settle();
                    }
                    life.settle();
                }
                _ => life.append(),
            }
            life.check();
        }
        // After a crash what stands for them is removed as what has expired is.
        life.expire();
        let state = life.log.state();
        assert_eq!(state.messages, life.held.len() as u64, "life {seed}");
        assert_eq!(state.first_seq, life.held.keys().next().copied().unwrap_or(life.next_seq), "life {seed}");
    }
}
