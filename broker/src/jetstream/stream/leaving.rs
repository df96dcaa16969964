//! Messages that go because of their time, where the log alone cannot see to it.
//!
//! A log removes records that say when they expire, and all that are beyond one age. Here an age limit spares messages that
//! say they stay, and a subject's last message leaves a marker behind. A marker is stored before what it stands for is
//! removed: after a crash in between the message is found once more, and is not its subject's last one then.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc;

use rustc_hash::FxHashMap;
use sublog_storage::{AppendError, Log, PurgeError, ReadError, Visit};

use super::checks::Rules;
use super::{Stream, ttl};
use crate::account::Account;
use crate::clock;
use crate::jetstream::consumer::machine::Removal;
use crate::jetstream::consumer::manage;
use crate::jetstream::publish::{Incoming, Origin};
use crate::jetstream::store::Span;

/// So many messages go at a time.
const PAGE: usize = 4096;
/// The age limit is not looked at more often than this, in nanoseconds.
const PAUSE_NS: i64 = 100_000_000;

/// Where the age limit has come to.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// All before this number that is past its age is gone, or stays.
    next_seq: AtomicU64,
    /// When something may be past its age again.
    due_ns: AtomicI64,
}

impl Leaving {
    /// The age limit may be another.
    pub(super) fn look_again(&self) {
        self.next_seq.store(0, Ordering::Release);
        self.due_ns.store(0, Ordering::Release);
    }
}

/// A message that is to go.
struct Going {
    seq: u64,
    subject: Box<[u8]>,
    is_marker: bool,
}

