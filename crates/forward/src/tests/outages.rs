//! What is away comes back: live samples first, and nothing lost.

use super::past::Past;
use super::peer::{Got, Peer};
use super::*;

/// The first sample has arrived.
const SENT: &str = r#"highwater_forward_samples_sent_total{destination="up"} 1"#;
const FAST: &str = "batch_send_deadline: 5ms, min_backoff: 5ms, max_backoff: 50ms, max_samples_per_send: 50";

/// Rounds of a scrape of some series, one a second, with values that tell them apart.
fn scrape(round: i64) -> Vec<(String, i64, f64)> {
    (0..10).map(|i| (format!("s{i}"), round * 1_000, (round * 100 + i) as f64)).collect()
}

fn put_round(process: &Process, round: i64) {
    let rows = scrape(round);
    let rows: Vec<(&str, i64, f64)> = rows.iter().map(|(name, at, value)| (name.as_str(), *at, *value)).collect();
    process.put_rows(&rows);
}

/// Whether a peer holds all rounds of a range.
fn holds_all(peer: &Peer, rounds: std::ops::Range<i64>) -> bool {
    let holds = peer.holds();
    rounds.flat_map(scrape).all(|(name, at, value)| holds.get(&(name, at)) == Some(&value))
}

fn in_order(taken: &[Got]) -> bool {
    let mut newest = std::collections::HashMap::new();
    taken.iter().all(|(series, at, _)| newest.insert(series.clone(), *at).is_none_or(|before| before <= *at))
}

/// What is left of a process that is killed now.
fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("makes it");
    for entry in std::fs::read_dir(from).expect("reads").flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("copies");
        }
    }
}

