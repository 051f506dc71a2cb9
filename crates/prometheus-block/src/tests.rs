//! Blocks and logs as files: what is written is read again, and no damage goes unnoticed or makes a reader panic.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use model::{Labels, SampleBuffer, TimeRange, TimestampMs, stale_nan};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::bytes::{put_text, put_varint};
use crate::*;

type Content = BTreeMap<Labels, Vec<(i64, f64)>>;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

fn buffer(samples: &[(i64, f64)]) -> SampleBuffer {
    let mut out = SampleBuffer::default();
    samples.iter().for_each(|(t, v)| out.push(*t, *v));
    out
}

fn write(folder: &Path, content: &Content) -> Option<(BlockMeta, PathBuf)> {
    let mut writer =
        ExportWriter::create(folder, ExportOptions { created: NOW, ..Default::default() }).expect("begins");
    for (labels, samples) in content {
        writer.add(labels, &buffer(samples)).expect("is in order");
    }
    writer.finish().expect("completes")
}

/// Every readable series, and how many are damaged.
fn read(block: &Path, range: TimeRange) -> Result<(Vec<(Labels, SampleBuffer)>, usize), PrometheusError> {
    let mut reader = BlockReader::open(block)?;
    let (mut out, mut damaged, mut samples) = (Vec::new(), 0, SampleBuffer::default());
    while let Some(series) = reader.next_series(range, &mut samples) {
        match series {
            Ok(labels) => out.push((labels, samples.clone())),
            Err(_) => damaged += 1,
        }
    }
    Ok((out, damaged))
}

fn bits(samples: &SampleBuffer) -> Vec<(i64, u64)> {
    samples.timestamps.iter().copied().zip(samples.values.iter().map(|v| v.to_bits())).collect()
}

/// Some series of every length around a chunk's.
fn example() -> Content {
    let mut out = Content::new();
    for (count, name) in [(1, "a"), (119, "b"), (120, "c"), (121, "d"), (1000, "e")] {
        for pod in ["x", "y", "ü"] {
            let labels = Labels::from_pairs([("__name__", name), ("pod", pod), ("job", "j")]);
            let value = |i: i64| if i % 50 == 49 { stale_nan() } else { (i / 3) as f64 };
            out.insert(labels, (0..count).map(|i| (1_700_000_000_000 + i * 15_000 + i % 7, value(i))).collect());
        }
    }
    out
}

#[test]
fn what_is_written_is_read() {
    let folder = TempDir::new().expect("a folder");
    let content = example();
    let (meta, block) = write(folder.path(), &content).expect("holds something");
    assert_eq!(meta.stats.num_series, 15);
    assert_eq!(meta.stats.num_chunks, 3 * (1 + 1 + 1 + 2 + 9));
    assert_eq!(list_blocks(folder.path()).expect("lists"), [(block.clone(), meta)]);
    let (back, damaged) = read(&block, TimeRange::ALL).expect("opens");
    assert_eq!(damaged, 0);
    assert_eq!(back.len(), content.len());
    for ((labels, samples), (want_labels, want)) in back.iter().zip(&content) {
        assert_eq!(labels, want_labels);
        assert_eq!(bits(samples), bits(&buffer(want)));
    }
    let range = TimeRange { start: NOW + 15_000 * 100, end: NOW + 15_000 * 130 };
    for (labels, samples) in read(&block, range).expect("opens").0 {
        let mut want = content[&labels].clone();
        want.retain(|(t, _)| (range.start.0..=range.end.0).contains(t));
        assert_eq!(bits(&samples), bits(&buffer(&want)), "{labels}");
    }
}

