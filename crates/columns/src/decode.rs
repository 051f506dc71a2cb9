//! The reading side.

use model::MetricMetadata;

use crate::encode::{PARTS, Part};
use crate::extras::{read_exemplars, read_histograms, read_metadata};
use crate::numbers::{read_numbers, read_times};
use crate::sections::{Reader, Unpacker, skip_part};
use crate::values::{PLANES, ValueColumn};
use crate::{DecodeError, Definitions, ExemplarEntry, HistogramEntry, Limits, VERSION};

/// Decodes messages; keeps its memory from one to the next.
#[derive(Default)]
pub struct Decoder {
    unpacker: Unpacker,
    part: Vec<u8>,
    definitions: Vec<u8>,
    numbers: Vec<u32>,
    timestamps: Vec<i64>,
    column: ValueColumn,
    values: Vec<f64>,
}

/// What a message says. Borrows from the decoder.
pub struct Decoded<'a> {
    /// The series of every row.
    pub numbers: &'a [u32],
    /// Milliseconds since the epoch, as many.
    pub timestamps: &'a [i64],
    /// The values, as many.
    pub values: &'a [f64],
    /// Exemplars.
    pub exemplars: Vec<ExemplarEntry>,
    /// Native histograms.
    pub histograms: Vec<HistogramEntry>,
    /// What was said of metric families.
    pub metadata: Vec<MetricMetadata>,
    /// Which series the numbers are that were not known before. An iterator: clone it to read them again.
    pub definitions: Definitions<'a>,
}

/// Which parts of a message are still to be read, and how much they may hold.
struct Plan<'l> {
    parts: u16,
    rows: usize,
    /// Bytes after decompression.
    room: usize,
    /// Exemplars and histograms.
    entries: usize,
    limits: &'l Limits,
}

impl Plan<'_> {
    fn has(&self, part: Part) -> bool {
        self.parts & 1 << part as u16 != 0
    }
}

impl Decoder {
    /// Reads a message.
    ///
    /// # Errors
    /// When it is not one, or asks for more than `limits` allow. Nothing is given then.
    pub fn decode(&mut self, message: &[u8], limits: &Limits) -> Result<Decoded<'_>, DecodeError> {
        let mut reader = Reader::new(message);
        let mut plan = plan(&mut reader, limits)?;
        self.numbers(&mut reader, &mut plan)?;
        self.times_and_values(&mut reader, &mut plan)?;
        self.definitions.clear();
        if plan.has(Part::Definitions) {
            self.unpacker.take(&mut reader, &mut self.definitions, &mut plan.room, limits)?;
        }
        let (mut exemplars, mut histograms, mut metadata) = (Vec::new(), Vec::new(), Vec::new());
        if plan.has(Part::Exemplars) {
            self.unpacker.take(&mut reader, &mut self.part, &mut plan.room, limits)?;
            exemplars = read_exemplars(&self.part, &mut plan.entries, limits)?;
        }
        if plan.has(Part::Histograms) {
            self.unpacker.take(&mut reader, &mut self.part, &mut plan.room, limits)?;
            histograms = read_histograms(&self.part, &mut plan.entries, limits)?;
        }
        if plan.has(Part::Metadata) {
            self.unpacker.take(&mut reader, &mut self.part, &mut plan.room, limits)?;
            metadata = read_metadata(&self.part)?;
        }
        reader.end()?;
        Ok(Decoded {
            numbers: &self.numbers,
            timestamps: &self.timestamps,
            values: &self.values,
            exemplars,
            histograms,
            metadata,
            definitions: Definitions::new(&self.definitions, limits)?,
        })
    }

    /// Reads only which series the rows have and what is defined: much cheaper than the whole.
    ///
    /// # Errors
    /// As [`Decoder::decode`]; what is not read is not checked.
    pub fn outline(&mut self, message: &[u8], limits: &Limits) -> Result<(&[u32], Definitions<'_>), DecodeError> {
        let mut reader = Reader::new(message);
        let mut plan = plan(&mut reader, limits)?;
        self.numbers(&mut reader, &mut plan)?;
        let between = (Part::Timestamps as u16..Part::Definitions as u16).filter(|part| plan.parts & 1 << part != 0);
        for _ in between {
            skip_part(&mut reader)?;
        }
        self.definitions.clear();
        if plan.has(Part::Definitions) {
            self.unpacker.take(&mut reader, &mut self.definitions, &mut plan.room, limits)?;
        }
        Ok((&self.numbers, Definitions::new(&self.definitions, limits)?))
    }

    fn numbers(&mut self, reader: &mut Reader<'_>, plan: &mut Plan<'_>) -> Result<(), DecodeError> {
        self.part.clear();
        if plan.has(Part::Numbers) {
            self.unpacker.take(reader, &mut self.part, &mut plan.room, plan.limits)?;
        }
        read_numbers(&self.part, plan.rows, &mut self.numbers)
    }

    fn times_and_values(&mut self, reader: &mut Reader<'_>, plan: &mut Plan<'_>) -> Result<(), DecodeError> {
        self.part.clear();
        if plan.has(Part::Timestamps) {
            self.unpacker.take(reader, &mut self.part, &mut plan.room, plan.limits)?;
        }
        read_times(&self.part, plan.rows, &mut self.timestamps)?;
        self.column.tokens.clear();
        if plan.has(Part::Tokens) {
            self.unpacker.take(reader, &mut self.column.tokens, &mut plan.room, plan.limits)?;
        }
        for (nth, plane) in self.column.planes.iter_mut().enumerate() {
            plane.clear();
            if plan.parts & 1 << (Part::Planes as usize + nth) != 0 {
                self.unpacker.take(reader, plane, &mut plan.room, plan.limits)?;
            }
        }
        self.column.decode(plan.rows, &mut self.values)
    }

    /// Bytes of heap that it holds.
    pub fn size_bytes(&self) -> usize {
        let planes: usize = (0..PLANES).map(|nth| self.column.planes[nth].capacity()).sum();
        let bytes = self.part.capacity() + self.definitions.capacity() + self.column.tokens.capacity() + planes;
        let rows = self.timestamps.capacity() * size_of::<i64>() + self.values.capacity() * size_of::<f64>();
        bytes + rows + self.numbers.capacity() * size_of::<u32>()
    }
}

/// Reads what stands before the parts.
fn plan<'l>(reader: &mut Reader<'_>, limits: &'l Limits) -> Result<Plan<'l>, DecodeError> {
    match reader.byte()? {
        VERSION => {}
        other => return Err(DecodeError::UnknownVersion(other)),
    }
    let parts = u16::from_le_bytes(reader.array()?);
    if parts >= 1 << PARTS {
        return Err(DecodeError::Malformed("a part of an unknown kind"));
    }
    let rows = usize::try_from(reader.number()?).ok().filter(|rows| *rows <= limits.max_samples);
    let rows = rows.ok_or(DecodeError::TooManySamples(limits.max_samples))?;
    Ok(Plan { parts, rows, room: limits.max_decoded_bytes, entries: limits.max_samples - rows, limits })
}
