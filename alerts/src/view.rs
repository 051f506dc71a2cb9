//! One look at a group: which of its alerts speak now, after inhibition, mute times and silences.

use std::sync::Arc;

use model::TimestampMs;

use crate::engine::alert::AlertRecord;
use crate::engine::dedup::GroupState;
use crate::engine::route::RouteOptions;
use crate::engine::state::{Flush, State};

/// The alerts of a group as they are at one instant.
#[derive(Debug)]
pub struct View {
    /// Those that speak, in the order of the notification.
    pub alerts: Vec<Arc<AlertRecord>>,
    /// When that was.
    pub now: TimestampMs,
    /// How many keep quiet, by the `reason` label of the metric.
    pub suppressed: [(&'static str, usize); 3],
}

impl View {
    /// Looks at the alerts of a flush as they are by now: first inhibition, then mute time, then silences.
    pub fn of(state: &State, flush: &Flush, route: &RouteOptions, now: TimestampMs) -> Self {
        let as_now = |a: &Arc<AlertRecord>| state.alerts.get(a.fingerprint()).unwrap_or(a).clone();
        let mut alerts: Vec<_> = flush.alerts.iter().map(as_now).collect();
        let mut drop_unless = |speaks: &dyn Fn(&AlertRecord) -> bool| {
            let before = alerts.len();
            alerts.retain(|a| speaks(a));
            before - alerts.len()
        };
        let inhibited = drop_unless(&|a| state.inhibited_by(&a.labels, now).is_empty());
        let is_muted = !flush.config.muted_by(route, now).is_empty();
        let muted = drop_unless(&|_| !is_muted);
        let silenced = drop_unless(&|a| state.silences.silenced_by(&a.labels, now).is_empty());
        let suppressed = [("inhibition", inhibited), ("mute_time_interval", muted), ("silence", silenced)];
        Self { alerts, now, suppressed }
    }

    /// The alerts that speak, as the log keeps them.
    pub fn group_state(&self) -> GroupState {
        let fingerprints = |resolved: bool| {
            let alerts = self.alerts.iter().filter(|a| a.resolved_at(self.now) == resolved);
            let mut fingerprints: Vec<u64> = alerts.map(|a| a.fingerprint()).collect();
            fingerprints.sort_unstable();
            fingerprints
        };
        GroupState { firing: fingerprints(false), resolved: fingerprints(true) }
    }
}
