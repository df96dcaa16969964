//! Deliberate mistakes, one at a time, that the crash tests must catch. Only with the feature `planted-bugs`.

use std::cell::Cell;
use std::sync::OnceLock;

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Acknowledges before the sync.
    AckBeforeSync,
    /// Truncates at the first bad frame, whatever lies behind.
    TruncateInMiddle,
    /// Believes the sparse index without looking at the frame.
    TrustStaleIndex,
    /// Does not sync the folder after making a segment.
    NoDirSync,
    /// Believes frame headers without their checksum.
    SkipHeaderCrc,
    /// Tries a failed sync again, and believes the second answer.
    RetryFailedSync,
    /// Serves a recovered tail without writing and syncing it again.
    NoTailSync,
    /// Gives numbers out again after a power cut in a weak mode.
    ReuseNumbers,
    /// Acknowledges a removal before its journal is synced.
    RemovalNotSynced,
    /// Unlinks a segment whose records are all removed before the journal says so on disk.
    UnlinkBeforeJournal,
    /// Gives a packed segment its name before its bytes are synced.
    RenameBeforeSync,
    /// Removes the originals of a packed segment before it has its name.
    UnlinkBeforeRename,
    /// Does not sync the folder after removing a segment.
    NoRemovalSync,
    /// Goes to sleep without looking whether something came meanwhile.
    LostWakeUp,
    /// Believes a footer without its checksum.
    SkipFooterCrc,
    /// Writes while the lock file says that the log is as it was closed.
    WriteUnderCleanMark,
    /// Closes a file with unsynced writes, and calls what another open file says of it a sync.
    CloseUnsynced,
    /// Believes a clean mark without looking whether it names the segment and its end.
    BelieveAnyCleanMark,
    /// Takes the metadata store's word that it has flushed.
    BelieveStoreFlush,
    /// Shows a record that is past its time for as long as it is not removed.
    ServeExpired,
}

thread_local! {
    // Per thread, so that tests that run side by side do not plant bugs in each other.
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a mistake in everything this thread does, or none.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

static EVERYWHERE: OnceLock<Bug> = OnceLock::new();

/// Plants a mistake in all threads of this process, for good.
pub fn plant_everywhere(bug: Bug) {
    EVERYWHERE.get_or_init(|| bug);
}

/// Whether the mistake is planted.
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug) || EVERYWHERE.get() == Some(&bug)
}
