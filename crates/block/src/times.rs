//! Timestamps of a page: a first one, and the steps between them.
//!
//! Most series are sampled at one interval; then the interval is all there is to know. Other steps are kept as a
//! *pattern*, once per block, however many series share it: all series of one scrape do.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use pco::wrapped::FileDecompressor;

use crate::bytes::{Cursor, put_varint};
use crate::error::Malformed;
use crate::format::{Frame, put_frame};
use crate::pack::{Unpacker, pack_integers};

/// The most samples of one page. Longer series get several, so that a short range does not decode a long one.
pub(crate) const MAX_PAGE_SAMPLES: usize = 2048;
/// What a reader accepts: far more than is written, little enough to allocate.
pub(crate) const PAGE_SAMPLES_LIMIT: usize = 1 << 16;
/// How many steps are compressed together.
const CHUNK_STEPS: usize = 16_384;
/// How many patterns are compared with new ones: bounds the writer's memory, not the number of patterns.
const REMEMBERED: usize = 1 << 19;
/// Bytes of an entry of the section that says where chunks of patterns are.
pub(crate) const TABLE_ENTRY_BYTES: usize = 16;

/// The distances between the timestamps of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Steps {
    /// All the same, in milliseconds.
    Regular(u64),
    /// Those of a pattern.
    Pattern(u32),
}

/// The timestamps of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageTimes {
    pub(crate) first: i64,
    pub(crate) count: u32,
    pub(crate) steps: Steps,
    /// The last minus the first.
    pub(crate) span: u64,
}

impl PageTimes {
    /// The last timestamp. Two's complement: the span of valid pages never leaves the range.
    pub(crate) fn last(&self) -> i64 {
        self.first.wrapping_add(self.span as i64)
    }
}

/// Collects the patterns of a block.
pub(crate) struct PatternWriter {
    /// Two keyed hashes of the steps, 128 bits that no sender can aim at, to the pattern's number.
    known: HashMap<(u64, u64), u32>,
    keys: (RandomState, RandomState),
    last: (Vec<i64>, u32),
    pending: Vec<i64>,
    pending_pages: Vec<usize>,
    count: u32,
    scratch: Vec<i64>,
}

impl PatternWriter {
    pub(crate) fn new() -> Self {
        Self {
            known: HashMap::new(),
            keys: (RandomState::new(), RandomState::new()),
            last: (Vec::new(), 0),
            pending: Vec::new(),
            pending_pages: Vec::new(),
            count: 0,
            scratch: Vec::new(),
        }
    }

    /// Describes the timestamps of a page; there is at least one.
    pub(crate) fn describe(&mut self, timestamps: &[i64]) -> PageTimes {
        let (first, last) = (timestamps[0], timestamps[timestamps.len() - 1]);
        let count = timestamps.len() as u32;
        let span = last.wrapping_sub(first) as u64;
        let interval = timestamps.get(1).map_or(0, |second| second.wrapping_sub(first) as u64);
        let regular = timestamps.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) as u64 == interval);
        let steps = if regular { Steps::Regular(interval) } else { Steps::Pattern(self.pattern(timestamps)) };
        PageTimes { first, count, steps, span }
    }

    /// The number of the pattern of these timestamps, a known one or the next.
    fn pattern(&mut self, timestamps: &[i64]) -> u32 {
        self.scratch.clear();
        self.scratch.extend(timestamps.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])));
        if self.scratch == self.last.0 {
            return self.last.1;
        }
        let key = (self.keys.0.hash_one(&self.scratch), self.keys.1.hash_one(&self.scratch));
        let number = self.known.get(&key).copied().unwrap_or_else(|| {
            let number = self.count;
            if self.known.len() < REMEMBERED {
                self.known.insert(key, number);
            }
            self.count += 1;
            self.pending.extend_from_slice(&self.scratch);
            self.pending_pages.push(self.scratch.len());
            number
        });
        std::mem::swap(&mut self.last.0, &mut self.scratch);
        self.last.1 = number;
        number
    }

    /// Whether [`PatternWriter::take`] should be called.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() >= CHUNK_STEPS
    }

    /// The patterns that were not taken yet as a chunk, and the number of the first of them.
    pub(crate) fn take(&mut self) -> Result<Option<(u32, Vec<u8>)>, Malformed> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        let first = self.count - self.pending_pages.len() as u32;
        let packed = pack_integers(&self.pending, self.pending_pages.clone())?;
        let mut head = Vec::new();
        put_varint(&mut head, packed.description.len() as u64);
        put_varint(&mut head, self.pending_pages.len() as u64);
        for (index, steps) in self.pending_pages.iter().enumerate() {
            put_varint(&mut head, *steps as u64);
            put_varint(&mut head, packed.page(index).len() as u64);
        }
        let mut chunk = Vec::new();
        put_frame(&head, &[packed.description, packed.pages].concat(), &mut chunk);
        self.pending.clear();
        self.pending_pages.clear();
        Ok(Some((first, chunk)))
    }
}

