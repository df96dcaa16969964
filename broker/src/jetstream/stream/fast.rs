//! Fast batches: many messages with few acknowledgements, each of them stored by itself.
//!
//! What a message is to its batch stands in its reply subject ([`reply`]); a [`batch`] knows how far it is. Messages go the way of
//! others that are looked at, in [`super::ingest`]. What is told waits in one queue a stream, so that it leaves in the order in
//! which things came about, whoever sends it. An acknowledgement says that messages are stored, so it is said once they are
//! committed. Batches are in memory alone: after a restart nobody knows them, and their publishers are told so.

mod batch;
mod reply;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sublog_protocol::headers;
use sublog_storage::{AppendError, LogError};

use self::batch::{Batch, Next, Outcome, Said, What};
use self::reply::{Asked, Operation};
use super::Stream;
use super::atomic::{ID_BYTES_MAX, PATIENCE_NS, REQUIRED_LEVEL, satisfies};
use super::checks::{Checks, Verdict};
use super::ingest::{Ingest, Looked};
use crate::account::Account;
use crate::jetstream::errors::ApiError;
use crate::jetstream::publish::{self, Incoming, Note, store_failed};
use crate::jetstream::store::Span;

pub(in crate::jetstream) use self::reply::is_one;

/// Batches that a stream may have open, and all streams together. Each takes a few hundred bytes.
const OPEN_MAX: usize = 1000;
const OPEN_IN_ALL_MAX: usize = 50_000;
/// So often somebody who has something to tell tells what others have as well.
const ROUNDS_MAX: usize = 4;

/// Open batches of the process.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// A batch's part of what all may have.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let place = OPEN.fetch_add(1, Ordering::Relaxed) < OPEN_IN_ALL_MAX;
        // Taken or not, it is given back.
        let taken = Self;
        place.then_some(taken)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Open {
    batch: Batch,
    touched_ns: i64,
    _place: Place,
}

#[derive(Default)]
struct State {
    open: FxHashMap<Arc<[u8]>, Open>,
    /// Those that have ended and wait for the log: to their publishers their ids are free again.
    ended: Vec<Open>,
    groups: u64,
    /// What is to be told.
    out: VecDeque<Said>,
    /// Somebody is telling, and looks again afterwards.
    telling: bool,
}

/// See the module. Its lock is taken under that of the stream's `Ingest`, or alone.
#[derive(Default)]
pub(super) struct Fast(Mutex<State>);

/// A batch's part of what one look gave to the log.
pub(super) type Group = (Arc<[u8]>, u64);

/// What one look at messages gave to the log for fast batches.
#[derive(Default)]
pub(super) struct Groups {
    groups: Vec<Group>,
    /// What others gave to it and is waited for.
    waits: Span,
}

impl Groups {
    fn of(&mut self, id: &Arc<[u8]>, state: &mut State) -> u64 {
        if let Some((_, group)) = self.groups.iter().find(|(found, _)| found == id) {
            return *group;
        }
        let group = state.new_group();
        self.groups.push((id.clone(), group));
        group
    }

