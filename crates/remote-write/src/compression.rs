//! From the body of a request to its message: what is claimed about sizes is checked before memory is reserved.

use zstd::zstd_safe::{DCtx, get_error_name, get_frame_content_size};

use crate::{DecodeError, DecodeLimits};

/// How a body is compressed: the value of `Content-Encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Snappy's block format, which everybody speaks.
    #[default]
    Snappy,
    /// Zstandard (RFC 8878): between our tiers, and from vmagent.
    Zstd,
}

impl Compression {
    /// Every one, for metrics that exist from the start.
    pub const ALL: [Self; 2] = [Self::Snappy, Self::Zstd];

    /// The value of the header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snappy => "snappy",
            Self::Zstd => "zstd",
        }
    }
}

/// Messages up to this size may be compressed as well as they like.
const ANY_RATIO_BYTES: usize = 1 << 20;
/// The first guess at the size of a message that does not say it.
const FIRST_GUESS: usize = 64 << 10;
/// What stays readable behind a message: [`crate::symbols`] copies in steps of this size at most.
pub(crate) const SLACK: usize = 64;
/// `ZSTD_error_dstSize_tooSmall`, as functions return it.
const TOO_SMALL: usize = 70_usize.wrapping_neg();

/// Decompresses one body after another.
#[derive(Default)]
pub(crate) struct Decompressor {
    /// The decompressed message at its front, then [`SLACK`].
    message: Vec<u8>,
    zstd: Option<DCtx<'static>>,
}

impl Decompressor {
    /// Bytes of heap that it holds, without the context of zstd: that has one size.
    pub(crate) fn size_bytes(&self) -> usize {
        self.message.capacity()
    }

    /// The message, and how long it is; [`SLACK`] bytes without meaning follow it.
    pub(crate) fn run(
        &mut self,
        body: &[u8],
        compression: Compression,
        limits: &DecodeLimits,
    ) -> Result<(&[u8], usize), DecodeError> {
        // Places in a message are kept in four bytes.
        let limit = limits.max_decoded_bytes.min(u32::MAX as usize - SLACK);
        let honest = body.len().saturating_mul(limits.max_ratio).max(ANY_RATIO_BYTES);
        let refusal = match honest < limit {
            true => DecodeError::Ratio(limits.max_ratio),
            false => DecodeError::TooLarge(limit),
        };
        let length = match compression {
            Compression::Snappy => snappy(body, limit.min(honest), refusal, &mut self.message)?,
            Compression::Zstd => self.zstd(body, limit.min(honest), refusal)?,
        };
        Ok((&self.message, length))
    }

    /// Frames say how large they become, or they do not; what they say is a guess like any other, since more may follow.
    fn zstd(&mut self, body: &[u8], limit: usize, refusal: DecodeError) -> Result<usize, DecodeError> {
        let zstd = self.zstd.get_or_insert_with(DCtx::create);
        let said = get_frame_content_size(body).map_err(|_| DecodeError::Zstd("not a frame of zstd".to_owned()))?;
        let mut guess = match said {
            Some(bytes) => match usize::try_from(bytes) {
                Ok(bytes) if bytes <= limit => bytes,
                _ => return Err(refusal),
            },
            None => self.message.len().saturating_sub(SLACK).max(FIRST_GUESS).min(limit),
        };
        loop {
            reserve(&mut self.message, guess);
            // The whole message at once: so no window is kept beside it, however large a frame claims to need one.
            match zstd.decompress(self.message.get_mut(..guess).unwrap_or_default(), body) {
                Ok(length) => return Ok(length),
                Err(TOO_SMALL) if guess < limit => guess = guess.max(FIRST_GUESS).saturating_mul(4).min(limit),
                Err(TOO_SMALL) => return Err(refusal),
                Err(code) => return Err(DecodeError::Zstd(get_error_name(code).to_owned())),
            }
        }
    }
}

/// Decompresses snappy's block format to the front of `message`; returns how much of it. `refusal` when it claims to be
/// larger than `limit`.
pub(crate) fn snappy(
    body: &[u8],
    limit: usize,
    refusal: DecodeError,
    message: &mut Vec<u8>,
) -> Result<usize, DecodeError> {
    let bytes = snap::raw::decompress_len(body)?;
    if bytes > limit {
        return Err(refusal);
    }
    reserve(message, bytes);
    Ok(snap::raw::Decoder::new().decompress(body, message.get_mut(..bytes).unwrap_or_default())?)
}

fn reserve(message: &mut Vec<u8>, bytes: usize) {
    if message.len() < bytes + SLACK {
        message.resize(bytes + SLACK, 0);
    }
}
