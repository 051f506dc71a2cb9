//! The way of a request: decide, store, answer for each row.

use std::sync::Arc;

use head::{Key, Keys};
use model::{
    Append, AppendError, AppendReport, Batch, Commit, Durable, EncodedBatch, EncodedRow, ExemplarReport, ExemplarRow,
    HistogramRow, MetricMetadata, Queryable, Refusal,
};
use parking_lot::Mutex;
use sources::Inputs;

use crate::decide::{Decided, Decider};
use crate::names::Names;
use crate::options::{Clock, ReplicasOptions, Statistics};
use crate::rows::{Merged, Origin, Rows};
use crate::tracked::Tracked;

/// Merges the samples of replicas on their way into a store.
pub struct Replicas {
    inner: Arc<dyn Append>,
    store: Arc<dyn Queryable>,
    clock: Clock,
    max_series: usize,
    keys: Keys,
    names: Names,
    tracked: Mutex<Tracked>,
    /// What was released while the store could not write: nobody will send it again.
    carried: Mutex<Merged>,
    /// Memory for the next requests.
    spare: Mutex<Vec<Decided>>,
}

/// Series that upkeep looks at before others get a turn.
const SWEEP_AT_ONCE: usize = 2_000;
/// Memory that is kept: for so many requests at once, of so many rows each.
const SPARE: usize = 8;
const SPARE_ROWS: usize = 1 << 16;

impl Replicas {
    /// `inner` stores what is kept; `store` is where that can be read again. What is held back registers with `inputs`.
    pub fn new(
        inner: Arc<dyn Append>,
        store: Arc<dyn Queryable>,
        options: &ReplicasOptions,
        clock: Clock,
        inputs: Inputs,
    ) -> Self {
        let keys = Keys::random();
        let names = Names::new(&options.labels, &keys);
        let (tracked, carried, spare) = (Mutex::new(Tracked::new(inputs)), Mutex::default(), Mutex::default());
        Self { inner, store, clock, max_series: options.max_series, keys, names, tracked, carried, spare }
    }

    /// What was counted since the start.
    pub fn statistics(&self) -> Statistics {
        self.tracked.lock().counts
    }

    /// Stores what was held back for too long, and forgets series of which nothing came for long. To be called about once
    /// per second.
    ///
    /// # Errors
    /// When the store cannot write; what was released is kept for the next time.
    pub fn maintain(&self) -> Result<(), AppendError> {
        self.sweep(false)
    }

    /// Stores whatever is held back and not covered. To be called when nothing comes any more, before the store is closed.
    ///
    /// # Errors
    /// As [`Replicas::maintain`].
    pub fn finish(&self) -> Result<(), AppendError> {
        self.sweep(true)
    }

    fn sweep(&self, all: bool) -> Result<(), AppendError> {
        let mut merged = Merged::default();
        let now_ms = (self.clock)().0;
        let due_ms = if all { i64::MAX } else { now_ms };
        let mut left = if all { self.tracked.lock().places() } else { self.tracked.lock().begin_round(now_ms) };
        // Requests get their turn in between.
        while left > 0 {
            let some = left.min(SWEEP_AT_ONCE);
            self.tracked.lock().sweep(&self.keys, some, (due_ms, now_ms), &mut merged);
            left -= some;
        }
        if merged.is_empty() && self.carried.lock().is_empty() {
            return Ok(());
        }
        self.store(&mut merged, &[]).map(drop)
    }

    /// Decides about rows, and stores them: those that name no replica by `store_plain`, which is told which they are.
    /// `None` when none does.
    fn take(
        &self,
        rows: &(impl Rows + ?Sized),
        (context, is_spelled): (Key, bool),
        metadata: &[MetricMetadata],
        store_plain: impl FnOnce(&[usize]) -> Result<AppendReport, AppendError>,
    ) -> Option<Result<AppendReport, AppendError>> {
        if self.names.is_empty() {
            return None;
        }
        let Self { keys, names, tracked, max_series, .. } = self;
        let now_ms = (self.clock)().0;
        let decider = Decider { keys, names, tracked, store: &*self.store, max_series: *max_series, now_ms };
        let mut decided = self.spare.lock().pop().unwrap_or_default();
        let taken = decider.decide(rows, context, is_spelled, &mut decided).then(|| {
            let plain =
                if decided.plain.is_empty() { Ok(AppendReport::default()) } else { store_plain(&decided.plain) };
            match plain {
                Ok(plain) => self.answer(rows.len(), &mut decided, plain, metadata),
                Err(error) => {
                    decided.merged.carry_to(&mut self.carried.lock());
                    Err(error)
                }
            }
        });
        let mut spare = self.spare.lock();
        if spare.len() < SPARE && decided.capacity() <= SPARE_ROWS {
            spare.push(decided);
        }
        taken
    }

