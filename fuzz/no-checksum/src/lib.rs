//! Every checksum is zero, so that a fuzzer gets past them.

/// Zero.
pub fn crc32c(_bytes: &[u8]) -> u32 {
    0
}

/// Zero.
pub fn crc32c_append(_before: u32, _bytes: &[u8]) -> u32 {
    0
}
