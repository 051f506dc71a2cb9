//! A store in a vector.

use std::sync::Arc;

use model::{
    Column, Hints, Labels, Matcher, MetricMetadata, Queryable, SampleBuffer, SelectError, Selection, StoredSeries,
    TimeRange, TimestampMs, is_stale, matches_all,
};

/// One series of a [`MemoryStore`].
#[derive(Debug, Clone)]
pub(crate) struct MemorySeries {
    labels: Labels,
    samples: Arc<SampleBuffer>,
    hints: Hints,
}

impl StoredSeries for MemorySeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn read(&self, range: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError> {
        for (time, value) in self.samples.timestamps.iter().zip(&self.samples.values) {
            if (range.start..=range.end).contains(&TimestampMs(*time)) {
                let counts = self.hints.rollups && self.hints.column == Column::Count && !is_stale(*value);
                into.push(*time, if counts { 1.0 } else { *value });
            }
        }
        Ok(())
    }
}

/// Holds series in order of their labels.
#[derive(Debug, Default, Clone)]
pub(crate) struct MemoryStore {
    series: Vec<MemorySeries>,
}

impl MemoryStore {
    /// Adds a series.
    pub fn add(&mut self, labels: Labels, samples: SampleBuffer) {
        let at = self.series.partition_point(|s| s.labels < labels);
        self.series.insert(at, MemorySeries { labels, samples: Arc::new(samples), hints: Hints::default() });
    }
}

impl Queryable for MemoryStore {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Box<dyn StoredSeries>>, SelectError> {
        let wanted = self.series.iter().filter(|s| matches_all(selection.matchers, &s.labels));
        let hinted = |s: &MemorySeries| MemorySeries { hints: selection.hints, ..s.clone() };
        Ok(wanted.map(|s| Box::new(hinted(s)) as Box<dyn StoredSeries>).collect())
    }

    fn series(&self, _: &[Vec<Matcher>], _: TimeRange) -> Result<Vec<Labels>, SelectError> {
        Err(SelectError::Storage("not needed by the engine".to_owned()))
    }

    fn label_names(&self, _: &[Vec<Matcher>], _: TimeRange) -> Result<Vec<String>, SelectError> {
        Err(SelectError::Storage("not needed by the engine".to_owned()))
    }

    fn label_values(&self, _: &str, _: &[Vec<Matcher>], _: TimeRange) -> Result<Vec<String>, SelectError> {
        Err(SelectError::Storage("not needed by the engine".to_owned()))
    }

    fn metadata(&self) -> Vec<MetricMetadata> {
        Vec::new()
    }
}
