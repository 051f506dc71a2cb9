//! Groups at work on a store in memory.

mod late;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use model::{Append, Batch, Labels, Queryable, Sample, TimestampMs};
use parking_lot::Mutex;
use promql::{Engine, EngineOptions};

use crate::memory::Memory;
use crate::status::{AlertState, Health, RuleStatus};
use crate::{
    AlertToSend, Context, Evaluation, External, Group, GroupDefaults, GroupState, LateSources, RuleError, RuleFile,
    carry_over,
};

fn engine() -> Arc<Engine> {
    Arc::new(Engine::new(EngineOptions::default()))
}

fn load(text: &str) -> Result<RuleFile, Vec<String>> {
    RuleFile::parse("r.yml".as_ref(), text, &engine(), &GroupDefaults::default())
        .map_err(|problems| problems.to_string().lines().map(str::to_owned).collect())
}

fn groups(text: &str) -> Vec<Arc<Group>> {
    load(text).expect("is valid").groups.into_iter().map(Arc::new).collect()
}

fn group(rules: &str) -> Arc<Group> {
    let rules = rules.replace('\n', "\n    ");
    groups(&format!("groups:\n- name: g\n  interval: 1m\n  rules:\n    {rules}\n")).remove(0)
}

/// A store, what was sent, and the switches of an evaluation.
struct World {
    engine: Arc<Engine>,
    memory: Arc<Memory>,
    sent: Mutex<Vec<AlertToSend>>,
    cancelled: Arc<AtomicBool>,
    /// Values of the label `cell` whose samples come late.
    late: Mutex<Vec<&'static str>>,
}

impl World {
    fn new() -> Self {
        Self {
            engine: engine(),
            memory: Arc::default(),
            sent: Mutex::default(),
            cancelled: Arc::default(),
            late: Mutex::default(),
        }
    }

    fn put(&self, at_s: i64, pairs: &[(&str, &str)], value: f64) {
        let mut batch = Batch::default();
        batch.push(Labels::from_pairs(pairs.iter().copied()), Sample { timestamp: TimestampMs(at_s * 1000), value });
        assert_eq!(self.memory.append(&batch).expect("takes samples").refused, []);
    }

    fn run(&self, state: &mut GroupState, at_s: i64) -> Evaluation {
        let storage: Arc<dyn Queryable> = self.memory.clone();
        let external = External { labels: Labels::from_pairs([("region", "eu")]), url: "http://h".into() };
        let late = self.late.lock().clone();
        let is_late = |labels: &Labels| labels.get("cell").is_some_and(|cell| late.contains(&cell));
        let context = Context {
            engine: &self.engine,
            storage: &storage,
            sink: self.memory.as_ref(),
            notify: &|alerts| self.sent.lock().extend(alerts),
            external: &external,
            rule_timeout: Duration::from_secs(60),
            resend_delay: Duration::from_secs(60),
            cancelled: &self.cancelled,
            monotonic: Instant::now,
            late: (!late.is_empty())
                .then_some(LateSources { is_late: &is_late, hold_for: Duration::from_secs(86_400) }),
        };
        state.evaluate(&context, TimestampMs(at_s * 1000))
    }

    fn sent(&self) -> Vec<AlertToSend> {
        std::mem::take(&mut *self.sent.lock())
    }
}

fn alerting(state: &GroupState, index: usize) -> crate::status::AlertingStatus {
    match state.status().rules.remove(index) {
        RuleStatus::Alerting(rule) => rule,
        RuleStatus::Recording(rule) => panic!("{} is a recording rule", rule.name),
    }
}

