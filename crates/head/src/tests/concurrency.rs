//! Appends beside reads, freezes and releases; cuts between appends, as a store does it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;

use model::{Labels, SampleBuffer, StoredSeries, TimeRange};
use postings::MatchCache;

use super::{OPEN, append, labels, options, samples_of};
use crate::Head;

const WRITERS: usize = 3;
const SERIES: usize = 40;
const STEPS: i64 = 300;

/// Seals the head until all have written, and once more after that. Returns what was sealed.
fn seal(head: &Head, gate: &RwLock<()>, done: &AtomicI64) -> BTreeMap<Labels, BTreeMap<i64, u64>> {
    let mut sealed: BTreeMap<Labels, BTreeMap<i64, u64>> = BTreeMap::new();
    let mut buffer = SampleBuffer::default();
    loop {
        let finished = done.load(Ordering::Acquire) == WRITERS as i64;
        let prepared = head.prepare_cut();
        {
            let _nobody_appends = gate.write().expect("no writer panics");
            head.cut(prepared);
        }
        let frozen = head.freeze();
        let mut last: Option<Labels> = None;
        for series in frozen.iter() {
            let labels = series.labels();
            assert!(last.replace(labels.clone()).is_none_or(|last| last < labels), "label order");
            buffer.clear();
            series.read(&mut buffer);
            let samples = sealed.entry(labels).or_default();
            for (timestamp, value) in buffer.timestamps.iter().zip(&buffer.values) {
                assert_eq!(samples.insert(*timestamp, value.to_bits()), None, "a sample is sealed once");
            }
        }
        head.release(frozen);
        if finished {
            return sealed;
        }
    }
}

fn write(head: &Head, gate: &RwLock<()>, writer: usize) {
    for step in 0..STEPS {
        // Some come and go; one of all is shared by all writers.
        let series = (0..SERIES).filter(|s| (*s as i64 + step) % 7 < 4).map(|s| s * WRITERS + writer);
        let mut rows: Vec<_> = series.map(|s| (s, step * 10, step as f64)).collect();
        rows.push((1_000_000, step * 10 + writer as i64, 1.0));
        let _no_cut = gate.read().expect("the sealer does not panic");
        let (report, accepted) = append(head, &rows, (step % 3) as u8, &OPEN);
        assert_eq!(report.appended, rows.len());
        let undefined: BTreeSet<_> = accepted.undefined.iter().map(|s| head.labels(*s)).collect();
        assert!(undefined.iter().all(|l| rows.iter().any(|(s, ..)| labels(*s) == *l)), "references of this generation");
        head.mark_defined(&accepted.undefined);
    }
}

#[test]
fn nothing_is_lost_between_appends_and_seals() {
    let (head, gate) = (Head::new(options()), RwLock::new(()));
    let (done, stop) = (AtomicI64::new(0), AtomicBool::new(false));
    let sealed = thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (head, gate, done) = (&head, &gate, &done);
            scope.spawn(move || {
                write(head, gate, writer);
                done.fetch_add(1, Ordering::Release);
            });
        }
        scope.spawn(|| {
            let cache = MatchCache::new(1 << 16);
            while !stop.load(Ordering::Acquire) {
                head.refresh_order();
                let selected = head.select(&[], TimeRange::ALL, &cache);
                assert!(selected.iter().is_sorted_by(|a, b| a.labels() < b.labels()));
                for series in &selected {
                    assert!(samples_of(series, TimeRange::ALL).is_sorted_by(|a, b| a.0 < b.0));
                }
            }
        });
        let sealed = seal(&head, &gate, &done);
        stop.store(true, Ordering::Release);
        sealed
    });
    assert_eq!((head.samples(), head.bounds()), (0, None));
    let mut expected: BTreeMap<Labels, BTreeMap<i64, u64>> = BTreeMap::new();
    for (writer, step) in (0..WRITERS).flat_map(|w| (0..STEPS).map(move |s| (w, s))) {
        for series in (0..SERIES).filter(|s| (*s as i64 + step) % 7 < 4) {
            let samples = expected.entry(labels(series * WRITERS + writer)).or_default();
            samples.insert(step * 10, (step as f64).to_bits());
        }
        expected.entry(labels(1_000_000)).or_default().insert(step * 10 + writer as i64, 1.0_f64.to_bits());
    }
    assert_eq!(sealed, expected);
}
