//! The column of values: a token for each, which says what kind of value it is and how many bytes follow, and those bytes
//! in eight planes: the lowest byte of every value in the first, and so on. Most values that are scraped are small
//! integers, larger integers, and decimal fractions, which are integers over a power of ten.

use model::STALE_NAN_BITS;

use crate::DecodeError;
use crate::sections::{unzigzag, zigzag};

/// Tokens below this are the value itself.
const SMALL: i64 = 128;
/// From here to [`RAW`]: an integer by its scale, whether it is a difference to the one before, and its bytes.
const INTEGER: u8 = 128;
/// Bytes that an integer may have.
const MAX_BYTES: usize = 6;
/// The eight bytes of a float.
const RAW: u8 = 248;
/// The bits of the value before.
const REPEATED: u8 = 249;
/// The staleness marker.
const STALE: u8 = 250;
/// Decimal digits behind the point at most.
const MAX_SCALE: usize = 9;
const POWERS: [f64; MAX_SCALE + 1] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Integers below this are exact in a float.
const EXACT: f64 = (1_u64 << 53) as f64;
/// Planes of a column.
pub(crate) const PLANES: usize = 8;

/// A column, encoded.
#[derive(Debug, Default)]
pub(crate) struct ValueColumn {
    pub(crate) tokens: Vec<u8>,
    pub(crate) planes: [Vec<u8>; PLANES],
}

/// What the next value may refer to.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    bits: u64,
    integer: i64,
    scale: usize,
}

impl ValueColumn {
    pub(crate) fn encode(&mut self, values: &[f64]) {
        self.tokens.clear();
        self.tokens.reserve(values.len());
        for plane in &mut self.planes {
            plane.clear();
            plane.reserve(values.len());
        }
        let mut before = Before::default();
        for value in values {
            self.push(*value, &mut before);
        }
    }

    #[inline]
    fn push(&mut self, value: f64, before: &mut Before) {
        let bits = value.to_bits();
        if bits == before.bits {
            return self.tokens.push(REPEATED);
        }
        before.bits = bits;
        if bits == STALE_NAN_BITS {
            return self.tokens.push(STALE);
        }
        let Some((integer, scale)) = as_integer(value) else {
            self.tokens.push(RAW);
            return self.put_bytes(bits, PLANES);
        };
        if scale == 0 && (0..SMALL).contains(&integer) {
            (before.integer, before.scale) = (integer, scale);
            // Below 128.
            return self.tokens.push(integer as u8);
        }
        let whole = zigzag(integer);
        // Both are below 2^53.
        let change = if scale == before.scale { zigzag(integer - before.integer) } else { u64::MAX };
        let (packed, is_change) = if bytes_of(change) < bytes_of(whole) { (change, 1) } else { (whole, 0) };
        let bytes = bytes_of(packed);
        if bytes > MAX_BYTES {
            self.tokens.push(RAW);
            return self.put_bytes(bits, PLANES);
        }
        (before.integer, before.scale) = (integer, scale);
        // At most 128 + 19 * 6 + 5.
        self.tokens.push(INTEGER + ((scale * 2 + is_change) * MAX_BYTES + bytes - 1) as u8);
        self.put_bytes(packed, bytes);
    }

    #[inline]
    fn put_bytes(&mut self, packed: u64, bytes: usize) {
        for (plane, byte) in self.planes.iter_mut().zip(packed.to_le_bytes()).take(bytes) {
            plane.push(byte);
        }
    }

    /// Reads exactly `rows` values.
    pub(crate) fn decode(&self, rows: usize, into: &mut Vec<f64>) -> Result<(), DecodeError> {
        if self.tokens.len() != rows {
            return Err(DecodeError::Malformed("a column has not as many rows as the message"));
        }
        into.clear();
        into.reserve(rows);
        let mut planes = Planes { planes: &self.planes, at: [0; PLANES] };
        let mut before = Before::default();
        for token in &self.tokens {
            before.bits = match *token {
                token if i64::from(token) < SMALL => {
                    (before.integer, before.scale) = (i64::from(token), 0);
                    f64::from(token).to_bits()
                }
                REPEATED => before.bits,
                STALE => STALE_NAN_BITS,
                RAW => planes.take(PLANES)?,
                token if token < RAW => integer(token, &mut planes, &mut before)?.to_bits(),
                _ => return Err(DecodeError::Malformed("a value of an unknown kind")),
            };
            into.push(f64::from_bits(before.bits));
        }
        planes.end()
    }
}

/// Bytes that a number needs; at least one.
#[inline]
fn bytes_of(number: u64) -> usize {
    8 - (number | 1).leading_zeros() as usize / 8
}

/// The value as an integer over a power of ten, the smallest that does.
#[inline]
fn as_integer(value: f64) -> Option<(i64, usize)> {
    // The cast saturates and makes NaN zero; comparing bits tells those, fractions and minus zero apart.
    let integer = value as i64;
    if value.abs() < EXACT && (integer as f64).to_bits() == value.to_bits() {
        return Some((integer, 0));
    }
    // What has fewer digits has these too, so one look decides.
    let mut scale = POWERS.iter().rposition(|power| value.abs() * power < EXACT)?;
    let mut integer = (value * POWERS[scale]).round() as i64;
    if (integer as f64 / POWERS[scale]).to_bits() != value.to_bits() {
        return None;
    }
    while scale > 0 && integer % 10 == 0 {
        (integer, scale) = (integer / 10, scale - 1);
    }
    Some((integer, scale))
}

/// The value of a token between [`INTEGER`] and [`RAW`].
#[inline]
fn integer(token: u8, planes: &mut Planes<'_>, before: &mut Before) -> Result<f64, DecodeError> {
    let kind = usize::from(token - INTEGER);
    let (scale, is_change, bytes) = (kind / MAX_BYTES / 2, kind / MAX_BYTES % 2 == 1, kind % MAX_BYTES + 1);
    let packed = unzigzag(planes.take(bytes)?);
    // Of 48 bits each; only a hostile column could add up enough of them to wrap.
    let integer = if is_change { before.integer.wrapping_add(packed) } else { packed };
    (before.integer, before.scale) = (integer, scale);
    // 120 tokens are ten scales.
    Ok(integer as f64 / POWERS.get(scale).unwrap_or(&1.0))
}

struct Planes<'a> {
    planes: &'a [Vec<u8>; PLANES],
    at: [usize; PLANES],
}

impl Planes<'_> {
    #[inline]
    fn take(&mut self, bytes: usize) -> Result<u64, DecodeError> {
        let mut packed = 0;
        for (nth, (plane, at)) in self.planes.iter().zip(&mut self.at).enumerate().take(bytes) {
            let byte = plane.get(*at).ok_or(DecodeError::Malformed("values end too early"))?;
            *at += 1;
            packed |= u64::from(*byte) << (8 * nth);
        }
        Ok(packed)
    }

    fn end(&self) -> Result<(), DecodeError> {
        let all = self.planes.iter().zip(self.at).all(|(plane, at)| plane.len() == at);
        if all { Ok(()) } else { Err(DecodeError::Malformed("bytes of values that no value has")) }
    }
}
