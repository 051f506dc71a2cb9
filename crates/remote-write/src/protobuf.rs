//! Protobuf as far as `WriteRequest` needs it: a cursor over a message that is in memory.

use prost::encoding::{DecodeContext, WireType, skip_field};

use crate::DecodeError;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Field<'a> {
    Bytes(&'a [u8]),
    Varint(u64),
    Fixed64(u64),
    /// Of a kind that no field of ours has.
    Other,
}

/// Reads one message from front to back. After an error it must not be read on.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

/// The key of a field with a number below 16: one byte.
pub(crate) const fn key(number: u32, kind: WireType) -> u8 {
    (number << 3) as u8 | kind as u8
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    /// How many bytes were read.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    #[inline]
    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.message.len()
    }

    /// Goes past `key` when it is the next byte.
    #[inline]
    pub(crate) fn skip_key(&mut self, key: u8) -> bool {
        let found = self.message.get(self.at) == Some(&key);
        self.at += usize::from(found);
        found
    }

    /// Goes past the fields with `key` that come next, each a length and that many bytes.
    ///
    /// This is where decoding spends its time. Key and length are looked at together: the next field's place then hangs
    /// on one read from memory instead of two, one after the other.
    #[inline]
    pub(crate) fn skip_bytes_fields(&mut self, key: u8) -> Result<(), DecodeError> {
        let is_short = |head: &[u8; 2]| head[0] == key && head[1] < 0x80;
        let next = |at: usize| self.message.get(at..).and_then(|rest| rest.first_chunk());
        let mut at = self.at;
        while let Some(head) = next(at).filter(|head| is_short(head)) {
            at += head.len() + usize::from(head[1]);
        }
        if at > self.message.len() {
            return Err(malformed("a field is longer than the message"));
        }
        self.at = at;
        while self.skip_key(key) {
            self.bytes()?;
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let rest = self.message.get(self.at..).unwrap_or_default();
        match rest {
            [byte, ..] if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            [low, high, ..] if *high < 0x80 => {
                self.at += 2;
                Ok(u64::from(low & 0x7f) | u64::from(*high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    /// Ten bytes at most; what the last one has beyond 64 bits is dropped, as in every other implementation.
    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for (i, byte) in self.message.get(self.at..).unwrap_or_default().iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if *byte < 0x80 {
                self.at += i + 1;
                return Ok(value);
            }
        }
        Err(malformed("a number does not end"))
    }

    /// A length and that many bytes.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.varint()?;
        let rest = self.message.get(self.at..).unwrap_or_default();
        match usize::try_from(length).ok().and_then(|length| rest.get(..length)) {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(bytes)
            }
            None => Err(malformed("a field is longer than the message")),
        }
    }

    /// The next field and its number.
    pub(crate) fn field(&mut self) -> Result<(u32, Field<'a>), DecodeError> {
        let key = u32::try_from(self.varint()?).map_err(|_| malformed("a field's number is too large"))?;
        let number = key >> 3;
        if number == 0 {
            return Err(malformed("a field has the number 0"));
        }
        let kind = WireType::try_from(u64::from(key & 7)).map_err(|e| malformed(&e.to_string()))?;
        let field = match kind {
            WireType::Varint => Field::Varint(self.varint()?),
            WireType::LengthDelimited => Field::Bytes(self.bytes()?),
            WireType::SixtyFourBit => match self.message.get(self.at..).and_then(|rest| rest.first_chunk()) {
                Some(bits) => {
                    self.at += bits.len();
                    Field::Fixed64(u64::from_le_bytes(*bits))
                }
                None => return Err(malformed("a field is longer than the message")),
            },
            other => {
                let mut rest = self.message.get(self.at..).unwrap_or_default();
                skip_field(other, number, &mut rest, DecodeContext::default())
                    .map_err(|e| malformed(&e.to_string()))?;
                self.at = self.message.len() - rest.len();
                Field::Other
            }
        };
        Ok((number, field))
    }
}

#[cold]
fn malformed(what: &str) -> DecodeError {
    DecodeError::Protobuf(what.to_owned())
}

/// Calls `each` for every field of a message.
pub(crate) fn fields<'a>(message: &'a [u8], mut each: impl FnMut(u32, Field<'a>)) -> Result<(), DecodeError> {
    let mut reader = Reader::new(message);
    while !reader.is_at_end() {
        let (number, field) = reader.field()?;
        each(number, field);
    }
    Ok(())
}
