//! XOR chunks: timestamps as differences of differences, values as what changed of their bits (Pelkonen et al.,
//! "Gorilla", VLDB 2015, with Prometheus' widths). A chunk is a 16-bit count, the first sample in full, the second
//! timestamp as a difference, and from there on bits.

use model::SampleBuffer;

use crate::bits::{BitReader, BitWriter};
use crate::bytes::{Cursor, put_uvarint, put_varint};

/// How differences of differences are written: after so many one bits (and a zero, but for the last), in so many bits.
const WIDTHS: [(u32, u32); 4] = [(1, 14), (2, 17), (3, 20), (4, 64)];
/// Leading zeros are written in five bits.
const MAX_LEADING: u32 = 31;

/// Bits that the last value with a new window changed: `(leading, trailing)` zeros around them.
type Window = (u32, u32);

/// Writes up to 65,535 samples, in order of time, as a chunk. The slices are equally long.
pub fn encode_xor(timestamps: &[i64], values: &[f64], out: &mut Vec<u8>) {
    let count = timestamps.len().min(values.len()).min(usize::from(u16::MAX));
    out.extend_from_slice(&(count as u16).to_be_bytes());
    let mut samples = timestamps.iter().copied().zip(values.iter().map(|v| v.to_bits())).take(count);
    let Some((first_timestamp, first_bits)) = samples.next() else { return };
    put_varint(out, first_timestamp);
    out.extend_from_slice(&first_bits.to_be_bytes());
    let Some((second_timestamp, second_bits)) = samples.next() else { return };
    let mut delta = second_timestamp.wrapping_sub(first_timestamp);
    put_uvarint(out, delta as u64);
    let mut bits = BitWriter::new(out);
    let mut window = None;
    put_value(&mut bits, first_bits ^ second_bits, &mut window);
    let mut last = (second_timestamp, second_bits);
    for (timestamp, value) in samples {
        let next_delta = timestamp.wrapping_sub(last.0);
        put_difference(&mut bits, next_delta.wrapping_sub(delta));
        put_value(&mut bits, last.1 ^ value, &mut window);
        (delta, last) = (next_delta, (timestamp, value));
    }
}

fn put_difference(bits: &mut BitWriter<'_>, difference: i64) {
    if difference == 0 {
        return bits.put(0, 1);
    }
    for (ones, width) in WIDTHS {
        if width == 64 {
            bits.put(0b1111, 4);
            bits.put(difference as u64, 64);
        } else {
            let half = 1 << (width - 1);
            // The range leans to the positive side: -(half - 1) to half.
            if difference > half || difference <= -half {
                continue;
            }
            bits.put(u64::MAX << 1, ones + 1);
            bits.put(difference as u64, width);
            return;
        }
    }
}

fn put_value(bits: &mut BitWriter<'_>, changed: u64, window: &mut Option<Window>) {
    if changed == 0 {
        return bits.put(0, 1);
    }
    bits.put(1, 1);
    let (leading, trailing) = (changed.leading_zeros().min(MAX_LEADING), changed.trailing_zeros());
    let (leading, trailing) = match *window {
        Some((l, t)) if leading >= l && trailing >= t => {
            bits.put(0, 1);
            (l, t)
        }
        _ => {
            *window = Some((leading, trailing));
            bits.put(1, 1);
            bits.put(u64::from(leading), 5);
            // 64 does not fit into six bits and is written as 0.
            bits.put(u64::from(64 - leading - trailing), 6);
            (leading, trailing)
        }
    };
    bits.put(changed >> trailing, 64 - leading - trailing);
}

