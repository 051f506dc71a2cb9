//! Bits, most significant first.

/// Appends bits to bytes.
#[derive(Debug)]
pub(crate) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Bits of the last byte that are not used yet.
    free: u32,
}

impl<'a> BitWriter<'a> {
    /// Goes on after the bytes that are there.
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, free: 0 }
    }

    /// Writes the low `count` bits of `value`; `count` is at most 64.
    pub(crate) fn put(&mut self, value: u64, count: u32) {
        let mut left = count;
        while left > 0 {
            if self.free == 0 {
                self.out.push(0);
                self.free = 8;
            }
            let now = left.min(self.free);
            let part = (value >> (left - now)) as u8 & (0xff >> (8 - now));
            if let Some(last) = self.out.last_mut() {
                *last |= part << (self.free - now);
            }
            self.free -= now;
            left -= now;
        }
    }
}

/// Takes bits from bytes.
#[derive(Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Taken from `bytes`, not handed out yet: the low `available` bits.
    held: u64,
    available: u32,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, held: 0, available: 0 }
    }

    /// The next bit.
    #[inline]
    pub(crate) fn bit(&mut self) -> Option<bool> {
        self.take(1).map(|bit| bit == 1)
    }

    /// The next `count` bits, of which there are at most 64.
    #[inline]
    pub(crate) fn take(&mut self, count: u32) -> Option<u64> {
        if count <= self.available {
            self.available -= count;
            return Some((self.held >> self.available) & mask(count));
        }
        let missing = count - self.available;
        let high = self.held & mask(self.available);
        self.refill()?;
        if missing > self.available {
            return None;
        }
        self.available -= missing;
        let low = (self.held >> self.available) & mask(missing);
        Some(if missing == 64 { low } else { (high << missing) | low })
    }

    /// Holds the next eight bytes, or as many as there are.
    fn refill(&mut self) -> Option<()> {
        if let Some((word, rest)) = self.bytes.split_first_chunk::<8>() {
            (self.held, self.available, self.bytes) = (u64::from_be_bytes(*word), 64, rest);
        } else if self.bytes.is_empty() {
            return None;
        } else {
            self.held = self.bytes.iter().fold(0, |held, byte| (held << 8) | u64::from(*byte));
            self.available = self.bytes.len() as u32 * 8;
            self.bytes = &[];
        }
        Some(())
    }
}

#[inline]
fn mask(count: u32) -> u64 {
    if count == 0 { 0 } else { u64::MAX >> (64 - count) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_come_back(parts in prop::collection::vec((any::<u64>(), 1u32..=64), 0..50)) {
            let mut bytes = Vec::new();
            let mut writer = BitWriter::new(&mut bytes);
            parts.iter().for_each(|(value, count)| writer.put(*value, *count));
            let mut reader = BitReader::new(&bytes);
            for (value, count) in &parts {
                prop_assert_eq!(reader.take(*count), Some(value & mask(*count)));
            }
            prop_assert_eq!(reader.take(8), None);
        }
    }
}
