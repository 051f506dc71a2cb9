//! What integer stands for a value.
//!
//! Most values are integers or decimals of few digits: the integer is the value times a power of ten. Sums of decimals
//! (seconds of processor time) carry a little floating noise: they are the nearest decimal and a correction by a few
//! units in the last place. Everything else is its own bits, whose differences are small for values close together.

/// Powers of ten that a double holds exactly and that values are tried with.
const POWERS: [f64; 13] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12];
/// Adding and subtracting it rounds to an integer (below 2^51), without a call into a library.
const ROUNDER: f64 = 1.5 * (1u64 << 52) as f64;
/// Decimals beyond this many units are rather chance than meaning: of 2^52 doubles, one in 2^6 would fit.
const MAX_UNITS: u64 = 1 << 46;
/// Integers beyond this are not exact.
const MAX_INTEGER: u64 = 1 << 53;
/// Corrections beyond this many units in the last place are not kept.
const MAX_CORRECTION: i64 = 4096;

/// What the integers of a chunk are. Numbers are powers of ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The bits of the value.
    Bits,
    /// The value times a power of ten, which divided by it again is the value, bit for bit.
    Exact(u8),
    /// The same, except for a correction.
    Near(u8),
}

#[inline]
fn power(digits: u8) -> f64 {
    POWERS[usize::from(digits) % POWERS.len()]
}

/// The decimal nearest to a value, in units, and how many units in the last place the value lies above it.
#[inline]
fn nearest(value: f64, digits: u8) -> (i64, i64) {
    let units = ((value * power(digits) + ROUNDER) - ROUNDER) as i64;
    (units, (value.to_bits() as i64).wrapping_sub(decimal(units, digits).to_bits() as i64))
}

#[inline]
fn decimal(units: i64, digits: u8) -> f64 {
    // Most values are integers, and dividing takes longer than looking.
    if digits == 0 { units as f64 } else { units as f64 / power(digits) }
}

impl Mode {
    /// The mode that suits a value best; `None` for those that say nothing about the others (infinite, NaN, minus zero).
    pub(super) fn of(value: f64) -> Option<Self> {
        if !value.is_finite() || value.to_bits() == (-0.0_f64).to_bits() {
            return None;
        }
        let exact = |&digits: &u8| {
            let (units, correction) = nearest(value, digits);
            let limit = if digits == 0 { MAX_INTEGER } else { MAX_UNITS };
            correction == 0 && units.unsigned_abs() <= limit
        };
        // Chance would fit as well where the grid of decimals is not much coarser than the noise.
        let near = |&digits: &u8| {
            let (units, correction) = nearest(value, digits);
            correction.saturating_abs() <= MAX_CORRECTION / 4
                && (correction.unsigned_abs() * 64).saturating_mul(units.unsigned_abs()) <= 1 << 52
        };
        let digits = 0..POWERS.len() as u8;
        let exact = digits.clone().find(exact).map(Self::Exact);
        Some(exact.or_else(|| digits.clone().find(near).map(Self::Near)).unwrap_or(Self::Bits))
    }

    /// The mode that holds what either holds, as far as their digits allow.
    pub(super) fn joined(self, other: Self) -> Self {
        match (self, other) {
            (Self::Bits, _) | (_, Self::Bits) => Self::Bits,
            (Self::Exact(a), Self::Exact(b)) => Self::Exact(a.max(b)),
            (Self::Exact(a) | Self::Near(a), Self::Exact(b) | Self::Near(b)) => Self::Near(a.max(b)),
        }
    }

    /// The integer and the correction of a value; `None` where it has none in this mode.
    #[inline]
    pub(super) fn integer(self, value: f64) -> Option<(i64, i16)> {
        match self {
            Self::Bits => Some((value.to_bits() as i64, 0)),
            Self::Exact(digits) => {
                let (units, correction) = nearest(value, digits);
                (correction == 0).then_some((units, 0))
            }
            Self::Near(digits) => {
                let (units, correction) = nearest(value, digits);
                ((-MAX_CORRECTION..=MAX_CORRECTION).contains(&correction)).then_some((units, correction as i16))
            }
        }
    }

    /// The value of an integer and a correction.
    #[inline]
    pub(super) fn value(self, integer: i64, correction: i64) -> f64 {
        match self {
            Self::Bits => f64::from_bits(integer as u64),
            Self::Exact(digits) => decimal(integer, digits),
            Self::Near(digits) => {
                f64::from_bits((decimal(integer, digits).to_bits() as i64).wrapping_add(correction) as u64)
            }
        }
    }

    /// As a byte.
    pub(super) fn encode(self) -> u8 {
        match self {
            Self::Bits => 0,
            Self::Exact(digits) => 0x40 | digits,
            Self::Near(digits) => 0x80 | digits,
        }
    }

    /// What [`Mode::encode`] made a byte of; `None` for every other byte.
    pub(super) fn decode(byte: u8) -> Option<Self> {
        let digits = byte & 0x3f;
        let mode = match byte & 0xc0 {
            0 => Self::Bits,
            0x40 => Self::Exact(digits),
            0x80 => Self::Near(digits),
            _ => return None,
        };
        (mode.encode() == byte && usize::from(digits) < POWERS.len()).then_some(mode)
    }
}
