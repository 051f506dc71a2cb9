//! The way of a batch into memory.
//!
//! Rows of known series are looked up and pushed under one read lock per few thousand rows. What needs more than that waits
//! until the lock is released: new series, whose labels are decoded then, and samples that a sealed block may have.

use model::{AppendReport, Batch, EncodedBatch, Labels, Refusal, RefusalReason, Sample, TimestampMs, Value};

use crate::catalog::{Catalog, SLICE};
use crate::encoded::Key;
use crate::head::{Head, SeriesRef};
use crate::index::Index;
use crate::series::{Growth, Locks, Pushed, Series, State};

/// So many new series are created before readers get a turn at the index.
const CREATIONS: usize = 128;

/// What a batch may contain, and what is known about it already.
pub struct Bounds<'a> {
    /// Samples before this are out of bounds. Milliseconds.
    pub oldest_ms: i64,
    /// Samples after this are too far in the future.
    pub newest_ms: i64,
    /// No sample after this was ever sealed.
    pub sealed_until_ms: i64,
    /// What a series has at exactly that time in a sealed block. Asked only for times up to `sealed_until_ms`, and while
    /// no lock is held.
    pub sealed: &'a dyn Fn(&Labels, TimestampMs) -> Option<Value>,
}

/// The samples of a batch that are stored now and were not before: what belongs into the log. Kept by the caller and
/// used again.
#[derive(Debug, Default, Clone)]
pub struct Accepted {
    /// Their series.
    pub series: Vec<SeriesRef>,
    /// Their times in milliseconds.
    pub timestamps: Vec<i64>,
    /// Their values.
    pub values: Vec<f64>,
    /// Series of these rows that are not defined in this generation's log yet (now and then one twice).
    pub undefined: Vec<SeriesRef>,
}

impl Accepted {
    /// Forgets the samples, keeps the memory.
    pub fn clear(&mut self) {
        self.series.clear();
        self.timestamps.clear();
        self.values.clear();
        self.undefined.clear();
    }
}

/// The rows of a batch, whatever form their labels have.
trait Rows {
    fn len(&self) -> usize;
    fn bytes(&self, row: usize) -> &[u8];
    fn sample(&self, row: usize) -> Sample;
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
    fn sample(&self, row: usize) -> Sample {
        self.rows[row].sample
    }

    fn labels(&self, row: usize) -> Result<Labels, RefusalReason> {
        self.decoder.decode(self.rows[row].labels)
    }
}

impl Rows for Batch {
    fn len(&self) -> usize {
        self.rows.len()
    }

    #[inline]
    fn bytes(&self, row: usize) -> &[u8] {
        self.rows[row].labels.as_bytes()
    }

    #[inline]
    fn sample(&self, row: usize) -> Sample {
        self.rows[row].sample
    }

    fn labels(&self, row: usize) -> Result<Labels, RefusalReason> {
        Ok(self.rows[row].labels.clone())
    }
}

/// Memory that appends use one after another.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Rows within the bounds of time, and their keys.
    rows: Vec<(usize, Key)>,
    /// The same with the series that were found.
    found: Vec<(usize, u32)>,
}

/// A sample that a block may have as well.
struct Late {
    row: usize,
    reference: u32,
    series: Series,
}

/// One append under way.
struct Call<'a> {
    head: &'a Head,
    bounds: &'a Bounds<'a>,
    accepted: &'a mut Accepted,
    generation: u32,
    report: AppendReport,
    late: Vec<Late>,
    grown: Growth,
    /// Bytes by which the index grew, roughly.
    created: i64,
    oldest: i64,
    newest: i64,
}

impl Head {
    /// Stores what can be stored. Of every row the report says whether it was, was already (the same value at the same
    /// time), or was refused and why; `accepted` is overwritten with those that are new.
    ///
    /// May run beside everything but [`Head::cut`].
    pub fn append(&self, batch: &EncodedBatch<'_>, bounds: &Bounds<'_>, accepted: &mut Accepted) -> AppendReport {
        self.append_rows(batch, self.keys.context(batch.context), bounds, accepted)
    }

    /// As [`Head::append`], for rows whose labels are decoded.
    pub fn append_batch(&self, batch: &Batch, bounds: &Bounds<'_>, accepted: &mut Accepted) -> AppendReport {
        self.append_rows(batch, self.keys.own_context(), bounds, accepted)
    }

