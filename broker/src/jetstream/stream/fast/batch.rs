//! How far a fast batch is, and what its publisher is told: a machine without IO.
//!
//! ```text
//!  number of the batch:   1 ......... told ......... stored ......... last
//!                              an ack said so │  on the disk  │ with the log
//! ```
//! A publisher sends so many messages behind the last acknowledgement as that allows, and waits. An acknowledgement is sent
//! whenever so many more are stored. What the log was given and is not stored yet is `pending`, group by group: a group has
//! what one look at a publisher's messages gave to the log. A message that is not stored, because it was there already or may
//! not be, is passed over: it is done with once all before it is.

use std::collections::VecDeque;
use std::sync::Arc;

use super::reply::{Asked, Operation};
use crate::jetstream::errors::ApiError;

/// So many messages come between two acknowledgements at most, of all batches of a stream together.
const FLOW_MAX: usize = 500;

/// What is told, and on which subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) reply: Box<[u8]>,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// All up to `seq` is dealt with; the next acknowledgement comes after so many more.
    Flow { seq: u64, every: u16 },
    /// Instead of the message `expected`, `seq` came.
    Gap { expected: u64, seq: u64 },
    /// This message is not stored.
    Error { seq: u64, error: ApiError },
    /// It is over: so many messages, the last of which has this number in the stream.
    Ended { id: Arc<[u8]>, stream_seq: u64, count: u64 },
    /// It is over, and that is why.
    Refused(ApiError),
}

/// What is to be done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// To be looked at and stored; then it is told what [came of it](Batch::looked_at).
    Store,
    /// Nothing.
    Done,
    /// The batch is over.
    Over,
}

/// What came of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The log has it, under this number, and tells of the group.
    Taken { stream_seq: u64, group: u64 },
    /// It was there before; with a group, that is not on the disk yet either.
    Duplicate { group: Option<u64> },
    /// It is not stored.
    Refused(ApiError),
}

struct Pending {
    group: u64,
    /// The last message of it, in the batch and in the stream.
    last: u64,
    stream_seq: u64,
    reply: Box<[u8]>,
    is_stored: bool,
}

/// See the module.
pub(super) struct Batch {
    id: Arc<[u8]>,
    gaps: bool,
    flow_max: u16,
    every: u16,
    last: u64,
    stored: u64,
    told: u64,
    stream_seq: u64,
    pending: VecDeque<Pending>,
    /// It ends once all is stored, and that is told here.
    ending: Option<Box<[u8]>>,
}

/// Where things are told.
pub(super) type Out = VecDeque<Said>;

fn say(out: &mut Out, reply: &[u8], what: What) {
    out.push_back(Said { reply: reply.into(), what });
}

impl Batch {
    /// One of `open` batches, itself among them.
    pub(super) fn new(id: Arc<[u8]>, asked: &Asked<'_>, open: usize) -> Self {
        // Whoever has others beside him begins slowly.
        let most = if open > 1 { 1 } else { u16::try_from(FLOW_MAX).unwrap_or(u16::MAX) };
        Self {
            id,
            gaps: asked.gaps,
            flow_max: asked.flow,
            every: most.min(asked.flow),
            last: 0,
            stored: 0,
            told: 0,
            stream_seq: 0,
            pending: VecDeque::new(),
            ending: None,
        }
    }

    /// Whether it waits for its publisher, and not for the log.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether no more messages belong to it: it waits for the log alone.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether it waits for this group.
    pub(super) fn waits_for(&self, group: u64) -> bool {
        self.pending.iter().any(|pending| pending.group == group)
    }

    /// A message came, and it is not ending. Nothing has changed if it is to be stored.
    pub(super) fn arrives(&mut self, asked: &Asked<'_>, reply: &[u8], open: usize, out: &mut Out) -> Next {
        if asked.operation == Operation::Ping {
            return self.pinged(asked.seq, reply, open, out);
        }
        let expected = self.last + 1;
        if asked.seq != expected && (asked.seq < expected || !self.gaps) {
            self.tell_gap(asked.seq, reply, out);
            return self.end(reply, out);
        }
        if asked.operation != Operation::CommitBefore {
            return Next::Store;
        }
        self.tell_gap(asked.seq, reply, out);
        self.last = asked.seq - 1;
        self.end(reply, out)
    }

    fn pinged(&mut self, seq: u64, reply: &[u8], open: usize, out: &mut Out) -> Next {
        let mut told = false;
        if seq > self.last {
            let (expected, seq_after) = (self.last + 1, seq.saturating_add(1));
            say(out, reply, What::Gap { expected, seq: seq_after });
            if self.gaps {
                self.last = seq;
                told = self.passed_over(reply, open, out);
            } else if self.end(reply, out) == Next::Over {
                return Next::Over;
            }
        }
        if !told {
            say(out, reply, What::Flow { seq: self.told, every: self.every });
        }
        Next::Done
    }

