//! The sealed block: one immutable file of compressed columns with its index, and what was deleted from it beside it.
//!
//! Invariants:
//! - a block's file is there whole or not at all, and never changes; what is deleted stands in another file;
//! - series are numbered in order of their labels, so numbers merge as labels do;
//! - what is read is what was written, to the bit: staleness markers, NaN payloads, negative zeros;
//! - every byte is covered by a checksum, and damage costs the chunk that it hit, with a name, never a panic.
//!
//! Non-goals: no merging of blocks, no choice of which to write or to remove, no cache of decoded samples.
//! The file is described byte by byte in `docs/formats/block.md`.

mod block;
mod bytes;
mod catalog;
mod chunk;
mod directory;
mod error;
mod format;
mod histograms;
mod index;
mod indexer;
mod lists;
mod meta;
mod pack;
mod reader;
mod rollup;
mod series;
mod symbols;
mod times;
mod tombstones;
mod values;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

pub use block::Block;
pub use error::{BlockError, ErrorClass};
pub use format::VERSION;
pub use index::{LabelScratch, NameStatistics};
pub use meta::{BlockDraft, BlockMeta};
pub use reader::Reader;
pub use rollup::RollupBuffer;
pub use tombstones::{TOMBSTONES_SUFFIX, Tombstones};
pub use verify::Damage;
pub use writer::{BLOCK_SUFFIX, BlockWriter};
