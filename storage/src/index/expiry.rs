//! What expires when: rows of time and number in each part, and a list of the last few records.

use std::sync::atomic::Ordering;

use super::active::Active;
use super::bytes::{Bad, Scan};
use super::error::PartError;
use super::part::Part;
use super::query::Liveness;
use super::rows::EXPIRIES;

/// Which records are past their time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expired {
    /// Their numbers, in no order.
    pub numbers: Vec<u64>,
    /// When the first of those expires that are not named; before now if there were more than wanted.
    pub next_ns: Option<i64>,
}

impl Expired {
    fn meet(&mut self, at_ns: i64) {
        self.next_ns = Some(self.next_ns.map_or(at_ns, |next| next.min(at_ns)));
    }
}

fn is_gone(live: &dyn Liveness, seq: u64) -> bool {
    seq < live.floor() || live.is_removed(seq)
}

/// Rows of a part, a block's checksum looked at once.
struct Rows<'a> {
    part: &'a Part,
    next: u64,
    block: &'a [u8],
    offset: u64,
}

impl<'a> Rows<'a> {
    fn new(part: &'a Part, from: u64) -> Self {
        Self { part, next: from, block: &[], offset: u64::MAX }
    }

    fn next(&mut self) -> Result<Option<(i64, u64)>, PartError> {
        if self.next >= self.part.info().expiries {
            return Ok(None);
        }
        let (offset, i) = self.part.expiry_place(self.next);
        if offset != self.offset {
            self.block = self.part.block(EXPIRIES.kind, offset)?;
            self.offset = offset;
        }
        let row = EXPIRIES.row(self.block, i).ok_or_else(|| self.part.damaged(offset))?;
        let (at_ns, seq) = read(row).map_err(|Bad| self.part.damaged(offset))?;
        self.next += 1;
        if self.part.covers(seq) { Ok(Some((at_ns, seq))) } else { Err(self.part.damaged(offset)) }
    }
}

/// A row: when, and which number.
pub(super) fn read(row: &[u8]) -> Result<(i64, u64), Bad> {
    let mut scan = Scan::new(row);
    Ok((scan.array().map(i64::from_le_bytes)?, scan.u64()?))
}

/// Adds those of a part that have expired by `now_ns` and are still there, until there are `limit` of them.
pub(super) fn of_part(
    part: &Part,
    live: &dyn Liveness,
    (now_ns, limit): (i64, usize),
    into: &mut Expired,
) -> Result<(), PartError> {
    let passed = part.expired_rows().load(Ordering::Relaxed);
    let mut rows = Rows::new(part, passed);
    let (mut gone, mut all_gone) = (passed, true);
    while let Some((at_ns, seq)) = rows.next()? {
        if is_gone(live, seq) {
            gone += u64::from(all_gone);
            continue;
        }
        all_gone = false;
        if at_ns > now_ns || into.numbers.len() >= limit {
            into.meet(at_ns);
            break;
        }
        into.numbers.push(seq);
    }
    // What was removed stays so: nobody needs to pass over it again.
    part.expired_rows().fetch_max(gone, Ordering::Relaxed);
    Ok(())
}

/// The same of the last few records.
pub(super) fn of_active(active: &Active, live: &dyn Liveness, (now_ns, limit): (i64, usize), into: &mut Expired) {
    for &(at_ns, seq) in active.expiries() {
        if is_gone(live, seq) {
            continue;
        }
        if at_ns > now_ns || into.numbers.len() >= limit {
            into.meet(at_ns);
        } else {
            into.numbers.push(seq);
        }
    }
}
