//! Groups, flushes and reloads with time as a parameter.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use model::{Labels, TimestampMs};

use super::*;
use crate::config::Config;

const BASE: &str = "
route:
  receiver: a
  group_by: [alertname]
  group_wait: 10s
  group_interval: 60s
  routes: [{matchers: [team=x], receiver: b, continue: true}, {matchers: [team=~x], receiver: a}]
receivers: [{name: a}, {name: b}]
";

fn config(text: &str) -> Arc<Config> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("am.yml");
    std::fs::write(&file, text).expect("writes");
    Arc::new(Config::load(Path::new(&file)).expect("is valid"))
}

fn state(limits: Limits) -> State {
    State::new(config(BASE), limits, TimestampMs(0))
}

fn alert(pairs: &[(&str, &str)], starts_at: i64, ends_at: i64, updated_at: i64) -> AlertRecord {
    AlertRecord {
        labels: Labels::from_pairs(pairs.iter().copied()),
        annotations: BTreeMap::new(),
        starts_at: TimestampMs(starts_at),
        ends_at: TimestampMs(ends_at),
        updated_at: TimestampMs(updated_at),
        generator_url: String::new(),
        timeout: false,
    }
}

const DOWN: &[(&str, &str)] = &[("alertname", "down"), ("instance", "1")];
const DOWN_2: &[(&str, &str)] = &[("alertname", "down"), ("instance", "2")];

fn take(state: &mut State, now: i64) -> Vec<Flush> {
    state.take_due(TimestampMs(now))
}

fn receive(state: &mut State, record: AlertRecord) -> Stored {
    let now = record.updated_at;
    state.receive(record, now).expect("has room")
}