/// A chunk of patterns, ready to decode any of them.
pub(crate) struct PatternChunk {
    unpacker: Unpacker<i64>,
    /// Steps of each pattern, and where it lies in the chunk.
    pages: Vec<(usize, Range<usize>)>,
}

impl PatternChunk {
    /// Checks and reads a chunk.
    pub(crate) fn open(bytes: &[u8], format: &FileDecompressor) -> Result<Self, Malformed> {
        let frame = Frame::open(bytes)?;
        let body = frame.body()?;
        let mut head = Cursor::new(frame.head);
        let description = head.count(body.len())?;
        let count = head.count(frame.head.len())?;
        let mut pages = Vec::with_capacity(count);
        // Both counts are below the length of the chunk.
        let mut from = bytes.len() - body.len() + description;
        for _ in 0..count {
            let steps = head.count(PAGE_SAMPLES_LIMIT)?;
            let end = from.checked_add(head.count(body.len())?).filter(|&end| end <= bytes.len());
            let end = end.ok_or(Malformed("a pattern lies outside its chunk"))?;
            pages.push((steps, from..end));
            from = end;
        }
        if from != bytes.len() || head.remaining() > 0 {
            return Err(Malformed("a chunk of patterns has bytes left over"));
        }
        Ok(Self { unpacker: Unpacker::new(format, &body[..description])?, pages })
    }

    /// How many patterns it has.
    pub(crate) fn len(&self) -> usize {
        self.pages.len()
    }

    /// Decodes one pattern into `into`, whose content is replaced. `bytes` are those the chunk was opened with, and
    /// whatever follows them.
    pub(crate) fn read(&mut self, bytes: &[u8], index: usize, into: &mut Vec<i64>) -> Result<(), Malformed> {
        into.clear();
        let missing = Malformed("there is no such pattern");
        let (steps, range) = self.pages.get(index).ok_or(missing)?;
        self.unpacker.read(bytes.get(range.start..).ok_or(missing)?, range.len(), *steps, into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::{format_header, open_format};

    #[test]
    fn regular_steps_need_no_pattern() {
        let mut writer = PatternWriter::new();
        let times = writer.describe(&[-5, 0, 5, 10]);
        assert_eq!(times, PageTimes { first: -5, count: 4, steps: Steps::Regular(5), span: 15 });
        assert_eq!(times.last(), 10);
        assert_eq!(writer.describe(&[7]).span, 0);
        let extremes = writer.describe(&[i64::MIN, i64::MAX]);
        assert_eq!((extremes.span, extremes.last()), (u64::MAX, i64::MAX));
        assert!(writer.take().expect("packs").is_none());
    }

    #[test]
    fn patterns_are_kept_once_and_come_back() {
        let mut writer = PatternWriter::new();
        let a: Vec<i64> = vec![0, 15_000, 30_001, 45_000];
        let b: Vec<i64> = a.iter().map(|t| t + 77).collect();
        let c: Vec<i64> = vec![0, 1, 3];
        let numbers: Vec<Steps> = [&a, &b, &c, &a].iter().map(|t| writer.describe(t).steps).collect();
        assert_eq!(numbers, [Steps::Pattern(0), Steps::Pattern(0), Steps::Pattern(1), Steps::Pattern(0)]);
        let (first, bytes) = writer.take().expect("packs").expect("has patterns");
        assert_eq!(first, 0);
        let format = open_format(&format_header().expect("has a header")).expect("is known");
        let mut chunk = PatternChunk::open(&bytes, &format).expect("opens");
        let mut steps = Vec::new();
        chunk.read(&bytes, 1, &mut steps).expect("reads");
        assert_eq!(steps, [1, 2]);
        chunk.read(&bytes, 0, &mut steps).expect("reads");
        assert_eq!(steps, [15_000, 15_001, 14_999]);
        assert!(chunk.read(&bytes, 2, &mut steps).is_err());
        assert_eq!(writer.describe(&[0, 5, 6]).steps, Steps::Pattern(2), "numbers go on");
    }
}
