//! What clients were told, and what was seen that does not fit to it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking::Locked;
use sublog_tests::{Message, clock, random};

/// Consumers of one stream with an account.
const CONSUMERS_MAX: usize = 2;
/// Faults that are told one by one.
const FAULTS_SHOWN: usize = 20;
/// Acknowledged messages that are looked for after a kill.
const RECENT: usize = 400;

/// What a server has to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    Stored,
    Delivered,
    SettledStaysSettled,
    SequencesAreUsedOnce,
    Order,
    RemovedStaysRemoved,
    IdsAreStoredOnce,
    Expectations,
    Definitions,
    SettledIsRemoved,
    Answers,
    Memory,
    Work,
}

const PROMISES: [(Promise, &str); 13] = [
    (Promise::Stored, "acknowledged messages are there, unless a limit, purge or deletion removed them"),
    (Promise::Delivered, "acknowledged messages are delivered until they are settled"),
    (Promise::SettledStaysSettled, "what was double acked is not delivered again"),
    (Promise::SequencesAreUsedOnce, "a sequence has one content for ever"),
    (Promise::Order, "first deliveries of a consumer rise"),
    (Promise::RemovedStaysRemoved, "what was purged or deleted does not come back"),
    (
        Promise::IdsAreStoredOnce,
        "a message id is stored once, however often it is sent and whatever became of its message",
    ),
    (Promise::Expectations, "expected sequences and keys' values are as they were told"),
    (Promise::Definitions, "streams and consumers are there when created, and not when deleted"),
    (Promise::SettledIsRemoved, "settled work is removed"),
    (Promise::Answers, "a server that lives answers"),
    (Promise::Memory, "anonymous memory does not grow"),
    (Promise::Work, "all kinds of work were done"),
];

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Published,
    Unanswered,
    Duplicates,
    Delivered,
    Redelivered,
    Acked,
    DoubleAcked,
    Naked,
    Terminated,
    Ignored,
    Purges,
    Deletions,
    KeysPut,
    KeysRefused,
    StreamsMade,
    StreamsDeleted,
    ConsumersMade,
    ConsumersDeleted,
    Looked,
    Kills,
}

const COUNTS: [&str; 20] = [
    "messages acknowledged",
    "messages unanswered",
    "known ids acknowledged",
    "deliveries",
    "of them again",
    "acks",
    "double acks answered",
    "naks",
    "terminations",
    "deliveries ignored",
    "purges",
    "messages deleted",
    "keys written",
    "wrong expectations refused",
    "streams made",
    "streams deleted",
    "consumers made",
    "consumers deleted",
    "acknowledged messages read back",
    "kills",
];

#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Removed {
    #[default]
    No,
    /// Asked for, and nobody knows.
    Maybe,
    /// Asked for, and confirmed then.
    Gone(Instant),
}

/// What is known of one sequence.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Entry {
    pub(crate) hash: Option<u64>,
    pub(crate) acked: bool,
    pub(crate) removed: Removed,
    /// By consumer: somebody has tried to settle it.
    pub(crate) tried: [bool; CONSUMERS_MAX],
    /// By consumer: when that was confirmed.
    settled: [Option<Instant>; CONSUMERS_MAX],
}

#[derive(Default)]
pub(crate) struct Book {
    pub(crate) entries: HashMap<u64, Entry>,
    /// Where a content is. No two messages of the load have the same.
    by_content: HashMap<u64, u64>,
    consumers: Vec<&'static str>,
    last_acked: u64,
}

/// A lock that a panicking client does not keep others from.
mod parking {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    #[derive(Default)]
    pub(super) struct Locked<T>(Mutex<T>);

    impl<T> Locked<T> {
        pub(super) fn new(value: T) -> Self {
            Self(Mutex::new(value))
        }

