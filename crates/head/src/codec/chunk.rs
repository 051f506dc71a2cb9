//! One chunk: while it grows, and when it is closed.

use std::sync::Arc;

use model::{SampleBuffer, TimeRange};

use super::bits::{BitReader, BitWriter, low_bits};
use super::integers::{FIELD_BITS, Field, RAW};
use super::mode::Mode;

/// Samples of one chunk at most: few enough to look one up by decoding, enough to forget what a chunk costs.
const MAX_SAMPLES: u16 = 256;
/// Samples further apart begin a new chunk.
const MAX_GAP_MS: u64 = u32::MAX as u64;
/// Up to so many samples are encoded anew when a value does not fit the mode; longer chunks are closed.
const MAX_REWRITE: u16 = 32;
/// Values that are written out in a chunk before it is given up for them.
const MAX_RAW: u8 = 8;
/// Words before the samples of a closed chunk: first and last timestamp, and count and mode.
const HEADER_WORDS: usize = 3;

/// A closed chunk. Never changes; a copy is a handle.
#[derive(Debug, Clone)]
pub(crate) struct Chunk(Arc<[u64]>);

impl Chunk {
    fn header(&self, at: usize) -> u64 {
        self.0.get(at).copied().unwrap_or(0)
    }

    /// Time of its first sample.
    pub(crate) fn first(&self) -> i64 {
        self.header(0) as i64
    }

    /// Time of its last sample.
    pub(crate) fn last(&self) -> i64 {
        self.header(1) as i64
    }

    /// How many samples it has: at least one.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.header(2) as u16)
    }

    pub(crate) fn overlaps(&self, range: TimeRange) -> bool {
        self.first() <= range.end.0 && self.last() >= range.start.0
    }

    /// Bytes of heap.
    pub(crate) fn size_bytes(&self) -> usize {
        size_of_val(&*self.0) + 2 * size_of::<usize>()
    }

    /// Calls `each` with every sample in order until it returns false.
    #[inline]
    pub(crate) fn each(&self, each: impl FnMut(i64, f64) -> bool) {
        // Chunks are made here alone, so there is none of another mode; it would have no samples.
        let Some(mode) = Mode::decode((self.header(2) >> 16) as u8) else { return };
        let words = self.0.get(HEADER_WORDS..).unwrap_or_default();
        decode(words, self.first(), self.header(2) as u16, mode, each);
    }

    /// Appends the samples within `range`.
    pub(crate) fn read(&self, range: TimeRange, into: &mut SampleBuffer) {
        let (start, end) = (range.start.0, range.end.0);
        into.timestamps.reserve(self.len());
        into.values.reserve(self.len());
        if start <= self.first() && self.last() <= end {
            return self.each(|timestamp, value| {
                into.push(timestamp, value);
                true
            });
        }
        self.each(|timestamp, value| {
            if start <= timestamp && timestamp <= end {
                into.push(timestamp, value);
            }
            timestamp < end
        });
    }

    /// The value at exactly one time.
    pub(crate) fn find(&self, wanted: i64) -> Option<f64> {
        let mut found = None;
        self.each(|timestamp, value| {
            if timestamp == wanted {
                found = Some(value);
            }
            timestamp < wanted
        });
        found
    }
}

/// A chunk that still takes samples, each newer than all before it, or an empty one that remembers the last it took.
#[derive(Debug)]
pub(crate) struct Growing {
    bits: BitWriter,
    field: Field,
    first: i64,
    last: i64,
    /// The integer of the last value that was not written out.
    integer: i64,
    /// Distance between the last two samples.
    gap: u32,
    correction: i16,
    count: u16,
    raw: u8,
    /// Whether the last value was written out.
    last_is_raw: bool,
    mode: Mode,
    /// The mode to begin the next chunk in, where its first value fits.
    next: Option<Mode>,
}

