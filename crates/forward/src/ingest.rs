//! A store with destinations behind it.

use std::sync::Arc;

use model::{
    Append, AppendError, AppendReport, Batch, Commit, Durable, EncodedBatch, ExemplarReport, ExemplarRow, HistogramRow,
};

use crate::core::Stored;
use crate::forwarder::Forwarder;
use crate::series_key::SeriesKey;

/// A store with destinations behind it: what the store takes, new or known already, is queued for them before it is
/// acknowledged. What either cannot take at the moment is not: its sender comes again with it.
pub struct Ingest {
    /// Where samples are stored.
    pub store: Arc<dyn Append>,
    /// Where stored samples go.
    pub forwarder: Arc<Forwarder>,
}

/// The rows of a batch that the store did not refuse.
fn stored(keys: impl Iterator<Item = (SeriesKey, model::Sample)>, report: &AppendReport) -> Vec<Stored> {
    let mut refused = report.refused.iter().map(|r| r.row).peekable();
    keys.enumerate()
        .filter(|(row, _)| refused.next_if_eq(row).is_none())
        .map(|(row, (key, sample))| Stored { key, row, sample })
        .collect()
}

impl Append for Ingest {
    fn append(&self, batch: &Batch) -> Result<AppendReport, AppendError> {
        let report = self.store.append(batch)?;
        let core = &self.forwarder.core;
        if !core.is_idle() {
            let keys = batch.rows.iter().map(|row| (core.keys.of_labels(&row.labels), row.sample));
            let labels = |row: usize| batch.rows.get(row).map(|row| row.labels.clone());
            core.offer(&stored(keys, &report), &labels, &batch.metadata)?;
        }
        Ok(report)
    }

    fn append_encoded(&self, batch: &EncodedBatch<'_>) -> Result<AppendReport, AppendError> {
        let report = self.store.append_encoded(batch)?;
        let core = &self.forwarder.core;
        if !core.is_idle() {
            let key = core.keys.encoded(batch.context);
            let keys = batch.rows.iter().map(|row| (key(row.labels), row.sample));
            // What the store took, it could decode.
            let labels = |row: usize| batch.rows.get(row).and_then(|row| batch.decoder.decode(row.labels).ok());
            core.offer(&stored(keys, &report), &labels, batch.metadata)?;
        }
        Ok(report)
    }

    fn append_histograms(&self, rows: &[HistogramRow]) -> Result<AppendReport, AppendError> {
        let report = self.store.append_histograms(rows)?;
        if !self.forwarder.core.is_idle() {
            let mut refused = report.refused.iter().map(|r| r.row).peekable();
            let taken = rows.iter().enumerate().filter(|(row, _)| refused.next_if_eq(row).is_none());
            let taken: Vec<&HistogramRow> = taken.map(|(_, row)| row).collect();
            self.forwarder.core.offer_histograms(&taken)?;
        }
        Ok(report)
    }

    fn append_exemplars(&self, rows: &[ExemplarRow]) -> Result<ExemplarReport, AppendError> {
        let report = self.store.append_exemplars(rows)?;
        if !self.forwarder.core.is_idle() {
            let mut refused = report.refused.iter().map(|r| r.row).peekable();
            let taken = rows.iter().enumerate().filter(|(row, _)| refused.next_if_eq(row).is_none());
            let taken: Vec<&ExemplarRow> = taken.map(|(_, row)| row).collect();
            self.forwarder.core.offer_exemplars(&taken)?;
        }
        Ok(report)
    }

    /// Durable means both: the store's log and the queue's.
    fn when_durable(&self, commit: Commit, done: Durable) {
        match self.forwarder.syncer() {
            Some(syncer) => {
                let queued = move |stored: Result<(), AppendError>| match stored {
                    Ok(()) => syncer.when_synced(done),
                    Err(error) => done(Err(error)),
                };
                self.store.when_durable(commit, Box::new(queued));
            }
            None => self.store.when_durable(commit, done),
        }
    }
}