#[test]
fn the_same_content_has_the_same_id_but_for_its_time() {
    let ids = |created, thanos: Option<&str>| {
        let folder = TempDir::new().expect("a folder");
        let thanos_labels = thanos.map(|v| BTreeMap::from([("replica".to_owned(), v.to_owned())]));
        let options = ExportOptions { created, thanos_labels, source: "test".to_owned() };
        let mut writer = ExportWriter::create(folder.path(), options).expect("begins");
        writer.add(&Labels::from_pairs([("a", "b")]), &buffer(&[(1, 1.0)])).expect("is in order");
        let content = writer.content_id();
        let (meta, _) = writer.finish().expect("completes").expect("holds something");
        assert_eq!(meta.ulid[10..], content);
        assert_eq!(meta.thanos.is_some(), thanos.is_some());
        meta.ulid
    };
    let id = ids(NOW, None);
    assert_eq!(ids(NOW, None), id);
    assert_eq!(ids(NOW + 1, None)[10..], id[10..]);
    assert_ne!(ids(NOW + 1, None), id);
    assert_ne!(ids(NOW, Some("a"))[10..], id[10..]);
    assert_ne!(ids(NOW, Some("a")), ids(NOW, Some("b")));
}

#[test]
fn order_is_demanded_and_nothing_is_left_behind() {
    let folder = TempDir::new().expect("a folder");
    assert!(write(folder.path(), &Content::new()).is_none());
    let mut writer = ExportWriter::create(folder.path(), ExportOptions::default()).expect("begins");
    let labels = Labels::from_pairs([("a", "b")]);
    writer.add(&labels, &buffer(&[(1, 1.0)])).expect("is in order");
    assert!(writer.add(&labels, &buffer(&[(2, 1.0)])).is_err());
    assert!(writer.add(&Labels::from_pairs([("b", "b")]), &buffer(&[(2, 1.0), (2, 2.0)])).is_err());
    drop(writer);
    assert_eq!(fs::read_dir(folder.path()).expect("lists").count(), 0);
}

#[test]
fn superseded_and_unfinished_blocks_are_not_listed() {
    let folder = TempDir::new().expect("a folder");
    let (old, _) = write(folder.path(), &example()).expect("holds something");
    let (new, block) = write(folder.path(), &example().into_iter().skip(1).collect()).expect("holds something");
    let mut merged = new;
    merged.compaction.parents = vec![serde_json::from_value(serde_json::json!({"ulid": old.ulid})).expect("a parent")];
    fs::write(block.join("meta.json"), serde_json::to_vec(&merged).expect("JSON")).expect("writes");
    fs::create_dir(folder.path().join("01ARZ3NDEKTSV4RRFFQ69G5FAV")).expect("creates");
    assert_eq!(list_blocks(folder.path()).expect("lists"), [(block, merged)]);
}

#[test]
fn tombstones_are_applied() {
    let folder = TempDir::new().expect("a folder");
    let (_, block) = write(folder.path(), &example()).expect("holds something");
    // The first series of an index stands behind the symbols, at a multiple of 16; ask the reader for its number.
    let first = index_reader::IndexReader::open(&block).expect("opens").reference(4).expect("is there");
    let mut stones = Vec::new();
    bytes::put_uvarint(&mut stones, u64::from(first));
    put_varint(&mut stones, NOW.0 + 15_000);
    put_varint(&mut stones, NOW.0 + 50_000);
    let mut file = tombstones::Tombstones::empty_file();
    file.truncate(5);
    file.extend_from_slice(&stones);
    file.extend_from_slice(&crc32c::crc32c(&stones).to_be_bytes());
    fs::write(block.join("tombstones"), &file).expect("writes");
    let lengths: Vec<usize> =
        read(&block, TimeRange::ALL).expect("opens").0.iter().map(|(_, samples)| samples.len()).collect();
    assert_eq!(lengths[..6], [1, 1, 1, 119, 116, 119]);
    file[6] ^= 1;
    fs::write(block.join("tombstones"), &file).expect("writes");
    assert!(BlockReader::open(&block).is_err());
}

