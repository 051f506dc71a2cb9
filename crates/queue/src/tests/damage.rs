//! What rots costs itself, and is named.

use std::path::Path;

use ::model::TimestampMs;
use disk::{Disk, SimulatedDisk};

use super::{FOLDER, mark, options, push, reopen};
use crate::{Options, Order, Queue};

fn queue_of_one_segment(disk: &SimulatedDisk) -> (Queue, Vec<crate::Position>) {
    let (queue, _) = reopen(disk, Options { segment_bytes: 1 << 20, ..options() }, 0);
    queue.cursor("a");
    let position = |n| push(&queue, n, 3).expect("pushes").position.expect("is kept");
    let positions = (0..6).map(|n| position(n * 5)).collect();
    (queue, positions)
}

fn rot(disk: &SimulatedDisk, at: crate::Position) {
    let path = Path::new(FOLDER).join(format!("{:010}.log", at.segment));
    disk.damage(&path, |bytes| bytes[at.offset as usize + 40] ^= 1).expect("is there");
}

fn backlog(queue: &Queue) -> Vec<i64> {
    let cursor = queue.cursor("a");
    let next = || cursor.next_backlog(Order::OldestFirst).expect("reads");
    std::iter::from_fn(next).map(|taken| mark(queue, &taken.batch)).collect()
}

#[test]
fn a_damaged_record_is_left_out_and_kept_aside() {
    let disk = SimulatedDisk::new(1);
    let (_, positions) = queue_of_one_segment(&disk);
    disk.kill();
    rot(&disk, positions[3]);
    let (queue, opened) = reopen(&disk, options(), 0);
    let damages: Vec<_> = opened.damages.iter().map(|damage| (damage.segment, damage.offset)).collect();
    assert_eq!((damages, opened.samples), (vec![(positions[3].segment, positions[3].offset)], 15));
    assert_eq!(disk.list(&Path::new(FOLDER).join("damaged")).expect("lists").len(), 1);
    assert_eq!(backlog(&queue), [0, 5, 10, 20, 25]);
    assert_eq!(queue.cursor("a").waiting().backlog.samples, 15);
}

#[test]
fn without_its_definitions_a_record_loses_rows_and_says_so() {
    let disk = SimulatedDisk::new(1);
    let (_, positions) = queue_of_one_segment(&disk);
    disk.kill();
    rot(&disk, positions[0]);
    let (queue, _) = reopen(&disk, options(), 0);
    let cursor = queue.cursor("a");
    let taken = cursor.next_backlog(Order::OldestFirst).expect("reads").expect("is there");
    assert_eq!((taken.batch.arrived, taken.batch.samples()), (TimestampMs(5), 0));
    assert_eq!(cursor.gaps().iter().map(|gap| gap.samples).sum::<u64>(), 3);
    let done = queue.maintain(TimestampMs(30)).expect("maintains");
    assert_eq!(done.dropped.iter().map(|d| (d.reason, d.samples)).collect::<Vec<_>>(), [("damaged", 3)]);
}

#[test]
fn lost_cursors_mean_everything_again() {
    let disk = SimulatedDisk::new(1);
    let (queue, positions) = queue_of_one_segment(&disk);
    queue.cursor("a").delivered(positions[0]);
    queue.save().expect("saves");
    disk.kill();
    disk.damage(&Path::new(FOLDER).join("cursors"), |bytes| bytes.truncate(30)).expect("is there");
    let (queue, opened) = reopen(&disk, options(), 0);
    assert!(opened.cursors_lost.is_some());
    // Nobody said yet who the destinations are, so nothing goes.
    queue.maintain(TimestampMs(0)).expect("maintains");
    assert_eq!(backlog(&queue), [0, 5, 10, 15, 20, 25]);
    assert!(disk.read(&Path::new(FOLDER).join("cursors.damaged")).is_ok());
}

#[test]
fn a_record_that_rots_while_it_waits_is_counted() {
    let disk = SimulatedDisk::new(1);
    let (_, positions) = queue_of_one_segment(&disk);
    disk.kill();
    let (queue, _) = reopen(&disk, options(), 0);
    let cursor = queue.cursor("a");
    rot(&disk, positions[2]);
    assert_eq!(backlog(&queue), [0, 5, 15, 20, 25]);
    assert_eq!(cursor.waiting().backlog.samples, 15, "in flight");
}
