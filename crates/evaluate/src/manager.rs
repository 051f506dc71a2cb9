//! All rule groups of a process: start, reload, status.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Append, Batch, Labels, Queryable, Sample, stale_nan};
use parking_lot::RwLock;
use promql::Engine;
use query_gate::QueryGate;
use rules::status::{AlertStatus, GroupStatus, RuleStatus};
use rules::{External, Group, GroupState, carry_over};
use runtime::{Metrics, MetricsError, Supervisor};
use sources::Sources;

use crate::Notifier;
use crate::group_task::GroupTask;
use crate::metrics::RuleMetrics;

/// What rules work with.
pub struct RuleManagerOptions {
    /// Answers their queries.
    pub engine: Arc<Engine>,
    /// What the queries are about.
    pub storage: Arc<dyn Queryable>,
    /// Where recorded series go, and the series about alerts.
    pub sink: Arc<dyn Append>,
    /// Where alerts go; `None` evaluates alerting rules without sending.
    pub notifier: Option<Notifier>,
    /// External labels and URL, for templates and links.
    pub external: External,
    /// Where evaluations wait for their turn.
    pub gate: QueryGate,
    /// Who sends what the queries are about: groups wait for them, and alerts of those that are late are held.
    pub sources: Arc<Sources>,
    /// How long an evaluation waits until everything before its time is here (`--rules.max-watermark-wait`).
    pub max_watermark_wait: Duration,
}

/// What every group's task uses.
pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    pub(crate) storage: Arc<dyn Queryable>,
    pub(crate) sink: Arc<dyn Append>,
    pub(crate) notifier: Option<Notifier>,
    pub(crate) gate: QueryGate,
    pub(crate) sources: Arc<Sources>,
    pub(crate) max_watermark_wait: Duration,
    pub(crate) metrics: RuleMetrics,
}

type Tasks = BTreeMap<(String, String), Arc<GroupTask>>;

/// Evaluates rule groups. Cheap to clone.
#[derive(Clone)]
pub struct RuleManager {
    inner: Arc<Inner>,
}

struct Inner {
    supervisor: Supervisor,
    shared: Arc<Shared>,
    /// By file and name.
    tasks: RwLock<Tasks>,
    external: RwLock<External>,
    reloading: tokio::sync::Mutex<()>,
}

impl RuleManager {
    /// Starts a task for every group. Alerts with a long `for` take up their timers from before a restart.
    ///
    /// # Errors
    /// When the metrics exist already.
    pub fn start(
        supervisor: &Supervisor,
        metrics: &Metrics,
        options: RuleManagerOptions,
        groups: Vec<Arc<Group>>,
    ) -> Result<Self, MetricsError> {
        let RuleManagerOptions { engine, storage, sink, notifier, external, gate, sources, max_watermark_wait } =
            options;
        let metrics = RuleMetrics::new(metrics)?;
        let shared = Arc::new(Shared { engine, storage, sink, notifier, gate, sources, max_watermark_wait, metrics });
        let inner = Inner {
            supervisor: supervisor.group(),
            shared,
            tasks: RwLock::default(),
            external: RwLock::new(external.clone()),
            reloading: tokio::sync::Mutex::default(),
        };
        let manager = Self { inner: Arc::new(inner) };
        let mut tasks = Tasks::new();
        for group in groups {
            manager.begin(GroupState::new(group, true), &external, &mut tasks);
        }
        *manager.inner.tasks.write() = tasks;
        Ok(manager)
    }

    fn begin(&self, state: GroupState, external: &External, tasks: &mut Tasks) {
        let task = Arc::new(GroupTask::new(state, self.inner.shared.clone(), external.clone()));
        let group = &task.group;
        self.inner.shared.metrics.begin(group);
        tasks.insert((group.file.clone(), group.name.clone()), task.clone());
        self.inner.supervisor.spawn(format!("rules {} in {}", group.name, group.file), move |stop| task.run(stop));
    }

    /// Takes new groups. Those that did not change go on undisturbed; changed ones begin anew with the alerts and series
    /// of their old rules; series that nothing continues end with a staleness marker.
    pub async fn update(&self, external: External, groups: Vec<Arc<Group>>) {
        let _one_at_a_time = self.inner.reloading.lock().await;
        let all_change = std::mem::replace(&mut *self.inner.external.write(), external.clone()) != external;
        let mut old = self.inner.tasks.read().clone();
        let (mut tasks, mut changed) = (Tasks::new(), Vec::new());
        for group in groups {
            let key = (group.file.clone(), group.name.clone());
            match old.get(&key) {
                Some(task) if !all_change && *task.group == *group => {
                    tasks.extend(old.remove_entry(&key));
                }
                _ => changed.push(group),
            }
        }
        let mut states = Vec::new();
        for task in old.values() {
            states.extend(task.finish().await);
            self.inner.shared.metrics.end(&task.group);
        }
        let carried = carry_over(states, changed);
        self.end_series(carried.vanished);
        for state in carried.states {
            self.begin(state, &external, &mut tasks);
        }
        *self.inner.tasks.write() = tasks;
    }

    fn end_series(&self, vanished: Vec<Labels>) {
        // The series may have a sample of this very millisecond.
        let timestamp = runtime::now() + 1;
        let _registered = self.inner.shared.sources.recordings().begin(timestamp);
        let mut batch = Batch::default();
        for labels in vanished {
            batch.push(labels, Sample { timestamp, value: stale_nan() });
        }
        if !batch.is_empty() {
            // A marker that is refused belongs to a series that is past the store's bounds: it has ended already.
            if let Err(error) = self.inner.shared.sink.append(&batch) {
                tracing::warn!(series = batch.rows.len(), %error,
                    "series of rules that are gone get no end; they end by the lookback window");
            }
        }
    }

    /// Every group after its last evaluation, in order of file and name.
    pub fn status(&self) -> Vec<GroupStatus> {
        self.inner.tasks.read().values().map(|task| task.status().as_ref().clone()).collect()
    }

    /// Every alert that is pending or firing.
    pub fn active_alerts(&self) -> Vec<AlertStatus> {
        let alerts = |rule| match rule {
            RuleStatus::Alerting(rule) => rule.alerts,
            RuleStatus::Recording(_) => Vec::new(),
        };
        self.status().into_iter().flat_map(|group| group.rules).flat_map(alerts).collect()
    }
}
