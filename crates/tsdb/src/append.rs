//! The way of a batch: memory, log, answer.

use std::cell::OnceCell;
use std::sync::atomic::Ordering;
use std::time::Duration;

use head::{Accepted, Bounds, Head, SeriesRef};
use model::{
    Append, AppendError, AppendReport, Batch, Commit, Durable, EncodedBatch, ExemplarReport, ExemplarRow, HistogramRow,
    Labels, MetricMetadata, TimestampMs, Value,
};

use crate::Store;
use crate::options::MAX_AHEAD_MS;
use crate::record::encode;
use crate::wal::Wal;

/// How long samples wait that may be in the log that is being replayed; then their sender is to come again.
const WAIT_FOR_REPLAY: Duration = Duration::from_secs(10);
/// A record is split where it would have more samples, or definitions of more bytes: a log takes no record of any length.
const MAX_RECORD_SAMPLES: usize = 1 << 20;
const MAX_DEFINITION_BYTES: usize = 16 << 20;
/// Buffers kept for the next append, and the largest worth keeping.
const SPARE_BUFFERS: usize = 8;
const SPARE_BUFFER_SAMPLES: usize = 1 << 16;

impl Append for Store {
    fn append(&self, batch: &Batch) -> Result<AppendReport, AppendError> {
        let times = batch.rows.iter().map(|row| row.sample.timestamp.0);
        self.append_with(times, &batch.metadata, |head, bounds, accepted| head.append_batch(batch, bounds, accepted))
    }

    fn append_encoded(&self, batch: &EncodedBatch<'_>) -> Result<AppendReport, AppendError> {
        let times = batch.rows.iter().map(|row| row.sample.timestamp.0);
        self.append_with(times, batch.metadata, |head, bounds, accepted| head.append(batch, bounds, accepted))
    }

    fn append_histograms(&self, rows: &[HistogramRow]) -> Result<AppendReport, AppendError> {
        self.take_histograms(rows)
    }

    fn append_exemplars(&self, rows: &[ExemplarRow]) -> Result<ExemplarReport, AppendError> {
        self.take_exemplars(rows)
    }

    fn when_durable(&self, commit: Commit, done: Durable) {
        match (&self.wal, &self.durability) {
            (Some(wal), Some(durability)) => durability.when(commit, wal.synced(), done),
            _ => done(Ok(())),
        }
    }
}

impl Store {
    fn append_with(
        &self,
        times: impl Iterator<Item = i64> + Clone,
        metadata: &[MetricMetadata],
        apply: impl FnOnce(&Head, &Bounds<'_>, &mut Accepted) -> AppendReport,
    ) -> Result<AppendReport, AppendError> {
        let wal = self.ready_for(|| times.clone().min())?;
        let mut accepted = self.accepted.lock().pop().unwrap_or_default();
        let outcome = self.append_in_epoch(wal, times, metadata, &mut accepted, apply);
        self.keep(accepted);
        self.answer(wal, outcome?)
    }

    /// Waits until samples from a time on can be taken.
    ///
    /// # Errors
    /// When they cannot.
    pub(crate) fn ready_for(&self, oldest: impl FnOnce() -> Option<i64>) -> Result<&Wal, AppendError> {
        let Some(wal) = &self.wal else {
            return Err(AppendError::Unwritable("the store was opened for reading only".to_owned()));
        };
        wal.catch_up()?;
        if self.recovery.concerns_any()
            && let Some(oldest) = oldest()
            && !self.recovery.wait_for(oldest, WAIT_FOR_REPLAY)
        {
            return Err(AppendError::Unwritable(
                "the log of the last run is still being replayed, and it may have these samples".to_owned(),
            ));
        }
        Ok(wal)
    }

    /// What the sender is told, once it may be.
    ///
    /// # Errors
    /// When what is in memory already could not be written to the log.
    pub(crate) fn answer(&self, wal: &Wal, mut report: AppendReport) -> Result<AppendReport, AppendError> {
        if report.duplicates > 0 {
            // The first of the two may be in memory while its record is still being written. Whoever has the epoch for
            // writing knows that every append before has written its record, or failed to.
            drop(self.epoch.write());
            wal.catch_up()?;
        }
        report.commit = wal.written();
        Ok(report)
    }

    fn append_in_epoch(
        &self,
        wal: &Wal,
        times: impl Iterator<Item = i64>,
        metadata: &[MetricMetadata],
        accepted: &mut Accepted,
        apply: impl FnOnce(&Head, &Bounds<'_>, &mut Accepted) -> AppendReport,
    ) -> Result<AppendReport, AppendError> {
        let generation = self.epoch.read();
        if self.closed.load(Ordering::Acquire) {
            return Err(AppendError::Closed);
        }
        // One list of blocks for the whole batch, taken only when a sample may be in one.
        let held = OnceCell::new();
        let sealed = |labels: &Labels, timestamp: TimestampMs| {
            self.sealed_value(held.get_or_init(|| self.sealed()), labels, timestamp.0)
        };
        let bounds = self.bounds(&sealed);
        let writing = self.journal.write(times);
        let report = apply(&self.head, &bounds, accepted);
        drop(writing);
        if let Some(newest) = accepted.timestamps.iter().max() {
            self.saw(*newest);
        }
        self.counters.appended.add(report.appended as u64);
        self.counters.duplicates.add(report.duplicates as u64);
        self.log(wal, *generation, metadata, accepted)?;
        self.head.mark_defined(&accepted.undefined);
        Ok(report)
    }

    /// What may be stored now.
    pub(crate) fn bounds<'a>(&self, sealed: &'a dyn Fn(&Labels, TimestampMs) -> Option<Value>) -> Bounds<'a> {
        Bounds {
            oldest_ms: self.cutoff().max(0),
            newest_ms: ((self.clock)() + MAX_AHEAD_MS).0,
            sealed_until_ms: self.sealed_until.load(Ordering::Acquire),
            sealed,
        }
    }

