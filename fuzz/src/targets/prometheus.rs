//! Prometheus' formats.

use std::cell::RefCell;
use std::path::PathBuf;

use model::{SampleBuffer, TimeRange, TimestampMs};
use prometheus_block::{BlockReader, ExportOptions, ExportWriter, PrometheusError, Wal, decode_xor, encode_xor};

use super::{folder, series};

/// The files of a block that are fuzzed; the first byte of an input says which.
const FILES: [&str; 4] = ["index", "chunks/000001", "tombstones", "meta.json"];

/// A valid block, and its files as they were.
struct Valid {
    _folder: tempfile::TempDir,
    path: PathBuf,
    files: Vec<Vec<u8>>,
}

fn valid() -> Valid {
    let folder = folder();
    let options = ExportOptions { created: TimestampMs(1_700_000_000_000), ..ExportOptions::default() };
    let mut writer = ExportWriter::create(folder.path(), options).expect("begins a block");
    series().iter().for_each(|(labels, samples)| writer.add(labels, samples).expect("takes a series"));
    let (_, path) = writer.finish().expect("writes").expect("has samples");
    let files = FILES.iter().map(|f| std::fs::read(path.join(f)).unwrap_or_default()).collect();
    Valid { _folder: folder, path, files }
}

thread_local!(static BLOCK: RefCell<Option<Valid>> = const { RefCell::new(None) });

pub(super) fn block(data: &[u8]) {
    let Some((which, content)) = data.split_first() else { return };
    let which = usize::from(*which) % FILES.len();
    BLOCK.with_borrow_mut(|block| {
        let block = block.get_or_insert_with(valid);
        std::fs::write(block.path.join(FILES[which]), content).expect("writes");
        if let Ok(mut reader) = BlockReader::open(&block.path) {
            let (mut samples, most) = (SampleBuffer::default(), reader.series_count());
            for _ in 0..=most {
                if reader.next_series(TimeRange::ALL, &mut samples).is_none() {
                    break;
                }
            }
        }
        std::fs::write(block.path.join(FILES[which]), &block.files[which]).expect("writes");
    });
}

pub(super) fn block_seeds() -> Vec<Vec<u8>> {
    let valid = valid();
    valid.files.iter().enumerate().map(|(which, file)| [&[which as u8], file.as_slice()].concat()).collect()
}

pub(super) fn chunk(data: &[u8]) {
    let _ = decode_xor(data, &mut SampleBuffer::default());
}

pub(super) fn chunk_seeds() -> Vec<Vec<u8>> {
    let encoded = |(_, samples): (_, SampleBuffer)| {
        let mut out = Vec::new();
        encode_xor(&samples.timestamps[..120], &samples.values[..120], &mut out);
        out
    };
    series().into_iter().map(encoded).collect()
}

thread_local!(static LOG: tempfile::TempDir = folder());

pub(super) fn wal(data: &[u8]) {
    LOG.with(|folder| {
        std::fs::create_dir_all(folder.path().join("wal")).expect("makes a folder");
        std::fs::write(folder.path().join("wal/00000000"), data).expect("writes");
        let log = Wal::find(folder.path()).expect("lists");
        let _ = log.replay::<PrometheusError>(|_| Ok(()));
    });
}

/// A page with one record of two series, and one of their samples (tsdb/docs/format/wal.md).
pub(super) fn wal_seeds() -> Vec<Vec<u8>> {
    let text = |out: &mut Vec<u8>, text: &str| {
        out.push(text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    };
    let mut series = vec![1];
    for number in 1..=2u64 {
        series.extend_from_slice(&number.to_be_bytes());
        series.push(2);
        for part in ["__name__", "fuzzed", "i", if number == 1 { "1" } else { "2" }] {
            text(&mut series, part);
        }
    }
    let mut samples = vec![2];
    samples.extend_from_slice(&1u64.to_be_bytes());
    samples.extend_from_slice(&1_700_000_000_000u64.to_be_bytes());
    for delta in 0..2u8 {
        samples.extend_from_slice(&[delta * 2, delta * 2]);
        samples.extend_from_slice(&1.5f64.to_bits().to_be_bytes());
    }
    let mut page = Vec::new();
    for record in [series, samples] {
        page.push(1);
        page.extend_from_slice(&(record.len() as u16).to_be_bytes());
        page.extend_from_slice(&[0; 4]);
        page.extend_from_slice(&record);
    }
    page.resize(32 << 10, 0);
    vec![page]
}
