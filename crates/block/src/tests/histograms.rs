//! Native histograms beside samples, and series that have nothing else.

use model::{EncodedHistogram, HistogramBuffer};

use super::*;

type Both = BTreeMap<Labels, (SampleBuffer, HistogramBuffer)>;

fn histograms(pairs: impl IntoIterator<Item = (i64, Vec<u8>)>) -> HistogramBuffer {
    let mut buffer = HistogramBuffer::default();
    for (at, bytes) in pairs {
        buffer.push(at, EncodedHistogram::new(&bytes).expect("is short enough"));
    }
    buffer
}

fn written(content: &Both) -> (Arc<SimulatedDisk>, Block) {
    let disk = new_disk();
    let mut writer = BlockWriter::create(disk.clone(), Path::new(FOLDER), draft(0)).expect("creates");
    for (labels, (samples, histograms)) in content {
        writer.add_with_histograms(labels, samples, histograms).expect("writes");
    }
    let meta = writer.finish().expect("writes");
    let block = Block::open(disk.clone(), &path_of(&meta)).expect("opens");
    (disk, block)
}

fn read(block: &Block, ordinal: usize, range: TimeRange) -> HistogramBuffer {
    let mut found = histograms([(i64::MIN, vec![7])]);
    block.reader().read_histograms(ordinal as u32, range, &mut found).expect("reads");
    histograms(found.iter().skip(1).map(|(at, h)| (at, h.as_bytes().to_vec())))
}

fn of(all: &HistogramBuffer, keep: impl Fn(i64) -> bool) -> HistogramBuffer {
    histograms(all.iter().filter(|(at, _)| keep(*at)).map(|(at, h)| (at, h.as_bytes().to_vec())))
}

fn any_histograms() -> impl Strategy<Value = HistogramBuffer> {
    let bytes = prop::collection::vec(any::<u8>(), 1..30);
    prop::collection::btree_map(-500..500i64, bytes, 0..12).prop_map(histograms)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn come_back_as_they_were(
        content in prop::collection::btree_map(labels(), (series_samples(), any_histograms(), any::<bool>()), 1..30),
        start in -500..500i64,
        length in 0..300i64,
    ) {
        let keep = |(labels, (samples, histograms, both)): (Labels, (SampleBuffer, HistogramBuffer, bool))| {
            let samples = if both || histograms.is_empty() { samples } else { SampleBuffer::default() };
            (labels, (samples, histograms))
        };
        let content: Both = content.into_iter().map(keep).collect();
        let (_, block) = written(&content);
        prop_assert_eq!(block.verify(), []);
        let count: usize = content.values().map(|(_, histograms)| histograms.len()).sum();
        prop_assert_eq!(block.meta().histograms, count as u64);
        let part = range(start, start + length);
        let inside = |at: i64| (part.start.0..=part.end.0).contains(&at);
        for (ordinal, (samples, histograms)) in content.values().enumerate() {
            prop_assert_eq!(&read(&block, ordinal, TimeRange::ALL), histograms);
            prop_assert_eq!(read(&block, ordinal, part), of(histograms, inside));
            let mut found = SampleBuffer::default();
            block.reader().read(ordinal as u32, TimeRange::ALL, Column::Last, &mut found).expect("reads");
            prop_assert_eq!(bits(&found), bits(samples));
            let times = || samples.timestamps.iter().chain(&histograms.timestamps).copied();
            let ends = times().min().zip(times().max());
            prop_assert_eq!(Some(block.time_range(ordinal as u32).expect("reads")), ends);
        }
        block.delete(&[(0, part)]).expect("deletes");
        let first = &content.values().next().expect("there is one").1;
        prop_assert_eq!(read(&block, 0, TimeRange::ALL), of(first, |at| !inside(at)));
    }
}

#[test]
fn many_are_cut_into_chunks() {
    let long = |n: usize| histograms((0..n as i64).map(|at| (at, format!("{at:0600}").into_bytes())));
    let content: Both = (0..4).map(|n| (series("h", n), (SampleBuffer::default(), long(500 * n + 1)))).collect();
    let (disk, block) = written(&content);
    assert!(block.meta().chunks > 5, "{:?}", block.meta());
    assert_eq!(block.verify(), []);
    for (ordinal, (_, want)) in content.values().enumerate() {
        assert_eq!(&read(&block, ordinal, TimeRange::ALL), want);
    }
    let bytes = disk.read(block.path()).expect("reads").len();
    assert!(bytes < 200_000, "{bytes} bytes: what repeats is compressed");
}

#[test]
fn damage_of_any_byte_is_found() {
    let bytes = |at: i64| (at, vec![at as u8; 20]);
    let content = Both::from([
        (series("a", 1), (samples([(1, 1.0), (2, 2.0)]), histograms((5..9).map(bytes)))),
        (series("b", 1), (SampleBuffer::default(), histograms((3..7).map(bytes)))),
    ]);
    let (disk, block) = written(&content);
    let whole = disk.read(block.path()).expect("reads").to_vec();
    for at in 0..whole.len() {
        disk.damage(block.path(), |bytes| bytes[at] ^= 1 << (at % 8)).expect("is there");
        match Block::open(disk.clone(), block.path()) {
            Err(error) => assert_ne!(error.class(), ErrorClass::Io, "byte {at}: {error}"),
            Ok(block) => assert!(!block.verify().is_empty(), "byte {at}"),
        }
        disk.damage(block.path(), |bytes| bytes.clone_from(&whole)).expect("is there");
    }
}
