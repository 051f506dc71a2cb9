//! The life of an alert: inactive, pending, firing, and resolved for a while.

use std::collections::BTreeMap;

use model::{Labels, LabelsBuilder, METRIC_NAME, Row, Sample, TimestampMs};

use crate::group::LateSources;
use crate::rule::millis;
use crate::status::{AlertState, AlertStatus};

/// How long a resolved alert is remembered, so that its end is sent again to receivers that missed it.
const RESOLVED_RETENTION_MS: i64 = 15 * 60 * 1000;
/// The metric that says which alerts are active.
const ALERTS: &str = "ALERTS";
/// The metric whose value is the time since when an alert is active, in seconds.
pub(crate) const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";
/// The label with the alert's name.
pub(crate) const ALERT_NAME: &str = "alertname";
const ALERT_STATE: &str = "alertstate";

/// An alert on its way to the routers. External labels are not among its labels yet.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertToSend {
    /// What identifies it, `alertname` included.
    pub labels: Labels,
    /// What explains it.
    pub annotations: Labels,
    /// Since when it fires.
    pub starts_at: TimestampMs,
    /// When it ended; for one that still fires, when receivers may take it for resolved if they hear no more of it.
    pub ends_at: TimestampMs,
    /// Where its expression can be seen.
    pub generator_url: String,
}

/// What a query's result says of one alert.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Observed {
    pub(crate) annotations: Labels,
    pub(crate) value: f64,
}

/// What an earlier process left of an alert.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LeftAlert {
    pub(crate) annotations: Labels,
    pub(crate) active_at: TimestampMs,
    /// When it was last active.
    pub(crate) seen: TimestampMs,
}

#[derive(Debug, Clone)]
struct Alert {
    annotations: Labels,
    value: f64,
    state: AlertState,
    active_at: TimestampMs,
    fired_at: Option<TimestampMs>,
    resolved_at: Option<TimestampMs>,
    keep_firing_since: Option<TimestampMs>,
    /// Since when it keeps its state only because its source is late.
    held_since: Option<TimestampMs>,
    sent_at: Option<TimestampMs>,
}

impl Alert {
    fn pending(observed: Observed, at: TimestampMs) -> Self {
        Self {
            annotations: observed.annotations,
            value: observed.value,
            state: AlertState::Pending,
            active_at: at,
            fired_at: None,
            resolved_at: None,
            keep_firing_since: None,
            held_since: None,
            sent_at: None,
        }
    }

    /// Whether it keeps its state at `at` although its condition does not show: its source is late, and has not been so
    /// for too long.
    fn holds(&mut self, labels: &Labels, at: TimestampMs, late: Option<LateSources<'_>>) -> bool {
        let late = late.filter(|late| self.state != AlertState::Inactive && (late.is_late)(labels));
        let Some(late) = late else {
            self.held_since = None;
            return false;
        };
        at - *self.held_since.get_or_insert(at) < millis(late.hold_for)
    }

    /// The condition does not hold at `at`. Returns whether the alert is still to be remembered.
    fn unobserved(&mut self, at: TimestampMs, keep_firing_ms: i64) -> bool {
        match self.state {
            AlertState::Pending => false,
            AlertState::Inactive => self.resolved_at.is_some_and(|t| at - t <= RESOLVED_RETENTION_MS),
            AlertState::Firing => {
                let since = *self.keep_firing_since.get_or_insert(at);
                if at - since >= keep_firing_ms {
                    self.state = AlertState::Inactive;
                    self.resolved_at = Some(at);
                }
                true
            }
        }
    }

    fn is_due(&self, at: TimestampMs, resend_delay_ms: i64) -> bool {
        match (self.state, self.sent_at) {
            (AlertState::Pending, _) => false,
            (_, None) => true,
            (_, Some(sent)) => self.resolved_at.is_some_and(|t| t > sent) || at - sent > resend_delay_ms,
        }
    }
}

/// How a rule's alerts are timed, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) hold_ms: i64,
    pub(crate) keep_firing_ms: i64,
}

/// When and how alerts are sent.
#[derive(Debug, Clone)]
pub(crate) struct Sending<'a> {
    pub(crate) resend_delay_ms: i64,
    pub(crate) interval_ms: i64,
    pub(crate) generator_url: &'a str,
}

/// All alerts of one rule, by labels.
#[derive(Debug, Default)]
pub(crate) struct Alerts {
    known: BTreeMap<Labels, Alert>,
}

