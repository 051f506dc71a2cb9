//! Which series the numbers are. Neighbours mostly share labels, so each is told by what it does not share with the one
//! before.

use model::Labels;

use crate::sections::{Reader, put_number, put_text, unzigzag, zigzag};
use crate::{DecodeError, Limits};

/// A label like the one at the same place in the definition before.
const SAME: u64 = 0;
/// A label with that one's name and a value of its own.
const SAME_NAME: u64 = 1;
/// Added to the length of a name that is written out.
const NAMED: u64 = 2;

/// What is wrong with the labels of one series. It costs this series, not the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LabelsFault {
    /// More than allowed.
    #[error("has more labels than allowed")]
    TooMany,
    /// Names and values are UTF-8.
    #[error("has a label that is not UTF-8")]
    NotUtf8,
    /// A name or a value.
    #[error("has a label longer than allowed")]
    TooLong,
    /// An empty name or value, or names that do not ascend.
    #[error("has labels that are empty or out of order")]
    NotCanonical,
}

/// Appends definitions.
pub(crate) fn put_definitions(out: &mut Vec<u8>, definitions: &[(u32, Labels)]) {
    let empty = Labels::empty();
    let (mut before, mut previous) = (&empty, 0_i64);
    for (number, labels) in definitions {
        put_number(out, zigzag(i64::from(*number) - previous));
        previous = i64::from(*number);
        put_number(out, labels.len() as u64);
        let mut theirs = before.iter();
        for (name, value) in labels.iter() {
            match theirs.next() {
                Some(same) if same == (name, value) => put_number(out, SAME),
                Some((same, _)) if same == name => {
                    put_number(out, SAME_NAME);
                    put_text(out, value);
                }
                _ => {
                    put_number(out, NAMED + name.len() as u64);
                    out.extend_from_slice(name.as_bytes());
                    put_text(out, value);
                }
            }
        }
        before = labels;
    }
}

/// The definitions of a message, in order: number and labels.
#[derive(Debug, Clone)]
pub struct Definitions<'a> {
    reader: Reader<'a>,
    limits: Limits,
    /// The labels of the last definition, as they came.
    pairs: Vec<(&'a [u8], &'a [u8])>,
    number: i64,
    /// Bytes that labels of definitions may still have when they are written out.
    room: usize,
}

impl<'a> Definitions<'a> {
    /// The definitions in these bytes, which are read once from end to end to see that all is in order.
    pub(crate) fn new(bytes: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        let all = Self {
            reader: Reader::new(bytes),
            limits: *limits,
            pairs: Vec::new(),
            number: 0,
            room: limits.max_decoded_bytes,
        };
        let mut checked = all.clone();
        while checked.advance()?.is_some() {}
        Ok(all)
    }

    /// Reads the next definition; `pairs` holds its labels then.
    fn advance(&mut self) -> Result<Option<u32>, DecodeError> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        self.number = self.number.wrapping_add(unzigzag(self.reader.number()?));
        let number = u32::try_from(self.number).map_err(|_| DecodeError::Malformed("a series number"))?;
        let labels = self.reader.length()?;
        self.pairs.truncate(labels);
        for at in 0..labels {
            let kind = self.reader.number()?;
            let before = self.pairs.get(at).copied();
            let pair = match (kind, before) {
                (SAME, Some(before)) => before,
                (SAME_NAME, Some((name, _))) => (name, self.reader.raw_text()?),
                (SAME | SAME_NAME, None) => return Err(DecodeError::Malformed("a label like none")),
                (named, _) => {
                    let length = usize::try_from(named - NAMED).unwrap_or(usize::MAX);
                    (self.reader.bytes(length)?, self.reader.raw_text()?)
                }
            };
            let bytes = pair.0.len() + pair.1.len();
            self.room = self.room.checked_sub(bytes).ok_or(DecodeError::TooLarge(self.limits.max_decoded_bytes))?;
            match self.pairs.get_mut(at) {
                Some(place) => *place = pair,
                None => self.pairs.push(pair),
            }
        }
        Ok(Some(number))
    }

    fn labels(&self) -> Result<Labels, LabelsFault> {
        let Limits { max_labels, max_name_bytes, max_value_bytes, .. } = self.limits;
        if self.pairs.len() > max_labels {
            return Err(LabelsFault::TooMany);
        }
        let mut pairs = Vec::with_capacity(self.pairs.len());
        for (name, value) in &self.pairs {
            if name.len() > max_name_bytes || value.len() > max_value_bytes {
                return Err(LabelsFault::TooLong);
            }
            let text = |bytes| std::str::from_utf8(bytes).map_err(|_| LabelsFault::NotUtf8);
            pairs.push((text(name)?, text(value)?));
        }
        let nameless = pairs.first().is_some_and(|(name, _)| name.is_empty());
        let labels = if nameless { None } else { Labels::from_sorted(pairs.iter().copied()) };
        labels.ok_or(LabelsFault::NotCanonical)
    }
}

impl Iterator for Definitions<'_> {
    type Item = (u32, Result<Labels, LabelsFault>);

    fn next(&mut self) -> Option<Self::Item> {
        // All of it was read before, so there are no errors left.
        let number = self.advance().ok()??;
        Some((number, self.labels()))
    }
}