/// Adds the samples of a chunk to the end of `into`; `None` when the bytes are no chunk, with some of them added.
#[must_use]
pub fn decode_xor(chunk: &[u8], into: &mut SampleBuffer) -> Option<()> {
    let mut cursor = Cursor(chunk);
    let count = usize::from(cursor.u16()?);
    if count == 0 {
        return Some(());
    }
    let mut timestamp = cursor.varint()?;
    let mut value = cursor.u64()?;
    into.push(timestamp, f64::from_bits(value));
    if count == 1 {
        return Some(());
    }
    let mut delta = cursor.uvarint()? as i64;
    let mut bits = BitReader::new(cursor.0);
    let mut window = (0, 0);
    for at in 1..count {
        if at > 1 {
            delta = delta.wrapping_add(take_difference(&mut bits)?);
        }
        timestamp = timestamp.wrapping_add(delta);
        value ^= take_value(&mut bits, &mut window)?;
        into.push(timestamp, f64::from_bits(value));
    }
    Some(())
}

#[inline]
fn take_difference(bits: &mut BitReader<'_>) -> Option<i64> {
    let mut ones = 0;
    while ones < 4 && bits.bit()? {
        ones += 1;
    }
    let Some((_, width)) = WIDTHS.iter().find(|(n, _)| *n == ones) else { return Some(0) };
    let raw = bits.take(*width)?;
    let wraps = *width < 64 && raw > 1 << (width - 1);
    Some(if wraps { raw as i64 - (1 << width) } else { raw as i64 })
}

#[inline]
fn take_value(bits: &mut BitReader<'_>, window: &mut Window) -> Option<u64> {
    if !bits.bit()? {
        return Some(0);
    }
    if bits.bit()? {
        let leading = bits.take(5)? as u32;
        let significant = match bits.take(6)? as u32 {
            0 => 64,
            some => some,
        };
        *window = (leading, 64u32.checked_sub(leading + significant)?);
    }
    let (leading, trailing) = *window;
    Some(bits.take(64 - leading - trailing)? << trailing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(samples: &[(i64, f64)]) {
        let (timestamps, values): (Vec<i64>, Vec<f64>) = samples.iter().copied().unzip();
        let mut chunk = Vec::new();
        encode_xor(&timestamps, &values, &mut chunk);
        let mut back = SampleBuffer::default();
        decode_xor(&chunk, &mut back).expect("is a chunk");
        assert_eq!(back.timestamps, timestamps);
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back.values), bits(&values));
    }

    #[test]
    fn a_chunk_has_the_bytes_prometheus_writes() {
        let mut chunk = Vec::new();
        encode_xor(&[1000, 2000, 3000], &[1.0, 1.0, 2.0], &mut chunk);
        // Count 3; varint 1000; 1.0; uvarint 1000; then 0 | 0 | 11 00001 001011 11111111111: same value, same distance,
        // a new window of 11 bits after 1 leading zero.
        let head = [0, 3, 0xd0, 0x0f, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 0xe8, 0x07];
        let tail = [0b0011_0000, 0b1001_0111, 0b1111_1111, 0b1100_0000];
        assert_eq!(chunk, [&head[..], &tail[..]].concat());
    }

    #[test]
    fn widths_are_kept_at_their_edges() {
        for edge in [8191i64, 8192, 8193, 65535, 65536, 65537, 524_287, 524_288, 524_289, 1 << 40] {
            for difference in [edge, -edge] {
                let start = 1 << 50;
                check(&[(start, 0.0), (start + (1 << 41), 0.0), (start + (2 << 41) + difference, 1.0)]);
            }
        }
    }

    proptest! {
        #[test]
        fn samples_come_back(samples in prop::collection::vec((any::<i64>(), any::<u64>()), 0..300)) {
            check(&samples.into_iter().map(|(t, v)| (t, f64::from_bits(v))).collect::<Vec<_>>());
        }

        #[test]
        fn regular_samples_come_back(start: i32, steps in prop::collection::vec((0i64..40, 0u8..4), 0..300)) {
            let mut last = (i64::from(start) * 1000, 0.0);
            check(&steps.into_iter().map(|(jitter, grown)| {
                last = (last.0 + 14_980 + jitter, last.1 + f64::from(grown));
                last
            }).collect::<Vec<_>>());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut into = SampleBuffer::default();
            let _ = decode_xor(&bytes, &mut into);
            prop_assert!(into.len() <= 8 * bytes.len());
        }
    }
}