impl Default for Growing {
    fn default() -> Self {
        Self {
            bits: BitWriter::default(),
            field: Field::default(),
            first: i64::MIN,
            last: i64::MIN,
            integer: 0,
            gap: 0,
            correction: 0,
            count: 0,
            raw: 0,
            last_is_raw: false,
            mode: Mode::Bits,
            next: None,
        }
    }
}

impl Growing {
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Time of the first sample.
    pub(crate) fn first(&self) -> i64 {
        self.first
    }

    /// Time of the newest sample ever taken, also by chunks closed since.
    #[inline]
    pub(crate) fn last(&self) -> i64 {
        self.last
    }

    /// An empty one takes nothing any more: every time counts as one that it has passed.
    pub(crate) fn shut(&mut self) {
        self.last = i64::MAX;
    }

    /// The newest sample, where it is known without decoding.
    #[inline]
    pub(crate) fn newest(&self) -> Option<(i64, f64)> {
        let known = self.count > 0 && !self.last_is_raw;
        known.then(|| (self.last, self.mode.value(self.integer, i64::from(self.correction))))
    }

    /// How many samples it has.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Bytes of heap.
    #[inline]
    pub(crate) fn heap_bytes(&self) -> usize {
        self.bits.capacity() * size_of::<u64>()
    }

    /// Appends a sample newer than [`Growing::last`]. False when it has to be closed first; an empty one never has to.
    #[inline]
    pub(crate) fn push(&mut self, timestamp: i64, value: f64) -> bool {
        if self.count == 0 {
            let next = self.next.filter(|mode| mode.integer(value).is_some());
            self.begin(timestamp, next.or_else(|| Mode::of(value)).unwrap_or(Mode::Exact(0)));
        }
        self.push_begun(timestamp, value)
    }

    #[inline]
    fn push_begun(&mut self, timestamp: i64, value: f64) -> bool {
        // Correct whatever the two are, since the newer one is larger.
        let gap = timestamp.wrapping_sub(self.last) as u64;
        if self.count == MAX_SAMPLES || gap > MAX_GAP_MS {
            return false;
        }
        let Some((integer, correction)) = self.mode.integer(value) else {
            return self.push_misfit(timestamp, value);
        };
        let delta = integer.wrapping_sub(self.integer);
        if delta == i64::MIN {
            return self.push_raw(timestamp, value);
        }
        let (time, length) = self.time(timestamp, gap as u32);
        self.last_is_raw = false;
        if delta == 0 {
            self.bits.put(time, length + 1);
        } else {
            self.put_delta(delta, time, length);
            self.integer = integer;
        }
        if let Mode::Near(_) = self.mode {
            self.put_correction(correction);
        }
        true
    }

    /// Takes note of the time of one more sample. Returns its bits.
    #[inline]
    fn time(&mut self, timestamp: i64, gap: u32) -> (u64, u32) {
        let change = i64::from(gap) - i64::from(self.gap);
        self.gap = gap;
        self.last = timestamp;
        self.count += 1;
        let zigzag = ((change << 1) ^ (change >> 63)) as u64;
        match zigzag {
            0 => (0, 1),
            1..0x100 => (0b01 | zigzag << 2, 10),
            0x100..0x1_0000 => (0b011 | zigzag << 3, 19),
            _ => (0b111 | zigzag << 3, 37),
        }
    }

    #[inline]
    fn put_delta(&mut self, delta: i64, time: u64, length: u32) {
        let (magnitude, negative) = (delta.unsigned_abs(), delta < 0);
        if let Some(packed) = self.field.pack(magnitude, negative) {
            self.bits.put(time | 0b01 << length, length + 2);
            self.bits.put(packed, self.field.width());
        } else {
            self.field = self.field.widened(magnitude, negative);
            self.bits.put(time | 0b11 << length, length + 2);
            self.bits.put(self.field.describe(), FIELD_BITS);
            self.bits.put(self.field.pack(magnitude, negative).unwrap_or(0), self.field.width());
        }
        self.field.note(magnitude, negative);
        if self.count == 1 {
            // The first value is no measure of how values change.
            self.field = Field::default();
        }
    }

