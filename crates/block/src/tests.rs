//! The whole block: what is written comes back, what is damaged is found, and a power loss leaves all or nothing.

mod damage;
mod durability;
mod fixtures;
mod histograms;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, SimulatedDisk};
use model::{Column, Labels, Matcher, SampleBuffer, TimeRange, TimestampMs, matches_all};
use postings::LabelIndex;
use proptest::prelude::*;

use crate::{Block, BlockDraft, BlockError, BlockMeta, BlockWriter, ErrorClass, LabelScratch, RollupBuffer};

/// What a block holds, by labels.
type Content = BTreeMap<Labels, SampleBuffer>;

const FOLDER: &str = "blocks";

fn new_disk() -> Arc<SimulatedDisk> {
    let disk = SimulatedDisk::new(1);
    disk.create_folder(Path::new(FOLDER)).expect("creates");
    Arc::new(disk)
}

fn draft(resolution_ms: i64) -> BlockDraft {
    BlockDraft { now_ms: 1_700_000_000_000, level: 1, resolution_ms, parents: vec!["a parent".to_owned()] }
}

fn path_of(meta: &BlockMeta) -> PathBuf {
    Path::new(FOLDER).join(format!("{}.block", meta.id))
}

fn write(disk: &Arc<SimulatedDisk>, content: &Content) -> Result<BlockMeta, BlockError> {
    let mut writer = BlockWriter::create(disk.clone(), Path::new(FOLDER), draft(0))?;
    for (labels, samples) in content {
        writer.add(labels, samples)?;
    }
    writer.finish()
}

fn written(content: &Content) -> (Arc<SimulatedDisk>, Block) {
    let disk = new_disk();
    let meta = write(&disk, content).expect("writes");
    let block = Block::open(disk.clone(), &path_of(&meta)).expect("opens");
    assert_eq!(block.meta(), &meta);
    (disk, block)
}

fn range(start: i64, end: i64) -> TimeRange {
    TimeRange { start: TimestampMs(start), end: TimestampMs(end) }
}

fn samples(pairs: impl IntoIterator<Item = (i64, f64)>) -> SampleBuffer {
    let mut buffer = SampleBuffer::default();
    pairs.into_iter().for_each(|(t, v)| buffer.push(t, v));
    buffer
}

fn bits(samples: &SampleBuffer) -> Vec<(i64, u64)> {
    samples.timestamps.iter().copied().zip(samples.values.iter().map(|v| v.to_bits())).collect()
}

fn within(samples: &SampleBuffer, range: TimeRange) -> Vec<(i64, u64)> {
    bits(samples).into_iter().filter(|(t, _)| (range.start.0..=range.end.0).contains(t)).collect()
}

/// Regular, gappy and wild timestamps.
fn timestamps() -> impl Strategy<Value = Vec<i64>> {
    prop_oneof![
        (any::<i32>(), 1..100i64, 1..40i64)
            .prop_map(|(first, step, n)| (0..n).map(|i| i64::from(first) + i * step).collect()),
        prop::collection::btree_set(-500..500i64, 1..40).prop_map(|set| set.into_iter().collect()),
        prop::collection::btree_set(any::<i64>(), 1..5).prop_map(|set| set.into_iter().collect()),
    ]
}

/// Every way in which values may be stored, and what fits none.
fn series_samples() -> impl Strategy<Value = SampleBuffer> {
    (timestamps(), 0..6u8, any::<u64>()).prop_map(|(timestamps, kind, seed)| {
        let mut random = seed | 1;
        let mut sum = 0.0;
        samples(timestamps.into_iter().map(|t| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            sum += (random % 15_000) as f64 / 1000.0;
            let value = match kind {
                0 => seed as f64,
                1 => (random % 40) as f64,
                2 => (random % 1000) as f64 / 100.0,
                3 => sum,
                4 => [f64::NAN, -0.0, model::stale_nan(), f64::INFINITY, 5e-324][(random % 5) as usize],
                _ => f64::from_bits(random),
            };
            (t, value)
        }))
    })
}

fn labels() -> impl Strategy<Value = Labels> {
    let pair = ("(__name__|[abc]|ä)", "[a-c€]{1,3}");
    prop::collection::btree_map(pair.0, pair.1, 0..4).prop_map(|pairs| Labels::from_pairs(&pairs))
}

fn content() -> impl Strategy<Value = Content> {
    prop::collection::btree_map(labels(), series_samples(), 1..80)
}

