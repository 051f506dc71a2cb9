//! A store in memory, a clock that is set, and samples by a few letters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use model::{
    Append, AppendError, AppendReport, Batch, Commit, DecodeLabels, EncodedBatch, EncodedRow, ExemplarReport,
    ExemplarRow, HistogramBuffer, HistogramRow, Labels, Matcher, MetricMetadata, Queryable, Refusal, RefusalReason,
    Sample, SampleBuffer, SelectError, Selection, StoredSeries, TimeRange, TimestampMs, Value, matches_all,
};
use parking_lot::Mutex;
use sources::Inputs;

use crate::{Replicas, ReplicasOptions};

/// What a series has.
pub(super) type Points = BTreeMap<i64, Value>;

/// Keeps everything but values below zero; fails when told to.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) series: Mutex<BTreeMap<String, (Labels, Points)>>,
    pub(super) exemplars: Mutex<Vec<ExemplarRow>>,
    pub(super) metadata: Mutex<Vec<MetricMetadata>>,
    pub(super) fails: Mutex<Option<AppendError>>,
    pub(super) reads: AtomicU64,
    /// Samples that came, stored already or not.
    pub(super) offered: AtomicU64,
}

impl Memory {
    fn take(&self, rows: impl Iterator<Item = (Labels, i64, Value)>) -> Result<AppendReport, AppendError> {
        if let Some(error) = &*self.fails.lock() {
            return Err(error.clone());
        }
        let mut report = AppendReport { commit: Commit(9), ..AppendReport::default() };
        let mut series = self.series.lock();
        for (row, (labels, at, value)) in rows.enumerate() {
            self.offered.fetch_add(1, Ordering::Relaxed);
            if matches!(value, Value::Float(value) if value < 0.0) {
                report.refused.push(Refusal { row, reason: RefusalReason::OutOfBounds });
                continue;
            }
            let (_, points) = series.entry(labels.to_string()).or_insert_with(|| (labels, Points::new()));
            match points.get(&at) {
                None => {
                    points.insert(at, value);
                    report.appended += 1;
                }
                Some(known) if *known == value => report.duplicates += 1,
                Some(_) => report.refused.push(Refusal { row, reason: RefusalReason::DuplicateTimestamp }),
            }
        }
        Ok(report)
    }

    /// The points of the only series.
    pub(super) fn points(&self) -> Points {
        let series = self.series.lock();
        assert!(series.len() <= 1, "{:?}", series.keys());
        series.values().next().map(|(_, points)| points.clone()).unwrap_or_default()
    }

    /// The times of the only series; those of markers below zero.
    pub(super) fn times(&self) -> Vec<i64> {
        let sign = |value: &Value| if matches!(value, Value::Float(v) if model::is_stale(*v)) { -1 } else { 1 };
        self.points().iter().map(|(at, value)| sign(value) * at).collect()
    }
}

impl Append for Memory {
    fn append(&self, batch: &Batch) -> Result<AppendReport, AppendError> {
        self.metadata.lock().extend(batch.metadata.iter().cloned());
        let row = |row: &model::Row| (row.labels.clone(), row.sample.timestamp.0, Value::Float(row.sample.value));
        self.take(batch.rows.iter().map(row))
    }

    fn append_histograms(&self, rows: &[HistogramRow]) -> Result<AppendReport, AppendError> {
        let row = |row: &HistogramRow| (row.labels.clone(), row.timestamp.0, Value::Histogram(row.histogram.clone()));
        self.take(rows.iter().map(row))
    }

    fn append_exemplars(&self, rows: &[ExemplarRow]) -> Result<ExemplarReport, AppendError> {
        self.exemplars.lock().extend(rows.iter().cloned());
        Ok(ExemplarReport { appended: rows.len(), ..ExemplarReport::default() })
    }
}

struct InMemory(Labels, Points);

impl StoredSeries for InMemory {
    fn labels(&self) -> &Labels {
        &self.0
    }

    fn read(&self, range: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError> {
        for (at, value) in self.1.range(range.start.0..=range.end.0) {
            if let Value::Float(value) = value {
                into.push(*at, *value);
            }
        }
        Ok(())
    }

    fn read_histograms(&self, range: TimeRange, into: &mut HistogramBuffer) -> Result<(), SelectError> {
        for (at, value) in self.1.range(range.start.0..=range.end.0) {
            if let Value::Histogram(histogram) = value {
                into.push(*at, histogram.clone());
            }
        }
        Ok(())
    }
}

impl Queryable for Memory {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Box<dyn StoredSeries>>, SelectError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let series = self.series.lock();
        let found = series.values().filter(|(labels, _)| matches_all(selection.matchers, labels));
        let boxed = |(labels, points): &(Labels, Points)| Box::new(InMemory(labels.clone(), points.clone())) as _;
        Ok(found.map(boxed).collect())
    }

