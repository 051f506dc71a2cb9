//! A chunk being built: pages of neighbouring series that are compressed together.
//!
//! All integers of a chunk share an exponent, a divisor and whether they are values or distances, so that one description
//! of their distribution serves all pages.

use std::ops::Range;

use crate::bytes::{put_signed, put_varint};
use crate::error::Malformed;
use crate::format::put_frame;
use crate::pack::{Packed, pack_floats, pack_integers};
use crate::times::{PageTimes, Steps};
use crate::values::{Exception, Form, fit, power, to_additions, to_decimals, write_exceptions};

/// A chunk is closed when it weighs this much (a value weighs one), or half a chunk where the metric changes. Twice of it
/// gains nothing, and a query for one series would decode twice the directory (measured).
const FULL: usize = 16_384;
const MIN: usize = 4_096;
/// What a page weighs that has no values: a chunk is never more than a few hundred of them.
const PAGE_WEIGHT: usize = 32;

/// The kind of a page, as in the file.
pub(crate) mod kind {
    /// All values have the bits of the constant before it in this chunk.
    pub(crate) const SAME: u8 = 0;
    /// All values are one integer.
    pub(crate) const INTEGER: u8 = 1;
    /// All values have the same eight bytes.
    pub(crate) const BITS: u8 = 2;
    /// Values are integers over a power of ten.
    pub(crate) const DECIMAL: u8 = 3;
    /// Values are sums of integers over a power of ten.
    pub(crate) const SUM: u8 = 4;
    /// Values are what pco makes of them.
    pub(crate) const FLOAT: u8 = 5;
    /// The bits of a page's first byte that hold its kind.
    pub(crate) const MASK: u8 = 0x07;
    /// As many samples as the page before.
    pub(crate) const SAME_COUNT: u8 = 0x08;
    /// The steps of the page before.
    pub(crate) const SAME_STEPS: u8 = 0x10;
    /// Further samples of the series of the page before.
    pub(crate) const CONTINUED: u8 = 0x20;
    /// Some values are kept aside.
    pub(crate) const EXCEPTIONS: u8 = 0x40;
}

enum Content {
    Constant(u64),
    Values(Range<usize>),
}

struct PageDraft {
    ordinal: u32,
    times: PageTimes,
    content: Content,
}

/// Which series and times a chunk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The first series and the last.
    pub(crate) series: (u32, u32),
    /// The first timestamp and the last.
    pub(crate) times: (i64, i64),
}

/// Collects pages until they make a chunk.
#[derive(Default)]
pub(crate) struct ChunkBuilder {
    pages: Vec<PageDraft>,
    values: Vec<f64>,
    weight: usize,
}

impl ChunkBuilder {
    /// Whether the pages so far should become a chunk before another of a series and `samples` samples is added. A chunk
    /// numbers its series one after another: one that has histograms only ends it.
    pub(crate) fn is_full(&self, ordinal: u32, samples: usize, metric_changes: bool) -> bool {
        let limit = if metric_changes { MIN } else { FULL + 1 - samples.min(FULL) };
        self.weight >= limit || self.pages.last().is_some_and(|last| last.ordinal + 1 < ordinal)
    }

    /// Adds a page; there is at least one value, and series come in order.
    pub(crate) fn push(&mut self, ordinal: u32, times: PageTimes, values: &[f64]) {
        let bits = values[0].to_bits();
        self.weight += PAGE_WEIGHT;
        let content = if values.iter().all(|value| value.to_bits() == bits) {
            Content::Constant(bits)
        } else {
            let from = self.values.len();
            self.values.extend_from_slice(values);
            self.weight += values.len();
            Content::Values(from..self.values.len())
        };
        self.pages.push(PageDraft { ordinal, times, content });
    }

    /// Appends the chunk to `out` and begins a new one. `None` when there are no pages.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<Option<Extent>, Malformed> {
        let (Some(first), Some(last)) = (self.pages.first(), self.pages.last()) else { return Ok(None) };
        let start = self.pages.iter().map(|page| page.times.first).min().unwrap_or(0);
        let end = self.pages.iter().map(|page| page.times.last()).max().unwrap_or(0);
        let extent = Extent { series: (first.ordinal, last.ordinal), times: (start, end) };
        let forms = Streams::of(&self.pages, &self.values);
        let (head, body) = encode(&self.pages, forms)?;
        put_frame(&head, &body, out);
        self.pages.clear();
        self.values.clear();
        self.weight = 0;
        Ok(Some(extent))
    }
}

