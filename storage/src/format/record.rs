//! Records inside a frame: taking one apart, and finding its borders when the directory is damaged.

use super::{DIR_ENTRY_BYTES, EXPIRY_BYTES, RECORD_HEADER_BYTES, i64_at, index, u16_at, u32_at};

/// Flag of a record that has a time at which it expires.
pub(crate) const FLAG_EXPIRES: u16 = 1;

/// A record taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordParts<'a> {
    pub(crate) ts_ns: i64,
    /// When it is to go.
    pub(crate) expires_at_ns: Option<i64>,
    pub(crate) subject: &'a [u8],
    pub(crate) headers: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// Takes a record apart whose checksum was right; `None` if its parts do not add up to its length, or it has a flag that is
/// not known.
pub(crate) fn parts(record: &[u8]) -> Option<RecordParts<'_>> {
    if index(u32_at(record, 0)?) != record.len() {
        return None;
    }
    let headers_len = index(u32_at(record, 4)?);
    let subject_len = usize::from(u16_at(record, 8)?);
    let ts_ns = i64_at(record, 12)?;
    let (expires_at_ns, parts_at) = match u16_at(record, 10)? {
        0 => (None, RECORD_HEADER_BYTES),
        FLAG_EXPIRES => (Some(i64_at(record, RECORD_HEADER_BYTES)?), RECORD_HEADER_BYTES + EXPIRY_BYTES),
        _ => return None,
    };
    let (subject, rest) = record.get(parts_at..)?.split_at_checked(subject_len)?;
    let (headers, payload) = rest.split_at_checked(headers_len)?;
    Some(RecordParts { ts_ns, expires_at_ns, subject, headers, payload })
}

/// Whether a record has a time at which it expires.
pub(crate) fn expires(record: &[u8]) -> bool {
    u16_at(record, 10) == Some(FLAG_EXPIRES)
}

/// One directory entry: length and checksum.
pub(crate) fn entry(directory: &[u8], i: usize) -> Option<(usize, u32)> {
    let at = i.checked_mul(DIR_ENTRY_BYTES)?;
    Some((index(u32_at(directory, at)?), u32_at(directory, at + 4)?))
}

/// What one record's place holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot<'a> {
    /// A record whose checksum is right.
    Good(&'a [u8]),
    /// Damage.
    Lost,
}

/// Looks at record `i` whose bytes begin at `at` of `body`. Returns what is there and where the next one begins.
///
/// With a right directory the border is the directory's. With a damaged one either length may be the wrong one: the one
/// under which the checksum is right is believed; if neither is, the one that leaves room for exactly the rest.
pub(crate) fn slot<'a>(body: &'a [u8], directory: &[u8], directory_ok: bool, i: usize, at: usize) -> (Slot<'a>, usize) {
    let rest = body.get(at..).unwrap_or_default();
    let Some((len, crc)) = entry(directory, i) else { return (Slot::Lost, body.len()) };
    let good = |len: usize| {
        let record = rest.get(..len)?;
        (record.len() >= RECORD_HEADER_BYTES && crc32fast::hash(record) == crc && parts(record).is_some())
            .then_some(record)
    };
    if let Some(record) = good(len) {
        return (Slot::Good(record), at + len);
    }
    if directory_ok {
        return (Slot::Lost, at.saturating_add(len).min(body.len()));
    }
    let own = u32_at(rest, 0).map_or(0, index);
    if let Some(record) = good(own) {
        return (Slot::Good(record), at + own);
    }
    let after: usize = (i + 1..directory.len() / DIR_ENTRY_BYTES)
        .map(|k| entry(directory, k).map_or(0, |(len, _)| len))
        .fold(0, usize::saturating_add);
    let by_rest = rest.len().checked_sub(after);
    let believed = if own == len || by_rest.is_none() || by_rest == Some(own) { own } else { by_rest.unwrap_or(len) };
    (Slot::Lost, at.saturating_add(believed.max(1)).min(body.len()))
}

/// The same for a record that is known to be right, with a right directory: nobody has to look at all of its bytes.
pub(crate) fn slot_unread<'a>(body: &'a [u8], directory: &[u8], i: usize, at: usize) -> (Slot<'a>, usize) {
    let Some((len, _)) = entry(directory, i) else { return (Slot::Lost, body.len()) };
    let end = at.saturating_add(len).min(body.len());
    let record = body.get(at..end).filter(|record| record.len() == len && parts(record).is_some());
    (record.map_or(Slot::Lost, Slot::Good), end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::RecordBatch;

    fn batch() -> RecordBatch {
        let mut batch = RecordBatch::new();
        for i in 0..5_u8 {
            let payload = vec![i; usize::from(i) * 7];
            batch.push(i64::from(i), format!("a.{i}").as_bytes(), b"H: 1\r\n", &payload).unwrap();
        }
        batch
    }

    fn survivors(body: &[u8], directory: &[u8], ok: bool) -> Vec<Option<Vec<u8>>> {
        let mut at = 0;
        (0..5)
            .map(|i| {
                let (slot, next) = slot(body, directory, ok, i, at);
                at = next;
                match slot {
                    Slot::Good(record) => Some(record.to_vec()),
                    Slot::Lost => None,
                }
            })
            .collect()
    }

    #[test]
    fn a_flipped_bit_costs_at_most_its_record() {
        let batch = batch();
        let whole = survivors(&batch.body, &batch.directory, true);
        assert!(whole.iter().all(Option::is_some));
        for bit in 0..batch.body.len() * 8 {
            let mut body = batch.body.clone();
            body[bit / 8] ^= 1 << (bit % 8);
            let now = survivors(&body, &batch.directory, true);
            let lost = now.iter().filter(|r| r.is_none()).count();
            assert_eq!(lost, 1, "body bit {bit}");
            assert!(now.iter().zip(&whole).all(|(a, b)| a.is_none() || a == b), "body bit {bit}");
        }
        for bit in 0..batch.directory.len() * 8 {
            let mut directory = batch.directory.clone();
            directory[bit / 8] ^= 1 << (bit % 8);
            let now = survivors(&batch.body, &directory, false);
            assert!(now.iter().filter(|r| r.is_none()).count() <= 1, "directory bit {bit}");
            assert!(now.iter().zip(&whole).all(|(a, b)| a.is_none() || a == b), "directory bit {bit}");
        }
    }

    #[test]
    fn any_bytes_are_taken_apart_without_panic() {
        let batch = batch();
        for cut in 0..batch.body.len() {
            let record = &batch.body[..cut];
            if let Some(parts) = parts(record) {
                let len = parts.subject.len() + parts.headers.len() + parts.payload.len();
                assert_eq!(len + RECORD_HEADER_BYTES, cut);
            }
        }
    }
}
