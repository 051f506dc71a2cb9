//! Requests of all kinds: what is passed on, and what is answered for each row.

use std::sync::Arc;

use model::{
    Append, AppendError, Batch, Commit, EncodedBatch, EncodedHistogram, EncodedRow, Exemplar, ExemplarRow,
    HistogramRow, Labels, MetricKind, MetricMetadata, Refusal, RefusalReason, Sample, TimestampMs, Value,
};

use super::support::{Lines, Memory, World};
use crate::ReplicasOptions;

fn row(labels: &str, at: i64, value: f64) -> EncodedRow<'_> {
    EncodedRow { labels: labels.as_bytes(), sample: Sample { timestamp: TimestampMs(at), value } }
}

fn names(world: &World) -> Vec<String> {
    world.memory.series.lock().keys().cloned().collect()
}

#[test]
fn refusals_name_the_rows_of_the_request() {
    for is_spelled in [true, false] {
        let world = World::default();
        world.set(100_000);
        let rows = [
            row("__name__=plain", 1_000, 1.0),
            row("__name__=m\nreplica=a", 1_000, 1.0),
            row("__name__=m\nreplica=b", 1_100, 1.0),
            row("__name__=plain", 2_000, -1.0),
            row("__name__=n\nreplica=a", 1_000, -1.0),
            row("rubbish with replica", 1_000, 1.0),
            row("__name__=plain", 3_000, 1.0),
            row("__name__=m\nreplica=a", 2_000, -1.0),
        ];
        let metadata = [MetricMetadata {
            family: "m".to_owned(),
            kind: MetricKind::Counter,
            help: "counts".to_owned(),
            unit: String::new(),
        }];
        let batch =
            EncodedBatch { rows: &rows, context: b"lines", decoder: &Lines { is_spelled }, metadata: &metadata };
        for round in 0..2 {
            let report = world.replicas.append_encoded(&batch).expect("takes them");
            let refused: Vec<_> = report.refused.iter().map(|refusal| refusal.row).collect();
            assert_eq!(refused, [3, 4, 5, 7]);
            assert_eq!(report.refused[2], Refusal { row: 5, reason: RefusalReason::InvalidLabels });
            assert_eq!((report.appended, report.duplicates), if round == 0 { (3, 1) } else { (0, 4) });
            assert_eq!(report.commit, Commit(9));
        }
        assert_eq!(names(&world), ["m", "plain"]);
        assert_eq!(world.memory.metadata.lock().len(), 2, "once per request");
    }
}

#[test]
fn rows_that_name_no_replica_pass_untouched() {
    let world = World::default();
    let rows = [
        row("__name__=kube_deployment_status_replicas_available", 1_000, 1.0),
        row("__name__=up\nreplicas=3", 1_000, 1.0),
        row("__name__=up\nx=replica", 1_100, -1.0),
    ];
    for is_spelled in [true, false] {
        let batch = EncodedBatch { rows: &rows, context: b"lines", decoder: &Lines { is_spelled }, metadata: &[] };
        let report = world.replicas.append_encoded(&batch).expect("takes them");
        assert_eq!(report.refused, [Refusal { row: 2, reason: RefusalReason::OutOfBounds }]);
    }
    assert_eq!(names(&world), ["kube_deployment_status_replicas_available", "up{replicas=\"3\"}"]);
    assert_eq!(world.replicas.statistics(), crate::Statistics::default());
}

#[test]
fn without_labels_nothing_is_merged() {
    let options = ReplicasOptions { labels: Vec::new(), ..ReplicasOptions::default() };
    let world = World::with(Arc::new(Memory::default()), &options);
    world.send(&[("a", 1_000), ("b", 1_100)]);
    assert_eq!(names(&world).len(), 2);
}

