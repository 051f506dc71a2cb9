//! The arithmetic of rollups: what a row says of the samples it stands for.
//!
//! A window of resolution `r` is left-open and right-closed like every range of PromQL: (k·r - r, k·r]. Its row has the time
//! of its end. Two things split a window into several rows, so that every column stays a true statement about true
//! samples: a counter's reset (a row ends at the last sample before it and another at the first after it, so that `rate`
//! over `last` sees peak and restart), and a staleness marker (a row of its own at the marker's own time, with the marker in every column).

use block::RollupBuffer;
use model::is_stale;

/// The end of the window that a time lies in.
pub(crate) fn window_end(timestamp: i64, resolution: i64) -> i64 {
    let start = timestamp.div_euclid(resolution).saturating_mul(resolution);
    if start == timestamp { timestamp } else { start.saturating_add(resolution) }
}

/// The row that is being added to.
struct Row {
    count: f64,
    sum: f64,
    min: f64,
    max: f64,
    last: f64,
    last_at: i64,
    end: i64,
    /// It begins with a counter's restart.
    restart: bool,
}

impl Row {
    fn marker(at: i64, value: f64) -> Self {
        Self { count: value, sum: value, min: value, max: value, last: value, last_at: at, end: at, restart: false }
    }

    fn first(at: i64, value: f64, end: i64, restart: bool) -> Self {
        Self { count: 1.0, sum: value, min: value, max: value, last: value, last_at: at, end, restart }
    }

    fn add(&mut self, at: i64, value: f64) {
        self.count += 1.0;
        self.sum += value;
        // The smaller of a number and NaN is the number, as in `min_over_time`.
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.last = value;
        self.last_at = at;
    }

    fn close(&self, timestamp: i64, into: &mut RollupBuffer) {
        into.timestamps.push(timestamp);
        into.count.push(self.count);
        into.sum.push(self.sum);
        into.min.push(self.min);
        into.max.push(self.max);
        into.last.push(self.last);
    }
}

/// Adds the rows of some samples, which are in order of time, to `into`. Of a counter, resets split windows.
pub(crate) fn roll_up(timestamps: &[i64], values: &[f64], resolution: i64, counter: bool, into: &mut RollupBuffer) {
    let mut row: Option<Row> = None;
    // Kept over windows and staleness: a reset may hide there too.
    let mut before = f64::NEG_INFINITY;
    for (&at, &value) in timestamps.iter().zip(values) {
        if is_stale(value) {
            if let Some(open) = row.take() {
                open.close(open.last_at, into);
            }
            Row::marker(at, value).close(at, into);
            continue;
        }
        let end = window_end(at, resolution);
        let reset = counter && value < before;
        before = value;
        match &mut row {
            Some(open) if open.end == end && !reset && !open.restart => {
                open.add(at, value);
                continue;
            }
            Some(open) if open.end == end => open.close(open.last_at, into),
            Some(open) => open.close(open.end, into),
            None => {}
        }
        row = Some(Row::first(at, value, end, reset));
    }
    if let Some(open) = row {
        open.close(open.end, into);
    }
}

#[cfg(test)]
mod tests {
    use model::stale_nan;
    use proptest::prelude::*;

    use super::*;

    fn rolled(samples: &[(i64, f64)], counter: bool) -> RollupBuffer {
        let (timestamps, values): (Vec<i64>, Vec<f64>) = samples.iter().copied().unzip();
        let mut rows = RollupBuffer::default();
        roll_up(&timestamps, &values, 100, counter, &mut rows);
        rows
    }

    #[test]
    fn windows_are_left_open() {
        let rows = rolled(&[(1, 1.0), (100, 2.0), (101, 3.0), (300, 4.0)], false);
        assert_eq!(rows.timestamps, [100, 200, 300]);
        assert_eq!(rows.count, [2.0, 1.0, 1.0]);
        assert_eq!((rows.sum[0], rows.min[0], rows.max[0], rows.last[0]), (3.0, 1.0, 2.0, 2.0));
    }

    #[test]
    fn a_reset_splits_a_counters_window_and_no_gauges() {
        let samples = [(10, 100.0), (20, 110.0), (30, 5.0), (40, 20.0)];
        let rows = rolled(&samples, true);
        assert_eq!(
            (rows.timestamps, rows.last, rows.count),
            (vec![20, 30, 100], vec![110.0, 5.0, 20.0], vec![2.0, 1.0, 1.0])
        );
        assert_eq!(rolled(&samples, false).timestamps, [100]);
    }

    #[test]
    fn staleness_stays_where_it_was() {
        let rows = rolled(&[(10, 1.0), (20, stale_nan()), (30, 2.0)], false);
        assert_eq!((rows.timestamps, rows.count[0], rows.count[2]), (vec![10, 20, 100], 1.0, 1.0));
        assert!([rows.count, rows.sum, rows.min, rows.max, rows.last].iter().all(|column| is_stale(column[1])));
    }

    /// What `increase` adds up over neighbouring values.
    fn increase(values: impl Iterator<Item = f64>) -> f64 {
        let mut before = None;
        values.fold(0.0, |sum, value| match before.replace(value) {
            Some(before) if value < before => sum + value,
            Some(before) => sum + value - before,
            None => sum,
        })
    }

    proptest! {
        #[test]
        fn nothing_is_lost_in_a_row(gaps in prop::collection::vec((1i64..80, 0u8..20, prop::bool::weighted(0.1)), 1..60)) {
            let mut at = 0;
            let samples: Vec<(i64, f64)> = gaps.iter().map(|(gap, value, stale)| {
                at += gap;
                (at, if *stale { stale_nan() } else { f64::from(*value) })
            }).collect();
            let rows = rolled(&samples, true);
            prop_assert!(rows.timestamps.windows(2).all(|w| w[0] < w[1]), "{:?}", rows.timestamps);
            let real: Vec<f64> = samples.iter().map(|s| s.1).filter(|v| !is_stale(*v)).collect();
            let total = |column: &[f64]| column.iter().filter(|v| !is_stale(**v)).sum::<f64>();
            prop_assert_eq!(total(&rows.count), real.len() as f64);
            prop_assert_eq!(total(&rows.sum), real.iter().sum::<f64>());
            let lasts = || rows.last.iter().copied().filter(|v| !is_stale(*v));
            // From the first row's last value on, nothing of the increase is missing.
            let first = rows.count.iter().position(|count| !is_stale(*count)).map_or(0, |at| rows.timestamps[at]);
            let from = samples.iter().take_while(|s| s.0 <= first).filter(|s| !is_stale(s.1)).count();
            let seen = &real[from.saturating_sub(1)..];
            prop_assert_eq!(increase(lasts()), increase(seen.iter().copied()));
        }
    }
}
