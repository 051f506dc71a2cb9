//! The way of native histograms into memory: the same outcomes as for samples, one row after another. They are few, so
//! nothing is shared between rows but the catalog.

use model::{AppendReport, EncodedHistogram, HistogramRow, Refusal, RefusalReason, Value};

use crate::append::Bounds;
use crate::catalog::Catalog;
use crate::head::{Head, SeriesRef, Span};
use crate::series::{Growth, Pushed, Series};

/// The histograms of an append that are stored now and were not before: what belongs into the log.
#[derive(Debug, Default, Clone)]
pub struct AcceptedHistograms {
    /// Series, time in milliseconds, histogram.
    pub rows: Vec<(SeriesRef, i64, EncodedHistogram)>,
    /// Series of these rows that are not defined in this generation's log yet (now and then one twice).
    pub undefined: Vec<SeriesRef>,
}

impl Head {
    /// Stores what can be stored; `accepted` is overwritten with what is new.
    ///
    /// May run beside everything but [`Head::cut`].
    pub fn append_histograms(
        &self,
        rows: &[HistogramRow],
        bounds: &Bounds<'_>,
        accepted: &mut AcceptedHistograms,
    ) -> AppendReport {
        accepted.rows.clear();
        accepted.undefined.clear();
        let (catalog, generation) = (self.catalog(), self.generation());
        let mut report = AppendReport::default();
        let (mut grown, mut created, mut span) = (Growth::default(), 0, (i64::MAX, i64::MIN));
        for (row, HistogramRow { labels, timestamp, histogram }) in rows.iter().enumerate() {
            let place = within(timestamp.0, bounds).and_then(|()| self.place(&catalog, labels, grown.bytes + created));
            let (reference, series, costs) = match place {
                Ok(place) => place,
                Err(reason) => {
                    report.refused.push(Refusal { row, reason });
                    continue;
                }
            };
            created += costs;
            let is_late = timestamp.0 <= bounds.sealed_until_ms;
            let known = is_late.then(|| (bounds.sealed)(labels, *timestamp)).flatten();
            let mut state = series.lock();
            let pushed = match known {
                Some(known) if known == Value::Histogram(histogram.clone()) => Pushed::Duplicate,
                Some(_) => Pushed::Conflict,
                None => state.push_histogram(timestamp.0, histogram.clone(), &mut grown),
            };
            match pushed {
                Pushed::Stored => {
                    accepted.rows.push((reference, timestamp.0, histogram.clone()));
                    span = (span.0.min(timestamp.0), span.1.max(timestamp.0));
                    if state.defined != generation {
                        accepted.undefined.push(reference);
                    }
                }
                Pushed::Duplicate => report.duplicates += 1,
                Pushed::Conflict => {
                    report.refused.push(Refusal { row, reason: RefusalReason::DuplicateTimestamp });
                }
            }
        }
        accepted.undefined.dedup();
        report.appended = accepted.rows.len();
        self.count(report.appended, grown, span);
        if created > 0 {
            self.measure(&catalog);
        }
        report
    }

    /// The series with these labels, created where it is missing, and by how many bytes that made the index grow.
    fn place(
        &self,
        catalog: &Catalog,
        labels: &model::Labels,
        grown: i64,
    ) -> Result<(SeriesRef, Series, i64), RefusalReason> {
        let key = self.keys.key(self.keys.own_context(), labels.as_bytes());
        let index = catalog.index.read();
        if let Some(reference) = index.encoded.find(key, &mut usize::MAX.clone()) {
            let series = index.series().get(reference as usize).cloned();
            return series.map(|series| (SeriesRef(reference), series, 0)).ok_or(RefusalReason::InvalidLabels);
        }
        drop(index);
        let labels = self.check(labels)?;
        let mut index = catalog.index.write();
        let (reference, created) = self.known_or_new(&mut index, key, &labels, grown)?;
        let series = index.series().get(reference as usize).cloned().ok_or(RefusalReason::SeriesLimit)?;
        Ok((SeriesRef(reference), series, created))
    }

    /// Adds histograms of a replayed log; those that contradict what is there, or that belong to no series, are ignored.
    /// Returns how many were new.
    pub fn restore_histograms(&self, rows: &[(SeriesRef, i64, EncodedHistogram)]) -> usize {
        let catalog = self.catalog();
        let index = catalog.index.read();
        let (mut stored, mut grown, mut span): (_, _, Span) = (0, Growth::default(), (i64::MAX, i64::MIN));
        for (series, timestamp, histogram) in rows {
            let Some(series) = index.series().get(series.0 as usize) else { continue };
            if series.lock().push_histogram(*timestamp, histogram.clone(), &mut grown) == Pushed::Stored {
                stored += 1;
                span = (span.0.min(*timestamp), span.1.max(*timestamp));
            }
        }
        drop(index);
        self.measure(&catalog);
        self.count(stored, grown, span);
        stored
    }
}

fn within(timestamp: i64, bounds: &Bounds<'_>) -> Result<(), RefusalReason> {
    if timestamp > bounds.newest_ms {
        return Err(RefusalReason::TooFarInFuture);
    }
    if timestamp < bounds.oldest_ms { Err(RefusalReason::OutOfBounds) } else { Ok(()) }
}
