//! Alerts across a restart, from the series `ALERTS_FOR_STATE` that the earlier process wrote: the timers of pending ones,
//! and those whose source is late, which nothing else remembers.

use std::time::Duration;

use model::{Hints, Labels, METRIC_NAME, Matcher, SampleBuffer, Selection, TimeRange, TimestampMs, is_stale};

use crate::alert::{ALERT_NAME, ALERTS_FOR_STATE, LeftAlert};
use crate::group::{Context, GroupState};
use crate::rule::{Rule, RuleKind, millis};
use crate::run::RuleRun;

/// A longer outage forgets the timers (`--rules.alert.for-outage-tolerance`).
const OUTAGE_TOLERANCE_MS: i64 = 3_600_000;
/// After a restart an alert stays pending for at least this long; rules with a shorter `for` simply begin again
/// (`--rules.alert.for-grace-period`).
const GRACE_PERIOD: Duration = Duration::from_secs(600);

/// Whether a rule has timers that are worth restoring.
pub(crate) fn applies(kind: &RuleKind) -> bool {
    matches!(kind, RuleKind::Alerting(settings) if settings.hold >= GRACE_PERIOD)
}

impl GroupState {
    /// Looks the timers up, and the alerts whose source is late. A store that cannot be read leaves them as they are.
    pub(crate) fn restore(&mut self, context: &Context<'_>, at: TimestampMs) {
        let group = self.group.clone();
        for (index, rule) in group.rules.iter().enumerate() {
            let RuleKind::Alerting(settings) = &rule.kind else { continue };
            let has_timers = std::mem::take(&mut self.rules[index].awaits_restore);
            if !has_timers && context.late.is_none() {
                continue;
            }
            for left in left_behind(rule, context, at) {
                if has_timers {
                    let active_at = restored(left.active_at, left.seen, at, millis(settings.hold));
                    self.rules[index].alerts.restore(&left.labels, active_at);
                }
                let is_late = context.late.is_some_and(|late| (late.is_late)(&left.labels));
                if is_late && rule.may_have(&left.labels) && !self.rules.iter().any(|r| r.alerts.knows(&left.labels)) {
                    let deadline = (context.monotonic)() + context.rule_timeout;
                    let run = RuleRun { group: &group, rule, context, at, deadline };
                    let annotations = run.annotations_of(settings, &left.labels);
                    let alert = LeftAlert { annotations, active_at: left.active_at, seen: left.seen };
                    self.rules[index].alerts.take_up(left.labels, alert, at, millis(settings.hold));
                }
            }
        }
    }
}

/// An alert as its series tells of it.
struct Left {
    labels: Labels,
    active_at: TimestampMs,
    seen: TimestampMs,
}

/// The alerts of a rule's name that were active within the tolerated outage and did not end.
fn left_behind(rule: &Rule, context: &Context<'_>, at: TimestampMs) -> Vec<Left> {
    let matchers = [Matcher::equal(METRIC_NAME, ALERTS_FOR_STATE), Matcher::equal(ALERT_NAME, &rule.name)];
    let range = TimeRange { start: at - OUTAGE_TOLERANCE_MS, end: at };
    let selection = Selection { matchers: &matchers, range, hints: Hints::default() };
    let (mut left, mut samples) = (Vec::new(), SampleBuffer::default());
    for series in context.storage.select(&selection).unwrap_or_default() {
        samples.clear();
        if series.read(range, &mut samples).is_err() {
            continue;
        }
        let (Some(seen_ms), Some(since)) = (samples.timestamps.last(), samples.values.last()) else { continue };
        if is_stale(*since) || !since.is_finite() {
            continue;
        }
        left.push(Left {
            labels: series.labels().without(&[METRIC_NAME]),
            active_at: TimestampMs::from_seconds(*since),
            seen: TimestampMs(*seen_ms),
        });
    }
    left
}

/// Since when the alert counts as active: what it had waited when it was last seen counts, the outage does not, and it
/// waits at least the grace period more unless it had fired.
fn restored(active_at: TimestampMs, seen: TimestampMs, at: TimestampMs, hold_ms: i64) -> TimestampMs {
    let left_ms = hold_ms - (seen - active_at);
    if left_ms <= 0 { active_at } else { at + left_ms.max(millis(GRACE_PERIOD)) - hold_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outage_does_not_count_and_the_grace_period_does() {
        let minute = |m: i64| TimestampMs(m * 60_000);
        let hold_ms = minute(60).0;
        // (active since, last seen, now) -> fires at
        let cases = [(0, 20, 30, 70), (0, 55, 60, 70), (0, 61, 70, 60)];
        for (active, seen, now, fires) in cases {
            let restored = restored(minute(active), minute(seen), minute(now), hold_ms);
            assert_eq!(restored + hold_ms, minute(fires), "{active} {seen} {now}");
        }
    }
}
