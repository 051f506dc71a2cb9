//! Timestamps, samples, and the staleness marker.

use std::fmt;
use std::ops::{Add, Sub};

/// Milliseconds since the Unix epoch. Adding and subtracting plain numbers means milliseconds; sums saturate, since
/// timestamps come from the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TimestampMs(pub i64);

impl TimestampMs {
    /// Before every sample.
    pub const MIN: Self = Self(i64::MIN);
    /// After every sample.
    pub const MAX: Self = Self(i64::MAX);

    /// Seconds since the epoch, as the HTTP API shows them.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// From seconds since the epoch, rounded to the millisecond.
    pub fn from_seconds(seconds: f64) -> Self {
        Self((seconds * 1000.0).round() as i64)
    }
}

impl Add<i64> for TimestampMs {
    type Output = Self;
    fn add(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl Sub<i64> for TimestampMs {
    type Output = Self;
    fn sub(self, ms: i64) -> Self {
        Self(self.0.saturating_sub(ms))
    }
}

impl Sub for TimestampMs {
    type Output = i64;
    fn sub(self, other: Self) -> i64 {
        self.0.saturating_sub(other.0)
    }
}

impl fmt::Display for TimestampMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One value at one time.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// When the value was true.
    pub timestamp: TimestampMs,
    /// The value; every bit counts (see [`STALE_NAN_BITS`]).
    pub value: f64,
}

impl PartialEq for Sample {
    /// Bit for bit, so that NaN equals itself and a staleness marker nothing else.
    fn eq(&self, other: &Self) -> bool {
        self.timestamp == other.timestamp && self.value.to_bits() == other.value.to_bits()
    }
}

/// The bits of the staleness marker: "this series ends here" (Prometheus `model/value`).
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The staleness marker as a value.
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// True for the staleness marker and for no other NaN.
#[inline]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_marker_is_stale() {
        assert!(is_stale(stale_nan()));
        assert!(!is_stale(f64::NAN));
        assert!(stale_nan().is_nan());
    }

    #[test]
    fn timestamps_saturate() {
        assert_eq!(TimestampMs::MAX + 1, TimestampMs::MAX);
        assert_eq!(TimestampMs::MIN - TimestampMs::MAX, i64::MIN);
        assert_eq!(TimestampMs::from_seconds(1.0005), TimestampMs(1001));
    }
}
