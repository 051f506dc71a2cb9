//! A store for tests: every series in one map.

use std::collections::BTreeMap;

use model::{
    Append, AppendError, AppendReport, Batch, Labels, Matcher, MetricMetadata, Queryable, Refusal, RefusalReason,
    SampleBuffer, SelectError, Selection, StoredSeries, TimeRange, matches_all,
};
use parking_lot::RwLock;

/// Takes samples in order of time; can be told to fail reads, or writes.
#[derive(Default)]
pub(crate) struct Memory {
    series: RwLock<BTreeMap<Labels, SampleBuffer>>,
    pub(crate) broken: RwLock<bool>,
    pub(crate) full: RwLock<bool>,
}

struct Stored {
    labels: Labels,
    samples: SampleBuffer,
}

impl StoredSeries for Stored {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn read(&self, range: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError> {
        for (timestamp, value) in self.samples.timestamps.iter().zip(&self.samples.values) {
            if (range.start.0..=range.end.0).contains(timestamp) {
                into.push(*timestamp, *value);
            }
        }
        Ok(())
    }
}

impl Append for Memory {
    fn append(&self, batch: &Batch) -> Result<AppendReport, AppendError> {
        if *self.full.read() {
            return Err(AppendError::Unwritable("no space left on purpose".to_owned()));
        }
        let mut report = AppendReport::default();
        let mut series = self.series.write();
        for (row, item) in batch.rows.iter().enumerate() {
            let samples = series.entry(item.labels.clone()).or_default();
            if samples.timestamps.last().is_some_and(|t| *t >= item.sample.timestamp.0) {
                report.refused.push(Refusal { row, reason: RefusalReason::DuplicateTimestamp });
                continue;
            }
            samples.push(item.sample.timestamp.0, item.sample.value);
            report.appended += 1;
        }
        Ok(report)
    }
}

impl Queryable for Memory {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Box<dyn StoredSeries>>, SelectError> {
        if *self.broken.read() {
            return Err(SelectError::Storage("broken on purpose".to_owned()));
        }
        let series = self.series.read();
        let chosen = series.iter().filter(|(labels, _)| matches_all(selection.matchers, labels));
        let stored = |(labels, samples): (&Labels, &SampleBuffer)| {
            Box::new(Stored { labels: labels.clone(), samples: samples.clone() }) as Box<dyn StoredSeries>
        };
        Ok(chosen.map(stored).collect())
    }

    fn series(&self, _: &[Vec<Matcher>], _: TimeRange) -> Result<Vec<Labels>, SelectError> {
        Ok(self.series.read().keys().cloned().collect())
    }

    fn label_names(&self, _: &[Vec<Matcher>], _: TimeRange) -> Result<Vec<String>, SelectError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &[Vec<Matcher>], _: TimeRange) -> Result<Vec<String>, SelectError> {
        Ok(Vec::new())
    }

    fn metadata(&self) -> Vec<MetricMetadata> {
        Vec::new()
    }
}

impl Memory {
    /// The values of one series, named as PromQL shows it; `None` for a staleness marker.
    pub(crate) fn values(&self, shown: &str) -> Vec<(i64, Option<f64>)> {
        let series = self.series.read();
        let Some((_, samples)) = series.iter().find(|(labels, _)| labels.to_string() == shown) else {
            return Vec::new();
        };
        let value = |v: &f64| (!model::is_stale(*v)).then_some(*v);
        samples.timestamps.iter().zip(&samples.values).map(|(t, v)| (*t / 1000, value(v))).collect()
    }
}
