//! Prometheus' own storage formats: blocks written and read, the WAL read. This is how history moves in from a
//! Prometheus, and how ours moves out to promtool, Prometheus, Thanos and Mimir. docs/formats/prometheus-block.md says
//! what of the formats is understood.
//!
//! Invariants: a written block appears whole, under its final name, or not at all; what is read was checked against its
//! checksum first; no bytes make a reader panic or allocate more than the file that they came from is large.
//!
//! Non-goals: native histograms and exemplars are counted and skipped; index version 1 (before Prometheus 2.0) is
//! refused; nothing is ever changed in a folder that is read.

mod bits;
mod block;
mod bytes;
mod chunk_files;
mod error;
mod export;
mod file_window;
mod index_reader;
mod index_writer;
mod meta;
#[cfg(test)]
mod tests;
mod tombstones;
mod wal;
mod wal_pages;
mod wal_records;
mod xor;

pub use block::{BlockReader, Skipped, list_blocks};
pub use error::PrometheusError;
pub use export::{CHUNK_SAMPLES, ExportOptions, ExportWriter};
pub use meta::{BlockMeta, BlockStats, Compaction, ThanosMeta};
pub use wal::{Damage, Wal, WalItem, WalReport};
pub use xor::{decode_xor, encode_xor};
