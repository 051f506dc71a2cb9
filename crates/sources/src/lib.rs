//! Who sends to this tier, and how complete that is: the headers between tiers ([`Report`]), what this process makes
//! itself ([`Inputs`]), the table of everybody who sends ([`Sources`]), and the watermarks that follow
//! (docs/decisions/010-delivery.md).
//!
//! Invariants: nothing that a sender claims fails or grows anything without bound; a watermark never promises more than
//! the senders and the producers here promised; who was silent before a restart is known as silent after it.
//!
//! Who may run at once: everything here is shared and may be called from any thread; locks are held for one look or one
//! change, never for a write to the disk.
//!
//! Non-goals: no clock (time is a parameter), no sockets, no tasks: who saves the table every few seconds is the tier.

mod gaps;
mod inputs;
mod name;
mod pace;
mod report;
mod saved;
mod source;
mod table;
mod teller;
#[cfg(test)]
mod tests;

pub use inputs::{InputGuard, Inputs};
pub use name::{SourceName, label_of};
pub use report::{
    BACKLOG_HEADER, BEHIND_HEADER, Backlog, Behind, ELSEWHERE_HEADER, GAPS_BELOW_HEADER, GAPS_HEADER, Gap, GapBelow,
    LANE_HEADER, Lane, MAX_BEHIND, MAX_GAPS, MAX_REPORT_BYTES, PROCESS_HEADER, Report, SOURCE_HEADER, VERSION_HEADER,
    WATERMARK_HEADER,
};
pub use saved::{Problem, decode as decode_saved};
pub use source::{DirectStatus, SourceState, SourceStatus};
pub use table::{Arrival, SourceLimits, Sources};
