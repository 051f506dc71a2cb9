//! The functions over windows themselves. Each fills a column from the samples of one series; what can be carried from
//! one window to the next is.

use model::SampleBuffer;

use super::absent;
use super::extrapolation::extrapolated;
use super::math::{Deviation, KahanSum, mean, quantile};
use super::range::Windows;
use super::sliding::{Fold, Sliding};
use crate::plan::RangeFunction;

/// Memory that is reused from series to series.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    values: Vec<f64>,
    counts: Vec<u32>,
    resets: Vec<(usize, f64)>,
}

/// One window: samples `from..to` of the series, never empty.
struct Window<'a> {
    timestamps: &'a [i64],
    values: &'a [f64],
}

impl Window<'_> {
    fn last_time(&self) -> i64 {
        self.timestamps[self.timestamps.len() - 1]
    }

    fn seconds(&self, at: usize) -> f64 {
        self.timestamps[at] as f64 / 1000.0
    }

    /// The index of the last sample that `replaces` all before it.
    fn last_best(&self, replaces: impl Fn(f64, f64) -> bool) -> usize {
        let mut best = 0;
        for at in 1..self.values.len() {
            if replaces(self.values[at], self.values[best]) || self.values[best].is_nan() {
                best = at;
            }
        }
        best
    }
}

/// Fills `column` with the function's value for each window of `samples`.
pub(crate) fn fill(
    function: RangeFunction,
    samples: &SampleBuffer,
    windows: Windows,
    params: &[Vec<f64>],
    scratch: &mut Scratch,
    column: &mut [f64],
) {
    use RangeFunction as F;
    let param = |which: usize, step: usize| params.get(which).and_then(|p| p.get(step)).copied().unwrap_or(f64::NAN);
    match function {
        F::Rate => extrapolated(samples, windows, true, true, &mut scratch.resets, column),
        F::Increase => extrapolated(samples, windows, true, false, &mut scratch.resets, column),
        F::Delta => extrapolated(samples, windows, false, false, &mut scratch.resets, column),
        F::Irate => each(samples, windows, column, |_, w| instant_delta(&w, true)),
        F::Idelta => each(samples, windows, column, |_, w| instant_delta(&w, false)),
        F::Changes => {
            pairs(samples, windows, scratch, column, |before, now| now != before && !(now.is_nan() && before.is_nan()));
        }
        F::Resets => pairs(samples, windows, scratch, column, |before, now| now < before),
        F::Deriv => each(samples, windows, column, |_, w| {
            if w.values.len() < 2 { absent() } else { regression(&w, w.timestamps[0]).0 }
        }),
        F::PredictLinear => each(samples, windows, column, |step, w| {
            if w.values.len() < 2 {
                return absent();
            }
            let (slope, intercept) = regression(&w, windows.eval.at(step));
            slope * param(0, step) + intercept
        }),
        F::Smoothing => each(samples, windows, column, |step, w| smoothed(&w, param(0, step), param(1, step))),
        F::Sum => sliding::<Sum>(samples, windows, column, |acc, _| acc.total()),
        F::Avg => sliding::<Sum>(samples, windows, column, |acc, values| {
            if acc.sum.is_finite() {
                let count = values.len() as f64;
                acc.sum / count + acc.compensation / count
            } else {
                mean(values.iter().copied())
            }
        }),
        F::Min => sliding::<Min>(samples, windows, column, |acc, _| acc),
        F::Max => sliding::<Max>(samples, windows, column, |acc, _| acc),
        F::Stddev => sliding::<Spread>(samples, windows, column, |acc, _| acc.variance().sqrt()),
        F::Stdvar => sliding::<Spread>(samples, windows, column, |acc, _| acc.variance()),
        F::Count => each(samples, windows, column, |_, w| w.values.len() as f64),
        F::Present => each(samples, windows, column, |_, _| 1.0),
        F::First => each(samples, windows, column, |_, w| w.values[0]),
        F::Last => each(samples, windows, column, |_, w| w.values[w.values.len() - 1]),
        F::Quantile => each(samples, windows, column, |step, w| {
            scratch.values.clear();
            scratch.values.extend_from_slice(w.values);
            quantile(param(0, step), &mut scratch.values)
        }),
        F::Mad => each(samples, windows, column, |_, w| {
            scratch.values.clear();
            scratch.values.extend_from_slice(w.values);
            let median = quantile(0.5, &mut scratch.values);
            scratch.values.iter_mut().for_each(|v| *v = (*v - median).abs());
            quantile(0.5, &mut scratch.values)
        }),
        F::TimeOfFirst => each(samples, windows, column, |_, w| w.seconds(0)),
        F::TimeOfLast => each(samples, windows, column, |_, w| w.last_time() as f64 / 1000.0),
        F::TimeOfMin => each(samples, windows, column, |_, w| w.seconds(w.last_best(|new, best| new <= best))),
        F::TimeOfMax => each(samples, windows, column, |_, w| w.seconds(w.last_best(|new, best| new >= best))),
        // Answered from all series together.
        F::Absent => column.fill(absent()),
    }
}

/// Walks the windows with two pointers: `body(step, from, to)` for each that is not empty.
#[inline]
fn walk(
    samples: &SampleBuffer,
    windows: Windows,
    column: &mut [f64],
    mut body: impl FnMut(usize, usize, usize) -> f64,
) {
    let timestamps = samples.timestamps.as_slice();
    let (mut from, mut to) = (0, 0);
    for (step, slot) in column.iter_mut().enumerate() {
        let end = windows.ends.at(step);
        let start = end.saturating_sub(windows.range_ms);
        while to < timestamps.len() && timestamps[to] <= end {
            to += 1;
        }
        while from < to && timestamps[from] <= start {
            from += 1;
        }
        *slot = if from < to { body(step, from, to) } else { absent() };
    }
}

