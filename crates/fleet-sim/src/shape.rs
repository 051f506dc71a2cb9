//! The shape of a day, with its exact integral, and the deterministic noise that makes clusters differ.

use std::f64::consts::TAU;

pub(crate) const DAY_SECONDS: f64 = 86_400.0;
/// How far load swings over a day around its mean of 1.
const DAY_SWING: f64 = 0.5;
/// Load of a cluster's own, so that neighbours do not move in step.
const WAVE_SECONDS: f64 = 1_300.0;
const WAVE_SWING: f64 = 0.08;

/// Load over time: mean 1, highest in the early afternoon, never below 0.42 nor above 1.58.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// When, in seconds after the start of the counters, the day's curve crosses 1 upwards.
    day_phase: f64,
    wave_phase: f64,
}

impl Shape {
    /// The largest value that [`Shape::at`] takes.
    pub(crate) const MAX: f64 = 1.0 + DAY_SWING + WAVE_SWING;

    /// `day_phase` and `wave_phase` are in seconds.
    pub(crate) fn new(day_phase: f64, wave_phase: f64) -> Self {
        Self { day_phase, wave_phase }
    }

    /// The load at `t` seconds.
    pub(crate) fn at(&self, t: f64) -> f64 {
        1.0 + DAY_SWING * (TAU * (t - self.day_phase) / DAY_SECONDS).sin()
            + WAVE_SWING * (TAU * (t - self.wave_phase) / WAVE_SECONDS).sin()
    }

    /// The integral of [`Shape::at`] between two times, in seconds.
    pub(crate) fn integral(&self, from: f64, to: f64) -> f64 {
        let swing = |period: f64, phase: f64| {
            let cosine = |t: f64| (TAU * (t - phase) / period).cos();
            (cosine(from) - cosine(to)) * period / TAU
        };
        (to - from) + DAY_SWING * swing(DAY_SECONDS, self.day_phase) + WAVE_SWING * swing(WAVE_SECONDS, self.wave_phase)
    }
}

/// Mixes numbers into one that looks random (the finaliser of SplitMix64 after each).
pub(crate) fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |hash: u64, part| {
        let mut z = (hash ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// A number from 0 (inclusive) to 1 (exclusive), drawn from `parts`.
pub(crate) fn unit(parts: &[u64]) -> f64 {
    (mix(parts) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_integral_is_the_sum_of_the_values() {
        let shape = Shape::new(8.0 * 3600.0, 77.0);
        let (from, to, steps) = (1000.0, 150_000.0, 149_000);
        let step = (to - from) / f64::from(steps);
        let summed: f64 = (0..steps).map(|i| shape.at(from + (f64::from(i) + 0.5) * step) * step).sum();
        assert!((summed - shape.integral(from, to)).abs() < 0.01, "{summed} {}", shape.integral(from, to));
    }

    #[test]
    fn the_afternoon_is_busy_and_the_night_is_quiet() {
        let shape = Shape::new(8.0 * 3600.0, 0.0);
        let (afternoon, night) = (shape.at(14.0 * 3600.0), shape.at(2.0 * 3600.0));
        assert!(afternoon > 1.4 && night < 0.6, "{afternoon} {night}");
        assert!(afternoon <= Shape::MAX);
    }

    #[test]
    fn noise_is_spread_evenly() {
        let mean = (0..10_000).map(|i| unit(&[7, i])).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        assert_ne!(mix(&[1, 2]), mix(&[2, 1]));
    }
}
