//! A chunk being read: its head says which pages it has, its body is decoded page by page.

use std::ops::Range;

use pco::wrapped::FileDecompressor;

use crate::bytes::Cursor;
use crate::chunk::kind;
use crate::error::Malformed;
use crate::format::Frame;
use crate::pack::Unpacker;
use crate::times::{PAGE_SAMPLES_LIMIT, PageTimes, Steps};
use crate::values::{Exception, MAX_EXPONENT, from_additions, from_decimals, power, put_exceptions, read_exceptions};

/// One page as its chunk's head describes it.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) ordinal: u32,
    pub(crate) times: PageTimes,
    flags: u8,
    /// The value of a constant.
    constant: u64,
    /// Where the page lies in the body.
    payload: Range<usize>,
}

/// What the head of a chunk says.
#[derive(Default)]
pub(crate) struct Directory {
    /// In order of series and time.
    pub(crate) pages: Vec<Page>,
    exponent: u8,
    divisor: i64,
    distances: bool,
    ints: usize,
    floats: usize,
}

impl Directory {
    /// Reads a head, replacing what was read before.
    pub(crate) fn read(&mut self, frame: &Frame<'_>) -> Result<(), Malformed> {
        self.pages.clear();
        let mut head = Cursor::new(frame.head);
        self.exponent = head.u8()?;
        self.distances = match head.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed("a chunk has unknown flags")),
        };
        self.divisor = i64::try_from(head.varint()?).map_err(|_| Malformed("a divisor is too large"))?;
        if self.exponent > MAX_EXPONENT || self.divisor == 0 {
            return Err(Malformed("an exponent or a divisor makes no sense"));
        }
        self.ints = head.count(frame.body_bytes())?;
        self.floats = head.count(frame.body_bytes())?;
        let first = u32::try_from(head.varint()?).map_err(|_| Malformed("a series number is too large"))?;
        // Every entry has at least two bytes.
        let count = head.count(frame.head.len() / 2)?;
        let mut end = self.ints.saturating_add(self.floats);
        let mut constant = None;
        for _ in 0..count {
            let page = self.page(&mut head, first, end, &mut constant)?;
            end = page.payload.end;
            self.pages.push(page);
        }
        if end != frame.body_bytes() || head.remaining() > 0 {
            return Err(Malformed("a chunk has bytes left over"));
        }
        Ok(())
    }

    fn page(
        &self,
        head: &mut Cursor<'_>,
        first: u32,
        from: usize,
        constant: &mut Option<u64>,
    ) -> Result<Page, Malformed> {
        let flags = head.u8()?;
        let last = self.pages.last();
        let no_last = Malformed("the first page of a chunk refers to one before");
        let ordinal = match last {
            None if flags & kind::CONTINUED != 0 => return Err(no_last),
            None => first,
            Some(last) if flags & kind::CONTINUED != 0 => last.ordinal,
            Some(last) => last.ordinal.checked_add(1).ok_or(Malformed("a series number is too large"))?,
        };
        let times = read_times(head, flags, last.map(|page| page.times))?;
        let mut payload = from..from;
        match flags & kind::MASK {
            kind::SAME => {}
            kind::INTEGER => *constant = Some((head.signed()? as f64).to_bits()),
            kind::BITS => *constant = Some(head.u64()?),
            kind::DECIMAL | kind::SUM | kind::FLOAT => {
                payload.end = head.varint().ok().and_then(|l| from.checked_add(usize::try_from(l).ok()?)).unwrap_or(0);
                if payload.end <= from {
                    return Err(Malformed("a page lies outside its chunk"));
                }
            }
            _ => return Err(Malformed("a page is of an unknown kind")),
        }
        let constant = match (flags & kind::MASK, *constant) {
            (kind::SAME, None) => return Err(no_last),
            (_, constant) => constant.unwrap_or(0),
        };
        Ok(Page { ordinal, times, flags, constant, payload })
    }
}

