//! A store that remembers.

use super::*;

/// Takes everything, and can be asked for it; also for what a process before this one stored.
#[derive(Default)]
pub(super) struct Past(Mutex<Vec<(Labels, i64, f64)>>);

impl Past {
    pub(super) fn of(rows: impl IntoIterator<Item = (Labels, i64, f64)>) -> Self {
        Self(Mutex::new(rows.into_iter().collect()))
    }
}

impl Append for Past {
    fn append(&self, batch: &Batch) -> Result<AppendReport, AppendError> {
        let row = |row: &model::Row| (row.labels.clone(), row.sample.timestamp.0, row.sample.value);
        self.0.lock().extend(batch.rows.iter().map(row));
        Ok(AppendReport::default())
    }
}

struct PastSeries(Labels, i64, f64);

impl model::StoredSeries for PastSeries {
    fn labels(&self) -> &Labels {
        &self.0
    }

    fn read(&self, range: model::TimeRange, into: &mut model::SampleBuffer) -> Result<(), model::SelectError> {
        if (range.start.0..=range.end.0).contains(&self.1) {
            into.push(self.1, self.2);
        }
        Ok(())
    }
}

impl model::Queryable for Past {
    fn select(&self, _: &model::Selection<'_>) -> Result<Vec<Box<dyn model::StoredSeries>>, model::SelectError> {
        let series = |(labels, at, value): &(Labels, i64, f64)| {
            Box::new(PastSeries(labels.clone(), *at, *value)) as Box<dyn model::StoredSeries>
        };
        Ok(self.0.lock().iter().map(series).collect())
    }

    fn series(&self, _: &[Vec<model::Matcher>], _: model::TimeRange) -> Result<Vec<Labels>, model::SelectError> {
        Ok(Vec::new())
    }

    fn label_names(&self, _: &[Vec<model::Matcher>], _: model::TimeRange) -> Result<Vec<String>, model::SelectError> {
        Ok(Vec::new())
    }

    fn label_values(
        &self,
        _: &str,
        _: &[Vec<model::Matcher>],
        _: model::TimeRange,
    ) -> Result<Vec<String>, model::SelectError> {
        Ok(Vec::new())
    }

    fn metadata(&self) -> Vec<model::MetricMetadata> {
        Vec::new()
    }
}