    fn series(&self, _any_of: &[Vec<Matcher>], _range: TimeRange) -> Result<Vec<Labels>, SelectError> {
        Ok(self.series.lock().values().map(|(labels, _)| labels.clone()).collect())
    }

    fn label_names(&self, _any_of: &[Vec<Matcher>], _range: TimeRange) -> Result<Vec<String>, SelectError> {
        let series = self.series.lock();
        let names = series.values().flat_map(|(labels, _)| labels.iter().map(|(name, _)| name.to_owned()));
        Ok(names.collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn label_values(&self, _: &str, _: &[Vec<Matcher>], _: TimeRange) -> Result<Vec<String>, SelectError> {
        Ok(Vec::new())
    }

    fn metadata(&self) -> Vec<MetricMetadata> {
        self.metadata.lock().clone()
    }
}

/// Labels as `name=value` lines.
pub(super) struct Lines {
    pub(super) is_spelled: bool,
}

impl DecodeLabels for Lines {
    fn decode(&self, encoded: &[u8]) -> Result<Labels, RefusalReason> {
        let text = std::str::from_utf8(encoded).map_err(|_| RefusalReason::InvalidLabels)?;
        let pairs: Option<Vec<_>> = text.lines().map(|line| line.split_once('=')).collect();
        Ok(Labels::from_pairs(pairs.ok_or(RefusalReason::InvalidLabels)?))
    }

    fn spells_out(&self) -> bool {
        self.is_spelled
    }
}

/// Replicas, and what is around them.
pub(super) struct World {
    pub(super) memory: Arc<Memory>,
    pub(super) now: Arc<AtomicI64>,
    pub(super) replicas: Replicas,
    pub(super) inputs: Inputs,
}

impl Default for World {
    fn default() -> Self {
        Self::after(Arc::default())
    }
}

impl World {
    /// A process that starts with what a store has.
    pub(super) fn after(memory: Arc<Memory>) -> Self {
        Self::with(memory, &ReplicasOptions::default())
    }

    pub(super) fn with(memory: Arc<Memory>, options: &ReplicasOptions) -> Self {
        let now = Arc::new(AtomicI64::new(0));
        let clock = now.clone();
        let clock = Arc::new(move || TimestampMs(clock.load(Ordering::Relaxed)));
        let inputs = Inputs::default();
        let replicas = Replicas::new(memory.clone(), memory.clone(), options, clock, inputs.clone());
        Self { memory, now, replicas, inputs }
    }

    pub(super) fn set(&self, now_ms: i64) {
        self.now.store(now_ms, Ordering::Relaxed);
    }

    /// Sends samples of replicas of one counter, whose value is its time.
    pub(super) fn send(&self, samples: &[(&str, i64)]) -> AppendReport {
        let rows: Vec<_> = samples.iter().map(|(replica, at)| (*replica, *at, *at as f64)).collect();
        self.send_values(&rows)
    }

    pub(super) fn send_values(&self, samples: &[(&str, i64, f64)]) -> AppendReport {
        let labels = |replica: &str| format!("__name__=up\ninstance=i\nreplica={replica}");
        let encoded: Vec<_> = samples.iter().map(|(replica, ..)| labels(replica)).collect();
        let sample = |(_, at, value): &(&str, i64, f64)| Sample { timestamp: TimestampMs(*at), value: *value };
        let rows = encoded.iter().zip(samples);
        let rows: Vec<_> =
            rows.map(|(labels, of)| EncodedRow { labels: labels.as_bytes(), sample: sample(of) }).collect();
        self.send_rows(&rows)
    }

    pub(super) fn send_rows(&self, rows: &[EncodedRow<'_>]) -> AppendReport {
        let newest = rows.iter().map(|row| row.sample.timestamp.0).max().unwrap_or_default();
        self.set(newest.max(self.now.load(Ordering::Relaxed)));
        let batch = EncodedBatch { rows, context: b"lines", decoder: &Lines { is_spelled: true }, metadata: &[] };
        self.replicas.append_encoded(&batch).expect("takes them")
    }
}