/// Compares labels, samples and index with what was written.
fn check(block: &Block, content: &Content, ranges: &[TimeRange]) {
    let (mut reader, mut scratch) = (block.reader(), LabelScratch::default());
    for (ordinal, (labels, want)) in content.iter().enumerate() {
        let ordinal = ordinal as u32;
        assert_eq!(&block.labels(ordinal).expect("reads"), labels);
        block.labels_into(ordinal, &mut scratch).expect("reads");
        assert_eq!(scratch.labels().as_ref(), Some(labels));
        assert!(scratch.compare_labels(labels).is_eq());
        assert_eq!(block.find(labels).expect("reads"), Some(ordinal));
        let ends = (want.timestamps[0], want.timestamps[want.len() - 1]);
        assert_eq!(block.time_range(ordinal).expect("reads"), ends);
        for &range in ranges {
            let mut back = samples([(i64::MIN, 7.0)]);
            reader.read(ordinal, range, Column::Last, &mut back).expect("reads");
            assert_eq!(bits(&back)[1..], within(want, range), "{labels} {range:?}");
        }
    }
    let stranger = Labels::from_pairs([("a", "a"), ("z", "z")]);
    assert_eq!(block.find(&stranger).expect("reads"), None);
    for names in block.names().expect("reads") {
        let mut want: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (ordinal, labels) in content.keys().enumerate() {
            labels.get(&names.name).into_iter().for_each(|v| want.entry(v).or_default().push(ordinal as u32));
        }
        assert_eq!(names.values as usize, want.len());
        let counts: Vec<_> = want.iter().map(|(v, list)| ((*v).to_owned(), list.len() as u32)).collect();
        assert_eq!(block.cardinality(&names.name).expect("reads"), counts);
        for (value, series) in &want {
            let id = block.value_id(&names.name, value).expect("is there");
            let mut list = Vec::new();
            block.postings(&names.name, id, &mut list);
            assert_eq!(&list, series);
            assert_eq!(block.value_of(series[0], &names.name).expect("has it"), (id, (*value).into()));
        }
        assert_eq!(block.on_every_series(&names.name), content.keys().all(|l| l.get(&names.name).is_some()));
    }
    block.check_index().expect("is whole");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_written_comes_back(content in content(), start in -500..500i64, length in 0..300i64) {
        let (_, block) = written(&content);
        check(&block, &content, &[TimeRange::ALL, range(start, start + length), range(5, 4)]);
        prop_assert_eq!(block.verify(), []);
        let count: usize = content.values().map(SampleBuffer::len).sum();
        prop_assert_eq!(block.meta().samples, count as u64);
        prop_assert_eq!(block.meta().series, content.len() as u64);
    }

    #[test]
    fn matchers_select_what_they_match(content in content(), name in "(__name__|[abcd])", value in "[a-c]{0,2}") {
        let (_, block) = written(&content);
        let cache = postings::MatchCache::new(1 << 20);
        for op in [model::MatchOp::Equal, model::MatchOp::NotEqual, model::MatchOp::Regex, model::MatchOp::NotRegex] {
            let matchers = [Matcher::new(op, name.clone(), value.clone()).expect("compiles")];
            let mut found = Vec::new();
            postings::select(&block, &matchers, &cache, &mut found);
            let want: Vec<u32> =
                content.keys().zip(0..).filter(|(labels, _)| matches_all(&matchers, labels)).map(|(_, i)| i).collect();
            prop_assert_eq!(found, want);
        }
    }
}

fn series(name: &str, instance: usize) -> Labels {
    Labels::from_pairs([("__name__", name), ("instance", &format!("{instance:04}"))])
}

#[test]
fn long_series_are_cut_and_come_back() {
    let irregular = |i: i64| i * 15_000 + i * i % 7;
    let mut content = Content::new();
    for (metric, unit) in [("counter", 1.0), ("gauge", 0.37), ("noise", 0.0)] {
        for instance in 0..3 {
            let value = |i: i64| if unit == 0.0 { (i as f64).sin() } else { (i * i % 1009) as f64 * unit };
            let time = |i: i64| if instance == 1 { irregular(i) } else { i * 15_000 };
            content.insert(series(metric, instance), samples((0..20_000).map(|i| (time(i), value(i)))));
        }
    }
    let (_, block) = written(&content);
    assert_eq!(block.verify(), []);
    let some = [TimeRange::ALL, range(15_000 * 9_990, 15_000 * 10_010), range(-5, 0), range(15_000 * 19_999, i64::MAX)];
    check(&block, &content, &some);
}

#[test]
fn timestamps_that_many_share_are_kept_once() {
    let content = |series_count: usize| -> Content {
        let jittered = |i: i64| i * 15_000 + i * i * 31 % 17;
        let values = |instance: usize| samples((0..1000).map(move |i| (jittered(i) + instance as i64, 1.0)));
        (0..series_count).map(|instance| (series("up", instance), values(instance))).collect()
    };
    let (one, many) = (written(&content(1)).1.bytes(), written(&content(300)).1.bytes());
    assert!(many < one + 300 * 12, "{many} bytes with 300 series, {one} with one");
}

