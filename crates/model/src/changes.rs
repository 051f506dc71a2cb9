//! What a store tells about its changes, so that somebody may keep its answers for exactly as long as they hold.

use crate::TimeRange;

/// A moment in the history of one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// How many changes had begun.
    pub changes: u64,
    /// What decides where samples are read from: what was read at versions that differ in it has nothing in common.
    pub layout: i64,
}

/// The history of a store. Whoever keeps an answer takes the version first, then asks what is being written at that
/// version, then reads: what was read holds until something of it changed after that version, but for the times that were
/// being written.
pub trait Changes: Send + Sync {
    /// Where the store stands. `None` while it cannot tell what changes; nothing may be kept then.
    fn version(&self) -> Option<Version>;

    /// The spans of `range` in which something was written after `since`, or is being written now: ascending, apart from one
    /// another, and wider than what was written rather than narrower. `None`: anything may have changed.
    ///
    /// Whatever a reader can see of a change is told to everybody who asks after that.
    fn changed(&self, since: Version, range: TimeRange) -> Option<Vec<TimeRange>>;
}
