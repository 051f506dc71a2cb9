//! One situation at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::model::{EncodedHistogram, Exemplar, Labels, TimestampMs};
use disk::{Disk, Fault, SimulatedDisk};

use super::{FOLDER, ids, mark, open, options, push, push_all, reopen};
use crate::{Cursor, Entry, ExemplarEntry, HistogramEntry, Order, Queue, QueueError, Taken};

fn live(queue: &Queue, cursor: &Cursor) -> Option<(i64, Taken)> {
    cursor.next_live().expect("reads").map(|taken| (mark(queue, &taken.batch), taken))
}

fn backlog(queue: &Queue, cursor: &Cursor, order: Order) -> Vec<i64> {
    let next = || cursor.next_backlog(order).expect("reads");
    std::iter::from_fn(next).map(|taken| mark(queue, &taken.batch)).collect()
}

#[test]
fn without_destinations_nothing_is_written() {
    let disk = SimulatedDisk::new(1);
    let queue = open(&disk);
    let before = queue.state().disk_bytes;
    assert_eq!(push(&queue, 1, 3).expect("pushes").position, None);
    assert_eq!(queue.state().disk_bytes, before);
    // A destination gets what comes after it.
    let cursor = queue.cursor("a");
    push(&queue, 2, 3).expect("pushes");
    assert_eq!(live(&queue, &cursor).map(|(mark, _)| mark), Some(2));
    assert!(live(&queue, &cursor).is_none());
}

#[test]
fn a_destination_that_keeps_up_never_reads_the_disk() {
    let disk = SimulatedDisk::new(1);
    let queue = open(&disk);
    let cursor = queue.cursor("a");
    queue.retain(&["a"]);
    for n in 0..200 {
        push(&queue, n, 4).expect("pushes");
        disk.set_fault(Fault::FailRead);
        let (found, taken) = live(&queue, &cursor).expect("is there");
        disk.clear_faults();
        assert_eq!((found, taken.batch.samples()), (n, 4));
        assert_eq!(cursor.oldest_undelivered_timestamp(), Some(TimestampMs(n)));
        cursor.delivered(taken.position);
        assert_eq!(cursor.oldest_undelivered_timestamp(), None);
        queue.maintain(TimestampMs(n)).expect("maintains");
        assert_eq!(queue.state().memory_bytes, 0);
    }
    assert!(queue.state().segments <= 2, "{:?}", queue.state());
}

#[test]
fn what_falls_behind_waits_in_its_own_lane() {
    let disk = SimulatedDisk::new(1);
    let queue = open(&disk);
    let cursor = queue.cursor("a");
    push_all(&queue, 1..=50, 2);
    let (_, first) = live(&queue, &cursor).expect("is there");
    assert_eq!(cursor.fall_behind(TimestampMs(40)), 38 * 2);
    assert_eq!(live(&queue, &cursor).map(|(mark, _)| mark), Some(40));
    cursor.put_back(first);
    let waiting = cursor.waiting();
    assert_eq!((waiting.live.samples, waiting.backlog.samples), (22, 78));
    assert_eq!((waiting.backlog_oldest, cursor.oldest_live_arrival()), (Some(TimestampMs(1)), Some(TimestampMs(40))));
    assert_eq!(backlog(&queue, &cursor, Order::OldestFirst), (1..40).collect::<Vec<_>>());
}

#[test]
fn newest_first_goes_by_segments() {
    let disk = SimulatedDisk::new(1);
    let queue = open(&disk);
    let cursor = queue.cursor("a");
    let mut segments: Vec<(u64, Vec<i64>)> = Vec::new();
    for n in 1..=40 {
        let segment = push(&queue, n, 2).expect("pushes").position.expect("is kept").segment;
        match segments.last_mut().filter(|(number, _)| *number == segment) {
            Some((_, marks)) => marks.push(n),
            None => segments.push((segment, vec![n])),
        }
    }
    assert!(segments.len() > 3);
    cursor.fall_behind(TimestampMs(41));
    let want: Vec<i64> = segments.into_iter().rev().flat_map(|(_, marks)| marks).collect();
    assert_eq!(backlog(&queue, &cursor, Order::NewestFirst), want);
}

#[test]
fn the_next_process_goes_on_where_this_one_was_saved() {
    let disk = SimulatedDisk::new(1);
    let queue = open(&disk);
    let cursors = ["a", "b"].map(|name| queue.cursor(name));
    queue.retain(&["a", "b"]);
    push_all(&queue, 1..=30, 3);
    for n in 1..=20 {
        let (_, taken) = live(&queue, &cursors[0]).expect("is there");
        if n % 4 != 0 {
            cursors[0].delivered(taken.position);
        }
    }
    queue.save().expect("saves");
    disk.kill();
    let (queue, opened) = reopen(&disk, options(), 100);
    assert_eq!((opened.last_pushed, opened.samples, opened.cursors_lost), (Some(TimestampMs(30)), 90, None));
    let cursor = queue.cursor("a");
    assert!(live(&queue, &cursor).is_none(), "what is left is backlog");
    assert_eq!(cursor.waiting().backlog.samples, 3 * 15);
    let want: Vec<i64> = (1..=30).filter(|n| *n > 20 || n % 4 == 0).collect();
    assert_eq!(backlog(&queue, &cursor, Order::OldestFirst), want);
    assert_eq!(backlog(&queue, &queue.cursor("b"), Order::OldestFirst).len(), 30);
    // Without any destination left everything goes.
    queue.retain(&[]);
    push(&queue, 31, 1).expect("pushes");
    queue.maintain(TimestampMs(31)).expect("maintains");
    assert_eq!(queue.state().segments, 0);
}

