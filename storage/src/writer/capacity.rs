//! How large the next segment is made, and how much of it is written with zeros at once.

use std::sync::OnceLock;

use crate::format::SEGMENT_HEADER_BYTES;
use crate::format::footer;
use crate::options::LogOptions;

/// Capacity of the next segment of a log that holds that many bytes of records, for a frame of that many bytes.
///
/// About a quarter, so that a log has few files however large it is, that what is reserved and not yet used stays a
/// fraction of what is held, and that retention by whole segments comes close to what it is told. A power of two,
/// rounded down, between the first size and the largest.
pub(crate) fn capacity_for(options: &LogOptions, live_bytes: u64, frame_bytes: u64) -> u64 {
    let quarter = (live_bytes / 4).checked_ilog2().map_or(0, |log| 1 << log);
    let grown = quarter.max(options.segment_bytes_first).min(options.segment_bytes_max);
    grown.max(least_for(frame_bytes))
}

/// The smallest segment worth making for a frame of that many bytes.
pub(crate) fn capacity_least(options: &LogOptions, frame_bytes: u64) -> u64 {
    options.segment_bytes_first.max(least_for(frame_bytes))
}

fn least_for(frame_bytes: u64) -> u64 {
    let data = SEGMENT_HEADER_BYTES + frame_bytes;
    // Twice the data: the footer's own reserve depends on the capacity that includes it.
    data + footer::footer_bytes_max(data * 2)
}

/// Segments up to this size are written with zeros when they are made, in the write and the sync of their header.
const ZEROED_AT_ONCE_MAX: u64 = 64 << 10;

/// How far a segment of that capacity is zeroed when it is made, if it is: where zeros would be written ahead anyway.
pub(crate) fn zeroed_at_once(zero_ahead_bytes: u64, capacity: u64) -> Option<u64> {
    (capacity <= zero_ahead_bytes.min(ZEROED_AT_ONCE_MAX)).then_some(capacity)
}

/// Zeros for all logs to write: only ever read, so that they take no memory but a page.
pub(super) fn zeros() -> &'static [u8] {
    static ZEROS: OnceLock<Vec<u8>> = OnceLock::new();
    ZEROS.get_or_init(|| vec![0; 1 << 20])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_follows_the_data() {
        let options = LogOptions { segment_bytes_first: 16 << 10, segment_bytes_max: 128 << 20, ..Default::default() };
        let rows = [
            (0, 16 << 10),
            (127 << 10, 16 << 10),
            (128 << 10, 32 << 10),
            (1 << 20, 256 << 10),
            ((1 << 20) - 1, 128 << 10),
            (400 << 20, 64 << 20),
            (512 << 20, 128 << 20),
            (u64::MAX, 128 << 20),
        ];
        for (live, capacity) in rows {
            assert_eq!(capacity_for(&options, live, 100), capacity, "{live} bytes held");
        }
        // The sizes of the options are kept also if they are no powers of two, and a frame always goes in.
        let odd = LogOptions { segment_bytes_first: 10_000, segment_bytes_max: 50_000, ..Default::default() };
        assert_eq!(capacity_for(&odd, 0, 0), 10_000);
        assert_eq!(capacity_for(&odd, 1 << 30, 0), 50_000);
        for frame in [1, 9_000, 49_000, 3 << 20] {
            let capacity = capacity_for(&odd, 1 << 30, frame);
            assert!(SEGMENT_HEADER_BYTES + frame + footer::footer_bytes_max(capacity) <= capacity, "{frame}");
        }
    }

    #[test]
    fn a_growing_log_has_few_segments() {
        let options = LogOptions { segment_bytes_first: 16 << 10, segment_bytes_max: 128 << 20, ..Default::default() };
        let (mut live, mut segments, mut reserved) = (0, 0, 0);
        while live < 512 << 20 {
            reserved = capacity_for(&options, live, 100);
            assert!(reserved <= (live / 4).max(16 << 10), "{reserved} bytes for a log of {live}");
            live += reserved;
            segments += 1;
        }
        assert!(segments < 100, "{segments} segments for 512 MiB");
        assert_eq!(reserved, 64 << 20);
    }
}
