//! The checksum of a body, which neither snappy nor HTTP have: without it a bit that changed on the way is a bad request, or
//! worse, a good one with another value.

use std::fmt;

/// The header between our tiers (docs/formats/remote-write.md); whoever does not know it ignores it.
pub const CHECKSUM_HEADER: &str = "Highwater-Checksum";

/// How the only kind begins.
const KIND: &str = "crc32c=";

/// CRC-32C (RFC 3720, appendix B.4) of a body as it is sent. Written as `crc32c=` and eight hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum(u32);

impl Checksum {
    /// Of these bytes.
    pub fn of(body: &[u8]) -> Self {
        Self(crc32c::crc32c(body))
    }

    /// Reads the header's value; `None` for what is no checksum, or of another kind.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.trim().strip_prefix(KIND).filter(|digits| digits.len() == 8)?;
        u32::from_str_radix(digits, 16).ok().map(Self)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KIND}{:08x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_survives_its_header_and_notices_every_bit() {
        let body: Vec<u8> = (0..64).collect();
        let checksum = Checksum::of(&body);
        assert_eq!(Checksum::parse(&checksum.to_string()), Some(checksum));
        assert_eq!(Checksum::of(b"123456789").to_string(), "crc32c=e3069283");
        for bit in 0..body.len() * 8 {
            let mut damaged = body.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Checksum::of(&damaged), checksum, "bit {bit}");
        }
        for text in ["", "crc32c=", "crc32c=e306928", "crc32c=e30692833", "crc32c=e306928x", "md5=e3069283"] {
            assert_eq!(Checksum::parse(text), None, "{text}");
        }
    }
}
