//! What is offered, whatever form it has: encoded rows, decoded ones, histograms; and what is to be stored of it.

use model::{Batch, EncodedBatch, HistogramRow, Labels, RefusalReason, Row, Sample, TimestampMs, Value};
use sources::{InputGuard, Inputs};

/// Rows of one append.
pub(crate) trait Rows {
    fn len(&self) -> usize;
    /// What tells one label set from another.
    fn bytes(&self, row: usize) -> &[u8];
    fn at(&self, row: usize) -> i64;
    fn value(&self, row: usize) -> Value;
    /// # Errors
    /// When the bytes are no label set.
    fn labels(&self, row: usize) -> Result<Labels, RefusalReason>;
}

impl Rows for EncodedBatch<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    #[inline]
    fn bytes(&self, row: usize) -> &[u8] {
        self.rows[row].labels
    }

    #[inline]
    fn at(&self, row: usize) -> i64 {
        self.rows[row].sample.timestamp.0
    }

    #[inline]
    fn value(&self, row: usize) -> Value {
        Value::Float(self.rows[row].sample.value)
    }

    fn labels(&self, row: usize) -> Result<Labels, RefusalReason> {
        self.decoder.decode(self.rows[row].labels)
    }
}

impl Rows for [Row] {
    fn len(&self) -> usize {
        self.len()
    }

    #[inline]
    fn bytes(&self, row: usize) -> &[u8] {
        self[row].labels.as_bytes()
    }

    #[inline]
    fn at(&self, row: usize) -> i64 {
        self[row].sample.timestamp.0
    }

    #[inline]
    fn value(&self, row: usize) -> Value {
        Value::Float(self[row].sample.value)
    }

    fn labels(&self, row: usize) -> Result<Labels, RefusalReason> {
        Ok(self[row].labels.clone())
    }
}

impl Rows for [HistogramRow] {
    fn len(&self) -> usize {
        self.len()
    }

    fn bytes(&self, row: usize) -> &[u8] {
        self[row].labels.as_bytes()
    }

    fn at(&self, row: usize) -> i64 {
        self[row].timestamp.0
    }

    fn value(&self, row: usize) -> Value {
        Value::Histogram(self[row].histogram.clone())
    }

    fn labels(&self, row: usize) -> Result<Labels, RefusalReason> {
        Ok(self[row].labels.clone())
    }
}

/// Which row of the request a row is; `None` for one that was held back since an earlier request.
pub(crate) type Origin = Option<usize>;

/// Rows of merged series that are to be stored.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    pub(crate) batch: Batch,
    pub(crate) origins: Vec<Origin>,
    pub(crate) histograms: Vec<HistogramRow>,
    pub(crate) histogram_origins: Vec<Origin>,
    /// Of the earliest row that was held back: its sender was answered long ago, so a watermark may be about to pass it.
    guard: Option<InputGuard>,
}

impl Merged {
    #[inline]
    pub(crate) fn push(&mut self, labels: &Labels, at: i64, value: Value, origin: Origin) {
        let timestamp = TimestampMs(at);
        match value {
            Value::Float(value) => {
                self.batch.push(labels.clone(), Sample { timestamp, value });
                self.origins.push(origin);
            }
            Value::Histogram(histogram) => {
                self.histograms.push(HistogramRow { labels: labels.clone(), timestamp, histogram });
                self.histogram_origins.push(origin);
            }
        }
    }

    /// A row that was held back, which stays registered until [`Merged::stored`].
    pub(crate) fn push_released(&mut self, inputs: &Inputs, labels: &Labels, at: i64, value: Value) {
        if self.guard.as_ref().is_none_or(|guard| guard.timestamp().0 > at) {
            self.guard = Some(inputs.begin(TimestampMs(at)));
        }
        self.push(labels, at, value, None);
    }

    /// Everything in here is stored.
    pub(crate) fn stored(&mut self) {
        self.guard = None;
    }

    /// Moves what no sender will bring again to another one.
    pub(crate) fn carry_to(&mut self, other: &mut Self) {
        other.guard = match (other.guard.take(), self.guard.take()) {
            (Some(a), Some(b)) => Some(if a.timestamp() <= b.timestamp() { a } else { b }),
            (a, b) => a.or(b),
        };
        let rows = self.batch.rows.drain(..).zip(&self.origins).filter(|(_, origin)| origin.is_none());
        other.batch.rows.extend(rows.map(|(row, _)| row));
        other.origins.resize(other.batch.rows.len(), None);
        let rows = self.histograms.drain(..).zip(&self.histogram_origins).filter(|(_, origin)| origin.is_none());
        other.histograms.extend(rows.map(|(row, _)| row));
        other.histogram_origins.resize(other.histograms.len(), None);
    }

    /// Forgets the rows, keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.batch.rows.clear();
        self.batch.metadata.clear();
        self.origins.clear();
        self.histograms.clear();
        self.histogram_origins.clear();
        self.guard = None;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batch.rows.is_empty() && self.histograms.is_empty()
    }
}
