//! Where a new consumer begins.

use sublog_storage::Log;
use sublog_storage::index::FilterSet;

use super::machine::Start;
use crate::jetstream::config::consumer::DeliverPolicy;
use crate::jetstream::config::{ConsumerConfig, Time};
use crate::jetstream::read::{self, Unreadable};

/// Subjects asked of the index at a time.
const PAGE: usize = 4096;

/// Where a consumer begins that is made when the stream's last given number is `last_seq`.
///
/// # Errors
/// The log or its index cannot be read.
pub fn start(log: &Log, config: &ConsumerConfig, filters: &FilterSet, last_seq: u64) -> Result<Start, Unreadable> {
    let first = log.first_seq();
    let wanted = match config.deliver_policy {
        DeliverPolicy::All => first,
        DeliverPolicy::New => last_seq.saturating_add(1),
        DeliverPolicy::Last => read::last_matching(log, filters, u64::MAX)?.unwrap_or(first),
        // A message that is still to come may be what is asked for.
        DeliverPolicy::ByStartSequence => return Ok(Start::At(config.opt_start_seq.max(first))),
        DeliverPolicy::ByStartTime => {
            let ns = config.opt_start_time.and_then(Time::ns).unwrap_or(i64::MIN);
            log.seek_time(ns)?
        }
        DeliverPolicy::LastPerSubject => {
            let resume = log.readable_seq();
            return Ok(Start::List { seqs: last_per_subject(log, filters, first, resume)?, resume });
        }
    };
    Ok(Start::At(wanted.clamp(first, last_seq.saturating_add(1).max(first))))
}

/// The last message of every subject, as it was when the stream ended with `up_to`: those from `from_seq` on.
///
/// # Errors
/// The log or its index cannot be read.
pub fn last_per_subject(log: &Log, filters: &FilterSet, from_seq: u64, up_to: u64) -> Result<Vec<u64>, Unreadable> {
    let (mut seqs, mut after): (Vec<u64>, Option<Vec<u8>>) = (Vec::new(), None);
    loop {
        let page = read::or_nothing(log.last_per_subject(filters, up_to, after.as_deref(), PAGE))?;
        seqs.extend(page.iter().map(|(_, seq)| *seq).filter(|seq| *seq >= from_seq));
        match page.into_iter().nth(PAGE - 1) {
            Some((subject, _)) => after = Some(subject),
            None => break,
        }
    }
    seqs.sort_unstable();
    Ok(seqs)
}