#[inline]
fn each(samples: &SampleBuffer, windows: Windows, column: &mut [f64], mut body: impl FnMut(usize, Window<'_>) -> f64) {
    walk(samples, windows, column, |step, from, to| {
        body(step, Window { timestamps: &samples.timestamps[from..to], values: &samples.values[from..to] })
    });
}

fn sliding<F: Fold>(
    samples: &SampleBuffer,
    windows: Windows,
    column: &mut [f64],
    finish: impl Fn(F::Acc, &[f64]) -> f64,
) {
    let mut sliding = Sliding::<F>::new();
    let (timestamps, values) = (samples.timestamps.as_slice(), samples.values.as_slice());
    let range = windows.range_ms.max(1);
    let mut middle = 0;
    walk(samples, windows, column, |step, from, to| {
        // A window is as long as the distance between multiples of its length, so one of them lies within, or at its end.
        let cut = windows.ends.at(step).div_euclid(range).saturating_mul(range);
        middle = middle.max(from);
        while middle < to && timestamps[middle] <= cut {
            middle += 1;
        }
        sliding.window(values, from, middle, to).map_or(absent(), |acc| finish(acc, &values[from..to]))
    });
}

/// Counts neighbours in the window that satisfy a condition, from running totals.
fn pairs(
    samples: &SampleBuffer,
    windows: Windows,
    scratch: &mut Scratch,
    column: &mut [f64],
    counts: impl Fn(f64, f64) -> bool,
) {
    let mut total = 0;
    scratch.counts.clear();
    scratch.counts.push(0);
    scratch.counts.extend(samples.values.windows(2).map(|pair| {
        total += u32::from(counts(pair[0], pair[1]));
        total
    }));
    let totals = &scratch.counts;
    walk(samples, windows, column, |_, from, to| f64::from(totals[to - 1] - totals[from]));
}

/// `irate` and `idelta`: from the last two samples.
fn instant_delta(window: &Window<'_>, is_rate: bool) -> f64 {
    let [.., before, last] = window.values else { return absent() };
    let [.., start, end] = window.timestamps else { return absent() };
    let change = if is_rate && last < before { *last } else { last - before };
    if is_rate { change / (end.saturating_sub(*start) as f64 / 1000.0) } else { change }
}

/// Slope (per second) and value at `origin` of the line through the samples, by least squares.
fn regression(window: &Window<'_>, origin: i64) -> (f64, f64) {
    let first = window.values[0];
    if window.values.iter().all(|v| *v == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let mut sums = [KahanSum::default(); 4];
    for (time, y) in window.timestamps.iter().zip(window.values) {
        let x = time.saturating_sub(origin) as f64 / 1000.0;
        for (sum, value) in sums.iter_mut().zip([x, *y, x * y, x * x]) {
            *sum = sum.add(value);
        }
    }
    let n = window.values.len() as f64;
    let [x, y, xy, xx] = sums.map(|s| s.sum + s.compensation);
    let slope = (xy - x * y / n) / (xx - x * x / n);
    (slope, y / n - slope * x / n)
}

/// Double exponential smoothing (Holt's linear method).
fn smoothed(window: &Window<'_>, smoothing: f64, trend: f64) -> f64 {
    let [first, second, ..] = window.values else { return absent() };
    let (mut level, mut previous, mut slope) = (*first, 0.0, second - first);
    for (at, value) in window.values.iter().enumerate().skip(1) {
        if at > 1 {
            slope = trend * (level - previous) + (1.0 - trend) * slope;
        }
        let next = smoothing * value + (1.0 - smoothing) * (level + slope);
        (previous, level) = (level, next);
    }
    level
}

struct Sum;
struct Min;
struct Max;
struct Spread;

impl Fold for Sum {
    type Acc = KahanSum;
    fn one(value: f64) -> KahanSum {
        KahanSum { sum: value, compensation: 0.0 }
    }
    #[inline]
    fn add(acc: KahanSum, value: f64) -> KahanSum {
        acc.add(value)
    }
    fn join(left: KahanSum, right: KahanSum) -> KahanSum {
        left.join(right)
    }
}

// NaN is neither smallest nor largest, unless there is nothing else.
impl Fold for Min {
    type Acc = f64;
    fn one(value: f64) -> f64 {
        value
    }
    #[inline]
    fn add(acc: f64, value: f64) -> f64 {
        if value < acc || acc.is_nan() { value } else { acc }
    }
    fn join(left: f64, right: f64) -> f64 {
        Self::add(left, right)
    }
}

impl Fold for Max {
    type Acc = f64;
    fn one(value: f64) -> f64 {
        value
    }
    #[inline]
    fn add(acc: f64, value: f64) -> f64 {
        if value > acc || acc.is_nan() { value } else { acc }
    }
    fn join(left: f64, right: f64) -> f64 {
        Self::add(left, right)
    }
}

impl Fold for Spread {
    type Acc = Deviation;
    fn one(value: f64) -> Deviation {
        Deviation::default().add(value)
    }
    #[inline]
    fn add(acc: Deviation, value: f64) -> Deviation {
        acc.add(value)
    }
    fn join(left: Deviation, right: Deviation) -> Deviation {
        left.join(right)
    }
}
