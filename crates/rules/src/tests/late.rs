//! Alerts whose source is late: held as they are, for no longer than a day, over restarts and reloads.

use super::*;

const RULES: &str = "- alert: Broken\n  expr: x > 0\n  for: 3m\n  labels: {severity: page}\n  annotations: {summary: \"{{ $labels.cell }} has {{ $value }}\"}";

fn broken(world: &World, at_s: i64, cell: &str, value: f64) {
    world.put(at_s, &[("__name__", "x"), ("cell", cell)], value);
}

/// The states of the alerts, by cell.
fn states(state: &GroupState) -> Vec<(String, AlertState)> {
    let alerts = alerting(state, 0).alerts;
    alerts.iter().map(|a| (a.labels.get("cell").unwrap_or_default().to_owned(), a.state)).collect()
}

fn named(pairs: &[(&str, AlertState)]) -> Vec<(String, AlertState)> {
    pairs.iter().map(|(cell, state)| ((*cell).to_owned(), *state)).collect()
}

const MINUTE: i64 = 60;

#[test]
fn an_alert_stays_as_it_is_while_its_source_is_late() {
    use AlertState::{Firing, Pending};
    let world = World::new();
    let mut state = GroupState::new(group(RULES), false);
    for minute in 1..=4 {
        broken(&world, minute * MINUTE, "a", 1.0);
        if minute >= 3 {
            broken(&world, minute * MINUTE, "b", 1.0);
        }
        broken(&world, minute * MINUTE, "c", 1.0);
        world.run(&mut state, minute * MINUTE);
    }
    assert_eq!(states(&state), named(&[("a", Firing), ("b", Pending), ("c", Firing)]));
    world.late.lock().extend(["a", "b"]);
    // None of the three shows any more, and only one of them is known to be well.
    ["a", "b", "c"].iter().for_each(|cell| broken(&world, 5 * MINUTE, cell, model::stale_nan()));
    for minute in 5..=60 {
        assert_eq!(world.run(&mut state, minute * MINUTE).held, 2, "at minute {minute}");
        assert_eq!(states(&state), named(&[("a", Firing), ("b", Pending)]), "at minute {minute}");
    }
    let since = world.memory.values(r#"ALERTS_FOR_STATE{alertname="Broken", cell="b", severity="page"}"#);
    assert_eq!(since.last(), Some(&(3600, Some(180.0))), "it goes on, and its clock was not set back");
    let mut resolved: Vec<_> = world.sent().into_iter().filter(|alert| alert.ends_at.0 == 5 * MINUTE * 1000).collect();
    resolved.dedup_by(|a, b| a.labels == b.labels);
    assert_eq!(resolved.len(), 1, "{resolved:?}");
    assert_eq!(resolved[0].labels.get("cell"), Some("c"));

    world.late.lock().clear();
    broken(&world, 61 * MINUTE, "a", 0.0);
    broken(&world, 61 * MINUTE, "b", 1.0);
    let report = world.run(&mut state, 61 * MINUTE);
    assert_eq!(
        (report.held, states(&state)),
        (0, named(&[("b", Firing)])),
        "a is well again, b has waited long enough"
    );
}

#[test]
fn nothing_is_held_for_longer_than_a_day() {
    let world = World::new();
    let mut state = GroupState::new(group(RULES), false);
    for minute in 1..=4 {
        broken(&world, minute * MINUTE, "a", 1.0);
        world.run(&mut state, minute * MINUTE);
    }
    world.late.lock().push("a");
    world.run(&mut state, 10 * MINUTE);
    world.run(&mut state, 10 * MINUTE + 86_399);
    assert_eq!(states(&state).len(), 1);
    world.run(&mut state, 10 * MINUTE + 86_400);
    assert_eq!(states(&state), []);
    world.run(&mut state, 11 * MINUTE + 86_400);
    assert_eq!(states(&state), [], "nor is it held again");
}

#[test]
fn a_restart_does_not_resolve_what_is_held() {
    use AlertState::{Firing, Pending};
    let world = World::new();
    let other = "- alert: Broken\n  expr: y > 0\n  labels: {severity: info}";
    let rules = group(&format!("{RULES}\n{other}"));
    let mut state = GroupState::new(rules.clone(), true);
    for minute in 1..=5 {
        broken(&world, minute * MINUTE, "a", 1.0);
        broken(&world, minute * MINUTE, "well", 1.0);
        if minute >= 4 {
            broken(&world, minute * MINUTE, "b", 1.0);
        }
        world.run(&mut state, minute * MINUTE);
    }
    ["a", "b", "well"].iter().for_each(|cell| broken(&world, 6 * MINUTE, cell, model::stale_nan()));
    // The process dies, and with it what it knew; the sources are silent by then.
    world.late.lock().extend(["a", "b"]);
    let mut state = GroupState::new(rules.clone(), true);
    for minute in 15..=40 {
        world.run(&mut state, minute * MINUTE);
    }
    assert_eq!(states(&state), named(&[("a", Firing), ("b", Pending)]));
    assert_eq!(alerting(&state, 1).alerts, [], "the other rule of that name has none of them");
    let alert = world.sent().into_iter().rfind(|a| a.labels.get("cell") == Some("a")).expect("is sent again");
    assert_eq!(alert.annotations, Labels::from_pairs([("summary", "a has NaN")]));
    assert_eq!(alert.starts_at, TimestampMs(4 * MINUTE * 1000));
    let since = world.memory.values(r#"ALERTS_FOR_STATE{alertname="Broken", cell="a", severity="page"}"#);
    assert_eq!(since.last(), Some(&(40 * MINUTE, Some(60.0))));

    // A reload hands on what is held.
    let mut state = carry_over(vec![state], vec![rules]).states.remove(0);
    world.run(&mut state, 41 * MINUTE);
    assert_eq!(states(&state), named(&[("a", Firing), ("b", Pending)]));
    world.late.lock().clear();
    world.run(&mut state, 42 * MINUTE);
    assert_eq!(states(&state), []);
}
