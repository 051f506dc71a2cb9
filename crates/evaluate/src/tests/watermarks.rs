//! Groups that wait for those who send, and alerts of those who are late.

use std::net::{IpAddr, Ipv4Addr};

use model::{Queryable, SampleBuffer, Selection, TimeRange};
use query_gate::{GateOptions, QueryGate};
use rules::External;
use sources::{Arrival, Report, SourceLimits, SourceName, Sources};

use super::*;
use crate::{RuleManager, RuleManagerOptions};

const RULES: &str = "groups:\n- {name: g, interval: 20ms, rules: [{record: r, expr: '1'}]}\n";
const MISSED: &str = r#"prometheus_rule_group_iterations_missed_total{rule_group="r.yml;g"}"#;

struct World {
    supervisor: Supervisor,
    metrics: Metrics,
    memory: Arc<Memory>,
    sources: Arc<Sources>,
}

impl World {
    fn new(limits: SourceLimits) -> Self {
        let metrics = Metrics::new("test").expect("is new");
        let sources = Arc::new(Sources::new(limits));
        Self { supervisor: Supervisor::new(), metrics, memory: Arc::default(), sources }
    }

    fn start(&self, text: &str, max_watermark_wait: Duration) -> RuleManager {
        let size = GateOptions { slots: 2, max_waiting: 0 };
        let options = RuleManagerOptions {
            engine: engine(),
            storage: self.memory.clone(),
            sink: self.memory.clone(),
            notifier: None,
            external: External::default(),
            gate: QueryGate::new(size, &self.metrics).expect("is registered once"),
            sources: self.sources.clone(),
            max_watermark_wait,
        };
        RuleManager::start(&self.supervisor, &self.metrics, options, groups(text)).expect("starts")
    }

    /// The source of the cell `a` tells that it is complete up to here.
    fn told(&self, watermark: TimestampMs) {
        let report = Report { source: SourceName::parse("edge/a"), watermark: Some(watermark), ..Report::default() };
        let (address, now) = (IpAddr::V4(Ipv4Addr::LOCALHOST), runtime::now());
        self.sources.observe(&Arrival { address, report: &report, newest: None, samples: 0, bytes: 0, now });
    }

    /// The timestamps of what `r` recorded.
    fn recorded(&self) -> Vec<i64> {
        let matchers = [model::Matcher::equal("__name__", "r")];
        let selection = Selection { matchers: &matchers, range: TimeRange::ALL, hints: model::Hints::default() };
        let mut samples = SampleBuffer::default();
        for series in self.memory.select(&selection).expect("reads") {
            series.read(TimeRange::ALL, &mut samples).expect("reads");
        }
        samples.timestamps
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn evaluations_wait_for_live_sources_and_none_is_left_out() {
    let world = World::new(SourceLimits::default());
    let complete = runtime::now() + 100;
    world.told(complete);
    let _manager = world.start(RULES, Duration::from_secs(60));
    eventually("time passes", || runtime::now() > complete + 400).await;
    assert!(world.recorded().iter().all(|at| *at <= complete.0), "nothing is evaluated that is not complete");
    assert!(world.sources.watermark(runtime::now()) <= complete, "who waits is registered");
    let before = world.recorded().len();
    world.told(runtime::now());
    eventually("it makes up for what it waited for", || world.recorded().len() >= before + 15).await;
    let distances: Vec<i64> = world.recorded().windows(2).map(|pair| pair[1] - pair[0]).collect();
    let first = before.saturating_sub(1);
    assert!(distances[first..first + 14].iter().all(|distance| *distance == 20), "{distances:?}");
    assert_eq!(metric(&world.metrics, MISSED), Some(0.0));
    world.supervisor.stop(Duration::from_secs(10)).await;
    assert_eq!(world.supervisor.failed(), None);
    assert_eq!(world.sources.recordings().registered(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn they_wait_for_what_runs_here_and_no_longer_than_the_bound() {
    let world = World::new(SourceLimits::default());
    let began = runtime::now();
    let scrape = world.sources.inputs().begin(began);
    let _manager = world.start(RULES, Duration::from_millis(200));
    eventually("it goes on without the scrape", || world.recorded().len() >= 3).await;
    assert!(runtime::now() - began >= 200, "it waited");
    assert_eq!(metric(&world.metrics, MISSED), Some(0.0));
    assert!(world.sources.watermark(runtime::now()) < began, "it is no more complete for that");
    drop(scrape);
    eventually("it is on time again", || world.recorded().last().is_some_and(|at| runtime::now().0 - at < 100)).await;
    world.supervisor.stop(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_of_a_silent_source_are_held_and_counted() {
    let limits = SourceLimits { live_within: Duration::ZERO, late_after: Duration::ZERO, ..SourceLimits::default() };
    let world = World::new(limits);
    world.told(runtime::now());
    let mut batch = Batch::default();
    for cell in ["a", "b"] {
        let labels = Labels::from_pairs([("__name__", "x"), ("metacluster", cell)]);
        batch.push(labels, Sample { timestamp: runtime::now(), value: 1.0 });
    }
    world.memory.append(&batch).expect("takes samples");
    let manager =
        world.start("groups:\n- {name: g, interval: 20ms, rules: [{alert: A, expr: x > 0}]}\n", Duration::ZERO);
    eventually("both fire", || manager.active_alerts().len() == 2).await;
    for row in &mut batch.rows {
        row.sample = Sample { timestamp: runtime::now(), value: model::stale_nan() };
    }
    world.memory.append(&batch).expect("takes samples");
    let held = r#"highwater_rules_held_alerts{rule_group="r.yml;g"}"#;
    eventually("one is held", || metric(&world.metrics, held) == Some(1.0)).await;
    let left = manager.active_alerts();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].labels.get("metacluster"), Some("a"));
    world.supervisor.stop(Duration::from_secs(10)).await;
}