/// What goes before a page's compressed numbers, and which numbers those are.
struct PageForm {
    kind: u8,
    exceptions: Vec<Exception>,
    /// The first integer, or the bits of the first value of a sum.
    first: i64,
    /// How many numbers the page has in its stream.
    numbers: usize,
}

/// The pages of a chunk as two streams of numbers.
struct Streams {
    exponent: u8,
    divisor: i64,
    distances: bool,
    ints: Vec<i64>,
    floats: Vec<f64>,
    float_distances: bool,
    /// One per page that is not constant, in order.
    forms: Vec<PageForm>,
}

impl Streams {
    fn of(pages: &[PageDraft], values: &[f64]) -> Self {
        let ranges = || {
            pages.iter().filter_map(|page| match &page.content {
                Content::Values(range) => Some(&values[range.clone()]),
                Content::Constant(_) => None,
            })
        };
        let fits: Vec<(Form, u8)> = ranges().map(fit).collect();
        let exponent = fits.iter().map(|fit| fit.1).max().unwrap_or(0);
        let mut streams = Self {
            exponent,
            divisor: 1,
            distances: false,
            ints: Vec::with_capacity(values.len()),
            floats: Vec::new(),
            float_distances: false,
            forms: Vec::with_capacity(fits.len()),
        };
        for (values, (form, _)) in ranges().zip(fits) {
            streams.add(values, form, power(exponent));
        }
        streams.choose_distances();
        streams.divide();
        streams
    }

    /// Adds a page in its form, or as floats where the form does not fit the power that the chunk needs.
    fn add(&mut self, values: &[f64], form: Form, power: f64) {
        let from = self.ints.len();
        let mut exceptions = Vec::new();
        let (fits, kind) = match form {
            Form::Decimal => (to_decimals(values, power, &mut self.ints, &mut exceptions), kind::DECIMAL),
            Form::Sum => (to_additions(values, power, &mut self.ints, &mut exceptions), kind::SUM),
            Form::Float => (false, kind::FLOAT),
        };
        if fits {
            let first = if kind == kind::SUM { values[0].to_bits() as i64 } else { 0 };
            self.forms.push(PageForm { kind, exceptions, first, numbers: self.ints.len() - from });
        } else {
            self.ints.truncate(from);
            self.floats.extend_from_slice(values);
            let form = PageForm { kind: kind::FLOAT, exceptions: Vec::new(), first: 0, numbers: values.len() };
            self.forms.push(form);
        }
    }

    /// Replaces decimals by their distances where those are smaller.
    fn choose_distances(&mut self) {
        // In the order of their bits, as pco sees them.
        let bits: Vec<i64> = self.floats.iter().map(|value| value.to_bits() as i64).collect();
        let floats: Vec<&[i64]> = pages_of(&self.forms, &bits, true).map(|(_, page)| page).collect();
        self.float_distances = distances_are_smaller(&floats);
        let ints = pages_of(&self.forms, &self.ints, false);
        let decimals: Vec<&[i64]> = ints.filter(|(kind, _)| *kind == kind::DECIMAL).map(|(_, page)| page).collect();
        self.distances = distances_are_smaller(&decimals);
        if !self.distances {
            return;
        }
        let (mut read, mut write) = (0, 0);
        for form in self.forms.iter_mut().filter(|form| form.kind != kind::FLOAT) {
            let page = read..read + form.numbers;
            read = page.end;
            if form.kind == kind::SUM {
                self.ints.copy_within(page, write);
                write += form.numbers;
                continue;
            }
            form.first = self.ints[page.start];
            form.numbers -= 1;
            let mut last = form.first;
            for at in page.skip(1) {
                let int = self.ints[at];
                self.ints[write] = int.wrapping_sub(last);
                last = int;
                write += 1;
            }
        }
        self.ints.truncate(write);
    }

    /// Divides all integers by what divides all of them.
    fn divide(&mut self) {
        let mut divisor = 0;
        for &int in &self.ints {
            if divisor == 1 {
                return;
            }
            if divisor == 0 || int.unsigned_abs() % divisor != 0 {
                divisor = greatest_common_divisor(int.unsigned_abs(), divisor);
            }
        }
        if let Some(divisor) = i64::try_from(divisor).ok().filter(|&d| d > 1) {
            self.divisor = divisor;
            self.ints.iter_mut().for_each(|int| *int /= divisor);
        }
    }
}

/// The kinds and numbers of the pages of one stream.
fn pages_of<'a>(forms: &'a [PageForm], stream: &'a [i64], floats: bool) -> impl Iterator<Item = (u8, &'a [i64])> {
    let mut rest = stream;
    forms.iter().filter(move |form| (form.kind == kind::FLOAT) == floats).map(move |form| {
        let (page, after) = rest.split_at(form.numbers);
        rest = after;
        (form.kind, page)
    })
}

