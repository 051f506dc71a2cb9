//! What the tests of this crate share.

mod budgets;
mod cases;
mod damage;
mod model;

use std::path::Path;
use std::sync::Arc;

use ::model::{Labels, TimestampMs};
use disk::SimulatedDisk;

use crate::{Batch, Entry, Opened, Options, Pushed, Queue, QueueError, SeriesId};

pub(crate) const FOLDER: &str = "/data/forward";

pub(crate) fn options() -> Options {
    Options {
        segment_bytes: 700,
        memory_bytes: 1500,
        keep_ms: 0,
        source_labels: vec!["job".into()],
        ..Options::default()
    }
}

pub(crate) fn reopen(disk: &SimulatedDisk, options: Options, now: i64) -> (Queue, Opened) {
    Queue::open(Arc::new(disk.clone()), Path::new(FOLDER), options, TimestampMs(now)).expect("opens")
}

pub(crate) fn open(disk: &SimulatedDisk) -> Queue {
    reopen(disk, options(), 0).0
}

/// The series of a test: which one is in its labels.
pub(crate) fn labels(series: u64) -> Labels {
    Labels::from_pairs([("__name__", "m".to_owned()), ("n", series.to_string()), ("job", format!("j{}", series % 2))])
}

pub(crate) fn ids(queue: &Queue, series: std::ops::Range<u64>) -> Vec<SeriesId> {
    let mut table = queue.series();
    series.map(|n| table.id(u128::from(n), || labels(n)).expect("fits")).collect()
}

/// Pushes a record of so many rows whose values and times are `mark`, at that time.
pub(crate) fn push(queue: &Queue, mark: i64, rows: u64) -> Result<Pushed, QueueError> {
    let first = mark as u64 % 5;
    let series = ids(queue, first..first + rows);
    let (timestamps, values) = (vec![mark; rows as usize], vec![mark as f64; rows as usize]);
    queue.push(
        &Entry { series: &series, timestamps: &timestamps, values: &values, ..Entry::default() },
        TimestampMs(mark),
    )
}

/// The same for many marks.
pub(crate) fn push_all(queue: &Queue, marks: std::ops::RangeInclusive<i64>, rows: u64) {
    for mark in marks {
        push(queue, mark, rows).expect("pushes");
    }
}

/// The mark of a record of [`push`], when all of it is as it was.
pub(crate) fn mark(queue: &Queue, batch: &Batch) -> i64 {
    let mark = batch.arrived.0;
    assert_eq!((batch.min.0, batch.max.0), (mark, mark));
    for (nth, id) in batch.series.iter().enumerate() {
        assert_eq!(queue.labels(*id), Some(labels(mark as u64 % 5 + nth as u64)));
    }
    assert!(batch.timestamps.iter().all(|time| *time == mark));
    assert!(batch.values.iter().all(|value| *value == mark as f64));
    mark
}
