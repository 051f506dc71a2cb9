//! Selecting, order, and statistics.

use std::collections::BTreeSet;

use model::{MatchOp, Matcher, StoredSeries, TimeRange, TimestampMs};
use postings::MatchCache;

use super::{OPEN, append, labels, names, options, samples_of};
use crate::{Head, HeadSeries};

const ALL: TimeRange = TimeRange::ALL;

fn filled(series: std::ops::Range<usize>) -> Head {
    let head = Head::new(options());
    add(&head, series);
    head
}

fn add(head: &Head, series: std::ops::Range<usize>) {
    let rows: Vec<_> = series.map(|s| (s, s as i64, 1.0)).collect();
    append(head, &rows, 0, &OPEN);
}

#[test]
fn selects_what_matches_in_label_order() {
    let head = filled(0..3000);
    let cache = MatchCache::new(1 << 20);
    let check = |matchers: &[Matcher]| {
        let selected = names(&head.select(matchers, ALL, &cache));
        let mut expected: Vec<_> = (0..3000).map(labels).filter(|l| model::matches_all(matchers, l)).collect();
        expected.sort();
        assert_eq!(selected, expected, "{matchers:?}");
    };
    let matcher = |op, name: &str, value: &str| Matcher::new(op, name, value).expect("compiles");
    check(&[]);
    check(&[Matcher::equal("__name__", "m")]);
    check(&[Matcher::equal("series", "17")]);
    check(&[Matcher::equal("parity", "")]);
    check(&[matcher(MatchOp::Regex, "series", "1.*7"), matcher(MatchOp::NotEqual, "zone", "odd")]);
    check(&[matcher(MatchOp::NotRegex, "series", ".*[0-8]"), Matcher::equal("__name__", "n")]);
    check(&[Matcher::equal("missing", "x")]);
    // New values are found by what was cached, too.
    add(&head, 3000..3003);
    let found = head.select(&[matcher(MatchOp::Regex, "series", "1.*7|3002")], ALL, &cache);
    assert!(names(&found).contains(&labels(3002)));
}

#[test]
fn order_holds_with_ranks_without_and_in_between() {
    let head = filled(0..500);
    let cache = MatchCache::new(1 << 20);
    let check = |count: usize| {
        let mut expected: Vec<_> = (0..count).map(labels).collect();
        expected.sort();
        assert_eq!(names(&head.select(&[], ALL, &cache)), expected);
        let matchers = [Matcher::equal("series", "123")];
        assert_eq!(head.select(&matchers, ALL, &cache).len(), 1);
    };
    check(500);
    head.refresh_order();
    check(500);
    add(&head, 500..520);
    check(520);
    // Too many to be sorted by their labels.
    add(&head, 520..6000);
    check(6000);
    // A cut keeps the order of those that stay.
    head.refresh_order();
    let frozen = head.freeze();
    head.release(frozen);
    add(&head, 1000..3000);
    let prepared = head.prepare_cut();
    head.cut(prepared);
    assert_eq!(head.series(), 2000);
    let mut expected: Vec<_> = (1000..3000).map(labels).collect();
    expected.sort();
    assert_eq!(names(&head.select(&[], ALL, &cache)), expected);
}

#[test]
fn handles_outlive_what_the_head_forgets() {
    let head = filled(0..10);
    let cache = MatchCache::new(1 << 20);
    let selected = head.select(&[], ALL, &cache);
    let frozen = head.freeze();
    assert_eq!(frozen.bounds(), Some((TimestampMs(0), TimestampMs(9))));
    head.release(frozen);
    let prepared = head.prepare_cut();
    head.cut(prepared);
    add(&head, 20..30);
    let mut expected: Vec<_> = (0..10).map(labels).collect();
    expected.sort();
    assert_eq!(names(&selected), expected);
}