    #[inline]
    fn put_correction(&mut self, correction: i16) {
        let change = i32::from(correction) - i32::from(self.correction);
        self.correction = correction;
        match change {
            0 => self.bits.put(0, 1),
            1 => self.bits.put(0b001, 3),
            -1 => self.bits.put(0b101, 3),
            _ => {
                let zigzag = ((change << 1) ^ (change >> 31)) as u32;
                let length = 32 - zigzag.leading_zeros();
                self.bits.put(0b11 | u64::from(length) << 2 | u64::from(zigzag) << 8, 8 + length);
            }
        }
    }

    #[cold]
    fn push_raw(&mut self, timestamp: i64, value: f64) -> bool {
        let gap = timestamp.wrapping_sub(self.last) as u32;
        let (time, length) = self.time(timestamp, gap);
        self.bits.put(time | 0b11 << length, length + 2);
        self.bits.put(RAW, FIELD_BITS);
        self.bits.put(value.to_bits(), 64);
        self.raw = self.raw.saturating_add(1);
        self.last_is_raw = true;
        true
    }

    /// A value that the mode cannot hold: written out while that is rare, else the mode is changed.
    #[cold]
    fn push_misfit(&mut self, timestamp: i64, value: f64) -> bool {
        let better = match Mode::of(value) {
            None if self.raw < MAX_RAW => return self.push_raw(timestamp, value),
            None => Mode::Bits,
            Some(mode) => mode,
        };
        if self.count > MAX_REWRITE {
            if self.raw < MAX_RAW / 2 {
                return self.push_raw(timestamp, value);
            }
            self.next = Some(better.joined(self.mode));
            return false;
        }
        let mut samples = Vec::with_capacity(self.len());
        self.to_chunk().each(|timestamp, value| {
            samples.push((timestamp, value));
            true
        });
        samples.push((timestamp, value));
        let holds = |mode: &Mode| samples.iter().all(|(_, v)| mode.integer(*v).is_some() || Mode::of(*v).is_none());
        let mode = [better, better.joined(self.mode)].into_iter().find(holds).unwrap_or(Mode::Bits);
        self.begin(samples[0].0, mode);
        // None but the values that say nothing are misfits now, and they were few enough before.
        samples.into_iter().all(|(timestamp, value)| self.push_begun(timestamp, value))
    }

    fn begin(&mut self, timestamp: i64, mode: Mode) {
        let mut bits = std::mem::take(&mut self.bits);
        bits.clear();
        *self = Self { bits, first: timestamp, last: timestamp, mode, ..Self::default() };
    }

    /// A closed copy.
    pub(crate) fn to_chunk(&self) -> Chunk {
        let meta = u64::from(self.count) | u64::from(self.mode.encode()) << 16;
        let header = [self.first as u64, self.last as u64, meta];
        Chunk(header.into_iter().chain(self.bits.words()).collect())
    }

    /// Closes it and begins a new, empty one, whose memory it gives back.
    pub(crate) fn close(&mut self) -> Chunk {
        let chunk = self.to_chunk();
        // Values that are their own bits may become tame again.
        let next = self.next.or(Some(self.mode)).filter(|mode| self.next.is_some() || *mode != Mode::Bits);
        *self = Self { last: self.last, next, ..Self::default() };
        chunk
    }
}

#[inline]
fn decode(words: &[u64], first: i64, count: u16, mode: Mode, each: impl FnMut(i64, f64) -> bool) {
    // One copy of the loop per mode: the mode is decided outside of it.
    match mode {
        Mode::Bits => decode_as::<false>(words, first, count, |i, _| Mode::Bits.value(i, 0), each),
        Mode::Exact(digits) => decode_as::<false>(words, first, count, |i, _| Mode::Exact(digits).value(i, 0), each),
        Mode::Near(digits) => decode_as::<true>(words, first, count, |i, c| Mode::Near(digits).value(i, c), each),
    }
}