    fn tell_gap(&self, seq: u64, reply: &[u8], out: &mut Out) {
        let expected = self.last + 1;
        if seq != expected {
            say(out, reply, What::Gap { expected, seq });
        }
    }

    /// It is known what came of a message that was to be stored; an answer to the first is sent unless the stream is `silent`.
    pub(super) fn looked_at(
        &mut self,
        asked: &Asked<'_>,
        reply: &[u8],
        outcome: Outcome,
        (open, silent): (usize, bool),
        out: &mut Out,
    ) -> Next {
        self.tell_gap(asked.seq, reply, out);
        self.last = asked.seq;
        let commits = asked.operation == Operation::Commit;
        if asked.seq == 1 && !commits && !silent {
            say(out, reply, What::Flow { seq: 0, every: self.every });
        }
        match outcome {
            Outcome::Taken { stream_seq, group } => self.wait(group, Some(stream_seq), reply),
            Outcome::Duplicate { group: Some(group) } => self.wait(group, None, reply),
            Outcome::Duplicate { group: None } => _ = self.passed_over(reply, open, out),
            Outcome::Refused(error) if !self.gaps && asked.seq == 1 => {
                say(out, reply, What::Refused(error));
                return Next::Over;
            }
            Outcome::Refused(error) => {
                say(out, reply, What::Error { seq: asked.seq, error });
                if !self.gaps || commits {
                    self.last -= 1;
                    return self.end(reply, out);
                }
                self.passed_over(reply, open, out);
            }
        }
        if commits { self.end(reply, out) } else { Next::Done }
    }

    fn wait(&mut self, group: u64, stream_seq: Option<u64>, reply: &[u8]) {
        let last = self.last;
        match self.pending.back_mut().filter(|pending| pending.group == group) {
            Some(pending) => {
                pending.last = last;
                pending.stream_seq = stream_seq.unwrap_or(pending.stream_seq);
                pending.reply = reply.into();
            }
            None => {
                let before = self.pending.back().map_or(self.stream_seq, |pending| pending.stream_seq);
                let stream_seq = stream_seq.unwrap_or(before);
                self.pending.push_back(Pending { group, last, stream_seq, reply: reply.into(), is_stored: false });
            }
        }
    }

    /// The last message is not stored; whether that gave cause to tell how far it is.
    fn passed_over(&mut self, reply: &[u8], open: usize, out: &mut Out) -> bool {
        if !self.pending.is_empty() {
            return false;
        }
        self.stored = self.last;
        self.tell(reply, open, out)
    }

    /// No more messages: once all are stored, it is over.
    fn end(&mut self, reply: &[u8], out: &mut Out) -> Next {
        if !self.pending.is_empty() {
            self.ending = Some(reply.into());
            return Next::Done;
        }
        let (id, stream_seq, count) = (self.id.clone(), self.stream_seq, self.last);
        say(out, reply, What::Ended { id, stream_seq, count });
        Next::Over
    }

    /// It is known what became of a group.
    pub(super) fn settled(&mut self, group: u64, result: Result<(), ApiError>, open: usize, out: &mut Out) -> Next {
        let Some(found) = self.pending.iter().find(|pending| pending.group == group) else { return Next::Done };
        if let Err(error) = result {
            say(out, &found.reply, What::Refused(error));
            return Next::Over;
        }
        // There may be other groups in between.
        for pending in self.pending.iter_mut().filter(|pending| pending.group == group) {
            pending.is_stored = true;
        }
        let mut told_to = None;
        while self.pending.front().is_some_and(|pending| pending.is_stored)
            && let Some(first) = self.pending.pop_front()
        {
            (self.stored, self.stream_seq, told_to) = (first.last, first.stream_seq, Some(first.reply));
        }
        let Some(reply) = told_to else { return Next::Done };
        if self.pending.is_empty() {
            self.stored = self.last;
            if let Some(reply) = self.ending.take() {
                return self.end(&reply, out);
            }
        }
        self.tell(&reply, open, out);
        Next::Done
    }

    /// Tells how far it is if that is due, and how long it goes without the next time.
    fn tell(&mut self, reply: &[u8], open: usize, out: &mut Out) -> bool {
        let every = u64::from(self.every);
        let steps = (self.stored - self.told).checked_div(every).unwrap_or(0);
        if steps == 0 {
            return false;
        }
        self.told += steps * every;
        let share = u16::try_from(FLOW_MAX / open.max(1)).unwrap_or(u16::MAX).clamp(1, self.flow_max);
        self.every =
            if self.every < share { self.every.saturating_mul(2).min(share) } else { (self.every / 2).max(share) };
        say(out, reply, What::Flow { seq: self.told, every: self.every });
        true
    }
}

#[cfg(test)]
mod tests;
