//! What goes wrong with a part.

use std::io;

/// Why a part cannot be read, or not at this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// Bytes are not what was written. The part should be made again from its segments.
    #[error("the index part of numbers from {first_seq} on is damaged at byte {offset}")]
    Damaged {
        /// First number the part covers; 0 if it could not be opened.
        first_seq: u64,
        /// Offset of the block in the file.
        offset: u64,
    },
    /// Made by a later version of the program.
    #[error("an index part has version {found}")]
    Version {
        /// The version it says it has.
        found: u32,
    },
}

/// Why a part could not be written. What was written of it is of no use.
#[derive(Debug, thiserror::Error)]
pub enum PartWriteError {
    /// The callback that takes the bytes failed.
    #[error("an index part could not be written: {0}")]
    Io(#[from] io::Error),
    /// A part that is merged is damaged.
    #[error(transparent)]
    Source(#[from] PartError),
    /// Subjects, numbers, times or parts did not come in ascending order, or a number lies outside the sources.
    #[error("an index part was given something out of order")]
    Order,
}
