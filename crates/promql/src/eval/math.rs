//! Numbers: compensated sums, quantiles, and the functions whose NaN rules are those of Go, not of Rust.

/// A sum with its compensation (Neumaier's variant of Kahan's algorithm).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct KahanSum {
    pub sum: f64,
    pub compensation: f64,
}

impl KahanSum {
    #[inline]
    pub fn add(self, value: f64) -> Self {
        let total = self.sum + value;
        let compensation = if total.is_infinite() {
            0.0
        } else if self.sum.abs() >= value.abs() {
            self.compensation + ((self.sum - total) + value)
        } else {
            self.compensation + ((value - total) + self.sum)
        };
        Self { sum: total, compensation }
    }

    /// The sum of two sums.
    #[inline]
    pub fn join(self, other: Self) -> Self {
        let joined = self.add(other.sum);
        Self { compensation: joined.compensation + other.compensation, ..joined }
    }

    #[inline]
    pub fn total(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.compensation }
    }
}

/// The arithmetic mean; keeps a running mean from where the sum would overflow.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let mut running = RunningMean::default();
    values.for_each(|v| running.add(v));
    running.mean()
}

/// A mean in the making.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RunningMean {
    acc: KahanSum,
    count: f64,
    /// The accumulator holds the mean so far, no longer the sum.
    incremental: bool,
}

impl RunningMean {
    #[inline]
    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.incremental {
            let sum = self.acc.add(value);
            if self.count == 1.0 || !sum.sum.is_infinite() {
                self.acc = sum;
                return;
            }
            self.incremental = true;
            let before = self.count - 1.0;
            self.acc = KahanSum { sum: self.acc.sum / before, compensation: self.acc.compensation / before };
        }
        let weight = (self.count - 1.0) / self.count;
        let scaled = KahanSum { sum: self.acc.sum * weight, compensation: self.acc.compensation * weight };
        self.acc = scaled.add(value / self.count);
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0.0
    }

    pub fn mean(&self) -> f64 {
        let divisor = if self.incremental { 1.0 } else { self.count };
        KahanSum { sum: self.acc.sum / divisor, compensation: self.acc.compensation / divisor }.total()
    }
}

/// Mean and squared deviations in one pass (Welford; joined as by Chan and others).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deviation {
    pub count: f64,
    mean: f64,
    squares: f64,
}

impl Deviation {
    #[inline]
    pub fn add(mut self, value: f64) -> Self {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
        self
    }

    pub fn join(self, other: Self) -> Self {
        if self.count == 0.0 || other.count == 0.0 {
            return if self.count == 0.0 { other } else { self };
        }
        let count = self.count + other.count;
        let delta = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + delta * other.count / count,
            squares: self.squares + other.squares + delta * delta * self.count * other.count / count,
        }
    }

    /// The population variance.
    pub fn variance(self) -> f64 {
        self.squares / self.count
    }
}

/// The φ-quantile of the values, which are reordered; linear between neighbours, NaN counts as smallest.
pub(crate) fn quantile(phi: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || phi.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&phi) {
        return if phi < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let rank = phi * (values.len() - 1) as f64;
    let (lower, weight) = (rank.floor() as usize, rank - rank.floor());
    let order =
        |a: &f64, b: &f64| b.is_nan().cmp(&a.is_nan()).then(a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let (_, low, above) = values.select_nth_unstable_by(lower, order);
    let low = *low;
    let high = above.iter().copied().min_by(order).unwrap_or(low);
    low * (1.0 - weight) + high * weight
}

/// Beyond this, the square of a number hides 1.
const SQUARE_HIDES_ONE: f64 = (1u64 << 28) as f64;

/// The standard library's overflows where the double of its argument does.
pub(crate) fn asinh(value: f64) -> f64 {
    let huge = value.is_finite() && value.abs() > SQUARE_HIDES_ONE;
    if huge { (value.abs().ln() + std::f64::consts::LN_2).copysign(value) } else { value.asinh() }
}

/// The standard library's overflows where the double of its argument does.
pub(crate) fn acosh(value: f64) -> f64 {
    let huge = value.is_finite() && value > SQUARE_HIDES_ONE;
    if huge { value.ln() + std::f64::consts::LN_2 } else { value.acosh() }
}

/// The smaller of two; NaN when either is, unless the other is the smallest of all.
pub(crate) fn min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { a } else { b }
    } else {
        a.min(b)
    }
}

