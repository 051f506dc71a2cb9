//! Damage is found, named and survived; nothing malformed brings a reader down.

use super::*;
use crate::format::{HEADER_BYTES, SectionKind, footer, read_outline};
use model::HistogramBuffer;

/// A small block with pages of every kind, two shapes, and irregular timestamps.
fn small() -> Content {
    let mut sum = 0.0;
    let mut add = |i: i64| {
        sum += (i * 7919 % 15_000) as f64 / 1000.0;
        sum
    };
    let times = |i: i64| i * 15_000 + i * i % 3;
    Content::from([
        (series("constant", 1), samples((0..30).map(|i| (i, 1.0)))),
        (series("counter", 1), samples((0..60).map(|i| (i * 15_000, (i * i) as f64)))),
        (
            series("counter", 2),
            samples((0..60).map(|i| (times(i), (i * 5) as f64)).chain([(10_000_000, model::stale_nan())])),
        ),
        (series("noise", 1), samples((0..40).map(|i| (times(i), (i as f64).sin())))),
        (series("sum", 1), samples((0..60).map(|i| (i * 15_000, add(i))))),
        (Labels::from_pairs([("__name__", "up"), ("job", "ä")]), samples([(5, -0.0)])),
    ])
}

fn bytes_of(disk: &SimulatedDisk, block: &Block) -> Vec<u8> {
    disk.read(block.path()).expect("reads").to_vec()
}

/// Opens changed bytes as a block of a disk of their own.
fn open(bytes: Vec<u8>) -> Result<Block, BlockError> {
    let (disk, path) = (new_disk(), Path::new(FOLDER).join("changed.block"));
    disk.create(&path).and_then(|file| file.append(&bytes)).expect("writes");
    Block::open(disk, &path)
}

/// Uses everything that a block offers; only panics matter.
fn use_all(block: &Block) {
    let (mut reader, mut scratch, mut list) = (block.reader(), LabelScratch::default(), Vec::new());
    let cache = postings::MatchCache::new(1 << 20);
    let _ = block.verify();
    for ordinal in 0..(block.meta().series as u32).min(10) {
        let _ = block.labels_into(ordinal, &mut scratch);
        let _ = block.time_range(ordinal);
        let _ = reader.read_histograms(ordinal, TimeRange::ALL, &mut HistogramBuffer::default());
        let _ = reader.read(ordinal, TimeRange::ALL, Column::Last, &mut SampleBuffer::default());
        let _ = reader.read(ordinal, range(100, 200_000), Column::Average, &mut SampleBuffer::default());
        let _ = block.value_of(ordinal, "instance");
    }
    for names in block.names().unwrap_or_default() {
        let _ = block.cardinality(&names.name);
        block.postings(&names.name, 0, &mut list);
    }
    let _ = block.find(&series("sum", 1));
    let matchers = [Matcher::new(model::MatchOp::Regex, "__name__", "c.*|up").expect("compiles")];
    postings::select(block, &matchers, &cache, &mut list);
    let _ = block.check_index();
}

#[test]
fn damage_of_any_byte_is_found() {
    let (disk, block) = written(&small());
    let whole = bytes_of(&disk, &block);
    assert!(whole.len() < 4000, "{} bytes", whole.len());
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        match open(bytes) {
            Err(error) => assert_ne!(error.class(), ErrorClass::Io, "byte {at}: {error}"),
            Ok(block) => assert!(!block.verify().is_empty(), "byte {at}"),
        }
    }
    for length in 0..whole.len() {
        let error = open(whole[..length].to_vec()).expect_err("is cut short");
        assert_eq!(error.class(), ErrorClass::Corrupt, "{length} bytes: {error}");
    }
}