    /// Stores rows of merged series, and what was carried. Even where there is none: what covers the others must be
    /// durable before they are acknowledged, and the store has to be able to write.
    fn store(&self, merged: &mut Merged, metadata: &[MetricMetadata]) -> Result<AppendReport, AppendError> {
        self.carried.lock().carry_to(merged);
        merged.batch.metadata.extend_from_slice(metadata);
        let stored = self.inner.append(&merged.batch).and_then(|mut report| {
            name_rows(&mut report, &merged.origins);
            if !merged.histograms.is_empty() {
                let mut histograms = self.inner.append_histograms(&merged.histograms)?;
                name_rows(&mut histograms, &merged.histogram_origins);
                add(&mut report, histograms);
            }
            Ok(report)
        });
        match stored {
            Ok(_) => merged.stored(),
            Err(_) => merged.carry_to(&mut self.carried.lock()),
        }
        stored
    }

    /// Stores what was decided, `plain` being the answer about rows that name no replica.
    fn answer(
        &self,
        rows: usize,
        decided: &mut Decided,
        mut plain: AppendReport,
        metadata: &[MetricMetadata],
    ) -> Result<AppendReport, AppendError> {
        let mut report = AppendReport { refused: std::mem::take(&mut decided.refused), ..AppendReport::default() };
        let origins: Vec<Origin> = decided.plain.iter().copied().map(Some).collect();
        name_rows(&mut plain, &origins);
        add(&mut report, plain);
        add(&mut report, self.store(&mut decided.merged, metadata)?);
        report.refused.sort_unstable_by_key(|refusal| refusal.row);
        // What is covered or held back is taken, and what was held back since earlier requests is not this one's.
        let taken = rows.saturating_sub(report.refused.len());
        report.appended = report.appended.min(taken);
        report.duplicates = taken - report.appended;
        Ok(report)
    }
}

/// Names the rows of the request instead of those that were passed on.
fn name_rows(report: &mut AppendReport, origins: &[Origin]) {
    let extra = origins.iter().filter(|origin| origin.is_none()).count();
    report.appended = report.appended.saturating_sub(extra);
    let named = |refusal: &Refusal| {
        let row = origins.get(refusal.row).copied().flatten()?;
        Some(Refusal { row, reason: refusal.reason })
    };
    report.refused = report.refused.iter().filter_map(named).collect();
}

fn add(report: &mut AppendReport, other: AppendReport) {
    report.appended += other.appended;
    report.duplicates += other.duplicates;
    report.refused.extend(other.refused);
    report.commit = report.commit.max(other.commit);
}

impl Append for Replicas {
    fn append(&self, batch: &Batch) -> Result<AppendReport, AppendError> {
        let store_plain = |plain: &[usize]| {
            let rows = plain.iter().map(|row| batch.rows[*row].clone()).collect();
            self.inner.append(&Batch { rows, metadata: Vec::new() })
        };
        let taken = self.take(batch.rows.as_slice(), (self.keys.own_context(), true), &batch.metadata, store_plain);
        taken.unwrap_or_else(|| self.inner.append(batch))
    }

    fn append_encoded(&self, batch: &EncodedBatch<'_>) -> Result<AppendReport, AppendError> {
        let store_plain = |plain: &[usize]| {
            let rows: Vec<EncodedRow<'_>> = plain.iter().map(|row| batch.rows[*row]).collect();
            self.inner.append_encoded(&EncodedBatch { rows: &rows, metadata: &[], ..*batch })
        };
        let is_spelled = batch.decoder.spells_out() && !self.names.may_be_in(batch.context);
        let taken = self.take(batch, (self.keys.context(batch.context), is_spelled), batch.metadata, store_plain);
        taken.unwrap_or_else(|| self.inner.append_encoded(batch))
    }

    fn append_histograms(&self, rows: &[HistogramRow]) -> Result<AppendReport, AppendError> {
        let store_plain = |plain: &[usize]| {
            let some: Vec<HistogramRow> = plain.iter().map(|row| rows[*row].clone()).collect();
            self.inner.append_histograms(&some)
        };
        let taken = self.take(rows, (self.keys.own_context(), true), &[], store_plain);
        taken.unwrap_or_else(|| self.inner.append_histograms(rows))
    }

    /// Exemplars of all replicas are kept: they are single observations, and the store knows which it has.
    fn append_exemplars(&self, rows: &[ExemplarRow]) -> Result<ExemplarReport, AppendError> {
        let may_name = |row: &ExemplarRow| self.names.may_be_in(row.series.as_bytes());
        if self.names.is_empty() || !rows.iter().any(may_name) {
            return self.inner.append_exemplars(rows);
        }
        let mut rows = rows.to_vec();
        for row in &mut rows {
            if let Some((_, merged)) = self.names.strip(&row.series) {
                row.series = merged;
            }
        }
        self.inner.append_exemplars(&rows)
    }

    fn when_durable(&self, commit: Commit, done: Durable) {
        self.inner.when_durable(commit, done);
    }
}
