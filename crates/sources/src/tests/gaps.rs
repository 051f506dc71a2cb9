//! What sources dropped, told from tier to tier.

use super::*;

/// Gaps of ten milliseconds: when they begin, and of how many samples.
pub(super) fn below(source: &str, gaps: &[(i64, u64)]) -> Vec<GapBelow> {
    let gap = |&(from, samples): &(i64, u64)| Gap { from: TimestampMs(from), to: TimestampMs(from) + 10, samples };
    gaps.iter().map(|of| GapBelow { source: name(source), gap: gap(of) }).collect()
}

#[test]
fn gaps_are_counted_once_however_often_they_are_told() {
    let sources = Sources::default();
    let gap = |from: i64, samples| Gap { from: TimestampMs(from), to: TimestampMs(from + 10), samples };
    let total = |gaps: Vec<Gap>| {
        hear(&sources, &Report { gaps, ..report("edge/a", NOW) }, NOW);
        sources.statuses(NOW)[0].gap_samples
    };
    assert_eq!(total(vec![gap(100, 5)]), 5);
    assert_eq!(total(vec![gap(200, 7), gap(100, 5)]), 12);
    assert_eq!(total(vec![gap(200, 9), gap(100, 5)]), 14, "it grew");
    assert_eq!(total(Vec::new()), 14);
    assert_eq!(total((1..=16).rev().map(|i| gap(1000 * i, 1)).collect()), 30);
    assert_eq!(total(vec![gap(100, 5)]), 30, "forgotten, but counted");
}

#[test]
fn what_an_edge_dropped_is_known_at_the_top() {
    let (cascade, central) = (Sources::default(), Sources::default());
    let gap = Gap { from: NOW - MINUTE, to: NOW, samples: 5 };
    hear(&cascade, &Report { gaps: vec![gap], ..report("edge/a", NOW) }, NOW);
    let tell = |now| {
        let told = Report { gaps_below: cascade.gaps_below(now), ..report("cascade/eu", now) };
        hear(&central, &sent(&told).1, now);
    };
    let shown = |now| -> Vec<(String, SourceState, u64)> {
        let shown = |s: SourceStatus| (s.source.to_string(), s.state, s.gap_samples);
        central.statuses(now).into_iter().map(shown).collect()
    };
    tell(NOW);
    tell(NOW + SECOND);
    let want = |state, samples| vec![("cascade/eu".to_owned(), state, 0), ("edge/a".to_owned(), state, samples)];
    assert_eq!(shown(NOW + SECOND), want(SourceState::Live, 5));
    assert_eq!(central.statuses(NOW)[1].via, Some(name("cascade/eu")));
    assert_eq!(central.statuses(NOW)[1].gaps, [gap]);
    assert_eq!(shown(NOW + 10 * MINUTE), want(SourceState::Gone, 5), "nobody knows better");
    assert_eq!(central.gaps_below(NOW), [GapBelow { source: name("edge/a"), gap }], "and further up");

    // Where it lags as well it is listed once.
    hear(&cascade, &Report { gaps: vec![Gap { samples: 9, ..gap }], ..report("edge/a", NOW) }, NOW + 5 * MINUTE);
    let behind = cascade.behind(NOW + 5 * MINUTE);
    let told = Report { behind, gaps_below: cascade.gaps_below(NOW), ..report("cascade/eu", NOW) };
    hear(&central, &told, NOW);
    let lagging = central.statuses(NOW);
    assert_eq!((lagging.len(), lagging[1].state, lagging[1].gap_samples), (2, SourceState::Behind, 9));

    // A week later it is history.
    let later = NOW + 7 * DAY + MINUTE;
    assert_eq!(cascade.gaps_below(later), []);
    hear(&central, &report("cascade/eu", later), later);
    central.save(later).expect("has no file");
    assert_eq!(shown(later).len(), 1);
}

#[test]
fn nobodys_gap_is_kept_quiet_by_those_of_others() {
    let (cascade, central) =
        (Sources::default(), Sources::new(SourceLimits { max_sources: 90, ..SourceLimits::default() }));
    for n in 0..100 {
        let gaps = vec![Gap { from: NOW - n, to: NOW, samples: 1 }];
        hear(&cascade, &Report { gaps, ..report(&format!("edge/{n}"), NOW) }, NOW);
    }
    for second in 0..7 {
        let now = NOW + second * SECOND;
        assert!(cascade.gaps_below(now).len() <= MAX_GAPS);
        hear(&central, &Report { gaps_below: cascade.gaps_below(now), ..report("cascade/eu", now) }, now);
    }
    assert_eq!(central.statuses(NOW).len(), 1 + 90, "all of them, as far as there is room");
}

#[test]
fn a_table_of_an_earlier_version_is_read() {
    let line = "cascade/eu 127.0.0.1 1 2 3 4 5 live samples=0 7 10-20=7 8 9 0.1.0 -\n";
    let text = format!("highwater sources 1\n{line}");
    let text = format!("{text}crc32c {:08x}\n", crc32c::crc32c(text.as_bytes()));
    assert_eq!(decode_saved(text.as_bytes()), Ok(1));
}
