//! What the store has of a series already.

use model::{
    Hints, HistogramBuffer, Labels, Matcher, Queryable, SampleBuffer, SelectError, Selection, TimeRange, TimestampMs,
    Value, is_stale,
};

/// Reads samples; keeps the memory for it.
pub(crate) struct Past<'a> {
    store: &'a dyn Queryable,
    samples: SampleBuffer,
    histograms: HistogramBuffer,
}

impl<'a> Past<'a> {
    pub(crate) fn new(store: &'a dyn Queryable) -> Self {
        Self { store, samples: SampleBuffer::default(), histograms: HistogramBuffer::default() }
    }

    /// The samples of a series within a range, both ends included.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn samples(&mut self, labels: &Labels, from: i64, to: i64) -> Result<Stored, SelectError> {
        let range = TimeRange { start: TimestampMs(from), end: TimestampMs(to) };
        let matchers: Vec<Matcher> = labels.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
        let found = self.store.select(&Selection { matchers: &matchers, range, hints: Hints::default() })?;
        self.samples.clear();
        self.histograms.clear();
        // Others have these labels and more.
        for series in found.iter().filter(|series| series.labels() == labels) {
            series.read(range, &mut self.samples)?;
            series.read_histograms(range, &mut self.histograms)?;
        }
        let samples = self.samples.timestamps.iter().zip(&self.samples.values);
        let (markers, samples): (Vec<_>, Vec<_>) = samples.partition(|(_, value)| is_stale(**value));
        let mut all: Vec<(i64, Option<u64>)> =
            samples.iter().map(|(at, value)| (**at, Some(value.to_bits()))).collect();
        if !self.histograms.is_empty() {
            all.extend(self.histograms.timestamps.iter().map(|at| (*at, None)));
            all.sort_unstable();
        }
        let (times, values) = all.into_iter().unzip();
        Ok(Stored { times, values, markers: markers.into_iter().map(|(at, _)| *at).collect() })
    }
}

/// Samples as the store has them, staleness markers apart.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// Ascending.
    pub(crate) times: Vec<i64>,
    /// The bits of as many values; `None` for histograms.
    values: Vec<Option<u64>>,
    /// When there are staleness markers, ascending.
    markers: Vec<i64>,
}

impl Stored {
    /// Whether this very sample is among them.
    pub(crate) fn has(&self, at: i64, value: &Value) -> bool {
        let bits = match value {
            Value::Float(value) if is_stale(*value) => return self.markers.binary_search(&at).is_ok(),
            Value::Float(value) => Some(value.to_bits()),
            Value::Histogram(_) => None,
        };
        self.times.binary_search(&at).is_ok_and(|place| self.values.get(place) == Some(&bits))
    }

    /// Whether any of them is nearer than that.
    pub(crate) fn is_near(&self, at: i64, near: i64) -> bool {
        let first = self.times.partition_point(|time| *time <= at.saturating_sub(near));
        self.times.get(first).is_some_and(|time| *time < at.saturating_add(near))
    }
}
