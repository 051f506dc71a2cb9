//! `anchored` and `smoothed`: windows that end exactly at their edges, where the value is that of the sample before
//! (anchored) or what lies on the line between the samples around it (smoothed). Samples are looked for one lookback
//! beyond the window. Experimental in Prometheus.

use model::SampleBuffer;

use super::{Steps, absent};
use crate::plan::{Extension, RangeFunction};

/// Where windows lie and how far around them samples are looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extended {
    pub extension: Extension,
    pub ends: Steps,
    pub range_ms: i64,
    pub lookback_ms: i64,
}

/// One window: the samples in and around it, never empty, and its edges.
struct Window<'a> {
    times: &'a [i64],
    values: &'a [f64],
    start: i64,
    end: i64,
    smoothed: bool,
}

impl Extended {
    /// How far samples are read: for each end the window `(from, to]`.
    fn reach(&self, end: i64) -> (i64, i64) {
        let from = end.saturating_sub(self.range_ms).saturating_sub(self.lookback_ms);
        (from, if self.smoothed() { end.saturating_add(self.lookback_ms) } else { end })
    }

    fn smoothed(&self) -> bool {
        self.extension == Extension::Smoothed
    }

    /// The ends and lengths of windows that hold all samples needed.
    pub fn read_windows(&self) -> (Steps, i64) {
        let ahead = if self.smoothed() { self.lookback_ms } else { 0 };
        let window = self.range_ms.saturating_add(self.lookback_ms).saturating_add(ahead);
        (self.ends.earlier(ahead.saturating_neg()), window)
    }

    /// Fills `column` with the function's value for each window.
    pub fn fill(&self, function: RangeFunction, samples: &SampleBuffer, column: &mut [f64]) {
        self.each(samples, column, |window| match function {
            RangeFunction::Rate => Some(window.change(true)? / (self.range_ms as f64 / 1000.0)),
            RangeFunction::Increase => window.change(true),
            RangeFunction::Delta => window.change(false),
            RangeFunction::Resets => window.count(|before, now| now < before),
            RangeFunction::Changes => window.count(|before, now| now != before && !(now.is_nan() && before.is_nan())),
            // The plan refuses the others.
            _ => None,
        });
    }

    fn each(&self, samples: &SampleBuffer, column: &mut [f64], mut value: impl FnMut(&Window<'_>) -> Option<f64>) {
        let (mut first, mut last) = (0, 0);
        for (step, slot) in column.iter_mut().enumerate() {
            let end = self.ends.at(step);
            let (from, to) = self.reach(end);
            last += samples.timestamps[last..].iter().take_while(|t| **t <= to).count();
            first += samples.timestamps[first..last].iter().take_while(|t| **t <= from).count();
            let window = Window {
                times: &samples.timestamps[first..last],
                values: &samples.values[first..last],
                start: end.saturating_sub(self.range_ms),
                end,
                smoothed: self.smoothed(),
            };
            let there = !window.times.is_empty();
            *slot = there.then(|| value(&window)).flatten().unwrap_or(absent());
        }
    }

    /// The samples of the window that ends at `end`, with one on either edge.
    pub fn samples(&self, samples: &SampleBuffer, into: &mut SampleBuffer) {
        into.clear();
        let mut unused = [absent()];
        let once = Self { ends: Steps::once(self.ends.start), ..*self };
        once.each(samples, &mut unused, |window| {
            let (left, right, inner) = window.edges(false)?;
            into.push(window.start, left);
            for at in inner {
                into.push(window.times[at], window.values[at]);
            }
            into.push(window.end, right);
            None
        });
    }
}

impl Window<'_> {
    /// The last sample at or before the window's start, or the first of all.
    fn first(&self) -> usize {
        let last = self.times.len() - 1;
        self.times[..last].partition_point(|t| *t <= self.start).saturating_sub(1)
    }

    /// The values at both edges, and the samples strictly between them; `None` where no sample is behind the start.
    fn edges(&self, is_counter: bool) -> Option<(f64, f64, std::ops::Range<usize>)> {
        let (mut first, mut last) = (self.first(), self.times.len() - 1);
        if self.smoothed {
            last = self.times[..last].partition_point(|t| *t < self.end);
        }
        if self.times[last] <= self.start {
            return None;
        }
        let left = match self.smoothed && self.times[first] < self.start {
            true => self.between(first, self.start, is_counter),
            false => self.values[first],
        };
        let right = match self.smoothed && last > 0 && self.times[last] > self.end {
            true => self.between(last - 1, self.end, is_counter),
            false => self.values[last],
        };
        if self.times[first] <= self.start {
            first += 1;
        }
        let behind = if self.times[last] >= self.end { last } else { last + 1 };
        Some((left, right, first..behind.max(first)))
    }

    /// The value at `time` on the line from the sample `at` to the next one. A counter that fell began at zero.
    fn between(&self, at: usize, time: i64, is_counter: bool) -> f64 {
        let (mut before, after) = (self.values[at], self.values[at + 1]);
        if is_counter && after < before {
            before = 0.0;
        }
        let distance = |to: i64| to.saturating_sub(self.times[at]) as f64;
        before + (after - before) * distance(time) / distance(self.times[at + 1])
    }

    /// From one edge to the other; of a counter with what it had before each reset.
    fn change(&self, is_counter: bool) -> Option<f64> {
        let (left, right, inner) = self.edges(is_counter)?;
        let mut change = right - left;
        if is_counter {
            let mut before = left;
            for now in self.values[inner].iter().copied().chain([right]) {
                if now < before {
                    change += before;
                }
                before = now;
            }
        }
        Some(change)
    }