#[test]
fn only_series_within_the_range_are_selected() {
    let head = filled(0..100);
    let cache = MatchCache::new(1 << 20);
    let range = TimeRange { start: TimestampMs(10), end: TimestampMs(19) };
    let selected = head.select(&[], range, &cache);
    assert_eq!(selected.len(), 10);
    assert!(selected.iter().all(|series| samples_of(series, range).len() == 1));
}

#[test]
fn strays_of_any_order_are_kept() {
    let head = Head::new(options());
    // Backwards, then in a stride that lands everywhere: more than one chunk of strays, and more than are merged.
    let mut rows: Vec<_> = (0..3000).rev().map(|t| (0, t * 2, t as f64)).collect();
    rows.extend((0..3000).map(|t| (0, (t * 1237 % 3000) * 2 + 1, 0.5)));
    let (report, _) = append(&head, &rows, 0, &OPEN);
    assert_eq!(report.appended, 6000);
    let (report, _) = append(&head, &rows, 0, &OPEN);
    assert_eq!((report.appended, report.duplicates), (0, 6000));
    let selected = head.select(&[], ALL, &MatchCache::new(1 << 20));
    let times: Vec<i64> = samples_of(&selected[0], ALL).into_iter().map(|(t, _)| t).collect();
    assert!(times.into_iter().eq(0..6000));
}

#[test]
fn a_freeze_that_was_not_released_is_part_of_the_next() {
    let head = filled(0..10);
    drop(head.freeze());
    append(&head, &[(3, 100, 2.0)], 0, &OPEN);
    let frozen = head.freeze();
    assert_eq!((frozen.len(), frozen.samples()), (10, 11));
    assert_eq!(frozen.bounds(), Some((TimestampMs(0), TimestampMs(100))));
    append(&head, &[(4, 200, 2.0)], 0, &OPEN);
    head.release(frozen);
    assert_eq!(head.samples(), 1);
    assert_eq!(head.bounds(), Some((TimestampMs(200), TimestampMs(200))));
}

#[test]
fn labels_are_counted() {
    let head = filled(0..300);
    assert_eq!(head.names(), ["__name__", "parity", "series", "zone"]);
    assert_eq!(head.values("parity"), ["even", "odd"]);
    assert_eq!(head.values("nothing"), Vec::<String>::new());
    let top = head.cardinality(2);
    assert_eq!(top.series_by_metric, [("m".to_owned(), 200), ("n".to_owned(), 100)]);
    assert_eq!(top.values_by_name, [("series".to_owned(), 300), ("__name__".to_owned(), 2)]);
    assert_eq!(top.series_by_pair.len(), 2);
    assert_eq!(top.series_by_pair[0], ("__name__=m".to_owned(), 200));
    assert_eq!(
        top.bytes_by_name.first().map(|(name, bytes)| (&name[..], *bytes)),
        Some(("series", 10 + 90 * 2 + 200 * 3))
    );
    assert_eq!(top.pairs, 306);
    let cache = MatchCache::new(1 << 20);
    let selected = head.select(&[Matcher::equal("__name__", "n")], ALL, &cache);
    assert_eq!(HeadSeries::names_of(&selected), BTreeSet::from(["__name__".into(), "series".into()]));
    assert_eq!(HeadSeries::values_of(&selected, "series").len(), 100);
    assert_eq!(HeadSeries::values_of(&selected, "zone").len(), 0);
    assert_eq!(selected[0].labels().metric_name(), "n");
}

#[test]
fn memory_is_given_back() {
    let head = Head::new(options());
    let rows = |step: i64| -> Vec<_> { (0..2000).map(|s| (s, step * 15_000, step as f64)).collect() };
    append(&head, &rows(0), 0, &OPEN);
    let empty = head.freeze();
    head.release(empty);
    let before = head.memory_bytes();
    (1..100).for_each(|step| assert_eq!(append(&head, &rows(step), 0, &OPEN).0.appended, 2000));
    assert!(head.memory_bytes() > before + 2000 * 30);
    let frozen = head.freeze();
    head.release(frozen);
    assert_eq!(head.memory_bytes(), before);
}
