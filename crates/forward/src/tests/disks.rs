//! A disk without room, and a queue without any: what is said, and what follows.

use std::sync::atomic::AtomicI64;

use disk::{Fault, SimulatedDisk};

use super::past::Past;
use super::peer::Peer;
use super::*;

const FAST: &str = "batch_send_deadline: 5ms, min_backoff: 5ms, max_backoff: 50ms";

fn header(seen: &super::peer::Seen, name: &str) -> String {
    seen.headers.get(name).map(|value| value.to_str().expect("is text").to_owned()).unwrap_or_default()
}

fn batch(job: &str, rows: &[(i64, f64)]) -> Batch {
    let mut batch = Batch::default();
    for (at, value) in rows {
        let sample = Sample { timestamp: TimestampMs(*at), value: *value };
        batch.push(Labels::from_pairs([("__name__", "m"), ("job", job)]), sample);
    }
    batch
}

#[tokio::test]
async fn what_a_full_disk_did_not_queue_is_queued_once_there_is_room() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    peer.does.lock().is_ours = true;
    let disk = SimulatedDisk::new(1);
    let mut process = Process::open_in(Arc::new(disk.clone()), Path::new("/data/forward"));
    let store = Arc::new(Past::default());
    process.ingest.store = store.clone();
    let (now, told) = (runtime::now().0, Arc::new(AtomicI64::new(0)));
    let watermark = told.clone();
    process.ingest.forwarder.tell(Arc::new(move || sources::Report {
        watermark: Some(TimestampMs(watermark.load(Ordering::Relaxed))),
        ..sources::Report::default()
    }));
    process.reload(&format!("[{{name: up, url: '{url}', queue_config: {{{FAST}}}}}]"));
    process.ingest.forwarder.reconcile(store);
    process.ingest.append(&batch("j", &[(now, 1.0)])).expect("takes samples");
    until("delivery", || peer.values() == [1.0]).await;

    disk.set_fault(Fault::Full { after_bytes: 3 });
    let refused = process.ingest.append(&batch("j", &[(now + 1, 2.0)])).expect_err("there is no room");
    assert!(refused.to_string().contains("no space left") && refused.to_string().contains("stored here"), "{refused}");
    assert!(!process.counts("highwater_forward_unqueued_since_timestamp_seconds 0"), "{}", process.page());
    // The tier says that it has everything up to then; who is told must not be told that it was sent.
    told.store(now + 1_000, Ordering::Relaxed);
    let before = peer.requests().len();
    until("a beat", || peer.requests().len() > before + 1).await;
    disk.clear_faults();
    until("what was stored", || peer.values() == [1.0, 2.0]).await;
    process.ingest.append(&batch("j", &[(now + 2, 3.0)])).expect("takes samples again");
    until("what comes after", || peer.values() == [1.0, 2.0, 3.0]).await;
    let until_then = peer.requests().into_iter().take_while(|seen| !seen.rows.iter().any(|row| row.2 == 2.0));
    let claimed = until_then.filter_map(|seen| header(&seen, "highwater-watermark-ms").parse::<i64>().ok()).max();
    assert!(claimed.is_some_and(|claimed| claimed <= now), "{claimed:?} of {now}");
    until("the truth", || {
        peer.requests().last().is_some_and(|seen| header(seen, "highwater-watermark-ms") == (now + 1_000).to_string())
    })
    .await;
    assert!(process.counts("highwater_forward_unqueued_since_timestamp_seconds 0"), "{}", process.page());
    process.stop().await;
    server.stop(Duration::from_secs(5)).await;
}

