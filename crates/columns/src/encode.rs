//! The writing side.

use crate::definitions::put_definitions;
use crate::extras::{put_exemplars, put_histograms, put_metadata};
use crate::numbers::put_column;
use crate::sections::{Packer, put_number};
use crate::values::{PLANES, ValueColumn};
use crate::{Message, VERSION};

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Small: between machines.
    Wire,
    /// Cheap: in a queue's file. Only definitions are compressed.
    Stored,
}

/// The parts of a message in their order. A message says which of them it has, by bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Part {
    Numbers,
    Timestamps,
    Tokens,
    /// And the next seven.
    Planes,
    Definitions = 11,
    Exemplars,
    Histograms,
    Metadata,
}

/// Parts that there are.
pub(crate) const PARTS: u16 = Part::Metadata as u16 + 1;

/// Compression of zstd: of columns and of what is mostly text, and from how many bytes on.
const COLUMNS: (i32, usize) = (1, 48);
const TEXT: (i32, usize) = (3, 64);
const STORED_TEXT: (i32, usize) = (1, 128);
const NEVER: (i32, usize) = (1, usize::MAX);

/// Encodes messages; keeps its memory from one to the next.
#[derive(Default)]
pub struct Encoder {
    out: Vec<u8>,
    part: Vec<u8>,
    values: ValueColumn,
    columns: Packer,
    text: Packer,
}

impl Encoder {
    /// The message as bytes. Columns of unequal lengths are cut to the shortest.
    pub fn encode(&mut self, message: &Message<'_>, form: Form) -> &[u8] {
        let rows = message.numbers.len().min(message.timestamps.len()).min(message.values.len());
        self.values.encode(&message.values[..rows]);
        self.out.clear();
        self.out.push(VERSION);
        self.out.extend_from_slice(&self.parts(message, rows).to_le_bytes());
        put_number(&mut self.out, rows as u64);
        let (columns, text) = match form {
            Form::Wire => (COLUMNS, TEXT),
            Form::Stored => (NEVER, STORED_TEXT),
        };
        self.put(columns, |part| put_column(part, message.numbers[..rows].iter().map(|n| i64::from(*n))));
        self.put(columns, |part| put_column(part, message.timestamps[..rows].iter().copied()));
        for column in std::iter::once(&self.values.tokens).chain(&self.values.planes) {
            if !column.is_empty() {
                self.columns.put(&mut self.out, column, columns.0, columns.1);
            }
        }
        self.put(text, |part| put_definitions(part, message.definitions));
        self.put(text, |part| put_exemplars(part, message.exemplars));
        self.put(text, |part| put_histograms(part, message.histograms));
        self.put(text, |part| put_metadata(part, message.metadata));
        &self.out
    }

    /// Which parts the message has, by bit.
    fn parts(&self, message: &Message<'_>, rows: usize) -> u16 {
        let has = |part: Part, is_there: bool| u16::from(is_there) << part as u16;
        let planes =
            (0..PLANES).map(|nth| u16::from(!self.values.planes[nth].is_empty()) << (Part::Planes as usize + nth));
        planes.fold(0, |all, one| all | one)
            | has(Part::Numbers, rows > 0)
            | has(Part::Timestamps, rows > 0)
            | has(Part::Tokens, rows > 0)
            | has(Part::Definitions, !message.definitions.is_empty())
            | has(Part::Exemplars, !message.exemplars.is_empty())
            | has(Part::Histograms, !message.histograms.is_empty())
            | has(Part::Metadata, !message.metadata.is_empty())
    }

    /// Appends the part that `fill` makes, unless it is empty.
    fn put(&mut self, (level, from): (i32, usize), fill: impl FnOnce(&mut Vec<u8>)) {
        self.part.clear();
        fill(&mut self.part);
        if !self.part.is_empty() {
            let packer = if level == COLUMNS.0 { &mut self.columns } else { &mut self.text };
            packer.put(&mut self.out, &self.part, level, from);
        }
    }
}