/// Whether neighbours are closer to one another than all are to their mean.
fn distances_are_smaller(pages: &[&[i64]]) -> bool {
    let count = pages.iter().map(|page| page.len()).sum::<usize>() as f64;
    let distances = count - pages.len() as f64;
    let all = || pages.iter().copied().flatten().map(|&int| int as f64);
    let mean = all().sum::<f64>() / count;
    let spread = all().map(|int| (int - mean).abs()).sum::<f64>() / count;
    let steps =
        |page: &&[i64]| page.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]) as f64).map(f64::abs).sum::<f64>();
    pages.iter().map(steps).sum::<f64>() / distances < spread
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The head and the body of a chunk's frame.
fn encode(pages: &[PageDraft], streams: Streams) -> Result<(Vec<u8>, Vec<u8>), Malformed> {
    let numbers = |float: bool| -> Vec<usize> {
        streams.forms.iter().filter(|form| (form.kind == kind::FLOAT) == float).map(|form| form.numbers).collect()
    };
    let ints = pack_integers(&streams.ints, numbers(false))?;
    let floats = pack_floats(&streams.floats, numbers(true), streams.float_distances)?;
    let mut head = vec![streams.exponent, u8::from(streams.distances)];
    put_varint(&mut head, streams.divisor.unsigned_abs());
    put_varint(&mut head, ints.description.len() as u64);
    put_varint(&mut head, floats.description.len() as u64);
    put_varint(&mut head, u64::from(pages.first().map_or(0, |page| page.ordinal)));
    put_varint(&mut head, pages.len() as u64);
    let mut body = [ints.description.as_slice(), floats.description.as_slice()].concat();
    let mut payloads = Payloads { ints: (&ints, 0), floats: (&floats, 0), distances: streams.distances };
    let mut forms = streams.forms.iter();
    let mut directory = Directory::default();
    for page in pages {
        match &page.content {
            Content::Constant(bits) => directory.put_constant(page, *bits, &mut head),
            Content::Values(_) => {
                // There is one form for each page of values.
                let form = forms.next().ok_or(Malformed("a page was lost"))?;
                let from = body.len();
                payloads.put(form, &mut body);
                directory.put_values(page, form, body.len() - from, &mut head);
            }
        }
    }
    Ok((head, body))
}

/// Takes the compressed pages of both streams in turn.
struct Payloads<'a> {
    ints: (&'a Packed, usize),
    floats: (&'a Packed, usize),
    distances: bool,
}

impl Payloads<'_> {
    fn put(&mut self, form: &PageForm, body: &mut Vec<u8>) {
        if !form.exceptions.is_empty() {
            write_exceptions(&form.exceptions, body);
        }
        match form.kind {
            kind::SUM => body.extend_from_slice(&form.first.to_le_bytes()),
            kind::DECIMAL if self.distances => put_signed(body, form.first),
            _ => {}
        }
        let (packed, next) = if form.kind == kind::FLOAT { &mut self.floats } else { &mut self.ints };
        body.extend_from_slice(packed.page(*next));
        *next += 1;
    }
}

/// Writes the entries of a chunk's pages, each relative to the one before.
#[derive(Default)]
struct Directory {
    last: Option<(u32, PageTimes)>,
    constant: Option<u64>,
}

impl Directory {
    fn put_constant(&mut self, page: &PageDraft, bits: u64, head: &mut Vec<u8>) {
        let value = f64::from_bits(bits);
        let integer = value as i64;
        if self.constant.replace(bits) == Some(bits) {
            self.put_times(page, kind::SAME, head);
        } else if (integer as f64).to_bits() == bits {
            self.put_times(page, kind::INTEGER, head);
            put_signed(head, integer);
        } else {
            self.put_times(page, kind::BITS, head);
            head.extend_from_slice(&bits.to_le_bytes());
        }
    }

    fn put_values(&mut self, page: &PageDraft, form: &PageForm, bytes: usize, head: &mut Vec<u8>) {
        let exceptions = if form.exceptions.is_empty() { 0 } else { kind::EXCEPTIONS };
        self.put_times(page, form.kind | exceptions, head);
        put_varint(head, bytes as u64);
    }

