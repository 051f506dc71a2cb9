//! Reading a store for a comparison: series by series, so that memory holds one series' samples and the digests.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{
    Hints, Matcher, Queryable, Row, Sample, SampleBuffer, SelectError, Selection, StoredSeries, TimeRange, TimestampMs,
};

use crate::digest::{Digest, SeriesHash, Shards};
use crate::scope::Scope;

/// The digests of one window by source; sources without samples are left out.
pub(crate) type BySource = BTreeMap<String, Digest>;
/// The digests of windows, oldest first.
pub(crate) type Windows = Vec<(i64, Arc<BySource>)>;

/// A span of time that windows divide, its end excluded. Never longer than its limits say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
}

impl Span {
    pub(crate) fn range(self) -> TimeRange {
        TimeRange { start: TimestampMs(self.start_ms), end: TimestampMs(self.end_ms.saturating_sub(1)) }
    }

    pub(crate) fn holds(self, timestamp_ms: i64) -> bool {
        (self.start_ms..self.end_ms).contains(&timestamp_ms)
    }

    /// The starts of its windows.
    pub(crate) fn windows(self, window_ms: i64) -> impl Iterator<Item = i64> {
        let count = self.end_ms.saturating_sub(self.start_ms).max(0) / window_ms.max(1);
        (0..count).map(move |i| self.start_ms + i * window_ms)
    }
}

/// What was asked for is more than one answer may hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SurveyError {
    #[error(transparent)]
    Select(#[from] SelectError),
    #[error("more than {0} samples are asked for at once; ask for fewer shards, or set a shorter window")]
    TooMany(usize),
}

/// A store, and what of it is compared.
#[derive(Clone)]
pub(crate) struct Survey {
    pub(crate) storage: Arc<dyn Queryable>,
    pub(crate) scope: Arc<Scope>,
}

impl Survey {
    /// The sources within a span, the nameless one among them.
    fn sources(&self, span: Span) -> Result<Vec<String>, SelectError> {
        let mut sources = vec![String::new()];
        sources.extend(self.storage.label_values(self.scope.source_label(), self.scope.any_of(), span.range())?);
        Ok(sources)
    }

    /// Calls `each` with every compared series of a source.
    fn each_series<E: From<SelectError>>(
        &self,
        source: &str,
        span: Span,
        mut each: impl FnMut(SeriesHash, &dyn StoredSeries) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut scratch = Vec::new();
        for (list, matchers) in self.scope.any_of().iter().enumerate() {
            let of_source = Matcher::equal(self.scope.source_label(), source);
            let matchers: Vec<Matcher> = matchers.iter().cloned().chain([of_source]).collect();
            let selection = Selection { matchers: &matchers, range: span.range(), hints: Hints::default() };
            for series in self.storage.select(&selection)? {
                let labels = series.labels();
                if self.scope.takes(list, labels) {
                    each(SeriesHash::of(labels, &mut scratch), &*series)?;
                }
            }
        }
        Ok(())
    }

    /// The digests of every window of a span. Windows without samples are there, and empty.
    pub(crate) fn windows(&self, span: Span, window_ms: i64) -> Result<Vec<(i64, BySource)>, SelectError> {
        let mut windows: Vec<(i64, BySource)> = span.windows(window_ms).map(|at| (at, BySource::new())).collect();
        let mut buffer = SampleBuffer::default();
        for source in self.sources(span)? {
            let mut digests = vec![Digest::default(); windows.len()];
            self.each_series(&source, span, |hash, series| {
                buffer.clear();
                series.read(span.range(), &mut buffer)?;
                for (at, value) in buffer.timestamps.iter().zip(&buffer.values) {
                    let window = usize::try_from((at - span.start_ms) / window_ms).unwrap_or(usize::MAX);
                    if let Some(digest) = digests.get_mut(window) {
                        digest.add(hash, *at, *value);
                    }
                }
                Ok::<(), SelectError>(())
            })?;
            for ((_, by_source), digest) in windows.iter_mut().zip(digests) {
                if !digest.is_empty() {
                    by_source.insert(source.clone(), digest);
                }
            }
        }
        Ok(windows)
    }

    /// The digests of the parts of a source; empty parts are left out.
    pub(crate) fn shards(
        &self,
        source: &str,
        span: Span,
        shards: Shards,
    ) -> Result<BTreeMap<u16, Digest>, SelectError> {
        let mut parts = BTreeMap::<u16, Digest>::new();
        let mut buffer = SampleBuffer::default();
        self.each_series(source, span, |hash, series| {
            buffer.clear();
            series.read(span.range(), &mut buffer)?;
            if !buffer.is_empty() {
                let digest = parts.entry(hash.shard(shards)).or_default();
                buffer.timestamps.iter().zip(&buffer.values).for_each(|(at, value)| digest.add(hash, *at, *value));
            }
            Ok::<(), SelectError>(())
        })?;
        Ok(parts)
    }

    /// The samples of some parts of a source, at most `limit`. Those of a series follow one another.
    pub(crate) fn samples(
        &self,
        source: &str,
        span: Span,
        shards: Shards,
        parts: &[u16],
        limit: usize,
    ) -> Result<Vec<Row>, SurveyError> {
        let (mut rows, mut buffer) = (Vec::new(), SampleBuffer::default());
        self.each_series(source, span, |hash, series| {
            if !parts.contains(&hash.shard(shards)) {
                return Ok(());
            }
            buffer.clear();
            series.read(span.range(), &mut buffer)?;
            if rows.len() + buffer.len() > limit {
                return Err(SurveyError::TooMany(limit));
            }
            let labels = series.labels();
            rows.extend(buffer.timestamps.iter().zip(&buffer.values).map(|(at, value)| Row {
                labels: labels.clone(),
                sample: Sample { timestamp: TimestampMs(*at), value: *value },
            }));
            Ok(())
        })?;
        Ok(rows)
    }
}
