//! Answers that may be too long for one message.

use serde::Serialize;

/// Names in one answer.
pub const NAMES_MAX: usize = 1024;
/// Streams or consumers with all about them in one answer.
pub const LIST_MAX: usize = 256;
/// Subjects with their numbers of messages in one answer.
pub const SUBJECTS_MAX: usize = 100_000;

/// Which part of a whole an answer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Page {
    /// How much there is in all.
    pub total: usize,
    /// How much comes before this part.
    pub offset: usize,
    /// How much there may be in one part.
    pub limit: usize,
}

impl Page {
    /// The part from `offset` on of `total` things, `limit` at a time. An offset beyond the end is the end.
    #[must_use]
    pub fn new(total: usize, offset: i64, limit: usize) -> Self {
        let offset = usize::try_from(offset.max(0)).unwrap_or(usize::MAX).min(total);
        Self { total, offset, limit }
    }

    /// Picks this part from all.
    pub fn pick<T>(self, all: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        all.skip(self.offset).take(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::Page;

    #[test]
    fn offsets_stay_within_what_there_is() {
        let pick = |offset: i64| Page::new(5, offset, 2).pick(0..5).collect::<Vec<_>>();
        assert_eq!([pick(0), pick(2), pick(4), pick(-3)], [vec![0, 1], vec![2, 3], vec![4], vec![0, 1]]);
        assert_eq!((pick(5), pick(i64::MAX)), (vec![], vec![]));
        assert_eq!(Page::new(5, 9, 2).offset, 5);
    }
}
