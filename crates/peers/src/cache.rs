//! The digests of windows that nothing has touched since they were read. A store tells what it touches
//! ([`model::Changes`]), so a comparison of settled windows reads nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Changes, SelectError, TimeRange, Version};
use parking_lot::Mutex;

use crate::survey::{BySource, Span, Survey, Windows};

/// Windows that are read in one go: the samples of a series lie together.
const READ_AT_ONCE: usize = 12;

struct Known {
    version: Version,
    digests: Arc<BySource>,
}

impl Known {
    fn holds(&self, changes: &dyn Changes, now: Version, span: TimeRange) -> bool {
        let has_same_layout = self.version.layout == now.layout;
        has_same_layout && changes.changed(self.version, span).is_some_and(|spans| spans.is_empty())
    }
}

/// What is known about one scope; another scope needs another cache.
#[derive(Default)]
pub(crate) struct DigestCache {
    known: Mutex<BTreeMap<i64, Known>>,
}

impl DigestCache {
    /// The digests of every window of a span, oldest first, and how many samples had to be read for them. Runs for as long
    /// as reading takes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn windows(&self, survey: &Survey, span: Span, window_ms: i64) -> Result<(Windows, u64), SelectError> {
        let mut out: BTreeMap<i64, Arc<BySource>> = self.still_known(survey, span, window_ms);
        let missing: Vec<i64> = span.windows(window_ms).filter(|at| !out.contains_key(at)).collect();
        let mut read = 0;
        for neighbours in missing.chunk_by(|a, b| a + window_ms == *b) {
            for some in neighbours.chunks(READ_AT_ONCE) {
                let (Some(first), Some(last)) = (some.first(), some.last()) else { continue };
                let digests = self.read(survey, Span { start_ms: *first, end_ms: last + window_ms }, window_ms)?;
                read += digests.iter().flat_map(|(_, by_source)| by_source.values()).map(|d| d.samples).sum::<u64>();
                out.extend(digests);
            }
        }
        Ok((out.into_iter().collect(), read))
    }

    fn still_known(&self, survey: &Survey, span: Span, window_ms: i64) -> BTreeMap<i64, Arc<BySource>> {
        let Some((changes, now)) = survey.storage.changes().and_then(|c| Some((c, c.version()?))) else {
            return BTreeMap::new();
        };
        let known = self.known.lock();
        let held = span.windows(window_ms).filter_map(|at| {
            let window = Span { start_ms: at, end_ms: at + window_ms };
            let known = known.get(&at).filter(|known| known.holds(changes, now, window.range()))?;
            Some((at, known.digests.clone()))
        });
        held.collect()
    }

    /// Reads, and keeps what nobody was writing to meanwhile: version, writes under way, samples, in this order.
    fn read(&self, survey: &Survey, span: Span, window_ms: i64) -> Result<Windows, SelectError> {
        let state = survey.storage.changes().and_then(|changes| {
            let version = changes.version()?;
            Some((version, changes.changed(version, span.range())?))
        });
        let read = survey.windows(span, window_ms)?;
        let read: Vec<_> = read.into_iter().map(|(at, digests)| (at, Arc::new(digests))).collect();
        if let Some((version, writing)) = state {
            let mut known = self.known.lock();
            for (at, digests) in &read {
                let window = Span { start_ms: *at, end_ms: at + window_ms }.range();
                let is_written = writing.iter().any(|w| w.start <= window.end && window.start <= w.end);
                if !is_written {
                    known.insert(*at, Known { version, digests: digests.clone() });
                }
            }
        }
        Ok(read)
    }

    /// Forgets windows before `start_ms`.
    pub(crate) fn forget_before(&self, start_ms: i64) {
        let mut known = self.known.lock();
        let kept = known.split_off(&start_ms);
        *known = kept;
    }
}