    fn append_rows(
        &self,
        rows: &impl Rows,
        context: Key,
        bounds: &Bounds<'_>,
        accepted: &mut Accepted,
    ) -> AppendReport {
        accepted.clear();
        let catalog = self.catalog();
        let mut call = Call {
            head: self,
            bounds,
            accepted,
            generation: self.generation(),
            report: AppendReport::default(),
            late: Vec::new(),
            grown: Growth::default(),
            created: 0,
            oldest: i64::MAX,
            newest: i64::MIN,
        };
        let mut scratch = self.scratch.lock().pop().unwrap_or_default();
        let mut unknown = Vec::new();
        // Where in the sender's order the series are; known after the first.
        let mut guess = 0;
        for start in (0..rows.len()).step_by(SLICE) {
            let slice = start..rows.len().min(start + SLICE);
            call.key_rows(rows, slice, context, &mut scratch.rows);
            call.push_known(rows, &catalog, &mut scratch, &mut guess, &mut unknown);
        }
        self.scratch.lock().push(scratch);
        if !unknown.is_empty() {
            unknown.chunks(CREATIONS).for_each(|slice| call.push_unknown(rows, &catalog, slice));
            self.measure(&catalog);
        }
        call.push_late(rows, &catalog);
        call.finish()
    }
}

impl Call<'_> {
    /// Lists the rows that are within the bounds of time, with their keys.
    fn key_rows(
        &mut self,
        rows: &impl Rows,
        slice: std::ops::Range<usize>,
        context: Key,
        keyed: &mut Vec<(usize, Key)>,
    ) {
        keyed.clear();
        let mut last: (&[u8], Key) = (&[], self.head.keys.key(context, &[]));
        for row in slice {
            let timestamp = rows.sample(row).timestamp.0;
            if timestamp > self.bounds.newest_ms {
                self.refuse(row, RefusalReason::TooFarInFuture);
                continue;
            }
            if timestamp < self.bounds.oldest_ms {
                self.refuse(row, RefusalReason::OutOfBounds);
                continue;
            }
            let bytes = rows.bytes(row);
            // The very same bytes, not equal ones: samples that a sender put into one series.
            if !std::ptr::eq(bytes, last.0) {
                last = (bytes, self.head.keys.key(context, bytes));
            }
            keyed.push((row, last.1));
        }
    }

    /// Pushes the rows of series that are known, and lists the others.
    fn push_known(
        &mut self,
        rows: &impl Rows,
        catalog: &Catalog,
        scratch: &mut Scratch,
        guess: &mut usize,
        unknown: &mut Vec<(usize, Key)>,
    ) {
        let Scratch { rows: keyed, found } = scratch;
        found.clear();
        let index = catalog.index.read();
        let mut last: Option<(Key, u32)> = None;
        for (row, key) in keyed.iter() {
            let series = match last {
                Some((known, series)) if known == *key => Some(series),
                _ => index.encoded.find(*key, guess),
            };
            match series {
                Some(series) => {
                    last = Some((*key, series));
                    found.push((*row, series));
                }
                None => unknown.push((*row, *key)),
            }
        }
        let mut locks = Locks::default();
        for (row, reference) in found.iter() {
            let (series, sample) = (&index.series()[*reference as usize], rows.sample(*row));
            if self.is_late(&sample) {
                self.late.push(Late { row: *row, reference: *reference, series: series.clone() });
            } else {
                self.push(*row, *reference, locks.of(series), sample);
            }
        }
    }

    /// Pushes the rows of series that are new, or known by other bytes only.
    fn push_unknown(&mut self, rows: &impl Rows, catalog: &Catalog, unknown: &[(usize, Key)]) {
        let mut last: Option<Key> = None;
        let decode = |(row, key): &(usize, Key)| {
            // Rows of one series share what the first of them was decoded to.
            let known = last.replace(*key) == Some(*key);
            (!known).then(|| rows.labels(*row).and_then(|labels| self.head.check(&labels)))
        };
        let decoded: Vec<_> = unknown.iter().map(decode).collect();
        let mut index = catalog.index.write();
        let mut current: Result<u32, RefusalReason> = Err(RefusalReason::InvalidLabels);
        for ((row, key), labels) in unknown.iter().zip(decoded) {
            if let Some(labels) = labels {
                let grown = self.grown.bytes + self.created;
                let known = labels.and_then(|labels| self.head.known_or_new(&mut index, *key, &labels, grown));
                current = known.map(|(reference, created)| {
                    self.created += created;
                    reference
                });
            }
            match current {
                Ok(reference) => {
                    let (series, sample) = (&index.series()[reference as usize], rows.sample(*row));
                    if self.is_late(&sample) {
                        self.late.push(Late { row: *row, reference, series: series.clone() });
                    } else {
                        self.push(*row, reference, &mut series.lock(), sample);
                    }
                }
                Err(reason) => self.refuse(*row, reason),
            }
        }
    }

    /// Whether a sealed block may have a sample's time.
    #[inline]
    fn is_late(&self, sample: &Sample) -> bool {
        sample.timestamp.0 <= self.bounds.sealed_until_ms
    }

    #[inline]
    fn push(&mut self, row: usize, reference: u32, series: &mut State, sample: Sample) {
        let pushed = series.push(sample.timestamp.0, sample.value, &mut self.grown);
        match pushed {
            Pushed::Stored => {
                let timestamp = sample.timestamp.0;
                self.accepted.series.push(SeriesRef(reference));
                self.accepted.timestamps.push(timestamp);
                self.accepted.values.push(sample.value);
                self.oldest = self.oldest.min(timestamp);
                self.newest = self.newest.max(timestamp);
                if series.defined != self.generation && self.accepted.undefined.last() != Some(&SeriesRef(reference)) {
                    self.accepted.undefined.push(SeriesRef(reference));
                }
            }
            Pushed::Duplicate => self.report.duplicates += 1,
            Pushed::Conflict => self.refuse(row, RefusalReason::DuplicateTimestamp),
        }
    }

    /// Pushes what no block has.
    fn push_late(&mut self, rows: &impl Rows, catalog: &Catalog) {
        let mut last: Option<(u32, Labels)> = None;
        for late in std::mem::take(&mut self.late) {
            let labels = match last.take() {
                Some((reference, labels)) if reference == late.reference => labels,
                _ => catalog.index.read().labels(late.reference),
            };
            let sample = rows.sample(late.row);
            match (self.bounds.sealed)(&labels, sample.timestamp) {
                Some(known) if known == Value::Float(sample.value) => self.report.duplicates += 1,
                Some(_) => self.refuse(late.row, RefusalReason::DuplicateTimestamp),
                None => self.push(late.row, late.reference, &mut late.series.lock(), sample),
            }
            last = Some((late.reference, labels));
        }
    }

    #[cold]
    fn refuse(&mut self, row: usize, reason: RefusalReason) {
        self.report.refused.push(Refusal { row, reason });
    }

    fn finish(mut self) -> AppendReport {
        self.report.appended = self.accepted.series.len();
        self.report.refused.sort_unstable_by_key(|refusal| refusal.row);
        self.head.count(self.report.appended, self.grown, (self.oldest, self.newest));
        self.report
    }
}