    fn wait_for(&mut self, seq: u64) {
        let first = if self.waits.is_empty() { seq } else { self.waits.first.min(seq) };
        self.waits = Span { first, last: self.waits.last.max(seq) };
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

impl State {
    fn new_group(&mut self) -> u64 {
        self.groups += 1;
        self.groups
    }

    /// Gives a message to its batch, which is begun if need be.
    fn arrives(&mut self, asked: &Asked<'_>, reply: &[u8], now_ns: i64) -> Result<Next, ApiError> {
        let open = self.open.len();
        let found = match self.open.get_mut(asked.id) {
            Some(found) => found,
            None if asked.seq != 1 || asked.operation == Operation::Ping => {
                return Err(ApiError::batch_publish_unknown_batch_id());
            }
            None => {
                let place = if open + self.ended.len() < OPEN_MAX { Place::take() } else { None };
                let place = place.ok_or_else(ApiError::batch_publish_too_many_inflight)?;
                let id: Arc<[u8]> = asked.id.into();
                let batch = Batch::new(id.clone(), asked, open + 1);
                self.open.entry(id).or_insert(Open { batch, touched_ns: now_ns, _place: place })
            }
        };
        found.touched_ns = now_ns;
        let open = open.max(1);
        Ok(found.batch.arrives(asked, reply, open, &mut self.out))
    }

    /// What follows on what was told of a message.
    fn go_on(&mut self, id: &[u8], next: Next) {
        if next == Next::Over {
            self.open.remove(id);
        } else if self.open.get(id).is_some_and(|open| open.batch.is_ending())
            && let Some(ending) = self.open.remove(id)
        {
            self.ended.push(ending);
        }
    }

    fn settle(&mut self, id: &[u8], group: u64, result: &Result<(), ApiError>) {
        let count = self.open.len();
        // One that ended and one that began with its id then may have the same group.
        let Self { ended, out, .. } = self;
        ended.retain_mut(|ended| {
            !ended.batch.waits_for(group) || ended.batch.settled(group, result.clone(), count, out) != Next::Over
        });
        if let Some(found) = self.open.get_mut(id) {
            let next = found.batch.settled(group, result.clone(), count, &mut self.out);
            self.go_on(id, next);
        }
    }
}

impl Fast {
    /// Gives up those whose publishers have said nothing for long.
    pub(super) fn give_up(&self, now_ns: i64) {
        self.0.lock().open.retain(|_, open| !open.is_old(now_ns));
    }

    /// Whether one is to be given up.
    pub(super) fn is_due(&self, now_ns: i64) -> bool {
        self.0.lock().open.values().any(|open| open.is_old(now_ns))
    }

    /// Gives up all of them.
    pub(super) fn clear(&self) {
        self.0.lock().open.clear();
    }

    /// It is known what became of groups.
    pub(super) fn settle(&self, groups: &[Group], result: Result<(), ApiError>) {
        let mut state = self.0.lock();
        for (id, group) in groups {
            state.settle(id, *group, &result);
        }
    }

    /// Tells what is to be told, unless somebody is at it. What others add all the time is told elsewhere.
    pub(super) fn tell(&self, account: &Arc<Account>, stream: &Arc<Stream>) {
        let mut state = self.0.lock();
        let mut rounds = 0;
        while !state.telling && !state.out.is_empty() {
            rounds += 1;
            if rounds > ROUNDS_MAX {
                let (account, stream) = (account.clone(), stream.clone());
                let runtime = account.shared.runtime.clone();
                runtime.spawn(async move { stream.fast.tell(&account, &stream) });
                return;
            }
            let out = std::mem::take(&mut state.out);
            state.telling = true;
            drop(state);
            account.send(|sender| {
                for said in &out {
                    let text = said.text(stream, account.shared.domain.name());
                    sender.publish(account, &said.reply, None, 0, &text);
                }
            });
            state = self.0.lock();
            state.telling = false;
        }
    }
}

impl Open {
    fn is_old(&self, now_ns: i64) -> bool {
        self.batch.is_idle() && self.touched_ns.saturating_add(PATIENCE_NS) < now_ns
    }
}

impl Said {
    fn text(&self, stream: &Stream, domain: &str) -> Vec<u8> {
        match &self.what {
            What::Flow { seq, every } => format!("{{\"type\":\"ack\",\"seq\":{seq},\"msgs\":{every}}}").into_bytes(),
            What::Gap { expected, seq } => {
                format!("{{\"type\":\"gap\",\"last_seq\":{expected},\"seq\":{seq}}}").into_bytes()
            }
            What::Error { seq, error } => {
                let mut text = format!("{{\"type\":\"err\",\"seq\":{seq},\"error\":").into_bytes();
                // All that is in an error can be written.
                text.extend_from_slice(&serde_json::to_vec(error).unwrap_or_default());
                text.push(b'}');
                text
            }
            What::Ended { id, stream_seq, count } => {
                let mut text = Vec::new();
                publish::write_ack(&mut text, &stream.name, domain, *stream_seq, Some(&note(id, *count, false)));
                text
            }
            What::Refused(error) => publish::refusal(stream, error),
        }
    }
}

fn note(id: &[u8], count: u64, duplicate: bool) -> Note {
    Note::Batch { id: String::from_utf8_lossy(id).into(), count, duplicate }
}

impl Stream {
    /// Takes in a message whose reply subject [`is_one`] of a fast batch.
    ///
    /// # Errors
    /// The log takes no records now; the message is to come again.
    pub(super) fn ingest_fast(
        &self,
        checks: &Checks<'_>,
        ingest: &mut Ingest,
        message: &Incoming,
        looked: &mut Looked,
    ) -> Result<(), AppendError> {
        let reply = message.reply.as_deref().unwrap_or_default();
        let asked = checks.check_batched(message, true).and_then(|()| asked(reply));
        let asked = match asked.and_then(|asked| Ok((asked, self.begin_fast(&asked, message, reply)?))) {
            Ok((asked, Next::Store)) => asked,
            Ok((_, Next::Done | Next::Over)) => return Ok(()),
            Err(_) if checks.rules.silent => return Ok(()),
            Err(error) => {
                self.fast.0.lock().out.push_back(Said { reply: reply.into(), what: What::Refused(error) });
                return Ok(());
            }
        };
        let (head, _) = message.parts();
        let bare = headers::get(head, REQUIRED_LEVEL).map(|_| message.without(REQUIRED_LEVEL));
        let bare = bare.as_ref().unwrap_or(message);
        let outcome = match checks.consider(ingest, bare, bare.now_ns, None) {
            Verdict::Take(taken) => {
                let (rollups, id) = (looked.rollups.len(), Arc::<[u8]>::from(asked.id));
                match self.keep(checks, ingest, bare.now_ns, vec![*taken], None, None, looked)? {
                    Ok(()) => {
                        let mut state = self.fast.0.lock();
                        let group = match looked.rollups.get_mut(rollups) {
                            // It is done when what it replaces is removed.
                            Some(rolling) => {
                                let group = state.new_group();
                                rolling.fast = Some((id, group));
                                group
                            }
                            None => looked.fast.of(&id, &mut state),
                        };
                        Outcome::Taken { stream_seq: looked.last_seq(), group }
                    }
                    Err(error) => Outcome::Refused(error),
                }
            }
            Verdict::Duplicate(seq) => {
                if asked.seq == 1 && asked.operation == Operation::Commit && !asked.gaps {
                    // It is a message like any other.
                    self.fast.0.lock().open.remove(asked.id);
                    looked.duplicate(message, seq, note(asked.id, 1, true), checks.log);
                    return Ok(());
                }
                let is_stored = seq <= checks.log.log().readable_seq();
                let group = (!is_stored).then(|| {
                    looked.fast.wait_for(seq);
                    looked.fast.of(&asked.id.into(), &mut self.fast.0.lock())
                });
                Outcome::Duplicate { group }
            }
            Verdict::Refuse(error) => Outcome::Refused(error),
            Verdict::Drop => return Ok(()),
        };
        let mut state = self.fast.0.lock();
        let State { open, out, .. } = &mut *state;
        let count = open.len();
        if let Some(found) = open.get_mut(asked.id) {
            let next = found.batch.looked_at(&asked, reply, outcome, (count, checks.rules.silent), out);
            state.go_on(asked.id, next);
        }
        Ok(())
    }

    fn begin_fast(&self, asked: &Asked<'_>, message: &Incoming, reply: &[u8]) -> Result<Next, ApiError> {
        let mut state = self.fast.0.lock();
        let (head, _) = message.parts();
        if !satisfies(head) {
            let begins = asked.seq == 1 && asked.operation != Operation::Ping;
            if state.open.remove(asked.id).is_none() && !begins {
                return Err(ApiError::batch_publish_unknown_batch_id());
            }
            return Err(ApiError::required_api_level());
        }
        let next = state.arrives(asked, reply, message.now_ns)?;
        state.go_on(asked.id, next);
        Ok(next)
    }

    /// Tells publishers of fast batches what is to be told.
    pub(super) fn tell_fast(self: &Arc<Self>, account: &Arc<Account>) {
        self.fast.tell(account, self);
    }

    /// Tells publishers of fast batches how far they are, once it is known what became of these groups.
    pub(super) fn answer_fast(self: &Arc<Self>, account: &Arc<Account>, groups: Groups, taken: Span) {
        if groups.is_empty() {
            return;
        }
        let Some(log) = self.log().cloned() else { return };
        let mut waits = groups.waits;
        if !taken.is_empty() {
            waits.first = if waits.is_empty() { taken.first } else { waits.first.min(taken.first) };
            waits.last = waits.last.max(taken.last);
        }
        let (account, stream, again) = (account.clone(), self.clone(), log.clone());
        let settle = move |result: Result<(), LogError>| {
            stream.fast.settle(&groups.groups, result.map_err(|error| store_failed(&AppendError::Failed(error))));
            again.release(move || stream.fast.tell(&account, &stream));
        };
        log.when_committed(waits, Box::new(settle));
    }
}

/// What a reply subject asks for.
fn asked(reply: &[u8]) -> Result<Asked<'_>, ApiError> {
    let asked = reply::parse(reply).ok_or_else(ApiError::batch_publish_invalid_pattern)?;
    if asked.id.len() > ID_BYTES_MAX {
        return Err(ApiError::batch_publish_invalid_batch_id());
    }
    Ok(asked)
}
