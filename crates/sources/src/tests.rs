//! Stories of whole tables, and hostile headers and files.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use disk::{Disk, SimulatedDisk};
use model::{Labels, TimestampMs};
use proptest::prelude::*;

use super::*;

mod gaps;

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 1440 * MINUTE;
/// Far from zero, so that nothing is complete by chance.
const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

fn name(text: &str) -> SourceName {
    SourceName::parse(text).expect("is a name")
}

fn report(source: &str, watermark: TimestampMs) -> Report {
    Report { source: Some(name(source)), watermark: Some(watermark), ..Report::default() }
}

fn hear(sources: &Sources, report: &Report, now: TimestampMs) {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    sources.observe(&Arrival { address, report, newest: Some(now), samples: 1, bytes: 10, now });
}

fn hear_unnamed(sources: &Sources, last: u8, now: TimestampMs) {
    let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
    sources.observe(&Arrival { address, report: &Report::default(), newest: Some(now), samples: 1, bytes: 10, now });
}

fn named(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

fn behind(sources: &Sources, now: TimestampMs) -> Vec<String> {
    sources.behind(now).iter().map(|b| b.source.to_string()).collect()
}

fn states(sources: &Sources, now: TimestampMs) -> Vec<(String, SourceState)> {
    sources.statuses(now).into_iter().map(|s| (s.source.to_string(), s.state)).collect()
}

#[test]
fn the_watermark_is_the_least_of_inputs_and_live_sources() {
    let sources = Sources::default();
    assert_eq!(sources.watermark(NOW), NOW - 1, "nobody sends");
    hear(&sources, &report("edge/a", NOW - 3 * SECOND), NOW);
    hear(&sources, &report("edge/b", NOW - 40 * SECOND), NOW);
    hear_unnamed(&sources, 1, NOW - 100 * SECOND);
    assert_eq!(sources.watermark(NOW), NOW - 40 * SECOND, "an estimate promises nothing and holds nothing");
    let scrape = sources.inputs().begin(NOW - 50 * SECOND);
    let rules = sources.recordings().begin(NOW - 60 * SECOND);
    assert_eq!(sources.watermark(NOW), NOW - 60 * SECOND - 1);
    assert_eq!(sources.watermark_of_inputs(NOW), NOW - 50 * SECOND - 1, "rules do not wait for rules");
    drop((scrape, rules));
    let held_back = sources.held_back().begin(NOW - 60 * SECOND);
    assert_eq!(sources.watermark(NOW), NOW - 60 * SECOND - 1);
    assert_eq!(sources.watermark_of_inputs(NOW), NOW - 40 * SECOND, "nor for what will be covered");
    drop(held_back);

    // Who lags too much, or is silent, is named and holds nothing back.
    let later = NOW + 90 * SECOND;
    hear(&sources, &report("edge/a", later - SECOND), later);
    assert_eq!(sources.watermark(later), later - SECOND);
    assert_eq!(behind(&sources, later), ["edge/b"]);
    let gone = NOW + 6 * MINUTE;
    hear(&sources, &report("edge/a", gone - SECOND), gone);
    let want = [("edge/a", SourceState::Live), ("edge/b", SourceState::Gone), ("remote/10.0.0.1", SourceState::Gone)];
    assert_eq!(states(&sources, gone), want.map(|(n, s)| (n.to_owned(), s)));
    assert_eq!(behind(&sources, gone), ["edge/b"]);
    assert_eq!(behind(&sources, gone + 2 * DAY), ["edge/b", "edge/a"], "silence is no news after a day either");

    // Two processes of one name, each of which tells of itself alone.
    for (process, lag) in [(1, 50), (2, 3), (1, 50), (2, 2)] {
        hear(&sources, &Report { process: Some(process), ..report("edge/a", gone - lag * SECOND) }, gone);
    }
    assert_eq!(sources.watermark(gone), gone - 50 * SECOND);

    // It went back because it found more to send.
    hear(&sources, &report("edge/a", gone - 60 * SECOND), gone);
    assert_eq!(sources.watermark(gone), gone - 60 * SECOND);
}

#[test]
fn who_sends_elsewhere_is_not_silent() {
    let sources = Sources::default();
    hear(&sources, &report("edge/a", NOW), NOW);
    hear(&sources, &report("edge/b", NOW), NOW);
    hear(&sources, &Report { is_elsewhere: true, ..report("edge/a", NOW) }, NOW);
    hear(&sources, &Report { is_elsewhere: true, ..report("edge/c", NOW) }, NOW);
    let later = NOW + 10 * MINUTE;
    assert_eq!(states(&sources, later), [("edge/b".to_owned(), SourceState::Gone)]);
    assert!(!sources.is_late(&named(&[("metacluster", "a")]), later));
    hear(&sources, &report("edge/a", later), later);
    assert_eq!(states(&sources, later)[0], ("edge/a".to_owned(), SourceState::Live), "it came back");
}

#[test]
fn labels_name_direct_sources_replicas_and_those_below() {
    let sources = Sources::default();
    let late = |labels: &[(&str, &str)], at| sources.is_late(&named(labels), at);
    assert!(!late(&[("region", "eu")], NOW));
    let told = Behind { source: name("edge/cell-7"), watermark: NOW - 10 * MINUTE };
    hear(&sources, &Report { behind: vec![told], ..report("cascade/eu", NOW - SECOND) }, NOW);
    hear(&sources, &report("cascade/us", NOW - SECOND), NOW);
    hear(&sources, &report("edge/both/a", NOW), NOW);
    hear(&sources, &report("edge/both/b", NOW), NOW);
    assert!(late(&[("region", "eu"), ("metacluster", "cell-7")], NOW));
    assert!(late(&[("metacluster", "cell-7")], NOW));
    assert!(!late(&[("region", "us"), ("metacluster", "cell-7")], NOW), "another region's");
    assert!(!late(&[("region", "eu")], NOW) && !late(&[("job", "cell-7")], NOW) && !late(&[], NOW));
    assert!(!late(&[("region", "asia")], NOW), "nobody knows it");

    let later = NOW + 40 * SECOND;
    hear(&sources, &report("edge/both/b", later), later);
    assert!(late(&[("region", "eu"), ("metacluster", "cell-1")], later), "with the region all of it is late");
    assert!(!late(&[("metacluster", "both")], later), "one replica is enough");
    assert_eq!(sources.behind(later + 5 * MINUTE).len(), 5);
    assert!(late(&[("metacluster", "both")], later + MINUTE));
    assert!(!late(&[("metacluster", "both")], later + DAY + MINUTE), "for a day");
}

#[test]
fn a_clock_that_is_wrong_for_long_holds_no_alert() {
    let sources = Sources::default();
    let labels = named(&[("metacluster", "skewed")]);
    for second in 0..400 {
        let now = NOW + second * SECOND;
        hear(&sources, &report("edge/skewed", now - 5 * MINUTE), now);
        assert_eq!(sources.is_late(&labels, now), second < 300, "after {second} s");
    }
    let now = NOW + 400 * SECOND;
    assert_eq!(behind(&sources, now), ["edge/skewed"], "it is named all the same");
    assert!(sources.is_late(&labels, now + 40 * SECOND), "and late when it lags more than it does");
    hear(&sources, &report("edge/skewed", now + 5 * MINUTE), now);
    assert_eq!(sources.statuses(now)[0].lag_ms, Some(0), "nor is the future a lag");
}

#[test]
fn a_query_hears_of_what_is_missing_before_its_end() {
    let sources = Sources::default();
    hear(&sources, &report("edge/a", NOW - 20 * SECOND), NOW);
    hear(&sources, &report("edge/b", NOW - 10 * MINUTE), NOW);
    let names = |end| -> Vec<String> {
        sources.incomplete(end, NOW).into_iter().map(|(behind, _)| behind.source.to_string()).collect()
    };
    assert_eq!(names(NOW), ["edge/b"]);
    assert_eq!(names(TimestampMs::MAX), ["edge/b"]);
    assert_eq!(names(NOW - 10 * MINUTE + 1), ["edge/b"]);
    assert_eq!(names(NOW - 10 * MINUTE), [""; 0]);
    assert_eq!(names(TimestampMs::MIN), [""; 0]);
}

#[test]
fn the_table_is_bounded_and_names_come_before_addresses() {
    let sources = Sources::new(SourceLimits { max_sources: 3, ..SourceLimits::default() });
    (0..5).for_each(|last| hear_unnamed(&sources, last, NOW + i64::from(last)));
    assert_eq!((sources.statuses(NOW).len(), sources.refused()), (3, 2));
    for edge in ["edge/a", "edge/b", "edge/c", "edge/d"] {
        hear(&sources, &report(edge, NOW), NOW);
    }
    let names: Vec<String> = states(&sources, NOW).into_iter().map(|(name, _)| name).collect();
    assert_eq!((names, sources.refused()), (vec!["edge/a".into(), "edge/b".into(), "edge/c".into()], 3));
    hear(&sources, &report("edge/a", NOW + SECOND), NOW + SECOND);
    assert_eq!(sources.refused(), 3, "who is known is heard");
}

fn file() -> PathBuf {
    PathBuf::from("/t/sources")
}

fn a_disk() -> Arc<dyn Disk> {
    let disk = SimulatedDisk::new(1);
    disk.create_folder(Path::new("/t")).expect("makes it");
    Arc::new(disk)
}

#[test]
fn a_table_comes_back_as_it_was() {
    let disk = a_disk();
    let open = |now| Sources::open(SourceLimits::default(), disk.clone(), file(), now);
    let (sources, problem) = open(NOW);
    assert!(problem.is_none() && sources.is_empty());
    let full = Report {
        lane: Some(Lane::Backfill),
        backlog: Some(Backlog { samples: 9, oldest: Some(NOW - DAY) }),
        gaps: vec![Gap { from: TimestampMs(-5), to: TimestampMs(5), samples: 2 }],
        behind: vec![Behind { source: name("edge/a%2Fb"), watermark: NOW - DAY }],
        version: Some("1.2.3".into()),
        gaps_below: gaps::below("edge/a%2Fb", &[(NOW.0, 3), (NOW.0 - 50, 4)]),
        ..report("cascade/e%20u/r", NOW - MINUTE)
    };
    hear(&sources, &full, NOW);
    hear(&sources, &report("cascade/fs", NOW), NOW - DAY);
    hear_unnamed(&sources, 1, NOW);
    sources.save(NOW).expect("writes");
    let rates_aside = |sources: &Sources| {
        let mut statuses = sources.statuses(NOW);
        for direct in statuses.iter_mut().filter_map(|status| status.direct.as_mut()) {
            (direct.samples_per_second, direct.bytes_per_second) = (0.0, 0.0);
        }
        statuses
    };
    let (again, problem) = open(NOW);
    assert!(problem.is_none());
    assert_eq!(rates_aside(&again), rates_aside(&sources));
    assert_eq!(again.statuses(NOW)[0].gap_samples, 2);

    again.save(NOW + DAY + 1).expect("writes");
    let (again, _) = open(NOW + DAY + 1);
    assert_eq!(states(&again, NOW + DAY).len(), 3, "an address is forgotten after a day");
    again.save(NOW + 8 * DAY).expect("writes");
    assert!(open(NOW + 8 * DAY).0.is_empty(), "everybody is after a week");
}

#[test]
fn a_damaged_table_is_put_aside() {
    let disk = a_disk();
    let sources = Sources::open(SourceLimits::default(), disk.clone(), file(), NOW).0;
    hear(&sources, &report("edge/a", NOW), NOW);
    sources.save(NOW).expect("writes");
    let mut bytes = disk.read(&file()).expect("reads").to_vec();
    bytes[30] ^= 1;
    disk::write_whole(disk.as_ref(), &file(), &bytes).expect("writes");
    let (empty, problem) = Sources::open(SourceLimits::default(), disk.clone(), file(), NOW);
    assert!(empty.is_empty());
    assert!(matches!(problem, Some(Problem::Damaged("its checksum is wrong"))), "{problem:?}");
    assert_eq!(disk.read(Path::new("/t/sources.damaged")).expect("is there").to_vec(), bytes);
    let (_, problem) = Sources::open(SourceLimits::default(), disk, file(), NOW);
    assert!(problem.is_none(), "once");
}

fn sent(report: &Report) -> (Vec<(&'static str, String)>, Report) {
    let headers = report.to_headers();
    let by_name: HashMap<&str, String> = headers.iter().cloned().collect();
    let read = Report::from_headers(|name| by_name.get(name).map(String::as_str));
    (headers, read)
}

#[test]
fn headers_look_as_documented() {
    let all = Report {
        lane: Some(Lane::Live),
        backlog: Some(Backlog { samples: 5, oldest: Some(TimestampMs(7)) }),
        gaps: vec![Gap { from: TimestampMs(-2), to: TimestampMs(-1), samples: 3 }],
        behind: vec![Behind { source: name("edge/x/a"), watermark: TimestampMs(-9) }],
        version: Some("0.1.0".into()),
        gaps_below: gaps::below("edge/x/a", &[(-8, 3)]),
        process: Some(0xab),
        is_elsewhere: true,
        ..report("cascade/eu", TimestampMs(1))
    };
    let want = [
        ("highwater-source", "cascade/eu"),
        ("highwater-process", "00000000000000ab"),
        ("highwater-elsewhere", "1"),
        ("highwater-watermark-ms", "1"),
        ("highwater-lane", "live"),
        ("highwater-backlog", "samples=5;oldest_ms=7"),
        ("highwater-version", "0.1.0"),
        ("highwater-gaps", "-2--1=3"),
        ("highwater-behind", "edge/x/a=-9"),
        ("highwater-gaps-below", "edge/x/a=-8-2=3"),
    ];
    let (headers, read) = sent(&all);
    assert_eq!(headers, want.map(|(name, value)| (name, value.to_owned())));
    assert_eq!(read, all);
    assert_eq!(sent(&Report::default()), (Vec::new(), Report::default()));
}

#[test]
fn what_is_malformed_is_ignored_piece_by_piece() {
    let values = [
        ("highwater-source", "edge"),
        ("highwater-process", "+0000000000000ab"),
        ("highwater-watermark-ms", "1e9"),
        ("highwater-lane", "fast"),
        ("highwater-backlog", "samples=3;later=x"),
        ("highwater-gaps", "5-1=2, 1-5=2,,x,1-2=-1,9223372036854775808-1=1"),
        ("highwater-behind", "edge/a=1,edge=2,=,edge/b=x,edge/c=3"),
        ("highwater-gaps-below", "edge/a=1-11=2,edge=1-2=3,edge/b=1=2,edge/c=2-1=3"),
        ("highwater-version", "0.1 0"),
    ];
    let read = Report::from_headers(|name| values.iter().find(|(n, _)| *n == name).map(|(_, v)| *v));
    let want = Report {
        backlog: Some(Backlog { samples: 3, oldest: None }),
        gaps: vec![Gap { from: TimestampMs(1), to: TimestampMs(5), samples: 2 }],
        behind: vec![
            Behind { source: name("edge/a"), watermark: TimestampMs(1) },
            Behind { source: name("edge/c"), watermark: TimestampMs(3) },
        ],
        gaps_below: gaps::below("edge/a", &[(1, 2)]),
        ..Report::default()
    };
    assert_eq!(read, want);
    let long = "x".repeat(MAX_REPORT_BYTES);
    let read = Report::from_headers(|name| Some(if name == LANE_HEADER { "live" } else { long.as_str() }));
    assert_eq!(read, Report { lane: Some(Lane::Live), ..Report::default() });
}

#[test]
fn a_report_fits_into_its_bound_and_loses_its_end_first() {
    let long = |i: usize| SourceName::new("edge", &format!("{i}{}", "ü".repeat(60)), &"é".repeat(60));
    let behind = (0..80).map(|i| Behind { source: long(i), watermark: NOW });
    let gaps = (0..80).map(|i| Gap { from: NOW, to: NOW + i, samples: u64::MAX });
    let report =
        Report { source: Some(long(0)), behind: behind.collect(), gaps: gaps.collect(), ..report("edge/a", NOW) };
    let (headers, read) = sent(&report);
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(bytes <= MAX_REPORT_BYTES, "{bytes}");
    assert_eq!((read.source, read.gaps.len()), (report.source, MAX_GAPS));
    assert!((5..MAX_BEHIND).contains(&read.behind.len()));
    assert_eq!(read.behind[..], report.behind[..read.behind.len()]);
}

proptest! {
    /// Whatever is claimed, in whatever order, at whatever time: nothing panics, and what is shown can be saved.
    #[test]
    fn no_claim_breaks_the_table(
        claims in prop::collection::vec((any::<[String; 9]>(), any::<i64>(), any::<i64>(), 0u8..4), 1..8),
    ) {
        let disk = a_disk();
        let limits = SourceLimits { hold_for: Duration::MAX, forget_after: Duration::MAX, ..SourceLimits::default() };
        let sources = Sources::open(limits, disk.clone(), file(), NOW).0;
        let headers = [
            SOURCE_HEADER, WATERMARK_HEADER, LANE_HEADER, BACKLOG_HEADER, GAPS_HEADER, BEHIND_HEADER, VERSION_HEADER,
            GAPS_BELOW_HEADER, PROCESS_HEADER,
        ];
        let mut last = NOW;
        for (values, watermark, now, source) in claims {
            let read = Report::from_headers(|name| {
                headers.iter().position(|h| *h == name).map(|at| values[at].as_str())
            });
            let told = Report {
                watermark: Some(TimestampMs(watermark)),
                gaps_below: gaps::below(&format!("edge/{now}"), &[(watermark, 1)]),
                ..report(&format!("edge/{source}"), NOW)
            };
            last = TimestampMs(now);
            hear(&sources, &read, last);
            hear(&sources, &told, last);
            let labels = named(&[("metacluster", &source.to_string()), ("region", &values[0])]);
            let _ = (sources.is_late(&labels, last), sources.behind(last), sources.incomplete(last, NOW), sources.gaps_below(last));
            prop_assert!(sources.watermark(last) < last || last == TimestampMs::MIN);
        }
        sources.save(last).expect("writes");
        let shown = sources.statuses(last).len();
        let (again, problem) = Sources::open(limits, disk, file(), TimestampMs::MAX);
        prop_assert!(problem.is_none(), "{:?}", problem);
        prop_assert_eq!(again.statuses(last).len(), shown);
    }

    #[test]
    fn no_text_panics(text in any::<String>(), bytes in any::<Vec<u8>>()) {
        let read = Report::from_headers(|_| Some(&text));
        prop_assert_eq!(sent(&read).1, read);
        let _ = decode_saved(&bytes);
    }
}