impl Alerts {
    /// Takes in the result of an evaluation. Returns how many alerts are active now.
    pub(crate) fn update(
        &mut self,
        observed: BTreeMap<Labels, Observed>,
        at: TimestampMs,
        timing: Timing,
        late: Option<LateSources<'_>>,
    ) -> usize {
        let mut gone: Vec<Labels> = Vec::new();
        for (labels, alert) in &mut self.known {
            if observed.contains_key(labels) || alert.holds(labels, at, late) {
                continue;
            }
            if !alert.unobserved(at, timing.keep_firing_ms) {
                gone.push(labels.clone());
            }
        }
        for labels in gone {
            self.known.remove(&labels);
        }
        for (labels, observed) in observed {
            match self.known.get_mut(&labels) {
                Some(alert) if alert.state != AlertState::Inactive => {
                    alert.value = observed.value;
                    alert.annotations = observed.annotations;
                    alert.keep_firing_since = None;
                    alert.held_since = None;
                }
                // New, or resolved and back: its time begins again.
                _ => {
                    self.known.insert(labels, Alert::pending(observed, at));
                }
            }
        }
        let mut active = 0;
        for alert in self.known.values_mut().filter(|a| a.state != AlertState::Inactive) {
            active += 1;
            // One that is held does not get further without data.
            let may_fire = alert.state == AlertState::Pending && alert.held_since.is_none();
            if may_fire && at - alert.active_at >= timing.hold_ms {
                alert.state = AlertState::Firing;
                alert.fired_at = Some(at);
            }
        }
        active
    }