        pub(super) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

/// See the module.
pub(crate) struct Ledger {
    books: HashMap<&'static str, Locked<Book>>,
    faults: Locked<Vec<(Promise, u64)>>,
    counts: [AtomicU64; COUNTS.len()],
}

/// What identifies a message's content.
pub(crate) fn fingerprint(subject: &str, payload: &[u8]) -> u64 {
    random::hash(subject.as_bytes()) ^ random::hash(payload).rotate_left(1)
}

/// A delivery, as the ledger wants to know it.
pub(crate) struct Delivery<'a> {
    pub(crate) stream: &'a str,
    pub(crate) consumer: &'a str,
    pub(crate) seq: u64,
    pub(crate) again: bool,
    /// Of whatever ack was confirmed before this moment it must know ...
    pub(crate) asked: Instant,
    /// ... and of whatever removal was before this one.
    pub(crate) read: Instant,
}

impl Ledger {
    pub(crate) fn new(streams: &[(&'static str, &'static [&'static str])]) -> Self {
        let book = |consumers: &[&'static str]| Book { consumers: consumers.to_vec(), ..Book::default() };
        Self {
            books: streams.iter().map(|(stream, consumers)| (*stream, Locked::new(book(consumers)))).collect(),
            faults: Locked::default(),
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub(crate) fn count(&self, what: Count, more: u64) {
        self.counts[what as usize].fetch_add(more, Ordering::Relaxed);
    }

    fn counted(&self, what: usize) -> u64 {
        self.counts[what].load(Ordering::Relaxed)
    }

    /// A promise was broken.
    pub(crate) fn fault(&self, promise: Promise, text: String) {
        let mut faults = self.faults.lock();
        let at = faults.iter().position(|(known, _)| *known == promise).unwrap_or_else(|| {
            faults.push((promise, 0));
            faults.len() - 1
        });
        faults[at].1 += 1;
        if faults[at].1 <= FAULTS_SHOWN as u64 {
            println!("BROKEN {promise:?}: {text}");
        }
    }

    pub(crate) fn has(&self, promise: Promise) -> bool {
        self.faults.lock().iter().any(|(broken, _)| *broken == promise)
    }

    /// A book, by its stream.
    pub(crate) fn book<T>(&self, stream: &str, look: impl FnOnce(&mut Book) -> T) -> T {
        look(&mut self.books.get(stream).expect("a stream with a book").lock())
    }

    /// Somebody saw this content under this sequence.
    fn content(&self, stream: &str, seq: u64, hash: u64, acked: bool) -> Entry {
        let (entry, before, elsewhere) = self.book(stream, |book| {
            let elsewhere = book.by_content.insert(hash, seq).filter(|other| *other != seq);
            if acked {
                book.last_acked = book.last_acked.max(seq);
            }
            let entry = book.entries.entry(seq).or_default();
            entry.acked |= acked;
            (*entry, entry.hash.replace(hash), elsewhere)
        });
        if let Some(other) = elsewhere {
            self.fault(Promise::IdsAreStoredOnce, format!("{stream} {seq} is {other} once more"));
        }
        if before.is_some_and(|before| before != hash) {
            self.fault(Promise::SequencesAreUsedOnce, format!("{stream} {seq} has another content"));
        }
        entry
    }

    /// A publisher was told that its message is stored.
    pub(crate) fn stored(&self, stream: &str, seq: u64, hash: u64) {
        self.content(stream, seq, hash, true);
        self.count(Count::Published, 1);
    }

    /// A removal of these was asked for; `confirmed` when that was.
    pub(crate) fn removed(&self, stream: &str, seqs: &[u64], confirmed: Option<Instant>) {
        self.book(stream, |book| {
            for seq in seqs {
                let entry = book.entries.entry(*seq).or_default();
                match (entry.removed, confirmed) {
                    (Removed::Gone(_), _) => {}
                    (_, None) => entry.removed = Removed::Maybe,
                    (_, Some(at)) => entry.removed = Removed::Gone(at),
                }
            }
        });
    }

    /// A message came.
    pub(crate) fn delivered(&self, delivery: &Delivery<'_>, message: &Message) {
        let Delivery { stream, consumer, seq, again, asked, read } = *delivery;
        let entry = self.content(stream, seq, fingerprint(&message.subject, &message.payload), false);
        self.count(Count::Delivered, 1);
        self.count(Count::Redelivered, u64::from(again));
        let at = self.place(stream, consumer);
        if at.and_then(|at| entry.settled[at]).is_some_and(|settled| settled < asked) {
            self.fault(Promise::SettledStaysSettled, format!("{stream} {consumer} {seq}"));
        }
        if let Removed::Gone(when) = entry.removed
            && when < read
        {
            self.fault(Promise::RemovedStaysRemoved, format!("{stream} {seq} was delivered to {consumer}"));
        }
    }

    fn place(&self, stream: &str, consumer: &str) -> Option<usize> {
        self.book(stream, |book| book.consumers.iter().position(|name| *name == consumer))
    }

    /// Somebody tries to settle this message (and, with `all`, those before it), or was told that it is.
    pub(crate) fn settled(&self, stream: &str, consumer: &str, seq: u64, all: bool, confirmed: bool) {
        let Some(at) = self.place(stream, consumer) else { return };
        let when = confirmed.then(clock::now);
        self.book(stream, |book| {
            let settle = |entry: &mut Entry| {
                entry.tried[at] = true;
                entry.settled[at] = entry.settled[at].or(when);
            };
            if all {
                // Older ones were settled before this: the floor of such a consumer only rises.
                for seq in (1..=seq).rev() {
                    match book.entries.get_mut(&seq) {
                        Some(entry) if entry.settled[at].is_some() => break,
                        Some(entry) => settle(entry),
                        None => {}
                    }
                }
            } else {
                settle(book.entries.entry(seq).or_default());
            }
        });
    }

    /// The newest messages that are surely stored: sequence and content. And the highest of them.
    pub(crate) fn recent(&self, stream: &str) -> (u64, Vec<u64>) {
        self.book(stream, |book| {
            let from = book.last_acked.saturating_sub(RECENT as u64);
            (book.last_acked, (from..=book.last_acked).filter(|seq| book.entries.contains_key(seq)).collect())
        })
    }

    /// Prints everything; how many promises were broken.
    pub(crate) fn report(&self) -> usize {
        for (at, name) in COUNTS.iter().enumerate() {
            println!("{:>12} {name}", self.counted(at));
        }
        for (at, name) in COUNTS.iter().enumerate() {
            if self.counted(at) == 0 {
                self.fault(Promise::Work, format!("there were no {name}"));
            }
        }
        let faults = self.faults.lock();
        for (promise, name) in PROMISES {
            match faults.iter().find(|(broken, _)| *broken == promise) {
                None => println!("ok      {name}"),
                Some((_, times)) => println!("FAILED  {name}: {times} times"),
            }
        }
        println!("{} passed, {} failed", PROMISES.len() - faults.len(), faults.len());
        faults.len()
    }
}