impl Head {
    /// The series with a label set, created where it is missing and there is room, and by how many bytes that made the
    /// index grow, roughly. `grown` is what this append has added to the memory by now.
    pub(crate) fn known_or_new(
        &self,
        index: &mut Index,
        key: Key,
        labels: &Labels,
        grown: i64,
    ) -> Result<(u32, i64), RefusalReason> {
        // Others may have created it since it was looked for.
        if let Some(series) = index.encoded.find(key, &mut usize::MAX.clone()) {
            return Ok((series, 0));
        }
        let (series, created) = match index.find(labels.iter()) {
            Some(series) => (series, 0),
            None => {
                self.admit(index, labels, grown)?;
                let series = index.create(labels.iter(), None).ok_or(RefusalReason::SeriesLimit)?;
                (series, (labels.size_bytes() + Series::BYTES) as i64)
            }
        };
        index.remember(key, series);
        Ok((series, created))
    }

    /// What a new series must not exceed.
    pub(crate) fn check(&self, labels: &Labels) -> Result<Labels, RefusalReason> {
        let options = &self.options;
        let fits = |(name, value): (&str, &str)| {
            name.len() <= options.max_label_name_bytes && value.len() <= options.max_label_value_bytes
        };
        let fine = labels.len() <= options.max_labels && labels.iter().all(fits);
        if fine { Ok(labels.clone()) } else { Err(RefusalReason::InvalidLabels) }
    }

    /// Whether there is room for one more series. `grown` is what this append has added to the memory by now.
    fn admit(&self, index: &Index, labels: &Labels, grown: i64) -> Result<(), RefusalReason> {
        if index.len() >= self.options.max_series {
            return Err(RefusalReason::SeriesLimit);
        }
        let source = &self.options.source_label;
        if let (Some(limit), Some(value)) = (self.options.max_series_per_source, labels.get(source)) {
            let has = index.pairs.find(source, value).map_or(0, |pair| index.pairs.postings(pair).len());
            if has >= limit {
                return Err(RefusalReason::SourceSeriesLimit);
            }
        }
        let bytes = self.memory_bytes().saturating_add_signed(grown);
        if self.options.max_memory_bytes.is_some_and(|limit| bytes >= limit) {
            return Err(RefusalReason::MemoryLimit);
        }
        Ok(())
    }
}