    /// Counts neighbours that satisfy a condition, the sample before the window included.
    fn count(&self, counts: impl Fn(f64, f64) -> bool) -> Option<f64> {
        if *self.times.last()? <= self.start {
            return None;
        }
        let pairs = self.values[self.first()..].windows(2);
        Some(pairs.filter(|pair| counts(pair[0], pair[1])).count() as f64)
    }
}

/// Fills a column with the value at each time on the line between the samples around it; behind the last sample that
/// sample's value. Only samples within `lookback_ms` count.
pub(super) fn smooth(samples: &SampleBuffer, times: Steps, lookback_ms: i64, column: &mut [f64]) {
    let (stamps, values) = (&samples.timestamps, &samples.values);
    let mut next = 0;
    for (slot, time) in column.iter_mut().zip(times.iter()) {
        next += stamps[next..].iter().take_while(|t| **t < time).count();
        let after = stamps.get(next).filter(|t| **t <= time.saturating_add(lookback_ms));
        let before = next.checked_sub(1).filter(|at| stamps[*at] > time.saturating_sub(lookback_ms));
        *slot = match (before, after) {
            (_, Some(exact)) if *exact == time => values[next],
            (Some(at), Some(after)) => {
                let distance = |to: i64| to.saturating_sub(stamps[at]) as f64;
                values[at] + (values[next] - values[at]) * distance(time) / distance(*after)
            }
            (Some(at), None) => values[at],
            (None, _) => absent(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::is_absent;

    fn buffer(samples: &[(i64, f64)]) -> SampleBuffer {
        let mut buffer = SampleBuffer::default();
        samples.iter().for_each(|(time, value)| buffer.push(*time, *value));
        buffer
    }

    fn value(extension: Extension, function: RangeFunction, samples: &[(i64, f64)]) -> f64 {
        // The window (10s, 20s], with samples from 5s and, smoothed, up to 25s.
        let windows = Extended { extension, ends: Steps::once(20_000), range_ms: 10_000, lookback_ms: 5000 };
        let mut column = [0.0];
        windows.fill(function, &buffer(samples), &mut column);
        column[0]
    }

    #[test]
    fn anchored_windows_begin_with_the_sample_before() {
        let anchored = |function, samples: &[(i64, f64)]| value(Extension::Anchored, function, samples);
        let samples = [(1000, 99.0), (8000, 1.0), (12_000, 3.0), (18_000, 7.0), (22_000, 50.0)];
        assert_eq!(anchored(RangeFunction::Increase, &samples), 6.0);
        assert_eq!(anchored(RangeFunction::Rate, &samples), 0.6);
        assert_eq!(anchored(RangeFunction::Delta, &samples), 6.0);
        assert_eq!(anchored(RangeFunction::Changes, &samples), 2.0);
        let reset = [(8000, 5.0), (12_000, 2.0), (18_000, 4.0)];
        assert_eq!(anchored(RangeFunction::Increase, &reset), 4.0);
        assert_eq!(anchored(RangeFunction::Resets, &reset), 1.0);
        assert_eq!(anchored(RangeFunction::Increase, &[(12_000, 3.0)]), 0.0);
        assert!(is_absent(anchored(RangeFunction::Increase, &[(8000, 3.0)])));
        assert!(is_absent(anchored(RangeFunction::Resets, &[(8000, 3.0)])));
    }

    #[test]
    fn smoothed_windows_interpolate_at_both_edges() {
        let smoothed = |function, samples: &[(i64, f64)]| value(Extension::Smoothed, function, samples);
        let samples = [(8000, 0.0), (12_000, 4.0), (18_000, 10.0), (22_000, 14.0)];
        assert_eq!(smoothed(RangeFunction::Delta, &samples), 10.0);
        assert_eq!(smoothed(RangeFunction::Rate, &samples), 1.0);
        // 2 at 10s; the reset at 18s begins at zero.
        let reset = [(8000, 0.0), (12_000, 4.0), (18_000, 1.0), (22_000, 3.0)];
        assert_eq!(smoothed(RangeFunction::Increase, &reset), 4.0);
        assert_eq!(smoothed(RangeFunction::Delta, &[(8000, 1.0), (12_000, 3.0)]), 1.0);
        assert!(is_absent(smoothed(RangeFunction::Delta, &[(8000, 1.0)])));
    }

    #[test]
    fn the_samples_themselves() {
        let windows =
            Extended { extension: Extension::Smoothed, ends: Steps::once(20_000), range_ms: 10_000, lookback_ms: 5000 };
        let mut out = SampleBuffer::default();
        windows.samples(&buffer(&[(8000, 0.0), (12_000, 4.0), (22_000, 14.0)]), &mut out);
        assert_eq!(out.timestamps, [10_000, 12_000, 20_000]);
        assert_eq!(out.values, [2.0, 4.0, 12.0]);
    }

    #[test]
    fn smoothed_instants() {
        let samples = buffer(&[(0, 0.0), (10_000, 10.0), (30_000, 0.0)]);
        let mut column = [0.0; 8];
        smooth(&samples, Steps { start: -5000, step: 5000, count: 8 }, 12_000, &mut column);
        let shown = column.map(|v| if is_absent(v) { -1.0 } else { v });
        // At 15s the next sample is too far away, at 25s the one before.
        assert_eq!(shown, [-1.0, 0.0, 5.0, 10.0, 10.0, 5.0, -1.0, 0.0]);
    }
}