fn read_times(head: &mut Cursor<'_>, flags: u8, last: Option<PageTimes>) -> Result<PageTimes, Malformed> {
    let no_last = Malformed("the first page of a chunk refers to one before");
    let count = if flags & kind::SAME_COUNT != 0 {
        last.ok_or(no_last)?.count
    } else {
        // Far below u32::MAX.
        head.count(PAGE_SAMPLES_LIMIT)? as u32
    };
    let (steps, pattern_span) = if flags & kind::SAME_STEPS != 0 {
        let last = last.ok_or(no_last)?;
        (last.steps, last.span)
    } else {
        match head.varint()? {
            0 => (Steps::Regular(head.varint()?), 0),
            number => {
                let number = u32::try_from(number - 1).map_err(|_| Malformed("a pattern number is too large"))?;
                (Steps::Pattern(number), head.varint()?)
            }
        }
    };
    let first = head.signed()?.wrapping_add(last.map_or(0, |last| last.first));
    let steps_taken = u64::from(count.checked_sub(1).ok_or(Malformed("a page has no samples"))?);
    let span = match steps {
        Steps::Regular(interval) => interval.checked_mul(steps_taken),
        Steps::Pattern(_) => Some(pattern_span),
    };
    // A span of this length may still begin too late.
    let span = span.filter(|&span| i128::from(first) + i128::from(span) <= i128::from(i64::MAX));
    let span = span.ok_or(Malformed("a page leaves the range of time"))?;
    Ok(PageTimes { first, count, steps, span })
}

/// A chunk whose pages can be decoded. Keeps its memory from chunk to chunk.
#[derive(Default)]
pub(crate) struct OpenChunk {
    pub(crate) directory: Directory,
    ints: Option<Unpacker<i64>>,
    floats: Option<Unpacker<f64>>,
    numbers: Vec<i64>,
    exceptions: Vec<Exception>,
}

impl OpenChunk {
    /// Checks the body of the chunk whose directory was read, and reads what its pages share.
    pub(crate) fn open(&mut self, frame: &Frame<'_>, format: &FileDecompressor) -> Result<(), Malformed> {
        let body = frame.body()?;
        let (ints, floats) = (self.directory.ints, self.directory.floats);
        let unpack = |range: Range<usize>| body.get(range).ok_or(Malformed("a description lies outside its chunk"));
        self.ints = if ints == 0 { None } else { Some(Unpacker::new(format, unpack(0..ints)?)?) };
        self.floats = if floats == 0 { None } else { Some(Unpacker::new(format, unpack(ints..ints + floats)?)?) };
        Ok(())
    }

    /// Appends the values of a page. `body` is that of the frame the chunk was opened with, and whatever follows it.
    pub(crate) fn read(&mut self, index: usize, body: &[u8], into: &mut Vec<f64>) -> Result<(), Malformed> {
        let directory = &self.directory;
        let page = directory.pages.get(index).ok_or(Malformed("there is no such page"))?;
        let count = page.times.count as usize;
        if !matches!(page.flags & kind::MASK, kind::DECIMAL | kind::SUM | kind::FLOAT) {
            into.resize(into.len() + count, f64::from_bits(page.constant));
            return Ok(());
        }
        let outside = Malformed("a page lies outside its chunk");
        let mut payload = Cursor::new(body.get(page.payload.clone()).ok_or(outside)?);
        self.exceptions.clear();
        if page.flags & kind::EXCEPTIONS != 0 {
            read_exceptions(&mut payload, count, &mut self.exceptions)?;
        }
        let first = match page.flags & kind::MASK {
            kind::SUM => Some(payload.i64()?),
            kind::DECIMAL if directory.distances => Some(payload.signed()?),
            _ => None,
        };
        let length = payload.remaining();
        let numbers = body.get(page.payload.end - length..).ok_or(outside)?;
        let missing = Malformed("a chunk lacks the description of its numbers");
        let from = into.len();
        if page.flags & kind::MASK == kind::FLOAT {
            self.floats.as_mut().ok_or(missing)?.read(numbers, length, count, into)?;
            put_exceptions(&self.exceptions, from, into);
            return Ok(());
        }
        self.numbers.clear();
        let count = count - usize::from(first.is_some());
        self.ints.as_mut().ok_or(missing)?.read(numbers, length, count, &mut self.numbers)?;
        let (divisor, power) = (directory.divisor, power(directory.exponent));
        match first {
            Some(bits) if page.flags & kind::MASK == kind::SUM => {
                let first = f64::from_bits(bits as u64);
                from_additions(first, &self.numbers, divisor, power, &self.exceptions, into);
            }
            first => {
                from_decimals(first, &self.numbers, divisor, power, into);
                put_exceptions(&self.exceptions, from, into);
            }
        }
        Ok(())
    }
}
