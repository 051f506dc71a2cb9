//! Writes `index`, version 2: symbols, series, label indices, postings, and the tables that find them again. Series are
//! collected in memory first, since the symbols that they refer to stand before them in the file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Labels;

use crate::bytes::{put_text, put_uvarint, put_varint};
use crate::error::PrometheusError;

pub(crate) const FILE: &str = "index";
pub(crate) const MAGIC: u32 = 0xBAAA_D700;
pub(crate) const VERSION: u8 = 2;
/// Series begin at multiples of this, and are named by the quotient.
pub(crate) const SERIES_ALIGNMENT: u64 = 16;
/// Six offsets and a checksum at the end of the file.
pub(crate) const TOC_BYTES: u64 = 6 * 8 + 4;

/// Where a chunk lies and what it spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkMeta {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) name: u64,
}

/// What will stand in the index. Numbers of symbols are in order of appearance.
#[derive(Debug, Default)]
pub(crate) struct IndexBuilder {
    numbers: HashMap<Arc<str>, u32>,
    symbols: Vec<Arc<str>>,
    /// Ends of the series in `labels` and in `chunks`.
    series: Vec<(usize, usize)>,
    labels: Vec<(u32, u32)>,
    /// Chunks of all series, encoded as they will stand in the file.
    chunks: Vec<u8>,
}

impl IndexBuilder {
    /// Adds a series, which must sort after those before it.
    pub(crate) fn add(&mut self, labels: &Labels, chunks: &[ChunkMeta]) {
        for (name, value) in labels.iter() {
            let pair = (self.symbol(name), self.symbol(value));
            self.labels.push(pair);
        }
        put_uvarint(&mut self.chunks, chunks.len() as u64);
        let mut before: Option<ChunkMeta> = None;
        for chunk in chunks {
            match before {
                None => put_varint(&mut self.chunks, chunk.first),
                Some(b) => put_uvarint(&mut self.chunks, chunk.first.wrapping_sub(b.last) as u64),
            }
            put_uvarint(&mut self.chunks, chunk.last.wrapping_sub(chunk.first) as u64);
            match before {
                None => put_uvarint(&mut self.chunks, chunk.name),
                Some(b) => put_varint(&mut self.chunks, chunk.name.wrapping_sub(b.name) as i64),
            }
            before = Some(*chunk);
        }
        self.series.push((self.labels.len(), self.chunks.len()));
    }

    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    fn symbol(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let (number, text) = (self.symbols.len() as u32, Arc::<str>::from(text));
        self.symbols.push(text.clone());
        self.numbers.insert(text, number);
        number
    }

    /// Writes the file, durably, and returns its size.
    pub(crate) fn write(mut self, block: &Path) -> Result<u64, PrometheusError> {
        self.sort_symbols();
        let path = block.join(FILE);
        let file = File::create_new(&path).map_err(PrometheusError::io(&path))?;
        let mut out = Sections { path, out: BufWriter::with_capacity(1 << 20, file), position: 0 };
        out.put(&MAGIC.to_be_bytes())?;
        out.put(&[VERSION])?;
        let symbols_at = self.write_symbols(&mut out)?;
        out.pad(SERIES_ALIGNMENT)?;
        let series_at = out.position;
        let postings = self.write_series(&mut out)?;
        out.pad(4)?;
        let label_indices_at = out.position;
        let label_table = self.write_label_indices(&postings, &mut out)?;
        out.pad(4)?;
        let postings_at = out.position;
        let postings_table = self.write_postings(&postings, &mut out)?;
        let label_table_at = out.section(&label_table)?;
        let postings_table_at = out.section(&postings_table)?;
        let mut toc = Vec::new();
        for at in [symbols_at, series_at, label_indices_at, label_table_at, postings_at, postings_table_at] {
            toc.extend_from_slice(&at.to_be_bytes());
        }
        toc.extend_from_slice(&crc32c::crc32c(&toc).to_be_bytes());
        out.put(&toc)?;
        out.finish()
    }

    /// Renumbers symbols in their order, in which pairs of them compare as their strings do.
    fn sort_symbols(&mut self) {
        let mut order: Vec<u32> = (0..self.symbols.len() as u32).collect();
        order.sort_unstable_by_key(|n| &self.symbols[*n as usize]);
        let mut renumbered = vec![0; order.len()];
        for (new, old) in order.iter().enumerate() {
            renumbered[*old as usize] = new as u32;
        }
        for (name, value) in &mut self.labels {
            (*name, *value) = (renumbered[*name as usize], renumbered[*value as usize]);
        }
        self.symbols.sort_unstable();
        self.numbers = HashMap::new();
    }

    fn write_symbols(&self, out: &mut Sections) -> Result<u64, PrometheusError> {
        let mut body = (self.symbols.len() as u32).to_be_bytes().to_vec();
        self.symbols.iter().for_each(|symbol| put_text(&mut body, symbol));
        out.section(&body)
    }