/// The larger of two; NaN when either is, unless the other is the largest of all.
pub(crate) fn max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { b } else { a }
    } else {
        a.max(b)
    }
}

/// Rounded half up to a multiple of `to`.
pub(crate) fn round(value: f64, to: f64) -> f64 {
    // By the inverse, since 0.1 and its like are not exact.
    let inverse = 1.0 / to;
    (value * inverse + 0.5).floor() / inverse
}

pub(crate) fn degrees(value: f64) -> f64 {
    value * 180.0 / std::f64::consts::PI
}

pub(crate) fn radians(value: f64) -> f64 {
    value * std::f64::consts::PI / 180.0
}

/// -1, 1, or the value itself where it is zero or NaN.
pub(crate) fn sign(value: f64) -> f64 {
    if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_lose_small_parts() {
        let add = |values: &[f64]| values.iter().fold(KahanSum::default(), |acc, v| acc.add(*v));
        assert_eq!(add(&[1e16, 1.0, -1e16]).total(), 1.0);
        assert_eq!(add(&[5.0, 1e100]).join(add(&[5.0, -1e100])).total(), 10.0);
        assert_eq!(add(&[f64::INFINITY, 1.0]).total(), f64::INFINITY);
        assert!(add(&[f64::INFINITY, f64::NEG_INFINITY]).total().is_nan());
    }

    #[test]
    fn means_do_not_overflow() {
        assert_eq!(mean([1.0, 2.0, 6.0].into_iter()), 3.0);
        assert_eq!(mean([f64::MAX, f64::MAX].into_iter()), f64::MAX);
        assert_eq!(mean([f64::INFINITY, 1.0].into_iter()), f64::INFINITY);
        assert!(mean([f64::INFINITY, f64::NEG_INFINITY].into_iter()).is_nan());
    }

    #[test]
    fn quantiles_interpolate() {
        let q = |phi, values: &[f64]| quantile(phi, &mut values.to_vec());
        assert_eq!(q(0.5, &[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(q(0.75, &[0.0, 10.0]), 7.5);
        assert_eq!(q(1.0, &[0.0, 10.0]), 10.0);
        assert_eq!(q(0.5, &[f64::NAN, 1.0, 3.0]), 1.0);
        assert_eq!(q(-0.1, &[1.0]), f64::NEG_INFINITY);
        assert_eq!(q(1.1, &[1.0]), f64::INFINITY);
        assert!(q(f64::NAN, &[1.0]).is_nan() && q(0.5, &[]).is_nan());
    }

    #[test]
    fn deviations_join() {
        let add = |values: &[f64]| values.iter().fold(Deviation::default(), |acc, v| acc.add(*v));
        assert_eq!(add(&[2.0, 4.0, 4.0, 4.0]).join(add(&[5.0, 5.0, 7.0, 9.0])).variance(), 4.0);
    }

    #[test]
    fn the_smaller_and_the_larger() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        assert_eq!((min(1.0, 2.0), max(1.0, 2.0)), (1.0, 2.0));
        assert!(min(nan, inf).is_nan() && max(nan, -inf).is_nan() && max(1.0, nan).is_nan());
        assert_eq!((min(nan, -inf), max(inf, nan)), (-inf, inf));
        assert!(min(0.0, -0.0).is_sign_negative() && max(-0.0, 0.0).is_sign_positive());
    }

    #[test]
    fn rounds_half_up() {
        assert_eq!(round(2.5, 1.0), 3.0);
        assert_eq!(round(-2.5, 1.0), -2.0);
        assert_eq!(round(0.15, 0.1), 0.2);
        assert_eq!(round(17.0, 5.0), 15.0);
    }
}
