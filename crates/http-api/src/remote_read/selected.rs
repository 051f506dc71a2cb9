//! What a query of a remote read selects, seen from outside: with external labels.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::{Hints, Labels, MatchOp, Matcher, Queryable, SelectError, Selection, StoredSeries};
use remote_write::ReadQuery;

/// A series under the name it has outside.
pub(super) type Named = (Labels, Box<dyn StoredSeries>);

/// A store and the external labels in force when the request came.
pub(super) struct Source {
    storage: Arc<dyn Queryable>,
    external_labels: Labels,
}

impl Source {
    pub(super) fn new(storage: Arc<dyn Queryable>, external_labels: Labels) -> Self {
        Self { storage, external_labels }
    }

    /// The series of a query, in order of their labels. Some may have no sample in its range.
    pub(super) fn select(&self, query: &ReadQuery) -> Result<Vec<Named>, SelectError> {
        let range = query.range;
        if range.end < range.start {
            return Ok(Vec::new());
        }
        // What every series has outside, none need have inside.
        let is_external =
            |m: &&Matcher| m.op() == MatchOp::Equal && self.external_labels.get(m.name()) == Some(m.value());
        let matchers: Vec<Matcher> = query.matchers.iter().filter(|m| !is_external(m)).cloned().collect();
        let hints = Hints { step_ms: query.step_ms, window_ms: query.window_ms, ..Hints::default() };
        let selected = self.storage.select(&Selection { matchers: &matchers, range, hints })?;
        if self.external_labels.is_empty() {
            return Ok(selected.into_iter().map(|series| (series.labels().clone(), series)).collect());
        }
        let named = |series: Box<dyn StoredSeries>| (series.labels().with_defaults(&self.external_labels), series);
        let mut named: Vec<Named> = selected.into_iter().map(named).collect();
        // A label that some lack and others have may have changed their order.
        named.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(named)
    }
}

/// Whether nobody waits for the answer any more.
pub(super) fn is_left(left: &AtomicBool) -> bool {
    left.load(Ordering::Relaxed)
}
