//! The symbols of a 2.0 request, and series that refer to them: references become the label fields of 1.0.

use model::METRIC_NAME;
use prost::encoding::{WireType, encode_varint};

use crate::compression::SLACK;
use crate::found::Gathered;
use crate::protobuf::{Field, Reader, key};
use crate::wire::{self, v2};
use crate::{DecodeError, DecodeLimits};

const SYMBOLS: u8 = key(v2::SYMBOLS, WireType::LengthDelimited);
const TIMESERIES: u8 = key(v2::TIMESERIES, WireType::LengthDelimited);
const LABELS: u8 = key(wire::LABELS, WireType::LengthDelimited);
const NAME: u8 = key(wire::NAME, WireType::LengthDelimited);
const VALUE: u8 = key(wire::VALUE, WireType::LengthDelimited);
/// Names and values up to these lengths are copied in one piece of fixed size, which is several times faster.
const SHORT_NAME: usize = 32;
const SHORT_VALUE: usize = SLACK;
/// What such a label takes at most: four keys, four lengths of one byte, and what is copied.
const SHORT_LABEL: usize = 6 + SHORT_NAME + SHORT_VALUE;

/// Where the text of a symbol stands in its message.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: u32,
    bytes: u32,
}

/// Memory for the symbols of one request after another.
#[derive(Debug, Default)]
pub(crate) struct SymbolTable {
    places: Vec<Place>,
    seen: Seen,
}

/// Which symbols were met before, one bit for each.
#[derive(Debug, Default)]
pub(crate) struct Seen(Vec<u64>);

/// The symbols of a request, and its message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Symbols<'a> {
    /// The message, with [`SLACK`] behind it.
    padded: &'a [u8],
    length: usize,
    places: &'a [Place],
    /// The symbol of `__name__`.
    metric_name: u64,
}

impl SymbolTable {
    /// Finds all symbols, wherever in the message they are.
    pub(crate) fn fill<'a>(
        &'a mut self,
        padded: &'a [u8],
        length: usize,
        limits: &DecodeLimits,
    ) -> Result<(Symbols<'a>, &'a mut Seen), DecodeError> {
        let Self { places, seen } = self;
        places.clear();
        let mut metric_name = u64::MAX;
        let mut reader = Reader::new(padded.get(..length).unwrap_or_default());
        while !reader.is_at_end() {
            let symbol = if reader.skip_key(SYMBOLS) {
                reader.bytes()?
            } else if reader.skip_key(TIMESERIES) {
                reader.bytes()?;
                continue;
            } else if let (v2::SYMBOLS, Field::Bytes(symbol)) = reader.field()? {
                symbol
            } else {
                continue;
            };
            if places.len() >= limits.max_samples {
                return Err(DecodeError::TooManySymbols(limits.max_samples));
            }
            if symbol == METRIC_NAME.as_bytes() {
                metric_name = places.len() as u64;
            }
            // Messages are shorter than 4 GiB.
            places.push(Place { start: (reader.position() - symbol.len()) as u32, bytes: symbol.len() as u32 });
        }
        if places.first().is_some_and(|first| first.bytes != 0) {
            return Err(DecodeError::Protobuf("the first symbol is not empty".to_owned()));
        }
        seen.0.clear();
        seen.0.resize(places.len().div_ceil(64), 0);
        Ok((Symbols { padded, length, places, metric_name }, seen))
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.places.capacity() * size_of::<Place>() + self.seen.0.capacity() * 8
    }
}

impl Seen {
    /// Whether a symbol comes for the first time.
    #[inline]
    pub(crate) fn is_new(&mut self, symbol: u64) -> bool {
        let bit = 1 << (symbol % 64);
        match usize::try_from(symbol / 64).ok().and_then(|word| self.0.get_mut(word)) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }
}