#[inline]
fn decode_as<const NEAR: bool>(
    words: &[u64],
    first: i64,
    count: u16,
    value: impl Fn(i64, i64) -> f64,
    mut each: impl FnMut(i64, f64) -> bool,
) {
    let mut reader = BitReader::new(words);
    let mut changes = Changes::default();
    let (mut timestamp, mut gap, mut integer, mut correction) = (first, 0_i64, 0_i64, 0_i64);
    for at in 0..count {
        let bits = reader.peek();
        let mut raw = None;
        // Nearly always the sample came in time; then all of it usually lies in the bits that were looked at.
        if bits & 0b11 == 0 {
            reader.skip(2);
        } else if bits & 0b111 == 0b010 && changes.width <= MAX_PEEKED {
            reader.skip(3 + changes.width);
            integer = integer.wrapping_add(changes.next(bits >> 3 & changes.mask));
        } else {
            gap += time_change(&mut reader);
            raw = changes.read(&mut reader, &mut integer);
        }
        if at == 0 {
            changes = Changes::default();
        }
        timestamp = timestamp.wrapping_add(gap);
        let value = match raw {
            Some(value) => value,
            None => {
                if NEAR {
                    correction += correction_change(&mut reader);
                }
                value(integer, correction)
            }
        };
        if !each(timestamp, value) {
            return;
        }
    }
}

/// Fields up to this width lie within the 64 bits that begin with a sample.
const MAX_PEEKED: u32 = 61;

/// The field of changes, and what follows from it.
#[derive(Default)]
struct Changes {
    field: Field,
    width: u32,
    mask: u64,
}

impl Changes {
    fn refit(&mut self, field: Field) {
        self.field = field;
        self.width = field.width();
        self.mask = if self.width < 64 { low_bits(self.width) } else { u64::MAX };
    }

    /// The change that is packed so.
    #[inline]
    fn next(&mut self, packed: u64) -> i64 {
        let (magnitude, negative) = self.field.unpack(packed);
        if self.field.note(magnitude, negative) {
            self.refit(self.field);
        }
        let change = magnitude as i64;
        if negative { -change } else { change }
    }

    /// Reads a value, whatever it is: adds its change to `integer`, or returns it where it was written out.
    #[inline(never)]
    fn read(&mut self, reader: &mut BitReader<'_>, integer: &mut i64) -> Option<f64> {
        if reader.take(1) == 0 {
            return None;
        }
        if reader.take(1) == 1 {
            let described = reader.take(FIELD_BITS);
            if described == RAW {
                return Some(f64::from_bits(reader.take(64)));
            }
            self.refit(self.field.described(described));
        }
        *integer = integer.wrapping_add(self.next(reader.take(self.width)));
        None
    }
}

/// The change of the distance between samples.
#[inline(never)]
fn time_change(reader: &mut BitReader<'_>) -> i64 {
    let bits = reader.peek();
    let (zigzag, length) = match (bits & 1, bits >> 1 & 1, bits >> 2 & 1) {
        (0, ..) => (0, 1),
        (_, 0, _) => (bits >> 2 & 0xff, 10),
        (_, _, 0) => (bits >> 3 & 0xffff, 19),
        _ => (bits >> 3 & 0x3_ffff_ffff, 37),
    };
    reader.skip(length);
    unzigzag(zigzag)
}

#[inline]
fn correction_change(reader: &mut BitReader<'_>) -> i64 {
    let bits = reader.peek();
    if bits & 1 == 0 {
        reader.skip(1);
        return 0;
    }
    if bits & 2 == 0 {
        reader.skip(3);
        return if bits & 4 == 0 { 1 } else { -1 };
    }
    reader.skip(8);
    unzigzag(reader.take((bits >> 2 & 63) as u32))
}

#[inline]
fn unzigzag(zigzag: u64) -> i64 {
    (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
}