#[test]
fn later_rules_see_what_earlier_ones_recorded() {
    let world = World::new();
    let mut state = GroupState::new(
        group(
            "- record: job:x:sum\n  expr: sum by (job) (x)\n  labels: {tier: a, job: ''}\n- record: total\n  expr: job:x:sum * 10",
        ),
        false,
    );
    world.put(60, &[("__name__", "x"), ("job", "j")], 2.0);
    let report = world.run(&mut state, 60);
    assert_eq!((report.evaluated, report.samples, report.failures.len()), (2, 2, 0));
    assert_eq!(world.memory.values(r#"job:x:sum{tier="a"}"#), [(60, Some(2.0))]);
    assert_eq!(world.memory.values(r#"total{tier="a"}"#), [(60, Some(20.0))]);
}

#[test]
fn what_a_rule_no_longer_yields_ends_with_a_marker() {
    let world = World::new();
    let mut state = GroupState::new(group("- record: r\n  expr: x > 1"), false);
    for (at, value) in [(60, 2.0), (120, 0.0), (180, 3.0)] {
        world.put(at, &[("__name__", "x")], value);
        world.run(&mut state, at);
    }
    assert_eq!(world.memory.values("r"), [(60, Some(2.0)), (120, None), (180, Some(3.0))]);
}

#[test]
fn a_store_that_cannot_write_fails_the_rule_and_loses_no_end() {
    let world = World::new();
    let mut state = GroupState::new(group("- record: r\n  expr: x > 1"), false);
    let at = |at: i64, job: &str, value: f64| world.put(at, &[("__name__", "x"), ("job", job)], value);
    at(60, "a", 2.0);
    world.run(&mut state, 60);
    // While nothing can be written, a ends and b comes.
    at(120, "a", 0.0);
    at(120, "b", 2.0);
    *world.memory.full.write() = true;
    let report = world.run(&mut state, 120);
    *world.memory.full.write() = false;
    let error = "the store cannot write: no space left on purpose; samples are refused until it can";
    assert_eq!(report.failures.iter().map(|f| f.error.to_string()).collect::<Vec<_>>(), [error]);
    let RuleStatus::Recording(rule) = state.status().rules.remove(0) else { panic!("is a recording rule") };
    assert_eq!((rule.health, rule.last_error.as_deref()), (Health::Err, Some(error)));
    at(180, "b", 2.0);
    assert_eq!(world.run(&mut state, 180).failures, []);
    let RuleStatus::Recording(rule) = state.status().rules.remove(0) else { panic!("is a recording rule") };
    assert_eq!((rule.health, rule.last_error), (Health::Ok, None));
    assert_eq!(world.memory.values(r#"r{job="a"}"#), [(60, Some(2.0)), (180, None)]);
    assert_eq!(world.memory.values(r#"r{job="b"}"#), [(180, Some(2.0))]);
}

#[test]
fn an_alert_fires_after_for_and_resolves() {
    let world = World::new();
    let rules = "- alert: Down\n  expr: up == 0\n  for: 2m\n  labels: {severity: page, who: '{{ $labels.job }}'}\n  annotations: {summary: '{{ $labels.job }} in {{ $externalLabels.region }} is {{ $value }}'}";
    let mut state = GroupState::new(group(rules), false);
    let up = [("__name__", "up"), ("job", "j")];
    for (at, value) in [(60, 0.0), (120, 0.0), (180, 0.0), (240, 1.0)] {
        world.put(at, &up, value);
    }
    let mut story = Vec::new();
    for at in [60, 120, 180, 240] {
        world.run(&mut state, at);
        story.push((alerting(&state, 0).state, world.sent().len()));
    }
    use AlertState::{Firing, Inactive, Pending};
    assert_eq!(story, [(Pending, 0), (Pending, 0), (Firing, 1), (Inactive, 1)]);
    let labels = r#"alertname="Down", "#;
    let rest = r#"job="j", severity="page", who="j"}"#;
    let series = |state: &str| world.memory.values(&format!("ALERTS{{{labels}alertstate=\"{state}\", {rest}"));
    assert_eq!(series("pending"), [(60, Some(1.0)), (120, Some(1.0)), (180, None)]);
    assert_eq!(series("firing"), [(180, Some(1.0)), (240, None)]);
    assert_eq!(
        world.memory.values(&format!("ALERTS_FOR_STATE{{{labels}{rest}")),
        [(60, Some(60.0)), (120, Some(60.0)), (180, Some(60.0)), (240, None)]
    );
}

#[test]
fn what_is_sent_says_everything() {
    let world = World::new();
    let rules = "- alert: Down\n  expr: up == 0\n  annotations: {summary: '{{ $labels.job }} in {{ $externalLabels.region }} is {{ $value }}', broken: '{{ query \"nope(\" }}'}";
    let mut state = GroupState::new(group(rules), false);
    world.put(60, &[("__name__", "up"), ("job", "j")], 0.0);
    world.run(&mut state, 60);
    let [alert]: [AlertToSend; 1] = world.sent().try_into().expect("one alert");
    assert_eq!(alert.labels, Labels::from_pairs([("alertname", "Down"), ("job", "j")]));
    assert_eq!(alert.annotations.get("summary"), Some("j in eu is 0"));
    assert!(alert.annotations.get("broken").is_some_and(|t| t.starts_with("<error expanding template: ")));
    assert_eq!((alert.starts_at, alert.ends_at), (TimestampMs(60_000), TimestampMs(300_000)));
    assert_eq!(alert.generator_url, "http://h/graph?g0.expr=up+%3D%3D+0&g0.tab=1");
}

#[test]
fn a_failed_query_changes_only_the_health() {
    let world = World::new();
    let mut state = GroupState::new(group("- alert: Down\n  expr: up == 0\n- record: r\n  expr: up"), false);
    world.put(60, &[("__name__", "up")], 0.0);
    world.run(&mut state, 60);
    world.sent();
    *world.memory.broken.write() = true;
    let report = world.run(&mut state, 240);
    assert_eq!(report.failures.len(), 2);
    assert!(matches!(report.failures[0].error, RuleError::Query(_)));
    let status = alerting(&state, 0);
    assert_eq!((status.state, status.health, status.alerts.len()), (AlertState::Firing, Health::Err, 1));
    assert!(status.last_error.is_some_and(|e| e.contains("broken on purpose")));
    assert_eq!(world.sent(), []);
    assert_eq!(world.memory.values("r"), [(60, Some(0.0))], "no staleness marker");
    *world.memory.broken.write() = false;
    world.run(&mut state, 300);
    assert_eq!(alerting(&state, 0).alerts[0].active_at, Some(TimestampMs(60_000)));
    assert_eq!(alerting(&state, 0).health, Health::Ok);
}

#[test]
fn results_that_collide_or_exceed_the_limit_fail() {
    let world = World::new();
    for job in ["a", "b", "c"] {
        world.put(60, &[("__name__", "up"), ("job", job)], 0.0);
    }
    let text = "groups:\n- name: g\n  limit: 2\n  rules:\n  - {record: r, expr: up, labels: {job: same}}\n  - {alert: A, expr: up == 0, labels: {job: same}}\n  - {record: many, expr: up}\n  - {alert: Many, expr: up == 0}\n";
    let mut state = GroupState::new(groups(text).remove(0), false);
    let report = world.run(&mut state, 60);
    let errors: Vec<_> = report.failures.iter().map(|f| f.error.clone()).collect();
    assert!(
        matches!(errors[0], RuleError::SameLabels(_)) && matches!(errors[1], RuleError::SameLabels(_)),
        "{errors:?}"
    );
    assert_eq!(errors[2..], [RuleError::Limit { limit: 2, got: 3 }, RuleError::Limit { limit: 2, got: 3 }]);
    assert_eq!(world.sent(), []);
    assert_eq!(alerting(&state, 3).alerts, []);
}

#[test]
fn the_offset_moves_queries_and_samples() {
    let world = World::new();
    let text = "groups:\n- {name: g, query_offset: 30s, rules: [{record: r, expr: x}]}\n";
    let mut state = GroupState::new(groups(text).remove(0), false);
    world.put(20, &[("__name__", "x")], 1.0);
    world.put(50, &[("__name__", "x")], 2.0);
    world.run(&mut state, 60);
    assert_eq!(world.memory.values("r"), [(30, Some(1.0))]);
}

#[test]
fn a_cancelled_evaluation_is_none() {
    let world = World::new();
    let mut state = GroupState::new(group("- record: r\n  expr: x"), false);
    world.cancelled.store(true, Ordering::Relaxed);
    assert_eq!(world.run(&mut state, 60), Evaluation::default());
    assert_eq!(state.status().last_evaluation, None);
}

#[test]
fn a_reload_keeps_timers_and_ends_what_is_gone() {
    let world = World::new();
    world.put(60, &[("__name__", "up")], 0.0);
    let old = "- alert: Down\n  expr: up == 0\n  for: 2m\n- record: kept\n  expr: up\n- record: renamed\n  expr: up";
    let new = "- record: other\n  expr: up\n- alert: Down\n  expr: up < 1\n  for: 2m\n- record: kept\n  expr: up + 1";
    let mut state = GroupState::new(group(old), false);
    world.run(&mut state, 60);
    // The group moves to another name, too.
    let moved = Group { name: "h".into(), ..Arc::try_unwrap(group(new)).expect("ours alone") };
    let mut carried = carry_over(vec![state], vec![Arc::new(moved)]);
    assert_eq!(carried.vanished.iter().map(Labels::to_string).collect::<Vec<_>>(), ["renamed"]);
    let state = &mut carried.states[0];
    world.run(state, 120);
    world.run(state, 180);
    assert_eq!(alerting(state, 1).state, AlertState::Firing, "it pends since before the reload");
    assert_eq!(alerting(state, 1).alerts[0].active_at, Some(TimestampMs(60_000)));
    let gone = carry_over(vec![carried.states.remove(0)], vec![]).vanished;
    let names: Vec<_> = gone.iter().map(Labels::metric_name).collect();
    assert_eq!(names, ["ALERTS", "ALERTS_FOR_STATE", "kept", "other"]);
}

#[test]
fn timers_survive_a_restart() {
    let world = World::new();
    let rules = "- alert: Down\n  expr: up == 0\n  for: 1h";
    let mut before = GroupState::new(group(rules), true);
    for minute in 0..50 {
        world.put(minute * 60, &[("__name__", "up")], 0.0);
        world.run(&mut before, minute * 60);
    }
    let mut after = GroupState::new(group(rules), true);
    for minute in 55..58 {
        world.put(minute * 60, &[("__name__", "up")], 0.0);
        world.run(&mut after, minute * 60);
    }
    // 47 of 60 minutes were seen (samples are written from the third evaluation on, which changes nothing here); of the
    // 11 minutes left the outage takes none.
    let alert = &alerting(&after, 0).alerts[0];
    assert_eq!((alert.state, alert.active_at), (AlertState::Pending, Some(TimestampMs((56 - 49) * 60_000))));
}

#[test]
fn files_are_checked_with_their_lines() {
    let text = r#"groups:
- name: a
  interval: 0s
  rules:
  - record: r
    expr: sum(
  - record: r
    alert: A
    expr: up
  - expr: up
  - record: bad-name
    expr: up
  - record: r2
    expr: up
    for: 5m
    annotations: {a: b}
  - alert: T
    expr: up
    lables: {a: b}
    labels: {0a: b, x: '{{ nope }}'}
    annotations: {s: '{{ $labels.a'}
  - alert: M
    expr: up[5m]
  - alert: S
    expr: up
  - alert: S
    expr: up
- name: a
- rules: []
extra: 1
"#;
    let problems = load(text).expect_err("is full of problems");
    let want = [
        ("r.yml:3:", "longer than 0"),
        ("r.yml:6:", ": expr is not valid PromQL: "),
        ("r.yml:7:", "only one of record and alert"),
        ("r.yml:10:", "one of record and alert must be set"),
        ("r.yml:11:", "not a metric name"),
        ("r.yml:15:", "for belongs to alerting rules"),
        ("r.yml:16:", "annotations belong to alerting rules"),
        ("r.yml:19:", "did you mean \"labels\"?"),
        ("r.yml:20:", "\"0a\" is not a name"),
        ("r.yml:20:", "function \"nope\" not defined"),
        ("r.yml:21:", "not a valid template"),
        ("r.yml:23:", "not a range vector"),
        ("r.yml:28:", "used twice in this file"),
        ("r.yml:29:", "name is missing"),
        ("r.yml:30:", "unknown key \"extra\""),
    ];
    for (place, message) in want {
        assert!(
            problems.iter().any(|p| p.starts_with(place) && p.contains(message)),
            "{place} {message}: {problems:#?}"
        );
    }
    assert_eq!(problems.len(), want.len(), "{problems:#?}");
}

#[test]
fn files_may_say_little() {
    for text in ["", "groups:\n", "groups: []\n"] {
        assert_eq!(load(text).expect("is valid").groups, []);
    }
    let file = load("groups:\n- name: g\n  labels: {team: a, x: y}\n  rules:\n  - {record: r, expr: 1, labels: {x: z}}\n  - {record: r, expr: 2, labels: {x: z}}\n").expect("is valid");
    assert_eq!(file.groups[0].interval, Duration::from_secs(60));
    assert_eq!(file.groups[0].rules[0].written_labels(), Labels::from_pairs([("team", "a"), ("x", "z")]));
    assert_eq!(file.warnings.len(), 1);
    assert!(file.warnings[0].starts_with("r.yml:6: \"r\" is recorded"), "{:?}", file.warnings);
    let twice = "groups:\n- name: g\n  rules:\n  - {alert: a, expr: up}\n  - {alert: a, expr: up}\n";
    let file = load(twice).expect("is harmless");
    assert!(file.warnings[0].contains("is the same as the one at line 4"), "{:?}", file.warnings);
}

#[test]
fn slots_are_aligned_and_spread() {
    let at = TimestampMs(1_700_000_012_345);
    let slots: Vec<i64> = ["a", "b", "c"]
        .iter()
        .map(|name| {
            let group = Group {
                name: (*name).into(),
                file: "f".into(),
                interval: Duration::from_secs(15),
                limit: 0,
                query_offset: Duration::ZERO,
                rules: vec![],
            };
            let slot = group.slot(at);
            assert!(slot <= at && at - slot < 15_000);
            assert_eq!(group.slot(slot), slot);
            assert_eq!(group.slot(slot - 1), slot - 15_000);
            slot.0 % 15_000
        })
        .collect();
    assert!(slots[0] != slots[1] && slots[1] != slots[2], "{slots:?}");
}