    /// Writes the series and returns which of them have which pair, the pairs sorted.
    fn write_series(&self, out: &mut Sections) -> Result<Postings, PrometheusError> {
        let mut all = Vec::with_capacity(self.series.len());
        let mut pairs: HashMap<(u32, u32), Vec<u32>> = HashMap::new();
        let (mut body, mut head) = (Vec::new(), Vec::new());
        let (mut labels_from, mut chunks_from) = (0, 0);
        for (labels_to, chunks_to) in &self.series {
            out.pad(SERIES_ALIGNMENT)?;
            let Ok(reference) = u32::try_from(out.position / SERIES_ALIGNMENT) else {
                let what = "the index would be larger than 64 GiB; export a shorter range or fewer series";
                return Err(PrometheusError::unsupported(&out.path, what));
            };
            let labels = &self.labels[labels_from..*labels_to];
            body.clear();
            put_uvarint(&mut body, labels.len() as u64);
            for (name, value) in labels {
                put_uvarint(&mut body, u64::from(*name));
                put_uvarint(&mut body, u64::from(*value));
                pairs.entry((*name, *value)).or_default().push(reference);
            }
            body.extend_from_slice(&self.chunks[chunks_from..*chunks_to]);
            head.clear();
            put_uvarint(&mut head, body.len() as u64);
            out.put(&head)?;
            out.put(&body)?;
            out.put(&crc32c::crc32c(&body).to_be_bytes())?;
            all.push(reference);
            (labels_from, chunks_from) = (*labels_to, *chunks_to);
        }
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_unstable_by_key(|(pair, _)| *pair);
        Ok(Postings { all, pairs })
    }

    /// The values of each label name, which only old readers use; returns the table of them.
    fn write_label_indices(&self, postings: &Postings, out: &mut Sections) -> Result<Vec<u8>, PrometheusError> {
        let mut table = Vec::new();
        let mut names = 0u32;
        for group in postings.pairs.chunk_by(|((a, _), _), ((b, _), _)| a == b) {
            let mut body = 1u32.to_be_bytes().to_vec();
            body.extend_from_slice(&(group.len() as u32).to_be_bytes());
            group.iter().for_each(|((_, value), _)| body.extend_from_slice(&value.to_be_bytes()));
            out.pad(4)?;
            let at = out.section(&body)?;
            if let Some(((name, _), _)) = group.first() {
                put_uvarint(&mut table, 1);
                put_text(&mut table, &self.symbols[*name as usize]);
                put_uvarint(&mut table, at);
                names += 1;
            }
        }
        Ok([&names.to_be_bytes()[..], &table].concat())
    }

    /// The series of each pair, and of the empty pair all of them; returns the table of the lists.
    fn write_postings(&self, postings: &Postings, out: &mut Sections) -> Result<Vec<u8>, PrometheusError> {
        let mut table = (postings.pairs.len() as u32 + 1).to_be_bytes().to_vec();
        let of_pairs = postings
            .pairs
            .iter()
            .map(|((name, value), list)| (&*self.symbols[*name as usize], &*self.symbols[*value as usize], list));
        for (name, value, list) in std::iter::once(("", "", &postings.all)).chain(of_pairs) {
            let mut body = (list.len() as u32).to_be_bytes().to_vec();
            list.iter().for_each(|reference| body.extend_from_slice(&reference.to_be_bytes()));
            out.pad(4)?;
            let at = out.section(&body)?;
            put_uvarint(&mut table, 2);
            put_text(&mut table, name);
            put_text(&mut table, value);
            put_uvarint(&mut table, at);
        }
        Ok(table)
    }
}

/// References of series, all of them and by pair of symbols.
struct Postings {
    all: Vec<u32>,
    pairs: Vec<((u32, u32), Vec<u32>)>,
}

/// The file, with its position.
struct Sections {
    path: PathBuf,
    out: BufWriter<File>,
    position: u64,
}

impl Sections {
    fn put(&mut self, bytes: &[u8]) -> Result<(), PrometheusError> {
        self.position += bytes.len() as u64;
        self.out.write_all(bytes).map_err(PrometheusError::io(&self.path))
    }

    fn pad(&mut self, alignment: u64) -> Result<(), PrometheusError> {
        let missing = self.position.next_multiple_of(alignment) - self.position;
        self.put(&[0; 16][..missing as usize])
    }

    /// Writes length, body and checksum; returns where they begin.
    fn section(&mut self, body: &[u8]) -> Result<u64, PrometheusError> {
        let at = self.position;
        let Ok(length) = u32::try_from(body.len()) else {
            let what = "a section of the index would be larger than 4 GiB; export a shorter range or fewer series";
            return Err(PrometheusError::unsupported(&self.path, what));
        };
        self.put(&length.to_be_bytes())?;
        self.put(body)?;
        self.put(&crc32c::crc32c(body).to_be_bytes())?;
        Ok(at)
    }

    fn finish(self) -> Result<u64, PrometheusError> {
        let synced = self.out.into_inner().map_err(|e| e.into_error()).and_then(|file| file.sync_all());
        synced.map_err(PrometheusError::io(&self.path))?;
        Ok(self.position)
    }
}