#[tokio::test]
async fn after_an_outage_new_samples_go_first_and_the_backlog_follows() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    peer.does.lock().is_ours = true;
    let (process, _folder) = process(&format!(
        "[{{name: up, url: '{url}', queue_config: {{{FAST}, live_target: 100ms, backfill: oldest_first}}}}]"
    ));
    put_round(&process, 0);
    until("the first round", || holds_all(&peer, 0..1)).await;
    peer.does.lock().is_down = true;
    (1..200).for_each(|round| put_round(&process, round));
    let is_behind = || process.page().contains(r#"highwater_forward_backlog_samples{destination="up"} 1990"#);
    until("the backlog", is_behind).await;
    assert!(process.page().contains(r#"highwater_forward_destination_up{destination="up"} 0"#));
    let before = peer.taken().len();
    put_round(&process, 200);
    peer.does.lock().is_down = false;
    put_round(&process, 201);
    until("everything", || holds_all(&peer, 0..202)).await;
    // The newest came among the first, not behind two thousand older ones.
    let newest = peer.taken().iter().position(|(_, at, _)| *at == 201_000).expect("is there");
    assert!(newest < before + 500, "{newest} of {}", peer.taken().len());
    let lanes: Vec<_> =
        peer.requests().iter().filter(|r| r.status.is_success()).filter_map(|r| r.lane.clone()).collect();
    assert!(lanes.iter().any(|lane| lane == "backfill") && lanes.iter().any(|lane| lane == "live"), "{lanes:?}");
    process.stop().await;
    assert!(process.counts(r#"highwater_forward_backlog_samples{destination="up"} 0"#), "{}", process.page());
    assert!(!process.page().contains("samples_dropped_by_source"), "{}", process.page());
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_strict_receiver_gets_everything_in_order_after_an_outage() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    peer.does.lock().is_strict = true;
    let (process, _folder) = process(&format!("[{{name: up, url: '{url}', queue_config: {{{FAST}}}}}]"));
    put_round(&process, 0);
    until("the first round", || holds_all(&peer, 0..1)).await;
    peer.does.lock().is_down = true;
    for round in 1..100 {
        put_round(&process, round);
        tokio::task::yield_now().await;
    }
    until("failures", || peer.requests().len() > 3).await;
    peer.does.lock().is_down = false;
    (100..110).for_each(|round| put_round(&process, round));
    until("everything", || holds_all(&peer, 0..110)).await;
    assert_eq!(peer.taken().len(), 1_100, "nothing twice");
    assert!(in_order(&peer.taken()));
    process.stop().await;
    assert!(process.counts(r#"highwater_forward_samples_dropped_total{destination="up",reason="refused"} 0"#));
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_strict_receiver_that_has_the_first_part_of_a_batch_gets_the_rest() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    peer.does.lock().is_strict = true;
    let section = format!("[{{name: up, url: '{url}', queue_config: {{batch_send_deadline: 1h}}}}]");
    let (folder, copy) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let first = Process::start_in(folder.path(), &section);
    (0..30).for_each(|round| put_round(&first, round));
    copy_folder(folder.path(), copy.path());
    // It arrives, and the process that is left does not know that.
    first.stop().await;
    assert!(holds_all(&peer, 0..30));
    let second = Process::start_in(copy.path(), &section);
    (30..60).for_each(|round| put_round(&second, round));
    second.stop().await;
    assert!(holds_all(&peer, 0..60), "{:?}", peer.holds().len());
    assert!(peer.requests().len() < 100, "{}", peer.requests().len());
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn whatever_was_under_way_to_an_address_that_hangs_goes_to_the_next() {
    let server = Supervisor::new();
    let ((first, a), (second, b)) = (Peer::start(&server).await, Peer::start(&server).await);
    first.does.lock().is_ours = true;
    let (process, _folder) = process(&format!(
        "[{{name: up, urls: ['{a}', '{b}'], remote_timeout: 500ms, queue_config: {{{FAST}, live_target: 1h}}}}]"
    ));
    // So many arrive that several may be under way at once.
    (0..400).for_each(|round| put_round(&process, round));
    until("many", || holds_all(&first, 0..400)).await;
    first.does.lock().stalls = true;
    for round in 400..406 {
        put_round(&process, round);
        until("a request", || first.stalled.load(Ordering::Relaxed) > round as usize - 400).await;
    }
    until("the rest", || holds_all(&second, 400..406)).await;
    process.stop().await;
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn samples_that_are_too_old_hold_nothing_up() {
    let server = Supervisor::new();
    let (ours, url) = Peer::start(&server).await;
    let (strict, other) = Peer::start(&server).await;
    ours.does.lock().is_ours = true;
    for (peer, url) in [(ours, url), (strict, other)] {
        let (process, _folder) =
            process(&format!("[{{name: up, url: '{url}', queue_config: {{{FAST}, sample_age_limit: 1h}}}}]"));
        let now = runtime::now().0;
        process.put_rows(&[("m", now, 1.0)]);
        until("the first", || peer.values() == [1.0]).await;
        // More than is looked through for one request.
        (0..100).for_each(|round| put_round(&process, round));
        process.put_rows(&[("m", now + 1, 2.0)]);
        until("what is not too old", || peer.values() == [1.0, 2.0]).await;
        process.stop().await;
        assert!(process.counts(r#"highwater_forward_samples_dropped_total{destination="up",reason="too_old"} 1000"#));
        assert!(process.counts(r#"highwater_forward_queue_length{destination="up"} 0"#), "{}", process.page());
    }
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn nothing_is_given_up_before_it_is_known_who_the_destinations_are() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    peer.does.lock().is_down = true;
    let folder = tempfile::tempdir().expect("a folder");
    let section = format!("[{{name: up, url: '{url}', queue_config: {{{FAST}}}}}]");
    let first = Process::start_in(folder.path(), &section);
    put_round(&first, 0);
    first.stop().await;
    drop(first);
    peer.does.lock().is_down = false;
    // It takes its time.
    let second = Process::open_in(Arc::new(RealDisk), folder.path());
    let is_kept = || !second.page().contains("highwater_forward_queue_disk_bytes 0");
    until("a round of the keeper", is_kept).await;
    second.reload(&section);
    until("what was left", || holds_all(&peer, 0..1)).await;
    second.stop().await;
    // Whoever is removed between two processes is not forgotten silently.
    peer.does.lock().is_down = true;
    let third = Process::start_in(folder.path(), &section);
    put_round(&third, 1);
    third.stop().await;
    let fourth = Process::start_in(folder.path(), &section.replace("name: up", "name: other"));
    assert!(fourth.counts(r#"highwater_forward_samples_dropped_total{destination="up",reason="removed"} 10"#));
    fourth.stop().await;
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn while_a_receiver_is_down_only_probes_go_out() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    peer.does.lock().is_down = true;
    let (process, _folder) = process(&format!(
        "[{{name: up, url: '{url}', queue_config: {{batch_send_deadline: 1ms, min_backoff: 100ms, max_backoff: 100ms}}}}]"
    ));
    let started = Instant::now();
    for round in 0..50 {
        put_round(&process, round);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (requests, pauses) = (peer.requests().len(), started.elapsed().as_millis() / 50);
    assert!((1..=pauses as usize + 1).contains(&requests), "{requests} in {pauses} pauses");
    assert!(!process.page().contains(r#"circuit_state{destination="up"} 0"#), "{}", process.page());
    peer.does.lock().is_down = false;
    until("everything", || holds_all(&peer, 0..50)).await;
    until("a closed circuit", || process.counts(r#"highwater_forward_circuit_state{destination="up"} 0"#)).await;
    process.stop().await;
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_is_not_sent_outlives_the_process() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    let folder = tempfile::tempdir().expect("a folder");
    let section = format!("[{{name: up, url: '{url}', queue_config: {{{FAST}}}}}]");
    peer.does.lock().is_down = true;
    // Stopped in the middle of an outage.
    let first = Process::start_in(folder.path(), &section);
    (0..20).for_each(|round| put_round(&first, round));
    until("a failure", || !peer.requests().is_empty()).await;
    let began = Instant::now();
    first.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "nobody waits for who is away");
    drop(first);
    // Killed in the middle of it: a copy of its folder is what is left.
    let second = Process::start_in(folder.path(), &section);
    (20..40).for_each(|round| put_round(&second, round));
    let copy = tempfile::tempdir().expect("a folder");
    copy_folder(folder.path(), copy.path());
    second.stop().await;
    peer.does.lock().is_down = false;
    let third = Process::start_in(copy.path(), &section);
    put_round(&third, 40);
    until("everything", || holds_all(&peer, 0..41)).await;
    third.stop().await;
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_destination_that_is_new_gets_what_comes_from_now_on() {
    let server = Supervisor::new();
    let ((old, old_url), (new, new_url)) = (Peer::start(&server).await, Peer::start(&server).await);
    let section = |name: &str, url: &str| format!("{{name: {name}, url: '{url}', queue_config: {{{FAST}}}}}");
    let (process, _folder) = process(&format!("[{}]", section("old", &old_url)));
    put_round(&process, 0);
    until("the first round", || holds_all(&old, 0..1)).await;
    process.reload(&format!("[{}, {}]", section("old", &old_url), section("new", &new_url)));
    put_round(&process, 1);
    until("the second round", || holds_all(&old, 0..2) && holds_all(&new, 1..2)).await;
    assert_eq!(new.taken().len(), 10);
    process.stop().await;
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn the_next_address_takes_over_with_the_backlog() {
    let server = Supervisor::new();
    let ((first, a), (second, b)) = (Peer::start(&server).await, Peer::start(&server).await);
    for peer in [&first, &second] {
        peer.does.lock().is_ours = true;
    }
    let (process, _folder) = process(&format!("[{{name: up, urls: ['{a}', '{b}'], queue_config: {{{FAST}}}}}]"));
    put_round(&process, 0);
    until("the first round", || holds_all(&first, 0..1)).await;
    first.does.lock().is_down = true;
    (1..10).for_each(|round| put_round(&process, round));
    until("the rest", || holds_all(&second, 1..10)).await;
    process.stop().await;
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_was_stored_and_not_queued_is_queued_at_the_next_start() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    let (folder, copy) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let section = format!("[{{name: up, url: '{url}', match: ['s1', 'queued'], queue_config: {{{FAST}}}}}]");
    let now = runtime::now().0;
    let past = || {
        let row = |name: &str, at: i64| (Labels::from_pairs([("__name__", name)]), at, 7.0);
        Arc::new(Past::of([row("s1", now - 10), row("s1", now - 3_600_000), row("s2", now), row("queued", now)]))
    };
    let first = Process::start_in(folder.path(), &section);
    first.ingest.forwarder.reconcile(past());
    first.put_rows(&[("queued", now, 1.0)]);
    until("the first", || peer.values() == [1.0] && first.counts(SENT)).await;
    first.ingest.forwarder.core.queue.save().expect("saves");
    copy_folder(folder.path(), copy.path());
    first.stop().await;
    assert_eq!(peer.holds().len(), 1, "the history of the store is not sent to a new queue");
    // After a good end nothing lacks; after none, what is near the last record does.
    let second = Process::start_in(folder.path(), &section);
    second.ingest.forwarder.reconcile(past());
    second.stop().await;
    assert_eq!(peer.holds().len(), 1);
    let third = Process::start_in(copy.path(), &section);
    third.ingest.forwarder.reconcile(past());
    until("what lacked", || peer.holds().contains_key(&("s1".to_owned(), now - 10))).await;
    third.stop().await;
    assert_eq!(peer.taken().len(), 2, "what was queued before is known, and not sent again");
    server.stop(Duration::from_secs(5)).await;
}
