//! Samples that come after their time was sealed, from many senders at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::support::{HOUR, MINUTE, NOW, World, append, everything, put, recovered};

const SENDERS: i64 = 3;
const TIMES: i64 = 480;
const START: i64 = NOW - 4 * HOUR;

/// Where the `n`th sample of a sender lies: all of them visit every half minute, each in an order of its own.
fn time(sender: i64, n: i64) -> i64 {
    // Numbers without a common divisor with that of times.
    START + n * [7, 11, 13][sender as usize] % TIMES * MINUTE / 2
}

/// Of several values for one time, all late, one is stored, and its sender alone is told so, whatever is being sealed or
/// joined meanwhile. Sealed samples stay as they are.
#[test]
fn of_contending_late_samples_one_is_stored() {
    let world = World::with(|options| options.max_head_samples = 50);
    let store = world.open();
    // Every other minute is in blocks already, so that neither blocks nor what is known of their times says all.
    let sealed: Vec<i64> = (0..240).step_by(2).map(|minute| START + minute * MINUTE).collect();
    sealed.iter().for_each(|at| put(&store, &[("a", *at, -1.0)]));
    store.close().expect("closes");
    let store = world.open();
    assert_eq!(store.statistics().head_samples, 0);
    let sending = AtomicBool::new(true);
    let send = |sender: i64| {
        let mut won = Vec::new();
        for n in 0..TIMES {
            let at = time(sender, n);
            let report = append(&store, &[("a", at, sender as f64)]).expect("can be written");
            assert_eq!(report.appended + report.refused.len(), 1, "{report:?}");
            if report.appended == 1 {
                won.push((at, sender as f64));
            }
            // What was told holds when it is asked again.
            let again = append(&store, &[("a", at, sender as f64)]).expect("can be written");
            assert_eq!((again.appended, again.duplicates), (0, report.appended), "{again:?}");
        }
        won
    };
    let winners: Vec<(i64, f64)> = std::thread::scope(|scope| {
        let (store, sending, send) = (&*store, &sending, &send);
        scope.spawn(move || {
            while sending.load(Ordering::Acquire) {
                store.maintain();
            }
        });
        let senders: Vec<_> = (0..SENDERS).map(|sender| scope.spawn(move || send(sender))).collect();
        let won = senders.into_iter().map(|sender| sender.join());
        let won: Vec<_> = won.collect();
        sending.store(false, Ordering::Release);
        won.into_iter().flat_map(|won| won.expect("sends")).collect()
    });
    assert!(store.statistics().seals.done > 0, "{:?}", store.statistics());
    let mut want: BTreeMap<i64, u64> = sealed.iter().map(|at| (*at, (-1.0f64).to_bits())).collect();
    for (at, value) in winners {
        assert_eq!(want.insert(at, value.to_bits()), None, "two were told that theirs is stored at {at}");
    }
    assert_eq!(want.len() as i64, TIMES);
    assert_eq!(everything(&store)["a"], want);
    world.disk.kill();
    let store = world.open();
    recovered(&store);
    assert_eq!(everything(&store)["a"], want);
}
