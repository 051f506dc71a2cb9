//! What a message may ask of who reads it, and why one is refused.

/// Bounds for messages from elsewhere; the defaults are those of remote write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all parts after decompression, and of the labels of all definitions when they are written out.
    pub max_decoded_bytes: usize,
    /// Labels of one series.
    pub max_labels: usize,
    /// Bytes of one label name.
    pub max_name_bytes: usize,
    /// Bytes of one label value.
    pub max_value_bytes: usize,
    /// Rows, exemplars and native histograms of one message together.
    pub max_samples: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_decoded_bytes: 32 << 20,
            max_labels: 128,
            max_name_bytes: 1024,
            max_value_bytes: 16 << 10,
            max_samples: 2 << 20,
        }
    }
}

/// A message that is refused whole. The sender must not send it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a later version.
    #[error("the message has version {0} of its format, and version 1 is understood here; send remote write instead")]
    UnknownVersion(u8),
    /// Larger than allowed, by its own claim.
    #[error("the message decodes to more than the {0} bytes allowed; send smaller ones")]
    TooLarge(usize),
    /// More rows than allowed.
    #[error("the message holds more than the {0} samples, exemplars and histograms allowed; send smaller ones")]
    TooManySamples(usize),
    /// Not what an encoder writes.
    #[error("malformed message: {0}")]
    Malformed(&'static str),
}
