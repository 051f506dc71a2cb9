//! Two centrals that lost different samples hold the same afterwards, and know it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;

use super::support::{Central, Dice, T0, WINDOW, config, series};
use crate::digest::Shards;
use crate::survey::Span;
use crate::{Own, PeersConfig};

const WHOLE: Span = Span { start_ms: T0, end_ms: T0 + 4 * WINDOW };

/// `count` series of each region, a sample every 15 seconds, every hundredth a staleness marker.
fn samples(regions: &[&str], count: usize, windows: i64) -> Vec<(model::Labels, i64, f64)> {
    let mut out = Vec::new();
    for region in regions {
        for number in 0..count {
            let labels = series(&format!("m{number}"), region);
            for step in 0..windows * WINDOW / 15_000 {
                let value = if step % 100 == 99 { model::stale_nan() } else { (step * 7 + number as i64) as f64 };
                out.push((labels.clone(), T0 + step * 15_000, value));
            }
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn both_hold_the_same_after_random_losses() {
    let [a, b] = Central::pair(config()).await;
    // One region has more samples per window than are fetched without looking closer.
    let all = [samples(&["eu", "us", ""], 7, 4), samples(&["big"], 600, 2)].concat();
    let mut dice = Dice(7);
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    for sample in &all {
        // One lost a window of a region as a whole, both lost some of the rest.
        let is_gone = sample.0.get("region") == Some("us") && (T0..T0 + WINDOW).contains(&sample.1);
        let fate = if is_gone { 0 } else { dice.roll(20) };
        if fate != 1 {
            of_a.push(sample.clone());
        }
        if fate != 0 {
            of_b.push(sample.clone());
        }
    }
    a.append(of_a);
    b.append(of_b);
    let whole = Central::start(config(), Own::default()).await;
    whole.append(all.iter().cloned());
    assert_ne!(a.held(), b.held());
    for round in 0..4 {
        for central in [&a, &b] {
            let status = central.compare().await;
            assert_eq!(status.error, None);
            if round == 0 {
                assert!(status.windows_differing > 0 && status.complete_since.is_none(), "{status:?}");
            }
        }
    }
    assert_eq!(a.held(), b.held());
    assert_eq!(a.held(), whole.held(), "every sample was on one of them");
    for central in [&a, &b] {
        let status = central.compare().await;
        assert_eq!((status.windows_differing, status.conflicts, status.differs_since), (0, 0, None));
        assert!(status.complete_since.is_some() && status.repaired > 0, "{status:?}");
        assert_eq!(central.metric("highwater_peer_complete"), 1.0);
        assert_eq!(central.metric("highwater_peer_up"), 1.0);
        assert_eq!(central.metric("highwater_peer_samples_repaired_total"), status.repaired as f64);
        assert_eq!(central.metric("highwater_peer_divergence_seconds"), 0.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_touched_is_not_read_again() {
    let [a, b] = Central::pair(config()).await;
    for central in [&a, &b] {
        central.append(samples(&["eu", "us"], 5, 4));
    }
    a.compare().await;
    let read = |central: &Central| central.metric("highwater_peer_samples_digested_total");
    assert_eq!((read(&a), read(&b)), (1600.0, 1600.0));
    a.compare().await;
    assert_eq!((read(&a), read(&b)), (1600.0, 1600.0));
    // A late sample costs its window, on the central that it came to.
    b.append([(series("late", "eu"), T0 + WINDOW + 300_001, 1.0)]);
    a.compare().await;
    assert_eq!((read(&a), read(&b)), (1600.0, 1600.0 + 401.0));
    a.compare().await;
    assert_eq!(a.held(), b.held());
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_are_counted_once_and_cannot_be_repaired() {
    let [a, b] = Central::pair(config()).await;
    for (central, value) in [(&a, 1.0), (&b, 2.0)] {
        central.append([(series("m", "eu"), T0, value), (series("m", "eu"), T0 + 1000, 3.0)]);
    }
    b.append([(series("n", "eu"), T0, 1.0)]);
    for _ in 0..5 {
        a.compare().await;
    }
    let status = a.compare().await;
    assert_eq!((status.repaired, status.conflicts, status.windows_differing), (1, 1, 1));
    assert!(status.complete_since.is_some(), "whatever can be had is here");
    assert_eq!(status.differs_since.map(|at| at.0), Some(T0 + 12 * WINDOW + 1000));
    assert_eq!(a.metric("highwater_peer_divergence_seconds"), 5.0);
    // Something new at the peer is fetched in spite of it.
    b.append([(series("o", "eu"), T0, 1.0)]);
    a.compare().await;
    let status = a.compare().await;
    assert_eq!((status.repaired, status.conflicts), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_settled_is_compared() {
    let [a, b] = Central::pair(config()).await;
    b.append(samples(&["eu"], 1, 4));
    a.watermark.store(T0 + 3 * WINDOW - 1, Ordering::Relaxed);
    b.watermark.store(T0 + 2 * WINDOW, Ordering::Relaxed);
    a.compare().await;
    let status = a.compare().await;
    assert_eq!(status.compared_until.map(|at| at.0), Some(T0 + 2 * WINDOW), "the later of both is too early");
    assert_eq!(a.held().len(), 80);
    a.watermark.store(i64::MAX, Ordering::Relaxed);
    b.watermark.store(i64::MAX, Ordering::Relaxed);
    // The last of the windows ended a second less than two minutes ago.
    b.now.store(T0 + 4 * WINDOW + 118_000, Ordering::Relaxed);
    a.now.store(T0 + 4 * WINDOW + 118_000, Ordering::Relaxed);
    a.compare().await;
    assert_eq!(a.peer().status.lock().compared_until.map(|at| at.0), Some(T0 + 3 * WINDOW));
    a.compare().await;
    b.now.store(T0 + 4 * WINDOW + 120_000, Ordering::Relaxed);
    a.compare().await;
    a.compare().await;
    assert_eq!(a.held(), b.held());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_complete_when_the_window_in_which_it_began_is() {
    let [a, b] = Central::pair(config()).await;
    for central in [&a, &b] {
        central.append(samples(&["eu"], 1, 1));
    }
    for (now, is_complete) in [(T0, false), (T0 + 60_000, false), (T0 + WINDOW, true)] {
        b.now.store(now, Ordering::Relaxed);
        a.now.store(now, Ordering::Relaxed);
        let status = a.compare().await;
        assert_eq!(status.windows_differing, 0);
        assert_eq!(status.complete_since.is_some(), is_complete, "{now}: {status:?}");
        assert_eq!(a.metric("highwater_peer_complete"), f64::from(u8::from(is_complete)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_samples_still_arrive_nothing_is_fetched() {
    let [a, b] = Central::pair(config()).await;
    let all = samples(&["eu"], 2, 2);
    b.append(all.clone());
    for some in all.chunks(32).take(4) {
        a.append(some.iter().cloned());
        let status = a.compare().await;
        assert_eq!(status.repaired, 0);
        assert!(status.complete_since.is_none());
    }
    a.compare().await;
    assert_eq!(a.compare().await.repaired, 32);
    assert_eq!(a.held(), b.held());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_away_is_no_reason_to_stop() {
    let a = Central::start(config(), Own::default()).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("an address");
    a.meet_at(closed);
    let status = a.compare().await;
    assert!(status.error.is_some_and(|e| e.contains("cannot reach the peer")) && status.complete_since.is_none());
    assert_eq!((a.metric("highwater_peer_up"), a.metric("highwater_peer_complete")), (0.0, 0.0));
    let b = Central::start(config(), Own::default()).await;
    b.append(samples(&["eu"], 1, 1));
    a.meet_at(b.address);
    a.compare().await;
    let status = a.compare().await;
    assert!(status.error.is_none() && status.complete_since.is_some(), "{status:?}");
    assert_eq!(a.held(), b.held());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_central_makes_itself_stays_with_it() {
    let own = || Own { recorded: ["fleet:up:sum".to_owned()].into(), jobs: ["central".to_owned()].into() };
    let (a, b) = (Central::start(config(), own()).await, Central::start(config(), own()).await);
    let with = |config| PeersConfig { centrals: vec![super::support::peer_at(b.address)], ..config };
    a.comparer.update(with(config()), own()).expect("takes it");
    let scraped = model::Labels::from_pairs([("__name__", "up"), ("job", "central")]);
    let made = [series("fleet:up:sum", "eu"), series("ALERTS", "eu"), scraped];
    b.append(made.map(|labels| (labels, T0, 1.0)));
    b.append([(series("region:up:sum", "eu"), T0, 1.0)]);
    a.compare().await;
    let status = a.compare().await;
    assert_eq!((status.error, status.windows_differing, a.held().len()), (None, 0, 1));
    // Other rules: there is nothing to compare until both have them.
    a.comparer.update(with(config()), Own::default()).expect("takes it");
    assert!(a.compare().await.error.is_some_and(|e| e.contains("compares other series")));
    let shorter = PeersConfig { window: Duration::from_secs(300), ..config() };
    a.comparer.update(with(shorter), own()).expect("takes it");
    assert!(a.compare().await.error.is_some_and(|e| e.contains("peers.window")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_knows_itself() {
    let a = Central::start(config(), Own::default()).await;
    a.meet_at(a.address);
    let status = a.compare().await;
    assert!(status.is_self && status.error.is_none());
    let text = String::from_utf8(a.metrics.render()).expect("is text");
    assert!(!text.contains("highwater_peer_up{"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn digests_do_not_depend_on_where_samples_lie() {
    let [a, b] = Central::pair(config()).await;
    let mut all = samples(&["eu", "us"], 9, 4);
    a.append(all.iter().cloned());
    a.store.snapshot(&a.folder.path().join("copy")).expect("seals everything");
    all.reverse();
    for some in all.chunks(97) {
        b.append(some.iter().rev().cloned());
    }
    let digests = |central: &Central| {
        let survey = central.comparer.shared.survey(&central.comparer.shared.plan());
        let parts = survey.shards("us", Span { end_ms: T0 + WINDOW, ..WHOLE }, Shards::FEW).expect("reads");
        (survey.windows(WHOLE, WINDOW).expect("reads"), parts)
    };
    let (windows, parts) = digests(&a);
    assert_eq!((windows.clone(), parts.clone()), digests(&b));
    let sum = parts.values().fold(crate::Digest::default(), |mut sum, part| {
        sum += *part;
        sum
    });
    assert_eq!(windows[0].1["us"], sum, "parts add up to their whole");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_order_and_any_split_is_the_same(
        order in prop::collection::vec((0..6u8, 0..160i64), 1..120),
        seal_at in any::<prop::sample::Index>(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("starts");
        let equal = runtime.block_on(async {
            let [a, b] = Central::pair(config()).await;
            let sample = |(name, step): &(u8, i64)| (series(&name.to_string(), "eu"), T0 + step * 15_000, *step as f64);
            let middle = seal_at.index(order.len());
            order[..middle].iter().for_each(|one| a.append([sample(one)]));
            a.store.snapshot(&a.folder.path().join("copy")).expect("seals everything");
            order[middle..].iter().for_each(|one| a.append([sample(one)]));
            order.iter().rev().for_each(|one| b.append([sample(one)]));
            let windows = |c: &Central| c.comparer.shared.survey(&c.comparer.shared.plan()).windows(WHOLE, WINDOW);
            windows(&a) == windows(&b)
        });
        prop_assert!(equal);
    }
}