    /// Writes what was accepted, with what is needed to understand it.
    fn log(
        &self,
        wal: &Wal,
        generation: u64,
        metadata: &[MetricMetadata],
        accepted: &Accepted,
    ) -> Result<(), AppendError> {
        let fresh = self.families.learn(metadata);
        if accepted.series.is_empty() && fresh.is_empty() {
            return Ok(());
        }
        let (definitions, mut outcome) = self.define(wal, generation, &accepted.undefined);
        let parts = accepted.series.len().div_ceil(MAX_RECORD_SAMPLES).max(1);
        for part in 0..parts {
            let range = part * MAX_RECORD_SAMPLES..accepted.series.len().min((part + 1) * MAX_RECORD_SAMPLES);
            let rows = accepted.series[range.clone()].iter().zip(&accepted.timestamps[range.clone()]);
            let rows = rows.zip(&accepted.values[range]).map(|((series, at), value)| (series.0, *at, *value));
            let mut record = wal.record();
            if part == 0 {
                encode(&mut record, generation, &definitions, rows, &fresh);
            } else {
                encode(&mut record, generation, &[], rows, &[]);
            }
            // After a failure the rest waits behind it: all of it is in memory.
            outcome = outcome.and(wal.write(record));
        }
        outcome
    }

    /// The labels of series that the log does not define yet. Of very many the first are written on their own.
    pub(crate) fn define(
        &self,
        wal: &Wal,
        generation: u64,
        undefined: &[SeriesRef],
    ) -> (Vec<(u32, Labels)>, Result<(), AppendError>) {
        let mut definitions = Vec::with_capacity(undefined.len());
        let mut outcome = Ok(());
        let mut bytes = 0;
        for series in undefined {
            let labels = self.head.labels(*series);
            bytes += labels.size_bytes();
            definitions.push((series.0, labels));
            if bytes > MAX_DEFINITION_BYTES {
                let mut record = wal.record();
                encode(&mut record, generation, &definitions, std::iter::empty(), &[]);
                outcome = outcome.and(wal.write(record));
                definitions.clear();
                bytes = 0;
            }
        }
        (definitions, outcome)
    }

    /// Keeps a buffer for the next append.
    fn keep(&self, accepted: Accepted) {
        let mut spare = self.accepted.lock();
        if spare.len() < SPARE_BUFFERS && accepted.series.capacity() <= SPARE_BUFFER_SAMPLES {
            spare.push(accepted);
        }
    }
}