    fn put_times(&mut self, page: &PageDraft, mut flags: u8, head: &mut Vec<u8>) {
        let mut times = page.times;
        let known = self.last.map(|(_, times)| times);
        // One sample has no steps, so it may as well have those of its neighbours.
        if let (1, Some(steps @ Steps::Regular(_))) = (times.count, known.map(|last| last.steps)) {
            times.steps = steps;
        }
        let last = self.last.replace((page.ordinal, times));
        if last.is_some_and(|(ordinal, _)| ordinal == page.ordinal) {
            flags |= kind::CONTINUED;
        }
        if known.is_some_and(|last| last.count == times.count) {
            flags |= kind::SAME_COUNT;
        }
        if known.is_some_and(|last| last.steps == times.steps) {
            flags |= kind::SAME_STEPS;
        }
        head.push(flags);
        if flags & kind::SAME_COUNT == 0 {
            put_varint(head, u64::from(times.count));
        }
        if flags & kind::SAME_STEPS == 0 {
            match times.steps {
                Steps::Regular(interval) => {
                    put_varint(head, 0);
                    put_varint(head, interval);
                }
                Steps::Pattern(number) => {
                    put_varint(head, u64::from(number) + 1);
                    put_varint(head, times.span);
                }
            }
        }
        put_signed(head, times.first.wrapping_sub(known.map_or(0, |last| last.first)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::OpenChunk;
    use crate::format::Frame;
    use crate::pack::{format_header, open_format};
    use crate::times::PatternWriter;
    use proptest::prelude::*;

    /// Builds a chunk of pages and reads it again.
    fn check(pages: &[Vec<f64>]) -> usize {
        let (mut builder, mut patterns, mut out) = (ChunkBuilder::default(), PatternWriter::new(), Vec::new());
        for (ordinal, values) in pages.iter().enumerate() {
            let timestamps: Vec<i64> = (0..values.len() as i64).map(|i| i * 15_000 + ordinal as i64 * 37).collect();
            builder.push(ordinal as u32 + 5, patterns.describe(&timestamps), values);
        }
        let extent = builder.finish(&mut out).expect("packs").expect("has pages");
        assert_eq!(extent.series, (5, pages.len() as u32 + 4));
        let frame = Frame::open(&out).expect("is whole");
        let mut chunk = OpenChunk::default();
        let format = open_format(&format_header().expect("has a header")).expect("is known");
        chunk.directory.read(&frame).expect("reads");
        chunk.open(&frame, &format).expect("opens");
        assert_eq!(chunk.directory.pages.len(), pages.len());
        for (index, values) in pages.iter().enumerate() {
            let mut back = Vec::new();
            chunk.read(index, frame.body().expect("is whole"), &mut back).expect("decodes");
            let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&back), bits(values), "page {index}");
            let times = chunk.directory.pages[index].times;
            assert_eq!((times.first, times.count), (index as i64 * 37, values.len() as u32));
        }
        out.len()
    }

    #[test]
    fn pages_of_all_kinds_share_a_chunk() {
        let marker = f64::from_bits(0x7ff0_0000_0000_0002);
        let mut sum = 0.0;
        let mut next = |k: u32| {
            sum += f64::from(k * 7919 % 15_000) / 1000.0;
            sum
        };
        let sums: Vec<f64> = (0..240).map(&mut next).collect();
        check(&[
            vec![1.0; 240],
            vec![1.0; 3],
            vec![marker],
            vec![-0.0, -0.0],
            (0..240).map(f64::from).chain([marker]).collect(),
            sums,
            (1..240).map(|i| f64::from(i).sqrt()).collect(),
            vec![1e18, 2e18, 3e18],
            vec![0.001, 5.0],
            vec![f64::NAN, f64::INFINITY],
            vec![0.1, f64::MAX, f64::MIN_POSITIVE],
        ]);
    }

    #[test]
    fn what_all_integers_share_costs_nothing() {
        let page = |unit: f64| -> Vec<f64> { (0..1000i32).map(|i| f64::from(i * i % 977) * unit).collect() };
        let (ones, pages) = (check(&[page(1.0)]), check(&[page(4096.0)]));
        assert!(pages <= ones + 4, "{pages} against {ones}");
    }

    #[test]
    fn constants_cost_a_few_bytes() {
        let one = check(&vec![vec![1.0; 240]; 1]);
        let many = check(&vec![vec![1.0; 240]; 101]);
        assert!((many - one) / 100 <= 3, "{one} {many}");
    }

    proptest! {
        #[test]
        fn every_bit_comes_back(pages in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u64>().prop_map(f64::from_bits), 1..40),
                prop::collection::vec((-50i64..50).prop_map(|k| k as f64 / 100.0), 1..40),
                prop::collection::vec(any::<i64>().prop_map(|k| k as f64), 1..40),
                prop::collection::vec(prop_oneof![Just(f64::NAN), Just(0.0), Just(-0.0), Just(1.0)], 1..40),
            ],
            1..12,
        )) {
            check(&pages);
        }
    }
}
