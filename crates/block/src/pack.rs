//! pco, held at arm's length: many pages compressed with one shared description of their numbers.
//!
//! What is decoded has passed a checksum before it comes here. Should it be malformed nevertheless, sizes are refused
//! before anything is allocated by them, and a panic inside pco ends here.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pco::data_types::Number;
use pco::metadata::DeltaEncoding;
use pco::wrapped::{ChunkDecompressor, FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DeltaSpec, ModeSpec, PagingSpec};

use crate::error::Malformed;

/// Of the twelve levels: higher ones cost twice the time, and with chunks of this size make them no smaller (measured).
const LEVEL: usize = 6;
/// The first four bits of a description say how numbers are split; this one begins with a dictionary of any size, which
/// is never written here.
const DICTIONARY_MODE: u8 = 4;
const REFUSED: Malformed = Malformed("compressed numbers cannot be decoded");

/// The bytes by which pco names the version of its format.
pub(crate) fn format_header() -> Result<[u8; 2], Malformed> {
    let bytes = FileCompressor::default().write_header(Vec::new()).map_err(|_| REFUSED)?;
    bytes.try_into().map_err(|_| REFUSED)
}

/// Reads those bytes.
pub(crate) fn open_format(header: &[u8]) -> Result<FileDecompressor, Malformed> {
    FileDecompressor::new(header).map(|(file, _)| file).map_err(|_| Malformed("unknown version of the pco format"))
}

/// Numbers of several pages, compressed.
#[derive(Default)]
pub(crate) struct Packed {
    /// What the pages share.
    pub(crate) description: Vec<u8>,
    /// The pages, one after another.
    pub(crate) pages: Vec<u8>,
    /// Where each page ends.
    pub(crate) ends: Vec<usize>,
}

impl Packed {
    /// The bytes of a page.
    pub(crate) fn page(&self, index: usize) -> &[u8] {
        let from = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.pages[from..self.ends[index]]
    }
}

/// Compresses integers that are distances already, or better not replaced by distances.
pub(crate) fn pack_integers(numbers: &[i64], pages: Vec<usize>) -> Result<Packed, Malformed> {
    let config = ChunkConfig::default().with_mode_spec(ModeSpec::Classic).with_delta_spec(DeltaSpec::NoOp);
    pack(numbers, pages, config)
}

/// Compresses any values.
pub(crate) fn pack_floats(numbers: &[f64], pages: Vec<usize>, distances: bool) -> Result<Packed, Malformed> {
    let delta = if distances { DeltaSpec::TryConsecutive(1) } else { DeltaSpec::NoOp };
    pack(numbers, pages, ChunkConfig::default().with_delta_spec(delta))
}

fn pack<T: Number>(numbers: &[T], pages: Vec<usize>, config: ChunkConfig) -> Result<Packed, Malformed> {
    if numbers.is_empty() {
        return Ok(Packed::default());
    }
    let refused = |_| Malformed("numbers cannot be compressed");
    let count = pages.len();
    let config = config.with_compression_level(LEVEL).with_paging_spec(PagingSpec::Exact(pages));
    let mut chunk = FileCompressor::default().chunk_compressor(numbers, &config).map_err(refused)?;
    let mut packed = Packed::default();
    chunk.write_meta(&mut packed.description).map_err(refused)?;
    for page in 0..count {
        chunk.write_page(page, &mut packed.pages).map_err(refused)?;
        packed.ends.push(packed.pages.len());
    }
    Ok(packed)
}

/// The description of a chunk's numbers, ready to decode its pages.
pub(crate) struct Unpacker<T: Number>(ChunkDecompressor<T>);

impl<T: Number> Unpacker<T> {
    /// Reads a description.
    pub(crate) fn new(format: &FileDecompressor, description: &[u8]) -> Result<Self, Malformed> {
        if description.first().is_none_or(|first| first & 0x0f == DICTIONARY_MODE) {
            return Err(REFUSED);
        }
        let chunk = contained(|| format.chunk_decompressor::<T, _>(description).map(|(chunk, _)| chunk))?;
        match chunk.meta().delta_encoding {
            DeltaEncoding::NoOp | DeltaEncoding::Consecutive { .. } => Ok(Self(chunk)),
            // The others may ask for windows of any size, and are never written here.
            _ => Err(REFUSED),
        }
    }

    /// Appends the `count` numbers of a page, which is the first `length` bytes of `from_page`. What follows the page there
    /// is not used, but spares pco a padded copy of it. What is in `into` after an error is of no use.
    pub(crate) fn read(
        &mut self,
        from_page: &[u8],
        length: usize,
        count: usize,
        into: &mut Vec<T>,
    ) -> Result<(), Malformed> {
        let from = into.len();
        into.resize(from + count, T::default());
        let (progress, rest) = contained(|| {
            let mut page = self.0.page_decompressor(from_page, count)?;
            let progress = page.read(&mut into[from..])?;
            Ok((progress, page.into_src().len()))
        })?;
        let whole = progress.finished && progress.n_processed == count;
        if whole && rest + length == from_page.len() { Ok(()) } else { Err(REFUSED) }
    }
}

fn contained<V>(decode: impl FnOnce() -> pco::errors::PcoResult<V>) -> Result<V, Malformed> {
    // What a panic may leave half done is scratch that the next page overwrites, and a buffer that the error condemns.
    catch_unwind(AssertUnwindSafe(decode)).map_err(|_| REFUSED)?.map_err(|_| REFUSED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn format() -> FileDecompressor {
        open_format(&format_header().expect("has a header")).expect("is known")
    }

    proptest! {
        #[test]
        fn floats_come_back_to_the_bit(pages in prop::collection::vec(prop::collection::vec(any::<u64>(), 1..300), 1..5),
                                       distances: bool) {
            let values: Vec<f64> = pages.iter().flatten().map(|&bits| f64::from_bits(bits)).collect();
            let packed = pack_floats(&values, pages.iter().map(Vec::len).collect(), distances).expect("packs");
            let mut unpacker = Unpacker::<f64>::new(&format(), &packed.description).expect("reads");
            for (index, page) in pages.iter().enumerate() {
                let mut back = Vec::new();
                let bytes = packed.page(index);
                unpacker.read(bytes, bytes.len(), page.len(), &mut back).expect("decodes");
                prop_assert_eq!(&back.iter().map(|v: &f64| v.to_bits()).collect::<Vec<_>>(), page);
            }
        }

        #[test]
        fn nothing_malformed_gets_out(mut description in prop::collection::vec(any::<u8>(), 0..60),
                                      page in prop::collection::vec(any::<u8>(), 0..200), flip: u16) {
            let values: Vec<i64> = (0..500).map(|i| i * i % 77).collect();
            let packed = pack_integers(&values, vec![200, 300]).expect("packs");
            // Random bytes rarely get far, so true ones with one bit flipped are tried too.
            let mut true_one = packed.description.clone();
            let at = usize::from(flip) % (true_one.len() * 8);
            true_one[at / 8] ^= 1 << (at % 8);
            description.truncate(40);
            for description in [&description, &true_one, &packed.description] {
                if let Ok(mut unpacker) = Unpacker::<i64>::new(&format(), description) {
                    let _ = unpacker.read(&page, page.len(), 200, &mut Vec::new());
                    let _ = unpacker.read(&packed.pages, packed.page(0).len(), 250, &mut Vec::new());
                }
            }
        }
    }
}
