//! Numbers and strings as Go's `encoding/binary` writes them: big-endian words, varints of seven bits a byte (zigzag
//! where signed), strings after their length.

/// Reads from the front of a slice. Every read is checked; after a `None` the position means nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// At most ten bytes; of the tenth only one bit fits.
    pub(crate) fn uvarint(&mut self) -> Option<u64> {
        let mut out = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                return None;
            }
            out |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(out);
            }
        }
        None
    }

    pub(crate) fn varint(&mut self) -> Option<i64> {
        let folded = self.uvarint()?;
        Some((folded >> 1) as i64 ^ -((folded & 1) as i64))
    }

    /// A length that something in memory may have.
    pub(crate) fn length(&mut self) -> Option<usize> {
        usize::try_from(self.uvarint()?).ok()
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).ok()
    }
}

pub(crate) fn put_uvarint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(crate) fn put_varint(out: &mut Vec<u8>, number: i64) {
    put_uvarint(out, ((number << 1) ^ (number >> 63)) as u64);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uvarint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(unsigned: u64, signed: i64, text in "\\PC*") {
            let mut bytes = Vec::new();
            put_uvarint(&mut bytes, unsigned);
            put_varint(&mut bytes, signed);
            put_text(&mut bytes, &text);
            let mut cursor = Cursor(&bytes);
            prop_assert_eq!(cursor.uvarint(), Some(unsigned));
            prop_assert_eq!(cursor.varint(), Some(signed));
            prop_assert_eq!(cursor.text(), Some(text.as_str()));
            prop_assert!(cursor.is_empty());
        }
    }

    #[test]
    fn refuses_what_does_not_end() {
        assert_eq!(Cursor(&[0xff; 10]).uvarint(), None);
        assert_eq!(Cursor(&[0x80]).uvarint(), None);
        assert_eq!(Cursor(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).uvarint(), Some(u64::MAX));
        assert_eq!(Cursor(&[9, b'a']).text(), None);
        assert_eq!(Cursor(&[1, 0xff]).text(), None);
        assert_eq!(Cursor(&[1, 2, 3]).u32(), None);
    }
}
