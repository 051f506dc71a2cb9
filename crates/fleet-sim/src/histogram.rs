//! Histograms of durations that were never measured: a distribution, integrated over time.

use std::f64::consts::PI;

use crate::timeline::{Conditions, Timeline};

/// How long things take: a log-logistic distribution, which has the long tail that latencies have and a
/// distribution function that costs one power.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Latency {
    /// Half of all take longer, in the unit of the histogram.
    pub(crate) median: f64,
    /// How quickly the tail thins out; above 1, or the mean would be infinite.
    pub(crate) steepness: f64,
}

impl Latency {
    pub(crate) fn new(median: f64) -> Self {
        Self { median, steepness: 2.5 }
    }

    /// The same, slower by a factor.
    pub(crate) fn slower(self, factor: f64) -> Self {
        Self { median: self.median * factor, ..self }
    }

    /// The share that takes at most `x`.
    fn share_within(self, x: f64) -> f64 {
        1.0 / (1.0 + (self.median / x).powf(self.steepness))
    }

    pub(crate) fn mean(self) -> f64 {
        let angle = PI / self.steepness;
        self.median * angle / angle.sin()
    }
}

/// A classic histogram: cumulative, whole counts, the last bucket equal to the count.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    cumulative: Vec<f64>,
    pub(crate) count: f64,
    pub(crate) sum: f64,
}

impl Histogram {
    /// What was observed at `rate` per second (at load 1), each taking `latency`.
    ///
    /// Rounded down between two bounds, then added up: so not only the buckets are in order but also what is added to
    /// them over any time, as if single observations had been counted.
    pub(crate) fn observed(
        timeline: &Timeline,
        bounds: &'static [f64],
        rate: impl Fn(&Conditions) -> f64,
        latency: impl Fn(&Conditions) -> Latency,
    ) -> Self {
        let mut between = vec![0.0; bounds.len() + 1];
        let mut sum = 0.0;
        for (work, conditions) in timeline.pieces() {
            let (observed, latency) = (rate(conditions) * work, latency(conditions));
            sum += observed * latency.mean();
            let mut within_previous = 0.0;
            let shares = bounds.iter().map(|bound| latency.share_within(*bound)).chain([1.0]);
            for (total, within) in between.iter_mut().zip(shares) {
                *total += observed * (within - within_previous);
                within_previous = within;
            }
        }
        let mut count = 0.0;
        for total in &mut between {
            count += total.floor();
            *total = count;
        }
        between.truncate(bounds.len());
        Self { bounds, cumulative: between, count, sum }
    }

    /// Both together; the bounds must be the same.
    pub(crate) fn plus(mut self, other: &Self) -> Self {
        debug_assert_eq!(self.bounds, other.bounds);
        self.cumulative.iter_mut().zip(&other.cumulative).for_each(|(a, b)| *a += b);
        self.count += other.count;
        self.sum += other.sum;
        self
    }

    /// Upper bounds and cumulative counts, without the last one at infinity.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (f64, f64)> {
        self.bounds.iter().copied().zip(self.cumulative.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_is_within_the_median_and_the_mean_is_above_it() {
        let latency = Latency::new(0.02);
        assert!((latency.share_within(0.02) - 0.5).abs() < 1e-12);
        assert!(latency.share_within(1.0) > 0.9999);
        assert!(latency.mean() > 0.02 && latency.mean() < 0.03, "{}", latency.mean());
        assert!(latency.slower(50.0).share_within(1.0) < 0.52);
    }
}
