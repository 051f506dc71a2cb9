//! Blocks of every version that ever was, which must stay readable.

use std::fmt::Write;

use disk::RealDisk;
use model::HistogramBuffer;

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// Everything in a block as text: labels, then each timestamp with the bits of its value.
fn dump(block: &Block, columns: &[Column]) -> String {
    let (mut reader, mut out) = (block.reader(), String::new());
    for ordinal in 0..block.meta().series as u32 {
        writeln!(out, "{}", block.labels(ordinal).expect("reads")).expect("writes");
        for &column in columns {
            let mut samples = SampleBuffer::default();
            reader.read(ordinal, TimeRange::ALL, column, &mut samples).expect("reads");
            for (timestamp, bits) in bits(&samples) {
                writeln!(out, "{column:?} {timestamp} {bits:016x}").expect("writes");
            }
        }
        let mut histograms = HistogramBuffer::default();
        reader.read_histograms(ordinal, TimeRange::ALL, &mut histograms).expect("reads");
        for (timestamp, histogram) in histograms.iter() {
            writeln!(out, "Histogram {timestamp} {:02x?}", histogram.as_bytes()).expect("writes");
        }
    }
    out
}

#[test]
fn version_1_is_read() {
    let all = [Column::Last, Column::Count, Column::Sum, Column::Min, Column::Max];
    for (name, columns) in [("v1-raw", &all[..1]), ("v1-rollup", &all[..]), ("v1-histograms", &all[..1])] {
        let block = Block::open(Arc::new(RealDisk), &fixture(&format!("{name}.block"))).expect("opens");
        let want = std::fs::read_to_string(fixture(&format!("{name}.txt"))).expect("reads");
        assert_eq!(dump(&block, columns), want, "{name}");
        assert_eq!(block.verify(), []);
        assert_eq!(block.tombstones().is_empty(), name != "v1-raw");
    }
}