#[test]
fn rollups_come_back_by_column() {
    let disk = new_disk();
    let mut writer = BlockWriter::create(disk.clone(), Path::new(FOLDER), draft(300_000)).expect("creates");
    let rows = |instance: i64| {
        let column =
            |unit: f64| (0..3000).map(|i| ((i + instance) * i % 77) as f64 * unit + unit).collect::<Vec<f64>>();
        RollupBuffer {
            timestamps: (0..3000).map(|i| i * 300_000 + if i > 1500 { 300_000 } else { 0 }).collect(),
            count: column(1.0),
            sum: column(2.0),
            min: column(0.5),
            max: column(3.0),
            last: column(1.5),
        }
    };
    for instance in 0..9 {
        writer.add_rollup(&series("up", instance), &rows(instance as i64)).expect("adds");
    }
    let meta = writer.finish().expect("writes");
    assert_eq!((meta.samples, meta.resolution_ms), (27_000, 300_000));
    let block = Block::open(disk, &path_of(&meta)).expect("opens");
    assert_eq!(block.verify(), []);
    let (mut reader, mut back, mut all) = (block.reader(), SampleBuffer::default(), RollupBuffer::default());
    let want = rows(4);
    reader.read_rollup(4, TimeRange::ALL, &mut all).expect("reads");
    assert_eq!(all, want);
    for (column, unit) in
        [(Column::Last, 1.5), (Column::Count, 1.0), (Column::Sum, 2.0), (Column::Min, 0.5), (Column::Max, 3.0)]
    {
        back.clear();
        reader.read(4, range(300_000 * 10, 300_000 * 11), column, &mut back).expect("reads");
        assert_eq!(back.timestamps, [3_000_000, 3_300_000]);
        assert_eq!(back.values[0], (14 * 10 % 77) as f64 * unit + unit);
    }
    back.clear();
    reader.read(4, TimeRange::ALL, Column::Average, &mut back).expect("reads");
    assert_eq!((back.len(), back.values.iter().all(|average| *average == 2.0)), (3000, true));
    block.delete(&[(4, range(0, 300_000 * 2999))]).expect("deletes");
    block.reader().read_rollup(4, TimeRange::ALL, &mut all).expect("reads");
    assert_eq!((all.len(), all.last.len(), all.timestamps[0]), (1, 1, 300_000 * 3000));
}

#[test]
fn what_is_deleted_stays_deleted() {
    let content: Content = (0..5).map(|i| (series("up", i), samples((0..100).map(|t| (t, t as f64))))).collect();
    let (disk, block) = written(&content);
    let mut old = block.reader();
    block.delete(&[(1, range(10, 19)), (3, TimeRange::ALL)]).expect("deletes");
    block.delete(&[(1, range(50, 50))]).expect("deletes");
    assert_eq!(block.delete(&[(5, TimeRange::ALL)]).expect_err("is not there").class(), ErrorClass::Invalid);
    let again = Block::open(disk, block.path()).expect("opens");
    assert_eq!(again.tombstones(), block.tombstones());
    for block in [&block, &again] {
        for (ordinal, left) in [(0, 100), (1, 89), (3, 0)] {
            let mut back = SampleBuffer::default();
            block.reader().read(ordinal, TimeRange::ALL, Column::Last, &mut back).expect("reads");
            assert_eq!(back.len(), left);
        }
        assert_eq!(block.verify(), []);
    }
    let mut back = SampleBuffer::default();
    old.read(3, TimeRange::ALL, Column::Last, &mut back).expect("reads");
    assert_eq!(back.len(), 100, "a reader goes on with what it began with");
}

#[test]
fn calls_out_of_order_are_refused_and_leave_nothing() {
    let (disk, one) = (new_disk(), samples([(1, 1.0)]));
    let begin = || BlockWriter::create(disk.clone(), Path::new(FOLDER), draft(0)).expect("creates");
    let refused = |error: BlockError, why: &str| {
        assert_eq!(error.class(), ErrorClass::Invalid);
        assert!(error.to_string().contains(why), "{error}");
    };
    let mut writer = begin();
    writer.add(&series("b", 1), &one).expect("adds");
    refused(writer.add(&series("a", 1), &one).expect_err("is before"), "order of labels");
    refused(writer.add(&series("b", 1), &one).expect_err("is the same"), "order of labels");
    refused(writer.add(&series("c", 1), &samples([(2, 1.0), (2, 1.0)])).expect_err("is twice"), "order of time");
    refused(writer.add_rollup(&series("c", 1), &RollupBuffer::default()).expect_err("is raw"), "do not share");
    writer.add(&series("d", 1), &SampleBuffer::default()).expect("leaves it out");
    drop(writer);
    refused(begin().finish().expect_err("is empty"), "at least one series");
    assert_eq!(disk.list(Path::new(FOLDER)).expect("lists"), []);
}