    /// Forgets all alerts without resolving them.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
    }

    fn active(&self) -> impl Iterator<Item = (&Labels, &Alert)> {
        self.known.iter().filter(|(_, alert)| alert.state != AlertState::Inactive)
    }

    /// The series `ALERTS` and `ALERTS_FOR_STATE` of the active alerts.
    pub(crate) fn rows(&self, at: TimestampMs) -> Vec<Row> {
        let mut rows = Vec::new();
        for (labels, alert) in self.active() {
            let mut builder = LabelsBuilder::from_labels(labels);
            builder.set(METRIC_NAME, ALERTS_FOR_STATE);
            let since = alert.active_at.0.div_euclid(1000) as f64;
            rows.push(Row { labels: builder.build(), sample: Sample { timestamp: at, value: since } });
            builder.set(METRIC_NAME, ALERTS).set(ALERT_STATE, alert.state.as_str());
            rows.push(Row { labels: builder.build(), sample: Sample { timestamp: at, value: 1.0 } });
        }
        rows
    }

    /// The alerts that receivers should hear of now; each is then silent for the resend delay.
    pub(crate) fn due(&mut self, at: TimestampMs, sending: &Sending<'_>) -> Vec<AlertToSend> {
        // Receivers may miss three messages in a row before they take the alert for resolved.
        let valid_until = at + sending.resend_delay_ms.max(sending.interval_ms).saturating_mul(4);
        let mut out = Vec::new();
        for (labels, alert) in &mut self.known {
            if !alert.is_due(at, sending.resend_delay_ms) {
                continue;
            }
            alert.sent_at = Some(at);
            out.push(AlertToSend {
                labels: labels.clone(),
                annotations: alert.annotations.clone(),
                starts_at: alert.fired_at.unwrap_or(alert.active_at),
                ends_at: alert.resolved_at.unwrap_or(valid_until),
                generator_url: sending.generator_url.to_owned(),
            });
        }
        out
    }

    /// The most advanced state among the alerts.
    pub(crate) fn state(&self) -> AlertState {
        self.known.values().map(|alert| alert.state).max().unwrap_or_default()
    }

    /// The active alerts as others see them.
    pub(crate) fn statuses(&self) -> Vec<AlertStatus> {
        let status = |(labels, alert): (&Labels, &Alert)| AlertStatus {
            labels: labels.clone(),
            annotations: alert.annotations.clone(),
            state: alert.state,
            active_at: Some(alert.active_at),
            keep_firing_since: alert.keep_firing_since,
            value: alert.value,
        };
        self.active().map(status).collect()
    }

    /// How many are active only because their source is late.
    pub(crate) fn held(&self) -> usize {
        self.active().filter(|(_, alert)| alert.held_since.is_some()).count()
    }

    /// Whether there is one with these labels, resolved ones included.
    pub(crate) fn knows(&self, labels: &Labels) -> bool {
        self.known.contains_key(labels)
    }

    /// Takes up an alert that an earlier process left and whose source is late, in the state in which it was seen last.
    pub(crate) fn take_up(&mut self, labels: Labels, left: LeftAlert, at: TimestampMs, hold_ms: i64) {
        let LeftAlert { annotations, active_at, seen } = left;
        let mut alert = Alert::pending(Observed { annotations, value: f64::NAN }, active_at);
        if seen - active_at >= hold_ms {
            alert.state = AlertState::Firing;
            alert.fired_at = Some(active_at + hold_ms);
        }
        alert.held_since = Some(at);
        self.known.insert(labels, alert);
    }

    /// Moves the time since when an alert is pending. What fires already stays as it is.
    pub(crate) fn restore(&mut self, labels: &Labels, active_at: TimestampMs) {
        if let Some(alert) = self.known.get_mut(labels)
            && alert.state != AlertState::Inactive
        {
            alert.active_at = active_at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        Labels::from_pairs([(ALERT_NAME, "a")])
    }

    fn step(alerts: &mut Alerts, at_s: i64, holds: bool, hold_s: i64, keep_s: i64) -> AlertState {
        let observed = Observed { annotations: Labels::empty(), value: 1.0 };
        let observed = if holds { BTreeMap::from([(labels(), observed)]) } else { BTreeMap::new() };
        let timing = Timing { hold_ms: hold_s * 1000, keep_firing_ms: keep_s * 1000 };
        alerts.update(observed, TimestampMs(at_s * 1000), timing, None);
        alerts.state()
    }

    /// (seconds, does the condition hold, the state afterwards)
    fn check(hold_s: i64, keep_s: i64, story: &[(i64, bool, AlertState)]) {
        let mut alerts = Alerts::default();
        for (at_s, holds, want) in story {
            assert_eq!(step(&mut alerts, *at_s, *holds, hold_s, keep_s), *want, "at {at_s} s of {story:?}");
        }
    }

    #[test]
    fn lives_as_in_prometheus() {
        use AlertState::{Firing, Inactive, Pending};
        check(0, 0, &[(0, true, Firing), (60, false, Inactive), (120, true, Firing)]);
        check(120, 0, &[(0, true, Pending), (60, true, Pending), (120, true, Firing), (180, false, Inactive)]);
        // A pending alert that pauses begins again.
        check(
            120,
            0,
            &[
                (0, true, Pending),
                (60, true, Pending),
                (120, false, Inactive),
                (180, true, Pending),
                (240, true, Pending),
            ],
        );
        check(
            0,
            120,
            &[
                (0, true, Firing),
                (60, false, Firing),
                (120, false, Firing),
                (180, false, Inactive),
                (240, true, Firing),
            ],
        );
        // Holding again while it is kept firing begins the grace anew.
        check(0, 120, &[(0, true, Firing), (60, false, Firing), (120, true, Firing), (240, false, Firing)]);
    }

    fn sent(alerts: &mut Alerts, at_s: i64) -> Vec<(i64, i64)> {
        let sending = Sending { resend_delay_ms: 60_000, interval_ms: 15_000, generator_url: "http://g/" };
        let due = alerts.due(TimestampMs(at_s * 1000), &sending);
        due.iter().map(|a| (a.starts_at.0 / 1000, a.ends_at.0 / 1000)).collect()
    }

    #[test]
    fn is_sent_again_and_its_end_for_fifteen_minutes() {
        let mut alerts = Alerts::default();
        step(&mut alerts, 0, true, 15, 0);
        assert_eq!(sent(&mut alerts, 0), [], "pending");
        step(&mut alerts, 15, true, 15, 0);
        assert_eq!(sent(&mut alerts, 15), [(15, 15 + 240)]);
        for at_s in [30, 45, 60, 75] {
            step(&mut alerts, at_s, true, 15, 0);
            assert_eq!(sent(&mut alerts, at_s), [], "at {at_s}");
        }
        step(&mut alerts, 90, true, 15, 0);
        assert_eq!(sent(&mut alerts, 90), [(15, 90 + 240)]);
        step(&mut alerts, 105, false, 15, 0);
        assert_eq!(sent(&mut alerts, 105), [(15, 105)], "its end goes out at once");
        step(&mut alerts, 180, false, 15, 0);
        assert_eq!(sent(&mut alerts, 180), [(15, 105)]);
        step(&mut alerts, 105 + 901, false, 15, 0);
        assert_eq!(sent(&mut alerts, 105 + 901), []);
    }

    #[test]
    fn becomes_two_series() {
        let mut alerts = Alerts::default();
        step(&mut alerts, 60, true, 60, 0);
        let rows: Vec<_> =
            alerts.rows(TimestampMs(60_000)).iter().map(|r| (r.labels.to_string(), r.sample.value)).collect();
        let want = [
            (r#"ALERTS_FOR_STATE{alertname="a"}"#.to_owned(), 60.0),
            (r#"ALERTS{alertname="a", alertstate="pending"}"#.to_owned(), 1.0),
        ];
        assert_eq!(rows, want);
    }
}