#[test]
fn damage_costs_one_chunk_and_is_named() {
    let content: Content =
        (0..200).map(|i| (series("up", i), samples((0..400).map(|t| (t, (t * t % 91) as f64))))).collect();
    let (disk, block) = written(&content);
    let mut bytes = bytes_of(&disk, &block);
    bytes[HEADER_BYTES + 2000] ^= 4;
    let block = open(bytes).expect("opens");
    let found = block.verify();
    assert!(found.iter().any(|damage| damage.offset == HEADER_BYTES as u64 && damage.series.is_some()));
    assert!(found[0].to_string().contains("changed.block at byte 16: a chunk fails its checksum"), "{}", found[0]);
    let mut reader = block.reader();
    let mut kept = samples([(0, 0.0)]);
    let error = reader.read(0, TimeRange::ALL, Column::Last, &mut kept).expect_err("is damaged");
    assert_eq!((error.class(), kept.len()), (ErrorClass::Corrupt, 1));
    reader.read(199, TimeRange::ALL, Column::Last, &mut kept).expect("is whole");
    assert_eq!(kept.len(), 401);
}

#[test]
fn a_damaged_index_is_reported_by_what_cannot_return_errors() {
    let (disk, block) = written(&small());
    let mut bytes = bytes_of(&disk, &block);
    let outline = read_outline(&bytes).ok().expect("is whole");
    let postings = outline.iter().find(|s| s.kind == SectionKind::Postings as u32).expect("has postings");
    bytes[postings.range.start + 5] ^= 1;
    let block = open(bytes).expect("opens");
    assert_eq!(block.value_id("__name__", "up"), None);
    assert_eq!(block.check_index().expect_err("is damaged").class(), ErrorClass::Corrupt);
}

#[test]
fn a_newer_version_is_named() {
    let (disk, block) = written(&small());
    let mut bytes = bytes_of(&disk, &block);
    bytes[8] = 9;
    let error = open(bytes).expect_err("is newer");
    assert_eq!(error.class(), ErrorClass::NewerVersion);
    let text = error.to_string();
    assert!(text.contains("changed.block has format version 9") && text.contains("versions up to 1"), "{text}");
}

/// Makes all checksums right again, so that what was changed reaches the decoders.
fn reseal(bytes: &mut [u8], frames: &[std::ops::Range<usize>], outline: &[crate::format::Section]) {
    for frame in frames {
        let bytes = &mut bytes[frame.clone()];
        let head = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        let end = head.saturating_add(12).min(bytes.len());
        let body = crc32c::crc32c(&bytes[end..]);
        bytes[4..8].copy_from_slice(&body.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..8]), &bytes[12..end]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    }
    let mut outline = outline.to_vec();
    for section in &mut outline {
        section.crc = crc32c::crc32c(&bytes[section.range.clone()]);
    }
    let end = footer(&bytes[..HEADER_BYTES], &outline);
    let at = bytes.len() - end.len();
    bytes[at..].copy_from_slice(&end);
}

#[test]
fn what_is_malformed_behind_right_checksums_brings_nothing_down() {
    let (disk, block) = written(&small());
    let whole = bytes_of(&disk, &block);
    let outline = read_outline(&whole).ok().expect("is whole");
    let table = block.shared.chunks(0).expect("is whole");
    let place = |at: u64, length: u32| at as usize..at as usize + length as usize;
    let values = (0..table.len()).filter_map(|i| table.get(i)).map(|e| place(e.place.offset, e.place.length));
    let (_, patterns) = block.shared.pattern_chunk(0).expect("has one");
    let frames: Vec<_> = values.chain([place(patterns.offset, patterns.length)]).collect();
    let content = HEADER_BYTES..outline.last().expect("has sections").range.end;
    let mut random = 11u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    let mut unharmed = 0;
    for _ in 0..4000 {
        let mut bytes = whole.clone();
        for _ in 0..=next(3) {
            let at = content.start + next(content.len());
            bytes[at] = [bytes[at] ^ (1 << next(8)), 0, 0xff, next(256) as u8][next(4)];
        }
        reseal(&mut bytes, &frames, &outline);
        match open(bytes) {
            Ok(block) => {
                unharmed += 1;
                use_all(&block);
            }
            Err(error) => assert_ne!(error.class(), ErrorClass::Io),
        }
    }
    assert!(unharmed > 1000, "the decoders were reached {unharmed} times");
}
