//! The rows of common parts of a plan, from the first use to the last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::Labels;

use super::budget::Claim;
use super::counts::{Counted, SampleCounts};
use super::rows::{Row, Rows};
use super::{Evaluation, Sink, Steps, absent};
use crate::PromqlError;
use crate::plan::{Scalar, Shared, Vector};

/// Values that are kept of one part: 32 MB. A larger answer is cheaper evaluated again than held.
const MAX_VALUES: usize = 4 << 20;

/// What one evaluation keeps.
#[derive(Debug, Default)]
pub(crate) struct SharedRows {
    kept: Mutex<HashMap<usize, Kept>>,
}

#[derive(Debug)]
struct Kept {
    steps: Steps,
    rows: Arc<Vec<Row>>,
    uses_left: usize,
    claim: Claim,
    counted: Option<Counted>,
}

/// What the evaluation had noted and counted before a part was evaluated.
struct Before {
    notes: usize,
    counted: Option<Counted>,
}

impl Evaluation<'_> {
    /// A vector that stands in the plan more than once.
    pub(super) fn shared_vector(
        &self,
        node: &Shared<Vector>,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        if let Some(rows) = self.use_again(node.id, steps) {
            let mut column = vec![absent(); steps.count];
            for row in rows.iter() {
                self.budget.work(steps.count)?;
                column.copy_from_slice(&row.values);
                sink((&row.labels).into(), &mut column)?;
            }
            return Ok(());
        }
        let before = self.before();
        let mut kept = Some(Rows::new(self.budget)?);
        self.vector(&node.input, steps, &mut |labels, column| {
            if let Some(rows) = &mut kept {
                let fits = rows.rows.len().saturating_mul(column.len()) <= MAX_VALUES;
                // What does not fit the budget twice may still fit it once.
                if !fits || rows.keep(labels, column).is_err() {
                    kept = None;
                }
            }
            sink(labels, column)
        })?;
        if let Some(rows) = kept {
            self.keep((node.id, node.uses), steps, rows, before);
        }
        Ok(())
    }

    /// A scalar that stands in the plan more than once.
    pub(super) fn shared_scalar(&self, node: &Shared<Scalar>, steps: Steps) -> Result<Vec<f64>, PromqlError> {
        if let Some(rows) = self.use_again(node.id, steps) {
            // A column without any value is not kept as a row.
            return Ok(rows.first().map_or_else(|| vec![absent(); steps.count], |row| row.values.clone()));
        }
        let before = self.before();
        let column = self.scalar(&node.input, steps)?;
        let mut rows = Rows::new(self.budget)?;
        if rows.keep((&Labels::empty()).into(), &column).is_ok() {
            self.keep((node.id, node.uses), steps, rows, before);
        }
        Ok(column)
    }

    fn before(&self) -> Before {
        Before { notes: self.notes_taken(), counted: self.counts.map(SampleCounts::counted) }
    }

    fn keep(&self, (id, uses): (usize, usize), steps: Steps, rows: Rows<'_>, before: Before) {
        // Remarks name the place that they are about. Each twin makes its own.
        if self.notes_taken() > before.notes {
            return;
        }
        let counted = self.counts.zip(before.counted).map(|(counts, before)| counts.since(&before));
        let (rows, claim) = rows.into_claim();
        let kept = Kept { steps, rows: Arc::new(rows), uses_left: uses.saturating_sub(1), claim, counted };
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(id, kept);
    }

    /// The rows of a part that was evaluated over the same steps; the last use takes them out.
    fn use_again(&self, id: usize, steps: Steps) -> Option<Arc<Vec<Row>>> {
        let mut all = self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.get_mut(&id).filter(|kept| kept.steps == steps)?;
        if let (Some(counts), Some(counted)) = (self.counts, &kept.counted) {
            counts.again(counted);
        }
        kept.uses_left = kept.uses_left.saturating_sub(1);
        if kept.uses_left > 0 {
            return Some(kept.rows.clone());
        }
        let kept = all.remove(&id)?;
        self.budget.release(kept.claim);
        Some(kept.rows)
    }
}