/// Samples that a metric counts, by source.
fn dropped(process: &Process, source: &str, reason: &str) -> u64 {
    let labels = format!(r#"{{destination="up",reason="{reason}",source="{source}"}} "#);
    let name = "highwater_forward_samples_dropped_by_source_total";
    let page = process.page();
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(&labels)?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn what_leaves_a_queue_without_room_is_counted_by_source_and_told_as_a_gap() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    peer.does.lock().is_ours = true;
    let (process, _folder) =
        process(&format!("[{{name: up, url: '{url}', queue_config: {{{FAST}, max_disk_bytes: 64KiB}}}}]"));
    process.ingest.append(&batch("a", &[(0, 0.0)])).expect("takes samples");
    until("the first", || peer.values().len() == 1).await;
    peer.does.lock().is_down = true;
    // Values that do not pack well, in more than twice the room.
    let value = |at: i64| (at as f64 + 0.1).sqrt();
    for round in 0..200 {
        let rows: Vec<_> = (1..=100).map(|n| (round * 100 + n, value(round * 100 + n))).collect();
        process.ingest.append(&batch(if round % 2 == 0 { "a" } else { "b" }, &rows)).expect("takes samples");
    }
    let all = || dropped(&process, "a", "disk_full") + dropped(&process, "b", "disk_full");
    let size = || {
        let page = process.page();
        let line = page.lines().find_map(|line| line.strip_prefix("highwater_forward_queue_disk_bytes ")?.parse().ok());
        line.unwrap_or(0_u64)
    };
    until("room", || all() > 0 && (1..=64 << 10).contains(&size())).await;
    peer.does.lock().is_down = false;
    until("the rest", || peer.holds().len() as u64 + all() == 20_001).await;
    assert!(size() > 32 << 10 && dropped(&process, "a", "disk_full") > 0 && dropped(&process, "b", "disk_full") > 0);
    let all = all();
    assert!((5_000..15_000).contains(&all), "{all}");
    process.stop().await;
    // Everything that is missing lies in what was told, and nothing is told twice.
    let heard = peer.requests().into_iter().filter(|seen| seen.status.is_success());
    let gaps: Vec<String> = heard
        .flat_map(|seen| header(&seen, "highwater-gaps").split(',').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let mut gaps: Vec<(i64, i64, u64)> = gaps
        .iter()
        .filter(|gap| !gap.is_empty())
        .map(|gap| {
            let (times, samples) = gap.split_once('=').expect("has a count");
            let (from, to) = times.split_once('-').expect("has an end");
            let number = |text: &str| text.parse::<i64>().expect("is a number");
            (number(from), number(to), number(samples) as u64)
        })
        .collect();
    gaps.sort_unstable();
    gaps.dedup();
    assert_eq!(gaps.iter().map(|gap| gap.2).sum::<u64>(), all, "{gaps:?}");
    let holds = peer.holds();
    let missing = (1..=20_000).filter(|at| !holds.keys().any(|(_, held)| held == at));
    let mut missing = missing.peekable();
    assert_eq!(missing.peek(), Some(&1), "the oldest went");
    assert!(missing.all(|at| gaps.iter().any(|(from, to, _)| (*from..=*to).contains(&at))));
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_waits_for_too_long_is_counted_and_told() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    peer.does.lock().is_ours = true;
    let (process, _folder) = process(&format!(
        "[{{name: up, url: '{url}', queue_config: {{{FAST}, max_age: 10ms, max_samples_per_send: 1}}}}]"
    ));
    process.ingest.append(&batch("a", &[(0, 0.0)])).expect("takes samples");
    until("the first", || peer.values().len() == 1).await;
    peer.does.lock().is_down = true;
    // What is in hand is not lost yet: it may still arrive.
    process.ingest.append(&batch("a", &[(5, 1.0)])).expect("takes samples");
    until("a failure", || !peer.requests().last().is_some_and(|seen| seen.status.is_success())).await;
    process.ingest.append(&batch("b", &[(6, 2.0), (7, 3.0)])).expect("takes samples");
    until("the loss", || dropped(&process, "b", "age") > 0).await;
    peer.does.lock().is_down = false;
    let gap = "6-7=2";
    let told = || peer.requests().iter().any(|seen| seen.status.is_success() && header(seen, "highwater-gaps") == gap);
    until("the gap", told).await;
    process.stop().await;
    assert_eq!((peer.values(), dropped(&process, "b", "age")), (vec![0.0, 1.0], 2));
    server.stop(Duration::from_secs(5)).await;
}