#[test]
fn a_full_disk_refuses_and_leaves_nothing() {
    let disk = SimulatedDisk::new(1);
    let queue = open(&disk);
    let cursor = queue.cursor("a");
    push(&queue, 1, 3).expect("pushes");
    disk.set_fault(Fault::Full { after_bytes: 20 });
    for n in 2..12 {
        assert!(matches!(push(&queue, n, 3), Err(QueueError::Log(_))));
    }
    assert!(disk.list(std::path::Path::new(FOLDER)).expect("lists").len() < 5, "no heap of empty segments");
    disk.clear_faults();
    push(&queue, 12, 3).expect("pushes");
    let next = || live(&queue, &cursor).map(|(mark, _)| mark);
    assert_eq!((next(), next(), next()), (Some(1), Some(12), None));
    disk.kill();
    let queue = open(&disk);
    assert_eq!(backlog(&queue, &queue.cursor("a"), Order::OldestFirst), [1, 12]);
}

#[test]
fn what_waits_leaves_a_full_disk_and_makes_room() {
    let disk = SimulatedDisk::new(1);
    let (queue, _) = reopen(&disk, crate::Options { memory_bytes: 0, ..options() }, 0);
    let cursor = queue.cursor("a");
    queue.retain(&["a"]);
    push_all(&queue, 1..=40, 2);
    cursor.fall_behind(TimestampMs(41));
    disk.set_fault(Fault::Full { after_bytes: 0 });
    assert!(push(&queue, 41, 2).is_err());
    // Also what is in the segment that was being written, which comes first.
    let newest = cursor.next_backlog(Order::NewestFirst).expect("reads").expect("is there");
    cursor.delivered(newest.position);
    while let Some(taken) = cursor.next_backlog(Order::NewestFirst).expect("reads") {
        cursor.delivered(taken.position);
    }
    // There is no room for the cursors before segments have gone.
    let _ = queue.maintain(TimestampMs(42));
    push(&queue, 42, 2).expect("there is room again");
    queue.maintain(TimestampMs(43)).expect("maintains");
    assert_eq!((queue.state().segments, cursor.waiting().live.samples), (1, 2));
    disk.kill();
    let queue = open(&disk);
    assert_eq!(backlog(&queue, &queue.cursor("a"), Order::OldestFirst), [42]);
}

#[test]
fn who_follows_gets_what_was_in_hand_and_put_back_in_order() {
    let disk = SimulatedDisk::new(1);
    let queue = open(&disk);
    let first = queue.cursor("a");
    push_all(&queue, 1..=20, 2);
    first.fall_behind(TimestampMs(15));
    let next = || first.next_backlog(Order::OldestFirst).expect("reads").expect("is there");
    let (_in_hand, put_back) = (next(), next());
    first.put_back(put_back);
    let (_, late) = live(&queue, &first).expect("is there");
    first.put_back(late);
    assert_eq!(backlog(&queue, &queue.cursor("a"), Order::OldestFirst), (1..=15).collect::<Vec<_>>());
    assert_eq!(first.waiting().live.samples, 10);
    let taken = [first.next_live(), first.next_live()].map(|taken| taken.expect("reads").expect("is there"));
    taken.into_iter().rev().for_each(|taken| first.put_back(taken));
    first.put_in_order();
    assert_eq!(backlog(&queue, &first, Order::OldestFirst), [16, 17]);
    assert_eq!(live(&queue, &first).map(|(mark, _)| mark), Some(18));
}

#[test]
fn what_was_pushed_lately_is_known_whoever_has_it() {
    let disk = SimulatedDisk::new(1);
    let queue = open(&disk);
    let cursor = queue.cursor("a");
    push_all(&queue, 1..=30, 2);
    while let Some((_, taken)) = live(&queue, &cursor) {
        cursor.delivered(taken.position);
    }
    let lately = |queue: &Queue, since, most: usize| {
        let mut marks = Vec::new();
        let each = |batch: &crate::Batch| {
            marks.push(mark(queue, batch));
            marks.len() < most
        };
        queue.pushed_since(TimestampMs(since), each).expect("reads");
        marks
    };
    assert_eq!(lately(&queue, 12, 100), (12..=30).collect::<Vec<_>>());
    disk.kill();
    let queue = open(&disk);
    assert_eq!(lately(&queue, 12, 100), (12..=30).collect::<Vec<_>>());
    assert_eq!(lately(&queue, 12, 3), [12, 13, 14]);
    assert_eq!(lately(&queue, 31, 100), Vec::<i64>::new());
}

