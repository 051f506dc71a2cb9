//! What a source dropped, as it tells it again and again.

use crate::{Gap, MAX_GAPS};

/// The gaps of one source.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Gaps {
    /// Newest first, at most [`MAX_GAPS`].
    pub(crate) list: Vec<Gap>,
    /// Samples in all that were ever told.
    pub(crate) samples: u64,
}

impl Gaps {
    /// A gap may be told again with every request, and may have grown since.
    pub(crate) fn observe(&mut self, told: &[Gap]) {
        // What is older than all that are remembered was counted before it was forgotten.
        let oldest = if self.list.len() < MAX_GAPS { None } else { self.list.iter().map(|gap| gap.from).min() };
        for gap in told {
            if let Some(known) = self.list.iter_mut().find(|known| known.from == gap.from) {
                self.samples = self.samples.saturating_add(gap.samples.saturating_sub(known.samples));
                *known = *gap;
            } else if oldest.is_none_or(|oldest| gap.from > oldest) {
                self.samples = self.samples.saturating_add(gap.samples);
                self.list.push(*gap);
            }
        }
        self.list.sort_by_key(|gap| std::cmp::Reverse(gap.from));
        self.list.truncate(MAX_GAPS);
    }
}
