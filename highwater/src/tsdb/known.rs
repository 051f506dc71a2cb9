//! Takes out of a batch what a store has already.

use anyhow::{Context, Result};
use model::{Batch, Hints, Queryable, Row, SampleBuffer, Selection, TimeRange};

/// Sorts the rows by series and drops those whose sample is stored, to the bit. Returns how many that were.
pub fn drop_known(store: &dyn Queryable, batch: &mut Batch) -> Result<u64> {
    let times = || batch.rows.iter().map(|row| row.sample.timestamp);
    let (Some(start), Some(end)) = (times().min(), times().max()) else { return Ok(0) };
    let range = TimeRange { start, end };
    batch.rows.sort_by(|a, b| a.labels.cmp(&b.labels));
    let selection = Selection { matchers: &[], range, hints: Hints::default() };
    let stored = store.select(&selection).context("cannot read the store")?;
    let before = batch.rows.len();
    let mut kept = Vec::new();
    let mut samples = SampleBuffer::default();
    // Both are in order of labels.
    let mut stored = stored.iter().peekable();
    for rows in batch.rows.chunk_by(|a, b| a.labels == b.labels) {
        let Some(labels) = rows.first().map(|row| &row.labels) else { continue };
        while stored.next_if(|series| series.labels() < labels).is_some() {}
        samples.clear();
        if let Some(series) = stored.next_if(|series| series.labels() == labels) {
            series.read(range, &mut samples).context("cannot read the store")?;
        }
        kept.extend(rows.iter().filter(|row| !holds(&samples, row)).cloned());
    }
    batch.rows = kept;
    Ok((before - batch.rows.len()) as u64)
}

fn holds(samples: &SampleBuffer, row: &Row) -> bool {
    let found = samples.timestamps.binary_search(&row.sample.timestamp.0);
    found.is_ok_and(|at| samples.values[at].to_bits() == row.sample.value.to_bits())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use disk::RealDisk;
    use model::{Append, Labels, Sample, TimestampMs, stale_nan};
    use tempfile::TempDir;
    use tsdb::{Store, StoreOptions};

    use super::*;

    fn batch(rows: &[(&str, i64, f64)]) -> Batch {
        let mut out = Batch::default();
        for (name, timestamp, value) in rows {
            let sample = Sample { timestamp: TimestampMs(*timestamp), value: *value };
            out.push(Labels::from_pairs([("__name__", name)]), sample);
        }
        out
    }

    #[test]
    fn only_what_is_stored_to_the_bit_is_dropped() {
        let folder = TempDir::new().expect("a folder");
        let clock = Arc::new(|| TimestampMs(1_000_000));
        let store = Store::open(Arc::new(RealDisk), folder.path(), StoreOptions::default(), clock).expect("opens");
        store.append(&batch(&[("a", 1, 1.0), ("a", 2, stale_nan()), ("c", 1, 3.0)])).expect("stores");
        let news = [("b", 1, 1.0), ("a", 2, f64::NAN), ("a", 3, 1.0), ("c", 2, 3.0), ("d", 1, 1.0)];
        let known = [("c", 1, 3.0), ("a", 1, 1.0), ("a", 2, stale_nan())];
        let mut rows = batch(&[&known[..], &news[..]].concat());
        assert_eq!(drop_known(&*store, &mut rows).expect("reads"), 3);
        let mut want = batch(&news);
        want.rows.sort_by(|a, b| a.labels.cmp(&b.labels));
        assert_eq!(rows, want);
        store.close().expect("closes");
    }
}
