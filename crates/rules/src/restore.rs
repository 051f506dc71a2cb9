//! Timers of pending alerts across a restart, from the series `ALERTS_FOR_STATE` that the earlier process wrote.

use std::time::Duration;

use model::{Hints, METRIC_NAME, Matcher, SampleBuffer, Selection, TimeRange, TimestampMs, is_stale};

use crate::alert::{ALERT_NAME, ALERTS_FOR_STATE};
use crate::group::{Context, GroupState, RuleState};
use crate::rule::{Rule, RuleKind, millis};

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
    /// Looks the timers up. A store that cannot be read leaves them as they are.
    pub(crate) fn restore(&mut self, context: &Context<'_>, at: TimestampMs) {
        for (rule, state) in self.group.rules.iter().zip(&mut self.rules) {
            if std::mem::take(&mut state.awaits_restore)
                && let RuleKind::Alerting(settings) = &rule.kind
            {
                restore_rule(rule, state, context, at, millis(settings.hold));
            }
        }
    }
}

fn restore_rule(rule: &Rule, state: &mut RuleState, context: &Context<'_>, at: TimestampMs, hold_ms: i64) {
    let matchers = [Matcher::equal(METRIC_NAME, ALERTS_FOR_STATE), Matcher::equal(ALERT_NAME, &rule.name)];
    let range = TimeRange { start: at - OUTAGE_TOLERANCE_MS, end: at };
    let selection = Selection { matchers: &matchers, range, hints: Hints::default() };
    let Ok(found) = context.storage.select(&selection) else { return };
    let mut samples = SampleBuffer::default();
    for series in found {
        samples.clear();
        if series.read(range, &mut samples).is_err() {
            continue;
        }
        let (Some(seen_ms), Some(since)) = (samples.timestamps.last(), samples.values.last()) else { continue };
        if is_stale(*since) || !since.is_finite() {
            continue;
        }
        let labels = series.labels().without(&[METRIC_NAME]);
        let active_at = restored(TimestampMs::from_seconds(*since), TimestampMs(*seen_ms), at, hold_ms);
        state.alerts.restore(&labels, active_at);
    }
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
