//! `rate`, `increase` and `delta`.

use model::SampleBuffer;

use super::absent;
use super::range::Windows;

/// `rate`, `increase` and `delta`: the difference between the first and the last sample, stretched to the window's
/// edges where samples come near enough to them, and never below a counter's zero.
pub(super) fn extrapolated(
    samples: &SampleBuffer,
    windows: Windows,
    is_counter: bool,
    is_rate: bool,
    resets: &mut Vec<(usize, f64)>,
    column: &mut [f64],
) {
    let (times, values) = (samples.timestamps.as_slice(), samples.values.as_slice());
    resets.clear();
    if is_counter {
        let all = values.windows(2).enumerate().filter(|(_, pair)| pair[1] < pair[0]);
        resets.extend(all.map(|(at, pair)| (at + 1, pair[0])));
    }
    let mut first_reset = 0;
    let mut windowed = Extrapolation {
        values,
        is_counter,
        range_seconds: is_rate.then_some(windows.range_ms as f64 / 1000.0),
        stretch: Stretch::default(),
    };
    let run = if resets.is_empty() { Run::of(times, windows.ends.step) } else { Run::default() };
    let (mut step, mut from, mut to) = (0, 0, 0);
    while step < column.len() {
        let end = windows.ends.at(step);
        let start = end.saturating_sub(windows.range_ms);
        while to < times.len() && times[to] <= end {
            to += 1;
        }
        while from < to && times[from] <= start {
            from += 1;
        }
        if to - from < 2 {
            column[step] = absent();
            step += 1;
            continue;
        }
        while first_reset < resets.len() && resets[first_reset].0 <= from {
            first_reset += 1;
        }
        let inside = resets[first_reset..].iter().take_while(|(at, _)| *at < to);
        let change = inside.fold(values[to - 1] - values[from], |change, (_, before)| change + before);
        let shape = Shape {
            sampled_ms: times[to - 1].saturating_sub(times[from]),
            start_ms: times[from].saturating_sub(start),
            end_ms: end.saturating_sub(times[to - 1]),
            intervals: to - from - 1,
        };
        windowed.see(shape);
        column[step] = windowed.value(values[from], change);
        step += 1;
        let same = run.windows_like(from, to).min(column.len() - step);
        windowed.fill(&mut column[step..step + same], from + run.advance, to + run.advance, run.advance);
        (step, from, to) = (step + same, from + same * run.advance, to + same * run.advance);
    }
}

/// Samples at equal distances, of which every step of the query passes the same number: windows among them lie alike.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    /// The first and the last sample.
    first: usize,
    last: usize,
    /// How many samples a step passes; 0 where there is no such run.
    advance: usize,
}

impl Run {
    /// The run that begins with the second sample.
    fn of(times: &[i64], step_ms: i64) -> Self {
        let [_, second, third, ..] = times else { return Self::default() };
        let interval = third.saturating_sub(*second);
        if step_ms <= 0 || interval <= 0 || step_ms % interval != 0 {
            return Self::default();
        }
        let alike = times[1..].windows(2).take_while(|pair| pair[1].saturating_sub(pair[0]) == interval).count();
        let advance = usize::try_from(step_ms / interval).unwrap_or(0);
        Self { first: 1, last: 1 + alike, advance }
    }

    /// How many windows that follow one of the samples `from..to` look like it.
    #[inline]
    fn windows_like(&self, from: usize, to: usize) -> usize {
        // The samples right before and right behind the window decide where it ends, so they count too.
        if self.advance == 0 || from <= self.first || to > self.last { 0 } else { (self.last - to) / self.advance }
    }
}

/// From the samples of windows to their values.
struct Extrapolation<'s> {
    values: &'s [f64],
    is_counter: bool,
    /// What a rate is divided by.
    range_seconds: Option<f64>,
    stretch: Stretch,
}

impl Extrapolation<'_> {
    /// Looks at a window. Regular samples make the same one again and again.
    #[inline]
    fn see(&mut self, shape: Shape) {
        if shape != self.stretch.shape {
            self.stretch = Stretch::of(shape, self.range_seconds);
        }
    }

    /// The value of a window that lies like the last one seen.
    #[inline]
    fn value(&self, first: f64, change: f64) -> f64 {
        let stretch = &self.stretch;
        if self.is_counter && change > 0.0 && first >= 0.0 && stretch.may_reach_below_zero(first, change) {
            let to_start = stretch.to_start.min(stretch.sampled * (first / change));
            return change * stretch.factor_from(to_start, self.range_seconds);
        }
        change * stretch.factor
    }

    /// The values of windows that lie like the last one seen and have no resets in them: the first has the samples
    /// `from..to`, each further one those `advance` behind.
    fn fill(&self, column: &mut [f64], from: usize, to: usize, advance: usize) {
        let firsts = self.values[from.min(self.values.len())..].iter().step_by(advance.max(1));
        let lasts = self.values[(to - 1).min(self.values.len())..].iter().step_by(advance.max(1));
        for ((slot, first), last) in column.iter_mut().zip(firsts).zip(lasts) {
            *slot = self.value(*first, last - first);
        }
    }
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
