//! Groups on real timers.

use super::*;
use crate::{Notifier, RuleManager, RuleManagerOptions};
use query_gate::{Caller, GateOptions, QueryGate};
use rules::External;
use rules::status::{AlertState, Health, RuleStatus};

struct World {
    supervisor: Supervisor,
    metrics: Metrics,
    memory: Arc<Memory>,
    sources: Arc<sources::Sources>,
}

impl World {
    fn new() -> Self {
        Self {
            supervisor: Supervisor::new(),
            metrics: Metrics::new("test").expect("is new"),
            memory: Arc::default(),
            sources: Arc::default(),
        }
    }

    fn start(&self, notifier: Option<Notifier>, text: &str) -> RuleManager {
        let options = RuleManagerOptions {
            engine: engine(),
            storage: self.memory.clone(),
            sink: self.memory.clone(),
            notifier,
            external: external(),
            gate: gate(2, &self.metrics),
            sources: self.sources.clone(),
            max_watermark_wait: Duration::from_secs(30),
        };
        RuleManager::start(&self.supervisor, &self.metrics, options, groups(text)).expect("starts")
    }
}

fn external() -> External {
    External { labels: Labels::from_pairs([("region", "eu")]), url: "http://h".into() }
}

fn state(manager: &RuleManager, group: usize, rule: usize) -> AlertState {
    match manager.status().get(group).and_then(|g| g.rules.get(rule)) {
        Some(RuleStatus::Alerting(rule)) => rule.state,
        other => panic!("not an alerting rule: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn evaluates_on_time_and_sends_alerts() {
    let world = World::new();
    let routers = [FakeRouter::default(), FakeRouter::default()];
    let servers = Supervisor::new();
    let addresses = [routers[0].serve(&servers).await, routers[1].serve(&servers).await];
    let text = format!("alerting: {{alertmanagers: [{{static_configs: [{{targets: {addresses:?}}}]}}]}}");
    let alerting = decode(&text).expect("is valid").alerting;
    let notifier = Notifier::start(&world.supervisor, &world.metrics, external().labels, alerting).expect("starts");
    put(&world.memory, runtime::now(), "up", 0.0);
    let manager = world.start(
        Some(notifier),
        "groups:\n- name: g\n  interval: 50ms\n  rules:\n  - {record: r, expr: up + 1}\n  - {alert: Down, expr: r == 1, for: 100ms}\n",
    );
    assert_eq!(manager.status()[0].rules.len(), 2, "known before the first evaluation");
    for router in &routers {
        eventually("both routers hear of it", || router.count() > 0).await;
    }
    assert_eq!(routers[0].posted.lock()[0]["labels"]["region"], "eu");
    assert_eq!(manager.active_alerts().len(), 1);
    let group = &manager.status()[0];
    assert!(group.last_evaluation.is_some_and(|at| at <= runtime::now()));
    assert!(matches!(&group.rules[0], RuleStatus::Recording(rule) if rule.health == Health::Ok));
    assert!(metric(&world.metrics, r#"prometheus_rule_evaluations_total{rule_group="r.yml;g"}"#) >= Some(4.0));
    world.supervisor.stop(Duration::from_secs(10)).await;
    assert_eq!(world.supervisor.failed(), None);
    servers.stop(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_what_it_can() {
    let world = World::new();
    put(&world.memory, runtime::now(), "up", 0.0);
    let kept = "- {name: kept, interval: 50ms, rules: [{alert: Down, expr: up == 0, for: 1h}]}\n";
    let manager = world.start(
        None,
        &format!("groups:\n{kept}- name: old\n  interval: 50ms\n  rules:\n  - {{alert: Slow, expr: up == 0, for: 1h}}\n  - {{record: gone, expr: up}}\n"),
    );
    eventually("both pend", || {
        state(&manager, 0, 0) == AlertState::Pending && state(&manager, 1, 0) == AlertState::Pending
    })
    .await;
    eventually("it is recorded", || !values(&world.memory, "gone").is_empty()).await;
    let since = |manager: &RuleManager| -> Vec<_> { manager.active_alerts().iter().map(|a| a.active_at).collect() };
    let before = since(&manager);
    let new =
        format!("groups:\n{kept}- {{name: new, interval: 50ms, rules: [{{alert: Slow, expr: up < 1, for: 1h}}]}}\n");
    manager.update(external(), groups(&new)).await;
    assert_eq!(manager.status().iter().map(|g| g.name.as_str()).collect::<Vec<_>>(), ["kept", "new"]);
    assert_eq!(since(&manager), before);
    assert_eq!(values(&world.memory, "gone").last(), Some(&None), "it ended with a marker");
    eventually("the new group runs", || manager.status()[1].last_evaluation.is_some()).await;
    assert_eq!(since(&manager), before);
    assert_eq!(metric(&world.metrics, r#"prometheus_rule_group_rules{rule_group="r.yml;old"}"#), None);
    let series = r#"ALERTS{alertname="Down", alertstate="pending"}"#;
    eventually("it has a series", || !values(&world.memory, series).is_empty()).await;
    manager.update(external(), Vec::new()).await;
    assert_eq!(manager.status(), []);
    assert_eq!(values(&world.memory, series).last(), Some(&None));
    world.supervisor.stop(Duration::from_secs(10)).await;
    assert_eq!(world.supervisor.failed(), None);
}

fn gate(slots: usize, metrics: &Metrics) -> QueryGate {
    QueryGate::new(GateOptions { slots, max_waiting: 0 }, metrics).expect("is registered once")
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_that_pass_while_it_waits_are_counted_as_missed() {
    let world = World::new();
    let gate = gate(1, &world.metrics);
    let pass = gate.enter(&Caller::default()).await.expect("is free");
    let options = RuleManagerOptions {
        engine: engine(),
        storage: world.memory.clone(),
        sink: world.memory.clone(),
        notifier: None,
        external: external(),
        gate,
        sources: world.sources.clone(),
        max_watermark_wait: Duration::from_secs(30),
    };
    let text = "groups:\n- {name: g, interval: 20ms, rules: [{record: r, expr: '1'}]}\n";
    let manager = RuleManager::start(&world.supervisor, &world.metrics, options, groups(text)).expect("starts");
    let waiting = r#"highwater_queries_waiting{class="rules"}"#;
    eventually("it waits", || metric(&world.metrics, waiting) == Some(1.0)).await;
    let since = std::time::Instant::now();
    eventually("turns pass", || since.elapsed() > Duration::from_millis(100)).await;
    assert!(values(&world.memory, "r").is_empty());
    drop(pass);
    let missed = r#"prometheus_rule_group_iterations_missed_total{rule_group="r.yml;g"}"#;
    eventually("missed turns are counted", || metric(&world.metrics, missed) >= Some(2.0)).await;
    eventually("it goes on", || !values(&world.memory, "r").is_empty()).await;
    assert!(manager.active_alerts().is_empty());
    world.supervisor.stop(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_fails_the_rule_until_it_can() {
    let world = World::new();
    *world.memory.full.write() = true;
    let manager = world.start(None, "groups:\n- {name: g, interval: 20ms, rules: [{record: r, expr: '1'}]}\n");
    let failures = r#"prometheus_rule_evaluation_failures_total{rule_group="r.yml;g"}"#;
    eventually("it is counted", || metric(&world.metrics, failures) >= Some(1.0)).await;
    let rule = || match manager.status().remove(0).rules.remove(0) {
        RuleStatus::Recording(rule) => (rule.health, rule.last_error.unwrap_or_default()),
        RuleStatus::Alerting(rule) => panic!("{} is an alerting rule", rule.name),
    };
    eventually("its health says why", || {
        let (health, error) = rule();
        health == Health::Err && error.starts_with("the store cannot write: ")
    })
    .await;
    *world.memory.full.write() = false;
    eventually("it is well again", || rule() == (Health::Ok, String::new())).await;
    assert!(!values(&world.memory, "r").is_empty());
    world.supervisor.stop(Duration::from_secs(10)).await;
}
