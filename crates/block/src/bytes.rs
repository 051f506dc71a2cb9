//! Numbers in bytes and bits, read without trusting a single one of them.

use crate::error::Malformed;

/// Appends a number, seven bits a byte, lowest first, the high bit set on all but the last byte (LEB128).
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a number of either sign, small ones of both signs short.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

/// 0, -1, 1, -2, 2 ... become 0, 1, 2, 3, 4 ...
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

const SHORT: Malformed = Malformed("ends too early");

/// Reads from the front of bytes.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Begins at an offset that was itself read from somewhere.
    pub(crate) fn at(bytes: &'a [u8], offset: usize) -> Result<Self, Malformed> {
        bytes.get(offset..).map(Self::new).ok_or(Malformed("an offset points outside"))
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let (mut value, mut shift) = (0u64, 0);
        for (at, &byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
            shift += 7;
        }
        Err(Malformed("a number does not end"))
    }

    /// A number that counts something in memory, refused above `limit`.
    #[inline]
    pub(crate) fn count(&mut self, limit: usize) -> Result<usize, Malformed> {
        let value = self.varint()?;
        usize::try_from(value).ok().filter(|&v| v <= limit).ok_or(Malformed("a count is too large"))
    }

    #[inline]
    pub(crate) fn signed(&mut self) -> Result<i64, Malformed> {
        self.varint().map(unzigzag)
    }

    /// How many bytes are left.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }
}

/// How many bits tell `count` things apart: none where there is only one.
pub(crate) fn bits_for(count: u32) -> u32 {
    u32::BITS - count.saturating_sub(1).leading_zeros()
}

/// Writes numbers of a few bits each, lowest bit first.
#[derive(Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    pending: u64,
    filled: u32,
}

impl BitWriter {
    /// Appends the lowest `bits` (at most 32) bits of a value that has no others.
    pub(crate) fn push(&mut self, value: u32, bits: u32) {
        self.pending |= u64::from(value) << self.filled;
        self.filled += bits;
        while self.filled >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.filled -= 8;
        }
    }

    /// Fills the last byte with zeros.
    pub(crate) fn align(&mut self) {
        if self.filled > 0 {
            self.bytes.push(self.pending as u8);
            (self.pending, self.filled) = (0, 0);
        }
    }

    /// How many whole bytes were written.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads what [`BitWriter`] wrote. Holds only a position, so that it can be kept apart from the bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BitPosition(pub usize);

impl BitPosition {
    /// The next `bits` (at most 32) bits.
    #[inline]
    pub(crate) fn read(&mut self, bytes: &[u8], bits: u32) -> Result<u32, Malformed> {
        let (from, offset) = (self.0 / 8, self.0 % 8);
        let end = self.0 + bits as usize;
        if end > bytes.len() * 8 {
            return Err(SHORT);
        }
        let tail = bytes.get(from..).unwrap_or_default();
        let word = match tail.first_chunk::<8>() {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => tail.iter().rev().fold(0, |word, &byte| (word << 8) | u64::from(byte)),
        };
        self.0 = end;
        Ok(((word >> offset) & ((1u64 << bits) - 1)) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_numbers_without_end() {
        assert!(Cursor::new(&[0xff; 10]).varint().is_err());
        assert!(Cursor::new(&[0x80]).varint().is_err());
        assert!(Cursor::new(&[5]).count(4).is_err());
    }

    proptest! {
        #[test]
        fn numbers_come_back(values in prop::collection::vec(any::<i64>(), 0..20)) {
            let mut out = Vec::new();
            for &value in &values {
                put_signed(&mut out, value);
            }
            let mut cursor = Cursor::new(&out);
            for &value in &values {
                prop_assert_eq!(cursor.signed(), Ok(value));
            }
            prop_assert_eq!(cursor.remaining(), 0);
        }

        #[test]
        fn bits_come_back(values in prop::collection::vec((any::<u32>(), 0..=32u32), 0..40)) {
            let mut writer = BitWriter::default();
            let cut = |value: u32, bits: u32| (u64::from(value) & ((1u64 << bits) - 1)) as u32;
            for &(value, bits) in &values {
                writer.push(cut(value, bits), bits);
            }
            writer.align();
            let bytes = writer.into_bytes();
            let mut position = BitPosition::default();
            for &(value, bits) in &values {
                prop_assert_eq!(position.read(&bytes, bits), Ok(cut(value, bits)));
            }
            prop_assert!(bytes.len() * 8 - position.0 < 8);
            prop_assert!(position.read(&bytes, 8).is_err());
        }
    }
}