/// Why something stays longer than it should; it is tried again.
#[derive(Debug, thiserror::Error)]
enum Delayed {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Purge(#[from] PurgeError),
    #[error(transparent)]
    Log(#[from] sublog_storage::LogError),
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl Stream {
    /// Whether messages are past their time. Next to free.
    #[must_use]
    pub fn is_expiry_due(&self) -> bool {
        let Some(log) = self.log() else { return false };
        log.log().is_expiry_due()
            || self.rules().ages_ns.is_some() && self.leaving.due_ns.load(Ordering::Acquire) <= clock::unix_ns()
    }

    /// Lets what is past its time go; reads, and may wait for the disk.
    pub fn expire(self: &Arc<Self>, account: &Arc<Account>) {
        let Some(log) = self.log().map(|log| log.log()) else { return };
        let rules = self.rules();
        if rules.sealed {
            return;
        }
        let now_ns = clock::unix_ns();
        let aged = self.let_aged_go(account, log, &rules, now_ns);
        let expired = match rules.marker_seconds {
            Some(_) => self.let_expired_go(account, log, &rules, now_ns),
            None => Ok(()),
        };
        if let Err(error) = aged.and(expired) {
            tracing::warn!(stream = &*self.name, "Messages past their time cannot be removed yet: {error}");
        }
        log.expire();
    }

    /// What is beyond the age limit and does not say that it stays.
    fn let_aged_go(
        self: &Arc<Self>,
        account: &Arc<Account>,
        log: &Log,
        rules: &Rules,
        now_ns: i64,
    ) -> Result<(), Delayed> {
        let Some(age_ns) = rules.ages_ns else { return Ok(()) };
        if now_ns < self.leaving.due_ns.load(Ordering::Acquire) {
            return Ok(());
        }
        let oldest_ns = now_ns.saturating_sub(age_ns);
        // Until then nothing that is there now, or comes now, is too old: unless it is found below.
        let mut next_ns = now_ns.saturating_add(age_ns);
        let mut reader = log.reader();
        reader.seek(self.leaving.next_seq.load(Ordering::Acquire));
        loop {
            let (mut going, mut ended) = (Vec::new(), true);
            let mut seen = reader.next_seq();
            reader.visit(usize::MAX, &mut |visit| {
                let record = match visit {
                    Visit::Record(record) => record,
                    Visit::Lost(_) => return ControlFlow::Continue(()),
                };
                if record.ts_ns > oldest_ns {
                    next_ns = record.ts_ns.saturating_add(age_ns);
                    return ControlFlow::Break(());
                }
                seen = record.seq + 1;
                if ttl::Ttl::of(record.headers) != Some(ttl::Ttl::Never) {
                    going.push(Going {
                        seq: record.seq,
                        subject: record.subject.into(),
                        is_marker: ttl::is_marker(record.headers),
                    });
                }
                ended = going.len() < PAGE;
                if ended { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            self.let_go(account, log, rules, &going, true)?;
            self.leaving.next_seq.store(seen, Ordering::Release);
            reader.seek(seen);
            if ended {
                break;
            }
        }
        self.leaving.due_ns.store(next_ns.max(now_ns.saturating_add(PAUSE_NS)), Ordering::Release);
        Ok(())
    }

    /// What is past a time of its own, where that leaves markers.
    fn let_expired_go(
        self: &Arc<Self>,
        account: &Arc<Account>,
        log: &Log,
        rules: &Rules,
        now_ns: i64,
    ) -> Result<(), Delayed> {
        loop {
            let mut going = Vec::new();
            log.visit_expired(now_ns, PAGE, &mut |record| {
                going.push(Going {
                    seq: record.seq,
                    subject: record.subject.into(),
                    // A number that was left out leaves no marker either.
                    is_marker: record.is_hole() || ttl::is_marker(record.headers),
                });
                ControlFlow::Continue(())
            })?;
            if going.is_empty() {
                break;
            }
            self.let_go(account, log, rules, &going, false)?;
        }
        log.hold_expired(now_ns);
        Ok(())
    }

    /// Stores markers for what leaves some, and removes these messages. `counted`: they are still counted among their
    /// subjects' messages.
    fn let_go(
        self: &Arc<Self>,
        account: &Arc<Account>,
        log: &Log,
        rules: &Rules,
        going: &[Going],
        counted: bool,
    ) -> Result<(), Delayed> {
        if going.is_empty() {
            return Ok(());
        }
        if let Some(seconds) = rules.marker_seconds {
            self.mark(account, seconds, going, counted)?;
        }
        let ranges = ranges(going);
        manage::removing(self, &ranges, Removal::Limits, || log.remove_now(ranges.clone()))?;
        Ok(())
    }

    fn mark(
        self: &Arc<Self>,
        account: &Arc<Account>,
        seconds: i64,
        going: &[Going],
        counted: bool,
    ) -> Result<(), Delayed> {
        // Of each subject, how many go, and whether the last of them is a marker.
        let mut subjects: FxHashMap<&[u8], (u64, bool)> = FxHashMap::default();
        let mut order = Vec::new();
        for it in going {
            let of = subjects.entry(&it.subject).or_insert_with(|| {
                order.push(&*it.subject);
                (0, false)
            });
            *of = (of.0 + 1, it.is_marker);
        }
        let head = ttl::marker(seconds);
        let wanted = order.into_iter().filter_map(|subject| {
            let (count, is_marker) = subjects.get(subject).copied().unwrap_or_default();
            (!is_marker).then(|| Incoming {
                origin: Origin::Marker { gone: if counted { count } else { 0 } },
                now_ns: clock::unix_ns(),
                subject: subject.into(),
                reply: None,
                header_len: head.len(),
                message: head.as_slice().into(),
            })
        });
        let mut messages: VecDeque<Incoming> = wanted.collect();
        let mut span = Span::default();
        self.look_at(account, &mut messages, &mut span)?;
        if let Some(stored) = self.log().filter(|_| !span.is_empty()) {
            let (tell, told) = mpsc::sync_channel(1);
            let call = move |result| {
                // The receiver waits until it is told; there is nobody else to tell.
                let _ = tell.send(result);
            };
            stored.when_committed(span, Box::new(call));
            told.recv().unwrap_or(Ok(()))?;
        }
        Ok(())
    }
}

/// Their numbers as ranges with both ends.
fn ranges(going: &[Going]) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for it in going {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == it.seq => *last = it.seq,
            _ => ranges.push((it.seq, it.seq)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::{Going, ranges};

    #[test]
    fn numbers_in_a_row_are_one_range() {
        let going = [1, 2, 3, 7, 9, 10].map(|seq| Going { seq, subject: Box::from(&b"s"[..]), is_marker: false });
        assert_eq!(ranges(&going), [(1, 3), (7, 7), (9, 10)]);
        assert_eq!(ranges(&[]), []);
    }
}
