//! Changes of an integer, packed into a field whose place and width follow what was seen lately.
//!
//! A field holds bits `low..high` of the magnitude and, where negative ones occur, a sign. A change that does not fit
//! widens the field; when sixteen have passed, it shrinks to what they needed. Both sides do the same, so only widening
//! is written down. Leaving out low zeros makes byte counts in whole pages, and decimals written with more digits than
//! they have, cheap.

use super::bits::low_bits;

/// After how many changes the field is fitted anew.
const WINDOW: u8 = 16;

/// The field, and what has been seen since it was last fitted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    /// Magnitudes seen, combined by or. Bytes, so that what holds a field needs no padding.
    seen: [u8; 8],
    low: u8,
    /// At most 63; not above `low` while nothing fits but zero.
    high: u8,
    signed: bool,
    seen_negative: bool,
    count: u8,
}

impl Default for Field {
    fn default() -> Self {
        Self { seen: [0; 8], low: 63, high: 0, signed: false, seen_negative: false, count: 0 }
    }
}

/// Bits that say which field is used from now on: low and high, six bits each, and whether it is signed.
pub(super) const FIELD_BITS: u32 = 13;
/// What stands there instead when a raw value follows: no field begins where it ends.
pub(super) const RAW: u64 = 63 | 63 << 6;

impl Field {
    /// Bits of the field.
    #[inline]
    pub(super) fn width(&self) -> u32 {
        u32::from(self.high).saturating_sub(u32::from(self.low)) + u32::from(self.signed)
    }

    /// The field of a change, `None` where it does not fit.
    #[inline]
    pub(super) fn pack(&self, magnitude: u64, negative: bool) -> Option<u64> {
        let outside = !low_bits(self.high.into()) | low_bits(self.low.into());
        if magnitude & outside != 0 || (negative && !self.signed) {
            return None;
        }
        Some(((magnitude >> self.low) << u32::from(self.signed)) | u64::from(negative))
    }

    /// The change whose field this is.
    #[inline]
    pub(super) fn unpack(&self, field: u64) -> (u64, bool) {
        let negative = self.signed & (field & 1 != 0);
        ((field >> u32::from(self.signed)) << self.low, negative)
    }

    /// Takes note of a change; must be called for every one that is not zero, on both sides. True when the field is
    /// another now.
    #[inline]
    pub(super) fn note(&mut self, magnitude: u64, negative: bool) -> bool {
        let seen = u64::from_le_bytes(self.seen) | magnitude;
        self.seen = seen.to_le_bytes();
        self.seen_negative |= negative;
        self.count += 1;
        let fit = self.count == WINDOW;
        if fit {
            let (low, high) = (seen.trailing_zeros() as u8, 64 - seen.leading_zeros() as u8);
            *self = Self { low, high, signed: self.seen_negative, ..Self::default() };
        }
        fit
    }

    /// The field that holds what this one holds and a change besides. `magnitude` is below 2^63 and not zero.
    pub(super) fn widened(&self, magnitude: u64, negative: bool) -> Self {
        let low = self.low.min(magnitude.trailing_zeros() as u8);
        let high = self.high.max(64 - magnitude.leading_zeros() as u8);
        Self { low, high, signed: self.signed || negative, ..*self }
    }

    /// [`FIELD_BITS`] that say which field this is.
    pub(super) fn describe(&self) -> u64 {
        u64::from(self.low) | u64::from(self.high) << 6 | u64::from(self.signed) << 12
    }

    /// The field that was described, with what this one has seen.
    pub(super) fn described(&self, bits: u64) -> Self {
        Self { low: (bits & 63) as u8, high: (bits >> 6 & 63) as u8, signed: bits >> 12 & 1 != 0, ..*self }
    }
}