impl<'a> Symbols<'a> {
    pub(crate) fn message(&self) -> &'a [u8] {
        self.padded.get(..self.length).unwrap_or_default()
    }

    #[inline]
    fn place(&self, symbol: u64) -> Option<Place> {
        self.places.get(usize::try_from(symbol).ok()?).copied()
    }

    /// The text and what stands behind it.
    #[inline]
    fn from(&self, place: Place) -> &'a [u8] {
        self.padded.get(place.start as usize..).unwrap_or_default()
    }

    fn bytes(&self, place: Place) -> &'a [u8] {
        self.from(place).get(..place.bytes as usize).unwrap_or_default()
    }

    /// The text of a symbol, if there is such a symbol.
    pub(crate) fn text(&self, symbol: u64) -> Option<&'a [u8]> {
        self.place(symbol).map(|place| self.bytes(place))
    }

    /// Appends a label as 1.0 encodes it, if it is a short one and memory for it is there.
    #[inline(always)]
    fn short_label(&self, name: Place, value: Place, to: &mut Gathered) -> bool {
        let (n, v) = (name.bytes as usize, value.bytes as usize);
        if n.wrapping_sub(1) < SHORT_NAME
            && v.wrapping_sub(1) < SHORT_VALUE
            && let Some(name) = self.from(name).first_chunk::<SHORT_NAME>()
            && let Some(value) = self.from(value).first_chunk::<SHORT_VALUE>()
            && let Some(label) = to.next::<SHORT_LABEL>()
        {
            label[0] = LABELS;
            label[1] = (4 + n + v) as u8;
            label[2] = NAME;
            label[3] = n as u8;
            label[4..4 + SHORT_NAME].copy_from_slice(name);
            label[4 + n] = VALUE;
            label[5 + n] = v as u8;
            label[6 + n..6 + n + SHORT_VALUE].copy_from_slice(value);
            to.advance(6 + n + v);
            return true;
        }
        false
    }

    /// The same for labels of any length. Empty texts are left out, as everybody does.
    #[cold]
    fn long_label(&self, name: Place, value: Place, to: &mut Gathered) -> Result<(), DecodeError> {
        let (mut name_head, mut value_head, mut head) = (Head::default(), Head::default(), Head::default());
        for (part, key, place) in [(&mut name_head, NAME, name), (&mut value_head, VALUE, value)] {
            if place.bytes > 0 {
                part.put(key, place.bytes as usize);
            }
        }
        let length = name_head.length + name.bytes as usize + value_head.length + value.bytes as usize;
        head.put(LABELS, length);
        to.reserve(head.length + length)?;
        to.extend(head.bytes())?;
        to.extend(name_head.bytes())?;
        to.extend(self.bytes(name))?;
        to.extend(value_head.bytes())?;
        to.extend(self.bytes(value))
    }
}

/// Key and length of a field.
#[derive(Default)]
struct Head {
    bytes: [u8; 11],
    length: usize,
}

impl Head {
    fn put(&mut self, key: u8, length: usize) {
        self.bytes[0] = key;
        let mut rest = &mut self.bytes[1..];
        encode_varint(length as u64, &mut rest);
        let left = rest.len();
        self.length = self.bytes.len() - left;
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// Labels of one series or exemplar, reference by reference.
pub(crate) struct LabelRefs<'a> {
    symbols: Symbols<'a>,
    max_labels: usize,
    labels: usize,
    name: Option<u64>,
    /// The symbol of the metric's name.
    pub(crate) metric: Option<u64>,
    is_bad: bool,
}

impl<'a> LabelRefs<'a> {
    #[inline]
    pub(crate) fn new(symbols: Symbols<'a>, max_labels: usize) -> Self {
        Self { symbols, max_labels, labels: 0, name: None, metric: None, is_bad: false }
    }

    /// References in one field: the hottest loop of 2.0.
    #[inline(always)]
    pub(crate) fn packed(&mut self, packed: &[u8], to: &mut Gathered) -> Result<(), DecodeError> {
        let mut references = Reader::new(packed);
        while !references.is_at_end() {
            let reference = references.varint()?;
            if self.name.is_some() || references.is_at_end() {
                self.push(reference, to)?;
            } else {
                self.label(reference, references.varint()?, to)?;
            }
        }
        Ok(())
    }

    /// One reference: a name's, or its value's.
    #[cold]
    pub(crate) fn push(&mut self, reference: u64, to: &mut Gathered) -> Result<(), DecodeError> {
        match self.name.take() {
            None => self.name = Some(reference),
            Some(name) => self.label(name, reference, to)?,
        }
        Ok(())
    }

    #[inline(always)]
    fn label(&mut self, name: u64, value: u64, to: &mut Gathered) -> Result<(), DecodeError> {
        // One more than allowed is seen by whoever reads the labels; more need no memory.
        if self.labels > self.max_labels {
            return Ok(());
        }
        self.labels += 1;
        let (Some(name_place), Some(value_place)) = (self.symbols.place(name), self.symbols.place(value)) else {
            self.is_bad = true;
            return Ok(());
        };
        if name == self.symbols.metric_name {
            self.metric = Some(value);
        }
        if self.symbols.short_label(name_place, value_place, to) {
            return Ok(());
        }
        self.symbols.long_label(name_place, value_place, to)
    }

    /// Marks labels that are none.
    #[inline]
    pub(crate) fn finish(&self, to: &mut Gathered) -> Result<(), DecodeError> {
        if self.is_bad || self.name.is_some() {
            to.extend(&[key(wire::NO_SUCH_SYMBOL, WireType::Varint), 0])?;
        }
        Ok(())
    }
}