#[test]
fn what_everybody_has_stays_for_a_while_as_long_as_there_is_room() {
    let disk = SimulatedDisk::new(1);
    let (queue, _) = reopen(&disk, crate::Options { keep_ms: 100, max_bytes: 16_000, ..options() }, 0);
    let cursor = queue.cursor("a");
    queue.retain(&["a"]);
    let deliver = |marks: std::ops::RangeInclusive<i64>, now: i64| {
        push_all(&queue, marks, 2);
        while let Some((_, taken)) = live(&queue, &cursor) {
            cursor.delivered(taken.position);
        }
        queue.maintain(TimestampMs(now)).expect("maintains").removed_segments
    };
    assert_eq!(deliver(1..=30, 100), 0);
    assert!(queue.state().segments > 2);
    assert!(deliver(31..=31, 131) > 0 && queue.state().segments <= 2, "{:?}", queue.state());
    assert_eq!(deliver(32..=62, 62), 0);
    // Half of the budget is used, or the disk itself is full.
    assert!(deliver(63..=200, 200) > 0);
    deliver(201..=230, 230);
    disk.set_fault(Fault::Full { after_bytes: 0 });
    assert!(push(&queue, 231, 2).is_err());
    let before = queue.state().segments;
    let _ = queue.maintain(TimestampMs(231));
    assert!(queue.state().segments < before);
}

#[test]
fn a_failed_flush_ends_a_segment_and_no_record_stands_without_its_series() {
    let disk = SimulatedDisk::new(1);
    let queue = open(&disk);
    let _cursor = queue.cursor("a");
    push(&queue, 5, 3).expect("pushes");
    disk.set_fault(Fault::FailSync);
    assert!(queue.sync().is_err());
    disk.clear_faults();
    let second = push(&queue, 10, 3).expect("pushes");
    queue.sync().expect("writes the first anew");
    assert!(queue.synced() >= second.commit);
    disk.power_loss();
    let queue = open(&disk);
    assert_eq!(backlog(&queue, &queue.cursor("a"), Order::OldestFirst), [5, 10]);
}

#[test]
fn histograms_and_exemplars_come_along() {
    let disk = SimulatedDisk::new(1);
    let queue = open(&disk);
    let _cursor = queue.cursor("a");
    let series = ids(&queue, 0..2);
    let histogram = EncodedHistogram::new(b"opaque").expect("is short enough");
    let labels = Labels::from_pairs([("trace_id", "1")]);
    let exemplar = Exemplar { labels, value: 0.5, timestamp: TimestampMs(-7) };
    let exemplars = [ExemplarEntry { number: series[0].0, exemplar }];
    let histograms = [HistogramEntry { number: series[1].0, timestamp: 9, histogram }];
    let entry = Entry { exemplars: &exemplars, histograms: &histograms, ..Entry::default() };
    queue.push(&entry, TimestampMs(3)).expect("pushes");
    disk.kill();
    let queue = open(&disk);
    let taken = queue.cursor("a").next_backlog(Order::OldestFirst).expect("reads").expect("is there");
    let batch = &taken.batch;
    assert_eq!((batch.min, batch.max, batch.samples()), (TimestampMs(-7), TimestampMs(9), 1));
    assert_eq!(
        (&batch.exemplars[0].exemplar, &batch.histograms[0].histogram),
        (&exemplars[0].exemplar, &histograms[0].histogram)
    );
    let labels = |number| queue.labels(crate::SeriesId(number));
    assert_eq!(labels(batch.exemplars[0].number), Some(super::labels(0)));
    assert_eq!(labels(batch.histograms[0].number), Some(super::labels(1)));
}

#[test]
fn what_cannot_be_a_record_is_refused() {
    let disk = SimulatedDisk::new(1);
    let queue = open(&disk);
    let cursor = queue.cursor("a");
    let known = ids(&queue, 0..1)[0];
    let push = |series: &[crate::SeriesId], values: &[f64]| {
        queue.push(&Entry { series, timestamps: &[1], values, ..Entry::default() }, TimestampMs(1))
    };
    assert!(matches!(push(&[known], &[]), Err(QueueError::Entry(_))));
    assert!(matches!(push(&[crate::SeriesId(77)], &[1.0]), Err(QueueError::UnknownSeries(77))));
    assert!(live(&queue, &cursor).is_none());
    assert_eq!(queue.push(&Entry::default(), TimestampMs(1)).expect("is nothing").position, None);
}

#[test]
fn every_push_wakes() {
    let disk = SimulatedDisk::new(1);
    let queue = open(&disk);
    let cursor = queue.cursor("a");
    let woken = Arc::new(AtomicUsize::new(0));
    let (counted, again) = (Arc::clone(&woken), cursor.clone());
    cursor.wake_with(Arc::new(move || {
        // The waker may use the queue.
        assert!(again.waiting().live.samples > 0);
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    push_all(&queue, 0..=2, 1);
    assert_eq!(woken.load(Ordering::Relaxed), 3);
}