#[test]
fn an_old_index_is_refused_with_what_to_do() {
    let folder = TempDir::new().expect("a folder");
    let (_, block) = write(folder.path(), &example()).expect("holds something");
    let path = block.join("index");
    let mut index = fs::read(&path).expect("reads");
    index[4] = 1;
    fs::write(&path, index).expect("writes");
    let error = BlockReader::open(&block).expect_err("is refused");
    assert!(matches!(&error, PrometheusError::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("version 1 of the index is not read; let a Prometheus"), "{error}");
}

#[test]
fn any_changed_byte_is_noticed() {
    let folder = TempDir::new().expect("a folder");
    let content = example();
    let (_, block) = write(folder.path(), &content).expect("holds something");
    let whole = read(&block, TimeRange::ALL).expect("opens").0;
    for (file, stride) in [("index", 7), ("chunks/000001", 61), ("tombstones", 1)] {
        let path = block.join(file);
        let intact = fs::read(&path).expect("reads");
        for at in (0..intact.len()).step_by(stride) {
            let mut broken = intact.clone();
            broken[at] ^= 1 << (at % 8);
            fs::write(&path, &broken).expect("writes");
            if let Ok((back, damaged)) = read(&block, TimeRange::ALL) {
                // Nothing wrong is handed over; what nobody needs (padding, old tables) may differ.
                assert!(back.iter().all(|(l, s)| bits(s) == bits(&buffer(&content[l]))), "{file} at {at}");
                assert_eq!(back.len() + damaged, whole.len(), "{file} at {at}");
            }
        }
        for length in (0..intact.len()).step_by(stride * 3) {
            fs::write(&path, &intact[..length]).expect("writes");
            let noticed = read(&block, TimeRange::ALL).map_or(true, |(_, damaged)| damaged > 0);
            assert!(noticed, "{file} cut to {length}");
        }
        fs::write(&path, &intact).expect("writes");
    }
}

/// Damage whose checksums are right again: a hostile file.
#[test]
fn hostile_indices_do_not_panic() {
    let folder = TempDir::new().expect("a folder");
    let (_, block) = write(folder.path(), &example().into_iter().take(4).collect()).expect("holds something");
    let path = block.join("index");
    let intact = fs::read(&path).expect("reads");
    let toc = intact.len() - index_writer::TOC_BYTES as usize;
    let symbols = u32::from_be_bytes(*intact[5..].first_chunk().expect("four bytes")) as usize;
    for at in (5..toc).chain(toc..intact.len() - 4) {
        for value in [0, 0x7f, 0xff] {
            let mut hostile = intact.clone();
            hostile[at] = value;
            if (9..9 + symbols).contains(&at) {
                let sum = crc32c::crc32c(&hostile[9..9 + symbols]);
                hostile[9 + symbols..13 + symbols].copy_from_slice(&sum.to_be_bytes());
            }
            let sum = crc32c::crc32c(&hostile[toc..toc + 48]);
            hostile[toc + 48..].copy_from_slice(&sum.to_be_bytes());
            fs::write(&path, &hostile).expect("writes");
            let _ = read(&block, TimeRange::ALL);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_series_come_back(
        content in prop::collection::btree_map(
            prop::collection::btree_map("[a-c]{1,2}", "\\PC{1,4}", 1..4),
            prop::collection::btree_map(any::<i32>(), any::<u64>(), 1..200),
            1..12,
        )
    ) {
        let content: Content = content.into_iter().map(|(labels, samples)| {
            let samples = samples.into_iter().map(|(t, v)| (i64::from(t), f64::from_bits(v))).collect();
            (Labels::from_pairs(labels), samples)
        }).collect();
        let folder = TempDir::new().expect("a folder");
        let (_, block) = write(folder.path(), &content).expect("holds something");
        let (back, damaged) = read(&block, TimeRange::ALL).expect("opens");
        prop_assert_eq!(damaged, 0);
        prop_assert!(back.iter().map(|(l, _)| l).eq(content.keys()));
        for (labels, samples) in &back {
            prop_assert_eq!(bits(samples), bits(&buffer(&content[labels])));
        }
    }
}

/// A log written as Prometheus does: pages, fragments, records.
#[derive(Default)]
struct LogWriter {
    bytes: Vec<u8>,
}

impl LogWriter {
    fn record(&mut self, record: &[u8], compress: bool) {
        match compress {
            true => self.put(&snap::raw::Encoder::new().compress_vec(record).expect("compresses"), 8),
            false => self.put(record, 0),
        }
    }

    /// A record as it lies in the file, with what is said of its compression.
    fn put(&mut self, record: &[u8], flag: u8) {
        const PAGE: usize = 32 << 10;
        let (mut rest, mut first) = (record, true);
        while first || !rest.is_empty() {
            let mut room = PAGE - self.bytes.len() % PAGE;
            if room < 7 {
                self.bytes.resize(self.bytes.len() + room, 0);
                room = PAGE;
            }
            let (part, more) = rest.split_at(rest.len().min(room - 7));
            let kind = match (first, more.is_empty()) {
                (true, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => 4,
            };
            self.bytes.push(kind | flag);
            self.bytes.extend_from_slice(&(part.len() as u16).to_be_bytes());
            self.bytes.extend_from_slice(&crc32c::crc32c(part).to_be_bytes());
            self.bytes.extend_from_slice(part);
            (rest, first) = (more, false);
        }
    }
}

fn series_record(series: &[(u64, &str)]) -> Vec<u8> {
    let mut out = vec![1];
    for (reference, name) in series {
        out.extend_from_slice(&reference.to_be_bytes());
        out.push(1);
        put_text(&mut out, "__name__");
        put_text(&mut out, name);
    }
    out
}

fn samples_record(samples: &[(u64, i64, f64)]) -> Vec<u8> {
    let mut out = vec![2];
    out.extend_from_slice(&samples[0].0.to_be_bytes());
    out.extend_from_slice(&samples[0].1.to_be_bytes());
    for (reference, timestamp, value) in samples {
        put_varint(&mut out, *reference as i64 - samples[0].0 as i64);
        put_varint(&mut out, timestamp - samples[0].1);
        out.extend_from_slice(&value.to_bits().to_be_bytes());
    }
    out
}

fn replay(data: &Path) -> (Vec<(String, i64, f64)>, WalReport) {
    let mut out = Vec::new();
    let report = Wal::find(data).expect("is found").replay::<PrometheusError>(|item| {
        if let WalItem::Sample(labels, sample) = item {
            out.push((labels.metric_name().to_owned(), sample.timestamp.0, sample.value));
        }
        Ok(())
    });
    (out, report.expect("replays"))
}

/// A log of three segments, the first of them a checkpoint, with a deletion and 40 KiB in one record.
fn example_log() -> (TempDir, Vec<(String, i64, f64)>) {
    let folder = TempDir::new().expect("a folder");
    let wal = folder.path().join("wal");
    fs::create_dir_all(wal.join("checkpoint.00000003")).expect("creates");
    let put = |name: &str, records: &[(Vec<u8>, bool)]| {
        let mut log = LogWriter::default();
        records.iter().for_each(|(record, compress)| log.record(record, *compress));
        fs::write(wal.join(name), log.bytes).expect("writes");
    };
    put("checkpoint.00000003/00000000", &[(series_record(&[(1, "a"), (7, "b")]), true)]);
    put("00000003", &[(samples_record(&[(1, 1, 99.0)]), false)]);
    let many: Vec<_> = (0..4000).map(|i| (1, 1000 + i, i as f64)).collect();
    put(
        "00000004",
        &[(samples_record(&[(7, 10, 1.0), (1, 11, 2.0), (9, 12, 3.0)]), true), (samples_record(&many), false)],
    );
    let mut stone = vec![3];
    stone.extend_from_slice(&7u64.to_be_bytes());
    put_varint(&mut stone, 15);
    put_varint(&mut stone, 25);
    let after = samples_record(&[(7, 20, 4.0), (7, 30, 5.0)]);
    put("00000005", &[(after, true), (stone, false), (vec![7, 0], false), (vec![4], false), (vec![99], true)]);
    let mut want = vec![("b".to_owned(), 10, 1.0), ("a".to_owned(), 11, 2.0)];
    want.extend(many.iter().map(|(_, t, v)| ("a".to_owned(), *t, *v)));
    want.push(("b".to_owned(), 30, 5.0));
    (folder, want)
}

#[test]
fn a_log_is_replayed_from_its_checkpoint_on() {
    let (folder, want) = example_log();
    let (samples, report) = replay(folder.path());
    assert_eq!(samples, want);
    let expected = WalReport {
        series: 2,
        samples: 4003,
        deleted_samples: 1,
        unknown_samples: 1,
        histogram_records: 1,
        exemplar_records: 1,
        unknown_records: 1,
        ..WalReport::default()
    };
    assert_eq!(report, expected);
    let empty = TempDir::new().expect("a folder");
    assert_eq!(replay(empty.path()).1, WalReport::default());
}

#[test]
fn what_blocks_hold_is_taken_from_them_but_for_late_samples() {
    let (folder, want) = example_log();
    let of_block = Content::from([(Labels::from_pairs([("__name__", "z")]), vec![(5, 0.0), (10, 0.0)])]);
    let (_, block) = write(folder.path(), &of_block).expect("holds something");
    fs::create_dir(folder.path().join("wbl")).expect("creates");
    let mut log = LogWriter::default();
    log.record(&samples_record(&[(7, 9, 6.0), (7, 20, 7.0)]), true);
    fs::write(folder.path().join("wbl/00000000"), log.bytes).expect("writes");
    let (samples, report) = replay(folder.path());
    assert_eq!((report.older_samples, report.deleted_samples), (1, 1));
    let late = [("b".to_owned(), 9, 6.0), ("b".to_owned(), 20, 7.0)];
    assert_eq!(samples, [&want[1..], &late].concat());
    // A block of late samples says nothing about the log.
    let path = block.join("meta.json");
    let text = fs::read_to_string(&path).expect("reads");
    fs::write(&path, text.replace("\"level\"", "\"hints\": [\"from-out-of-order\"], \"level\"")).expect("writes");
    assert_eq!(replay(folder.path()).1.older_samples, 0);
}

#[test]
fn a_torn_tail_costs_the_last_record() {
    let (folder, want) = example_log();
    let path = folder.path().join("wal/00000004");
    let bytes = fs::read(&path).expect("reads");
    for length in [bytes.len() - 1, bytes.len() - 20_000, 33 << 10, (32 << 10) + 3, 32 << 10] {
        fs::write(&path, &bytes[..length]).expect("writes");
        let (samples, report) = replay(folder.path());
        assert_eq!(samples, [&want[..2], &want[4002..]].concat(), "{length}");
        assert_eq!((report.damages, report.described[0].path.as_path()), (1, path.as_path()), "{length}");
    }
}

#[test]
fn damage_in_the_middle_costs_a_page_and_is_named() {
    let (folder, want) = example_log();
    let path = folder.path().join("wal/00000004");
    let mut bytes = fs::read(&path).expect("reads");
    bytes[100] ^= 1;
    fs::write(&path, &bytes).expect("writes");
    let (samples, report) = replay(folder.path());
    assert_eq!(samples, [&want[..2], &want[4002..]].concat());
    let what = (report.damages, report.described[0].what);
    assert_eq!(what, (1, "a checksum does not fit"));
}

/// What `zstd -3 --check` makes of a record of 60 samples.
const ZSTD_RECORD: &str = "28b52ffd0458bd040064040200010003e800003ff800020406080a0c0e10121416181a1c1e20222426282a2c2e30\
    323436383a3c3e40424446484a4c4e50525456585a5c5e60626466686a6c6e707274763e20e0d744ca1556a45c6145ca1556a45c6145ca1556a45c6\
    145942bac48b9c28a942bac48b9c28a942bac48b9c28a942b4c9172851529575891728515295758917285152957982ed272c75c3c3c2cc7ce10ef";

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("is hexadecimal")).collect()
}

#[test]
fn a_log_compressed_with_zstd_is_read() {
    let (folder, mut want) = example_log();
    let mut log = LogWriter::default();
    log.put(&from_hex(ZSTD_RECORD), 16);
    let many: Vec<_> = (0..4000).map(|i| (7, 6000 + i, i as f64)).collect();
    log.put(&zstd::encode_all(&samples_record(&many)[..], 1).expect("compresses"), 16);
    fs::write(folder.path().join("wal/00000006"), &log.bytes).expect("writes");
    want.extend((0..60).map(|i| ("a".to_owned(), 1000 + i, 1.5)));
    want.extend(many.iter().map(|(_, t, v)| ("b".to_owned(), *t, *v)));
    let (samples, report) = replay(folder.path());
    assert_eq!((samples, report.damages), (want.clone(), 0));
    // A frame that is cut off, and one of more than a record may be.
    let mut log = LogWriter::default();
    log.put(&from_hex(ZSTD_RECORD)[..100], 16);
    log.put(&from_hex("28b52ffda4000000ff"), 16);
    log.put(&zeros(300 << 20), 16);
    log.record(&samples_record(&[(1, 9000, 7.0)]), false);
    fs::write(folder.path().join("wal/00000006"), &log.bytes).expect("writes");
    want.truncate(want.len() - 4060);
    want.push(("a".to_owned(), 9000, 7.0));
    let (samples, report) = replay(folder.path());
    assert_eq!((samples, report.damages), (want, 3));
    assert_eq!(report.described[0].what, "a record before here cannot be decompressed");
}

/// A frame that is so many zeros: blocks of one repeated byte.
fn zeros(length: usize) -> Vec<u8> {
    const BLOCK: usize = 128 << 10;
    // Magic number, no size, a window of 1 MiB.
    let mut out = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x50];
    for at in 0..length / BLOCK {
        let is_last = u32::from(at + 1 == length / BLOCK);
        out.extend_from_slice(&((BLOCK as u32) << 3 | 1 << 1 | is_last).to_le_bytes()[..3]);
        out.push(0);
    }
    out
}

#[test]
fn no_bytes_of_a_log_make_it_panic() {
    let (folder, _) = example_log();
    let mut log = LogWriter::default();
    log.put(&from_hex(ZSTD_RECORD), 16);
    fs::write(folder.path().join("wal/00000006"), log.bytes).expect("writes");
    for name in ["00000005", "00000006", "checkpoint.00000003/00000000"] {
        let path = folder.path().join("wal").join(name);
        let intact = fs::read(&path).expect("reads");
        for at in 0..intact.len() {
            for value in [0, 0x7f, 0xff, intact[at] ^ 1] {
                let mut bytes = intact.clone();
                bytes[at] = value;
                // The checksum of the first record, so that its content is looked at.
                let length = usize::from(u16::from_be_bytes([bytes[1], bytes[2]]));
                if let Some(data) = bytes.get(7..7 + length) {
                    let sum = crc32c::crc32c(data).to_be_bytes();
                    bytes[3..7].copy_from_slice(&sum);
                }
                fs::write(&path, bytes).expect("writes");
                let _ = Wal::find(folder.path()).expect("is found").replay::<PrometheusError>(|_| Ok(()));
            }
        }
        fs::write(&path, intact).expect("writes");
    }
}
