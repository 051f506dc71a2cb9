//! How samples are kept: chunks of up to 256 samples of one series, bit-packed, bit-exact.
//!
//! A chunk is a stream of bits. Per sample it holds
//! 1. the time as the change of the distance to the sample before: `0` none, `10` and 8 bits, `110` and 16 bits,
//!    `111` and 34 bits, zigzag;
//! 2. the value as the change of an integer: `0` none, `10` and a field of the current width, `11` and a new width (or
//!    the mark of a raw value) and then the field ([`integers`]). What the integer is, the chunk's [`Mode`] says;
//! 3. in [`Mode::Near`] only, the change of the correction: `0` none, `10` and a sign for one, `11` and 6 bits of length
//!    and as many bits.
//!
//! None of this ever reaches a disk: blocks have their own columns.

mod bits;
mod chunk;
mod integers;
mod mode;
#[cfg(test)]
mod tests;

pub(crate) use chunk::{Chunk, Growing};
