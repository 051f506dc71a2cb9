//! Which series are queued: those that any destination selects. Decided once per series, remembered by a short name that
//! is cheaper to make than labels are to read.

use std::time::{Duration, Instant};

use model::Labels;
use queue::{QueueError, Series, SeriesId};

use crate::outgoing::Selector;
use crate::series_key::{SeriesKey, SeriesMap};

/// A series without samples for this long, or up to twice as long, is forgotten.
const REMEMBER: Duration = Duration::from_secs(15 * 60);
/// Series of one generation, however young.
const MAX_REMEMBERED: usize = 4_000_000;

pub(crate) struct Admission {
    selectors: Vec<Selector>,
    /// Series that had samples since `turned`, and those that only had some before. `None`: nobody wants it.
    current: SeriesMap<Option<SeriesId>>,
    previous: SeriesMap<Option<SeriesId>>,
    turned: Instant,
}

impl Admission {
    /// Admits what any of these selects.
    pub(crate) fn new(selectors: Vec<Selector>) -> Self {
        Self { selectors, current: SeriesMap::default(), previous: SeriesMap::default(), turned: Instant::now() }
    }

    /// Whether nothing is admitted.
    pub(crate) fn is_idle(&self) -> bool {
        self.selectors.is_empty()
    }

    /// Forgets series that are gone. Call it with every batch.
    pub(crate) fn forget_old(&mut self, now: Instant) {
        if now.duration_since(self.turned) >= REMEMBER || self.current.len() >= MAX_REMEMBERED {
            self.previous = std::mem::take(&mut self.current);
            self.turned = now;
        }
    }

    /// The number of a series in the queue; `None` where nobody wants it. `labels` reads those of a series that is not
    /// remembered.
    pub(crate) fn admit(
        &mut self,
        key: SeriesKey,
        labels: impl FnOnce() -> Option<Labels>,
        series: &mut Series<'_>,
    ) -> Result<Option<SeriesId>, QueueError> {
        match self.current.get(&key) {
            Some(None) => return Ok(None),
            Some(Some(id)) if series.keep(*id) => return Ok(Some(*id)),
            _ => {}
        }
        let known = self.previous.remove(&key).filter(|known| known.is_none_or(|id| series.keep(id)));
        let decided = match known {
            Some(known) => known,
            None => match labels() {
                Some(labels) if self.is_wanted(&labels) => Some(series.id(key.as_u128(), || labels)?),
                Some(_) => None,
                None => return Ok(None),
            },
        };
        self.current.insert(key, decided);
        Ok(decided)
    }

    fn is_wanted(&self, labels: &Labels) -> bool {
        self.selectors.iter().any(|selector| selector.decide(labels).is_some())
    }
}
