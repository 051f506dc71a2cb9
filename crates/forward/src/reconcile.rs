//! What is stored and may not be queued: asked of the store, and offered unless the queue still shows that it was queued.
//! Receivers take what they have already for what it is, but for those that want everything in order.

use model::{
    AppendError, Hints, HistogramBuffer, HistogramRow, Queryable, Sample, SampleBuffer, SelectError, Selection,
    TimeRange, TimestampMs,
};
use queue::{Queue, QueueError, SeriesId};

use crate::core::{Core, Stored};

/// Samples may be this much older than the moment at which they were stored: a scrape or an evaluation takes its time.
pub(crate) const MARGIN_MS: i64 = 60_000;
/// Samples that are in memory at once.
const AT_ONCE: usize = 5_000;
/// Samples of which it is remembered that they are queued, 16 bytes each.
const MAX_KNOWN: usize = 4_000_000;

/// Why not everything was offered again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    #[error(transparent)]
    Read(#[from] SelectError),
    #[error(transparent)]
    Offer(#[from] AppendError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// Samples that are queued, in order.
struct Known(Vec<(SeriesId, i64)>);

impl Known {
    /// Those of the range that are in the queue still, delivered or not; not all where there are very many, or where the queue
    /// cannot be read: what is offered twice is sent twice.
    fn of(queue: &Queue, range: TimeRange) -> Self {
        let mut known = Vec::new();
        let outcome = queue.pushed_since(range.start, |batch| {
            known.extend(batch.series.iter().copied().zip(batch.timestamps.iter().copied()));
            known.extend(batch.histograms.iter().map(|entry| (SeriesId(entry.number), entry.timestamp)));
            known.len() < MAX_KNOWN
        });
        if let Err(error) = outcome {
            tracing::warn!(%error, "cannot read all of what was queued lately; some samples will be sent again");
        }
        known.sort_unstable();
        known.dedup();
        Self(known)
    }

    fn has(&self, series: SeriesId, timestamp: i64) -> bool {
        self.0.binary_search(&(series, timestamp)).is_ok()
    }
}

/// Offers what in `range` the store has, any destination selects, and the queue does not have. Returns how many samples
/// that are.
pub(crate) fn reconcile(core: &Core, store: &dyn Queryable, range: TimeRange) -> Result<u64, ReconcileError> {
    if core.is_idle() {
        return Ok(0);
    }
    let known = Known::of(&core.queue, range);
    let selection = Selection { matchers: &[], range, hints: Hints::default() };
    let (mut offered, mut buffer, mut histograms) = (0, SampleBuffer::default(), HistogramBuffer::default());
    let (mut stored, mut labels) = (Vec::new(), Vec::new());
    let flush = |stored: &mut Vec<Stored>, labels: &mut Vec<model::Labels>| {
        let outcome = core.offer(stored, &|series| labels.get(series).cloned(), &[]);
        stored.clear();
        labels.clear();
        outcome
    };
    for series in store.select(&selection)? {
        let named = series.labels();
        let Some(id) = core.number(named)? else { continue };
        buffer.clear();
        histograms.clear();
        series.read(range, &mut buffer)?;
        series.read_histograms(range, &mut histograms)?;
        let key = core.keys.of_labels(named);
        let lacks = |timestamp: i64| !known.has(id, timestamp);
        let before = stored.len();
        for (timestamp, value) in buffer.timestamps.iter().zip(&buffer.values).filter(|(at, _)| lacks(**at)) {
            let sample = Sample { timestamp: TimestampMs(*timestamp), value: *value };
            // The labels of a series stand where its rows say: one entry for all of them.
            stored.push(Stored { key, row: labels.len(), sample });
        }
        labels.push(named.clone());
        let rows: Vec<HistogramRow> = histograms
            .iter()
            .filter(|(at, _)| lacks(*at))
            .map(|(at, histogram)| HistogramRow {
                labels: named.clone(),
                timestamp: TimestampMs(at),
                histogram: histogram.clone(),
            })
            .collect();
        offered += (stored.len() - before + rows.len()) as u64;
        if !rows.is_empty() {
            core.offer_histograms(&rows.iter().collect::<Vec<_>>())?;
        }
        if stored.len() >= AT_ONCE {
            flush(&mut stored, &mut labels)?;
        }
    }
    flush(&mut stored, &mut labels)?;
    Ok(offered)
}

/// What may be missing when the last record was queued at `last`.
pub(crate) fn range_since(last: TimestampMs, now: TimestampMs) -> TimeRange {
    TimeRange { start: TimestampMs(last.0.saturating_sub(MARGIN_MS)), end: now }
}
