//! Parts of a message: bytes, each part compressed by itself where that helps, and numbers of variable length in them.

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::compress_bound;

use crate::{DecodeError, Limits};

const ENDS_EARLY: DecodeError = DecodeError::Malformed("it ends too early");

/// Seven bits a byte, the lowest first.
#[inline]
pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[inline]
pub(crate) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

#[inline]
pub(crate) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Compresses parts that are long enough. Parts that do not become smaller stay as they are.
#[derive(Default)]
pub(crate) struct Packer {
    compressor: Option<(i32, Compressor<'static>)>,
    compressed: Vec<u8>,
}

impl Packer {
    /// Appends a part, compressed at `level` where it has at least `from` bytes and becomes smaller.
    pub(crate) fn put(&mut self, out: &mut Vec<u8>, part: &[u8], level: i32, from: usize) {
        if part.len() >= from && self.compress(part, level) && self.compressed.len() + 2 < part.len() {
            put_number(out, (part.len() as u64) << 1 | 1);
            put_number(out, self.compressed.len() as u64);
            out.extend_from_slice(&self.compressed);
        } else {
            put_number(out, (part.len() as u64) << 1);
            out.extend_from_slice(part);
        }
    }

    fn compress(&mut self, part: &[u8], level: i32) -> bool {
        if self.compressor.as_ref().is_none_or(|(at, _)| *at != level) {
            self.compressor = Compressor::new(level).ok().map(|compressor| (level, compressor));
        }
        let Some((_, compressor)) = &mut self.compressor else { return false };
        self.compressed.clear();
        self.compressed.reserve(compress_bound(part.len()));
        compressor.compress_to_buffer(part, &mut self.compressed).is_ok()
    }
}

/// Gives the bytes of parts back.
#[derive(Default)]
pub(crate) struct Unpacker {
    decompressor: Option<Decompressor<'static>>,
}

impl Unpacker {
    /// Reads a part into `into`. `room` is how many decompressed bytes the message may still have.
    pub(crate) fn take(
        &mut self,
        reader: &mut Reader<'_>,
        into: &mut Vec<u8>,
        room: &mut usize,
        limits: &Limits,
    ) -> Result<(), DecodeError> {
        into.clear();
        let header = reader.number()?;
        let length = usize::try_from(header >> 1).ok().filter(|length| length <= room);
        let length = length.ok_or(DecodeError::TooLarge(limits.max_decoded_bytes))?;
        *room -= length;
        if header & 1 == 0 {
            into.extend_from_slice(reader.bytes(length)?);
            return Ok(());
        }
        let compressed = reader.length()?;
        let compressed = reader.bytes(compressed)?;
        if self.decompressor.is_none() {
            self.decompressor = Decompressor::new().ok();
        }
        let decompressor = self.decompressor.as_mut().ok_or(DecodeError::Malformed("no memory to decompress it"))?;
        into.reserve(length);
        let written = decompressor.decompress_to_buffer(compressed, into);
        match written {
            Ok(written) if written == length => Ok(()),
            _ => Err(DecodeError::Malformed("a part does not decompress to what it claims")),
        }
    }
}

/// Goes past a part.
pub(crate) fn skip_part(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    let header = reader.number()?;
    let bytes = if header & 1 == 0 { header >> 1 } else { reader.number()? };
    reader.bytes(usize::try_from(bytes).unwrap_or(usize::MAX)).map(|_| ())
}

/// Bytes that were not read yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Malformed("bytes after its end")) }
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.rest.split_first().ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(*array)
    }

    #[inline]
    pub(crate) fn number(&mut self) -> Result<u64, DecodeError> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut number = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(DecodeError::Malformed("a number is too long"))
    }

    /// A number of bytes, or of things of a byte at least: never more than there are.
    pub(crate) fn length(&mut self) -> Result<usize, DecodeError> {
        let length = usize::try_from(self.number()?).ok().filter(|length| *length <= self.rest.len());
        length.ok_or(ENDS_EARLY)
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// What [`put_text`] wrote; not checked to be UTF-8.
    pub(crate) fn raw_text(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length()?;
        self.bytes(length)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.raw_text()?).map_err(|_| DecodeError::Malformed("text is not UTF-8"))
    }
}
