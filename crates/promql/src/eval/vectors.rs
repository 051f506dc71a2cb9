//! The functions over windows themselves. Each fills a column from the samples of one series; what can be carried from
//! one window to the next is.

use model::SampleBuffer;

use super::absent;
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
        F::Rate => extrapolated(samples, windows, true, true, scratch, column),
        F::Increase => extrapolated(samples, windows, true, false, scratch, column),
        F::Delta => extrapolated(samples, windows, false, false, scratch, column),
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
    let values = samples.values.as_slice();
    walk(samples, windows, column, |_, from, to| {
        sliding.window(values, from, to).map_or(absent(), |acc| finish(acc, &values[from..to]))
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

/// `rate`, `increase` and `delta`: the difference between the first and the last sample, stretched to the window's
/// edges where samples come near enough to them, and never below a counter's zero.
fn extrapolated(
    samples: &SampleBuffer,
    windows: Windows,
    is_counter: bool,
    is_rate: bool,
    scratch: &mut Scratch,
    column: &mut [f64],
) {
    let (times, values) = (samples.timestamps.as_slice(), samples.values.as_slice());
    let resets = &mut scratch.resets;
    resets.clear();
    if is_counter {
        let all = values.windows(2).enumerate().filter(|(_, pair)| pair[1] < pair[0]);
        resets.extend(all.map(|(at, pair)| (at + 1, pair[0])));
    }
    let mut first_reset = 0;
    let range_seconds = is_rate.then_some(windows.range_ms as f64 / 1000.0);
    let mut stretch = Stretch::default();
    walk(samples, windows, column, |step, from, to| {
        if to - from < 2 {
            return absent();
        }
        while first_reset < resets.len() && resets[first_reset].0 <= from {
            first_reset += 1;
        }
        let inside = resets[first_reset..].iter().take_while(|(at, _)| *at < to);
        let change = inside.fold(values[to - 1] - values[from], |change, (_, before)| change + before);
        let end = windows.ends.at(step);
        let start = end.saturating_sub(windows.range_ms);
        let shape = Shape {
            sampled_ms: times[to - 1].saturating_sub(times[from]),
            start_ms: times[from].saturating_sub(start),
            end_ms: end.saturating_sub(times[to - 1]),
            intervals: to - from - 1,
        };
        // Regular samples make the same window again and again.
        if shape != stretch.shape {
            stretch = Stretch::of(shape, range_seconds);
        }
        let first = values[from];
        if is_counter && change > 0.0 && first >= 0.0 && stretch.may_reach_below_zero(first, change) {
            let to_start = stretch.to_start.min(stretch.sampled * (first / change));
            return change * stretch.factor_from(to_start, range_seconds);
        }
        change * stretch.factor
    });
}

/// How the samples lie in a window: what lies between them, before them and behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Shape {
    sampled_ms: i64,
    start_ms: i64,
    end_ms: i64,
    intervals: usize,
}

/// How far the samples of such a window are stretched, in seconds, and what a difference is multiplied with.
#[derive(Debug, Clone, Copy, Default)]
struct Stretch {
    shape: Shape,
    sampled: f64,
    to_start: f64,
    to_end: f64,
    factor: f64,
}

impl Stretch {
    fn of(shape: Shape, range_seconds: Option<f64>) -> Self {
        let sampled = shape.sampled_ms as f64 / 1000.0;
        let average = sampled / shape.intervals as f64;
        let threshold = average * 1.1;
        let near = |ms: i64| {
            let seconds = ms as f64 / 1000.0;
            if seconds >= threshold { average / 2.0 } else { seconds }
        };
        let (to_start, to_end) = (near(shape.start_ms), near(shape.end_ms));
        let mut stretch = Self { shape, sampled, to_start, to_end, factor: 0.0 };
        stretch.factor = stretch.factor_from(to_start, range_seconds);
        stretch
    }

    fn factor_from(&self, to_start: f64, range_seconds: Option<f64>) -> f64 {
        let factor = (self.sampled + to_start + self.to_end) / self.sampled;
        range_seconds.map_or(factor, |range| factor / range)
    }

    /// Whether the line through the samples may cross zero before the window begins. Spares a division for most
    /// windows; where rounding could decide, and for numbers too small to be precise, the answer is yes.
    #[inline]
    fn may_reach_below_zero(&self, first: f64, change: f64) -> bool {
        let surely_above = first > 1e-290 && self.sampled * first > self.to_start * change * (1.0 + 1e-9);
        !surely_above
    }
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
