//! `Sample`, which 1.0 and 2.0 share but for the start timestamp.

use model::{Sample, TimestampMs};
use prost::encoding::WireType;

use crate::DecodeError;
use crate::protobuf::{Field, Reader, fields, key};
use crate::wire;

const VALUE: u8 = key(wire::SAMPLE_VALUE, WireType::SixtyFourBit);
const TIMESTAMP: u8 = key(wire::SAMPLE_TIMESTAMP, WireType::Varint);
const START: u8 = key(wire::SAMPLE_START, WireType::Varint);
/// Bytes of every timestamp in milliseconds from 2004 to 2109.
const USUAL: usize = 6;

/// A sample, and whether it said when its counter began.
#[inline]
pub(crate) fn sample(message: &[u8]) -> Result<(Sample, bool), DecodeError> {
    if let Some((head, rest)) = message.split_first_chunk::<10>()
        && let [VALUE, bits @ .., TIMESTAMP] = head
    {
        let value = f64::from_bits(u64::from_le_bytes(*bits));
        let at = |ms: u64| Sample { timestamp: TimestampMs(ms as i64), value };
        if let Some(ms) = whole_varint(rest) {
            return Ok((at(ms), false));
        }
        if let Some((ms, start)) = rest.split_at_checked(USUAL)
            && let (Some(ms), [START, start @ ..]) = (whole_varint(ms), start)
            && let Some(start) = whole_varint(start)
        {
            return Ok((at(ms), start != 0));
        }
    }
    any_order(message)
}

/// A number that fills `bytes` to the end.
#[inline]
fn whole_varint(bytes: &[u8]) -> Option<u64> {
    if let &[a, b, c, d, e, f] = bytes
        && a & b & c & d & e >= 0x80
        && f < 0x80
    {
        let part = |byte: u8, place: u32| u64::from(byte & 0x7f) << (7 * place);
        return Some(part(a, 0) | part(b, 1) | part(c, 2) | part(d, 3) | part(e, 4) | part(f, 5));
    }
    let mut rest = Reader::new(bytes);
    rest.varint().ok().filter(|_| rest.is_at_end())
}

fn any_order(message: &[u8]) -> Result<(Sample, bool), DecodeError> {
    let (mut sample, mut starts) = (Sample { timestamp: TimestampMs(0), value: 0.0 }, false);
    fields(message, |number, field| match (number, field) {
        (wire::SAMPLE_VALUE, Field::Fixed64(bits)) => sample.value = f64::from_bits(bits),
        (wire::SAMPLE_TIMESTAMP, Field::Varint(ms)) => sample.timestamp = TimestampMs(ms as i64),
        (wire::SAMPLE_START, Field::Varint(ms)) => starts = ms != 0,
        _ => {}
    })?;
    Ok((sample, starts))
}