#[test]
fn alerts_that_agree_stand_together() {
    let mut state = state(Limits::default());
    receive(&mut state, alert(DOWN_2, 1000, 900_000, 1000));
    receive(&mut state, alert(DOWN, 2000, 900_000, 2000));
    receive(&mut state, alert(&[("alertname", "slow"), ("instance", "1")], 2000, 900_000, 2000));
    assert_eq!(state.next_due(), Some(TimestampMs(11_000)));
    let flushes = take(&mut state, 11_000);
    assert_eq!(flushes.len(), 1);
    assert_eq!(flushes[0].key, r#"{}:{alertname="down"}"#);
    let instances: Vec<_> = flushes[0].alerts.iter().filter_map(|a| a.labels.get("instance")).collect();
    assert_eq!(instances, ["1", "2"]);
}

#[test]
fn a_route_that_continues_makes_two_groups() {
    let mut state = state(Limits::default());
    receive(&mut state, alert(&[("alertname", "down"), ("team", "x")], 1000, 900_000, 1000));
    let mut keys: Vec<_> = take(&mut state, 11_000).into_iter().map(|f| f.key).collect();
    keys.sort();
    assert_eq!(keys, [r#"{}/{team="x"}:{alertname="down"}"#, r#"{}/{team=~"x"}:{alertname="down"}"#]);
}

#[test]
fn a_resolved_alert_leaves_after_it_was_told_and_only_then() {
    let mut state = state(Limits::default());
    receive(&mut state, alert(DOWN, 1000, 900_000, 1000));
    let first = take(&mut state, 11_000).remove(0);
    state.finish(&first, true);
    assert_eq!(state.group_count(), 1, "it still fires");
    receive(&mut state, alert(DOWN, 1000, 20_000, 20_000));
    let second = take(&mut state, 71_000).remove(0);
    state.finish(&second, false);
    let third = take(&mut state, 131_000).remove(0);
    assert_eq!(third.alerts.len(), 1, "the failed flush is made again");
    state.finish(&third, true);
    assert_eq!((state.group_count(), state.next_due()), (0, None));
    receive(&mut state, alert(DOWN, 1000, 20_000, 140_000));
    assert_eq!(state.group_count(), 0, "the same end is not told again");
    receive(&mut state, alert(DOWN, 150_000, 900_000, 150_000));
    assert_eq!(state.group_count(), 1, "it fires again");
}

#[test]
fn an_alert_that_fires_again_during_the_flight_stays() {
    let mut state = state(Limits::default());
    receive(&mut state, alert(DOWN, 1000, 5000, 5000));
    let flight = take(&mut state, 11_000).remove(0);
    receive(&mut state, alert(DOWN, 12_000, 900_000, 12_000));
    state.finish(&flight, true);
    assert_eq!(state.group_count(), 1);
}

#[test]
fn limits_refuse_and_change_nothing() {
    let mut groups = state(Limits { groups: 1, ..Limits::default() });
    receive(&mut groups, alert(DOWN, 0, 9000, 0));
    receive(&mut groups, alert(DOWN_2, 0, 9000, 0));
    let other = alert(&[("alertname", "slow")], 0, 9000, 0);
    assert_eq!(groups.receive(other.clone(), TimestampMs(0)), Err(Refused::Groups(1)));
    assert_eq!(groups.alerts.iter().count(), 2);
    let mut alerts = state(Limits { alerts: 1, ..Limits::default() });
    receive(&mut alerts, alert(DOWN, 0, 9000, 0));
    assert!(matches!(alerts.receive(other, TimestampMs(0)), Err(Refused::Store(_))));
    assert_eq!(alerts.group_count(), 1);
}

#[test]
fn a_reload_keeps_alerts_and_timers() {
    let mut state = state(Limits::default());
    receive(&mut state, alert(DOWN, 1000, 900_000, 1000));
    let flight = take(&mut state, 11_000).remove(0);
    state.reconfigure(config(BASE), TimestampMs(12_000));
    state.finish(&flight, true);
    assert_eq!(state.next_due(), Some(TimestampMs(71_000)), "not told early");
    assert_eq!(take(&mut state, 71_000).len(), 1);
    let regrouped = BASE.replace("[alertname]", "[instance]");
    state.reconfigure(config(&regrouped), TimestampMs(80_000));
    assert_eq!(state.next_due(), Some(TimestampMs(80_000)), "a new group whose alert has waited");
    assert_eq!(take(&mut state, 80_000)[0].key, r#"{}:{instance="1"}"#);
}

#[test]
fn garbage_is_what_ended_and_waits_nowhere() {
    let mut state = state(Limits::default());
    receive(&mut state, alert(DOWN, 1000, 5000, 5000));
    let later = TimestampMs(5000 + RESOLVED_RETENTION_MS + 1);
    state.collect_garbage(later);
    assert_eq!(state.alerts.iter().count(), 1, "its group was not told yet");
    let flight = take(&mut state, 11_000).remove(0);
    state.finish(&flight, true);
    state.collect_garbage(TimestampMs(6000));
    assert_eq!(state.alerts.iter().count(), 1, "a slower peer may still ask");
    state.collect_garbage(later);
    assert_eq!(state.alerts.iter().count(), 0);
}

#[test]
fn inhibition_follows_the_alerts() {
    let rules =
        format!("{BASE}inhibit_rules: [{{source_matchers: [alertname=down], target_matchers: [alertname=slow]}}]\n");
    let mut state = State::new(config(&rules), Limits::default(), TimestampMs(0));
    let slow = Labels::from_pairs([("alertname", "slow")]);
    assert!(!state.suppression(&slow, TimestampMs(2000)).any());
    receive(&mut state, alert(DOWN, 1000, 9000, 1000));
    assert_eq!(state.suppression(&slow, TimestampMs(2000)).inhibited_by.len(), 1);
    assert!(!state.suppression(&slow, TimestampMs(9000)).any());
    state.reconfigure(config(BASE), TimestampMs(2000));
    assert!(!state.suppression(&slow, TimestampMs(2000)).any());
}