#[test]
fn decoded_rows_histograms_and_exemplars_lose_the_label_too() {
    let world = World::default();
    world.set(1_000_000);
    let labels = |replica: &str| Labels::from_pairs([("__name__", "h"), ("prometheus_replica", replica)]);
    let mut batch = Batch::default();
    let histogram = |byte: u8| EncodedHistogram::new(&[byte]).expect("is short enough");
    let mut histograms = Vec::new();
    let mut exemplars = Vec::new();
    for (replica, offset) in [("a", 0), ("b", 3_000)] {
        for at in (100_000..200_000).step_by(10_000).map(|at| at + offset) {
            let timestamp = TimestampMs(at);
            batch.push(Labels::from_pairs([("__name__", "f"), ("replica", replica)]), Sample { timestamp, value: 1.0 });
            histograms.push(HistogramRow { labels: labels(replica), timestamp, histogram: histogram(1) });
            let exemplar = Exemplar { labels: Labels::empty(), value: 1.0, timestamp };
            exemplars.push(ExemplarRow { series: labels(replica), exemplar });
        }
    }
    let report = world.replicas.append(&batch).expect("takes them");
    assert_eq!((report.appended, report.duplicates), (10, 10));
    let report = world.replicas.append_histograms(&histograms).expect("takes them");
    assert_eq!((report.appended, report.duplicates), (10, 10));
    let report = world.replicas.append_exemplars(&exemplars).expect("takes them");
    assert_eq!(report.appended, 20);
    assert_eq!(names(&world), ["f", "h"]);
    assert!(world.memory.exemplars.lock().iter().all(|row| row.series.to_string() == "h"));
    // The next process finds histograms in the store like samples.
    let next = World::after(world.memory.clone());
    next.set(1_000_000);
    next.replicas.append_histograms(&histograms[10..]).expect("takes them");
    let kept = next.memory.series.lock()["h"].1.len();
    assert_eq!(kept, 10);
    assert!(next.memory.series.lock()["h"].1.values().all(|value| *value == Value::Histogram(histogram(1))));
}

#[test]
fn what_was_held_back_is_not_lost_when_the_store_cannot_write() {
    let world = World::default();
    world.send(&[("a", 100_000), ("b", 107_000), ("a", 110_000), ("b", 117_000), ("a", 120_000), ("b", 127_000)]);
    *world.memory.fails.lock() = Some(AppendError::Closed);
    let labels = "__name__=up\ninstance=i\nreplica=b";
    let rows = [row(labels, 137_000, 1.0)];
    let batch = EncodedBatch { rows: &rows, context: b"lines", decoder: &Lines { is_spelled: true }, metadata: &[] };
    for _ in 0..2 {
        assert_eq!(world.replicas.append_encoded(&batch), Err(AppendError::Closed));
    }
    assert_eq!(world.replicas.maintain(), Err(AppendError::Closed));
    *world.memory.fails.lock() = None;
    world.replicas.maintain().expect("stores");
    assert_eq!(world.memory.times(), [100_000, 110_000, 120_000, 127_000]);
    assert_eq!(world.replicas.append_encoded(&batch).expect("takes it").appended, 1);
    assert_eq!(world.memory.times(), [100_000, 110_000, 120_000, 127_000, 137_000]);
}

#[test]
fn covered_samples_are_not_acknowledged_while_the_store_cannot_write() {
    let world = World::default();
    world.send(&[("a", 100_000), ("a", 110_000)]);
    *world.memory.fails.lock() = Some(AppendError::Closed);
    let rows = [row("__name__=up\ninstance=i\nreplica=b", 113_000, 1.0)];
    let batch = EncodedBatch { rows: &rows, context: b"lines", decoder: &Lines { is_spelled: true }, metadata: &[] };
    assert_eq!(world.replicas.append_encoded(&batch), Err(AppendError::Closed));
}

#[test]
fn beyond_the_limit_the_label_goes_all_the_same_and_idle_series_make_room() {
    let options = ReplicasOptions { max_series: 1, ..ReplicasOptions::default() };
    let world = World::with(Arc::new(Memory::default()), &options);
    let two = |at| [row("__name__=m\nreplica=a", at, 1.0), row("__name__=n\nreplica=a", at, 1.0)];
    assert_eq!(world.send_rows(&two(1_000)).appended, 2);
    assert_eq!(names(&world), ["m", "n"]);
    let counts = world.replicas.statistics();
    assert_eq!((counts.series, counts.untracked), (1, 1));
    world.set(2_000_000);
    world.replicas.maintain().expect("has nothing to store");
    assert_eq!(world.replicas.statistics().series, 0);
    assert_eq!(world.send_rows(&[row("__name__=n\nreplica=b", 2_000_000, 1.0)]).appended, 1);
    assert!(world.send_rows(&two(2_010_000)).refused.is_empty());
    let counts = world.replicas.statistics();
    assert_eq!((counts.series, counts.untracked), (1, 2));
}

#[test]
fn many_replicas_of_one_series_are_followed_within_bounds() {
    let world = World::default();
    let names: Vec<String> = (0..30).map(|n| format!("r{n}")).collect();
    for at in (100_000..400_000).step_by(10_000) {
        let samples: Vec<_> = names.iter().enumerate().map(|(n, name)| (name.as_str(), at + n as i64)).collect();
        world.send(&samples);
    }
    assert_eq!(world.memory.times(), (100_000..400_000).step_by(10_000).collect::<Vec<_>>());
}
