//! What goes when there is no room, and who hears of it.

use ::model::TimestampMs;
use disk::SimulatedDisk;

use super::{open, options, push, push_all, reopen};
use crate::{Dropped, Options, Order};

fn dropped(mut all: Vec<Dropped>, destination: &str) -> Vec<(String, &'static str, u64)> {
    all.retain(|dropped| dropped.destination == destination);
    all.sort_by(|a, b| a.source.cmp(&b.source));
    all.into_iter().map(|dropped| (dropped.source, dropped.reason, dropped.samples)).collect()
}

#[test]
fn the_oldest_segments_go_and_are_counted_by_source() {
    let disk = SimulatedDisk::new(1);
    let small = Options { max_bytes: 4000, memory_bytes: 0, ..options() };
    let (queue, _) = reopen(&disk, small.clone(), 0);
    let [away, partly] = ["away", "partly"].map(|name| queue.cursor(name));
    queue.retain(&["away", "partly"]);
    // One that has a record in hand does not lose it.
    push(&queue, 1, 4).expect("pushes");
    let in_hand = partly.next_live().expect("reads").expect("is there");
    push_all(&queue, 2..=100, 4);
    let done = queue.maintain(TimestampMs(100)).expect("maintains");
    assert!(done.removed_segments > 0 && queue.state().disk_bytes <= 4000);

    let left = away.waiting();
    let lost = 400 - left.live.samples - left.backlog.samples;
    let by_source = dropped(done.dropped.clone(), "away");
    assert_eq!(by_source.iter().map(|(_, reason, _)| *reason).collect::<Vec<_>>(), ["disk_full"; 2]);
    assert_eq!(by_source.iter().map(|(source, ..)| source.as_str()).collect::<Vec<_>>(), ["j0", "j1"]);
    assert_eq!(by_source.iter().map(|(.., samples)| samples).sum::<u64>(), lost);
    assert_eq!(dropped(done.dropped, "partly").iter().map(|(.., samples)| samples).sum::<u64>(), lost - 4);

    // The gap is what lies before the oldest that is left, and it is told until somebody heard it.
    let gaps = away.gaps();
    assert_eq!(gaps.iter().map(|gap| gap.samples).sum::<u64>(), lost);
    assert_eq!(gaps.last().map(|gap| gap.from), Some(TimestampMs(1)));
    let oldest = away.oldest_undelivered_timestamp().expect("something is left");
    assert_eq!(gaps.first().map(|gap| gap.to + 1), Some(oldest));
    assert_eq!(partly.oldest_undelivered_timestamp(), Some(TimestampMs(1)), "it may still arrive");
    partly.delivered(in_hand.position);
    assert_eq!(partly.oldest_undelivered_timestamp(), Some(oldest));
    disk.kill();
    let (queue, _) = reopen(&disk, small, 0);
    let away = queue.cursor("away");
    assert_eq!(away.gaps(), gaps);
    away.told(&gaps[1..]);
    assert_eq!(away.gaps(), gaps[..1]);
    let next = away.next_backlog(Order::OldestFirst).expect("reads").expect("is there");
    assert_eq!(next.batch.min, oldest);
}

#[test]
fn what_is_too_old_goes_also_from_the_open_segment() {
    let disk = SimulatedDisk::new(1);
    let (queue, _) = reopen(&disk, Options { max_age_ms: 1000, ..options() }, 0);
    let cursor = queue.cursor("a");
    push(&queue, 5, 2).expect("pushes");
    assert_eq!(queue.maintain(TimestampMs(1005)).expect("maintains").dropped, []);
    let done = queue.maintain(TimestampMs(1006)).expect("maintains");
    assert_eq!(dropped(done.dropped, "a"), [("j0".into(), "age", 1), ("j1".into(), "age", 1)]);
    assert!(cursor.next_live().expect("reads").is_none());
    assert_eq!(cursor.waiting(), crate::Waiting::default());
    push(&queue, 1007, 2).expect("pushes");
    assert!(cursor.next_live().expect("reads").is_some());
}

#[test]
fn without_maintenance_a_queue_outgrows_its_budget_by_a_few_segments() {
    let disk = SimulatedDisk::new(1);
    let (queue, _) = reopen(&disk, Options { max_bytes: 40_000, segment_bytes: 1000, ..options() }, 0);
    let _cursor = queue.cursor("a");
    for n in 1..2000 {
        push(&queue, n, 8).expect("pushes");
        assert!(queue.state().disk_bytes < 40_000 + 7 * 1000);
        assert!(queue.state().memory_bytes <= options().memory_bytes);
    }
}

#[test]
fn gaps_are_bounded_and_none_is_forgotten() {
    let disk = SimulatedDisk::new(1);
    let (queue, _) = reopen(&disk, Options { max_age_ms: 10, ..options() }, 0);
    let cursor = queue.cursor("a");
    for n in (0..200).map(|n| n * 100) {
        push(&queue, n, 1).expect("pushes");
        queue.maintain(TimestampMs(n + 50)).expect("maintains");
    }
    let gaps = cursor.gaps();
    assert_eq!((gaps.len(), gaps.iter().map(|gap| gap.samples).sum::<u64>()), (64, 200));
    assert_eq!(gaps.last().map(|gap| (gap.from, gap.to)), Some((TimestampMs(0), TimestampMs(13_600))));
}

#[test]
fn destinations_that_left_hold_nothing_back() {
    let disk = SimulatedDisk::new(1);
    let queue = open(&disk);
    let [stays, leaves] = ["stays", "leaves"].map(|name| queue.cursor(name));
    push_all(&queue, 1..=60, 4);
    while let Some(taken) = stays.next_live().expect("reads") {
        stays.delivered(taken.position);
    }
    queue.maintain(TimestampMs(60)).expect("maintains");
    assert!(queue.state().segments > 3);
    assert_eq!(queue.destinations(), [("stays".into(), 0), ("leaves".into(), 240)]);
    queue.retain(&["stays"]);
    queue.maintain(TimestampMs(60)).expect("maintains");
    assert_eq!(queue.state().segments, 1, "the one that takes records");
    assert!(leaves.next_live().expect("finds nothing").is_none());
    assert_eq!(queue.cursor("leaves").waiting(), crate::Waiting::default(), "and begins anew");
}

#[test]
fn a_budget_that_becomes_small_keeps_what_is_newest() {
    let disk = SimulatedDisk::new(1);
    let (queue, _) = reopen(&disk, Options { segment_bytes: 1 << 20, memory_bytes: 0, ..options() }, 0);
    let away = queue.cursor("away");
    queue.set_budget(64_000, i64::MAX);
    for n in 1..=2000 {
        push(&queue, n, 4).expect("pushes");
        if n % 100 == 0 {
            queue.maintain(TimestampMs(n)).expect("maintains");
            assert!(queue.state().disk_bytes <= 64_000);
        }
    }
    assert!(queue.state().disk_bytes > 32_000, "what fits stays: {:?}", queue.state());
    assert_eq!(away.waiting().backlog_newest.or(Some(TimestampMs(2000))), Some(TimestampMs(2000)));
}
